//! `stats`: how many, by what.

use std::collections::BTreeMap;
use std::path::Path;

use optout::query::{self, By};
use optout::store::Reader;
use serde_json::{Value, json};

use super::export::filter;
use super::open_reader;
use crate::args::{self, Stats};
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &Stats, output: &Output) -> anyhow::Result<Exit> {
    let mut filter = filter(&args.range)?;
    let reader = open_reader(path, output)?;
    filter.up_to = Some(reader.sequence());
    let is_range = [&args.range.from, &args.range.to].iter().any(|it| it.is_some())
        || args.range.source.is_some();
    if args.by.is_none() && !args.sent.is_empty() {
        return Err(UsageError("--sent names groups: give --by too".to_owned()).into());
    }
    match args.by {
        None if is_range => {
            let total = query::stats(&reader, &filter, By::Source, &args.range.tz)?.total;
            if output.is_json() {
                output.json(&total)?;
                return Ok(Exit::Done);
            }
            let row = vec![grouped(total.opt_outs), grouped(total.resubscribes)];
            output.table(&["opt-outs", "resubscribes"], vec![row])?;
        }
        None => overview(&reader, output)?,
        Some(by) => {
            let stats = query::stats(&reader, &filter, by_of(by), &args.range.tz)?;
            let sent = Sent::parse(&args.sent)?;
            if output.is_json() {
                output.json(&sent.json(&stats))?;
            } else {
                sent.table(&stats, by, output)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// How many messages were sent, by group.
struct Sent(BTreeMap<String, u64>);

impl Sent {
    fn parse(given: &[String]) -> Result<Sent, UsageError> {
        let pair = |text: &String| {
            let (group, count) = text.rsplit_once('=')?;
            Some((group.to_owned(), count.parse().ok().filter(|&count| count > 0)?))
        };
        let pairs = given.iter().map(|text| {
            let how =
                || UsageError(format!("--sent {text}: write GROUP=COUNT, such as spring=20000"));
            pair(text).ok_or_else(how)
        });
        pairs.collect::<Result<_, _>>().map(Sent)
    }

    /// The counts of a group, and the rate where it is known how many were sent.
    fn json(&self, stats: &query::Stats) -> Value {
        let mut value = json!(stats);
        for (group, &sent) in &self.0 {
            let count = stats.groups.get(group).copied().unwrap_or_default();
            value["groups"][group] = json!({
                "opt_outs": count.opt_outs,
                "resubscribes": count.resubscribes,
                "sent": sent,
                "rate": count.opt_outs as f64 / sent as f64,
            });
        }
        value
    }

    fn table(&self, stats: &query::Stats, by: args::By, output: &Output) -> anyhow::Result<()> {
        let row = |name: &str, count: &query::Count| {
            let mut row =
                vec![name.to_owned(), grouped(count.opt_outs), grouped(count.resubscribes)];
            if !self.0.is_empty() {
                let sent = self.0.get(name).copied();
                row.push(sent.map_or_else(String::new, grouped));
                let rate = |sent| format!("{:.2} %", 100.0 * count.opt_outs as f64 / sent as f64);
                row.push(sent.map_or_else(String::new, rate));
            }
            row
        };
        let mut groups = stats.groups.clone();
        for group in self.0.keys() {
            groups.entry(group.clone()).or_default();
        }
        let mut rows: Vec<_> = groups.iter().map(|(name, count)| row(name, count)).collect();
        rows.push(row("total", &stats.total));
        let columns = [by_name(by), "opt-outs", "resubscribes", "sent", "rate"];
        let shown = if self.0.is_empty() { 3 } else { columns.len() };
        output.table(&columns[..shown], rows)
    }
}

fn overview(reader: &Reader, output: &Output) -> anyhow::Result<()> {
    let manifest = reader.manifest();
    let opted_out = reader.len()?;
    if output.is_json() {
        return output.json(&json!({
            "opted_out": opted_out,
            "sequence": reader.sequence(),
            "generation": manifest.generation,
            "folded": manifest.sequence,
            "created_at": manifest.created_at,
            "metadata_release": manifest.metadata_release,
            "fold_version": manifest.fold_version,
            "tier2": manifest.tier2,
        }));
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    output.table(
        &["store", ""],
        vec![
            row("opted out", grouped(opted_out)),
            row("events", grouped(reader.sequence())),
            row("generation", manifest.generation.to_string()),
            row("events not folded yet", grouped(reader.sequence() - manifest.sequence)),
            row("created", manifest.created_at.clone()),
            row("phone metadata", manifest.metadata_release.clone()),
            row(
                "fold table",
                format!(
                    "{}{}",
                    manifest.fold_version,
                    if manifest.tier2 { ", tier 2" } else { "" }
                ),
            ),
        ],
    )
}

fn by_of(by: args::By) -> By {
    match by {
        args::By::Day => By::Day,
        args::By::Week => By::Week,
        args::By::Month => By::Month,
        args::By::Source => By::Source,
        args::By::Country => By::Country,
        args::By::Campaign => By::Campaign,
        args::By::Template => By::Template,
        args::By::Sender => By::Sender,
        args::By::Word => By::Word,
    }
}

fn by_name(by: args::By) -> &'static str {
    match by {
        args::By::Day => "day",
        args::By::Week => "week of",
        args::By::Month => "month",
        args::By::Source => "source",
        args::By::Country => "country",
        args::By::Campaign => "campaign",
        args::By::Template => "template",
        args::By::Sender => "sender",
        args::By::Word => "word",
    }
}
