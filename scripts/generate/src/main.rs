//! Makes opt-out lists and campaigns of any length, with the right answer beside them.
//!
//! The same seed gives the same bytes on every machine. Files stream: memory holds the allocated
//! blocks of numbers (some 30,000 for the standard population), whatever the count of rows.
//!
//! - [`plan`]: which mobile numbers can exist.
//! - [`population`]: who exists, and who of them has opted out. Read its model before you trust
//!   a measurement.
//! - [`spelling`]: how a number is written; [`ids`]: who is known by an id instead.
//! - [`optouts`], [`recipients`], [`samples`]: the files.
//! - [`hostile`]: campaigns that are hard to read.
//! - [`registry`]: an outside list of the size of the do-not-call registry of the United States.
//! - [`random`], [`output`]: what all of them stand on.

mod hostile;
mod ids;
mod optouts;
mod output;
mod plan;
mod population;
mod random;
mod recipients;
mod registry;
mod samples;
mod spelling;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::hostile::HostileCampaign;
use crate::ids::Ids;
use crate::optouts::OptOutList;
use crate::output::Output;
use crate::population::{COUNTRIES, Population};
use crate::recipients::{Campaign, Expected};
use crate::registry::RegistryList;
use crate::spelling::Spellings;

/// Makes opt-out lists and campaigns of any length, the same bytes for the same seed.
///
/// Numbers are made up: they follow the numbering plans of nine countries, and some may by
/// chance belong to somebody. Never send to them.
#[derive(Parser)]
#[command(name = "optout-generate", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a list of people who opted out, each once.
    #[command(after_help = "Example:\n  optout-generate optouts --rows 20000000 -o optouts.csv")]
    Optouts(OptOutArgs),
    /// Write a campaign's recipients, a share of whom have opted out.
    ///
    /// Opted-out recipients are drawn from the list that `optouts` writes with the same --seed,
    /// --population and --countries, and with as many --rows as --optouts says here.
    #[command(after_help = "Example:\n  optout-generate recipients --rows 10000000 --share 10% \
                            -o campaign.csv --expected-kept kept.csv")]
    Recipients(RecipientArgs),
    /// Write a campaign that is hard to read; a tenth of the recipients have opted out.
    #[command(after_help = "Example:\n  optout-generate hostile quoted -o quoted.csv")]
    Hostile(HostileArgs),
    /// Write a do-not-contact list of American numbers, each once.
    #[command(after_help = "Example:\n  optout-generate registry --rows 258500000 -o registry.txt")]
    Registry(RegistryArgs),
    /// Write the small files of `data/samples`.
    Samples {
        /// The folder to write into
        #[arg(long, value_name = "DIR", default_value = "data/samples")]
        dir: PathBuf,
    },
}

/// Who exists.
#[derive(Args)]
struct PopulationArgs {
    /// Another seed makes another population
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many people have a phone
    #[arg(long, value_name = "N", default_value_t = 250_000_000)]
    population: u64,
    /// Where they live, as weights
    #[arg(long, value_name = "LIST", default_value = COUNTRIES)]
    countries: String,
}

#[derive(Args)]
struct OptOutArgs {
    /// How many people opted out
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    rows: u64,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Add a column with the moment of each opt-out, from 2023 to 2025, ascending
    #[arg(long)]
    with_dates: bool,
    /// How numbers are written
    #[arg(long, value_enum, default_value_t = Spellings::Clean)]
    spellings: Spellings,
    /// How many of the people are known by an id instead of a number, as 5% or 0.05; the same
    /// share in both lists names the same people
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    ids: Share,
    #[command(flatten)]
    population: PopulationArgs,
}

/// Who can be in a campaign, and where it goes.
#[derive(Args)]
struct CampaignArgs {
    /// How many people have opted out: the --rows of the opt-out list
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    optouts: u64,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Write what a right scrub counts, as JSON: rows, kept, suppressed, invalid
    #[arg(long, value_name = "FILE")]
    expected: Option<PathBuf>,
    /// Write what a right scrub keeps, byte for byte
    #[arg(long, value_name = "FILE")]
    expected_kept: Option<PathBuf>,
    #[command(flatten)]
    population: PopulationArgs,
}

#[derive(Args)]
struct RecipientArgs {
    /// How many recipients
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    rows: u64,
    /// How many of them have opted out, as 10% or 0.1
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    share: Share,
    /// How many have a number that can't be read [default: 0.2% if messy, else none]
    #[arg(long, value_name = "SHARE")]
    unreadable: Option<Share>,
    /// How numbers are written
    #[arg(long, value_enum, default_value_t = Spellings::Clean)]
    spellings: Spellings,
    /// How many of the people are known by an id instead of a number, as 5% or 0.05; the same
    /// share in both lists names the same people
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    ids: Share,
    #[command(flatten)]
    campaign: CampaignArgs,
}

#[derive(Args)]
struct HostileArgs {
    /// What makes it hard to read
    #[arg(value_enum)]
    kind: hostile::Kind,
    /// It ends with the row that reaches so many bytes
    #[arg(long, value_name = "N", default_value_t = 500_000_000)]
    bytes: u64,
    #[command(flatten)]
    campaign: CampaignArgs,
}

#[derive(Args)]
struct RegistryArgs {
    /// How many numbers are on the list
    #[arg(long, value_name = "N", default_value_t = 258_500_000)]
    rows: u64,
    /// Leave out so many of the first numbers and add as many new ones: a later list
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Not ascending, but in a random order
    #[arg(long)]
    shuffled: bool,
    /// Write so many changes instead that lead to the list --from half of it
    #[arg(long, value_name = "N", conflicts_with_all = ["shuffled", "from"])]
    changes: Option<u64>,
    /// Another seed makes another list
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// A part of a whole, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share(f64);

impl Share {
    fn of(self, whole: u64) -> u64 {
        (self.0 * whole as f64).round() as u64
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let (number, whole) =
            text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        let share = number.trim().parse::<f64>().ok().map(|part| part / whole);
        share
            .filter(|share| (0.0..=1.0).contains(share))
            .map(Share)
            .ok_or_else(|| "write a share as 10% or 0.1".to_owned())
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Optouts(args) => write_optouts(&args),
        Command::Recipients(args) => write_recipients(&args),
        Command::Hostile(args) => write_hostile(&args),
        Command::Registry(args) => write_registry(&args),
        Command::Samples { dir } => samples::write(&dir),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when not even this can be said.
            let _ = writeln!(io::stderr().lock(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write_optouts(args: &OptOutArgs) -> io::Result<()> {
    let population = args.population.build(args.rows)?;
    let list = OptOutList {
        seed: args.population.seed,
        spellings: args.spellings,
        ids: Ids::new(args.ids.0),
        dates: args.with_dates,
    };
    let mut output = Output::open(&args.output)?;
    list.write(&population, &mut output)?;
    output.finish()
}

fn write_recipients(args: &RecipientArgs) -> io::Result<()> {
    let people = args.campaign.people()?;
    let unreadable = args.unreadable.unwrap_or(match args.spellings {
        Spellings::Messy => Share(0.002),
        Spellings::Clean | Spellings::Five => Share(0.0),
    });
    let campaign = Campaign {
        seed: args.campaign.population.seed,
        rows: args.rows,
        suppressed: args.share.of(args.rows),
        invalid: unreadable.of(args.rows),
        spellings: args.spellings,
        ids: Ids::new(args.ids.0),
    };
    args.campaign.write(|output, kept| campaign.write(&people, output, kept))
}

fn write_hostile(args: &HostileArgs) -> io::Result<()> {
    let people = args.campaign.people()?;
    let seed = args.campaign.population.seed;
    let campaign = HostileCampaign { seed, kind: args.kind, bytes: args.bytes };
    args.campaign.write(|output, kept| campaign.write(&people, output, kept))
}

fn write_registry(args: &RegistryArgs) -> io::Result<()> {
    let end = args.from.checked_add(args.rows).and_then(|end| {
        end.checked_add(args.changes.unwrap_or(0)).filter(|&end| end <= RegistryList::NUMBERS)
    });
    if end.is_none() || args.changes.is_some_and(|changes| changes / 2 > args.rows) {
        return Err(io::Error::other("there are not so many numbers"));
    }
    let list = RegistryList::new(args.seed);
    let ranks = args.from..args.from + args.rows;
    let mut output = Output::open(&args.output)?;
    match args.changes {
        Some(changes) => list.write_changes(args.rows, changes, &mut output)?,
        None if args.shuffled => list.write_shuffled(ranks, &mut output)?,
        None => list.write_ascending(ranks, &mut output)?,
    }
    output.finish()
}

impl CampaignArgs {
    fn people(&self) -> io::Result<Population> {
        self.population.build(self.optouts)
    }

    /// Lets `write` write a campaign, and beside it what a right scrub counts and keeps.
    fn write(
        &self,
        write: impl FnOnce(&mut Output, &mut Output) -> io::Result<Expected>,
    ) -> io::Result<()> {
        let mut counts = Output::open_or_drop(self.expected.as_deref())?;
        let mut kept = Output::open_or_drop(self.expected_kept.as_deref())?;
        let mut output = Output::open(&self.output)?;
        let expected = write(&mut output, &mut kept)?;
        counts.write_all(expected.to_json().as_bytes())?;
        counts.finish()?;
        kept.finish()?;
        // Last, so that a campaign that stands under its name has its answers beside it.
        output.finish()
    }
}

impl PopulationArgs {
    fn build(&self, opt_outs: u64) -> io::Result<Population> {
        Population::new(self.seed, self.population, opt_outs, &self.countries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    /// Enough to notice a changed byte.
    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(bytes.len() as u64, |hash, byte| mix(hash ^ u64::from(*byte)))
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_for_ever() {
        let population = Population::new(1, 250_000_000, 5_000, COUNTRIES).unwrap();
        let (mut list, mut all, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        OptOutList { seed: 1, spellings: Spellings::Clean, ids: Ids::default(), dates: true }
            .write(&population, &mut list)
            .unwrap();
        let spellings = Spellings::Five;
        Campaign {
            seed: 1,
            rows: 5_000,
            suppressed: 500,
            invalid: 5,
            spellings,
            ids: Ids::default(),
        }
        .write(&population, &mut all, &mut kept)
        .unwrap();
        // Whoever changes these makes published measurements incomparable, and has to say so.
        assert_eq!(
            [hash(&list), hash(&all), hash(&kept)],
            [8_823_556_821_305_392_561, 4_101_693_294_892_530_088, 5_843_958_197_767_268_116]
        );
    }

    #[test]
    fn shares_are_read_as_percent_or_fraction() {
        assert_eq!("10%".parse(), Ok(Share(0.1)));
        assert_eq!("0.1".parse(), Ok(Share(0.1)));
        assert_eq!("12.5 %".parse::<Share>().unwrap().of(1_000), 125);
        for text in ["", "%", "101%", "-1%", "NaN", "ten"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
