//! Files of records: where does each begin and end, and what stands in the wanted columns?
//!
//! A [`Table`] reads CSV with any delimiter of one byte, or plain lists with one value a line,
//! from anything that implements `Read`. It finds out the encoding, the delimiter, the header and
//! the columns, then hands out [`Block`]s: owned buffers that end where a record ends, so that
//! threads can walk their [`Record`]s on their own.
//!
//! Promises:
//! - every byte of the input is in the prologue or in exactly one record, unchanged;
//! - quotes are read as RFC 4180 has them: they open at the beginning of a field only, `""` is
//!   one quote, delimiters and line ends between quotes are data;
//! - a record ends with LF, CRLF or a lone CR, mixed as they come; bytes that are no UTF-8 and
//!   NUL pass untouched; UTF-16 with a byte order mark is read as UTF-8, and
//!   [`Encoding::encode`] makes the same bytes of it again;
//! - what can't be a whole file of records (a quote open at the end, half a UTF-16 unit) is an
//!   error with its line or byte, never a shorter file;
//! - memory is bounded by the options, whatever the file holds.
//!
//! Knows nothing of phones: whether a cell looks like a value is the caller's closure. Files are
//! read, not mapped: one that shrinks under a map ends the process.
//!
//! ```
//! use optout::table::{Cell, ReadOptions, Table};
//!
//! # fn main() -> Result<(), optout::table::TableError> {
//! let file = "name;Teléfono\nAna;5255 1234 5678\n\"Luis; Mar\";\"5255\"\n".as_bytes();
//! let looks_like_value = |cell: &[u8]| cell.iter().filter(|byte| byte.is_ascii_digit()).count() > 6;
//! let mut table = Table::open(file, &ReadOptions::default(), &looks_like_value)?;
//! assert_eq!(table.columns(), [1]);
//!
//! let (mut scratch, mut seen) = (Vec::new(), Vec::new());
//! for block in table.blocks() {
//!     for record in block?.records() {
//!         let number = record.cell(0).map(|cell: Cell<'_>| cell.value(&mut scratch).to_vec());
//!         seen.push((record.line(), number.unwrap_or_default()));
//!     }
//! }
//! assert_eq!(seen, [(2, b"5255 1234 5678".to_vec()), (3, b"5255".to_vec())]);
//! # Ok(())
//! # }
//! ```

mod detect;
mod encoding;
mod error;
mod header;
mod reader;
mod record;
mod shape;
mod split;
mod window;

pub use encoding::Encoding;
pub use error::TableError;
pub use header::{ColumnChoice, HeaderRule, fold_name};
pub use reader::{BLOCK_BYTES, Blocks, COLUMNS_MAX, RECORD_BYTES_MAX, ReadOptions, Table};
pub use record::{Block, Cell, Record, Records, append_cell, fields};
pub use shape::Shape;
pub use split::count_lines;
