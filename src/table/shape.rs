//! What the rows of a table have in common: how a piece of the file is read again later, and how
//! rows are written with more columns behind them.

use std::borrow::Cow;
use std::io::Read;

use memchr::memchr;

use super::encoding::Encoding;
use super::error::TableError;
use super::reader::{COLUMNS_MAX, Table, check_delimiter};
use super::record::{Plan, Records, append_cell, fields};
use super::split::QUOTE;

/// What the rows of a table have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    encoding: Encoding,
    column_count: usize,
    plan: Plan,
}

impl Shape {
    /// The shape of a table's rows.
    pub fn of<R: Read>(table: &Table<R>) -> Shape {
        Shape { encoding: table.encoding(), column_count: table.column_count(), plan: table.plan() }
    }

    /// The shape of a table that was read before: in what it is encoded, the byte between its
    /// fields, where the wanted columns stand, and how many columns there are.
    ///
    /// # Errors
    ///
    /// When no table has this delimiter, or more columns are wanted than a record keeps.
    pub fn new(
        encoding: Encoding,
        delimiter: u8,
        columns: &[usize],
        column_count: usize,
    ) -> Result<Shape, TableError> {
        check_delimiter(delimiter, encoding)?;
        let wanted = columns.len();
        if wanted > COLUMNS_MAX {
            return Err(TableError::TooManyColumns { wanted, max: COLUMNS_MAX });
        }
        let plan = Plan::new(delimiter, columns).of_whole_lines(column_count <= 1);
        Ok(Shape { encoding, column_count, plan })
    }

    /// The encoding of the file.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The byte between the fields.
    pub fn delimiter(&self) -> u8 {
        self.plan.delimiter
    }

    /// Where the wanted columns stand, from 0, in the order in which they were asked for.
    pub fn columns(&self) -> Vec<usize> {
        self.plan.columns()
    }

    /// How many columns the header, or else the first record, has.
    pub fn column_count(&self) -> usize {
        self.column_count
    }

    /// The text of a piece of the file that begins and ends where a record does.
    ///
    /// # Errors
    ///
    /// When it is no text in the encoding of the file.
    pub fn decode<'a>(&self, piece: &'a [u8]) -> Result<Cow<'a, [u8]>, TableError> {
        self.encoding.decode(piece)
    }

    /// Walks the records of such a text, of which the first begins on the line `first_line`.
    pub fn records<'a>(&self, text: &'a [u8], first_line: u64) -> Records<'a> {
        let quotes = memchr(QUOTE, text).is_some();
        Records::of_piece(text, first_line, quotes, self.plan)
    }

    /// Appends a row with more cells at its end. A row that is too short is filled up, so that
    /// the new cells stand under their names.
    pub fn append_row(&self, body: &[u8], line_end: &[u8], cells: &[&[u8]], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
        let missing = self.column_count.saturating_sub(fields(body, self.delimiter()).count());
        out.extend(std::iter::repeat_n(self.delimiter(), missing));
        for cell in cells {
            out.push(self.delimiter());
            append_cell(cell, self.delimiter(), out);
        }
        out.extend_from_slice(line_end);
    }

    /// What stands above such rows: the table's preamble, and its header, if it has one, with
    /// the names of the new columns.
    pub fn extended_header<R: Read>(&self, table: &Table<R>, names: &[&[u8]]) -> Vec<u8> {
        self.extend_header(table.preamble(), table.header(), names)
    }

    /// As [`Shape::extended_header`], of a table that was read before.
    pub fn extend_header(
        &self,
        preamble: &[u8],
        header: Option<&[u8]>,
        names: &[&[u8]],
    ) -> Vec<u8> {
        let mut text = preamble.to_vec();
        if let Some(header) = header {
            let line_end = header.len()
                - match header {
                    [.., b'\r', b'\n'] => 2,
                    [.., b'\n' | b'\r'] => 1,
                    _ => 0,
                };
            let (body, line_end) = header.split_at(line_end);
            self.append_row(body, line_end, names, &mut text);
        }
        self.encode(text)
    }

    /// Hands the bytes that a text has in the file to `then`.
    pub fn with_encoded<T>(&self, text: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
        if self.encoding == Encoding::Bytes {
            return then(text);
        }
        let mut encoded = Vec::with_capacity(2 * text.len());
        self.encoding.encode(text, &mut encoded);
        then(&encoded)
    }

    /// The text as it goes into the file.
    pub fn encode(&self, text: Vec<u8>) -> Vec<u8> {
        if self.encoding == Encoding::Bytes {
            return text;
        }
        let mut encoded = Vec::with_capacity(2 * text.len());
        self.encoding.encode(&text, &mut encoded);
        encoded
    }
}
