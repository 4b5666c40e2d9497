//! What goes over a connection, and how fast does it have to go?
//!
//! Stands between hyper and the socket. Promises: a client that takes less of an answer than the
//! limits ask for loses its connection; a request that hyper refuses before anybody else has seen
//! it is answered with a problem document like all others. Leaves to others: everything that is
//! answered to a request that could be read.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::Limits;
use super::problem::{Kind, Problem};

/// How many requests of a connection are being answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Answering(Arc<AtomicUsize>);

impl Answering {
    /// The body of an answer: until it is dropped, the request is being answered.
    pub(super) fn begin(&self) -> Begun {
        self.0.fetch_add(1, Ordering::Relaxed);
        Begun(self.0.clone())
    }

    fn is_nothing(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Begun(Arc<AtomicUsize>);

impl Begun {
    /// The body of the answer, with which it ends.
    pub(super) fn with(self, body: Body) -> Answer {
        Answer { body, _begun: self }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _begun: Begun,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that gives up when an answer is taken too slowly.
pub(super) struct Wire<T> {
    io: T,
    limits: Arc<Limits>,
    answering: Answering,
    waiting: Option<Waiting>,
    /// What is written instead of a refusal of hyper's.
    instead: Option<Instead>,
}

/// Since a client was first waited for.
struct Waiting {
    deadline: Pin<Box<Sleep>>,
    /// What he has taken meanwhile.
    taken: usize,
}

struct Instead {
    bytes: Vec<u8>,
    written: usize,
}

impl<T> Wire<T> {
    pub(super) fn new(io: T, limits: Arc<Limits>, answering: Answering) -> Wire<T> {
        Wire { io, limits, answering, waiting: None, instead: None }
    }

    /// What a write gave; when it has to wait, for how long it may.
    fn bounded(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = &written
            && let Some(waiting) = &mut self.waiting
        {
            waiting.taken += count;
            if waiting.taken >= self.limits.write_bytes {
                self.waiting = None;
            }
        }
        if written.is_ready() {
            return written;
        }
        ready!(self.poll_deadline(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// As `bounded`, for what ends when all is taken.
    fn until_taken(
        &mut self,
        context: &mut Context<'_>,
        done: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        ready!(self.poll_deadline(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let patience = self.limits.write_time;
        let waiting = self.waiting.get_or_insert_with(|| {
            let deadline = Box::pin(sleep_until(Instant::now() + patience));
            Waiting { deadline, taken: 0 }
        });
        waiting.deadline.as_mut().poll(context)
    }
}

impl<T: Write + Unpin> Wire<T> {
    /// Writes a problem document instead of these bytes, if they are a refusal of hyper's.
    fn poll_instead(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            // What is answered by anybody else may hold whatever a client sent.
            let problem = self.answering.is_nothing().then(|| refusal(bytes)).flatten()?;
            self.instead = Some(Instead { bytes: problem.alone(), written: 0 });
        }
        loop {
            let instead = self.instead.as_mut()?;
            let rest = &instead.bytes[instead.written..];
            if rest.is_empty() {
                self.instead = None;
                return Some(Poll::Ready(Ok(bytes.len())));
            }
            let written = Pin::new(&mut self.io).poll_write(context, rest);
            match self.bounded(context, written) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => {
                    if let Some(instead) = &mut self.instead {
                        instead.written += count;
                    }
                }
                other => return Some(other),
            }
        }
    }
}

/// The refusal that hyper wrote: a head of three headers at most, and nothing else.
fn refusal(bytes: &[u8]) -> Option<Problem> {
    let text = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let known = ["content-length: 0", "connection: close", "date: "];
    if !lines.all(|line| known.iter().any(|it| line.starts_with(it))) {
        return None;
    }
    Some(match status {
        "400" => Problem::new(Kind::Malformed, "this is no request of HTTP/1.1"),
        "414" => Problem::new(Kind::UriTooLong, "the address is too long"),
        "431" => Problem::new(Kind::HeadersTooLarge, "there are too many or too large headers"),
        _ => return None,
    })
}

impl<T: Read + Unpin> Read for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            // Whoever still sends his request is busy, and takes the answer afterwards.
            self.waiting = None;
        }
        read
    }
}

impl<T: Write + Unpin> Write for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.poll_instead(context, bytes) {
            return written;
        }
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.until_taken(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.until_taken(context, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(one), None) = (full.next(), full.next())
            && let Some(written) = self.poll_instead(context, one)
        {
            return written;
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.bounded(context, written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_head_is_a_refusal_of_hypers() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: Tue, 01 Dec 2026 00:00:00 GMT\r\n\r\n";
        assert!(refusal(bare.as_bytes()).is_some());
        let other =
            bare.replace("content-length: 0", "content-length: 0\r\ncache-control: no-store");
        let second = format!("{bare}{bare}");
        let fine = bare.replace("431", "200");
        for not in [&other, &second, &fine, &format!("{bare}\r\n"), &bare[..bare.len() - 2]] {
            assert!(refusal(not.as_bytes()).is_none(), "{not}");
        }
    }
}
