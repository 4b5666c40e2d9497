//! The store's sets of keys, opened and checked.
//!
//! Promises that every byte of an open set was read and found right: against its checksum and, at
//! the same time, whether it is a set at all. Leaves what the sets mean to `generation` and
//! `registry`.

use std::ops::Deref;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::error::StoreError;
use super::filter::LazyFilter;
use super::generation::map;
use super::manifest::FileInfo;
use crate::disk::{Disk, Mapped};
use crate::journal::hex;
use crate::number::SubscriberKey;
use crate::snapshot::View;

/// A snapshot in the store's directory.
#[derive(Debug)]
pub(super) struct Set {
    view: View<SharedBytes>,
    filter: LazyFilter,
}

impl Set {
    pub(super) fn new(view: View<SharedBytes>) -> Set {
        Set { view, filter: LazyFilter::default() }
    }

    /// As [`View::contains_batch`], which it leaves out for those who are surely not in a set that
    /// is asked often.
    pub(super) fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        const BATCH: usize = 1024;
        let Some(filter) = self.filter.get(keys.len(), self.view.len(), self.view.iter()) else {
            return self.view.contains_batch(keys, found);
        };
        assert_eq!(keys.len(), found.len(), "one answer for each key");
        let mut perhaps = [SubscriberKey::from_u64(0); BATCH];
        let mut places = [0; BATCH];
        let mut answers = [false; BATCH];
        for (keys, found) in keys.chunks(BATCH).zip(found.chunks_mut(BATCH)) {
            let mut count = 0;
            for (place, key) in keys.iter().enumerate() {
                (perhaps[count], places[count]) = (*key, place);
                count += usize::from(filter.may_contain(*key));
            }
            found.fill(false);
            self.view.contains_batch(&perhaps[..count], &mut answers[..count]);
            for (place, answer) in places.iter().zip(&answers[..count]) {
                found[*place] = *answer;
            }
        }
    }
}

impl Deref for Set {
    type Target = View<SharedBytes>;

    fn deref(&self) -> &View<SharedBytes> {
        &self.view
    }
}

/// The bytes of a snapshot, so that two threads can check them.
#[derive(Clone, Debug)]
pub(super) struct SharedBytes(Arc<Mapped>);

impl SharedBytes {
    pub(super) fn new(bytes: Mapped) -> SharedBytes {
        SharedBytes(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Opens a set and checks every byte of it. `count` is how many members it must have, if that is
/// known.
pub(super) fn open_set(
    disk: &dyn Disk,
    file: &FileInfo,
    count: Option<u64>,
) -> Result<Set, StoreError> {
    let bytes = SharedBytes::new(map(disk, file)?);
    let path = disk.path_of(&file.name);
    // A fault for every few pages would take longer than the checks.
    bytes.0.bring_in();
    let checksum = || hex(xxh3_64(bytes.as_ref()));
    let (checksum, set) = rayon::join(checksum, || View::open(bytes.clone()));
    // When the checksum says that something is wrong, the view may say where.
    let set = set.map_err(|error| StoreError::snapshot(path.clone(), &error))?;
    if checksum != file.xxh3 {
        return Err(StoreError::damaged(path, 0, "it does not match its checksum"));
    }
    match count {
        Some(count) if count != set.len() => {
            let what = format!("it holds {} keys, the manifest says {count}", set.len());
            Err(StoreError::damaged(path, 0, what))
        }
        _ => Ok(Set::new(set)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::write_sorted;

    #[test]
    fn a_set_that_is_asked_often_gives_the_same_answers() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            SubscriberKey::from_u64(525_500_000_000 + (state >> 33) % 3_000_000)
        };
        let members: std::collections::BTreeSet<_> = (0..40_000).map(|_| random()).collect();
        let mut bytes = Vec::new();
        write_sorted(&mut bytes, || members.iter().copied()).unwrap();
        let set = Set::new(View::open(SharedBytes::new(Mapped::from_vec(bytes))).unwrap());
        let mut times_filtered = 0;
        for asked in (0..120).map(|it| it * 37) {
            let pick = |(place, key)| match place % 3 {
                0 => *members.range(key..).next().unwrap_or(&key),
                _ => key,
            };
            let keys: Vec<_> = (0..asked).map(|_| random()).enumerate().map(pick).collect();
            let mut found = vec![true; asked];
            set.contains_batch(&keys, &mut found);
            times_filtered += usize::from(set.filter.get(0, set.len(), set.iter()).is_some());
            assert!(keys.iter().zip(&found).all(|(key, found)| members.contains(key) == *found));
        }
        assert!((1..119).contains(&times_filtered), "{times_filtered}");
    }
}
