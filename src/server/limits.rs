//! How much may one client take?
//!
//! Bounds of every size and time of a request, and token buckets: for each verified key, and for
//! each peer whose key was wrong. Promises: memory stays bounded whoever knocks. Leaves to others:
//! where each bound is looked at (`connections`, `guard`, `body`).

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bounds of sizes, times and rates.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at the same time, if the system lets the process have as many open files; more
    /// wait for a second, and are then refused.
    pub connections: usize,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of all bodies above 32 KiB that are there at the same time; others wait.
    pub bodies_bytes: usize,
    /// Bytes of a request's line and headers, below 65,536.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of the query behind the path.
    pub query_bytes: usize,
    /// How long the headers of a request may take, and a connection without one may stay.
    pub header_time: Duration,
    /// How long a body may take; of an uploaded list, how long nothing of it may come.
    pub body_time: Duration,
    /// How long a request may take until its answer begins.
    pub request_time: Duration,
    /// How long a client may take for `write_bytes` of an answer, or for all that is left.
    pub write_time: Duration,
    /// What a client has to take of an answer in `write_time`.
    pub write_bytes: usize,
    /// How long requests may go on when the server ends.
    pub drain_time: Duration,
    /// Questions that are looked at at the same time.
    pub questions: usize,
    /// Questions that wait for that.
    pub questions_waiting: usize,
    /// Downloads at the same time.
    pub downloads: usize,
    /// Lists that are scrubbed at the same time.
    pub scrubs: usize,
    /// Scrubs that are kept with what came of them; when there are more, the oldest go.
    pub scrubs_kept: usize,
    /// How long a scrub is kept after its end.
    pub scrub_kept_time: Duration,
    /// Bytes a second that an uploaded list has to come with in the long run.
    pub upload_rate: u64,
    /// Bytes that have to stay free on the disk where scrubs are kept, so that opt-outs can still
    /// be recorded.
    pub disk_reserve: u64,
    /// Events that wait to be recorded; a quarter of them for others than opt-outs.
    pub events_waiting: usize,
    /// Requests of one key, recordings aside.
    pub rate: Rate,
    /// Questions for one person, of one key.
    pub lookup_rate: Rate,
    /// Recordings of one key.
    pub record_rate: Rate,
    /// Wrong keys from one peer.
    pub failure_rate: Rate,
    /// Until when after an opt-out its confirmation may be sent.
    pub confirmation_window: Duration,
    /// How long connecting for a confirmation may take; the whole request may take twice as long.
    pub confirmation_time: Duration,
    /// The first pause before a confirmation is tried again; each further one is twice as long.
    pub confirmation_pause: Duration,
    /// Confirmations that wait to be sent.
    pub confirmations_waiting: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let seconds = Duration::from_secs;
        let rate = |per_second, burst| Rate { per_second, burst };
        Limits {
            connections: 4096,
            body_bytes: 16 << 20,
            bodies_bytes: 128 << 20,
            header_bytes: 16 << 10,
            headers: 64,
            query_bytes: 4096,
            header_time: seconds(10),
            body_time: seconds(30),
            request_time: seconds(60),
            write_time: seconds(30),
            write_bytes: 64 << 10,
            drain_time: seconds(10),
            questions: 4,
            questions_waiting: 256,
            downloads: 4,
            scrubs: 4,
            scrubs_kept: 256,
            scrub_kept_time: seconds(60 * 60),
            upload_rate: 1024,
            disk_reserve: 512 << 20,
            events_waiting: 200_000,
            rate: rate(20_000.0, 40_000.0),
            lookup_rate: rate(100.0, 1_000.0),
            record_rate: rate(50_000.0, 100_000.0),
            failure_rate: rate(1.0, 20.0),
            confirmation_window: seconds(5 * 60),
            confirmation_time: seconds(10),
            confirmation_pause: seconds(1),
            confirmations_waiting: 10_000,
        }
    }
}

/// So many in a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once.
    pub burst: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// A bucket of tokens for each of those who ask.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// More than this are not told apart.
const BUCKETS_MAX: usize = 8192;

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Buckets<K> {
        Buckets { rate, buckets: Mutex::default() }
    }

    /// Takes a token.
    ///
    /// # Errors
    ///
    /// When there is none: the seconds until there is one.
    pub(super) fn take(&self, who: &K, now: Instant) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(who) {
            let rate = self.rate;
            buckets.retain(|_, bucket| rate.filled(*bucket, now) < rate.burst);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let full = Bucket { tokens: self.rate.burst, at: now };
        let bucket = buckets.entry(who.clone()).or_insert(full);
        let tokens = self.rate.filled(*bucket, now);
        let is_there = tokens >= 1.0;
        *bucket = Bucket { tokens: if is_there { tokens - 1.0 } else { tokens }, at: now };
        if is_there {
            return Ok(());
        }
        Err(((1.0 - tokens) / self.rate.per_second.max(0.001)).ceil() as u64)
    }
}

impl Rate {
    fn filled(self, bucket: Bucket, now: Instant) -> f64 {
        let past = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + past * self.per_second).min(self.burst)
    }
}

/// Whom a peer's address stands for: of IPv6 the network, of which one client has all addresses.
pub(super) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_fills_again() {
        let buckets = Buckets::new(Rate { per_second: 2.0, burst: 3.0 });
        let begin = Instant::now();
        for _ in 0..3 {
            assert_eq!(buckets.take(&1, begin), Ok(()));
        }
        assert_eq!(buckets.take(&1, begin), Err(1));
        assert_eq!(buckets.take(&2, begin), Ok(()));
        assert_eq!(buckets.take(&1, begin + Duration::from_millis(600)), Ok(()));
        assert_eq!(buckets.take(&1, begin + Duration::from_millis(600)), Err(1));
    }

    #[test]
    fn many_who_knock_take_no_more_memory() {
        let buckets = Buckets::new(Rate { per_second: 0.1, burst: 1.0 });
        for who in 0..3 * BUCKETS_MAX {
            let _ = buckets.take(&who, Instant::now());
        }
        assert!(buckets.buckets.lock().unwrap().len() <= BUCKETS_MAX);
    }

    #[test]
    fn a_network_is_one_client() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }
}
