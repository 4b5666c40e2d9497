//! `diff`: who came to be opted out, and who no longer is.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use optout::number::{Address, Number, SubscriberKey};
use optout::query::{self, Difference};
use optout::snapshot::{SnapshotError, View, differences};
use optout::store::Moment;
use optout::time::{Timestamp, Zone};
use serde_json::{Value, json};

use super::{open_reader, store_path};
use crate::args::{Diff, Global};
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};

const UNWRITABLE: &str = "standard output can't be written";

pub(crate) fn run(global: &Global, args: &Diff, output: &Output) -> anyhow::Result<Exit> {
    let (from, to) = (Side::parse(&args.from, &args.tz)?, Side::parse(&args.to, &args.tz)?);
    let mut lines = Lines::new(args, output);
    match (from, to) {
        (Side::Set(from), Side::Set(to)) => diff_sets(from, to, &mut lines)?,
        (Side::Moment(from), Side::Moment(to)) => {
            let reader = open_reader(store_path(global)?, output)?;
            query::diff(&reader, from, to, |difference| lines.write(Line::of(&difference)))?;
        }
        _ => {
            let how =
                "a moment and a set can't be compared: give two moments or two .roaring files";
            return Err(UsageError(how.to_owned()).into());
        }
    }
    lines.finish()?;
    Ok(Exit::Done)
}

/// What is compared with another.
enum Side<'a> {
    Moment(Moment),
    Set(&'a Path),
}

impl Side<'_> {
    fn parse<'a>(text: &'a str, zone: &Zone) -> Result<Side<'a>, UsageError> {
        let path = Path::new(text);
        if path.extension().is_some_and(|it| it.eq_ignore_ascii_case("roaring")) {
            return Ok(Side::Set(path));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            // What is too long for a sequence is one that was not given yet.
            return Ok(Side::Moment(Moment::Sequence(text.parse().unwrap_or(u64::MAX))));
        }
        let at = Timestamp::parse(text, zone).map_err(|error| {
            UsageError(format!("{error}; a sequence or a .roaring file can be given too"))
        })?;
        Ok(Side::Moment(Moment::Received(at)))
    }
}

fn diff_sets(from: &Path, to: &Path, lines: &mut Lines) -> anyhow::Result<()> {
    let (old, new) = (open_set(from)?, open_set(to)?);
    differences(&old, &new).try_for_each(|(key, added)| lines.write(Line::of_key(key, added)))
}

/// Reads a set and checks that it is one of numbers.
fn open_set(path: &Path) -> anyhow::Result<View<Vec<u8>>> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{name} can't be read"))?;
    let view = View::open(bytes).map_err(|error| match error {
        SnapshotError::Damaged { offset, damage } => anyhow!(
            "{name} is no set in the portable 64-bit Roaring format, or damaged at byte \
             {offset}: {damage}"
        ),
        other => anyhow!("{name}: {other}"),
    })?;
    let is_subscriber =
        |key: &SubscriberKey| key.id_sequence().is_some() || Number::from_e164(key.get()).is_some();
    match view.iter().position(|key| !is_subscriber(&key)) {
        None => Ok(view),
        Some(place) => Err(anyhow!(
            "{name} is no set of phone numbers: its member {} (counted from 1) can't be one",
            place + 1
        )),
    }
}

/// A difference as it is shown.
struct Line {
    added: bool,
    /// Empty for somebody who was erased: to write his number would undo that.
    name: String,
    /// Sequence, since when, and the source; sets know nothing of them.
    event: Option<(u64, Timestamp, &'static str)>,
}

impl Line {
    fn of(difference: &Difference) -> Line {
        let &Difference { added, sequence, since, source, .. } = difference;
        let name = difference.address.as_ref().map(Address::to_string).unwrap_or_default();
        Line { added, name, event: Some((sequence, since, source.as_str())) }
    }

    fn of_key(key: SubscriberKey, added: bool) -> Line {
        Line { added, name: name_of(key), event: None }
    }

    fn text(&self) -> String {
        let sign = if self.added { '+' } else { '-' };
        match &self.event {
            Some((sequence, since, source)) => {
                format!("{sign}\t{}\t{sequence}\t{since}\t{source}", self.name)
            }
            None => format!("{sign}\t{}", self.name),
        }
    }

    fn json(&self) -> Value {
        let change = if self.added { "added" } else { "removed" };
        let mut value =
            json!({"change": change, "number": (!self.name.is_empty()).then_some(&self.name)});
        if let Some((sequence, since, source)) = self.event {
            value["sequence"] = json!(sequence);
            value["since"] = json!(since);
            value["source"] = json!(source);
        }
        value
    }
}

/// The number of a key; an id is known to its store alone.
fn name_of(key: SubscriberKey) -> String {
    match key.id_sequence() {
        Some(sequence) => format!("id@{sequence}"),
        None => format!("+{}", key.get()),
    }
}

/// Writes the differences, or only counts them.
struct Lines<'a> {
    out: std::io::BufWriter<std::io::StdoutLock<'static>>,
    count_only: bool,
    output: &'a Output,
    added: u64,
    removed: u64,
}

impl<'a> Lines<'a> {
    fn new(args: &Diff, output: &'a Output) -> Lines<'a> {
        Lines { out: output.stdout(), count_only: args.count, output, added: 0, removed: 0 }
    }

    fn write(&mut self, line: Line) -> anyhow::Result<()> {
        *(if line.added { &mut self.added } else { &mut self.removed }) += 1;
        if self.count_only {
            return Ok(());
        }
        match self.output.is_json() {
            true => writeln!(self.out, "{}", line.json()),
            false => writeln!(self.out, "{}", line.text()),
        }
        .context(UNWRITABLE)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let Lines { added, removed, .. } = self;
        if self.count_only {
            match self.output.is_json() {
                true => writeln!(self.out, "{}", json!({"added": added, "removed": removed})),
                false => writeln!(self.out, "+\t{added}\n-\t{removed}"),
            }
            .context(UNWRITABLE)?;
        }
        self.out.flush().context(UNWRITABLE)?;
        self.output.say(format!("{} added, {} removed", grouped(added), grouped(removed)));
        Ok(())
    }
}
