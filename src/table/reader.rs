//! Opens a file, learns what it is, and hands it out in blocks.

use std::io::Read;

use super::detect;
use super::encoding::{Encoding, TextReader};
use super::error::TableError;
use super::header::{self, ColumnChoice, HeaderRule};
use super::record::{Block, Plan, Records, fields};
use super::split::{QUOTE, Splitter, count_lines};

/// Bytes of a block, unless a record is longer: large enough that handing it over costs nothing
/// beside walking it, small enough that a few in flight fit the cache.
pub const BLOCK_BYTES: usize = 1 << 20;

/// The longest record that is accepted. A stray quote at a field's beginning swallows the rest of
/// the file; this is where that ends.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// How many columns can be wanted at once.
pub const COLUMNS_MAX: usize = 4;

/// The limit of both limits: places in a block are kept in 32 bits.
const BYTES_MAX: usize = 1 << 30;

/// Bytes from which the delimiter and the header are found out.
const SAMPLE_BYTES: usize = 64 * 1024;

/// How to read a file.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The wanted columns; their places here are the arguments of [`Record::cell`](super::Record::cell).
    pub columns: Vec<ColumnChoice>,
    /// Whether the first record is a header.
    pub header: HeaderRule,
    /// The delimiter; found out from the first records if not given.
    pub delimiter: Option<u8>,
    /// Bytes of a block, at most 1 GiB.
    pub block_bytes: usize,
    /// The longest record that is accepted, at most 1 GiB.
    pub record_bytes_max: usize,
}

/// One wanted column, everything else found out.
impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            columns: vec![ColumnChoice::Auto],
            header: HeaderRule::Detect,
            delimiter: None,
            block_bytes: BLOCK_BYTES,
            record_bytes_max: RECORD_BYTES_MAX,
        }
    }
}

/// A file of records that is being read.
pub struct Table<R> {
    text: TextReader<R>,
    delimiter: u8,
    line_end: &'static [u8],
    preamble: Vec<u8>,
    header: Option<Vec<u8>>,
    columns: Vec<usize>,
    column_count: usize,
    plan: Plan,
    splitter: Splitter,
    /// Text that is in no block yet, from the beginning of a record; `filled` bytes of it count.
    buffer: Vec<u8>,
    filled: usize,
    ended: bool,
    spare: Vec<Vec<u8>>,
    block_bytes: usize,
    record_bytes_max: usize,
    next_index: u64,
    /// The line on which the buffer begins.
    next_line: u64,
}

impl<R: Read> Table<R> {
    /// Reads the beginning of the file: encoding, delimiter, header and columns.
    ///
    /// `looks_like_value` tells a header from data: whether a cell, without its quotes and the
    /// blanks around it, could be a value of the column that [`ColumnChoice::Auto`] looks for.
    ///
    /// # Errors
    ///
    /// When the file can't be read, is no text, or the wanted columns are not to be found.
    pub fn open(
        source: R,
        options: &ReadOptions,
        looks_like_value: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Table<R>, TableError> {
        let wanted = options.columns.len();
        if wanted > COLUMNS_MAX {
            return Err(TableError::TooManyColumns { wanted, max: COLUMNS_MAX });
        }
        let block_bytes = options.block_bytes.clamp(1, BYTES_MAX);
        let mut text = TextReader::open(source)?;
        let sample = Sample::read(&mut text, options, looks_like_value)?;
        let first = sample.first_record();
        let layout =
            header::layout(&first.cells, &options.columns, options.header, looks_like_value)?;
        // Blank lines before a header go with it; before data they are records.
        let header_start = sample.start + if layout.has_header { first.start } else { 0 };
        let header_end = sample.start + if layout.has_header { first.end } else { 0 };
        let preamble = sample.text[..header_start].to_vec();
        let header = layout.has_header.then(|| sample.text[header_start..header_end].to_vec());
        text.unread(&sample.text[header_end..]);
        Ok(Table {
            text,
            delimiter: sample.delimiter,
            line_end: first.line_end,
            header,
            column_count: first.cells.len(),
            plan: Plan::new(sample.delimiter, &layout.columns)
                .of_whole_lines(first.cells.len() <= 1),
            columns: layout.columns,
            splitter: Splitter::new(sample.delimiter),
            buffer: vec![0; block_bytes],
            filled: 0,
            ended: false,
            spare: Vec::new(),
            block_bytes,
            record_bytes_max: options.record_bytes_max.min(BYTES_MAX),
            next_index: 0,
            next_line: 1 + count_lines(&sample.text[..header_end]),
            preamble,
        })
    }

    /// The text before the header, or before the records: byte order mark, `sep=` line, and the
    /// blank lines above a header. Belongs at the beginning of every file made of the records.
    pub fn preamble(&self) -> &[u8] {
        &self.preamble
    }

    /// The header with its line end, if there is one.
    pub fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }

    /// The byte between the fields.
    pub fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// The line end that the first record has; LF if it has none.
    pub fn line_end(&self) -> &'static [u8] {
        self.line_end
    }

    /// In what to encode text that came out of this table.
    pub fn encoding(&self) -> Encoding {
        self.text.encoding()
    }

    /// Where the wanted columns stand, from 0, in the order in which they were asked for.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub(super) fn plan(&self) -> Plan {
        self.plan
    }

    /// How many columns the header, or else the first record, has.
    pub fn column_count(&self) -> usize {
        self.column_count
    }

    /// How many bytes of the file were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.text.bytes_read()
    }

    /// What is being read from.
    pub fn source(&self) -> &R {
        self.text.source()
    }

    /// The next records, `None` behind the last. After an error there is nothing more.
    ///
    /// # Errors
    ///
    /// When reading fails, a record is too long, or the file ends in the middle of something.
    pub fn next_block(&mut self) -> Result<Option<Block>, TableError> {
        self.fill_block().inspect_err(|_| {
            self.ended = true;
            self.filled = 0;
        })
    }

    /// Gives the memory of a block back, for one of the next.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        const SPARE_MAX: usize = 8;
        // A buffer that grew for one long record would otherwise stay for ever.
        if self.spare.len() < SPARE_MAX && buffer.len() == self.block_bytes {
            self.spare.push(buffer);
        }
    }

    /// All blocks, one after another; stops behind the first error.
    pub fn blocks(&mut self) -> Blocks<'_, R> {
        Blocks(self)
    }

    fn fill_block(&mut self) -> Result<Option<Block>, TableError> {
        loop {
            if !self.ended {
                self.filled += self.text.fill(&mut self.buffer[self.filled..])?;
                self.ended = self.filled < self.buffer.len();
            }
            self.splitter.advance(&self.buffer[..self.filled], self.ended);
            if self.ended {
                if self.filled == 0 {
                    return Ok(None);
                }
                return match self.open_quote_line() {
                    Some(line) => Err(TableError::UnclosedQuote { line }),
                    None => Ok(Some(self.cut(self.filled))),
                };
            }
            match self.splitter.whole() {
                0 => self.grow()?,
                whole => return Ok(Some(self.cut(whole))),
            }
        }
    }

    /// Makes room for a record that is longer than the buffer.
    fn grow(&mut self) -> Result<(), TableError> {
        if self.filled >= self.record_bytes_max {
            return Err(TableError::RecordTooLong {
                line: self.next_line,
                bytes_max: self.record_bytes_max,
                quote_line: self.open_quote_line(),
            });
        }
        self.buffer.resize((self.filled * 2).min(self.record_bytes_max), 0);
        Ok(())
    }

    /// The first `len` bytes become a block; what follows begins the next buffer.
    fn cut(&mut self, len: usize) -> Block {
        let left = self.filled - len;
        let mut next = self.spare.pop().unwrap_or_default();
        next.resize(self.block_bytes.max(2 * left), 0);
        next[..left].copy_from_slice(&self.buffer[len..self.filled]);
        let block = Block {
            bytes: std::mem::replace(&mut self.buffer, next),
            len,
            index: self.next_index,
            first_line: self.next_line,
            quotes: self.splitter.quotes(),
            plan: self.plan,
        };
        self.filled = left;
        self.splitter.cut(len, left);
        self.next_index += 1;
        self.next_line += count_lines(block.bytes());
        block
    }

    fn open_quote_line(&self) -> Option<u64> {
        let quote = self.splitter.open_quote()?;
        Some(self.next_line + count_lines(&self.buffer[..quote]))
    }
}

impl<R> std::fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("delimiter", &char::from(self.delimiter))
            .field("columns", &self.columns)
            .field("next_line", &self.next_line)
            .finish_non_exhaustive()
    }
}

/// The blocks of a table; see [`Table::blocks`].
#[derive(Debug)]
pub struct Blocks<'a, R>(&'a mut Table<R>);

impl<R: Read> Iterator for Blocks<'_, R> {
    type Item = Result<Block, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_block().transpose()
    }
}

/// The beginning of a file, at least up to the end of its first record that isn't blank.
struct Sample {
    text: Vec<u8>,
    /// Where the records begin, behind byte order mark and `sep=` line.
    start: usize,
    delimiter: u8,
    complete: bool,
}

/// The first record that isn't blank, placed from the beginning of the records.
struct FirstRecord {
    start: usize,
    end: usize,
    cells: Vec<Vec<u8>>,
    line_end: &'static [u8],
}

impl Sample {
    fn read<R: Read>(
        text: &mut TextReader<R>,
        options: &ReadOptions,
        looks_like_value: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Sample, TableError> {
        let mut sample = Sample { text: Vec::new(), start: 0, delimiter: b',', complete: false };
        let mut target = SAMPLE_BYTES;
        loop {
            let filled = sample.text.len();
            sample.text.resize(target, 0);
            let count = text.fill(&mut sample.text[filled..])?;
            sample.text.truncate(filled + count);
            sample.complete = sample.text.len() < target;
            sample.understand(options, looks_like_value);
            check_delimiter(sample.delimiter, text.encoding())?;
            if sample.complete || sample.records().any(|record| !record.is_blank()) {
                return Ok(sample);
            }
            if target >= options.record_bytes_max.max(SAMPLE_BYTES) {
                let (line, bytes_max) = (1, options.record_bytes_max);
                return Err(TableError::RecordTooLong { line, bytes_max, quote_line: None });
            }
            target *= 2;
        }
    }

    fn understand(&mut self, options: &ReadOptions, looks_like_value: &dyn Fn(&[u8]) -> bool) {
        let mark = detect::mark_len(&self.text);
        let sep = detect::sep_line(&self.text[mark..]);
        self.start = mark + sep.map_or(0, |(_, len)| len);
        self.delimiter =
            options.delimiter.or(sep.map(|(delimiter, _)| delimiter)).unwrap_or_else(|| {
                detect::delimiter(&self.text[self.start..], self.complete, looks_like_value)
            });
    }

    fn records(&self) -> Records<'_> {
        let records = &self.text[self.start..];
        let whole = detect::whole_records(records, self.delimiter, self.complete);
        Records::of_sample(whole, self.delimiter)
    }

    fn first_record(&self) -> FirstRecord {
        let Some(record) = self.records().find(|record| !record.is_blank()) else {
            return FirstRecord { start: 0, end: 0, cells: Vec::new(), line_end: b"\n" };
        };
        let mut scratch = Vec::new();
        let cells = fields(record.body(), self.delimiter)
            .map(|cell| cell.value(&mut scratch).trim_ascii().to_vec())
            .collect();
        let line_end: &[u8] = match record.line_end() {
            b"\r\n" => b"\r\n",
            b"\r" => b"\r",
            _ => b"\n",
        };
        FirstRecord { start: record.range().start, end: record.range().end, cells, line_end }
    }
}

pub(super) fn check_delimiter(delimiter: u8, encoding: Encoding) -> Result<(), TableError> {
    let recoded = encoding != Encoding::Bytes && !delimiter.is_ascii();
    if matches!(delimiter, QUOTE | b'\n' | b'\r') || recoded {
        return Err(TableError::Delimiter { delimiter });
    }
    Ok(())
}
