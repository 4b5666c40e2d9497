//! How does the server say no?
//!
//! Every refusal is a problem document (RFC 9457): a stable `type`, a title, the status, a
//! sentence, and for a body that is not as described the fields. It never holds a whole number, a
//! key, or what the store said of its files.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A refusal.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What kind of refusal it is: a path that never changes.
    #[serde(rename = "type")]
    #[schema(example = "/problems/invalid")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: Cow<'static, str>,
    /// The fields that are not as described.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// A field that is not as described.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Where it stands.
    #[schema(example = "items[3].source")]
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) detail: String,
}

/// Kinds, with status and title.
macro_rules! kinds {
    ($($name:ident = $status:ident, $title:literal;)+) => {
        /// What kind of refusal it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($name,)+ }

        impl Kind {
            fn status(self) -> StatusCode {
                match self { $(Kind::$name => StatusCode::$status,)+ }
            }

            fn title(self) -> &'static str {
                match self { $(Kind::$name => $title,)+ }
            }

            fn word(self) -> String {
                let name = match self { $(Kind::$name => stringify!($name),)+ };
                let mut word = String::new();
                for (at, letter) in name.char_indices() {
                    if at > 0 && letter.is_uppercase() {
                        word.push('-');
                    }
                    word.push(letter.to_ascii_lowercase());
                }
                word
            }
        }
    };
}

kinds! {
    Malformed = BAD_REQUEST, "The request can't be read";
    Unauthorized = UNAUTHORIZED, "No valid key";
    Unsigned = UNAUTHORIZED, "No valid signature";
    Forbidden = FORBIDDEN, "The key does not open this";
    NotFound = NOT_FOUND, "There is nothing here";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "The method is not for this";
    TooSlow = REQUEST_TIMEOUT, "The request came too slowly";
    NotFinished = CONFLICT, "The job has not ended";
    Removed = GONE, "The job was removed";
    InProgress = CONFLICT, "The same request is being answered";
    TooLarge = PAYLOAD_TOO_LARGE, "The request is too large";
    UriTooLong = URI_TOO_LONG, "The address is too long";
    HeadersTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large";
    NotPlain = UNSUPPORTED_MEDIA_TYPE, "The body is not the file itself";
    NotJson = UNSUPPORTED_MEDIA_TYPE, "The body is not JSON";
    NotForm = UNSUPPORTED_MEDIA_TYPE, "The body is no form";
    Invalid = UNPROCESSABLE_ENTITY, "The request is not as described";
    TooManySuppressed = UNPROCESSABLE_ENTITY, "More rows would be suppressed than allowed";
    KeyReused = UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    TooManyRequests = TOO_MANY_REQUESTS, "Too many requests";
    Internal = INTERNAL_SERVER_ERROR, "The server failed";
    Overloaded = SERVICE_UNAVAILABLE, "Too much at once";
    StoreUnavailable = SERVICE_UNAVAILABLE, "The store gives no answer";
    Unreadable = SERVICE_UNAVAILABLE, "Not all of it could be read";
    Stale = SERVICE_UNAVAILABLE, "An outside list is too old";
    DiskFull = INSUFFICIENT_STORAGE, "There is no room for it";
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem {
            kind: format!("/problems/{}", kind.word()),
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: (kind.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        }
    }

    /// Fields that are not as described.
    pub(super) fn invalid(errors: Vec<FieldError>) -> Problem {
        let detail = "nothing was done: see errors";
        Problem { errors, ..Problem::new(Kind::Invalid, detail) }
    }

    /// One field that is not as described.
    pub(super) fn field(field: impl Into<String>, detail: impl Into<String>) -> Problem {
        Problem::invalid(vec![FieldError { field: field.into(), detail: detail.into() }])
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong this time, and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The fields that are not as described.
    pub(super) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// In how many seconds to ask again.
    pub(super) fn seconds(&self) -> Option<u64> {
        self.retry_after
    }

    /// The bytes of an answer on a connection that ends with it, where no request could be read.
    pub(super) fn alone(&self) -> Vec<u8> {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let status = self.status();
        let again = self.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n\
             content-length: {}\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\n{}connection: close\r\n\r\n",
            body.len(),
            again.unwrap_or_default(),
        );
        [head.into_bytes(), body].concat()
    }

    /// Says when to ask again.
    pub(super) fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after: Some(seconds.max(1)), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
