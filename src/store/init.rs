//! Makes a store where there is none.

use std::path::Path;

use super::error::{StoreError, WriteError};
use super::layout::{Entry, LOCK};
use super::manifest::Manifest;
use crate::disk::{Disk, DiskError, Lock, RealDisk};
use crate::journal::{JournalIdentity, JournalWriter};
use crate::number::Folding;
use crate::time::Timestamp;

/// Whether [`init`] made a store or found one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialized {
    /// It is new and empty.
    Made,
    /// It was there already and is as it was.
    Existed,
}

/// Makes a store in a directory, which is created if need be.
///
/// # Errors
///
/// When the directory holds something else, or what is left of a store; when the disk refuses.
pub fn init(
    directory: impl AsRef<Path>,
    folding: Folding,
    now: Timestamp,
) -> Result<Initialized, WriteError> {
    let disk = RealDisk::new(directory.as_ref());
    disk.create_directory()?;
    init_on(&disk, folding, now)
}

/// Makes a store on a disk of the caller's.
///
/// # Errors
///
/// As [`init`].
pub fn init_on(
    disk: &dyn Disk,
    folding: Folding,
    now: Timestamp,
) -> Result<Initialized, WriteError> {
    // First looks without the lock: locking creates its file, and a directory of somebody else's
    // stays untouched; a store in use is there all the same.
    let holds = |names: &[String], entry| names.iter().any(|name| Entry::of(name) == entry);
    let names = disk.list()?;
    if holds(&names, Entry::Manifest) {
        Manifest::read(disk)?;
        return Ok(Initialized::Existed);
    }
    if holds(&names, Entry::Foreign) {
        return Err(WriteError::NotEmpty { path: disk.path_of("") });
    }
    let _lock = take_lock(disk)?;
    let names = disk.list()?;
    if holds(&names, Entry::Manifest) {
        return Ok(Initialized::Existed);
    }
    for name in &names {
        match Entry::of(name) {
            Entry::Lock => {}
            // An interrupted `init` leaves these; a store that lost its manifest has more.
            Entry::ManifestNext => disk.remove(name)?,
            Entry::Segment(1, 0) if is_unused_segment(disk, name)? => disk.remove(name)?,
            Entry::Foreign => return Err(WriteError::NotEmpty { path: disk.path_of("") }),
            _ => {
                let why = format!("it holds {name} but no manifest: restore it from a backup");
                return Err(StoreError::NotAStore { path: disk.path_of(""), why }.into());
            }
        }
    }
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(|error| DiskError {
        operation: "draw the id of",
        path: disk.path_of(""),
        source: std::io::Error::other(error.to_string()),
    })?;
    let manifest = Manifest::new(store, folding, now);
    JournalWriter::create_segment(disk, JournalIdentity { store, folding }, 1, 0, 1, now)?;
    disk.sync_directory()?;
    manifest.publish(disk)?;
    Ok(Initialized::Made)
}

/// Whether a segment has a header at most.
pub(super) fn is_unused_segment(disk: &dyn Disk, name: &str) -> Result<bool, WriteError> {
    let length = disk.open(name)?.len()?;
    Ok(length <= crate::journal::format::SEGMENT_HEADER_BYTES as u64)
}

/// Takes the lock that makes a writer the only one.
pub(super) fn take_lock(disk: &dyn Disk) -> Result<Box<dyn Lock>, WriteError> {
    disk.lock(LOCK)?.ok_or_else(|| WriteError::Locked { path: disk.path_of("") })
}
