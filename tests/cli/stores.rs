//! init, compact, verify; stores that are missing, damaged, newer or held.

use std::fs;

use optout::store::Writer;
use xxhash_rust::xxh3::xxh3_64;

use crate::harness::{Place, Ran, run};

/// Every verb that needs a store, with arguments that are right.
const VERBS: &[&[&str]] = &[
    &["add", "+525512345678"],
    &["resubscribe", "+525512345678", "--reason", "asked again"],
    &["import", "list.csv"],
    &["import", "list.csv", "--dry-run"],
    &["scrub", "list.csv", "-o", "out.csv", "--report", "report.json"],
    &["scrub", "list.csv", "list2.csv", "-o", "folder"],
    &["scrub", "list.csv", "--mode", "off", "-o", "-"],
    &["scrub", "list.csv", "--as-of", "2026-03-01", "-o", "-"],
    &["check", "+525512345678"],
    &["check", "+525512345678", "--at", "2026-03-01"],
    &["why", "+525512345678"],
    &["why", "+525512345678", "--at", "2026-03-01"],
    &["diff", "0", "0"],
    &["export"],
    &["export", "-o", "out.csv"],
    &["stats"],
    &["stats", "--by", "day"],
    &["compact"],
    &["verify"],
];

fn with_lists(place: Place) -> Place {
    place.write("list.csv", "phone\n+525512345678\n+525587654321\n");
    place.write("list2.csv", "phone\n+525512345678\n");
    place
}

/// Every verb refuses with exit 3, answers nothing, makes nothing and changes nothing.
#[track_caller]
fn every_verb_refuses(place: &Place, words: &[&str]) {
    let before = place.path("store").is_dir().then(|| place.store_files());
    let names = place.names();
    for verb in VERBS {
        let ran = place.run(verb);
        // `verify` names damages as warnings, and everything else as errors.
        assert_eq!(ran.exits(3), "", "{verb:?}");
        ran.says(words);
        assert_eq!(place.names(), names, "{verb:?}");
        assert_eq!(place.path("store").is_dir().then(|| place.store_files()), before, "{verb:?}");
    }
}

fn manifest_with(place: &Place, from: &str, to: &str) {
    let text = place.text("store/MANIFEST");
    let body = text[..text.rfind("xxh3:").unwrap()].replace(from, to);
    assert!(!text.starts_with(&body), "nothing was changed");
    let checksum = xxh3_64(body.as_bytes());
    place.write("store/MANIFEST", format!("{body}xxh3:{checksum:016x}\n"));
}

#[test]
fn init_makes_a_store_once() {
    let place = Place::empty();
    let made = place.run(&["init"]);
    assert_eq!(made.exits(0), "");
    assert_eq!(made.stderr, "made an empty store at store\n");
    let before = place.store_files();
    let again = place.run(&["init"]);
    assert_eq!(again.exits(0), "");
    assert_eq!(again.stderr, "there is a store at store already; it is as it was\n");
    assert_eq!(place.store_files(), before);
    let json = place.run(&["--json", "init"]);
    assert_eq!(json.exits(0), "{\"made\":false,\"store\":\"store\"}\n");
}

#[test]
fn init_leaves_what_is_not_a_store_as_it_is() {
    let place = Place::empty();
    fs::create_dir(place.path("store")).unwrap();
    place.write("store/holiday.jpg", "a picture");
    place
        .run(&["init"])
        .fails(3, &["store is not empty and not a store", "empty or new directory"]);
    assert_eq!(place.store_files(), [("holiday.jpg".to_owned(), b"a picture".to_vec())]);
    every_verb_refuses(&with_lists(place), &["store is not a store: it has no MANIFEST file"]);

    let place = Place::empty();
    place.write("file", "text");
    place.run(&["init", "--store", "file"]).exits(1);
    place.run(&["--store", "file", "check", "+525512345678"]).exits(2);
    run(place.bare().args(["--store", "file", "check", "+525512345678"]), b"")
        .fails(3, &["file is not a store: it is no directory"]);
}

#[test]
fn a_verb_without_a_store_named_says_how() {
    let place = Place::empty();
    for verb in VERBS.iter().chain(&[&["init"][..]]) {
        let words = ["no store was named", "--store DIR", "OPTOUT_STORE"];
        run(place.bare().args(*verb), b"").fails(2, &words);
        run(place.bare().env("OPTOUT_STORE", "").args(*verb), b"").fails(2, &["--store <DIR>"]);
    }
    run(place.bare().env("OPTOUT_STORE", "store").arg("init"), b"").exits(0);
    assert!(place.path("store/MANIFEST").exists());
}

#[test]
fn a_missing_store_is_never_an_empty_answer() {
    let place = with_lists(Place::empty());
    every_verb_refuses(&place, &["there is no store at store", "optout init"]);
    fs::create_dir(place.path("store")).unwrap();
    every_verb_refuses(&place, &["there is no store at store"]);
}

#[test]
fn a_damaged_manifest_is_refused_by_every_verb() {
    let place = with_lists(Place::holding(&["+525512345678"]));
    let whole = place.read("store/MANIFEST");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    place.write("store/MANIFEST", flipped);
    every_verb_refuses(&place, &["store/MANIFEST", "at byte", "checksum"]);
    place.write("store/MANIFEST", &whole[..whole.len() - 5]);
    every_verb_refuses(&place, &["store/MANIFEST", "at byte"]);
    place.write("store/MANIFEST", "");
    every_verb_refuses(&place, &["store/MANIFEST", "at byte"]);
    fs::remove_file(place.path("store/MANIFEST")).unwrap();
    every_verb_refuses(&place, &["store is not a store"]);
    place.run(&["init"]).fails(3, &["no manifest", "restore it from a backup"]);
    fs::create_dir(place.path("store/MANIFEST")).unwrap();
    assert_eq!(place.run(&["check", "+525512345678"]).exits(3), "");
}

#[test]
fn a_store_of_a_newer_release_or_another_fold_table_is_refused() {
    let place = with_lists(Place::holding(&["+525512345678"]));
    manifest_with(&place, "\"format\": 3", "\"format\": 4");
    every_verb_refuses(&place, &["newer release (format 4", "up to 3", "use that release"]);
    let place = with_lists(Place::holding(&["+525512345678"]));
    manifest_with(&place, "\"fold_version\": 1", "\"fold_version\": 99");
    every_verb_refuses(&place, &["fold table 99", "export its"]);
}

#[test]
fn a_store_of_the_format_before_the_first_release_is_refused_with_a_way_out() {
    let place = Place::new();
    manifest_with(&place, "\"format\": 3", "\"format\": 1");
    every_verb_refuses(&place, &["format 1", "never released", "import"]);
}

#[test]
fn a_second_writer_is_turned_away_and_readers_are_not() {
    let place = with_lists(Place::holding(&["+525512345678"]));
    let writer = Writer::open(place.path("store")).unwrap();
    for verb in [
        &["add", "+525587654321"][..],
        &["add", "-"],
        &["resubscribe", "+525512345678", "--reason", "x"],
        &["import", "list.csv", "--invalid", "bad.csv"],
        &["compact"],
    ] {
        place.run(verb).fails(4, &["another writer holds the store", "wait until it ends"]);
    }
    assert_eq!(place.names(), ["list.csv", "list2.csv"]);
    assert_eq!(place.suppressed(&["+525512345678", "+525587654321"]), [true, false]);
    for verb in [&["verify"][..], &["stats"], &["export"], &["import", "list.csv", "--dry-run"]] {
        place.run(verb).exits(0);
    }
    drop(writer);
    // A child that another test has just forked holds the lock's descriptor until it executes.
    let ended = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        place.run(&["add", "+525587654321"]).exit == Some(0)
    });
    assert!(ended, "the store is free when its writer is gone");
}

#[test]
fn a_process_that_waits_for_input_holds_the_store() {
    let place = Place::new();
    let mut command = place.command(&["add", "-"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    // Each line is acknowledged while the next has not been written yet.
    for sequence in 1..=3 {
        use std::io::Write;
        writeln!(pipe, "+52551234567{sequence}").unwrap();
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, format!("{sequence}\t+52551234567{sequence}\tadded"));
        assert_eq!(place.suppressed(&[&format!("+52551234567{sequence}")]), [true]);
    }
    place.run(&["add", "+525587654321"]).fails(4, &["another writer holds the store"]);
    drop(pipe);
    assert!(child.wait().unwrap().success());
    place.run(&["add", "+525587654321"]).exits(0);
}

#[test]
fn compact_changes_no_answer() {
    let place = Place::holding(&["+525512345678", "+525587654321", "+5511987654321"]);
    place.run(&["resubscribe", "+525587654321", "--reason", "asked"]).exits(0);
    let answers = |place: &Place| -> Vec<Vec<u8>> {
        [
            &["check", "+525512345678", "+525587654321", "+34600123456"][..],
            &["why", "+525587654321"],
            &["export"],
            &["export", "--view", "state"],
            &["--json", "stats", "--by", "country"],
        ]
        .map(|verb| {
            let ran: Ran = place.run(verb);
            ran.exits(0);
            ran.stdout
        })
        .to_vec()
    };
    let before = answers(&place);
    let folded = place.run(&["--json", "compact"]);
    let expected = "{\"generation\":1,\"sequence\":4,\"folded\":4,\"changes\":0,\"opted_out\":2}\n";
    assert_eq!(folded.exits(0), expected);
    assert_eq!(answers(&place), before);
    let words = "folded 0 events; generation 1 holds 2 opted-out subscribers up to sequence 4\n";
    assert_eq!(place.run(&["compact"]).stderr, words);
    place.run(&["verify"]).exits(0);
}

#[test]
fn compact_lists_a_few_beside_many() {
    let place = Place::new();
    let many: String = (0..200).map(|it| format!("+525512345{it:03}\n")).collect();
    place.run_with(&["--quiet", "import", "-"], many.as_bytes()).exits(0);
    place.run(&["compact"]).exits(0);
    place.run(&["add", "+5511987654321"]).exits(0);
    place.run(&["resubscribe", "+525512345050", "--reason", "asked"]).exits(0);
    let words = "folded 2 events; generation 2 holds 200 opted-out subscribers up to sequence 202; \
                 2 changes are listed beside its sets\n";
    assert_eq!(place.run(&["compact"]).stderr, words);
    let answers = [true, false, true];
    let numbers = ["+5511987654321", "+525512345050", "+525512345051"];
    assert_eq!(place.suppressed(&numbers), answers);
    place.run(&["verify"]).exits(0);
    place.run(&["erase", "+5511987654321"]).exits(0);
    assert_eq!(place.suppressed(&numbers), answers);
    let compacted = place.run(&["--json", "compact"]);
    assert!(compacted.exits(0).contains("\"folded\":0,\"changes\":0,"), "{}", compacted.stderr);
}

#[test]
fn verify_finds_a_flipped_byte_in_every_file_and_writes_nothing() {
    let place = Place::holding(&["+525512345678", "+525587654321"]);
    place.run(&["resubscribe", "+525587654321", "--reason", "asked"]).exits(0);
    place.run(&["compact"]).exits(0);
    place.run(&["add", "+5511987654321"]).exits(0);
    let sound = place.run(&["verify"]);
    assert_eq!(sound.exits(0), "");
    let words = "sound: 4 events, 2 subscribers, generation 1, sequence 4\n";
    assert_eq!(sound.stderr, words);

    let files = place.store_files();
    assert!(files.len() >= 7, "{files:?}");
    for (name, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            place.write(&format!("store/{name}"), flipped);
            let damaged = place.store_files();
            let ran = place.run(&["verify"]);
            assert_eq!(ran.exits(3), "", "{name} at {at}");
            ran.says(&[&format!("store/{name} at byte ")]);
            assert!(place.store_files() == damaged, "{name}: verify wrote");
            let json = place.run(&["--json", "verify"]);
            let json: serde_json::Value = serde_json::from_str(json.exits(3)).unwrap();
            let damage = &json["damages"][0];
            assert_eq!(damage["file"], format!("store/{name}"));
            assert!(damage["offset"].is_u64() && damage["what"].is_string());
        }
        place.write(&format!("store/{name}"), bytes);
    }
    for (name, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        fs::remove_file(place.path(&format!("store/{name}"))).unwrap();
        assert_eq!(place.run(&["verify"]).exits(3), "", "{name}");
        assert_eq!(place.run(&["check", "+34600123456"]).exits(3), "", "{name}");
        place.write(&format!("store/{name}"), bytes);
    }
    assert_eq!(place.run(&["verify"]).stderr, words);
}

#[test]
fn a_damaged_journal_is_no_answer() {
    let place = with_lists(Place::holding(&["+525512345678", "+525587654321"]));
    place.run(&["add", "+5511987654321"]).exits(0);
    let segment = "store/journal-0000000001.seg";
    let mut bytes = place.read(segment);
    // In the first record, so that a whole one follows: no torn end.
    let at = bytes.len() / 2 - 8;
    bytes[at] ^= 1;
    place.write(segment, bytes);
    every_verb_refuses(&place, &[segment, "at byte"]);
}
