//! Which addresses are one subscriber, and what is recorded of him?
//!
//! A link event has two rows, one for each address. Links lead from address to address: all that
//! can be reached are one subscriber, and what was recorded of any of them is recorded of all.
//! Each address keeps its own history and its own key in the sets; only what the events amount to
//! is decided together.

use super::error::StoreError;
use super::standing::{fact_of_row, follow};
use crate::journal::{Journal, Record};
use crate::number::SubscriberKey;
use crate::policy::Fact;

/// An address of a subscriber: its key, and the sequence of its newest event.
pub(super) type Member = (SubscriberKey, u64);

/// What is recorded of a subscriber.
#[derive(Debug)]
pub(super) struct Pool {
    /// His addresses; the first is the one that was asked for.
    pub(super) members: Vec<Member>,
    /// The facts of all of them, in no order. A link is there twice, once for each end.
    pub(super) facts: Vec<Fact>,
}

impl Pool {
    /// All that is recorded of the subscriber of `key`. `head_of` gives the sequence of a key's
    /// newest event, 0 for none.
    pub(super) fn gather(
        journal: &Journal,
        key: SubscriberKey,
        head_of: impl FnMut(SubscriberKey) -> Result<u64, StoreError>,
    ) -> Result<Pool, StoreError> {
        let mut facts = Vec::new();
        let members = follow_all(journal, key, head_of, |record, row| {
            facts.push(fact_of_row(journal, record, row)?);
            Ok(true)
        })?;
        Ok(Pool { members, facts })
    }
}

/// Visits every event of every address that links join with `key`, each address newest first.
/// `visit` says whether the event counts: a link that does not joins nobody.
pub(super) fn follow_all(
    journal: &Journal,
    key: SubscriberKey,
    mut head_of: impl FnMut(SubscriberKey) -> Result<u64, StoreError>,
    mut visit: impl FnMut(&Record, usize) -> Result<bool, StoreError>,
) -> Result<Vec<Member>, StoreError> {
    let mut members = vec![(key, head_of(key)?)];
    let mut next = 0;
    while let Some(&(_, head)) = members.get(next) {
        let mut joined = Vec::new();
        follow(journal, head, |record, row| {
            if visit(record, row)?
                && let Some(other) = record.partner(row)
            {
                joined.extend(record.key(other, journal.folding()));
            }
            Ok(())
        })?;
        for key in joined {
            if members.iter().all(|&(member, _)| member != key) {
                members.push((key, head_of(key)?));
            }
        }
        next += 1;
    }
    Ok(members)
}
