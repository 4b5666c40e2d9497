//! What did the visitor send?
//!
//! The fields of addresses and forms. Promises: a form is bounded, is read within its time, and
//! carries the token of its session, or nothing of it is read. Leaves to others: what fields mean.

use axum::body::Body;
use axum::extract::{Form, FromRequest, Query, Request};
use axum::http::{HeaderMap, Method, Uri, header};
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;

use super::Failed;
use super::visit::Visit;
use crate::server::problem::{Kind, Problem};

/// Bytes of a form.
const FORM_BYTES_MAX: usize = 128 << 10;
/// The field of the token.
pub(super) const TOKEN: &str = "token";

/// Names and values, as they came.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// Those of an address.
    pub(super) fn of_query(uri: &Uri) -> Fields {
        let read = Query::<Vec<(String, String)>>::try_from_uri(uri);
        Fields(read.map(|Query(fields)| fields).unwrap_or_default())
    }

    /// The value of a name, without space around it; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(it, _)| it == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// Every value of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.trim())
    }

    /// The same fields without one, as the query of an address.
    pub(super) fn query_without(&self, name: &str) -> String {
        let kept = self.0.iter().filter(|(it, _)| it != name);
        query(kept.map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// Names and values as the query of an address; values that are empty are left out.
pub(super) fn query<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in fields.filter(|(_, value)| !value.is_empty()) {
        if !text.is_empty() {
            text.push('&');
        }
        escape(name, &mut text);
        text.push('=');
        escape(value, &mut text);
    }
    text
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The fields of a form that one of our own pages sent.
pub(super) async fn posted(visit: &Visit, request: Request) -> Result<Fields, Failed> {
    let limit = visit.app.limits.body_time;
    let (parts, body) = request.into_parts();
    let read = timeout(limit, Limited::new(body, FORM_BYTES_MAX).collect()).await;
    let bytes = match read {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(_)) => {
            let what = format!("the form may have {FORM_BYTES_MAX} bytes");
            return Err(Problem::new(Kind::TooLarge, what).into());
        }
        Err(_) => return Err(Problem::new(Kind::TooSlow, "the form took too long").into()),
    };
    let kind = parts.headers.get(header::CONTENT_TYPE).cloned();
    let mut request = Request::new(Body::from(bytes));
    *request.method_mut() = Method::POST;
    kind.map(|kind| request.headers_mut().insert(header::CONTENT_TYPE, kind));
    let read = Form::<Vec<(String, String)>>::from_request(request, &()).await;
    let Ok(Form(fields)) = read else {
        return Err(Problem::new(Kind::Malformed, "the form can't be read").into());
    };
    let fields = Fields(fields);
    visit.holds_token(fields.get(TOKEN))?;
    Ok(fields)
}

/// Whether a request that changes something comes from one of our own pages, by what the browser
/// says. Who says nothing is told by the token alone: scripts and old browsers.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match text("origin") {
        None => true,
        // Pages that tell no referrer tell no origin either.
        Some("null") => site == Some("same-origin"),
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == text("host")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_back_as_it_was_written() {
        let fields = [("sender", "a&b=c d+é"), ("none", ""), ("tz", "America/Mexico_City")];
        let text = query(fields.into_iter());
        let read = Fields::of_query(&format!("/x?{text}").parse().unwrap());
        assert_eq!(read.get("sender"), "a&b=c d+é");
        assert_eq!(read.get("tz"), "America/Mexico_City");
        assert_eq!(read.query_without("sender"), "tz=America%2FMexico_City");
    }

    #[test]
    fn a_foreign_page_is_told_by_what_the_browser_says() {
        let from = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "x.example:8080".parse().unwrap());
            for (name, value) in fields {
                headers.insert(*name, value.parse().unwrap());
            }
            is_from_here(&headers)
        };
        assert!(from(&[]));
        assert!(from(&[("origin", "https://x.example:8080")]));
        assert!(from(&[("origin", "null"), ("sec-fetch-site", "same-origin")]));
        assert!(from(&[("sec-fetch-site", "same-origin")]));
        for foreign in [
            &[("origin", "https://y.example")][..],
            &[("origin", "https://x.example")],
            &[("origin", "x.example:8080")],
            &[("origin", "null")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://x.example:8080"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!from(foreign), "{foreign:?}");
        }
    }
}
