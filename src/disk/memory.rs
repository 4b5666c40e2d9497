//! A disk that lives in memory and fails on command: for tests, and for stores that need not
//! outlive their process.
//!
//! It keeps, beside what was written, what a power cut would leave: the bytes as of each file's
//! last sync and the names as of the directory's. [`MemoryDisk::after_power_cut`] goes there.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskError, DiskFile, Lock, Mapped};

/// A directory in memory. Clones are the same directory.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Shared>>,
}

/// What a [`MemoryDisk`] refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes that all files together may have; a write that passes it is cut short and fails
    /// with "no space left".
    pub capacity: Option<usize>,
    /// Syncs that still succeed; those after them fail with an I/O error.
    pub syncs_left: Option<usize>,
}

#[derive(Default)]
struct Shared {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Contents>,
    locked: HashSet<String>,
    faults: Faults,
}

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

/// Shows no bytes.
impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryDisk({} files)", self.shared().names.len())
    }
}

impl MemoryDisk {
    /// An empty directory.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// From now on refuses what `faults` says.
    pub fn set_faults(&self, faults: Faults) {
        self.shared().faults = faults;
    }

    /// What a power cut at this moment leaves: synced bytes under synced names, no locks, no
    /// faults. The disk itself stays as it is.
    pub fn after_power_cut(&self) -> MemoryDisk {
        let shared = self.shared();
        let mut files = shared.files.clone();
        for file in &mut files {
            file.bytes.clone_from(&file.durable);
        }
        let names = shared.durable_names.clone();
        let after = Shared { durable_names: names.clone(), names, files, ..Shared::default() };
        MemoryDisk { shared: Arc::new(Mutex::new(after)) }
    }

    /// The bytes of a file, if it exists.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let shared = self.shared();
        shared.names.get(name).map(|&at| shared.files[at].bytes.clone())
    }

    /// Puts a file in place, synced.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut shared = self.shared();
        let at = shared.files.len();
        shared.files.push(Contents { durable: bytes.clone(), bytes });
        shared.names.insert(name.to_owned(), at);
        shared.durable_names.insert(name.to_owned(), at);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str, operation: &'static str) -> Result<MemoryFile, DiskError> {
        match self.shared().names.get(name) {
            Some(&at) => Ok(MemoryFile { disk: self.clone(), name: name.to_owned(), at }),
            None => Err(self.error(operation, name, io::ErrorKind::NotFound)),
        }
    }

    fn error(&self, operation: &'static str, name: &str, kind: io::ErrorKind) -> DiskError {
        DiskError { operation, path: self.path_of(name), source: io::Error::from(kind) }
    }

    fn count_sync(shared: &mut Shared) -> bool {
        match &mut shared.faults.syncs_left {
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        Ok(self.shared().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(self.find(name, "open")?))
    }

    fn open_write(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        self.open(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut shared = self.shared();
        if shared.names.contains_key(name) {
            return Err(self.error("create", name, io::ErrorKind::AlreadyExists));
        }
        let at = shared.files.len();
        shared.files.push(Contents::default());
        shared.names.insert(name.to_owned(), at);
        Ok(Box::new(MemoryFile { disk: self.clone(), name: name.to_owned(), at }))
    }

    fn map(&self, name: &str) -> Result<Mapped, DiskError> {
        let bytes = self.bytes(name);
        bytes.map(Mapped::from_vec).ok_or_else(|| self.error("map", name, io::ErrorKind::NotFound))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut shared = self.shared();
        match shared.names.remove(from) {
            Some(at) => {
                shared.names.insert(to.to_owned(), at);
                Ok(())
            }
            None => Err(self.error("rename", from, io::ErrorKind::NotFound)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.shared().names.remove(name);
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        let mut shared = self.shared();
        if !Self::count_sync(&mut shared) {
            return Err(self.error("sync the directory", "", io::ErrorKind::Other));
        }
        shared.durable_names = shared.names.clone();
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, DiskError> {
        let fresh = self.shared().locked.insert(name.to_owned());
        let lock = MemoryLock { disk: self.clone(), name: name.to_owned() };
        Ok(fresh.then(|| Box::new(lock) as Box<dyn Lock>))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    name: String,
    at: usize,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.disk.shared().files[self.at].bytes.len() as u64)
    }

    fn is_in_place(&self) -> Result<bool, DiskError> {
        Ok(self.disk.shared().names.get(&self.name) == Some(&self.at))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let shared = self.disk.shared();
        let bytes = &shared.files[self.at].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        let mut shared = self.disk.shared();
        let used: usize = shared.names.values().map(|&at| shared.files[at].bytes.len()).sum();
        let room = shared.faults.capacity.map_or(usize::MAX, |it| it.saturating_sub(used));
        let offset = offset as usize;
        let file = &mut shared.files[self.at].bytes;
        let end = offset + bytes.len();
        let allowed = end.min(file.len().saturating_add(room));
        if allowed > file.len() {
            file.resize(allowed, 0);
        }
        let written = allowed.saturating_sub(offset);
        file[offset.min(allowed)..allowed].copy_from_slice(&bytes[..written]);
        if written == bytes.len() {
            return Ok(());
        }
        Err(self.disk.error("write", &self.name, io::ErrorKind::StorageFull))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.disk.shared().files[self.at].bytes.truncate(length as usize);
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut shared = self.disk.shared();
        if !MemoryDisk::count_sync(&mut shared) {
            return Err(self.disk.error("sync", &self.name, io::ErrorKind::Other));
        }
        let file = &mut shared.files[self.at];
        file.durable.clone_from(&file.bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    name: String,
}

impl Lock for MemoryLock {
    fn is_in_place(&self) -> bool {
        true
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.shared().locked.remove(&self.name);
    }
}
