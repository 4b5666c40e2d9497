//! The append log: every event is a record here before it is anywhere else.
//!
//! Promises: an event whose [`JournalWriter::sync`] returned survives loss of power; events are
//! never reordered, and never changed unless somebody has to be forgotten ([`revise`]); damage of what was acknowledged is told from a torn end and
//! refused ([`JournalError::Damaged`]). Reading a range of dates or one event touches only the
//! records that can match.
//!
//! The journal is a row of segments. All but the newest, active one are sealed: complete, with
//! an index beside them, listed in the manifest with a checksum of the whole file. Leaves to
//! `store`: which segments there are, and what the events amount to.

mod error;
pub mod format;
mod index;
mod payload;
mod reader;
mod record;
mod recover;
mod revise;
mod segment;
pub(crate) mod varint;
mod writer;

#[cfg(test)]
mod tests;

pub use error::JournalError;
pub use reader::{Journal, JournalIdentity, SegmentInfo, Span, verify_sealed};
pub use record::{Fate, Record, Redaction, Row, Spelling, Subject};
pub use revise::revise;
pub use writer::JournalWriter;

/// A checksum as the manifest writes it.
pub(crate) fn hex(checksum: u64) -> String {
    format!("{checksum:016x}")
}
