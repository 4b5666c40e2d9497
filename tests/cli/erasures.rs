//! erase, and what the other verbs say of those who were erased.

use serde_json::json;

use crate::harness::Place;

const NUMBER: &str = "+525512345678";
const OTHER: &str = "+525587654321";

/// A store in which somebody has a history that names him in many ways.
fn place() -> Place {
    let place = Place::new();
    let add = [
        "add",
        "(55) 1234-5678",
        OTHER,
        "--region",
        "MX",
        "--word",
        "BAJA 5512345678",
        "--campaign",
        "spring",
        "--at",
        "2026-01-02",
    ];
    place.run(&add).exits(0);
    place.run(&["compact"]).exits(0);
    let note = "call 52 1 55 1234 5678";
    place.run(&["add", "5215512345678", "--message-id", "wamid.1", "--note", note]).exits(0);
    let reason = "he called from +52 55 1234 5678";
    place.run(&["resubscribe", NUMBER, "--reason", reason]).exits(0);
    place
}

fn files_that_hold(place: &Place, text: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|it| it == text.as_bytes());
    let files = place.store_files().into_iter();
    files.filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

#[test]
fn erase_drops_everything_but_the_suppression() {
    let place = place();
    assert!(!files_that_hold(&place, "1234-5678").is_empty());
    let dry = place.run(&["erase", NUMBER, "--dry-run"]);
    assert_eq!(dry.exits(0), format!("3\t{NUMBER}\tto be dropped\n"));
    assert!(place.suppressed(&[NUMBER]) == [false]);

    let ran = place.run(&["erase", "5512345678", "--region", "MX", "--reason", "case 17"]);
    assert_eq!(ran.exits(0), format!("5\t{NUMBER}\terased\n"));
    ran.says(&["3 events dropped, 1 segments written anew", "none holds the number"]);
    for text in ["5512345678", "1234-5678", "55 1234 5678", "wamid.1"] {
        assert_eq!(files_that_hold(&place, text), [""; 0], "{text}");
    }
    assert_eq!(place.suppressed(&[NUMBER, "5215512345678", OTHER]), [true; 3]);
    let check = place.run(&["check", NUMBER, "--category", "authentication"]);
    assert!(check.exits(0).contains("\tsuppressed\t"));
    place.run(&["verify"]).exits(0);
}

#[test]
fn the_other_verbs_tell_of_the_erasure_and_of_nothing_else() {
    let place = place();
    let erased = place.run(&["--json", "erase", NUMBER, "--reason", "case 17"]).json();
    assert_eq!(
        erased["people"],
        json!([{"sequence": 5, "number": NUMBER, "outcome": "erased", "events_dropped": 3}])
    );
    assert_eq!(erased["segments_rewritten"], 1);
    let files = place.store_files();
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(erased["files_searched"], files.len());
    assert_eq!(erased["bytes_searched"], bytes);

    let why = place.run(&["why", NUMBER]);
    let text = why.exits(0);
    assert!(text.contains("is suppressed") && text.contains("rule   opt-out-all"), "{text}");
    assert!(text.contains("event  5: opt-out (all, erasure) by agent"), "{text}");
    assert!(text.contains("everything before it was erased"), "{text}");
    assert!(text.contains("note \"case 17\"") && text.matches("event  ").count() == 1, "{text}");
    // What was known before can't be told any more.
    let before = place.run(&["why", NUMBER, "--at", "2026-02-01"]);
    assert!(before.exits(0).contains("is suppressed"));

    let events = place.run(&["export", "--view", "events", "--format", "ndjson"]);
    let lines: Vec<serde_json::Value> =
        events.exits(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|it| (it["number"].as_str().unwrap(), it["campaign"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("", ""), (OTHER, "spring"), ("", ""), ("", ""), ("", "")]);
    assert!(lines.iter().filter(|it| it["number"] == "").all(|it| it["raw"] == ""));
    assert_eq!(lines[1]["word"], "BAJA **********");

    let state = place.run(&["export", "--view", "state"]);
    assert_eq!(state.exits(0).lines().count(), 3);
    state.says(&["1 rows have no number: these people asked to be forgotten"]);
    let stats = place.run(&["--json", "stats"]).json();
    assert_eq!(stats["opted_out"], 2, "{stats}");
    place.run(&["verify"]).exits(0);
}

#[test]
fn what_can_not_be_read_without_a_doubt_is_not_erased() {
    let place = place();
    let ran = place.run(&["erase", "n/a", NUMBER, "+34600123456"]);
    assert_eq!(ran.exits(1), format!("5\t{NUMBER}\terased\n6\t+34600123456\terased\n"));
    ran.says(&["invalid: n/a: this is not a phone number"]);
    assert_eq!(place.suppressed(&[NUMBER, "+34600123456"]), [true; 2]);
    let reason = "asked by +52 55 8765 4321";
    place.run(&["erase", OTHER, "--reason", reason]).fails(2, &["the reason holds the number"]);
    assert_eq!(place.run_with(&["erase", "-"], b"").exits(0), "");
    place.write("store/notes.txt", format!("ask {OTHER}"));
    place.run(&["erase", OTHER]).fails(1, &["erased", "notes.txt", "at byte 7"]);
    assert!(files_that_hold(&place, "5587654321") == ["notes.txt"]);
}

#[test]
fn a_list_that_still_has_the_person_is_named() {
    let place = place();
    place.write("list.csv", "number\n+525512345678\n+34600123456\n");
    let list =
        ["import", "list.csv", "--layer", "dnc", "--as-of", "2026-11-01", "--max-age", "31d"];
    place.run(&list).exits(0);
    let ran = place.run(&["erase", NUMBER]);
    ran.exits(0);
    ran.says(&["the layer dnc still lists 1 of them"]);
}
