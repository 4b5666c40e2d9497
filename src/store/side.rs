//! How is a small list kept beside the events: keys, campaigns, what replies mean?
//!
//! A [`SideFile`] is one JSON document in the store's directory. Promises: it is replaced as a
//! whole or not at all, synced; two who change it at the same time don't lose each other's change;
//! one that can't be read is an error, never an empty list. Leaves to others what it holds, and
//! when it is read again.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::SideNames;
use super::{Manifest, StoreError};
use crate::disk::{Disk, DiskError, DiskFile, read_all};

/// What a side file holds.
pub(crate) trait SideList: Serialize + DeserializeOwned {
    /// Its files.
    const NAMES: SideNames;
    /// What it is called in errors, such as "list of keys".
    const WHAT: &'static str;
    /// The version that is read and written.
    const VERSION: u32;
    /// Bytes that are read at most.
    const BYTES_MAX: u64;

    /// What holds as long as there is no file.
    fn empty() -> Self;

    /// Its `version`.
    fn version(&self) -> u32;
}

/// Why a list beside the events could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SideError {
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It is not as it was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody else changes it.
    #[error("another command changes the {what}: try again when it has ended")]
    Busy {
        /// What it is called.
        what: &'static str,
    },
}

/// A list on the disk of a store.
pub(crate) struct SideFile<T> {
    disk: Arc<dyn Disk>,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for SideFile<T> {
    fn clone(&self) -> Self {
        SideFile { disk: self.disk.clone(), holds: PhantomData }
    }
}

impl<T: SideList> fmt::Debug for SideFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SideFile({})", T::NAMES.file)
    }
}

impl<T: SideList> SideFile<T> {
    /// The list of the store on a disk.
    ///
    /// # Errors
    ///
    /// When there is no store.
    pub(crate) fn open(disk: Arc<dyn Disk>) -> Result<SideFile<T>, SideError> {
        Manifest::read(&*disk)?;
        Ok(SideFile { disk, holds: PhantomData })
    }

    /// The file as it stands; `None` when there is none.
    pub(crate) fn bytes(&self) -> Result<Option<Vec<u8>>, DiskError> {
        match read_all(&*self.disk, T::NAMES.file, T::BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The list behind the bytes of the file.
    pub(crate) fn parse(&self, bytes: Option<&[u8]>) -> Result<T, SideError> {
        let Some(bytes) = bytes else { return Ok(T::empty()) };
        let damaged =
            |what: String| SideError::Damaged { path: self.disk.path_of(T::NAMES.file), what };
        let list: T = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("line {}: it is no {}", error.line(), T::WHAT)))?;
        if list.version() != T::VERSION {
            let what = format!("it has version {}, not {}", list.version(), T::VERSION);
            return Err(damaged(what));
        }
        Ok(list)
    }

    /// The list as it stands.
    pub(crate) fn read(&self) -> Result<T, SideError> {
        self.parse(self.bytes()?.as_deref())
    }

    /// Changes the list. When `apply` refuses, it stays as it was.
    pub(crate) fn change<R, E: From<SideError>>(
        &self,
        apply: impl FnOnce(&mut T) -> Result<R, E>,
    ) -> Result<R, E> {
        let disk = &*self.disk;
        let busy = SideError::Busy { what: T::WHAT };
        let _lock = disk.lock(T::NAMES.lock).map_err(SideError::from)?.ok_or(busy)?;
        let mut list = self.read()?;
        let answer = apply(&mut list)?;
        self.write(&list).map_err(SideError::from)?;
        Ok(answer)
    }

    fn open_file(&self) -> Result<Option<Box<dyn DiskFile>>, DiskError> {
        match self.disk.open(T::NAMES.file) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, list: &T) -> Result<(), DiskError> {
        let (disk, names) = (&*self.disk, T::NAMES);
        let mut bytes = serde_json::to_vec_pretty(list).expect("a list is JSON");
        bytes.push(b'\n');
        disk.remove(names.next)?;
        let file = disk.create(names.next)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(names.next, names.file)?;
        disk.sync_directory()
    }
}

/// A list that is looked at often: it is read again only when another one has taken its place.
pub(crate) struct Watched<T> {
    file: SideFile<T>,
    known: Mutex<Option<Known<T>>>,
}

struct Known<T> {
    file: Box<dyn DiskFile>,
    list: Arc<T>,
}

impl<T: SideList> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", T::NAMES.file)
    }
}

impl<T: SideList> Watched<T> {
    pub(crate) fn new(file: SideFile<T>) -> Watched<T> {
        Watched { file, known: Mutex::new(None) }
    }

    /// The list as it stands now.
    pub(crate) fn read(&self) -> Result<Arc<T>, SideError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.file.is_in_place()?
        {
            return Ok(known.list.clone());
        }
        *known = None;
        let Some(file) = self.file.open_file()? else { return Ok(Arc::new(T::empty())) };
        // What is read is what the open file holds, even if another one takes its place now.
        let length = file.len()?.min(T::BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let read = file.read_at(&mut bytes, 0)?;
        let list = Arc::new(self.file.parse(Some(&bytes[..read]))?);
        *known = Some(Known { file, list: list.clone() });
        Ok(list)
    }
}
