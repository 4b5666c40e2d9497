//! The server as programs see it: bytes in, bytes out.
//!
//! - `recording`: opt-outs, resubscribes, idempotency, what is durable.
//! - `asking`: lists, downloads, one person, many recipients, counts.
//! - `access`: keys, scopes, rates, what is logged.
//! - `bounds`: what is too large, too slow or malformed.
//! - `scrubbing`: campaign files, uploaded.
//! - `rechecking`: scrubbed lists, before they are handed on.
//! - `campaigns`: how each treats those who opted out.

#![cfg(feature = "server")]

mod access;
mod asking;
mod bounds;
mod campaigns;
mod harness;
mod rechecking;
mod recording;
mod scrubbing;
