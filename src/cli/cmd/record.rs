//! `add`, `resubscribe`: events from the command line.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use optout::event::{Action, Details, Source};
use optout::number::{Number, NumberReader, Reading, Reason, Status};
use optout::store::{NewEvent, Outcome, Receipt, Writer};
use optout::time::Timestamp;
use serde_json::json;

use super::{for_each_group, open_writer, refuse_scope, refuse_tier, shown};
use crate::args::{Add, EventArgs, Resubscribe, moment};
use crate::exit::Exit;
use crate::output::Output;

pub(crate) fn add(path: &Path, args: &Add, output: &Output) -> anyhow::Result<Exit> {
    let details = details(&args.event, Action::OptOut, Source::Api)?;
    record(path, &args.numbers, &args.event, &details, output)
}

pub(crate) fn resubscribe(
    path: &Path,
    args: &Resubscribe,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut details = details(&args.event, Action::Resubscribe, Source::Api)?;
    details.note = match &args.event.note {
        Some(note) => format!("{}; {note}", args.reason),
        None => args.reason.clone(),
    };
    record(path, &args.numbers, &args.event, &details, output)
}

/// What the options say of all events.
pub(super) fn details(
    args: &EventArgs,
    action: Action,
    default_source: Source,
) -> anyhow::Result<Details> {
    refuse_scope(&args.scope)?;
    refuse_tier(args.tier)?;
    let mut details = Details::new(action, args.source.unwrap_or(default_source));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    details.word = text(&args.word);
    details.campaign = text(&args.campaign);
    details.message_id = text(&args.message_id);
    details.note = text(&args.note);
    details.operator = std::env::var("SUDO_USER").or(std::env::var("USER")).unwrap_or_default();
    Ok(details)
}

fn record(
    path: &Path,
    given: &[String],
    args: &EventArgs,
    details: &Details,
    output: &Output,
) -> anyhow::Result<Exit> {
    let at = moment(&args.at, &args.tz)?;
    let writer = open_writer(path, output)?;
    let reader = NumberReader::new(args.region, writer.folding());
    let mut exit = Exit::Done;
    for_each_group(given, |inputs| {
        // Standard input may come slowly: each group is received when it is there.
        let now = Timestamp::now();
        let mut events = Vec::new();
        for input in inputs {
            for reading in reader.read_all(input) {
                match reading.number {
                    Some(number) => {
                        warn_of_doubt(input, &reading, output);
                        events.push(NewEvent {
                            number,
                            raw: raw(input),
                            occurred_at: at.unwrap_or(now),
                            details: details.clone(),
                        });
                    }
                    None => {
                        exit = Exit::Failed;
                        invalid(input, reading.status.reason());
                    }
                }
            }
        }
        append(&writer, events, now, output)
    })?;
    writer.compact_if_due(Timestamp::now())?;
    Ok(exit)
}

/// Whatever can be read is recorded, however unlikely; whoever typed it should look again.
fn warn_of_doubt(input: &[u8], reading: &Reading, output: &Output) {
    let doubt = match reading.status {
        Status::Parsed => "no number of that country is so long",
        _ if reading.ambiguous => "it can be read as two numbers, and both are recorded",
        _ => return,
    };
    output.warn(format!("{}: {doubt}", shown(input)));
}

fn append(
    writer: &Writer,
    events: Vec<NewEvent>,
    now: Timestamp,
    output: &Output,
) -> anyhow::Result<()> {
    let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
    let receipts = writer.append(events, now)?;
    acknowledge(&numbers, &receipts, output).context(
        "the events are recorded, but standard output can't be written to acknowledge them",
    )?;
    for (number, receipt) in numbers.iter().zip(receipts) {
        if receipt.outcome == Outcome::Already && !receipt.opted_out {
            output.warn(format!(
                "{number} is not opted out: it came back later than this opt-out happened (see \
                 `optout why {number}`)"
            ));
        }
    }
    Ok(())
}

fn acknowledge(numbers: &[Number], receipts: &[Receipt], output: &Output) -> anyhow::Result<()> {
    let mut out = output.stdout();
    for (number, receipt) in numbers.iter().zip(receipts) {
        let (sequence, outcome) = (receipt.sequence, receipt.outcome.as_str());
        if output.is_json() {
            let line = json!({
                "sequence": sequence,
                "number": number.to_string(),
                "outcome": outcome,
                "opted_out": receipt.opted_out,
            });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{sequence}\t{number}\t{outcome}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// An unreadable number on standard error. That nobody reads it is no reason to leave the other
/// numbers out.
pub(super) fn invalid(input: &[u8], reason: Option<Reason>) {
    let reason = reason.map_or("it can't be read", Reason::sentence);
    let _ = writeln!(std::io::stderr(), "invalid: {}: {reason}", shown(input));
}

/// A number as it was written, as an event keeps it.
fn raw(input: &[u8]) -> String {
    const CHARS_MAX: usize = 250;
    let text = String::from_utf8_lossy(input);
    text.chars().filter(|&it| it != '\0').take(CHARS_MAX).collect()
}
