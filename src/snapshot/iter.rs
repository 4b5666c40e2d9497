//! Members in ascending order.

use std::fmt;
use std::iter::FusedIterator;

use super::container::Members;
use super::directory::Directory;
use crate::number::SubscriberKey;

/// Ascending members of a [`View`](super::View), of which it knows the number.
#[derive(Clone)]
pub struct Iter<'a> {
    directory: &'a Directory,
    bytes: &'a [u8],
    /// Members still to come: what ends the iteration.
    remaining: u64,
    bucket: usize,
    /// The container after the current one.
    next_container: usize,
    /// What the members of the current container have in common.
    base: u64,
    members: Members<'a>,
}

impl<'a> Iter<'a> {
    /// The first `remaining` members from `start` on.
    pub(super) fn new(
        directory: &'a Directory,
        bytes: &'a [u8],
        start: u64,
        remaining: u64,
    ) -> Iter<'a> {
        let (index, low) = match directory.locate(start) {
            Ok(index) => (index, start as u16),
            Err(index) => (index, 0),
        };
        let members = Members::Array([].iter());
        let bucket = directory.bucket_of(index);
        let mut iter =
            Iter { directory, bytes, remaining, bucket, next_container: index, base: 0, members };
        if remaining > 0 {
            iter.enter_container(low);
        }
        iter
    }

    /// Makes the next container the current one, from `low` on; false when there is none.
    fn enter_container(&mut self, low: u16) -> bool {
        let index = self.next_container;
        if index >= self.directory.containers() {
            return false;
        }
        if index >= self.directory.bucket_start(self.bucket + 1) {
            self.bucket += 1;
        }
        self.base = self.directory.base(self.bucket, index);
        self.members = self.directory.body(self.bytes, index).0.members_from(low);
        self.next_container = index + 1;
        true
    }
}

impl Iterator for Iter<'_> {
    type Item = SubscriberKey;

    #[inline]
    fn next(&mut self) -> Option<SubscriberKey> {
        if self.remaining == 0 {
            return None;
        }
        loop {
            if let Some(low) = self.members.next() {
                self.remaining -= 1;
                return Some(SubscriberKey::from_u64(self.base | u64::from(low)));
            }
            if !self.enter_container(0) {
                // Only when the bytes changed after the check.
                self.remaining = 0;
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match usize::try_from(self.remaining) {
            Ok(remaining) => (remaining, Some(remaining)),
            Err(_) => (usize::MAX, None),
        }
    }
}

impl FusedIterator for Iter<'_> {}

/// The count only: members are people.
impl fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}
