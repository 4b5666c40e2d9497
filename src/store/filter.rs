//! Is a key surely not in a set?
//!
//! Most rows of a campaign are on none of the outside lists, and each list is one more lookup for
//! each row. A Bloom filter whose bits for a key share one word tells that with a single load, of
//! a byte a member. It says "perhaps" for one other key in some fifteen; it never says "surely not"
//! of a member. It is made from a set that was checked, is kept in memory only, and only when so
//! many keys were asked for that it pays.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::number::SubscriberKey;

/// A filter that is made when it pays.
#[derive(Debug, Default)]
pub(super) struct LazyFilter {
    asked: AtomicU64,
    filter: OnceLock<Filter>,
}

impl LazyFilter {
    /// Of larger sets no filter is made: what it would save is more than the time of a scrub.
    const MEMBERS_MAX: u64 = 1 << 22;
    /// Keys that have to be asked for before: making it costs for a member what it saves for a
    /// few keys.
    const ASKED_MIN: u64 = 1 << 16;

    /// The filter of a set of `members` that was now asked for as many keys; `None` as long as
    /// it doesn't pay.
    pub(super) fn get(
        &self,
        asked: usize,
        members: u64,
        keys: impl Iterator<Item = SubscriberKey>,
    ) -> Option<&Filter> {
        if members > Self::MEMBERS_MAX {
            return None;
        }
        if let Some(filter) = self.filter.get() {
            return Some(filter);
        }
        let asked = self.asked.fetch_add(asked as u64, Ordering::Relaxed) + asked as u64;
        let pays = asked >= (members / 2).max(Self::ASKED_MIN);
        pays.then(|| self.filter.get_or_init(|| Filter::new(members, keys)))
    }
}

/// A Bloom filter.
pub(super) struct Filter {
    words: Vec<u64>,
}

/// Says how large it is; its bits are people.
impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Filter({} words)", self.words.len())
    }
}

impl Filter {
    fn new(members: u64, keys: impl Iterator<Item = SubscriberKey>) -> Filter {
        let mut words = vec![0; (members / 8 + 1) as usize];
        for key in keys {
            let (word, bits) = place(key, words.len());
            words[word] |= bits;
        }
        Filter { words }
    }

    /// Whether a key may be a member.
    #[inline]
    pub(super) fn may_contain(&self, key: SubscriberKey) -> bool {
        let (word, bits) = place(key, self.words.len());
        self.words[word] & bits == bits
    }
}

/// A key's word and its three bits there. Whoever chooses keys that collide makes lookups slower,
/// and no answer wrong.
#[inline]
fn place(key: SubscriberKey, words: usize) -> (usize, u64) {
    let hash = key.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = ((hash >> 32) * words as u64) >> 32;
    let bit = |shift: u32| 1 << (hash >> shift & 63);
    (word as usize, bit(0) | bit(6) | bit(12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_always_may_be_there_and_few_others() {
        let keys = |from: u64| (from..from + 20_000).map(|it| SubscriberKey::from_u64(it * 977));
        let filter = Filter::new(20_000, keys(1_000));
        assert!(keys(1_000).all(|key| filter.may_contain(key)));
        let others = keys(500_000).filter(|key| filter.may_contain(*key)).count();
        assert!(others < 2_000, "{others} of 20,000");
        assert!(!Filter::new(0, keys(0).take(0)).may_contain(SubscriberKey::from_u64(7)));
    }

    #[test]
    fn a_filter_is_made_when_it_pays() {
        let filter = LazyFilter::default();
        let keys = || (0..10).map(SubscriberKey::from_u64);
        assert!(filter.get(1_000, 10, keys()).is_none());
        assert!(filter.get(100_000, 10, keys()).is_some());
        assert!(filter.get(1, 10, keys()).is_some());
        assert!(LazyFilter::default().get(usize::MAX, 1 << 30, keys()).is_none());
    }
}
