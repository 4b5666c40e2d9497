//! `add`, `resubscribe`, `override`, `link`: events from the command line.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use optout::event::{Action, Category, Details, Ground, Source, Tier};
use optout::number::{Address, BusinessId, NumberReader, Reading, Reason, Status};
use optout::store::{NewEvent, Outcome, Receipt, Writer};
use optout::time::Timestamp;
use serde_json::json;

use super::{for_each_group, open_writer, shown};
use crate::args::{Add, EventArgs, Link, Override, Resubscribe, moment};
use crate::exit::{Exit, UsageError};
use crate::output::Output;

pub(crate) fn add(path: &Path, args: &Add, output: &Output) -> anyhow::Result<Exit> {
    let mut details = details(&args.event, Action::OptOut, Source::Api)?;
    ground(&mut details, args.ground, args.event.tier)?;
    record(path, &args.numbers, &args.event, &details, output)
}

pub(crate) fn resubscribe(
    path: &Path,
    args: &Resubscribe,
    output: &Output,
) -> anyhow::Result<Exit> {
    let mut details = details(&args.event, Action::Resubscribe, Source::Api)?;
    details.note = note(&args.reason, &args.event)?;
    details.overrides = args.overrides;
    record(path, &args.numbers, &args.event, &details, output)
}

/// `override`.
pub(crate) fn let_through(path: &Path, args: &Override, output: &Output) -> anyhow::Result<Exit> {
    let category = args.category.parse().map_err(|error| UsageError(format!("{error}")))?;
    if category == Category::Marketing {
        let how =
            "nobody who opted out gets marketing: an override names utility or authentication";
        return Err(UsageError(how.to_owned()).into());
    }
    let mut details = details(&args.event, Action::Override, Source::Agent)?;
    details.note = note(&args.reason, &args.event)?;
    details.category = Some(category);
    record(path, &args.numbers, &args.event, &details, output)
}

const NO_PAIR: &str = "a line names an id and a number, with a tab or comma between";

/// `link`: joins an id and a number.
pub(crate) fn link(path: &Path, args: &Link, output: &Output) -> anyhow::Result<Exit> {
    let details = details(&args.event, Action::Link, Source::Api)?;
    let at = moment(&args.event.at, &args.event.tz)?;
    let writer = open_writer(path, output)?;
    let reader = NumberReader::new(args.event.region, writer.folding());
    let mut exit = Exit::Done;
    let mut append = |pairs: &[(Vec<u8>, Vec<u8>)]| -> anyhow::Result<()> {
        let now = Timestamp::now();
        let mut events = Vec::new();
        for (one, other) in pairs {
            if other.is_empty() {
                exit = Exit::Failed;
                let _ = writeln!(std::io::stderr(), "invalid: {}: {NO_PAIR}", shown(one));
                continue;
            }
            match (end_of_link(one, &reader), end_of_link(other, &reader)) {
                (Ok(address), Ok(linked)) => events.push(NewEvent {
                    address,
                    linked: Some(linked),
                    raw: raw(one),
                    occurred_at: at.unwrap_or(now),
                    details: details.clone(),
                }),
                (one, other) => {
                    exit = Exit::Failed;
                    let unreadable = [one.err(), other.err()].into_iter().flatten();
                    unreadable.for_each(|(input, reason)| invalid(&input, reason));
                }
            }
        }
        let ends: Vec<_> =
            events.iter().map(|it| (it.address.clone(), it.linked.clone())).collect();
        let receipts = writer.append(events, now)?;
        acknowledge(&ends, &receipts, output)?;
        for ((one, other), receipt) in ends.iter().zip(&receipts) {
            if let (Outcome::Refused, Some(other)) = (receipt.outcome, other) {
                exit = Exit::Refused;
                let _ = writeln!(
                    std::io::stderr(),
                    "refused: {one} and {other}: the link would lift an opt-out of one of them \
                     (event {}) because the other came back: resubscribe that one too, if it is \
                     meant",
                    receipt.sequence
                );
            }
        }
        Ok(())
    };
    match &args.ends[..] {
        [one, other] => append(&[(one.clone().into_bytes(), other.clone().into_bytes())])?,
        _ => for_each_group(&args.ends, |lines| {
            let mut pairs = Vec::with_capacity(lines.len());
            for line in lines {
                let is_between = |byte: &u8| matches!(byte, b'\t' | b',' | b';');
                match line.iter().position(is_between) {
                    Some(at) => pairs.push((line[..at].to_vec(), line[at + 1..].to_vec())),
                    None if args.ends == ["-"] => pairs.push((line.clone(), Vec::new())),
                    None => {
                        return Err(UsageError(format!("\"{}\": {NO_PAIR}", shown(line))).into());
                    }
                }
            }
            append(&pairs)
        })?,
    }
    writer.compact_if_due(Timestamp::now())?;
    Ok(exit)
}

/// One end of a link: an id, or one number that can be read without doubt. A wrong link would
/// make two people one.
fn end_of_link(input: &[u8], reader: &NumberReader) -> Result<Address, (Vec<u8>, Option<Reason>)> {
    if let Some(id) = BusinessId::parse(input) {
        return Ok(id.into());
    }
    match reader.recipient(input) {
        Ok(recipient) => Ok(recipient.number.into()),
        Err(reason) => Err((input.to_vec(), Some(reason))),
    }
}

/// The reason of an operator, and what else was noted.
fn note(reason: &str, args: &EventArgs) -> Result<String, UsageError> {
    let reason = reason_of(reason)?;
    Ok(match &args.note {
        Some(note) => format!("{reason}; {note}"),
        None => reason,
    })
}

/// The reason of an operator.
pub(super) fn reason_of(reason: &str) -> Result<String, UsageError> {
    if reason.trim().is_empty() {
        return Err(UsageError("--reason is empty: say why".to_owned()));
    }
    Ok(reason.to_owned())
}

/// Who is at the keyboard.
pub(super) fn operator() -> String {
    std::env::var("SUDO_USER").or(std::env::var("USER")).unwrap_or_default()
}

/// What the options say of all events.
pub(super) fn details(
    args: &EventArgs,
    action: Action,
    default_source: Source,
) -> anyhow::Result<Details> {
    super::scope_of(&args.scope)?;
    let mut details = Details::new(action, args.source.unwrap_or(default_source));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    details.channel = text(&args.scope.channel);
    details.sender = text(&args.scope.sender);
    details.brand = text(&args.scope.brand);
    details.word = text(&args.word);
    details.campaign = text(&args.campaign);
    details.template = text(&args.template);
    details.message_id = text(&args.message_id);
    details.note = text(&args.note);
    details.operator = operator();
    details.tier = args.tier.unwrap_or(match action {
        Action::OptOut => Tier::of_word(&details.word),
        _ => Tier::Marketing,
    });
    Ok(details)
}

/// Whoever goes to court, or was never meant, gets no message at all.
pub(super) fn ground(
    details: &mut Details,
    ground: Ground,
    tier: Option<Tier>,
) -> Result<(), UsageError> {
    details.ground = ground;
    if matches!(ground, Ground::Legal | Ground::WrongPerson) {
        if tier == Some(Tier::Marketing) {
            let how = format!("--ground {ground} stops all messages: leave --tier marketing out");
            return Err(UsageError(how));
        }
        details.tier = Tier::All;
    }
    Ok(())
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
            let event = |address| NewEvent {
                address,
                linked: None,
                raw: raw(input),
                occurred_at: at.unwrap_or(now),
                details: details.clone(),
            };
            if let Some(id) = BusinessId::parse(input) {
                events.push(event(id.into()));
                continue;
            }
            for reading in reader.read_all(input) {
                match reading.number {
                    Some(number) => {
                        warn_of_doubt(input, &reading, output);
                        events.push(event(number.into()));
                    }
                    None => {
                        exit = Exit::Failed;
                        invalid(input, reading.status.reason());
                    }
                }
            }
        }
        if append(&writer, events, now, output)? {
            exit = Exit::Refused;
        }
        Ok(())
    })?;
    writer.compact_if_due(Timestamp::now())?;
    Ok(exit)
}

/// Whatever can be read is recorded, however unlikely; whoever typed it should look again.
pub(super) fn warn_of_doubt(input: &[u8], reading: &Reading, output: &Output) {
    let doubt = match reading.status {
        Status::Parsed => "no number of that country is so long",
        _ if reading.ambiguous => "it can be read as two numbers, and both are recorded",
        _ => return,
    };
    output.warn(format!("{}: {doubt}", shown(input)));
}

/// Records events and answers; whether one of them was refused.
fn append(
    writer: &Writer,
    events: Vec<NewEvent>,
    now: Timestamp,
    output: &Output,
) -> anyhow::Result<bool> {
    let action = events.first().map(|event| event.details.action);
    let addresses: Vec<_> = events.iter().map(|event| (event.address.clone(), None)).collect();
    let receipts = writer.append(events, now)?;
    acknowledge(&addresses, &receipts, output)?;
    let mut refused = false;
    for ((number, _), receipt) in addresses.iter().zip(receipts) {
        if receipt.outcome == Outcome::Refused {
            refused = true;
            let _ = writeln!(
                std::io::stderr(),
                "refused: {number}: the person opted out himself (event {}); give --override to \
                 lift that",
                receipt.sequence
            );
        }
        if action == Some(Action::Resubscribe)
            && receipt.opted_out
            && receipt.outcome != Outcome::Refused
        {
            output.warn(format!(
                "{number} is still opted out: an opt-out is newer, wider or can't be lifted (see \
                 `optout why {number}`)"
            ));
        }
        if receipt.outcome == Outcome::Already && !receipt.opted_out {
            output.warn(format!(
                "{number} is not opted out: it came back later than this opt-out happened (see \
                 `optout why {number}`)"
            ));
        }
    }
    Ok(refused)
}

/// Writes a line for each event that is recorded; a link has a second address.
fn acknowledge(
    addresses: &[(Address, Option<Address>)],
    receipts: &[Receipt],
    output: &Output,
) -> anyhow::Result<()> {
    let mut out = output.stdout();
    let mut lines = || -> std::io::Result<()> {
        for ((number, linked), receipt) in addresses.iter().zip(receipts) {
            if receipt.outcome == Outcome::Refused {
                continue;
            }
            let (sequence, outcome) = (receipt.sequence, receipt.outcome.as_str());
            let linked = linked.as_ref().map(Address::to_string);
            if output.is_json() {
                let mut line = json!({
                    "sequence": sequence,
                    "number": number.to_string(),
                    "outcome": outcome,
                    "opted_out": receipt.opted_out,
                });
                if let Some(linked) = linked {
                    line["linked"] = json!(linked);
                }
                writeln!(out, "{line}")?;
            } else {
                let linked = linked.map_or_else(String::new, |it| format!("{it}\t"));
                writeln!(out, "{sequence}\t{number}\t{linked}{outcome}")?;
            }
        }
        out.flush()
    };
    lines().context(
        "the events are recorded, but standard output can't be written to acknowledge them",
    )
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
