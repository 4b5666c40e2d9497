//! The one place where a file becomes memory.

use std::fmt;
use std::fs::File;
use std::io;

/// The bytes of a published file: mapped, or held in memory by a disk that has no files.
pub struct Mapped(Bytes);

enum Bytes {
    Map(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Mapped {
    /// Bytes that are in memory already.
    pub fn from_vec(bytes: Vec<u8>) -> Mapped {
        Mapped(Bytes::Owned(bytes))
    }

    /// Maps an open published file. An empty file cannot be mapped and becomes no bytes.
    pub(super) fn from_file(file: &File) -> io::Result<Mapped> {
        if file.metadata()?.len() == 0 {
            return Ok(Mapped::from_vec(Vec::new()));
        }
        #[expect(unsafe_code, reason = "a file can only be mapped by an unsafe call")]
        // SAFETY: the mapping is read-only, and only files that the store has published are
        // mapped: `store` writes each under a name of its own, syncs it, names it in the
        // manifest, and from then on only ever unlinks it, which leaves this mapping intact.
        // Directories are 0700 and files 0600, so nobody but the same user can break this from
        // outside; if he truncates the file, the process ends by SIGBUS and answers nothing.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Mapped(Bytes::Map(map)))
    }

    /// Brings all of it into the address space at once, for somebody who is about to read every
    /// byte. Where the system can't do that, each page comes when it is first read.
    pub fn bring_in(&self) {
        #[cfg(target_os = "linux")]
        if let Bytes::Map(map) = &self.0 {
            // Older kernels refuse.
            let _ = map.advise(memmap2::Advice::PopulateRead);
        }
    }
}

/// Says how long it is; the bytes are people's numbers.
impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} bytes)", self.as_ref().len())
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Map(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
