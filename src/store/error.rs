//! What can go wrong with a store, one family for opening and reading, one for writing.

use std::path::PathBuf;

use super::registry::RegistryError;
use crate::disk::DiskError;
use crate::event::Action;
use crate::journal::JournalError;
use crate::policy::UnknownChannel;
use crate::snapshot::SnapshotError;

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing at this path.
    #[error("there is no store at {}: make one with `optout init`", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is something else at this path.
    #[error("{} is not a store: {why}", path.display())]
    NotAStore {
        /// Where it was looked for.
        path: PathBuf,
        /// What speaks against it.
        why: String,
    },
    /// A newer release has written it.
    #[error(
        "{} was written by a newer release (format {got}, this release knows up to {known}): \
         use that release",
        path.display()
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        got: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// Its keys were made by another version of the fold table; comparing them with keys made
    /// here would miss subscribers.
    #[error(
        "{} holds keys of fold table {got}, this release folds by table {known}: export its \
         opt-outs (`export --view state`) with the release that made it, and import them into a \
         new store",
        path.display()
    )]
    OtherFolding {
        /// The store.
        path: PathBuf,
        /// The version of its fold table.
        got: u32,
        /// The version of this release.
        known: u32,
    },
    /// Bytes that count are not what was written.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that the manifest names is not there.
    #[error("{} is missing, though the manifest names it", file.display())]
    FileMissing {
        /// The file.
        file: PathBuf,
    },
    /// The journal is damaged, missing or unreadable.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The operating system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A moment was asked for that has not come yet.
    #[error("there is no sequence {asked} yet: the newest event has {newest}")]
    Future {
        /// The sequence that was asked for.
        asked: u64,
        /// That of the newest event.
        newest: u64,
    },
    /// An earlier refresh failed and left nothing to answer from: open the store again.
    #[error("the store at {} could not be read earlier: open it again", path.display())]
    Unusable {
        /// The store.
        path: PathBuf,
    },
}

impl StoreError {
    /// Whether the store itself is at fault (missing, foreign, newer, damaged), as opposed to the
    /// operating system and to whoever asked.
    pub fn is_store_at_fault(&self) -> bool {
        !matches!(
            self,
            StoreError::Disk(_)
                | StoreError::Journal(JournalError::Disk(_))
                | StoreError::Future { .. }
        )
    }

    pub(super) fn damaged(file: PathBuf, offset: u64, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { file, offset, what: what.into() }
    }

    pub(super) fn snapshot(file: PathBuf, error: &SnapshotError) -> StoreError {
        match error {
            SnapshotError::Damaged { offset, damage } => {
                StoreError::damaged(file, *offset, damage.to_string())
            }
            other => StoreError::damaged(file, 0, other.to_string()),
        }
    }
}

/// Why an event was not recorded, or a generation not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Another process, or another handle of this one, has the store open for writing.
    #[error(
        "another writer holds the store at {}: wait until it ends; if it is `optout serve`, post \
         to it instead",
        path.display()
    )]
    Locked {
        /// The store.
        path: PathBuf,
    },
    /// The store could not be read or written. Nothing of this call was acknowledged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The generation could not be written.
    #[error("cannot write {}: {source}", file.display())]
    Generation {
        /// The file that was being written.
        file: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier write or sync failed. What it was about was not acknowledged; open the store
    /// again.
    #[error("an earlier write to the store failed, so nothing more is recorded: open it again")]
    Finished,
    /// The lock file was deleted or replaced, so a second writer may be at work.
    #[error("the lock file {} was deleted or replaced while it was held", path.display())]
    LockLost {
        /// The lock file.
        path: PathBuf,
    },
    /// The channel is none that there is.
    #[error(transparent)]
    Channel(#[from] UnknownChannel),
    /// An event of this kind can't be recorded as it is.
    #[error("this {action} can't be recorded: {why}")]
    Action {
        /// What it was to be.
        action: Action,
        /// What is missing.
        why: &'static str,
    },
    /// There is no such import to be taken back.
    #[error("{batch} is no import: {why}; an import is named by the sequence of its first event")]
    Batch {
        /// What was to be taken back.
        batch: u64,
        /// What is there instead.
        why: String,
    },
    /// A text is too long or holds a NUL character.
    #[error("the {field} can't be recorded: it must be below {limit} bytes and without NUL")]
    Text {
        /// Which one.
        field: &'static str,
        /// Bytes that it may have.
        limit: usize,
    },
    /// What is recorded of an erasure names whom it forgets.
    #[error("the {field} holds the number that is to be forgotten: leave it out")]
    NamesForgotten {
        /// Which text.
        field: &'static str,
    },
    /// Somebody was erased, and a search then found him all the same.
    #[error(
        "the person is erased from the store and suppressed, but {} still holds the number at \
         byte {offset}: remove it from there",
        file.display()
    )]
    Remains {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// A registry layer was not changed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The directory to be made a store holds other files.
    #[error("{} is not empty and not a store: give an empty or new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
}

impl From<JournalError> for WriteError {
    fn from(error: JournalError) -> WriteError {
        match error {
            JournalError::Finished => WriteError::Finished,
            error => WriteError::Store(error.into()),
        }
    }
}

impl From<DiskError> for WriteError {
    fn from(error: DiskError) -> WriteError {
        WriteError::Store(error.into())
    }
}
