//! `erase`: forgets persons and keeps them suppressed.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use optout::number::{Address, BusinessId, NumberReader, fold};
use optout::store::{EraseReport, Erasure, Reader};
use optout::time::Timestamp;
use serde_json::json;

use super::record::{invalid, operator, warn_of_doubt};
use super::{for_each_group, open_reader, open_writer, shown};
use crate::args::Erase;
use crate::exit::Exit;
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &Erase, output: &Output) -> anyhow::Result<Exit> {
    if args.dry_run {
        return dry_run(path, args, output);
    }
    let writer = open_writer(path, output)?;
    let reader = NumberReader::new(args.region, writer.folding());
    let (addresses, exit) = addresses(args, &reader, output)?;
    if addresses.is_empty() {
        return Ok(exit);
    }
    // All of them at once: each erasure reads the whole store.
    let reason = args.reason.clone().unwrap_or_default();
    let request = Erasure { addresses, operator: operator(), reason };
    let report = writer.erase(&request, Timestamp::now())?;
    drop(writer);
    acknowledge(&request.addresses, &report, output).context(
        "the persons are erased, but standard output can't be written to acknowledge it",
    )?;
    tell(&report, output);
    warn_of_layers(&Reader::open(path)?, &request.addresses, output)?;
    Ok(exit)
}

/// The addresses that are meant without a doubt: what is erased does not come back.
fn addresses(
    args: &Erase,
    reader: &NumberReader,
    output: &Output,
) -> anyhow::Result<(Vec<Address>, Exit)> {
    let mut addresses: Vec<Address> = Vec::new();
    let mut exit = Exit::Done;
    for_each_group(&args.numbers, |inputs| {
        for input in inputs {
            if let Some(id) = BusinessId::parse(input) {
                addresses.push(id.into());
                continue;
            }
            let readings = reader.read_all(input);
            if readings.iter().any(|reading| reading.ambiguous) {
                exit = Exit::Failed;
                let _ = writeln!(
                    std::io::stderr(),
                    "invalid: {}: it can be read as two numbers: write a plus and the calling code",
                    shown(input)
                );
                continue;
            }
            for reading in readings {
                match reading.number {
                    Some(number) => {
                        warn_of_doubt(input, &reading, output);
                        addresses.push(number.into());
                    }
                    None => {
                        exit = Exit::Failed;
                        invalid(input, reading.status.reason());
                    }
                }
            }
        }
        Ok(())
    })?;
    Ok((addresses, exit))
}

fn dry_run(path: &Path, args: &Erase, output: &Output) -> anyhow::Result<Exit> {
    let reader = open_reader(path, output)?;
    let numbers = NumberReader::new(args.region, reader.folding());
    let (addresses, exit) = addresses(args, &numbers, output)?;
    let mut people = Vec::new();
    for address in addresses {
        let history = match reader.key_of(&address)? {
            Some(key) => reader.history(key)?,
            None => Vec::new(),
        };
        people.push((address, history.iter().filter(|event| !event.is_tombstone()).count()));
    }
    if output.is_json() {
        let people: Vec<_> = people
            .iter()
            .map(|(number, events)| json!({ "number": number.to_string(), "events": events }))
            .collect();
        output.json(&json!({ "dry_run": true, "people": people }))?;
        return Ok(exit);
    }
    let mut out = output.stdout();
    for (number, events) in people {
        writeln!(out, "{events}\t{number}\tto be dropped")?;
    }
    out.flush()?;
    Ok(exit)
}

/// As every verb, it answers with the number that it was given: whoever asks has to match them.
fn acknowledge(addresses: &[Address], report: &EraseReport, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        let people: Vec<_> = addresses
            .iter()
            .zip(&report.people)
            .map(|(number, it)| {
                json!({
                    "sequence": it.sequence,
                    "number": number.to_string(),
                    "outcome": "erased",
                    "events_dropped": it.events_dropped,
                })
            })
            .collect();
        return output.json(&json!({
            "people": people,
            "segments_rewritten": report.segments_rewritten,
            "quarantines_removed": report.quarantines_removed,
            "files_searched": report.files_searched,
            "bytes_searched": report.bytes_searched,
            "unsearched": report.unsearched,
            "generation": report.generation,
        }));
    }
    let mut out = output.stdout();
    for (number, it) in addresses.iter().zip(&report.people) {
        writeln!(out, "{}\t{number}\terased", it.sequence)?;
    }
    out.flush()?;
    Ok(())
}

fn tell(report: &EraseReport, output: &Output) {
    let dropped: u64 = report.people.iter().map(|it| it.events_dropped).sum();
    output.say(format!(
        "{} events dropped, {} segments written anew; {} files of {} bytes searched, none holds \
         the number",
        grouped(dropped),
        grouped(report.segments_rewritten),
        grouped(report.files_searched),
        grouped(report.bytes_searched),
    ));
    if !report.quarantines_removed.is_empty() {
        let names = report.quarantines_removed.join(", ");
        output.say(format!("removed {names}: whose events they held can't be told"));
    }
    if !report.unsearched.is_empty() {
        let names = report.unsearched.join(", ");
        output.warn(format!("not searched, as they are no plain files: {names}"));
    }
}

/// Outside lists are somebody else's, and are not changed.
fn warn_of_layers(reader: &Reader, addresses: &[Address], output: &Output) -> anyhow::Result<()> {
    for layer in reader.registries()? {
        let is_listed = |address: &&Address| {
            address.number().is_some_and(|it| layer.contains(fold(it, reader.folding())))
        };
        let listed = addresses.iter().filter(is_listed).count();
        if listed > 0 {
            output.warn(format!(
                "the layer {} still lists {listed} of them: it is changed by importing it anew",
                layer.name()
            ));
        }
    }
    Ok(())
}
