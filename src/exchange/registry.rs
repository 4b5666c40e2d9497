//! Who is on an outside list? Files of any length to the keys of a registry layer.
//!
//! [`RegistryImport`] reads one file or several that make up a list together, in any of the
//! [`RegistryFormat`]s. Promises: every row is counted, none is dropped in silence; what silences
//! a person is read as opt-outs are (whatever can be read counts), what frees one is read as
//! recipients are (doubt leaves him silenced); memory holds a few bytes for each distinct number
//! of a list, and 40 for each row of a list of changes. Leaves to others what becomes of the
//! keys (`store`).

mod format;

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::atomic::Ordering;

use rayon::prelude::*;
use serde::Serialize;

pub use format::RegistryFormat;

use format::{detect, us_change, us_digits, us_number};

use super::import::{ImportError, ImportWatch, InvalidRows, Rejected, next_blocks};
use crate::number::{Folding, NumberReader, Reason, Region, SubscriberKey};
use crate::scrub::{Input, Progress};
use crate::snapshot::Change;
use crate::store::{KeySorter, RegistryContents, RegistryKind, SortedKeys};
use crate::table::{Block, ColumnChoice, ReadOptions, Record, Shape, Table, TableError};
use crate::time::{Timestamp, Zone};

/// How the files of a layer are read.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// What being on the list means: it says on which side doubt falls.
    pub kind: RegistryKind,
    /// How the files are written.
    pub format: RegistryFormat,
    /// The column of the numbers of a CSV file, by name or by index from 1; found out if not
    /// given.
    pub column: Option<String>,
    /// The region of national numbers. The formats of the United States bring their own.
    pub region: Option<Region>,
    /// The zone of times without an offset.
    pub zone: Zone,
}

/// What was read. In JSON the fields have these names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RegistryCounts {
    /// Rows read, headers not.
    pub rows: u64,
    /// Rows that hold, wholly or in part, nothing that can be read.
    pub invalid: u64,
    /// Rows without anything.
    pub blank: u64,
    /// Rows whose number counts as it can be read, though no number is so long or it can be read
    /// as two.
    pub doubtful: u64,
    /// The invalid rows by reason.
    pub invalid_reasons: BTreeMap<&'static str, u64>,
}

/// Everything that was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct RegistryRead {
    /// The rows by what became of them.
    pub counts: RegistryCounts,
    /// How the last file was written; as was asked for if there was none.
    pub format: RegistryFormat,
    /// Who is on the list.
    pub rows: RegistryRows,
}

/// Who is on a list, or what changes on it.
#[derive(Debug)]
pub enum RegistryRows {
    /// All members.
    List(SortedKeys),
    /// The last change of each subscriber, ascending by key.
    Changes(Vec<Change>),
}

impl RegistryRows {
    /// The rows as a store takes them.
    pub fn contents(&self) -> RegistryContents<'_> {
        match self {
            RegistryRows::List(keys) => RegistryContents::List(keys),
            RegistryRows::Changes(changes) => RegistryContents::Changes(changes),
        }
    }
}

/// Reads the files of one layer, one after another.
#[derive(Debug)]
pub struct RegistryImport {
    options: RegistryOptions,
    numbers: NumberReader,
    us_numbers: NumberReader,
    counts: RegistryCounts,
    format: RegistryFormat,
    /// Whether the files are lists of changes; unknown before the first.
    of_changes: Option<bool>,
    keys: KeySorter,
    changes: Vec<TimedChange>,
}

impl RegistryImport {
    /// Without files. The folding is that of the store.
    pub fn new(options: RegistryOptions, folding: Folding) -> RegistryImport {
        let us = Region::parse("US").ok();
        RegistryImport {
            numbers: NumberReader::new(options.region, folding),
            us_numbers: NumberReader::new(us, folding),
            counts: RegistryCounts::default(),
            format: options.format,
            of_changes: None,
            keys: KeySorter::new(),
            changes: Vec::new(),
            options,
        }
    }

    /// Reads a file. `invalid` takes the rows that can't be read, with their line and reason in
    /// two more columns.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or is a whole list among lists of changes; one bad row is no
    /// error. What was read until then is of no use.
    pub fn read(
        &mut self,
        input: Input,
        invalid: Option<&mut dyn Write>,
        watch: &ImportWatch<'_>,
    ) -> Result<(), ImportError> {
        let file = input.name().to_owned();
        let table_error = |source| ImportError::Table { file: file.clone(), source };
        let input = Sampled::new(input)
            .map_err(|source| table_error(TableError::Read { offset: 0, source }))?;
        self.format = match self.options.format {
            RegistryFormat::Auto => detect(&input.sample()),
            format => format,
        };
        let is_of_changes = self.format == RegistryFormat::UsChange;
        if *self.of_changes.get_or_insert(is_of_changes) != is_of_changes {
            return Err(ImportError::Mixed { file });
        }
        let rows = RowReader {
            format: self.format,
            kind: self.options.kind,
            zone: self.options.zone.clone(),
            numbers: match self.format {
                RegistryFormat::UsFull | RegistryFormat::UsChange => self.us_numbers,
                _ => self.numbers,
            },
        };
        let mut table = self.open(input, &rows).map_err(table_error)?;
        let shape = Shape::of(&table);
        let mut invalid = InvalidRows { out: invalid, shape };
        invalid.write(&shape.extended_header(&table, &[b"optout_line", b"optout_reason"]))?;
        loop {
            if watch.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(ImportError::RegistryCancelled);
            }
            let blocks = next_blocks(&mut table).map_err(table_error)?;
            if blocks.is_empty() {
                break;
            }
            let read: Vec<ReadRows> = blocks.par_iter().map(|block| rows.read(block)).collect();
            for rows in read {
                self.take(rows, &mut invalid)?;
            }
            blocks.into_iter().for_each(|block| table.recycle(block.into_buffer()));
            if let Some(progress) = watch.progress {
                progress(Progress { bytes: table.bytes_read(), rows: self.counts.rows });
            }
        }
        table.source().input.check_unchanged(table.bytes_read())?;
        Ok(())
    }

    /// All that was read.
    pub fn finish(self) -> RegistryRead {
        let rows = match self.of_changes {
            Some(true) => RegistryRows::Changes(last_changes(self.changes, self.options.kind)),
            _ => RegistryRows::List(self.keys.finish()),
        };
        RegistryRead { counts: self.counts, format: self.format, rows }
    }

    fn open(&self, input: Sampled, rows: &RowReader) -> Result<Table<Sampled>, TableError> {
        /// Stands in no list: a line is then one cell.
        const NO_DELIMITER: u8 = 0x1f;
        let first = || vec![ColumnChoice::Named("1".to_owned())];
        let (columns, delimiter) = match self.format {
            RegistryFormat::UsFull | RegistryFormat::UsChange => (first(), Some(b',')),
            RegistryFormat::Lines => (first(), Some(NO_DELIMITER)),
            RegistryFormat::Csv | RegistryFormat::Auto => {
                let named = self.options.column.clone().map(ColumnChoice::Named);
                (vec![named.unwrap_or_default()], None)
            }
        };
        let read = ReadOptions { columns, delimiter, ..ReadOptions::default() };
        Table::open(input, &read, &|cell| rows.looks_like_value(cell))
    }

    fn take(&mut self, rows: ReadRows, invalid: &mut InvalidRows<'_>) -> Result<(), ImportError> {
        let before = self.counts.rows;
        let counts = &mut self.counts;
        counts.rows += rows.rows;
        counts.blank += rows.blank;
        counts.doubtful += rows.doubtful;
        counts.invalid += rows.rejected.len() as u64;
        for row in &rows.rejected {
            *counts.invalid_reasons.entry(row.reason).or_default() += 1;
            invalid.write_row(row)?;
        }
        self.keys.extend(rows.keys);
        let placed = |it: TimedChange| TimedChange { row: before + it.row, ..it };
        self.changes.extend(rows.changes.into_iter().map(placed));
        Ok(())
    }
}

/// A change as a row has it.
#[derive(Clone, Copy)]
struct TimedChange {
    key: SubscriberKey,
    /// When it happened, if the row says so.
    at: Option<Timestamp>,
    /// The row, counted over all files.
    row: u64,
    present: bool,
}

/// A place only: keys are people.
impl std::fmt::Debug for TimedChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TimedChange(row {})", self.row)
    }
}

/// The last change of each key. The moments of the rows decide; at the same moment, and in a row
/// without one, what silences a person counts more. If no row has a moment, the last row decides.
fn last_changes(mut changes: Vec<TimedChange>, kind: RegistryKind) -> Vec<Change> {
    let has_moments = changes.iter().any(|it| it.at.is_some());
    let rank = |it: &TimedChange| {
        let silences = silences(kind, it.present);
        let undated = if silences { i64::MAX } else { i64::MIN };
        match has_moments {
            true => (it.at.map_or(undated, Timestamp::as_millis), silences, 0),
            false => (0, false, it.row),
        }
    };
    changes.par_sort_unstable_by_key(|it| (it.key, rank(it)));
    let runs = changes.chunk_by(|one, other| one.key == other.key);
    runs.filter_map(|run| run.last())
        .map(|last| Change { key: last.key, present: last.present })
        .collect()
}

/// Whether being on the list, or not being on it, keeps messages from a person.
fn silences(kind: RegistryKind, present: bool) -> bool {
    present == (kind == RegistryKind::Registry)
}

/// Reads rows. Shared by all threads.
struct RowReader {
    format: RegistryFormat,
    kind: RegistryKind,
    zone: Zone,
    numbers: NumberReader,
}

/// What a block's rows amount to.
#[derive(Default)]
struct ReadRows {
    rows: u64,
    blank: u64,
    doubtful: u64,
    keys: Vec<SubscriberKey>,
    changes: Vec<TimedChange>,
    rejected: Vec<Rejected>,
}

impl RowReader {
    fn looks_like_value(&self, cell: &[u8]) -> bool {
        match self.format {
            // An area code is no number yet.
            RegistryFormat::UsFull | RegistryFormat::UsChange => {
                !cell.is_empty() && !cell.iter().any(u8::is_ascii_alphabetic)
            }
            _ => self.numbers.read(cell).number.is_some(),
        }
    }

    fn read(&self, block: &Block) -> ReadRows {
        let mut out = ReadRows::default();
        let mut scratch = Vec::new();
        let mut keys = Vec::new();
        for record in block.records() {
            out.rows += 1;
            if record.is_blank() {
                out.blank += 1;
                continue;
            }
            keys.clear();
            let read = self.read_record(&record, &mut keys, &mut out, &mut scratch);
            if let Err(reason) = read {
                out.rejected.push(Rejected {
                    line: record.line(),
                    reason,
                    body: record.body().to_vec(),
                    line_end: record.line_end().to_vec(),
                });
            }
        }
        out
    }

    fn read_record(
        &self,
        record: &Record<'_>,
        keys: &mut Vec<SubscriberKey>,
        out: &mut ReadRows,
        scratch: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        match self.format {
            RegistryFormat::UsChange => {
                let row = us_change(record.body(), &self.zone)?;
                let read = self.read_number(&row.number, row.present, keys, out);
                let change = |&key: &SubscriberKey| TimedChange {
                    key,
                    at: row.at,
                    row: out.rows,
                    present: row.present,
                };
                out.changes.extend(keys.iter().map(change));
                read
            }
            RegistryFormat::UsFull => {
                let read = match us_digits(record.body()) {
                    Some(number) => self.read_number(&number, true, keys, out),
                    None => self.read_number(&us_number(record.body()), true, keys, out),
                };
                out.keys.append(keys);
                read
            }
            RegistryFormat::Lines | RegistryFormat::Csv | RegistryFormat::Auto => {
                let cell = record.cell(0).ok_or("missing_column")?.value(scratch);
                let read = self.read_number(cell, true, keys, out);
                out.keys.append(keys);
                read
            }
        }
    }

    /// Reads the number of a row that makes it a member or no member. What silences is read
    /// whichever way it can be, what frees only without any doubt.
    #[inline]
    fn read_number(
        &self,
        cell: &[u8],
        present: bool,
        keys: &mut Vec<SubscriberKey>,
        out: &mut ReadRows,
    ) -> Result<(), &'static str> {
        let recipient = self.numbers.recipient(cell);
        if let Some(recipient) = recipient.ok().filter(|it| it.sendable) {
            keys.push(recipient.key);
            return Ok(());
        }
        if !silences(self.kind, present) {
            return Err(recipient.err().map_or("doubtful", Reason::as_str));
        }
        let readings = self.numbers.read_all(cell);
        keys.extend(readings.iter().filter_map(|reading| reading.key));
        if let Some(reason) = readings.iter().find_map(|reading| reading.status.reason()) {
            return Err(reason.as_str());
        }
        let reads_well = recipient.is_err_and(|it| it == Reason::TwoNumbers);
        out.doubtful += u64::from(!reads_well);
        Ok(())
    }
}

/// An input whose beginning was looked at.
struct Sampled {
    head: Cursor<Vec<u8>>,
    input: Input,
}

impl Sampled {
    /// From how many bytes a format is found out.
    const BYTES: u64 = 1 << 16;

    fn new(mut input: Input) -> io::Result<Sampled> {
        let mut head = Vec::new();
        (&mut input).take(Self::BYTES).read_to_end(&mut head)?;
        Ok(Sampled { head: Cursor::new(head), input })
    }

    /// The whole lines at the beginning.
    fn sample(&self) -> Vec<u8> {
        let head = self.head.get_ref();
        let is_whole = (head.len() as u64) < Self::BYTES;
        let end = match head.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(end) if !is_whole => end,
            _ => head.len(),
        };
        // The signs that formats are known by are ASCII: UTF-16 is read by leaving out its zeros.
        head[..end].iter().copied().filter(|&byte| byte != 0).collect()
    }
}

impl Read for Sampled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.input.read(buffer),
            count => Ok(count),
        }
    }
}
