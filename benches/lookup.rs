//! Lookups in a large set, beside two Roaring libraries that are asked one key at a time.
//!
//! The set is 2 million mobile numbers from a seeded generator; `OPTOUT_BENCH_NUMBERS=20000000`
//! makes it the size of a real list. Half of the questions are members. Each measurement asserts
//! its answers. Two sets: `even`, numbers spread over one country's ten digits, and `crowded`,
//! numbers in short blocks, where guessing a place by interpolation goes wrong.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use croaring::{Bitmap64, Portable};
use optout::number::SubscriberKey;
use optout::snapshot::{Change, View, merge, write_sorted};
use roaring::RoaringTreemap;

/// Questions asked in one measurement.
const QUESTIONS: usize = 1 << 18;

fn bench(criterion: &mut Criterion) {
    let count = std::env::var("OPTOUT_BENCH_NUMBERS");
    let count = count.ok().and_then(|count| count.parse().ok()).unwrap_or(2_000_000);
    for (name, make) in [("even", even as fn(u64) -> u64), ("crowded", crowded)] {
        bench_set(criterion, name, make, count);
    }
}

/// 52 and ten digits, all equally likely.
fn even(random: u64) -> u64 {
    520_000_000_000 + random % 10_000_000_000
}

/// 52 and ten digits, in blocks of 50 at the start of each 5,000.
fn crowded(random: u64) -> u64 {
    520_000_000_000 + (random >> 8) % 2_000_000 * 5_000 + random % 50
}

fn bench_set(criterion: &mut Criterion, name: &str, make: fn(u64) -> u64, count: usize) {
    let mut random = Random(1);
    let mut values: Vec<u64> = (0..count).map(|_| make(random.next())).collect();
    values.sort_unstable();
    values.dedup();
    let keys = || values.iter().copied().map(SubscriberKey::from_u64);
    let mut bytes = Vec::new();
    write_sorted(&mut bytes, keys).unwrap();
    let view = View::open(bytes.as_slice()).unwrap();

    let questions: Vec<SubscriberKey> = (0..QUESTIONS)
        .map(|index| match index % 2 {
            0 => values[(random.next() % values.len() as u64) as usize],
            _ => make(random.next()),
        })
        .map(SubscriberKey::from_u64)
        .collect();
    let expected = questions.iter().filter(|key| values.binary_search(&key.get()).is_ok()).count();
    let sum: u64 = values.iter().fold(0, |sum, value| sum.wrapping_add(*value));

    bench_whole(criterion, name, &view, &values, sum);
    let mut group = criterion.benchmark_group(format!("lookup/{name}"));
    group.throughput(Throughput::Elements(QUESTIONS as u64)).sample_size(20);
    let mut found = vec![false; QUESTIONS];
    let id = |what| BenchmarkId::new(what, values.len());
    group.bench_function(id("batch"), |bencher| {
        bencher.iter(|| {
            view.contains_batch(&questions, &mut found);
            assert_eq!(found.iter().filter(|&&found| found).count(), expected);
        });
    });
    let mut positions = vec![None; QUESTIONS];
    group.bench_function(id("positions batch"), |bencher| {
        bencher.iter(|| {
            view.positions_batch(&questions, &mut positions);
            assert_eq!(positions.iter().flatten().count(), expected);
        });
    });
    let mut one_by_one = |what: &str, contains: &dyn Fn(&SubscriberKey) -> bool| {
        group.bench_function(BenchmarkId::new(what, values.len()), |bencher| {
            bencher.iter(|| {
                assert_eq!(questions.iter().filter(|key| contains(key)).count(), expected);
            });
        });
    };
    one_by_one("one by one", &|&key| view.contains(key));
    let treemap = RoaringTreemap::deserialize_from(bytes.as_slice()).unwrap();
    one_by_one("roaring", &|key| treemap.contains(key.get()));
    drop(treemap);
    let bitmap = Bitmap64::try_deserialize::<Portable>(&bytes).unwrap();
    one_by_one("croaring", &|key| bitmap.contains(key.get()));
    group.finish();
}

/// What goes over all of the bytes.
fn bench_whole(
    criterion: &mut Criterion,
    name: &str,
    view: &View<&[u8]>,
    values: &[u64],
    sum: u64,
) {
    let mut group = criterion.benchmark_group(format!("whole/{name}"));
    group.throughput(Throughput::Bytes(view.bytes().len() as u64)).sample_size(10);
    let id = |what| BenchmarkId::new(what, values.len());
    group.bench_function(id("open"), |bencher| {
        bencher.iter(|| {
            let view = View::open(black_box(view.bytes())).unwrap();
            assert_eq!(view.len(), values.len() as u64);
        });
    });
    group.bench_function(id("iterate"), |bencher| {
        bencher.iter(|| {
            assert_eq!(view.iter().fold(0u64, |sum, key| sum.wrapping_add(key.get())), sum);
        });
    });
    let changes: Vec<Change> = (0..1000)
        .map(|index| values[index * (values.len() / 1000)])
        .map(|value| Change { key: SubscriberKey::from_u64(value), present: false })
        .collect();
    let mut out = Vec::with_capacity(view.bytes().len());
    group.bench_function(id("merge 1000"), |bencher| {
        bencher.iter(|| {
            out.clear();
            let summary = merge(view, &changes, &mut out).unwrap();
            assert_eq!(summary.removed, 1000);
        });
    });
    group.bench_function(id("write"), |bencher| {
        bencher.iter(|| {
            out.clear();
            let keys = || values.iter().copied().map(SubscriberKey::from_u64);
            assert_eq!(write_sorted(&mut out, keys).unwrap().len, values.len() as u64);
        });
    });
    group.finish();
}

/// The same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
