//! What is too large, too slow or malformed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{JSON, Place, Served};

const HEAD: &str =
    "POST /v1/optouts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

#[track_caller]
fn assert_serves(served: &Served) {
    served.client().get("/readyz").is(200);
}

#[test]
fn a_body_is_refused_by_what_it_says_and_by_what_it_is() {
    let place = Place::new();
    let served = place.serve_with(|limits| limits.body_bytes = 64 << 10);
    let mut client = served.client();
    client.send(format!("{HEAD}Content-Length: 10000000000\r\n\r\n{{").as_bytes());
    client.answer().unwrap().refuses(413);
    let mut client = served.client();
    client.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let mut sent = 0;
    while client.try_send(chunk.as_bytes()) && sent < 64 {
        sent += 1;
    }
    // Whoever goes on sending may lose the connection before he reads the answer.
    if let Some(answer) = client.answer() {
        answer.refuses(413);
    }
    assert_serves(&served);
}

#[test]
fn deep_and_broken_bodies_are_refused() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let deep = "[".repeat(1_000_000);
    let nested = format!("{{\"number\":{deep}");
    let items = format!("{{\"items\":[{{\"number\":{deep}");
    for body in [&deep, &nested, &items] {
        let answer = client.ask("POST", "/v1/optouts", &[JSON], body.as_bytes());
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
    }
    for body in ["{\"number\":\"\u{0}\"}", "{\"number\":\"\\ud800\"}", "{\"number\":1e999}"] {
        let answer = client.ask("POST", "/v1/optouts", &[JSON], body.as_bytes());
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
    }
    client.ask("POST", "/v1/optouts", &[JSON], b"{\"number\":\"\xff\"}").refuses(400);
    for chunks in ["zz\r\n{}\r\n0\r\n\r\n", "-1\r\n", "ffffffffffffffffff\r\n"] {
        let mut client = served.client();
        client.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes());
        assert_eq!(client.answer().unwrap().status, 400);
        assert!(client.is_closed(), "the connection goes on behind a broken body");
    }
    assert_serves(&served);
}

#[test]
fn large_and_many_headers_and_long_queries_are_refused() {
    let place = Place::new();
    let served = place.serve();
    let long = "a".repeat(5000);
    served.client().get(&format!("/v1/optouts?campaign={long}")).refuses(414);
    let pairs = "a=1&".repeat(1000);
    served.client().get(&format!("/v1/stats?{pairs}")).refuses(422);
    let many: Vec<(String, &str)> = (0..100).map(|it| (format!("X-{it}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    served.client().ask("GET", "/healthz", &many, b"").refuses(431);
    let large = "a".repeat(64 << 10);
    let mut client = served.client();
    let _ = client.try_send(format!("GET /healthz HTTP/1.1\r\nX: {large}\r\n\r\n").as_bytes());
    assert!(client.answer().is_none_or(|answer| answer.status == 431));
    let mut client = served.client();
    let _ = client.try_send(format!("GET /{large} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    assert!(client.answer().is_none_or(|answer| matches!(answer.status, 414 | 431)));
    assert_serves(&served);
}

#[test]
fn two_lengths_are_no_length() {
    let place = Place::new();
    let served = place.serve();
    let body = "{\"number\":\"+525512345678\"}";
    let smuggled = "0\r\n\r\nGET /v1/stats HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n".to_owned(),
        "Content-Length: x\r\n".to_owned(),
        "Content-Length: +5\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
    ] {
        let mut client = served.client();
        client.send(format!("{HEAD}{lengths}\r\n{body}").as_bytes());
        assert_eq!(client.answer().unwrap().status, 400, "{lengths}");
        assert!(client.is_closed(), "{lengths}");
    }
    // Chunks go before a length; what stands behind them is no second request.
    for both in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let mut client = served.client();
        client.send(format!("{HEAD}{both}\r\n{smuggled}").as_bytes());
        assert_eq!(client.answer().unwrap().status, 400);
        assert!(client.is_closed(), "{both}");
    }
    assert_serves(&served);
}

/// Until the server closes the connection.
fn time_until_closed(served: &Served, begin: &[u8], each: &[u8]) -> Duration {
    let mut client = served.client();
    let since = Instant::now();
    client.send(begin);
    while client.try_send(each) && since.elapsed() < Duration::from_secs(15) {
        std::thread::sleep(Duration::from_millis(30));
    }
    since.elapsed()
}

#[test]
fn headers_that_trickle_are_cut_off() {
    let place = Place::new();
    let served = place.serve_with(|limits| limits.header_time = Duration::from_millis(300));
    let took = time_until_closed(&served, b"GET /healthz HTTP/1.1\r\n", b"X");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Nor does a connection stay on which nothing comes, neither at first nor behind an answer.
    assert!(served.client().is_closed());
    let mut client = served.client();
    client.get("/healthz").is(200);
    assert!(client.is_closed());
}

#[test]
fn a_body_that_trickles_is_cut_off() {
    let place = Place::new();
    let served = place.serve_with(|limits| limits.body_time = Duration::from_millis(300));
    let mut client = served.client();
    client.send(format!("{HEAD}Content-Length: 100\r\n\r\n{{").as_bytes());
    client.answer().unwrap().refuses(408);
    assert!(client.is_closed(), "the rest of the body is no request");
}

#[test]
fn whoever_takes_nothing_of_a_download_loses_it() {
    let place = Place::new();
    let served = place.serve_with(|limits| {
        limits.write_time = Duration::from_millis(300);
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
    let mut idle = served.client();
    idle.send(b"GET /v1/optouts/export HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(100));
    while client.get("/v1/optouts/export?to=2020-01-01").status == 503 {
        assert!(begin.elapsed() < Duration::from_secs(15), "the download holds its place");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(idle.answer().is_none(), "the download was cut, and does not look whole");
}

#[test]
fn more_connections_than_there_are_places_wait_and_are_told_to_come_back() {
    let place = Place::new();
    let served = place.serve_with(|limits| limits.connections = 2);
    let mut first = served.client();
    let mut second = served.client();
    first.get("/healthz").is(200);
    second.get("/healthz").is(200);
    let mut third = served.client();
    third.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(first);
    third.answer().unwrap().is(200);
    // Who waits for long is told to come back.
    let mut fourth = served.client();
    fourth.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = fourth.answer().unwrap();
    answer.refuses(503);
    assert!(answer.header("retry-after").is_some() && fourth.is_closed());
    drop(third);
    served.client().get("/healthz").is(200);
    second.get("/healthz").is(200);
}

#[test]
fn requests_go_on_while_others_trickle() {
    let place = Place::new();
    let served = place.serve();
    let trickling: Vec<_> = (0..200)
        .map(|_| {
            let mut client = served.client();
            client.send(b"POST /v1/optouts HTTP/1.1\r\nHost: he");
            client
        })
        .collect();
    served.client().post("/v1/optouts", &json!({"number": "+525512345678"})).is(200);
    drop(trickling);
}
