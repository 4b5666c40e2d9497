//! Campaign files: uploaded, scrubbed while they come, given back, kept for a while.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use optout::number::SubscriberKey;
use optout::server::KeyScope;
use optout::store::{KeySorter, RegistryContents, RegistryUpdate, Writer};
use optout::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Place};

const LIST: &str =
    "phone,name\n+525512345678,Ana\n+525587654321,Luis\nn/a,Eva\n+52 55 8765 4321,Li\n";
const KEPT: &str = "phone,name\n+525587654321,Luis\n+52 55 8765 4321,Li\n";

/// A store in which one of the list's people opted out.
fn place() -> Place {
    let place = Place::new();
    let served = place.serve();
    let opt_out = json!({"number": "+525512345678", "source": "button", "channel": "whatsapp"});
    served.client().post("/v1/optouts", &opt_out).is(200);
    served.end();
    place
}

fn upload(client: &mut Client, query: &str, list: &[u8]) -> Answer {
    client.ask("POST", &format!("/v1/scrub{query}"), &[], list)
}

fn job(client: &mut Client, query: &str, list: &[u8]) -> Value {
    upload(client, &format!("?return=job{query}"), list).is(202)
}

/// The job when it has ended.
fn ended(client: &mut Client, id: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let job = client.get(&format!("/v1/scrub/{id}")).is(200);
        if job["state"] != "running" {
            return job;
        }
        assert!(Instant::now() < end, "{job}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A long list, and what is kept of it: each third person is opted out.
fn long_list(rows: u64) -> (String, String) {
    let (mut list, mut kept) = ("phone,text\n".to_owned(), "phone,text\n".to_owned());
    for row in 0..rows {
        let number = match row % 3 {
            0 => 525_512_345_678,
            _ => 525_520_000_000 + row,
        };
        let line = format!("+{number},Hola número {row}\n");
        list.push_str(&line);
        if row % 3 != 0 {
            kept.push_str(&line);
        }
    }
    (list, kept)
}

#[test]
fn the_kept_rows_come_back_and_the_report_stays() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    let answer = upload(&mut client, "", LIST.as_bytes());
    assert_eq!((answer.status, answer.text()), (200, KEPT));
    let id = answer.header("optout-job").unwrap().to_owned();
    let job = ended(&mut client, &id);
    assert_eq!(job["state"], "done", "{job}");
    assert_eq!(job["bytes"], LIST.len());
    for (name, count) in [("rows", 4), ("kept", 2), ("suppressed", 1), ("invalid", 1)] {
        assert_eq!(job["report"][name], count, "{job}");
    }
    let report = client.get(&format!("/v1/scrub/{id}/report")).is(200);
    assert_eq!(report, job["report"]);
    assert_eq!(report["options"]["category"], "marketing");
    // What was sent to its end is not kept beside.
    let end = Instant::now() + Duration::from_secs(10);
    while client.get(&format!("/v1/scrub/{id}/clean")).status != 404 {
        assert!(Instant::now() < end);
    }
}

#[test]
fn a_job_gives_its_outputs_as_often_as_they_are_asked_for() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    let begun = job(&mut client, "&receipt=true&dedupe=true", LIST.as_bytes());
    let id = begun["id"].as_str().unwrap();
    let job = ended(&mut client, id);
    let outputs = json!(["clean", "suppressed", "invalid", "rows", "report", "receipt"]);
    assert_eq!(job["outputs"], outputs);
    assert_eq!(job["report"]["duplicates"], 1);
    let mut output = |name: &str| {
        let answer = client.get(&format!("/v1/scrub/{id}/{name}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    for _ in 0..2 {
        assert_eq!(output("clean"), "phone,name\n+525587654321,Luis\n");
        let suppressed = output("suppressed");
        let (header, row) = suppressed.split_once('\n').unwrap();
        let more = "optout_number,optout_since,optout_source,optout_rule";
        assert_eq!(header, format!("phone,name,{more}"));
        assert!(row.starts_with("+525512345678,Ana,525512345678,"), "{row}");
        let invalid = "phone,name,optout_line,optout_reason\nn/a,Eva,4,";
        assert!(output("invalid").starts_with(invalid));
        assert!(output("receipt").contains("\"sequence\": 1"));
        assert!(!output("rows").is_empty());
    }
    // The last line of a receipt seals it: it is no JSON as a whole, and must not say so.
    let receipt = client.get(&format!("/v1/scrub/{id}/receipt"));
    assert_eq!(receipt.header("content-type"), Some("application/octet-stream"));
    client.get(&format!("/v1/scrub/{id}/other")).refuses(404);
    let listed = client.get("/v1/scrub").is(200);
    assert_eq!(listed["items"][0]["id"], id);
    assert_eq!(client.ask("DELETE", &format!("/v1/scrub/{id}"), &[], b"").status, 204);
    for path in ["", "/clean", "/report"] {
        client.get(&format!("/v1/scrub/{id}{path}")).refuses(404);
    }
    client.ask("DELETE", &format!("/v1/scrub/{id}"), &[], b"").refuses(404);
    assert_eq!(client.get("/v1/scrub").is(200)["items"], json!([]));
}

#[test]
fn a_scrub_is_as_it_is_asked_for() {
    let place = place();
    let served = place.serve();
    let mut client = served.client();
    let list = "a,b,to\n1,MX,5512345678\n2,US,3055551234\n3,,\n";
    let kept = |rows: &[usize]| {
        let lines: Vec<&str> = list.lines().collect();
        rows.iter().map(|&row| format!("{}\n", lines[row])).collect::<String>()
    };
    for (query, expected) in [
        ("?column=to&region_column=b", kept(&[0, 2])),
        ("?column=3&region=MX", kept(&[0, 2])),
        ("?column=to&region=MX&mode=report", list.to_owned()),
        ("?column=to&region=MX&mode=off", list.to_owned()),
        ("?column=to&region=MX&category=utility", kept(&[0, 1, 2])),
        ("?column=to&region=MX&channel=sms", kept(&[0, 1, 2])),
        ("?column=to&region=MX&channel=WhatsApp", kept(&[0, 2])),
        ("?column=to&region=MX&max_suppressed=1", kept(&[0, 2])),
        ("?column=to&region=MX&max_suppressed=34%25", kept(&[0, 2])),
    ] {
        let answer = upload(&mut client, query, list.as_bytes());
        assert_eq!((answer.status, answer.text()), (200, &*expected), "{query}");
    }
    for query in
        ["?column=to&region=MX&max_suppressed=0", "?column=to&region=MX&max_suppressed=33%25"]
    {
        let problem = upload(&mut client, query, list.as_bytes()).refuses(422);
        assert_eq!(problem["type"], "/problems/too-many-suppressed");
    }
}

#[test]
fn a_client_that_reads_nothing_before_all_is_sent_gets_all() {
    let place = place();
    let served = place.serve();
    // More than all buffers between the two of them hold.
    let (list, kept) = long_list(600_000);
    let mut client = served.client();
    let answer = upload(&mut client, "", list.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-length").is_none(), "it began before its end was known");
    assert!(answer.body == kept.as_bytes());
    // Who sends chunks needs not know how long the list is.
    let mut client = served.client();
    client
        .send(b"POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in list.as_bytes().chunks(1_000_003) {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes());
        client.send(chunk);
        client.send(b"\r\n");
    }
    client.send(b"0\r\n\r\n");
    assert!(client.answer().unwrap().body == kept.as_bytes());
    assert_eq!(fs::read_dir(place.store()).unwrap().filter(is_partial).count(), 0);
}

fn is_partial(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().unwrap().file_name().to_string_lossy().contains("partial")
}

#[test]
fn a_client_slower_than_the_scrub_gets_all() {
    let place = place();
    let served = place.serve_with(|limits| limits.write_time = Duration::from_millis(400));
    let (list, kept) = long_list(400_000);
    let mut stream = TcpStream::connect(served.address).unwrap();
    let head = format!(
        "POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        list.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // For longer than a client may take nothing of an answer, this one sends.
    for part in list.as_bytes().chunks(list.len() / 8) {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(150));
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200"), "{}", &text[..text.len().min(300)]);
    assert!(text.ends_with("0\r\n\r\n") && text.len() > kept.len());
}

#[test]
fn a_list_that_breaks_off_is_never_complete() {
    let place = place();
    let served = place.serve();
    let (list, _) = long_list(200_000);
    for returns in ["clean", "job"] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let head = format!(
            "POST /v1/scrub?return={returns} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            list.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&list.as_bytes()[..list.len() / 2]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{returns}");
        let mut client = served.client();
        let listed = client.get("/v1/scrub").is(200);
        let job = ended(&mut client, listed["items"][0]["id"].as_str().unwrap());
        assert_eq!(job["state"], "failed");
        assert_eq!(job["problem"]["type"], "/problems/malformed");
        assert_eq!(job["outputs"], json!([]));
    }
}

#[test]
fn a_scrub_that_fails_late_breaks_its_answer_off() {
    let place = place();
    let served = place.serve();
    let (mut list, _) = long_list(200_000);
    list.push_str("+525587654321,\"never closed\n");
    let mut client = served.client();
    assert!(
        client.try_send(
            format!(
                "POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{list}",
                list.len()
            )
            .as_bytes()
        )
    );
    assert!(client.answer().is_none(), "a broken list was answered to its end");
    let mut client = served.client();
    let listed = client.get("/v1/scrub").is(200);
    let id = listed["items"][0]["id"].as_str().unwrap();
    let problem = client.get(&format!("/v1/scrub/{id}/clean")).refuses(422);
    assert!(problem.to_string().contains("200002"), "{problem}");
    // A short one is refused as a whole.
    let problem = upload(&mut client, "", b"phone\n+525587654321\n\"\n").refuses(422);
    assert!(problem.to_string().contains("quote"), "{problem}");
}

#[test]
fn nonsense_is_refused_and_shows_no_number() {
    let place = place();
    let served = place.serve();
    for query in [
        "?mode=maybe",
        "?category=spam",
        "?channel=pigeon",
        "?region=XX",
        "?return=both",
        "?dedupe=perhaps",
        "?colour=red",
        "?max_suppressed=many",
        "?mode=off&dedupe=true",
        "?mode=off&receipt=true",
        "?column=fax",
        "?column=9",
        "?column=phone&column=phone",
        "?region_column=land",
    ] {
        upload(&mut served.client(), query, LIST.as_bytes()).refuses(422);
    }
    let two = "+525512345678,+525587654321\n+525512345678,+525587654321\n";
    for (query, list) in [
        ("", two),
        ("?column=fax", two),
        ("?column=fax", ""),
        ("", "PK\u{3}\u{4}\0\0"),
        ("", "a,b\nx,y\n"),
    ] {
        let problem = upload(&mut served.client(), query, list.as_bytes());
        assert_eq!(problem.status, 422, "{query} {list:?} {}", problem.text());
        let told = problem.text();
        assert!(!told.contains("12345678") && !told.contains("87654321"), "{told}");
    }
    for header in
        [("Content-Type", "multipart/form-data; boundary=x"), ("Content-Encoding", "gzip")]
    {
        served.client().ask("POST", "/v1/scrub", &[header], LIST.as_bytes()).refuses(415);
    }
    let mut client = served.client();
    client.ask("PUT", "/v1/scrub", &[], b"").refuses(405);
    client.ask("POST", "/v1/scrub/1/clean", &[], b"").refuses(405);
    for path in ["/v1/scrub/1", "/v1/scrub/1/clean", "/v1/scrub/%00", "/v1/scrub/..%2f/report"] {
        client.get(path).refuses(404);
    }
    client.get("/v1/scrub/%ff").refuses(400);
    assert!(!served.log().contains("12345678"));
}

#[test]
fn a_job_is_seen_by_its_key_alone() {
    let place = place();
    let (mine, _) = place.key(&[KeyScope::Check]);
    let (other, _) = place.key(&[KeyScope::Check]);
    let (export, _) = place.key(&[KeyScope::Export]);
    let served = place.serve();
    let mut client = served.client().with_key(&mine);
    let id = job(&mut client, "", LIST.as_bytes())["id"].as_str().unwrap().to_owned();
    ended(&mut client, &id);
    let mut other = served.client().with_key(&other);
    for path in ["", "/clean", "/suppressed", "/report"] {
        other.get(&format!("/v1/scrub/{id}{path}")).refuses(404);
    }
    other.ask("DELETE", &format!("/v1/scrub/{id}"), &[], b"").refuses(404);
    assert_eq!(other.get("/v1/scrub").is(200)["items"], json!([]));
    let mut export = served.client().with_key(&export);
    upload(&mut export, "", LIST.as_bytes()).refuses(403);
    export.get(&format!("/v1/scrub/{id}")).refuses(403);
    assert_eq!(client.get(&format!("/v1/scrub/{id}/clean")).text(), KEPT);
}

#[test]
fn jobs_end_after_their_time_and_the_oldest_go_first() {
    let place = place();
    let served = place.serve_with(|limits| limits.scrub_kept_time = Duration::ZERO);
    let mut client = served.client();
    let begun = job(&mut client, "", LIST.as_bytes());
    let id = begun["id"].as_str().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while client.get(&format!("/v1/scrub/{id}")).status != 404 {
        assert!(Instant::now() < end);
    }
    served.end();
    let served = place.serve_with(|limits| limits.scrubs_kept = 2);
    let mut client = served.client();
    let mut run = || {
        let begun = job(&mut client, "", LIST.as_bytes());
        let id = begun["id"].as_str().unwrap().to_owned();
        ended(&mut client, &id);
        id
    };
    let ids = [run(), run(), run()];
    let listed = client.get("/v1/scrub").is(200);
    let mut listed: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    listed.sort_unstable();
    let mut expected = [&*ids[1], &*ids[2]];
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn who_sends_nothing_or_asks_for_too_much_at_once_is_turned_away() {
    let place = place();
    let served = place.serve_with(|limits| {
        limits.body_time = Duration::from_millis(300);
        limits.scrubs = 1;
    });
    let mut slow = served.client();
    slow.send(b"POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nphone\n");
    let mut client = served.client();
    let end = Instant::now() + Duration::from_secs(10);
    let mut listed = client.get("/v1/scrub").is(200);
    while listed["items"] == json!([]) {
        assert!(Instant::now() < end);
        listed = client.get("/v1/scrub").is(200);
    }
    let refused = upload(&mut served.client(), "", LIST.as_bytes());
    if refused.status != 200 {
        refused.refuses(503);
        assert!(refused.header("retry-after").is_some());
    }
    assert_eq!(slow.answer().unwrap().refuses(408)["type"], "/problems/too-slow");
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(ended(&mut client, id)["state"], "failed");
    assert_eq!(upload(&mut served.client(), "", LIST.as_bytes()).text(), KEPT);
}

#[test]
fn a_running_job_can_be_removed() {
    let place = place();
    let served = place.serve();
    let mut slow = served.client();
    slow.send(b"POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nphone\n");
    let mut client = served.client();
    let end = Instant::now() + Duration::from_secs(10);
    let id = loop {
        let listed = client.get("/v1/scrub").is(200);
        if let Some(id) = listed["items"][0]["id"].as_str() {
            break id.to_owned();
        }
        assert!(Instant::now() < end);
    };
    client.get(&format!("/v1/scrub/{id}/clean")).refuses(409);
    assert_eq!(client.ask("DELETE", &format!("/v1/scrub/{id}"), &[], b"").status, 204);
    slow.answer().unwrap().refuses(410);
    served.end();
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_job_and_records_on() {
    let place = place();
    let served = place.serve_with(|limits| limits.disk_reserve = u64::MAX);
    let mut client = served.client();
    let problem = upload(&mut served.client(), "", LIST.as_bytes()).refuses(507);
    assert_eq!(problem["type"], "/problems/disk-full");
    assert_eq!(client.get("/v1/scrub").is(200)["items"], json!([]));
    client.post("/v1/optouts", &json!({"number": "+525511111111"})).is(200);
}

#[test]
fn a_stale_layer_refuses_the_list() {
    let place = place();
    stale_layer(&place);
    let served = place.serve();
    let problem = upload(&mut served.client(), "", LIST.as_bytes()).refuses(503);
    assert_eq!(problem["type"], "/problems/stale");
    let answer = upload(&mut served.client(), "?category=authentication", LIST.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_server_that_ends_leaves_nothing_of_a_list() {
    let place = place();
    let before = names(&place);
    let served = place.serve_with(|limits| limits.drain_time = Duration::from_millis(200));
    let begun = job(&mut served.client(), "", LIST.as_bytes());
    let id = begun["id"].as_str().unwrap();
    ended(&mut served.client(), id);
    let mut slow = served.client();
    slow.send(b"POST /v1/scrub HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nphone\n");
    served.end();
    assert_eq!(names(&place), before);
    let served = place.serve();
    served.client().get(&format!("/v1/scrub/{id}")).refuses(404);
}

fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.store()).unwrap();
    let mut names: Vec<String> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Adds an outside list that was too old when it came.
pub(crate) fn stale_layer(place: &Place) {
    let writer = Writer::open(place.store()).unwrap();
    let name = "register".parse().unwrap();
    let mut update = RegistryUpdate::new(name, Timestamp::from_millis(1_700_000_000_000));
    update.max_age_days = Some(10);
    let mut sorter = KeySorter::new();
    sorter.push(SubscriberKey::from_u64(525_500_000_001));
    let keys = sorter.finish();
    let contents = RegistryContents::List(&keys);
    writer.update_registry(&update, contents, Timestamp::now()).unwrap();
}
