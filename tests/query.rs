//! Ranges, states, statistics and time travel against naive answers over random histories.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use optout::disk::MemoryDisk;
use optout::event::{Action, Details, Event, Source};
use optout::number::{Folding, Number, SubscriberKey, fold};
use optout::policy::{Context, Policy};
use optout::query::{
    By, Checker, DiffError, Difference, Filter, Judge, Stale, Verdict, diff, events, explain,
    states, stats,
};
use optout::store::{Clock, Moment, NewEvent, Reader, StoreError, Writer, init_on};
use optout::time::{TimeRange, Timestamp, Zone};

use common::Random;

const SUBSCRIBERS: u64 = 6;
const MOMENTS: u64 = 12;

fn number(index: u64) -> Number {
    Number::from_e164(525_512_345_600 + index).unwrap()
}

fn moment(step: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + step as i64 * 3_600_000)
}

/// A store with a random history, partly folded; its events in order.
fn history(seed: u64) -> (Reader, Vec<Event>, Random) {
    let mut random = Random(seed);
    let disk = MemoryDisk::new();
    init_on(&disk, Folding::default(), moment(0)).unwrap();
    let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
    let mut received = 0;
    for _ in 0..20 {
        let action =
            [Action::OptOut, Action::OptOut, Action::Resubscribe][random.below(3) as usize];
        let source = [Source::Api, Source::Keyword][random.below(2) as usize];
        received += random.below(2);
        let number = number(random.below(SUBSCRIBERS));
        let event = NewEvent {
            address: number.into(),
            linked: None,
            raw: number.to_string(),
            occurred_at: moment(random.below(MOMENTS)),
            details: Details::new(action, source),
        };
        writer.append(vec![event], moment(received)).unwrap();
        if random.below(8) == 0 {
            writer.compact(moment(received)).unwrap();
        }
    }
    let reader = Reader::open_on(Arc::new(disk)).unwrap();
    let all = found(|visit| events(&reader, &Filter::default(), visit));
    assert_eq!(all.len(), 20);
    assert!(all.iter().zip(1..).all(|(event, sequence)| event.sequence == sequence));
    (reader, all, random)
}

fn found(
    ask: impl FnOnce(&mut dyn FnMut(Event) -> Result<bool, StoreError>) -> Result<(), StoreError>,
) -> Vec<Event> {
    let mut found = Vec::new();
    ask(&mut |event| {
        found.push(event);
        Ok(true)
    })
    .unwrap();
    found
}

fn filter(random: &mut Random) -> Filter {
    let (one, other) = (random.below(MOMENTS + 2), random.below(MOMENTS + 2));
    let bound = |step, random: &mut Random| (random.below(4) > 0).then(|| moment(step));
    let (from, to) = (bound(one.min(other), random), bound(one.max(other), random));
    Filter {
        after: 0,
        range: TimeRange::new(from, to).unwrap(),
        clock: [Clock::Occurred, Clock::Received][random.below(2) as usize],
        source: [None, Some(Source::Keyword)][random.below(2) as usize],
        up_to: [None, Some(random.below(22))][random.below(2) as usize],
    }
}

fn clock(filter: &Filter, event: &Event) -> Timestamp {
    match filter.clock {
        Clock::Occurred => event.occurred_at,
        Clock::Received => event.received_at,
    }
}

fn matches(filter: &Filter, event: &Event) -> bool {
    filter.range.contains(clock(filter, event))
        && filter.source.is_none_or(|source| event.details.source == source)
        && filter.up_to.is_none_or(|last| event.sequence <= last)
}

fn judge(reader: &Reader) -> Judge<'_> {
    Judge::new(reader, Policy::default(), Context::default(), moment(0), Stale::Refuse).unwrap()
}

/// The latest moment decides; a tie is opted out. Nobody can have come back later than it was
/// recorded.
fn is_opted_out<'a>(events: impl Iterator<Item = &'a Event>) -> bool {
    events
        .map(|event| (moment_of(event), event.details.action == Action::OptOut))
        .max()
        .is_some_and(|it| it.1)
}

fn moment_of(event: &Event) -> Timestamp {
    match event.details.action {
        Action::Resubscribe => event.occurred_at.min(event.received_at),
        _ => event.occurred_at,
    }
}

#[test]
fn a_range_gives_its_events_and_no_others() {
    for seed in 0..300 {
        let (reader, all, mut random) = history(seed);
        let filter = filter(&mut random);
        let expected: Vec<&Event> = all.iter().filter(|event| matches(&filter, event)).collect();
        let given = found(|visit| events(&reader, &filter, visit));
        assert_eq!(given.iter().collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

#[test]
fn whoever_goes_on_behind_a_sequence_gets_the_rest() {
    for seed in 0..300 {
        let (reader, _, mut random) = history(seed);
        let filter = filter(&mut random);
        let rest = Filter { after: random.below(22), ..filter.clone() };
        let behind = |events: Vec<Event>| -> Vec<Event> {
            events.into_iter().filter(|event| event.sequence > rest.after).collect()
        };
        let whole = behind(found(|visit| events(&reader, &filter, visit)));
        assert_eq!(found(|visit| events(&reader, &rest, visit)), whole, "seed {seed}");
        let whole = behind(found(|visit| states(&reader, &filter, visit)));
        assert_eq!(found(|visit| states(&reader, &rest, visit)), whole, "seed {seed}");
    }
}

#[test]
fn a_state_gives_each_number_once_that_opted_out_in_the_range_and_is_so_at_its_end() {
    for seed in 0..300 {
        let (reader, all, mut random) = history(seed);
        let filter = filter(&mut random);
        let given = found(|visit| states(&reader, &filter, visit));
        let numbers: BTreeSet<Number> =
            given.iter().map(|event| event.address.clone().unwrap().number().unwrap()).collect();
        assert_eq!(numbers.len(), given.len(), "seed {seed}: nobody twice");
        for index in 0..SUBSCRIBERS {
            let of_number = |event: &&Event| event.address == Some(number(index).into());
            let known = |event: &&Event| {
                of_number(event)
                    && filter.range.to().is_none_or(|to| clock(&filter, event) < to)
                    && filter.up_to.is_none_or(|last| event.sequence <= last)
            };
            let at_end: Vec<&Event> = all.iter().filter(known).collect();
            let lifted = at_end
                .iter()
                .filter(|event| event.details.action == Action::Resubscribe)
                .map(|event| moment_of(event))
                .max();
            // Somebody who came back and opted out again counts by the opt-outs since then.
            let in_range = at_end.iter().any(|event| {
                event.details.action == Action::OptOut
                    && matches(&filter, event)
                    && lifted.is_none_or(|lifted| event.occurred_at >= lifted)
            });
            let expected = in_range && is_opted_out(at_end.iter().copied());
            assert_eq!(numbers.contains(&number(index)), expected, "seed {seed}, {index}");
        }
        assert!(given.iter().all(|event| matches(&filter, event)), "seed {seed}");
    }
}

#[test]
fn time_travel_answers_as_the_store_knew_it() {
    for seed in 0..300 {
        let (reader, all, mut random) = history(seed);
        for index in 0..SUBSCRIBERS {
            let key: SubscriberKey = fold(number(index), Folding::default());
            let at = (random.below(3) > 0).then(|| moment(random.below(MOMENTS)));
            let known: Vec<&Event> = all
                .iter()
                .filter(|event| event.address == Some(number(index).into()))
                .filter(|event| at.is_none_or(|at| event.received_at <= at))
                .collect();
            let view = at.map(|at| reader.at(Moment::Received(at)).unwrap());
            let judge = judge(view.as_ref().unwrap_or(&reader));
            let explanation = explain(&judge, key).unwrap();
            assert_eq!(explanation.events.iter().collect::<Vec<_>>(), known, "seed {seed}");
            let expected = is_opted_out(known.iter().copied());
            assert_eq!(explanation.is_suppressed(), expected, "seed {seed}, {index}");
            assert_eq!(explanation.since_event().is_some(), !known.is_empty(), "seed {seed}");
            assert_eq!(!explanation.rule.is_empty(), expected, "seed {seed}");
        }
    }
}

/// Whoever is opted out by the events that one moment knows, and not by those of the other.
fn differing(
    all: &[Event],
    from: impl Fn(&Event) -> bool,
    to: impl Fn(&Event) -> bool,
) -> Vec<(SubscriberKey, bool)> {
    let is_out = |index: u64, known: &dyn Fn(&Event) -> bool| {
        let of_number = |event: &&Event| event.address == Some(number(index).into());
        is_opted_out(all.iter().filter(of_number).filter(|event| known(event)))
    };
    let differs = |index| {
        let (was, is) = (is_out(index, &from), is_out(index, &to));
        (was != is).then(|| (fold(number(index), Folding::default()), is))
    };
    (0..SUBSCRIBERS).filter_map(differs).collect()
}

fn diff_of(reader: &Reader, from: Moment, to: Moment) -> Result<Vec<Difference>, DiffError> {
    let mut found = Vec::new();
    diff(reader, from, to, |difference| {
        found.push(difference);
        Ok::<(), DiffError>(())
    })?;
    Ok(found)
}

#[test]
fn a_diff_gives_whoever_is_opted_out_at_one_of_two_moments_only() {
    for seed in 0..60 {
        let (reader, all, _) = history(seed);
        let check = |found: Vec<Difference>, expected: Vec<(SubscriberKey, bool)>| {
            let pairs: Vec<_> = found.iter().map(|it| (it.key, it.added)).collect();
            assert_eq!(pairs, expected, "seed {seed}");
            for it in found {
                let event = &all[it.sequence as usize - 1];
                assert_eq!(event.address, it.address, "seed {seed}");
                assert_eq!((event.occurred_at, event.details.source), (it.since, it.source));
                assert_eq!(event.details.action == Action::OptOut, it.added, "seed {seed}");
            }
        };
        let up_to = |last| move |event: &Event| event.sequence <= last;
        let until = |step| move |event: &Event| event.received_at <= moment(step);
        for from in 0..=all.len() as u64 {
            for to in from..=all.len() as u64 {
                let found = diff_of(&reader, Moment::Sequence(from), Moment::Sequence(to));
                check(found.unwrap(), differing(&all, up_to(from), up_to(to)));
            }
            if from > 0 {
                let backwards =
                    diff_of(&reader, Moment::Sequence(from), Moment::Sequence(from - 1));
                assert!(matches!(backwards, Err(DiffError::Backwards { .. })), "seed {seed}");
            }
        }
        for from in 0..MOMENTS {
            for to in from..MOMENTS {
                let [one, other] = [from, to].map(|step| Moment::Received(moment(step)));
                check(
                    diff_of(&reader, one, other).unwrap(),
                    differing(&all, until(from), until(to)),
                );
            }
        }
        let future = diff_of(&reader, Moment::Sequence(0), Moment::Sequence(21));
        assert!(matches!(future, Err(DiffError::Store(StoreError::Future { .. }))));
    }
}

#[test]
fn a_view_of_the_past_is_asked_like_one_of_now() {
    for seed in 0..100 {
        let (reader, all, mut random) = history(seed);
        let last = random.below(21);
        let view = reader.at(Moment::Sequence(last)).unwrap();
        let known: Vec<Event> = all.iter().filter(|it| it.sequence <= last).cloned().collect();
        let given = found(|visit| events(&view, &Filter::default(), visit));
        assert_eq!(given, known, "seed {seed}");
        let filter = Filter { up_to: None, ..filter(&mut random) };
        let then = Filter { up_to: Some(last), ..filter.clone() };
        let state = found(|visit| states(&view, &filter, visit));
        assert_eq!(state, found(|visit| states(&reader, &then, visit)), "seed {seed}");
        let counts = |reader, filter| stats(reader, filter, By::Day, &Zone::UTC).unwrap();
        assert_eq!(counts(&view, &filter), counts(&reader, &then), "seed {seed}");
        let checker = optout::query::Checker::new(judge(&view), None);
        for index in 0..SUBSCRIBERS {
            let of_number = |event: &&Event| event.address == Some(number(index).into());
            let verdict = &checker.verdicts(&[number(index).to_string()]).unwrap()[0];
            let expected = is_opted_out(known.iter().filter(of_number));
            assert_eq!(!verdict.is_allowed(), expected, "seed {seed}, {index}");
        }
        // A later moment than its own can be asked of it too.
        let later = view.at(Moment::Sequence(20)).unwrap();
        assert_eq!((later.sequence(), view.sequence()), (20, last));
        assert_eq!(later.len().unwrap(), reader.len().unwrap(), "seed {seed}");
    }
}

#[test]
fn statistics_count_every_event_once() {
    for seed in 0..100 {
        let (reader, all, mut random) = history(seed);
        let filter = filter(&mut random);
        let expected = all.iter().filter(|event| matches(&filter, event)).count() as u64;
        for by in [By::Day, By::Week, By::Month, By::Source, By::Country, By::Campaign, By::Word] {
            let counted = stats(&reader, &filter, by, &Zone::UTC).unwrap();
            let sum = |pick: fn(&optout::query::Count) -> u64| -> u64 {
                counted.groups.values().map(pick).sum()
            };
            assert_eq!(sum(|it| it.opt_outs), counted.total.opt_outs, "seed {seed}, {by:?}");
            assert_eq!(sum(|it| it.resubscribes), counted.total.resubscribes, "seed {seed}");
            let total = counted.total.opt_outs + counted.total.resubscribes;
            assert_eq!(total, expected, "seed {seed}, {by:?}");
        }
    }
}

#[test]
fn days_are_those_of_the_zone() {
    let disk = MemoryDisk::new();
    init_on(&disk, Folding::default(), moment(0)).unwrap();
    let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
    let at = Timestamp::parse("2026-03-01T03:00:00Z", &Zone::UTC).unwrap();
    let event = NewEvent {
        address: number(1).into(),
        linked: None,
        raw: String::new(),
        occurred_at: at,
        details: Details::new(Action::OptOut, Source::Api),
    };
    writer.append(vec![event], at).unwrap();
    let reader = Reader::open_on(Arc::new(disk)).unwrap();
    let day = |zone: &str| {
        let zone = Zone::parse(zone).unwrap();
        let stats = stats(&reader, &Filter::default(), By::Day, &zone).unwrap();
        stats.groups.into_keys().next().unwrap()
    };
    assert_eq!(day("UTC"), "2026-03-01");
    assert_eq!(day("America/Mexico_City"), "2026-02-28");
}

#[test]
fn verdicts_match_by_key_first_and_never_allow_what_can_not_be_read() {
    let disk = MemoryDisk::new();
    init_on(&disk, Folding::default(), moment(0)).unwrap();
    let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
    let event = NewEvent {
        address: number(1).into(),
        linked: None,
        raw: String::new(),
        occurred_at: moment(3),
        details: Details::new(Action::OptOut, Source::Button),
    };
    writer.append(vec![event], moment(4)).unwrap();
    let mut reader = Reader::open_on(Arc::new(disk)).unwrap();
    assert_eq!(reader.refresh().unwrap(), 0);
    let checker = optout::query::Checker::new(judge(&reader), None);
    let recipients = ["525512345601", "5215512345601", "525512345602", "n/a", "+52"];
    let verdicts = checker.verdicts(&recipients).unwrap();
    for verdict in &verdicts[..2] {
        let Verdict::Suppressed { since, source, .. } = *verdict else { panic!("{verdict:?}") };
        assert_eq!((since, source), (moment(3), Source::Button));
    }
    assert!(verdicts[2].is_allowed());
    assert!(verdicts[3..].iter().all(|verdict| matches!(verdict, Verdict::Invalid(_))));
}

#[test]
fn a_view_that_is_too_old_says_of_nobody_that_he_may_be_messaged() {
    let disk = MemoryDisk::new();
    init_on(&disk, Folding::default(), Timestamp::from_millis(0)).unwrap();
    let reader = Reader::open_on(Arc::new(disk)).unwrap();
    let made = Timestamp::from_millis(1_000_000);
    let judge =
        Judge::new(&reader, Policy::default(), Context::default(), made, Stale::Refuse).unwrap();
    let checker = Checker::new(judge, None).max_age(Duration::from_secs(60));
    let recipients = ["+52 55 1234 5678", "MX.1349", "n/a"];
    for (now, is_known) in [
        (1_000_000, true),
        (1_060_000, true),
        (1_060_001, false),
        (940_000, true),
        (939_999, false),
        (i64::MIN, false),
    ] {
        let verdicts = checker.decide(&recipients, Timestamp::from_millis(now));
        let allowed = verdicts.iter().filter(|verdict| verdict.is_allowed()).count();
        assert_eq!(allowed, if is_known { 2 } else { 0 }, "at {now}");
        let unknown = verdicts.iter().filter(|it| matches!(it, Verdict::Unknown(_))).count();
        assert_eq!(unknown, if is_known { 0 } else { 3 }, "at {now}");
    }
}
