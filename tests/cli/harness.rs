//! A fresh directory, the real binary, and everything that came out of it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;
use tempfile::TempDir;

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code and gives standard output.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &str {
        assert_eq!(self.exit, Some(code), "\nstdout: {}\nstderr: {}", self.out(), self.stderr);
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Asserts the exit code, an empty standard output, and that standard error has these words.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.exits(code), "");
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        self.says(words);
    }

    /// Asserts that standard error has these words.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }

    /// Asserts success and gives standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.exits(0)).unwrap()
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A directory for one test. Commands run in it, against the store `store` in it.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// Without a store.
    pub(crate) fn empty() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    /// With a new store.
    pub(crate) fn new() -> Place {
        let place = Place::empty();
        place.run(&["init"]).exits(0);
        place
    }

    /// With a store that holds these opt-outs.
    pub(crate) fn holding(numbers: &[&str]) -> Place {
        let place = Place::new();
        place.run(&[&["add"], numbers].concat()).exits(0);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The names in the directory, the store's aside.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "store")
            .collect();
        names.sort();
        names
    }

    /// Every file of the store with its bytes.
    pub(crate) fn store_files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path("store"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    /// The binary in this directory, without a store named.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::cargo_bin("optout").unwrap();
        command.current_dir(self.folder.path()).env_remove("OPTOUT_STORE").env("NO_COLOR", "1");
        command.env("USER", "tester").env_remove("SUDO_USER");
        command
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = self.bare();
        command.arg("--store").arg("store").args(args);
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ran {
        self.run_with(args, b"")
    }

    /// Runs with bytes on standard input.
    pub(crate) fn run_with<A: AsRef<OsStr>>(&self, args: &[A], stdin: &[u8]) -> Ran {
        run(&mut self.command(args), stdin)
    }

    /// Runs in a shell in which no file may grow past so many blocks of 512 bytes.
    pub(crate) fn run_limited(&self, blocks: u32, args: &[&str], stdin: &[u8]) -> Ran {
        let binary = self.bare().get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.current_dir(self.folder.path()).env("NO_COLOR", "1");
        shell.arg("-c").arg(format!("ulimit -f {blocks}; exec \"$@\"")).arg("sh");
        shell.arg(binary).args(["--store", "store"]).args(args);
        run(&mut shell, stdin)
    }

    /// Who of the numbers is opted out, by `check`.
    #[track_caller]
    pub(crate) fn suppressed(&self, numbers: &[&str]) -> Vec<bool> {
        let ran = self.run(&[&["check"], numbers].concat());
        let word = |line: &str| line.split('\t').nth(1).map(|word| word == "suppressed");
        ran.exits(0).lines().map(|line| word(line).unwrap()).collect()
    }
}

pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A child that ends early does not read everything.
        scope.spawn(move || drop(pipe.write_all(stdin)));
        child.wait_with_output().unwrap()
    });
    Ran {
        exit: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
