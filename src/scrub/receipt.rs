//! What was scrubbed, how, and against what? The record of a run that a recheck starts from.
//!
//! A [`Receipt`] is JSON that a person can read, with a checksum line behind it. Beside it lies
//! an index of the list's rows, see `index`; both carry the same random id. Neither holds a
//! number: the index has short hashes of subscribers, and whoever has the list has the numbers
//! anyway.
//!
//! Promises that a receipt which was changed in any bit is refused. Leaves to others whether the
//! store is still the one that it names.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::index::{Checksum, IndexInfo, Traced};
use super::report::{Report, ReportOptions};
use super::trace::Piece;
use crate::number::{Folding, METADATA_RELEASE};
use crate::table::{Encoding, Shape};
use crate::time::Timestamp;

/// The format that this release writes, and the newest that it reads.
const FORMAT: u32 = 1;
const CHECKSUM_PREFIX: &str = "xxh3:";

/// What a scrub was run against, in the words of whoever keeps the opt-outs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The store that was asked.
    pub store: String,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// When the newest event was recorded that the answers know of.
    pub newest_event_at: Option<Timestamp>,
    /// The digest of the policy.
    pub policy: String,
}

/// The receipt of a scrub.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    format: u32,
    id: String,
    #[serde(flatten)]
    basis: Basis,
    generation: u64,
    sequence: u64,
    options: ReportOptions,
    counts: Counts,
    numbers: Numbers,
    table: TableInfo,
    input: FileInfo,
    kept: Option<FileInfo>,
    index: IndexInfo,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    rows: u64,
    kept: u64,
    suppressed: u64,
    invalid: u64,
    duplicates: u64,
    exempt: u64,
}

/// How cells became subscribers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers {
    fold_version: u32,
    tier2: bool,
    metadata_release: String,
}

/// How the list is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TableInfo {
    encoding: String,
    /// A byte, as the character of this number.
    delimiter: char,
    /// From 0.
    columns: Vec<usize>,
    column_count: usize,
    /// What stands before the records: bytes of text of the part before the header, and, if there
    /// is one, of the header.
    preamble_bytes: usize,
    header_bytes: Option<usize>,
    prologue: PieceInfo,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PieceInfo {
    bytes: u32,
    xxh3: Checksum,
}

/// A file, and what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileInfo {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// Of the lengths and checksums of its pieces.
    digest: String,
}

/// Why a receipt can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It is not as it was written, or is none.
    #[error("{what}: it was changed, cut short, or is no receipt: scrub the list again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// A later release has written it.
    #[error(
        "it has format {got}, this release knows {known}: use a newer one, or scrub the list again"
    )]
    Newer {
        /// Its format.
        got: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Another release of this program has written it, which reads some numbers differently.
    #[error("it was written by a release that reads numbers differently: scrub the list again")]
    OtherReading,
}

impl ReceiptError {
    fn damaged(what: impl fmt::Display) -> ReceiptError {
        ReceiptError::Damaged { what: what.to_string() }
    }
}

/// What is known at the beginning of a run.
pub(super) struct Begun {
    pub(super) id: [u8; 16],
    pub(super) basis: Basis,
    pub(super) folding: Folding,
    pub(super) shape: Shape,
    pub(super) preamble_bytes: usize,
    pub(super) header_bytes: Option<usize>,
    pub(super) prologue: Piece,
}

impl Receipt {
    /// The receipt of a run that has ended. `names` are those of the list and of what was kept of
    /// it, if that is not the whole list.
    pub(super) fn new(
        begun: Begun,
        report: &Report,
        (input, kept): (String, Option<String>),
        traced: Traced,
    ) -> Receipt {
        let Begun { id, basis, folding, shape, preamble_bytes, header_bytes, prologue } = begun;
        let file = |name, bytes, digest: u128| {
            let digest = format!("{digest:032x}");
            FileInfo { name, bytes, digest }
        };
        let encoding = match shape.encoding() {
            Encoding::Bytes => "bytes",
            Encoding::Utf16Le => "utf-16le",
            Encoding::Utf16Be => "utf-16be",
        };
        Receipt {
            format: FORMAT,
            id: format!("{:032x}", u128::from_le_bytes(id)),
            basis,
            generation: report.generation,
            sequence: report.sequence,
            options: report.options.clone(),
            counts: Counts {
                rows: report.rows,
                kept: report.kept,
                suppressed: report.suppressed,
                invalid: report.invalid,
                duplicates: report.duplicates,
                exempt: report.exempt,
            },
            numbers: Numbers {
                fold_version: Folding::VERSION,
                tier2: folding.tier2,
                metadata_release: METADATA_RELEASE.to_owned(),
            },
            table: TableInfo {
                encoding: encoding.to_owned(),
                delimiter: char::from(shape.delimiter()),
                columns: shape.columns(),
                column_count: shape.column_count(),
                preamble_bytes,
                header_bytes,
                prologue: PieceInfo { bytes: prologue.bytes, xxh3: Checksum(prologue.xxh3) },
            },
            input: file(input, traced.ends.input_byte, traced.input_digest),
            kept: kept.map(|name| file(name, traced.ends.kept_byte, traced.kept_digest)),
            index: traced.index,
        }
    }

    /// As it stands in its file.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("strings and integers serialize");
        text.push('\n');
        let checksum = xxh3_64(text.as_bytes());
        text.push_str(&format!("{CHECKSUM_PREFIX}{checksum:016x}\n"));
        text
    }

    /// Reads a receipt.
    ///
    /// # Errors
    ///
    /// When it is not exactly as it was written, or by a release whose receipts this one does not
    /// understand.
    pub fn parse(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let body = checked_body(bytes)?;
        let Format { format } = serde_json::from_slice(body).map_err(ReceiptError::damaged)?;
        if format > FORMAT {
            return Err(ReceiptError::Newer { got: format, known: FORMAT });
        }
        let receipt: Receipt = serde_json::from_slice(body).map_err(ReceiptError::damaged)?;
        let numbers = &receipt.numbers;
        if numbers.fold_version != Folding::VERSION || numbers.metadata_release != METADATA_RELEASE
        {
            return Err(ReceiptError::OtherReading);
        }
        if format != FORMAT || !receipt.is_plausible() {
            return Err(ReceiptError::damaged("what it says is nonsense"));
        }
        Ok(receipt)
    }

    fn is_plausible(&self) -> bool {
        let prologue = u64::from(self.table.prologue.bytes);
        let files = std::iter::once(&self.input).chain(&self.kept);
        self.id().is_some()
            && self.shape().is_some()
            && self.index.is_plausible()
            && files.into_iter().all(|file| prologue <= file.bytes)
    }

    /// What the scrub was run against.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The last sequence that the scrub knew of.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The generation that the scrub asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The message, the mode, and how the list was read.
    pub fn options(&self) -> &ReportOptions {
        &self.options
    }

    /// How many rows the list has.
    pub fn rows(&self) -> u64 {
        self.counts.rows
    }

    /// How numbers became keys.
    pub fn folding(&self) -> Folding {
        Folding { tier2: self.numbers.tier2 }
    }

    pub(super) fn id(&self) -> Option<[u8; 16]> {
        let digits = (self.id.len() == 32).then_some(&self.id)?;
        u128::from_str_radix(digits, 16).ok().map(u128::to_le_bytes)
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        let TableInfo { encoding, delimiter, columns, column_count, .. } = &self.table;
        let encoding = match &**encoding {
            "bytes" => Encoding::Bytes,
            "utf-16le" => Encoding::Utf16Le,
            "utf-16be" => Encoding::Utf16Be,
            _ => return None,
        };
        let delimiter = u8::try_from(*delimiter).ok()?;
        Shape::new(encoding, delimiter, columns, *column_count).ok()
    }

    /// What stands before the records in both files.
    pub(super) fn prologue(&self) -> (u32, u64) {
        (self.table.prologue.bytes, self.table.prologue.xxh3.0)
    }

    /// The text of the prologue, parted into what stands before the header, and the header.
    pub(super) fn part<'t>(&self, prologue: &'t [u8]) -> Option<(&'t [u8], Option<&'t [u8]>)> {
        let (preamble, rest) = prologue.split_at_checked(self.table.preamble_bytes)?;
        match self.table.header_bytes {
            None => rest.is_empty().then_some((preamble, None)),
            Some(bytes) => (rest.len() == bytes).then_some((preamble, Some(rest))),
        }
    }

    pub(super) fn input(&self) -> &FileInfo {
        &self.input
    }

    pub(super) fn kept(&self) -> Option<&FileInfo> {
        self.kept.as_ref()
    }

    pub(super) fn index(&self) -> &IndexInfo {
        &self.index
    }
}

/// What it is about, not what it holds.
impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("id", &self.id)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// The part before the checksum line, if that is right.
fn checked_body(bytes: &[u8]) -> Result<&[u8], ReceiptError> {
    let line_end = bytes.len().saturating_sub(1);
    let body_bytes = bytes[..line_end].iter().rposition(|&byte| byte == b'\n').map(|it| it + 1);
    let body_bytes = body_bytes.ok_or_else(|| ReceiptError::damaged("it has no checksum line"))?;
    let (body, checksum) = bytes.split_at(body_bytes);
    let expected = format!("{CHECKSUM_PREFIX}{:016x}\n", xxh3_64(body));
    if checksum != expected.as_bytes() {
        return Err(ReceiptError::damaged("it does not match its checksum line"));
    }
    Ok(body)
}
