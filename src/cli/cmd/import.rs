//! `import`: lists of opt-outs into the store.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use optout::event::{Action, Source};
use optout::exchange::{DryRun, ImportOptions, ImportReport, ImportTarget, ImportWatch, import};
use optout::scrub::output::{OutputFile, check_paths, publish};
use optout::scrub::{Input, KeptInput};
use optout::store::Writer;
use optout::time::Timestamp;

use super::record::details;
use super::scrub::{paths_of, refuse_inside_store};
use super::{open_reader, open_writer};
use crate::args::{Import, moment};
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};
use crate::progress::{Bar, cancel_flag};

pub(crate) fn run(path: &Path, args: &Import, output: &Output) -> anyhow::Result<Exit> {
    if let Some(layer) = &args.registry.layer {
        return super::layers::import(path, layer, args, output);
    }
    let now = Timestamp::now();
    let options = ImportOptions {
        column: args.column.clone(),
        at_column: args.at_column.clone(),
        region: args.event.region,
        region_column: args.region_column.clone(),
        template_column: args.template_column.clone(),
        campaign_column: args.campaign_column.clone(),
        zone: args.event.tz.clone(),
        occurred_at: moment(&args.event.at, &args.event.tz)?.unwrap_or(now),
        details: {
            let mut details = details(&args.event, Action::OptOut, Source::Import)?;
            super::record::ground(&mut details, args.ground, args.event.tier)?;
            details
        },
    };
    let target = Target::open(path, args.dry_run, output)?;
    let mut invalid = Invalid::open(path, args)?;
    let rows = invalid.as_mut().map(|it| &mut it.0 as &mut dyn Write);
    let total = match args.max_added {
        None => run_all(&target, args.files.iter().map(open), &options, now, rows, output)?,
        Some(max) => {
            let lists: Vec<KeptInput> = args.files.iter().map(keep).collect::<Result<_, _>>()?;
            // The writer holds the store: what is counted is what will be added.
            let reader = open_reader(path, output)?;
            let opted_out = reader.len()?;
            let dry = Target::DryRun(Box::new(DryRun::new(reader)));
            let firsts = lists.iter().map(|list| Ok(list.first()?));
            max.check(run_all(&dry, firsts, &options, now, None, output)?.added, opted_out)?;
            let seconds = lists.into_iter().map(|list| Ok(list.second()?));
            run_all(&target, seconds, &options, now, rows, output)?
        }
    };
    invalid.map_or(Ok(()), Invalid::publish)?;
    tell(&total, args, output)?;
    Ok(Exit::Done)
}

/// Imports every list, all as one import.
fn run_all(
    target: &Target,
    lists: impl Iterator<Item = anyhow::Result<Input>>,
    options: &ImportOptions,
    now: Timestamp,
    mut invalid: Option<&mut dyn Write>,
    output: &Output,
) -> anyhow::Result<ImportReport> {
    let cancel = cancel_flag()?;
    let mut options = options.clone();
    let mut total = ImportReport::default();
    for input in lists {
        let input = input?;
        let bar = Bar::new(output, input.name(), input.len_hint());
        let update = |progress| bar.update(progress);
        let watch = ImportWatch { progress: Some(&update), cancel: Some(&cancel) };
        let rows = invalid.as_mut().map(|it| &mut **it as &mut dyn Write);
        let report = import(target.borrow(), input, &options, now, rows, &watch)?;
        bar.finish();
        options.details.batch = report.batch.unwrap_or(options.details.batch);
        total.add(report);
    }
    Ok(total)
}

/// The store, open as the import needs it.
enum Target {
    Store(Box<Writer>),
    DryRun(Box<DryRun>),
}

impl Target {
    fn open(path: &Path, dry_run: bool, output: &Output) -> anyhow::Result<Target> {
        Ok(if dry_run {
            Target::DryRun(Box::new(DryRun::new(open_reader(path, output)?)))
        } else {
            Target::Store(Box::new(open_writer(path, output)?))
        })
    }

    fn borrow(&self) -> ImportTarget<'_> {
        match self {
            Target::Store(writer) => ImportTarget::Store(writer),
            Target::DryRun(run) => ImportTarget::DryRun(run),
        }
    }
}

/// The file of invalid rows.
pub(super) struct Invalid(pub(super) BufWriter<OutputFile>);

impl Invalid {
    pub(super) fn open(store: &Path, args: &Import) -> anyhow::Result<Option<Invalid>> {
        let Some(path) = &args.invalid else { return Ok(None) };
        if args.files.len() > 1 {
            let how = "--invalid takes the rows of one list: import the lists one by one";
            return Err(UsageError(how.to_owned()).into());
        }
        refuse_inside_store(store, path)?;
        check_paths(&paths_of(&args.files), &[path])?;
        Ok(Some(Invalid(BufWriter::new(OutputFile::create(path, args.force)?))))
    }

    pub(super) fn publish(self) -> anyhow::Result<()> {
        let file = self.0.into_inner().map_err(|error| error.into_error());
        publish(vec![file.context("the invalid rows can't be written")?])?;
        Ok(())
    }
}

/// A list, or standard input for `-`.
pub(super) fn open(file: &PathBuf) -> anyhow::Result<Input> {
    if file.as_os_str() == "-" {
        Ok(Input::reader("standard input", std::io::stdin()))
    } else {
        Ok(Input::open(file)?)
    }
}

/// A list that is read twice.
fn keep(file: &PathBuf) -> anyhow::Result<KeptInput> {
    Ok(match file.as_os_str() == "-" {
        true => KeptInput::reader("standard input", std::io::stdin())?,
        false => KeptInput::open(file)?,
    })
}

fn tell(report: &ImportReport, args: &Import, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        output.json(report)?;
    } else {
        let row = |name: &str, count: u64| vec![name.to_owned(), grouped(count)];
        let mut rows = vec![
            row("added", report.added),
            row("already", report.already),
            row("invalid", report.invalid),
        ];
        for (reason, &count) in &report.invalid_reasons {
            rows.push(row(&format!("  {reason}"), count));
        }
        rows.push(row("blank", report.blank));
        rows.push(row("rows", report.rows));
        output.table(&[if args.dry_run { "would import" } else { "imported" }, "rows"], rows)?;
        if let Some(batch) = report.batch {
            output.say(format!(
                "this is import {batch}: `optout undo-import {batch} --reason TEXT` takes it back"
            ));
        }
    }
    if report.unreadable_times > 0 {
        output.warn(format!(
            "{} rows have a time that can't be read; they count as of {}",
            grouped(report.unreadable_times),
            args.event.at.as_deref().unwrap_or("the time of the import")
        ));
    }
    if report.doubtful > 0 {
        output.warn(format!(
            "{} rows are recorded as they can be read, but no number is so long, or it can be read \
             as two: whether these persons are reached is in doubt",
            grouped(report.doubtful)
        ));
    }
    if report.invalid > 0 && args.invalid.is_none() {
        output.warn(format!(
            "{} rows could not be recorded: see them with --invalid FILE",
            grouped(report.invalid)
        ));
    }
    Ok(())
}
