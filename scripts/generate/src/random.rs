//! Which number comes next? Pseudorandom, but the same on every machine for the same seed.
//!
//! [`Random`] is a sequence, [`Permutation`] an order without repetition: it visits each of `n`
//! things exactly once without remembering which ones it has visited. Neither is secret-proof,
//! and neither has to be.

/// The finaliser of splitmix64: every input bit reaches every output bit, and no two inputs
/// give the same output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The step of splitmix64, also used to keep the streams of one seed apart.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scales a uniform 64-bit value to `0 .. below`. The bias is below 2^-30 for every bound that
/// this program uses.
fn scale(value: u64, below: u64) -> u64 {
    ((u128::from(value) * u128::from(below)) >> 64) as u64
}

/// What random values are for. Each purpose has a sequence of its own, so that another column
/// in one file never moves the values of another file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// Which blocks are allocated, and in which order their numbers are handed out.
    Blocks = 1,
    /// Who opts out, and in which order.
    OptOuts = 2,
    /// In which order a campaign meets those who opted out.
    Recipients = 3,
    /// The spelling and the other columns of an opt-out list.
    OptOutRows = 4,
    /// The spelling and the other columns of a campaign.
    CampaignRows = 5,
    /// Which numbers a registry lists.
    Registry = 6,
}

/// A splitmix64 sequence.
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of one seed for one purpose.
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Random {
        Random(mix(seed ^ mix((purpose as u64).wrapping_add(STEP))))
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A value in `0 .. bound`; `bound` is at least 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        scale(self.next(), bound)
    }

    /// One of the choices.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Puts the items into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// A pseudorandom order of `0 .. count`, computed for each place on its own.
///
/// It is a Feistel network over a grid of `rows × columns` cells that just holds `count`: each
/// round adds a hash of one coordinate to the other, modulo its length, and can therefore be
/// undone, so no two places meet. A result outside of `0 .. count` is sent through again until
/// it falls inside ("cycle walking"), which keeps that property; as the grid has hardly a cell
/// more than needed, it hardly happens.
pub(crate) struct Permutation {
    count: u64,
    rows: u64,
    columns: u64,
    keys: [u64; 6],
}

impl Permutation {
    /// The order of `0 .. count` that belongs to one seed and purpose.
    pub(crate) fn new(seed: u64, purpose: Purpose, count: u64) -> Permutation {
        let columns = count.isqrt().max(1);
        let rows = count.div_ceil(columns).max(1);
        let mut random = Random::new(seed, purpose);
        Permutation { count, rows, columns, keys: [(); 6].map(|()| random.next()) }
    }

    /// What stands at `place`, which is below `count`.
    pub(crate) fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.count, "place {place} of {}", self.count);
        let mut cell = self.turn(place);
        while cell >= self.count {
            cell = self.turn(cell);
        }
        cell
    }

    fn turn(&self, cell: u64) -> u64 {
        let (mut row, mut column) = (cell / self.columns, cell % self.columns);
        for pair in self.keys.chunks_exact(2) {
            row = add(row, scale(mix(column ^ pair[0]), self.rows), self.rows);
            column = add(column, scale(mix(row ^ pair[1]), self.columns), self.columns);
        }
        row * self.columns + column
    }
}

/// `left + right` modulo `modulus`, both below it.
fn add(left: u64, right: u64, modulus: u64) -> u64 {
    let sum = left + right;
    if sum >= modulus { sum - modulus } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_visits_each_place_once() {
        for count in [1, 2, 3, 5, 10, 97, 100, 1_000, 4_099, 65_536] {
            for seed in 0..3 {
                let order = Permutation::new(seed, Purpose::OptOuts, count);
                let mut seen = vec![false; count as usize];
                for place in 0..count {
                    let value = order.at(place) as usize;
                    assert!(!seen[value], "{value} twice; count {count}, seed {seed}");
                    seen[value] = true;
                }
            }
        }
    }

    #[test]
    fn the_front_of_a_permutation_is_spread_over_everything() {
        let order = Permutation::new(7, Purpose::OptOuts, 1_000_000);
        let mut tenths = [0_u32; 10];
        for place in 0..100_000 {
            tenths[(order.at(place) / 100_000) as usize] += 1;
        }
        // 10,000 expected in each tenth, with a standard deviation of 90.
        assert!(tenths.iter().all(|count| count.abs_diff(10_000) < 600), "{tenths:?}");
    }

    #[test]
    fn splitmix_gives_the_published_values() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn purposes_of_one_seed_differ() {
        let first = |seed, purpose| Random::new(seed, purpose).next();
        assert_ne!(first(1, Purpose::Blocks), first(1, Purpose::OptOuts));
        assert_ne!(first(1, Purpose::Blocks), first(2, Purpose::Blocks));
    }
}
