//! From a messy string to one integer for each subscriber.
//!
//! Three functions, each useful and tested alone, run in this order:
//!
//! 1. [`clean`] undoes what spreadsheets and messaging ids did to a cell, or refuses it.
//! 2. [`parse`] reads a [`Number`], bit for bit as libphonenumber does.
//! 3. [`fold`] maps it to the [`SubscriberKey`] that all forms of the number share.
//!
//! [`NumberReader`] joins them, takes a table-driven shortcut where the spelling is common, and
//! says how good the reading is. Validity never decides whether an opt-out counts: every number
//! that can be read has a key. Promises to do no I/O, read no clock and never panic, whatever the
//! bytes. Leaves to its callers what to do with a cell that has no number.

mod clean;
mod e164;
mod fast;
mod fold;
mod id;
mod parse;
mod plan;
mod reader;
mod status;
mod tables;
#[cfg(test)]
mod tests;

pub use clean::{Cleaned, clean};
pub use e164::{Masked, Number, Region, SubscriberKey, UnknownRegion};
pub(crate) use fast::value_of_digits;
pub use fold::{Folding, fold, fold_is_doubtful};
pub use id::{Address, BusinessId};
pub use parse::{StrictReading, StrictStatus, parse};
pub use plan::Length;
pub use reader::{NumberReader, Reading, Recipient};
pub use status::{Reason, Status};
pub use tables::METADATA_RELEASE;
