//! Does `docs/format.md` say the numbers that the code has, and `docs/security.md` the tests?

use std::collections::BTreeMap;
use std::fs;
use std::mem::{offset_of, size_of};
use std::path::Path;

use optout::event::{Action, Category, Ground, Source, Tier};
use optout::journal::format::{
    INDEX_MAGIC, IndexEntry, IndexHeader, KIND_EVENTS, KIND_SEAL, MessageEntry,
    RECORD_HEADER_BYTES, RECORD_MAGIC, RECORD_PAYLOAD_BYTES_MAX, RECORD_ROWS_MAX, RecordHeader,
    SECTOR_BYTES, SEGMENT_BYTES_MAX, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SegmentHeader, VERSION,
};
use optout::number::Folding;
use optout::store::{Bulk, TEXT_BYTES_MAX};

/// The rows of the tables below a heading, up to the next heading: cells without blanks and
/// backticks, the row of names first.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/format.md");
    let text = std::fs::read_to_string(path).unwrap();
    let section = text.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let rows: Vec<Vec<String>> = section
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"))
        .map(|line| line.trim_matches('|').split('|').map(cell).collect())
        .collect();
    assert!(rows.len() > 1, "no table under the heading {heading:?}");
    rows
}

fn cell(text: &str) -> String {
    text.trim().trim_matches('`').to_owned()
}

fn magic(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\n', "\\n")
}

#[test]
fn the_constants_are_those_of_the_code() {
    let expected: BTreeMap<&str, String> = BTreeMap::from([
        ("VERSION", VERSION.to_string()),
        ("SEGMENT_MAGIC", magic(&SEGMENT_MAGIC)),
        ("INDEX_MAGIC", magic(&INDEX_MAGIC)),
        ("RECORD_MAGIC", magic(&RECORD_MAGIC)),
        ("SEGMENT_HEADER_BYTES", SEGMENT_HEADER_BYTES.to_string()),
        ("RECORD_HEADER_BYTES", RECORD_HEADER_BYTES.to_string()),
        ("INDEX_HEADER_BYTES", size_of::<IndexHeader>().to_string()),
        ("INDEX_ENTRY_BYTES", size_of::<IndexEntry>().to_string()),
        ("MESSAGE_ENTRY_BYTES", size_of::<MessageEntry>().to_string()),
        ("KIND_EVENTS", KIND_EVENTS.to_string()),
        ("KIND_SEAL", KIND_SEAL.to_string()),
        ("RECORD_ROWS_MAX", RECORD_ROWS_MAX.to_string()),
        ("RECORD_PAYLOAD_BYTES_MAX", RECORD_PAYLOAD_BYTES_MAX.to_string()),
        ("SEGMENT_BYTES_MAX", SEGMENT_BYTES_MAX.to_string()),
        ("SECTOR_BYTES", SECTOR_BYTES.to_string()),
        ("number::Folding::VERSION", Folding::VERSION.to_string()),
        ("store::TEXT_BYTES_MAX", TEXT_BYTES_MAX.to_string()),
        ("store::Bulk::ROWS_MAX", Bulk::ROWS_MAX.to_string()),
        ("store::Bulk::PLAIN_ROWS_MAX", Bulk::PLAIN_ROWS_MAX.to_string()),
    ]);
    let rows = rows("Constants");
    let told: BTreeMap<&str, String> = rows[1..]
        .iter()
        .filter(|row| row[0] != "...")
        .map(|row| (&*row[0], row[1].replace(',', "")))
        .collect();
    assert_eq!(told, expected);
}

/// Compares a table of `offset | size | field` with a struct, named fields and all.
macro_rules! assert_layout {
    ($heading:literal, $layout:ty { $($field:ident),+ $(,)? }) => {{
        let fields = [$((offset_of!($layout, $field), stringify!($field))),+];
        let ends = fields[1..].iter().map(|&(offset, _)| offset).chain([size_of::<$layout>()]);
        let expected: Vec<Vec<String>> = fields
            .iter()
            .zip(ends)
            .map(|(&(offset, name), end)| {
                vec![offset.to_string(), (end - offset).to_string(), name.to_owned()]
            })
            .collect();
        assert_eq!(rows($heading)[1..], expected, "{}", $heading);
    }};
}

#[test]
fn every_field_stands_where_the_code_has_it() {
    assert_layout!(
        "Segment header",
        SegmentHeader {
            magic,
            version,
            flags,
            fold_version,
            store,
            segment,
            generation,
            first_sequence,
            created_at,
            checksum,
        }
    );
    assert_layout!(
        "Record header",
        RecordHeader {
            magic,
            kind,
            action,
            source,
            tier,
            segment,
            generation,
            first_sequence,
            durable_to,
            rows,
            payload_bytes,
            received_at,
            occurred_min,
            occurred_max,
            payload_checksum,
            header_checksum,
        }
    );
    assert_layout!(
        "Index header",
        IndexHeader { magic, version, reserved, store, segment, entries, messages, checksum }
    );
    assert_layout!(
        "Index entry",
        IndexEntry {
            first_sequence,
            offset,
            received_at,
            occurred_min,
            occurred_max,
            rows,
            action,
            source,
            reserved,
        }
    );
    assert_layout!("Message entry", MessageEntry { hash, sequence });
}

#[test]
fn every_code_has_its_word() {
    let row =
        |what: &str, code: u8, word: &str| vec![what.to_owned(), code.to_string(), word.to_owned()];
    let actions = Action::ALL.iter().map(|it| row("action", it.code(), it.as_str()));
    let sources = Source::ALL.iter().map(|it| row("source", it.code(), it.as_str()));
    let tiers = Tier::ALL.iter().map(|it| row("tier", it.code(), it.as_str()));
    let grounds = Ground::ALL.iter().map(|it| row("ground", it.code(), it.as_str()));
    let categories = Category::ALL.iter().map(|it| row("category", it.code(), it.as_str()));
    let expected: Vec<Vec<String>> =
        actions.chain(sources).chain(tiers).chain(grounds).chain(categories).collect();
    assert_eq!(rows("Codes")[1..], expected);
}

/// The code of all files below a folder.
fn code(folder: &Path) -> String {
    let mut code = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code.push_str(&self::code(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            code.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    code
}

#[test]
fn the_tests_that_security_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = code(&root.join("src")) + &code(&root.join("tests"));
    let security = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let is_name = |it: &str| {
        it.matches('_').count() >= 2 && it.bytes().all(|c| c == b'_' || c.is_ascii_alphanumeric())
    };
    let names: Vec<&str> = security.split('`').filter(|it| is_name(it)).collect();
    assert!(names.len() > 40);
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
