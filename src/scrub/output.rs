//! Files that appear under their names only when all of them are complete.
//!
//! An [`OutputFile`] is written under a temporary name in the folder of its target, readable by
//! its owner alone (0600, which it keeps: it is full of people's numbers). [`publish`] syncs
//! every file of a run before it renames the first. Whatever happens before leaves nothing under
//! a final name: dropping an `OutputFile` removes its temporary, and a killed process leaves a
//! `.optout-….partial` that nobody takes for a list.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::OutputError;
use super::writeback::WriteBack;

/// A file that is being written, not yet under its name. Write in large pieces: it has no buffer.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: WriteBack,
    /// `None` for devices and pipes, which are written as they stand, and once published.
    temporary: Option<PathBuf>,
    replace: bool,
}

impl OutputFile {
    /// Begins a file that will stand at `path`. An existing file is refused, or with `replace`
    /// replaced by [`publish`], not earlier. Devices and pipes (`/dev/null`) are written directly.
    ///
    /// # Errors
    ///
    /// When there is a file already, or none can be made there.
    pub fn create(path: impl Into<PathBuf>, replace: bool) -> Result<OutputFile, OutputError> {
        let path = path.into();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(OutputError::NotAFile { path }),
            Ok(metadata) if !metadata.is_file() => {
                let file = io_at(&path, "opened", OpenOptions::new().write(true).open(&path))?;
                return Ok(OutputFile {
                    path,
                    file: WriteBack::new(file),
                    temporary: None,
                    replace,
                });
            }
            _ => {}
        }
        // `symlink_metadata` sees the link whose target is missing, too.
        if !replace && fs::symlink_metadata(&path).is_ok() {
            return Err(OutputError::Exists { path });
        }
        if path.file_name().is_none() {
            return Err(OutputError::NotAFile { path });
        }
        let (file, temporary) = io_at(&path, "created", create_temporary(folder_of(&path)))?;
        let file = WriteBack::new(file);
        Ok(OutputFile { path, file, temporary: Some(temporary), replace })
    }

    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the complete file its name.
    fn rename(&mut self) -> Result<(), OutputError> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let renamed = if self.replace {
            fs::rename(temporary, &self.path)
        } else {
            rename_onto_nothing(temporary, &self.path)
        };
        match renamed {
            Ok(()) => {
                self.temporary = None;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(OutputError::Exists { path: self.path.clone() })
            }
            Err(source) => io_at(&self.path, "put in place", Err(source)),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.file().write(bytes)?;
        if self.temporary.is_some() {
            self.file.wrote(written);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.file().flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing can be done about a failure here, and the name says what it is.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Makes all files of a run durable, then gives them their names, then makes the names durable.
///
/// # Errors
///
/// When any of it fails. Then no file stands under its name that did not before; only a file that
/// was replaced before the failure of another one stays replaced, by a complete one.
pub fn publish(mut files: Vec<OutputFile>) -> Result<(), OutputError> {
    for output in files.iter_mut().filter(|output| output.temporary.is_some()) {
        io_at(&output.path, "synced", output.file.finish())?;
    }
    let mut new = Vec::new();
    let mut folders = BTreeSet::new();
    for output in files.iter_mut().filter(|output| output.temporary.is_some()) {
        let existed = fs::symlink_metadata(&output.path).is_ok();
        if let Err(error) = output.rename() {
            for path in new {
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        folders.insert(folder_of(&output.path).to_owned());
        if !existed {
            new.push(output.path.clone());
        }
    }
    for folder in folders {
        io_at(&folder, "synced", File::open(&folder).and_then(|folder| folder.sync_all()))?;
    }
    Ok(())
}

/// Refuses outputs that are inputs, by whatever name, and two outputs that are one file. Call it
/// before anything is created.
///
/// # Errors
///
/// When an output is refused.
pub fn check_paths(inputs: &[&Path], outputs: &[&Path]) -> Result<(), OutputError> {
    for (place, &output) in outputs.iter().enumerate() {
        if inputs.iter().any(|input| is_same_file(input, output)) {
            return Err(OutputError::IsInput { path: output.to_owned() });
        }
        if outputs[..place].iter().any(|earlier| is_same_file(earlier, output)) {
            return Err(OutputError::Twice { path: output.to_owned() });
        }
    }
    Ok(())
}

/// Whether two paths lead to one regular file, or would. Links are followed.
fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        // Two outputs may both be /dev/null.
        (Ok(one), Ok(other)) if one.is_file() && other.is_file() && same_inode(&one, &other) => {
            true
        }
        (Ok(one), _) if !one.is_file() => false,
        _ => place_of(one) == place_of(other),
    }
}

#[cfg(unix)]
fn same_inode(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_inode(_one: &Metadata, _other: &Metadata) -> bool {
    false
}

/// Where the path leads; for a file that isn't there, its folder and name.
fn place_of(path: &Path) -> Option<PathBuf> {
    path.canonicalize()
        .or_else(|_| {
            Ok::<_, io::Error>(
                folder_of(path).canonicalize()?.join(path.file_name().unwrap_or_default()),
            )
        })
        .ok()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A file of no name that lasts, which its owner alone can read.
pub(super) fn create_temporary(folder: &Path) -> io::Result<(File, PathBuf)> {
    const ATTEMPTS: usize = 16;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut last = io::ErrorKind::AlreadyExists.into();
    for _ in 0..ATTEMPTS {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let path = folder.join(format!(".optout-{:016x}.partial", u64::from_le_bytes(random)));
        match options.open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

/// A file without a name, which is gone when the last handle of it is closed, however the process
/// ends.
pub(crate) fn create_nameless(folder: &Path) -> io::Result<File> {
    let (file, path) = create_temporary(folder)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// Renames, but never replaces a file that somebody else made there in the meantime.
fn rename_onto_nothing(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // File systems without links: the gap between look and rename is all that is left.
        Err(_) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

fn io_at<T>(path: &Path, action: &'static str, result: io::Result<T>) -> Result<T, OutputError> {
    result.map_err(|source| OutputError::Io { path: path.to_owned(), action, source })
}
