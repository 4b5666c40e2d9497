//! Exit codes: a promise to scripts.

use std::process::ExitCode;

use optout::exchange::{ImportError, TooMany};
use optout::query::{DiffError, JudgeError, RecheckRefused};
use optout::scrub::{OutputError, RecheckError, ScrubError};
#[cfg(feature = "server")]
use optout::server::{CaptureError, KeyError, ServeError};
#[cfg(feature = "server")]
use optout::store::SideError;
use optout::store::{StoreError, WriteError};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; what was reported is durable.
    Done = 0,
    /// Failed: input or output. The store is as before, or complete.
    Failed = 1,
    /// Wrong usage. clap ends the process with the same code.
    Usage = 2,
    /// The store is damaged, or is not a store: nothing was answered.
    Store = 3,
    /// Another writer holds the store.
    Locked = 4,
    /// Refused by a guard.
    Refused = 5,
    /// `--exit-status` of `check` and `recheck`: somebody is not allowed.
    NotAllowed = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Wrong usage that clap could not see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// A guard of the command's own refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(pub(crate) String);

impl Exit {
    /// The code for an error: the first in its chain that has one of its own decides.
    pub(crate) fn of(error: &anyhow::Error) -> Exit {
        error.chain().find_map(Exit::of_cause).unwrap_or(Exit::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
        let of_store = |error: &StoreError| match error {
            StoreError::Future { .. } => Some(Exit::Usage),
            error => error.is_store_at_fault().then_some(Exit::Store),
        };
        if cause.is::<UsageError>() {
            return Some(Exit::Usage);
        }
        if cause.is::<Refusal>() || cause.is::<TooMany>() {
            return Some(Exit::Refused);
        }
        if let Some(error) = cause.downcast_ref::<StoreError>() {
            return of_store(error);
        }
        if let Some(error) = cause.downcast_ref::<WriteError>() {
            return match error {
                WriteError::Locked { .. } => Some(Exit::Locked),
                WriteError::NotEmpty { .. } => Some(Exit::Store),
                // Texts come from options only: spellings are shortened before.
                WriteError::Text { .. }
                | WriteError::Channel(_)
                | WriteError::Action { .. }
                | WriteError::Batch { .. }
                | WriteError::NamesForgotten { .. } => Some(Exit::Usage),
                WriteError::Registry(error) if error.is_usage() => Some(Exit::Usage),
                WriteError::Registry(_) => Some(Exit::Refused),
                WriteError::Store(error) => of_store(error),
                _ => None,
            };
        }
        #[cfg(feature = "server")]
        if let Some(exit) = Exit::of_server(cause) {
            return Some(exit);
        }
        if let Some(error) = cause.downcast_ref::<JudgeError>() {
            return match error {
                JudgeError::Store(error) => of_store(error),
                JudgeError::Stale { .. } => Some(Exit::Refused),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<DiffError>() {
            return match error {
                DiffError::Store(error) => of_store(error),
                DiffError::Backwards { .. } => Some(Exit::Usage),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<ImportError>() {
            return match error {
                ImportError::Write(error) => Exit::of_cause(error),
                ImportError::Store(error) => of_store(error),
                ImportError::Mixed { .. } => Some(Exit::Usage),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<RecheckRefused>() {
            return match error {
                RecheckRefused::Store(error) => of_store(error),
                RecheckRefused::Recheck(error) => match error {
                    RecheckError::OtherFile { .. } | RecheckError::FileChanged { .. } => {
                        Some(Exit::Refused)
                    }
                    RecheckError::Lookup(source) => Exit::of_cause(&**source),
                    _ => None,
                },
                _ => Some(Exit::Refused),
            };
        }
        if let Some(ScrubError::Lookup { source, .. }) = cause.downcast_ref::<ScrubError>() {
            return Exit::of_cause(&**source);
        }
        match cause.downcast_ref::<OutputError>()? {
            OutputError::Exists { .. }
            | OutputError::IsInput { .. }
            | OutputError::Twice { .. } => Some(Exit::Refused),
            _ => None,
        }
    }

    #[cfg(feature = "server")]
    fn of_server(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
        if let Some(error) = cause.downcast_ref::<ServeError>() {
            return match error {
                ServeError::Write(error) => Exit::of_cause(error),
                ServeError::Store(error) => Exit::of_cause(error),
                ServeError::Keys(error) => Exit::of_cause(error),
                ServeError::Senders(error) => Exit::of_cause(error),
                ServeError::Open { .. } => Some(Exit::Usage),
                _ => None,
            };
        }
        if let Some(error) = cause.downcast_ref::<CaptureError>() {
            return match error {
                CaptureError::List(error) => Exit::of_side(error),
                CaptureError::TooMany => Some(Exit::Refused),
                _ => Some(Exit::Usage),
            };
        }
        match cause.downcast_ref::<KeyError>()? {
            KeyError::List(error) => Exit::of_side(error),
            KeyError::Scope
            | KeyError::NoScope
            | KeyError::Expired
            | KeyError::Name
            | KeyError::Unknown => Some(Exit::Usage),
            KeyError::TooMany => Some(Exit::Refused),
            _ => None,
        }
    }

    #[cfg(feature = "server")]
    fn of_side(error: &SideError) -> Option<Exit> {
        match error {
            SideError::Store(error) => Exit::of_cause(error),
            SideError::Damaged { .. } => Some(Exit::Store),
            SideError::Busy { .. } => Some(Exit::Locked),
            _ => None,
        }
    }
}
