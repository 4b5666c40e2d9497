//! The parallel filter against one that goes row by row in one thread, and against every way in
//! which inputs, outputs and sets fail.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use optout::event::Source;
use optout::number::{Folding, NumberReader, Region, SubscriberKey};
use optout::policy::Ruling;
use optout::scrub::output::{OutputFile, check_paths, publish};
use optout::scrub::{
    Input, Mode, Origin, OutputError, Progress, Report, ScrubError, Scrubber, Sinks, SuppressionSet,
};
use optout::table::{Encoding, HeaderRule, ReadOptions, TableError};
use optout::time::Timestamp;

use common::Random;

type Set = BTreeMap<SubscriberKey, Origin>;

fn origin() -> Origin {
    Origin {
        since: Timestamp::from_millis(1_700_000_000_000),
        source: Source::Keyword,
        rule: "opt-out".to_owned(),
    }
}

fn set(numbers: impl IntoIterator<Item = u64>) -> Set {
    numbers.into_iter().map(|number| (SubscriberKey::from_u64(number), origin())).collect()
}

#[derive(Debug, Default, PartialEq)]
struct Outputs {
    kept: Vec<u8>,
    suppressed: Vec<u8>,
    invalid: Vec<u8>,
}

fn scrub<S: SuppressionSet>(
    scrubber: &Scrubber<'_, S>,
    text: &[u8],
) -> Result<(Report, Outputs), ScrubError> {
    let mut outputs = Outputs::default();
    let sinks = Sinks::new()
        .kept("kept", &mut outputs.kept)
        .suppressed("suppressed", &mut outputs.suppressed)
        .invalid("invalid", &mut outputs.invalid);
    let report = scrubber.run(Input::reader("list", io::Cursor::new(text.to_vec())), sinks)?;
    let sum = report.kept + report.suppressed + report.invalid + report.duplicates;
    assert_eq!(sum, report.rows);
    assert_eq!(report.invalid_reasons.values().sum::<u64>(), report.invalid);
    Ok((report, outputs))
}

fn small_blocks(block_bytes: usize) -> ReadOptions {
    ReadOptions { block_bytes, ..ReadOptions::default() }
}

/// A row of the obvious reader: the text without its line end, the line end, the cells.
struct Row {
    line: usize,
    body: String,
    end: String,
    cells: Vec<String>,
}

/// One character after another. The text has to be whole.
fn rows_of(text: &str, delimiter: char) -> Vec<Row> {
    let (mut rows, mut quoted, mut line, mut started) = (vec![], false, 1, 1);
    let (mut body, mut cell, mut raw, mut cells) =
        (String::new(), String::new(), String::new(), vec![]);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        if character == '\n' || (character == '\r' && next != Some('\n')) {
            line += 1;
        }
        if quoted {
            body.push(character);
            if character == '"' && next == Some('"') {
                body.push(characters.next().unwrap());
                cell.push('"');
            } else if character == '"' {
                quoted = false;
            } else {
                cell.push(character);
            }
        } else if character == '"' && raw.is_empty() {
            body.push(character);
            quoted = true;
        } else if character == '\n' || character == '\r' {
            let mut end = character.to_string();
            if character == '\r' && next == Some('\n') {
                end.push(characters.next().unwrap());
                line += 1;
            }
            cells.push(std::mem::take(&mut cell));
            rows.push(Row {
                line: started,
                body: std::mem::take(&mut body),
                end,
                cells: std::mem::take(&mut cells),
            });
            started = line;
            raw.clear();
            continue;
        } else if character == delimiter {
            body.push(character);
            cells.push(std::mem::take(&mut cell));
            raw.clear();
            continue;
        } else {
            body.push(character);
            cell.push(character);
        }
        raw.push(character);
    }
    if !body.is_empty() {
        cells.push(cell);
        rows.push(Row { line: started, body, end: String::new(), cells });
    }
    rows
}

/// What a scrub has to write, and how many rows are duplicates. Header in the first row.
fn obvious_scrub(
    text: &str,
    delimiter: char,
    column: usize,
    set: &Set,
    dedupe: bool,
) -> ([String; 3], u64) {
    let reader = NumberReader::new(None, Folding::default());
    let (mut kept, mut suppressed, mut invalid) = (String::new(), String::new(), String::new());
    let (mut seen, mut duplicates, mut width) = (BTreeSet::new(), 0, 0);
    for (index, row) in rows_of(text, delimiter).into_iter().enumerate() {
        let appended = |cells: &[&str]| {
            let filled =
                delimiter.to_string().repeat(width_of(width, &row).saturating_sub(row.cells.len()));
            let d = delimiter.to_string();
            format!("{}{filled}{d}{}{}", row.body, cells.join(&d), row.end)
        };
        if index == 0 {
            kept += &(row.body.clone() + &row.end);
            suppressed +=
                &appended(&["optout_number", "optout_since", "optout_source", "optout_rule"]);
            invalid += &appended(&["optout_line", "optout_reason"]);
            width = row.cells.len();
            continue;
        }
        let line = row.line.to_string();
        let recipient = match row.cells.get(column) {
            _ if row.body.is_empty() => Err("empty"),
            None => Err("missing_column"),
            Some(cell) => reader.recipient(cell.as_bytes()).map_err(|reason| reason.as_str()),
        };
        match recipient {
            Err(reason) => invalid += &appended(&[&line, reason]),
            Ok(recipient) if set.contains_key(&recipient.key) => {
                let number = recipient.number.get().to_string();
                suppressed += &appended(&[&number, "2023-11-14T22:13:20Z", "keyword", "opt-out"]);
            }
            Ok(recipient) if !recipient.sendable => invalid += &appended(&[&line, "not_sendable"]),
            Ok(recipient) if dedupe && !seen.insert(recipient.number.get()) => duplicates += 1,
            Ok(_) => kept += &(row.body + &row.end),
        }
    }
    ([kept, suppressed, invalid], duplicates)
}

fn width_of(width: usize, row: &Row) -> usize {
    if width == 0 { row.cells.len() } else { width }
}

fn random_list(random: &mut Random, delimiter: char) -> String {
    const NUMBERS: [&str; 14] = [
        "525512345678",
        "+525512345678",
        "5215512345678",
        "525587654321",
        "525500000001",
        "525500000002",
        "525500000003",
        "",
        "oops",
        "123456789",
        "987654321",
        "12",
        "\"525512345678\"",
        "\"5255\"\"1\"",
    ];
    const OTHERS: [&str; 12] = [
        "Ana",
        "",
        "\"a\nb\"",
        "\"a\r\nb\"",
        "\"x\"\"y\"",
        "5\" pipe",
        "ñandú 😀",
        "\"\"",
        "\0",
        "\"q\"tail",
        "a b",
        "\"\r\"",
    ];
    let quoted_delimiter = format!("\"a{delimiter}b{delimiter}\"");
    let mut text = format!("name{delimiter}phone{delimiter}x\r\n");
    for _ in 0..random.index(30) {
        let mut cells: Vec<&str> = (0..3).map(|_| random.pick(&OTHERS)).collect();
        cells[1] = random.pick(&NUMBERS);
        if random.index(5) == 0 {
            cells[0] = &quoted_delimiter;
        }
        match random.index(20) {
            0 => cells.truncate(1),
            1 => cells.push("extra"),
            2 => cells = vec![""],
            3 => cells.truncate(2),
            _ => {}
        }
        text += &cells.join(&delimiter.to_string());
        text += random.pick(&["\n", "\r\n", "\n", "\r"]);
    }
    if random.index(3) == 0 {
        text += random.pick(&["Ana", "\"Ana\"", "x\"", ""]);
        text.push(delimiter);
        text += random.pick(&NUMBERS);
    }
    text
}

#[test]
fn any_list_in_any_blocks_is_scrubbed_like_row_by_row() {
    let mut random = Random::of_test("any_list");
    let set = set([525512345678, 987654321, 525500000002]);
    for _ in 0..1500 {
        let delimiter = [',', ';', '\t', '|', '^'][random.index(5)];
        let text = random_list(&mut random, delimiter);
        let dedupe = random.index(2) == 0;
        let ([kept, suppressed, invalid], duplicates) =
            obvious_scrub(&text, delimiter, 1, &set, dedupe);
        let options = ReadOptions {
            delimiter: Some(delimiter as u8),
            ..small_blocks([1, 16, 33, 100, 1 << 20][random.index(5)])
        };
        let scrubber =
            Scrubber::new(&set).dedupe(dedupe).read_options(options).threads(1 + random.index(4));

        let encodings =
            [None, Some(Encoding::Bytes), Some(Encoding::Utf16Le), Some(Encoding::Utf16Be)];
        let encode = |text: &str, encoding: Option<Encoding>| match encoding {
            None => text.as_bytes().to_vec(),
            Some(encoding) => {
                let mut out = Vec::new();
                encoding.encode(format!("\u{feff}{text}").as_bytes(), &mut out);
                out
            }
        };
        let encoding = encodings[random.index(4)];
        let (report, outputs) = scrub(&scrubber, &encode(&text, encoding)).unwrap();
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(shown(&outputs.kept), shown(&encode(&kept, encoding)), "{text:?}");
        assert_eq!(shown(&outputs.suppressed), shown(&encode(&suppressed, encoding)), "{text:?}");
        assert_eq!(shown(&outputs.invalid), shown(&encode(&invalid, encoding)), "{text:?}");
        assert_eq!(report.duplicates, duplicates);
        assert_eq!(report.written, report.kept);
    }
}

#[test]
fn nobody_in_the_set_is_ever_kept_and_no_row_vanishes() {
    let set =
        set((0..10_000).filter(|number| number % 3 == 0).map(|number| 525_500_000_000 + number));
    let rows: Vec<String> = (0..50_000)
        .map(|row| format!("+{},row {row}", 525_500_000_000_u64 + row * 7 % 10_000))
        .collect();
    let text = format!("phone,name\n{}\n", rows.join("\n"));
    let (report, outputs) =
        scrub(&Scrubber::new(&set).read_options(small_blocks(4096)), text.as_bytes()).unwrap();
    let kept = String::from_utf8(outputs.kept).unwrap();
    let expected: Vec<&str> = rows
        .iter()
        .map(|row| &row[..])
        .filter(|row| row[1..13].parse::<u64>().unwrap() % 100_000 % 3 != 0)
        .collect();
    assert_eq!(kept.lines().skip(1).collect::<Vec<_>>(), expected);
    assert_eq!((report.rows, report.invalid), (50_000, 0));
    let suppressed = String::from_utf8(outputs.suppressed).unwrap();
    let mut all: Vec<&str> = kept.lines().skip(1).collect();
    all.extend(suppressed.lines().skip(1).map(|line| line.rsplitn(5, ',').last().unwrap()));
    all.sort_unstable();
    let mut input: Vec<&str> = rows.iter().map(|row| &row[..]).collect();
    input.sort_unstable();
    assert_eq!(all, input);
}

#[test]
fn bytes_that_are_no_text_pass_untouched_and_unreadable_rows_do_not() {
    let text = b"phone,n\n525500000001,\xFF\xFE\0\n52550\xFF0000002,a\n525512345678,\xC3\n\n";
    let (report, outputs) = scrub(&Scrubber::new(&set([525512345678])), text).unwrap();
    assert_eq!(outputs.kept, b"phone,n\n525500000001,\xFF\xFE\0\n");
    assert_eq!(outputs.suppressed, b"phone,n,optout_number,optout_since,optout_source,optout_rule\n525512345678,\xC3,525512345678,2023-11-14T22:13:20Z,keyword,opt-out\n");
    assert_eq!(
        outputs.invalid,
        b"phone,n,optout_line,optout_reason\n52550\xFF0000002,a,3,not_text\n,,5,empty\n"
    );
    assert_eq!(report.invalid_reasons["empty"], 1);
}

#[test]
fn lists_without_header_and_empty_lists_keep_their_shape() {
    let set = set([525512345678]);
    let kept = |text: &[u8]| {
        let (report, outputs) = scrub(&Scrubber::new(&set), text).unwrap();
        (outputs.kept, report.rows)
    };
    assert_eq!(kept(b"525512345678\n525500000001"), (b"525500000001".to_vec(), 2));
    assert_eq!(kept(b"525500000001\r\n\r\n"), (b"525500000001\r\n".to_vec(), 2));
    assert_eq!(kept(b"525500000001\r525512345678\r"), (b"525500000001\r".to_vec(), 2));
    assert_eq!(kept(b""), (b"".to_vec(), 0));
    assert_eq!(kept(b"\xEF\xBB\xBF"), (b"\xEF\xBB\xBF".to_vec(), 0));
    assert_eq!(kept(b"phone,x"), (b"phone,x".to_vec(), 0));
    let sep = b"\xEF\xBB\xBFsep=;\r\nphone;a\r\n525512345678;1\r\n525500000001;2\r\n";
    assert_eq!(kept(sep), (b"\xEF\xBB\xBFsep=;\r\nphone;a\r\n525500000001;2\r\n".to_vec(), 2));
}

#[test]
fn regions_come_from_their_column() {
    let set = set([525512345678]);
    let text = "phone,country\n5512345678,MX\n5512345678,mx\n5512345678,\n5512345679, MX \n525512345679,??\n5512345678\n";
    let scrubber = Scrubber::new(&set).region_column("Country");
    let (report, outputs) = scrub(&scrubber, text.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(outputs.kept).unwrap(),
        "phone,country\n5512345678,\n5512345679, MX \n"
    );
    assert_eq!((report.suppressed, report.invalid), (2, 2));
    assert_eq!(report.invalid_reasons["unknown_region"], 1);
    assert_eq!(report.invalid_reasons["missing_column"], 1);
    let mexico = Scrubber::new(&set).region_column("country").region(Region::parse("MX").unwrap());
    let (report, _) = scrub(&mexico, text.as_bytes()).unwrap();
    assert_eq!((report.kept, report.suppressed), (1, 3));
}

#[test]
fn a_recipient_that_cannot_be_sent_to_but_opted_out_is_suppressed() {
    let (report, _) =
        scrub(&Scrubber::new(&set([987654321])), b"phone\n987654321\n123456789\n").unwrap();
    assert_eq!((report.suppressed, report.invalid, report.kept), (1, 1, 0));
}

#[test]
fn report_and_off_write_every_row() {
    let set = set([525512345678]);
    let text = b"phone\n525512345678\noops\n525500000001\n525500000001\n";
    let (report, outputs) =
        scrub(&Scrubber::new(&set).mode(Mode::Report).dedupe(true), text).unwrap();
    assert_eq!(outputs.kept, text);
    assert_eq!(
        (report.kept, report.suppressed, report.invalid, report.duplicates, report.written),
        (1, 1, 1, 1, 4)
    );
    assert!(outputs.suppressed.len() > 60);
    let (report, outputs) = scrub(&Scrubber::new(&Broken::Failing).mode(Mode::Off), text).unwrap();
    assert_eq!(outputs.kept, text);
    assert_eq!((report.kept, report.rows, report.written), (4, 4, 4));
    let json = serde_json::to_value(&report).unwrap();
    for name in [
        "rows",
        "kept",
        "suppressed",
        "invalid",
        "duplicates",
        "exempt",
        "generation",
        "sequence",
        "elapsed_ms",
    ] {
        assert!(json[name].is_u64(), "{name}");
    }
    assert_eq!(json["options"]["mode"], "off");
}

#[test]
fn duplicates_are_by_number_not_by_key() {
    // Both have one key; an over-merging fold must not cost anyone a message.
    let text = b"phone\n525500000001\n5215500000001\n+525500000001\n";
    let (report, outputs) =
        scrub(&Scrubber::new(&set([])).dedupe(true).read_options(small_blocks(8)), text).unwrap();
    assert_eq!(outputs.kept, b"phone\n525500000001\n5215500000001\n");
    assert_eq!(report.duplicates, 1);
}

/// Sets that don't do their work.
enum Broken {
    Failing,
    Silent,
    Panicking,
    NoOrigin,
}

impl SuppressionSet for Broken {
    type Error = io::Error;

    fn judge_batch(&self, _: &[SubscriberKey], rulings: &mut [Ruling]) -> io::Result<()> {
        match self {
            Broken::Failing => Err(io::Error::other("damaged")),
            Broken::Silent => Ok(()),
            Broken::Panicking => panic!("a defect"),
            Broken::NoOrigin => {
                rulings.fill(Ruling::UNANSWERED);
                Ok(())
            }
        }
    }

    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Self::Error> {
        Ok(vec![None; ids.len()])
    }

    fn origin(&self, _: SubscriberKey, _: Ruling) -> io::Result<Option<Origin>> {
        if matches!(self, Broken::NoOrigin) { Err(io::Error::other("damaged")) } else { Ok(None) }
    }
}

#[test]
fn a_set_that_cannot_answer_fails_the_run_and_a_forgetful_one_suppresses() {
    let text = format!("phone\n{}", "525500000001\n".repeat(2000));
    let run = |broken: &Broken| {
        scrub(&Scrubber::new(broken).read_options(small_blocks(512)), text.as_bytes())
    };
    assert!(matches!(run(&Broken::Failing), Err(ScrubError::Lookup { .. })));
    assert!(matches!(run(&Broken::NoOrigin), Err(ScrubError::Lookup { .. })));
    assert!(matches!(run(&Broken::Panicking), Err(ScrubError::Panicked)));
    let (report, outputs) = run(&Broken::Silent).unwrap();
    assert_eq!((report.kept, report.suppressed), (0, 2000));
    assert!(outputs.suppressed.ends_with(b"525500000001,525500000001,,,\n"));
}

#[test]
fn a_file_that_is_cut_short_fails() {
    let set = set([]);
    let error = scrub(&Scrubber::new(&set), b"phone,n\n525500000001,\"cut").unwrap_err();
    assert!(matches!(
        error,
        ScrubError::Table { source: TableError::UnclosedQuote { line: 2 }, .. }
    ));
    struct Torn(usize);
    impl Read for Torn {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => io::Cursor::new(b"phone\n525500000001\n").read(buffer),
                2 => Err(io::ErrorKind::Interrupted.into()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
    let error = Scrubber::new(&set).run(Input::reader("torn", Torn(0)), Sinks::new()).unwrap_err();
    assert!(matches!(error, ScrubError::Table { source: TableError::Read { .. }, .. }));
    let error = Input::open("/nowhere/list.csv").unwrap_err();
    assert!(matches!(error, ScrubError::Open { .. }));
    assert!(Input::open(std::env::temp_dir()).is_err());
}

#[test]
fn a_file_that_changes_while_it_is_read_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.csv");
    let text = format!("phone\n{}", "525500000001\n".repeat(100_000));
    type Change = fn(&Path);
    let changes: [(Change, bool); 4] = [
        (|_| (), true),
        (
            |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(900_000).unwrap(),
            false,
        ),
        (
            |path| {
                fs::OpenOptions::new()
                    .append(true)
                    .open(path)
                    .unwrap()
                    .write_all(b"525500000001\n")
                    .unwrap()
            },
            false,
        ),
        (
            |path| {
                fs::OpenOptions::new().write(true).open(path).unwrap().write_all(b"PHONE").unwrap()
            },
            false,
        ),
    ];
    for (change, fine) in changes {
        fs::write(&path, &text).unwrap();
        // The clock of the file system ticks in steps; the change must not fall into the first.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let changed = AtomicBool::new(false);
        let progress = |_: Progress| {
            if !changed.swap(true, Ordering::Relaxed) {
                change(&path);
            }
        };
        let set = set([]);
        let scrubber = Scrubber::new(&set).read_options(small_blocks(4096)).progress(&progress);
        match scrubber.run(Input::open(&path).unwrap(), Sinks::new()) {
            Ok(report) => assert!(fine && report.rows == 100_000),
            Err(error) => {
                assert!(!fine && matches!(error, ScrubError::InputChanged { .. }), "{error}")
            }
        }
    }
}

#[test]
fn a_cancelled_run_ends_soon_and_is_an_error() {
    let text = format!("phone\n{}", "525500000001\n".repeat(100_000));
    let (cancel, rows) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let progress = |progress: Progress| {
        rows.store(progress.rows, Ordering::Relaxed);
        cancel.store(true, Ordering::Relaxed);
    };
    let set = set([]);
    let scrubber =
        Scrubber::new(&set).read_options(small_blocks(4096)).cancel(&cancel).progress(&progress);
    assert!(matches!(scrub(&scrubber, text.as_bytes()), Err(ScrubError::Cancelled)));
    assert!(rows.load(Ordering::Relaxed) < 100_000);
}

/// A disk that is full after so many bytes.
struct Full<W> {
    inner: W,
    left: usize,
}

impl<W: Write> Write for Full<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = self.inner.write(&bytes[..bytes.len().min(self.left)])?;
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn a_full_disk_after_any_byte_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let set = set([525512345678]);
    let text = format!("phone\noops\n525512345678\n{}", "525500000001\n".repeat(20));
    let (_, whole) = scrub(&Scrubber::new(&set), text.as_bytes()).unwrap();
    let lens = [whole.kept.len(), whole.suppressed.len(), whole.invalid.len()];
    for which in 0..3 {
        for room in 0..=lens[which] {
            let paths = ["kept", "suppressed", "invalid"].map(|name| folder.path().join(name));
            let mut files = paths.each_ref().map(|path| OutputFile::create(path, false).unwrap());
            let room_of = |file: usize| if file == which { room } else { usize::MAX };
            let [kept, suppressed, invalid] = &mut files;
            let mut kept = Full { inner: kept, left: room_of(0) };
            let mut suppressed = Full { inner: suppressed, left: room_of(1) };
            let mut invalid = Full { inner: invalid, left: room_of(2) };
            let sinks = Sinks::new()
                .kept("kept", &mut kept)
                .suppressed("suppressed", &mut suppressed)
                .invalid("invalid", &mut invalid);
            let scrubber = Scrubber::new(&set).read_options(small_blocks(16));
            let result = scrubber.run(Input::reader("list", io::Cursor::new(text.clone())), sinks);
            if room < lens[which] {
                let error = result.unwrap_err();
                let expected = ["kept", "suppressed", "invalid"][which];
                assert!(
                    matches!(&error, ScrubError::Write { file, .. } if file == expected),
                    "{error}"
                );
                assert!(error.to_string().contains("disk is full"));
                drop(files);
            } else {
                result.unwrap();
                publish(files.into()).unwrap();
                assert_eq!(fs::read(&paths[0]).unwrap(), whole.kept);
                paths.iter().for_each(|path| fs::remove_file(path).unwrap());
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "room for {room} bytes");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn devices_are_written_as_they_stand() {
    let mut null = OutputFile::create("/dev/null", false).unwrap();
    null.write_all(b"rows").unwrap();
    publish(vec![null]).unwrap();
    let mut full = OutputFile::create("/dev/full", false).unwrap();
    let error = Scrubber::new(&set([]))
        .run(
            Input::reader("list", &b"phone\n525500000001\n"[..]),
            Sinks::new().kept("/dev/full", &mut full),
        )
        .unwrap_err();
    assert!(matches!(error, ScrubError::Write { .. }));
}

#[test]
fn outputs_appear_together_and_only_when_published() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let mut first = OutputFile::create(&one, false).unwrap();
    first.write_all(b"1").unwrap();
    let second = OutputFile::create(&two, false).unwrap();
    assert!(!one.exists() && names().len() == 2);
    publish(vec![first, second]).unwrap();
    assert_eq!(names(), ["one", "two"]);

    assert!(matches!(OutputFile::create(&one, false), Err(OutputError::Exists { .. })));
    assert!(matches!(OutputFile::create(folder.path(), true), Err(OutputError::NotAFile { .. })));
    assert!(matches!(
        OutputFile::create(folder.path().join("no/where"), true),
        Err(OutputError::Io { .. })
    ));
    let mut again = OutputFile::create(&one, true).unwrap();
    again.write_all(b"2").unwrap();
    assert_eq!(fs::read(&one).unwrap(), b"1");
    publish(vec![again]).unwrap();
    assert_eq!(fs::read(&one).unwrap(), b"2");

    // A file that somebody makes meanwhile is theirs, and takes the whole run down with it.
    let (three, four) = (folder.path().join("three"), folder.path().join("four"));
    let files = [&three, &four].map(|path| OutputFile::create(path, false).unwrap());
    fs::write(&four, "theirs").unwrap();
    assert!(matches!(publish(files.into()), Err(OutputError::Exists { .. })));
    assert_eq!(fs::read(&four).unwrap(), b"theirs");
    assert_eq!(names(), ["four", "one", "two"]);
}

#[cfg(unix)]
#[test]
fn outputs_are_private_and_never_the_input() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("list"), "phone\n").unwrap();
    fs::hard_link(at("list"), at("hard")).unwrap();
    symlink("list", at("soft")).unwrap();
    symlink(".", at("folder")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    let is_input = |name: &str| {
        matches!(check_paths(&[&at("list")], &[&at(name)]), Err(OutputError::IsInput { .. }))
    };
    assert!(
        is_input("list")
            && is_input("hard")
            && is_input("soft")
            && is_input("folder/list")
            && is_input("./list")
    );
    assert!(!is_input("other"));
    let twice = |one: &str, two: &str| {
        matches!(check_paths(&[], &[&at(one), &at(two)]), Err(OutputError::Twice { .. }))
    };
    assert!(
        twice("new", "new")
            && twice("new", "folder/new")
            && twice("list", "soft")
            && !twice("new", "newer")
    );
    assert!(check_paths(&[], &[Path::new("/dev/null"), Path::new("/dev/null")]).is_ok());
    assert!(matches!(OutputFile::create(at("dangling"), false), Err(OutputError::Exists { .. })));

    let file = OutputFile::create(at("new"), false).unwrap();
    publish(vec![file]).unwrap();
    assert_eq!(fs::metadata(at("new")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn ambiguous_and_missing_columns_fail_before_a_byte_is_written() {
    let set = set([]);
    let mut kept = Vec::new();
    let run = |text: &'static [u8], kept: &mut Vec<u8>| {
        Scrubber::new(&set).run(Input::reader("list", text), Sinks::new().kept("kept", kept))
    };
    assert!(matches!(run(b"phone,mobile\n1,2\n", &mut kept), Err(ScrubError::Table { .. })));
    assert!(matches!(run(b"a,b\nx,y\n", &mut kept), Err(ScrubError::Table { .. })));
    assert!(kept.is_empty());
    let forced = ReadOptions { header: HeaderRule::Present, ..ReadOptions::default() };
    let (report, _) =
        scrub(&Scrubber::new(&set).read_options(forced).column("2"), b"a,b\nx,525500000001\n")
            .unwrap();
    assert_eq!(report.kept, 1);
}

#[test]
fn giant_records_run_through_bounded_memory_and_keep_their_bytes() {
    // Records of 1 MiB in blocks of 4 KiB: every buffer grows, none is kept.
    let filler = "x\n".repeat(1 << 19);
    let rows: Vec<String> =
        (0..40).map(|row| format!("5255000000{row:02},\"{filler}\"\n")).collect();
    let text = format!("phone,note\n{}", rows.concat());
    let set = set([525500000007]);
    let scrubber = Scrubber::new(&set).read_options(small_blocks(4096)).threads(3);
    let (report, outputs) = scrub(&scrubber, text.as_bytes()).unwrap();
    assert_eq!((report.rows, report.suppressed), (40, 1));
    assert!(outputs.kept == text.replace(&rows[7], "").as_bytes());
}

#[test]
fn a_slow_pipe_is_scrubbed_as_it_comes() {
    struct Slow(io::Cursor<Vec<u8>>);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(7);
            self.0.read(&mut buffer[..len])
        }
    }
    let text = format!("phone\r\n{}", "525500000001\r\n525512345678\r\n".repeat(2000));
    let set = set([525512345678]);
    let scrubber = Scrubber::new(&set).read_options(small_blocks(100));
    let mut kept = Vec::new();
    let input = Input::reader("pipe", Slow(io::Cursor::new(text.into_bytes())));
    let report = scrubber.run(input, Sinks::new().kept("kept", &mut kept)).unwrap();
    assert_eq!((report.kept, report.suppressed), (2000, 2000));
    assert_eq!(kept.len(), 7 + 2000 * 14);
}
