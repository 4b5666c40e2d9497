//! `recheck`: what has changed for a scrubbed list, right before it is handed on.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use optout::query::{self, context_of};
use optout::scrub::output::{OutputFile, check_paths, publish};
use optout::scrub::{ListKind, Receipt, RecheckReport, Sink, Source};
use optout::time::Timestamp;
use serde::Serialize;

use super::scrub::{index_path, refuse_inside_store};
use super::{judge_of, open_reader, policy_of};
use crate::args::Recheck;
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &Recheck, output: &Output) -> anyhow::Result<Exit> {
    if args.file.as_os_str() == "-" {
        let how = "a list is rechecked where it stands, by position: name the file";
        return Err(UsageError(how.to_owned()).into());
    }
    let receipt = read_receipt(&args.receipt)?;
    let index = index_path(&args.receipt);
    let outputs = Outputs::create(path, args, &index)?;
    let reader = open_reader(path, output)?;
    let policy = policy_of(args.policy.as_deref())?;
    let context = context_of(&receipt)?;
    let judge = judge_of(&reader, policy, context, args.stale, Timestamp::now(), output)?;
    let (rows, list) = (source(&index)?, source(&args.file)?);
    // Whoever reads standard output gets all rows or none.
    let mut text = Vec::new();
    let Outputs { mut rows_out, report_out } = outputs;
    let sink = match &mut rows_out {
        Some(file) => Some(Sink::new(file.path().display().to_string(), file)),
        None if output.is_json() => None,
        None => Some(Sink::new("standard output", &mut text)),
    };
    let report = query::recheck(&judge, &receipt, rows, list, sink)?;
    let json = ReportJson {
        rows: receipt.rows(),
        report,
        from_sequence: receipt.sequence(),
        to_sequence: reader.sequence(),
        scrubbed_at: receipt.basis().asked_at,
    };
    finish(rows_out, report_out, &json)?;
    tell(&text, &json, output)?;
    let must_not_go = args.exit_status && report.suppressed > 0;
    Ok(if must_not_go { Exit::NotAllowed } else { Exit::Done })
}

fn read_receipt(path: &Path) -> anyhow::Result<Receipt> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("the receipt {name} can't be read"))?;
    Receipt::parse(&bytes).with_context(|| format!("the receipt {name} can't be used"))
}

fn source(path: &Path) -> anyhow::Result<Source<File>> {
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("{name} can't be opened"))?;
    Ok(Source::new(name, file))
}

/// The files of a run, none of them under its name yet.
struct Outputs {
    rows_out: Option<OutputFile>,
    report_out: Option<OutputFile>,
}

impl Outputs {
    fn create(store: &Path, args: &Recheck, index: &Path) -> anyhow::Result<Outputs> {
        let rows = args.output.as_ref().filter(|it| it.as_os_str() != "-");
        let files: Vec<&PathBuf> = rows.into_iter().chain(&args.report).collect();
        let paths: Vec<&Path> = files.iter().map(|it| it.as_path()).collect();
        for file in &paths {
            refuse_inside_store(store, file)?;
        }
        check_paths(&[&args.file, &args.receipt, index], &paths)?;
        let create = |path: &PathBuf| OutputFile::create(path, args.force);
        Ok(Outputs {
            rows_out: rows.map(create).transpose()?,
            report_out: args.report.as_ref().map(create).transpose()?,
        })
    }
}

fn finish(
    rows: Option<OutputFile>,
    mut report: Option<OutputFile>,
    json: &ReportJson,
) -> anyhow::Result<()> {
    if let Some(file) = &mut report {
        let text = serde_json::to_string_pretty(json)?;
        writeln!(file, "{text}")
            .with_context(|| format!("{} can't be written", file.path().display()))?;
    }
    Ok(publish(rows.into_iter().chain(report).collect())?)
}

/// The report as it is written.
#[derive(Serialize)]
struct ReportJson {
    rows: u64,
    #[serde(flatten)]
    report: RecheckReport,
    from_sequence: u64,
    to_sequence: u64,
    scrubbed_at: Timestamp,
}

fn tell(text: &[u8], json: &ReportJson, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        output.json(json)?;
    } else if !text.is_empty() {
        let mut out = output.stdout();
        let written = out.write_all(text).and_then(|()| out.flush());
        written.context("standard output can't be written")?;
    }
    let RecheckReport { file, changed, suppressed, released, .. } = json.report;
    let released = match file {
        ListKind::Input => format!(", {} may now be sent to", grouped(released)),
        ListKind::Kept => String::new(),
    };
    output.say(format!(
        "{} of {} rows must not be sent to any more{released}: {} subscribers changed between \
         sequence {} and {}",
        grouped(suppressed),
        grouped(json.rows),
        grouped(changed),
        json.from_sequence,
        json.to_sequence
    ));
    Ok(())
}
