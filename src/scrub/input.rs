//! The recipient list, and whether it stayed what it was.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use super::ScrubError;

/// A list to be scrubbed.
pub struct Input {
    name: String,
    from: From,
}

enum From {
    File { file: File, opened: Opened },
    Reader(Box<dyn Read + Send>),
}

/// What the file was when it was opened; `None` for pipes, of which nothing is known.
type Opened = Option<(u64, Option<SystemTime>)>;

impl Input {
    /// A file.
    ///
    /// # Errors
    ///
    /// When it can't be opened, or is a folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Input, ScrubError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let opened = state(&metadata);
            Ok(From::File { file, opened })
        });
        match opened {
            Ok(from) => Ok(Input { name, from }),
            Err(source) => Err(ScrubError::Open { file: name, source }),
        }
    }

    /// Anything that can be read, such as standard input. The name is for messages.
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Input {
        Input { name: name.into(), from: From::Reader(Box::new(reader)) }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length, as far as that is known: for progress.
    pub fn len_hint(&self) -> Option<u64> {
        match &self.from {
            From::File { opened, .. } => opened.map(|(len, _)| len),
            From::Reader(_) => None,
        }
    }

    /// Fails if the file is not the one any more that was opened, or was not read as a whole;
    /// `read` is how many bytes were.
    ///
    /// # Errors
    ///
    /// [`ScrubError::InputChanged`], or that the file can't be looked at any more.
    pub fn check_unchanged(&self, read: u64) -> Result<(), ScrubError> {
        let From::File { file, opened: Some(before) } = &self.from else { return Ok(()) };
        let after = file
            .metadata()
            .map_err(|source| ScrubError::Open { file: self.name.clone(), source })?;
        if state(&after) == Some(*before) && read == before.0 {
            return Ok(());
        }
        let (file, before) = (self.name.clone(), before.0);
        Err(ScrubError::InputChanged { file, before, after: after.len(), read })
    }
}

fn state(metadata: &Metadata) -> Opened {
    metadata.is_file().then(|| (metadata.len(), metadata.modified().ok()))
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.from {
            From::File { file, .. } => file.read(buffer),
            From::Reader(reader) => reader.read(buffer),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Input").field(&self.name).finish()
    }
}
