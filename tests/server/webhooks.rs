//! Webhooks: whose signature counts, what is taken of a delivery, and how often.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use optout::capture::{Provider, Secret, SenderSettings};
use optout::disk::RealDisk;
use optout::server::{CaptureFile, KeyScope, Rate};
use optout::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::Sha256;

use crate::harness::{Answer, Client, JSON, Place, Served};

const APP_SECRET: &str = "app-secret-of-shop";
const VERIFY: &str = "verify-token-1";
const AUTH_TOKEN: &str = "auth-token-of-twilio";
const URL: &str = "https://optout.example.com/webhooks/twilio";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const NUMBER: &str = "+525512345678";

fn sender(name: &str, id: &str, channel: &str, provider: Provider) -> SenderSettings {
    let mut it = SenderSettings::new(name, channel);
    it.provider_id = id.to_owned();
    it.provider = provider;
    it.language = "es".to_owned();
    it.confirmations = [("es".to_owned(), "Ya no recibirás más mensajes.".to_owned())].into();
    it.capture = true;
    it
}

fn meta(name: &str, id: &str, secret: &str) -> SenderSettings {
    let (app_secret, verify_token) = (Secret::new(secret), Secret::new(VERIFY));
    sender(name, id, "whatsapp", Provider::Meta { app_secret, verify_token })
}

fn set_up(place: &Place) {
    let file = CaptureFile::open(Arc::new(RealDisk::new(place.store()))).unwrap();
    let auth_token = Secret::new(AUTH_TOKEN);
    let twilio = Provider::Twilio { auth_token, url: URL.to_owned() };
    let generic = Provider::Generic { secret: Secret::new(SECRET) };
    for settings in [
        meta("shop", "106540352242922", APP_SECRET),
        meta("bank", "2002", "app-secret-of-bank"),
        sender("alerts", "+14155238886", "sms", twilio),
        sender("assistant", "", "telegram", generic),
    ] {
        file.set(&settings).unwrap();
    }
}

fn serve() -> (Place, Served) {
    let place = Place::new();
    set_up(&place);
    let served = place.serve();
    (place, served)
}

fn sha256(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn meta_tag(secret: &str, body: &[u8]) -> String {
    let hex: String =
        sha256(secret.as_bytes(), &[body]).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn deliver(client: &mut Client, body: &[u8]) -> Answer {
    let tag = meta_tag(APP_SECRET, body);
    client.ask("POST", "/webhooks/meta", &[JSON, ("X-Hub-Signature-256", &tag)], body)
}

fn delivery_to(id: &str, values: &[Value]) -> Vec<u8> {
    let entries: Vec<Value> = values
        .iter()
        .map(|value| {
            let mut value = value.clone();
            value["metadata"] = json!({"phone_number_id": id});
            json!({"id": "1", "changes": [{"field": "messages", "value": value}]})
        })
        .collect();
    json!({"object": "whatsapp_business_account", "entry": entries}).to_string().into_bytes()
}

fn delivery(values: &[Value]) -> Vec<u8> {
    delivery_to("106540352242922", values)
}

/// Seconds since 1970, so long ago.
fn ago(seconds: i64) -> i64 {
    Timestamp::now().as_millis() / 1000 - seconds
}

fn text(from: &str, id: &str, words: &str) -> Value {
    json!({
        "from": from, "id": id, "timestamp": ago(30).to_string(), "type": "text",
        "text": {"body": words},
    })
}

fn messages(messages: &[Value]) -> Value {
    json!({"messages": messages})
}

fn events(client: &mut Client, number: &str) -> Vec<Value> {
    let standing = client.get(&format!("/v1/numbers/{number}")).is(200);
    standing["events"].as_array().unwrap().clone()
}

fn count(client: &mut Client) -> u64 {
    client.get("/v1/stats").is(200)["sequence"].as_u64().unwrap()
}

#[track_caller]
fn is_refused(client: &mut Client, headers: &[(&str, &str)], path: &str, body: &[u8]) {
    let problem = client.ask("POST", path, headers, body).refuses(401);
    assert_eq!(problem["type"], "/problems/unsigned");
}

#[test]
fn a_stop_by_meta_is_durable_and_recorded_once_however_often_it_comes() {
    let (place, served) = serve();
    let mut client = served.client();
    let body = delivery(&[messages(&[text("525512345678", "wamid.1", "BAJA")])]);
    for _ in 0..50 {
        let answer = deliver(&mut client, &body).is(200);
        assert_eq!(answer, json!({"taken": 1, "ignored": 0}));
    }
    let known = events(&mut client, NUMBER);
    assert_eq!(known.len(), 1);
    let event = &known[0];
    assert_eq!((&event["sender"], &event["channel"]), (&json!("shop"), &json!("whatsapp")));
    assert_eq!((&event["source"], &event["word"]), (&json!("keyword"), &json!("baja")));
    assert_eq!(
        (&event["message_id"], &event["operator"]),
        (&json!("wamid.1"), &json!("webhook meta"))
    );
    served.end();
    let served = place.serve();
    let mut client = served.client();
    deliver(&mut client, &body).is(200);
    assert_eq!(events(&mut client, NUMBER).len(), 1);
}

#[test]
fn only_the_app_secret_over_the_bytes_that_came_opens_the_webhook_of_meta() {
    let (_place, served) = {
        let place = Place::new();
        set_up(&place);
        let served = place.serve_with(|limits| {
            limits.failure_rate = Rate { per_second: 1e6, burst: 1e6 };
        });
        (place, served)
    };
    let mut client = served.client();
    let body = delivery(&[messages(&[text("525512345678", "wamid.1", "BAJA")])]);
    let tag = meta_tag(APP_SECRET, &body);
    let name = "X-Hub-Signature-256";
    let path = "/webhooks/meta";
    let (upper, hex) = (tag.replace("sha256", "SHA256"), &tag[7..]);
    let other = meta_tag("another-secret-1", &body);
    let none = meta_tag("", &body);
    let sha1 = BASE64.encode([7; 20]);
    for headers in [
        vec![JSON],
        vec![JSON, (name, "")],
        vec![JSON, (name, "sha256=")],
        vec![JSON, (name, &tag), (name, &tag)],
        vec![JSON, (name, &upper)],
        vec![JSON, (name, hex)],
        vec![JSON, (name, &other)],
        vec![JSON, (name, &none)],
        vec![JSON, ("X-Hub-Signature", &sha1)],
        vec![JSON, (name, &tag[..tag.len() - 1])],
    ] {
        is_refused(&mut client, &headers, path, &body);
    }
    for at in [0, body.len() / 2, body.len() - 1] {
        let mut changed = body.clone();
        changed[at] ^= 1;
        is_refused(&mut client, &[JSON, (name, &tag)], path, &changed);
    }
    // The same JSON, written otherwise.
    let parsed: Value = serde_json::from_slice(&body).unwrap();
    let again = serde_json::to_vec_pretty(&parsed).unwrap();
    is_refused(&mut client, &[JSON, (name, &tag)], path, &again);
    let query = format!("{path}?X-Hub-Signature-256={tag}");
    is_refused(&mut client, &[JSON], &query, &body);
    assert_eq!(count(&mut client), 0);
    client.ask("POST", path, &[("Content-Type", "text/plain"), (name, &tag)], &body).refuses(415);
    deliver(&mut client, &body).is(200);
    let figures = client.get("/metrics").text().to_owned();
    assert!(figures.contains("\noptout_webhook_unsigned_total 15\n"), "{figures}");
    assert!(!served.log().contains("5512345678") && !served.log().contains(hex));
}

#[test]
fn wrong_signatures_of_a_peer_are_counted_and_right_ones_pass_meanwhile() {
    let place = Place::new();
    set_up(&place);
    let served = place.serve_with(|limits| {
        limits.failure_rate = Rate { per_second: 0.001, burst: 3.0 };
    });
    let mut client = served.client();
    for _ in 0..3 {
        is_refused(&mut client, &[JSON], "/webhooks/meta", b"{}");
    }
    let answer = client.ask("POST", "/webhooks/twilio", &[FORM], b"");
    answer.refuses(429);
    assert!(answer.header("retry-after").is_some());
    client.get("/webhooks/meta?hub.mode=subscribe&hub.verify_token=x").refuses(429);
    deliver(&mut client, &delivery(&[])).is(200);
}

#[test]
fn without_a_secret_that_is_set_up_no_webhook_is_open() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let body = delivery(&[messages(&[text("525512345678", "wamid.1", "BAJA")])]);
    let tag = meta_tag("", &body);
    is_refused(&mut client, &[JSON, ("X-Hub-Signature-256", &tag)], "/webhooks/meta", &body);
    client.get("/webhooks/meta?hub.mode=subscribe&hub.verify_token=&hub.challenge=1").refuses(401);
    // Once it is set up, a running server follows.
    set_up(&place);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while deliver(&mut client, &body).status != 200 {
        assert!(std::time::Instant::now() < end, "it never was open");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // A list that can't be read is none that says "nobody".
    std::fs::write(place.store().join("capture.json"), b"{").unwrap();
    while deliver(&mut client, &body).status != 503 {
        assert!(std::time::Instant::now() < end, "it never was closed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn meta_is_told_its_challenge_and_nothing_else() {
    let (_place, served) = serve();
    let mut client = served.client();
    let path = |token: &str, challenge: &str| {
        let mode = "/webhooks/meta?hub.mode=subscribe";
        format!("{mode}&hub.verify_token={token}&hub.challenge={challenge}")
    };
    let answer = client.get(&path(VERIFY, "1158201444"));
    assert_eq!((answer.status, answer.text()), (200, "1158201444"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for challenge in ["", "%3Cscript%3E", "a%0d%0ab", "1+1", &"1".repeat(129)] {
        client.get(&path(VERIFY, challenge)).refuses(422);
    }
    for asked in [
        path("verify-token-2", "1"),
        path("", "1"),
        path(VERIFY, "1").replace("subscribe", "unsubscribe"),
        format!("{}&hub.verify_token=other", path(VERIFY, "1")),
        "/webhooks/meta".to_owned(),
    ] {
        client.get(&asked).refuses(401);
    }
}

#[test]
fn a_message_that_cant_be_read_stops_no_other_and_asks_for_the_delivery_again() {
    let (_place, served) = serve();
    let mut client = served.client();
    let broken =
        json!({"from": "somebody", "id": "wamid.2", "type": "text", "text": {"body": "x"}});
    let first = messages(&[text("525512345678", "wamid.1", "BAJA"), broken]);
    let second = messages(&[text("525587654321", "wamid.3", "hola, ¿a qué hora abren?")]);
    let third = messages(&[text("525500000001", "wamid.4", "STOP")]);
    let body = delivery(&[first, second, third]);
    for _ in 0..2 {
        let answer = deliver(&mut client, &body);
        assert_eq!(answer.refuses(503)["type"], "/problems/unreadable");
        assert_eq!(answer.header("retry-after"), Some("60"));
    }
    assert_eq!(count(&mut client), 2);
    assert_eq!(events(&mut client, NUMBER).len(), 1);
    assert_eq!(events(&mut client, "+525500000001").len(), 1);
    let log = served.log();
    assert!(log.contains("1 parts of a delivery could not be read, 3 were taken"), "{log}");
    let figures = client.get("/metrics").text().to_owned();
    assert!(figures.contains("\noptout_webhook_unreadable_total 2\n"), "{figures}");
}

#[test]
fn a_start_that_arrives_late_lifts_no_later_stop() {
    let (_place, served) = serve();
    let mut client = served.client();
    let message = |id: &str, seconds: i64, words: &str| {
        let mut it = text("525512345678", id, words);
        it["timestamp"] = json!(ago(seconds));
        delivery(&[messages(&[it])])
    };
    let is_out = |client: &mut Client| {
        client.get(&format!("/v1/numbers/{NUMBER}")).is(200)["opted_out"].as_bool().unwrap()
    };
    deliver(&mut client, &message("wamid.1", 60, "STOP")).is(200);
    deliver(&mut client, &message("wamid.0", 120, "START")).is(200);
    assert!(is_out(&mut client));
    // A moment to come is none.
    deliver(&mut client, &message("wamid.2", 30, "START")).is(200);
    assert!(!is_out(&mut client));
    deliver(&mut client, &message("wamid.3", -100_000_000, "STOP")).is(200);
    assert!(is_out(&mut client));
    deliver(&mut client, &message("wamid.2", 30, "START")).is(200);
    assert!(is_out(&mut client));
}

#[test]
fn ids_preferences_and_earlier_stops_are_recorded() {
    let (_place, served) = serve();
    let mut client = served.client();
    let id_only = json!({
        "from_user_id": "MX.1349", "id": "wamid.1", "timestamp": ago(9), "type": "button",
        "button": {"payload": "x", "text": "Cancelar suscripción"},
    });
    let set = |value: &str, seconds: i64| {
        json!({"user_preferences": [{
            "wa_id": "525587654321", "user_id": "MX.77", "category": "marketing_messages",
            "value": value, "timestamp": ago(seconds), "detail": "User requested",
        }]})
    };
    let failed = json!({"statuses": [{
        "id": "wamid.9", "status": "failed", "timestamp": ago(9).to_string(),
        "recipient_id": "525500000001", "errors": [{"code": 131_050, "title": "stopped"}],
    }, {"id": "wamid.10", "status": "read", "recipient_id": "525500000002"}]});
    let body = delivery(&[messages(&[id_only]), set("stop", 60), failed]);
    assert_eq!(deliver(&mut client, &body).is(200), json!({"taken": 3, "ignored": 1}));
    assert_eq!(events(&mut client, "MX.1349")[0]["source"], "button");
    for address in ["+525587654321", "MX.77"] {
        assert_eq!(events(&mut client, address)[0]["source"], "preference", "{address}");
    }
    let stopped = &events(&mut client, "+525500000001")[0];
    assert_eq!(
        (&stopped["source"], &stopped["message_id"]),
        (&json!("carrier"), &json!("wamid.9"))
    );
    assert!(events(&mut client, "+525500000002").is_empty());
    let number = "/v1/numbers/+525587654321";
    for (resumed, seconds, is_out) in
        [("resume", 90, true), ("resume", 30, false), ("stop", 20, true)]
    {
        deliver(&mut client, &delivery(&[set(resumed, seconds)])).is(200);
        assert_eq!(client.get(number).is(200)["opted_out"], is_out, "{resumed} {seconds}");
    }
}

#[test]
fn a_secret_vouches_for_its_own_senders_only() {
    let (_place, served) = serve();
    let mut client = served.client();
    let start = delivery_to("2002", &[messages(&[text("525512345678", "wamid.1", "START")])]);
    let stop = delivery_to("2002", &[messages(&[text("525587654321", "wamid.2", "STOP")])]);
    client.post("/v1/optouts", &json!({"number": NUMBER, "source": "keyword", "sender": "bank", "channel": "whatsapp", "occurred_at": "2026-01-01"})).is(200);
    // By the secret of the shop: whoever has it can't lift what was said to the bank.
    deliver(&mut client, &start).is(200);
    assert_eq!(client.get(&format!("/v1/numbers/{NUMBER}")).is(200)["opted_out"], true);
    deliver(&mut client, &stop).is(200);
    let event = &events(&mut client, "+525587654321")[0];
    assert_eq!((&event["sender"], &event["channel"]), (&json!(""), &json!("whatsapp")));
    let tag = meta_tag("app-secret-of-bank", &start);
    let headers = [JSON, ("X-Hub-Signature-256", &*tag)];
    client.ask("POST", "/webhooks/meta", &headers, &start).is(200);
    assert_eq!(client.get(&format!("/v1/numbers/{NUMBER}")).is(200)["opted_out"], false);
}

#[test]
fn an_opt_out_names_the_campaign_that_it_answers() {
    let (place, served) = serve();
    let mut client = served.client();
    let ids = json!({"ids": ["wamid.out.1", "wamid.out.2"]});
    let told = client.post("/v1/campaigns/spring%20sale/messages", &ids).is(200);
    assert_eq!(told, json!({"remembered": 2}));
    let status = json!({"statuses": [{
        "id": "wamid.out.3", "status": "sent", "timestamp": ago(9).to_string(),
        "recipient_id": "525500000003", "biz_opaque_callback_data": "summer",
    }]});
    deliver(&mut client, &delivery(&[status])).is(200);
    let answer = |from: &str, id: &str, answered: &str| {
        let mut it = text(from, id, "BAJA");
        it["context"] = json!({"id": answered, "from": "15550783881"});
        it
    };
    served.end();
    let served = place.serve();
    let mut client = served.client();
    let all = [
        answer("525500000001", "wamid.1", "wamid.out.2"),
        answer("525500000002", "wamid.2", "wamid.out.3"),
        answer("525500000003", "wamid.3", "wamid.out.4"),
    ];
    deliver(&mut client, &delivery(&[messages(&all)])).is(200);
    for (number, campaign) in [(1, "spring sale"), (2, "summer"), (3, "")] {
        let known = events(&mut client, &format!("+52550000000{number}"));
        assert_eq!(known[0]["campaign"], campaign, "{number}");
    }
    let posted = json!({
        "number": "+525500000004", "channel": "whatsapp", "text": "stop", "message_id": "m1",
        "answers": "wamid.out.1",
    });
    client.post("/v1/messages", &posted).is(200);
    assert_eq!(events(&mut client, "+525500000004")[0]["campaign"], "spring sale");
    let many = json!({"ids": vec!["x"; 10_001]});
    client.post("/v1/campaigns/a/messages", &many).refuses(422);
    client.post("/v1/campaigns/a/messages", &json!({"ids": [""]})).refuses(422);
    client.post("/v1/campaigns/a%00/messages", &ids).refuses(422);
    // The table is a file of the store: the other commands leave it alone.
    assert!(optout::store::verify(place.store()).unwrap().is_sound());
    assert!(place.store().join("sent.table").exists());
}

fn twilio_tag(url: &str, pairs: &[(&str, &str)]) -> String {
    let mut sorted = pairs.to_vec();
    sorted.sort_unstable();
    let mut mac = Hmac::<Sha1>::new_from_slice(AUTH_TOKEN.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    BASE64.encode(mac.finalize().into_bytes())
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let byte = |it: u8| match it {
            b' ' => "+".to_owned(),
            it if it.is_ascii_alphanumeric() => char::from(it).to_string(),
            it => format!("%{it:02X}"),
        };
        text.bytes().map(byte).collect()
    };
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn post_form(client: &mut Client, pairs: &[(&str, &str)]) -> Answer {
    let tag = twilio_tag(URL, pairs);
    let headers = [FORM, ("X-Twilio-Signature", &*tag)];
    client.ask("POST", "/webhooks/twilio", &headers, encoded(pairs).as_bytes())
}

const STOP: [(&str, &str); 6] = [
    ("From", "+525512345678"),
    ("To", "+14155238886"),
    ("Body", "BAJA, por favor + ya  "),
    ("MessageSid", "SM1"),
    ("SmsStatus", "received"),
    ("FromCity", ""),
];

#[test]
fn a_form_of_twilios_is_taken_and_answered_with_the_confirmation_once() {
    let (_place, served) = serve();
    let mut client = served.client();
    let answer = post_form(&mut client, &STOP);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/xml; charset=utf-8"))
    );
    let confirmation = "<Response><Message>Ya no recibirás más mensajes.</Message></Response>";
    assert!(answer.text().ends_with(confirmation), "{}", answer.text());
    let again = post_form(&mut client, &STOP);
    assert!(again.text().ends_with("?><Response/>"), "{}", again.text());
    let known = events(&mut client, NUMBER);
    assert_eq!((known.len(), &known[0]["sender"]), (1, &json!("alerts")));
    let accented = [
        ("From", "whatsapp:+525587654321"),
        ("To", "whatsapp:+14155238886"),
        ("Body", "no más mensajes 🛑"),
        ("MessageSid", "SM2"),
    ];
    assert_eq!(post_form(&mut client, &accented).status, 200);
    assert_eq!(events(&mut client, "+525587654321").len(), 1);
    let failed = [
        ("From", "+14155238886"),
        ("To", "+525500000001"),
        ("MessageStatus", "failed"),
        ("ErrorCode", "21610"),
        ("MessageSid", "SM3"),
    ];
    assert!(post_form(&mut client, &failed).text().ends_with("<Response/>"));
    assert_eq!(events(&mut client, "+525500000001")[0]["source"], "carrier");
    let answered = [
        ("From", "+525500000002"),
        ("To", "+14155238886"),
        ("Body", "BASTA"),
        ("OptOutType", "STOP"),
        ("MessageSid", "SM4"),
    ];
    assert!(post_form(&mut client, &answered).text().ends_with("<Response/>"));
    assert_eq!(events(&mut client, "+525500000002").len(), 1);
    assert!(!served.log().contains("5512345678"));
}

#[test]
fn only_the_auth_token_over_address_and_pairs_opens_the_webhook_of_twilio() {
    let place = Place::new();
    set_up(&place);
    let served = place.serve_with(|limits| {
        limits.failure_rate = Rate { per_second: 1e6, burst: 1e6 };
    });
    let mut client = served.client();
    let (path, name) = ("/webhooks/twilio", "X-Twilio-Signature");
    let body = encoded(&STOP);
    let tag = twilio_tag(URL, &STOP);
    let elsewhere = twilio_tag("https://evil.example.com/webhooks/twilio", &STOP);
    for headers in [
        vec![FORM],
        vec![FORM, (name, &tag), (name, &tag)],
        vec![FORM, (name, "")],
        vec![FORM, (name, "AAAA")],
        vec![FORM, (name, &elsewhere), ("X-Forwarded-Host", "evil.example.com")],
    ] {
        is_refused(&mut client, &headers, path, body.as_bytes());
    }
    for changed in
        [body.replace("BAJA", "ALTA"), format!("{body}&x=1"), body.replace("FromCity=", "")]
    {
        is_refused(&mut client, &[FORM, (name, &tag)], path, changed.as_bytes());
    }
    is_refused(&mut client, &[FORM, (name, &tag)], "/webhooks/twilio?a=b", body.as_bytes());
    let with_query = twilio_tag(&format!("{URL}?a=b"), &STOP);
    let headers = [FORM, (name, &*with_query)];
    assert_eq!(client.ask("POST", "/webhooks/twilio?a=b", &headers, body.as_bytes()).status, 200);

    let json = br#"{"From":"+525500000001","To":"+14155238886","Body":"STOP","MessageSid":"SM9"}"#;
    use sha2::Digest as _;
    let digest: String = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
    let asked = format!("{path}?bodySHA256={digest}");
    let tag = twilio_tag(&format!("{URL}?bodySHA256={digest}"), &[]);
    let headers = [JSON, (name, &*tag)];
    let mut changed = json.to_vec();
    changed[10] ^= 1;
    is_refused(&mut client, &headers, &asked, &changed);
    let bare = twilio_tag(URL, &[]);
    is_refused(&mut client, &[JSON, (name, &bare)], path, json);
    assert_eq!(client.ask("POST", &asked, &headers, json).status, 200);
    assert_eq!(events(&mut client, "+525500000001").len(), 1);
}

fn post_signed(
    client: &mut Client,
    sender: &str,
    at: i64,
    secrets: &[&str],
    body: &[u8],
) -> Answer {
    let time = at.to_string();
    let tags = secrets.iter().map(|secret| {
        let key = BASE64.decode(secret.trim_start_matches("whsec_")).unwrap();
        let parts: [&[u8]; 5] = [b"msg_1", b".", time.as_bytes(), b".", body];
        format!("v1,{}", BASE64.encode(sha256(&key, &parts)))
    });
    let tags = tags.collect::<Vec<_>>().join(" ");
    let headers =
        [JSON, ("webhook-id", "msg_1"), ("webhook-timestamp", &time), ("webhook-signature", &tags)];
    client.ask("POST", &format!("/webhooks/generic/{sender}"), &headers, body)
}

#[test]
fn a_program_of_ones_own_signs_what_it_posts() {
    let (_place, served) = serve();
    let mut client = served.client();
    let body = json!({"number": NUMBER, "channel": "telegram", "text": "baja", "message_id": "m1"});
    let body = body.to_string().into_bytes();
    let now = ago(0);
    let answer = post_signed(&mut client, "assistant", now, &[SECRET], &body).is(200);
    assert_eq!(answer["items"][0]["outcome"], "added");
    assert_eq!(answer["items"][0]["confirmation"]["delivery"], "caller");
    let known = events(&mut client, NUMBER);
    assert_eq!(
        (&known[0]["sender"], &known[0]["operator"]),
        (&json!("assistant"), &json!("webhook generic"))
    );
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAA";
    let again = post_signed(&mut client, "assistant", now, &[other, SECRET], &body).is(200);
    assert_eq!(again["items"][0]["outcome"], "already");
    assert_eq!(events(&mut client, NUMBER).len(), 1);
    for at in [now - 400, now + 400] {
        let answer = post_signed(&mut client, "assistant", at, &[SECRET], &body);
        assert!(answer.refuses(401)["detail"].as_str().unwrap().contains("5 minutes"));
    }
    for (sender, secret) in [("assistant", other), ("nobody", SECRET), ("shop", SECRET)] {
        post_signed(&mut client, sender, now, &[secret], &body).refuses(401);
    }
    is_refused(&mut client, &[JSON], "/webhooks/generic/assistant", &body);
    post_signed(&mut client, "assistant", now, &[SECRET], b"{}").refuses(422);
}

#[test]
fn bodies_without_end_and_hostile_texts_harm_nobody() {
    let (_place, served) = serve();
    let mut client = served.client();
    let large = vec![b' '; (4 << 20) + 1];
    let tag = meta_tag(APP_SECRET, &large);
    let mut head = format!(
        "POST /webhooks/meta HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: {tag}\r\n"
    );
    head.push_str("Content-Type: application/json\r\n");
    let mut declared = served.client();
    declared.send(format!("{head}Content-Length: 999999999999\r\n\r\n").as_bytes());
    assert_eq!(declared.answer().unwrap().status, 413);
    let mut endless = served.client();
    endless.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..200 {
        if !endless.try_send(&chunk) {
            break;
        }
    }
    let answer = endless.answer().map_or(413, |answer| answer.status);
    assert_eq!(answer, 413);
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    deliver(&mut client, &deep).refuses(400);
    deliver(&mut client, b"\xff\xfe").refuses(400);
    deliver(&mut client, br#"{"object":"instagram","entry":[]}"#).refuses(422);

    let hostile = "=HYPERLINK(\"http://x\",\"<script>\")";
    let mut message = text("525512345678", &format!("{hostile}\r\n"), "STOP");
    message["context"] = json!({"id": hostile});
    let contacts = json!([{"profile": {"name": hostile}, "wa_id": "525512345678"}]);
    let status = json!({"id": hostile, "status": "sent", "biz_opaque_callback_data": hostile});
    let told = json!({"statuses": [status]});
    let said = json!({"messages": [message], "contacts": contacts});
    deliver(&mut client, &delivery(&[told, said])).is(200);
    let csv = client.get("/v1/optouts/export?format=csv").text().to_owned();
    assert!(csv.contains("HYPERLINK"), "the campaign is there: {csv}");
    assert!(!csv.split([',', '\n', '"']).any(|cell| cell.starts_with('=')), "{csv}");
    assert!(!served.log().contains("HYPERLINK"));
}

#[test]
fn no_signed_body_makes_the_server_fail() {
    let (_place, served) = serve();
    let mut client = served.client();
    let shapes = proptest::string::string_regex(
        r#"[\x00-\xff]{0,40}|(\{|\}|\[|\]|:|,|"(object|entry|changes|value|messages|statuses|from|id|type|text|body|whatsapp_business_account|STOP)"|7|null){0,30}"#,
    );
    let mut runner = TestRunner::new(ProptestConfig { cases: 400, ..ProptestConfig::default() });
    let client = std::cell::RefCell::new(&mut client);
    runner
        .run(&shapes.unwrap(), |body| {
            let mut client = client.borrow_mut();
            let client: &mut Client = &mut client;
            let inner = format!(r#"{{"object":"whatsapp_business_account","entry":{body}}}"#);
            for body in [&body, &inner] {
                let answer = deliver(client, body.as_bytes());
                let is_told = answer.text().contains("/problems/unreadable");
                prop_assert!(answer.status < 500 || is_told, "{} {}", answer.status, body);
                let signed = post_signed(client, "assistant", ago(0), &[SECRET], body.as_bytes());
                prop_assert!(signed.status < 500, "{} {}", signed.status, body);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn webhooks_need_no_key_and_everything_else_does() {
    let place = Place::new();
    set_up(&place);
    let (key, _) = place.key(&[KeyScope::Add]);
    let served = place.serve();
    let mut client = served.client();
    deliver(&mut client, &delivery(&[messages(&[text("525512345678", "wamid.1", "BAJA")])]))
        .is(200);
    let ids = json!({"ids": ["wamid.1"]});
    client.post("/v1/campaigns/a/messages", &ids).refuses(401);
    served.client().with_key(&key).post("/v1/campaigns/a/messages", &ids).is(200);
    // A key is no signature.
    let keyed = served.client().with_key(&key).ask("POST", "/webhooks/meta", &[JSON], b"{}");
    keyed.refuses(401);
    for path in ["/webhooks", "/webhooks/", "/webhooks/other", "/webhooks/generic/"] {
        client.ask("POST", path, &[JSON], b"{}").refuses(401);
    }
}
