//! Which outside lists are known, how old are they, and who is on them, now or at an earlier
//! moment?
//!
//! A registry layer is a do-not-contact list or a list of consents that somebody else keeps. Each
//! is one snapshot in the store's directory beside the generation; its rows are no events. A new
//! list replaces the old one as a whole, and what differs between the two is kept as a further
//! snapshot, so that [`Reader::registries_at`] answers for every moment since the first import.
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
pub(super) use set::{open_all, verify};
pub use sorter::{KeySorter, SortedKeys};
pub use write::{RegistryContents, RegistryError, RegistryReport, RegistryUpdate};

use info::VersionInfo;
use set::{Set, open_set};

use super::error::StoreError;
use super::reader::Reader;
use crate::disk::Disk;
use crate::number::SubscriberKey;
use crate::policy::Scope;
use crate::time::Timestamp;

/// A layer as a reader knows it. A clone is the same layer.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    info: RegistryInfo,
    version: VersionInfo,
    scope: Scope,
    set: Arc<Set>,
    disk: Arc<dyn Disk>,
}

impl Registry {
    /// Its name.
    pub fn name(&self) -> &str {
        self.inner.info.name.as_str()
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

    /// A checksum of the list: two lists of a layer with the same one have the same members.
    pub fn digest(&self) -> &str {
        &self.inner.version.file.xxh3
    }

    /// How many subscribers are on it.
    pub fn len(&self) -> u64 {
        self.inner.set.len()
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
        self.inner.set.contains(key)
    }

    /// Whether each subscriber is on it.
    ///
    /// # Panics
    ///
    /// When `keys` and `found` differ in length.
    pub fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        self.inner.set.contains_batch(keys, found);
    }

    /// The layer as the store knew it at a moment (by the time of import); `None` when it did not
    /// exist then.
    ///
    /// # Errors
    ///
    /// When a file that records a change is missing or damaged.
    pub fn at(&self, moment: Timestamp) -> Result<Option<RegistryView>, StoreError> {
        let inner = &self.inner;
        RegistryView::open(&inner.disk, &inner.info, moment, Some(&inner.set))
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

/// A layer as the store knew it at an earlier moment.
#[derive(Clone)]
pub struct RegistryView {
    name: RegistryName,
    version: VersionInfo,
    scope: Scope,
    /// Who is in an odd number of these was on the list.
    sets: Vec<Arc<Set>>,
}

impl RegistryView {
    /// Opens what is needed to know a layer as of a moment. `present` is its present set, if that
    /// is open already.
    fn open(
        disk: &Arc<dyn Disk>,
        info: &RegistryInfo,
        moment: Timestamp,
        present: Option<&Arc<Set>>,
    ) -> Result<Option<RegistryView>, StoreError> {
        let Some((version, files)) = info.at(moment) else { return Ok(None) };
        let is_present = |name: &str| info.present().is_some_and(|it| it.file.name == name);
        let mut sets = Vec::with_capacity(files.len());
        for file in files {
            sets.push(match present {
                Some(set) if is_present(&file.name) => set.clone(),
                _ => Arc::new(open_set(&**disk, file, None)?),
            });
        }
        let (name, version) = (info.name.clone(), version.clone());
        Ok(Some(RegistryView { name, scope: version.scope(), version, sets }))
    }

    /// The layer's name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What being on it meant.
    pub fn kind(&self) -> RegistryKind {
        self.version.kind
    }

    /// For which messages it counted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The moment that the list described.
    pub fn as_of(&self) -> Timestamp {
        self.version.as_of
    }

    /// For how many days it could be relied on; `None` for ever.
    pub fn max_age_days(&self) -> Option<u32> {
        self.version.max_age_days
    }

    /// When it had been imported.
    pub fn received_at(&self) -> Timestamp {
        self.version.received_at
    }

    /// How many subscribers were on it.
    pub fn len(&self) -> u64 {
        self.version.count
    }

    /// Whether nobody was on it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it was too old at a moment; see [`Registry::is_stale`].
    pub fn is_stale(&self, moment: Timestamp) -> bool {
        self.version.is_stale(moment)
    }

    /// Whether a subscriber was on it.
    pub fn contains(&self, key: SubscriberKey) -> bool {
        self.sets.iter().fold(false, |found, set| found ^ set.contains(key))
    }

    /// Whether each subscriber was on it.
    ///
    /// # Panics
    ///
    /// When `keys` and `found` differ in length.
    pub fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        found.fill(false);
        let mut more = vec![false; found.len()];
        for set in &self.sets {
            set.contains_batch(keys, &mut more);
            found.iter_mut().zip(&more).for_each(|(found, more)| *found ^= more);
        }
    }
}

/// Names and counts only: members are people.
impl fmt::Debug for RegistryView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryView")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("as_of", &self.as_of())
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// The layers that the store has, by name.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed.
    pub fn registries(&self) -> Result<&[Registry], StoreError> {
        self.usable()?;
        Ok(&self.registries)
    }

    /// The layers as the store knew them at a moment (by the time of import), by name; also those
    /// that were dropped since.
    ///
    /// # Errors
    ///
    /// As [`Registry::at`], and when an earlier refresh failed.
    pub fn registries_at(&self, moment: Timestamp) -> Result<Vec<RegistryView>, StoreError> {
        self.usable()?;
        let mut views = Vec::new();
        for info in &self.manifest.registries {
            let open = self.registries.iter().find(|it| it.name() == info.name.as_str());
            let present = open.map(|it| &it.inner.set);
            views.extend(RegistryView::open(&self.disk, info, moment, present)?);
        }
        Ok(views)
    }
}
