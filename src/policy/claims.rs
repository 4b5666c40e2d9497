//! What do the events of one subscriber amount to?
//!
//! The moments at which the person acted decide, in whatever order the events arrive. A
//! resubscribe lifts the opt-outs that happened before it, at or below its own scope and tier,
//! as far as whoever recorded it may do so; see [`lifts`]. At a tie, and in doubt, the opt-out
//! stands.
//!
//! Promises that the same facts in any order give the same [`Claims`]. Leaves to others which
//! facts are one subscriber's (of a number and an id that are linked, the facts of both), and
//! what the claims mean for a message ([`Policy`](super::Policy)).

use std::cmp::Reverse;

use super::Scope;
use super::UnknownChannel;
use crate::event::{Action, Category, Details, Ground, Source, Tier};
use crate::time::Timestamp;

/// An event of a subscriber, as far as it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its sequence.
    pub sequence: u64,
    /// What was done.
    pub action: Action,
    /// Where it holds.
    pub scope: Scope,
    /// What it covers.
    pub tier: Tier,
    /// On what ground an opt-out rests.
    pub ground: Ground,
    /// Where it came from.
    pub source: Source,
    /// The category that an override names.
    pub category: Option<Category>,
    /// Whether an operator's resubscribe lifts also what the person said.
    pub overrides: bool,
    /// The import that it belongs to or takes back; 0 for none.
    pub batch: u64,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub received_at: Timestamp,
}

impl Fact {
    /// What an event says.
    ///
    /// # Errors
    ///
    /// When its channel is not known.
    pub fn new(
        details: &Details,
        sequence: u64,
        occurred_at: Timestamp,
        received_at: Timestamp,
    ) -> Result<Fact, UnknownChannel> {
        Ok(Fact {
            sequence,
            action: details.action,
            scope: Scope::new(&details.channel, &details.sender, &details.brand)?,
            tier: details.tier,
            ground: details.ground,
            source: details.source,
            category: details.category,
            overrides: details.overrides,
            batch: details.batch,
            occurred_at,
            received_at,
        })
    }

    /// What an opt-out claims as long as it stands, before any override.
    pub fn claim(&self) -> Claim {
        Claim { scope: self.scope.clone(), tier: self.tier, excepted: Vec::new() }
    }

    /// The moment from which a resubscribe or an override counts: nobody can have come back later
    /// than it was recorded. A date in the future, from a slip or a wrong clock, would otherwise
    /// silence every STOP until then.
    fn effective_at(&self) -> Timestamp {
        self.occurred_at.min(self.received_at)
    }

    /// Whether this resubscribe or override is later than an opt-out: not at the same moment. An
    /// opt-out that was recorded after it, but at an earlier time by our own clock, is not: the
    /// clock was set back in between, so that the moments can't be compared.
    fn is_later_than(&self, opt_out: &Fact) -> bool {
        let clock_was_set_back =
            opt_out.sequence > self.sequence && opt_out.received_at < self.received_at;
        self.effective_at() > opt_out.occurred_at && !clock_was_set_back
    }
}

/// Whether an opt-out is the person's own word, which an operator lifts only when he says that he
/// overrides it. What a program posts counts as the person's word.
pub fn is_persons_own(opt_out: &Fact) -> bool {
    !is_operators(opt_out.source) || opt_out.ground == Ground::Erasure
}

/// Whether what came from there was decided or reported by others than the person.
pub fn is_operators(source: Source) -> bool {
    match source {
        Source::Agent | Source::Import | Source::Registry | Source::Carrier => true,
        Source::Keyword | Source::Button | Source::Preference | Source::Api => false,
    }
}

/// Whether a resubscribe lifts an opt-out. All of these have to hold:
///
/// - it covers the opt-out's scope and tier;
/// - the opt-out is neither a registry's nor a legal demand nor imported as protected;
/// - it is the person's word, or the opt-out is not, or it overrides;
/// - it counts from a later moment than the opt-out, and no clock was set back in between.
pub fn lifts(resubscribe: &Fact, opt_out: &Fact) -> bool {
    let may = !is_operators(resubscribe.source) || !is_persons_own(opt_out);
    (may || resubscribe.overrides) && could_lift(resubscribe, opt_out)
}

/// Whether a resubscribe lifts an opt-out if whoever recorded it may.
fn could_lift(resubscribe: &Fact, opt_out: &Fact) -> bool {
    resubscribe.action == Action::Resubscribe
        && opt_out.action == Action::OptOut
        && !is_permanent(opt_out)
        && resubscribe.tier >= opt_out.tier
        && resubscribe.scope.covers(&opt_out.scope)
        && resubscribe.is_later_than(opt_out)
}

/// Whether no resubscribe lifts this opt-out.
pub fn is_permanent(opt_out: &Fact) -> bool {
    let by_ground = match opt_out.ground {
        Ground::Legal | Ground::Protected => true,
        Ground::Request | Ground::WrongPerson | Ground::Erasure => false,
    };
    by_ground || opt_out.source == Source::Registry
}

/// The opt-outs among a subscriber's facts that no resubscribe lifts and no retract takes back.
pub fn standing_opt_outs(facts: &[Fact]) -> impl Iterator<Item = &Fact> {
    let resubscribes = latest_first(facts, Action::Resubscribe);
    let opt_outs = kept(facts).filter(|fact| fact.action == Action::OptOut);
    opt_outs.filter(move |opt_out| !later(&resubscribes, opt_out).any(|it| lifts(it, opt_out)))
}

/// The facts without those that a later retract takes back together with their import. A retract
/// is never taken back itself.
fn kept(facts: &[Fact]) -> impl Iterator<Item = &Fact> {
    let retracts: Vec<&Fact> = facts.iter().filter(|it| it.action == Action::Retract).collect();
    let is_taken_back = move |fact: &Fact| {
        let by = |retract: &&Fact| retract.batch == fact.batch && retract.sequence > fact.sequence;
        fact.batch != 0 && retracts.iter().any(by)
    };
    facts.iter().filter(move |fact| !is_taken_back(fact))
}

/// What counts of one action, latest first. Nearly always the latest decides, so that a long
/// history is not compared with itself.
fn latest_first(facts: &[Fact], action: Action) -> Vec<&Fact> {
    let mut found: Vec<&Fact> = kept(facts).filter(|fact| fact.action == action).collect();
    found.sort_by_key(|fact| Reverse((fact.effective_at(), fact.sequence)));
    found
}

/// Those that are later than the opt-out.
fn later<'a>(latest_first: &[&'a Fact], opt_out: &Fact) -> impl Iterator<Item = &'a Fact> {
    let before = latest_first.partition_point(|it| it.effective_at() > opt_out.occurred_at);
    latest_first[..before].iter().copied().filter(|it| it.is_later_than(opt_out))
}

/// Why an operator's resubscribe would not do what it seems to do: the person said himself that
/// he wants no messages, and the operator does not say that he overrides it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the person opted out himself ({source_of_opt_out}, {occurred_at}): \
     only a resubscribe that overrides it, with a reason, lifts that"
)]
pub struct Refusal {
    /// The sequence of the opt-out that would be left standing; of several, the first.
    pub sequence: u64,
    /// Where the person said it.
    pub source_of_opt_out: Source,
    /// When.
    pub occurred_at: Timestamp,
}

/// Why an operator's resubscribe that does not override would leave an opt-out of the person
/// standing, which it would lift if it did. To be asked before it is recorded. `None` when there
/// is no such opt-out, and for whatever is no operator's resubscribe.
pub fn refusal(resubscribe: &Fact, facts: &[Fact]) -> Option<Refusal> {
    let standing = standing_opt_outs(facts)
        .filter(|opt_out| could_lift(resubscribe, opt_out) && !lifts(resubscribe, opt_out));
    let first = standing.min_by_key(|opt_out| opt_out.sequence)?;
    Some(Refusal {
        sequence: first.sequence,
        source_of_opt_out: first.source,
        occurred_at: first.occurred_at,
    })
}

/// One opt-out that stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Where it holds.
    pub scope: Scope,
    /// What it covers.
    pub tier: Tier,
    /// The categories that overrides let through in spite of it, ascending. Never marketing, and
    /// none for an opt-out from marketing only: overrides are exceptions from "all messages".
    pub excepted: Vec<Category>,
}

impl Claim {
    /// The same with the exceptions as they are kept.
    fn normal(mut self) -> Claim {
        let is_all = self.tier == Tier::All;
        self.excepted.retain(|&category| is_all && category != Category::Marketing);
        self.excepted.sort_unstable();
        self.excepted.dedup();
        self
    }

    /// Whether `other` says nothing beside this claim.
    fn covers(&self, other: &Claim) -> bool {
        self.tier >= other.tier
            && self.scope.covers(&other.scope)
            && self.excepted.iter().all(|category| other.excepted.contains(category))
    }
}

/// Everything that stands against a subscriber: ascending, without claims that say nothing beside
/// another. Empty when he may get everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// What all facts of one subscriber amount to, in whatever order they are given.
    pub fn of(facts: &[Fact]) -> Claims {
        let overrides = latest_first(facts, Action::Override);
        let claims = standing_opt_outs(facts).map(|opt_out| {
            let except = later(&overrides, opt_out).filter(|it| it.scope.covers(&opt_out.scope));
            let excepted = except.filter_map(|it| it.category).collect();
            Claim { excepted, ..opt_out.claim() }
        });
        claims.collect()
    }

    /// The claims, ascending.
    pub fn iter(&self) -> std::slice::Iter<'_, Claim> {
        self.0.iter()
    }

    /// Whether nothing stands.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These claims and one more.
    #[must_use]
    pub fn with(&self, claim: Claim) -> Claims {
        self.iter().cloned().chain([claim]).collect()
    }

    /// What stands when both stand.
    #[must_use]
    pub fn union(&self, other: &Claims) -> Claims {
        self.iter().chain(other).cloned().collect()
    }
}

/// From any claims, in any order.
impl FromIterator<Claim> for Claims {
    fn from_iter<I: IntoIterator<Item = Claim>>(claims: I) -> Claims {
        let mut kept: Vec<Claim> = Vec::new();
        for claim in claims.into_iter().map(Claim::normal) {
            if !kept.iter().any(|it| it.covers(&claim)) {
                kept.retain(|it| !claim.covers(it));
                kept.push(claim);
            }
        }
        kept.sort_unstable();
        Claims(kept)
    }
}

impl<'a> IntoIterator for &'a Claims {
    type Item = &'a Claim;
    type IntoIter = std::slice::Iter<'a, Claim>;

    fn into_iter(self) -> std::slice::Iter<'a, Claim> {
        self.iter()
    }
}

#[cfg(test)]
mod tests;
