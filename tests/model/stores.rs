//! Through a store: many people's histories in each, in any order of appends, bulks, folds and
//! reopening, with lists that come and change; asked in every way.

use std::io::Cursor;
use std::sync::Arc;

use optout::disk::MemoryDisk;
use optout::event::{Action, Details, Source};
use optout::number::{Address, BusinessId, Folding, Number};
use optout::policy::{Policy, Ruling};
use optout::query::{Checker, Explanation, Judge, Stale, Verdict as Answer, explain};
use optout::scrub::{Input, Scrubber, Sinks, SuppressionSet};
use optout::store::{
    Bulk, KeySorter, Moment, NewEvent, Outcome, Reader, RegistryContents, RegistryKind,
    RegistryUpdate, UndoReport, Writer, init_on,
};

use crate::cases;
use crate::common::Random;
use crate::histories::{context, decision, details, event, link, message, moment};
use crate::rules::{
    Decision, Event, Layer, Message, Scope, Verdict, record, same_person, standing, takes_back,
    verdict,
};

const PEOPLE: usize = 20;
const STEPS: u64 = 50;

/// A number and two ids, which links may join.
const OF_ONE: usize = 3;
const ADDRESSES: usize = PEOPLE * OF_ONE;

fn address(place: usize) -> Address {
    let (person, which) = (place / OF_ONE, place % OF_ONE);
    match which {
        0 => Number::from_e164(525_512_345_600 + person as u64).unwrap().into(),
        // Not in the order in which they come up.
        _ => Address::Id(BusinessId::parse(format!("US.{which}{person}").as_bytes()).unwrap()),
    }
}

fn text(place: usize) -> String {
    address(place).to_string()
}

fn push(bulk: &mut Bulk, place: usize, occurred_at: i64) {
    match address(place) {
        Address::Number(number) => bulk.push(number, moment(occurred_at), &text(place)),
        Address::Id(id) => bulk.push_id(&id, moment(occurred_at)),
    }
}

/// Addresses in the order in which a list of them is recorded: numbers, ids, unheard-of ids.
fn recorded(reader: &Reader, mut places: Vec<usize>) -> Vec<usize> {
    places.sort_by_key(|&place| {
        let key = reader.key_of(&address(place)).unwrap();
        (key.is_none(), key)
    });
    places
}

/// A store and what its people and lists have gone through.
struct Life {
    disk: MemoryDisk,
    writer: Option<Writer>,
    histories: Vec<Vec<Event>>,
    layers: Vec<Layer>,
    /// The imports so far.
    batches: Vec<u64>,
    clock: i64,
}

impl Life {
    fn new(random: &mut Random) -> Life {
        let disk = MemoryDisk::new();
        init_on(&disk, Folding::default(), moment(0)).unwrap();
        let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
        // With a crowd in the sets, some or all of the others are listed beside them.
        let mut crowd = Bulk::new();
        for place in 0..random.below(3) * 32 * ADDRESSES as u64 {
            crowd.push(Number::from_e164(34_600_000_000 + place).unwrap(), moment(0), "");
        }
        if !crowd.is_empty() {
            let details = Details::new(Action::OptOut, Source::Import);
            writer.append_bulk(&details, moment(0), &mut crowd).unwrap();
            writer.compact(moment(0)).unwrap();
        }
        let writer = Some(writer);
        Life {
            disk,
            writer,
            histories: vec![vec![]; PEOPLE],
            layers: vec![],
            batches: vec![],
            clock: 1,
        }
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().unwrap()
    }

    fn reader(&self) -> Reader {
        Reader::open_on(Arc::new(self.disk.clone())).unwrap()
    }

    fn step(&mut self, random: &mut Random) {
        self.clock += random.below(2) as i64;
        match random.below(16) {
            0 | 1 => drop(self.writer().compact(moment(self.clock)).unwrap()),
            2 => {
                self.writer = None;
                self.writer = Some(Writer::open_on(Arc::new(self.disk.clone())).unwrap());
            }
            3 | 4 => self.bulk(random),
            5 => self.list(random),
            6 if !self.batches.is_empty() => self.undo(random),
            7 | 8 => self.link(random),
            _ => self.append(random),
        }
    }

    /// The clock, which is sometimes set back.
    fn now(&self, random: &mut Random) -> i64 {
        match random.below(8) {
            0 => random.below(self.clock as u64 + 1) as i64,
            _ => self.clock,
        }
    }

    fn event(&self, random: &mut Random, place: usize, now: i64) -> Event {
        let mut event = event(random, &text(place));
        event.occurred_at = random.below(self.clock as u64 + 3) as i64;
        event.received_at = now;
        if random.below(6) == 0 {
            event.message_id = format!("message {}", random.below(3));
        }
        if random.below(4) == 0 && !self.batches.is_empty() {
            event.batch = self.batches[random.index(self.batches.len())];
            if random.below(4) == 0 {
                event.action = "retract".to_owned();
            }
        }
        event
    }

    fn append(&mut self, random: &mut Random) {
        let now = self.now(random);
        let mut events = Vec::new();
        let mut expected = Vec::new();
        let mut sequence = self.writer().sequence() + 1;
        for _ in 0..1 + random.below(30) {
            let place = random.index(ADDRESSES);
            let mut event = self.event(random, place, now);
            event.sequence = sequence;
            let is_recorded = record(&mut self.histories[place / OF_ONE], &event);
            sequence += u64::from(is_recorded);
            expected.push(is_recorded.then_some(event.sequence));
            events.push(NewEvent {
                address: address(place),
                linked: None,
                raw: String::new(),
                occurred_at: moment(event.occurred_at),
                details: details(&event),
            });
        }
        let receipts = self.writer().append(events, moment(now)).unwrap();
        for (receipt, expected) in receipts.iter().zip(expected) {
            let told = || format!("{receipt:?} {:#?}", self.histories);
            match expected {
                Some(sequence) => assert_eq!(receipt.sequence, sequence, "{}", told()),
                None => assert!(matches!(receipt.outcome, Outcome::Refused | Outcome::Already)),
            }
        }
        assert_eq!(self.writer().sequence() + 1, sequence);
    }

    /// Joins two addresses of one person, if that frees neither.
    fn link(&mut self, random: &mut Random) {
        let place = random.index(ADDRESSES);
        let other = place - place % OF_ONE + 1 + random.index(OF_ONE - 1);
        if place == other {
            return;
        }
        let now = self.now(random);
        let mut event = link(random, &text(place), &text(other));
        (event.occurred_at, event.received_at) = (now, now);
        event.sequence = self.writer().sequence() + 1;
        let new = NewEvent {
            address: address(place),
            linked: Some(address(other)),
            raw: String::new(),
            occurred_at: moment(now),
            details: details(&event),
        };
        let receipt = self.writer().append(vec![new], moment(now)).unwrap()[0];
        let history = &mut self.histories[place / OF_ONE];
        let before: Vec<Event> = [place, other]
            .iter()
            .flat_map(|&end| standing(history, &text(end), i64::MAX))
            .collect();
        let mut linked = history.clone();
        let is_recorded = record(&mut linked, &event);
        let after = standing(&linked, &text(place), i64::MAX);
        if receipt.outcome == Outcome::Refused {
            let stands = |it: &Event| after.iter().any(|other| other.sequence == it.sequence);
            // Of those that stand, only an override can have made one weaker.
            let is_weaker = |it: &Event| !stands(it) || it.tier == "all";
            assert!(is_recorded && before.iter().any(is_weaker), "{event:?} {history:#?}");
        } else {
            let expected = if is_recorded { Outcome::Linked } else { Outcome::Already };
            assert_eq!(receipt.outcome, expected, "{event:?} {history:#?}");
            *history = linked;
        }
    }

    fn bulk(&mut self, random: &mut Random) {
        let now = self.now(random);
        let mut shared = self.event(random, 0, now);
        shared.action = "opt-out".to_owned();
        (shared.category, shared.overrides) = (String::new(), false);
        (shared.message_id, shared.linked) = (String::new(), String::new());
        let is_new = random.below(2) == 0;
        if is_new {
            shared.batch = self.writer().sequence() + 1;
        }
        let mut bulk = Bulk::new();
        let mut moments = [0; ADDRESSES];
        let mut places = Vec::new();
        for (place, at) in moments.iter_mut().enumerate() {
            *at = random.below(self.clock as u64 + 3) as i64;
            if random.below(4) == 0 {
                push(&mut bulk, place, *at);
                places.push(place);
            }
        }
        let first = self.writer().sequence() + 1;
        for (sequence, place) in (first..).zip(recorded(&self.reader(), places)) {
            let (address, occurred_at) = (text(place), moments[place]);
            let event = Event { sequence, address, occurred_at, ..shared.clone() };
            assert!(record(&mut self.histories[place / OF_ONE], &event));
        }
        let mut details = details(&shared);
        if is_new {
            details.batch = Details::NEW_BATCH;
        }
        let report = self.writer().append_bulk(&details, moment(now), &mut bulk).unwrap();
        assert_eq!(report.sequence, self.writer().sequence());
        let is_recorded = !bulk.is_empty();
        assert_eq!(report.batch, Some(shared.batch).filter(|&it| it != 0 && is_recorded));
        self.batches.extend(report.batch.filter(|_| is_new));
    }

    fn is_opted_out(&self, place: usize) -> bool {
        !standing(&self.histories[place / OF_ONE], &text(place), i64::MAX).is_empty()
    }

    /// Whether an address has events of an import that no retract takes back.
    fn is_touched(&self, place: usize, batch: u64) -> bool {
        let of_it: Vec<&Event> =
            self.histories[place / OF_ONE].iter().filter(|it| it.address == text(place)).collect();
        let stands = |it: &&Event| !of_it.iter().any(|other| takes_back(other, it));
        of_it.iter().any(|it| it.batch == batch && it.action != "retract" && stands(it))
    }

    /// Takes an import back, and once more, which is nothing.
    fn undo(&mut self, random: &mut Random) {
        let now = self.now(random);
        let batch = self.batches[random.index(self.batches.len())];
        let reader = self.reader();
        let plan = reader.plan_undo(batch).unwrap();
        let mut retract = self.event(random, 0, now);
        retract.action = "retract".to_owned();
        (retract.batch, retract.occurred_at) = (batch, now);
        (retract.category, retract.overrides) = (String::new(), false);
        (retract.message_id, retract.linked) = (String::new(), String::new());
        let touched: Vec<usize> =
            (0..ADDRESSES).filter(|&place| self.is_touched(place, batch)).collect();
        let touched = recorded(&reader, touched);
        let was: Vec<bool> = touched.iter().map(|&place| self.is_opted_out(place)).collect();
        let before = self.writer().sequence();
        for (sequence, &place) in (before + 1..).zip(&touched) {
            let event = Event { sequence, address: text(place), ..retract.clone() };
            self.histories[place / OF_ONE].push(event);
        }
        let mut counts = [touched.len() as u64, 0, 0, 0];
        for (&place, was) in touched.iter().zip(was) {
            let is = self.is_opted_out(place);
            counts[if is {
                2
            } else if was {
                1
            } else {
                3
            }] += 1;
        }
        for expected in [counts, [0; 4]] {
            let details = details(&retract);
            let report = self.writer().undo_import(&details, moment(now)).unwrap();
            let UndoReport { retracted, released, still_opted_out, not_listed, .. } = report;
            assert_eq!([retracted, released, still_opted_out, not_listed], expected);
            assert_eq!(report.sequence, before + counts[0]);
            if expected == counts {
                let sequence = plan.sequence;
                assert_eq!(plan, UndoReport { sequence, ..report });
            }
        }
    }

    /// A new layer, or another list for one.
    fn list(&mut self, random: &mut Random) {
        let place = random.index(4);
        let channel = ["", "sms", "", "whatsapp"][place].to_owned();
        let is_consent = place >= 2;
        // Outside lists hold numbers.
        let mut members = Vec::new();
        let mut keys = KeySorter::new();
        for place in (0..ADDRESSES).step_by(OF_ONE) {
            if random.below(2) == 0 {
                members.push(text(place));
                keys.extend(self.reader().key_of(&address(place)).unwrap());
            }
        }
        let name = format!("list-{place}");
        let update = RegistryUpdate {
            kind: Some(if is_consent { RegistryKind::Consent } else { RegistryKind::Registry }),
            channel: Some(channel.clone()),
            max_age_days: Some(31),
            max_shrink_percent: 100,
            ..RegistryUpdate::new(name.parse().unwrap(), moment(self.clock))
        };
        // Two lists of one layer never have the same time of import.
        self.clock += 1;
        let contents = keys.finish();
        let contents = RegistryContents::List(&contents);
        self.writer().update_registry(&update, contents, moment(self.clock)).unwrap();
        self.layers.push(Layer {
            name,
            is_consent,
            scope: Scope { channel, ..Scope::default() },
            received_at: self.clock,
            members,
        });
    }

    /// What is asked of the rules: the person's events of then, the lists, the address, the moment.
    fn verdict(&self, place: usize, message: &Message, then: Then) -> Verdict {
        let mut history = self.of(place).to_vec();
        history.retain(|event| last_row(event) <= then.sequence);
        verdict(&history, &self.layers, &text(place), message, then.received_at)
    }

    /// Asks of now, and of earlier moments.
    fn check(&self, reader: &Reader, random: &mut Random) {
        let now = Then { sequence: u64::MAX, received_at: i64::MAX };
        self.ask(reader, &message(random), now);
        let received_at = random.below(self.clock as u64 + 1) as i64;
        let view = reader.at(Moment::Received(moment(received_at))).unwrap();
        self.ask(&view, &message(random), Then { received_at, ..now });
        let sequence = random.below(reader.sequence() + 1);
        let view = reader.at(Moment::Sequence(sequence)).unwrap();
        // Which lists there were then is told by their moments, not by a sequence.
        let utility = Message { category: "utility".to_owned(), ..message(random) };
        self.ask(&view, &utility, Then { sequence, ..now });
    }

    /// Asks of everybody in every way.
    fn ask(&self, view: &Reader, message: &Message, then: Then) {
        let (policy, now) = (Policy::default(), moment(self.clock));
        let judge = Judge::new(view, policy, context(message), now, Stale::Refuse).unwrap();
        let verdicts: Vec<Verdict> =
            (0..ADDRESSES).map(|place| self.verdict(place, message, then)).collect();
        self.check_rulings(view, &judge, &verdicts);
        self.check_answers(&judge, &verdicts);
        check_scrub(&judge, &verdicts);
        for (place, verdict) in verdicts.iter().enumerate() {
            match view.key_of(&address(place)).unwrap() {
                Some(key) => {
                    self.check_why(place, &explain(&judge, key).unwrap(), then, verdict);
                }
                None => assert_eq!(verdict.reasons, []),
            }
        }
    }

    fn check_rulings(&self, reader: &Reader, judge: &Judge<'_>, verdicts: &[Verdict]) {
        for (place, verdict) in verdicts.iter().enumerate() {
            let Some(key) = reader.key_of(&address(place)).unwrap() else { continue };
            let mut ruling = [Ruling::UNANSWERED];
            judge.judge_batch(&[key], &mut ruling).unwrap();
            let rule = judge.rule_name(ruling[0].rule);
            let told = || format!("{place} {:#?} {:?}", self.of(place), judge.context());
            assert_eq!(decision(ruling[0].decision), verdict.decision, "{}", told());
            assert!(is_reason(verdict, rule), "{rule} {verdict:?} {}", told());
        }
    }

    fn of(&self, place: usize) -> &[Event] {
        &self.histories[place / OF_ONE]
    }

    fn check_answers(&self, judge: &Judge<'_>, verdicts: &[Verdict]) {
        let addresses: Vec<String> = (0..ADDRESSES).map(text).collect();
        let answers = Checker::new(judge.clone(), None).verdicts(&addresses).unwrap();
        for (place, (answer, verdict)) in answers.iter().zip(verdicts).enumerate() {
            let is_as_decided = match answer {
                Answer::Allowed(_) => verdict.decision == Decision::Allowed,
                Answer::Exempt { rule, .. } => {
                    verdict.decision == Decision::Exempt && is_reason(verdict, rule)
                }
                Answer::Suppressed { since, source, rule, .. } => {
                    let (_, sequence) =
                        verdict.reasons.iter().find(|(reason, _)| reason == rule).unwrap();
                    let first =
                        |sequence: u64| self.of(place).iter().find(|it| it.sequence == sequence);
                    let source = source.as_str();
                    verdict.decision == Decision::Suppressed
                        && match sequence.and_then(first) {
                            None => source == "registry",
                            Some(it) => moment(it.occurred_at) == *since && it.source == source,
                        }
                }
                _ => false,
            };
            assert!(is_as_decided, "{place} {answer:?} {verdict:?} {:#?}", self.of(place));
        }
    }

    fn check_why(&self, place: usize, why: &Explanation, then: Then, verdict: &Verdict) {
        let told = || format!("{place} {then:?} {:#?} {why:?}", self.of(place));
        assert_eq!(decision(why.ruling.decision), verdict.decision, "{}", told());
        assert!(is_reason(verdict, &why.rule), "{verdict:?} {}", told());
        if let Some((_, Some(first))) = verdict.reasons.iter().find(|(it, _)| *it == why.rule) {
            assert_eq!(why.since, Some(*first), "{}", told());
        }
        let mut history = self.of(place).to_vec();
        history.retain(|event| last_row(event) <= then.sequence);
        let person = same_person(&history, &text(place), then.received_at);
        let mut known = vec![];
        for event in history {
            if event.received_at <= then.received_at && person.contains(&event.address) {
                known.extend(event.sequence..=last_row(&event));
            }
        }
        let told_of: Vec<u64> = why.events.iter().map(|it| it.sequence).collect();
        assert_eq!(told_of, known, "{}", told());
    }
}

/// A moment in the life of a store: what had been recorded and received until then.
#[derive(Clone, Copy, Debug)]
struct Then {
    sequence: u64,
    received_at: i64,
}

/// A link has a row for each end.
fn last_row(event: &Event) -> u64 {
    event.sequence + u64::from(event.action == "link")
}

fn is_reason(verdict: &Verdict, rule: &str) -> bool {
    match rule {
        "" => verdict.reasons.is_empty(),
        rule => verdict.reasons.iter().any(|(reason, _)| *reason == rule),
    }
}

fn check_scrub(judge: &Judge<'_>, verdicts: &[Verdict]) {
    let rows: Vec<String> = (0..ADDRESSES).map(|place| text(place) + "\n").collect();
    let list = format!("phone\n{}", rows.concat());
    let (mut kept, mut suppressed) = (Vec::new(), Vec::new());
    let sinks = Sinks::new().kept("kept", &mut kept).suppressed("suppressed", &mut suppressed);
    let report = Scrubber::new(judge).run(Input::reader("list", Cursor::new(list)), sinks).unwrap();
    let of = |decision| {
        move |(verdict, row): (&Verdict, String)| (verdict.decision == decision).then_some(row)
    };
    let sent = verdicts.iter().zip(rows.clone());
    let sent = sent.filter(|(verdict, _)| verdict.decision != Decision::Suppressed);
    let sent: String = sent.map(|(_, row)| row).collect();
    assert_eq!(String::from_utf8(kept).unwrap(), format!("phone\n{sent}"));
    let exempt = verdicts.iter().zip(rows.clone()).filter_map(of(Decision::Exempt)).count();
    assert_eq!(report.exempt, exempt as u64);
    let stopped = verdicts.iter().zip(rows).filter_map(of(Decision::Suppressed));
    let text = String::from_utf8(suppressed).unwrap();
    let told: Vec<&str> = text.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(told, stopped.map(|row| row.trim().to_owned()).collect::<Vec<_>>());
}

#[test]
fn a_store_rules_as_the_rules_say_however_it_is_asked() {
    let first = Random::of_test("a_store_rules_as_the_rules_say").0;
    for case in 0..cases(20_000) / 2_000 {
        let mut random = Random(first.wrapping_add(case));
        let mut life = Life::new(&mut random);
        let mut reader = life.reader();
        for step in 1..=STEPS {
            life.step(&mut random);
            if step % 25 == 0 {
                reader.refresh().unwrap();
                life.check(&reader, &mut random);
                life.check(&life.reader(), &mut random);
            }
        }
    }
}
