//! Scrubbed lists, right before they are handed on.

use serde_json::json;

use crate::harness::{Answer, Client, Place};

const LIST: &str = "phone,name\n+525512345678,Ana\n+525587654321,Luis\n+525511112222,Eva\n";

/// Scrubs the list so that it can be rechecked; the id of the job.
fn scrubbed(client: &mut Client, query: &str) -> String {
    let path = format!("/v1/scrub?receipt=true&{query}");
    let answer = client.ask("POST", &path, &[], LIST.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("optout-job").unwrap().to_owned()
}

fn record(client: &mut Client, path: &str, number: &str) {
    let item = json!({"number": number, "reason": "START", "source": "keyword"});
    let mut item = item.as_object().unwrap().clone();
    if path.ends_with("optouts") {
        item.remove("reason");
    }
    client.post(path, &json!(item)).is(200);
}

/// A form with these parts.
fn form(client: &mut Client, query: &str, parts: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let head = format!(
            "--xx\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xx--\r\n");
    let kind = ("Content-Type", "multipart/form-data; boundary=xx");
    client.ask("POST", &format!("/v1/recheck{query}"), &[kind], &body)
}

#[test]
fn a_job_gives_the_rows_that_stand_differently_since() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, "/v1/optouts", "+525512345678");
    let id = scrubbed(&mut client, "");
    let path = format!("/v1/recheck?job={id}");
    let answer = client.ask("POST", &path, &[], b"");
    assert_eq!((answer.status, answer.text().lines().count()), (200, 1), "{}", answer.text());
    assert_eq!(answer.header("optout-suppressed"), Some("0"));
    record(&mut client, "/v1/optouts", "+525587654321");
    let answer = client.ask("POST", &path, &[], b"");
    let rows: Vec<&str> = answer.text().lines().collect();
    assert!(rows[0].starts_with("phone,name,optout_change,"), "{rows:?}");
    assert!(rows[1].starts_with("+525587654321,Luis,suppressed,2,"), "{rows:?}");
    assert_eq!(rows.len(), 2);
    assert_eq!(answer.header("optout-suppressed"), Some("1"));
    assert_eq!(answer.header("optout-sequence"), Some("2"));
    let report = client.ask("POST", &format!("{path}&return=report"), &[], b"").is(200);
    assert_eq!(report["file"], "kept");
    for (name, count) in
        [("rows", 3), ("suppressed", 1), ("released", 0), ("from_sequence", 1), ("to_sequence", 2)]
    {
        assert_eq!(report[name], count, "{report}");
    }
}

#[test]
fn files_of_a_scrub_elsewhere_are_rechecked_from_a_form() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, "/v1/optouts", "+525512345678");
    let id = scrubbed(&mut client, "");
    let mut fetch = |name: &str| client.get(&format!("/v1/scrub/{id}/{name}")).body;
    let (receipt, rows, kept) = (fetch("receipt"), fetch("rows"), fetch("clean"));
    record(&mut client, "/v1/optouts", "+525587654321");
    record(&mut client, "/v1/resubscribes", "+525512345678");
    let list = LIST.as_bytes();
    let all = [("receipt", &*receipt), ("rows", &*rows), ("file", list)];
    let answer = form(&mut client, "", &all);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lines: Vec<&str> = answer.text().lines().skip(1).collect();
    assert!(lines[0].starts_with("+525512345678,Ana,released,"), "{lines:?}");
    assert!(lines[1].starts_with("+525587654321,Luis,suppressed,"), "{lines:?}");
    let of_kept = [("file", &*kept), ("rows", &*rows), ("receipt", &*receipt)];
    let report = form(&mut client, "?return=report", &of_kept).is(200);
    assert_eq!((&report["file"], &report["released"]), (&json!("kept"), &json!(0)));

    let other = LIST.replace("Luis", "Lois");
    let changed = [("receipt", &*receipt), ("rows", &*rows), ("file", other.as_bytes())];
    let longer =
        [("receipt", &*receipt), ("rows", &*rows), ("file", &*other.repeat(2).into_bytes())]
            .map(|(name, bytes)| (name, bytes.to_vec()));
    let longer: Vec<(&str, &[u8])> = longer.iter().map(|(name, it)| (*name, &**it)).collect();
    let mut bent = rows.clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    let mut forged = receipt.clone();
    forged[40] ^= 1;
    for parts in [
        &changed[..],
        &longer,
        &[("receipt", &*receipt), ("rows", &*bent), ("file", list)],
        &[("receipt", &*forged), ("rows", &*rows), ("file", list)],
        &[("receipt", &*rows), ("rows", &*rows), ("file", list)],
        &all[..2],
        &all[1..],
        &[],
        &[("receipt", &*receipt), ("rows", &*rows), ("rows", &*rows), ("file", list)],
        &[("other", b"x")],
    ] {
        form(&mut client, "", parts).refuses(422);
    }
}

#[test]
fn another_store_and_nonsense_are_refused() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let id = scrubbed(&mut client, "");
    let mut fetch = |name: &str| client.get(&format!("/v1/scrub/{id}/{name}")).body;
    let (receipt, rows) = (fetch("receipt"), fetch("rows"));
    let other = Place::new();
    let of_other = other.serve();
    let parts = [("receipt", &*receipt), ("rows", &*rows), ("file", LIST.as_bytes())];
    let problem = form(&mut of_other.client(), "", &parts).refuses(422);
    assert!(problem.to_string().contains("store"), "{problem}");
    of_other.client().ask("POST", &format!("/v1/recheck?job={id}"), &[], b"").refuses(404);
    client.ask("POST", "/v1/recheck?job=x", &[], b"").refuses(404);
    client.ask("POST", "/v1/recheck?return=all", &[], b"").refuses(422);
    client.ask("POST", "/v1/recheck?colour=red", &[], b"").refuses(422);
    client.ask("POST", "/v1/recheck", &[], b"").refuses(415);
    client.ask("GET", "/v1/recheck", &[], b"").refuses(405);
    let broken = ("Content-Type", "multipart/form-data; boundary=xx");
    client.ask("POST", "/v1/recheck", &[broken], b"--xx\r\nContent-Disp").refuses(400);
    let plain = client.ask("POST", "/v1/scrub", &[], LIST.as_bytes());
    let plain = plain.header("optout-job").unwrap().to_owned();
    client.ask("POST", &format!("/v1/recheck?job={plain}"), &[], b"").refuses(422);
}
