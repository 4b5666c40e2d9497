//! How does the engine reach the files of a store, and nothing else?
//!
//! Everything that reads or writes a store goes through [`Disk`]: one directory, names without
//! slashes, a handful of operations. [`RealDisk`] is the operating system; tests put a disk of
//! their own in its place that tears, loses and refuses.
//!
//! Promises: a file is created with mode 0600 and never over an existing one; only plain files
//! are opened (no symbolic link, no pipe, no device); every error names the operation and the
//! file. Leaves to others: which files there are, in which order they are synced.

mod map;
mod memory;
mod real;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use map::Mapped;
pub use memory::{Faults, MemoryDisk};
pub use real::RealDisk;

/// One directory of files. Names are single path components.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The names of all entries, in no order.
    fn list(&self) -> Result<Vec<String>, DiskError>;

    /// Opens an existing file for positioned reading.
    fn open(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Opens an existing file for positioned reading and writing.
    fn open_write(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Creates a file that does not exist yet. Its name is durable only after
    /// [`Disk::sync_directory`].
    fn create(&self, name: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Puts the whole of a published file, which nobody writes again, into the address space.
    fn map(&self, name: &str) -> Result<Mapped, DiskError>;

    /// Gives a file another name, replacing what stood there, in one step.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Missing already is no error.
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// Makes created, renamed and removed names durable.
    fn sync_directory(&self) -> Result<(), DiskError>;

    /// Takes the exclusive lock on a file, creating it if needed; `None` when another process or
    /// handle has it. Dropping the value gives it back, as does the end of the process.
    fn lock(&self, name: &str) -> Result<Option<Box<dyn Lock>>, DiskError>;

    /// Where a name lies, for messages.
    fn path_of(&self, name: &str) -> PathBuf;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn len(&self) -> Result<u64, DiskError>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> Result<bool, DiskError> {
        Ok(self.len()? == 0)
    }

    /// Whether its name still leads to it; `false` once it has been deleted, or its folder has
    /// been moved away.
    fn is_in_place(&self) -> Result<bool, DiskError>;

    /// Reads at `offset` until `buffer` is full or the file ends; how many bytes were read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, DiskError>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskError>;

    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> Result<(), DiskError>;

    /// Makes data and length durable. After an error nothing that was written since the last
    /// success may be believed to be on the disk, not even if a later call succeeds: kernels
    /// mark pages clean after a failed write-back.
    fn sync(&self) -> Result<(), DiskError>;
}

/// A held lock.
pub trait Lock: Send + Sync + fmt::Debug {
    /// Whether the lock file still stands under its name: someone who deletes it opens the door
    /// to a second writer.
    fn is_in_place(&self) -> bool;
}

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb: `open`, `write`, `sync` …
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

impl DiskError {
    /// Whether the file or directory does not exist.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
///
/// As the disk gives, and when the file is longer than the limit: a length that comes from a
/// damaged directory must not become an allocation.
pub fn read_all(disk: &dyn Disk, name: &str, limit: u64) -> Result<Vec<u8>, DiskError> {
    let file = disk.open(name)?;
    let length = file.len()?;
    if length > limit {
        return Err(DiskError {
            operation: "read",
            path: disk.path_of(name),
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the file has {length} bytes, at most {limit} are expected"),
            ),
        });
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Appends to a file through a buffer, as an [`io::Write`]; knows where it stands.
pub struct Appender {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
}

/// Says where it stands; the buffer may hold people's numbers.
impl fmt::Debug for Appender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Appender({:?}, {} bytes written)", self.file, self.written)
    }
}

impl Appender {
    /// Bytes gathered before they are written: large enough that the calls do not count.
    const BUFFER_BYTES: usize = 1 << 20;

    /// Begins at the start of a new file.
    pub fn new(file: Box<dyn DiskFile>) -> Appender {
        Appender { file, buffer: Vec::with_capacity(Self::BUFFER_BYTES), written: 0 }
    }

    /// Writes what is left and syncs; the number of bytes in the file.
    ///
    /// # Errors
    ///
    /// When writing or syncing fails; the file must then not be used.
    pub fn finish(mut self) -> Result<u64, DiskError> {
        self.drain()?;
        self.file.sync()?;
        Ok(self.written)
    }

    fn drain(&mut self) -> Result<(), DiskError> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl io::Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > Self::BUFFER_BYTES {
            self.drain().map_err(io::Error::other)?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain().map_err(io::Error::other)
    }
}
