//! What can go wrong with a journal.

use std::path::PathBuf;

use crate::disk::DiskError;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were acknowledged are not what was written. Nothing is answered from such a
    /// journal: restore the file from a backup.
    #[error("{} is damaged at byte {offset}: {what}", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file was written by a newer release: use that release.
    #[error(
        "{} has format version {got}, this release reads up to {known}: use a newer release",
        file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        got: u16,
        /// The newest version that is known here.
        known: u16,
    },
    /// An earlier write or sync of this writer failed: open the journal again.
    #[error("an earlier write to the journal failed: open it again")]
    Finished,
    /// The file under an open reader is not in its place any more: the store has been removed,
    /// moved or replaced.
    #[error("{} was deleted or replaced while it was read: open the store again", file.display())]
    Deleted {
        /// The file.
        file: PathBuf,
    },
}
