//! `detect`: does a message ask to be left alone?

use std::borrow::Cow;
use std::io::{BufRead, Write};

use anyhow::Context;
use optout::intent::{Detector, Message, Preference, Verdict};
use serde::Deserialize;
use serde_json::json;

use crate::args::Detect;
use crate::exit::{Exit, UsageError};
use crate::output::Output;

pub(crate) fn run(args: &Detect, output: &Output) -> anyhow::Result<Exit> {
    let own;
    let detector = match &args.words {
        Some(file) => {
            let table = std::fs::read_to_string(file)
                .with_context(|| format!("the words {} can't be read", file.display()))?;
            own = Detector::built_in()
                .with(&table)
                .map_err(|error| UsageError(format!("{}: {error}", file.display())))?;
            &own
        }
        None => Detector::built_in(),
    };
    let mut out = output.stdout();
    if args.text.is_empty() {
        lines(detector, output, &mut out)?;
    } else {
        for text in &args.text {
            write(&detector.read(text), output, &mut out)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// A line that is a JSON object.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    button: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    preference: Option<Cow<'a, str>>,
}

fn lines(detector: &Detector, output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).context("standard input can't be read")? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let verdict = if text.starts_with('{')
            && let Ok(line) = serde_json::from_str::<Line<'_>>(text)
        {
            let preference = match line.preference.as_deref() {
                Some("stop") => Some(Preference::Stop),
                Some("resume") => Some(Preference::Resume),
                _ => None,
            };
            detector.detect(&Message {
                text: &line.text,
                button: line.button.as_deref(),
                preference,
            })
        } else {
            // A message that only begins with a brace is text like any other.
            detector.read(&text.replace("\\n", "\n"))
        };
        write(&verdict, output, out)?;
    }
}

fn write(verdict: &Verdict, output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    if output.is_json() {
        let value = json!({
            "intent": verdict.intent.as_str(),
            "language": verdict.language,
            "matched": verdict.matched,
            "rule": verdict.rule,
        });
        writeln!(out, "{value}")?;
    } else if verdict.matched.is_empty() {
        writeln!(out, "{}\t{}", verdict.intent, verdict.rule)?;
    } else {
        writeln!(out, "{}\t{}: {}", verdict.intent, verdict.rule, verdict.matched)?;
    }
    Ok(())
}
