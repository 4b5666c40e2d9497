//! What standard output has acknowledged is there after a kill -9 at any moment.
//!
//! The real binary records and folds, is killed, and the store is then read through the library:
//! every acknowledged event is in it, everything in it was asked for, and every byte verifies.

#![expect(clippy::print_stderr, reason = "random tests print their seed")]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use optout::event::{Action, Details, Source};
use optout::number::{Folding, Number, SubscriberKey, fold};
use optout::query::{self, Filter};
use optout::store::{self, Bulk, Reader, StoreError, Writer};
use optout::time::Timestamp;

const CYCLES: u64 = 200;
/// Numbers handed to a process that adds: more than it can record before it is killed.
const NUMBERS_EACH: u64 = 400;
const FIRST_NUMBER: u64 = 525_500_000_000;
/// Numbers that are in the sets from the beginning: a fold of less than one for 64 of them lists
/// these beside the sets.
const CROWD: u64 = 16_384;

struct Random(u64);

impl Random {
    fn new() -> Random {
        let seed = std::env::var("OPTOUT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let seed = seed.unwrap_or(since.as_nanos() as u64 | 1);
        eprintln!("kill: OPTOUT_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[derive(Default)]
struct Story {
    /// How many numbers were handed to some process, from the first on.
    attempted: u64,
    /// What came back: sequence and number.
    acknowledged: Vec<(u64, Number)>,
    compactions: u64,
    /// Of these, those that left the sets as they were.
    listings: u64,
    /// Numbers that were to be erased: their events may be gone.
    erasing: HashSet<Number>,
    erasures: u64,
}

#[test]
fn nothing_acknowledged_is_lost_by_two_hundred_kills() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    store::init(&store, Folding::default(), Timestamp::now()).unwrap();
    let mut random = Random::new();
    let mut story = Story::default();
    gather_crowd(&store, &mut story);
    for cycle in 0..CYCLES {
        match random.below(8) {
            0..3 => compact_and_kill(&store, &mut random, &mut story),
            3 => erase_and_kill(&store, &mut random, &mut story),
            _ => add_and_kill(&store, &mut random, &mut story),
        }
        check(&store, &story, cycle);
    }
    let acknowledged = story.acknowledged.len() as u64 - CROWD;
    let attempted = story.attempted - CROWD;
    let Story { compactions, listings, erasures, .. } = story;
    eprintln!(
        "{acknowledged} of {attempted} acknowledged, {compactions} folds, {listings} of them beside \
         the sets, and {erasures} erasures completed"
    );
    assert!(acknowledged > CYCLES, "the processes were killed too early to tell anything");
    assert!(acknowledged < attempted, "the processes were killed too late to tell anything");
}

fn spawn(store: &Path, verb: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_optout"))
        .arg("--store")
        .arg(store)
        .args(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Hands numbers on a few at a time, so that many groups are recorded, and kills at some moment.
fn add_and_kill(store: &Path, random: &mut Random, story: &mut Story) {
    let first = FIRST_NUMBER + story.attempted;
    story.attempted += NUMBERS_EACH;
    let each = 1 + random.below(8);
    let mut child = spawn(store, &["add", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let text = thread::scope(|scope| {
        scope.spawn(move || {
            let numbers: Vec<u64> = (first..first + NUMBERS_EACH).collect();
            for numbers in numbers.chunks(each as usize) {
                let lines: String = numbers.iter().map(|number| format!("+{number}\n")).collect();
                if stdin.write_all(lines.as_bytes()).is_err() {
                    return;
                }
                thread::sleep(Duration::from_micros(500));
            }
        });
        let reading = scope.spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        thread::sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap()
    });
    // A last line without its end is no acknowledgement yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [sequence, number, "added"] = fields[..] else { panic!("{line}") };
        let number = number.strip_prefix('+').unwrap().parse().unwrap();
        let number = Number::from_e164(number).unwrap();
        story.acknowledged.push((sequence.parse().unwrap(), number));
    }
}

/// Records those who are in the sets from the beginning.
fn gather_crowd(store: &Path, story: &mut Story) {
    let writer = Writer::open(store).unwrap();
    let mut crowd = Bulk::new();
    let numbers = (FIRST_NUMBER..FIRST_NUMBER + CROWD).map(|it| Number::from_e164(it).unwrap());
    numbers.clone().for_each(|number| crowd.push(number, Timestamp::now(), &number.to_string()));
    let details = Details::new(Action::OptOut, Source::Import);
    writer.append_bulk(&details, Timestamp::now(), &mut crowd).unwrap();
    writer.compact(Timestamp::now()).unwrap();
    story.attempted = CROWD;
    story.acknowledged = (1..).zip(numbers).collect();
}

fn compact_and_kill(store: &Path, random: &mut Random, story: &mut Story) {
    let mut child = spawn(store, &["compact"]);
    thread::sleep(Duration::from_micros(random.below(60_000)));
    child.kill().unwrap();
    if child.wait().unwrap().success() {
        let mut names = std::fs::read_dir(store).unwrap().map(|it| it.unwrap().file_name());
        let is_listed = names.any(|name| name.to_string_lossy().starts_with("changes-"));
        story.compactions += 1;
        story.listings += u64::from(is_listed);
    }
}

/// When it was done before the kill, the number stands in no file.
fn erase_and_kill(store: &Path, random: &mut Random, story: &mut Story) {
    let known = story.acknowledged.len() as u64;
    if known == 0 {
        return;
    }
    let (_, number) = story.acknowledged[random.below(known) as usize];
    story.erasing.insert(number);
    let mut child = spawn(store, &["erase", &number.to_string()]);
    thread::sleep(Duration::from_micros(random.below(150_000)));
    child.kill().unwrap();
    if child.wait().unwrap().success() {
        story.erasures += 1;
        let digits = number.to_string();
        for entry in std::fs::read_dir(store).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let little = number.get().to_le_bytes();
            for form in [&digits.as_bytes()[3..], &little] {
                assert!(!bytes.windows(form.len()).any(|it| it == form), "{digits}");
            }
        }
    }
}

fn check(store: &Path, story: &Story, cycle: u64) {
    let report = store::verify(store).unwrap();
    assert!(report.is_sound(), "cycle {cycle}: {:?}", report.damages);
    let reader = Reader::open(store).unwrap();

    let mut recorded = HashSet::new();
    let mut people = HashSet::new();
    let mut events = 0;
    query::events::<StoreError>(&reader, &Filter::default(), |event| {
        events += 1;
        people.extend(event.key);
        let number = event.address.map(|address| address.number().unwrap());
        recorded.extend(number.map(|number| (event.sequence, number)));
        Ok(true)
    })
    .unwrap();
    let numbers = FIRST_NUMBER..FIRST_NUMBER + story.attempted;
    assert!(recorded.iter().all(|(_, number)| numbers.contains(&number.get())), "cycle {cycle}");
    assert_eq!(events, reader.sequence(), "cycle {cycle}");
    assert_eq!(reader.len().unwrap(), people.len() as u64, "cycle {cycle}");

    let is_lost =
        |event: &&(u64, Number)| !recorded.contains(event) && !story.erasing.contains(&event.1);
    let lost = story.acknowledged.iter().find(is_lost);
    assert_eq!(lost, None, "cycle {cycle}");
    let keys: Vec<SubscriberKey> =
        story.acknowledged.iter().map(|&(_, number)| fold(number, reader.folding())).collect();
    let mut found = vec![false; keys.len()];
    reader.contains_batch(&keys, &mut found).unwrap();
    assert!(found.iter().all(|&found| found), "cycle {cycle}: somebody can be sent to again");
}
