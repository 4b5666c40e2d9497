//! What follows from what a person sends back?
//!
//! A provider's webhook, or a program, brings an [`Incoming`]: who wrote, to which sender, what was
//! said or pressed, and as an answer to what. Promises no I/O and no clock. Leaves to others what
//! the words mean (`intent`), the recording (`store`) and the sending.

mod incoming;

pub use incoming::{Incoming, Said};
