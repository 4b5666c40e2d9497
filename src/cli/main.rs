//! The `optout` command: flags, files, screens and exit codes around the library.
//!
//! It sees nothing but the public API. Data goes to standard output, words and progress to
//! standard error; the only place where the process ends itself is the end of `main`.

mod args;
mod cmd;
mod exit;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let output = output::Output::new(&cli.global);
    match cmd::run(cli, &output) {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => exit::Exit::Failed.into(),
        Err(error) => {
            let exit = exit::Exit::of(&error);
            output.error(&error);
            exit.into()
        }
    }
}
