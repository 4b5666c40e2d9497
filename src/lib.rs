//! The engine between a messaging campaign and its send.
//!
//! `optout` keeps who opted out, and takes them out of recipient lists: exactly, fast, and so
//! that it can be proved afterwards. One sentence ranks every decision in it: *an acknowledged
//! opt-out never becomes sendable without a loud error.*
//!
//! # Modules, in reading order
//!
//! - [`number`]: from a messy string to one integer for each subscriber.
//! - [`time`] and [`event`]: what is recorded when a person opts out or comes back.
//! - [`snapshot`]: the immutable set of subscriber keys, read in place from its bytes.
//! - [`journal`]: the append log of events.
//! - [`disk`]: the only code that touches the files of a store.
//! - [`store`]: manifest, generations and journal behind one writer and many readers.
//! - [`query`]: one number, many numbers, history, ranges of dates.
//! - [`table`]: files of records; knows nothing of phones.
//! - [`scrub`]: the parallel filter, recipients in, verdicts and rows out.
//! - [`exchange`]: import and export of lists.

pub mod disk;
pub mod event;
pub mod exchange;
pub mod journal;
pub mod number;
pub mod query;
pub mod scrub;
pub mod snapshot;
pub mod store;
pub mod table;
pub mod time;
