//! Ids without a number, and links: add, link, import, check, why, scrub, export.

use serde_json::{Value, json};

use crate::harness::Place;

const ANA: &str = "MX.13491208655302741918";
const LUIS: &str = "MX.ENT.77";

#[test]
fn an_id_that_said_stop_is_suppressed_exactly_and_no_other_is() {
    let place = Place::holding(&[ANA, "+525512345678"]);
    let ran = place.run(&["check", ANA, "whatsapp:MX.13491208655302741918", LUIS, "mx.1349"]);
    let words: Vec<Vec<&str>> =
        ran.exits(0).lines().map(|it| it.split('\t').take(2).collect()).collect();
    assert_eq!(words[0], [ANA, "suppressed"]);
    assert_eq!(words[1], [ANA, "suppressed"]);
    assert_eq!(words[2], [LUIS, "allowed"]);
    assert_eq!(words[3], ["mx.1349", "invalid"]);

    place.run(&["compact"]).exits(0);
    assert_eq!(place.suppressed(&[ANA, LUIS]), [true, false]);
    place.run(&["resubscribe", ANA, "--reason", "asked"]).exits(0);
    assert_eq!(place.suppressed(&[ANA, LUIS]), [false, false]);
    assert!(place.run(&["why", LUIS]).exits(0).contains("no event is about it"));
    place.run(&["verify"]).exits(0);
}

#[test]
fn an_opt_out_on_either_end_of_a_link_holds_for_both() {
    let place = Place::holding(&[ANA]);
    let ran = place.run(&["link", ANA, "55 1234 5678", "--region", "MX"]);
    assert_eq!(ran.exits(0), format!("2\t{ANA}\t+525512345678\tlinked\n"));
    let again = place.run(&["--json", "link", "+5215512345678", ANA]).json();
    let expected = json!({
        "sequence": 2, "number": "+5215512345678", "linked": ANA, "outcome": "already",
        "opted_out": true,
    });
    assert_eq!(again, expected);
    assert_eq!(place.suppressed(&["+525512345678", ANA]), [true, true]);

    let ran = place.run(&["--json", "why", "+525512345678"]).json();
    assert_eq!(ran["verdict"], "suppressed");
    let events: Vec<&Value> =
        ran["events"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
    assert_eq!(events, ["opt-out", "link", "link"]);

    // The state has a row for each address, so that whoever takes it over knows both.
    let state = place.run(&["export", "--view", "state"]);
    let numbers: Vec<&str> =
        state.exits(0).lines().skip(1).map(|it| it.split(',').nth(1).unwrap()).collect();
    assert_eq!(numbers, [ANA, "525512345678"]);

    place.run(&["resubscribe", "+525512345678", "--reason", "asked"]).exits(0);
    assert_eq!(place.suppressed(&["+525512345678", ANA]), [false, false]);
    place.run(&["add", "+525512345678", "--tier", "all"]).exits(0);
    place.run(&["compact"]).exits(0);
    assert_eq!(place.suppressed(&["+525512345678", ANA]), [true, true]);
    place.run(&["verify"]).exits(0);
}

#[test]
fn links_come_as_lines_and_a_wrong_one_joins_nobody() {
    let place = Place::holding(&["+525512345678"]);
    let lines = format!("{ANA}\t+525512345678\n{LUIS},+525587654321\n{LUIS}\t12\n");
    let ran = place.run_with(&["link", "-"], lines.as_bytes());
    assert_eq!(ran.exits(1).lines().count(), 2);
    ran.says(&["invalid: 12"]);
    assert_eq!(place.suppressed(&[ANA, LUIS]), [true, false]);
    place.run(&["link", "+525512345678", "+525587654321"]).fails(2, &["not two numbers"]);
    place.run(&["link", ANA, ANA]).fails(2, &["the same"]);
    // A line that is none does not keep the others out.
    let ran = place.run_with(&["link", "-"], format!("{LUIS}\n{LUIS};+525511112222\n").as_bytes());
    assert!(ran.exits(1).contains("+525511112222"));
    place.run(&["link", ANA]).fails(2, &["with a tab or comma between"]);
}

#[test]
fn a_link_that_would_free_one_of_its_ends_is_refused() {
    let place = Place::holding(&[ANA]);
    place.run(&["add", "+525512345678"]).exits(0);
    place.run(&["resubscribe", "+525512345678", "--reason", "asked"]).exits(0);
    let ran = place.run(&["link", ANA, "+525512345678"]);
    assert_eq!(ran.exits(5), "");
    ran.says(&["refused: ", "would lift an opt-out", "(event 1)"]);
    assert_eq!(place.suppressed(&[ANA, "+525512345678"]), [true, false]);
    place.run(&["resubscribe", ANA, "--reason", "asked"]).exits(0);
    place.run(&["link", ANA, "+525512345678"]).exits(0);
    assert_eq!(place.suppressed(&[ANA, "+525512345678"]), [false, false]);
}

#[test]
fn lists_may_hold_ids_beside_numbers() {
    let place = Place::new();
    place.write("optouts.csv", format!("phone\n{ANA}\n+525512345678\nMX.\n{ANA}\n"));
    let dry = place.run(&["--json", "import", "optouts.csv", "--dry-run"]).json();
    let ran = place.run(&["--json", "import", "optouts.csv"]).json();
    for report in [dry, ran] {
        let counts = ["rows", "added", "already", "invalid"].map(|name| report[name].clone());
        assert_eq!(counts, [4, 2, 1, 1], "{report}");
    }
    let list = format!("phone,name\n{LUIS},Luis\n{ANA},Ana\n\"{ANA}\",Ana\n{LUIS},L\nmx.1,?\n");
    place.write("list.csv", list);
    let args = ["--json", "scrub", "list.csv", "-o", "clean.csv", "--suppressed", "out.csv"];
    let report = place.run(&[&args[..], &["--dedupe"]].concat()).json();
    let counts =
        ["rows", "kept", "suppressed", "invalid", "duplicates"].map(|name| report[name].clone());
    assert_eq!(counts, [5, 1, 2, 1, 1], "{report}");
    assert_eq!(place.text("clean.csv"), format!("phone,name\n{LUIS},Luis\n"));
    let suppressed = place.text("out.csv");
    assert!(suppressed.lines().nth(1).unwrap().starts_with(&format!("{ANA},Ana,{ANA},20")));
}
