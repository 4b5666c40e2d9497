//! What do the events of one subscriber amount to?
//!
//! `policy` says which opt-outs stand; here that becomes what the store keeps of a subscriber.

use std::sync::Arc;

use super::error::StoreError;
use super::profiles::{Profile, ProfileId, Profiles};
use crate::event::{Action, Event};
use crate::journal::{Journal, JournalError, Record};
use crate::policy::{Claims, Fact, standing_opt_outs};
use crate::time::Timestamp;

/// How a subscriber stands after all recorded events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether an opt-out of any scope and tier stands; otherwise he came back.
    pub opted_out: bool,
    /// Sequence of his newest event, from which his whole history can be followed.
    pub head: u64,
    /// Sequence of the event that began what he is now: the first recorded opt-out that stands,
    /// or the event that lifted the last.
    pub since: u64,
    /// When the person did that.
    pub since_at: Timestamp,
    /// Which opt-outs stand.
    pub(super) profile: ProfileId,
}

/// A [`Standing`] before its claims have a place in a list of profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// As [`Standing::head`].
    pub head: u64,
    /// As [`Standing::since`].
    pub since: u64,
    /// As [`Standing::since_at`].
    pub since_at: Timestamp,
    /// The opt-outs that stand.
    pub claims: Claims,
    /// Whether the address is one of several of its subscriber.
    pub linked: bool,
}

impl Decided {
    /// Gives the claims their place.
    pub(super) fn settled(self, profiles: &mut Profiles) -> Standing {
        let Decided { head, since, since_at, claims, linked } = self;
        let opted_out = !claims.is_empty();
        let profile = profiles.intern(Profile { claims, linked });
        Standing { opted_out, head, since, since_at, profile }
    }
}

/// How one subscriber stands after the given events, which are all of his, in any order. The head
/// is the newest of them. `None` when there are none.
pub fn decide(facts: &[Fact]) -> Option<Decided> {
    let head = facts.iter().map(|fact| fact.sequence).max()?;
    let claims = Claims::of(facts);
    let first = standing_opt_outs(facts).min_by_key(|fact| fact.sequence);
    let last = || {
        let lifting = |fact: &&Fact| matches!(fact.action, Action::Resubscribe | Action::Retract);
        let others = facts.iter().filter(lifting);
        let latest = others.max_by_key(|it| (it.occurred_at.min(it.received_at), it.sequence));
        latest.or(facts.iter().max_by_key(|fact| fact.sequence))
    };
    let since = first.or_else(last)?;
    let linked = facts.iter().any(|fact| fact.action == Action::Link);
    Some(Decided { head, since: since.sequence, since_at: since.occurred_at, claims, linked })
}

/// The fact in an event; `None` for one that is about nobody any more.
///
/// # Errors
///
/// When the event names a channel that this release does not know.
pub fn fact_of(event: &Event) -> Result<Fact, StoreError> {
    let fact = Fact::new(&event.details, event.sequence, event.occurred_at, event.received_at);
    fact.map_err(|error| StoreError::damaged("journal".into(), 0, error.to_string()))
}

/// The fact in a row of a record.
pub(super) fn fact_of_row(
    journal: &Journal,
    record: &Record,
    row: usize,
) -> Result<Fact, StoreError> {
    let sequence = record.first_sequence() + row as u64;
    let fact = Fact::new(record.details(), sequence, record.occurred_at(row), record.received_at());
    fact.map_err(|error| StoreError::damaged(journal.path(), 0, error.to_string()))
}

/// The record of an event to which a history leads.
pub(super) fn record_of(journal: &Journal, sequence: u64) -> Result<Arc<Record>, StoreError> {
    journal.record(sequence)?.ok_or_else(|| {
        let what = "a history leads to an event that the journal does not hold";
        StoreError::Journal(JournalError::Damaged { file: journal.path(), offset: 0, what })
    })
}

/// Visits the event `sequence` and all before it of the same address, newest first.
pub(super) fn follow(
    journal: &Journal,
    mut sequence: u64,
    mut visit: impl FnMut(&Record, usize) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    while sequence != 0 {
        let record = record_of(journal, sequence)?;
        let row = (sequence - record.first_sequence()) as usize;
        if record.key(row, journal.folding()).is_none() {
            let what = "a history leads to an event that was erased";
            let file = journal.path();
            return Err(StoreError::Journal(JournalError::Damaged { file, offset: 0, what }));
        }
        visit(&record, row)?;
        // `Record::decode` refuses a link that does not lead back, so that this ends.
        sequence = record.previous(row);
    }
    Ok(())
}
