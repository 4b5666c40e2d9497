//! Why may a subscriber get a message, or not?

use super::check::Judge;
use crate::event::Event;
use crate::number::SubscriberKey;
use crate::policy::{Claims, Decision, Fact, Ruling};
use crate::store::{RegistryKind, StoreError, decide, fact_of};

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

/// Why a subscriber may get the message of `judge` or not, by what its view knows: of one of an
/// earlier moment by the events and outside lists of then.
///
/// # Errors
///
/// When the store is damaged or can't be read.
pub fn explain(judge: &Judge<'_>, key: SubscriberKey) -> Result<Explanation, StoreError> {
    let events = judge.reader().history(key)?;
    let facts = events.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
    let claims = Claims::of(&facts);
    let (layers, consented) = listed_in(judge, key);
    let mut ruling = judge.rule(&claims);
    if !layers.is_empty() {
        ruling = ruling.stronger(judge.on_registry(consented));
    }
    let behind = judge.behind(&facts, ruling).map(|fact| fact.sequence);
    let since = behind.or_else(|| decide(&facts).map(|decided| decided.since));
    let rule = judge.rule_name(ruling.rule).to_owned();
    Ok(Explanation { ruling, rule, claims, since, layers, events })
}

/// The outside lists that a subscriber is on, and whether he is on a list of consents.
fn listed_in(judge: &Judge<'_>, key: SubscriberKey) -> (Vec<String>, bool) {
    let on: Vec<_> = judge.layers().filter(|layer| layer.contains(key)).collect();
    let (registries, consents): (Vec<_>, Vec<_>) =
        on.into_iter().partition(|layer| layer.kind() == RegistryKind::Registry);
    let names = registries.into_iter().map(|layer| layer.name().to_owned()).collect();
    (names, !consents.is_empty())
}
