//! Lists in.

use serde_json::{Value, json};

use crate::harness::{Place, repository};

/// rows, added, already, invalid, blank; and that they add up.
#[track_caller]
fn counts(json: &Value) -> [u64; 5] {
    let count = |name: &str| json[name].as_u64().unwrap();
    let rows = count("rows");
    let parts = ["added", "already", "invalid", "blank"].map(count);
    assert_eq!(rows, parts.iter().sum::<u64>(), "{json}");
    [rows, parts[0], parts[1], parts[2], parts[3]]
}

#[track_caller]
fn import(place: &Place, bytes: &[u8], options: &[&str]) -> [u64; 5] {
    place.write("list", bytes);
    let args = [&["--json", "import", "list"], options].concat();
    let dry = place.run(&[&args[..], &["--dry-run"]].concat()).json();
    let before = place.store_files();
    let real = place.run(&args).json();
    assert_eq!(counts(&dry), counts(&real), "a dry run counts what the import then does");
    assert!(real["sequence"].as_u64() >= dry["sequence"].as_u64());
    if counts(&real)[1] > 0 {
        assert_ne!(place.store_files(), before);
    }
    counts(&real)
}

fn utf16(text: &str, bytes_of: fn(u16) -> [u8; 2]) -> Vec<u8> {
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(bytes_of).collect()
}

#[test]
fn every_row_of_a_messy_list_is_counted_once() {
    let place = Place::holding(&["+525500000001"]);
    let messy = "\u{feff}Nombre;Teléfono\r\n\
        Ana;+52 55 1234 5678\r\n\
        Luis;5215512345678\r\n\
        \"Eva; \"\"la\"\"\r\nde Puebla\";+52 (55) 8765-4321\r\n\
        \r\n\
        Pau;sin teléfono\r\n\
        Rosa;5.21E+12\r\n\
        Iker;\r\n\
        Mar;+525500000001\r\n\
        Dos;+34600123456 / +34600123457\r\n\
        Sin fin;+34600123458";
    assert_eq!(import(&place, messy.as_bytes(), &[]), [10, 4, 2, 3, 1]);
    assert_eq!(import(&place, messy.as_bytes(), &[]), [10, 0, 6, 3, 1]);
    let numbers =
        ["+525512345678", "+525587654321", "+34600123456", "+34600123457", "+34600123458"];
    assert_eq!(place.suppressed(&numbers), [true; 5]);
}

#[test]
fn the_report_has_the_promised_fields_first() {
    let place = Place::new();
    place.write("list.csv", "phone\n+525512345678\n\nx\n");
    let ran = place.run(&["--json", "import", "list.csv"]);
    assert_eq!(
        ran.exits(0),
        "{\"rows\":3,\"added\":1,\"already\":0,\"invalid\":1,\"blank\":1,\"sequence\":1,\
         \"unreadable_times\":0,\"doubtful\":0,\"invalid_reasons\":{\"not_a_number\":1},\"batch\":1}\n"
    );
    assert_eq!(ran.stderr, "warning: 1 rows could not be recorded: see them with --invalid FILE\n");
}

#[test]
fn encodings_delimiters_and_line_ends_are_found_out() {
    let csv = "telefone,nome\n+5511987654321,João\n+5511987654322,Zé\n";
    let lines = "+5511987654321\n+5511987654322\n";
    let lists: Vec<(&str, Vec<u8>)> = vec![
        ("csv", csv.into()),
        ("byte order mark", format!("\u{feff}{csv}").into()),
        ("crlf", csv.replace('\n', "\r\n").into()),
        ("semicolons", csv.replace(',', ";").into()),
        ("tabs", csv.replace(',', "\t").into()),
        ("utf-16 le", utf16(csv, u16::to_le_bytes)),
        ("utf-16 be", utf16(csv, u16::to_be_bytes)),
        ("lines", lines.into()),
        ("lines without an end", lines.trim_end().into()),
        ("crlf lines", lines.replace('\n', "\r\n").into()),
        ("sep line", format!("sep=,\r\n{csv}").into()),
    ];
    for (what, bytes) in lists {
        let place = Place::new();
        place.write("list", bytes);
        let json = place.run(&["--json", "import", "list"]).json();
        assert_eq!(counts(&json), [2, 2, 0, 0, 0], "{what}");
        let numbers = ["+5511987654321", "+5511987654322", "+5511987654323"];
        assert_eq!(place.suppressed(&numbers), [true, true, false], "{what}");
    }
}

#[test]
fn a_list_may_come_on_standard_input() {
    let place = Place::new();
    let ran = place.run_with(&["--json", "import", "-"], b"phone\n+525512345678\n");
    assert_eq!(counts(&ran.json()), [1, 1, 0, 0, 0]);
}

#[test]
fn several_lists_are_one_report() {
    let place = Place::new();
    place.write("a.csv", "phone\n+525512345678\n+525587654321\n");
    place.write("b.csv", "+525512345678\n+34600123456\n");
    let json = place.run(&["--json", "import", "a.csv", "b.csv"]).json();
    assert_eq!(counts(&json), [4, 3, 1, 0, 0]);
    assert_eq!(json["sequence"], 4);
}

#[test]
fn a_column_is_named_by_header_or_index() {
    let list = b"phone,mobile\n+525512345678,+525587654321\n";
    for (column, expected) in
        [("phone", [true, false]), ("mobile", [false, true]), ("2", [false, true])]
    {
        let place = Place::new();
        assert_eq!(import(&place, list, &["--column", column]), [1, 1, 0, 0, 0]);
        assert_eq!(place.suppressed(&["+525512345678", "+525587654321"]), expected);
    }
    let place = Place::new();
    for column in ["fax", "3", "0"] {
        let ran = place.run(&["import", "list", "--column", column]);
        ran.fails(1, &["list can't be opened"]);
        place.write("list", list);
        let ran = place.run(&["import", "list", "--column", column]);
        ran.fails(1, &["list can't be read"]);
        std::fs::remove_file(place.path("list")).unwrap();
    }
    place.write("list", list);
    place.run(&["import", "list", "--column", "fax"]).fails(1, &["\"phone\", \"mobile\""]);
    place.run(&["import", "list", "--at-column", "when"]).fails(1, &["\"phone\", \"mobile\""]);
    assert_eq!(place.run(&["export"]).exits(0).lines().count(), 1);
}

#[test]
fn each_row_may_have_its_moment_and_its_region() {
    let place = Place::new();
    let list = "phone,when,country\n\
        55 1234 5678,2026-03-01,MX\n\
        11 98765-4321,2026-03-02T10:00:00Z,br\n\
        600 123 456,someday,ES\n\
        600 123 457,,ES\n\
        600 123 458,2026-03-01,Atlantis\n";
    place.write("list.csv", list);
    let args = [
        "--json",
        "import",
        "list.csv",
        "--at-column",
        "when",
        "--region-column",
        "country",
        "--tz",
        "America/Mexico_City",
        "--at",
        "2026-01-01",
    ];
    let ran = place.run(&args);
    let json = ran.json();
    assert_eq!(counts(&json), [5, 4, 0, 1, 0]);
    assert_eq!(json["unreadable_times"], 1);
    assert_eq!(json["invalid_reasons"]["unknown_region"], 1);
    ran.says(&["1 rows have a time that can't be read"]);
    let numbers = ["+525512345678", "+5511987654321", "+34600123456", "+34600123457"];
    let ran = place.run(&[&["check"], &numbers[..]].concat());
    assert_eq!(
        ran.exits(0),
        "+525512345678\tsuppressed\t2026-03-01T06:00:00Z\timport\n\
         +5511987654321\tsuppressed\t2026-03-02T10:00:00Z\timport\n\
         +34600123456\tsuppressed\t2026-01-01T06:00:00Z\timport\n\
         +34600123457\tsuppressed\t2026-01-01T06:00:00Z\timport\n"
    );
}

#[test]
fn what_an_import_shares_is_in_every_event() {
    let place = Place::new();
    place.write("list.csv", "phone\n5512345678\n5587654321\n");
    let args = [
        "import",
        "list.csv",
        "--region",
        "MX",
        "--source",
        "carrier",
        "--campaign",
        "c1",
        "--word",
        "STOP",
        "--note",
        "n",
        "--message-id",
        "m9",
        "--quiet",
    ];
    place.run(&args).exits(0);
    let export = place.run(&["export", "--format", "ndjson"]);
    for line in export.exits(0).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let texts = ["source", "campaign", "word", "note", "message_id"];
        assert_eq!(
            texts.map(|it| event[it].as_str().unwrap()),
            ["carrier", "c1", "STOP", "n", "m9"]
        );
    }
    // The same message again, after the person came back: one event, not two.
    place.run(&["resubscribe", "+525512345678", "--reason", "r"]).exits(0);
    assert_eq!(
        import(&place, b"phone\n5512345678\n", &["--region", "MX", "--message-id", "m9"]),
        [1, 0, 1, 0, 0]
    );
}

#[test]
fn a_resubscribed_person_is_opted_out_again_by_a_newer_list_only() {
    let place = Place::new();
    place.run(&["add", "+525512345678", "--at", "2024-01-01"]).exits(0);
    let resubscribe = ["resubscribe", "+525512345678", "--reason", "r", "--at", "2025-06-01"];
    place.run(&resubscribe).exits(0);
    let list = b"phone\n+525512345678\n";
    assert_eq!(import(&place, list, &["--at", "2025-05-31"]), [1, 0, 1, 0, 0]);
    assert_eq!(place.suppressed(&["+525512345678"]), [false]);
    assert_eq!(import(&place, list, &["--at", "2025-06-01"]), [1, 1, 0, 0, 0]);
    assert_eq!(place.suppressed(&["+525512345678"]), [true]);
}

#[test]
fn a_resubscribe_dated_in_the_future_does_not_silence_the_next_stop() {
    let place = Place::holding(&["+525512345678"]);
    let resubscribe = ["resubscribe", "+525512345678", "--reason", "r", "--at", "2099-01-01"];
    place.run(&resubscribe).exits(0);
    assert_eq!(place.suppressed(&["+525512345678"]), [false]);
    assert!(place.run(&["add", "+525512345678"]).exits(0).ends_with("\tadded\n"));
    assert_eq!(place.suppressed(&["+525512345678"]), [true]);
}

#[test]
fn a_dry_run_over_several_lists_counts_nobody_twice() {
    let place = Place::new();
    for list in ["one.csv", "two.csv"] {
        place.write(list, "phone\n+525512345678\n");
    }
    let args = ["--json", "import", "one.csv", "two.csv"];
    let dry = place.run(&[&args[..], &["--dry-run"]].concat()).json();
    assert_eq!((&dry["added"], &dry["already"]), (&json!(1), &json!(1)));
    let real = place.run(&args).json();
    assert_eq!((&real["added"], &real["already"]), (&json!(1), &json!(1)));
}

#[test]
fn the_time_of_a_row_that_is_not_recorded_does_not_matter() {
    let place = Place::new();
    place.write("list.csv", "phone,when\n+525512345678,2026-01-01\nn/a,yesterday\n");
    let report = place.run(&["--json", "import", "list.csv", "--at-column", "when"]).json();
    assert_eq!((&report["invalid"], &report["unreadable_times"]), (&json!(1), &json!(0)));
}

#[test]
fn a_number_that_is_no_number_is_recorded_and_told_of() {
    let place = Place::new();
    place.write("list.csv", "phone\n+525512345678\n+5255123456789012\n");
    let ran = place.run(&["--json", "import", "list.csv"]);
    let report = ran.json();
    assert_eq!((&report["added"], &report["doubtful"]), (&json!(2), &json!(1)));
    assert!(ran.stderr.contains("in doubt"), "{}", ran.stderr);
    let typed = place.run(&["add", "+5255123456789013"]);
    assert!(typed.exits(0).ends_with("\tadded\n"));
    assert!(typed.stderr.contains("no number of that country is so long"), "{}", typed.stderr);
}

#[test]
fn a_dry_run_changes_nothing() {
    let place = Place::new();
    place.write("list.csv", "phone\n+525512345678\n");
    let before = place.store_files();
    let ran = place.run(&["import", "list.csv", "--dry-run"]);
    assert!(ran.exits(0).contains("would import"));
    assert_eq!(place.store_files(), before);
    assert_eq!(place.suppressed(&["+525512345678"]), [false]);
}

#[test]
fn rows_that_cannot_be_read_are_collected_with_line_and_reason() {
    let place = Place::new();
    let list = "name;phone\r\nAna;+525512345678\r\n\"a\r\nb\";x\r\n\r\nLuis;+52E\r\n;";
    place.write("list.csv", list);
    place.run(&["import", "list.csv", "--invalid", "bad.csv"]).exits(0);
    assert_eq!(
        place.text("bad.csv"),
        "name;phone;optout_line;optout_reason\r\n\
         \"a\r\nb\";x;3;not_a_number\r\n\
         Luis;+52E;6;not_a_number\r\n\
         ;;7;empty\n"
    );
    place
        .run(&["import", "list.csv", "--invalid", "bad.csv"])
        .fails(5, &["bad.csv exists already"]);
    place.run(&["import", "list.csv", "--invalid", "bad.csv", "--force"]).exits(0);
    place
        .run(&["import", "list.csv", "--invalid", "list.csv", "--force"])
        .fails(5, &["list.csv is both input and output"]);
    place
        .run(&["import", "list.csv", "--invalid", "store/bad.csv"])
        .fails(5, &["store/bad.csv lies in the store"]);
    place
        .run(&["import", "list.csv", "list.csv", "--invalid", "other.csv"])
        .fails(2, &["--invalid takes the rows of one list"]);
    assert_eq!(place.names(), ["bad.csv", "list.csv"]);
    assert_eq!(place.text("list.csv"), list);
}

#[test]
fn a_list_that_cannot_be_read_to_its_end_fails_and_leaves_no_file() {
    let place = Place::new();
    let lists: &[(&str, &[u8], &str)] = &[
        ("cut quote", b"phone,name\n+525512345678,\"Ana\n+525587654321,Luis\n", "line 2"),
        ("ragged row", b"phone,name\n+525512345678,Ana,x,y\n", "list"),
        ("odd utf-16", b"\xff\xfe+\x005\x002\x00\n", "list"),
    ];
    for (what, bytes, word) in lists {
        place.write("list", bytes);
        let ran = place.run(&["import", "list", "--column", "1", "--invalid", "bad.csv"]);
        if *what == "ragged row" {
            // The number is where it belongs: it counts.
            ran.exits(0);
            std::fs::remove_file(place.path("bad.csv")).unwrap();
            assert_eq!(place.suppressed(&["+525512345678"]), [true]);
        } else {
            ran.fails(1, &["list can't be read", word]);
        }
        assert_eq!(place.names(), ["list"], "{what}");
    }
    place.run(&["import", "nowhere.csv"]).fails(1, &["nowhere.csv can't be opened"]);
    place.run(&["import", "."]).fails(1, &["can't be opened"]);
}

#[test]
fn the_samples_are_imported_whole() {
    let place = Place::new();
    for (name, rows) in [("optouts.csv", 200), ("descadastros.csv", 40)] {
        let path = repository("data/samples").join(name);
        let dry = place.run(&["--json", "import", path.to_str().unwrap(), "--dry-run"]).json();
        let real = place.run(&["--json", "import", path.to_str().unwrap()]).json();
        assert_eq!(counts(&real), [rows, rows, 0, 0, 0], "{name}");
        assert_eq!(counts(&dry), counts(&real));
    }
}

/// Each subscriber's history lies in two records of many thousand rows: decoding these anew for
/// everybody took many minutes.
#[test]
fn a_list_imported_twice_is_verified_and_exported_in_no_time() {
    let place = Place::new();
    let list: String = (0..100_000).map(|at| format!("+5255{at:08}\n")).collect();
    place.write("list", list);
    for _ in 0..2 {
        place.run(&["import", "list", "--quiet"]).exits(0);
    }
    let began = std::time::Instant::now();
    place.run(&["verify"]).exits(0);
    let state = place.run(&["export", "--view", "state"]);
    assert_eq!(state.exits(0).lines().count(), 1 + 100_000);
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn a_dry_run_counts_as_the_import_does_when_reaches_differ() {
    let place = Place::new();
    place.run(&["add", "+525512345601", "--channel", "sms"]).exits(0);
    place.run(&["add", "+525512345602"]).exits(0);
    place.write("list.csv", "phone\n525512345601\n525512345602\n525512345603\n");
    for (scope, added) in [(&["--channel", "sms"][..], 1), (&[], 2)] {
        let import = [&["--json", "import", "list.csv"], scope].concat();
        let dry = place.run(&[&import[..], &["--dry-run"]].concat()).json();
        assert_eq!(dry["added"], added);
        assert_eq!(place.run(&import).json()["added"], if scope.is_empty() { 1 + 1 } else { 1 });
    }
}
