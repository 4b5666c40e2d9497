//! export, stats, normalize, detect, completions, man.

use optout::number::{Folding, Number, fold};
use serde_json::{Value, json};

use crate::harness::{Place, repository, run};

const HEADER: &str = "sequence,number,action,occurred_at,received_at,source,channel,sender,brand,\
    tier,word,campaign,message_id,note,raw";

/// Four events on four days by the persons' clocks; all recorded now.
fn place() -> Place {
    let place = Place::new();
    for (number, at, source, campaign) in [
        ("+525512345678", "2026-03-01T09:30:00Z", "keyword", "spring"),
        ("+5511987654321", "2026-03-02", "button", "spring"),
        ("+525587654321", "2026-03-03", "api", ""),
    ] {
        let args = ["add", number, "--at", at, "--source", source, "--campaign", campaign];
        place.run(&args).exits(0);
    }
    let args = ["resubscribe", "+525587654321", "--reason", "asked", "--at", "2026-04-09"];
    place.run(&args).exits(0);
    place
}

/// The first column of each row.
fn sequences(csv: &str) -> Vec<&str> {
    csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect()
}

#[test]
fn an_export_has_a_row_for_each_event() {
    let place = place();
    let ran = place.run(&["export"]);
    assert_eq!(ran.stderr, "4 rows, up to sequence 4\n");
    let lines: Vec<&str> = ran.exits(0).lines().collect();
    assert_eq!(lines[0], HEADER);
    let cells: Vec<&str> = lines[1].split(',').collect();
    assert_eq!(cells[..4], ["1", "525512345678", "opt-out", "2026-03-01T09:30:00Z"]);
    assert_eq!(
        cells[5..],
        ["keyword", "", "", "", "marketing", "", "spring", "", "", "'+525512345678"]
    );
    let ndjson = place.run(&["--json", "export"]);
    let event: Value = serde_json::from_str(ndjson.exits(0).lines().next().unwrap()).unwrap();
    assert_eq!(event["number"], "+525512345678");
    assert_eq!(event.as_object().unwrap().len(), 15);

    place.run(&["export", "-o", "all.csv"]).exits(0);
    assert_eq!(place.text("all.csv"), ran.exits(0));
    place.run(&["export", "-o", "all.ndjson"]).exits(0);
    assert_eq!(place.text("all.ndjson"), ndjson.exits(0));
    place.run(&["export", "-o", "all.csv"]).fails(5, &["all.csv exists already"]);
    place.run(&["export", "-o", "all.csv", "--force", "--source", "api"]).exits(0);
    assert_eq!(sequences(&place.text("all.csv")), ["3", "4"]);
}

#[test]
fn ranges_are_half_open_and_go_by_either_clock() {
    let place = place();
    let export = |args: &[&str]| -> Vec<String> {
        let ran = place.run(&[&["export"], args].concat());
        sequences(ran.exits(0)).into_iter().map(str::to_owned).collect()
    };
    let occurred = ["--clock", "occurred", "--from"];
    let between = |from, to| export(&[&occurred[..], &[from, "--to", to]].concat());
    assert_eq!(between("2026-03-01", "2026-03-02"), ["1"]);
    assert_eq!(between("2026-03-01", "2026-03-02T00:00:00.001Z"), ["1", "2"]);
    assert_eq!(between("2026-03-01T09:30:00Z", "2026-03-03"), ["1", "2"]);
    assert_eq!(between("2026-03-01T09:30:00.001Z", "2026-03-03"), ["2"]);
    assert!(between("2026-03-02", "2026-03-02").is_empty());
    assert_eq!(export(&["--clock", "occurred", "--from", "2026-03-03"]), ["3", "4"]);
    assert_eq!(export(&["--from", "2020-01-01"]).len(), 4);
    assert!(export(&["--to", "2020-01-01"]).is_empty());
    // In Mexico the second of March began six hours later.
    let tz = [&occurred[..], &["2026-03-02", "--tz", "America/Mexico_City"]].concat();
    assert_eq!(export(&tz), ["3", "4"]);
    place.run(&["export", "--from", "2026-03-02", "--to", "2026-03-01"]).fails(2, &["upside down"]);
    place.run(&["export", "--from", "spring"]).fails(2, &["\"spring\" is not a time"]);
}

#[test]
fn the_state_is_who_is_opted_out_at_the_end_of_the_range() {
    let place = place();
    let state = |args: &[&str]| -> Vec<String> {
        let ran =
            place.run(&[&["export", "--view", "state", "--clock", "occurred"], args].concat());
        sequences(ran.exits(0)).into_iter().map(str::to_owned).collect()
    };
    assert_eq!(state(&[]), ["1", "2"]);
    assert_eq!(state(&["--to", "2026-04-09"]), ["1", "2", "3"]);
    assert_eq!(state(&["--from", "2026-03-02", "--to", "2026-04-09"]), ["2", "3"]);
    place.run(&["compact"]).exits(0);
    assert_eq!(state(&["--to", "2026-04-09"]), ["1", "2", "3"]);
}

#[test]
fn unsupported_formats_are_refused() {
    let place = place();
    let words = ["parquet", "not supported by this release"];
    place.run(&["export", "--format", "parquet"]).fails(2, &words);
    place.run(&["export", "-o", "all.parquet"]).fails(2, &words);
    // A set holds no events.
    place.run(&["export", "-o", "all.roaring"]).fails(2, &["--view state"]);
    place.run(&["export", "-o", "all.roaring", "--view", "state", "--mask"]).fails(2, &["--mask"]);
    place.run(&["export", "--format", "yaml"]).fails(2, &["\"yaml\" is not a format"]);
    place.run(&["export", "-o", "all.txt"]).fails(2, &["\".txt\"", "--format"]);
    place.run(&["export", "-o", "all.txt", "--format", "csv"]).exits(0);
    assert_eq!(place.names(), ["all.txt"]);
}

#[test]
fn a_set_holds_the_keys_that_the_state_shows() {
    let place = place();
    let args = ["export", "--view", "state", "-o", "all.roaring"];
    let args = [&args[..], &["--to", "2026-04-09", "--clock", "occurred"]].concat();
    place.run(&args).exits(0);
    let set = roaring::RoaringTreemap::deserialize_from(&*place.read("all.roaring")).unwrap();
    let args = ["export", "--view", "state", "--format", "ndjson"];
    let args = [&args[..], &["--to", "2026-04-09", "--clock", "occurred"]].concat();
    let lines = place.run(&args);
    let keys: Vec<u64> = lines
        .exits(0)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["number"].as_str().unwrap()[1..].parse().unwrap())
        .map(|number| fold(Number::from_e164(number).unwrap(), Folding::default()).get())
        .collect();
    assert_eq!(keys.len(), 3);
    assert_eq!(set.len(), 3);
    for key in keys {
        assert!(set.contains(key), "{key}");
    }
}

#[test]
#[cfg(feature = "xlsx")]
fn a_spreadsheet_is_written_by_the_name_of_its_file() {
    let place = place();
    place.run(&["export", "-o", "all.xlsx"]).exits(0);
    let csv = place.run(&["export"]);
    let bytes = place.read("all.xlsx");
    let mut book = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut sheet = String::new();
    let mut part = book.by_name("xl/worksheets/sheet1.xml").unwrap();
    std::io::Read::read_to_string(&mut part, &mut sheet).unwrap();
    assert_eq!(sheet.matches("<row ").count(), csv.exits(0).lines().count());
    assert_eq!(place.names(), ["all.xlsx"]);
}

#[test]
fn masked_exports_show_no_number() {
    let place = place();
    for format in ["csv", "ndjson"] {
        for view in ["events", "state"] {
            let ran = place.run(&["export", "--mask", "--format", format, "--view", view]);
            for digits in ["5512345678", "11987654321", "87654321", "512345"] {
                assert!(!ran.exits(0).contains(digits), "{}", ran.exits(0));
            }
        }
    }
}

#[test]
fn no_cell_of_an_export_begins_a_formula() {
    let place = Place::new();
    for (at, text) in ["=1+1", "+1", "@SUM(A1)", "-2", "\t=1"].iter().enumerate() {
        let number = format!("+52551234567{at}");
        let args = ["add".to_owned(), number, format!("--note={text}"), format!("--word={text}")];
        place.run(&args).exits(0);
    }
    let csv = place.run(&["export"]);
    for line in csv.exits(0).lines().skip(1) {
        for cell in line.split(',') {
            let cell = cell.trim_start_matches('"');
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t']), "{line}");
        }
    }
}

#[test]
fn an_export_is_imported_as_the_same_set() {
    let place = Place::new();
    for number in ["+52 55 1234 5678", "5215587654321", "+55 11 8765-4321", "whatsapp:+34600123456"]
    {
        let add = ["add", number, "--note", "=a, \"b\"\nc", "--at", "2026-03-01"];
        place.run(&add).exits(0);
    }
    place.run(&["export", "-o", "all.csv", "--view", "state"]).exits(0);
    let other = Place::new();
    let list = place.path("all.csv");
    let list = list.to_str().unwrap();
    let json = other.run(&["--json", "import", list, "--at-column", "occurred_at"]).json();
    assert_eq!(
        (&json["rows"], &json["added"], &json["invalid"]),
        (&json!(4), &json!(4), &json!(0))
    );
    let numbers =
        ["+525512345678", "+525587654321", "+5511987654321", "+34600123456", "+34600123457"];
    let check = [&["check"], &numbers[..]].concat();
    let strip = |place: &Place| place.run(&check).exits(0).replace("\timport", "\tapi");
    assert_eq!(strip(&other), strip(&place));
}

#[test]
fn stats_count_by_everything() {
    let place = place();
    let stats = |by: &str| {
        let args = ["--json", "stats", "--by", by, "--clock", "occurred"];
        place.run(&args).json()
    };
    let count = |opt_outs: u64, resubscribes: u64| json!({"opt_outs": opt_outs, "resubscribes": resubscribes});
    let total = count(3, 1);
    for (by, groups) in [
        (
            "day",
            json!({"2026-03-01": count(1, 0), "2026-03-02": count(1, 0),
            "2026-03-03": count(1, 0), "2026-04-09": count(0, 1)}),
        ),
        (
            "week",
            json!({"2026-02-23": count(1, 0), "2026-03-02": count(2, 0),
            "2026-04-06": count(0, 1)}),
        ),
        ("month", json!({"2026-03": count(3, 0), "2026-04": count(0, 1)})),
        ("source", json!({"keyword": count(1, 0), "button": count(1, 0), "api": count(1, 1)})),
        ("country", json!({"MX": count(2, 1), "BR": count(1, 0)})),
        ("campaign", json!({"spring": count(2, 0), "-": count(1, 1)})),
    ] {
        assert_eq!(stats(by), json!({"groups": groups, "total": total}), "{by}");
        let table = place.run(&["stats", "--by", by]);
        assert!(table.exits(0).contains("total"), "{}", table.exits(0));
    }
    let ranged = ["--json", "stats", "--by", "day", "--clock", "occurred", "--to", "2026-03-02"];
    assert_eq!(place.run(&ranged).json()["total"], count(1, 0));
    let overview = place.run(&["--json", "stats"]).json();
    assert_eq!((&overview["opted_out"], &overview["sequence"]), (&json!(2), &json!(4)));
    place.run(&["stats", "--by", "mood"]).fails(2, &["mood"]);
}

#[test]
fn detect_writes_a_line_for_each_message() {
    let place = Place::empty();
    let ran = run(place.bare().args(["detect", "Quit!", "thanks"]), b"");
    assert_eq!(ran.exits(0), "opt_out\tlone_word: quit\nnone\tcourtesy\n");
    let lines = "quit\\n\\nSent from my iPhone\r\n{\"text\": \"no\\n\\nthanks\"}\n\n{thanks\n\
        {\"preference\": \"stop\"}\n{\"button\": \"Unsubscribe\", \"text\": \"hi\"}\n";
    let ran = run(place.bare().args(["detect", "--json"]), lines.as_bytes());
    let answers: Vec<Value> =
        ran.exits(0).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let intents: Vec<&str> = answers.iter().filter_map(|it| it["intent"].as_str()).collect();
    assert_eq!(intents, ["opt_out", "opt_out_likely", "none", "none", "opt_out", "opt_out"]);
    let first =
        json!({"intent": "opt_out", "language": null, "matched": "quit", "rule": "lone_word"});
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    assert_eq!(keys(&answers[0]), keys(&first));
}

#[test]
fn detect_says_which_line_is_no_object_though_it_begins_like_one() {
    let place = Place::empty();
    let lines = "hola\n{\"text\": 5}\n{\"text\": \"baja\"}\n{\"preference\": \"stopp\"}\n{x\n";
    let ran = run(place.bare().arg("detect"), lines.as_bytes());
    assert_eq!(ran.exits(0).lines().count(), 5);
    assert!(ran.stderr.contains("3 lines begin with a brace"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the first is line 2"), "{}", ran.stderr);
}

#[test]
fn detect_takes_a_customers_words() {
    let place = Place::empty();
    place.write("words.tsv", "lone.opt_out\tkwyjibo\n");
    let ran = run(place.bare().args(["detect", "--words", "words.tsv", "KWYJIBO"]), b"");
    assert_eq!(ran.exits(0), "opt_out\tlone_word: kwyjibo\n");
    place.write("broken.tsv", "kwyjibo\n");
    run(place.bare().args(["detect", "--words", "broken.tsv", "x"]), b"").exits(2);
}

/// Runs `normalize`, which needs no store.
fn normalize(args: &[&str], lines: &str) -> String {
    let place = Place::empty();
    let ran = run(place.bare().arg("normalize").args(args), lines.as_bytes());
    ran.exits(0).to_owned()
}

#[test]
fn normalize_writes_a_line_for_each() {
    let lines = "+52 1 55 1234 5678\r\n55 1234 5678\n\nn/a\n5.21E+12\n+34600123456";
    assert_eq!(
        normalize(&["--region", "MX"], lines),
        "+5215512345678\n+525512345678\n!empty\n!not_a_number\n!precision_lost\n+34600123456\n"
    );
    assert_eq!(
        normalize(&["--region", "MX", "--key"], lines),
        "525512345678\n525512345678\n!empty\n!not_a_number\n!precision_lost\n34600123456\n"
    );
    let regions = "55 1234 5678\tMX\n+34600123456\t\n600123456\tes\n1\tAtlantis\n+34600123456\n";
    assert_eq!(
        normalize(&["--regions"], regions),
        "+525512345678\n+34600123456\n+34600123456\n!unknown_region\n+34600123456\n"
    );
    let place = Place::empty();
    for args in [&["--regions", "--region", "MX"][..], &["--strict", "--key"], &["--region", "Q"]] {
        run(place.bare().arg("normalize").args(args), b"").exits(2);
    }
}

#[test]
fn normalize_knows_every_status() {
    let lines = "+525512345678\n5215512345678\n+525500000000\n+5255\nn/a\n";
    let statuses = |args: &[&str], lines: &str| -> Vec<String> {
        let text = normalize(&[&["--json"], args].concat(), lines);
        text.lines()
            .map(|line| {
                let value: Value = serde_json::from_str(line).unwrap();
                assert_eq!(value.as_object().unwrap().len(), 5, "{line}");
                assert_eq!(value["e164"].is_null(), value["status"] == "rejected", "{line}");
                assert_eq!(value["reason"].is_null(), value["status"] != "rejected", "{line}");
                value["status"].as_str().unwrap().to_owned()
            })
            .collect()
    };
    let seen = statuses(&[], lines);
    assert_eq!(seen, ["valid", "folded", seen[2].as_str(), "parsed", "rejected"]);
    let possible = statuses(&[], "+525000000000\n+34500123456\n+5511187654321\n");
    assert!(possible.contains(&"possible".to_owned()), "{possible:?}");
    let strict = statuses(&["--strict", "--region", "US"], "+525512345678\n253-2222\n+5255\nx\n");
    assert_eq!(strict, ["valid", "local_only", "parsed", "rejected"]);
    assert_eq!(
        normalize(&["--json"], "5215512345678\n"),
        "{\"e164\":\"5215512345678\",\"input\":\"5215512345678\",\"key\":\"525512345678\",\
         \"reason\":null,\"status\":\"folded\"}\n"
    );
}

/// The strict reading is libphonenumber's: rows on which its releases agree have its answer.
#[test]
fn normalize_agrees_with_the_sample() {
    let sample = std::fs::read_to_string(repository("data/phones/sample.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = sample
        .lines()
        .filter(|line| !line.starts_with('#'))
        .skip(1)
        .map(|line| line.split('\t').collect())
        .filter(|row: &Vec<&str>| row[8] == "1" && row[5] != "IS_POSSIBLE_LOCAL_ONLY")
        .collect();
    let lines: String = rows.iter().map(|row| format!("{}\t{}\n", row[0], row[1])).collect();
    let text = normalize(&["--json", "--strict", "--regions"], &lines);
    assert_eq!(text.lines().count(), rows.len());
    let mut other = Vec::new();
    for (row, line) in rows.iter().zip(text.lines()) {
        let value: Value = serde_json::from_str(line).unwrap();
        let is_valid = row[3] != "INVALID";
        if (value["status"] == "valid") != is_valid || (is_valid && value["e164"] != row[3]) {
            other.push(format!("{row:?}: {line}"));
        }
    }
    assert!(
        other.is_empty(),
        "{} of {}: {:#?}",
        other.len(),
        rows.len(),
        &other[..other.len().min(5)]
    );
}

#[test]
fn completions_and_the_manual_are_written() {
    let place = Place::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(place.bare().args(["completions", shell]), b"");
        assert!(ran.exits(0).contains("resubscribe"), "{shell}");
    }
    run(place.bare().args(["completions", "cmd"]), b"").exits(2);
    let man = run(place.bare().arg("man"), b"");
    assert!(man.exits(0).starts_with(".ie") || man.exits(0).contains(".TH optout 1"));
    for verb in [
        "INIT",
        "ADD",
        "RESUBSCRIBE",
        "IMPORT",
        "SCRUB",
        "CHECK",
        "WHY",
        "EXPORT",
        "STATS",
        "COMPACT",
        "VERIFY",
        "NORMALIZE",
        "COMPLETIONS",
        "MAN",
    ] {
        assert!(man.exits(0).contains(&format!(".SH \"OPTOUT-{verb}\"")), "{verb}");
    }
    assert!(run(place.bare().arg("--help"), b"").exits(0).contains("Exit codes:"));
    assert!(run(place.bare().arg("--version"), b"").exits(0).starts_with("optout "));
}

#[test]
fn statistics_give_the_rate_of_a_template_when_told_how_many_were_sent() {
    let place = Place::new();
    for (number, template) in [("+525512345601", "spring"), ("+525512345602", "summer")] {
        place.run(&["add", number, "--template", template, "--word", "BAJA"]).exits(0);
    }
    let stats = ["stats", "--by", "template", "--sent", "spring=200", "--sent", "autumn=50"];
    let json = place.run(&[&["--json"], &stats[..]].concat()).json();
    assert_eq!(json["groups"]["spring"]["rate"], 0.005);
    assert_eq!(json["groups"]["autumn"]["rate"], 0.0);
    assert_eq!(json["groups"]["summer"]["opt_outs"], 1);
    let table = place.run(&stats);
    assert!(table.exits(0).contains("0.50 %"), "{}", table.exits(0));
    let json = place.run(&["--json", "stats", "--by", "word"]).json();
    assert_eq!(json["groups"]["BAJA"]["opt_outs"], 2);
    place.run(&["stats", "--by", "word", "--sent", "BAJA"]).fails(2, &["GROUP=COUNT"]);
    place.run(&["stats", "--sent", "a=1"]).fails(2, &["--by"]);
}

#[test]
fn an_outside_list_counts_until_it_is_stale_and_consent_outranks_only_that() {
    let place = Place::new();
    let (listed, agreed, stopped) = ("+525512345601", "+525512345602", "+525512345603");
    place.run(&["add", stopped]).exits(0);
    place.write("dnc.txt", format!("{listed}\n{agreed}\n"));
    place.write("consent.txt", format!("{agreed}\n{stopped}\n"));
    let today = optout::time::Timestamp::now().to_string();
    let layer = |file: &str, name: &str, kind: &str, as_of: &str| {
        let args = ["import", file, "--layer", name, "--kind", kind, "--as-of", as_of];
        place.run(&[&args[..], &["--max-age", "31d"]].concat())
    };
    layer("dnc.txt", "dnc", "registry", &today).exits(0);
    layer("consent.txt", "consents", "consent", &today).exits(0);
    let verdicts = |args: &[&str]| -> Vec<String> {
        let ran = place.run(&[&["check", listed, agreed, stopped], args].concat());
        ran.exits(0).lines().map(|line| line.split('\t').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(verdicts(&[]), ["suppressed", "allowed", "suppressed"]);
    assert_eq!(verdicts(&["--category", "utility"]), ["allowed", "allowed", "exempt"]);
    let json = place.run(&["--json", "why", listed]).json();
    assert_eq!((&json["rule"], &json["layers"][0]), (&"registry".into(), &"dnc".into()));
    place.write("list.csv", format!("phone\n{listed}\n{agreed}\n{stopped}\n"));
    let scrub = ["--json", "scrub", "list.csv", "--suppressed", "out.csv", "--force"];
    let report = place.run(&scrub).json();
    assert_eq!((&report["kept"], &report["suppressed"]), (&1.into(), &2.into()));
    assert_eq!(report["options"]["layers"][0]["name"], "dnc");
    assert!(place.text("out.csv").contains(",registry,registry\n"), "{}", place.text("out.csv"));

    layer("dnc.txt", "old", "registry", "2020-01-01").exits(0);
    place.run(&["check", listed]).fails(5, &["the layer old is stale", "newer list"]);
    place.run(&scrub).fails(5, &["the layer old is stale"]);
    let ran = place.run(&["check", listed, "--stale", "warn"]);
    assert!(ran.exits(0).contains("suppressed"));
    ran.says(&["the layer old is stale"]);
    // A question sends nothing, and about the past less than nothing.
    let ran = place.run(&["why", listed]);
    assert!(ran.exits(0).contains("listed old"), "{}", ran.exits(0));
    ran.says(&["the layer old is stale"]);
    for at in [&[][..], &["--at", "2999-01-01"]] {
        let why = [&["--json", "why", listed, "--category", "utility"], at].concat();
        assert_eq!(place.run(&why).json()["verdict"], "allowed", "{at:?}");
    }
    // What no registry can stop does not hang on its age.
    assert_eq!(verdicts(&["--category", "authentication"]), ["allowed", "allowed", "exempt"]);
}
