//! Receipts, and what has changed since.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::{Place, Ran, repository, run};

const ANA: &str = "+525512345678";
const LUIS: &str = "+525587654321";
const EVA: &str = "+525511111111";
const ID: &str = "MX.13491208655302741918";
const LIST: &str = "phone,name\n5512345678,Ana\n5587654321,Luis\nn/a,?\n5511111111,Eva\n";
const HEADER: &str =
    "phone,name,optout_change,optout_line,optout_since,optout_source,optout_rule\n";
const SCRUB: [&str; 8] =
    ["scrub", "list.csv", "--region", "MX", "-o", "kept.csv", "--receipt", "receipt"];
const RECHECK: [&str; 3] = ["recheck", "receipt", "list.csv"];

/// A store in which Luis is opted out, and a list that was scrubbed against it.
fn scrubbed() -> Place {
    let place = Place::holding(&[LUIS]);
    place.write("list.csv", LIST);
    place.run(&SCRUB).exits(0);
    place
}

/// Opts out at a moment that tests can name.
fn stop(place: &Place, numbers: &[&str]) {
    let at = ["add", "--at", "2026-03-01", "--source", "button"];
    place.run(&[&at[..], numbers].concat()).exits(0);
}

#[test]
fn only_rows_that_stand_differently_since_the_scrub_are_given() {
    let place = scrubbed();
    assert_eq!(place.run(&RECHECK).exits(0), HEADER);
    place.run(&RECHECK).says(&["0 of 4 rows", "0 subscribers changed"]);

    stop(&place, &[ANA, EVA]);
    place.run(&["resubscribe", LUIS, EVA, "--reason", "asked", "--override"]).exits(0);
    let ana = "5512345678,Ana,suppressed,2,2026-03-01T00:00:00Z,button,opt-out\n";
    let luis = "5587654321,Luis,released,3,,,\n";
    for step in ["journal", "generation"] {
        let ran = place.run(&RECHECK);
        assert_eq!(ran.exits(0), format!("{HEADER}{ana}{luis}"), "{step}");
        ran.says(&["1 of 4 rows must not be sent to any more, 1 may now be sent to"]);
        place.run(&["compact"]).exits(0);
    }
    // Nobody can be released from what was kept.
    let kept = place.run(&["recheck", "receipt", "kept.csv"]);
    assert_eq!(kept.exits(0), format!("{HEADER}{ana}"));
    let json = place.run(&[&["--json"], &RECHECK[..]].concat()).json();
    let scrubbed_at = json["scrubbed_at"].clone();
    let expected = json!({
        "rows": 4, "file": "input", "changed": 3, "looked_at": 4, "suppressed": 1, "released": 1,
        "from_sequence": 1, "to_sequence": 5, "scrubbed_at": scrubbed_at,
    });
    assert_eq!(json, expected);
}

#[test]
fn the_exit_code_says_whether_a_row_must_not_go() {
    let place = scrubbed();
    let args = [&RECHECK[..], &["--exit-status", "-o", "rows.csv", "--report", "r.json"]].concat();
    place.run(&[&args[..], &["--quiet"]].concat()).exits(0);
    stop(&place, &[ANA]);
    place.run(&args).fails(5, &["rows.csv exists already"]);
    assert_eq!(place.run(&[&args[..], &["--force"]].concat()).exits(10), "");
    assert_eq!(place.text("rows.csv").lines().count(), 2);
    assert!(place.text("r.json").contains("\"suppressed\": 1"));
}

#[test]
fn receipt_and_index_are_private_and_hold_no_number() {
    let place = scrubbed();
    let text = place.text("receipt");
    for number in ["5512345678", "5587654321", "5511111111"] {
        assert!(!text.contains(number));
        let index = place.read("receipt.rows");
        assert!(!index.windows(number.len()).any(|it| it == number.as_bytes()));
    }
    for name in ["receipt", "receipt.rows"] {
        assert_eq!(fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(place.names(), ["kept.csv", "list.csv", "receipt", "receipt.rows"]);
    place.run(&SCRUB).fails(5, &["kept.csv exists already"]);
    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    place.run(&RECHECK).exits(0);
}

#[test]
fn ids_and_whoever_a_link_joins_are_found() {
    let place = Place::new();
    place.write("list.csv", format!("phone,name\n{ID},Id\n5512345678,Ana\n"));
    place.run(&SCRUB).exits(0);
    place.run(&["link", ID, ANA]).exits(0);
    assert_eq!(place.run(&RECHECK).exits(0), HEADER);
    stop(&place, &[ANA]);
    let rows = place.run(&RECHECK).exits(0).to_owned();
    assert!(rows.contains(&format!("{ID},Id,suppressed,2,")) && rows.contains("Ana,suppressed,3,"));

    // The link is older than the receipt, and the id has no event of its own since.
    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    place.run(&["resubscribe", ANA, "--reason", "asked"]).exits(0);
    let rows = place.run(&RECHECK).exits(0).to_owned();
    assert!(rows.contains(&format!("{ID},Id,released,2,")) && rows.contains("Ana,released,3,"));
}

#[test]
fn changes_of_layers_count_and_a_stale_one_refuses() {
    let place = scrubbed();
    let import = |list: &str, as_of: &str| {
        place.write("dnc", list);
        let args = ["import", "dnc", "--layer", "dnc", "--as-of", as_of, "--max-age", "36500d"];
        place.run(&[&args[..], &["--max-shrink", "100%"]].concat()).exits(0);
    };
    let changes = |ran: &Ran| -> Vec<String> {
        let rows = ran.exits(0).lines().skip(1);
        rows.map(|it| it.split(',').take(3).collect::<Vec<_>>().join(" ")).collect()
    };
    import(&format!("{ANA}\n+573001234567\n"), "2026-03-01");
    assert_eq!(changes(&place.run(&RECHECK)), ["5512345678 Ana suppressed"]);

    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    assert_eq!(changes(&place.run(&RECHECK)), [""; 0]);
    import(&format!("{EVA}\n+573001234567\n"), "2026-03-02");
    let both = ["5512345678 Ana released", "5511111111 Eva suppressed"];
    assert_eq!(changes(&place.run(&RECHECK)), both);
    // Once more: two changes since, of which one takes the other back.
    import(&format!("{ANA}\n+573001234567\n"), "2026-03-03");
    assert_eq!(changes(&place.run(&RECHECK)), [""; 0]);
    place.run(&["layers", "--drop", "dnc", "--reason", "over"]).exits(0);
    assert_eq!(changes(&place.run(&RECHECK)), ["5512345678 Ana released"]);
    import(&format!("{EVA}\n"), "2026-03-04");
    assert_eq!(changes(&place.run(&RECHECK)), both);

    place.write("dnc", format!("{EVA}\n"));
    let stale = ["import", "dnc", "--layer", "dnc", "--as-of", "2026-03-05", "--max-age", "1d"];
    place.run(&stale).exits(0);
    place.run(&RECHECK).fails(5, &["the layer dnc is stale"]);
    let warned = place.run(&[&RECHECK[..], &["--stale", "warn"]].concat());
    assert_eq!(changes(&warned), both);
    warned.says(&["warning: the layer dnc is stale"]);
}

#[test]
fn several_lists_have_a_receipt_each() {
    let place = Place::holding(&[LUIS]);
    place.write("a.csv", LIST);
    place.write("b.csv", "phone\n5511111111\n");
    let args = ["scrub", "a.csv", "b.csv", "--region", "MX", "-o", "out", "--receipt", "out"];
    place.run(&args).exits(0);
    stop(&place, &[EVA]);
    for (name, line) in [("a.csv", 5), ("b.csv", 2)] {
        let receipt = format!("out/{name}.receipt");
        let rows = place.run(&["recheck", &receipt, name]).exits(0).to_owned();
        assert!(rows.contains(&format!("suppressed,{line},")), "{rows}");
        place.run(&["recheck", &receipt, &format!("out/{name}")]).exits(0);
    }
    place.run(&["recheck", "out/a.csv.receipt", "b.csv"]).fails(5, &["b.csv is not the list"]);
}

#[test]
fn lists_in_utf16_and_from_standard_input_are_rechecked_by_position() {
    let place = Place::holding(&[LUIS]);
    let text = format!("\u{feff}{}", LIST.replace("Eva", "Éva 🦙"));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let args = ["scrub", "-", "--region", "MX", "-o", "-", "--receipt", "receipt"];
    let kept = place.run_with(&args, &bytes);
    assert_eq!(kept.exit, Some(0));
    place.write("list.csv", &bytes);
    place.write("kept.csv", &kept.stdout);
    stop(&place, &[EVA]);
    for (file, line) in [("list.csv", 5), ("kept.csv", 3)] {
        let ran = place.run(&["recheck", "receipt", file]);
        assert_eq!(ran.exit, Some(0));
        let units = ran.stdout.chunks_exact(2).map(|it| u16::from_le_bytes([it[0], it[1]]));
        let rows = String::from_utf16(&units.collect::<Vec<_>>()).unwrap();
        assert!(rows.contains(&format!("Éva 🦙,suppressed,{line},")), "{rows}");
    }
}

#[test]
fn a_receipt_of_another_store_history_or_policy_is_refused() {
    let place = scrubbed();
    let copy = |from: &str, to: &str| {
        let _ = fs::remove_dir_all(place.path(to));
        fs::create_dir(place.path(to)).unwrap();
        for entry in fs::read_dir(place.path(from)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), place.path(to).join(entry.file_name())).unwrap();
        }
    };
    copy("store", "backup");
    stop(&place, &[ANA]);
    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    copy("backup", "store");
    place.run(&RECHECK).fails(5, &["knows of sequence 2, the newest here is 1", "older copy"]);
    stop(&place, &[EVA]);
    stop(&place, &["+525500000001"]);
    place.run(&RECHECK).fails(5, &["but not the same events"]);

    let in_other = |args: &[&str]| run(place.bare().args(["--store", "other"]).args(args), b"");
    in_other(&["init"]).exits(0);
    in_other(&RECHECK).fails(5, &["of the store"]);

    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    let policy = fs::read_to_string(repository("data/policy/default.policy"));
    place.write("strict.policy", policy.unwrap() + "# ours\n");
    let other = [&RECHECK[..], &["--policy", "strict.policy"]].concat();
    place.run(&other).fails(5, &["by another policy"]);
    let again = ["--force", "--policy", "strict.policy", "--category", "utility"];
    place.run(&[&SCRUB[..], &again].concat()).exits(0);
    place.run(&RECHECK).fails(5, &["by another policy"]);
    place.run(&other).exits(0);
}

#[test]
fn a_receipt_that_is_older_than_an_erasure_or_an_undone_import_tells_the_truth() {
    let place = scrubbed();
    place.write("wrong", format!("{ANA}\n{EVA}\n"));
    let batch = place.run(&["--json", "import", "wrong"]).json()["batch"].to_string();
    assert_eq!(place.run(&RECHECK).exits(0).lines().count(), 3);
    place.run(&["undo-import", &batch, "--reason", "wrong list"]).exits(0);
    assert_eq!(place.run(&RECHECK).exits(0), HEADER);

    place.run(&["erase", EVA, "--reason", "case 1"]).exits(0);
    place.run(&RECHECK).fails(5, &["somebody was erased from the store since"]);
    place.run(&[&SCRUB[..], &["--force"]].concat()).exits(0);
    assert_eq!(place.run(&RECHECK).exits(0), HEADER);
}

#[test]
fn what_does_not_belong_together_is_refused_and_nothing_is_written() {
    let place = scrubbed();
    stop(&place, &[ANA]);
    let args = [&RECHECK[..], &["-o", "rows.csv"]].concat();
    let (receipt, index) = (place.text("receipt"), place.read("receipt.rows"));

    place.write("receipt", receipt.replace("\"sequence\": 1", "\"sequence\": 2"));
    place.run(&args).fails(1, &["receipt can't be used", "does not match its checksum line"]);
    place.write("receipt", &receipt[..receipt.len() / 2]);
    place.run(&args).fails(1, &["receipt can't be used"]);
    place.write("receipt", &receipt);

    place.write("receipt.rows", &index[..index.len() - 1]);
    place.run(&args).fails(1, &["receipt.rows can't be used", "another length"]);
    let mut other = index.clone();
    *other.last_mut().unwrap() ^= 1;
    place.write("receipt.rows", other);
    place.run(&args).fails(1, &["receipt.rows can't be used", "checksum"]);
    fs::remove_file(place.path("receipt.rows")).unwrap();
    place.run(&args).fails(1, &["receipt.rows can't be opened"]);
    place.write("receipt.rows", &index);

    place.write("list.csv", LIST.replace("Ana", "Ina"));
    place.run(&args).fails(5, &["list.csv is not as it was scrubbed", "line 2"]);
    place.write("list.csv", LIST.replace("Ana", "Anna"));
    place.run(&args).fails(5, &["list.csv is not the list of this receipt"]);
    place.write("list.csv", LIST);
    assert!(!place.names().contains(&"rows.csv".to_owned()));
    place.run(&args).exits(0);

    place.run(&["recheck", "receipt", "-"]).fails(2, &["name the file"]);
    place.run(&["recheck", "list.csv", "list.csv"]).fails(1, &["list.csv can't be used"]);
    for (file, words) in [("list.csv", "both input and output"), ("receipt.rows", "both input")] {
        let args = [&RECHECK[..], &["--force", "-o", file]].concat();
        place.run(&args).fails(5, &[words]);
    }
}

#[test]
fn a_receipt_that_would_tell_nothing_is_refused_before_anything_is_read() {
    let place = Place::new();
    place.write("list.csv", LIST);
    let off = ["scrub", "list.csv", "--mode", "off", "--receipt", "receipt"];
    place.run(&off).fails(2, &["--mode off"]);
    let past = ["scrub", "list.csv", "--as-of", "2026-01-01", "--receipt", "receipt"];
    place.run(&past).fails(2, &["leave out --receipt or --as-of"]);
    place.run(&["scrub", "list.csv", "--receipt", "-"]).fails(2, &["two files"]);
    place.run(&["scrub", "list.csv", "--receipt", "store/x"]).fails(5, &["lies in the store"]);
    let twice = ["scrub", "list.csv", "--receipt", "x", "-o", "x.rows"];
    place.run(&twice).fails(5, &["two different outputs"]);
    assert_eq!(place.names(), ["list.csv"]);
}
