//! The store: a directory that holds a manifest, a generation of snapshots and a journal.
//!
//! [`Writer`] records events; there is one at a time, guarded by a lock. [`Reader`]s answer
//! questions; there are any number of them, in any process, they take no lock and see new events
//! with [`Reader::refresh`] without reopening.
//!
//! Promises: an event is acknowledged only after it is synced. A store that is missing, foreign,
//! newer or damaged is refused; it is never an empty answer. A crash at any moment leaves the
//! store as it was or complete. Leaves to others: what a standing means for a message.
//!
//! Order of every change of files: write under a new name, sync, sync the directory, then swap
//! the manifest, then remove what it no longer names.

mod bulk;
mod changes;
mod column;
mod core;
mod effect;
mod erase;
mod error;
mod filter;
mod generation;
mod ids;
mod incoming;
mod init;
pub(crate) mod layout;
mod linked;
mod manifest;
mod past;
mod plain;
mod profiles;
mod reader;
mod registry;
mod set;
#[cfg(feature = "server")]
pub(crate) mod side;
mod standing;
mod standings;
mod traces;
mod undo;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use bulk::{Bulk, BulkReport};
pub(crate) use effect::Effect;
pub use erase::{EraseReport, Erased, Erasure};
pub use error::{StoreError, WriteError};
pub use init::{Initialized, init, init_on};
pub use manifest::Manifest;
pub use past::Moment;
pub(crate) use plain::PlainRow;
pub use reader::Reader;
pub use registry::{
    KeySorter, Registry, RegistryChanges, RegistryContents, RegistryError, RegistryKind,
    RegistryName, RegistryReport, RegistryUpdate, SortedKeys,
};
#[cfg(feature = "server")]
pub use side::SideError;
pub use standing::{Decided, Standing, decide, fact_of};
pub use standings::Clock;
pub(crate) use standings::Lens;
pub use undo::UndoReport;
pub use verify::{Damage, VerifyReport, verify};
pub use writer::{CompactReport, NewEvent, Outcome, Receipt, TEXT_BYTES_MAX, Writer};
