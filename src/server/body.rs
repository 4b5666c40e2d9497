//! What did the client send?
//!
//! Bodies and queries, bounded before and while they are read. Promises: nothing larger than the
//! limits is held, and no refusal of theirs repeats a value that was sent. Leaves to others: what the fields mean.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::App;
use super::limits::Limits;
use super::problem::{Kind, Problem};

/// Bodies up to here need no room among the large ones.
const SMALL_BODY: u64 = 32 << 10;
/// What room is counted in.
const ROOM_UNIT: u64 = 1 << 10;

/// A body, and the room that it takes.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Received {
    /// Whether it is read faster than it is handed to another thread.
    pub(super) fn is_small(&self) -> bool {
        self.bytes.len() as u64 <= SMALL_BODY
    }
}

/// Room for large bodies: all that are there at the same time share it.
pub(super) fn room(limits: &Limits) -> Arc<Semaphore> {
    let units = limits.bodies_bytes.max(limits.body_bytes) as u64 / ROOM_UNIT + 1;
    Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX)))
}

/// What a body may say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// JSON.
    Json,
    /// A form, or JSON.
    FormOrJson,
}

impl Sort {
    /// Whether a body says that it is JSON.
    pub(super) fn is_json(headers: &HeaderMap) -> bool {
        says(headers).eq_ignore_ascii_case("application/json")
    }

    fn check(self, headers: &HeaderMap) -> Result<(), Problem> {
        let is_form = says(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !Sort::is_json(headers) && (self == Sort::Json || !is_form) {
            let (kind, how) = match self {
                Sort::Json => (Kind::NotJson, "send the body with Content-Type: application/json"),
                Sort::FormOrJson => (Kind::NotForm, "send the body as a form, or as JSON"),
            };
            return Err(Problem::new(kind, how));
        }
        if headers.contains_key(header::CONTENT_ENCODING) {
            let how = "send the body as it is, without Content-Encoding";
            return Err(Problem::new(Kind::NotJson, how));
        }
        Ok(())
    }
}

fn says(headers: &HeaderMap) -> &str {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// The bytes of a body that says it is JSON.
pub(super) async fn json_bytes(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, Problem> {
    bounded_bytes(app, headers, body, Sort::Json, app.limits.body_bytes).await
}

/// The bytes of a body of a sort, at most so many.
pub(super) async fn bounded_bytes(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    sort: Sort,
    limit: usize,
) -> Result<Received, Problem> {
    sort.check(headers)?;
    let limits = &app.limits;
    let limit = limit.min(limits.body_bytes);
    let too_large = || Problem::new(Kind::TooLarge, format!("the body may have {limit} bytes"));
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    // Of chunks nobody knows how many come.
    let size = body.size_hint().upper().unwrap_or(limit as u64);
    let room = match size <= SMALL_BODY {
        true => None,
        false => Some(take_room(app, size).await?),
    };
    match timeout(limits.body_time, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(Received { bytes: collected.to_bytes(), _room: room }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Kind::Malformed, "the body could not be read to its end")),
        Err(_) => Err(Problem::new(Kind::TooSlow, "the body took too long")),
    }
}

async fn take_room(app: &App, size: u64) -> Result<OwnedSemaphorePermit, Problem> {
    let units = u32::try_from(size / ROOM_UNIT).unwrap_or(u32::MAX);
    let room = timeout(app.limits.body_time, app.room.clone().acquire_many_owned(units)).await;
    match room {
        Ok(Ok(room)) => Ok(room),
        _ => Err(Problem::new(Kind::Overloaded, "too many large bodies at once")),
    }
}

/// Refuses lists, which would be taken for the fields of an object in their order.
pub(super) fn is_object(bytes: &[u8]) -> Result<(), Problem> {
    match bytes.trim_ascii_start().first() {
        Some(b'[') => Err(Problem::field("line 1", "expected an object")),
        _ => Ok(()),
    }
}

/// A body as what it should be.
pub(super) fn from_json<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Problem> {
    is_object(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        if error.is_data() {
            return Problem::field(at, without_values(&error.to_string()));
        }
        Problem::new(Kind::Malformed, format!("the body is not JSON at {at}"))
    })
}

/// A query as what it should be.
pub(super) fn from_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let read = Query::<T>::try_from_uri(uri).map(|Query(query)| query);
    read.map_err(|error| {
        let text = error.to_string();
        let what = text.rsplit_once(": ").map_or("", |(_, what)| what);
        let known = ["unknown field", "missing field", "duplicate field"];
        let what = match known.iter().any(|it| what.starts_with(it)) {
            true => what.chars().take(300).collect(),
            false => "a value is not as described".to_owned(),
        };
        Problem::field("query", what)
    })
}

/// What stands in the path.
pub(super) fn from_path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let read = path.map(|Path(read)| read);
    read.map_err(|_| Problem::new(Kind::Malformed, "the path is not text"))
}

/// A parser's message without the values that it shows and without the place, which is told
/// beside it.
fn without_values(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(before, _)| before);
    let expected = message.rfind("expected ").map(|at| &message[at..]);
    let names_fields =
        ["unknown field", "missing field", "duplicate field", "more than", "did not match"];
    match names_fields.iter().any(|start| message.starts_with(start)) {
        true => message.chars().take(300).collect(),
        false => expected.unwrap_or("a value is not as described").chars().take(300).collect(),
    }
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_of(bytes),
        Err(_) => Problem::new(Kind::Internal, "the answer could not be written").into_response(),
    }
}

/// An answer that is JSON already.
pub(super) fn json_of(bytes: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes.into()).into_response()
}

/// A body that comes as it is written.
pub(super) struct Streamed(mpsc::Receiver<io::Result<Bytes>>);

impl Streamed {
    pub(super) fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Streamed {
        Streamed(receiver)
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// A text that stays where it was read, if it can.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Texts)
    }
}

/// A list of at most so many.
#[derive(Debug)]
pub(super) struct AtMost<T, const MAX: usize>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = AtMost<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX {
                        let what = format!("more than {MAX} at once");
                        return Err(serde::de::Error::custom(what));
                    }
                    items.push(item);
                }
                Ok(AtMost(items))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_no_value() {
        let error = serde_json::from_str::<u32>("\"5215512345678\"").unwrap_err();
        let told = without_values(&error.to_string());
        assert!(told.starts_with("expected") && !told.contains("5512345678"), "{told}");
    }

    #[test]
    fn a_list_ends_at_its_limit() {
        assert_eq!(serde_json::from_str::<AtMost<u8, 2>>("[1,2]").unwrap().0, [1, 2]);
        let error = serde_json::from_str::<AtMost<u8, 2>>("[1,2,3]").unwrap_err();
        assert!(without_values(&error.to_string()).starts_with("more than 2"));
    }

    #[test]
    fn a_text_without_escapes_is_not_copied() {
        let bytes = br#"["+52 55","\u002b1"]"#.to_vec();
        let texts: Vec<Text<'_>> = serde_json::from_slice(&bytes).unwrap();
        assert!(matches!(texts[0].0, Cow::Borrowed("+52 55")));
        assert!(matches!(&texts[1].0, Cow::Owned(text) if text == "+1"));
    }
}
