//! How does a visitor sign in and out, and what does he see when he may not?
//!
//! Promises: a session's cookie changes when somebody signs in; wrong keys are counted by the
//! peer's address together with those of the API; who had numbers shown is logged with his key.

use std::time::Instant;

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::session::SessionId;
use super::texts::Texts;
use super::visit::{Frame, SESSION, Visit};
use super::{Answer, Failed, form, html, see};
use crate::server::problem::{Kind, Problem};
use crate::time::Timestamp;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    f: Frame,
    t: &'static Texts,
    error: Option<&'static str>,
    next: String,
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    f: Frame,
    t: &'static Texts,
    status: u16,
    what: &'static str,
    detail: &'a str,
    errors: Vec<(&'a str, &'a str)>,
}

/// The form.
pub(super) async fn page(visit: Visit) -> Answer {
    if visit.access.is_some() {
        return Ok(see("/console"));
    }
    Ok(shown(&visit, StatusCode::OK, None, visit.fields.get("next")))
}

fn shown(visit: &Visit, status: StatusCode, error: Option<&'static str>, next: &str) -> Response {
    let f = visit.frame(visit.t.sign_in, "/console/sign-in");
    html(status, &SignInPage { f, t: visit.t, error, next: own_path(next).to_owned() })
}

/// A path of ours; home for whatever leads elsewhere.
fn own_path(path: &str) -> &str {
    let is_plain = path.bytes().all(|it| it.is_ascii_graphic() && it != b'\\');
    let is_ours =
        path == "/console" || path.starts_with("/console/") || path.starts_with("/console?");
    if is_plain && is_ours && !path.starts_with("/console/sign") { path } else { "/console" }
}

/// Signs in.
pub(super) async fn enter(visit: Visit, request: Request) -> Answer {
    let fields = form::posted(&visit, request).await?;
    let next = fields.get("next");
    if !visit.signs_in {
        return Ok(see("/console"));
    }
    let keys = visit.app.service.keys();
    let Some(key) = keys.find(fields.get("key"), Timestamp::now()) else {
        if let Some(Err(seconds)) = visit.peer.map(|peer| visit.app.count_failure(peer)) {
            let what = "too many wrong keys came from this address";
            return Err(Problem::new(Kind::TooManyRequests, what).retry_after(seconds).into());
        }
        visit.app.log(format_args!("console: nobody signed in, the key is not valid"));
        return Ok(shown(&visit, StatusCode::UNAUTHORIZED, Some(visit.t.wrong_key), next));
    };
    visit.app.sessions.end(&visit.session);
    let session = drawn()?;
    visit.app.sessions.begin(&session, Some(key.id.as_str().into()), Instant::now());
    visit.app.log(format_args!("console: signed in key={}", key.id));
    Ok(with_session(&visit, see(own_path(next)), &session))
}

/// Signs out.
pub(super) async fn leave(visit: Visit, request: Request) -> Answer {
    form::posted(&visit, request).await?;
    visit.app.sessions.end(&visit.session);
    Ok(with_session(&visit, see("/console/sign-in"), &drawn()?))
}

fn drawn() -> Result<SessionId, Failed> {
    let none = |_| Failed(Problem::new(Kind::Internal, "no random bytes could be had"));
    SessionId::draw().map_err(none)
}

fn with_session(visit: &Visit, mut response: Response, session: &SessionId) -> Response {
    let cookie = visit.cookie(SESSION, session.as_str(), None);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Shows numbers for a while, or masks them again.
pub(super) async fn show_numbers(visit: Visit, request: Request) -> Answer {
    let access = visit.known()?;
    let fields = form::posted(&visit, request).await?;
    let (shows, now) = (fields.get("shows") == "yes", Instant::now());
    let sessions = &visit.app.sessions;
    if sessions.look(&visit.session, now).is_none() {
        // Without keys a session begins when there is something to remember.
        sessions.begin(&visit.session, None, now);
    }
    sessions.show_numbers(&visit.session, shows, now);
    let what = if shows { "shown" } else { "masked again" };
    visit.app.log(format_args!("console: numbers {what} key={}", access.id));
    Ok(see(own_path(fields.get("back"))))
}

/// The page instead of one that could not be given.
pub(super) fn refusal(visit: &Visit, problem: &Problem) -> Response {
    let status = problem.status();
    if status == StatusCode::UNAUTHORIZED {
        let query = visit.fields.query_without("lang");
        let next = format!("{}?{query}", visit.path);
        return shown(visit, status, None, next.trim_end_matches('?'));
    }
    let t = visit.t;
    let what = match status {
        StatusCode::FORBIDDEN => t.refused_forbidden,
        StatusCode::NOT_FOUND | StatusCode::GONE => t.refused_not_found,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => t.refused_invalid,
        StatusCode::TOO_MANY_REQUESTS => t.refused_too_many,
        StatusCode::PAYLOAD_TOO_LARGE => t.refused_too_large,
        _ => t.refused_failed,
    };
    let errors = problem.errors().iter().map(|it| (t.field(&it.field), it.detail.as_str()));
    let page = RefusalPage {
        f: visit.frame(what, ""),
        t,
        status: status.as_u16(),
        what,
        detail: problem.detail(),
        errors: errors.collect(),
    };
    let mut response = html(status, &page);
    if let Some(seconds) = problem.seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for path in ["/console", "/console/audience?range=all&tz=UTC", "/console?x"] {
            assert_eq!(own_path(path), path);
        }
        for path in [
            "",
            "/",
            "//evil.example",
            "/console\\..\\x",
            "https://evil.example/console/",
            "/consolex",
            "/console/a\r\nSet-Cookie: x",
            "/console/sign-out",
            "/v1/stats",
        ] {
            assert_eq!(own_path(path), "/console", "{path}");
        }
    }
}
