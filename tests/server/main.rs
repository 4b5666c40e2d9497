//! The server as programs see it: bytes in, bytes out.
//!
//! - `recording`: opt-outs, resubscribes, idempotency, what is durable.
//! - `asking`: lists, downloads, one person, many recipients, counts.
//! - `access`: keys, scopes, rates, what is logged.
//! - `bounds`: what is too large, too slow or malformed.
//! - `hostile`: what somebody tries who means harm.
//! - `capturing`: replies, and confirmations through an endpoint.
//! - `console`: the pages.
//! - `scrubbing`: campaign files, uploaded.
//! - `handbook`: the steps of `docs/integration.md`.
//! - `webhooks`: what providers sign and post.
//! - `rechecking`: scrubbed lists, before they are handed on.
//! - `campaigns`: how each treats those who opted out.

#![cfg(feature = "server")]

mod access;
mod asking;
mod bounds;
mod campaigns;
mod capturing;
mod console;
#[cfg(feature = "cli")]
mod handbook;
mod harness;
mod hostile;
mod rechecking;
mod recording;
mod scrubbing;
mod webhooks;
