//! What somebody tries who means harm.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use optout::server::KeyScope;
use serde_json::{Value, json};

use crate::harness::{Client, JSON, Place};

const NUMBER: &str = "+525512345678";

/// A server in a process that a shell has set bounds for; killed with the value.
struct Bounded {
    child: Child,
    address: SocketAddr,
}

impl Bounded {
    fn run(place: &Place, bounds: &str) -> Bounded {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{bounds}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_optout"))
            .arg("--store")
            .arg(place.store())
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let address = told["listening"].as_str().unwrap().parse().unwrap();
        Bounded { child, address }
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn clients_who_hold_all_connections_are_told_to_come_back_and_opt_outs_go_on() {
    let place = Place::new();
    let server = Bounded::run(&place, "ulimit -n 64");
    let mut recorder = Client::new(server.address);
    let mut post = |number: u64| {
        recorder.post("/v1/optouts", &json!({"number": format!("+{number}")})).is(200);
    };
    post(525_510_000_000);
    let mut held: Vec<Client> = (0..120)
        .map(|_| {
            let mut client = Client::new(server.address);
            let _ = client.try_send(b"GET /healthz HTTP/1.1\r\nX: ");
            client
        })
        .collect();
    // Enough to need files of the store's own: more than one segment may be begun, and folded.
    for number in 1..50 {
        post(525_510_000_000 + number);
    }
    let told = held.iter_mut().rev().take(40).find_map(Client::answer).expect("somebody is told");
    told.refuses(503);
    assert!(told.header("retry-after").is_some());
    drop(held);
    let begin = Instant::now();
    loop {
        let mut client = Client::new(server.address);
        let is_sent = client.try_send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if is_sent && client.answer().is_some_and(|answer| answer.status == 200) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "the server does not recover");
        std::thread::sleep(Duration::from_millis(50));
    }
    post(525_510_000_100);
}

#[test]
fn what_a_server_writes_is_for_its_owner_only_and_its_memory_is_dumped_nowhere() {
    let place = Place::new();
    let server = Bounded::run(&place, "umask 000; ulimit -c unlimited 2>/dev/null");
    let mut client = Client::new(server.address);
    client.post("/v1/optouts", &json!({"number": NUMBER})).is(200);
    for entry in fs::read_dir(place.store()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if entry.metadata().unwrap().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{:?}", entry.file_name());
    }
    if cfg!(target_os = "linux") {
        let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    }
}

#[test]
fn a_file_that_may_not_grow_stops_recording_and_not_the_server() {
    let place = Place::new();
    let server = Bounded::run(&place, "ulimit -f 64");
    let mut client = Client::new(server.address);
    client.post("/v1/optouts", &json!({"number": NUMBER})).is(200);
    // Notes that differ, because equal ones are written once.
    let note = |it: u64| format!("{it} {}", "a".repeat(1000));
    let items: Vec<Value> = (0..200)
        .map(|it| json!({"number": format!("+{}", 525_510_000_000 + it), "note": note(it)}))
        .collect();
    client.post("/v1/optouts", &json!({"items": items})).refuses(503);
    client.get("/healthz").is(200);
    client.get("/readyz").refuses(503);
    client.post("/v1/optouts", &json!({"number": NUMBER})).refuses(503);
    drop(server);
    let served = place.serve();
    let mut client = served.client();
    assert_eq!(client.get(&format!("/v1/numbers/{NUMBER}")).is(200)["opted_out"], true);
    client.post("/v1/optouts", &json!({"items": items})).is(200);
}

#[test]
fn nobody_sets_what_the_server_sets() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    for field in ["received_at", "sequence", "operator", "batch", "ground", "action", "raw", "id"] {
        let item = json!({"number": NUMBER, field: "1"});
        client.post("/v1/optouts", &item).refuses(422);
        client.post("/v1/optouts", &json!({"items": [item]})).refuses(422);
        client.post("/v1/check", &json!({"recipients": [NUMBER], field: "1"})).refuses(422);
    }
    client.post("/v1/optouts", &json!({"number": NUMBER, "override": true})).refuses(422);
    let person = client.get(&format!("/v1/numbers/{NUMBER}")).is(200);
    assert_eq!(person["events"], json!([]));
}

#[test]
fn no_path_leads_to_a_file() {
    let place = Place::new();
    let (key, _) = place.key(KeyScope::ALL);
    let served = place.serve();
    let mut client = served.client().with_key(&key);
    for path in [
        "/../../../../etc/passwd",
        "/v1/numbers/..%2f..%2fkeys.json",
        "/v1/numbers/%2e%2e/%2e%2e/keys.json",
        "/v1/numbers//etc/passwd",
        "/v1/numbers/keys.json%00",
        "/keys.json",
        "/v1/optouts/export/../../keys.json",
        "/v1/optouts/export?format=../../keys.json",
    ] {
        let answer = client.get(path);
        assert!(matches!(answer.status, 404 | 422), "{path} {}", answer.status);
        answer.refuses(answer.status);
        assert!(!answer.text().contains("root:") && !answer.text().contains("sha"), "{path}");
    }
}

#[test]
fn http_2_is_not_spoken() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(client.answer().is_none_or(|answer| answer.status == 400));
    let mut client = served.client();
    let upgrade =
        [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "")];
    client.ask("GET", "/healthz", &upgrade, b"").is(200);
}

#[test]
fn what_is_no_request_is_refused_with_a_problem_document() {
    let place = Place::new();
    let served = place.serve();
    let many = "X: 1\r\n".repeat(100);
    let large = format!("X: {}\r\n", "a".repeat(20 << 10));
    let fine = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    for (request, status) in [
        ("no request\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/9.1\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nno header\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nX : 1\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\nX: \0\r\n\r\n".to_owned(), 400),
        (format!("{fine}{many}\r\n"), 431),
        (format!("{fine}{large}\r\n"), 431),
    ] {
        let shown = &request[..request.len().min(60)];
        let mut client = served.client();
        client.send(request.as_bytes());
        client.answer().unwrap_or_else(|| panic!("{shown}")).refuses(status);
        assert!(client.is_closed(), "{shown}");
        // So it is behind a request that was answered.
        let mut client = served.client();
        client.get("/healthz").is(200);
        client.send(request.as_bytes());
        client.answer().unwrap_or_else(|| panic!("{shown}")).refuses(status);
    }
    // What a client recorded is never taken for a refusal of the server's own.
    let note = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let mut client = served.client();
    client.post("/v1/optouts", &json!({"number": NUMBER, "note": note})).is(200);
    assert!(client.get("/v1/optouts/export").text().contains("HTTP/1.1 400 Bad Request"));
}

#[test]
fn whoever_takes_too_little_of_a_download_loses_it() {
    let place = Place::new();
    let served = place.serve_with(|limits| {
        limits.write_time = Duration::from_millis(300);
        limits.write_bytes = 1 << 30;
        limits.downloads = 1;
    });
    let mut client = served.client();
    let note = "a".repeat(400);
    for round in 0..6_u64 {
        let number = |it: u64| format!("+{}", 525_510_000_000 + 10_000 * round + it);
        let items: Vec<Value> =
            (0..10_000).map(|it| json!({"number": number(it), "note": note})).collect();
        client.post("/v1/optouts", &json!({"items": items})).is(200);
    }
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v1/optouts/export HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut buffer = vec![0; 32 << 10];
    let mut taken = Vec::new();
    // He takes something all the time, but less than he has to.
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            break;
        }
        taken.extend_from_slice(&buffer[..count]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(taken.len() < 60_000 * 400, "he got all of it");
    assert!(!taken.ends_with(b"0\r\n\r\n"), "what was cut off looks whole");
    let begin = Instant::now();
    while client.get("/v1/optouts/export?to=2020-01-01").status == 503 {
        assert!(begin.elapsed() < Duration::from_secs(15), "the download holds its place");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn texts_that_forge_headers_or_lines_stay_texts() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let forged = "a\r\nSet-Cookie: x=1\r\n\r\n<script>alert(1)</script>";
    let item = json!({"number": NUMBER, "campaign": forged, "sender": forged, "word": forged});
    client.post("/v1/optouts", &item).is(200);
    let page = client.get("/v1/optouts").is(200);
    assert_eq!(page["items"][0]["campaign"], forged);
    let answer = client.get("/v1/optouts/export?format=ndjson");
    assert_eq!(answer.text().lines().count(), 1);
    let answer = client.get("/v1/stats?by=campaign");
    assert!(answer.header("set-cookie").is_none());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    // Nor does a refusal show what was sent.
    let answer = client.ask("POST", "/v1/check", &[JSON], br#"{"<script>alert(1)</script>":1}"#);
    answer.refuses(422);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}
