//! `export`: the events or opt-outs of a range, to a file.
//!
//! A spreadsheet is written as it comes, a set when all keys are known: 8 bytes of memory each.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use optout::event::Event;
use optout::exchange::{EventWriter, ExportFormat};
use optout::query::{self, Filter};
use optout::scrub::output::{OutputFile, publish};
use optout::snapshot::write_sorted;
use optout::store::{Clock, Reader};
use optout::time::TimeRange;

use super::open_reader;
use super::scrub::refuse_inside_store;
use crate::args::{self, Export, RangeArgs, View};
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &Export, output: &Output) -> anyhow::Result<Exit> {
    let format = format(args, output)?;
    let mut filter = filter(&args.range)?;
    let reader = open_reader(path, output)?;
    filter.up_to = Some(reader.sequence());
    let Format::Events(format) = format else { return set(path, &reader, args, &filter, output) };
    let (written, forgotten) = if args.output.as_os_str() == "-" {
        write(&reader, args, &filter, format, "standard output", output.stdout())?.1
    } else {
        refuse_inside_store(path, &args.output)?;
        let file = BufWriter::with_capacity(1 << 20, OutputFile::create(&args.output, args.force)?);
        let name = args.output.display().to_string();
        let (file, written) = write(&reader, args, &filter, format, &name, file)?;
        publish(vec![file.into_inner().map_err(|error| error.into_error())?])?;
        written
    };
    if forgotten > 0 && args.view == View::State {
        output.warn(format!(
            "{} rows have no number: these people asked to be forgotten, and are suppressed by \
             this store alone",
            grouped(forgotten)
        ));
    }
    output.say(format!("{} rows, up to sequence {}", grouped(written), reader.sequence()));
    Ok(Exit::Done)
}

/// Gives the output back, and how many rows were written and are of people who were erased.
fn write<W: Write>(
    reader: &Reader,
    args: &Export,
    filter: &Filter,
    format: ExportFormat,
    name: &str,
    out: W,
) -> anyhow::Result<(W, (u64, u64))> {
    let refused = || format!("{name} can't be written");
    let mut writer = EventWriter::new(out, format, args.mask).with_context(refused)?;
    let mut forgotten = 0;
    let visit = |event: Event| {
        forgotten += u64::from(event.is_tombstone());
        writer.write(&event).with_context(refused)?;
        Ok::<bool, anyhow::Error>(true)
    };
    match args.view {
        View::Events => query::events(reader, filter, visit)?,
        View::State => query::states(reader, filter, visit)?,
    }
    let written = writer.written();
    Ok((writer.finish().with_context(refused)?, (written, forgotten)))
}

/// Writes the keys of everybody who is opted out in the range as a set.
fn set(
    store: &Path,
    reader: &Reader,
    args: &Export,
    filter: &Filter,
    output: &Output,
) -> anyhow::Result<Exit> {
    if args.view != View::State || args.mask {
        let how = "a set has no events and no digits to hide: say --view state, without --mask";
        return Err(UsageError(how.to_owned()).into());
    }
    let (mut keys, mut without) = (Vec::new(), 0_u64);
    query::states(reader, filter, |event: Event| {
        let key = event.key.filter(|key| key.id_sequence().is_none());
        without += u64::from(key.is_none());
        keys.extend(key);
        Ok::<bool, anyhow::Error>(true)
    })?;
    keys.sort_unstable();
    keys.dedup();
    let all = || keys.iter().copied();
    if args.output.as_os_str() == "-" {
        write_sorted(&mut output.stdout(), all).context("standard output can't be written")?;
    } else {
        refuse_inside_store(store, &args.output)?;
        let mut file = OutputFile::create(&args.output, args.force)?;
        let refused = || format!("{} can't be written", args.output.display());
        write_sorted(&mut file, all).with_context(refused)?;
        publish(vec![file])?;
    }
    if without > 0 {
        output.warn(format!(
            "{} people are left out: they are known by an id alone, and a set holds numbers",
            grouped(without)
        ));
    }
    let count = grouped(keys.len() as u64);
    output.say(format!("{count} keys, up to sequence {}", reader.sequence()));
    Ok(Exit::Done)
}

const FORMATS: &str = "csv, ndjson, xlsx or roaring";

/// What is written.
#[derive(Clone, Copy, Debug)]
enum Format {
    Events(ExportFormat),
    /// The keys alone.
    Roaring,
}

fn format(args: &Export, output: &Output) -> Result<Format, UsageError> {
    let by_name = args.output.extension().and_then(|it| it.to_str()).map(str::to_lowercase);
    let default = if output.is_json() { "ndjson" } else { "csv" };
    let name = match (&args.format, by_name) {
        (Some(format), _) => format.clone(),
        (None, Some(extension)) => extension,
        (None, None) => default.to_owned(),
    };
    match name.as_str() {
        "csv" => Ok(Format::Events(ExportFormat::Csv)),
        "ndjson" | "jsonl" => Ok(Format::Events(ExportFormat::Ndjson)),
        #[cfg(feature = "xlsx")]
        "xlsx" => Ok(Format::Events(ExportFormat::Xlsx)),
        "roaring" => Ok(Format::Roaring),
        #[cfg(not(feature = "xlsx"))]
        "xlsx" => Err(UsageError(
            "this build writes no spreadsheets: use --format csv, ndjson or roaring".to_owned(),
        )),
        "parquet" => Err(UsageError(format!(
            "export to {name} is not supported by this release: use --format {FORMATS}"
        ))),
        other if args.format.is_some() => {
            Err(UsageError(format!("\"{other}\" is not a format: use {FORMATS}")))
        }
        other => Err(UsageError(format!(
            "the name ends in \".{other}\", which names no format: say --format {FORMATS}"
        ))),
    }
}

/// The events that the range options mean.
pub(super) fn filter(args: &RangeArgs) -> anyhow::Result<Filter> {
    let range = TimeRange::new(args.moment(&args.from)?, args.moment(&args.to)?)
        .map_err(|error| UsageError(error.to_string()))?;
    let clock = match args.clock {
        args::Clock::Occurred => Clock::Occurred,
        args::Clock::Received => Clock::Received,
    };
    Ok(Filter { range, clock, source: args.source, up_to: None, after: 0 })
}
