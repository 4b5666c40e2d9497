//! Which outside lists are known, how old are they, and who is on them, now or at an earlier
//! moment?
//!
//! A registry layer is a do-not-contact list or a list of consents that somebody else keeps. Each
//! is one snapshot in the store's directory beside the generation; its rows are no events. A new
//! list replaces the old one as a whole, and what differs between the two is kept as a further
//! snapshot, so that a view of an earlier moment ([`Reader::at`]) has the layers of then.
//!
//! Promises: a list is published as everything else of a store is, so that a crash leaves the old
//! list or the new one; every byte of a list is checked before it answers; a list that shrank, is
//! older than the present one or comes from the future is refused before anything is written.
//! Leaves to others: reading files (`exchange`), and what a listing means for a message.

mod changes;
mod info;
mod set;
mod sorter;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::sync::Arc;

pub use changes::RegistryChanges;
pub(super) use info::RegistryInfo;
pub use info::{RegistryKind, RegistryName};
pub(super) use set::{open_all, open_as_of, verify};
pub use sorter::{KeySorter, SortedKeys};
pub use write::{RegistryContents, RegistryError, RegistryReport, RegistryUpdate};

use info::VersionInfo;
use set::{OpenSet, Set};

use super::error::StoreError;
use super::reader::Reader;
use crate::number::SubscriberKey;
use crate::policy::Scope;
use crate::time::Timestamp;

/// A layer as a reader knows it. A clone is the same layer.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    name: RegistryName,
    version: VersionInfo,
    scope: Scope,
    /// Who is in an odd number of these is on the list: one set in the present, and for an earlier
    /// moment what differs as well.
    sets: Vec<OpenSet>,
}

impl Registry {
    /// Its name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// What being on it means.
    pub fn kind(&self) -> RegistryKind {
        self.inner.version.kind
    }

    /// For which messages it counts: those of a channel, or all.
    pub fn scope(&self) -> &Scope {
        &self.inner.scope
    }

    /// The moment that the list describes.
    pub fn as_of(&self) -> Timestamp {
        self.inner.version.as_of
    }

    /// For how many days it may be relied on; `None` for ever.
    pub fn max_age_days(&self) -> Option<u32> {
        self.inner.version.max_age_days
    }

    /// When it was imported.
    pub fn received_at(&self) -> Timestamp {
        self.inner.version.received_at
    }

    /// The name of the file that it came from.
    pub fn source(&self) -> &str {
        &self.inner.version.source
    }

    /// A checksum of the list: two lists with the same one have the same members. Of a layer of
    /// the present only.
    pub fn digest(&self) -> &str {
        &self.inner.version.file.xxh3
    }

    /// How many subscribers are on it.
    pub fn len(&self) -> u64 {
        self.inner.version.count
    }

    /// Whether nobody is on it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is too old to be relied on. A clock that is more than a day before the moment
    /// that the list describes has no say: the layer then counts as stale.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.inner.version.is_stale(now)
    }

    /// Whether a subscriber is on it.
    pub fn contains(&self, key: SubscriberKey) -> bool {
        self.inner.sets.iter().fold(false, |found, it| found ^ it.set.contains(key))
    }

    /// Whether each subscriber is on it.
    ///
    /// # Panics
    ///
    /// When `keys` and `found` differ in length.
    pub fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        let Some((first, others)) = self.inner.sets.split_first() else { return found.fill(false) };
        first.set.contains_batch(keys, found);
        if others.is_empty() {
            return;
        }
        let mut more = vec![false; found.len()];
        for other in others {
            other.set.contains_batch(keys, &mut more);
            found.iter_mut().zip(&more).for_each(|(found, more)| *found ^= more);
        }
    }

    /// The set of a layer of the present.
    fn whole_set(&self) -> Option<&Arc<Set>> {
        self.inner.sets.first().map(|it| &it.set)
    }
}

/// Names and counts only: members are people.
impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("as_of", &self.as_of())
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// The layers that the store has, by name; of a view of an earlier moment those that it had
    /// then, also when they were dropped since.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed.
    pub fn registries(&self) -> Result<&[Registry], StoreError> {
        self.usable()?;
        Ok(self.known_registries())
    }
}
