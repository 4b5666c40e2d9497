//! A list of opt-outs into a store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use rayon::prelude::*;
use serde::Serialize;

use super::labels::{Gathered, LabelList, Labels};
use crate::event::{Action, Details, Event};
use crate::journal::Spelling;
use crate::number::{
    Address, BusinessId, Number, NumberReader, Reason, Recipient, Region, SubscriberKey,
};
use crate::policy::{Claims, Fact};
use crate::scrub::{Input, Progress, ScrubError};
use crate::store::{
    Bulk, Effect, NewEvent, Outcome, PlainRow, Reader, StoreError, TEXT_BYTES_MAX, WriteError,
    Writer, fact_of,
};
use crate::table::{Block, ColumnChoice, ReadOptions, Record, Shape, Table, TableError};
use crate::time::{Timestamp, Zone};

/// How a list is read and what its rows share.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The column of the numbers, by name or by index from 1; found out if not given.
    pub column: Option<String>,
    /// The column that says when each person acted.
    pub at_column: Option<String>,
    /// The region of national numbers.
    pub region: Option<Region>,
    /// The column that has the region of each number.
    pub region_column: Option<String>,
    /// The column of the message template that each person answered.
    pub template_column: Option<String>,
    /// The column of the campaign that each person answered.
    pub campaign_column: Option<String>,
    /// The zone of times without an offset.
    pub zone: Zone,
    /// When the persons acted, for rows that don't say so themselves.
    pub occurred_at: Timestamp,
    /// What the events share. The action is [`Action::OptOut`]. Without a batch the list is an
    /// import of its own; with one it goes on with that import.
    pub details: Details,
}

/// What an import did. `rows = added + already + invalid + blank`. In JSON the fields have these
/// names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// Rows read, the header not.
    pub rows: u64,
    /// Rows by which a subscriber was opted out who was not before.
    pub added: u64,
    /// Rows of subscribers who were opted out already, by the store or by an earlier row.
    pub already: u64,
    /// Rows that hold, wholly or in part, no number that can be read.
    pub invalid: u64,
    /// Rows without anything.
    pub blank: u64,
    /// Sequence of the newest event in the store.
    pub sequence: u64,
    /// Rows whose time could not be read; they count as of the time for rows without one.
    pub unreadable_times: u64,
    /// Rows whose number was recorded as it can be read, though no number is so long or it can be
    /// read as two: whether the person was reached is in doubt.
    pub doubtful: u64,
    /// The invalid rows by reason.
    pub invalid_reasons: BTreeMap<&'static str, u64>,
    /// The import, by the sequence of its first event: with this it can be taken back. None when
    /// nothing was recorded.
    pub batch: Option<u64>,
}

impl ImportReport {
    /// Adds what the next list of the same import did.
    pub fn add(&mut self, next: ImportReport) {
        self.rows += next.rows;
        self.added += next.added;
        self.already += next.already;
        self.invalid += next.invalid;
        self.blank += next.blank;
        self.sequence = next.sequence;
        self.unreadable_times += next.unreadable_times;
        self.doubtful += next.doubtful;
        self.batch = self.batch.or(next.batch);
        for (reason, count) in next.invalid_reasons {
            *self.invalid_reasons.entry(reason).or_default() += count;
        }
    }
}

/// A row that was not recorded.
pub(super) struct Rejected {
    /// The line on which it begins.
    pub(super) line: u64,
    pub(super) reason: &'static str,
    /// The row, without its line end.
    pub(super) body: Vec<u8>,
    pub(super) line_end: Vec<u8>,
}

/// Why an import ended early. What it recorded until then is durable; importing the list again
/// completes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The list can't be opened, or changed while it was read.
    #[error(transparent)]
    Input(#[from] ScrubError),
    /// The list can't be read as records.
    #[error("{file} can't be read")]
    Table {
        /// The list.
        file: String,
        /// What is wrong with it, and where.
        source: TableError,
    },
    /// The store can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of invalid rows can't be written.
    #[error("the invalid rows can't be written")]
    Invalid(#[source] io::Error),
    /// A whole list and a list of changes can't be one layer's new list.
    #[error("{file} is no list of the same kind as those before it: import it by itself")]
    Mixed {
        /// The list.
        file: String,
    },
    /// The caller cancelled the reading of a registry, of which nothing is recorded.
    #[error("cancelled: the layer is as before")]
    RegistryCancelled,
    /// The caller cancelled the import.
    #[error(
        "cancelled after {rows} rows, which are recorded: import the list again to complete it"
    )]
    Cancelled {
        /// Rows that are durable.
        rows: u64,
    },
}

/// Reads a list and records every number in it as opted out. Without a `writer`, only counts
/// what would happen, against `reader`.
///
/// A cell that holds several numbers opts all of them out. `invalid` takes the rows that can't
/// be read, with their line and reason in two more columns.
///
/// # Errors
///
/// When the list or the store can't be read or written; one bad row is none.
pub fn import(
    target: ImportTarget<'_>,
    input: Input,
    options: &ImportOptions,
    received_at: Timestamp,
    invalid: Option<&mut dyn Write>,
    watch: &ImportWatch<'_>,
) -> Result<ImportReport, ImportError> {
    let file = input.name().to_owned();
    let cells = CellReader::new(options, &target);
    let mut table = cells.open(input, &file)?;
    let shape = Shape::of(&table);
    let mut invalid = InvalidRows { out: invalid, shape };
    invalid.write(&shape.extended_header(&table, &[b"optout_line", b"optout_reason"]))?;
    let mut job = Job {
        sink: Sink::new(target, &options.details, received_at),
        report: ImportReport::default(),
    };
    let mut rows_recorded = 0;
    let table_failed = |source| ImportError::Table { file: file.clone(), source };
    let mut blocks = next_blocks(&mut table).map_err(table_failed)?;
    loop {
        if watch.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            return Err(ImportError::Cancelled { rows: rows_recorded });
        }
        if blocks.is_empty() {
            break;
        }
        // The next blocks are cut while these are read.
        let (read, next): (Vec<ReadRows>, _) = rayon::join(
            || blocks.par_iter().map(|block| cells.read(block)).collect(),
            || next_blocks(&mut table),
        );
        for rows in read {
            job.take(rows, &mut invalid)?;
            if job.sink.is_full() {
                job.record()?;
                rows_recorded = job.report.rows;
            }
        }
        let done = std::mem::replace(&mut blocks, next.map_err(table_failed)?);
        done.into_iter().for_each(|block| table.recycle(block.into_buffer()));
        if let Some(progress) = watch.progress {
            progress(Progress { bytes: table.bytes_read(), rows: job.report.rows });
        }
    }
    job.record()?;
    table.source().check_unchanged(table.bytes_read())?;
    job.finish()
}

/// Where the rows go.
#[derive(Clone, Copy, Debug)]
pub enum ImportTarget<'a> {
    /// They are recorded.
    Store(&'a Writer),
    /// They are only counted.
    DryRun(&'a DryRun),
}

/// An import that records nothing. Remembers every new number, about 10 bytes each, so that the
/// next list counts as it would after this one.
#[derive(Debug)]
pub struct DryRun {
    reader: Reader,
    would_be: Mutex<WouldBe>,
}

/// Who would be opted out by the rows so far.
#[derive(Debug, Default)]
struct WouldBe {
    keys: HashSet<SubscriberKey, RandomState>,
    /// Ids that no event is about.
    ids: HashSet<Address>,
}

impl DryRun {
    /// Counts against the store as the reader knows it.
    pub fn new(reader: Reader) -> DryRun {
        DryRun { reader, would_be: Mutex::default() }
    }

    /// How many of the rows would opt somebody out of more than he is, and how many not.
    fn count(
        &self,
        bulk: &Bulk,
        details: &Details,
        received_at: Timestamp,
    ) -> Result<(u64, u64), ImportError> {
        const PIECE_ROWS: usize = 1 << 14;
        const ROWS: usize = PIECE_ROWS << 6;
        let mut rows = bulk.rows().peekable();
        let mut added = 0;
        while rows.peek().is_some() {
            let rows: Vec<(Address, Timestamp)> = rows.by_ref().take(ROWS).collect();
            let effects = rows.par_chunks(PIECE_ROWS).map(|rows| self.effects(rows, details));
            let effects = effects.collect::<Result<Vec<_>, ImportError>>()?;
            for ((address, at), (key, effect)) in rows.into_iter().zip(effects.concat()) {
                let adds = match (key, effect) {
                    (_, Effect::Nothing) => false,
                    (Some(key), Effect::First) => self.would_be().keys.insert(key),
                    _ => self.would_add(address, details, at, received_at)?,
                };
                added += u64::from(adds);
            }
        }
        Ok((added, bulk.len() as u64 - added))
    }

    /// The key of each row, and what its opt-out would do.
    fn effects(
        &self,
        rows: &[(Address, Timestamp)],
        details: &Details,
    ) -> Result<Vec<(Option<SubscriberKey>, Effect)>, ImportError> {
        let keys = rows.iter().map(|(address, _)| self.reader.key_of(address));
        let keys: Vec<Option<SubscriberKey>> = keys.collect::<Result<_, StoreError>>()?;
        let now = Timestamp::default();
        let Ok(opt_out) = Fact::new(details, 0, now, now) else {
            return Ok(keys.into_iter().map(|key| (key, Effect::Unclear)).collect());
        };
        let known: Vec<SubscriberKey> = keys.iter().flatten().copied().collect();
        let mut effects = self.reader.effects(&opt_out, &known)?.into_iter();
        let effect = |key: Option<SubscriberKey>| {
            (key, key.and_then(|_| effects.next()).unwrap_or(Effect::Unclear))
        };
        Ok(keys.into_iter().map(effect).collect())
    }

    fn would_be(&self) -> MutexGuard<'_, WouldBe> {
        self.would_be.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more opt-out would opt somebody out of more than he is.
    fn would_add(
        &self,
        address: Address,
        details: &Details,
        occurred_at: Timestamp,
        received_at: Timestamp,
    ) -> Result<bool, ImportError> {
        let (key, effect) = self.effects(&[(address.clone(), occurred_at)], details)?[0];
        let Some(key) = key else {
            return Ok(self.would_be().ids.insert(address));
        };
        let counts = match effect {
            Effect::First => true,
            Effect::Nothing => false,
            Effect::Unclear => {
                would_count(&self.reader.history(key)?, details, occurred_at, received_at)
            }
        };
        Ok(counts && self.would_be().keys.insert(key))
    }
}

/// Who watches an import.
#[derive(Clone, Copy, Default)]
pub struct ImportWatch<'a> {
    /// Is told how far it is.
    pub progress: Option<&'a dyn Fn(Progress)>,
    /// Ends it soon after it is set.
    pub cancel: Option<&'a AtomicBool>,
}

/// Blocks that are read before they are worked on in parallel.
const BLOCKS_AT_ONCE: usize = 8;

/// The next blocks of a list; none at its end.
pub(super) fn next_blocks<R: Read>(table: &mut Table<R>) -> Result<Vec<Block>, TableError> {
    let mut blocks = Vec::with_capacity(BLOCKS_AT_ONCE);
    while blocks.len() < BLOCKS_AT_ONCE {
        match table.next_block()? {
            Some(block) => blocks.push(block),
            None => break,
        }
    }
    Ok(blocks)
}

/// Reads the cells of rows. Shared by all threads.
struct CellReader<'a> {
    options: &'a ImportOptions,
    numbers: NumberReader,
    /// A reader for each region, by its two letters; made when a region column is given.
    by_region: HashMap<&'static str, NumberReader>,
    /// Where the optional columns stand among those that were asked for.
    at: Option<usize>,
    region: Option<usize>,
    template: Option<usize>,
    campaign: Option<usize>,
}

/// A number, its moment, its spelling, and the place of its labels.
type ReadNumber = (Number, Timestamp, String, usize);

/// What a block's rows amount to.
#[derive(Default)]
struct ReadRows {
    rows: u64,
    blank: u64,
    unreadable_times: u64,
    doubtful: u64,
    /// Rows that say nothing but a number, and their moment: that of all rows without one.
    plain: Vec<PlainRow>,
    plain_at: Timestamp,
    /// Other rows with one number.
    single: Vec<Single>,
    texts: String,
    /// Rows with an id without a number, and their labels.
    ids: Vec<(BusinessId, Timestamp, usize)>,
    labels: LabelList,
    /// Rows with several numbers.
    several: Vec<Vec<ReadNumber>>,
    rejected: Vec<Rejected>,
    /// Numbers that stand beside an unreadable one in their cell: recorded, though their row is
    /// counted as invalid.
    beside: Vec<ReadNumber>,
}

/// A row with one number.
struct Single {
    number: Number,
    key: SubscriberKey,
    occurred_at: Timestamp,
    written: Written,
    /// The place of its labels.
    labels: u32,
}

/// How a number is written.
enum Written {
    Plus,
    Digits,
    /// Otherwise: where that stands in the texts.
    Text(Range<u32>),
}

impl ReadRows {
    /// Adds a row with one number, which is written as in the cell.
    fn push(&mut self, recipient: Recipient, cell: &[u8], occurred_at: Timestamp, labels: usize) {
        let Recipient { number, key, .. } = recipient;
        let spelling = Spelling::plain(number, cell);
        if let (Some(spelling), 0) = (spelling, labels)
            && occurred_at == self.plain_at
            && let Some(row) = PlainRow::of(number, key, spelling)
        {
            return self.plain.push(row);
        }
        let written = match spelling {
            Some(Spelling::Plus) => Written::Plus,
            Some(Spelling::Digits) => Written::Digits,
            Some(Spelling::Text(_)) | None => {
                // A block has far fewer bytes than these can count.
                let begin = self.texts.len() as u32;
                push_text(&mut self.texts, cell);
                Written::Text(begin..self.texts.len() as u32)
            }
        };
        let labels = labels as u32;
        self.single.push(Single { number, key, occurred_at, written, labels });
    }
}

impl<'a> CellReader<'a> {
    fn new(options: &'a ImportOptions, target: &ImportTarget<'_>) -> CellReader<'a> {
        let folding = match target {
            ImportTarget::Store(writer) => writer.folding(),
            ImportTarget::DryRun(run) => run.reader.folding(),
        };
        let by_region = match options.region_column {
            Some(_) => Region::all()
                .map(|region| (region.as_str(), NumberReader::new(Some(region), folding)))
                .collect(),
            None => HashMap::new(),
        };
        // The number's column is the first of those that are asked for.
        let mut places = 1..;
        let mut place = |column: &Option<String>| column.as_ref().and_then(|_| places.next());
        CellReader {
            options,
            numbers: NumberReader::new(options.region, folding),
            by_region,
            at: place(&options.at_column),
            region: place(&options.region_column),
            template: place(&options.template_column),
            campaign: place(&options.campaign_column),
        }
    }

    fn open(&self, input: Input, file: &str) -> Result<Table<Input>, ImportError> {
        let named = |name: &Option<String>| name.clone().map(ColumnChoice::Named);
        let mut columns = vec![named(&self.options.column).unwrap_or_default()];
        columns.extend(named(&self.options.at_column));
        columns.extend(named(&self.options.region_column));
        columns.extend(named(&self.options.template_column));
        columns.extend(named(&self.options.campaign_column));
        let read = ReadOptions { columns, ..ReadOptions::default() };
        let has_regions = self.region.is_some();
        let looks_like_number = |cell: &[u8]| {
            let digits = cell.iter().filter(|byte| byte.is_ascii_digit()).count();
            self.numbers.read(cell).number.is_some()
                || BusinessId::find(cell).is_some()
                || (has_regions && digits >= 7 && !cell.iter().any(u8::is_ascii_alphabetic))
        };
        Table::open(input, &read, &looks_like_number)
            .map_err(|source| ImportError::Table { file: file.to_owned(), source })
    }

    fn read(&self, block: &Block) -> ReadRows {
        let mut out = ReadRows { plain_at: self.options.occurred_at, ..ReadRows::default() };
        let mut scratch = Vec::new();
        for record in block.records() {
            out.rows += 1;
            if record.is_blank() {
                out.blank += 1;
                continue;
            }
            match self.read_record(&record, &mut out, &mut scratch) {
                Ok(time_is_readable) => out.unreadable_times += u64::from(!time_is_readable),
                Err(reason) => out.rejected.push(Rejected {
                    line: record.line(),
                    reason,
                    body: record.body().to_vec(),
                    line_end: record.line_end().to_vec(),
                }),
            }
        }
        out
    }

    /// Reads the numbers of a row that is not blank; whether its time could be read, too.
    fn read_record(
        &self,
        record: &Record<'_>,
        out: &mut ReadRows,
        scratch: &mut Vec<u8>,
    ) -> Result<bool, &'static str> {
        let (occurred_at, time_is_readable) = self.time_of(record, scratch);
        let numbers = self.reader_for(record, scratch)?;
        let labels = self.labels_of(record, out, scratch);
        let cell = record.cell(0).ok_or("missing_column")?.value(scratch);
        // Whatever can be read counts, however unlikely: validity has no say in an opt-out. What
        // is not sendable is looked at again: it may be read in two ways, and then both count.
        match numbers.recipient(cell) {
            Ok(recipient) if recipient.sendable => {
                out.push(recipient, cell, occurred_at, labels);
                return Ok(time_is_readable);
            }
            Err(Reason::BusinessScopedId) => {
                if let Some(id) = BusinessId::parse(cell) {
                    out.ids.push((id, occurred_at, labels));
                    return Ok(time_is_readable);
                }
            }
            _ => {}
        }
        let mut raw = String::new();
        push_text(&mut raw, cell);
        let readings = numbers.read_all(cell);
        let found: Vec<_> = readings
            .iter()
            .filter_map(|reading| reading.number)
            .map(|number| (number, occurred_at, raw.clone(), labels))
            .collect();
        match readings.iter().find_map(|reading| reading.status.reason()) {
            Some(reason) => {
                out.beside.extend(found);
                Err(reason.as_str())
            }
            None => {
                let reads_well = numbers.recipient(cell).is_err_and(|it| it == Reason::TwoNumbers);
                out.doubtful += u64::from(!reads_well);
                out.several.push(found);
                Ok(time_is_readable)
            }
        }
    }

    fn time_of(&self, record: &Record<'_>, scratch: &mut Vec<u8>) -> (Timestamp, bool) {
        let default = self.options.occurred_at;
        let Some(cell) = self.at.and_then(|at| record.cell(at)) else {
            return (default, self.at.is_none());
        };
        let text = std::str::from_utf8(cell.value(scratch)).unwrap_or("?").trim();
        if text.is_empty() {
            return (default, true);
        }
        match Timestamp::parse(text, &self.options.zone) {
            Ok(moment) => (moment, true),
            Err(_) => (default, false),
        }
    }

    /// What caused a row's opt-out, as the place of its labels.
    fn labels_of(&self, record: &Record<'_>, out: &mut ReadRows, scratch: &mut Vec<u8>) -> usize {
        if self.template.is_none() && self.campaign.is_none() {
            return 0;
        }
        let mut text = |column: Option<usize>| {
            let mut text = String::new();
            if let Some(cell) = column.and_then(|at| record.cell(at)) {
                push_text(&mut text, cell.value(scratch).trim_ascii());
            }
            text
        };
        let (template, campaign) = (text(self.template), text(self.campaign));
        out.labels.place(Labels { template, campaign })
    }

    /// The reader for a row's region.
    fn reader_for(
        &self,
        record: &Record<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<&NumberReader, &'static str> {
        let Some(cell) = self.region.and_then(|at| record.cell(at)) else {
            return Ok(&self.numbers);
        };
        let text = cell.value(scratch).trim_ascii();
        if text.is_empty() {
            return Ok(&self.numbers);
        }
        let upper = text.to_ascii_uppercase();
        std::str::from_utf8(&upper)
            .ok()
            .and_then(|region| self.by_region.get(region))
            .ok_or("unknown_region")
    }
}

/// Appends a cell as text, shortened to what an event may hold.
fn push_text(out: &mut String, cell: &[u8]) {
    match std::str::from_utf8(cell) {
        Ok(text) if text.len() < TEXT_BYTES_MAX && !cell.contains(&0) => out.push_str(text),
        _ => {
            let text = String::from_utf8_lossy(cell);
            let end = text.floor_char_boundary(TEXT_BYTES_MAX - 1);
            out.extend(text[..end].chars().map(|it| if it == '\0' { ' ' } else { it }));
        }
    }
}

/// Where rejected rows go.
pub(super) struct InvalidRows<'a> {
    pub(super) out: Option<&'a mut dyn Write>,
    pub(super) shape: Shape,
}

impl InvalidRows<'_> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        self.out.as_mut().map_or(Ok(()), |out| out.write_all(bytes)).map_err(ImportError::Invalid)
    }

    pub(super) fn write_row(&mut self, row: &Rejected) -> Result<(), ImportError> {
        if self.out.is_none() {
            return Ok(());
        }
        let line_end = if row.line_end.is_empty() { b"\n" } else { &row.line_end[..] };
        let line = row.line.to_string();
        let mut text = Vec::new();
        let cells = [line.as_bytes(), row.reason.as_bytes()];
        self.shape.append_row(&row.body, line_end, &cells, &mut text);
        self.write(&self.shape.encode(text))
    }
}

/// A running import.
struct Job<'a> {
    sink: Sink<'a>,
    report: ImportReport,
}

impl Job<'_> {
    fn take(&mut self, rows: ReadRows, invalid: &mut InvalidRows<'_>) -> Result<(), ImportError> {
        let report = &mut self.report;
        report.rows += rows.rows;
        report.blank += rows.blank;
        report.unreadable_times += rows.unreadable_times;
        report.doubtful += rows.doubtful;
        report.invalid += rows.rejected.len() as u64;
        for row in &rows.rejected {
            *report.invalid_reasons.entry(row.reason).or_default() += 1;
            invalid.write_row(row)?;
        }
        self.sink.gathered.extend_plain(&rows.plain, rows.plain_at);
        for Single { number, key, occurred_at, written, labels } in rows.single {
            let spelling = match written {
                Written::Plus => Spelling::Plus,
                Written::Digits => Spelling::Digits,
                Written::Text(Range { start, end }) => {
                    Spelling::Text(&rows.texts[start as usize..end as usize])
                }
            };
            let labels = rows.labels.get(labels as usize);
            self.sink.gathered.push(labels, number, Some(key), occurred_at, spelling);
        }
        for (id, occurred_at, labels) in &rows.ids {
            self.sink.gathered.push_id(rows.labels.get(*labels), id, *occurred_at);
        }
        if rows.several.is_empty() && rows.beside.is_empty() {
            return Ok(());
        }
        // Rows that came before have to be counted before.
        self.record()?;
        let added = self.sink.add(&rows.labels, &rows.several)?;
        self.report.added += added;
        self.report.already += rows.several.len() as u64 - added;
        self.sink.add(&rows.labels, &[rows.beside])?;
        Ok(())
    }

    fn record(&mut self) -> Result<(), ImportError> {
        if !self.sink.gathered.is_empty() {
            let (added, already) = self.sink.record()?;
            self.report.added += added;
            self.report.already += already;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ImportReport, ImportError> {
        self.report.sequence = match self.sink.target {
            ImportTarget::Store(writer) => writer.sequence(),
            ImportTarget::DryRun(run) => run.reader.sequence(),
        };
        self.report.batch = self.sink.batch();
        Ok(self.report)
    }
}

/// What gathers rows and records them, or counts what recording them would do.
struct Sink<'a> {
    target: ImportTarget<'a>,
    gathered: Gathered,
    /// What all rows share; the batch is known when the first of them is recorded.
    details: Details,
    received_at: Timestamp,
}

impl<'a> Sink<'a> {
    fn new(target: ImportTarget<'a>, details: &Details, received_at: Timestamp) -> Sink<'a> {
        let mut details = details.clone();
        if details.batch == 0 {
            details.batch = Details::NEW_BATCH;
        }
        Sink { target, gathered: Gathered::default(), details, received_at }
    }

    /// The import, once something is recorded.
    fn batch(&self) -> Option<u64> {
        let is_recorded = matches!(self.target, ImportTarget::Store(_)) && !self.begins();
        is_recorded.then_some(self.details.batch)
    }

    /// Whether nothing of the import is recorded yet.
    fn begins(&self) -> bool {
        self.details.batch == Details::NEW_BATCH
    }

    fn is_full(&self) -> bool {
        self.gathered.is_full()
    }

    /// How many rows opted somebody out, and how many did not.
    fn record(&mut self) -> Result<(u64, u64), ImportError> {
        let (mut added, mut already) = (0, 0);
        match self.target {
            ImportTarget::Store(writer) => {
                let lists = self.gathered.lists();
                let mut lists: Vec<(Details, &mut Bulk)> =
                    lists.map(|(labels, bulk)| (labels.on(&self.details), bulk)).collect();
                let mut lists: Vec<(&Details, &mut Bulk)> =
                    lists.iter_mut().map(|(details, bulk)| (&*details, &mut **bulk)).collect();
                let report = writer.append_bulks(&mut lists, self.received_at)?;
                (added, already) = (report.added, report.already);
                self.details.batch = report.batch.unwrap_or(self.details.batch);
            }
            ImportTarget::DryRun(run) => {
                for (_, bulk) in self.gathered.lists() {
                    let counts = run.count(bulk, &self.details, self.received_at)?;
                    (added, already) = (added + counts.0, already + counts.1);
                }
            }
        }
        self.gathered.clear();
        Ok((added, already))
    }

    /// Records rows with several numbers each; by how many rows somebody was opted out.
    fn add(&mut self, labels: &LabelList, rows: &[Vec<ReadNumber>]) -> Result<u64, ImportError> {
        let mut added = self.add_numbers(labels, rows)?.into_iter();
        let rows = rows.iter().map(|row| added.by_ref().take(row.len()).filter(|&it| it).count());
        Ok(rows.filter(|&added| added > 0).count() as u64)
    }

    /// For each number whether it was opted out.
    fn add_numbers(
        &mut self,
        labels: &LabelList,
        rows: &[Vec<ReadNumber>],
    ) -> Result<Vec<bool>, ImportError> {
        let mut added = Vec::new();
        let mut numbers = rows.iter().flatten();
        match self.target {
            ImportTarget::Store(writer) => {
                // An import begins with a list, if only of one number.
                while self.begins()
                    && let Some((number, at, raw, place)) = numbers.next()
                {
                    let spelling = Spelling::of(*number, raw);
                    self.gathered.push(labels.get(*place), *number, None, *at, spelling);
                    added.push(self.record()?.0 > 0);
                }
                let event = |(number, occurred_at, raw, place): &ReadNumber| NewEvent {
                    address: Address::Number(*number),
                    linked: None,
                    raw: raw.clone(),
                    occurred_at: *occurred_at,
                    details: labels.get(*place).on(&self.details),
                };
                let receipts = writer.append(numbers.map(event).collect(), self.received_at)?;
                added.extend(receipts.iter().map(|receipt| receipt.outcome == Outcome::Added));
            }
            ImportTarget::DryRun(run) => {
                for &(number, at, _, _) in numbers {
                    added.push(run.would_add(
                        number.into(),
                        &self.details,
                        at,
                        self.received_at,
                    )?);
                }
            }
        }
        Ok(added)
    }
}

/// Whether one more opt-out would opt somebody out who came back.
fn would_count(
    history: &[Event],
    details: &Details,
    occurred_at: Timestamp,
    received_at: Timestamp,
) -> bool {
    let is_same_message = |event: &Event| {
        event.details.action == Action::OptOut && event.details.message_id == details.message_id
    };
    if !details.message_id.is_empty() && history.iter().any(is_same_message) {
        return false;
    }
    let sequence = history.last().map_or(0, |event| event.sequence) + 1;
    // A history or a scope that can't be read would be refused by the import itself.
    let opt_out = Fact::new(details, sequence, occurred_at, received_at).ok();
    let known: Vec<Fact> = history.iter().filter_map(|event| fact_of(event).ok()).collect();
    let before = Claims::of(&known);
    Claims::of(&known.into_iter().chain(opt_out).collect::<Vec<_>>()) != before
}
