//! Who is opted out at one of two moments and not at the other?

use std::fmt;

use crate::event::{Event, Source};
use crate::number::{Address, SubscriberKey};
use crate::store::{Moment, Reader, StoreError};
use crate::time::Timestamp;

/// A subscriber who is opted out of anything at one of two moments, and of nothing at the other.
#[derive(Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whether he is opted out at the later moment.
    pub added: bool,
    /// His key.
    pub key: SubscriberKey,
    /// His number as it was read, or his id; none when he asked to be forgotten.
    pub address: Option<Address>,
    /// Sequence of the event since which he stands as he does at the later moment.
    pub sequence: u64,
    /// When the person did that.
    pub since: Timestamp,
    /// Where it came from.
    pub source: Source,
}

/// Shows the number shortened.
impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.added { '+' } else { '-' };
        write!(f, "Difference({sign} {:?} by {})", self.key, self.sequence)
    }
}

/// Why two moments can't be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The second moment comes before the first.
    #[error(
        "the second moment (sequence {to}) does not know all that the first (sequence {from}) \
         does: give the earlier one first"
    )]
    Backwards {
        /// The newest event of the first.
        from: u64,
        /// The newest event of the second.
        to: u64,
    },
}

/// Hands each difference between two moments to `visit`, ascending by key: by number, and behind
/// the numbers the ids. Only those who have an event in between are asked for.
///
/// # Errors
///
/// When the moments are not in order or not there yet, when the store is damaged or can't be
/// read, and what `visit` gives.
pub fn diff<E: From<DiffError>>(
    reader: &Reader,
    from: Moment,
    to: Moment,
    mut visit: impl FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    const BATCH: usize = 4096;
    let (before, after, touched) = compared(reader, from, to)?;
    let (mut was, mut is) = ([false; BATCH], [false; BATCH]);
    for keys in touched.chunks(BATCH) {
        let (was, is) = (&mut was[..keys.len()], &mut is[..keys.len()]);
        before.contains_batch(keys, was).map_err(DiffError::Store)?;
        after.contains_batch(keys, is).map_err(DiffError::Store)?;
        for ((&key, &was), &is) in keys.iter().zip(&*was).zip(&*is) {
            if was != is {
                visit(difference(&after, key, is).map_err(DiffError::Store)?)?;
            }
        }
    }
    Ok(())
}

/// The views of both moments, and who has an event in between.
fn compared(
    reader: &Reader,
    from: Moment,
    to: Moment,
) -> Result<(Reader, Reader, Vec<SubscriberKey>), DiffError> {
    let (before, after) = (reader.at(from)?, reader.at(to)?);
    if !after.knows_all_of(&before) {
        return Err(DiffError::Backwards { from: before.sequence(), to: after.sequence() });
    }
    let touched = after.touched_since(&before)?;
    Ok((before, after, touched))
}

fn difference(after: &Reader, key: SubscriberKey, added: bool) -> Result<Difference, StoreError> {
    let event = after.since(key)?;
    let address = match &event.key {
        Some(own) if *own == key => event.address,
        // It began with somebody whom he is linked to.
        _ => last_address(after, key)?,
    };
    let (sequence, since, source) = (event.sequence, event.occurred_at, event.details.source);
    Ok(Difference { added, key, address, sequence, since, source })
}

/// The address in the newest event that is a subscriber's own.
fn last_address(after: &Reader, key: SubscriberKey) -> Result<Option<Address>, StoreError> {
    let is_own = |event: &Event| event.key == Some(key);
    let own = after.history(key)?.into_iter().rev().find(is_own);
    Ok(own.and_then(|event| event.address))
}
