//! May this message go to this subscriber, and by which rule?
//!
//! - [`Scope`]: where an opt-out holds (channel × sender × brand).
//! - [`Fact`] and [`Claims`]: what the events of one subscriber amount to.
//! - [`Policy`]: the table of rules, which is data, and its [`Ruling`] on claims, registries and
//!   the message's [`Context`].
//!
//! Promises to do no I/O and to read no clock. Leaves to others where the facts are kept
//! (`store`) and what is done with a ruling (`scrub`, `query`).

mod claims;
mod ruling;
mod scope;
mod table;

pub use claims::{
    Claim, Claims, Fact, Refusal, is_operators, is_permanent, is_persons_own, lifts, refusal,
    standing_opt_outs,
};
pub use ruling::{Context, Decision, RuleId, Ruling};
pub use scope::{CHANNELS, Scope, UnknownChannel};
pub use table::{Entry, Policy, PolicyError, Rule};
