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
    #[serde(default)]
    preference: Option<Set>,
}

/// A preference, by its word.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Set {
    Stop,
    Resume,
}

fn lines(detector: &Detector, output: &Output, out: &mut impl Write) -> anyhow::Result<()> {
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    // How many, and the first of them.
    let mut no_objects: (u64, u64) = (0, 0);
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line).context("standard input can't be read")? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        let object = text.starts_with('{').then(|| serde_json::from_str::<Line<'_>>(text));
        let verdict = if let Some(Ok(line)) = &object {
            let preference = line.preference.as_ref().map(|set| match set {
                Set::Stop => Preference::Stop,
                Set::Resume => Preference::Resume,
            });
            let button = line.button.as_deref();
            detector.detect(&Message { text: &line.text, button, preference })
        } else {
            // A message may begin with a brace, but most often a program wrote it wrongly.
            if object.is_some() {
                no_objects =
                    (no_objects.0 + 1, if no_objects.0 == 0 { number } else { no_objects.1 });
            }
            detector.read(&text.replace("\\n", "\n"))
        };
        write(&verdict, output, out)?;
    }
    if let (count @ 1.., first) = no_objects {
        output.warn(format!(
            "{count} lines begin with a brace and are no JSON object with text, button or preference \
             (stop, resume): they were read as text; the first is line {first}"
        ));
    }
    Ok(())
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
