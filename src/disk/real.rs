//! The operating system's files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Disk, DiskError, DiskFile, Lock, Mapped};

/// A directory of the operating system.
#[derive(Debug, Clone)]
pub struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// The directory at a path, which need not exist yet.
    pub fn new(directory: impl Into<PathBuf>) -> RealDisk {
        RealDisk { directory: directory.into() }
    }

    /// Makes the directory with mode 0700, and its parents, and makes their names durable.
    /// Existing already is no error.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn create_directory(&self) -> Result<(), DiskError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DiskError { operation: "create the directory", path, source }
        };
        let mut missing: Vec<&Path> = Vec::new();
        let mut at: &Path = &self.directory;
        while !at.as_os_str().is_empty() && !at.exists() {
            missing.push(at);
            let Some(parent) = at.parent() else { break };
            at = parent;
        }
        for path in missing.into_iter().rev() {
            match fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(path)(error));
                }
                _ => {}
            }
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            File::open(parent).and_then(|it| it.sync_all()).map_err(failed(path))?;
        }
        if !self.directory.is_dir() {
            return Err(failed(&self.directory)(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(())
    }

    fn error(&self, operation: &'static str, name: &str) -> impl FnOnce(io::Error) -> DiskError {
        let path = self.path_of(name);
        move |source| DiskError { operation, path, source }
    }

    /// Opens only what is a plain file: opening a pipe would wait for ever, a link may lead out
    /// of the store.
    fn open_plain(&self, name: &str, write: bool) -> Result<RealFile, DiskError> {
        let path = self.path_of(name);
        let open = || {
            if !fs::symlink_metadata(&path)?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
            }
            OpenOptions::new().read(true).write(write).open(&path)
        };
        let file = open().map_err(self.error("open", name))?;
        Ok(RealFile { file, path })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let list = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.directory)? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            Ok(names)
        };
        list().map_err(self.error("list", ""))
    }

    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(self.open_plain(name, false)?))
    }

    fn open_write(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(self.open_plain(name, true)?))
    }

    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError> {
        let path = self.path_of(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(self.error("create", name))?;
        Ok(Box::new(RealFile { file, path }))
    }

    fn map(&self, name: &str) -> Result<Mapped, DiskError> {
        let file = self.open_plain(name, false)?;
        Mapped::from_file(&file.file).map_err(self.error("map", name))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        fs::rename(self.path_of(from), self.path_of(to)).map_err(self.error("rename", from))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.error("remove", name)(error))
            }
            _ => Ok(()),
        }
    }

    fn sync_directory(&self) -> Result<(), DiskError> {
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .map_err(self.error("sync the directory", ""))
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, DiskError> {
        let path = self.path_of(name);
        let take = || {
            if fs::symlink_metadata(&path).is_ok_and(|it| !it.is_file()) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(RealLock { file, path: path.clone() })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        let lock = take().map_err(self.error("lock", name))?;
        // Between opening and locking, the file may have been deleted and made anew by another
        // writer: then this lock is on a file that nobody else looks at.
        Ok(lock.filter(|lock| lock.is_in_place()).map(|lock| Box::new(lock) as Box<dyn Lock>))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.directory.clone() } else { self.directory.join(name) }
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> DiskError {
        let path = self.path.clone();
        move |source| DiskError { operation, path, source }
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> Result<u64, DiskError> {
        Ok(self.file.metadata().map_err(self.error("measure"))?.len())
    }

    fn is_in_place(&self) -> Result<bool, DiskError> {
        is_in_place(&self.file, &self.path).map_err(self.error("measure"))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error("read")(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.file.write_all_at(bytes, offset).map_err(self.error("write"))
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.file.set_len(length).map_err(self.error("truncate"))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(self.error("sync"))
    }
}

#[derive(Debug)]
struct RealLock {
    file: File,
    path: PathBuf,
}

impl Lock for RealLock {
    fn is_in_place(&self) -> bool {
        is_in_place(&self.file, &self.path).unwrap_or(false)
    }
}

/// Whether an open file is still the one that its name leads to.
fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((held.dev(), held.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
