//! Lists, downloads, one person, many recipients, counts.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Client, Place, Served};

/// Records so many opt-outs, from the number on.
fn record(client: &mut Client, first: u64, count: u64, more: &Value) {
    let item = |number: u64| {
        let mut item = more.clone();
        item["number"] = json!(format!("+{number}"));
        item
    };
    let items: Vec<Value> = (first..first + count).map(item).collect();
    client.post("/v1/optouts", &json!({"items": items})).is(200);
}

const FIRST: u64 = 525_510_000_000;

fn sequences(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().map(|it| it["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn a_walk_gives_each_event_once_while_others_are_recorded() {
    let place = Place::new();
    let served = place.serve();
    let (mut walker, mut poster) = (served.client(), served.client());
    record(&mut poster, FIRST, 95, &json!({}));
    for view in ["events", "state"] {
        let mut seen = Vec::new();
        let mut path = format!("/v1/optouts?limit=10&view={view}");
        let mut up_to = None;
        for round in 0.. {
            let page = walker.get(&path).is(200);
            let first = up_to.get_or_insert(page["sequence"].clone());
            assert_eq!(&page["sequence"], first);
            seen.extend(sequences(&page));
            record(&mut poster, FIRST + 1000 + 10 * round, 3, &json!({}));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/optouts?limit=10&view={view}&cursor={next}");
        }
        assert!(seen.is_sorted() && seen.len() as u64 == up_to.unwrap().as_u64().unwrap());
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
    }
}

#[test]
fn filters_are_what_they_say() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let spring = json!({
        "source": "button", "channel": "whatsapp", "sender": "+52 55 0000 0001",
        "campaign": "spring", "occurred_at": "2026-03-01T05:59:59Z",
    });
    record(&mut client, FIRST, 2, &spring);
    record(&mut client, 13_053_388_880, 1, &json!({"occurred_at": "2026-03-01T06:00:00Z"}));
    let mut count = |query: &str| {
        sequences(&client.get(&format!("/v1/optouts?clock=occurred&{query}")).is(200)).len()
    };
    for (query, expected) in [
        ("", 3),
        ("source=button", 2),
        ("source=api", 1),
        ("channel=whatsapp", 2),
        ("channel=SMS", 0),
        ("sender=525500000001", 2),
        ("campaign=spring", 2),
        ("campaign=autumn", 0),
        ("country=US", 1),
        ("country=mx&campaign=spring", 2),
        ("from=2026-03-01&tz=America/Mexico_City", 1),
        ("to=2026-03-01&tz=America/Mexico_City", 2),
        ("from=2026-03-01T06:00:00Z", 1),
        ("view=state", 3),
        ("limit=1", 1),
    ] {
        assert_eq!(count(query), expected, "{query}");
    }
}

#[test]
fn nonsense_is_refused() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, FIRST, 3, &json!({}));
    let page = client.get("/v1/optouts?limit=1").is(200);
    let cursor = page["next"].as_str().unwrap();
    let of_another = format!("cursor={cursor}&source=api");
    let forged = format!("cursor={}", cursor.replacen('3', "9", 1));
    let queries = [
        "from=2026-02-01&to=2026-01-01",
        "from=yesterday",
        "to=10000-01-01",
        "tz=Mars/Olympus",
        "clock=wall",
        "view=all",
        "source=letter",
        "channel=pigeon",
        "country=XX",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=1&limit=1",
        "colour=red",
        "cursor=",
        "cursor=1-2-3",
        &of_another,
        &forged,
    ];
    for query in queries {
        client.get(&format!("/v1/optouts?{query}")).refuses(422);
    }
    for path in [
        "/v1/optouts/export?format=parquet",
        "/v1/optouts/export?cursor=1",
        "/v1/optouts/export?from=2026-02-01&to=2026-01-01",
        "/v1/stats?by=colour",
        "/v1/stats?from=2026-02-01&to=2026-01-01",
        "/v1/numbers/nobody",
        "/v1/numbers/+525512345678?at=noon",
        "/v1/numbers/+525512345678?category=spam",
        "/v1/numbers/+525512345678?region=XX",
    ] {
        client.get(path).refuses(422);
    }
    client.get("/v1/numbers/%ff").refuses(400);
    client.get("/v1/nothing").refuses(404);
    // A browser that comes without a path wants the pages.
    assert_eq!(client.get("/").status, 303);
    let answer = client.ask("DELETE", "/v1/optouts", &[], b"");
    answer.refuses(405);
    assert!(answer.header("allow").unwrap().contains("POST"));
}

#[test]
fn a_download_holds_what_the_list_holds() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let note = json!({"campaign": "=cmd()", "note": "\"><img onerror>, \n@x"});
    record(&mut client, FIRST, 3000, &json!({}));
    record(&mut client, FIRST + 5000, 1, &note);
    let csv = client.get("/v1/optouts/export");
    assert_eq!(csv.status, 200);
    let disposition = csv.header("content-disposition").unwrap();
    assert_eq!(disposition, "attachment; filename=\"optouts.csv\"");
    assert_eq!(csv.header("x-content-type-options"), Some("nosniff"));
    let text = csv.text();
    assert!(
        text.starts_with("sequence,number,") && text.contains("'=cmd()"),
        "a cell is a formula"
    );
    assert_eq!(text.lines().filter(|line| line.contains("opt-out")).count(), 3001);
    let lines = client.get("/v1/optouts/export?format=ndjson&campaign=%3Dcmd()&mask=true");
    let line: Value = serde_json::from_slice(&lines.body).unwrap();
    assert_eq!(line["campaign"], "=cmd()");
    assert!(!line["number"].as_str().unwrap().contains("5510005000"), "{line}");
}

#[test]
fn one_person_is_told_of_as_he_stood() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, FIRST, 1, &json!({"tier": "marketing"}));
    let person = client.get(&format!("/v1/numbers/%2B{FIRST}")).is(200);
    assert_eq!((&person["verdict"], &person["opted_out"]), (&json!("suppressed"), &json!(true)));
    assert_eq!(person["number"], format!("+{FIRST}"));
    let person = client.get("/v1/numbers/(55)%201000-0000?region=MX&category=utility").is(200);
    assert_eq!((&person["verdict"], &person["opted_out"]), (&json!("exempt"), &json!(true)));
    let person = client.get(&format!("/v1/numbers/{FIRST}?at=2026-01-01")).is(200);
    assert_eq!((&person["verdict"], &person["events"]), (&json!("allowed"), &json!([])));
    let person = client.get("/v1/numbers/US.13491208655302741918").is(200);
    assert_eq!(person["verdict"], "allowed");
}

#[test]
fn recipients_are_ruled_on_in_their_order() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, FIRST, 1, &json!({"source": "button"}));
    let recipients = json!(["+13053388888", format!("0052 {}", FIRST - 520_000_000_000), "no"]);
    let answer = client.post("/v1/check", &json!({"recipients": recipients})).is(200);
    let words: Vec<_> =
        answer["verdicts"].as_array().unwrap().iter().map(|it| it["verdict"].clone()).collect();
    assert_eq!(words, ["allowed", "suppressed", "invalid"]);
    let suppressed = &answer["verdicts"][1];
    assert_eq!(suppressed["source"], "button");
    assert!(suppressed["rule"].is_string() && suppressed["since"].is_string(), "{suppressed}");
    assert_eq!((&answer["allowed"], &answer["sequence"]), (&json!(1), &json!(1)));
    let utility = json!({"recipients": recipients, "category": "utility"});
    assert_eq!(client.post("/v1/check", &utility).is(200)["verdicts"][1]["verdict"], "exempt");
    assert_eq!(client.post("/v1/check", &json!({"recipients": []})).is(200)["allowed"], 0);
    for body in [
        json!({}),
        json!({"recipients": "+13053388888"}),
        json!({"recipients": [1]}),
        json!({"recipients": [], "channel": "pigeon"}),
        json!({"recipients": [], "category": "spam"}),
        json!({"recipients": [], "colour": "red"}),
        json!({"recipients": vec!["1"; 100_001]}),
    ] {
        client.post("/v1/check", &body).refuses(422);
    }
}

#[test]
fn counts_add_up() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, FIRST, 3, &json!({"source": "button"}));
    record(&mut client, FIRST, 1, &json!({"source": "keyword"}));
    let stats = client.get("/v1/stats").is(200);
    assert_eq!(stats["groups"]["button"], json!({"opt_outs": 3, "resubscribes": 0}));
    assert_eq!(stats["total"]["opt_outs"], 4);
    assert_eq!((&stats["opted_out"], &stats["sequence"]), (&json!(3), &json!(4)));
    assert_eq!(client.get("/v1/stats?by=country").is(200)["groups"]["MX"]["opt_outs"], 4);
    let metrics = client.get("/metrics");
    assert!(metrics.text().contains("\noptout_opted_out 3\n"), "{}", metrics.text());
    assert!(metrics.text().contains("optout_events_recorded_total 4\n"));
    for path in ["/healthz", "/readyz"] {
        client.get(path).is(200);
    }
}

#[test]
#[cfg(feature = "xlsx")]
fn a_spreadsheet_holds_what_is_listed() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    record(&mut client, FIRST, 3, &json!({"note": "=1+1", "source": "button"}));
    record(&mut client, FIRST + 9, 2, &json!({"source": "keyword"}));
    let answer = client.get("/v1/optouts/export?format=xlsx&source=button");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().ends_with("spreadsheetml.sheet"));
    let mut book = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    let mut sheet = String::new();
    let mut part = book.by_name("xl/worksheets/sheet1.xml").unwrap();
    std::io::Read::read_to_string(&mut part, &mut sheet).unwrap();
    assert_eq!(sheet.matches("<row ").count(), 4);
    // The number, and how it was written.
    assert_eq!(sheet.matches(">+52551000000").count(), 2 * 3);
    assert_eq!(sheet.matches(">=1+1</t>").count(), 3);
}

fn document(served: &Served) -> Value {
    served.client().get("/openapi.json").is(200)
}

#[test]
fn the_description_lists_the_methods_that_there_are() {
    let place = Place::new();
    let served = place.serve();
    let mut client = served.client();
    let document = document(&served);
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 10, "{}", paths.len());
    for (path, methods) in paths {
        let asked = path.replace("{number}", "+525512345678");
        for method in ["get", "post", "put", "patch", "delete", "trace", "options"] {
            let answer = client.ask(&method.to_uppercase(), &asked, &[], b"");
            let is_there = answer.status != 405;
            assert_eq!(is_there, methods.get(method).is_some(), "{method} {path}");
            assert!(answer.status < 500, "{method} {path}");
        }
        for other in [format!("{asked}/"), format!("/{asked}"), asked.replacen("/v1", "/v2", 1)] {
            let is_known = paths.keys().any(|path| *path == other) || other == asked;
            assert!(is_known || client.get(&other).status == 404, "{other}");
        }
    }
}

#[test]
fn every_example_of_the_handbook_works() {
    let place = Place::new();
    let served = place.serve();
    let document = document(&served);
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api.md")).unwrap();
    let mut examples = 0;
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines().filter(|line| line.starts_with("curl ")) {
            run_example(&mut served.client(), line, &document);
            examples += 1;
        }
    }
    assert!(examples >= 8, "{examples}");
}

/// Sends what a line with curl sends.
fn run_example(client: &mut Client, line: &str, document: &Value) {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let (mut headers, mut method) = (Vec::new(), None);
    let (mut body, mut path) = (String::new(), String::new());
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-H" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(": ").unwrap();
                headers.push((name.to_owned(), value.to_owned()));
            }
            "-d" => body = words.next().unwrap(),
            "--data-binary" => {
                words.next();
                body = "phone,name\n+525587654321,Luis\n".to_owned();
            }
            "-X" => method = words.next(),
            "-o" => drop(words.next()),
            word if word.starts_with('-') => {}
            word => path = word.split_once(":8080").unwrap().1.to_owned(),
        }
    }
    let usual = if body.is_empty() { "GET" } else { "POST" };
    let method = method.as_deref().unwrap_or(usual);
    let asked = path.split('?').next().unwrap();
    let patterns =
        [("/v1/numbers/", "/v1/numbers/{number}"), ("/v1/campaigns/", "/v1/campaigns/{id}")];
    let known = patterns.iter().find(|(start, _)| asked.starts_with(start));
    let known = known.map_or(asked, |(_, pattern)| *pattern);
    let described = document["paths"][known].get(method.to_lowercase());
    assert!(described.is_some(), "{line}");
    let headers: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name != "Authorization")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let answer = client.ask(method, &path, &headers, body.as_bytes());
    assert!((200..300).contains(&answer.status), "{line}\n{}", answer.text());
}
