//! An outside do-not-contact list: American numbers, one a line as `201,5551234`.
//!
//! 330 area codes with 792 exchanges of 10,000 numbers each, all exchanges listed alike. A rank
//! leads to a number: as ranks go up, they go round all exchanges and take one number of each, so
//! that any range of ranks is spread over everything and two ranges never share a number.

use std::io::{self, Write};
use std::ops::Range;

use crate::random::{Permutation, Purpose, mix};

const AREAS: usize = 330;
const EXCHANGES: u64 = 792;
const BLOCKS: u64 = AREAS as u64 * EXCHANGES;
const IN_BLOCK: u64 = 10_000;

/// A list, as one order of all numbers.
pub(crate) struct RegistryList {
    seed: u64,
    /// Ascending.
    areas: Vec<u64>,
    exchanges: Vec<u64>,
    order: Permutation,
}

impl RegistryList {
    /// How many numbers there are.
    pub(crate) const NUMBERS: u64 = BLOCKS * IN_BLOCK;

    pub(crate) fn new(seed: u64) -> RegistryList {
        let is_service = |code: &u64| code % 100 == 11;
        let mut areas: Vec<u64> =
            (200..1_000).filter(|code| code / 10 % 10 != 9 && !is_service(code)).collect();
        areas.sort_by_key(|&code| mix(seed ^ mix(code)));
        areas.truncate(AREAS);
        areas.sort_unstable();
        let exchanges = (200..1_000).filter(|code| !is_service(code)).collect();
        RegistryList {
            seed,
            areas,
            exchanges,
            order: Permutation::new(seed, Purpose::Registry, BLOCKS),
        }
    }

    /// Writes the numbers of some ranks, ascending.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    pub(crate) fn write_ascending(
        &self,
        ranks: Range<u64>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut places = vec![0; BLOCKS as usize];
        for place in 0..BLOCKS {
            places[self.order.at(place) as usize] = place;
        }
        for (block, place) in (0..).zip(places) {
            let round = |rank: u64| rank.saturating_sub(place).div_ceil(BLOCKS);
            let within = self.within(block);
            let rounds = round(ranks.start)..round(ranks.end);
            let mut lines: Vec<u64> = rounds.map(|round| within.at(round)).collect();
            lines.sort_unstable();
            for line in lines {
                out.write_all(&self.row(block, line))?;
            }
        }
        Ok(())
    }

    /// Writes the numbers of some ranks in the order of the ranks.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    pub(crate) fn write_shuffled(&self, ranks: Range<u64>, out: &mut impl Write) -> io::Result<()> {
        for rank in ranks {
            out.write_all(&self.row_of(rank))?;
        }
        Ok(())
    }

    /// Writes changes of the list of the ranks below `rows`: by turns the next number comes and
    /// the first goes.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    pub(crate) fn write_changes(
        &self,
        rows: u64,
        changes: u64,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for change in 0..changes {
            let (rank, action) =
                if change % 2 == 0 { (rows + change / 2, 'A') } else { (change / 2, 'D') };
            let mut row = self.row_of(rank).to_vec();
            row.pop();
            let second = change * 86_400 / changes.max(1);
            let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
            let moment = format!(",2026-03-01T{hour:02}:{minute:02}:{second:02}Z,{action}\n");
            row.extend_from_slice(moment.as_bytes());
            out.write_all(&row)?;
        }
        Ok(())
    }

    fn row_of(&self, rank: u64) -> [u8; 12] {
        let block = self.order.at(rank % BLOCKS);
        self.row(block, self.within(block).at(rank / BLOCKS))
    }

    /// In which order the numbers of a block are listed.
    fn within(&self, block: u64) -> Permutation {
        Permutation::new(mix(self.seed ^ mix(block)), Purpose::Registry, IN_BLOCK)
    }

    fn row(&self, block: u64, line: u64) -> [u8; 12] {
        let area = self.areas[(block / EXCHANGES) as usize];
        let number = self.exchanges[(block % EXCHANGES) as usize] * IN_BLOCK + line;
        let mut row = *b"000,0000000\n";
        for (places, mut value) in [(0..3, area), (4..11, number)] {
            for place in places.rev() {
                row[place] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lines(write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn both_orders_list_the_same_numbers_and_no_number_twice() {
        let list = RegistryList::new(1);
        let ranks = 261_000..600_000;
        let ascending = lines(|out| list.write_ascending(ranks.clone(), out).unwrap());
        assert_eq!(ascending.len(), 339_000);
        assert!(ascending.is_sorted());
        let shuffled = lines(|out| list.write_shuffled(ranks.clone(), out).unwrap());
        let set: BTreeSet<String> = shuffled.into_iter().collect();
        assert_eq!(set.into_iter().collect::<Vec<_>>(), ascending);
    }

    #[test]
    fn changes_lead_to_the_later_list() {
        let list = RegistryList::new(1);
        let ascending =
            |ranks: Range<u64>| lines(|out| list.write_ascending(ranks, out).unwrap()).into_iter();
        let mut set: BTreeSet<String> = ascending(0..1_000).collect();
        for change in lines(|out| list.write_changes(1_000, 100, out).unwrap()) {
            let number = change[..11].to_owned();
            let changed = match change.ends_with('A') {
                true => set.insert(number),
                false => set.remove(&number),
            };
            assert!(changed, "{change}");
        }
        assert_eq!(set, ascending(50..1_050).collect());
    }
}
