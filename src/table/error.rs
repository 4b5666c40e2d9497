//! Why a file could not be read as records.

use std::io;

/// Why a file could not be read as records.
///
/// Whoever opened the file adds its name. Messages hold names of columns, never cells of records:
/// those are people's numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Reading failed.
    #[error("reading failed at byte {offset}")]
    Read {
        /// How many bytes were read before.
        offset: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A quoted field is still open at the end: the file is cut short, or the quote is a stray one.
    #[error(
        "the quote that opens on line {line} is never closed: the file is cut short, or that line holds a stray quote (double it, or take it out)"
    )]
    UnclosedQuote {
        /// The line of the quote.
        line: u64,
    },
    /// One record is longer than the limit.
    #[error(
        "the record on line {line} is longer than {bytes_max} bytes{}",
        quote_line.map_or_else(String::new, |line| format!(": look for a stray quote on line {line}"))
    )]
    RecordTooLong {
        /// The line on which the record begins.
        line: u64,
        /// The limit.
        bytes_max: usize,
        /// The line of the quote that was open when the limit was reached.
        quote_line: Option<u64>,
    },
    /// The file ends within a UTF-16 unit or pair, or holds half a pair.
    #[error(
        "byte {offset} is no UTF-16 text ({what}): the file is cut short or damaged, export it again"
    )]
    Utf16 {
        /// Where, from the beginning of the file.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file is no text with records.
    #[error("this looks like {what}, not like text with records: {advice}")]
    NotText {
        /// What it looks like.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// The delimiter can't be one.
    #[error(
        "{delimiter:?} can't be the delimiter: use one byte that is no quote and no line end{}",
        if *delimiter >= 0x80 { ", and ASCII in UTF-16 files" } else { "" }
    )]
    Delimiter {
        /// The byte that was given.
        delimiter: u8,
    },
    /// More columns are wanted than a record keeps.
    #[error("{wanted} columns are wanted at once, the limit is {max}")]
    TooManyColumns {
        /// How many are wanted.
        wanted: usize,
        /// The limit.
        max: usize,
    },
    /// No column has the wanted name.
    #[error("there is no column \"{name}\": the columns are {}", listed(columns))]
    NoSuchColumn {
        /// What was asked for.
        name: String,
        /// What there is.
        columns: Vec<String>,
    },
    /// The first record has fewer columns than the wanted index, or the index is 0.
    #[error("there is no column {index}: the first record has {columns}, counted from 1")]
    NoSuchIndex {
        /// The index that was asked for.
        index: usize,
        /// How many columns there are.
        columns: usize,
    },
    /// No column was asked for, and none has a name that is known.
    #[error(
        "no column has a known name: say which one with --column NAME or --column INDEX; the columns are {}",
        listed(columns)
    )]
    NoKnownColumn {
        /// What there is.
        columns: Vec<String>,
    },
    /// More than one column could be meant.
    #[error(
        "more than one column could be meant: {}; say which one with --column NAME or --column INDEX",
        listed(candidates)
    )]
    AmbiguousColumn {
        /// Their names, or their indexes when there is no header.
        candidates: Vec<String>,
    },
    /// The first record has the known name of a column beside something that looks like a value.
    #[error(
        "the first record could be a header (column {name}) or data (column {value}): say which column is meant with --column INDEX"
    )]
    HeaderInDoubt {
        /// Index of the column with the known name, from 1.
        name: usize,
        /// Index of the column that looks like a value, from 1.
        value: usize,
    },
}

/// Names for a message: quoted, shortened, not more than a line or two.
fn listed(names: &[String]) -> String {
    const NAMES_MAX: usize = 20;
    const CHARS_MAX: usize = 40;
    let mut text = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| {
            format!("\"{}\"", name.chars().take(CHARS_MAX).collect::<String>().escape_debug())
        })
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
    }
    if names.is_empty() { "none: the file is empty".to_owned() } else { text }
}
