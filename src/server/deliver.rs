//! Who sends confirmations, when an endpoint is set up for it?
//!
//! Threads of their own post them, each in the shape that the endpoint takes. Promises: at most one
//! confirmation for an opt-out, and none later than its time. So a request is made again only
//! when it surely was not carried out (no connection, 429, 503), or when the endpoint can tell by
//! an id that it is the same (502, 504 of an own program); what waits when the process dies is not
//! sent. No redirect is followed, no number is logged. Leaves to others when one is due
//! (`capture`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use ureq::Agent;
use ureq::http::{Request, StatusCode, header};

use super::Log;
use super::limits::Limits;
use super::senders::Sender;
use crate::capture::{Delivery, Incoming, is_this_machine};
use crate::time::Timestamp;

/// Requests at the same time.
const THREADS: usize = 4;
/// No pause before another try is longer, unless the endpoint asks for it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A confirmation to be sent.
pub(super) struct Job {
    pub(super) sender: Arc<Sender>,
    /// What is answered.
    pub(super) incoming: Incoming,
    pub(super) language: String,
    pub(super) text: String,
    /// For how long it may still be sent.
    pub(super) left: Duration,
}

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Waits,
    /// Too many wait.
    Dropped,
}

/// What became of confirmations, counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    /// The endpoint said no, or nobody can tell what it did.
    pub(super) failed: AtomicU64,
    /// Their time was over.
    pub(super) expired: AtomicU64,
    /// Too many waited, or the server ended.
    pub(super) dropped: AtomicU64,
    pub(super) retried: AtomicU64,
}

/// The queue, and the threads that send from it.
pub(super) struct Deliverer {
    queue: Mutex<Queue>,
    changed: Condvar,
    waiting_max: usize,
    pause: Duration,
    /// With a proxy, if the environment names one; and without, for this machine.
    agents: [Agent; 2],
    log: Log,
    pub(super) counts: Counts,
}

struct Queue {
    waiting: BinaryHeap<Reverse<Waiting>>,
    next: u64,
    threads: usize,
    /// When nothing more is sent, once the end has begun.
    end: Option<Instant>,
    chance: Chance,
}

/// A job that waits until it is due; jobs that are due at the same time in their order.
struct Waiting {
    due: Instant,
    place: u64,
    /// Before which it has to be sent.
    until: Instant,
    tries: u32,
    job: Job,
}

impl Waiting {
    fn order(&self) -> (Instant, u64) {
        (self.due, self.place)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// What one try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Sent,
    /// It was surely not carried out; the endpoint may have said for how long to wait.
    NotYet(Option<Duration>),
    Failed,
}

/// The threads of a deliverer. Dropping it waits until what is due is sent, but not for long.
pub(super) struct Threads {
    deliverer: Arc<Deliverer>,
    patience: Duration,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.deliverer.end(self.patience);
    }
}

impl Deliverer {
    /// Begins to send.
    pub(super) fn start(limits: &Limits, log: Log) -> std::io::Result<(Arc<Deliverer>, Threads)> {
        let mut seed = [0; 8];
        // Without random bytes all pauses are as long as those of any other server.
        let _ = getrandom::fill(&mut seed);
        let deliverer = Arc::new(Deliverer {
            queue: Mutex::new(Queue {
                waiting: BinaryHeap::new(),
                next: 0,
                threads: 0,
                end: None,
                chance: Chance::new(u64::from_le_bytes(seed)),
            }),
            changed: Condvar::new(),
            waiting_max: limits.confirmations_waiting,
            pause: limits.confirmation_pause,
            agents: [agent(limits, true), agent(limits, false)],
            log,
            counts: Counts::default(),
        });
        let threads = Threads { deliverer: deliverer.clone(), patience: limits.drain_time };
        for _ in 0..THREADS {
            let own = deliverer.clone();
            deliverer.lock().threads += 1;
            let begun = thread::Builder::new().name("optout-confirm".to_owned());
            begun.spawn(move || own.run()).inspect_err(|_| deliverer.lock().threads -= 1)?;
        }
        Ok((deliverer, threads))
    }

    /// Lets a confirmation wait for its turn.
    pub(super) fn queue(&self, job: Job) -> Queued {
        let now = Instant::now();
        let mut queue = self.lock();
        if queue.waiting.len() >= self.waiting_max || queue.end.is_some() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
            return Queued::Dropped;
        }
        let until = now + job.left;
        queue.push(Waiting { due: now, place: 0, until, tries: 0, job });
        drop(queue);
        self.changed.notify_one();
        Queued::Waits
    }

    fn run(&self) {
        while let Some(waiting) = self.next() {
            let agent = &self.agents[usize::from(waiting.job.is_local())];
            let tried = waiting.job.send(agent, Timestamp::now());
            self.settle(waiting, tried);
        }
        self.lock().threads -= 1;
        self.changed.notify_all();
    }

    /// The next that is due; `None` when the end has come.
    fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let due = queue.waiting.peek().map(|Reverse(first)| first.due);
            if let Some(end) = queue.end
                && (now >= end || due.is_none_or(|due| due >= end))
            {
                return None;
            }
            let wait = match due {
                Some(due) if due <= now => {
                    let Reverse(first) = queue.waiting.pop()?;
                    if first.until > now {
                        return Some(first);
                    }
                    self.gave_up(&first);
                    continue;
                }
                Some(due) => due - now,
                None => Duration::from_secs(3600),
            };
            let woken = self.changed.wait_timeout(queue, wait);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn settle(&self, mut waiting: Waiting, tried: Tried) {
        waiting.tries += 1;
        let asked = match tried {
            Tried::Sent => {
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Tried::Failed => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                let kind = waiting.job.kind();
                (self.log)(&format!("confirmation: {kind}: not sent, or nobody can tell"));
                return;
            }
            Tried::NotYet(asked) => asked,
        };
        let mut queue = self.lock();
        let pause = queue.chance.pause(self.pause, waiting.tries).max(asked.unwrap_or_default());
        waiting.due = Instant::now() + pause;
        if waiting.due >= waiting.until {
            self.gave_up(&waiting);
            return;
        }
        self.counts.retried.fetch_add(1, Ordering::Relaxed);
        queue.push(waiting);
        drop(queue);
        self.changed.notify_one();
    }

    fn gave_up(&self, waiting: &Waiting) {
        self.counts.expired.fetch_add(1, Ordering::Relaxed);
        let (kind, tries) = (waiting.job.kind(), waiting.tries);
        (self.log)(&format!(
            "confirmation: {kind}: given up after {tries} tries, its time is over"
        ));
    }

    /// Takes no more, and waits for what is due.
    fn end(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut queue = self.lock();
        queue.end = Some(end);
        self.changed.notify_all();
        while queue.threads > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let dropped = queue.waiting.len();
        queue.waiting.clear();
        if dropped > 0 {
            self.counts.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            (self.log)(&format!("confirmation: {dropped} were not sent before the end"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, mut waiting: Waiting) {
        waiting.place = self.next;
        self.next += 1;
        self.waiting.push(Reverse(waiting));
    }
}

fn agent(limits: &Limits, is_proxied: bool) -> Agent {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A connection that is kept may be gone: nobody could tell whether a request arrived.
        .max_idle_connections(0)
        .max_idle_connections_per_host(0)
        .user_agent(concat!("optout/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(limits.confirmation_time))
        .timeout_global(Some(limits.confirmation_time.saturating_mul(2)));
    let builder = if is_proxied { builder } else { builder.proxy(None) };
    builder.build().new_agent()
}

impl Job {
    fn kind(&self) -> &'static str {
        match self.sender.settings.delivery {
            Delivery::None => "none",
            Delivery::Graph { .. } => "graph",
            Delivery::Twilio { .. } => "twilio",
            Delivery::Generic { .. } => "generic",
        }
    }

    fn is_local(&self) -> bool {
        let url = match &self.sender.settings.delivery {
            Delivery::None => return false,
            Delivery::Graph { url, .. }
            | Delivery::Twilio { url, .. }
            | Delivery::Generic { url, .. } => url,
        };
        url.split_once("://").is_some_and(|(_, rest)| is_this_machine(rest))
    }

    fn send(&self, agent: &Agent, now: Timestamp) -> Tried {
        let Some(request) = self.request(now) else { return Tried::Failed };
        let answer = match agent.run(request) {
            Ok(answer) => answer,
            Err(error) if was_not_sent(&error) => return Tried::NotYet(None),
            Err(_) => return Tried::Failed,
        };
        let status = answer.status();
        if status.is_success() {
            return Tried::Sent;
        }
        let knows_ids = matches!(self.sender.settings.delivery, Delivery::Generic { .. });
        let was_refused = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => knows_ids,
            _ => false,
        };
        if !was_refused {
            return Tried::Failed;
        }
        let asked = answer.headers().get(header::RETRY_AFTER);
        let seconds = asked.and_then(|it| it.to_str().ok()).and_then(|it| it.trim().parse().ok());
        // Longer than a day is as long as for ever.
        Tried::NotYet(seconds.map(|it: u64| Duration::from_secs(it.min(86_400))))
    }

    /// The request in the endpoint's shape; `None` when it can't send to this person.
    fn request(&self, now: Timestamp) -> Option<Request<Vec<u8>>> {
        match &self.sender.settings.delivery {
            Delivery::None => None,
            Delivery::Graph { url, phone_number_id, token } => {
                let url = format!("{}/{phone_number_id}/messages", url.trim_end_matches('/'));
                let body = self.graph_body()?.to_string().into_bytes();
                Request::post(url)
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::AUTHORIZATION, format!("Bearer {}", token.expose()))
                    .body(body)
                    .ok()
            }
            Delivery::Twilio { url, account_sid, token, from } => {
                let url = url.trim_end_matches('/');
                let url = format!("{url}/2010-04-01/Accounts/{account_sid}/Messages.json");
                let account = BASE64.encode(format!("{account_sid}:{}", token.expose()));
                Request::post(url)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .header(header::AUTHORIZATION, format!("Basic {account}"))
                    .body(self.twilio_body(from)?.into_bytes())
                    .ok()
            }
            Delivery::Generic { url, secret } => {
                let (id, body) = (self.id(), self.generic_body().to_string());
                let seconds = now.as_millis().div_euclid(1000);
                let signature = signature(secret.expose(), &id, seconds, body.as_bytes())?;
                Request::post(url)
                    .header(header::CONTENT_TYPE, "application/json")
                    .header("webhook-id", id)
                    .header("webhook-timestamp", seconds.to_string())
                    .header("webhook-signature", signature)
                    .body(body.into_bytes())
                    .ok()
            }
        }
    }

    /// The same at each try: by it an own program knows a repetition.
    fn id(&self) -> String {
        let name = format!("{}\0{}", self.incoming.channel, self.incoming.message_id);
        format!("confirm-{:032x}", xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
    }

    fn graph_body(&self) -> Option<serde_json::Value> {
        let mut body = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "type": "text",
            "text": {"preview_url": false, "body": self.text},
            "context": {"message_id": self.incoming.message_id},
        });
        match (&self.incoming.number, &self.incoming.id) {
            (Some(number), _) => body["to"] = json!(number.get().to_string()),
            (None, Some(id)) => body["recipient"] = json!(id.as_str()),
            (None, None) => return None,
        }
        Some(body)
    }

    fn twilio_body(&self, from: &str) -> Option<String> {
        let number = self.incoming.number?;
        let is_whatsapp = self.sender.settings.channel == "whatsapp";
        let address = |it: &str| match is_whatsapp && !it.starts_with("whatsapp:") {
            true => format!("whatsapp:{it}"),
            false => it.to_owned(),
        };
        // A service that sends by several numbers is named elsewhere than a number.
        let (field, from) = match from.starts_with("MG") && !from.contains('+') {
            true => ("MessagingServiceSid", from.to_owned()),
            false => ("From", address(from)),
        };
        let to = address(&number.to_string());
        let pairs = [("To", &to), (field, &from), ("Body", &self.text)];
        let pairs = pairs.map(|(name, value)| format!("{name}={}", form_encoded(value)));
        Some(pairs.join("&"))
    }

    fn generic_body(&self) -> serde_json::Value {
        let incoming = &self.incoming;
        let settings = &self.sender.settings;
        json!({
            "type": "confirmation",
            "number": incoming.number.map(|it| it.to_string()),
            "id": incoming.id.as_ref().map(|it| it.as_str()),
            "channel": settings.channel,
            "sender": settings.sender,
            "language": self.language,
            "text": self.text,
            "answers": incoming.message_id,
        })
    }
}

/// Whether a failed request surely did not arrive.
fn was_not_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::ConnectProxyFailed(_) => true,
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => true,
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::AddrNotAvailable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
        ),
        _ => false,
    }
}

/// The signature of Standard Webhooks over id, moment and body. What stands behind `whsec_` in a
/// secret is Base64.
fn signature(secret: &str, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let decoded = secret.strip_prefix("whsec_").and_then(|text| BASE64.decode(text).ok());
    let key = decoded.as_deref().unwrap_or(secret.as_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// A value of a form, as HTML says.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Pauses that double, each cut by chance to between a half and the whole, so that not all come
/// back at the same moment.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Chance {
        Chance(seed | 1)
    }

    fn pause(&mut self, first: Duration, tries: u32) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let whole = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX);
        let part = (self.0 >> 11) as f64 / (1u64 << 53) as f64;
        whole.mul_f64(0.5 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_by_chance() {
        let first = Duration::from_millis(500);
        let (mut one, mut same, mut other) = (Chance::new(7), Chance::new(7), Chance::new(99));
        let mut differ = false;
        for tries in 1..40 {
            let pause = one.pause(first, tries);
            let whole = first.saturating_mul(1 << (tries - 1).min(16)).min(PAUSE_MAX);
            assert!(pause >= whole / 2 && pause <= whole, "{tries}: {pause:?}");
            assert_eq!(pause, same.pause(first, tries));
            differ |= pause != other.pause(first, tries);
        }
        assert!(differ);
    }

    #[test]
    fn only_what_surely_did_not_arrive_is_sent_again() {
        let io = |kind| ureq::Error::Io(std::io::Error::from(kind));
        assert!(was_not_sent(&io(ErrorKind::ConnectionRefused)));
        assert!(was_not_sent(&ureq::Error::HostNotFound));
        assert!(was_not_sent(&ureq::Error::Timeout(ureq::Timeout::Connect)));
        for error in [
            io(ErrorKind::ConnectionReset),
            io(ErrorKind::BrokenPipe),
            io(ErrorKind::UnexpectedEof),
            ureq::Error::Timeout(ureq::Timeout::RecvResponse),
            ureq::Error::Timeout(ureq::Timeout::Global),
            ureq::Error::Timeout(ureq::Timeout::SendBody),
        ] {
            assert!(!was_not_sent(&error), "{error}");
        }
    }

    #[test]
    fn signatures_and_forms_are_as_others_make_them() {
        // By `printf 'msg_1.1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'a-good-secret' -binary | base64`.
        let signed = signature("a-good-secret", "msg_1", 1_700_000_000, b"{\"a\":1}").unwrap();
        assert_eq!(signed, "v1,VmnlSUcNn8iVJ3hAMAH6mA3nOZWJ1SI5vtK45AmyTS8=");
        let encoded = signature("whsec_YS1nb29kLXNlY3JldA==", "msg_1", 1_700_000_000, b"{\"a\":1}");
        assert_eq!(encoded.as_ref(), Some(&signed));
        assert_eq!(form_encoded("+52 ñ&a=b~"), "%2B52+%C3%B1%26a%3Db%7E");
    }
}
