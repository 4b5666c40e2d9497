//! Why may a subscriber get a message, or not?

use super::check::Judge;
use crate::event::Event;
use crate::number::SubscriberKey;
use crate::policy::{Claims, Decision, Fact, Ruling};
use crate::store::{Reader, RegistryKind, StoreError, decide, fact_of};
use crate::time::Timestamp;

/// The ruling on a subscriber and the events behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What becomes of the message.
    pub ruling: Ruling,
    /// The name of the rule; empty when nothing is about the message.
    pub rule: String,
    /// The opt-outs that stand, about this message or others.
    pub claims: Claims,
    /// Sequence of the event behind the ruling; when nothing is about the message, of the event
    /// since which the subscriber stands as he does.
    pub since: Option<u64>,
    /// The names of the outside lists that the subscriber is on and that are about the message.
    pub layers: Vec<String>,
    /// All events that were known, oldest first.
    pub events: Vec<Event>,
}

impl Explanation {
    /// Whether the message must not be sent.
    pub fn is_suppressed(&self) -> bool {
        self.ruling.decision == Decision::Suppressed
    }

    /// The event of [`Explanation::since`].
    pub fn since_event(&self) -> Option<&Event> {
        self.events.iter().find(|event| Some(event.sequence) == self.since)
    }
}

/// Why a subscriber may get the message of `judge` or not; with `at`, as the store knew it at
/// that moment: by the events that had been received until then.
///
/// # Errors
///
/// When the store is damaged or can't be read.
pub fn explain(
    reader: &Reader,
    judge: &Judge<'_>,
    key: SubscriberKey,
    at: Option<Timestamp>,
) -> Result<Explanation, StoreError> {
    let events = reader.history_if(key, |event| at.is_none_or(|at| event.received_at <= at))?;
    let facts = events.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
    let claims = Claims::of(&facts);
    let (layers, consented) = listed_in(reader, judge, key, at)?;
    let mut ruling = judge.rule(&claims);
    if !layers.is_empty() {
        ruling = ruling.stronger(judge.on_registry(consented));
    }
    let behind = judge.behind(&facts, ruling).map(|fact| fact.sequence);
    let since = behind.or_else(|| decide(&facts).map(|decided| decided.since));
    let rule = judge.rule_name(ruling.rule).to_owned();
    Ok(Explanation { ruling, rule, claims, since, layers, events })
}

/// The outside lists that a subscriber was on, and whether he was on a list of consents.
fn listed_in(
    reader: &Reader,
    judge: &Judge<'_>,
    key: SubscriberKey,
    at: Option<Timestamp>,
) -> Result<(Vec<String>, bool), StoreError> {
    let scope = &judge.context().scope;
    let mut found = Vec::new();
    match at {
        None => {
            let on = judge.layers().filter(|layer| layer.contains(key));
            found.extend(on.map(|layer| (layer.name().to_owned(), layer.kind())));
        }
        Some(_) if !judge.asks_registries() => {}
        Some(at) => {
            let views = reader.registries_at(at)?;
            let about_it = views.iter().filter(|view| match view.kind() {
                RegistryKind::Registry => view.scope().may_concern(scope),
                _ => view.scope().covers(scope) && !view.is_stale(at),
            });
            let on = about_it.filter(|view| view.contains(key));
            found.extend(on.map(|view| (view.name().to_owned(), view.kind())));
        }
    }
    let consented = found.iter().any(|(_, kind)| *kind == RegistryKind::Consent);
    found.retain(|(_, kind)| *kind == RegistryKind::Registry);
    Ok((found.into_iter().map(|(name, _)| name).collect(), consented))
}
