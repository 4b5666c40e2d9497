//! What a durable append costs, how appends scale with threads, and when others see them.
//!
//! `cargo bench --bench append`. An append is durable when it returns: threads that append at the
//! same time share a sync. One thread and 64 take turns on the same store; the table has medians
//! of the rounds. Then two readers poll the store, one in this process and one in another, and
//! each answer is timed from the moment when the append was acknowledged. Every append is
//! counted, and every reader has to see every number.
//!
//! `OPTOUT_BENCH_NUMBERS` is the size of the store (200,000 if not given), `OPTOUT_BENCH_FOLDER`
//! the folder on whose disk it is made.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use optout::event::{Action, Details, Source};
use optout::number::{Folding, Number, SubscriberKey, fold};
use optout::store::{self, Bulk, NewEvent, Reader, Writer};
use optout::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);
/// The argument that makes this program the other process.
const WATCH: &str = "watch";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Appends whose way to a reader is timed.
const SEEN: u64 = 2_000;
/// How often a reader looks for news.
const POLL_IN_PROCESS: Duration = Duration::from_micros(100);
const POLL_ACROSS: Duration = Duration::from_millis(1);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, folder] = &arguments[..]
        && mode == WATCH
    {
        return watch(Path::new(folder));
    }
    let count = std::env::var("OPTOUT_BENCH_NUMBERS");
    let count = count.ok().and_then(|it| it.parse().ok()).unwrap_or(200_000);
    let folder = match std::env::var_os("OPTOUT_BENCH_FOLDER") {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a temporary folder");
    fill(folder.path(), count);
    let next = AtomicU64::new(count);
    let writer = Writer::open(folder.path()).expect("no other writer");
    println!("durable appends, one event each; {count} numbers in the store");
    println!();
    appends(&writer, &next);
    println!();
    println!("from the acknowledgement to a reader's answer, of {SEEN} appends");
    println!();
    let every = |poll: Duration| format!("polling every {poll:?}");
    let (seen, name) = (in_process(&writer, folder.path(), &next), "same process");
    println!("{name:<16} {:<24} {}", every(POLL_IN_PROCESS), percentiles(seen));
    let (seen, name) = (across(&writer, folder.path(), &next), "another process");
    println!("{name:<16} {:<24} {}", every(POLL_ACROSS), percentiles(seen));
}

/// Mexican numbers, spread over their range in no order; the same index is the same number.
fn number(index: u64) -> Number {
    let spread = index.wrapping_mul(7_919_999_983) % 4_000_000_000;
    Number::from_e164(525_500_000_000 + spread).expect("a Mexican number")
}

fn key(index: u64) -> SubscriberKey {
    fold(number(index), Folding::default())
}

fn fill(folder: &Path, count: u64) {
    store::init(folder, Folding::default(), NOW).expect("a new store");
    let writer = Writer::open(folder).expect("a store");
    let mut bulk = Bulk::new();
    for index in 0..count {
        bulk.push(number(index), NOW, "");
    }
    let details = Details::new(Action::OptOut, Source::Import);
    let report = writer.append_bulk(&details, NOW, &mut bulk).expect("room on the disk");
    assert_eq!(report.added, count);
    writer.compact(NOW).expect("a generation");
}

fn append(writer: &Writer, index: u64) {
    let event = NewEvent {
        address: number(index).into(),
        linked: None,
        raw: number(index).to_string(),
        occurred_at: NOW,
        details: Details::new(Action::OptOut, Source::Api),
    };
    writer.append(vec![event], NOW).expect("room on the disk");
}

fn appends(writer: &Writer, next: &AtomicU64) {
    let threads = [1, 64];
    let mut rates = threads.map(|_| Vec::new());
    let mut latencies = threads.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (place, &threads) in threads.iter().enumerate() {
            let before = writer.sequence();
            let (elapsed, mut each) = round(writer, next, threads);
            assert_eq!(writer.sequence(), before + each.len() as u64, "an append is missing");
            rates[place].push(each.len() as f64 / elapsed.as_secs_f64());
            latencies[place].append(&mut each);
        }
    }
    let medians = rates.map(median);
    for ((threads, rate), latencies) in threads.iter().zip(medians).zip(latencies) {
        println!("{threads:>2} threads {rate:>10.0}/s   {}", percentiles(latencies));
    }
    println!("64 threads to one: {:.1} x", medians[1] / medians[0]);
}

/// Some threads append for a while; how long, and how long each append took.
fn round(writer: &Writer, next: &AtomicU64, threads: usize) -> (Duration, Vec<Duration>) {
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let latencies = std::thread::scope(|scope| {
        let work = || {
            let mut latencies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                append(writer, next.fetch_add(1, Ordering::Relaxed));
                latencies.push(started.elapsed());
            }
            latencies
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        std::thread::sleep(ROUND);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|it| it.join().expect("no thread panics")).collect()
    });
    (started.elapsed(), latencies)
}

fn in_process(writer: &Writer, folder: &Path, next: &AtomicU64) -> Vec<Duration> {
    let mut reader = Reader::open(folder).expect("a sound store");
    let (to_reader, indexes) = mpsc::channel::<u64>();
    let (to_writer, seen) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for index in indexes {
                until_seen(&mut reader, key(index), POLL_IN_PROCESS);
                to_writer.send(Instant::now()).expect("the writer listens");
            }
        });
        let appended = (0..SEEN).map(|_| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            to_reader.send(index).expect("the reader listens");
            append(writer, index);
            let acknowledged = Instant::now();
            // It may be seen before it is acknowledged.
            seen.recv().expect("the reader sees it").saturating_duration_since(acknowledged)
        });
        let times = appended.collect();
        drop(to_reader);
        times
    })
}

fn across(writer: &Writer, folder: &Path, next: &AtomicU64) -> Vec<Duration> {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .arg(WATCH)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts");
    let mut questions = child.stdin.take().expect("its input is a pipe");
    let mut answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    let mut times = Vec::new();
    let mut line = String::new();
    // A number that is there already: the answer says that the other process has begun.
    writeln!(questions, "0").expect("the other process reads");
    answers.read_line(&mut line).expect("the other process answers");
    for _ in 0..SEEN {
        let index = next.fetch_add(1, Ordering::Relaxed);
        writeln!(questions, "{index}").expect("the other process reads");
        append(writer, index);
        let acknowledged = Instant::now();
        line.clear();
        answers.read_line(&mut line).expect("the other process answers");
        assert_eq!(line.trim().parse(), Ok(index), "the other process saw something else");
        times.push(acknowledged.elapsed());
    }
    drop(questions);
    assert!(child.wait().expect("the other process ends").success());
    times
}

/// The other process: says each number's index when the store has it.
fn watch(folder: &Path) {
    let mut reader = Reader::open(folder).expect("a sound store");
    let mut answers = std::io::stdout();
    for line in std::io::stdin().lines() {
        let index = line.ok().and_then(|line| line.parse().ok()).expect("an index");
        until_seen(&mut reader, key(index), POLL_ACROSS);
        writeln!(answers, "{index}").and_then(|()| answers.flush()).expect("the bench listens");
    }
}

fn until_seen(reader: &mut Reader, key: SubscriberKey, poll: Duration) {
    loop {
        reader.refresh().expect("a sound store");
        if reader.contains(key).expect("a usable reader") {
            return;
        }
        std::thread::sleep(poll);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    format!("median {:?}, p99 {:?}, slowest {:?}", at(50), at(99), at(100))
}
