//! Through a store: many people's histories in each, in any order of appends, bulks, folds and
//! reopening, with lists that come and change; asked in every way.

use std::io::Cursor;
use std::sync::Arc;

use optout::disk::MemoryDisk;
use optout::event::Details;
use optout::number::{Folding, Number, SubscriberKey, fold};
use optout::policy::{Policy, Ruling};
use optout::query::{Checker, Judge, Stale, Verdict as Answer, explain};
use optout::scrub::{Input, Scrubber, Sinks, SuppressionSet};
use optout::store::{
    Bulk, KeySorter, Moment, NewEvent, Outcome, Reader, RegistryContents, RegistryKind,
    RegistryUpdate, UndoReport, Writer, init_on,
};

use crate::cases;
use crate::common::Random;
use crate::histories::{context, decision, details, event, message, moment};
use crate::rules::{
    Decision, Event, Layer, Message, Scope, Verdict, record, standing, takes_back, verdict,
};

const PEOPLE: usize = 120;
const STEPS: u64 = 50;

fn number(person: usize) -> Number {
    Number::from_e164(525_512_345_600 + person as u64).unwrap()
}

fn key(person: usize) -> SubscriberKey {
    fold(number(person), Folding::default())
}

fn address(person: usize) -> String {
    number(person).to_string()
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
    fn new() -> Life {
        let disk = MemoryDisk::new();
        init_on(&disk, Folding::default(), moment(0)).unwrap();
        let writer = Some(Writer::open_on(Arc::new(disk.clone())).unwrap());
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

    fn event(&self, random: &mut Random, person: usize, now: i64) -> Event {
        let mut event = event(random, &address(person));
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
            let person = random.index(PEOPLE);
            let mut event = self.event(random, person, now);
            event.sequence = sequence;
            let is_recorded = record(&mut self.histories[person], &event);
            sequence += u64::from(is_recorded);
            expected.push(is_recorded.then_some(event.sequence));
            events.push(NewEvent {
                address: number(person).into(),
                linked: None,
                raw: String::new(),
                occurred_at: moment(event.occurred_at),
                details: details(&event),
            });
        }
        let receipts = self.writer().append(events, moment(now)).unwrap();
        for (receipt, expected) in receipts.iter().zip(expected) {
            match expected {
                Some(sequence) => assert_eq!(receipt.sequence, sequence),
                None => assert!(
                    matches!(receipt.outcome, Outcome::Refused) || receipt.sequence < sequence
                ),
            }
        }
        assert_eq!(self.writer().sequence() + 1, sequence);
    }

    fn bulk(&mut self, random: &mut Random) {
        let now = self.now(random);
        let mut shared = self.event(random, 0, now);
        shared.action = "opt-out".to_owned();
        (shared.category, shared.overrides) = (String::new(), false);
        shared.message_id = String::new();
        let is_new = random.below(2) == 0;
        if is_new {
            shared.batch = self.writer().sequence() + 1;
        }
        let mut bulk = Bulk::new();
        // Recorded in the order of the keys, which is that of the people.
        for person in 0..PEOPLE {
            if random.below(3) > 0 {
                continue;
            }
            let occurred_at = random.below(self.clock as u64 + 3) as i64;
            bulk.push(number(person), moment(occurred_at), &address(person));
            let sequence = self.writer().sequence() + bulk.len() as u64;
            let address = address(person);
            let event = Event { sequence, address, occurred_at, ..shared.clone() };
            assert!(record(&mut self.histories[person], &event));
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

    /// Takes an import back, and once more, which is nothing.
    fn undo(&mut self, random: &mut Random) {
        let now = self.now(random);
        let batch = self.batches[random.index(self.batches.len())];
        let plan = self.reader().plan_undo(batch).unwrap();
        let mut retract = self.event(random, 0, now);
        retract.action = "retract".to_owned();
        (retract.batch, retract.occurred_at) = (batch, now);
        (retract.category, retract.overrides) = (String::new(), false);
        retract.message_id = String::new();
        let mut counts = [0; 4];
        let mut sequence = self.writer().sequence();
        for person in 0..PEOPLE {
            let history = &mut self.histories[person];
            let is_taken_back = |it: &Event| history.iter().any(|other| takes_back(other, it));
            let mut of_it = history.iter().filter(|it| it.batch == batch && it.action != "retract");
            if of_it.all(is_taken_back) {
                continue;
            }
            sequence += 1;
            let address = address(person);
            let is_opted_out = |it: &[Event]| !standing(it, &address, i64::MAX).is_empty();
            let was = is_opted_out(history);
            history.push(Event { sequence, address: address.clone(), ..retract.clone() });
            let is = is_opted_out(history);
            counts[0] += 1;
            counts[if is {
                2
            } else if was {
                1
            } else {
                3
            }] += 1;
        }
        for (expected, sequence) in [(counts, sequence), ([0; 4], sequence)] {
            let details = details(&retract);
            let report = self.writer().undo_import(&details, moment(now)).unwrap();
            let UndoReport { retracted, released, still_opted_out, not_listed, .. } = report;
            assert_eq!([retracted, released, still_opted_out, not_listed], expected);
            assert_eq!(report.sequence, sequence);
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
        let members: Vec<usize> = (0..PEOPLE).filter(|_| random.below(2) == 0).collect();
        let mut keys = KeySorter::new();
        keys.extend(members.iter().map(|&person| key(person)));
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
            members: members.into_iter().map(address).collect(),
        });
    }

    fn verdict(&self, person: usize, message: &Message, at: i64) -> Verdict {
        verdict(&self.histories[person], &self.layers, &address(person), message, at)
    }

    /// Asks of everybody in every way.
    fn check(&self, reader: &Reader, random: &mut Random) {
        let message = message(random);
        let policy = Policy::default();
        let now = moment(self.clock);
        let judge = Judge::new(reader, policy, context(&message), now, Stale::Refuse).unwrap();
        let verdicts: Vec<Verdict> =
            (0..PEOPLE).map(|person| self.verdict(person, &message, i64::MAX)).collect();
        self.check_rulings(&judge, &verdicts);
        self.check_answers(&judge, &verdicts);
        check_scrub(&judge, &verdicts);
        for (person, verdict) in verdicts.iter().enumerate() {
            self.check_why(&judge, person, None, verdict);
        }
        self.check_then(reader, &message, random.below(self.clock as u64 + 1) as i64);
    }

    /// As the store knew it at an earlier moment.
    fn check_then(&self, reader: &Reader, message: &Message, at: i64) {
        let view = reader.at(Moment::Received(moment(at))).unwrap();
        let (policy, now) = (Policy::default(), moment(self.clock));
        let judge = Judge::new(&view, policy, context(message), now, Stale::Refuse).unwrap();
        let verdicts: Vec<Verdict> =
            (0..PEOPLE).map(|person| self.verdict(person, message, at)).collect();
        self.check_rulings(&judge, &verdicts);
        for (person, verdict) in verdicts.iter().enumerate() {
            self.check_why(&judge, person, Some(at), verdict);
        }
    }

    fn check_rulings(&self, judge: &Judge<'_>, verdicts: &[Verdict]) {
        let keys: Vec<SubscriberKey> = (0..PEOPLE).map(key).collect();
        let mut rulings = vec![Ruling::UNANSWERED; PEOPLE];
        judge.judge_batch(&keys, &mut rulings).unwrap();
        for (person, (ruling, verdict)) in rulings.iter().zip(verdicts).enumerate() {
            let rule = judge.rule_name(ruling.rule);
            let told = || format!("{:#?} {:?}", self.histories[person], judge.context());
            assert_eq!(decision(ruling.decision), verdict.decision, "{}", told());
            assert!(is_reason(verdict, rule), "{rule} {verdict:?} {}", told());
        }
    }

    fn check_answers(&self, judge: &Judge<'_>, verdicts: &[Verdict]) {
        let addresses: Vec<String> = (0..PEOPLE).map(address).collect();
        let answers = Checker::new(judge.clone(), None).verdicts(&addresses).unwrap();
        for (person, (answer, verdict)) in answers.iter().zip(verdicts).enumerate() {
            let is_as_decided = match answer {
                Answer::Allowed(_) => verdict.decision == Decision::Allowed,
                Answer::Exempt { rule, .. } => {
                    verdict.decision == Decision::Exempt && is_reason(verdict, rule)
                }
                Answer::Suppressed { since, source, rule, .. } => {
                    let (_, sequence) =
                        verdict.reasons.iter().find(|(reason, _)| reason == rule).unwrap();
                    let behind = sequence.map(|sequence| self.behind(person, sequence));
                    let source = source.as_str();
                    verdict.decision == Decision::Suppressed
                        && behind.map_or(source == "registry", |event| {
                            moment(event.occurred_at) == *since && event.source == source
                        })
                }
                _ => false,
            };
            assert!(is_as_decided, "{answer:?} {verdict:?} {:#?}", self.histories[person]);
        }
    }

    fn behind(&self, person: usize, sequence: u64) -> &Event {
        self.histories[person].iter().find(|event| event.sequence == sequence).unwrap()
    }

    fn check_why(&self, judge: &Judge<'_>, person: usize, at: Option<i64>, verdict: &Verdict) {
        let why = explain(judge, key(person)).unwrap();
        let told = || format!("at {at:?} {:#?} {why:?}", self.histories[person]);
        assert_eq!(decision(why.ruling.decision), verdict.decision, "{}", told());
        assert!(is_reason(verdict, &why.rule), "{verdict:?} {}", told());
        if let Some((_, Some(first))) = verdict.reasons.iter().find(|(it, _)| *it == why.rule) {
            assert_eq!(why.since, Some(*first), "{}", told());
        }
        let known =
            self.histories[person].iter().filter(|it| at.is_none_or(|at| it.received_at <= at));
        let known: Vec<u64> = known.map(|event| event.sequence).collect();
        assert_eq!(why.events.iter().map(|it| it.sequence).collect::<Vec<_>>(), known);
    }
}

fn is_reason(verdict: &Verdict, rule: &str) -> bool {
    match rule {
        "" => verdict.reasons.is_empty(),
        rule => verdict.reasons.iter().any(|(reason, _)| *reason == rule),
    }
}

fn check_scrub(judge: &Judge<'_>, verdicts: &[Verdict]) {
    let rows: Vec<String> = (0..PEOPLE).map(|person| address(person) + "\n").collect();
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
    for case in 0..cases(20_000) / 1_000 {
        let mut random = Random(first.wrapping_add(case));
        let mut life = Life::new();
        let mut reader = life.reader();
        for step in 1..=STEPS {
            life.step(&mut random);
            if step % 10 == 0 {
                reader.refresh().unwrap();
                life.check(&reader, &mut random);
                life.check(&life.reader(), &mut random);
            }
        }
    }
}
