//! More keys than memory has room for as integers, in ascending order.
//!
//! Keys come in any order, are sorted some millions at a time, and each sorted run is kept as
//! the differences between neighbours in few bytes; at the end the runs are merged. Keys that
//! come in ascending order are never sorted: they extend the run before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use rayon::slice::ParallelSliceMut;

use crate::number::SubscriberKey;

/// Keys that are sorted at once: 128 MB.
const CHUNK_KEYS: usize = 1 << 24;

/// Gathers keys in any order.
#[derive(Default)]
pub struct KeySorter {
    chunk: Vec<u64>,
    runs: Vec<Run>,
    chunk_keys: Option<usize>,
}

impl KeySorter {
    /// Without keys.
    pub fn new() -> KeySorter {
        KeySorter::default()
    }

    /// Adds a key, new or not.
    #[inline]
    pub fn push(&mut self, key: SubscriberKey) {
        self.chunk.push(key.get());
        if self.chunk.len() >= self.chunk_keys.unwrap_or(CHUNK_KEYS) {
            self.seal();
        }
    }

    /// All keys, each once.
    pub fn finish(mut self) -> SortedKeys {
        self.seal();
        self.chunk = Vec::new();
        if self.runs.len() > 1 {
            return SortedKeys(merge(&self.runs));
        }
        SortedKeys(self.runs.pop().unwrap_or_default())
    }

    /// The chunk becomes a run, or part of the run before.
    fn seal(&mut self) {
        if !self.chunk.is_sorted() {
            self.chunk.par_sort_unstable();
        }
        let Some(&first) = self.chunk.first() else { return };
        match self.runs.last_mut() {
            Some(run) if run.last <= first => run.extend(&self.chunk),
            _ => {
                let mut run = Run::default();
                run.extend(&self.chunk);
                self.runs.push(run);
            }
        }
        self.chunk.clear();
    }

    #[cfg(test)]
    fn of_chunks(keys: usize) -> KeySorter {
        KeySorter { chunk_keys: Some(keys), ..KeySorter::default() }
    }
}

impl Extend<SubscriberKey> for KeySorter {
    fn extend<I: IntoIterator<Item = SubscriberKey>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.push(key));
    }
}

/// Counts only: keys are people.
impl fmt::Debug for KeySorter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.chunk.len() as u64 + self.runs.iter().map(|run| run.len).sum::<u64>();
        f.debug_struct("KeySorter").field("keys", &keys).finish_non_exhaustive()
    }
}

/// Distinct keys in ascending order, in a few bytes each.
#[derive(Clone, Default)]
pub struct SortedKeys(Run);

impl SortedKeys {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys, ascending.
    pub fn iter(&self) -> impl Iterator<Item = SubscriberKey> + Clone + '_ {
        self.0.iter().map(SubscriberKey::from_u64)
    }
}

impl FromIterator<SubscriberKey> for SortedKeys {
    fn from_iter<I: IntoIterator<Item = SubscriberKey>>(keys: I) -> SortedKeys {
        let mut sorter = KeySorter::new();
        sorter.extend(keys);
        sorter.finish()
    }
}

/// The count only: keys are people.
impl fmt::Debug for SortedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SortedKeys({})", self.len())
    }
}

/// Strictly ascending keys as their differences.
#[derive(Clone, Default)]
struct Run {
    /// The first key, then differences: 7 bits a byte, low ones first, the high bit says that
    /// more follow.
    bytes: Vec<u8>,
    last: u64,
    len: u64,
}

impl Run {
    /// Appends ascending keys, of which none is below the last; repeats are left out.
    fn extend(&mut self, keys: &[u64]) {
        keys.iter().for_each(|&key| self.push(key));
    }

    #[inline]
    fn push(&mut self, key: u64) {
        if self.len > 0 && key == self.last {
            return;
        }
        let mut difference = key - self.last;
        while difference >= 0x80 {
            self.bytes.push(difference as u8 | 0x80);
            difference >>= 7;
        }
        self.bytes.push(difference as u8);
        self.last = key;
        self.len += 1;
    }

    fn iter(&self) -> RunIter<'_> {
        RunIter { bytes: self.bytes.iter(), last: 0 }
    }
}

#[derive(Clone)]
struct RunIter<'a> {
    bytes: std::slice::Iter<'a, u8>,
    last: u64,
}

impl Iterator for RunIter<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let mut byte = *self.bytes.next()?;
        let mut difference = u64::from(byte & 0x7f);
        let mut shift = 7;
        while byte >= 0x80 {
            byte = *self.bytes.next()?;
            difference |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        self.last += difference;
        Some(self.last)
    }
}

/// All keys of all runs.
fn merge(runs: &[Run]) -> Run {
    let mut merged = Run::default();
    let mut runs: Vec<RunIter<'_>> = runs.iter().map(Run::iter).collect();
    let fronts = runs.iter_mut().enumerate();
    let mut heap: BinaryHeap<Reverse<(u64, usize)>> =
        fronts.filter_map(|(index, run)| run.next().map(|key| Reverse((key, index)))).collect();
    while let Some(mut front) = heap.peek_mut() {
        let Reverse((key, index)) = *front;
        merged.push(key);
        match runs[index].next() {
            Some(next) => *front = Reverse((next, index)),
            None => drop(std::collections::binary_heap::PeekMut::pop(front)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_come_out_ascending_and_once(
            keys in prop::collection::vec(prop_oneof![0..50u64, any::<u64>()], 0..300),
            chunk in 1..40usize,
            ascending in any::<bool>(),
        ) {
            let mut keys = keys;
            if ascending {
                keys.sort_unstable();
            }
            let mut sorter = KeySorter::of_chunks(chunk);
            sorter.extend(keys.iter().copied().map(SubscriberKey::from_u64));
            prop_assert!(!ascending || sorter.runs.len() <= 1);
            let sorted = sorter.finish();
            let expected: BTreeSet<u64> = keys.into_iter().collect();
            prop_assert_eq!(sorted.len(), expected.len() as u64);
            let got: Vec<u64> = sorted.iter().map(SubscriberKey::get).collect();
            prop_assert_eq!(got, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
