//! Why a scrub failed. A failed scrub leaves no output under its final name.

use std::io;
use std::path::PathBuf;

use crate::table::TableError;

/// Why a scrub failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrubError {
    /// The input can't be opened.
    #[error("{file} can't be opened")]
    Open {
        /// The input.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The input can be read only once, and can't be copied for a second reading.
    #[error("{file} can't be copied for a second reading{}", advice(source))]
    Keep {
        /// The input.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The input can't be read as records.
    #[error("{file} can't be read")]
    Table {
        /// The input.
        file: String,
        /// What is wrong with it, and where.
        #[source]
        source: TableError,
    },
    /// The input is not the file any more that it was at the beginning.
    #[error(
        "{file} changed while it was read ({read} bytes were read; it had {before} bytes, now {after}): let its writer finish, then scrub again"
    )]
    InputChanged {
        /// The input.
        file: String,
        /// Its length when it was opened.
        before: u64,
        /// Its length at the end.
        after: u64,
        /// How many bytes were read.
        read: u64,
    },
    /// The set of opt-outs could not answer.
    #[error("the opt-outs can't be looked up (near line {line} of {file}): nothing was written")]
    Lookup {
        /// The input.
        file: String,
        /// A line of the batch that was asked about.
        line: u64,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An output can't be written.
    #[error("{file} can't be written{}", advice(source))]
    Write {
        /// The output.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The caller cancelled the run.
    #[error("cancelled: nothing was written")]
    Cancelled,
    /// The counts don't add up: a defect of this program. The outputs must not be used.
    #[error(
        "{rows} rows were read, but {kept} kept + {suppressed} suppressed + {invalid} invalid + {duplicates} duplicates are another sum: this is a defect, please report it"
    )]
    DoesNotAddUp {
        /// Rows read.
        rows: u64,
        /// Rows kept.
        kept: u64,
        /// Rows suppressed.
        suppressed: u64,
        /// Rows without a number that can be sent to.
        invalid: u64,
        /// Rows with the number of an earlier one.
        duplicates: u64,
    },
    /// A receipt is wanted of a run that asks nobody.
    #[error("mode off asks nobody, so there is nothing that a receipt could tell")]
    NobodyAsked,
    /// The index of the rows does not cover the list: a defect of this program.
    #[error(
        "{read} bytes were read, but {traced} are in the receipt: this is a defect, please report it"
    )]
    NotTraced {
        /// Bytes read.
        read: u64,
        /// Bytes that the receipt knows of.
        traced: u64,
    },
    /// A thread of the scrub ended in a panic: a defect of this program.
    #[error("a thread of the scrub panicked: this is a defect, please report it")]
    Panicked,
}

/// Why outputs could not be put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// There is a file of this name already.
    #[error("{} exists already: choose another name, or say --force to replace it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The output is also an input.
    #[error("{} is both input and output: choose another output", path.display())]
    IsInput {
        /// The output.
        path: PathBuf,
    },
    /// Two outputs are one file.
    #[error("{} is asked for as two different outputs: give each a name of its own", path.display())]
    Twice {
        /// The output.
        path: PathBuf,
    },
    /// The name is not that of a file.
    #[error("{} can't be an output file: it is a folder, or has no file name", path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
    },
    /// An operation failed.
    #[error("{} can't be {action}{}", path.display(), advice(source))]
    Io {
        /// The output.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What next, for the failures that people meet.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => ": the disk is full, free some space and run it again",
        io::ErrorKind::BrokenPipe => ": whoever was reading it has stopped",
        io::ErrorKind::NotFound => ": its folder does not exist, make it first",
        _ => "",
    }
}
