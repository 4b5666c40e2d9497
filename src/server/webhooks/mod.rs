//! What do messaging providers tell us?
//!
//! - [`signature`]: did the provider send these bytes?
//! - [`form`]: the pairs of a form.
//! - [`meta`]: deliveries of the WhatsApp Cloud API.
//! - [`twilio`]: requests of Twilio's.
//!
//! Pure, but for `signature`'s constant time: bytes in, a [`Delivery`] out. Promises: what can't
//! be read of one message stops no other, and is counted; nothing that a person wrote is dropped
//! because a provider added a field. Leaves to others: who is asked for a secret, the recording,
//! and the answer (`routes`).

pub(super) mod form;
pub(super) mod meta;
pub(super) mod signature;
pub(super) mod twilio;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::capture::Incoming;
use crate::number::{Folding, Number, NumberReader};
use crate::time::Timestamp;

/// What a provider delivered at once.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// What came back from people.
    pub(super) incoming: Vec<Incoming>,
    /// Messages of ours, and the campaigns that they belong to.
    pub(super) sent: Vec<(String, String)>,
    /// What can't be an opt-out: pictures, receipts, kinds that nobody knows.
    pub(super) ignored: usize,
    /// What may be an opt-out and can't be read.
    pub(super) unreadable: usize,
}

/// What the webhooks have taken, for the figures.
#[derive(Debug, Default)]
pub(super) struct Counts {
    taken: AtomicU64,
    ignored: AtomicU64,
    unreadable: AtomicU64,
    unsigned: AtomicU64,
}

impl Counts {
    /// Counts a delivery that was recorded.
    pub(super) fn delivered(&self, delivery: &Delivery, taken: usize) {
        let add = |count: &AtomicU64, more: usize| count.fetch_add(more as u64, Ordering::Relaxed);
        add(&self.taken, taken);
        add(&self.ignored, delivery.ignored);
        add(&self.unreadable, delivery.unreadable);
    }

    /// Counts a delivery that nobody signed.
    pub(super) fn unsigned(&self) {
        self.unsigned.fetch_add(1, Ordering::Relaxed);
    }

    /// Name, help and value of each figure.
    pub(super) fn figures(&self) -> [(&'static str, &'static str, u64); 4] {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("optout_webhook_messages_total", "Messages taken from webhooks", of(&self.taken)),
            ("optout_webhook_ignored_total", "Parts that can't be an opt-out", of(&self.ignored)),
            (
                "optout_webhook_unreadable_total",
                "Parts that could not be read",
                of(&self.unreadable),
            ),
            (
                "optout_webhook_unsigned_total",
                "Requests without a valid signature",
                of(&self.unsigned),
            ),
        ]
    }
}

/// A person's number as providers write it: international, with or without its plus, behind
/// `whatsapp:` or not.
fn number(text: &str) -> Option<Number> {
    // No key is made of it here, so that the rules of folding don't matter.
    let reader = NumberReader::new(None, Folding::default());
    reader.subscriber(text.as_bytes()).ok().map(|(number, _)| number)
}

/// The moment of so many seconds since 1970. What no clock of a provider's can have said (a moment
/// before there was any of these services, or one to come) is now: the later an opt-out counts,
/// the more surely it holds, and a START of next year would void every STOP until then.
fn moment(seconds: Option<i64>, now: Timestamp) -> Timestamp {
    const EARLIEST: i64 = 1_230_768_000; // 2009
    const AHEAD_MILLIS: i64 = 5 * 60 * 1000;
    match seconds.and_then(|it| it.checked_mul(1000)) {
        Some(it) if it >= EARLIEST * 1000 && it <= now.as_millis() + AHEAD_MILLIS => {
            Timestamp::from_millis(it)
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_that_no_clock_can_have_said_are_now() {
        let now = Timestamp::from_millis(1_770_000_000_500);
        let of = |seconds| moment(Some(seconds), now);
        assert_eq!(of(1_739_321_024).as_millis(), 1_739_321_024_000);
        assert_eq!(of(1_770_000_300).as_millis(), 1_770_000_300_000);
        for seconds in [1_770_000_301, 1_739_321_024_000, 0, -5, i64::MAX, i64::MIN, 1_230_767_999]
        {
            assert_eq!(of(seconds), now, "{seconds}");
        }
        assert_eq!(moment(None, now), now);
    }

    #[test]
    fn numbers_are_read_as_providers_write_them() {
        for text in ["5215512345678", "+5215512345678", "whatsapp:+5215512345678"] {
            assert_eq!(number(text).map(Number::get), Some(5_215_512_345_678), "{text}");
        }
        for text in
            ["", "STOP", "US.13491208655302741918", "messenger:4215", "+", "52155123456789012345"]
        {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
