//! Where do the rows go? To standard output, or to a file that is never half there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Large enough that the system calls don't show.
const BUFFER_BYTES: usize = 1 << 20;

/// A buffered output. A file gets its name only when it is complete; until then it is called
/// `NAME.part`.
pub(crate) struct Output {
    file: Option<PathBuf>,
    writer: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// Opens a file, or standard output for `-`.
    ///
    /// # Errors
    ///
    /// When the file can't be made.
    pub(crate) fn open(path: &Path) -> io::Result<Output> {
        if path == Path::new("-") {
            return Ok(Output::over(None, Box::new(io::stdout().lock())));
        }
        let file = File::create(part_of(path)).map_err(|error| with_path(path, error))?;
        Ok(Output::over(Some(path.to_owned()), Box::new(file)))
    }

    /// As [`Output::open`]; without a path everything written is dropped.
    ///
    /// # Errors
    ///
    /// When the file can't be made.
    pub(crate) fn open_or_drop(path: Option<&Path>) -> io::Result<Output> {
        path.map_or_else(|| Ok(Output::over(None, Box::new(io::sink()))), Output::open)
    }

    fn over(file: Option<PathBuf>, writer: Box<dyn Write>) -> Output {
        Output { file, writer: BufWriter::with_capacity(BUFFER_BYTES, writer) }
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    ///
    /// When either fails.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        match self.file {
            Some(path) => {
                fs::rename(part_of(&path), &path).map_err(|error| with_path(&path, error))
            }
            None => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn with_path(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
