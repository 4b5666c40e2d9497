//! `normalize`: numbers in any spelling to one form, line by line.

use std::io::{BufRead, Write};

use anyhow::Context;
use optout::number::{Folding, NumberReader, Reading, Reason, Region, Status, StrictStatus};
use serde_json::{Value, json};

use crate::args::Normalize;
use crate::exit::Exit;
use crate::output::Output;

pub(crate) fn run(args: &Normalize, output: &Output) -> anyhow::Result<Exit> {
    let folding = Folding { tier2: args.tier2 };
    let reader = NumberReader::new(args.region, folding);
    let mut input = std::io::stdin().lock();
    let mut out = output.stdout();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).context("standard input can't be read")? == 0 {
            break;
        }
        let text = trim_line_end(&line);
        if args.regions {
            // Only the last tab parts: a number may hold one itself.
            let tab = text.iter().rposition(|&byte| byte == b'\t');
            let (number, region) =
                tab.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 1..]));
            match region_of(region) {
                Ok(region) => {
                    let reader = NumberReader::new(region, folding);
                    answer(&reader, number, args, output, &mut out)?;
                }
                Err(()) => refuse(number, output, &mut out)?,
            }
        } else {
            answer(&reader, text, args, output, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn region_of(text: &[u8]) -> Result<Option<Region>, ()> {
    match text.trim_ascii() {
        [] => Ok(None),
        name => {
            let name = std::str::from_utf8(name).map_err(|_| ())?;
            Region::parse(name).map(Some).map_err(|_| ())
        }
    }
}

fn answer(
    reader: &NumberReader,
    input: &[u8],
    args: &Normalize,
    output: &Output,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    if args.strict {
        return answer_strictly(reader, input, output, out);
    }
    let reading = reader.read(input);
    if output.is_json() {
        writeln!(out, "{}", reading_json(input, &reading))?;
        return Ok(());
    }
    match (reading.number, reading.key, reading.status) {
        (Some(_), Some(key), _) if args.key => writeln!(out, "{}", key.get())?,
        (Some(number), ..) => writeln!(out, "{number}")?,
        (.., Status::Rejected(reason)) => writeln!(out, "!{}", reason.as_str())?,
        _ => writeln!(out, "!rejected")?,
    }
    Ok(())
}

fn answer_strictly(
    reader: &NumberReader,
    input: &[u8],
    output: &Output,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let reading = reader.strict(input);
    let e164 = reading.digits.map(|digits| digits.to_string());
    let reason = match reading.status {
        StrictStatus::Rejected(reason) => Some(reason.as_str()),
        _ => None,
    };
    if output.is_json() {
        let value = line_json(input, e164, None, reading.status.as_str(), reason);
        writeln!(out, "{value}")?;
    } else if let Some(digits) = e164 {
        writeln!(out, "+{digits}")?;
    } else {
        writeln!(out, "!{}", reason.unwrap_or("too_long"))?;
    }
    Ok(())
}

fn refuse(input: &[u8], output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    const REASON: &str = "unknown_region";
    if output.is_json() {
        writeln!(out, "{}", line_json(input, None, None, "rejected", Some(REASON)))?;
    } else {
        writeln!(out, "!{REASON}")?;
    }
    Ok(())
}

fn reading_json(input: &[u8], reading: &Reading) -> Value {
    line_json(
        input,
        reading.number.map(|number| number.get().to_string()),
        reading.key.map(|key| key.get().to_string()),
        reading.status.as_str(),
        reading.status.reason().map(Reason::as_str),
    )
}

fn line_json(
    input: &[u8],
    e164: Option<String>,
    key: Option<String>,
    status: &str,
    reason: Option<&str>,
) -> Value {
    json!({
        "input": String::from_utf8_lossy(input),
        "e164": e164,
        "key": key,
        "status": status,
        "reason": reason,
    })
}
