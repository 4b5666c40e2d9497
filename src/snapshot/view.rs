//! Reading a snapshot in place.

use std::fmt;
use std::ops::{Bound, RangeBounds};

use super::check::check;
use super::directory::Directory;
use super::error::SnapshotError;
use super::format::EMPTY;
use super::iter::Iter;
use super::wide;
use crate::number::SubscriberKey;

/// A set of subscriber keys, read in place from the bytes of a snapshot.
///
/// The bytes stay where they are: a vector, a memory map, anything that lends a slice, always the
/// same one. Beside them a view keeps a directory of where things lie (about a tenth of the bytes
/// for real lists), so share a view instead of opening the same bytes twice.
///
/// A view was checked in full when it was opened. It answers for those bytes; whoever changes them
/// underneath gets wrong answers or a panic, though never undefined behaviour.
///
/// # Example
///
/// ```
/// use optout::number::SubscriberKey;
/// use optout::snapshot::{View, write_sorted};
///
/// let keys = [525_512_345_678, 525_587_654_321].map(SubscriberKey::from_u64);
/// let mut bytes = Vec::new();
/// write_sorted(&mut bytes, || keys)?;
///
/// let view = View::open(bytes)?;
/// assert_eq!(view.len(), 2);
/// assert!(view.contains(keys[1]));
/// assert_eq!(view.position(keys[1]), Some(1));
/// # Ok::<(), optout::snapshot::SnapshotError>(())
/// ```
pub struct View<B> {
    bytes: B,
    directory: Directory,
}

impl View<&'static [u8]> {
    /// The set without members.
    pub fn empty() -> View<&'static [u8]> {
        View { bytes: &EMPTY, directory: Directory::default() }
    }
}

impl<B: AsRef<[u8]>> View<B> {
    /// Checks all of `bytes` and makes a view of them.
    ///
    /// Reads every byte once, and allocates in proportion to their number whatever they claim:
    /// twenty million numbers (41 MB) take 15 to 20 ms on one core when they are in memory.
    ///
    /// # Errors
    ///
    /// When the bytes are anything but one valid set, from the first byte to the last.
    pub fn open(bytes: B) -> Result<View<B>, SnapshotError> {
        let directory = check(bytes.as_ref())?;
        Ok(View { bytes, directory })
    }

    /// How many members there are.
    pub fn len(&self) -> u64 {
        self.directory.members()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the snapshot.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Whether `key` is a member. Each call waits for memory on its own: ask for many keys with
    /// [`View::contains_batch`].
    pub fn contains(&self, key: SubscriberKey) -> bool {
        let Some(index) = self.directory.find(key.get()) else { return false };
        self.directory.body(self.bytes(), index).0.contains(key.get() as u16)
    }

    /// Writes to `found` which of `keys` are members, in their order, which may be any.
    ///
    /// # Panics
    ///
    /// When `keys` and `found` differ in length.
    pub fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        wide::contains(&self.directory, self.bytes(), keys, found);
    }

    /// How many members lie below `key`, whether or not it is a member itself.
    pub fn rank(&self, key: SubscriberKey) -> u64 {
        match self.directory.locate(key.get()) {
            Ok(index) => {
                let body = self.directory.body(self.bytes(), index).0;
                let (Ok(below) | Err(below)) = body.locate(key.get() as u16);
                self.directory.members_before(index) + below as u64
            }
            Err(index) => self.directory.members_before(index),
        }
    }

    /// Where `key` comes among the members, counted from 0; `None` when it isn't one.
    pub fn position(&self, key: SubscriberKey) -> Option<u64> {
        let index = self.directory.find(key.get())?;
        let below = self.directory.body(self.bytes(), index).0.position(key.get() as u16)?;
        Some(self.directory.members_before(index) + below as u64)
    }

    /// Writes to `positions` what [`View::position`] says for each of `keys`, in their order.
    ///
    /// # Panics
    ///
    /// When `keys` and `positions` differ in length.
    pub fn positions_batch(&self, keys: &[SubscriberKey], positions: &mut [Option<u64>]) {
        wide::positions(&self.directory, self.bytes(), keys, positions);
    }

    /// The member at `position`, counted from 0: the inverse of [`View::position`].
    pub fn select(&self, position: u64) -> Option<SubscriberKey> {
        let index = self.directory.find_rank(position)?;
        let within = position - self.directory.members_before(index);
        let low = self.directory.body(self.bytes(), index).0.select(within as usize)?;
        let base = self.directory.base(self.directory.bucket_of(index), index);
        Some(SubscriberKey::from_u64(base | u64::from(low)))
    }

    /// All members, ascending.
    pub fn iter(&self) -> Iter<'_> {
        self.range(..)
    }

    /// The members in `range`, ascending. An inverted range has none.
    pub fn range(&self, range: impl RangeBounds<SubscriberKey>) -> Iter<'_> {
        let start = match range.start_bound() {
            Bound::Unbounded => Some(0),
            Bound::Included(key) => Some(key.get()),
            Bound::Excluded(key) => key.get().checked_add(1),
        };
        let to = match range.end_bound() {
            Bound::Unbounded => self.len(),
            Bound::Included(key) => self.rank(*key) + u64::from(self.contains(*key)),
            Bound::Excluded(key) => self.rank(*key),
        };
        let remaining = match start {
            Some(key) => to.saturating_sub(self.rank(SubscriberKey::from_u64(key))),
            None => 0,
        };
        Iter::new(&self.directory, self.bytes(), start.unwrap_or(u64::MAX), remaining)
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }
}

impl<'a, B: AsRef<[u8]>> IntoIterator for &'a View<B> {
    type Item = SubscriberKey;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Counts only: members are people.
impl<B: AsRef<[u8]>> fmt::Debug for View<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("members", &self.len())
            .field("bytes", &self.bytes().len())
            .field("buckets", &self.directory.buckets())
            .field("containers", &self.directory.containers())
            .finish()
    }
}
