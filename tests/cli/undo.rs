//! Imports that are guarded, labelled, and taken back.

use serde_json::{Value, json};

use crate::harness::Place;

const ANA: &str = "+525512345678";
const LUIS: &str = "+525587654321";
const EVA: &str = "+34600123456";

fn events(place: &Place) -> Vec<Value> {
    let export = place.run(&["export", "--format", "ndjson"]);
    export.exits(0).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_import_is_taken_back_for_those_whom_nothing_else_opted_out() {
    let place = Place::holding(&[ANA]);
    place.write("one.csv", format!("phone\n{ANA}\n{LUIS}\n"));
    place.write("two.csv", format!("phone\nx\n{EVA} / {LUIS}\n"));
    let ran = place.run(&["import", "one.csv", "two.csv"]);
    assert!(ran.exits(0).contains("imported"));
    ran.says(&["this is import 2: `optout undo-import 2 --reason TEXT` takes it back"]);
    assert_eq!(place.suppressed(&[ANA, LUIS, EVA]), [true, true, true]);

    let undo = ["--json", "undo-import", "2", "--reason", "the wrong file"];
    let before = place.store_files();
    let dry = place.run(&[&undo[..], &["--dry-run"]].concat()).json();
    assert_eq!(place.store_files(), before);
    let real = place.run(&undo).json();
    let expected = json!({
        "batch": 2, "retracted": 3, "released": 2, "still_opted_out": 1, "not_listed": 0,
        "sequence": 8,
    });
    assert_eq!(real, expected, "{real}");
    let mut as_planned = expected;
    as_planned["sequence"] = json!(5);
    assert_eq!(dry, as_planned);
    assert_eq!(place.suppressed(&[ANA, LUIS, EVA]), [true, false, false]);

    let state = place.run(&["export", "--view", "state", "--format", "ndjson"]);
    assert_eq!(state.exits(0).lines().count(), 1, "{}", state.exits(0));
    let stats = place.run(&["--json", "stats", "--by", "source"]).json();
    assert_eq!(stats["groups"].as_object().unwrap().len(), 2, "{stats}");
    let why = place.run(&["why", LUIS]);
    assert!(why.exits(0).contains("note \"the wrong file\", import 2"), "{}", why.exits(0));
    let again = place.run(&["undo-import", "2", "--reason", "once more"]);
    again.exits(0);
    again.says(&["the import 2 was taken back before"]);
    assert_eq!(events(&place).len(), 8);
}

#[test]
fn ids_are_taken_back_with_the_numbers() {
    const ID: &str = "US.13491208655302741918";
    const OTHER: &str = "US.2";
    let place = Place::new();
    place.run(&["link", ID, ANA]).exits(0);
    place.write("list.csv", format!("to,tpl\n{ID},a\n{OTHER},b\n{LUIS},a\n"));
    let import = ["--json", "import", "list.csv", "--column", "to", "--template-column", "tpl"];
    assert_eq!(place.run(&import).json()["batch"], 3);
    place.run(&["add", LUIS, OTHER, "--source", "keyword"]).exits(0);
    assert_eq!(place.suppressed(&[ID, OTHER, ANA, LUIS]), [true; 4]);
    let undo = ["--json", "undo-import", "3", "--reason", "r"];
    let report = place.run(&undo).json();
    assert_eq!((&report["released"], &report["still_opted_out"]), (&json!(1), &json!(2)));
    assert_eq!(place.suppressed(&[ID, OTHER, ANA, LUIS]), [false, true, false, true]);
    assert_eq!(place.run(&undo).json()["retracted"], 0);
}

#[test]
fn what_is_no_import_is_not_taken_back() {
    let place = Place::holding(&[ANA]);
    place.write("list.csv", format!("phone\n{ANA}\n{LUIS}\n"));
    assert_eq!(place.run(&["--json", "import", "list.csv"]).json()["batch"], 2);
    let before = place.store_files();
    for (batch, words) in [
        ("0", "there is no such event"),
        ("1", "event 1 belongs to no import"),
        ("3", "event 3 belongs to the import 2"),
        ("9", "there is no such event"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let args = [&["undo-import", batch, "--reason", "r"], dry].concat();
            place.run(&args).fails(2, &[&format!("{batch} is no import"), words]);
        }
    }
    place.run(&["undo-import", "2", "--reason", " "]).fails(2, &["--reason is empty"]);
    assert_eq!(place.run(&["undo-import", "2"]).exit, Some(2));
    assert_eq!(place.run(&["undo-import", "two", "--reason", "r"]).exit, Some(2));
    assert_eq!(place.store_files(), before);
}

#[test]
fn an_import_of_nothing_has_no_name() {
    let place = Place::new();
    place.write("list.csv", "phone\nx\n\n");
    assert_eq!(place.run(&["--json", "import", "list.csv"]).json()["batch"], Value::Null);
    place.write("list.csv", format!("phone\n{ANA}\n"));
    let dry = place.run(&["--json", "import", "list.csv", "--dry-run"]).json();
    assert_eq!(dry["batch"], Value::Null);
    assert_eq!(place.run(&["--json", "import", "list.csv"]).json()["batch"], 1);
    assert_eq!(place.run(&["--json", "import", "list.csv"]).json()["batch"], 2);
}

#[test]
fn an_import_that_would_add_too_many_records_nothing() {
    let place = Place::holding(&[ANA, LUIS]);
    let list = format!("phone\n{ANA}\nx\n+34600000001\n+34600000002 / +34600000003\n");
    place.write("list.csv", &list);
    let before = place.store_files();
    for (max, words) in [
        ("1", "would add 2, but no more than 1 may be added (1; 2 are opted out now)"),
        ("0", "would add 2, but no more than 0"),
        ("99%", "would add 2, but no more than 1 may be added (99%; 2 are opted out now)"),
    ] {
        for input in ["list.csv", "-"] {
            let args = ["import", input, "--max-added", max, "--invalid", "bad.csv"];
            place.run_with(&args, list.as_bytes()).fails(5, &[words]);
            let dry = [&args[..], &["--dry-run"]].concat();
            place.run_with(&dry, list.as_bytes()).fails(5, &[words]);
        }
    }
    assert_eq!(place.store_files(), before);
    assert_eq!(place.names(), ["list.csv"]);
    // Two lists count together.
    place.write("more.csv", "phone\n+34600000004\n");
    let both = ["import", "list.csv", "more.csv", "--max-added", "2"];
    place.run(&both).fails(5, &["would add 3"]);
    assert_eq!(place.run(&["import", "list.csv", "--max-added", "many"]).exit, Some(2));

    let args = ["--json", "import", "-", "--max-added", "100%", "--invalid", "bad.csv"];
    let report = place.run_with(&args, list.as_bytes()).json();
    assert_eq!(
        (&report["rows"], &report["added"], &report["batch"]),
        (&json!(4), &json!(2), &json!(3))
    );
    assert_eq!(place.text("bad.csv"), "phone,optout_line,optout_reason\nx,3,not_a_number\n");
    let report = place.run(&["--json", "import", "more.csv", "--max-added", "1"]).json();
    assert_eq!(report["added"], 1);
}

#[test]
fn each_row_may_name_its_template_and_its_campaign() {
    let place = Place::new();
    let list = format!(
        "phone,tpl,when,cmp\n\
         {ANA},winter,2026-03-01,c1\n\
         {LUIS},,2026-03-02,c1\n\
         {EVA} / +34600000001,summer,2026-03-03,\n\
         +34600000002, winter ,2026-03-04,c1\n"
    );
    place.write("list.csv", list);
    let args = [
        "--json",
        "import",
        "list.csv",
        "--template-column",
        "tpl",
        "--campaign-column",
        "cmp",
        "--at-column",
        "when",
        "--template",
        "spring",
    ];
    let report = place.run(&args).json();
    assert_eq!((&report["added"], &report["batch"]), (&json!(4), &json!(1)));
    let mut rows: Vec<[String; 4]> = events(&place)
        .iter()
        .map(|event| {
            let why = place.run(&["--json", "why", event["number"].as_str().unwrap()]).json();
            let event = &why["events"][0];
            assert_eq!(event["batch"], 1);
            ["number", "template", "campaign", "occurred_at"]
                .map(|name| event[name].as_str().unwrap().to_owned())
        })
        .collect();
    rows.sort();
    assert_eq!(
        rows,
        [
            ["+34600000001", "summer", "", "2026-03-03T00:00:00Z"],
            ["+34600000002", "winter", "c1", "2026-03-04T00:00:00Z"],
            [EVA, "summer", "", "2026-03-03T00:00:00Z"],
            [ANA, "winter", "c1", "2026-03-01T00:00:00Z"],
            [LUIS, "spring", "c1", "2026-03-02T00:00:00Z"],
        ]
    );
    let stats = place.run(&["--json", "stats", "--by", "template"]);
    assert!(stats.exits(0).contains("winter"), "{}", stats.exits(0));
    place
        .run(&["import", "list.csv", "--template-column", "nope"])
        .fails(1, &["\"phone\", \"tpl\""]);
    let layer = ["import", "list.csv", "--layer", "us", "--as-of", "2026-01-01"];
    for option in ["--template-column", "--campaign-column", "--max-added"] {
        assert_eq!(place.run(&[&layer[..], &[option, "1"]].concat()).exit, Some(2));
    }
    // All of it is one import.
    let undo = ["--json", "undo-import", "1", "--reason", "r"];
    assert_eq!(place.run(&undo).json()["released"], 5);
}

#[test]
fn a_column_of_many_labels_is_one_import_all_the_same() {
    let place = Place::new();
    let mut list = "phone,template\n".to_owned();
    for row in 0..9_000 {
        list += &format!("+3460{:07},t{}\n", row % 8_500, row);
    }
    place.write("list.csv", list);
    let report =
        place.run(&["--json", "import", "list.csv", "--template-column", "template"]).json();
    assert_eq!((&report["added"], &report["already"]), (&json!(8_500), &json!(500)));
    let undo = ["--json", "undo-import", "1", "--reason", "r"];
    assert_eq!(place.run(&undo).json()["released"], 8_500);
    place.run(&["verify"]).exits(0);
}
