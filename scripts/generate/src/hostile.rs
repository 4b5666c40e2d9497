//! Campaigns that are hard to read, and what is left of them after a right scrub.
//!
//! Each kind is one thing that makes a reader slow or large: quotes everywhere, thousands of
//! columns, giant fields, nothing but numbers that can't be read.

use std::io::{self, Write};

use clap::ValueEnum;

use crate::population::Population;
use crate::random::{Purpose, Random};
use crate::recipients::Expected;
use crate::spelling::{write_number, write_unreadable};

/// What makes a campaign hard to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Every field has quotes around it, doubled quotes, commas or line ends inside.
    Quoted,
    /// 5,000 columns; the number stands in the 4,000th.
    Columns,
    /// A field of 10 million bytes before each number.
    Fields,
    /// No number can be read.
    Invalid,
}

/// Columns of [`Kind::Columns`].
const COLUMNS: u64 = 5_000;
/// The one with the number.
const NUMBER_COLUMN: u64 = 4_000;
/// Bytes of a giant field, about.
const FIELD_BYTES: usize = 10_000_000;
/// One of so many recipients has opted out.
const SUPPRESSED_EVERY: u64 = 10;

/// A campaign of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostileCampaign {
    /// The seed of its columns.
    pub(crate) seed: u64,
    /// What makes it hard to read.
    pub(crate) kind: Kind,
    /// It ends with the row that reaches so many bytes.
    pub(crate) bytes: u64,
}

impl HostileCampaign {
    /// Writes the campaign to `out`, and what a right scrub keeps of it to `kept`.
    ///
    /// # Errors
    ///
    /// When the population is too small, or an output can't be written.
    pub(crate) fn write(
        self,
        population: &Population,
        out: &mut impl Write,
        kept: &mut impl Write,
    ) -> io::Result<Expected> {
        let mut random = Random::new(self.seed, Purpose::CampaignRows);
        let mut row = Vec::new();
        self.write_header(&mut row);
        out.write_all(&row)?;
        kept.write_all(&row)?;
        let mut done = Expected::default();
        let mut bytes = row.len() as u64;
        while bytes < self.bytes {
            let suppressed = done.rows.is_multiple_of(SUPPRESSED_EVERY);
            row.clear();
            if self.kind == Kind::Invalid {
                self.write_row(done.rows, |out| write_unreadable(&mut random, out), &mut row);
            } else {
                let digits = self.number(population, done, suppressed)?;
                self.write_row(done.rows, |out| write_number(digits, out), &mut row);
            }
            out.write_all(&row)?;
            bytes += row.len() as u64;
            done.rows += 1;
            if self.kind == Kind::Invalid {
                done.invalid += 1;
            } else if suppressed {
                done.suppressed += 1;
            } else {
                kept.write_all(&row)?;
                done.kept += 1;
            }
        }
        Ok(done)
    }

    fn number(self, population: &Population, done: Expected, suppressed: bool) -> io::Result<u64> {
        let (rank, people) = match suppressed {
            true => (done.suppressed, population.opt_outs()),
            false => (done.kept, population.others()),
        };
        if rank >= people {
            return Err(io::Error::other("too few people: raise --optouts or --population"));
        }
        let subscriber = match suppressed {
            true => population.opt_out_in_campaign(rank),
            false => population.other(rank),
        };
        Ok(subscriber.digits)
    }

    fn write_header(self, row: &mut Vec<u8>) {
        match self.kind {
            Kind::Columns => {
                for column in 1..=COLUMNS {
                    let name = if column == NUMBER_COLUMN { "phone" } else { "field" };
                    row.extend_from_slice(name.as_bytes());
                    if column != NUMBER_COLUMN {
                        row.push(b'_');
                        write_number(column, row);
                    }
                    row.push(if column == COLUMNS { b'\n' } else { b',' });
                }
            }
            _ => row.extend_from_slice(b"id,note,phone,amount\n"),
        }
    }

    fn write_row(self, place: u64, phone: impl FnOnce(&mut Vec<u8>), row: &mut Vec<u8>) {
        match self.kind {
            Kind::Quoted => {
                row.push(b'"');
                write_number(place, row);
                row.extend_from_slice(b"\",\"Ana \"\"la Flaca\"\" Ruiz, S.A.\nsegundo piso\",\"");
                phone(row);
                row.extend_from_slice(b"\",\"7,50\"\n");
            }
            Kind::Columns => {
                for column in 1..NUMBER_COLUMN {
                    write_number(place.wrapping_mul(column) % 1_000, row);
                    row.push(b',');
                }
                phone(row);
                for column in NUMBER_COLUMN..COLUMNS {
                    row.push(b',');
                    write_number(place.wrapping_mul(column) % 1_000, row);
                }
                row.push(b'\n');
            }
            Kind::Fields => {
                write_number(place, row);
                row.extend_from_slice(b",\"");
                let line = b"a \"\"note\"\", without an end, that somebody has pasted\n";
                row.extend(line.iter().cycle().take(FIELD_BYTES / line.len() * line.len()));
                row.extend_from_slice(b"\",");
                phone(row);
                row.extend_from_slice(b",7.50\n");
            }
            Kind::Invalid => {
                write_number(place, row);
                row.extend_from_slice(b",Ana Ruiz,");
                phone(row);
                row.extend_from_slice(b",7.50\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::COUNTRIES;

    #[test]
    fn each_kind_has_its_counts_and_its_shape() {
        let population = Population::new(9, 100_000, 5_000, COUNTRIES).unwrap();
        for kind in Kind::value_variants() {
            let campaign = HostileCampaign { seed: 9, kind: *kind, bytes: 300_000 };
            let (mut all, mut kept) = (Vec::new(), Vec::new());
            let done = campaign.write(&population, &mut all, &mut kept).unwrap();
            assert_eq!(done.rows, done.kept + done.suppressed + done.invalid, "{kind:?}");
            assert_eq!(done.invalid > 0, *kind == Kind::Invalid);
            assert!(all.len() >= 300_000 && kept.len() < all.len(), "{kind:?}");
            let first = all.split(|&byte| byte == b'\n').nth(1).unwrap();
            let commas = first.iter().filter(|&&byte| byte == b',').count();
            assert_eq!(commas >= 4_999, *kind == Kind::Columns, "{kind:?}");
        }
    }
}
