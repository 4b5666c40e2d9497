//! May this request pass?
//!
//! Stands before every route, also before those that do not exist. Promises: once there are keys,
//! nothing but `/healthz` and `/readyz` is answered without a key, a signature or a session; the
//! key is verified before any rate is counted for it; every answer is counted and logged by its route, never by
//! what was asked. Leaves to others: which scope a route needs (`routes`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::App;
use super::connections::Peer;
use super::keys::{KeyInfo, KeyScope};
use super::limits::network_of;
use super::problem::{Kind, Problem};
use crate::time::Timestamp;

/// Whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The id of his key.
    pub(super) id: Arc<str>,
    /// For events: who recorded them.
    pub(super) operator: String,
    /// `None` opens everything: there are no keys.
    scopes: Option<Vec<KeyScope>>,
}

impl Access {
    /// Whoever has a key.
    pub(super) fn of(key: &KeyInfo) -> Access {
        let operator = match key.name.is_empty() {
            true => format!("key {}", key.id),
            false => format!("key {} ({})", key.id, key.name),
        };
        Access { id: key.id.as_str().into(), operator, scopes: Some(key.scopes.clone()) }
    }

    /// Whoever asks while there are no keys.
    pub(super) fn without_keys() -> Access {
        Access { id: "local".into(), operator: "server without keys".to_owned(), scopes: None }
    }

    pub(super) fn opens(&self, scope: KeyScope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope))
    }
}

/// What is counted for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Nothing.
    Not,
    /// Recordings.
    Record,
    /// Questions for one person.
    Lookup,
    /// Everything else.
    Request,
}

/// Lets a request pass or not, and counts and logs the answer.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begin = Instant::now();
    let method = known_method(request.method().as_str());
    let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("-", MatchedPath::as_str);
    let admitted = app.admit(&mut request, route);
    let who = admitted.as_ref().ok().and_then(|it| it.clone());
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(_) => match timeout(app.answer_time(route), next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let what = "the request took too long; if it records something, it may be \
                            recorded all the same: repeat it with the same Idempotency-Key";
                Problem::new(Kind::Overloaded, what).into_response()
            }
        },
    };
    let headers = response.headers_mut();
    if is_chunked {
        // Of two lengths hyper takes the chunks, as it should; a proxy in front may have taken the
        // other and see the next request somewhere else.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, took) = (response.status().as_u16(), begin.elapsed());
    app.metrics.answered(method, route, status, took);
    let who = who.map_or("-".into(), |access| access.id);
    app.log(format_args!("{method} {route} {status} {}us key={who}", took.as_micros()));
    response
}

/// A client may make methods up.
fn known_method(method: &str) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// Lets those pass who have a scope, as often as they may.
pub(super) async fn require(
    app: Arc<App>,
    scope: Option<KeyScope>,
    counted: Counted,
    request: Request,
    next: Next,
) -> Response {
    let checked = request
        .extensions()
        .get::<Access>()
        .ok_or_else(|| Problem::new(Kind::Unauthorized, NO_KEY))
        .and_then(|access| app.check(access, scope, counted));
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

const NO_KEY: &str = "send a key as \"Authorization: Bearer optout_…\"";

/// Who stands behind a request is told in one of these ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// By nothing: the route tells only whether the server lives.
    Open,
    /// By a key.
    Key,
    /// By a signature over the body, which the route looks at.
    Signature,
    /// By a session, which the pages look at.
    Session,
}

impl Door {
    fn of(route: &str) -> Door {
        match route {
            "/healthz" | "/readyz" => Door::Open,
            "/" | "/console" => Door::Session,
            _ if route.starts_with("/console/") => Door::Session,
            _ if route.starts_with("/webhooks/") => Door::Signature,
            _ => Door::Key,
        }
    }
}

impl App {
    /// How long an answer may take to begin. Lists are uploaded meanwhile, which takes as long as
    /// they are; those routes have bounds of their own.
    fn answer_time(&self, route: &str) -> Duration {
        const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
        match route {
            "/v1/scrub" | "/v1/recheck" | "/console/scrub" => A_DAY,
            _ => self.limits.request_time,
        }
    }

    /// Puts whoever asks beside his request; `None` where nobody has to be known.
    fn admit(&self, request: &mut Request, route: &str) -> Result<Option<Access>, Problem> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let limit = self.limits.query_bytes;
        if request.uri().query().is_some_and(|query| query.len() > limit) {
            let what = format!("the query may have {limit} bytes");
            return Err(Problem::new(Kind::UriTooLong, what));
        }
        if Door::of(route) != Door::Key {
            return Ok(None);
        }
        let access = self.access(request, peer)?;
        request.extensions_mut().insert(access.clone());
        Ok(Some(access))
    }

    fn access(&self, request: &Request, peer: Option<IpAddr>) -> Result<Access, Problem> {
        let keys = self.service.keys();
        if !keys.is_needed() {
            // Other addresses are not bound without keys. A page in a browser on this machine could
            // still ask, under a name of its own that leads here.
            if !is_for_this_machine(request) {
                let what = "without keys the server answers only when it is called localhost, \
                            127.0.0.1 or [::1]: make a key with `optout key create`";
                return Err(Problem::new(Kind::Unauthorized, what));
            }
            return Ok(Access::without_keys());
        }
        let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
        let one = values.next().filter(|_| values.next().is_none());
        let text = one.and_then(|value| value.to_str().ok()).and_then(bearer);
        let key = text.and_then(|text| keys.find(text, Timestamp::now()));
        if let Some(key) = key {
            return Ok(Access::of(key));
        }
        // Only wrong keys count, so that a peer who has a right one is not locked out by others.
        if let Some(Err(seconds)) = peer.map(|peer| self.count_failure(peer)) {
            let what = "too many requests without a valid key came from this address";
            return Err(Problem::new(Kind::TooManyRequests, what).retry_after(seconds));
        }
        Err(Problem::new(Kind::Unauthorized, NO_KEY))
    }

    /// Counts a wrong key or signature of a peer.
    ///
    /// # Errors
    ///
    /// When there were too many: the seconds until there may be another.
    pub(super) fn count_failure(&self, peer: IpAddr) -> Result<(), u64> {
        self.failures.take(&network_of(peer), Instant::now())
    }

    pub(super) fn check(
        &self,
        access: &Access,
        scope: Option<KeyScope>,
        counted: Counted,
    ) -> Result<(), Problem> {
        if let Some(scope) = scope.filter(|&scope| !access.opens(scope)) {
            let what = format!("this needs a key with the scope \"{scope}\"");
            return Err(Problem::new(Kind::Forbidden, what));
        }
        let buckets = match counted {
            Counted::Not => return Ok(()),
            Counted::Record => &self.records,
            Counted::Lookup => &self.lookups,
            Counted::Request => &self.requests,
        };
        buckets.take(&access.id, Instant::now()).map_err(|seconds| {
            let what = "the key has asked too often";
            Problem::new(Kind::TooManyRequests, what).retry_after(seconds)
        })
    }
}

/// Whether every name by which the server is called means this machine.
pub(super) fn is_for_this_machine(request: &Request) -> bool {
    let is_local = |authority: &Authority| {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|it| it.to_canonical().is_loopback())
    };
    let hosts = request.headers().get_all(header::HOST);
    let is_local_text = |text: &HeaderValue| {
        text.to_str().ok().and_then(|text| text.parse().ok()).is_some_and(|it| is_local(&it))
    };
    request.uri().authority().is_none_or(is_local) && hosts.iter().all(is_local_text)
}

/// The token of `Bearer token`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
