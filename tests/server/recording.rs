//! Opt-outs and resubscribes.

use std::collections::HashSet;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use optout::capture::{Provider, Secret, SenderSettings};
use optout::disk::{Faults, MemoryDisk, RealDisk};
use optout::number::{Folding, Number, fold};
use optout::server::{CaptureFile, KeyScope};
use optout::store::{self, Reader};
use optout::time::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::{Client, JSON, Place, Served};

const OPT_OUTS: &str = "/v1/optouts";
const RESUBSCRIBES: &str = "/v1/resubscribes";
const NUMBER: &str = "+525512345678";

#[test]
fn an_opt_out_is_recorded_and_found_at_once() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let posted = json!({
        "number": "55 1234 5678", "region": "MX", "source": "keyword", "channel": "whatsapp",
        "word": "BAJA", "campaign": "spring", "message_id": "wamid.1", "note": "said so",
        "occurred_at": "2026-03-01T09:30:00Z",
    });
    let answer = client.post(OPT_OUTS, &posted).is(200);
    assert_eq!(
        answer,
        json!({
            "items": [{
                "index": 0, "number": NUMBER, "sequence": 1, "outcome": "added", "opted_out": true,
            }],
            "recorded": 1, "refused": 0, "invalid": 0,
        })
    );
    let person = client.get(&format!("/v1/numbers/{NUMBER}?channel=whatsapp")).is(200);
    assert_eq!(person["verdict"], "suppressed");
    assert_eq!(person["events"][0]["word"], "BAJA");
    assert_eq!(person["events"][0]["occurred_at"], "2026-03-01T09:30:00Z");
    let again = client.post(OPT_OUTS, &posted).is(200);
    assert_eq!(again["items"][0]["outcome"], "already");
    assert_eq!(again["items"][0]["sequence"], 1);
    served.end();
    assert_eq!(Reader::open(place.store()).unwrap().sequence(), 1);
}

#[test]
fn one_bad_item_stops_no_other() {
    let place = Place::new();
    let served = place.serve();
    let items = json!({"items": [
        {"number": NUMBER},
        {"number": "call me"},
        {"number": "+5215587654321", "source": "letter"},
        {"number": "US.13491208655302741918"},
        {"number": "+5491123456789", "occurred_at": "2099-01-01"},
        {"number": "+5491123456789", "channel": "pigeon"},
        {"number": "+13053388888 / +525587654321"},
        {"number": "+525587654322", "word": "STOP ALL", "tier": null},
    ]});
    let answer = served.client().post(OPT_OUTS, &items).is(200);
    let outcome = |it: &Value| (it["index"].as_u64().unwrap(), it["outcome"].clone());
    let outcomes: Vec<_> = answer["items"].as_array().unwrap().iter().map(outcome).collect();
    let expected = [
        (0, "added"),
        (1, "invalid"),
        (2, "invalid"),
        (3, "added"),
        (4, "invalid"),
        (5, "invalid"),
        (6, "added"),
        (6, "added"),
        (7, "added"),
    ];
    assert_eq!(outcomes, expected.map(|(index, word)| (index, json!(word))));
    let fields = ["number", "source", "occurred_at", "channel"];
    let items = answer["items"].as_array().unwrap();
    for (item, field) in items.iter().filter(|it| it["outcome"] == "invalid").zip(fields) {
        assert_eq!(item["errors"][0]["field"], field);
    }
    assert_eq!((&answer["recorded"], &answer["invalid"]), (&json!(5), &json!(4)));
}

#[test]
fn what_is_not_as_described_is_refused_and_nothing_recorded() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let posted = [
        json!({"number": "nobody"}),
        json!({"items": []}),
        json!({"items": [{"number": NUMBER, "colour": "red"}]}),
        json!({"number": NUMBER, "sequence": 1}),
        json!({"number": NUMBER, "received_at": "2026-01-01"}),
        json!({"number": NUMBER, "operator": "me"}),
        json!({"number": NUMBER, "items": []}),
        json!({"number": 525512345678_u64}),
        json!({"source": "api"}),
        json!([{"number": NUMBER}]),
        json!("text"),
        json!({"number": NUMBER, "note": "a\0b"}),
        json!({"number": NUMBER, "note": "a".repeat(5000)}),
        json!({"number": NUMBER, "tier": "some"}),
        json!({"number": NUMBER, "region": "XX"}),
        json!({"items": vec![json!({"number": NUMBER}); 10_001]}),
    ];
    for body in &posted {
        let problem = client.post(OPT_OUTS, body).refuses(422);
        assert!(!problem["errors"].as_array().unwrap().is_empty(), "{problem}");
        assert!(!problem.to_string().contains("5512345678"), "{problem}");
    }
    for body in ["", "{", "{\"number\"", "\u{feff}{}"] {
        client.ask("POST", OPT_OUTS, &[JSON], body.as_bytes()).refuses(400);
    }
    let text = ("Content-Type", "text/plain");
    client.ask("POST", OPT_OUTS, &[text], b"{}").refuses(415);
    client.ask("POST", OPT_OUTS, &[], b"{}").refuses(415);
    client.ask("POST", OPT_OUTS, &[JSON, ("Content-Encoding", "gzip")], b"{}").refuses(415);
    served.end();
    assert_eq!(Reader::open(place.store()).unwrap().sequence(), 0);
}

#[test]
fn a_resubscribe_needs_a_reason_and_lifts_what_it_may() {
    let place = Place::new();
    let (key, _) = place.key(&[KeyScope::Add, KeyScope::Resubscribe]);
    let (admin, _) = place.key(&[KeyScope::Resubscribe, KeyScope::Admin]);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    // Who came back at the very moment of his opt-out did not come back after it.
    let later = || thread::sleep(Duration::from_millis(3));
    client.post(OPT_OUTS, &json!({"number": NUMBER, "source": "keyword"})).is(200);
    later();
    client.post(RESUBSCRIBES, &json!({"number": NUMBER})).refuses(422);
    client.post(RESUBSCRIBES, &json!({"number": NUMBER, "reason": " "})).refuses(422);
    let by_operator = json!({"number": NUMBER, "reason": "called", "source": "agent"});
    let answer = client.post(RESUBSCRIBES, &by_operator).is(200);
    assert_eq!(answer["items"][0]["outcome"], "refused");
    assert_eq!((&answer["refused"], &answer["items"][0]["sequence"]), (&json!(1), &json!(1)));

    let mut overriding = by_operator.clone();
    overriding["override"] = json!(true);
    client.post(RESUBSCRIBES, &overriding).refuses(403);
    let answer = served.client().with_key(&admin).post(RESUBSCRIBES, &overriding).is(200);
    assert_eq!(answer["items"][0]["outcome"], "resubscribed");
    assert_eq!(answer["items"][0]["opted_out"], false);

    later();
    client.post(OPT_OUTS, &json!({"number": NUMBER, "source": "keyword"})).is(200);
    later();
    let own_word = json!({"number": NUMBER, "reason": "START", "source": "keyword"});
    let answer = client.post(RESUBSCRIBES, &own_word).is(200);
    assert_eq!(answer["items"][0]["outcome"], "resubscribed");
}

#[test]
fn a_repeated_request_is_answered_alike_and_recorded_once_also_after_a_restart() {
    let place = Place::new();
    let body = json!({"items": [{"number": NUMBER}, {"number": "+13053388888"}]}).to_string();
    let key = ("Idempotency-Key", "order-66");
    let sequences = |answer: &Value| {
        let items = answer["items"].as_array().unwrap();
        items.iter().map(|it| it["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    {
        let served = place.serve();
        let mut client = served.client();
        let first = client.ask("POST", OPT_OUTS, &[JSON, key], body.as_bytes());
        assert_eq!(sequences(&first.is(200)), [1, 2]);
        let again = client.ask("POST", OPT_OUTS, &[JSON, key], body.as_bytes());
        assert_eq!(again.body, first.body);
        let other = json!({"number": "+13053388889"}).to_string();
        let answer = client.ask("POST", OPT_OUTS, &[JSON, key], other.as_bytes());
        assert_eq!(answer.refuses(422)["type"], "/problems/key-reused");
        let blank = ("Idempotency-Key", "");
        client.ask("POST", OPT_OUTS, &[JSON, blank], body.as_bytes()).refuses(400);
        client.ask("POST", OPT_OUTS, &[JSON, key, key], body.as_bytes()).refuses(400);
        served.end();
    }
    let served = place.serve();
    let mut client = served.client();
    let answer = client.ask("POST", OPT_OUTS, &[JSON, key], body.as_bytes()).is(200);
    assert_eq!(sequences(&answer), [1, 2]);
    assert_eq!(answer["items"][0]["outcome"], "already");
    // What a client may not do, but must not lose an opt-out either.
    let wider = json!({"number": NUMBER, "tier": "all"}).to_string();
    let key = ("Idempotency-Key", "order-67");
    client.ask("POST", OPT_OUTS, &[JSON, key], b"{\"number\":\"+13053388880\"}").is(200);
    served.end();
    let served = place.serve();
    let answer = served.client().ask("POST", OPT_OUTS, &[JSON, key], wider.as_bytes()).is(200);
    assert_eq!(answer["items"][0]["outcome"], "added");
}

#[test]
fn what_another_process_recorded_before_is_known_and_nobody_records_beside_the_server() {
    let place = Place::new();
    let optout = |verb: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_optout"));
        command.arg("--store").arg(place.store()).args(verb).output().unwrap()
    };
    assert!(optout(&["add", NUMBER]).status.success());
    let served = place.serve();
    let refused = optout(&["add", "+13053388888"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("optout serve"));
    let answer = served.client().get(&format!("/v1/numbers/{NUMBER}")).is(200);
    assert_eq!(answer["opted_out"], true);
    // Whoever reads needs no lock.
    assert!(optout(&["check", NUMBER]).status.success());
}

#[test]
fn a_full_queue_turns_others_away_before_opt_outs() {
    let place = Place::new();
    let served = place.serve_with(|limits| limits.events_waiting = 8);
    let mut client = served.client();
    let of = |count: usize, reason: bool| {
        let number = |it| format!("+5255{:08}", 10_000_000 + it);
        let item = |it| match reason {
            true => json!({"number": number(it), "reason": "START"}),
            false => json!({"number": number(it)}),
        };
        json!({"items": (0..count).map(item).collect::<Vec<_>>()})
    };
    let refused = client.post(RESUBSCRIBES, &of(3, true));
    refused.refuses(503);
    assert!(refused.header("retry-after").is_some());
    client.post(OPT_OUTS, &of(8, false)).is(200);
    client.post(OPT_OUTS, &of(9, false)).refuses(503);
}

#[test]
fn what_could_not_be_synced_is_not_acknowledged() {
    let disk = Arc::new(MemoryDisk::new());
    store::init_on(&*disk, Folding::default(), Timestamp::now()).unwrap();
    let served = Served::on(disk.clone());
    let mut client = served.client();
    client.post(OPT_OUTS, &json!({"number": NUMBER})).is(200);
    client.get("/readyz").is(200);
    disk.set_faults(Faults { syncs_left: Some(0), ..Faults::default() });
    let key = ("Idempotency-Key", "a");
    let body = json!({"number": "+13053388888"}).to_string();
    for _ in 0..2 {
        let answer = client.ask("POST", OPT_OUTS, &[JSON, key], body.as_bytes());
        answer.refuses(503);
        assert!(answer.header("retry-after").is_some());
    }
    client.get("/readyz").refuses(503);
    client.get("/healthz").is(200);
    served.end();
    // The next server records what is sent again.
    disk.set_faults(Faults::default());
    let after = Arc::new(disk.after_power_cut());
    let served = Served::on(after);
    let mut client = served.client();
    let answer = client.ask("POST", OPT_OUTS, &[JSON, key], body.as_bytes()).is(200);
    assert_eq!(answer["items"][0]["sequence"], 2);
    let person = client.get(&format!("/v1/numbers/{NUMBER}")).is(200);
    assert_eq!(person["opted_out"], true);
}

/// A server in a process of its own, and where it listens.
fn spawn(place: &Place) -> (std::process::Child, std::net::SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_optout"))
        .arg("--store")
        .arg(place.store())
        .args(["--json", "serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    (child, told["listening"].as_str().unwrap().parse().unwrap())
}

/// How opt-outs come in.
#[derive(Clone, Copy)]
enum Way {
    /// Posted by a program.
    Posted,
    /// Delivered by a provider that signs.
    Delivered,
}

const SECRET: &str = "a-good-secret";

/// A sender whose provider signs.
fn set_up(place: &Place) {
    let mut settings = SenderSettings::new("own", "sms");
    settings.provider = Provider::Generic { secret: Secret::new(SECRET) };
    CaptureFile::open(Arc::new(RealDisk::new(place.store()))).unwrap().set(&settings).unwrap();
}

/// The request that opts somebody out.
fn request(way: Way, number: u64) -> String {
    let (path, headers, body) = match way {
        Way::Posted => {
            (OPT_OUTS, String::new(), json!({"number": format!("+{number}")}).to_string())
        }
        Way::Delivered => {
            let id = format!("delivery-{number}");
            let message = json!({"number": format!("+{number}"), "text": "STOP", "message_id": id});
            let (body, time) = (message.to_string(), Timestamp::now().as_millis() / 1000);
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(format!("{id}.{time}.{body}").as_bytes());
            let tag = BASE64_STANDARD.encode(mac.finalize().into_bytes());
            let headers = format!(
                "webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: v1,{tag}\r\n"
            );
            ("/webhooks/generic/own", headers, body)
        }
    };
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}");
    format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Sends one opt-out after another until the server has gone; what was acknowledged.
fn post_until_gone(address: std::net::SocketAddr, next: &AtomicU64, way: Way) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    let mut client = Client::new(address);
    loop {
        let number = 525_510_000_000 + next.fetch_add(1, Ordering::Relaxed);
        if !client.try_send(request(way, number).as_bytes()) {
            return acknowledged;
        }
        let Some(answer) = client.answer() else { return acknowledged };
        if answer.status == 503 {
            return acknowledged;
        }
        let told = answer.is(200);
        acknowledged.push((told["items"][0]["sequence"].as_u64().expect("a sequence"), number));
    }
}

fn load(address: std::net::SocketAddr, next: &AtomicU64, end: impl FnOnce()) -> Vec<(u64, u64)> {
    thread::scope(|scope| {
        let clients: Vec<_> = [Way::Posted, Way::Delivered]
            .repeat(4)
            .into_iter()
            .map(|way| scope.spawn(move || post_until_gone(address, next, way)))
            .collect();
        thread::sleep(Duration::from_millis(150));
        end();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[track_caller]
fn assert_all_there(place: &Place, acknowledged: &[(u64, u64)]) {
    assert!(store::verify(place.store()).unwrap().is_sound());
    let reader = Reader::open(place.store()).unwrap();
    let sequences: HashSet<u64> = acknowledged.iter().map(|it| it.0).collect();
    assert_eq!(sequences.len(), acknowledged.len(), "a sequence was given twice");
    for &(sequence, number) in acknowledged {
        let key = fold(Number::from_e164(number).unwrap(), reader.folding());
        let standing = reader.standing(key).unwrap().expect("an acknowledged opt-out is there");
        assert!(standing.opted_out && standing.head == sequence);
    }
}

/// How often a server is killed: five times, or as often as OPTOUT_TEST_KILLS says.
fn kills() -> usize {
    let said = std::env::var("OPTOUT_TEST_KILLS").ok();
    said.map_or(5, |text| text.parse().expect("OPTOUT_TEST_KILLS is a number"))
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let place = Place::new();
    set_up(&place);
    let next = AtomicU64::new(0);
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        let (mut child, address) = spawn(&place);
        acknowledged.extend(load(address, &next, || child.kill().unwrap()));
        child.wait().unwrap();
        assert_all_there(&place, &acknowledged);
    }
    assert!(
        acknowledged.len() > 10 * kills(),
        "the servers were killed too early to tell anything"
    );
}

#[test]
fn a_signal_ends_the_server_when_what_was_begun_is_answered() {
    let place = Place::new();
    set_up(&place);
    let next = AtomicU64::new(0);
    let (mut child, address) = spawn(&place);
    let pid = child.id().to_string();
    let acknowledged = load(address, &next, || {
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    });
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!acknowledged.is_empty());
    assert_all_there(&place, &acknowledged);
    let (mut child, _) = spawn(&place);
    child.kill().unwrap();
    child.wait().unwrap();
}
