//! `scrub`: recipient lists in, clean lists out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use optout::query::{Judge, basis_of, message_of};
use optout::scrub::output::{OutputFile, check_paths, publish};
use optout::scrub::{
    self, MaxSuppressed, Progress, Receipt, Report, ReportOptions, Scrubber, Sink, Sinks,
    TooManySuppressed,
};
use optout::store::{Moment, Reader};
use optout::time::Timestamp;
use serde::Serialize;

use super::import::open;
use super::{judge, open_reader_at, warn_of_unknown_names};
use crate::args::{Mode, Scrub};
use crate::exit::{Exit, Refusal, UsageError};
use crate::output::{Output, grouped};
use crate::progress::{Bar, bytes, cancel_flag};

pub(crate) fn run(path: &Path, args: &Scrub, output: &Output) -> anyhow::Result<Exit> {
    if args.mode == Mode::Off && args.dedupe {
        let how = "--mode off writes every row, --dedupe takes rows out: give one of them";
        return Err(UsageError(how.to_owned()).into());
    }
    if args.mode == Mode::Off && args.receipt.is_some() {
        let how = "--mode off asks nobody, so there is nothing for a --receipt to tell";
        return Err(UsageError(how.to_owned()).into());
    }
    if args.as_of.at.is_some() && args.receipt.is_some() {
        let how = "a receipt tells how everybody stands now: leave out --receipt or --as-of";
        return Err(UsageError(how.to_owned()).into());
    }
    let at = args.as_of.moment()?;
    let reader = open_reader_at(path, at, output)?;
    warn_of_unknown_names(&reader, &args.context, output)?;
    let now = at.unwrap_or_else(Timestamp::now);
    let judge = judge(&reader, &args.context, args.stale, now, output)?;
    let limit = args.max_suppressed.as_deref().map(limit).transpose()?;
    let plan = Plan::new(path, args, output)?;
    let cancel = cancel_flag()?;
    let mut outputs = plan.create(args)?;
    let basis = args.receipt.is_some().then(|| basis_of(&judge, now)).transpose()?;
    let (mut reports, mut receipts) = (Vec::new(), Vec::new());
    for (at, file) in args.files.iter().enumerate() {
        let input = open(file)?;
        let bar = Bar::new(output, &file.display().to_string(), input.len_hint());
        let update = |progress: Progress| bar.update(progress);
        let scrubber = scrubber(&reader, &judge, args, now).cancel(&cancel).progress(&update);
        let report = match &basis {
            None => scrubber.run(input, outputs.sinks(at).0)?,
            Some(basis) => {
                let (sinks, index) = outputs.sinks(at);
                let index = index.context("a receipt has an index")?;
                let (report, receipt) =
                    scrubber.run_with_receipt(input, sinks, index, basis.clone())?;
                receipts.push(receipt);
                report
            }
        };
        bar.finish();
        reports.push(report);
    }
    let total = sum(&reports);
    if let Some(limit) = limit {
        limit.check(&total).map_err(too_many)?;
    }
    let report = ReportJson::new(&args.files, &reports, &total);
    outputs.finish(&report, &receipts)?;
    tell(&total, &report, args, &plan, output)?;
    Ok(Exit::Done)
}

fn limit(text: &str) -> Result<MaxSuppressed, UsageError> {
    text.parse().map_err(|error| UsageError(format!("\"{text}\" is no limit: {error}")))
}

fn too_many(error: TooManySuppressed) -> Refusal {
    let (suppressed, rows) = (grouped(error.suppressed), grouped(error.rows));
    Refusal(format!(
        "{suppressed} of {rows} rows would be suppressed, more than --max-suppressed allows: nothing was written"
    ))
}

fn scrubber<'a>(
    reader: &'a Reader,
    judge: &'a Judge<'a>,
    args: &Scrub,
    now: Timestamp,
) -> Scrubber<'a, Judge<'a>> {
    let scope = &args.context.scope;
    // As they were asked for, not as they are compared.
    let message = scrub::Message {
        channel: scope.channel.clone(),
        sender: scope.sender.clone(),
        brand: scope.brand.clone(),
        ..message_of(judge, now)
    };
    let mut scrubber = Scrubber::new(judge)
        .message(message)
        .folding(reader.folding())
        .mode(match args.mode {
            Mode::Enforce => scrub::Mode::Enforce,
            Mode::Report => scrub::Mode::Report,
            Mode::Off => scrub::Mode::Off,
        })
        .dedupe(args.dedupe)
        .as_of(reader.generation(), reader.sequence())
        .at(match reader.moment() {
            Some(Moment::Received(at)) => Some(at),
            _ => None,
        });
    if let Some(column) = &args.column {
        scrubber = scrubber.column(column);
    }
    if let Some(region) = args.region {
        scrubber = scrubber.region(region);
    }
    if let Some(column) = &args.region_column {
        scrubber = scrubber.region_column(column);
    }
    scrubber
}

/// Which file goes where.
struct Plan {
    /// For each list the file of its kept rows; `None` when nobody wants them.
    kept: Vec<Option<Target>>,
    /// For each list its receipt, if they are wanted.
    receipts: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    File(PathBuf),
}

impl Plan {
    fn new(store: &Path, args: &Scrub, output: &Output) -> anyhow::Result<Plan> {
        let kept = match &args.output {
            None => vec![None; args.files.len()],
            Some(out) if args.files.len() == 1 && out.as_os_str() == "-" => {
                vec![Some(Target::Stdout)]
            }
            Some(out) if args.files.len() == 1 && !out.is_dir() => {
                vec![Some(Target::File(out.clone()))]
            }
            Some(out) => in_folder(out, &args.files)?,
        };
        let plan = Plan { kept, receipts: receipt_paths(args)? };
        if plan.writes_to_stdout() && output.is_json() {
            let how = "-o - and --json both want standard output: give -o a file";
            return Err(UsageError(how.to_owned()).into());
        }
        if args.files.len() > 1 && (args.suppressed.is_some() || args.invalid.is_some()) {
            let how = "--suppressed and --invalid take the rows of one list: scrub them one by one";
            return Err(UsageError(how.to_owned()).into());
        }
        let files = plan.files(args);
        for file in &files {
            refuse_inside_store(store, file)?;
        }
        let folders = args.output.iter().chain(&args.receipt).filter(|_| args.files.len() > 1);
        for folder in folders {
            fs::create_dir_all(folder)
                .with_context(|| format!("the folder {} can't be made", folder.display()))?;
        }
        check_paths(&paths_of(&args.files), &paths_of(&files))?;
        Ok(plan)
    }

    /// All files that the run will make.
    fn files(&self, args: &Scrub) -> Vec<PathBuf> {
        let kept = self.kept.iter().filter_map(|target| match target {
            Some(Target::File(path)) => Some(path.clone()),
            _ => None,
        });
        kept.chain(args.suppressed.clone())
            .chain(args.invalid.clone())
            .chain(args.report.clone())
            .chain(self.receipts.iter().flat_map(|it| [it.clone(), index_path(it)]))
            .collect()
    }

    fn writes_to_stdout(&self) -> bool {
        self.kept.contains(&Some(Target::Stdout))
    }

    fn create(&self, args: &Scrub) -> anyhow::Result<Outputs> {
        let create = |path: &PathBuf| OutputFile::create(path, args.force);
        let kept = self
            .kept
            .iter()
            .map(|target| match target {
                None => Ok(Kept::Nowhere),
                Some(Target::Stdout) => Ok(Kept::Stdout(std::io::stdout())),
                Some(Target::File(path)) => create(path).map(Kept::File),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Outputs {
            kept,
            suppressed: args.suppressed.as_ref().map(create).transpose()?,
            invalid: args.invalid.as_ref().map(create).transpose()?,
            report: args.report.as_ref().map(create).transpose()?,
            indexes: self
                .receipts
                .iter()
                .map(|it| create(&index_path(it)))
                .collect::<Result<Vec<_>, _>>()?,
            receipts: self.receipts.iter().map(create).collect::<Result<Vec<_>, _>>()?,
        })
    }
}

/// Where the receipts go.
fn receipt_paths(args: &Scrub) -> anyhow::Result<Vec<PathBuf>> {
    let Some(receipt) = &args.receipt else { return Ok(Vec::new()) };
    if receipt.as_os_str() == "-" {
        let how = "a receipt is two files, FILE and FILE.rows: give --receipt a name";
        return Err(UsageError(how.to_owned()).into());
    }
    if args.files.len() == 1 && !receipt.is_dir() {
        return Ok(vec![receipt.clone()]);
    }
    let named = args.files.iter().map(|file| {
        let name = name_of(file)?.to_os_string();
        Ok(receipt.join(with_ending(name, ".receipt")))
    });
    named.collect()
}

/// The index that belongs to a receipt.
pub(super) fn index_path(receipt: &Path) -> PathBuf {
    with_ending(receipt.as_os_str().to_owned(), ".rows").into()
}

fn with_ending(mut name: OsString, ending: &str) -> OsString {
    name.push(ending);
    name
}

/// Several lists keep their names in a folder.
fn in_folder(folder: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<Option<Target>>> {
    files.iter().map(|file| Ok(Some(Target::File(folder.join(name_of(file)?))))).collect()
}

fn name_of(file: &Path) -> Result<&OsStr, UsageError> {
    file.file_name().filter(|_| file.as_os_str() != "-").ok_or_else(|| {
        let file = file.display();
        UsageError(format!("{file} has no name to be used in the folder: scrub it alone"))
    })
}

/// Paths, as the check of outputs takes them.
pub(super) fn paths_of(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// An output in the store's own directory could replace one of its files.
pub(super) fn refuse_inside_store(store: &Path, file: &Path) -> anyhow::Result<()> {
    let Ok(store) = fs::canonicalize(store) else { return Ok(()) };
    // The folder may be one that the run makes: then the nearest one that is there tells.
    let absolute = std::path::absolute(file)?;
    let folder = absolute.ancestors().skip(1).find_map(|folder| fs::canonicalize(folder).ok());
    if folder.is_some_and(|folder| folder.starts_with(&store)) {
        let how = format!("{} lies in the store: write somewhere else", file.display());
        return Err(Refusal(how).into());
    }
    Ok(())
}

/// The files of a run, none of them under its name yet.
struct Outputs {
    kept: Vec<Kept>,
    suppressed: Option<OutputFile>,
    invalid: Option<OutputFile>,
    report: Option<OutputFile>,
    indexes: Vec<OutputFile>,
    receipts: Vec<OutputFile>,
}

enum Kept {
    Nowhere,
    Stdout(std::io::Stdout),
    File(OutputFile),
}

impl Outputs {
    /// Where the rows of a list go, and the index of them.
    fn sinks(&mut self, list: usize) -> (Sinks<'_>, Option<Sink<'_>>) {
        let name = |file: &OutputFile| file.path().display().to_string();
        let mut sinks = Sinks::new();
        sinks = match &mut self.kept[list] {
            Kept::Nowhere => sinks,
            Kept::Stdout(out) => sinks.kept("standard output", out),
            Kept::File(file) => sinks.kept(name(file), file),
        };
        if let Some(file) = &mut self.suppressed {
            sinks = sinks.suppressed(name(file), file);
        }
        if let Some(file) = &mut self.invalid {
            sinks = sinks.invalid(name(file), file);
        }
        (sinks, self.indexes.get_mut(list).map(|file| Sink::new(name(file), file)))
    }

    /// Writes report and receipts, and gives all files their names.
    fn finish(mut self, report: &ReportJson<'_>, receipts: &[Receipt]) -> anyhow::Result<()> {
        let mut texts: Vec<(&mut OutputFile, String)> = Vec::new();
        if let Some(file) = &mut self.report {
            texts.push((file, serde_json::to_string_pretty(report)? + "\n"));
        }
        texts.extend(self.receipts.iter_mut().zip(receipts.iter().map(Receipt::to_text)));
        for (file, text) in texts {
            file.write_all(text.as_bytes())
                .with_context(|| format!("{} can't be written", file.path().display()))?;
        }
        let kept = self.kept.into_iter().filter_map(|kept| match kept {
            Kept::File(file) => Some(file),
            _ => None,
        });
        let rest = self.suppressed.into_iter().chain(self.invalid).chain(self.report);
        publish(kept.chain(rest).chain(self.indexes).chain(self.receipts).collect())?;
        Ok(())
    }
}

fn sum(reports: &[Report]) -> Report {
    let mut total = reports[0].clone();
    reports[1..].iter().for_each(|report| total.add(report));
    total
}

/// The report as it is written, the counts first; for several lists their sum, and each under
/// `files`.
#[derive(Serialize)]
struct ReportJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    rows: u64,
    kept: u64,
    suppressed: u64,
    invalid: u64,
    duplicates: u64,
    exempt: u64,
    written: u64,
    invalid_reasons: &'a BTreeMap<String, u64>,
    generation: u64,
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Timestamp>,
    elapsed_ms: u64,
    options: &'a ReportOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<ReportJson<'a>>,
}

impl<'a> ReportJson<'a> {
    fn new(files: &[PathBuf], reports: &'a [Report], total: &'a Report) -> ReportJson<'a> {
        let mut report = ReportJson::of(total, None);
        if files.len() > 1 {
            let each = reports.iter().zip(files);
            report.files = each.map(|(report, file)| ReportJson::of(report, Some(file))).collect();
        }
        report
    }

    fn of(report: &'a Report, file: Option<&PathBuf>) -> ReportJson<'a> {
        ReportJson {
            file: file.map(|file| file.display().to_string()),
            rows: report.rows,
            kept: report.kept,
            suppressed: report.suppressed,
            invalid: report.invalid,
            duplicates: report.duplicates,
            exempt: report.exempt,
            written: report.written,
            invalid_reasons: &report.invalid_reasons,
            generation: report.generation,
            sequence: report.sequence,
            as_of: report.as_of,
            elapsed_ms: report.elapsed_ms,
            options: &report.options,
            files: Vec::new(),
        }
    }
}

fn tell(
    total: &Report,
    report: &ReportJson<'_>,
    args: &Scrub,
    plan: &Plan,
    output: &Output,
) -> anyhow::Result<()> {
    if output.is_json() {
        output.json(report)?;
    } else if !plan.writes_to_stdout() {
        output.table(&["scrubbed", "rows"], table_rows(total))?;
    }
    if args.mode != Mode::Enforce && args.output.is_some() {
        output.warn(format!(
            "mode {}: nobody was taken out, every row was written",
            if args.mode == Mode::Off { "off" } else { "report" }
        ));
    }
    let size = args.files.iter().filter_map(|it| fs::metadata(it).ok()).map(|it| it.len()).sum();
    output.say(format!(
        "{} in {:.2} s, against sequence {}{}",
        bytes(size),
        total.elapsed_ms as f64 / 1000.0,
        total.sequence,
        total.as_of.map_or_else(String::new, |at| format!(", as of {at}"))
    ));
    Ok(())
}

fn table_rows(total: &Report) -> Vec<Vec<String>> {
    let row = |name: &str, count: u64| vec![name.to_owned(), grouped(count)];
    let mut rows = vec![row("kept", total.kept)];
    if total.exempt > 0 {
        rows.push(row("  exempt", total.exempt));
    }
    rows.extend([row("suppressed", total.suppressed), row("invalid", total.invalid)]);
    for (reason, &count) in &total.invalid_reasons {
        rows.push(row(&format!("  {reason}"), count));
    }
    rows.push(row("duplicates", total.duplicates));
    rows.push(row("rows", total.rows));
    rows
}
