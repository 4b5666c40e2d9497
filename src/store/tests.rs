//! The store against a model: maps of events, decided by reading all of them again each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::column::{ColumnIdentity, ColumnWriter};
use super::core::Limits;
use super::init::init_on;
use super::manifest::Manifest;
use super::verify::verify_on;
use super::{
    Bulk, Erasure, Initialized, Moment, NewEvent, Outcome, Reader, StoreError, WriteError, Writer,
};
use crate::disk::{Disk, Faults, MemoryDisk};
use crate::event::{Action, Details, Source};
use crate::journal::hex;
use crate::number::{Address, BusinessId, Folding, Number, SubscriberKey, fold};
use crate::policy::{Context, Policy, Ruling};
use crate::time::Timestamp;

pub(super) const FOLDING: Folding = Folding { tier2: false };
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

pub(super) fn new_store() -> MemoryDisk {
    let disk = MemoryDisk::new();
    assert_eq!(init_on(&disk, FOLDING, NOW).unwrap(), Initialized::Made);
    disk
}

pub(super) fn reader(disk: &MemoryDisk) -> Reader {
    Reader::open_on(Arc::new(disk.clone())).unwrap()
}

pub(super) fn writer(disk: &MemoryDisk) -> Writer {
    Writer::open_on(Arc::new(disk.clone())).unwrap()
}

pub(super) fn number(index: u64) -> Number {
    Number::from_e164(573_000_000_000 + index).unwrap()
}

pub(super) fn key(index: u64) -> SubscriberKey {
    fold(number(index), FOLDING)
}

pub(super) fn event(index: u64, action: Action, occurred_at: i64) -> NewEvent {
    NewEvent {
        address: number(index).into(),
        linked: None,
        raw: format!("+{}", number(index).get()),
        occurred_at: Timestamp::from_millis(occurred_at),
        details: Details::new(action, Source::Api),
    }
}

pub(super) fn bulk_of(rows: &[(u64, i64)]) -> Bulk {
    let mut bulk = Bulk::new();
    for &(index, at) in rows {
        // All three spellings: with a plus, digits, and as a text.
        let digits = number(index).get().to_string();
        let raw = match index % 3 {
            0 => format!("+{digits}"),
            1 => digits,
            _ => format!("+57 {}", &digits[2..]),
        };
        bulk.push(number(index), Timestamp::from_millis(at), &raw);
    }
    bulk
}

/// Repeatable randomness (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// All events of each subscriber, in the order of recording: moment and whether it opts out.
#[derive(Clone, Default)]
struct Model {
    events: BTreeMap<u64, Vec<(i64, bool, u64)>>,
    /// Moment and sequence of the tombstone of those who were erased. No event of these lives
    /// reaches as far as it does.
    tombstones: BTreeMap<u64, (i64, u64)>,
    sequence: u64,
}

impl Model {
    fn record(&mut self, index: u64, action: Action, at: i64) -> Outcome {
        self.sequence += 1;
        let before = self.is_opted_out(index);
        let opts_out = action == Action::OptOut;
        self.events.entry(index).or_default().push((at, opts_out, self.sequence));
        match (opts_out, before, self.is_opted_out(index)) {
            (true, false, true) => Outcome::Added,
            (true, ..) => Outcome::Already,
            (false, true, false) => Outcome::Resubscribed,
            (false, ..) => Outcome::NotListed,
        }
    }

    /// Drops the history of some and keeps a tombstone of each; how many events are dropped.
    fn erase(&mut self, indexes: &BTreeSet<u64>, at: i64) -> Vec<u64> {
        let mut dropped = Vec::new();
        for index in indexes {
            let events = self.events.remove(index).map_or(0, |events| events.len());
            if events > 0 || !self.tombstones.contains_key(index) {
                self.sequence += 1;
                self.tombstones.insert(*index, (at, self.sequence));
            }
            dropped.push(events as u64);
        }
        dropped
    }

    /// The latest moment decides, a tie is opted out.
    fn is_opted_out(&self, index: u64) -> bool {
        if self.tombstones.contains_key(&index) {
            return true;
        }
        let events = self.events.get(&index).map_or(&[][..], |events| events);
        events.iter().max_by_key(|&&(at, opts_out, _)| (at, opts_out)).is_some_and(|it| it.1)
    }

    fn check(&self, reader: &Reader, subscribers: u64, seed: u64) {
        assert_eq!(reader.sequence(), self.sequence, "seed {seed}");
        let keys: Vec<SubscriberKey> = (0..subscribers).map(key).collect();
        let mut found = vec![false; keys.len()];
        reader.contains_batch(&keys, &mut found).unwrap();
        let lens = reader.lens(&Policy::default(), &Context::default()).unwrap();
        let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
        reader.judge_batch(&lens, &keys, &mut rulings).unwrap();
        for index in 0..subscribers {
            let expected = self.is_opted_out(index);
            assert_eq!(found[index as usize], expected, "seed {seed}, subscriber {index}");
            let may_send = rulings[index as usize].may_send();
            assert_eq!(may_send, !expected, "seed {seed}, subscriber {index}");
            let is_empty = reader.claims(key(index)).unwrap().is_empty();
            assert_eq!(is_empty, !expected, "seed {seed}, subscriber {index}");
            let history = reader.history(key(index)).unwrap();
            let events: Vec<_> = history
                .iter()
                .map(|it| {
                    let opts_out = it.details.action == Action::OptOut;
                    (it.occurred_at.as_millis(), opts_out, it.sequence)
                })
                .collect();
            let tombstone = self.tombstones.get(&index).map(|&(at, sequence)| (at, true, sequence));
            let events_known = self.events.get(&index).cloned().unwrap_or_default();
            let known: Vec<_> = tombstone.into_iter().chain(events_known).collect();
            assert_eq!(events, known, "seed {seed}, subscriber {index}");
            let standing = reader.standing(key(index)).unwrap();
            let since = standing.map(|it| (it.opted_out, it.since));
            assert_eq!(since, self.since(index), "seed {seed}, subscriber {index}");
            let moment = standing.map(|it| it.since_at.as_millis());
            let at = |(_, since)| known.iter().find(|it| it.2 == since).map(|it| it.0);
            assert_eq!(moment, since.and_then(at), "seed {seed}, subscriber {index}");
        }
        let count = (0..subscribers).filter(|&index| self.is_opted_out(index)).count();
        assert_eq!(reader.len().unwrap(), count as u64, "seed {seed}");
    }

    /// Fresh views of random moments; and one that was made earlier, which is as it was.
    fn check_past(&self, reader: &Reader, kept: &mut Kept, random: &mut Random, seed: u64) {
        if let Some((view, last)) = kept {
            assert_eq!(view.refresh().unwrap(), 0, "seed {seed}");
            self.up_to(*last).check(view, SUBSCRIBERS, seed);
        }
        let last = random.below(self.sequence + 1);
        let view = reader.at(Moment::Sequence(last)).unwrap();
        self.up_to(last).check(&view, SUBSCRIBERS, seed);
        self.check_touched(reader, last, seed);
        if kept.is_none() || random.below(3) == 0 {
            // Not asked yet: who has to be decided again is found out later.
            *kept = Some((view.at(Moment::Sequence(last)).unwrap(), last));
        }
        let future = reader.at(Moment::Sequence(self.sequence + 1));
        assert!(matches!(future, Err(StoreError::Future { .. })), "seed {seed}");
    }

    fn check_touched(&self, reader: &Reader, after: u64, seed: u64) {
        let is_touched = |events: &&Vec<(i64, bool, u64)>| events.iter().any(|it| it.2 > after);
        let touched = self.events.iter().filter(|(_, events)| is_touched(events));
        let erased = self.tombstones.iter().filter(|(_, tombstone)| tombstone.1 > after);
        let indexes: BTreeSet<u64> =
            touched.map(|it| *it.0).chain(erased.map(|it| *it.0)).collect();
        let mut touched: Vec<SubscriberKey> = indexes.into_iter().map(key).collect();
        touched.sort_unstable();
        assert_eq!(reader.touched(after).unwrap(), touched, "seed {seed}");
    }

    /// What was known when the event `last` was the newest. Who was erased is so at every moment.
    fn up_to(&self, last: u64) -> Model {
        // Who was erased since can't be told any more: he counts as erased at every moment.
        let mut model = self.clone();
        model.sequence = last;
        for events in model.events.values_mut() {
            events.retain(|it| it.2 <= last);
        }
        model.events.retain(|_, events| !events.is_empty());
        model
    }

    fn since(&self, index: u64) -> Option<(bool, u64)> {
        if let Some((_, sequence)) = self.tombstones.get(&index) {
            return Some((true, *sequence));
        }
        let events = self.events.get(&index)?;
        let lifted = events.iter().filter(|it| !it.1).max_by_key(|it| (it.0, it.2));
        let standing = events
            .iter()
            .filter(|it| it.1 && lifted.is_none_or(|lifted| it.0 >= lifted.0))
            .map(|it| it.2)
            .min();
        standing.map(|since| (true, since)).or(lifted.map(|it| (false, it.2)))
    }
}

const SUBSCRIBERS: u64 = 12;

/// A view of the past and its sequence.
type Kept = Option<(Reader, u64)>;

/// One random life of a store: adds, resubscribes, bulk loads, compactions, reopenings, power
/// cuts, readers that follow.
fn live(seed: u64, steps: usize) {
    let mut random = Random(seed);
    let mut disk = new_store();
    // Some stores fold every bulk at once, some seal a segment after every few records.
    let limits = Limits {
        compact_after_events: [2, 5, u64::MAX][seed as usize % 3],
        compact_seals_bytes: [1, 400, u64::MAX][seed as usize / 3 % 3],
        segment_bytes: [300, 2000, u64::MAX][seed as usize / 9 % 3],
        // Some write the sets anew each time, some list everybody beside them, some a few.
        changes_max: [0, u64::MAX, 4][seed as usize / 27 % 3],
        members_per_change: 1,
        ..Limits::default()
    };
    let open = |disk: &MemoryDisk| writer(disk).with_limits(limits);
    let mut store = open(&disk);
    let mut follower = reader(&disk);
    let mut model = Model::default();
    let mut kept = None;
    for _ in 0..steps {
        match random.below(22) {
            0..8 => {
                let count = 1 + random.below(3);
                let action =
                    if random.below(3) == 0 { Action::Resubscribe } else { Action::OptOut };
                let events: Vec<NewEvent> = (0..count)
                    .map(|_| {
                        let at = random.below(30) as i64;
                        event(random.below(SUBSCRIBERS), action, at)
                    })
                    .collect();
                let expected: Vec<Outcome> = events
                    .iter()
                    .map(|it| {
                        let index = it.address.number().unwrap().get() - 573_000_000_000;
                        model.record(index, action, it.occurred_at.as_millis())
                    })
                    .collect();
                let receipts = store.append(events, NOW).unwrap();
                let outcomes: Vec<Outcome> = receipts.iter().map(|it| it.outcome).collect();
                assert_eq!(outcomes, expected, "seed {seed}");
                assert_eq!(receipts.last().unwrap().sequence, model.sequence, "seed {seed}");
            }
            8..11 => load(&mut random, &store, &mut model, SUBSCRIBERS, seed),
            11..13 => drop(store.compact(NOW).unwrap()),
            13 => {
                drop(store);
                store = open(&disk);
            }
            14 => {
                drop(store);
                disk = disk.after_power_cut();
                store = open(&disk);
                follower = reader(&disk);
                kept = None;
            }
            15..18 => {
                follower.refresh().unwrap();
                model.check(&follower, SUBSCRIBERS, seed);
                model.check_past(&follower, &mut kept, &mut random, seed);
            }
            18 => model.check(&reader(&disk), SUBSCRIBERS, seed),
            19 => assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "seed {seed}"),
            20 => {
                // A view that was made before knows nothing of it.
                kept = None;
                let (indexes, at) = to_erase(&mut random, SUBSCRIBERS);
                let report = store.erase(&erasure(&indexes), Timestamp::from_millis(at)).unwrap();
                let dropped: Vec<u64> = report.people.iter().map(|it| it.events_dropped).collect();
                assert_eq!(dropped, model.erase(&indexes, at), "seed {seed}");
                check_erased(&disk, &indexes, seed);
            }
            _ => {
                kept = None;
                let (indexes, at) = to_erase(&mut random, SUBSCRIBERS);
                let syncs_left = Some(random.below(24) as usize);
                disk.set_faults(Faults { syncs_left, ..Faults::default() });
                let result = store.erase(&erasure(&indexes), Timestamp::from_millis(at));
                drop(store);
                disk.set_faults(Faults::default());
                if random.below(2) == 0 {
                    disk = disk.after_power_cut();
                }
                store = open(&disk);
                follower = reader(&disk);
                if result.is_err() && follower.sequence() == model.sequence {
                    model.check(&follower, SUBSCRIBERS, seed);
                } else {
                    let keys: Vec<SubscriberKey> = indexes.iter().map(|&it| key(it)).collect();
                    let is_held = |&key: &SubscriberKey| follower.contains(key).unwrap();
                    assert!(keys.iter().all(is_held), "seed {seed}");
                }
                // Asking again completes it, whatever was done.
                let report = store.erase(&erasure(&indexes), Timestamp::from_millis(at)).unwrap();
                for (index, erased) in indexes.iter().zip(&report.people) {
                    let again = model.tombstones.get(index).map_or(at, |it| it.0);
                    let is_old =
                        model.tombstones.get(index).is_some_and(|it| it.1 == erased.sequence);
                    let at = if is_old { again } else { at };
                    model.tombstones.insert(*index, (at, erased.sequence));
                    model.events.remove(index);
                }
                model.sequence = reader(&disk).sequence();
                check_erased(&disk, &indexes, seed);
            }
        }
    }
    model.check(&reader(&disk), SUBSCRIBERS, seed);
}

/// A bulk load; the model records its rows in the order in which the store says it does.
fn load(random: &mut Random, store: &Writer, model: &mut Model, subscribers: u64, seed: u64) {
    let rows: Vec<(u64, i64)> = (0..1 + random.below(6))
        .map(|_| (random.below(subscribers), random.below(30) as i64))
        .collect();
    let mut sorted: Vec<(usize, (u64, i64))> = rows.iter().copied().enumerate().collect();
    sorted.sort_by_key(|&(arrival, (index, _))| (index % 3, key(index), arrival));
    let was: Vec<bool> = (0..subscribers).map(|index| model.is_opted_out(index)).collect();
    for (_, (index, at)) in sorted {
        model.record(index, Action::OptOut, at);
    }
    let added =
        (0..subscribers).filter(|&it| !was[it as usize] && model.is_opted_out(it)).count() as u64;
    let details = Details::new(Action::OptOut, Source::Import);
    let report = store.append_bulk(&details, NOW, &mut bulk_of(&rows)).unwrap();
    assert_eq!((report.added, report.already), (added, rows.len() as u64 - added), "seed {seed}");
    assert_eq!(report.sequence, model.sequence, "seed {seed}");
}

fn to_erase(random: &mut Random, subscribers: u64) -> (BTreeSet<u64>, i64) {
    let indexes = (0..1 + random.below(2)).map(|_| random.below(subscribers)).collect();
    (indexes, random.below(30) as i64)
}

fn erasure(indexes: &BTreeSet<u64>) -> Erasure {
    let addresses = indexes.iter().map(|&index| number(index).into()).collect();
    Erasure { addresses, ..Erasure::default() }
}

/// Whether no file holds the erased.
fn check_erased(disk: &MemoryDisk, indexes: &BTreeSet<u64>, seed: u64) {
    for name in disk.list().unwrap() {
        let bytes = disk.bytes(&name).unwrap();
        for &index in indexes {
            let digits = number(index).get().to_string();
            for form in [&digits.as_bytes()[2..], &number(index).get().to_le_bytes()] {
                let found = memchr::memmem::find(&bytes, form);
                assert_eq!(found, None, "seed {seed}, {name}, subscriber {index}");
            }
        }
    }
}

/// How many lives; `OPTOUT_TEST_LIVES` asks for more.
fn lives() -> u64 {
    std::env::var("OPTOUT_TEST_LIVES").ok().and_then(|it| it.parse().ok()).unwrap_or(1000)
}

#[test]
fn random_lives_answer_as_the_model_does() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let seeds = (0..lives()).skip(first).step_by(threads);
            scope.spawn(|| seeds.for_each(|seed| live(seed, 100)));
        }
    });
}

/// A list that is imported twice: everybody has events on both sides, and stood as today.
#[test]
fn a_view_of_the_time_before_a_second_import_is_the_same_for_all_threads() {
    let disk = new_store();
    let store = writer(&disk);
    let details = Details::new(Action::OptOut, Source::Import);
    let rows: Vec<(u64, i64)> = (0..3000).map(|index| (index, index as i64)).collect();
    for _ in 0..2 {
        store.append_bulk(&details, NOW, &mut bulk_of(&rows)).unwrap();
    }
    store.append(vec![event(7, Action::Resubscribe, 9000)], NOW).unwrap();
    store.append(vec![event(3000, Action::OptOut, 1)], NOW).unwrap();
    let reader = reader(&disk);
    let view = reader.at(Moment::Sequence(3000)).unwrap();
    let keys: Vec<SubscriberKey> = (0..=3000).map(key).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut found = vec![false; keys.len()];
                view.contains_batch(&keys, &mut found).unwrap();
                assert!(found[..3000].iter().all(|&found| found) && !found[3000]);
            });
        }
    });
    assert_eq!((view.len().unwrap(), reader.len().unwrap()), (3000, 3000));
    for &key in &keys[..3000] {
        let standing = view.standing(key).unwrap().unwrap();
        assert_eq!(standing.head, standing.since);
        assert!(standing.head <= 3000 && view.history(key).unwrap().len() == 1);
    }
    assert_eq!(view.standing(keys[3000]).unwrap(), None);
}

#[test]
fn an_empty_store_says_so_and_init_is_repeatable() {
    let disk = new_store();
    assert!(reader(&disk).is_empty().unwrap());
    assert_eq!(init_on(&disk, FOLDING, NOW).unwrap(), Initialized::Existed);
    let missing = Reader::open_on(Arc::new(MemoryDisk::new()));
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
}

#[test]
fn init_refuses_foreign_files_and_a_store_without_manifest() {
    let disk = MemoryDisk::new();
    disk.put("letter.txt", b"hello".to_vec());
    assert!(matches!(init_on(&disk, FOLDING, NOW), Err(WriteError::NotEmpty { .. })));
    assert_eq!(disk.list().unwrap(), ["letter.txt"]);
    let disk = new_store();
    writer(&disk).append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    disk.remove("MANIFEST").unwrap();
    let result = init_on(&disk, FOLDING, NOW);
    assert!(matches!(result, Err(WriteError::Store(StoreError::NotAStore { .. }))));
}

#[test]
fn init_that_was_interrupted_is_completed() {
    let disk = new_store();
    disk.rename("MANIFEST", "MANIFEST.next").unwrap();
    assert_eq!(init_on(&disk, FOLDING, NOW).unwrap(), Initialized::Made);
    assert!(reader(&disk).is_empty().unwrap());
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let disk = new_store();
    let first = writer(&disk);
    let second = Writer::open_on(Arc::new(disk.clone()));
    assert!(matches!(second, Err(WriteError::Locked { .. })));
    drop(first);
    writer(&disk);
}

#[test]
fn the_same_message_is_one_event() {
    let disk = new_store();
    let with_id = |index, action| {
        let mut event = event(index, action, 5);
        event.details.message_id = "wamid.7".to_owned();
        event
    };
    let first = writer(&disk).append(vec![with_id(1, Action::OptOut)], NOW).unwrap()[0];
    assert_eq!(first.outcome, Outcome::Added);
    // After a restart, and when the segment has been sealed and folded.
    let store = writer(&disk);
    let again = store.append(vec![with_id(1, Action::OptOut), with_id(2, Action::OptOut)], NOW);
    let again = again.unwrap();
    assert_eq!((again[0].sequence, again[0].outcome), (first.sequence, Outcome::Already));
    assert_eq!((again[1].sequence, again[1].outcome), (2, Outcome::Added));
    store.compact(NOW).unwrap();
    let third = store.append(vec![with_id(1, Action::OptOut)], NOW).unwrap();
    assert_eq!(third[0].sequence, first.sequence);
    assert_eq!(reader(&disk).sequence(), 2);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_reopening() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    disk.set_faults(Faults { syncs_left: Some(0), ..Faults::default() });
    assert!(store.append(vec![event(2, Action::OptOut, 1)], NOW).is_err());
    disk.set_faults(Faults::default());
    let refused = store.append(vec![event(3, Action::OptOut, 1)], NOW);
    assert!(matches!(refused, Err(WriteError::Finished)));
    drop(store);
    let disk = disk.after_power_cut();
    writer(&disk).append(vec![event(4, Action::OptOut, 1)], NOW).unwrap();
    let reader = reader(&disk);
    for (index, expected) in [(1, true), (2, false), (3, false), (4, true)] {
        assert_eq!(reader.contains(key(index)).unwrap(), expected, "subscriber {index}");
    }
}

/// A full disk at every length: what was acknowledged stays, the store opens, and with room
/// again it goes on.
#[test]
fn a_full_disk_loses_nothing_acknowledged() {
    for room in (0..6000).step_by(97) {
        let disk = new_store();
        let used: usize =
            disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len()).sum();
        disk.set_faults(Faults { capacity: Some(used + room), ..Faults::default() });
        let mut acknowledged = Vec::new();
        for index in 0..30 {
            let Ok(store) = Writer::open_on(Arc::new(disk.clone())) else { continue };
            if store.append(vec![event(index, Action::OptOut, 1)], NOW).is_ok() {
                acknowledged.push(index);
            }
            if index % 7 == 0 {
                let _ = store.compact(NOW);
            }
        }
        disk.set_faults(Faults::default());
        let disk = disk.after_power_cut();
        writer(&disk).append(vec![event(99, Action::OptOut, 1)], NOW).unwrap();
        let reader = reader(&disk);
        for index in acknowledged.into_iter().chain([99]) {
            assert!(reader.contains(key(index)).unwrap(), "room {room}, subscriber {index}");
        }
        assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "room {room}");
    }
}

#[test]
fn half_a_generation_on_a_full_disk_is_removed_and_the_writer_goes_on() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    let before = disk.list().unwrap();
    let used: usize = before.iter().map(|name| disk.bytes(name).unwrap().len()).sum();
    disk.set_faults(Faults { capacity: Some(used + 10), ..Faults::default() });
    assert!(store.compact(NOW).is_err());
    assert_eq!(disk.list().unwrap(), before);
    disk.set_faults(Faults::default());
    store.append(vec![event(2, Action::OptOut, 1)], NOW).unwrap();
    assert_eq!(store.compact(NOW).unwrap().opted_out, 2);
}

/// Every sync of a compaction fails once, then the power is cut there.
#[test]
fn a_compaction_interrupted_anywhere_leaves_the_store_as_it_was_or_complete() {
    for syncs in 0..20 {
        let disk = new_store();
        let store = writer(&disk);
        for index in 0..20 {
            store.append(vec![event(index, Action::OptOut, 1)], NOW).unwrap();
        }
        store.append(vec![event(3, Action::Resubscribe, 2)], NOW).unwrap();
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let result = store.compact(NOW);
        drop(store);
        for disk in [disk.clone(), disk.after_power_cut()] {
            disk.set_faults(Faults::default());
            let reader = reader(&disk);
            if result.is_ok() {
                assert_eq!(reader.generation(), 1);
            }
            for index in 0..20 {
                assert_eq!(reader.contains(key(index)).unwrap(), index != 3, "{syncs} syncs");
            }
            writer(&disk).compact(NOW).unwrap();
            assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
        }
    }
}

#[test]
fn threads_that_append_together_all_get_their_own_receipts() {
    let disk = new_store();
    let store = writer(&disk);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for step in 0..50 {
                    let index = thread * 50 + step;
                    let receipt = store.append(vec![event(index, Action::OptOut, 1)], NOW).unwrap();
                    assert_eq!(receipt[0].outcome, Outcome::Added);
                }
            });
        }
    });
    let reader = reader(&disk);
    assert_eq!(reader.len().unwrap(), 400);
    let sequences: Vec<u64> =
        (0..400).map(|index| reader.standing(key(index)).unwrap().unwrap().head).collect();
    let distinct: std::collections::HashSet<u64> = sequences.iter().copied().collect();
    assert_eq!(distinct.len(), 400);
}

/// On a full disk, calls that share a sync with one that fails are not acknowledged either: what
/// was written for them is cut off with it.
#[test]
fn calls_that_one_thread_appends_share_a_sync_and_have_their_own_answers() {
    let disk = new_store();
    let store = writer(&disk);
    let mut nameless = event(2, Action::OptOut, 1);
    nameless.details.note = "\0".to_owned();
    let calls = [
        (vec![event(1, Action::OptOut, 1)], NOW),
        (vec![nameless], NOW),
        (vec![event(3, Action::OptOut, 1), event(1, Action::OptOut, 2)], NOW),
    ];
    disk.set_faults(Faults { syncs_left: Some(1), ..Faults::default() });
    let answers = store.append_each(&calls);
    let outcomes = |at: usize| -> Vec<Outcome> {
        answers[at].as_ref().unwrap().iter().map(|receipt| receipt.outcome).collect()
    };
    assert_eq!(outcomes(0), [Outcome::Added]);
    assert!(matches!(answers[1], Err(WriteError::Text { .. })));
    assert_eq!(outcomes(2), [Outcome::Added, Outcome::Already]);
    assert!(store.is_usable());
    assert!(store.append_each(&calls).iter().all(Result::is_err));
    assert!(!store.is_usable());
    assert_eq!(reader(&disk.after_power_cut()).sequence(), 3);
}

#[test]
fn a_group_with_a_failed_write_acknowledges_nobody() {
    for room in (1000..5000).step_by(37) {
        let disk = new_store();
        let used: usize =
            disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len()).sum();
        let store = writer(&disk);
        disk.set_faults(Faults { capacity: Some(used + room), ..Faults::default() });
        let acknowledged = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, acknowledged) = (&store, &acknowledged);
                scope.spawn(move || {
                    for index in thread * 100..thread * 100 + 30 {
                        if store.append(vec![event(index, Action::OptOut, 1)], NOW).is_err() {
                            break;
                        }
                        acknowledged.lock().unwrap().push(index);
                    }
                });
            }
        });
        drop(store);
        disk.set_faults(Faults::default());
        let disk = disk.after_power_cut();
        drop(writer(&disk));
        let reader = reader(&disk);
        for index in acknowledged.into_inner().unwrap() {
            assert!(reader.contains(key(index)).unwrap(), "room {room}, subscriber {index}");
        }
    }
}

/// Each sync of a compaction that also seals a segment fails once: whatever the writer then still
/// acknowledges is seen by fresh readers, and after a power cut.
#[test]
fn a_failed_swap_of_the_manifest_ends_the_writer() {
    for syncs in 0..24 {
        let disk = new_store();
        let limits = Limits { compact_seals_bytes: 1, ..Limits::default() };
        let store = writer(&disk).with_limits(limits);
        store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let _ = store.compact(NOW);
        disk.set_faults(Faults::default());
        let acknowledged = store.append(vec![event(2, Action::OptOut, 1)], NOW).is_ok();
        drop(store);
        for disk in [disk.clone(), disk.after_power_cut()] {
            for _ in 0..2 {
                let reader = reader(&disk);
                assert!(reader.contains(key(1)).unwrap(), "{syncs} syncs");
                assert!(!acknowledged || reader.contains(key(2)).unwrap(), "{syncs} syncs");
                drop(writer(&disk));
            }
        }
    }
}

/// A reader saw an event that its writer could not sync and took back; the next writer put
/// another of the same length in its place.
#[test]
fn a_reader_notices_that_what_it_read_was_replaced_by_as_many_other_bytes() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    let durable = disk.bytes("journal-0000000001.seg").unwrap().len() as u64;
    store.append(vec![event(2, Action::OptOut, 1)], NOW).unwrap();
    let mut follower = reader(&disk);
    drop(store);
    disk.open_write("journal-0000000001.seg").unwrap().truncate(durable).unwrap();
    writer(&disk).append(vec![event(3, Action::OptOut, 1)], NOW).unwrap();
    follower.refresh().unwrap();
    for (index, expected) in [(1, true), (2, false), (3, true)] {
        assert_eq!(follower.contains(key(index)).unwrap(), expected, "subscriber {index}");
    }
}

#[test]
fn a_reader_does_not_go_over_to_another_store_in_the_same_place() {
    let disk = new_store();
    let store = writer(&disk).with_limits(Limits { compact_seals_bytes: 1, ..Limits::default() });
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    let mut follower = reader(&disk);
    store.compact(NOW).unwrap();
    drop(store);
    // As if the folder had been moved away, where the reader's segment still has a name.
    disk.rename("journal-0000000001.seg", "moved-away.seg").unwrap();
    let other = new_store();
    for name in other.list().unwrap() {
        disk.put(&name, other.bytes(&name).unwrap());
    }
    for _ in 0..2 {
        assert!(matches!(follower.refresh(), Err(StoreError::NotAStore { .. })));
        assert!(matches!(follower.contains(key(1)), Err(StoreError::Unusable { .. })));
    }
}

#[test]
fn a_reader_notices_that_its_folder_was_moved_away_and_a_copy_put_there() {
    let place = tempfile::tempdir().unwrap();
    let [folder, moved] = ["store", "moved"].map(|name| place.path().join(name));
    super::init(&folder, FOLDING, NOW).unwrap();
    let mut follower = Reader::open(&folder).unwrap();
    std::fs::rename(&folder, &moved).unwrap();
    assert!(follower.refresh().is_err());
    assert!(matches!(follower.contains(key(1)), Err(StoreError::Unusable { .. })));
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(&moved).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let store = Writer::open(&folder).unwrap();
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    assert_eq!(follower.refresh().unwrap(), 1);
    assert!(follower.contains(key(1)).unwrap());
}

#[test]
fn moments_of_their_own_are_told_for_each_row_of_a_list() {
    let disk = new_store();
    let store = writer(&disk);
    let rows: Vec<(u64, i64)> = (0..500).map(|index| (index, 7 * index as i64 - 900)).collect();
    let details = Details::new(Action::OptOut, Source::Import);
    store.append_bulk(&details, NOW, &mut bulk_of(&rows)).unwrap();
    for _ in 0..2 {
        let reader = reader(&disk);
        for &(index, at) in &rows {
            let since = reader.opted_out_since(key(index)).unwrap();
            assert_eq!(since, Some((Timestamp::from_millis(at), Source::Import)));
        }
        store.compact(NOW).unwrap();
    }
}

/// Every flipped bit of every file: the answers are right, or there are none.
#[test]
fn no_flipped_bit_changes_an_answer() {
    for changes_max in [0, 5] {
        no_flipped_bit_changes_an_answer_of(changes_max);
    }
}

fn no_flipped_bit_changes_an_answer_of(changes_max: u64) {
    let disk = new_store();
    let limits = Limits { changes_max, members_per_change: 1, ..Limits::default() };
    let store = writer(&disk).with_limits(limits);
    for index in 0..6 {
        store.append(vec![event(index, Action::OptOut, 1)], NOW).unwrap();
        if index == 2 {
            store.compact(NOW).unwrap();
        }
    }
    store.append(vec![event(5, Action::Resubscribe, 2)], NOW).unwrap();
    assert_eq!(store.compact(NOW).unwrap().changes > 0, changes_max > 0);
    store.append(vec![event(7, Action::OptOut, 1)], NOW).unwrap();
    drop(store);
    let expected: Vec<bool> = (0..9).map(|index| index < 5 || index == 7).collect();
    for name in disk.list().unwrap() {
        let whole = disk.bytes(&name).unwrap();
        for byte in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << (byte % 8);
            disk.put(&name, bytes);
            let answers = Reader::open_on(Arc::new(disk.clone())).and_then(|reader| {
                let keys: Vec<SubscriberKey> = (0..9).map(key).collect();
                let mut found = vec![false; 9];
                reader.contains_batch(&keys, &mut found)?;
                (0..9).try_for_each(|index| reader.history(key(index)).map(|_| ()))?;
                Ok(found)
            });
            if let Ok(answers) = answers {
                assert_eq!(answers, expected, "{name}, byte {byte}");
            }
            let report = verify_on(Arc::new(disk.clone()));
            let noticed = report.map_or(true, |report| !report.is_sound());
            assert!(noticed, "{name}, byte {byte}");
        }
        disk.put(&name, whole);
    }
}

#[test]
fn a_generation_of_another_store_or_an_older_journal_is_refused() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    let old_segment = disk.bytes("journal-0000000001.seg").unwrap();
    store.append(vec![event(2, Action::OptOut, 1)], NOW).unwrap();
    store.compact(NOW).unwrap();
    drop(store);
    let whole = disk.bytes("journal-0000000001.seg").unwrap();
    disk.put("journal-0000000001.seg", old_segment);
    let result = Reader::open_on(Arc::new(disk.clone()));
    assert!(matches!(result, Err(StoreError::Damaged { .. })));
    disk.put("journal-0000000001.seg", whole);
    disk.remove("suppressed-0000000001.roaring").unwrap();
    let result = Reader::open_on(Arc::new(disk));
    assert!(matches!(result, Err(StoreError::FileMissing { .. })));
}

#[test]
fn a_profile_that_no_key_can_have_is_damage_even_with_right_checksums() {
    let disk = new_store();
    let writer = writer(&disk);
    let now = Timestamp::from_millis(1_000_000);
    let opt_outs = (0..3).map(|index| event(index, Action::OptOut, 10)).collect();
    writer.append(opt_outs, now).unwrap();
    writer.compact(now).unwrap();
    drop(writer);
    let manifest = Manifest::read(&disk).unwrap();
    let identity =
        ColumnIdentity { store: manifest.store_id().unwrap(), generation: manifest.generation };
    // Profile 0 would make an opted-out subscriber sendable, the others are in no list.
    for places in [[0, 0, 0], [1, 0, 1], [1, 1, 9], [-1, 1, 1]] {
        let bounds = (*places.iter().min().unwrap(), *places.iter().max().unwrap());
        let mut column = ColumnWriter::new(Vec::new(), identity, 3, bounds).unwrap();
        places.iter().for_each(|&place| column.push(place).unwrap());
        let bytes = column.finish().unwrap();
        let mut hostile = manifest.clone();
        let file = &mut hostile.layers[0].profiles;
        (file.bytes, file.xxh3) = (bytes.len() as u64, hex(xxh3_64(&bytes)));
        disk.put(&file.name, bytes);
        hostile.publish(&disk).unwrap();
        let asked = Reader::open_on(Arc::new(disk.clone())).and_then(|reader| {
            let lens = reader.lens(&Policy::default(), &Context::default())?;
            let mut rulings = [Ruling::UNANSWERED; 3];
            reader.judge_batch(&lens, &[key(0), key(1), key(2)], &mut rulings)?;
            (0..3).try_for_each(|index| reader.claims(key(index)).map(drop))?;
            Ok(rulings)
        });
        match asked {
            Err(error) => assert!(error.to_string().contains("profile"), "{error}"),
            Ok(rulings) => panic!("{places:?}: {rulings:?}"),
        }
    }
}

fn id(index: u64) -> BusinessId {
    BusinessId::parse(format!("MX.ENT.{index}").as_bytes()).unwrap()
}

/// A large bulk goes into a generation without the overlay: it must say the same.
#[test]
fn a_bulk_that_is_folded_at_once_says_the_same_of_ids_and_of_who_is_linked_with_them() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let stores = [1, u64::MAX].map(|compact_after_events| {
            let disk = new_store();
            let limits = Limits { compact_after_events, ..Limits::default() };
            let writer = Writer::open_on(Arc::new(disk.clone())).unwrap().with_limits(limits);
            (disk, writer)
        });
        let address = |index: u64| match index % 2 {
            0 => Address::Number(number(index)),
            _ => Address::Id(id(index)),
        };
        for step in 1..10 {
            let (one, other) = (random.below(8), random.below(4) * 2 + 1);
            let rows: Vec<(u64, i64)> =
                (0..random.below(12)).map(|_| (random.below(8), random.below(9) as i64)).collect();
            let choice = random.below(4);
            for (_, writer) in &stores {
                let details = Details::new(Action::OptOut, Source::Import);
                if choice > 1 {
                    let mut bulk = Bulk::new();
                    for &(index, moment) in &rows {
                        match address(index) {
                            Address::Number(number) => {
                                bulk.push(number, Timestamp::from_millis(moment), "x")
                            }
                            Address::Id(id) => bulk.push_id(&id, Timestamp::from_millis(moment)),
                        }
                    }
                    if !rows.is_empty() {
                        writer
                            .append_bulk(&details, Timestamp::from_millis(step), &mut bulk)
                            .unwrap();
                    }
                } else if one != other {
                    let action = if choice == 0 { Action::Link } else { Action::Resubscribe };
                    let event = NewEvent {
                        address: address(one),
                        linked: (choice == 0).then(|| address(other)),
                        raw: String::new(),
                        occurred_at: Timestamp::from_millis(step),
                        details: Details { action, ..details },
                    };
                    writer.append(vec![event], Timestamp::from_millis(step)).unwrap();
                }
            }
            let [folded, kept] = stores.each_ref().map(|(disk, _)| {
                assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "seed {seed}");
                let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
                let of = |index| {
                    let key = reader.key_of(&address(index)).unwrap()?;
                    let standing = reader.standing(key).unwrap()?;
                    let linked = reader.is_linked(&standing).unwrap();
                    let since = (standing.head, standing.since, standing.since_at, linked);
                    Some((since, reader.claims(key).unwrap(), reader.history(key).unwrap()))
                };
                (0..8).map(of).collect::<Vec<_>>()
            });
            assert_eq!(folded, kept, "seed {seed}");
        }
        for (disk, writer) in &stores {
            writer.compact(Timestamp::from_millis(99)).unwrap();
            assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "seed {seed}");
        }
    }
}

/// An id that is looked up in vain counts as one that nobody has heard of.
#[test]
fn a_generation_without_its_table_of_ids_is_damage_even_with_right_checksums() {
    let disk = new_store();
    let store = writer(&disk);
    let opt_out = NewEvent { address: id(7).into(), ..event(1, Action::OptOut, 5) };
    store.append(vec![opt_out], NOW).unwrap();
    store.compact(NOW).unwrap();
    drop(store);
    assert!(reader(&disk).key_of_id(id(7).as_str()).unwrap().is_some());
    let mut manifest = Manifest::read(&disk).unwrap();
    manifest.ids = None;
    manifest.publish(&disk).unwrap();
    let asked = Reader::open_on(Arc::new(disk.clone()));
    assert!(matches!(asked, Err(StoreError::Damaged { .. })), "{asked:?}");
}
