//! Who looks at the page, in which language, and what may he see?
//!
//! Stands before every page. Promises: without keys only this machine is answered; a key that was
//! revoked ends its sessions with the next request; a page is told nothing that its visitor may
//! not see; every answer carries the headers that keep foreign scripts and frames away. Leaves to
//! others: what pages show.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::form::{Fields, is_from_here};
use super::language::Language;
use super::session::SessionId;
use super::texts::Texts;
use super::{Failed, sign_in};
use crate::server::App;
use crate::server::connections::Peer;
use crate::server::guard::{Access, Counted, is_for_this_machine};
use crate::server::keys::KeyScope;
use crate::server::problem::{Kind, Problem};
use crate::time::{Timestamp, Zone};

/// A visitor and his request.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) app: Arc<App>,
    pub(super) language: Language,
    pub(super) t: &'static Texts,
    pub(super) access: Option<Access>,
    /// Whether people sign in: the server has keys.
    pub(super) signs_in: bool,
    pub(super) session: SessionId,
    /// Whether the browser sent that session.
    pub(super) has_cookie: bool,
    /// Whether numbers are shown whole.
    pub(super) shows_numbers: bool,
    /// Whether cookies go over encrypted connections only.
    pub(super) is_secure: bool,
    pub(super) peer: Option<IpAddr>,
    pub(super) path: String,
    pub(super) fields: Fields,
    /// The zone that was chosen last.
    zone: String,
    /// Whether the tour was taken or turned down.
    pub(super) knows_tour: bool,
}

/// The visit has been put beside the request.
impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visit, Failed> {
        let visit = parts.extensions.get::<Arc<Visit>>();
        visit
            .map(|visit| Visit::clone(visit))
            .ok_or_else(|| Problem::new(Kind::Internal, "nobody looked who asks").into())
    }
}

/// A page that a visitor may open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
}

/// What every page has around it.
pub(super) struct Frame {
    pub(super) language: Language,
    pub(super) title: String,
    pub(super) path: &'static str,
    pub(super) pages: Vec<Page>,
    /// Each with its link, and whether it is the one.
    pub(super) languages: Vec<(Language, String, bool)>,
    pub(super) token: String,
    /// Whose key it is; `None` for nobody.
    pub(super) who: Option<String>,
    pub(super) signs_in: bool,
    pub(super) shows_numbers: bool,
    /// Where a form that changes how pages look leads back to.
    pub(super) back: String,
}

impl Visit {
    /// Whoever is signed in.
    pub(super) fn known(&self) -> Result<&Access, Failed> {
        let nobody = || Failed(Problem::new(Kind::Unauthorized, "sign in with a key"));
        self.access.as_ref().ok_or_else(nobody)
    }

    /// Whoever is signed in, if his key opens this; counts the request.
    pub(super) fn may(&self, scope: KeyScope) -> Result<&Access, Failed> {
        let access = self.known()?;
        let counted = match scope {
            KeyScope::Add | KeyScope::Resubscribe => Counted::Record,
            KeyScope::Check => Counted::Lookup,
            _ => Counted::Request,
        };
        self.app.check(access, Some(scope), counted)?;
        Ok(access)
    }

    /// Whether the visitor's key opens this.
    pub(super) fn opens(&self, scope: KeyScope) -> bool {
        self.access.as_ref().is_some_and(|access| access.opens(scope))
    }

    /// Whether a text is the token of this session.
    pub(super) fn holds_token(&self, text: &str) -> Result<(), Failed> {
        if self.has_cookie && self.app.sessions.is_token(&self.session, text) {
            return Ok(());
        }
        let what = "the form is not of this session: open the page again and repeat it; if that \
                    does not help, the browser sends no cookie, which it does over https and to \
                    localhost";
        Err(Problem::new(Kind::Forbidden, what).into())
    }

    /// The pages that the visitor may open.
    pub(super) fn pages(&self) -> Vec<Page> {
        let (t, mut pages) = (self.t, Vec::new());
        if self.access.is_none() {
            return pages;
        }
        let mut page = |is_open: bool, path, name| {
            if is_open {
                pages.push(Page { path, name });
            }
        };
        let opens = |scope| self.opens(scope);
        page(opens(KeyScope::Export), "/console/audience", t.audience);
        let records = opens(KeyScope::Add) || opens(KeyScope::Resubscribe);
        page(records || opens(KeyScope::Check), "/console/record", t.person);
        page(opens(KeyScope::Check), "/console/scrub", t.scrub);
        page(opens(KeyScope::Admin), "/console/capture", t.capture);
        page(opens(KeyScope::Admin), "/console/keys", t.keys);
        page(true, "/console/tour", t.tour);
        page(true, "/console/api", t.api);
        pages
    }

    /// What goes around a page.
    pub(super) fn frame(&self, title: &str, path: &'static str) -> Frame {
        let query = self.fields.query_without("lang");
        let link = |language: Language| {
            let rest = if query.is_empty() { String::new() } else { format!("{query}&") };
            let link = format!("{}?{rest}lang={}", self.path, language.code());
            (language, link, language == self.language)
        };
        let back = match query.is_empty() {
            true => self.path.clone(),
            false => format!("{}?{query}", self.path),
        };
        Frame {
            language: self.language,
            title: title.to_owned(),
            path,
            pages: self.pages(),
            languages: Language::ALL.map(link).to_vec(),
            token: self.app.sessions.token(&self.session),
            who: self.access.as_ref().map(|access| access.id.to_string()),
            signs_in: self.signs_in,
            shows_numbers: self.shows_numbers,
            back,
        }
    }

    /// The zone's name: of the address, or the one that was chosen last.
    pub(super) fn zone_name(&self) -> &str {
        let asked = self.fields.get("tz");
        if asked.is_empty() { &self.zone } else { asked }
    }

    /// The zone in which moments are shown.
    pub(super) fn zone(&self) -> Zone {
        Zone::parse(self.zone_name()).unwrap_or(Zone::UTC)
    }

    /// A moment, for people.
    pub(super) fn moment(&self, at: Timestamp) -> String {
        self.language.moment(at, &self.zone())
    }

    /// A cookie of ours.
    pub(super) fn cookie(&self, name: &str, value: &str, seconds: Option<u32>) -> String {
        let age = seconds.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
        let (prefix, secure) = if self.is_secure { ("__Host-", "; Secure") } else { ("", "") };
        format!("{prefix}{name}={value}; Path=/; HttpOnly; SameSite=Strict{age}{secure}")
    }
}

pub(super) const SESSION: &str = "optout";
pub(super) const LANGUAGE: &str = "optout_lang";
pub(super) const ZONE: &str = "optout_tz";
pub(super) const TOUR: &str = "optout_tour";
pub(super) const A_YEAR: u32 = 365 * 24 * 60 * 60;

/// Finds out who asks, and lets no foreign page ask in his name.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let visit = match visit(app, &request) {
        Ok(visit) => Arc::new(visit),
        Err(problem) => return problem.into_response(),
    };
    let method = request.method().clone();
    let is_safe = method == Method::GET || method == Method::HEAD;
    let mut response = if !visit.signs_in && !is_for_this_machine(&request) {
        let what = "without keys the server answers only when it is called localhost, 127.0.0.1 \
                    or [::1]: make a key with `optout key create`";
        Failed(Problem::new(Kind::Forbidden, what)).into_response()
    } else if !is_safe && !is_from_here(request.headers()) {
        let what = "the request comes from another page than ours: nothing was done";
        Failed(Problem::new(Kind::Forbidden, what)).into_response()
    } else {
        request.extensions_mut().insert(visit.clone());
        next.run(request).await
    };
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        response = sign_in::refusal(&visit, &problem);
    }
    dress(&visit, &mut response);
    response
}

/// The headers that every answer has.
fn dress(visit: &Visit, response: &mut Response) {
    let headers = response.headers_mut();
    let fixed = [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
             connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let mut cookies = Vec::new();
    let has_set = headers.get_all(header::SET_COOKIE).iter().any(|it| {
        it.to_str().is_ok_and(|it| it.trim_start_matches("__Host-").starts_with("optout="))
    });
    if !visit.has_cookie && !has_set {
        cookies.push(visit.cookie(SESSION, visit.session.as_str(), None));
    }
    if Language::parse(visit.fields.get("lang")).is_some() {
        cookies.push(visit.cookie(LANGUAGE, visit.language.code(), Some(A_YEAR)));
    }
    if visit.path == "/console/tour" || visit.fields.get("tour") == "no" {
        cookies.push(visit.cookie(TOUR, "known", Some(A_YEAR)));
    }
    for cookie in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn visit(app: Arc<App>, request: &Request) -> Result<Visit, Problem> {
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    // A proxy that encrypts may run on this machine: it says so. Without one, browsers take a
    // cookie that is for encrypted connections only from nobody.
    let is_here = peer.is_some_and(|peer| peer.to_canonical().is_loopback());
    let is_encrypted = headers.get("x-forwarded-proto").is_some_and(|it| it == "https");
    let is_secure = is_encrypted || !is_here;
    let cookie = |name: &str| {
        let name = if is_secure { format!("__Host-{name}") } else { name.to_owned() };
        cookie(headers, &name)
    };
    let sent = cookie(SESSION).and_then(SessionId::read);
    let has_cookie = sent.is_some();
    let drawn = || {
        let none = "no random bytes could be had";
        SessionId::draw().map_err(|_| Problem::new(Kind::Internal, none))
    };
    let session = sent.map_or_else(drawn, Ok)?;
    let known = app.sessions.look(&session, Instant::now());
    let keys = app.service.keys();
    let signs_in = keys.is_needed();
    let access = match (signs_in, known.as_ref().and_then(|known| known.key.as_deref())) {
        (false, _) => Some(Access::without_keys()),
        (true, Some(id)) => keys.by_id(id, Timestamp::now()).map(Access::of),
        (true, None) => None,
    };
    if access.is_none() && known.is_some() {
        app.sessions.end(&session);
    }
    let fields = Fields::of_query(request.uri());
    let language = Language::parse(fields.get("lang"))
        .or_else(|| cookie(LANGUAGE).and_then(Language::parse))
        .unwrap_or_else(|| Language::accepted(headers));
    let zone = cookie(ZONE).unwrap_or_default().to_owned();
    let shows_numbers = access.is_some() && known.is_some_and(|known| known.shows_numbers);
    Ok(Visit {
        language,
        t: language.texts(),
        access,
        signs_in,
        session,
        has_cookie,
        shows_numbers,
        is_secure,
        peer,
        path: request.uri().path().to_owned(),
        fields,
        zone: if Zone::parse(&zone).is_ok() { zone } else { "UTC".to_owned() },
        knows_tour: cookie(TOUR).is_some(),
        app,
    })
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut each = all.flat_map(|text| text.split(';')).filter_map(|it| it.trim().split_once('='));
    each.find(|(it, _)| *it == name).map(|(_, value)| value)
}
