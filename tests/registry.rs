//! Files of outside lists against an obvious reading of them: random numbers in random spellings,
//! in every format.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Random;
use optout::exchange::{
    ImportWatch, RegistryFormat, RegistryImport, RegistryOptions, RegistryRead, RegistryRows,
};
use optout::number::{Folding, NumberReader, Region};
use optout::scrub::Input;
use optout::store::RegistryKind;
use optout::time::Zone;

const FOLDING: Folding = Folding { tier2: false };

fn read(kind: RegistryKind, format: RegistryFormat, files: &[String]) -> RegistryRead {
    let region = Some(Region::parse("US").unwrap());
    let options = RegistryOptions { kind, format, column: None, region, zone: Zone::UTC };
    let mut import = RegistryImport::new(options, FOLDING);
    for (index, file) in files.iter().enumerate() {
        let input = Input::reader(format!("file {index}"), std::io::Cursor::new(file.clone()));
        import.read(input, None, &ImportWatch::default()).unwrap();
    }
    import.finish()
}

/// Ten digits of a number that there can be.
fn a_number(random: &mut Random) -> String {
    let area = 201 + random.below(30);
    format!("{area}555{:04}", random.below(300))
}

fn key(number: &str) -> u64 {
    let reader = NumberReader::new(None, FOLDING);
    reader.read(format!("+1{number}").as_bytes()).key.unwrap().get()
}

fn full_row(random: &mut Random, number: &str) -> String {
    let (area, rest) = number.split_at(3);
    match random.below(6) {
        0 => format!("\"{area}\",\"{rest}\""),
        1 => format!(" {area} ,{}-{}", &rest[..3], &rest[3..]),
        2 => number.to_owned(),
        _ => format!("{area},{rest}"),
    }
}

#[test]
fn every_format_gives_the_numbers_of_its_rows() {
    let mut random = Random::of_test("every_format_gives_the_numbers_of_its_rows");
    for _ in 0..60 {
        let count = 1 + random.index(400);
        let numbers: Vec<String> = (0..count).map(|_| a_number(&mut random)).collect();
        let expected: BTreeSet<u64> = numbers.iter().map(|number| key(number)).collect();
        let line_end = random.pick(&["\n", "\r\n", "\r"]);
        let mut invalid = 0;
        let mut blank = 0;
        let mut text = |row: &mut dyn FnMut(&mut Random, &str) -> String| {
            let mut text = String::new();
            (invalid, blank) = (0, 0);
            for number in &numbers {
                match random.below(40) {
                    0 => {
                        invalid += 1;
                        text += &row(&mut random, "nonenumber");
                        text += line_end;
                    }
                    1 => {
                        blank += 1;
                        text += line_end;
                    }
                    _ => {}
                }
                text += &row(&mut random, number);
                text += line_end;
            }
            (text, invalid, blank)
        };
        let lists = [
            (RegistryFormat::UsFull, text(&mut |random, it| full_row(random, it))),
            (
                RegistryFormat::Lines,
                text(&mut |random, it| format!("{}{it}", random.pick(&["", "+1", "1", "+1 "]))),
            ),
            (RegistryFormat::Csv, text(&mut |_, it| format!("NJ,{it},\"x, y\""))),
        ];
        for (format, (text, invalid, blank)) in lists {
            // Files are joined; a file that begins with a word would begin with a header.
            let text = format!("phone,state,note{line_end}{text}");
            let text = match format {
                RegistryFormat::Csv => text.replacen("phone,state,note", "state,phone,note", 1),
                RegistryFormat::Lines => text.replacen("phone,state,note", "phone", 1),
                _ => text,
            };
            let read = read(RegistryKind::Registry, format, &[text]);
            let RegistryRows::List(keys) = &read.rows else { panic!("no list") };
            let got: Vec<u64> = keys.iter().map(|key| key.get()).collect();
            assert_eq!(got, expected.iter().copied().collect::<Vec<_>>(), "{format:?}");
            let counts = &read.counts;
            assert_eq!((counts.invalid, counts.blank), (invalid, blank), "{format:?}");
            assert_eq!(counts.rows, count as u64 + invalid + blank, "{format:?}");
        }
    }
}

#[test]
fn changes_in_any_order_end_as_their_moments_say() {
    let mut random = Random::of_test("changes_in_any_order_end_as_their_moments_say");
    for round in 0..200 {
        let kind = match round % 2 {
            0 => RegistryKind::Registry,
            _ => RegistryKind::Consent,
        };
        let has_moments = random.below(3) > 0;
        let silences = |adds: bool| adds == (kind == RegistryKind::Registry);
        // For each number whether it is listed, and the best reason for that so far.
        let mut expected: BTreeMap<u64, ((u64, bool), bool)> = BTreeMap::new();
        let mut files = vec![String::new(); 1 + random.index(3)];
        let rows = 1 + random.index(60);
        let places: BTreeSet<usize> = (0..rows).collect();
        for row in places {
            let number = format!("201555{:04}", random.below(15));
            let adds = random.below(2) == 0;
            let day = 1 + random.below(9);
            let is_dated = has_moments && random.below(5) > 0;
            let when = match (has_moments, is_dated) {
                (_, true) => format!(",2026-03-{day:02}T00:00:00Z"),
                (true, false) => ",soon".to_owned(),
                (false, _) => String::new(),
            };
            let action = match adds {
                true => random.pick(&["A", "a", "ADD"]),
                false => random.pick(&["D", "d", "Delete"]),
            };
            let number_cell = full_row(&mut random, &number);
            let line = match random.below(2) {
                0 => format!("{number_cell}{when},{action}\n"),
                _ => format!("{action},{number_cell}{when}\n"),
            };
            let file = (row * files.len() / rows).min(files.len() - 1);
            files[file] += &line;
            let rank = match (has_moments, is_dated, silences(adds)) {
                (false, ..) => (row as u64, false),
                (_, true, silences) => (day, silences),
                (_, false, true) => (99, true),
                (_, false, false) => (0, false),
            };
            let entry = expected.entry(key(&number)).or_insert((rank, adds));
            if rank >= entry.0 {
                *entry = (rank, adds);
            }
        }
        // Undated rows of a file among which none is dated go by their order.
        if has_moments && !files.iter().any(|file| file.contains("2026")) {
            continue;
        }
        let files: Vec<String> = files.into_iter().filter(|file| !file.is_empty()).collect();
        let read = read(kind, RegistryFormat::UsChange, &files);
        assert_eq!((read.counts.rows, read.counts.invalid), (rows as u64, 0));
        let RegistryRows::Changes(changes) = &read.rows else { panic!("no changes") };
        let got: Vec<(u64, bool)> =
            changes.iter().map(|change| (change.key.get(), change.present)).collect();
        let expected: Vec<(u64, bool)> =
            expected.into_iter().map(|(key, (_, present))| (key, present)).collect();
        assert_eq!(got, expected, "round {round}");
    }
}

#[test]
fn no_bytes_make_the_readers_panic_and_every_row_is_counted() {
    let mut random = Random::of_test("no_bytes_make_the_readers_panic_and_every_row_is_counted");
    let pieces = [
        "201",
        "5551234",
        "2015551234",
        ",",
        "\n",
        "\r\n",
        "A",
        "D",
        " ",
        ";",
        "+",
        "é",
        "\u{feff}",
        "2026-03-01",
        "99/99/9999",
        "0",
        "-",
        "\t",
        "add",
        "/",
    ];
    for _ in 0..1_000 {
        let text: String = (0..random.index(40)).map(|_| random.pick(&pieces)).collect();
        for format in RegistryFormat::ALL {
            for kind in [RegistryKind::Registry, RegistryKind::Consent] {
                let region = Some(Region::parse("US").unwrap());
                let options =
                    RegistryOptions { kind, format, column: None, region, zone: Zone::UTC };
                let mut import = RegistryImport::new(options, FOLDING);
                let input = Input::reader("list", std::io::Cursor::new(text.clone()));
                if import.read(input, None, &ImportWatch::default()).is_err() {
                    continue;
                }
                let read = import.finish();
                let members = match &read.rows {
                    RegistryRows::List(keys) => keys.len(),
                    RegistryRows::Changes(changes) => changes.len() as u64,
                };
                let counts = &read.counts;
                assert!(counts.invalid + counts.blank <= counts.rows, "{text:?}");
                // Whatever is neither blank nor unreadable is a number.
                let readable = counts.rows - counts.invalid - counts.blank;
                assert!(readable == 0 || members > 0, "{text:?} {format:?}");
            }
        }
    }
}
