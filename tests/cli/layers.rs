//! Outside lists in.

use serde_json::{Value, json};

use crate::harness::Place;

/// The options that every first import of a registry needs.
const AS_OF: [&str; 4] = ["--as-of", "2026-03-01", "--max-age", "31d"];

fn import(place: &Place, layer: &str, bytes: &[u8], options: &[&str]) -> crate::harness::Ran {
    place.write("list", bytes);
    place.run(&[&["--json", "import", "list", "--layer", layer], options].concat())
}

/// rows, listed, added, removed, invalid, blank.
#[track_caller]
fn counts(json: &Value) -> [u64; 6] {
    ["rows", "listed", "added", "removed", "invalid", "blank"]
        .map(|name| json[name].as_u64().unwrap())
}

#[track_caller]
fn layers(place: &Place) -> Value {
    place.run(&["--json", "layers"]).json()["layers"].clone()
}

#[test]
fn the_full_list_and_its_changes_make_a_layer() {
    let place = Place::new();
    let full = b"201,5551234\r\n201,5551235\r\n\r\n201,5551235\r\n202,5550000\r\n203,what\r\n";
    let ran = import(&place, "us-dnc", full, &AS_OF);
    let expected = json!({
        "layer": "us-dnc", "kind": "registry", "channel": "", "format": "us-full", "rows": 6,
        "listed": 3, "added": 3, "removed": 0, "invalid": 1, "blank": 1,
        "as_of": "2026-03-01T00:00:00Z", "max_age_days": 31, "doubtful": 0,
        "invalid_reasons": {"not_a_number": 1},
    });
    assert_eq!(ran.json(), expected);
    ran.says(&["warning: 1 rows could not be read: see them with --invalid FILE"]);

    let changes = b"Phone,When,Type\n\
        2015551234,2026-03-02T10:00:00Z,D\n\
        202,5550001,2026-03-02 10:00:00,A\n\
        2025550002,03/02/2026,A\n\
        2025550002,03/02/2026,D\n\
        2025550003,2026-03-02T10:00:00Z,D\n\
        2025550003,2026-03-01T10:00:00Z,A\n\
        2025550000,2026-03-02T10:00:00Z\n";
    let options = ["--as-of", "2026-03-02", "--max-shrink", "40%"];
    let json = import(&place, "us-dnc", changes, &options).json();
    // The moments decide, not the order of rows; at the same moment the addition.
    assert_eq!(counts(&json), [7, 4, 2, 1, 1, 0]);
    assert_eq!((&json["format"], &json["max_age_days"]), (&json!("us-change"), &json!(31)));
    assert_eq!(json["invalid_reasons"], json!({"no_action": 1}));
    let listed = &layers(&place)[0];
    assert_eq!(listed["listed"], 4);
    assert_eq!(listed["as_of"], "2026-03-02T00:00:00Z");
    assert_eq!(listed["source"], "list");
    assert_eq!(place.run(&["verify"]).exit, Some(0));
}

#[test]
fn lists_of_every_kind_are_found_out_and_a_dry_run_counts_the_same() {
    let lists: [(&str, &[u8], [u64; 6]); 5] = [
        (
            "lines",
            b"number\n+1 (201) 555-1234\n12015551235\n+525512345678 / +525512345679\n",
            [3, 4, 4, 0, 0, 0],
        ),
        ("csv", b"name;phone\n\"A; B\";+12015551234\nC;\nD;x\n", [3, 1, 1, 0, 2, 0]),
        ("us-full", b"\xef\xbb\xbf\"201\",\"555-1234\"\n201,5551235", [2, 2, 2, 0, 0, 0]),
        (
            "lines",
            b"\xff\xfe+\x001\x002\x000\x001\x005\x005\x005\x001\x002\x003\x004\x00",
            [1, 1, 1, 0, 0, 0],
        ),
        ("us-full", b"area,phone\n201,5551234\n2015551236\n\n201,5551234\n", [4, 2, 2, 0, 0, 1]),
    ];
    for (format, bytes, expected) in lists {
        let place = Place::new();
        let before = place.store_files();
        let dry = import(&place, "a", bytes, &[&AS_OF[..], &["--dry-run"]].concat()).json();
        assert_eq!(place.store_files(), before);
        let real = import(&place, "a", bytes, &AS_OF).json();
        assert_eq!(dry, real);
        assert_eq!((real["format"].as_str(), counts(&real)), (Some(format), expected));
        let again = import(&place, "a", bytes, &AS_OF).json();
        assert_eq!(counts(&again)[2..4], [0, 0], "{format}");
        let other = format!("--format={}", if format == "csv" { "lines" } else { format });
        assert_eq!(import(&place, "b", bytes, &[&AS_OF[..], &[&other]].concat()).exit, Some(0));
    }
}

#[test]
fn several_files_make_one_list() {
    let place = Place::new();
    place.write("201.txt", "201,5551234\n201,5551235\n");
    place.write("202.txt", "202,5551234\n");
    place.write("change.txt", "2025551234,2026-03-01T10:00:00Z,A\n");
    let files = ["--json", "import", "201.txt", "202.txt", "--layer", "us"];
    let json = place.run(&[&files[..], &AS_OF].concat()).json();
    assert_eq!(counts(&json), [3, 3, 3, 0, 0, 0]);
    assert_eq!(layers(&place)[0]["source"], "201.txt, 202.txt");
    let mixed = ["import", "201.txt", "change.txt", "--layer", "us"];
    place
        .run(&[&mixed[..], &AS_OF].concat())
        .fails(2, &["change.txt is no list of the same kind", "import it by itself"]);
}

#[test]
fn a_guard_that_refuses_leaves_everything_as_it_was() {
    let place = Place::new();
    let list: String = (0..100).map(|line| format!("201,55500{line:02}\n")).collect();
    import(&place, "us", list.as_bytes(), &AS_OF).exits(0);
    let before = place.store_files();
    let shorter = &list.as_bytes()[..89 * 12];
    import(&place, "us", shorter, &["--as-of", "2026-03-02"])
        .fails(5, &["shrink from 100 to 89 members", "more than 10 %"]);
    import(&place, "us", shorter, &["--as-of", "2026-03-02", "--dry-run"]).fails(5, &["shrink"]);
    import(&place, "us", list.as_bytes(), &["--as-of", "2026-02-28"])
        .fails(5, &["as of 2026-02-28T00:00:00Z", "the present one as of 2026-03-01T00:00:00Z"]);
    import(&place, "us", list.as_bytes(), &["--as-of", "9000-01-01"]).fails(5, &["future"]);
    import(&place, "new", b"nobody\n", &AS_OF).fails(5, &["no number at all"]);
    assert_eq!(place.store_files(), before);

    let json = import(&place, "us", shorter, &["--as-of", "2026-03-02", "--max-shrink=11"]).json();
    assert_eq!(counts(&json)[1..4], [89, 0, 11]);
    let older = ["--as-of", "2026-02-28", "--allow-older", "--max-age", "60d"];
    let json = import(&place, "us", list.as_bytes(), &older).json();
    assert_eq!(
        (&json["as_of"], &json["max_age_days"]),
        (&json!("2026-02-28T00:00:00Z"), &json!(60))
    );
}

#[test]
fn options_that_make_no_sense_are_wrong_usage() {
    let place = Place::new();
    place.write("list", "201,5551234\n");
    place.write("change", "2015551234,A\n");
    let import = ["import", "list", "--layer", "us", "--as-of", "2026-03-01"];
    for (options, words) in [
        (&["--tier", "all"][..], &["--layer", "--tier"][..]),
        (&["--at-column", "2"], &["--layer", "--at-column"]),
        (&["--source", "api"], &["--layer", "--source"]),
        (&["--max-age", "0d"], &["31d"]),
        (&["--max-age", "soon"], &["31d"]),
        (&["--max-shrink", "101%"], &["10%"]),
        (&["--format", "pdf"], &["us-full", "csv"]),
        (&["--kind", "maybe"], &["registry", "consent"]),
        (&[], &["layer \"us\" needs a maximum age"]),
        (&["--max-age=31d", "--channel", "smoke"], &["\"smoke\" is not a channel"]),
        (&["--max-age=31d", "--format=us-full", "--region=MX"], &["--region"]),
        (&["--max-age=31d", "--format=us-full", "--column=1"], &["--column"]),
        (&["--max-age=31d", "--format=lines", "--column=1"], &["--column"]),
    ] {
        place.run(&[&import[..], options].concat()).fails(2, words);
    }
    for (args, words) in [
        (&["import", "list", "--layer", "us"][..], &["--as-of"][..]),
        (&["import", "list", "--as-of", "2026-03-01"], &["--layer"]),
        (&["import", "list", "--max-shrink", "5%"], &["--layer"]),
        (
            &["import", "list", "--layer", "US DNC", "--as-of", "2026-03-01"],
            &["no name of a layer"],
        ),
        (&["layers", "--drop", "us"], &["--reason"]),
        (&["layers", "--reason", "x"], &["--drop"]),
        (&["layers", "--drop", "us", "--reason", "x"], &["no layer \"us\"", "has none"]),
    ] {
        place.run(args).fails(2, words);
    }
    let change = ["import", "change", "--layer", "us", "--as-of", "2026-03-01", "--max-age=31d"];
    place.run(&change).fails(2, &["there is no layer \"us\""]);
    assert_eq!(layers(&place), json!([]));
}

#[test]
fn consents_need_no_age_and_are_read_without_doubt() {
    let place = Place::new();
    let list = b"+12015551234\n+12015551235 / +12015551236\n";
    let options = ["--as-of", "2026-03-01", "--kind", "consent", "--channel", "SMS"];
    let json = import(&place, "yes", list, &options).json();
    assert_eq!(counts(&json), [2, 1, 1, 0, 1, 0]);
    assert_eq!(json["invalid_reasons"], json!({"two_numbers": 1}));
    // Whoever is taken off is silenced: there doubt counts.
    let changes = b"+12015551234,2026-03-02T10:00:00Z,D\n+12015551239,A\n";
    let options = ["--as-of", "2026-03-02", "--max-shrink", "100%"];
    let json = import(&place, "yes", changes, &options).json();
    assert_eq!(counts(&json), [2, 1, 1, 1, 0, 0]);
    assert_eq!(
        (&json["kind"], &json["channel"], &json["max_age_days"]),
        (&json!("consent"), &json!("sms"), &Value::Null)
    );
    let registry = ["--as-of", "2026-03-02", "--kind", "registry", "--max-age", "9d"];
    import(&place, "yes", list, &registry).fails(2, &["consent list for channel sms"]);
}

#[test]
fn layers_are_listed_with_their_age_and_dropped_with_a_reason() {
    let place = Place::new();
    import(&place, "old", b"201,5551234\n", &["--as-of", "2020-01-01", "--max-age", "31d"])
        .exits(0);
    let now = optout::time::Timestamp::now().to_string();
    import(&place, "new", b"201,5551234\n", &["--as-of", &now, "--max-age", "31d"]).exits(0);
    let stale: Vec<_> = layers(&place)
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["layer"].clone(), it["stale"].clone()))
        .collect();
    assert_eq!(stale, [(json!("new"), json!(false)), (json!("old"), json!(true))]);
    let table = place.run(&["layers"]).exits(0).to_owned();
    assert!(table.contains("2020-01-01T00:00:00Z") && table.contains("31 days"), "{table}");
    place.run(&["layers", "--drop", "us", "--reason", "x"]).fails(2, &["the store has new, old"]);
    place.run(&["layers", "--drop", "old", "--reason", "renamed"]).exits(0);
    assert_eq!(layers(&place).as_array().unwrap().len(), 1);
    place.run(&["layers", "--drop", "old", "--reason", "again"]).fails(2, &["no layer \"old\""]);
    assert_eq!(place.run(&["verify"]).exit, Some(0));
}

#[test]
fn invalid_rows_are_written_with_line_and_reason() {
    let place = Place::new();
    let list = b"201,5551234\n201,x\n\n2\n";
    let options = [&AS_OF[..], &["--invalid", "bad.csv", "--format", "us-full"]].concat();
    let json = import(&place, "us", list, &options).json();
    assert_eq!(counts(&json), [4, 1, 1, 0, 2, 1]);
    let bad = place.text("bad.csv");
    assert_eq!(
        bad.lines().map(|line| line.split(',').nth(2)).collect::<Vec<_>>(),
        [Some("2"), Some("4")]
    );
    let damaged = b"201,5551234\n\"201,5551235\n";
    import(&place, "us", damaged, &[&AS_OF[..], &["--format=us-full"]].concat())
        .fails(1, &["line 2"]);
}

#[test]
fn a_damaged_layer_answers_nothing() {
    let place = Place::holding(&["+525512345678"]);
    import(&place, "us", b"201,5551234\n201,5551235\n", &AS_OF).exits(0);
    let name = "store/registry-0000000001.roaring";
    let mut bytes = place.read(name);
    *bytes.last_mut().unwrap() ^= 1;
    place.write(name, bytes);
    place.run(&["check", "+525512345678"]).fails(3, &["registry-0000000001.roaring"]);
    assert_eq!(place.run(&["verify"]).exit, Some(3));
}
