//! The list of those who opted out.

use std::io::{self, Write};

use crate::ids::Ids;
use crate::population::Population;
use crate::random::{Purpose, Random};
use crate::spelling::{Spellings, write_number};

/// 2023-01-01T00:00:00Z, where dates begin.
const FIRST_SECOND: u64 = 1_672_531_200;
/// Three years.
const SECONDS: u64 = 1_096 * DAY;
const DAY: u64 = 86_400;

/// What stands in an opt-out list, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptOutList {
    /// The seed of its columns.
    pub(crate) seed: u64,
    /// How numbers are written.
    pub(crate) spellings: Spellings,
    /// Who is known by an id.
    pub(crate) ids: Ids,
    /// Whether there is a column with the moment of each opt-out.
    pub(crate) dates: bool,
}

impl OptOutList {
    /// Writes everybody in the population who opted out, in the order in which they did.
    ///
    /// # Errors
    ///
    /// When the output can't be written.
    pub(crate) fn write(self, population: &Population, out: &mut impl Write) -> io::Result<()> {
        out.write_all(if self.dates { b"phone,opted_out_at\n" } else { b"phone\n" })?;
        let mut random = Random::new(self.seed, Purpose::OptOutRows);
        let mut row = Vec::new();
        for rank in 0..population.opt_outs() {
            row.clear();
            let subscriber = population.opt_out(rank);
            if !self.ids.write(&subscriber, &mut row) {
                self.spellings.write(&subscriber, &mut random, &mut row);
            }
            if self.dates {
                row.push(b',');
                write_moment(moment(rank, population.opt_outs(), &mut random), &mut row);
            }
            row.push(b'\n');
            out.write_all(&row)?;
        }
        Ok(())
    }
}

/// When the opt-out of a rank happened: never before that of a lower rank.
pub(crate) fn moment(rank: u64, count: u64, random: &mut Random) -> u64 {
    let start = |rank: u64| (u128::from(rank) * u128::from(SECONDS) / u128::from(count)) as u64;
    let length = start(rank + 1) - start(rank);
    FIRST_SECOND + start(rank) + random.below(length.max(1))
}

/// Appends seconds since the epoch as RFC 3339.
pub(crate) fn write_moment(seconds: u64, out: &mut Vec<u8>) {
    write_date(seconds, out);
    let second = seconds % DAY;
    for (before, value) in [(b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(before);
        write_two(value, out);
    }
    out.push(b'Z');
}

/// Appends the date of a moment, as in `2026-03-01`.
pub(crate) fn write_date(seconds: u64, out: &mut Vec<u8>) {
    // Years that begin in March put the leap day last, and make the month a linear function of
    // the day. Four such years have 1,461 days; good from March 1968 to February 2100.
    let day = seconds / DAY + 671;
    let (years, day) = (day / 1_461 * 4, day % 1_461);
    let year = (day / 365).min(3);
    let day = day - year * 365;
    let month = (5 * day + 2) / 153;
    let in_next_year = month >= 10;
    write_number(1_968 + years + year + u64::from(in_next_year), out);
    out.push(b'-');
    write_two(if in_next_year { month - 9 } else { month + 3 }, out);
    out.push(b'-');
    write_two(day - (153 * month + 2) / 5 + 1, out);
}

fn write_two(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (FIRST_SECOND, "2023-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (FIRST_SECOND + SECONDS, "2026-01-01T00:00:00Z"),
        ] {
            let mut out = Vec::new();
            write_moment(seconds, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn later_ranks_opt_out_later() {
        let mut random = Random::new(1, Purpose::OptOutRows);
        let moments: Vec<u64> = (0..1_000).map(|rank| moment(rank, 1_000, &mut random)).collect();
        assert!(moments.is_sorted());
        assert!(moments[999] < FIRST_SECOND + SECONDS);
    }
}
