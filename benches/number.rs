//! How long it takes to read one recipient, by spelling.
//!
//! `cargo bench --bench number`. Every benchmark asserts its answers before it is timed. The
//! numbers are made up; `mix` is nine tenths clean with every odd spelling of the rest.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use optout::number::{Folding, NumberReader, Region};

const ROWS: u64 = 10_000;

/// Mexican numbers that a plain counter scatters over the area codes.
fn numbers() -> impl Iterator<Item = u64> {
    const AREAS: [u64; 8] = [55, 33, 81, 222, 442, 664, 998, 656];
    (0..ROWS).map(|i| {
        let area = AREAS[(i % 8) as usize];
        let scale = if area < 100 { 100_000_000 } else { 10_000_000 };
        area * scale + (2_000_000 + i * 7_919) % scale
    })
}

fn cells(write: impl Fn(u64) -> String) -> Vec<(String, u64)> {
    numbers().map(|ten| (write(ten), 520_000_000_000 + ten)).collect()
}

fn grouped(ten: u64, a: &str, b: &str, c: &str) -> String {
    let digits = ten.to_string();
    format!("{a}{}{b}{}{c}{}", &digits[..2], &digits[2..6], &digits[6..])
}

fn mixed(ten: u64) -> String {
    match ten % 40 {
        0 => format!("+521{ten}"),
        1 => format!("whatsapp:+52{ten}"),
        2 => format!("tel:+52{ten}"),
        3 => format!("52{ten}.0"),
        n if n < 20 => format!("+52{ten}"),
        n if n < 30 => format!("52{ten}"),
        n if n < 36 => ten.to_string(),
        _ => grouped(ten, "+52 ", " ", " "),
    }
}

fn bench(criterion: &mut Criterion) {
    let mexico = Region::parse("MX").ok();
    let spellings = [
        ("plus", None, cells(|ten| format!("+52{ten}"))),
        ("bare_international", None, cells(|ten| format!("52{ten}"))),
        ("national", mexico, cells(|ten| ten.to_string())),
        ("code_without_plus", mexico, cells(|ten| format!("52{ten}"))),
        ("blanks", mexico, cells(|ten| grouped(ten, "+52 ", " ", " "))),
        ("brackets", mexico, cells(|ten| grouped(ten, "(", ") ", "-"))),
        ("double_zero", mexico, cells(|ten| format!("0052{ten}"))),
        ("whatsapp_old_form", None, cells(|ten| format!("521{ten}"))),
        ("mix", mexico, cells(mixed)),
        ("slow_odd_forms", mexico, cells(|ten| format!("Tel.: +52 {ten} ext. 12"))),
    ];
    let mut group = criterion.benchmark_group("number");
    group.throughput(Throughput::Elements(ROWS));
    for (name, region, cells) in &spellings {
        let reader = NumberReader::new(*region, Folding::default());
        for (cell, key) in cells {
            let read = reader.recipient(cell.as_bytes()).ok();
            assert_eq!(read.map(|one| (one.key.get(), one.sendable)), Some((*key, true)), "{cell}");
        }
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                cells.iter().fold(0, |sum: u64, (cell, _)| {
                    let read = reader.recipient(black_box(cell.as_bytes()));
                    sum.wrapping_add(read.map_or(0, |one| one.key.get()))
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
