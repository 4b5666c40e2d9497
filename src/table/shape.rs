//! How rows of a table are written again, with more columns behind them.

use std::io::Read;

use super::encoding::Encoding;
use super::reader::Table;
use super::record::{append_cell, fields};

/// What rows written for a table have in common with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    delimiter: u8,
    column_count: usize,
    encoding: Encoding,
}

impl Shape {
    /// The shape of a table's rows.
    pub fn of<R: Read>(table: &Table<R>) -> Shape {
        Shape {
            delimiter: table.delimiter(),
            column_count: table.column_count(),
            encoding: table.encoding(),
        }
    }

    /// The encoding of the file.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Appends a row with more cells at its end. A row that is too short is filled up, so that
    /// the new cells stand under their names.
    pub fn append_row(&self, body: &[u8], line_end: &[u8], cells: &[&[u8]], out: &mut Vec<u8>) {
        out.extend_from_slice(body);
        let missing = self.column_count.saturating_sub(fields(body, self.delimiter).count());
        out.extend(std::iter::repeat_n(self.delimiter, missing));
        for cell in cells {
            out.push(self.delimiter);
            append_cell(cell, self.delimiter, out);
        }
        out.extend_from_slice(line_end);
    }

    /// What stands above such rows: the table's preamble, and its header, if it has one, with
    /// the names of the new columns.
    pub fn extended_header<R: Read>(&self, table: &Table<R>, names: &[&[u8]]) -> Vec<u8> {
        let mut text = table.preamble().to_vec();
        if let Some(header) = table.header() {
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
