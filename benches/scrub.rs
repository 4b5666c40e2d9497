//! How fast are a scrub and its parts?
//!
//! The list has 49 bytes a row; `OPTOUT_BENCH_ROWS` says how many rows (default 1 million). The
//! set is a bit for each possible number, so that what is measured is the scrub. Every run's
//! counts are asserted. `hostile` has every field quoted and a line break in every row.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use optout::number::SubscriberKey;
use optout::policy::Ruling;
use optout::scrub::output::{OutputFile, publish};
use optout::scrub::{Input, Origin, Scrubber, Sinks, SuppressionSet};
use optout::table::{Cell, ReadOptions, Table};

const BASE: u64 = 525_500_000_000;
const NUMBERS: u64 = 100_000_000;

/// Every tenth number or so, spread without a pattern.
struct Bits(Vec<u64>);

impl Bits {
    fn new() -> Bits {
        let words = (0..NUMBERS / 64).map(|word| {
            (0..64).fold(0, |bits, bit| {
                bits | u64::from(mix(word * 64 + bit).is_multiple_of(10)) << bit
            })
        });
        Bits(words.collect())
    }

    fn has(&self, number: u64) -> bool {
        let place = number.wrapping_sub(BASE);
        self.0.get((place / 64) as usize).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }
}

impl SuppressionSet for Bits {
    type Error = std::convert::Infallible;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Self::Error> {
        for (key, ruling) in keys.iter().zip(rulings) {
            *ruling = if self.has(key.get()) { Ruling::UNANSWERED } else { Ruling::UNLISTED };
        }
        Ok(())
    }

    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Self::Error> {
        Ok(vec![None; ids.len()])
    }

    fn origin(&self, _: SubscriberKey, _: Ruling) -> Result<Option<Origin>, Self::Error> {
        Ok(None)
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (value ^ (value >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 8
}

fn rows() -> u64 {
    std::env::var("OPTOUT_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000)
}

/// A list and how many of its rows the set has.
fn list(set: &Bits, hostile: bool) -> (String, u64) {
    let mut text = String::from("id,phone,name,city,amount\n");
    let mut suppressed = 0;
    for row in 0..rows() {
        let number = BASE + mix(row) % NUMBERS;
        suppressed += u64::from(set.has(number));
        if hostile {
            let _ = writeln!(text, "\"{row:08}\",\"{number}\",\"Ana \"\"A\"\"\n\",\"x, y\",\"7\"");
        } else {
            let _ = writeln!(text, "{row:08},+{number},Ana Lopez,Monterrey,{:06}", row % 999_983);
        }
    }
    (text, suppressed)
}

fn parts(criterion: &mut Criterion) {
    let set = Bits::new();
    for (name, hostile) in [("plain", false), ("hostile", true)] {
        let (text, suppressed) = list(&set, hostile);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("split", |bencher| {
            bencher.iter(|| {
                let mut table = open(&text);
                let mut bytes = 0;
                while let Some(block) = table.next_block().expect("the list is whole") {
                    bytes += block.bytes().len();
                    table.recycle(block.into_buffer());
                }
                assert_eq!(bytes + table.header().map_or(0, <[u8]>::len), text.len());
            });
        });
        group.bench_function("walk", |bencher| {
            bencher.iter(|| {
                let mut table = open(&text);
                let (mut count, mut scratch) = (0, Vec::new());
                while let Some(block) = table.next_block().expect("the list is whole") {
                    for record in block.records() {
                        black_box(
                            record.cell(0).map(|cell: Cell<'_>| cell.value(&mut scratch).len()),
                        );
                        count += 1;
                    }
                    table.recycle(block.into_buffer());
                }
                assert_eq!(count, rows());
            });
        });
        group.bench_function("scrub to nowhere", |bencher| {
            let text = std::sync::Arc::new(text.clone());
            bencher.iter(|| {
                let input = Input::reader("list", io::Cursor::new(Shared(text.clone())));
                let mut kept = io::sink();
                let report = Scrubber::new(&set).run(input, Sinks::new().kept("kept", &mut kept));
                let report = report.expect("nothing can fail");
                assert_eq!((report.rows, report.suppressed), (rows(), suppressed));
            });
        });
        group.finish();
    }
}

fn files(criterion: &mut Criterion) {
    let set = Bits::new();
    let (text, suppressed) = list(&set, false);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("list.csv");
    fs::write(&list, &text).expect("room for the list");
    let mut group = criterion.benchmark_group("file");
    group.sample_size(10).throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("scrub to file", |bencher| {
        bencher.iter(|| scrub_file(&set, &list, &folder.path().join("clean.csv"), suppressed));
    });
    group.finish();
}

fn scrub_file(set: &Bits, list: &Path, clean: &Path, suppressed: u64) {
    let mut kept = OutputFile::create(clean, true).expect("a folder that can be written");
    let report = Scrubber::new(set)
        .run(Input::open(list).expect("the list is there"), Sinks::new().kept("kept", &mut kept))
        .expect("nothing can fail");
    assert_eq!((report.rows, report.suppressed, report.invalid), (rows(), suppressed, 0));
    publish(vec![kept]).expect("room for the output");
}

fn open(text: &str) -> Table<&[u8]> {
    let looks_like_value = |cell: &[u8]| cell.len() > 9 && cell[1..].iter().all(u8::is_ascii_digit);
    Table::open(text.as_bytes(), &ReadOptions::default(), &looks_like_value).expect("a list")
}

/// One text for many readers.
struct Shared(std::sync::Arc<String>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

criterion_group!(benches, parts, files);
criterion_main!(benches);
