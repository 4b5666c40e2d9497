//! Was this request answered before?
//!
//! A client that does not know whether its request arrived sends it again with the same
//! `Idempotency-Key`. Promises: the same request gets the same answer as long as that is
//! remembered; another request under the same key is refused; the message ids that are derived
//! from key and request make the store itself record nothing twice after that, also after a
//! restart. Leaves to others: what is recorded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::problem::{Kind, Problem};

/// The header.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const ENTRIES_MAX: usize = 20_000;
const BYTES_MAX: usize = 64 << 20;

/// A request that is told from others by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Of whoever asks, where, and his key.
    token: [u8; 32],
    body: [u8; 32],
}

impl Request {
    /// The request with the key that its headers name; `None` without one.
    pub(super) fn of(
        headers: &HeaderMap,
        asker: &str,
        route: &str,
        body: &[u8],
    ) -> Result<Option<Request>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let is_key =
            |it: &&[u8]| (1..=255).contains(&it.len()) && it.iter().all(u8::is_ascii_graphic);
        let key = Some(value.as_bytes()).filter(is_key).filter(|_| values.next().is_none());
        let Some(key) = key else {
            let how = "Idempotency-Key is given once, with 1 to 255 visible ASCII characters";
            return Err(Problem::new(Kind::Malformed, how));
        };
        let mut token = Sha256::new();
        for part in [asker.as_bytes(), route.as_bytes(), key] {
            token.update((part.len() as u64).to_le_bytes());
            token.update(part);
        }
        Ok(Some(Request { token: token.finalize().into(), body: Sha256::digest(body).into() }))
    }

    /// The message id of one of its items. Another body has other ids, so that an opt-out under a
    /// key that was used before is recorded all the same.
    pub(super) fn message_id(&self, item: usize) -> String {
        let digest: [u8; 32] =
            Sha256::new().chain_update(self.token).chain_update(self.body).finalize().into();
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("idempotency-{hex}-{item}")
    }
}

/// What was answered lately.
#[derive(Debug, Default)]
pub(super) struct Answered {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    entries: HashMap<[u8; 32], Entry>,
    /// Those with an answer, oldest first.
    order: VecDeque<[u8; 32]>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    body: [u8; 32],
    /// Nothing as long as it is being answered.
    answer: Option<Bytes>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(super) enum Turn<'a> {
    /// It is new: answer it, and say what the answer was.
    New(Pending<'a>),
    /// This was the answer.
    Known(Bytes),
}

/// A request that is being answered; forgotten when it is dropped before.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    answered: &'a Answered,
    token: [u8; 32],
}

impl Answered {
    /// Whether a request is new.
    pub(super) fn begin(&self, request: &Request) -> Result<Turn<'_>, Problem> {
        let mut memory = self.lock();
        if let Some(entry) = memory.entries.get(&request.token) {
            if entry.body != request.body {
                let how = "give another request another Idempotency-Key";
                return Err(Problem::new(Kind::KeyReused, how));
            }
            return match &entry.answer {
                Some(answer) => Ok(Turn::Known(answer.clone())),
                None => Err(Problem::new(Kind::InProgress, "ask again in a moment").retry_after(1)),
            };
        }
        memory.entries.insert(request.token, Entry { body: request.body, answer: None });
        Ok(Turn::New(Pending { answered: self, token: request.token }))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending<'_> {
    /// Remembers the answer.
    pub(super) fn answered(self, answer: &Bytes) {
        let mut memory = self.answered.lock();
        if let Some(entry) = memory.entries.get_mut(&self.token) {
            entry.answer = Some(answer.clone());
            memory.bytes += answer.len();
            memory.order.push_back(self.token);
        }
        while memory.order.len() > ENTRIES_MAX || memory.bytes > BYTES_MAX {
            let Some(oldest) = memory.order.pop_front() else { break };
            let gone = memory.entries.remove(&oldest).and_then(|entry| entry.answer);
            memory.bytes -= gone.map_or(0, |answer| answer.len());
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let mut memory = self.answered.lock();
        if memory.entries.get(&self.token).is_some_and(|entry| entry.answer.is_none()) {
            memory.entries.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, body: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, key.parse().unwrap());
        Request::of(&headers, "somebody", "/v1/optouts", body.as_bytes()).unwrap().unwrap()
    }

    fn known(answered: &Answered, request: &Request) -> Option<Bytes> {
        match answered.begin(request) {
            Ok(Turn::Known(answer)) => Some(answer),
            _ => None,
        }
    }

    #[test]
    fn a_repetition_is_known_and_another_body_refused() {
        let answered = Answered::default();
        let first = request("a", "{}");
        let Ok(Turn::New(pending)) = answered.begin(&first) else { panic!("it is new") };
        assert!(answered.begin(&first).is_err(), "it is being answered");
        pending.answered(&Bytes::from_static(b"done"));
        assert_eq!(known(&answered, &first).unwrap(), "done");
        assert!(answered.begin(&request("a", "[]")).is_err());
        assert!(matches!(answered.begin(&request("b", "[]")), Ok(Turn::New(_))));
    }

    #[test]
    fn what_was_not_answered_is_new_again() {
        let answered = Answered::default();
        drop(answered.begin(&request("a", "{}")).unwrap());
        assert!(matches!(answered.begin(&request("a", "{}")), Ok(Turn::New(_))));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let answered = Answered::default();
        let large = Bytes::from(vec![0; BYTES_MAX / 4]);
        for key in ["a", "b", "c", "d", "e"] {
            let Ok(Turn::New(pending)) = answered.begin(&request(key, "")) else { panic!("{key}") };
            pending.answered(&large);
        }
        assert!(known(&answered, &request("a", "")).is_none());
        assert!(known(&answered, &request("e", "")).is_some());
        assert!(answered.lock().bytes <= BYTES_MAX);
    }

    #[test]
    fn message_ids_follow_from_key_body_and_place() {
        let id = |key, body, item| request(key, body).message_id(item);
        assert_eq!(id("a", "{}", 0), id("a", "{}", 0));
        let others = [id("a", "{}", 1), id("b", "{}", 0), id("a", "[]", 0)];
        assert!(others.iter().all(|other| *other != id("a", "{}", 0)));
    }
}
