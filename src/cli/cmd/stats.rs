//! `stats`: how many, by what.

use std::path::Path;

use optout::query::{self, By};
use optout::store::Reader;
use serde_json::json;

use super::export::filter;
use super::open_reader;
use crate::args::{self, Stats};
use crate::exit::Exit;
use crate::output::{Output, grouped};

pub(crate) fn run(path: &Path, args: &Stats, output: &Output) -> anyhow::Result<Exit> {
    let mut filter = filter(&args.range)?;
    let reader = open_reader(path, output)?;
    filter.up_to = Some(reader.sequence());
    let is_range = [&args.range.from, &args.range.to].iter().any(|it| it.is_some())
        || args.range.source.is_some();
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
            if output.is_json() {
                output.json(&stats)?;
                return Ok(Exit::Done);
            }
            let row = |name: &str, count: &query::Count| {
                vec![name.to_owned(), grouped(count.opt_outs), grouped(count.resubscribes)]
            };
            let mut rows: Vec<_> =
                stats.groups.iter().map(|(name, count)| row(name, count)).collect();
            rows.push(row("total", &stats.total));
            output.table(&[by_name(by), "opt-outs", "resubscribes"], rows)?;
        }
    }
    Ok(Exit::Done)
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
    }
}
