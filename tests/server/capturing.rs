//! Replies: what is recorded, what is confirmed, and how often.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use optout::capture::{Delivery, Secret, SenderSettings};
use optout::disk::RealDisk;
use optout::server::{CaptureError, CaptureFile, KeyScope, Limits};
use optout::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Client, JSON, Place, Served};

/// How the endpoint behaves at one request.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A status, and a header line or nothing.
    Says(u16, &'static str),
    /// Reads the request and closes the connection.
    HangsUp,
    /// Reads the request and says nothing for so long.
    Waits(Duration),
}

/// A request as it came in.
#[derive(Clone, Debug)]
struct Seen {
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An endpoint that takes confirmations as it is told; afterwards it says 200.
struct Endpoint {
    address: SocketAddr,
    seen: Receiver<Seen>,
}

impl Endpoint {
    fn new(turns: &[Turn]) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let turns = Arc::new(Mutex::new(turns.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, turns) = (sender.clone(), turns.clone());
                std::thread::spawn(move || answer(stream, &sender, &turns));
            }
        });
        Endpoint { address, seen }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[track_caller]
    fn next(&self) -> Seen {
        self.seen.recv_timeout(Duration::from_secs(20)).expect("a confirmation arrives")
    }

    /// That nothing else came, once everything has settled.
    #[track_caller]
    fn is_quiet(&self) {
        let more = self.seen.try_recv().ok();
        assert!(more.is_none(), "{more:?}");
    }
}

fn answer(stream: TcpStream, seen: &Sender<Seen>, turns: &Mutex<Vec<Turn>>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        head.push_str(&std::mem::take(&mut line));
    }
    let request = Seen { head: head.replace("\r\n", "\n"), body: String::new() };
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    if head.is_empty() || reader.read_exact(&mut body).is_err() {
        return;
    }
    let turn = {
        let mut turns = turns.lock().unwrap();
        if turns.is_empty() { Turn::Says(200, "") } else { turns.remove(0) }
    };
    let body = String::from_utf8(body).unwrap();
    seen.send(Seen { body, ..request }).unwrap();
    match turn {
        Turn::Says(status, header) => {
            let answer = format!(
                "HTTP/1.1 {status} x\r\n{header}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
        Turn::HangsUp => {}
        Turn::Waits(time) => std::thread::sleep(time),
    }
}

const SECRET: &str = "endpoint-secret-1";

fn shop(delivery: Delivery) -> SenderSettings {
    let mut it = SenderSettings::new("shop", "whatsapp");
    it.provider_id = "106540352242922".to_owned();
    it.brand = "acme".to_owned();
    it.language = "es".to_owned();
    it.confirmations =
        [("es", "Ya no recibirás más mensajes."), ("en", "You get no more messages.")]
            .map(|(language, text)| (language.to_owned(), text.to_owned()))
            .into();
    it.capture = true;
    it.delivery = delivery;
    it
}

fn graph(endpoint: &Endpoint) -> Delivery {
    let token = Secret::new(SECRET);
    Delivery::Graph { url: endpoint.url(), phone_number_id: "1065".to_owned(), token }
}

fn generic(endpoint: &Endpoint) -> Delivery {
    Delivery::Generic { url: endpoint.url(), secret: Secret::new(SECRET) }
}

fn file(place: &Place) -> CaptureFile {
    CaptureFile::open(Arc::new(RealDisk::new(place.store()))).unwrap()
}

fn quick(limits: &mut Limits) {
    limits.confirmation_pause = Duration::from_millis(20);
    limits.confirmation_time = Duration::from_millis(400);
}

fn serve(delivery: Delivery) -> (Place, Served) {
    let place = Place::new();
    file(&place).set(&shop(delivery)).unwrap();
    let served = place.serve_with(quick);
    (place, served)
}

fn message(id: &str, text: &str) -> Value {
    json!({
        "number": "+525512345678", "sender": "106540352242922", "channel": "whatsapp",
        "text": text, "message_id": id
    })
}

fn first(answer: &Value) -> &Value {
    &answer["items"][0]
}

/// A figure of the server's once it is what is waited for.
#[track_caller]
fn waits_for(client: &mut Client, line: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let figures = client.get("/metrics").text().to_owned();
        if figures.lines().any(|it| it == line) {
            return;
        }
        assert!(Instant::now() < end, "no {line:?} in\n{figures}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_stop_is_recorded_and_the_caller_is_told_what_to_send_once() {
    let (_place, served) = serve(Delivery::None);
    let mut client = served.client();
    let answer = client.post("/v1/messages", &message("m1", "STOP please")).is(200);
    let item = first(&answer);
    assert_eq!((&item["intent"], &item["outcome"]), (&json!("opt_out"), &json!("added")));
    assert_eq!((&item["rule"], &item["matched"]), (&json!("lone_word"), &json!("stop")));
    let text = json!({"language": "en", "text": "You get no more messages.", "delivery": "caller"});
    assert_eq!(item["confirmation"], text);
    let again = client.post("/v1/messages", &message("m1", "STOP please")).is(200);
    let item = first(&again);
    assert_eq!((&item["outcome"], &item["sequence"]), (&json!("already"), &json!(1)));
    assert!(item["confirmation"].is_null());
    // Once more in another message: opted out already, and told so already.
    let more = client.post("/v1/messages", &message("m2", "BAJA")).is(200);
    assert_eq!(first(&more)["outcome"], "already");
    assert!(first(&more)["confirmation"].is_null());
    let listed = client.get("/v1/optouts").is(200);
    let event = &listed["items"][0];
    assert_eq!((&event["sender"], &event["brand"]), (&json!("shop"), &json!("acme")));
    assert_eq!((&event["source"], &event["word"]), (&json!("keyword"), &json!("stop")));
}

#[test]
fn an_answer_that_was_lost_is_given_again_for_the_same_key() {
    let (_place, served) = serve(Delivery::None);
    let mut client = served.client();
    let body = message("m1", "BAJA").to_string();
    let headers = [JSON, ("Idempotency-Key", "m1")];
    let one = client.ask("POST", "/v1/messages", &headers, body.as_bytes());
    let two = client.ask("POST", "/v1/messages", &headers, body.as_bytes());
    assert_eq!(one.is(200), two.is(200));
    assert_eq!(first(&one.is(200))["confirmation"]["language"], "es");
}

#[test]
fn everything_that_stops_is_recorded_for_senders_that_are_off_or_unknown() {
    let place = Place::new();
    let off = {
        let mut it = shop(Delivery::None);
        it.capture = false;
        it
    };
    file(&place).set(&off).unwrap();
    let served = place.serve_with(quick);
    let mut client = served.client();
    let said = [
        json!({"text": "STOP"}),
        json!({"preference": "stop"}),
        json!({"button": {"payload": "STOP"}}),
    ];
    let mut at = 0;
    for sender in ["shop", "nobody-knows"] {
        for said in &said {
            at += 1;
            let mut item = json!({
                "number": format!("+52551234560{at}"), "sender": sender, "channel": "whatsapp",
                "message_id": format!("m{at}")
            });
            item.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            let answer = client.post("/v1/messages", &item).is(200);
            assert_eq!(first(&answer)["outcome"], "added", "{item}");
            assert!(first(&answer)["confirmation"].is_null());
            let back = json!({
                "number": item["number"], "sender": sender, "channel": "whatsapp", "text": "START",
                "message_id": format!("back{at}")
            });
            let answer = client.post("/v1/messages", &back).is(200);
            let item = first(&answer);
            assert_eq!((&item["intent"], &item["outcome"]), (&json!("opt_in"), &json!("none")));
        }
    }
    // Where nobody knows the sender, it holds for every one on the channel.
    let question = json!({"recipients": ["+525512345604"], "channel": "whatsapp", "sender": "any"});
    assert_eq!(client.post("/v1/check", &question).is(200)["allowed"], 0);
}

#[test]
fn a_clear_start_lifts_and_a_doubtful_one_does_not() {
    let (_place, served) = serve(Delivery::None);
    let mut client = served.client();
    client.post("/v1/messages", &message("m1", "BAJA")).is(200);
    let doubtful = message("m2", "I would like to get your messages again please");
    let answer = client.post("/v1/messages", &doubtful).is(200);
    assert_eq!(first(&answer)["intent"], "opt_in");
    assert_eq!(first(&answer)["outcome"], "none");
    let answer = client.post("/v1/messages", &message("m3", "START")).is(200);
    assert_eq!(first(&answer)["outcome"], "resubscribed");
    assert_eq!(first(&answer)["opted_out"], false);
    // A STOP of before that comes late changes nothing, and is not confirmed.
    let mut late = message("m0", "STOP");
    late["occurred_at"] =
        json!(Timestamp::from_millis(Timestamp::now().as_millis() - 60_000).to_string());
    let answer = client.post("/v1/messages", &late).is(200);
    assert_eq!(
        (&first(&answer)["outcome"], &first(&answer)["opted_out"]),
        (&json!("already"), &json!(false))
    );
    assert!(first(&answer)["confirmation"].is_null());
}

#[test]
fn number_and_id_of_one_person_are_both_opted_out() {
    let (_place, served) = serve(Delivery::None);
    let mut client = served.client();
    let mut both = message("m1", "STOP");
    both["id"] = json!("MX.1349");
    let answer = client.post("/v1/messages", &both).is(200);
    assert!(first(&answer)["confirmation"].is_object());
    let question = json!({"recipients": ["MX.1349", "+525512345678"], "channel": "whatsapp"});
    assert_eq!(client.post("/v1/check", &question).is(200)["allowed"], 0);
    let again = client.post("/v1/messages", &both).is(200);
    assert_eq!(first(&again)["outcome"], "already");
    both["message_id"] = json!("m2");
    both["text"] = json!("START");
    client.post("/v1/messages", &both).is(200);
    assert_eq!(client.post("/v1/check", &question).is(200)["allowed"], 2);
}

#[test]
fn nothing_is_confirmed_that_was_written_more_than_five_minutes_ago() {
    let (_place, served) = serve(Delivery::None);
    let mut client = served.client();
    for (index, (seconds, is_due)) in [(290, true), (301, false)].into_iter().enumerate() {
        let at = Timestamp::from_millis(Timestamp::now().as_millis() - seconds * 1000);
        let item = json!({
            "number": format!("+52551234567{index}"), "sender": "shop", "channel": "whatsapp",
            "text": "STOP", "message_id": format!("m{index}"), "occurred_at": at.to_string()
        });
        let answer = client.post("/v1/messages", &item).is(200);
        assert_eq!(first(&answer)["outcome"], "added");
        assert_eq!(first(&answer)["confirmation"].is_object(), is_due, "{seconds}");
    }
}

#[test]
fn graph_gets_one_message_an_opt_out() {
    let endpoint = Endpoint::new(&[]);
    let (_place, served) = serve(graph(&endpoint));
    let mut client = served.client();
    let answer = client.post("/v1/messages", &message("wamid.1", "BAJA")).is(200);
    assert_eq!(first(&answer)["confirmation"], json!({"language": "es", "delivery": "queued"}));
    let seen = endpoint.next();
    assert!(seen.head.starts_with("POST /1065/messages HTTP/1.1\n"), "{}", seen.head);
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    let expected = json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "525512345678",
        "type": "text", "text": {"preview_url": false, "body": "Ya no recibirás más mensajes."},
        "context": {"message_id": "wamid.1"}
    });
    assert_eq!(seen.json(), expected);
    for id in ["wamid.1", "wamid.2"] {
        client.post("/v1/messages", &message(id, "BAJA")).is(200);
    }
    let only_id = json!({
        "id": "MX.1349", "sender": "shop", "channel": "whatsapp", "text": "STOP", "message_id": "wamid.3"
    });
    client.post("/v1/messages", &only_id).is(200);
    let seen = endpoint.next().json();
    assert_eq!((&seen["recipient"], &seen["to"]), (&json!("MX.1349"), &Value::Null));
    waits_for(&mut client, "optout_confirmations_total{result=\"sent\"} 2");
    endpoint.is_quiet();
}

#[test]
fn many_deliveries_at_the_same_time_are_confirmed_once() {
    let endpoint = Endpoint::new(&[]);
    let (_place, served) = serve(graph(&endpoint));
    let added: usize = std::thread::scope(|scope| {
        let post = |at: usize| {
            // The same message, and others of the same person.
            let mut client = served.client();
            let body = message(&format!("wamid.{}", at % 4), "BAJA");
            usize::from(first(&client.post("/v1/messages", &body).is(200))["outcome"] == "added")
        };
        let posts: Vec<_> = (0..16).map(|at| scope.spawn(move || post(at))).collect();
        posts.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert_eq!(added, 1);
    endpoint.next();
    waits_for(&mut served.client(), "optout_confirmations_total{result=\"sent\"} 1");
    endpoint.is_quiet();
}

#[test]
fn twilio_gets_a_form() {
    let endpoint = Endpoint::new(&[]);
    let token = Secret::new(SECRET);
    let (url, from) = (endpoint.url(), "+14155238886".to_owned());
    let (_place, served) =
        serve(Delivery::Twilio { url, account_sid: "AC1".to_owned(), token, from });
    served.client().post("/v1/messages", &message("SM1", "BAJA")).is(200);
    let seen = endpoint.next();
    let path = "POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\n";
    assert!(seen.head.starts_with(path), "{}", seen.head);
    // printf 'AC1:endpoint-secret-1' | base64
    assert_eq!(seen.header("authorization"), "Basic QUMxOmVuZHBvaW50LXNlY3JldC0x");
    let expected = "To=whatsapp%3A%2B525512345678&From=whatsapp%3A%2B14155238886&\
                    Body=Ya+no+recibir%C3%A1s+m%C3%A1s+mensajes.";
    assert_eq!(seen.body, expected);
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_under_the_same_id() {
    let turns = [
        Turn::Says(429, "Retry-After: 1\r\n"),
        Turn::Says(503, ""),
        Turn::Says(502, ""),
        Turn::Says(504, ""),
    ];
    let endpoint = Endpoint::new(&turns);
    let (_place, served) = serve(generic(&endpoint));
    let mut client = served.client();
    client.post("/v1/messages", &message("m1", "BAJA")).is(200);
    let begin = Instant::now();
    let seen: Vec<Seen> = (0..5).map(|_| endpoint.next()).collect();
    assert!(begin.elapsed() >= Duration::from_secs(1), "the endpoint asked for a second");
    for it in &seen {
        assert_eq!(it.header("webhook-id"), seen[0].header("webhook-id"));
        assert!(it.header("webhook-signature").starts_with("v1,"));
        assert_eq!(it.json()["text"], "Ya no recibirás más mensajes.");
    }
    waits_for(&mut client, "optout_confirmations_total{result=\"sent\"} 1");
    waits_for(&mut client, "optout_confirmations_total{result=\"retried\"} 4");
    endpoint.is_quiet();
}

#[test]
fn what_may_have_been_sent_is_not_sent_again() {
    let waits = Turn::Waits(Duration::from_secs(3));
    for turn in [
        Turn::HangsUp,
        waits,
        Turn::Says(500, ""),
        Turn::Says(502, ""),
        Turn::Says(504, ""),
        Turn::Says(400, ""),
    ] {
        let endpoint = Endpoint::new(&[turn]);
        let (_place, served) = serve(graph(&endpoint));
        let mut client = served.client();
        client.post("/v1/messages", &message("m1", "BAJA")).is(200);
        endpoint.next();
        waits_for(&mut client, "optout_confirmations_total{result=\"failed\"} 1");
        endpoint.is_quiet();
    }
}

#[test]
fn redirects_are_not_followed() {
    let other = Endpoint::new(&[]);
    let header: &'static str = format!("Location: {}/stolen\r\n", other.url()).leak();
    for status in [301, 302, 303, 307, 308] {
        let endpoint = Endpoint::new(&[Turn::Says(status, header)]);
        let (_place, served) = serve(graph(&endpoint));
        let mut client = served.client();
        client.post("/v1/messages", &message("m1", "BAJA")).is(200);
        endpoint.next();
        waits_for(&mut client, "optout_confirmations_total{result=\"failed\"} 1");
        endpoint.is_quiet();
        other.is_quiet();
    }
}

#[test]
fn an_endpoint_that_is_not_there_is_tried_until_the_time_is_over() {
    let place = Place::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{gone}");
    let delivery = Delivery::Generic { url, secret: Secret::new(SECRET) };
    file(&place).set(&shop(delivery)).unwrap();
    let served = place.serve_with(|limits| {
        quick(limits);
        limits.confirmation_window = Duration::from_secs(2);
    });
    let mut client = served.client();
    // The first message of all waits until the detector is built.
    client.post("/v1/messages", &message("m0", "Where is my order?")).is(200);
    client.post("/v1/messages", &message("m1", "BAJA")).is(200);
    waits_for(&mut client, "optout_confirmations_total{result=\"expired\"} 1");
    assert!(served.log().contains("given up after"), "{}", served.log());
}

#[test]
fn the_end_of_the_server_waits_for_what_is_due_and_not_for_more() {
    let endpoint = Endpoint::new(&[Turn::Says(503, "Retry-After: 200\r\n")]);
    let place = Place::new();
    file(&place).set(&shop(graph(&endpoint))).unwrap();
    let served = place.serve();
    served.client().post("/v1/messages", &message("m1", "BAJA")).is(200);
    endpoint.next();
    let mut client = served.client();
    waits_for(&mut client, "optout_confirmations_total{result=\"retried\"} 1");
    drop(client);
    let begin = Instant::now();
    served.end();
    assert!(begin.elapsed() < Duration::from_secs(60), "nobody waits 200 seconds");
    endpoint.is_quiet();
}

#[test]
fn no_secret_and_no_number_is_in_logs_and_answers() {
    let endpoint = Endpoint::new(&[Turn::Says(400, "")]);
    let (_place, served) = serve(graph(&endpoint));
    let mut client = served.client();
    let answer = client.post("/v1/messages", &message("m1", "BAJA"));
    endpoint.next();
    waits_for(&mut client, "optout_confirmations_total{result=\"failed\"} 1");
    let figures = client.get("/metrics").text().to_owned();
    let all = format!("{} {} {figures}", served.log(), answer.text());
    assert!(!all.contains(SECRET));
    assert!(!served.log().contains("5512345678") && !figures.contains("5512345678"));
}

#[test]
fn capture_is_not_switched_on_without_texts_and_a_change_is_seen_while_serving() {
    let place = Place::new();
    let file = file(&place);
    let served = place.serve_with(quick);
    let mut client = served.client();
    let mut it = shop(Delivery::None);
    it.languages = vec!["es".to_owned(), "pt".to_owned()];
    match file.set(&it) {
        Err(CaptureError::Settings(errors)) => assert_eq!(errors[0].field, "confirmations.pt"),
        other => panic!("{other:?}"),
    }
    it.confirmations.insert("pt".to_owned(), "Você não receberá mais mensagens.".to_owned());
    it.words = "lone.opt_out\tcucurucho".to_owned();
    file.set(&it).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    for at in 0.. {
        let mut item = message(&format!("m{at}"), "cucurucho");
        item["number"] = json!(format!("+5255{:08}", 10_000_000 + at));
        if first(&client.post("/v1/messages", &item).is(200))["rule"] == "lone_word" {
            break;
        }
        assert!(Instant::now() < end, "the change is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_list_that_can_not_be_read_takes_nothing() {
    let (place, served) = serve(Delivery::None);
    let mut client = served.client();
    client.post("/v1/messages", &message("m1", "BAJA")).is(200);
    std::fs::write(place.store().join("capture.json"), b"{").unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while client.post("/v1/messages", &message("m1", "BAJA")).status == 200 {
        assert!(Instant::now() < end, "the damage is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    client.post("/v1/messages", &message("m2", "BAJA")).refuses(503);
    std::fs::remove_file(place.store().join("capture.json")).unwrap();
    while client.post("/v1/messages", &message("m1", "BAJA")).status != 200 {
        assert!(Instant::now() < end, "the repair is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(client);
    served.end();
    std::fs::write(place.store().join("capture.json"), b"{").unwrap();
    let served = place.serve();
    served.client().post("/v1/messages", &message("m3", "BAJA")).refuses(503);
}

#[test]
fn messages_that_are_not_as_described_say_why_and_stop_no_others() {
    let (place, served) = serve(Delivery::None);
    let mut client = served.client();
    let items = json!({"items": [
        message("m1", "BAJA"),
        {"number": "12", "text": "STOP", "message_id": "m2"},
        {"text": "STOP", "message_id": "m3"},
        {"number": "+525512345670", "message_id": "m4"},
        {"number": "+525512345670", "text": "STOP", "preference": "stop", "message_id": "m5"},
        {"number": "+525512345670", "text": "STOP", "message_id": " "},
        {"number": "+525512345670", "text": "STOP", "message_id": "m6", "channel": "fax"},
        {"number": "+525512345670", "preference": "maybe", "message_id": "m7"},
        {"id": "nobody", "text": "STOP", "message_id": "m8"},
        {"number": "+525512345670", "text": "STOP", "message_id": "m9", "occurred_at": "2999-01-01"},
        {"number": "+525512345670", "button": {}, "message_id": "m10"},
        message("m11", "Where is my order?"),
    ]});
    let answer = client.post("/v1/messages", &items).is(200);
    let fields: Vec<&str> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["errors"][0]["field"].as_str().unwrap_or("-"))
        .collect();
    let expected = [
        "-",
        "number",
        "number",
        "text",
        "text",
        "message_id",
        "channel",
        "preference",
        "id",
        "occurred_at",
        "button",
        "-",
    ];
    assert_eq!(fields, expected);
    assert_eq!((&answer["recorded"], &answer["invalid"]), (&json!(1), &json!(10)));
    assert_eq!(answer["items"][11]["outcome"], "none");
    for bad in [
        json!({"items": []}),
        json!({"number": "12", "text": "x", "message_id": "m"}),
        json!({"nonsense": 1}),
    ] {
        client.post("/v1/messages", &bad).refuses(422);
    }
    let many: Vec<Value> = (0..1001).map(|at| message(&format!("x{at}"), "hi")).collect();
    client.post("/v1/messages", &json!({"items": many})).refuses(422);
    drop(client);
    served.end();
    let (check, _) = place.key(&[KeyScope::Check]);
    let (add, _) = place.key(&[KeyScope::Add]);
    let served = place.serve();
    served.client().post("/v1/messages", &message("m1", "BAJA")).refuses(401);
    served.client().with_key(&check).post("/v1/messages", &message("m1", "BAJA")).refuses(403);
    served.client().with_key(&add).post("/v1/messages", &message("m1", "BAJA")).is(200);
}

#[test]
fn settings_hold_their_secrets_in_a_file_of_the_owner_alone() {
    let endpoint = Endpoint::new(&[]);
    let (place, served) = serve(generic(&endpoint));
    drop(served);
    let path = place.store().join("capture.json");
    assert!(std::fs::read_to_string(&path).unwrap().contains(SECRET));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let shown = format!("{:?}", file(&place).list().unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
}
