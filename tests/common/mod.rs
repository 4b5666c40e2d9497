//! What the random tests share.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::print_stderr, reason = "random tests print their seed")]

/// Repeatable randomness (splitmix64): the same seed gives the same values everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Another seed for each run, unless `OPTOUT_TEST_SEED` names one; printed, so that a failure
    /// can be repeated.
    pub(crate) fn of_test(test: &str) -> Random {
        let seed = std::env::var("OPTOUT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let seed = seed.unwrap_or(now.as_nanos() as u64);
        eprintln!("{test}: OPTOUT_TEST_SEED={seed}");
        Random(seed)
    }

    /// Any value.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A value below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A place in something of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        (self.next() % length as u64) as usize
    }

    /// One of the words.
    pub(crate) fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.index(words.len())]
    }
}
