//! `layers`, and `import --layer`: registries and consents that somebody else keeps.

use std::io::Write;
use std::path::Path;

use optout::exchange::{
    ImportWatch, RegistryCounts, RegistryFormat, RegistryImport, RegistryOptions, RegistryRead,
};
use optout::number::Folding;
use optout::store::{
    Reader, Registry, RegistryKind, RegistryName, RegistryReport, RegistryUpdate, Writer,
};
use optout::time::Timestamp;
use serde_json::json;

use super::import::{Invalid, open};
use super::{open_reader, open_writer};
use crate::args::{Import, Kind, Layers, moment};
use crate::exit::{Exit, UsageError};
use crate::output::{Output, grouped};
use crate::progress::{Bar, cancel_flag};

/// Makes lists a layer.
pub(super) fn import(
    path: &Path,
    layer: &RegistryName,
    args: &Import,
    output: &Output,
) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let update = update_of(layer, args)?;
    let target = Target::open(path, args.dry_run, output)?;
    let kind = update.kind.or(target.kind_of(layer)?).unwrap_or(RegistryKind::Registry);
    let mut invalid = Invalid::open(path, args)?;
    let read = read(args, kind, target.folding(), &mut invalid, output)?;
    let report = match &target {
        Target::Store(writer) => writer.update_registry(&update, read.rows.contents(), now)?,
        Target::DryRun(reader) => reader.plan_registry(&update, read.rows.contents(), now)?,
    };
    invalid.map_or(Ok(()), Invalid::publish)?;
    tell(layer, &report, &read, args, output)?;
    Ok(Exit::Done)
}

/// Lists the layers, or takes one away.
pub(crate) fn run(path: &Path, args: &Layers, output: &Output) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    match (&args.drop, &args.reason) {
        (Some(name), Some(reason)) => {
            open_writer(path, output)?.drop_registry(name, reason, now)?;
            match output.is_json() {
                true => output.json(&json!({"layer": name, "dropped": true}))?,
                false => output.say(format!("dropped the layer {name}; what it was stays known")),
            }
        }
        _ => list(open_reader(path, output)?.registries()?, now, output)?,
    }
    Ok(Exit::Done)
}

/// The store, open as the import needs it.
enum Target {
    Store(Box<Writer>),
    DryRun(Box<Reader>),
}

impl Target {
    fn open(path: &Path, dry_run: bool, output: &Output) -> anyhow::Result<Target> {
        Ok(match dry_run {
            true => Target::DryRun(Box::new(open_reader(path, output)?)),
            false => Target::Store(Box::new(open_writer(path, output)?)),
        })
    }

    fn folding(&self) -> Folding {
        match self {
            Target::Store(writer) => writer.folding(),
            Target::DryRun(reader) => reader.folding(),
        }
    }

    /// The kind of a layer that there is.
    fn kind_of(&self, name: &RegistryName) -> anyhow::Result<Option<RegistryKind>> {
        Ok(match self {
            Target::Store(writer) => writer.registry_kind(name),
            Target::DryRun(reader) => {
                let mut layers = reader.registries()?.iter();
                layers.find(|it| it.name() == name.as_str()).map(Registry::kind)
            }
        })
    }
}

fn update_of(layer: &RegistryName, args: &Import) -> anyhow::Result<RegistryUpdate> {
    let registry = &args.registry;
    let is_us = matches!(registry.format, RegistryFormat::UsFull | RegistryFormat::UsChange);
    if is_us && args.column.is_some() {
        let format = registry.format.as_str();
        return Err(UsageError(format!("--column has no meaning with --format {format}")).into());
    }
    let us_region = args.event.region.is_none_or(|region| region.as_str() == "US");
    if is_us && !us_region {
        let format = registry.format.as_str();
        let how = format!("--format {format} has numbers of the region US: leave --region out");
        return Err(UsageError(how).into());
    }
    if registry.format == RegistryFormat::Lines && args.column.is_some() {
        return Err(UsageError("--column has no meaning with --format lines".to_owned()).into());
    }
    let as_of = moment(&registry.as_of, &args.event.tz)?;
    let as_of = as_of.ok_or_else(|| UsageError("--layer needs --as-of".to_owned()))?;
    let names: Vec<_> = args.files.iter().map(|it| it.display().to_string()).collect();
    Ok(RegistryUpdate {
        kind: registry.kind.map(|kind| match kind {
            Kind::Registry => RegistryKind::Registry,
            Kind::Consent => RegistryKind::Consent,
        }),
        channel: args.event.scope.channel.clone(),
        max_age_days: registry.max_age,
        source: shortened(&names),
        max_shrink_percent: registry.max_shrink,
        allow_older: registry.allow_older,
        ..RegistryUpdate::new(layer.clone(), as_of)
    })
}

/// The names of the first files, as far as there is room for them.
fn shortened(names: &[String]) -> String {
    const CHARACTERS_MAX: usize = 1000;
    names.join(", ").replace('\0', "").chars().take(CHARACTERS_MAX).collect()
}

fn read(
    args: &Import,
    kind: RegistryKind,
    folding: Folding,
    invalid: &mut Option<Invalid>,
    output: &Output,
) -> anyhow::Result<RegistryRead> {
    let options = RegistryOptions {
        kind,
        format: match (&args.column, args.registry.format) {
            (Some(_), RegistryFormat::Auto) => RegistryFormat::Csv,
            (_, format) => format,
        },
        column: args.column.clone(),
        region: args.event.region,
        zone: args.event.tz.clone(),
    };
    let cancel = cancel_flag()?;
    let mut import = RegistryImport::new(options, folding);
    for file in &args.files {
        let input = open(file)?;
        let bar = Bar::new(output, &file.display().to_string(), input.len_hint());
        let update = |progress| bar.update(progress);
        let watch = ImportWatch { progress: Some(&update), cancel: Some(&cancel) };
        let rows = invalid.as_mut().map(|it| &mut it.0 as &mut dyn Write);
        import.read(input, rows, &watch)?;
        bar.finish();
    }
    Ok(import.finish())
}

fn tell(
    layer: &RegistryName,
    report: &RegistryReport,
    read: &RegistryRead,
    args: &Import,
    output: &Output,
) -> anyhow::Result<()> {
    let counts = &read.counts;
    if output.is_json() {
        output.json(&json!({
            "layer": layer,
            "kind": report.kind,
            "channel": report.channel,
            "format": read.format,
            "rows": counts.rows,
            "listed": report.count,
            "added": report.added,
            "removed": report.removed,
            "invalid": counts.invalid,
            "blank": counts.blank,
            "as_of": report.as_of,
            "max_age_days": report.max_age_days,
            "doubtful": counts.doubtful,
            "invalid_reasons": counts.invalid_reasons,
        }))?;
    } else {
        let head = if args.dry_run { "would become layer" } else { "layer" };
        output.table(&[head, layer.as_str()], rows_of(report, read))?;
    }
    warn(counts, args, output);
    Ok(())
}

fn rows_of(report: &RegistryReport, read: &RegistryRead) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let counts = &read.counts;
    let mut rows = vec![
        row("kind", report.kind.to_string()),
        row("channel", channel(&report.channel)),
        row("as of", report.as_of.to_string()),
        row("maximum age", age(report.max_age_days)),
        row("listed", grouped(report.count)),
        row("  added", grouped(report.added)),
        row("  removed", grouped(report.removed)),
        row("format", read.format.as_str().to_owned()),
        row("rows", grouped(counts.rows)),
        row("invalid", grouped(counts.invalid)),
    ];
    for (reason, &count) in &counts.invalid_reasons {
        rows.push(row(&format!("  {reason}"), grouped(count)));
    }
    rows.push(row("blank", grouped(counts.blank)));
    rows
}

fn warn(counts: &RegistryCounts, args: &Import, output: &Output) {
    if counts.doubtful > 0 {
        output.warn(format!(
            "{} rows count as they can be read, but no number is so long, or it can be read as \
             two: whether these persons are meant is in doubt",
            grouped(counts.doubtful)
        ));
    }
    if counts.invalid > 0 && args.invalid.is_none() {
        output.warn(format!(
            "{} rows could not be read: see them with --invalid FILE",
            grouped(counts.invalid)
        ));
    }
}

fn list(layers: &[Registry], now: Timestamp, output: &Output) -> anyhow::Result<()> {
    if output.is_json() {
        let layers: Vec<_> = layers
            .iter()
            .map(|it| {
                json!({
                    "layer": it.name(),
                    "kind": it.kind(),
                    "channel": it.scope().channel(),
                    "listed": it.len(),
                    "as_of": it.as_of(),
                    "max_age_days": it.max_age_days(),
                    "stale": it.is_stale(now),
                    "received_at": it.received_at(),
                    "source": it.source(),
                })
            })
            .collect();
        return output.json(&json!({"layers": layers}));
    }
    let rows = layers.iter().map(|it| {
        vec![
            it.name().to_owned(),
            it.kind().to_string(),
            channel(it.scope().channel()),
            grouped(it.len()),
            it.as_of().to_string(),
            age(it.max_age_days()),
            if it.is_stale(now) { "yes" } else { "no" }.to_owned(),
        ]
    });
    output.table(
        &["layer", "kind", "channel", "listed", "as of", "maximum age", "stale"],
        rows.collect(),
    )
}

fn channel(channel: &str) -> String {
    if channel.is_empty() { "all" } else { channel }.to_owned()
}

fn age(days: Option<u32>) -> String {
    days.map_or_else(|| "none".to_owned(), |days| format!("{days} days"))
}
