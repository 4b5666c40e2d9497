//! What a person or a program sees: text or JSON on standard output, words on standard error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use optout::disk::DiskError;
use owo_colors::OwoColorize;
use serde::Serialize;

use crate::args::{ColorChoice, Global};

/// Where and how to speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: bool,
}

impl Output {
    pub(crate) fn new(global: &Global) -> Output {
        match global.color {
            // `auto` honours NO_COLOR, CLICOLOR and whether standard error is a terminal.
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Output {
            json: global.json,
            quiet: global.quiet,
            progress: !global.quiet && !global.no_progress && io::stderr().is_terminal(),
        }
    }

    /// Whether programs read standard output.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether progress bars are wanted and would be seen.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Standard output, buffered. Flush it before the end.
    pub(crate) fn stdout(&self) -> io::BufWriter<io::StdoutLock<'static>> {
        io::BufWriter::with_capacity(1 << 16, io::stdout().lock())
    }

    /// One JSON value on a line of standard output.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.text(&serde_json::to_string(value)?)
    }

    /// A table on standard output.
    pub(crate) fn table(&self, header: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY).set_header(header.to_vec());
        for row in rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self.text(&table.to_string())
    }

    fn text(&self, text: &str) -> anyhow::Result<()> {
        let mut out = self.stdout();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        written.context("standard output can't be written")
    }

    /// Words for people, unless they asked for silence.
    pub(crate) fn say(&self, words: impl std::fmt::Display) {
        if !self.quiet {
            // A closed standard error is no reason to fail: nobody listens.
            let _ = writeln!(anstream::stderr(), "{words}");
        }
    }

    /// A warning: also said when asked for silence, since it tells of doubt.
    pub(crate) fn warn(&self, words: impl std::fmt::Display) {
        let _ = writeln!(anstream::stderr(), "{} {words}", "warning:".yellow().bold());
    }

    /// An error with its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let mut text = error.to_string();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Many of our messages include their cause already.
            if !text.contains(&cause) {
                text.push_str(": ");
                text.push_str(&cause);
            }
        }
        let _ = writeln!(anstream::stderr(), "{} {text}", "error:".red().bold());
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether the reader of our output has gone: then there is nobody to tell.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let disk = cause.downcast_ref::<DiskError>().map(|error| &error.source);
        io.or(disk).is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (20_000_000, "20,000,000")] {
            assert_eq!(grouped(count), text);
        }
    }
}
