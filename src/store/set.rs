//! The store's sets of keys, opened and checked.
//!
//! Promises that every byte of an open set was read and found right: against its checksum and, at
//! the same time, whether it is a set at all. Leaves what the sets mean to `generation` and
//! `registry`.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::error::StoreError;
use super::generation::map;
use super::manifest::FileInfo;
use crate::disk::{Disk, Mapped};
use crate::journal::hex;
use crate::snapshot::View;

/// A snapshot in the store's directory.
pub(super) type Set = View<SharedBytes>;

/// The bytes of a snapshot, so that two threads can check them.
#[derive(Clone, Debug)]
pub(super) struct SharedBytes(Arc<Mapped>);

impl SharedBytes {
    pub(super) fn new(bytes: Mapped) -> SharedBytes {
        SharedBytes(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// Opens a set and checks every byte of it. `count` is how many members it must have, if that is
/// known.
pub(super) fn open_set(
    disk: &dyn Disk,
    file: &FileInfo,
    count: Option<u64>,
) -> Result<Set, StoreError> {
    let bytes = SharedBytes::new(map(disk, file)?);
    let path = disk.path_of(&file.name);
    // A fault for every few pages would take longer than the checks.
    bytes.0.bring_in();
    let checksum = || hex(xxh3_64(bytes.as_ref()));
    let (checksum, set) = rayon::join(checksum, || View::open(bytes.clone()));
    // When the checksum says that something is wrong, the view may say where.
    let set = set.map_err(|error| StoreError::snapshot(path.clone(), &error))?;
    if checksum != file.xxh3 {
        return Err(StoreError::damaged(path, 0, "it does not match its checksum"));
    }
    match count {
        Some(count) if count != set.len() => {
            let what = format!("it holds {} keys, the manifest says {count}", set.len());
            Err(StoreError::damaged(path, 0, what))
        }
        _ => Ok(set),
    }
}
