//! Plain rows that are folded apart, against a store that takes them as it takes all others.

use std::sync::Arc;

use super::PlainRow;
use crate::disk::MemoryDisk;
use crate::event::{Action, Details, Source};
use crate::journal::Spelling;
use crate::number::{Address, BusinessId, Number, SubscriberKey, fold};
use crate::policy::Claims;
use crate::store::core::Limits;
use crate::store::tests::{FOLDING, Random, new_store};
use crate::store::verify::verify_on;
use crate::store::{Bulk, NewEvent, Reader, Writer};
use crate::time::Timestamp;

/// People, each with a number; every third has an old form of it as well, which folds to it.
const PEOPLE: u64 = 40;

fn number(person: u64) -> Number {
    Number::from_e164(525_512_345_600 + person).unwrap()
}

fn old_form(person: u64) -> Number {
    Number::from_e164(5_215_512_345_600 + person).unwrap()
}

fn id(person: u64) -> BusinessId {
    BusinessId::parse(format!("MX.ENT.{person}").as_bytes()).unwrap()
}

fn at(moment: u64) -> Timestamp {
    Timestamp::from_millis(moment as i64)
}

fn plain_row(number: Number, spelling: Spelling<'_>) -> Option<PlainRow> {
    PlainRow::of(number, fold(number, FOLDING), spelling)
}

/// A list: plain rows in pieces, each of one moment, and as many others as `others` says.
fn list(random: &mut Random, others: u64) -> Bulk {
    let mut bulk = Bulk::new();
    let people = 1 + random.below(PEOPLE);
    for _ in 0..random.below(4) {
        let spelling = |random: &mut Random| match random.below(3) {
            0 => Spelling::Plus,
            _ => Spelling::Digits,
        };
        let rows: Vec<PlainRow> = (0..random.below(30))
            .map(|_| plain_row(number(random.below(people)), spelling(random)).unwrap())
            .collect();
        // Mostly the moment of the piece before.
        bulk.extend_plain(&rows, at(5 + random.below(8) / 7));
    }
    for _ in 0..random.below(others + 1) {
        let (person, moment) = (random.below(people), at(random.below(9)));
        match random.below(3) {
            0 => bulk.push(old_form(person), moment, "+521"),
            1 => bulk.push(number(person), moment, "a spelling"),
            _ => bulk.push_id(&id(person), moment),
        }
    }
    bulk
}

/// What is known of an address but for the sequences, which follow another order.
type Known = (bool, Timestamp, bool, Claims, Vec<(Timestamp, String, u64)>);

fn known(reader: &Reader, address: &Address) -> Option<Known> {
    let key = reader.key_of(address).unwrap()?;
    let standing = reader.standing(key).unwrap()?;
    let history = reader.history(key).unwrap();
    let linked = reader.is_linked(&standing).unwrap();
    if !linked {
        assert_eq!(history.last().map(|event| event.sequence), Some(standing.head));
    }
    let mut events: Vec<(Timestamp, String, u64)> =
        history.into_iter().map(|it| (it.occurred_at, it.raw, it.details.batch)).collect();
    events.sort();
    let claims = reader.claims(key).unwrap();
    Some((standing.opted_out, standing.since_at, linked, claims, events))
}

fn store(compact_after_events: u64, known_rows: usize) -> (MemoryDisk, Writer) {
    let disk = new_store();
    let limits = Limits { compact_after_events, known_rows, ..Limits::default() };
    let writer = Writer::open_on(Arc::new(disk.clone())).unwrap().with_limits(limits);
    (disk, writer)
}

#[test]
fn plain_rows_that_are_folded_apart_say_what_they_say_among_the_others() {
    for seed in 0..80 {
        // Apart in the first, and in the second with few that are known at a time; never in the
        // third.
        let stores = [store(1, 1_000), store(3, 2), store(u64::MAX, 1_000)];
        let mut random = Random(seed);
        for step in 1..8 {
            let rows = random.0;
            let others = [0, 2, 20][random.below(3) as usize];
            let (one, other) = (random.below(PEOPLE), random.below(PEOPLE));
            let action = [Action::Resubscribe, Action::Link][random.below(2) as usize];
            let reports = stores.each_ref().map(|(_, writer)| {
                let mut details = Details::new(Action::OptOut, Source::Import);
                details.batch = Details::NEW_BATCH;
                let mut bulk = list(&mut Random(rows), others);
                let report = writer.append_bulk(&details, at(step), &mut bulk).unwrap();
                let event = NewEvent {
                    address: number(one).into(),
                    linked: (action == Action::Link).then(|| id(other).into()),
                    raw: String::new(),
                    occurred_at: at(step),
                    details: Details::new(action, Source::Api),
                };
                writer.append(vec![event], at(step)).unwrap();
                (report.added, report.already, report.sequence, report.batch)
            });
            assert_eq!(reports[0], reports[2], "seed {seed}, step {step}");
            assert_eq!(reports[1], reports[2], "seed {seed}, step {step}");
            let mut said = stores.each_ref().map(|(disk, _)| {
                let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
                let addresses =
                    (0..PEOPLE).flat_map(|it| [number(it).into(), Address::from(id(it))]);
                addresses.map(|address| known(&reader, &address)).collect::<Vec<_>>()
            });
            assert!(said[0] == said[2], "seed {seed}, step {step}");
            // Known people's rows that are too many come behind the others: since when somebody
            // is what he is goes by the order of recording.
            said.iter_mut().flatten().flatten().for_each(|known| known.1 = at(0));
            assert!(said[1] == said[2], "seed {seed}, step {step}");
        }
        for (disk, writer) in &stores {
            writer.compact(at(99)).unwrap();
            assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "seed {seed}");
        }
    }
}

#[test]
fn only_what_a_number_alone_says_is_plain() {
    assert!(plain_row(number(1), Spelling::Plus).is_some());
    assert!(plain_row(number(1), Spelling::Digits).is_some());
    assert!(plain_row(number(1), Spelling::Text("52 55 1234 5601")).is_none());
    assert!(plain_row(old_form(1), Spelling::Digits).is_none());
    let longest = Number::from_e164(9_989_999_999_999_999_999).unwrap();
    let key = SubscriberKey::from_u64(longest.get());
    assert!(PlainRow::of(longest, key, Spelling::Digits).is_none());
}

#[test]
fn a_crash_between_journal_and_generation_loses_no_plain_row() {
    let (disk, writer) = store(1, 1_000);
    let details = Details::new(Action::OptOut, Source::Import);
    let rows: Vec<PlainRow> =
        (0..PEOPLE).map(|it| plain_row(number(it), Spelling::Digits).unwrap()).collect();
    let before = disk.after_power_cut();
    let mut bulk = Bulk::new();
    bulk.extend_plain(&rows, at(5));
    writer.append_bulk(&details, at(6), &mut bulk).unwrap();
    // The old manifest with the new journal.
    let crashed = disk.after_power_cut();
    crashed.put("MANIFEST", before.bytes("MANIFEST").unwrap());
    let reader = Reader::open_on(Arc::new(crashed.clone())).unwrap();
    assert_eq!(reader.manifest().sequence, 0);
    for person in 0..PEOPLE {
        assert!(reader.contains(fold(number(person), FOLDING)).unwrap());
    }
    let writer = Writer::open_on(Arc::new(crashed.clone())).unwrap();
    writer.compact(at(7)).unwrap();
    assert!(verify_on(Arc::new(crashed)).unwrap().is_sound());
}
