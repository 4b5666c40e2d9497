//! Keys, scopes, rates, what is logged.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use optout::server::{KeyScope, Rate, ServeError, Server, Settings};
use serde_json::{Value, json};

use crate::harness::{Client, Place, Served};

const NUMBER: &str = "+525512345678";

/// What each route needs, and a request that it answers.
fn routes() -> Vec<(&'static str, &'static str, Option<KeyScope>, Value)> {
    vec![
        ("POST", "/v1/optouts", Some(KeyScope::Add), json!({"number": NUMBER})),
        (
            "POST",
            "/v1/resubscribes",
            Some(KeyScope::Resubscribe),
            json!({"number": NUMBER, "reason": "START"}),
        ),
        ("POST", "/v1/check", Some(KeyScope::Check), json!({"recipients": [NUMBER]})),
        ("GET", "/v1/numbers/+525512345678", Some(KeyScope::Check), Value::Null),
        ("GET", "/v1/optouts", Some(KeyScope::Export), Value::Null),
        ("GET", "/v1/optouts/export", Some(KeyScope::Export), Value::Null),
        ("GET", "/v1/stats", Some(KeyScope::Export), Value::Null),
        ("GET", "/metrics", Some(KeyScope::Admin), Value::Null),
        ("GET", "/openapi.json", None, Value::Null),
    ]
}

fn status(client: &mut Client, method: &str, path: &str, body: &Value) -> u16 {
    match method {
        "POST" => client.post(path, body).status,
        _ => client.get(path).status,
    }
}

#[test]
fn a_key_opens_its_scopes_and_nothing_else() {
    let place = Place::new();
    let keys: Vec<_> = KeyScope::ALL.iter().map(|&scope| (scope, place.key(&[scope]).0)).collect();
    let served = place.serve();
    for (scope, key) in &keys {
        let mut client = served.client().with_key(key);
        for (method, path, needed, body) in routes() {
            let opens = needed.is_none_or(|needed| needed == *scope);
            let expected = if opens { 200 } else { 403 };
            assert_eq!(status(&mut client, method, path, &body), expected, "{scope} {path}");
        }
    }
}

#[test]
fn without_a_key_nothing_is_answered_but_whether_the_server_lives() {
    let place = Place::new();
    let (key, _) = place.key(KeyScope::ALL);
    let served = place.serve_with(|limits| {
        limits.failure_rate = Rate { per_second: 1e6, burst: 1e6 };
    });
    let document = served.client().with_key(&key).get("/openapi.json").is(200);
    let mut client = served.client();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_open = methods["get"].get("security").is_none() && methods.get("post").is_none();
        assert_eq!(is_open, matches!(path.as_str(), "/healthz" | "/readyz"), "{path}");
        // What needs a signature tells without one which methods it has, and nothing else.
        let is_signed = path.starts_with("/webhooks/");
        let is_refusal = |status| status == 401 || (is_signed && status == 405);
        let asked = path.replace("{number}", NUMBER);
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "MADEUP"] {
            let mut client = served.client();
            client.send(format!("{method} {asked} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
            let status = client.answer().map_or(401, |answer| answer.status);
            assert!(is_open || is_refusal(status), "{method} {path} {status}");
        }
        for other in [
            format!("{asked}/"),
            format!("/{asked}"),
            format!("{asked}?key={key}"),
            asked.replacen('/', "/.%2e/", 1),
            asked.replacen("/v1", "/V1", 1),
            asked.replacen("/v1", "/%761", 1),
        ] {
            let status = client.get(&other).status;
            assert!(is_open || is_refusal(status), "{other} {status}");
        }
    }
    client.get("/nothing").refuses(401);
    let answer = client.get("/v1/stats");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let basic = format!("Basic {key}");
    let twice = format!("Bearer {key}");
    for headers in [
        vec![("Authorization", basic.as_str())],
        vec![("Authorization", "Bearer")],
        vec![("Authorization", "Bearer ")],
        vec![("Authorization", key.as_str())],
        vec![("X-Api-Key", key.as_str())],
        vec![("Authorization", twice.as_str()), ("Authorization", twice.as_str())],
    ] {
        client.ask("GET", "/v1/stats", &headers, b"").refuses(401);
    }
}

/// Asks on one connection until the status is this; how long it took.
fn until(client: &mut Client, status: u16) -> Duration {
    let begin = Instant::now();
    while client.get("/v1/stats").status != status {
        assert!(begin.elapsed() < Duration::from_secs(10), "it never was {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
    begin.elapsed()
}

#[test]
fn a_revoked_key_is_refused_within_a_second_on_the_same_connection() {
    let place = Place::new();
    let (key, id) = place.key(&[KeyScope::Export]);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    client.get("/v1/stats").is(200);
    place.keys().revoke(&id, optout::time::Timestamp::now()).unwrap();
    let took = until(&mut client, 401);
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The other way round: a key that is made while the server runs opens.
    let (key, _) = place.key(&[KeyScope::Export]);
    until(&mut served.client().with_key(&key), 200);
}

#[test]
fn the_first_key_closes_the_server_and_a_lost_list_keeps_it_closed() {
    let place = Place::new();
    let served = place.serve_with(|limits| {
        limits.failure_rate = Rate { per_second: 1e6, burst: 1e6 };
    });
    let mut client = served.client();
    client.get("/v1/stats").is(200);
    let (key, _) = place.key(&[KeyScope::Export]);
    until(&mut client, 401);
    let mut holder = served.client().with_key(&key);
    until(&mut holder, 200);
    let list = place.store().join("keys.json");
    let bytes = fs::read(&list).unwrap();
    fs::write(&list, b"{").unwrap();
    until(&mut holder, 401);
    fs::write(&list, &bytes).unwrap();
    until(&mut holder, 200);
    fs::remove_file(&list).unwrap();
    until(&mut holder, 401);
    assert_eq!(client.get("/v1/stats").status, 401);
}

#[test]
fn without_keys_only_loopback_is_served() {
    let place = Place::new();
    let settings = || Settings::new("0.0.0.0:0".parse().unwrap());
    let refused = Server::bind(place.store(), settings());
    assert!(matches!(refused, Err(ServeError::Open { .. })));
    let (_, id) = place.key(&[KeyScope::Add]);
    drop(Server::bind(place.store(), settings()).unwrap());
    // A revoked key is no reason to open the doors.
    place.keys().revoke(&id, optout::time::Timestamp::now()).unwrap();
    let served = place.serve();
    served.client().get("/v1/stats").refuses(401);
}

#[test]
fn without_keys_a_server_that_is_called_by_another_name_answers_nothing() {
    // A name that leads here is how a page in a browser on this machine would ask.
    let place = Place::new();
    let ask = |served: &Served, host: &str| {
        let mut client = served.client();
        client.send(format!("GET /v1/stats HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        client.answer().unwrap().status
    };
    let served = place.serve();
    for host in ["localhost", "LocalHost:80", "127.0.0.1:8080", "127.1.2.3", "[::1]:9"] {
        assert_eq!(ask(&served, host), 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "", "a b"] {
        assert_eq!(ask(&served, host), 401, "{host}");
    }
    let other = b"GET http://evil.example/v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = served.client();
    client.send(other);
    assert_eq!(client.answer().unwrap().status, 401);
    served.end();
    // With a key it may have any name.
    let (key, _) = place.key(&[KeyScope::Export]);
    let served = place.serve();
    let mut client = served.client();
    let head = "GET /v1/stats HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer";
    client.send(format!("{head} {key}\r\n\r\n").as_bytes());
    assert_eq!(client.answer().unwrap().status, 200);
}

#[test]
fn wrong_keys_are_counted_for_the_peer_and_right_ones_pass() {
    let place = Place::new();
    let (key, _) = place.key(&[KeyScope::Export]);
    let served = place.serve_with(|limits| {
        limits.failure_rate = Rate { per_second: 0.01, burst: 5.0 };
    });
    let mut wrong = served.client().with_key("optout_0000");
    for _ in 0..5 {
        wrong.get("/v1/stats").refuses(401);
    }
    let answer = wrong.get("/v1/stats");
    answer.refuses(429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 1);
    served.client().with_key(&key).get("/v1/stats").is(200);
}

#[test]
fn a_key_that_asks_for_too_many_people_can_still_record_opt_outs() {
    let place = Place::new();
    let (key, _) = place.key(&[KeyScope::Check, KeyScope::Add]);
    let (other, _) = place.key(&[KeyScope::Check]);
    let served = place.serve_with(|limits| {
        limits.lookup_rate = Rate { per_second: 0.01, burst: 10.0 };
    });
    let mut client = served.client().with_key(&key);
    for _ in 0..10 {
        client.get("/v1/numbers/+525512345678").is(200);
    }
    client.get("/v1/numbers/+525512345678").refuses(429);
    client.post("/v1/optouts", &json!({"number": NUMBER})).is(200);
    served.client().with_key(&other).get("/v1/numbers/+525512345678").is(200);
}

#[test]
fn the_log_holds_no_number_no_key_and_no_text() {
    let place = Place::new();
    let (key, id) = place.key(KeyScope::ALL);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    let body = json!({"number": NUMBER, "note": "secret\r\nGET /forged 200", "campaign": "spring"});
    client.post("/v1/optouts", &body).is(200);
    client.get("/v1/numbers/+525512345678?sender=+525587654321").is(200);
    client.get("/v1/numbers/+525512345678,+525587654321").refuses(422);
    client.get("/+525512345678").refuses(404);
    client.ask("POST", "/v1/optouts", &[], b"+525512345678").refuses(415);
    served.client().with_key(&key[..key.len() - 1]).get("/v1/stats").refuses(401);
    let log = served.log();
    assert!(log.contains(&id) && log.contains("POST /v1/optouts 200"), "{log}");
    for secret in ["5512345678", "87654321", "spring", "secret", "forged", &key[7..20]] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    let stored = fs::read_to_string(place.store().join("keys.json")).unwrap();
    assert!(!stored.contains(&key[7..]));
}

#[test]
fn recorded_events_name_the_key_that_recorded_them() {
    let place = Place::new();
    let (key, id) = place.key(&[KeyScope::Add, KeyScope::Check]);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    client.post("/v1/optouts", &json!({"number": NUMBER})).is(200);
    let person = client.get("/v1/numbers/+525512345678").is(200);
    assert_eq!(person["events"][0]["operator"], format!("key {id}"));
}

#[test]
fn keys_are_made_listed_and_revoked_from_the_command_line() {
    let place = Place::new();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_optout"));
        let ran = command.arg("--store").arg(place.store()).args(words).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
    };
    let create = ["key", "create", "--scope", "add,check", "--name", "assistant"];
    let (exit, key) = run(&create);
    assert_eq!(exit, 0);
    let served = place.serve();
    let mut client = served.client().with_key(key.trim());
    client.post("/v1/optouts", &json!({"number": NUMBER})).is(200);
    let (exit, list) = run(&["--json", "key", "list"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((exit, list[0]["scopes"].clone()), (0, json!(["add", "check"])));
    assert!(!list.to_string().contains(&key[7..20]));
    assert!(run(&["key", "list"]).1.contains("assistant"));
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(run(&["key", "revoke", id]).0, 0);
    assert_eq!(run(&["key", "revoke", "nobody"]).0, 2);
    assert_eq!(run(&["key", "create", "--scope", "everything"]).0, 2);
    assert_eq!(run(&["key", "create", "--scope", "add", "--expires", "2020-01-01"]).0, 2);
    assert_eq!(run(&["serve", "--listen", "nowhere"]).0, 2);
    // Keys belong to the store: nothing that mends or searches it minds them.
    served.end();
    assert_eq!(run(&["compact"]).0, 0);
    assert_eq!(run(&["verify"]).0, 0);
    assert_eq!(place.keys().list().unwrap().len(), 1);
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(place.store().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("keys.json"), 0o600);
}
