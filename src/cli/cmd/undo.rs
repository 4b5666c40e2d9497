//! `undo-import`: a list that should not have been loaded.

use std::path::Path;

use optout::event::{Action, Details, Source};
use optout::store::UndoReport;
use optout::time::Timestamp;

use super::record::{operator, reason_of};
use super::{open_reader, open_writer};
use crate::args::UndoImport;
use crate::exit::Exit;
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &UndoImport, output: &Output) -> anyhow::Result<Exit> {
    let mut details = Details::new(Action::Retract, Source::Agent);
    details.batch = args.batch;
    details.note = reason_of(&args.reason)?;
    details.operator = operator();
    let report = match args.dry_run {
        true => open_reader(path, output)?.plan_undo(args.batch)?,
        false => open_writer(path, output)?.undo_import(&details, Timestamp::now())?,
    };
    tell(&report, args.dry_run, output)?;
    Ok(Exit::Done)
}

fn tell(report: &UndoReport, is_dry: bool, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        return output.json(report);
    }
    let row = |name: &str, count: u64| vec![name.to_owned(), grouped(count)];
    let rows = vec![
        row("taken back", report.retracted),
        row("  released", report.released),
        row("  still opted out", report.still_opted_out),
        row("  not listed", report.not_listed),
    ];
    output.table(&[if is_dry { "would take back" } else { "import" }, "persons"], rows)?;
    if report.retracted == 0 {
        output.say(format!("the import {} was taken back before", report.batch));
    }
    Ok(())
}
