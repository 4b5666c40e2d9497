//! A list that is read twice: first to see what it would do.
//!
//! Promises: both readings give the same bytes, or the second is refused before it begins. What
//! comes through a pipe is copied to a temporary file, which only its owner can read and which
//! has no name any more once it is open.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::output::create_nameless;
use super::{Input, ScrubError};

/// A list that can be read twice.
#[derive(Debug)]
pub struct KeptInput {
    name: String,
    from: From,
}

#[derive(Debug)]
enum From {
    /// A file, and the same opened for the second reading before the first began.
    File { path: PathBuf, opened: Input },
    /// A copy of what can be read only once.
    Copy(File),
}

impl KeptInput {
    /// A file. A pipe is read to its end and copied.
    ///
    /// # Errors
    ///
    /// As [`Input::open`] and [`KeptInput::reader`].
    pub fn open(path: impl AsRef<Path>) -> Result<KeptInput, ScrubError> {
        let path = path.as_ref();
        let opened = Input::open(path)?;
        let name = opened.name().to_owned();
        match opened.len_hint() {
            Some(_) => Ok(KeptInput { name, from: From::File { path: path.to_owned(), opened } }),
            None => KeptInput::reader(name, opened),
        }
    }

    /// Anything that can be read, to its end. The name is for messages.
    ///
    /// # Errors
    ///
    /// When it can't be read, or there is no room for a copy.
    pub fn reader(name: impl Into<String>, reader: impl Read) -> Result<KeptInput, ScrubError> {
        let name = name.into();
        match copy(reader) {
            Ok(file) => Ok(KeptInput { name, from: From::Copy(file) }),
            Err(source) => Err(ScrubError::Keep { file: name, source }),
        }
    }

    /// The list for the first reading.
    ///
    /// # Errors
    ///
    /// When it can't be opened.
    pub fn first(&self) -> Result<Input, ScrubError> {
        match &self.from {
            From::File { path, .. } => Input::open(path),
            From::Copy(file) => self.rewound(file),
        }
    }

    /// The list for the second reading, after the first.
    ///
    /// # Errors
    ///
    /// When it is not what it was before the first.
    pub fn second(self) -> Result<Input, ScrubError> {
        match self.from {
            From::File { opened, .. } => {
                opened.check_unchanged(opened.len_hint().unwrap_or_default())?;
                Ok(opened)
            }
            From::Copy(ref file) => self.rewound(file),
        }
    }

    fn rewound(&self, file: &File) -> Result<Input, ScrubError> {
        let from_start = || {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(file)
        };
        match from_start() {
            Ok(file) => Ok(Input::reader(self.name.clone(), file)),
            Err(source) => Err(ScrubError::Keep { file: self.name.clone(), source }),
        }
    }
}

fn copy(mut reader: impl Read) -> io::Result<File> {
    let mut file = create_nameless(&std::env::temp_dir())?;
    io::copy(&mut reader, &mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text(mut input: Input) -> String {
        let mut text = String::new();
        input.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn both_readings_give_the_same_or_the_second_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        fs::write(&path, "one\n").unwrap();
        let kept = KeptInput::open(&path).unwrap();
        assert_eq!(text(kept.first().unwrap()), "one\n");
        assert_eq!(text(kept.second().unwrap()), "one\n");

        let kept = KeptInput::open(&path).unwrap();
        assert_eq!(text(kept.first().unwrap()), "one\n");
        fs::write(&path, "another\n").unwrap();
        let error = kept.second().map(text).unwrap_err();
        assert!(matches!(error, ScrubError::InputChanged { .. }), "{error}");

        let kept = KeptInput::reader("a pipe", "two\n".as_bytes()).unwrap();
        assert_eq!(text(kept.first().unwrap()), "two\n");
        let second = kept.second().unwrap();
        assert_eq!(second.name(), "a pipe");
        assert_eq!(text(second), "two\n");
    }
}
