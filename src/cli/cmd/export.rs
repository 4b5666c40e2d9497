//! `export`: the events or opt-outs of a range, to a file.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use optout::event::Event;
use optout::exchange::{EventWriter, ExportFormat};
use optout::query::{self, Filter};
use optout::scrub::output::{OutputFile, publish};
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

fn format(args: &Export, output: &Output) -> Result<ExportFormat, UsageError> {
    let by_name = args.output.extension().and_then(|it| it.to_str()).map(str::to_lowercase);
    let default = if output.is_json() { "ndjson" } else { "csv" };
    let name = match (&args.format, by_name) {
        (Some(format), _) => format.clone(),
        (None, Some(extension)) => extension,
        (None, None) => default.to_owned(),
    };
    match name.as_str() {
        "csv" => Ok(ExportFormat::Csv),
        "ndjson" | "jsonl" => Ok(ExportFormat::Ndjson),
        "parquet" | "xlsx" | "roaring" => Err(UsageError(format!(
            "export to {name} is not supported by this release: use --format csv or ndjson"
        ))),
        other if args.format.is_some() => {
            Err(UsageError(format!("\"{other}\" is not a format: use csv or ndjson")))
        }
        other => Err(UsageError(format!(
            "the name ends in \".{other}\", which names no format: say --format csv or ndjson"
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
