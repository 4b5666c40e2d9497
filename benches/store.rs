//! What a store costs: importing a list, folding, opening, asking.
//!
//! `OPTOUT_BENCH_NUMBERS` sets the size (200,000 if not given). Every measured run checks its
//! answer, so that a fast wrong one cannot win.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use optout::event::{Action, Details, Source};
use optout::number::{Folding, Number, SubscriberKey, fold};
use optout::policy::{Context, Policy};
use optout::query::{Checker, Judge, Stale};
use optout::store::{self, Bulk, Reader, Writer};
use optout::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

fn size() -> u64 {
    std::env::var("OPTOUT_BENCH_NUMBERS").ok().and_then(|it| it.parse().ok()).unwrap_or(200_000)
}

/// Mexican numbers, spread over their range in no order.
fn number(index: u64) -> Number {
    let spread = index.wrapping_mul(7_919_999_983) % 4_000_000_000;
    Number::from_e164(525_500_000_000 + spread).expect("a Mexican number")
}

fn bulk(count: u64) -> Bulk {
    let mut bulk = Bulk::new();
    for index in 0..count {
        bulk.push(number(index), NOW, &number(index).get().to_string());
    }
    bulk
}

fn new_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    store::init(folder.path(), Folding::default(), NOW).expect("a new store");
    folder
}

fn load(folder: &Path, count: u64) -> u64 {
    let writer = Writer::open(folder).expect("a store");
    let details = Details::new(Action::OptOut, Source::Import);
    let report = writer.append_bulk(&details, NOW, &mut bulk(count)).expect("room on the disk");
    report.added
}

fn stores(criterion: &mut Criterion) {
    let count = size();
    let folder = new_store();
    assert_eq!(load(folder.path(), count), count);
    Writer::open(folder.path()).and_then(|writer| writer.compact(NOW)).expect("a generation");

    let mut group = criterion.benchmark_group("store");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(count));
    group.bench_function("import, durable", |bencher| {
        bencher.iter_batched(
            new_store,
            |folder| {
                assert_eq!(load(folder.path(), count), count);
                folder
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("open, checked", |bencher| {
        bencher.iter(|| {
            let reader = Reader::open(folder.path()).expect("a sound store");
            assert_eq!(reader.len().expect("a usable reader"), count);
        });
    });
    group.finish();
    asking(criterion, folder.path(), count);
    refreshing(criterion, folder.path());
}

fn asking(criterion: &mut Criterion, folder: &Path, count: u64) {
    let reader = Reader::open(folder).expect("a sound store");
    let keys: Vec<SubscriberKey> =
        (0..4096).map(|index| fold(number(index * count / 2048), Folding::default())).collect();
    let recipients: Vec<String> =
        (0..4096).map(|index| number(index * count / 2048).to_string()).collect();
    let expected = (0..4096).filter(|index| index * count / 2048 < count).count();

    let mut group = criterion.benchmark_group("ask");
    group.throughput(Throughput::Elements(4096));
    group.bench_function("keys in a batch", |bencher| {
        let mut found = vec![false; keys.len()];
        bencher.iter(|| {
            reader.contains_batch(black_box(&keys), &mut found).expect("a usable reader");
            assert_eq!(found.iter().filter(|&&it| it).count(), expected);
        });
    });
    group.bench_function("verdicts on recipients", |bencher| {
        let (message, now) = (Context::default(), Timestamp::now());
        let judge = Judge::new(&reader, Policy::default(), message, now, Stale::Refuse);
        let checker = Checker::new(judge.expect("no stale layer"), None);
        bencher.iter(|| {
            let verdicts = checker.verdicts(black_box(&recipients)).expect("a usable reader");
            let allowed = verdicts.iter().filter(|verdict| verdict.is_allowed()).count();
            assert_eq!(allowed, 4096 - expected);
        });
    });
    group.finish();
}

/// What a reader pays for looking whether there is news.
fn refreshing(criterion: &mut Criterion, folder: &Path) {
    criterion.bench_function("refresh without news", |bencher| {
        let mut reader = Reader::open(folder).expect("a sound store");
        bencher.iter(|| assert_eq!(reader.refresh().expect("a sound store"), 0));
    });
}

criterion_group!(benches, stores);
criterion_main!(benches);
