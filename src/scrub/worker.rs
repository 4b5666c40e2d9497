//! What becomes of the rows of one block. Workers share nothing but the set.

use std::collections::HashMap;

use crate::number::{BusinessId, Folding, NumberReader, Reason, Region, SubscriberKey};
use crate::policy::{Decision, Ruling};
use crate::table::{Block, Cell, Encoding, Record, Shape};

use super::report::Counts;
use super::trace::{BlockTrace, RowHasher};
use super::{Mode, ScrubError, SuppressionSet};

/// Keys in one lookup. Long enough to hide the cache misses of a set behind one another, short
/// enough that the rows are still in the cache when the answers come.
const BATCH: usize = 1024;

/// Reasons of rows that never come as far as the number.
const BLANK_LINE: &str = "empty";
const SHORT_ROW: &str = "missing_column";
const UNKNOWN_REGION: &str = "unknown_region";

/// What all workers of a run have in common.
pub(super) struct Job<'a, S> {
    pub(super) set: &'a S,
    pub(super) mode: Mode,
    pub(super) dedupe: bool,
    pub(super) region: Option<Region>,
    pub(super) has_region_column: bool,
    pub(super) folding: Folding,
    pub(super) want_suppressed: bool,
    pub(super) want_invalid: bool,
    pub(super) shape: Shape,
    /// Set when the rows have to be found again later.
    pub(super) hasher: Option<RowHasher>,
    pub(super) file: &'a str,
}

/// A block after all its rows have a verdict.
pub(super) struct Done {
    pub(super) counts: Counts,
    pub(super) kept: Vec<u8>,
    /// How many bytes of `kept` count.
    pub(super) kept_len: usize,
    /// How many bytes the block had.
    pub(super) block_bytes: usize,
    pub(super) suppressed: Vec<u8>,
    pub(super) invalid: Vec<u8>,
    /// Rows that are kept unless an earlier one has the same recipient; only when asked to dedupe.
    candidates: Vec<Candidate>,
    /// Where its rows went, if that is wanted.
    pub(super) trace: Option<BlockTrace>,
}

/// The recipient of a row, and where the row stands in its block.
struct Candidate {
    recipient: Recipient,
    exempt: bool,
    row: (u32, u32),
}

/// By what two rows are told to be for the same recipient.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Recipient {
    Number(u64),
    Id(Box<str>),
}

impl Done {
    /// Sorts out the candidates: keeps each whose recipient `is_new`. The blocks have to come in
    /// the order of the file.
    pub(super) fn dedupe(
        &mut self,
        mode: Mode,
        shape: &Shape,
        mut is_new: impl FnMut(Recipient) -> bool,
    ) {
        let mut runs = Runs::default();
        for Candidate { recipient, exempt, row } in std::mem::take(&mut self.candidates) {
            if is_new(recipient) {
                self.counts.kept += 1;
                self.counts.exempt += u64::from(exempt);
                runs.push(row);
            } else {
                self.counts.duplicates += 1;
            }
        }
        if mode == Mode::Enforce {
            self.keep(&runs, shape);
        }
    }

    /// Moves the kept rows together and encodes them.
    fn keep(&mut self, runs: &Runs, shape: &Shape) {
        self.kept_len = runs.compact(&mut self.kept);
        if let Some(trace) = &mut self.trace {
            trace.measure_kept(&runs.0, &self.kept[..self.kept_len], shape);
        }
        self.counts.written = self.counts.kept;
        if shape.encoding() != Encoding::Bytes {
            self.kept.truncate(self.kept_len);
            self.kept = shape.encode(std::mem::take(&mut self.kept));
            self.kept_len = self.kept.len();
        }
    }
}

/// Ranges of kept rows; neighbours are one range, so that they are copied as one.
#[derive(Default)]
struct Runs(Vec<(u32, u32)>);

impl Runs {
    #[inline]
    fn push(&mut self, row: (u32, u32)) {
        match self.0.last_mut() {
            Some(last) if last.1 == row.0 => last.1 = row.1,
            _ => self.0.push(row),
        }
    }

    /// Moves the ranges to the beginning of `bytes`; how many bytes they are.
    fn compact(&self, bytes: &mut [u8]) -> usize {
        let mut len = 0;
        for &(start, end) in &self.0 {
            let range = start as usize..end as usize;
            let moved = range.len();
            if range.start != len {
                bytes.copy_within(range, len);
            }
            len += moved;
        }
        len
    }
}

/// A row that waits for the answers of its batch.
struct Row {
    start: u32,
    body_end: u32,
    end: u32,
    line: u64,
    reading: Reading,
}

enum Reading {
    /// The number, the place of its key in the batch, and whether it can be sent to.
    Number { number: u64, key: u32, sendable: bool },
    /// An id without a number: where it stands among the texts of the batch, and the place of its
    /// key, if it has one.
    Id { text: (u32, u32), key: Option<u32> },
    /// Why there is none.
    None(&'static str),
}

/// One thread's share: judges blocks, one after another.
pub(super) struct Worker<'a, S> {
    job: &'a Job<'a, S>,
    readers: Readers,
    rows: Vec<Row>,
    keys: Vec<SubscriberKey>,
    rulings: Vec<Ruling>,
    /// The ids of the batch, and which of its rows they are in.
    ids: String,
    id_rows: Vec<u32>,
    scratch: Vec<u8>,
}

impl<'a, S: SuppressionSet> Worker<'a, S> {
    pub(super) fn new(job: &'a Job<'a, S>) -> Worker<'a, S> {
        Worker {
            job,
            readers: Readers::new(job.region, job.folding),
            rows: Vec::with_capacity(BATCH),
            keys: Vec::with_capacity(BATCH),
            rulings: Vec::with_capacity(BATCH),
            ids: String::new(),
            id_rows: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Gives every row of the block its verdict.
    pub(super) fn judge(&mut self, block: Block) -> Result<Done, ScrubError> {
        let mut done = Done {
            counts: Counts::default(),
            kept: Vec::new(),
            kept_len: block.bytes().len(),
            block_bytes: block.bytes().len(),
            suppressed: Vec::new(),
            invalid: Vec::new(),
            candidates: Vec::new(),
            trace: self.job.hasher.map(|_| BlockTrace::default()),
        };
        let mut runs = Runs::default();
        if self.job.mode == Mode::Off && !self.job.dedupe {
            done.counts.rows = block.records().count() as u64;
            done.counts.kept = done.counts.rows;
            runs.push((0, block.bytes().len() as u32));
        } else {
            let mut records = block.records();
            while let Some(record) = records.step() {
                self.read_row(record);
                if self.rows.len() == BATCH {
                    self.judge_batch(block.bytes(), &mut runs, &mut done)?;
                }
            }
            self.judge_batch(block.bytes(), &mut runs, &mut done)?;
        }
        self.finish(block, &runs, &mut done);
        Ok(done)
    }

    fn finish(&self, block: Block, runs: &Runs, done: &mut Done) {
        let Job { mode, dedupe, shape, .. } = self.job;
        done.suppressed = shape.encode(std::mem::take(&mut done.suppressed));
        done.invalid = shape.encode(std::mem::take(&mut done.invalid));
        if let Some(trace) = &mut done.trace {
            trace.measure_input(block.bytes(), shape);
        }
        done.kept = block.into_buffer();
        match (mode, dedupe) {
            (Mode::Enforce, true) => {}
            (Mode::Enforce, false) => done.keep(runs, shape),
            // These modes take nothing out of the list.
            (Mode::Report | Mode::Off, _) => {
                let mut all = Runs::default();
                all.push((0, done.kept_len as u32));
                done.keep(&all, shape);
                done.counts.written = done.counts.rows;
            }
        }
    }

    #[inline]
    fn read_row(&mut self, record: &Record<'_>) {
        let found =
            read_cell(record, self.job.has_region_column, &mut self.readers, &mut self.scratch);
        let reading = match found {
            Ok(Found::Number(recipient)) => {
                self.keys.push(recipient.key);
                Reading::Number {
                    number: recipient.number.get(),
                    key: self.keys.len() as u32 - 1,
                    sendable: recipient.sendable,
                }
            }
            Ok(Found::Id(id)) => {
                let begin = self.ids.len() as u32;
                self.ids.push_str(id);
                self.id_rows.push(self.rows.len() as u32);
                Reading::Id { text: (begin, self.ids.len() as u32), key: None }
            }
            Err(reason) => Reading::None(reason),
        };
        let range = record.range();
        self.rows.push(Row {
            start: range.start as u32,
            body_end: (range.end - record.line_end().len()) as u32,
            end: range.end as u32,
            line: record.line(),
            reading,
        });
    }

    /// Gives the ids of the batch the keys under which they are judged. Those that the set has
    /// never heard of have none.
    fn find_ids(&mut self) -> Result<(), ScrubError> {
        let Some(&first) = self.id_rows.first() else { return Ok(()) };
        let mut ids = Vec::with_capacity(self.id_rows.len());
        for &row in &self.id_rows {
            if let Reading::Id { text, .. } = self.rows[row as usize].reading {
                ids.push(self.id(text));
            }
        }
        let keys = keys_of_ids(self.job.set, &ids);
        let line = self.rows[first as usize].line;
        let keys = keys.map_err(|error| self.lookup_failed(line, error))?;
        for (&row, found) in self.id_rows.iter().zip(keys) {
            if let (Some(found), Reading::Id { key, .. }) =
                (found, &mut self.rows[row as usize].reading)
            {
                *key = Some(self.keys.len() as u32);
                self.keys.push(found);
            }
        }
        Ok(())
    }

    fn id(&self, (begin, end): (u32, u32)) -> &str {
        &self.ids[begin as usize..end as usize]
    }

    /// Looks the waiting rows up and gives them their verdicts.
    fn judge_batch(
        &mut self,
        bytes: &[u8],
        runs: &mut Runs,
        done: &mut Done,
    ) -> Result<(), ScrubError> {
        self.rulings.clear();
        if self.job.mode == Mode::Off {
            self.rulings.resize(self.keys.len(), Ruling::UNLISTED);
        } else {
            self.find_ids()?;
            // Whatever a set should forget to answer counts as suppressed.
            self.rulings.resize(self.keys.len(), Ruling::UNANSWERED);
            let line = self.rows.first().map_or(0, |row| row.line);
            self.job
                .set
                .judge_batch(&self.keys, &mut self.rulings)
                .map_err(|error| self.lookup_failed(line, error))?;
        }
        done.counts.rows += self.rows.len() as u64;
        for row in &self.rows {
            let ruling = match row.reading {
                Reading::Number { key, .. } => self.rulings[key as usize],
                Reading::Id { key, .. } => {
                    key.map_or(Ruling::UNLISTED, |key| self.rulings[key as usize])
                }
                Reading::None(reason) => {
                    self.refuse(row, reason, bytes, done);
                    continue;
                }
            };
            if !ruling.may_send() {
                done.counts.suppressed += 1;
                if self.job.want_suppressed {
                    self.write_suppressed(row, bytes, &mut done.suppressed)?;
                }
            } else if matches!(row.reading, Reading::Number { sendable: false, .. }) {
                self.refuse(row, Reason::NotSendable.as_str(), bytes, done);
            } else {
                self.keep_row(row, ruling.decision == Decision::Exempt, runs, done);
            }
        }
        if let (Some(hasher), Some(trace)) = (self.job.hasher, &mut done.trace) {
            for row in &self.rows {
                trace.row(row.end, self.entry(row, hasher));
            }
        }
        self.rows.clear();
        self.keys.clear();
        self.ids.clear();
        self.id_rows.clear();
        Ok(())
    }

    /// What the trace keeps of a row that can be sent to.
    #[inline]
    fn entry(&self, row: &Row, hasher: RowHasher) -> Option<u32> {
        match row.reading {
            Reading::Number { key, sendable: true, .. } => {
                let passed = self.rulings[key as usize].may_send();
                Some(hasher.of_key(self.keys[key as usize]) | u32::from(passed))
            }
            Reading::Id { text, key } => {
                let passed = key.is_none_or(|key| self.rulings[key as usize].may_send());
                Some(hasher.of_id(self.id(text)) | u32::from(passed))
            }
            _ => None,
        }
    }

    #[inline]
    fn keep_row(&self, row: &Row, exempt: bool, runs: &mut Runs, done: &mut Done) {
        if self.job.dedupe {
            let recipient = match row.reading {
                Reading::Number { number, .. } => Recipient::Number(number),
                Reading::Id { text, .. } => Recipient::Id(self.id(text).into()),
                Reading::None(_) => return,
            };
            done.candidates.push(Candidate { recipient, exempt, row: (row.start, row.end) });
        } else {
            done.counts.kept += 1;
            done.counts.exempt += u64::from(exempt);
            runs.push((row.start, row.end));
        }
    }

    fn refuse(&self, row: &Row, reason: &'static str, bytes: &[u8], done: &mut Done) {
        done.counts.count_invalid(reason);
        if self.job.want_invalid {
            let (body, line_end) = row.parts(bytes);
            let cells = [row.line.to_string().into_bytes(), reason.as_bytes().to_vec()];
            self.job.shape.append_row(
                body,
                line_end,
                &cells.each_ref().map(|cell| &cell[..]),
                &mut done.invalid,
            );
        }
    }

    fn write_suppressed(
        &self,
        row: &Row,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), ScrubError> {
        let (address, key) = match row.reading {
            // Without a plus, which spreadsheets take for the beginning of a formula.
            Reading::Number { number, key, .. } => (number.to_string(), key),
            Reading::Id { text, key: Some(key) } => (self.id(text).to_owned(), key),
            _ => return Ok(()),
        };
        let origin = self
            .job
            .set
            .origin(self.keys[key as usize], self.rulings[key as usize])
            .map_err(|error| self.lookup_failed(row.line, error))?;
        let (body, line_end) = row.parts(bytes);
        let since = origin.as_ref().map_or_else(String::new, |origin| origin.since.to_string());
        let source = origin.as_ref().map_or("", |origin| origin.source.as_str());
        let rule = origin.as_ref().map_or("", |origin| &*origin.rule);
        let cells = [&address, &since, source, rule].map(str::as_bytes);
        self.job.shape.append_row(body, line_end, &cells, out);
        Ok(())
    }

    fn lookup_failed(&self, line: u64, error: S::Error) -> ScrubError {
        ScrubError::Lookup { file: self.job.file.to_owned(), line, source: Box::new(error) }
    }
}

impl Row {
    /// Body and line end.
    fn parts<'b>(&self, bytes: &'b [u8]) -> (&'b [u8], &'b [u8]) {
        let body_end = self.body_end as usize;
        (&bytes[self.start as usize..body_end], &bytes[body_end..self.end as usize])
    }
}

/// The keys of ids, one for each: without an answer an id would pass for one that nobody has heard
/// of.
pub(super) fn keys_of_ids<S: SuppressionSet>(
    set: &S,
    ids: &[&str],
) -> Result<Vec<Option<SubscriberKey>>, S::Error> {
    let keys = set.keys_of_ids(ids)?;
    assert_eq!(keys.len(), ids.len(), "one answer for each id");
    Ok(keys)
}

/// Whom a cell names.
pub(super) enum Found<'c> {
    Number(crate::number::Recipient),
    Id(&'c str),
}

#[inline]
pub(super) fn read_cell<'c>(
    record: &Record<'c>,
    has_region_column: bool,
    readers: &mut Readers,
    scratch: &'c mut Vec<u8>,
) -> Result<Found<'c>, &'static str> {
    if record.is_blank() {
        return Err(BLANK_LINE);
    }
    let cell = record.cell(0).ok_or(SHORT_ROW)?;
    let reader = if has_region_column {
        let region = record.cell(1).ok_or(SHORT_ROW)?;
        readers.of_cell(region, scratch)?
    } else {
        &readers.default
    };
    let text = cell.value(scratch);
    // What every id begins with, and no number: it need not be read as one first.
    if let [b'A'..=b'Z', b'A'..=b'Z', b'.', ..] = text
        && let Some(id) = BusinessId::find(text)
    {
        return Ok(Found::Id(id));
    }
    match reader.recipient(text) {
        Ok(recipient) => Ok(Found::Number(recipient)),
        Err(reason @ Reason::BusinessScopedId) => {
            BusinessId::find(text).map(Found::Id).ok_or(reason.as_str())
        }
        Err(reason) => Err(reason.as_str()),
    }
}

/// The readers of numbers by default region.
pub(super) struct Readers {
    default: NumberReader,
    folding: Folding,
    /// By the text of the cell, which is looked up faster than read. Holds known regions only.
    by_cell: HashMap<Vec<u8>, NumberReader>,
}

impl Readers {
    /// Spellings of regions that are remembered: more than there are, unless someone plays.
    const CELLS_MAX: usize = 1024;

    pub(super) fn new(region: Option<Region>, folding: Folding) -> Readers {
        Readers { default: NumberReader::new(region, folding), folding, by_cell: HashMap::new() }
    }

    /// The reader for the region in the cell; that of the default region when it is empty.
    fn of_cell(
        &mut self,
        cell: Cell<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<&NumberReader, &'static str> {
        let text = cell.value(scratch).trim_ascii();
        if text.is_empty() {
            return Ok(&self.default);
        }
        if !self.by_cell.contains_key(text) {
            let region = std::str::from_utf8(text)
                .ok()
                .and_then(|text| Region::parse(text).ok())
                .ok_or(UNKNOWN_REGION)?;
            if self.by_cell.len() >= Self::CELLS_MAX {
                self.by_cell.clear();
            }
            self.by_cell.insert(text.to_vec(), NumberReader::new(Some(region), self.folding));
        }
        self.by_cell.get(text).ok_or(UNKNOWN_REGION)
    }
}
