//! The command line as scripts see it: the real binary in fresh directories, whole outputs and
//! exit codes.
//!
//! - `stores`: init, compact, verify; stores that are missing, damaged, newer or held.
//! - `records`: add, resubscribe, check, why.
//! - `erasures`: erase, and what the others say of the erased.
//! - `imports`: lists in.
//! - `undo`: imports that are guarded, labelled, and taken back.
//! - `layers`: outside lists in.
//! - `scrubs`: recipient lists in, clean lists out.
//! - `past`: scrub, check and why as of a moment, diff.
//! - `rechecks`: receipts, and what has changed since.
//! - `answers`: export, stats, normalize, detect, completions, man.
//! - `capturing`: settings of senders, linters.
//! - `campaigns`: how campaigns treat those who opted out.
//! - `faults`: full disks, closed pipes, files that change.

mod answers;
#[cfg(feature = "server")]
mod campaigns;
#[cfg(feature = "server")]
mod capturing;
mod erasures;
mod faults;
mod harness;
mod ids;
mod imports;
mod layers;
mod past;
mod rechecks;
mod records;
mod scrubs;
mod stores;
mod undo;
