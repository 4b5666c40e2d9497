//! Earlier moments: scrub, check and why as of then, and diff.

use std::thread::sleep;
use std::time::Duration;

use optout::number::SubscriberKey;
use optout::snapshot::write_sorted;
use optout::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Place, run};

const ANA: &str = "+525512345678";
const LUIS: &str = "+525587654321";
const EVA: &str = "+5511987654321";

/// A moment after all that was done and before all that will be.
fn moment() -> String {
    sleep(Duration::from_millis(5));
    let now = Timestamp::now().to_string();
    sleep(Duration::from_millis(5));
    now
}

/// Ana and Luis opted out; then Ana came back and Eva opted out.
fn place() -> (Place, [String; 3]) {
    let place = Place::new();
    let before = moment();
    place.run(&["add", ANA, "--at", "2026-03-01", "--source", "button"]).exits(0);
    place.run(&["add", LUIS, "--at", "2026-03-02"]).exits(0);
    let between = moment();
    place.run(&["resubscribe", ANA, "--reason", "asked", "--at", "2026-03-03"]).exits(0);
    place.run(&["add", EVA, "--at", "2026-03-04", "--source", "keyword"]).exits(0);
    let after = moment();
    place.write("list.csv", format!("phone\n{ANA}\n{LUIS}\n{EVA}\n"));
    (place, [before, between, after])
}

#[test]
fn a_scrub_as_of_a_moment_knows_what_was_known_then() {
    let (place, [before, between, after]) = place();
    for step in ["journal", "generation"] {
        for (at, sequence, kept) in [
            (&before, 0, format!("phone\n{ANA}\n{LUIS}\n{EVA}\n")),
            (&between, 2, format!("phone\n{EVA}\n")),
            (&after, 4, format!("phone\n{ANA}\n")),
        ] {
            for option in ["--as-of", "--at"] {
                let args = ["--json", "scrub", "list.csv", "-o", "kept.csv", "--force", option, at];
                let report = place.run(&args).json();
                assert_eq!(place.text("kept.csv"), kept, "{step} {at}");
                assert_eq!(report["sequence"], sequence, "{step} {at}");
                let as_of: String = report["as_of"].as_str().unwrap().to_owned();
                assert_eq!(&as_of, at);
            }
        }
        place.run(&["compact"]).exits(0);
    }
    let ran = place.run(&["scrub", "list.csv", "--at", &between, "--suppressed", "out.csv"]);
    ran.says(&["against sequence 2, as of 20"]);
    assert_eq!(
        place.text("out.csv"),
        format!(
            "phone,optout_number,optout_since,optout_source,optout_rule\n\
             {ANA},{},2026-03-01T00:00:00Z,button,opt-out\n\
             {LUIS},{},2026-03-02T00:00:00Z,api,opt-out\n",
            &ANA[1..],
            &LUIS[1..]
        )
    );
    assert_eq!(place.run(&["--json", "scrub", "list.csv"]).json().get("as_of"), None);
    place.run(&["scrub", "list.csv", "--as-of", "soon"]).fails(2, &["\"soon\" is not a time"]);
}

#[test]
fn a_check_at_a_moment_knows_what_was_known_then() {
    let (place, [before, between, after]) = place();
    let verdicts = |at: &str| -> Vec<bool> {
        let ran = place.run(&["check", ANA, LUIS, EVA, "--at", at]);
        let word = |line: &str| line.split('\t').nth(1) == Some("suppressed");
        ran.exits(0).lines().map(word).collect()
    };
    for _ in 0..2 {
        assert_eq!(verdicts(&before), [false, false, false]);
        assert_eq!(verdicts(&between), [true, true, false]);
        assert_eq!(verdicts(&after), [false, true, true]);
        place.run(&["compact"]).exits(0);
    }
}

#[test]
fn layers_of_then_are_as_old_as_they_were_then() {
    let place = Place::new();
    place.write("dnc.txt", format!("{ANA}\n"));
    place.write("list.csv", format!("phone\n{ANA}\n"));
    let import = |name: &str, as_of: &str| {
        let args = ["import", "dnc.txt", "--layer", name, "--as-of", as_of, "--max-age", "31d"];
        place.run(&args).exits(0);
    };
    let before = moment();
    import("dnc", &Timestamp::now().to_string());
    let between = moment();
    import("old", "2020-01-01");
    let kept = |at: &str| place.run(&["--json", "scrub", "list.csv", "--as-of", at]);
    assert_eq!(kept(&before).json()["kept"], 1);
    let then = kept(&between).json();
    assert_eq!(then["kept"], 0);
    assert_eq!(then["options"]["layers"].as_array().unwrap().len(), 1);
    kept(&moment()).fails(5, &["the layer old is stale"]);
    // Far from now the list of today is as stale as it will be then.
    kept("2999-01-01").fails(5, &["the layer dnc is stale"]);
    // What was dropped since was there then.
    place.run(&["layers", "--drop", "dnc", "--reason", "over"]).exits(0);
    assert_eq!(kept(&between).json()["kept"], 0);
}

#[test]
fn a_diff_has_a_line_for_whoever_came_or_went() {
    let (place, [before, between, after]) = place();
    let came = format!("+\t{EVA}\t4\t2026-03-04T00:00:00Z\tkeyword\n");
    let went = format!("-\t{ANA}\t3\t2026-03-03T00:00:00Z\tapi\n");
    for _ in 0..2 {
        let ran = place.run(&["diff", "2", "4"]);
        // By number: Eva's has a digit more.
        assert_eq!(ran.exits(0), format!("{went}{came}"));
        assert_eq!(ran.stderr, "1 added, 1 removed\n");
        assert_eq!(place.run(&["diff", "2", "3"]).exits(0), went);
        assert_eq!(place.run(&["diff", "3", "4"]).exits(0), came);
        assert_eq!(place.run(&["diff", "2", "2"]).exits(0), "");
        // Ana was opted out in between, which says nothing of the ends.
        assert_eq!(place.run(&["diff", "0", "4", "--count"]).exits(0), "+\t2\n-\t0\n");
        for (from, to, sequences) in
            [(&before, &between, ["0", "2"]), (&between, &after, ["2", "4"])]
        {
            let by_time = place.run(&["diff", from, to]);
            assert_eq!(by_time.exits(0), place.run(&["diff", sequences[0], sequences[1]]).exits(0));
            assert_eq!(by_time.exits(0), place.run(&["diff", from, sequences[1]]).exits(0));
        }
        place.run(&["compact"]).exits(0);
    }
    let ran = place.run(&["--json", "diff", "2", "4"]);
    let lines: Vec<Value> =
        ran.exits(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "change": "removed", "number": ANA, "sequence": 3, "since": "2026-03-03T00:00:00Z",
        "source": "api",
    });
    assert_eq!(lines[0], expected);
    assert_eq!(lines[1]["change"], "added");
    let count = place.run(&["--json", "diff", "2", "4", "--count"]).json();
    assert_eq!(count, json!({"added": 1, "removed": 1}));
}

#[test]
fn a_diff_of_moments_that_are_not_there_or_not_in_order_is_refused() {
    let (place, [_, between, after]) = place();
    for (from, to, words) in [
        ("2", "5", &["no sequence 5 yet", "newest event has 4"][..]),
        ("99999999999999999999999", "3", &["no sequence"]),
        ("3", "2", &["sequence 3", "sequence 2", "earlier one first"]),
        (&after, &between, &["earlier one first"]),
        ("2", "soon", &["\"soon\" is not a time", "sequence", ".roaring"]),
        ("2", "set.roaring", &["two moments or two .roaring files"]),
        ("", "2", &["is not a time"]),
    ] {
        place.run(&["diff", from, to]).fails(2, words);
    }
}

#[test]
fn a_diff_of_two_sets_needs_no_store() {
    let place = Place::empty();
    let write = |name: &str, keys: &[u64]| {
        let mut bytes = Vec::new();
        let keys = || keys.iter().map(|&key| SubscriberKey::from_u64(key));
        write_sorted(&mut bytes, keys).unwrap();
        place.write(name, bytes);
    };
    let id = SubscriberKey::of_id(7).get();
    write("old.roaring", &[525_512_345_678, 525_587_654_321]);
    write("new.roaring", &[525_512_345_678, 5_511_987_654_321, id]);
    write("users.roaring", &[1, 2, 3]);
    let diff = |args: &[&str]| run(place.bare().arg("diff").args(args), b"");
    let ran = diff(&["old.roaring", "new.roaring"]);
    assert_eq!(ran.exits(0), format!("-\t{LUIS}\n+\t{EVA}\n+\tid@7\n"));
    let ran = diff(&["new.roaring", "old.roaring", "--json"]);
    let first: Value = serde_json::from_str(ran.exits(0).lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"change": "added", "number": LUIS}));
    let count = diff(&["old.roaring", "new.roaring", "--count"]);
    assert_eq!(count.exits(0), "+\t2\n-\t1\n");
    assert_eq!(diff(&["old.roaring", "old.roaring"]).exits(0), "");

    diff(&["old.roaring", "none.roaring"]).fails(1, &["none.roaring can't be read"]);
    place.write("text.roaring", "+525512345678\n");
    diff(&["text.roaring", "old.roaring"]).fails(1, &["text.roaring", "64-bit Roaring", "byte"]);
    diff(&["old.roaring", "users.roaring"]).fails(1, &["users.roaring", "phone numbers"]);
    let bytes = place.read("old.roaring");
    place.write("cut.roaring", &bytes[..bytes.len() - 1]);
    diff(&["old.roaring", "cut.roaring"]).fails(1, &["cut.roaring", "damaged"]);
}
