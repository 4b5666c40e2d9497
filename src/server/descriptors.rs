//! How many connections fit into the open files that the process may have?
//!
//! A connection is an open file, and so is what the store writes. Promises: connections leave room
//! for the store, so that clients who hold many can't keep opt-outs from being recorded.

/// Open files beside connections: the store's, downloads', uploads', the program's own.
const OTHERS: u64 = 40;
/// So many connections are always served.
const PLACES_MIN: u64 = 8;

/// As many of the wanted connections as fit. Where the system lets a process raise its own limit,
/// it is raised.
pub(super) fn places(wanted: usize) -> usize {
    let wanted = wanted as u64;
    let files = files(wanted + OTHERS);
    let fit = files.map_or(wanted, |files| files.saturating_sub(OTHERS).max(PLACES_MIN));
    usize::try_from(wanted.min(fit)).unwrap_or(usize::MAX)
}

/// How many files may be open, up to so many; `None` when that is not limited.
#[cfg(target_os = "linux")]
fn files(wanted: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current?;
    let more = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if more > now && setrlimit(Resource::Nofile, Rlimit { current: Some(more), ..limit }).is_ok() {
        return Some(more);
    }
    Some(now)
}

/// How many files may be open: elsewhere nobody says.
#[cfg(not(target_os = "linux"))]
fn files(_: u64) -> Option<u64> {
    None
}
