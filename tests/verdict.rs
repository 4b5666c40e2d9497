//! The store's verdicts over random histories with all scopes, tiers, grounds and sources, in any
//! order of moments, against the facts themselves: what is folded, kept over and looked up must
//! say what deciding all events again says.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::Random;
use optout::disk::MemoryDisk;
use optout::event::{Action, Category, Details, Ground, Source, Tier};
use optout::number::{Address, BusinessId, Folding, Number, SubscriberKey, fold};
use optout::policy::{Claims, Context, Fact, Policy, Ruling, Scope, refusal};
use optout::query::{Judge, Stale, explain};
use optout::scrub::SuppressionSet;
use optout::store::{Bulk, Moment, NewEvent, Outcome, Reader, WriteError, Writer, init_on};
use optout::time::Timestamp;

/// Of these addresses the first are numbers, the others ids.
const ADDRESSES: u64 = 9;
const NUMBERS: u64 = 5;
const MOMENTS: u64 = 12;

fn number(index: u64) -> Number {
    Number::from_e164(525_512_345_600 + index).unwrap()
}

fn address(index: u64) -> Address {
    match index {
        0..NUMBERS => number(index).into(),
        _ => BusinessId::parse(format!("US.{index}").as_bytes()).unwrap().into(),
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u64) as usize]
}

fn details(random: &mut Random) -> Details {
    let actions = [Action::OptOut, Action::OptOut, Action::Resubscribe, Action::Override];
    let mut details = Details::new(pick(random, &actions), pick(random, Source::ALL));
    details.tier = pick(random, Tier::ALL);
    details.channel = pick(random, &["", "", "sms", "whatsapp"]).to_owned();
    details.sender = pick(random, &["", "", "promo", "+52 55 1111 2222"]).to_owned();
    details.brand = pick(random, &["", "", "acme"]).to_owned();
    match details.action {
        Action::OptOut => {
            let grounds = [
                Ground::Request,
                Ground::Request,
                Ground::Legal,
                Ground::WrongPerson,
                Ground::Protected,
            ];
            details.ground = pick(random, &grounds);
        }
        Action::Resubscribe => details.overrides = random.below(3) == 0,
        _ => details.category = Some(pick(random, &[Category::Utility, Category::Authentication])),
    }
    details
}

fn context(random: &mut Random) -> Context {
    let channel = pick(random, &["", "sms", "whatsapp"]);
    let sender = pick(random, &["", "promo", "525511112222", "other"]);
    let brand = pick(random, &["", "acme", "other"]);
    Context {
        scope: Scope::new(channel, sender, brand).unwrap(),
        category: pick(random, Category::ALL),
    }
}

/// A store, and for each address what was recorded.
struct Life {
    disk: MemoryDisk,
    writer: Writer,
    facts: Vec<Vec<Fact>>,
    /// The ends of links, and when they were recorded.
    links: Vec<(u64, u64, Timestamp)>,
    now: i64,
}

impl Life {
    fn new() -> Life {
        let disk = MemoryDisk::new();
        init_on(&disk, Folding::default(), Timestamp::from_millis(0)).unwrap();
        let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
        let facts = vec![Vec::new(); ADDRESSES as usize];
        Life { disk, writer, facts, links: Vec::new(), now: 1 }
    }

    /// Everything that was recorded until a moment of an address or of one that is linked with it.
    fn pool(&self, index: u64, until: Timestamp) -> Vec<Fact> {
        let mut members = BTreeSet::from([index]);
        loop {
            let known = self.links.iter().filter(|link| link.2 <= until);
            let ends = known.filter(|it| members.contains(&it.0) || members.contains(&it.1));
            let joined: BTreeSet<u64> = ends.flat_map(|it| [it.0, it.1]).collect();
            if joined.is_subset(&members) {
                break;
            }
            members.extend(joined);
        }
        let facts = members.iter().flat_map(|&member| &self.facts[member as usize]);
        facts.filter(|fact| fact.received_at <= until).cloned().collect()
    }

    fn step(&mut self, random: &mut Random) {
        // The clock is set back now and then.
        self.now = match random.below(12) {
            0 => 1.max(self.now - random.below(6) as i64),
            _ => self.now + 1,
        };
        let now = Timestamp::from_millis(self.now);
        match random.below(10) {
            0 => drop(self.writer.compact(now).unwrap()),
            1 => self.bulk(random, now),
            2 => self.link(random, now),
            _ => self.append(random, now),
        }
    }

    fn append(&mut self, random: &mut Random, now: Timestamp) {
        let index = random.below(ADDRESSES);
        let details = details(random);
        let occurred_at = Timestamp::from_millis(random.below(MOMENTS) as i64);
        let sequence = self.writer.sequence() + 1;
        let fact = Fact::new(&details, sequence, occurred_at, now).unwrap();
        let before = self.pool(index, Timestamp::MAX);
        let is_refused = refusal(&fact, &before).is_some();
        let event = NewEvent {
            address: address(index),
            linked: None,
            raw: String::new(),
            occurred_at,
            details,
        };
        let receipt = self.writer.append(vec![event], now).unwrap()[0];
        assert_eq!(receipt.outcome == Outcome::Refused, is_refused);
        if !is_refused {
            self.facts[index as usize].push(fact);
            let (before, after) =
                (Claims::of(&before), Claims::of(&self.pool(index, Timestamp::MAX)));
            assert_eq!(receipt.opted_out, !after.is_empty());
            let changed = matches!(receipt.outcome, Outcome::Added | Outcome::Resubscribed);
            let is_override = receipt.outcome == Outcome::Recorded;
            assert!(is_override || changed == (before != after), "{:?}", receipt.outcome);
        }
    }

    fn link(&mut self, random: &mut Random, now: Timestamp) {
        let (one, other) = (random.below(ADDRESSES), NUMBERS + random.below(ADDRESSES - NUMBERS));
        if one == other {
            return;
        }
        let (sequence, occurred_at) = (self.writer.sequence(), now);
        let details = Details::new(Action::Link, Source::Api);
        let linked = Some(address(other));
        let raw = String::new();
        let event = NewEvent { address: address(one), linked, raw, occurred_at, details };
        let pools = [one, other].map(|end| self.pool(end, Timestamp::MAX));
        let receipt = self.writer.append(vec![event], now).unwrap()[0];
        if receipt.outcome == Outcome::Refused {
            // It would have freed somebody.
            assert_eq!(self.writer.sequence(), sequence);
            let [apart, other] = pools.each_ref().map(|pool| Claims::of(pool));
            let apart = apart.union(&other);
            let together = Claims::of(&pools.concat());
            assert_ne!(together.union(&apart), together);
            return;
        }
        let apart: Vec<Claims> = pools.iter().map(|pool| Claims::of(pool)).collect();
        if receipt.outcome == Outcome::Linked {
            assert_eq!(self.writer.sequence(), sequence + 2);
            self.links.push((one, other, now));
        } else {
            assert_eq!((receipt.outcome, self.writer.sequence()), (Outcome::Already, sequence));
        }
        let pool = self.pool(one, Timestamp::MAX);
        assert_eq!(receipt.opted_out, !Claims::of(&pool).is_empty());
        assert_eq!(pool, self.pool(other, Timestamp::MAX), "they were one already, or are so now");
        let claims = Claims::of(&pool);
        assert!(apart.iter().all(|it| claims.union(it) == claims), "a link frees nobody");
    }

    fn bulk(&mut self, random: &mut Random, now: Timestamp) {
        let mut details = details(random);
        (details.action, details.overrides, details.category) = (Action::OptOut, false, None);
        let mut bulk = Bulk::new();
        let mut rows = Vec::new();
        let reader = Reader::open_on(Arc::new(self.disk.clone())).unwrap();
        for index in 0..ADDRESSES {
            if random.below(2) == 0 {
                let at = Timestamp::from_millis(random.below(MOMENTS) as i64);
                match address(index) {
                    Address::Number(number) => bulk.push(number, at, &number.to_string()),
                    Address::Id(id) => bulk.push_id(&id, at),
                }
                rows.push((reader.key_of(&address(index)).unwrap(), index, at));
            }
        }
        // Recorded in the order of the keys, which for numbers is that of the indexes; ids that
        // nobody has heard of come last.
        rows.sort_by_key(|&(key, ..)| (key.is_none(), key));
        let rows: Vec<_> = rows.into_iter().map(|(_, index, at)| (index, at)).collect();
        for (place, &(index, at)) in rows.iter().enumerate() {
            let sequence = self.writer.sequence() + 1 + place as u64;
            let fact = Fact::new(&details, sequence, at, now).unwrap();
            self.facts[index as usize].push(fact);
        }
        if !rows.is_empty() {
            self.writer.append_bulk(&details, now, &mut bulk).unwrap();
        }
    }

    fn check(&self, reader: &Reader, random: &mut Random) {
        let known: Vec<(u64, SubscriberKey)> = (0..ADDRESSES)
            .filter_map(|index| Some((index, reader.key_of(&address(index)).unwrap()?)))
            .collect();
        for index in (0..ADDRESSES).filter(|index| known.iter().all(|it| it.0 != *index)) {
            let is_silent = self.facts[index as usize].is_empty()
                && self.links.iter().all(|link| link.0 != index && link.1 != index);
            assert!(is_silent, "nobody has heard of {:?}", address(index));
        }
        let keys: Vec<SubscriberKey> = known.iter().map(|&(_, key)| key).collect();
        let policy = Policy::default();
        let context = context(random);
        let judge = Judge::new(
            reader,
            policy.clone(),
            context.clone(),
            Timestamp::from_millis(self.now),
            Stale::Refuse,
        )
        .unwrap();
        let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
        judge.judge_batch(&keys, &mut rulings).unwrap();
        for ((index, key), ruling) in known.iter().zip(rulings) {
            let facts = self.pool(*index, Timestamp::MAX);
            let claims = Claims::of(&facts);
            assert_eq!(reader.claims(*key).unwrap(), claims);
            let expected = policy.on_claims(&claims, &context);
            assert_eq!(ruling, expected, "{context:?} {claims:?}");
            let explanation = explain(&judge, *key).unwrap();
            assert_eq!((explanation.ruling, &explanation.claims), (expected, &claims));
            if !ruling.may_send() {
                let behind = explanation.since.expect("an opt-out is behind it");
                let fact = facts.iter().find(|fact| fact.sequence == behind).unwrap();
                assert_eq!(fact.action, Action::OptOut);
                assert!(fact.scope.may_concern(&context.scope));
                let origin = judge.origin(*key, ruling).unwrap().expect("it has an origin");
                assert_eq!((origin.since, origin.source), (fact.occurred_at, fact.source));
            }
            // As it was known at an earlier moment.
            let at = Timestamp::from_millis(random.below(self.now as u64 + 1) as i64);
            let view = reader.at(Moment::Received(at)).unwrap();
            let now = Timestamp::from_millis(self.now);
            let judge =
                Judge::new(&view, policy.clone(), context.clone(), now, Stale::Refuse).unwrap();
            let then = explain(&judge, *key).unwrap();
            let claims = Claims::of(&self.pool(*index, at));
            let expected = policy.on_claims(&claims, &context);
            assert_eq!(then.ruling, expected);
            let mut ruling = [Ruling::UNANSWERED];
            judge.judge_batch(&[*key], &mut ruling).unwrap();
            assert_eq!(ruling, [expected], "{at} {claims:?}");
            assert_eq!(view.claims(*key).unwrap(), claims);
        }
    }
}

#[test]
fn the_store_rules_as_all_events_decided_again_do() {
    let cases: u64 =
        std::env::var("OPTOUT_TEST_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(400);
    let first = Random::of_test("verdict").0;
    for case in 0..cases {
        let mut random = Random(first.wrapping_add(case));
        let mut life = Life::new();
        let mut reader = Reader::open_on(Arc::new(life.disk.clone())).unwrap();
        for _ in 0..10 + random.below(30) {
            life.step(&mut random);
            if random.below(3) == 0 {
                reader.refresh().unwrap();
                life.check(&reader, &mut random);
            }
        }
        let fresh = Reader::open_on(Arc::new(life.disk.clone())).unwrap();
        life.check(&fresh, &mut random);
        life.writer.compact(Timestamp::from_millis(life.now)).unwrap();
        let folded = Reader::open_on(Arc::new(life.disk.clone())).unwrap();
        life.check(&folded, &mut random);
    }
}

#[test]
fn what_would_not_be_understood_again_is_refused_before_it_is_recorded() {
    let life = Life::new();
    let now = Timestamp::from_millis(5);
    let refused = |details: Details| {
        let event = NewEvent {
            address: number(0).into(),
            linked: None,
            raw: String::new(),
            occurred_at: now,
            details,
        };
        let error = life.writer.append(vec![event], now).unwrap_err();
        assert!(matches!(error, WriteError::Action { .. }), "{error}");
    };
    refused(Details::new(Action::Link, Source::Api));
    refused(Details::new(Action::Retract, Source::Agent));
    let mut begins = Details::new(Action::OptOut, Source::Import);
    begins.batch = Details::NEW_BATCH;
    refused(begins);
    refused(Details::new(Action::Override, Source::Agent));
    let mut marketing = Details::new(Action::Override, Source::Agent);
    marketing.category = Some(Category::Marketing);
    refused(marketing);
    let mut bulk = Bulk::new();
    bulk.push(number(0), now, "");
    let back = Details::new(Action::Resubscribe, Source::Import);
    let error = life.writer.append_bulk(&back, now, &mut bulk).unwrap_err();
    assert!(matches!(error, WriteError::Action { .. }), "{error}");
    assert_eq!(life.writer.sequence(), 0);
}

/// One event in the words of `docs/verdict.md`.
fn event_of(text: &str) -> (Details, i64) {
    let mut words = text.split_whitespace().peekable();
    let action = match words.next().unwrap() {
        "stop" => Action::OptOut,
        "start" => Action::Resubscribe,
        "let" => Action::Override,
        "link" => Action::Link,
        "undo" => Action::Retract,
        other => panic!("{other} is no event"),
    };
    let mut details = Details::new(action, Source::Keyword);
    let mut at = None;
    if action == Action::Override {
        details.category = Some(words.next().unwrap().parse().unwrap());
    }
    if action == Action::Retract {
        details.batch = words.next().unwrap().parse().unwrap();
    }
    if words.next_if_eq(&"all").is_some() {
        details.tier = Tier::All;
    }
    while let Some(word) = words.next() {
        match word {
            "on" => details.channel = words.next().unwrap().to_owned(),
            "from" => details.sender = words.next().unwrap().to_owned(),
            "of" => details.brand = words.next().unwrap().to_owned(),
            "by" => details.source = words.next().unwrap().parse().unwrap(),
            "in" => details.batch = words.next().unwrap().parse().unwrap(),
            "ground" => details.ground = words.next().unwrap().parse().unwrap(),
            "override" => details.overrides = true,
            moment => at = Some(moment.strip_prefix('@').unwrap().parse().unwrap()),
        }
    }
    (details, at.expect("a moment"))
}

fn message_of(text: &str) -> Context {
    let mut words = text.split_whitespace();
    let category = words.next().unwrap().parse().unwrap();
    let (mut channel, mut sender, mut brand) = ("", "", "");
    while let Some(word) = words.next() {
        let name = words.next().unwrap();
        match word {
            "on" => channel = name,
            "from" => sender = name,
            "of" => brand = name,
            other => panic!("{other} is no part of a message"),
        }
    }
    Context { scope: Scope::new(channel, sender, brand).unwrap(), category }
}

#[test]
fn one_message_may_link_several_ids() {
    let life = Life::new();
    let now = Timestamp::from_millis(5);
    let link = |one: u64, other: u64| {
        let mut details = Details::new(Action::Link, Source::Api);
        details.message_id = "m1".to_owned();
        let (address, linked) = (address(one), Some(address(other)));
        let event = NewEvent { address, linked, raw: String::new(), occurred_at: now, details };
        life.writer.append(vec![event], now).unwrap()[0].outcome
    };
    let (one, other) = (NUMBERS, NUMBERS + 1);
    assert_eq!(link(0, one), Outcome::Linked);
    assert_eq!(link(one, other), Outcome::Linked);
    assert_eq!([link(0, one), link(one, 0), link(0, other)], [Outcome::Already; 3]);
}

#[test]
fn every_line_of_the_rules_is_so() {
    let page = include_str!("../docs/verdict.md");
    let lines: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .skip(1)
        .collect();
    assert!(lines.len() >= 40, "the table has {} lines", lines.len());
    for line in lines {
        let [events, message, verdict, rule] = line[..] else { panic!("{line:?}") };
        let disk = MemoryDisk::new();
        init_on(&disk, Folding::default(), Timestamp::from_millis(0)).unwrap();
        let writer = Writer::open_on(Arc::new(disk.clone())).unwrap();
        let mut now = 100;
        for event in events.split(';').map(str::trim).filter(|it| *it != "nothing") {
            let (end, event) = match event.strip_prefix("id ") {
                Some(event) => (address(NUMBERS), event),
                None => (address(0), event),
            };
            let (details, at) = event_of(event);
            let occurred_at = Timestamp::from_millis(at);
            let event = NewEvent {
                address: end,
                linked: (details.action == Action::Link).then(|| address(NUMBERS)),
                raw: String::new(),
                occurred_at,
                details,
            };
            now += 1;
            drop(writer.append(vec![event], Timestamp::from_millis(now)).unwrap());
        }
        for step in ["beyond the generation", "in it"] {
            let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
            let judge = Judge::new(
                &reader,
                Policy::default(),
                message_of(message),
                Timestamp::from_millis(now),
                Stale::Refuse,
            )
            .unwrap();
            let mut rulings = [Ruling::UNANSWERED];
            judge.judge_batch(&[fold(number(0), Folding::default())], &mut rulings).unwrap();
            let found = (rulings[0].decision.as_str(), judge.rule_name(rulings[0].rule));
            assert_eq!(found, (verdict, rule), "{line:?} {step}");
            writer.compact(Timestamp::from_millis(now)).unwrap();
        }
    }
}
