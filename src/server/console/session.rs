//! Who is signed in?
//!
//! A browser holds 256 random bits in a cookie; the server keeps their digest beside the id of the
//! key with which somebody signed in, in memory. Promises: a session ends half an hour after it
//! was last used, and twelve hours after it began; memory stays bounded; the token of a session's
//! forms can't be told without its cookie. Leaves to others: whether the key still opens anything
//! (`visit`), which it looks at for each request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::server::keys::{self, KeyError};

const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long numbers are shown once somebody asked for them.
const SHOWN: Duration = Duration::from_secs(10 * 60);
/// When there are more, whoever was away longest is signed out.
const SESSIONS_MAX: usize = 4096;
const ID_CHARS: usize = 52;

/// What a browser holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SessionId(String);

impl SessionId {
    pub(super) fn draw() -> Result<SessionId, KeyError> {
        let mut bytes = [0; 32];
        keys::random(&mut bytes)?;
        Ok(SessionId(keys::base32(&bytes)))
    }

    /// The id in a cookie, if it has the form of one.
    pub(super) fn read(text: &str) -> Option<SessionId> {
        let is_id = text.len() == ID_CHARS && text.bytes().all(|it| it.is_ascii_alphanumeric());
        is_id.then(|| SessionId(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

struct Session {
    /// The id of the key; `None` while the server has no keys.
    key: Option<Arc<str>>,
    begun: Instant,
    seen: Instant,
    shown_until: Option<Instant>,
}

impl Session {
    fn is_live(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < IDLE
            && now.saturating_duration_since(self.begun) < ABSOLUTE
    }
}

/// What a session is known for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: Option<Arc<str>>,
    /// Whether numbers are shown whole.
    pub(super) shows_numbers: bool,
}

/// Every session.
pub(crate) struct Sessions {
    secret: [u8; 32],
    sessions: Mutex<HashMap<[u8; 32], Session>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sessions({})", self.lock().len())
    }
}

impl Sessions {
    pub(crate) fn new() -> Result<Sessions, KeyError> {
        let mut secret = [0; 32];
        keys::random(&mut secret)?;
        Ok(Sessions { secret, sessions: Mutex::default() })
    }

    /// What is known of a session that is used now.
    pub(super) fn look(&self, id: &SessionId, now: Instant) -> Option<Known> {
        let mut sessions = self.lock();
        let digest = id.digest();
        let session = sessions.get_mut(&digest)?;
        if !session.is_live(now) {
            sessions.remove(&digest);
            return None;
        }
        session.seen = now;
        let shows_numbers = session.shown_until.is_some_and(|until| now < until);
        Some(Known { key: session.key.clone(), shows_numbers })
    }

    pub(super) fn begin(&self, id: &SessionId, key: Option<Arc<str>>, now: Instant) {
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.is_live(now));
        }
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, it)| it.seen).map(|(id, _)| *id);
            oldest.map(|id| sessions.remove(&id));
        }
        let session = Session { key, begun: now, seen: now, shown_until: None };
        sessions.insert(id.digest(), session);
    }

    pub(super) fn end(&self, id: &SessionId) {
        self.lock().remove(&id.digest());
    }

    /// Shows numbers for a while, or no more.
    pub(super) fn show_numbers(&self, id: &SessionId, shows: bool, now: Instant) {
        if let Some(session) = self.lock().get_mut(&id.digest()) {
            session.shown_until = shows.then(|| now + SHOWN);
        }
    }

    /// The token of a session's forms.
    pub(super) fn token(&self, id: &SessionId) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length");
        mac.update(b"form ");
        mac.update(id.0.as_bytes());
        keys::base32(&mac.finalize().into_bytes())
    }

    /// Whether a text is the token of a session's forms.
    pub(super) fn is_token(&self, id: &SessionId, text: &str) -> bool {
        self.token(id).as_bytes().ct_eq(text.as_bytes()).into()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(sessions: &Sessions, now: Instant) -> SessionId {
        let id = SessionId::draw().unwrap();
        sessions.begin(&id, Some("k".into()), now);
        id
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it() {
        let (sessions, now) = (Sessions::new().unwrap(), Instant::now());
        let id = begun(&sessions, now);
        assert!(sessions.look(&id, now + IDLE / 2).is_some());
        assert!(sessions.look(&id, now + IDLE).is_some());
        assert!(sessions.look(&id, now + IDLE * 2).is_none());
        assert!(sessions.look(&id, now).is_none());
    }

    #[test]
    fn a_session_that_is_used_all_day_ends_too() {
        let (sessions, now) = (Sessions::new().unwrap(), Instant::now());
        let id = begun(&sessions, now);
        let mut at = now;
        while at < now + ABSOLUTE {
            assert!(sessions.look(&id, at).is_some());
            at += IDLE / 2;
        }
        assert!(sessions.look(&id, at).is_none());
    }

    #[test]
    fn numbers_are_shown_for_a_while_in_one_session() {
        let (sessions, now) = (Sessions::new().unwrap(), Instant::now());
        let (one, other) = (begun(&sessions, now), begun(&sessions, now));
        let shows = |id, at| sessions.look(id, at).is_some_and(|known| known.shows_numbers);
        sessions.show_numbers(&one, true, now);
        assert!(shows(&one, now) && !shows(&other, now));
        assert!(!shows(&one, now + SHOWN));
        sessions.show_numbers(&other, true, now);
        sessions.show_numbers(&other, false, now);
        assert!(!shows(&other, now));
    }

    #[test]
    fn many_sessions_take_no_more_memory_and_the_used_ones_stay() {
        let (sessions, now) = (Sessions::new().unwrap(), Instant::now());
        let used = begun(&sessions, now);
        for count in 0..2 * SESSIONS_MAX as u64 {
            let at = now + Duration::from_micros(count);
            sessions.look(&used, at).unwrap();
            begun(&sessions, at);
        }
        assert!(sessions.lock().len() <= SESSIONS_MAX);
        assert!(sessions.look(&used, now).is_some());
    }

    #[test]
    fn a_token_is_that_of_its_session_and_server_only() {
        let (sessions, other) = (Sessions::new().unwrap(), Sessions::new().unwrap());
        let (id, another) = (SessionId::draw().unwrap(), SessionId::draw().unwrap());
        let token = sessions.token(&id);
        assert!(sessions.is_token(&id, &token));
        assert!(!sessions.is_token(&another, &token) && !other.is_token(&id, &token));
        assert!(!sessions.is_token(&id, "") && !sessions.is_token(&id, &token[1..]));
        assert!(token != id.as_str());
    }

    #[test]
    fn only_the_form_of_an_id_is_read() {
        let id = SessionId::draw().unwrap();
        assert!(SessionId::read(id.as_str()) == Some(id));
        assert!(SessionId::read("").is_none() && SessionId::read(&"é".repeat(26)).is_none());
    }
}
