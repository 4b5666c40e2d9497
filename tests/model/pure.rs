//! The policy alone.

use std::collections::BTreeSet;

use optout::event::Category;
use optout::policy::{Claims, Context, Fact, Policy, Ruling, refusal};

use crate::cases;
use crate::common::Random;
use crate::histories::{MOMENTS, context, decision, event, fact, message, policy_scope, scope};
use crate::rules::{Decision, Event, Layer, Verdict, record, verdict};

const ADDRESSES: &[&str] = &["number", "number", "number", "id", "another number"];

/// Events of a few addresses in the order of arrival, with links, batches and retracts.
fn history(random: &mut Random, length: u64) -> Vec<Event> {
    let (has_links, has_batches) = (random.below(4) == 0, random.below(4) == 0);
    let mut clock = random.below(3) as i64;
    let jumps = random.below(3) == 0;
    let mut history = Vec::new();
    for sequence in 1..=length {
        let address = if has_links { random.pick(ADDRESSES) } else { "number" };
        let mut event = event(random, address);
        event.sequence = sequence;
        if has_links && random.below(4) == 0 {
            event.action = "link".to_owned();
            event.linked = random.pick(ADDRESSES).to_owned();
        }
        if has_batches {
            event.batch = random.below(3);
            if random.below(4) == 0 {
                event.action = "retract".to_owned();
            }
        }
        // The clock goes on, or is anywhere.
        clock += random.below(4) as i64;
        event.received_at = if jumps { event.received_at } else { clock };
        history.push(event);
    }
    history
}

fn layers(random: &mut Random) -> Vec<Layer> {
    let layer = |random: &mut Random, place: u64| Layer {
        name: format!("layer {}", random.below(3)),
        is_consent: random.below(2) == 0,
        scope: scope(random),
        received_at: place as i64,
        members: ["number", "id"]
            .into_iter()
            .filter(|_| random.below(2) == 0)
            .map(str::to_owned)
            .collect(),
    };
    let count = random.below(4);
    (0..count).map(|place| layer(random, place)).collect()
}

/// The facts that are one person's: sets of addresses, joined link by link.
fn pooled(history: &[Event], address: &str, at: i64) -> Vec<Fact> {
    let mut people: Vec<BTreeSet<&str>> = vec![BTreeSet::from([address])];
    let known = || history.iter().filter(|event| event.received_at <= at);
    for link in known().filter(|event| event.action == "link") {
        let ends = BTreeSet::from([&*link.address, &*link.linked]);
        let (joined, mut others): (Vec<_>, Vec<_>) =
            people.into_iter().partition(|person| !person.is_disjoint(&ends));
        others.push(joined.into_iter().flatten().chain(ends).collect());
        people = others;
    }
    let person = people.into_iter().find(|person| person.contains(address)).unwrap();
    known().filter(|event| person.contains(&*event.address)).map(fact).collect()
}

/// What the lists say, as a judge asks them.
fn with_layers(
    policy: &Policy,
    context: &Context,
    ruling: Ruling,
    layers: &[Layer],
    address: &str,
) -> Ruling {
    let last = layers.iter().enumerate().filter(|(place, layer)| {
        !layers[place + 1..].iter().any(|later| later.name == layer.name)
            && layer.members.iter().any(|it| it == address)
    });
    let on: Vec<_> = last.map(|(_, it)| (it.is_consent, policy_scope(&it.scope))).collect();
    let is_listed = on.iter().any(|(consent, at)| !consent && at.may_concern(&context.scope));
    let agreed = on.iter().any(|(consent, at)| *consent && at.covers(&context.scope));
    match is_listed && policy.registries_matter(context.category) {
        true => ruling.stronger(policy.on_registry(context, agreed)),
        false => ruling,
    }
}

/// Panics unless the ruling is the verdict, by one of its rules.
fn assert_same(policy: &Policy, ruling: Ruling, verdict: &Verdict, told: &dyn Fn() -> String) {
    assert_eq!(decision(ruling.decision), verdict.decision, "{}", told());
    let rule = ruling.rule.and_then(|rule| policy.rule(rule)).map(|rule| rule.name.as_str());
    let is_a_reason = match rule {
        None => verdict.reasons.is_empty(),
        Some(rule) => verdict.reasons.iter().any(|(reason, _)| *reason == rule),
    };
    assert!(is_a_reason, "{rule:?} is none of {:?}: {}", verdict.reasons, told());
}

#[test]
fn a_policy_rules_as_the_rules_say_over_random_histories() {
    let first = Random::of_test("a_policy_rules_as_the_rules_say").0;
    let policy = Policy::default();
    for case in 0..cases(20_000) {
        let mut random = Random(first.wrapping_add(case));
        let length = 1 + random.below(8);
        let (history, layers) = (history(&mut random, length), layers(&mut random));
        let message = message(&mut random);
        let address = random.pick(ADDRESSES);
        let at = if random.below(4) == 0 { random.below(2 * MOMENTS) as i64 } else { i64::MAX };
        // The layers' own moments are the store's concern.
        let known: Vec<Layer> =
            layers.iter().filter(|layer| layer.received_at <= at).cloned().collect();
        let context = context(&message);
        let claims = Claims::of(&pooled(&history, address, at));
        let ruling = policy.on_claims(&claims, &context);
        let ruling = with_layers(&policy, &context, ruling, &known, address);
        let verdict = verdict(&history, &layers, address, &message, at);
        assert_same(&policy, ruling, &verdict, &|| {
            format!("case {case}: {history:#?} {layers:#?} {message:?} {address} at {at}")
        });
    }
}

#[test]
fn what_is_refused_is_what_the_rules_refuse() {
    let first = Random::of_test("what_is_refused_is_what_the_rules_refuse").0;
    let mut refused = 0;
    for case in 0..cases(5_000) {
        let mut random = Random(first.wrapping_add(case));
        let length = 1 + random.below(8);
        let mut recorded = Vec::new();
        for mut event in history(&mut random, length).into_iter().filter(|it| it.action != "link") {
            event.address = "number".to_owned();
            let facts: Vec<Fact> = recorded.iter().map(fact).collect();
            let is_refused = refusal(&fact(&event), &facts).is_some();
            assert_eq!(
                !record(&mut recorded, &event),
                is_refused,
                "{case}: {event:?} after {recorded:#?}"
            );
            refused += u64::from(is_refused);
        }
    }
    assert!(refused > 0);
}

/// All orders of so many things.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for last in 0..count {
        let mut longer = Vec::new();
        for order in &all {
            for place in 0..=last {
                let mut order: Vec<usize> = order.clone();
                order.insert(place, last);
                longer.push(order);
            }
        }
        all = longer;
    }
    all
}

/// The events as they arrive in an order: with their own moments of recording, as if the clock
/// were set, or with those of a clock that goes on.
fn arrived(history: &[Event], order: &[usize], is_set: bool) -> Vec<Event> {
    let mut clock: Vec<i64> = history.iter().map(|event| event.received_at).collect();
    clock.sort_unstable();
    let mut arrived: Vec<Event> = order.iter().map(|&place| history[place].clone()).collect();
    for (place, event) in arrived.iter_mut().enumerate() {
        event.sequence = place as u64 + 1;
        event.received_at = if is_set { event.received_at } else { clock[place] };
    }
    arrived
}

/// Why the order of arrival may decide, though the clock goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OrderMatters {
    /// A retract takes back what was recorded before it.
    ARetract,
    /// A resubscribe or an override whose moment had not come when it could have been recorded:
    /// it counts from the moment at which it was.
    AFutureMoment,
    No,
}

fn order_matters(history: &[Event]) -> OrderMatters {
    let is_taken_back = |retract: &Event| {
        let in_batch = |it: &Event| it.action != "retract" && it.batch == retract.batch;
        retract.action == "retract" && retract.batch != 0 && history.iter().any(in_batch)
    };
    let first = history.iter().map(|event| event.received_at).min();
    let is_future = |event: &Event| {
        ["resubscribe", "override"].contains(&&*event.action) && Some(event.occurred_at) > first
    };
    if history.iter().any(is_taken_back) {
        OrderMatters::ARetract
    } else if history.iter().any(is_future) {
        OrderMatters::AFutureMoment
    } else {
        OrderMatters::No
    }
}

/// The decision and the rules, without the opt-outs behind them: the first recorded is another in
/// each order.
fn outcome(verdict: &Verdict) -> (Decision, BTreeSet<&'static str>) {
    (verdict.decision, verdict.reasons.iter().map(|(rule, _)| *rule).collect())
}

#[test]
fn every_order_of_arrival_is_ruled_on_alike() {
    let first = Random::of_test("every_order_of_arrival_is_ruled_on_alike").0;
    let policy = Policy::default();
    let mut differed = BTreeSet::new();
    let mut orders = 0;
    for case in 0..cases(20_000) / 50 {
        let mut random = Random(first.wrapping_add(case));
        let length = 1 + random.below(6);
        let mut history = history(&mut random, length);
        if random.below(2) == 0 {
            // Everything was said before the first event arrived.
            history.iter_mut().for_each(|event| event.received_at += MOMENTS as i64);
        }
        let message = message(&mut random);
        let permuted = |order: &[usize], is_set: bool| {
            let arrived = arrived(&history, order, is_set);
            let verdict = verdict(&arrived, &[], "number", &message, i64::MAX);
            let facts = pooled(&arrived, "number", i64::MAX);
            let ruling = policy.on_claims(&Claims::of(&facts), &context(&message));
            let told = || format!("case {case}: {arrived:#?} {message:?}");
            assert_same(&policy, ruling, &verdict, &told);
            verdict
        };
        let matters = order_matters(&history);
        let mut by_clock: Vec<usize> = (0..history.len()).collect();
        by_clock.sort_by_key(|&place| history[place].received_at);
        let going_on = permuted(&by_clock, false);
        for order in permutations(history.len()) {
            orders += 1;
            let other = permuted(&order, false);
            if matters == OrderMatters::No {
                assert_eq!(outcome(&other), outcome(&going_on), "{case}: {history:#?}");
            } else if other.decision != going_on.decision {
                differed.insert(matters);
            }
            // A clock that was set back silences, and sets nobody free.
            let set = permuted(&order, true);
            if matters != OrderMatters::ARetract {
                assert!(set.decision >= going_on.decision, "{case}: {history:#?}");
            }
        }
    }
    // Of few orders none may show that the exceptions are some.
    if orders > 1_000_000 {
        let both = BTreeSet::from([OrderMatters::ARetract, OrderMatters::AFutureMoment]);
        assert_eq!(differed, both);
    }
}

#[test]
fn every_category_is_one_of_the_rules() {
    let known: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
    assert_eq!(known, ["marketing", "utility", "authentication"]);
}
