//! The parallel filter: who of this list may be sent to?
//!
//! A [`Scrubber`] reads a recipient list, asks a [`SuppressionSet`] about every number in it, and
//! writes the rows that may be sent to, byte for byte and in order. It has never heard of a
//! store: tests run it against a map, the command against a store's view.
//!
//! Promises:
//! - every row is in exactly one of kept, suppressed, invalid and duplicates, or the run fails;
//! - a row whose number can't be read is never kept, nor is one whose lookup failed: a set that
//!   can't answer fails the run;
//! - memory does not grow with rows (removing duplicates is the exception, see
//!   [`Scrubber::dedupe`]): some 10 MB, up to about 100 MB for files of giant records;
//! - an input that is cut short, can't be decoded, or changes while it is read fails the run.
//!
//! Blank lines are rows: invalid, with the reason `empty`, wherever they stand but above a header.
//! Outputs that appear only when complete are made by [`output`]. A list that is handed on hours
//! later is scrubbed with a [`Receipt`], and a [`Recheck`] then gives the rows that stand
//! differently, without reading the list again.
//!
//! ```
//! use std::collections::BTreeSet;
//! use optout::number::SubscriberKey;
//! use optout::scrub::{Input, Scrubber, Sinks};
//!
//! # fn main() -> Result<(), optout::scrub::ScrubError> {
//! let opted_out = BTreeSet::from([SubscriberKey::from_u64(525512345678)]);
//! let list = "phone,name\n+525512345678,Ana\n+525587654321,Luis\n".as_bytes();
//!
//! let mut clean = Vec::new();
//! let report = Scrubber::new(&opted_out)
//!     .run(Input::reader("list", list), Sinks::new().kept("clean", &mut clean))?;
//!
//! assert_eq!(clean, b"phone,name\n+525587654321,Luis\n");
//! assert_eq!((report.rows, report.kept, report.suppressed), (2, 1, 1));
//! # Ok(())
//! # }
//! ```

mod engine;
mod error;
mod index;
mod input;
mod kept;
mod limit;
pub mod output;
mod receipt;
mod recheck;
mod report;
mod set;
mod trace;
mod worker;
mod writeback;

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::number::{BusinessId, Folding, NumberReader, Region};
use crate::table::{ColumnChoice, ReadOptions, Shape, Table};
use crate::time::Timestamp;

pub use error::{OutputError, ScrubError};
pub use input::Input;
pub use kept::KeptInput;
pub use limit::{MaxSuppressed, NoMaxSuppressed, TooManySuppressed};
pub use receipt::{Basis, Receipt, ReceiptError};
pub use recheck::{Changed, ListKind, Recheck, RecheckError, RecheckReport, Source};
pub use report::{LayerUsed, Message, Report, ReportOptions};
pub use set::{Origin, SuppressionSet};

use engine::{Controls, WriteIfAny};
use index::{IndexWriter, RUN_ENTRIES};
use receipt::Begun;
use trace::{Piece, RowHasher};
use worker::Job;

/// What is done with the verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Only the kept rows are written.
    #[default]
    Enforce,
    /// Every row is written, and the report says what enforcing would have done.
    Report,
    /// Every row is written and counted as kept; nobody is asked.
    Off,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are done.
    pub bytes: u64,
    /// Rows that are done.
    pub rows: u64,
}

/// An output: where the bytes go, and how to call it in messages.
pub struct Sink<'a> {
    name: String,
    writer: &'a mut (dyn Write + Send),
}

impl<'a> Sink<'a> {
    /// An output with this name.
    pub fn new(name: impl Into<String>, writer: &'a mut (dyn Write + Send)) -> Sink<'a> {
        Sink { name: name.into(), writer }
    }
}

/// The outputs of a run. What has none is counted only.
#[derive(Default)]
pub struct Sinks<'a> {
    kept: Option<Sink<'a>>,
    suppressed: Option<Sink<'a>>,
    invalid: Option<Sink<'a>>,
}

impl<'a> Sinks<'a> {
    /// No outputs.
    pub fn new() -> Sinks<'a> {
        Sinks::default()
    }

    /// Where the kept rows go.
    pub fn kept(mut self, name: impl Into<String>, writer: &'a mut (dyn Write + Send)) -> Self {
        self.kept = Some(Sink::new(name, writer));
        self
    }

    /// Where the rows of subscribers who opted out go, with four more columns:
    /// `optout_number` (digits, without a plus, or the id), `optout_since`, `optout_source`, `optout_rule`.
    pub fn suppressed(
        mut self,
        name: impl Into<String>,
        writer: &'a mut (dyn Write + Send),
    ) -> Self {
        self.suppressed = Some(Sink::new(name, writer));
        self
    }

    /// Where the rows go whose number can't be read or sent to, with two more columns:
    /// `optout_line`, `optout_reason`.
    pub fn invalid(mut self, name: impl Into<String>, writer: &'a mut (dyn Write + Send)) -> Self {
        self.invalid = Some(Sink::new(name, writer));
        self
    }

    /// What stands above the rows.
    fn write_headers<R: Read>(
        &mut self,
        table: &Table<R>,
        shape: &Shape,
    ) -> Result<(), ScrubError> {
        const SUPPRESSED: [&[u8]; 4] =
            [b"optout_number", b"optout_since", b"optout_source", b"optout_rule"];
        const INVALID: [&[u8]; 2] = [b"optout_line", b"optout_reason"];
        let header = table.header().unwrap_or_default();
        self.kept.write(&shape.encode([table.preamble(), header].concat()))?;
        self.suppressed.write(&shape.extended_header(table, &SUPPRESSED))?;
        self.invalid.write(&shape.extended_header(table, &INVALID))
    }

    fn flush(&mut self) -> Result<(), ScrubError> {
        self.kept.flush()?;
        self.suppressed.flush()?;
        self.invalid.flush()
    }
}

/// A scrub with its options. One scrubber can run over many lists.
pub struct Scrubber<'a, S> {
    set: &'a S,
    read: ReadOptions,
    column: Option<String>,
    region: Option<Region>,
    region_column: Option<String>,
    folding: Folding,
    mode: Mode,
    dedupe: bool,
    threads: usize,
    generation: u64,
    sequence: u64,
    at: Option<Timestamp>,
    message: Message,
    index_rows: usize,
    cancel: Option<&'a AtomicBool>,
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl<'a, S: SuppressionSet> Scrubber<'a, S> {
    /// A scrub against `set`: the number's column is found out, numbers are international,
    /// verdicts are enforced, and as many threads work as the machine has cores.
    pub fn new(set: &'a S) -> Scrubber<'a, S> {
        Scrubber {
            set,
            read: ReadOptions::default(),
            column: None,
            region: None,
            region_column: None,
            folding: Folding::default(),
            mode: Mode::Enforce,
            dedupe: false,
            threads: std::thread::available_parallelism().map_or(1, |count| count.get()),
            generation: 0,
            sequence: 0,
            at: None,
            message: Message::default(),
            index_rows: RUN_ENTRIES,
            cancel: None,
            progress: None,
        }
    }

    /// The column of the numbers, by name or by index from 1.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// The region of national numbers.
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// The column that has the region of each number, by name or by index. Where its cell is
    /// empty, the region of all rows counts; where it is no region, the row is invalid.
    pub fn region_column(mut self, column: impl Into<String>) -> Self {
        self.region_column = Some(column.into());
        self
    }

    /// How numbers become keys; the same as that of the set.
    pub fn folding(mut self, folding: Folding) -> Self {
        self.folding = folding;
        self
    }

    /// What is done with the verdicts.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Of several rows that would be kept with the same E.164 number or id, keeps the first. Not by
    /// subscriber key: that can merge two people, which is right for silence only. Remembers
    /// every kept number, some 10 to 20 bytes each: 10 million rows take about 200 MB.
    pub fn dedupe(mut self, dedupe: bool) -> Self {
        self.dedupe = dedupe;
        self
    }

    /// How the file is read. Its `columns` are not looked at: [`Self::column`] says them.
    pub fn read_options(mut self, read: ReadOptions) -> Self {
        self.read = read;
        self
    }

    /// How many threads work, at least one.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// What the set is a view of, for the report.
    pub fn as_of(mut self, generation: u64, sequence: u64) -> Self {
        (self.generation, self.sequence) = (generation, sequence);
        self
    }

    /// The earlier moment of which the set is a view, for the report; none for now.
    pub fn at(mut self, moment: Option<Timestamp>) -> Self {
        self.at = moment;
        self
    }

    /// What is about to be sent, for the report. The set knows what it means.
    pub fn message(mut self, message: Message) -> Self {
        self.message = message;
        self
    }

    /// How many rows of an index are gathered before a part of it is written; 10 bytes of memory
    /// each. Fewer rows make more parts, each of which a recheck has to look into.
    pub fn index_rows(mut self, rows: usize) -> Self {
        self.index_rows = rows.clamp(1, RUN_ENTRIES);
        self
    }

    /// A flag that ends the run with [`ScrubError::Cancelled`] soon after it is set.
    pub fn cancel(mut self, flag: &'a AtomicBool) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Is told after each block how far the run is, by whichever thread wrote it.
    pub fn progress(mut self, progress: &'a (dyn Fn(Progress) + Sync)) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Scrubs one list. The outputs are complete only when this returns a report; give files to
    /// it as [`output::OutputFile`] and publish them afterwards.
    ///
    /// # Errors
    ///
    /// When anything fails: the outputs must not be used then.
    pub fn run(&self, input: Input, sinks: Sinks<'_>) -> Result<Report, ScrubError> {
        self.run_tracing(input, sinks, None).map(|(report, _)| report)
    }

    /// Scrubs one list so that it can be rechecked later: writes the index of its rows to
    /// `index`, and gives the receipt that belongs to it. It takes some 40 MB more memory.
    ///
    /// # Errors
    ///
    /// As [`Self::run`], and in the mode that asks nobody.
    pub fn run_with_receipt(
        &self,
        input: Input,
        sinks: Sinks<'_>,
        index: Sink<'_>,
        basis: Basis,
    ) -> Result<(Report, Receipt), ScrubError> {
        if self.mode == Mode::Off {
            return Err(ScrubError::NobodyAsked);
        }
        let (report, receipt) = self.run_tracing(input, sinks, Some((index, basis)))?;
        receipt.map(|receipt| (report, receipt)).ok_or(ScrubError::Panicked)
    }

    fn run_tracing(
        &self,
        input: Input,
        mut sinks: Sinks<'_>,
        tracing: Option<(Sink<'_>, Basis)>,
    ) -> Result<(Report, Option<Receipt>), ScrubError> {
        let started = Instant::now();
        let file = input.name().to_owned();
        let mut table = self.open(input, &file)?;
        let shape = Shape::of(&table);
        let mut tracing =
            tracing.map(|(index, basis)| Tracing::begin(self, index, basis, &table)).transpose()?;
        let job = Job {
            set: self.set,
            mode: self.mode,
            dedupe: self.dedupe && self.mode != Mode::Off,
            region: self.region,
            has_region_column: self.region_column.is_some(),
            folding: self.folding,
            want_suppressed: sinks.suppressed.is_some(),
            want_invalid: sinks.invalid.is_some(),
            shape,
            hasher: tracing.as_ref().map(|it| RowHasher::of_receipt(it.begun.id)),
            file: &file,
        };
        sinks.write_headers(&table, &job.shape)?;
        let controls =
            Controls { threads: self.threads, cancel: self.cancel, progress: self.progress };
        let index = tracing.as_mut().map(|it| &mut it.index);
        let counts = engine::run(&job, &mut table, &mut sinks, index, &controls)?;
        table.source().check_unchanged(table.bytes_read())?;
        counts.check(self.mode)?;
        sinks.flush()?;
        let report = self.report(counts, started);
        // In the other modes nobody is taken out: what comes out is the list itself.
        let kept = sinks.kept.filter(|_| self.mode == Mode::Enforce).map(|sink| sink.name);
        let receipt =
            tracing.map(|it| it.finish(&report, (file, kept), table.bytes_read())).transpose()?;
        Ok((report, receipt))
    }

    fn open(&self, input: Input, file: &str) -> Result<Table<Input>, ScrubError> {
        // Shorter than any number with its area code is no sign of a number without a region.
        const DIGITS_MIN: usize = 7;
        let choice =
            |name: &Option<String>| name.clone().map_or(ColumnChoice::Auto, ColumnChoice::Named);
        let mut options = self.read.clone();
        options.columns = vec![choice(&self.column)];
        options.columns.extend(self.region_column.clone().map(ColumnChoice::Named));
        let reader = NumberReader::new(self.region, self.folding);
        let looks_national = |cell: &[u8]| {
            let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
            digits >= DIGITS_MIN && !cell.iter().any(u8::is_ascii_alphabetic)
        };
        let looks_like_number = |cell: &[u8]| {
            reader.recipient(cell).is_ok()
                || BusinessId::find(cell).is_some()
                || (self.region_column.is_some() && looks_national(cell))
        };
        Table::open(input, &options, &looks_like_number)
            .map_err(|source| ScrubError::Table { file: file.to_owned(), source })
    }

    fn report(&self, counts: report::Counts, started: Instant) -> Report {
        Report {
            rows: counts.rows,
            kept: counts.kept,
            suppressed: counts.suppressed,
            invalid: counts.invalid,
            duplicates: counts.duplicates,
            exempt: counts.exempt,
            written: counts.written,
            invalid_reasons: counts.reasons.totals(),
            generation: self.generation,
            as_of: self.at,
            sequence: self.sequence,
            elapsed_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            options: ReportOptions {
                mode: self.mode,
                message: self.message.clone(),
                column: self.column.clone(),
                region: self.region.map(|region| region.to_string()),
                region_column: self.region_column.clone(),
                dedupe: self.dedupe,
            },
        }
    }
}

/// What a run keeps for its receipt.
struct Tracing<'s> {
    begun: Begun,
    index: IndexWriter<'s>,
}

impl<'s> Tracing<'s> {
    fn begin<S>(
        scrubber: &Scrubber<'_, S>,
        index: Sink<'s>,
        basis: Basis,
        table: &Table<Input>,
    ) -> Result<Tracing<'s>, ScrubError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| ScrubError::Write {
            file: index.name.clone(),
            source: std::io::Error::other(error.to_string()),
        })?;
        let shape = Shape::of(table);
        let header = table.header();
        let prologue = [table.preamble(), header.unwrap_or_default()].concat();
        let begun = Begun {
            id,
            basis,
            folding: scrubber.folding,
            shape,
            preamble_bytes: table.preamble().len(),
            header_bytes: header.map(<[u8]>::len),
            prologue: Piece::of(&prologue, &shape),
        };
        let index = IndexWriter::begin(index, id, begun.prologue, scrubber.index_rows)?;
        Ok(Tracing { begun, index })
    }

    fn finish(
        self,
        report: &Report,
        names: (String, Option<String>),
        bytes_read: u64,
    ) -> Result<Receipt, ScrubError> {
        let traced = self.index.finish()?;
        // A row that no stretch holds would never be rechecked.
        if traced.ends.input_byte != bytes_read {
            let traced = traced.ends.input_byte;
            return Err(ScrubError::NotTraced { read: bytes_read, traced });
        }
        Ok(Receipt::new(self.begun, report, names, traced))
    }
}
