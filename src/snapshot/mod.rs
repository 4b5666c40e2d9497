//! The immutable set: who is not to be messaged, as of one moment.
//!
//! Promises: exact answers, from bytes that were checked in full before the first one; a file that
//! any Roaring library can open, because it *is* the portable 64-bit Roaring format, without a
//! header or trailer of ours. Leaves to others: files and syncing (bytes come in, bytes go to an
//! [`io::Write`](std::io::Write)), checksums, and which snapshot is the current one.
//!
//! - [`View`] reads a snapshot in place: a vector or a memory map.
//! - [`write_sorted`] makes one from ascending keys.
//! - [`merge`] makes the next one from an old one and ascending [`Change`]s.
//! - [`differences`] are what is in one of two snapshots only.
//! - [`SnapshotError`] says what is wrong, where, and what to do.

mod batch;
mod check;
mod compare;
mod container;
mod difference;
mod directory;
mod error;
mod format;
mod iter;
mod merge;
mod prefetch;
mod view;
mod wide;
mod writer;

pub use difference::{Differences, differences};
pub use error::{Damage, Part, SnapshotError};
pub use iter::Iter;
pub(crate) use merge::merge_with;
pub use merge::{Change, merge};
pub(crate) use prefetch::prefetch;
pub use view::View;
pub use writer::{Summary, write_sorted};
