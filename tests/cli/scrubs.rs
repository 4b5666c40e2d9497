//! Recipient lists in, clean lists out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::harness::{Place, repository, run};

const LIST: &str = "phone,name\n+525512345678,Ana\n+525587654321,Luis\nn/a,Eva\n";
const KEPT: &str = "phone,name\n+525587654321,Luis\n";

fn place() -> Place {
    let place = Place::new();
    let add = ["add", "+525512345678", "--at", "2026-03-01", "--source", "button"];
    place.run(&add).exits(0);
    place.write("list.csv", LIST);
    place
}

#[test]
fn the_sample_campaign_is_scrubbed_byte_for_byte() {
    let place = Place::new();
    let optouts = repository("data/samples/optouts.csv");
    place.run(&["import", optouts.to_str().unwrap(), "--at-column", "2"]).exits(0);
    let campaign = repository("data/samples/campaign.csv");
    let kept = fs::read(repository("data/samples/campaign.kept.csv")).unwrap();
    let expected = fs::read(repository("data/samples/campaign.expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();

    for step in ["journal", "generation"] {
        let args = ["--json", "scrub", campaign.to_str().unwrap(), "-o", "kept.csv", "--force"];
        let json = place.run(&args).json();
        for (name, count) in expected.as_object().unwrap() {
            assert_eq!(&json[name], count, "{step}: {name}");
        }
        assert!(place.read("kept.csv") == kept, "{step}");
        let bytes = fs::read(&campaign).unwrap();
        let piped = place.run_with(&["scrub", "-", "-o", "-"], &bytes);
        assert_eq!(piped.exit, Some(0));
        assert!(piped.stdout == kept, "{step}");
        place.run(&["compact"]).exits(0);
    }
}

#[test]
fn the_report_has_its_fields_in_the_promised_order() {
    let place = place();
    let args = [
        "--json",
        "scrub",
        "list.csv",
        "--report",
        "report.json",
        "--region",
        "MX",
        "--column",
        "phone",
    ];
    let ran = place.run(&args);
    let text = ran.exits(0);
    let elapsed = ran.json()["elapsed_ms"].to_string();
    assert_eq!(
        text,
        format!(
            "{{\"rows\":3,\"kept\":1,\"suppressed\":1,\"invalid\":1,\"duplicates\":0,\
             \"exempt\":0,\"written\":1,\"invalid_reasons\":{{\"not_a_number\":1}},\
             \"generation\":0,\"sequence\":1,\"elapsed_ms\":{elapsed},\"options\":{{\
             \"category\":\"marketing\",\"channel\":null,\"sender\":null,\
             \"brand\":null,\"layers\":[],\"mode\":\"enforce\",\"column\":\"phone\",\
             \"region\":\"MX\",\"region_column\":null,\"dedupe\":false}}}}\n"
        )
    );
    let file: Value = serde_json::from_slice(&place.read("report.json")).unwrap();
    assert_eq!(file, ran.json());
    assert!(place.text("report.json").starts_with("{\n  \"rows\": 3,\n  \"kept\": 1,\n"));
}

#[test]
fn suppressed_and_invalid_rows_say_why() {
    let place = place();
    let args = [
        "scrub",
        "list.csv",
        "-o",
        "kept.csv",
        "--suppressed",
        "out.csv",
        "--invalid",
        "bad.csv",
        "--report",
        "report.json",
    ];
    let ran = place.run(&args);
    ran.says(&["against sequence 1"]);
    assert!(ran.exits(0).contains("suppressed"));
    assert_eq!(place.text("kept.csv"), KEPT);
    assert_eq!(
        place.text("out.csv"),
        "phone,name,optout_number,optout_since,optout_source,optout_rule\n\
         +525512345678,Ana,525512345678,2026-03-01T00:00:00Z,button,opt-out\n"
    );
    assert_eq!(
        place.text("bad.csv"),
        "phone,name,optout_line,optout_reason\nn/a,Eva,4,not_a_number\n"
    );
    for name in ["kept.csv", "out.csv", "bad.csv", "report.json"] {
        let mode = fs::metadata(place.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let expected = ["bad.csv", "kept.csv", "list.csv", "out.csv", "report.json"];
    assert_eq!(place.names(), expected);
}

#[test]
fn an_output_that_exists_is_replaced_by_force_only() {
    let place = place();
    place.write("kept.csv", "precious");
    for option in ["-o", "--suppressed", "--invalid", "--report"] {
        let ran = place.run(&["scrub", "list.csv", option, "kept.csv"]);
        ran.fails(5, &["kept.csv exists already", "--force"]);
        assert_eq!(place.text("kept.csv"), "precious");
    }
    place.run(&["scrub", "list.csv", "-o", "kept.csv", "--force"]).exits(0);
    assert_eq!(place.text("kept.csv"), KEPT);
    assert_eq!(place.names(), ["kept.csv", "list.csv"]);
}

#[test]
fn an_output_that_is_an_input_or_lies_in_the_store_is_refused_even_by_force() {
    let place = place();
    let before = place.store_files();
    symlink("list.csv", place.path("link.csv")).unwrap();
    fs::hard_link(place.path("list.csv"), place.path("hard.csv")).unwrap();
    for output in ["list.csv", "./list.csv", "link.csv", "hard.csv"] {
        let ran = place.run(&["scrub", "list.csv", "-o", output, "--force"]);
        ran.fails(5, &["is both input and output"]);
    }
    place.run(&["scrub", "link.csv", "-o", "list.csv", "--force"]).fails(5, &["both input"]);
    for output in ["store/kept.csv", "store/MANIFEST", "store/new/kept.csv"] {
        for option in ["-o", "--report", "--suppressed"] {
            let ran = place.run(&["scrub", "list.csv", option, output, "--force"]);
            ran.fails(5, &[output, "lies in the store"]);
        }
        place
            .run(&["export", "-o", output, "--format", "csv", "--force"])
            .fails(5, &["lies in the store"]);
    }
    place.write("other.csv", LIST);
    place
        .run(&["scrub", "list.csv", "other.csv", "-o", "store/new"])
        .fails(5, &["lies in the store"]);
    place
        .run(&["scrub", "list.csv", "-o", "x.csv", "--invalid", "x.csv"])
        .fails(5, &["x.csv is asked for as two different outputs"]);
    assert_eq!(place.text("list.csv"), LIST);
    assert_eq!(place.store_files(), before);
    assert_eq!(place.names(), ["hard.csv", "link.csv", "list.csv", "other.csv"]);
}

#[test]
fn several_lists_keep_their_names_in_a_folder() {
    let place = place();
    fs::create_dir(place.path("in")).unwrap();
    place.write("in/b.csv", "number\n5215512345678\n+34600123456\n");
    let args =
        ["--json", "scrub", "list.csv", "in/b.csv", "-o", "clean/today", "--report", "report.json"];
    let json = place.run(&args).json();
    assert_eq!(place.text("clean/today/list.csv"), KEPT);
    assert_eq!(place.text("clean/today/b.csv"), "number\n+34600123456\n");
    assert_eq!(
        (&json["rows"], &json["kept"], &json["suppressed"]),
        (&json!(5), &json!(2), &json!(2))
    );
    assert_eq!(json["files"][0]["file"], "list.csv");
    assert_eq!(json["files"][1]["rows"], 2);
    assert_eq!(serde_json::from_slice::<Value>(&place.read("report.json")).unwrap(), json);

    place.write("in/list.csv", LIST);
    place.run(&["scrub", "list.csv", "in/list.csv", "-o", "clean2"]).fails(5, &["two different"]);
    place.run(&["scrub", "list.csv", "-", "-o", "clean2"]).fails(2, &["has no name"]);
    place
        .run(&["scrub", "list.csv", "in/b.csv", "--invalid", "x"])
        .fails(2, &["scrub them one by one"]);
    place
        .run(&["scrub", "list.csv", "in/b.csv", "-o", "clean/today"])
        .fails(5, &["exists already"]);
    // One bad list keeps all of them from appearing.
    place.write("in/cut.csv", "phone,name\n+34600123456,\"Ana\n");
    place.run(&["scrub", "list.csv", "in/cut.csv", "-o", "clean3"]).fails(1, &["in/cut.csv"]);
    assert_eq!(fs::read_dir(place.path("clean3")).unwrap().count(), 0);
}

#[test]
fn report_and_off_write_every_row_and_say_so() {
    let place = place();
    let report = place.run(&["--json", "scrub", "list.csv", "-o", "r.csv", "--mode", "report"]);
    let json = report.json();
    assert_eq!(place.text("r.csv"), LIST);
    assert_eq!(
        (&json["kept"], &json["suppressed"], &json["invalid"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&json["written"], &json["options"]["mode"]), (&json!(3), &json!("report")));
    report.says(&["warning: mode report: nobody was taken out"]);
    let off = place.run(&["--json", "scrub", "list.csv", "-o", "o.csv", "--mode", "off"]);
    assert_eq!(place.text("o.csv"), LIST);
    assert_eq!(off.json()["rows"], 3);
    off.says(&["warning: mode off: nobody was taken out"]);
}

#[test]
fn dedupe_keeps_the_first_row_of_a_number() {
    let place = place();
    let list = "phone,name\n+525587654321,Luis\n+52 55 8765 4321,again\n+525512345678,Ana\n\
        +525512345678,Ana again\n+34600123456,Pau\n";
    place.write("list.csv", list);
    let json = place.run(&["--json", "scrub", "list.csv", "-o", "kept.csv", "--dedupe"]).json();
    assert_eq!(place.text("kept.csv"), "phone,name\n+525587654321,Luis\n+34600123456,Pau\n");
    let counts = ["rows", "kept", "suppressed", "invalid", "duplicates"];
    assert_eq!(counts.map(|it| json[it].as_u64().unwrap()), [5, 2, 2, 0, 1]);
}

#[test]
fn every_form_of_a_number_that_opted_out_is_suppressed() {
    let place = place();
    let list = "telefono,pais\n5215512345678,\n5215512345678@c.us,\n+521 55 1234 5678,\n\
        whatsapp:+525512345678,\n\"=\"\"525512345678\"\"\",\n55 1234 5678,MX\n044 55 1234 5678,mx\n";
    place.write("list.csv", list);
    let args = ["--json", "scrub", "list.csv", "-o", "kept.csv", "--region-column", "pais"];
    let json = place.run(&args).json();
    assert_eq!(json["suppressed"], 7, "{json}");
    assert_eq!(place.text("kept.csv"), "telefono,pais\n");
}

#[test]
fn form_and_encoding_stay_as_they_are() {
    let place = place();
    let text = "\u{feff}sep=;\r\nNombre;Teléfono\r\n\"A; \"\"B\"\"\";+34600123456\r\nAna;+525512345678\r\nZé;+34600123457";
    let kept = text.replace("Ana;+525512345678\r\n", "");
    let to_utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (list, kept) in
        [(text.as_bytes().to_vec(), kept.as_bytes().to_vec()), (to_utf16(text), to_utf16(&kept))]
    {
        let ran = place.run_with(&["scrub", "-", "-o", "-"], &list);
        assert_eq!(ran.exit, Some(0), "{}", ran.stderr);
        assert_eq!(ran.stdout, kept);
    }
    // Without a header it is data from its first line.
    let ran = place.run_with(&["scrub", "-", "-o", "-"], b"+525512345678\n+34600123456\n");
    assert_eq!(ran.exits(0), "+34600123456\n");
}

#[test]
fn a_missing_column_is_named_with_those_that_are_there() {
    let place = place();
    let ran = place.run(&["scrub", "list.csv", "--column", "mobile", "-o", "kept.csv"]);
    ran.fails(1, &["list.csv", "no column \"mobile\"", "\"phone\", \"name\""]);
    place.run(&["scrub", "list.csv", "--region-column", "pais"]).fails(1, &["\"pais\""]);
    place.write("names.csv", "name,city\nAna,Puebla\n");
    let ran = place.run(&["scrub", "names.csv", "-o", "kept.csv"]);
    ran.fails(1, &["names.csv", "--column"]);
    assert_eq!(place.names(), ["list.csv", "names.csv"]);
}

#[test]
fn a_list_that_is_cut_short_or_missing_makes_no_file() {
    let place = place();
    place.write("cut.csv", "phone,name\n+34600123456,\"Ana\n+34600123457,Luis\n");
    place.write("odd.csv", b"\xff\xfep\x00\n\x00+\x003");
    let outputs =
        ["-o", "kept.csv", "--suppressed", "s.csv", "--invalid", "i.csv", "--report", "r.json"];
    for name in ["cut.csv", "odd.csv", "nowhere.csv", "."] {
        place.run(&[&["scrub", name], &outputs[..]].concat()).fails(1, &[name]);
        assert_eq!(place.names(), ["cut.csv", "list.csv", "odd.csv"], "{name}");
    }
    place.run(&["scrub", "list.csv", "-o", "no/folder/kept.csv"]).fails(1, &["make it first"]);
}

#[test]
fn standard_output_is_for_one_thing() {
    let place = place();
    let ran = place.run(&["--json", "scrub", "list.csv", "-o", "-"]);
    ran.fails(2, &["-o - and --json both want standard output"]);
    let quiet = place.run(&["--quiet", "scrub", "list.csv", "-o", "-"]);
    assert_eq!((quiet.exits(0), &*quiet.stderr), (KEPT, ""));
    let named = run(place.command(&["scrub"]).args(["list.csv", "-o", "/dev/null"]), b"");
    named.exits(0);
}

#[test]
fn a_scrub_is_for_one_message_and_counts_the_exempt() {
    let place = Place::new();
    place.run(&["add", "+525512345601"]).exits(0);
    place.run(&["add", "+525512345602", "--tier", "all"]).exits(0);
    place.run(&["add", "+525512345603", "--channel", "whatsapp"]).exits(0);
    place.write("list.csv", "phone\n525512345601\n525512345602\n525512345603\n525512345604\n");
    let counts = |args: &[&str]| {
        let json = place.run(&[&["--json", "scrub", "list.csv"], args].concat()).json();
        let count = |name: &str| json[name].as_u64().unwrap();
        (count("kept"), count("suppressed"), count("exempt"))
    };
    for step in ["beyond the generation", "in it"] {
        assert_eq!(counts(&[]), (1, 3, 0), "{step}");
        assert_eq!(counts(&["--channel", "sms"]), (2, 2, 0), "{step}");
        assert_eq!(counts(&["--category", "utility"]), (3, 1, 2), "{step}");
        place.run(&["compact"]).exits(0);
    }
    let rule = ["scrub", "list.csv", "--category", "utility", "--suppressed", "out.csv"];
    let table = place.run(&rule);
    assert!(table.exits(0).contains("  exempt "), "{}", table.exits(0));
    assert!(place.text("out.csv").ends_with(",api,opt-out-all\n"), "{}", place.text("out.csv"));
}

#[test]
fn a_scrub_that_would_suppress_too_many_writes_nothing() {
    let place = place();
    for limit in ["30%", "0"] {
        let ran = place.run(&[
            "scrub",
            "list.csv",
            "-o",
            "out.csv",
            "--region",
            "MX",
            "--max-suppressed",
            limit,
        ]);
        ran.fails(5, &["1 of 3 rows", "nothing was written"]);
        assert!(!place.path("out.csv").exists());
    }
    let ran = ["scrub", "list.csv", "-o", "out.csv", "--region", "MX", "--max-suppressed", "34%"];
    place.run(&ran).exits(0);
}
