//! Questions to a store: one number, many numbers, a range of dates.
//!
//! - [`Checker`]: may these recipients be messaged? For the send pipeline.
//! - [`Judge`]: a view of a store, a policy and a message; what a scrub asks.
//! - [`explain`]: why may one subscriber get a message or not?
//! - [`recheck`]: who of a scrubbed list stands differently since? Right before it is handed on.
//! - [`events`] and [`states`]: what happened in a range, or what of it still holds.
//! - [`stats`]: the same, counted.
//! - [`diff`]: who is opted out at one of two moments and not at the other?
//!
//! All of them ask a [`Reader`](crate::store::Reader), which can be a view of an earlier moment.
//!
//! Promises: nothing is read that the range can't match; nothing here writes, prints, or reads a
//! clock. Leaves to others: files and formats (`exchange`), screens (`cli`).

mod check;
mod diff;
mod explain;
mod range;
mod recheck;
mod stats;

pub use check::{Checker, Judge, JudgeError, Stale, Verdict};
pub use diff::{DiffError, Difference, diff};
pub use explain::{Explanation, explain};
pub use range::{Filter, events, states};
pub use recheck::{RecheckRefused, basis_of, context_of, message_of, recheck};
pub use stats::{By, Count, Stats, stats};
