//! One file for each family of commands.

#[cfg(feature = "server")]
mod campaign;
#[cfg(feature = "server")]
mod capture;
mod check;
mod detect;
mod diff;
mod erase;
mod export;
mod import;
#[cfg(feature = "server")]
mod key;
mod layers;
mod normalize;
mod recheck;
mod record;
mod scrub;
#[cfg(feature = "server")]
mod serve;
mod stats;
mod store;
mod undo;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::CommandFactory;
use optout::event::Category;
use optout::number::METADATA_RELEASE;
use optout::policy::{self, Policy, Scope};
use optout::query::{Judge, Stale};
use optout::store::{Moment, Reader, Writer};
use optout::time::Timestamp;

#[cfg(feature = "server")]
use crate::args::CaptureCommand;
use crate::args::{Cli, Command, ContextArgs, Global, ScopeArgs, StaleChoice};
use crate::exit::{Exit, UsageError};
use crate::output::Output;

/// Carries a command out.
pub(crate) fn run(cli: Cli, output: &Output) -> anyhow::Result<Exit> {
    let global = &cli.global;
    // At a file-size limit a write should fail like any other, not end the process.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    match cli.command {
        Command::Init(args) => store::init(store_path(global)?, &args, output),
        Command::Add(args) => record::add(store_path(global)?, &args, output),
        Command::Resubscribe(args) => record::resubscribe(store_path(global)?, &args, output),
        Command::Override(args) => record::let_through(store_path(global)?, &args, output),
        Command::Link(args) => record::link(store_path(global)?, &args, output),
        Command::Erase(args) => erase::run(store_path(global)?, &args, output),
        Command::Import(args) => import::run(store_path(global)?, &args, output),
        Command::UndoImport(args) => undo::run(store_path(global)?, &args, output),
        Command::Scrub(args) => scrub::run(store_path(global)?, &args, output),
        Command::Recheck(args) => recheck::run(store_path(global)?, &args, output),
        Command::Check(args) => check::check(store_path(global)?, &args, output),
        Command::Why(args) => check::why(store_path(global)?, &args, output),
        Command::Layers(args) => layers::run(store_path(global)?, &args, output),
        Command::Diff(args) => diff::run(global, &args, output),
        Command::Export(args) => export::run(store_path(global)?, &args, output),
        Command::Stats(args) => stats::run(store_path(global)?, &args, output),
        Command::Compact => store::compact(store_path(global)?, output),
        Command::Verify => store::verify(store_path(global)?, output),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(store_path(global)?, &args, output),
        #[cfg(feature = "server")]
        Command::Key(command) => key::run(store_path(global)?, &command, output),
        #[cfg(feature = "server")]
        Command::Capture(command) => match &command {
            // What reads no store needs none.
            CaptureCommand::LintConfirmation { .. }
            | CaptureCommand::LintTemplate { name: None, .. } => {
                capture::run(Path::new(""), &command, output)
            }
            _ => capture::run(store_path(global)?, &command, output),
        },
        #[cfg(feature = "server")]
        Command::Campaign(command) => campaign::run(store_path(global)?, &command, output),
        Command::Normalize(args) => normalize::run(&args, output),
        Command::Detect(args) => detect::run(&args, output),
        Command::Completions(args) => {
            let mut text = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "optout", &mut text);
            print(output, &text)
        }
        Command::Man => {
            let mut text = Vec::new();
            man_pages(&mut text)?;
            print(output, &text)
        }
    }
}

fn print(output: &Output, text: &[u8]) -> anyhow::Result<Exit> {
    let mut out = output.stdout();
    out.write_all(text)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// The manual: the page of the command, and behind it a section for each of its verbs.
fn man_pages(out: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(out)?;
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("optout-{}", verb.get_name());
        writeln!(out, ".SH \"{}\"", name.to_uppercase())?;
        let man = clap_mangen::Man::new(verb.clone().display_name(name));
        man.render_synopsis_section(out)?;
        man.render_description_section(out)?;
        man.render_options_section(out)?;
    }
    Ok(())
}

fn store_path(global: &Global) -> anyhow::Result<&Path> {
    let path = global.store.as_deref().filter(|path| !path.as_os_str().is_empty());
    path.ok_or_else(|| {
        let how = "no store was named: give --store DIR, or set OPTOUT_STORE";
        UsageError(how.to_owned()).into()
    })
}

/// Opens the store for questions.
fn open_reader(path: &Path, output: &Output) -> anyhow::Result<Reader> {
    let reader = Reader::open(path)?;
    warn_of_other_metadata(&reader.manifest().metadata_release, output);
    Ok(reader)
}

/// Opens the store as it was at a moment, if there is one, otherwise as it is.
fn open_reader_at(path: &Path, at: Option<Timestamp>, output: &Output) -> anyhow::Result<Reader> {
    let reader = open_reader(path, output)?;
    Ok(match at {
        Some(at) => reader.at(Moment::Received(at))?,
        None => reader,
    })
}

/// Opens the store for recording.
fn open_writer(path: &Path, output: &Output) -> anyhow::Result<Writer> {
    let writer = Writer::open(path)?;
    warn_of_other_metadata(&writer.metadata_release(), output);
    Ok(writer)
}

fn warn_of_other_metadata(release: &str, output: &Output) {
    if release != METADATA_RELEASE {
        output.warn(format!(
            "the store was made with phone metadata {release}, this release reads numbers by \
             {METADATA_RELEASE}: a few numbers in a hundred thousand may be read differently"
        ));
    }
}

/// A scope from its options.
fn scope_of(args: &ScopeArgs) -> Result<Scope, UsageError> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Scope::new(&text(&args.channel), &text(&args.sender), &text(&args.brand))
        .map_err(|error| UsageError(error.to_string()))
}

/// The message that the options describe, and the rules for it.
fn judge<'a>(
    reader: &'a Reader,
    args: &ContextArgs,
    stale: StaleChoice,
    now: Timestamp,
    output: &Output,
) -> anyhow::Result<Judge<'a>> {
    let scope = scope_of(&args.scope)?;
    let category: Category =
        args.category.parse().map_err(|error| UsageError(format!("{error}")))?;
    let context = policy::Context { scope, category };
    judge_of(reader, policy_of(args.policy.as_deref())?, context, stale, now, output)
}

/// As [`judge`], of what is known already.
fn judge_of<'a>(
    reader: &'a Reader,
    policy: Policy,
    context: policy::Context,
    stale: StaleChoice,
    now: Timestamp,
    output: &Output,
) -> anyhow::Result<Judge<'a>> {
    let stale = match stale {
        StaleChoice::Refuse => Stale::Refuse,
        StaleChoice::Warn => Stale::Accept,
    };
    let judge = Judge::new(reader, policy, context, now, stale)?;
    for layer in judge.layers().filter(|layer| layer.is_stale(now)) {
        output.warn(format!("the layer {} is stale: it is of {}", layer.name(), layer.as_of()));
    }
    Ok(judge)
}

fn policy_of(file: Option<&Path>) -> anyhow::Result<Policy> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the policy {} can't be read", file.display()))?;
    let policy = Policy::parse(&text);
    Ok(policy.map_err(|error| UsageError(format!("{}: {error}", file.display())))?)
}

/// A misspelled sender or brand would let messages through to those who opted out of it.
fn warn_of_unknown_names(
    reader: &Reader,
    args: &ContextArgs,
    output: &Output,
) -> Result<(), UsageError> {
    let scope = scope_of(&args.scope)?;
    let known = reader.scopes();
    for (what, name) in [("sender", scope.sender()), ("brand", scope.brand())] {
        let names =
            |it: &Scope| if what == "sender" { it.sender() == name } else { it.brand() == name };
        if !name.is_empty() && !known.iter().any(names) {
            output.warn(format!("no opt-out names the {what} \"{name}\": is it spelled as there?"));
        }
    }
    Ok(())
}

/// Numbers handed on at once: they share a sync, and their answers appear together.
const GROUP_MAX: usize = 10_000;

/// Hands the numbers of the command line on in groups; `-` stands for the lines of standard
/// input. A group ends where no further line has arrived, so that a line typed by a person is
/// answered before the next is waited for.
fn for_each_group(
    given: &[String],
    mut visit: impl FnMut(&[Vec<u8>]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut group = Vec::new();
    let mut hand_on = |group: &mut Vec<Vec<u8>>| {
        let visited = if group.is_empty() { Ok(()) } else { visit(group) };
        group.clear();
        visited
    };
    for number in given {
        if number != "-" {
            group.push(number.clone().into_bytes());
            continue;
        }
        // As large as a pipe, so that a full one is read with one call and shares one sync.
        let mut input = BufReader::with_capacity(1 << 16, std::io::stdin().lock());
        loop {
            if group.len() >= GROUP_MAX || !input.buffer().contains(&b'\n') {
                hand_on(&mut group)?;
            }
            let mut line = Vec::new();
            if input.read_until(b'\n', &mut line).context("standard input can't be read")? == 0 {
                break;
            }
            if !line.trim_ascii().is_empty() {
                let end = line.trim_ascii_end().len();
                line.truncate(end);
                group.push(line);
            }
        }
    }
    hand_on(&mut group)
}

/// An input as people should see it: what can't be shown is escaped, nothing is longer than a
/// line.
fn shown(input: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(input).chars().take(80).collect();
    text.chars()
        .flat_map(|it| if it.is_control() { it.escape_default().collect() } else { vec![it] })
        .collect()
}
