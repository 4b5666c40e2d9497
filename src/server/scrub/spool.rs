//! Where do the rows of a job wait until they are taken?
//!
//! In files without a name: nobody else can open them, no backup copies them, and they are gone
//! with the last handle, however the server ends. Promises: a spool grows on the disk only, and
//! never takes what the journal needs: it ends as on a full disk while a reserve is still free.
//! Leaves to others: who may take the rows, and for how long they wait (`job`).

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::scrub::output::create_nameless;

/// The folder of spools, and what has to stay free on its disk.
#[derive(Clone, Debug)]
pub(in crate::server) struct Room {
    folder: PathBuf,
    reserve: u64,
}

impl Room {
    pub(in crate::server) fn new(folder: PathBuf, reserve: u64) -> Room {
        Room { folder, reserve }
    }

    /// A new spool.
    ///
    /// # Errors
    ///
    /// When no file can be made, or less than the reserve is free ([`io::ErrorKind::StorageFull`]).
    pub(in crate::server) fn spool(&self) -> io::Result<Spool> {
        self.check()?;
        let file = create_nameless(&self.folder)?;
        Ok(Spool { file, written: AtomicU64::new(0), room: self.clone() })
    }

    fn check(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let disk = rustix::fs::statvfs(&self.folder)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize) < self.reserve {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }
}

/// Bytes on the disk, written once from the beginning to the end, and read anywhere meanwhile.
pub(in crate::server) struct Spool {
    file: File,
    written: AtomicU64,
    room: Room,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spool({} bytes)", self.len())
    }
}

impl Spool {
    /// Bytes written so far.
    pub(in crate::server) fn len(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The bytes from `at` on, `max` at most; none at the end of what is written.
    pub(in crate::server) fn read_at(&self, at: u64, max: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.len().saturating_sub(at)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// What writes it. There is one at a time.
    pub(in crate::server) fn writer(&self) -> SpoolWriter<'_> {
        SpoolWriter(self)
    }

    /// What reads it from its beginning, at any place.
    pub(in crate::server) fn reader(self: &Arc<Spool>) -> SpoolReader {
        SpoolReader { spool: self.clone(), at: 0 }
    }
}

/// Writes a spool.
#[derive(Debug)]
pub(in crate::server) struct SpoolWriter<'a>(&'a Spool);

impl Write for SpoolWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// The disk is looked at again after so many.
        const CHECK_BYTES: u64 = 16 << 20;
        let begin = self.0.len();
        let written = (&self.0.file).write(bytes)?;
        let end = begin + written as u64;
        self.0.written.store(end, Ordering::Release);
        if begin / CHECK_BYTES != end / CHECK_BYTES {
            self.0.room.check()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a spool.
#[derive(Debug)]
pub(in crate::server) struct SpoolReader {
    spool: Arc<Spool>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.spool.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for SpoolReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(offset) => (self.spool.len(), offset),
            SeekFrom::Current(offset) => (self.at, offset),
        };
        let at = base.checked_add_signed(offset).ok_or(io::ErrorKind::InvalidInput)?;
        self.at = at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_anywhere_and_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Room::new(folder.path().to_owned(), 0).spool().unwrap());
        spool.writer().write_all(b"one two three").unwrap();
        assert_eq!(spool.read_at(4, 3).unwrap(), "two");
        assert_eq!(spool.read_at(8, 100).unwrap(), "three");
        assert!(
            spool.read_at(13, 9).unwrap().is_empty() && spool.read_at(99, 9).unwrap().is_empty()
        );
        let mut reader = spool.reader();
        reader.seek(SeekFrom::End(-5)).unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "three");
        assert!(reader.seek(SeekFrom::Current(-99)).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_disk_that_is_nearly_full_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let error = Room::new(folder.path().to_owned(), u64::MAX).spool().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
