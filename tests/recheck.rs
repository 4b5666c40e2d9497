//! A recheck against two whole scrubs, and against every way in which receipt, index and list can
//! be other ones.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Cursor;

use optout::event::Source as EventSource;
use optout::number::{BusinessId, Folding, NumberReader, Region, SubscriberKey};
use optout::policy::Ruling;
use optout::scrub::{
    Basis, Changed, Input, ListKind, Mode, Origin, Receipt, ReceiptError, Recheck, RecheckError,
    RecheckReport, ScrubError, Scrubber, Sink, Sinks, Source, SuppressionSet,
};
use optout::table::{Encoding, ReadOptions};
use optout::time::Timestamp;

use common::Random;

/// Who is opted out, and which ids it has heard of.
#[derive(Clone, Debug, Default)]
struct Set {
    opted_out: BTreeSet<SubscriberKey>,
    ids: BTreeMap<&'static str, SubscriberKey>,
}

const IDS: [&str; 3] = ["US.13491208655302741918", "MX.ENT.abc", "BR.Z9"];

impl SuppressionSet for Set {
    type Error = Infallible;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Infallible> {
        self.opted_out.judge_batch(keys, rulings)
    }

    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Infallible> {
        Ok(ids.iter().map(|&id| self.ids.get(id).copied()).collect())
    }

    fn origin(&self, _: SubscriberKey, _: Ruling) -> Result<Option<Origin>, Infallible> {
        Ok(Some(Origin {
            since: Timestamp::from_millis(1_700_000_000_000),
            source: EventSource::Keyword,
            rule: "opt-out".to_owned(),
        }))
    }
}

fn set(keys: impl IntoIterator<Item = SubscriberKey>) -> Set {
    Set { opted_out: keys.into_iter().collect(), ids: BTreeMap::new() }
}

fn key(number: &str) -> SubscriberKey {
    let region = Region::parse("MX").unwrap();
    NumberReader::new(Some(region), Folding::default()).recipient(number.as_bytes()).unwrap().key
}

/// What a scrub with a receipt leaves.
struct Scrubbed {
    receipt: Receipt,
    index: Vec<u8>,
    kept: Vec<u8>,
}

fn scrub(scrubber: &Scrubber<'_, Set>, list: &[u8]) -> Scrubbed {
    let (mut kept, mut index) = (Vec::new(), Vec::new());
    let (_, receipt) = scrubber
        .run_with_receipt(
            Input::reader("list", Cursor::new(list.to_vec())),
            Sinks::new().kept("kept", &mut kept),
            Sink::new("index", &mut index),
            Basis::default(),
        )
        .unwrap();
    let text = receipt.to_text();
    assert_eq!(Receipt::parse(text.as_bytes()).unwrap(), receipt);
    Scrubbed { receipt, index, kept }
}

fn recheck(
    scrubbed: &Scrubbed,
    now: &Set,
    changed: &[SubscriberKey],
    list: &[u8],
) -> Result<(RecheckReport, Vec<u8>), RecheckError> {
    let mut out = Vec::new();
    let ids = IDS.into_iter().filter(|id| now.ids.get(id).is_some_and(|it| changed.contains(it)));
    let keys = changed.iter().copied().filter(|key| key.id_sequence().is_none());
    let changed = Changed {
        keys: keys.collect(),
        ids: ids.map(|id| BusinessId::parse(id.as_bytes()).unwrap()).collect(),
    };
    let report = Recheck::new(&scrubbed.receipt, now).run(
        &changed,
        Source::new("index", Cursor::new(&scrubbed.index)),
        Source::new("list", Cursor::new(list)),
        Some(Sink::new("out", &mut out)),
    )?;
    Ok((report, out))
}

/// How many numbers the lists have besides a few that come again and again.
const CROWD: u64 = 3000;

/// A random list of which each row but the header has an id in it, `<17>`.
struct List {
    text: String,
    encoding: Encoding,
    rows: u64,
    delimiter: char,
}

impl List {
    fn random(random: &mut Random) -> List {
        const NUMBERS: [&str; 24] = [
            "525512345678",
            "+52 55 1234 5678",
            "5215512345678",
            "5512345678",
            "(55) 8765-4321",
            "525587654321",
            "525500000001",
            "525500000002",
            "+525500000003",
            "00525500000003",
            "573001234567",
            "+57 300 123 4567",
            "5511987654321",
            "551187654321",
            "",
            "oops",
            "12",
            "1234567890123",
            "525512345678;525500000002",
            "5255000000\"\"9",
            IDS[0],
            IDS[1],
            "whatsapp:US.13491208655302741918",
            IDS[2],
        ];
        let delimiter = [',', ';', '\t'][random.index(3)];
        let end = ["\n", "\r\n", "\r"][random.index(3)];
        let mixed = random.below(3) == 0;
        let mut text = String::new();
        if random.below(4) == 0 {
            text += "\n\n";
        }
        text += &["phone", "name", "region"].join(&delimiter.to_string());
        text += end;
        let rows = random.below(700);
        for row in 0..rows {
            let end = if mixed { random.pick(&["\n", "\r\n", "\r"]) } else { end };
            if random.below(40) == 0 {
                text += end;
                continue;
            }
            // Many, so that some share what the index keeps of their hashes.
            let other = format!("5255800{:05}", random.below(CROWD));
            let number = if random.below(2) == 0 { &other } else { random.pick(&NUMBERS) };
            let quoted = number.contains([delimiter, '"']) || random.below(5) == 0;
            text += &if quoted { format!("\"{number}\"") } else { number.to_owned() };
            text.push(delimiter);
            text += &match random.below(6) {
                0 => format!("\"a{delimiter} \"\"<{row}>\"\" \n\r\nb\""),
                1 => format!("ñandú 🦙 <{row}>"),
                _ => format!("<{row}>"),
            };
            if random.below(5) > 0 {
                text.push(delimiter);
                text += random.pick(&["", "MX", "CO", "mx", "zz"]);
            }
            text += end;
        }
        if random.below(3) == 0 {
            while text.ends_with(['\n', '\r']) {
                text.pop();
            }
        }
        let encoding = [Encoding::Bytes, Encoding::Bytes, Encoding::Utf16Le, Encoding::Utf16Be]
            [random.index(4)];
        if encoding != Encoding::Bytes || random.below(5) == 0 {
            text.insert(0, '\u{feff}');
        }
        List { text, encoding, rows, delimiter }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.encoding.encode(self.text.as_bytes(), &mut bytes);
        bytes
    }

    fn text_of(&self, bytes: &[u8]) -> String {
        String::from_utf8(self.encoding.decode(bytes).unwrap().into_owned()).unwrap()
    }

    /// The ids of the rows in a text.
    fn ids_in(&self, text: &str) -> BTreeSet<u64> {
        let ids = text.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0);
        let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
        assert!(ids.is_sorted() && ids.last().is_none_or(|&last| last < self.rows));
        ids.into_iter().collect()
    }
}

fn line_of(text: &str, id: u64) -> Option<usize> {
    let mut before = &text[..text.find(&format!("<{id}>"))?];
    // Back to the beginning of the row: its name may have begun on an earlier line.
    if before.ends_with("\"\"") {
        before = &before[..before.len() - 5];
    }
    Some(1 + before.replace("\r\n", "\n").matches(['\n', '\r']).count())
}

#[test]
fn a_recheck_gives_the_rows_in_which_two_scrubs_differ() {
    let mut random = Random::of_test("a_recheck_gives_the_rows_in_which_two_scrubs_differ");
    let pool: Vec<SubscriberKey> = [
        "525512345678",
        "525587654321",
        "525500000001",
        "525500000002",
        "525500000003",
        "573001234567",
        "5511987654321",
    ]
    .map(key)
    .into_iter()
    .chain((0..CROWD).map(|it| key(&format!("5255800{it:05}"))))
    .collect();
    let (mut suppressed, mut released) = (0, 0);
    for round in 0..100 {
        let list = List::random(&mut random);
        let bytes = list.bytes();
        let some = |random: &mut Random| {
            set(pool.iter().copied().filter(|_| random.below(2) == 0).collect::<Vec<_>>())
        };
        let (mut then, mut now) = (some(&mut random), some(&mut random));
        for (index, id) in IDS.into_iter().enumerate() {
            // What was known is known later.
            let (key, when) = (SubscriberKey::of_id(1 + index as u64), random.below(3));
            for set in [&mut then, &mut now].into_iter().skip(when as usize) {
                set.ids.insert(id, key);
                if random.below(2) == 0 {
                    set.opted_out.insert(key);
                }
            }
        }
        let dedupe = random.below(3) == 0;
        let options = ReadOptions {
            block_bytes: 64 + random.index(20_000),
            delimiter: Some(list.delimiter as u8),
            ..ReadOptions::default()
        };
        let index_rows = 1 + random.index(800);
        let threads = 1 + random.index(3);
        let region_column = random.below(3) == 0;
        let scrubber_of = |set| {
            let scrubber = Scrubber::new(set)
                .column("phone")
                .region(Region::parse("MX").unwrap())
                .dedupe(dedupe)
                .read_options(options.clone())
                .index_rows(index_rows)
                .threads(threads);
            if region_column { scrubber.region_column("region") } else { scrubber }
        };
        let scrubbed = scrub(&scrubber_of(&then), &bytes);
        let now_kept = scrub(&scrubber_of(&now), &bytes).kept;
        let [kept_then, kept_now] =
            [&scrubbed.kept, &now_kept].map(|it| list.ids_in(&list.text_of(it)));
        let changes =
            |key: &SubscriberKey| then.opted_out.contains(key) != now.opted_out.contains(key);
        let mut changed: Vec<SubscriberKey> = pool
            .iter()
            .chain(now.ids.values())
            .copied()
            .filter(|key| changes(key) || random.below(3) == 0)
            .collect();
        if random.below(2) == 0 {
            changed.reverse();
        }

        let report_mode = scrub(&scrubber_of(&then).mode(Mode::Report), &bytes);
        assert_eq!(report_mode.kept, bytes);
        let files = [
            (&scrubbed, &bytes, ListKind::Input),
            (&scrubbed, &scrubbed.kept, ListKind::Kept),
            (&report_mode, &bytes, ListKind::Input),
        ];
        for (scrubbed, file, kind) in files {
            let (report, out) = recheck(scrubbed, &now, &changed, file).unwrap();
            let out = list.text_of(&out);
            // When nobody was taken out, the kept rows are the list.
            if scrubbed.kept != bytes {
                assert_eq!(report.file, kind);
            }
            let mut expected: BTreeMap<u64, &str> =
                kept_then.difference(&kept_now).map(|&id| (id, "suppressed")).collect();
            if kind == ListKind::Input {
                expected.extend(kept_now.difference(&kept_then).map(|&id| (id, "released")));
            }
            let got = list.ids_in(&out);
            assert_eq!(got, expected.keys().copied().collect(), "round {round}, {kind:?}");
            let count = |word| expected.values().filter(|&&it| it == word).count() as u64;
            assert_eq!(report.suppressed, count("suppressed"));
            assert_eq!(report.released, count("released"));
            suppressed += report.suppressed;
            released += report.released;
            let in_file = list.text_of(file);
            let mut rest = &out[..];
            for (id, change) in &expected {
                let line = line_of(&in_file, *id).unwrap();
                let d = list.delimiter;
                let cells = format!("{d}{change}{d}{line}{d}");
                rest = &rest[rest.find(&format!("<{id}>")).unwrap()..];
                let end = rest[1..].find('<').map_or(rest.len(), |end| end + 1);
                assert!(rest[..end].contains(&cells), "no {cells:?} behind {id} in {out}");
            }
        }
    }
    assert!(suppressed > 1000 && released > 1000, "{suppressed} {released}");
}

const LIST: &str = "phone,name\n525512345678,Ana\n525587654321,Luis\nn/a,Eva\n525512345678,Ana\n";

fn ana() -> SubscriberKey {
    key("525512345678")
}

fn luis() -> SubscriberKey {
    key("525587654321")
}

#[test]
fn a_row_is_given_whole_with_what_changed_and_why() {
    let (then, now) = (set([luis()]), set([ana()]));
    let scrubbed = scrub(&Scrubber::new(&then), LIST.as_bytes());
    let (report, out) = recheck(&scrubbed, &now, &[ana(), luis()], LIST.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "phone,name,optout_change,optout_line,optout_since,optout_source,optout_rule\n\
         525512345678,Ana,suppressed,2,2023-11-14T22:13:20Z,keyword,opt-out\n\
         525587654321,Luis,released,3,,,\n\
         525512345678,Ana,suppressed,5,2023-11-14T22:13:20Z,keyword,opt-out\n"
    );
    let file = ListKind::Input;
    let expected = RecheckReport { file, changed: 2, looked_at: 4, suppressed: 2, released: 1 };
    assert_eq!(report, expected);

    let (report, out) = recheck(&scrubbed, &now, &[ana(), luis()], &scrubbed.kept).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("Ana,suppressed,2,") && out.contains("Ana,suppressed,3,"), "{out}");
    assert_eq!((report.file, report.suppressed, report.released), (ListKind::Kept, 2, 0));
}

#[test]
fn lists_without_a_header_and_of_one_column_are_rechecked() {
    let list = "525512345678\r\n525587654321\r\n525512345678";
    let scrubbed = scrub(&Scrubber::new(&set([])), list.as_bytes());
    let (_, out) = recheck(&scrubbed, &set([ana()]), &[ana()], list.as_bytes()).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "525512345678,suppressed,1,2023-11-14T22:13:20Z,keyword,opt-out\r\n\
         525512345678,suppressed,3,2023-11-14T22:13:20Z,keyword,opt-out"
    );
}

#[test]
fn a_list_without_rows_has_nothing_to_tell() {
    for list in ["", "phone\n", "\n\n"] {
        let scrubbed = scrub(&Scrubber::new(&set([])), list.as_bytes());
        let (report, _) = recheck(&scrubbed, &set([ana()]), &[ana()], list.as_bytes()).unwrap();
        assert_eq!((report.suppressed, report.released), (0, 0));
    }
}

#[test]
fn nothing_is_read_for_who_stands_as_he_did() {
    let list: String = (0..2000).map(|row| format!("52551234{row:04}\n")).collect();
    let then = set([key("525512340000"), key("525512341000")]);
    let scrubbed = scrub(&Scrubber::new(&then), list.as_bytes());
    let everybody: Vec<_> = (0..2000).map(|row| key(&format!("52551234{row:04}"))).collect();
    let (report, out) = recheck(&scrubbed, &then, &everybody, list.as_bytes()).unwrap();
    assert_eq!((report.looked_at, report.suppressed, out.len()), (0, 0, 0));
    // One more: one stretch of 128 rows.
    let now = set(then.opted_out.iter().copied().chain([key("525512341500")]));
    let (report, _) = recheck(&scrubbed, &now, &everybody, list.as_bytes()).unwrap();
    assert_eq!((report.looked_at, report.suppressed), (128, 1));
}

#[test]
fn a_run_that_asks_nobody_gets_no_receipt() {
    let (set, mut index) = (set([]), Vec::new());
    let run = Scrubber::new(&set).mode(Mode::Off).run_with_receipt(
        Input::reader("list", Cursor::new(LIST)),
        Sinks::new(),
        Sink::new("index", &mut index),
        Basis::default(),
    );
    assert!(matches!(run, Err(ScrubError::NobodyAsked)));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_receipt_is_refused() {
    let text = scrub(&Scrubber::new(&set([ana()])), LIST.as_bytes()).receipt.to_text().into_bytes();
    for bit in 0..text.len() * 8 {
        let mut bytes = text.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let parsed = Receipt::parse(&bytes);
        assert!(matches!(parsed, Err(ReceiptError::Damaged { .. })), "bit {bit}");
    }
    for length in 0..text.len() {
        assert!(Receipt::parse(&text[..length]).is_err(), "cut at {length}");
    }
    assert!(Receipt::parse(&[&text[..], b"\n"].concat()).is_err());
}

/// Of a damaged index or list either is found, or it makes no difference.
#[test]
fn every_flipped_bit_of_index_and_list_is_found_or_was_not_read() {
    let list: String = (0..300).map(|row| format!("52551234{row:04},{row}\n")).collect();
    let then = set([key("525512340000"), key("525512340150")]);
    let now = set([key("525512340000"), key("525512340149")]);
    let changed = [149, 150, 151].map(|row| key(&format!("52551234{row:04}")));
    let mut scrubbed = scrub(&Scrubber::new(&then), list.as_bytes());
    let whole = recheck(&scrubbed, &now, &changed, list.as_bytes()).unwrap();
    assert_eq!((whole.0.suppressed, whole.0.released), (1, 1));

    let mut found = 0;
    let index = scrubbed.index.clone();
    for bit in 0..index.len() * 8 {
        scrubbed.index[bit / 8] ^= 1 << (bit % 8);
        match recheck(&scrubbed, &now, &changed, list.as_bytes()) {
            Ok(other) => assert_eq!(other, whole, "bit {bit}"),
            Err(RecheckError::Index { .. }) => found += 1,
            Err(error) => panic!("bit {bit}: {error}"),
        }
        scrubbed.index.clone_from(&index);
    }
    assert!(found == index.len() * 8, "in a run as small as this, all of it is read");
    for length in 0..index.len() {
        scrubbed.index.truncate(length);
        let cut = recheck(&scrubbed, &now, &changed, list.as_bytes());
        assert!(matches!(cut, Err(RecheckError::Index { .. })), "cut at {length}");
        scrubbed.index.clone_from(&index);
    }

    for (file, kind) in [(list.into_bytes(), "input"), (scrubbed.kept.clone(), "kept")] {
        let whole = recheck(&scrubbed, &now, &changed, &file).unwrap();
        for bit in 0..file.len() * 8 {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let got = recheck(&scrubbed, &now, &changed, &other);
            assert!(matches!(got, Err(RecheckError::FileChanged { .. })), "{kind}, bit {bit}");
        }
        for length in 0..file.len() {
            match recheck(&scrubbed, &now, &changed, &file[..length]) {
                Err(RecheckError::OtherFile { .. } | RecheckError::FileChanged { .. }) => {}
                other => panic!("{kind}, cut at {length}: {other:?}"),
            }
        }
        assert_eq!(recheck(&scrubbed, &now, &changed, &file).unwrap(), whole);
    }
}

#[test]
fn index_and_list_of_another_receipt_are_refused() {
    let then = set([luis()]);
    let one = scrub(&Scrubber::new(&then), LIST.as_bytes());
    let other = scrub(&Scrubber::new(&then), LIST.as_bytes());
    let mixed = Scrubbed { receipt: one.receipt.clone(), index: other.index, kept: other.kept };
    let error = recheck(&mixed, &then, &[ana()], LIST.as_bytes()).unwrap_err();
    assert!(matches!(error, RecheckError::Index { .. }), "{error}");

    let foreign = LIST.replace("Luis", "Mary");
    let error = recheck(&one, &then, &[], foreign.as_bytes()).unwrap_err();
    assert!(matches!(error, RecheckError::FileChanged { line: 2, .. }), "{error}");
    let header = LIST.replace("name", "nome");
    let error = recheck(&one, &then, &[], header.as_bytes()).unwrap_err();
    assert!(matches!(error, RecheckError::FileChanged { line: 1, .. }), "{error}");
    let error = recheck(&one, &then, &[], b"phone\n").unwrap_err();
    assert!(matches!(error, RecheckError::OtherFile { .. }), "{error}");
}

#[test]
fn a_receipt_shows_no_number() {
    let scrubbed = scrub(&Scrubber::new(&set([ana()])), LIST.as_bytes());
    let text = scrubbed.receipt.to_text() + &format!("{:?}", scrubbed.receipt);
    for number in ["525512345678", "525587654321"] {
        assert!(!text.contains(number));
        let key = key(number).get().to_le_bytes();
        for bytes in [number.as_bytes(), &key[..5]] {
            assert!(!scrubbed.index.windows(bytes.len()).any(|it| it == bytes));
        }
    }
}
