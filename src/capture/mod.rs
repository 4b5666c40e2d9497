//! What follows from what a person sends back?
//!
//! A provider's webhook, or a program, brings an [`Incoming`]: who wrote, to which sender, what was
//! said or pressed, and as an answer to what. Its parts:
//!
//! - [`SenderSettings`]: how replies to a sender are read and answered.
//! - [`decide`]: what is recorded, and what is confirmed.
//! - [`lint`]: whether a confirmation or a template is fit to be sent.
//!
//! Promises no I/O and no clock. Leaves to others what the words mean (`intent`), the recording
//! (`store`) and the sending (`server`).

mod decide;
mod incoming;
pub mod lint;
mod settings;

pub use decide::{Decision, decide};
pub use incoming::{Incoming, Said};
#[cfg(feature = "server")]
pub(crate) use settings::is_this_machine;
pub use settings::{Delivery, Provider, Secret, SenderSettings, SettingsError};
