//! add, resubscribe, check, why.

use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Place;

#[test]
fn add_acknowledges_each_number_with_its_sequence() {
    let place = Place::new();
    let ran = place.run(&["add", "+52 55 1234 5678", "+5511987654321"]);
    assert_eq!(ran.exits(0), "1\t+525512345678\tadded\n2\t+5511987654321\tadded\n");
    assert_eq!(ran.stderr, "");
    let again = place.run(&["add", "5215512345678", "+34600123456"]);
    assert_eq!(again.exits(0), "3\t+5215512345678\talready\n4\t+34600123456\tadded\n");
    let json = place.run(&["--json", "add", "+34600123457"]).json();
    assert_eq!(
        json,
        json!({"sequence": 5, "number": "+34600123457", "outcome": "added", "opted_out": true})
    );
}

#[test]
fn an_unreadable_number_does_not_keep_the_others_out() {
    let place = Place::new();
    let ran = place.run(&["add", "+525512345678", "n/a", "", "5.21E+12", "+525587654321"]);
    assert_eq!(ran.exits(1), "1\t+525512345678\tadded\n2\t+525587654321\tadded\n");
    assert_eq!(
        ran.stderr,
        "invalid: n/a: this is not a phone number\n\
         invalid: : the cell is empty\n\
         invalid: 5.21E+12: a spreadsheet rounded the number (as in 5.21E+12): export the column \
         as text\n"
    );
    assert_eq!(place.suppressed(&["+525512345678", "+525587654321"]), [true, true]);
}

#[test]
fn a_cell_of_two_numbers_opts_both_out() {
    let place = Place::new();
    let ran = place.run(&["add", "+525512345678;+525587654321"]);
    assert_eq!(ran.exits(0), "1\t+525512345678\tadded\n2\t+525587654321\tadded\n");
    let half = place.run(&["add", "+525500000001;sin número"]);
    half.exits(1);
    assert!(half.stderr.starts_with("invalid: +525500000001;sin número: "), "{}", half.stderr);
}

#[test]
fn add_reads_lines_of_standard_input() {
    let place = Place::new();
    let lines = b"+525512345678\r\n\n  \nx\n+525587654321";
    let ran = place.run_with(&["add", "+34600123456", "-", "+34600123457"], lines);
    assert_eq!(
        ran.exits(1),
        "1\t+34600123456\tadded\n2\t+525512345678\tadded\n3\t+525587654321\tadded\n\
         4\t+34600123457\tadded\n"
    );
    assert_eq!(ran.stderr, "invalid: x: this is not a phone number\n");
    assert_eq!(place.run_with(&["add", "-"], b"").exits(0), "");

    let many: String = (0..30_000).map(|at| format!("+5255{at:08}\n")).collect();
    let ran = place.run_with(&["add", "-"], many.as_bytes());
    assert_eq!(ran.exits(0).lines().count(), 30_000);
    assert!(ran.exits(0).ends_with("30004\t+525500029999\tadded\n"));
}

#[test]
fn options_may_stand_behind_the_numbers() {
    let place = Place::new();
    let ran = place.run(&["add", "55 1234 5678", "--region", "MX"]);
    assert_eq!(ran.exits(0), "1\t+525512345678\tadded\n");
    let ran = place.run(&["check", "55 1234 5678", "--region", "MX", "--exit-status"]);
    assert!(ran.exits(10).starts_with("+525512345678\tsuppressed\t"));
    let ran = place.run(&["resubscribe", "+525512345678", "--reason", "asked"]);
    assert_eq!(ran.exits(0), "2\t+525512345678\tresubscribed\n");
    place.run(&["add", "+525512345678", "--colour", "red"]).fails(2, &["--colour"]);
    assert_eq!(place.run(&["add", "+525512345678"]).exits(0), "3\t+525512345678\tadded\n");
}

#[test]
fn the_same_message_twice_is_one_event() {
    let place = Place::new();
    let add = |number: &str, id: &str| {
        place.run(&["add", number, "--message-id", id]).exits(0).to_owned()
    };
    assert_eq!(add("+525512345678", "m1"), "1\t+525512345678\tadded\n");
    assert_eq!(add("+525512345678", "m1"), "1\t+525512345678\talready\n");
    assert_eq!(add("+5215512345678", "m1"), "1\t+5215512345678\talready\n");
    assert_eq!(add("+525587654321", "m1"), "2\t+525587654321\tadded\n");
    assert_eq!(add("+525512345678", "m2"), "3\t+525512345678\talready\n");
    assert_eq!(place.run(&["export"]).exits(0).lines().count(), 1 + 3);
}

#[test]
fn what_no_message_has_is_refused_and_records_nothing() {
    let place = Place::new();
    let before = place.store_files();
    let number = "+525512345678";
    for (args, words) in [
        (&["add", number, "--channel", "pigeon"][..], &["\"pigeon\" is not a channel", "sms"][..]),
        (&["add", number, "--tier", "some"], &["tier", "marketing"]),
        (&["add", number, "--ground", "erasure"], &["request, legal"]),
        (&["add", number, "--ground", "legal", "--tier", "marketing"], &["--ground legal"]),
        (&["resubscribe", number, "--reason", " "], &["--reason is empty"]),
        (&["override", number, "--category", "marketing", "--reason", "x"], &["utility"]),
        (&["check", number, "--category", "spam"], &["\"spam\"", "utility"]),
        (&["check", number, "--channel", "pigeon"], &["\"pigeon\" is not a channel"]),
        (&["scrub", "list.csv", "--category", "spam"], &["\"spam\""]),
        (&["scrub", "list.csv", "--max-suppressed", "120%"], &["no limit"]),
    ] {
        place.run(args).fails(2, words);
    }
    place.write("open.policy", "optout-policy 1\nopt-out opt-out any any any suppressed\n");
    let open = ["check", number, "--policy", "open.policy"];
    place.run(&open).fails(2, &["open.policy", "leaves a case open"]);
    assert_eq!(place.store_files(), before);
}

#[test]
fn an_opt_out_reaches_as_far_as_it_says() {
    let place = Place::new();
    let verdict = |args: &[&str]| {
        let ran = place.run(&[&["check", "+525512345678"], args].concat());
        ran.exits(0).split('\t').nth(1).unwrap().to_owned()
    };
    place.run(&["add", "+525512345678", "--channel", "sms", "--sender", "Promo"]).exits(0);
    for step in ["beyond the generation", "in it"] {
        assert_eq!(verdict(&[]), "suppressed", "{step}: what is not named may be meant");
        assert_eq!(verdict(&["--channel", "sms"]), "suppressed", "{step}");
        assert_eq!(verdict(&["--channel", "SMS", "--sender", "promo"]), "suppressed", "{step}");
        assert_eq!(verdict(&["--channel", "whatsapp"]), "allowed", "{step}");
        assert_eq!(verdict(&["--sender", "billing"]), "allowed", "{step}");
        assert_eq!(verdict(&["--category", "utility"]), "exempt", "{step}");
        place.run(&["compact"]).exits(0);
    }
    // What reaches less far lifts nothing; what reaches as far or farther does.
    let back = |scope: &[&str]| {
        let args = [&["resubscribe", "+525512345678", "--reason", "said START"], scope].concat();
        place.run(&args).exits(0).split('\t').nth(2).unwrap().trim().to_owned()
    };
    assert_eq!(back(&["--channel", "sms", "--sender", "other"]), "not-listed");
    assert_eq!(back(&["--channel", "whatsapp"]), "not-listed");
    assert_eq!(back(&["--channel", "sms"]), "resubscribed");
    assert_eq!(verdict(&[]), "allowed");
}

#[test]
fn an_opt_out_from_everything_stops_codes_unless_an_override_names_them() {
    let place = Place::new();
    let number = "+525512345678";
    let verdict = |category: &str| {
        let ran = place.run(&["check", number, "--category", category]);
        ran.exits(0).split('\t').nth(1).unwrap().to_owned()
    };
    place.run(&["add", number, "--word", "STOP ALL"]).exits(0);
    assert_eq!(verdict("authentication"), "suppressed");
    let args = ["override", number, "--category", "authentication", "--reason", "asked for codes"];
    assert!(place.run(&args).exits(0).ends_with("\trecorded\n"));
    assert_eq!(verdict("authentication"), "exempt");
    assert_eq!(verdict("utility"), "suppressed");
    assert_eq!(verdict("marketing"), "suppressed");
    place.run(&["resubscribe", number, "--reason", "said START"]).exits(0);
    assert_eq!(verdict("marketing"), "suppressed", "START is no answer to STOP ALL");
    place.run(&["resubscribe", number, "--tier", "all", "--reason", "x"]).exits(0);
    assert_eq!(verdict("marketing"), "allowed");
}

#[test]
fn an_operator_lifts_a_persons_own_word_only_when_he_says_so() {
    let place = Place::new();
    let number = "+525512345678";
    place.run(&["add", number, "--source", "keyword"]).exits(0);
    let back = ["resubscribe", number, "--source", "agent", "--reason", "phoned"];
    let ran = place.run(&back);
    assert_eq!(ran.exits(5), "");
    ran.says(&["refused", "--override"]);
    assert_eq!(place.run(&["export"]).exits(0).lines().count(), 1 + 1, "nothing was recorded");
    let ran = place.run(&[&back[..], &["--override"]].concat());
    assert!(ran.exits(0).ends_with("\tresubscribed\n"));
    // A legal demand is never lifted.
    place.run(&["add", number, "--source", "agent", "--ground", "legal"]).exits(0);
    let ran = place.run(&[&back[..], &["--override", "--tier", "all"]].concat());
    assert!(ran.exits(0).ends_with("\tnot-listed\n"));
    ran.says(&["still opted out"]);
}

#[test]
fn wrong_options_are_wrong_usage() {
    let place = Place::new();
    let long = "x".repeat(5000);
    for (args, word) in [
        (&["add"][..], "<NUMBER>"),
        (&["add", "+525512345678", "--region", "XX"], "XX"),
        (&["add", "+525512345678", "--at", "yesterday"], "yesterday"),
        (&["add", "+525512345678", "--tz", "Mars/Olympus"], "Mars/Olympus"),
        (&["add", "+525512345678", "--source", "fax"], "api, keyword, button"),
        (&["add", "+525512345678", "--note", &long], "note"),
        (&["resubscribe", "+525512345678"], "--reason"),
        (&["why", "+525512345678", "--at", "soon"], "soon"),
        (&["check"], "<NUMBER>"),
        (&["frobnicate"], "frobnicate"),
    ] {
        place.run(args).fails(2, &[word]);
    }
    assert_eq!(place.run(&["export"]).exits(0).lines().count(), 1);
}

#[test]
fn clocks_decide_and_a_tie_is_an_opt_out() {
    let place = Place::new();
    let stop = |at: &str| {
        let ran = place.run(&["add", "+525512345678", "--at", at]);
        ran.exits(0).split('\t').nth(2).unwrap().trim().to_owned()
    };
    let start = |at: &str| {
        let ran = place.run(&["resubscribe", "+525512345678", "--reason", "r", "--at", at]);
        ran.exits(0).split('\t').nth(2).unwrap().trim().to_owned()
    };
    let is_suppressed = || place.suppressed(&["+525512345678"]) == [true];
    assert_eq!(start("2026-01-01"), "not-listed");
    assert_eq!(stop("2026-03-01T12:00:00Z"), "added");
    assert_eq!(start("2026-02-01"), "not-listed");
    assert!(is_suppressed(), "an older START lifts nothing");
    assert_eq!(start("2026-03-01T12:00:00Z"), "not-listed");
    assert!(is_suppressed(), "a tie is an opt-out");
    assert_eq!(start("2026-03-01T12:00:00.001Z"), "resubscribed");
    assert!(!is_suppressed());
    assert_eq!(stop("2026-02-15"), "already");
    assert!(!is_suppressed(), "a STOP older than START was lifted by it");
    assert_eq!(stop("2026-03-01T12:00:00.001Z"), "added");
    assert!(is_suppressed());
}

#[test]
fn a_time_is_read_in_its_zone() {
    let place = Place::new();
    let at = ["--at", "2026-03-01", "--tz", "America/Mexico_City"];
    place.run(&[&["add", "+525512345678"], &at[..]].concat()).exits(0);
    let line = "+525512345678\tsuppressed\t2026-03-01T06:00:00Z\tapi\n";
    assert_eq!(place.run(&["check", "+525512345678"]).exits(0), line);
}

#[test]
fn check_has_a_line_for_each_recipient() {
    let place = Place::new();
    let add = ["add", "+525512345678", "--at", "2026-03-01T09:30:00Z", "--source", "keyword"];
    place.run(&add).exits(0);
    let ran = place.run(&["check", "+525512345678", "+34600123456", "n/a", "525512345678"]);
    assert_eq!(
        ran.exits(0),
        "+525512345678\tsuppressed\t2026-03-01T09:30:00Z\tkeyword\n\
         +34600123456\tallowed\t\t\n\
         n/a\tinvalid\t\t\n\
         +525512345678\tsuppressed\t2026-03-01T09:30:00Z\tkeyword\n"
    );
    assert_eq!(ran.stderr, "invalid: n/a: this is not a phone number\n");

    for (numbers, exit) in [
        (&["+34600123456", "+34600123457"][..], 0),
        (&["+34600123456", "+525512345678"], 10),
        (&["+34600123456", "n/a"], 10),
    ] {
        place.run(&[&["check", "--exit-status"], numbers].concat()).exits(exit);
    }
    let stdin = place.run_with(&["check", "-"], b"+34600123456\n\n+525512345678\n");
    assert_eq!(stdin.exits(0).lines().count(), 2);

    let json = place.run(&["--json", "check", "+525512345678", "n/a"]);
    let lines: Vec<Value> =
        json.exits(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({"input": "+525512345678", "verdict": "suppressed", "number": "+525512345678",
                "since": "2026-03-01T09:30:00Z", "source": "keyword", "rule": "opt-out"}),
            json!({"input": "n/a", "verdict": "invalid", "reason": "not_a_number"}),
        ]
    );
}

#[test]
fn webhook_forms_of_one_phone_are_one_subscriber() {
    let place = Place::holding(&["5215512345678", "+55 11 8765-4321", "+541123456789"]);
    let forms = ["+525512345678", "5215512345678@c.us", "+5511987654321", "+5491123456789"];
    assert_eq!(place.suppressed(&forms), [true; 4]);
}

#[test]
fn a_check_that_waits_sees_opt_outs_of_the_meantime() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let place = Place::new();
    let mut command = place.command(&["check", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(pipe, "+525512345678").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "+525512345678\tallowed\t\t");
    place.run(&["add", "+525512345678"]).exits(0);
    writeln!(pipe, "+525512345678").unwrap();
    assert!(lines.next().unwrap().unwrap().starts_with("+525512345678\tsuppressed\t"));
    drop(pipe);
    assert!(child.wait().unwrap().success());
}

#[test]
fn why_tells_the_events_and_travels_by_the_recording_clock() {
    let place = Place::new();
    let moment = || {
        sleep(Duration::from_millis(5));
        let now = optout::time::Timestamp::now().to_string();
        sleep(Duration::from_millis(5));
        now
    };
    let verdict = |at: &str| {
        let json = place.run(&["--json", "why", "+525512345678", "--at", at]).json();
        (json["verdict"].as_str().unwrap().to_owned(), json["events"].as_array().unwrap().len())
    };
    let before = moment();
    // It happened long ago, and was recorded only now.
    let stop = ["add", "52 55 1234 5678", "--at", "2020-01-01", "--word", "BAJA"];
    place.run(&stop).exits(0);
    let between = moment();
    place.run(&["resubscribe", "+525512345678", "--reason", "asked by phone"]).exits(0);
    let after = moment();
    assert_eq!(verdict(&before), ("allowed".to_owned(), 0));
    assert_eq!(verdict(&between), ("suppressed".to_owned(), 1));
    assert_eq!(verdict(&after), ("allowed".to_owned(), 2));

    let text = place.run(&["why", "+525512345678", "--at", &between]);
    let expected = format!("+525512345678 is suppressed at {between}, as the store knew it then\n");
    assert!(text.exits(0).starts_with(&expected), "{}", text.exits(0));
    let text = place.run(&["why", "+5215512345678"]);
    let text = text.exits(0);
    assert!(text.starts_with("+5215512345678 is allowed\n"), "{text}");
    for part in [
        "event  1: opt-out (marketing, request) by api, occurred 2020-01-01T00:00:00Z",
        "word \"BAJA\"",
        "written \"52 55 1234 5678\"",
        "event  2: resubscribe",
        "note \"asked by phone\"",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert_eq!(
        place.run(&["why", "+34600123456"]).exits(0),
        "+34600123456 is allowed: no event is about it\n"
    );
    place.run(&["why", "n/a"]).fails(1, &["\"n/a\": this is not a phone number"]);
}
