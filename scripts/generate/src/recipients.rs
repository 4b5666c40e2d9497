//! A campaign's list of recipients, and what is left of it after a right scrub.

use std::io::{self, Write};

use crate::ids::Ids;
use crate::plan::Plan;
use crate::population::Population;
use crate::random::{Purpose, Random};
use crate::spelling::{Spellings, write_number, write_unreadable};

const HEADER: &[u8] = b"id,name,phone,city,amount\n";

const GIVEN_NAMES: &[&str] = &[
    "Ana", "Luis", "Eva", "Juan", "Inés", "João", "Paula", "Diego", "Lucía", "Pedro", "Sofía",
    "Hugo", "Marta", "Iván", "Rosa", "Bruno", "Clara", "Raúl", "Elena", "Mateo",
];

const SURNAMES: &[&str] = &[
    "Ruiz",
    "Díaz",
    "Silva",
    "Vega",
    "López",
    "Souza",
    "Rojas",
    "Morales",
    "Pérez",
    "Costa",
    "Soto",
    "Oliveira",
    "Gómez",
    "Ríos",
    "Nunes",
    "Cruz",
    "Torres",
    "Peña",
    "Reyes",
    "González",
];

/// What stands in a campaign, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Campaign {
    /// The seed of its columns.
    pub(crate) seed: u64,
    /// How many recipients.
    pub(crate) rows: u64,
    /// How many of them have opted out.
    pub(crate) suppressed: u64,
    /// How many have a number that can't be read.
    pub(crate) invalid: u64,
    /// How numbers are written.
    pub(crate) spellings: Spellings,
    /// Who is known by an id.
    pub(crate) ids: Ids,
}

/// What a right scrub answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Rows without the header.
    pub(crate) rows: u64,
    /// Rows that stay.
    pub(crate) kept: u64,
    /// Rows of people who opted out.
    pub(crate) suppressed: u64,
    /// Rows without a readable number.
    pub(crate) invalid: u64,
}

impl Expected {
    /// The counts as JSON, under the names that scrub's report has.
    pub(crate) fn to_json(self) -> String {
        let Expected { rows, kept, suppressed, invalid } = self;
        format!(
            "{{\"rows\": {rows}, \"kept\": {kept}, \"suppressed\": {suppressed}, \
             \"invalid\": {invalid}}}\n"
        )
    }
}

/// What a row is about.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Kept,
    Suppressed,
    Invalid,
}

impl Campaign {
    /// Writes the campaign to `out`, and what a right scrub keeps of it to `kept`.
    ///
    /// Nobody is in it twice. Each row is drawn from what is still to come, so that the counts
    /// are met exactly and the kinds are mixed evenly, without a list of rows in memory.
    ///
    /// # Errors
    ///
    /// When the population is too small for the counts, or an output can't be written.
    pub(crate) fn write(
        self,
        population: &Population,
        out: &mut impl Write,
        kept: &mut impl Write,
    ) -> io::Result<Expected> {
        self.check(population)?;
        out.write_all(HEADER)?;
        kept.write_all(HEADER)?;
        let mut random = Random::new(self.seed, Purpose::CampaignRows);
        let mut done = Expected::default();
        let mut row = Vec::new();
        while done.rows < self.rows {
            let kind = self.draw(done, &mut random);
            row.clear();
            self.write_row(population, done, kind, &mut random, &mut row);
            out.write_all(&row)?;
            done.rows += 1;
            match kind {
                Kind::Suppressed => done.suppressed += 1,
                Kind::Invalid => done.invalid += 1,
                Kind::Kept => {
                    kept.write_all(&row)?;
                    done.kept += 1;
                }
            }
        }
        Ok(done)
    }

    fn check(self, population: &Population) -> io::Result<()> {
        let (opt_outs, others) = (population.opt_outs(), population.others());
        if self.suppressed + self.invalid > self.rows {
            return Err(io::Error::other("more opted-out and unreadable rows than rows"));
        }
        if self.suppressed > opt_outs {
            return Err(io::Error::other(format!(
                "{} recipients are to be opted out, but only {opt_outs} people are: \
                 raise --optouts or lower --share",
                self.suppressed
            )));
        }
        if self.rows - self.suppressed - self.invalid > others {
            return Err(io::Error::other(format!(
                "only {others} people have not opted out: raise --population"
            )));
        }
        Ok(())
    }

    fn draw(self, done: Expected, random: &mut Random) -> Kind {
        let suppressed = self.suppressed - done.suppressed;
        let invalid = self.invalid - done.invalid;
        let drawn = random.below(self.rows - done.rows);
        if drawn < suppressed {
            Kind::Suppressed
        } else if drawn < suppressed + invalid {
            Kind::Invalid
        } else {
            Kind::Kept
        }
    }

    fn write_row(
        self,
        population: &Population,
        done: Expected,
        kind: Kind,
        random: &mut Random,
        row: &mut Vec<u8>,
    ) {
        let subscriber = match kind {
            Kind::Kept => Some(population.other(done.kept)),
            Kind::Suppressed => Some(population.opt_out_in_campaign(done.suppressed)),
            Kind::Invalid => None,
        };
        write_number(done.rows + 1, row);
        row.push(b',');
        write_name(self.spellings, random, row);
        row.push(b',');
        match &subscriber {
            Some(subscriber) if self.ids.write(subscriber, row) => {}
            Some(subscriber) => self.spellings.write(subscriber, random, row),
            None => write_unreadable(random, row),
        }
        row.push(b',');
        write_city(subscriber.map(|subscriber| subscriber.plan), random, row);
        row.push(b',');
        write_amount(random, row);
        row.push(b'\n');
    }
}

fn write_name(spellings: Spellings, random: &mut Random, row: &mut Vec<u8>) {
    let (given, surname) = (random.pick(GIVEN_NAMES), random.pick(SURNAMES));
    let quirk = if spellings == Spellings::Messy { random.below(40) } else { 40 };
    let parts = match quirk {
        0..=3 => ["\"", surname, ", ", given, "\""],
        4..=7 => ["\"", given, " ", surname, "\""],
        8 => ["\"", given, "\n", surname, "\""],
        9 => ["\"\"\"", given, "\"\" ", surname, "\""],
        _ => ["", given, " ", surname, ""],
    };
    for part in parts {
        row.extend_from_slice(part.as_bytes());
    }
}

fn write_city(plan: Option<&Plan>, random: &mut Random, row: &mut Vec<u8>) {
    if let Some(plan) = plan {
        row.extend_from_slice(random.pick(plan.cities).as_bytes());
    }
}

fn write_amount(random: &mut Random, row: &mut Vec<u8>) {
    let cents = 100 + random.below(99_900);
    write_number(cents / 100, row);
    let cents = (cents % 100) as u8;
    row.extend_from_slice(&[b'.', b'0' + cents / 10, b'0' + cents % 10]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::COUNTRIES;

    fn population() -> Population {
        Population::new(9, 100_000, 5_000, COUNTRIES).unwrap()
    }

    fn campaign(spellings: Spellings) -> Campaign {
        Campaign {
            seed: 9,
            rows: 10_000,
            suppressed: 1_000,
            invalid: 20,
            spellings,
            ids: Ids::default(),
        }
    }

    #[test]
    fn the_counts_are_met_exactly_and_add_up() {
        for spellings in [Spellings::Clean, Spellings::Five, Spellings::Messy] {
            let done =
                campaign(spellings).write(&population(), &mut io::sink(), &mut io::sink()).unwrap();
            assert_eq!(
                done,
                Expected { rows: 10_000, kept: 8_980, suppressed: 1_000, invalid: 20 }
            );
        }
    }

    #[test]
    fn kept_rows_are_the_campaign_without_those_who_opted_out() {
        let population = population();
        let (mut all, mut kept) = (Vec::new(), Vec::new());
        let plain = Campaign { invalid: 0, ..campaign(Spellings::Clean) };
        plain.write(&population, &mut all, &mut kept).unwrap();
        let opted_out: std::collections::HashSet<String> = (0..population.opt_outs())
            .map(|rank| population.opt_out(rank).digits.to_string())
            .collect();
        let all = String::from_utf8(all).unwrap();
        let scrubbed: String = all
            .split_inclusive('\n')
            .filter(|row| !opted_out.contains(row.split(',').nth(2).unwrap()))
            .collect();
        assert_eq!(scrubbed.as_bytes(), kept);
        assert_ne!(all.as_bytes(), kept);
    }

    #[test]
    fn a_clean_row_has_about_49_bytes() {
        let mut out = Vec::new();
        campaign(Spellings::Clean).write(&population(), &mut out, &mut io::sink()).unwrap();
        // Ids of seven and eight digits instead of four make three more in a long file.
        let bytes = out.len() as f64 / 10_000.0;
        assert!((45.0..48.0).contains(&bytes), "{bytes}");
    }

    #[test]
    fn counts_that_cannot_be_met_are_refused() {
        let population = Population::new(9, 2_000, 500, COUNTRIES).unwrap();
        for (rows, suppressed, wanted) in
            [(1_000, 501, "raise --optouts"), (3_000, 500, "raise --population")]
        {
            let campaign = Campaign { rows, suppressed, ..campaign(Spellings::Clean) };
            let error = campaign.write(&population, &mut io::sink(), &mut io::sink()).unwrap_err();
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
