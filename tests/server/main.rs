//! The server as programs see it: bytes in, bytes out.
//!
//! - `recording`: opt-outs, resubscribes, idempotency, what is durable.
//! - `asking`: lists, downloads, one person, many recipients, counts.
//! - `access`: keys, scopes, rates, what is logged.
//! - `bounds`: what is too large, too slow or malformed.
//! - `capturing`: replies, and confirmations through an endpoint.
//! - `console`: the pages.
//! - `scrubbing`: campaign files, uploaded.

#![cfg(feature = "server")]

mod access;
mod asking;
mod bounds;
mod capturing;
mod console;
mod harness;
mod recording;
mod scrubbing;
