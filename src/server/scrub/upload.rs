//! How does a file that is still coming become what a scrub reads?
//!
//! Frames of the request go through a short channel to the threads of the scrub. Promises: no more
//! than a few frames are held, whoever is slower; only a body that was received to its end ends
//! the list, any other end fails the scrub; a client that sends nothing for too long, or hardly
//! anything for long, is given up.

use std::fmt;
use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::multipart::Field;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::job::Job;
use crate::server::limits::Limits;

/// Frames that wait for the scrub; hyper makes them of up to 64 KiB.
const FRAMES_WAITING: usize = 16;
/// Before that, nobody is too slow as long as anything comes.
const SLOW_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    /// The list is complete.
    End,
    Failed(io::ErrorKind),
}

/// What comes from a client, piece by piece.
pub(in crate::server) trait Chunks: Send {
    /// The next piece; `None` at the end, an error when it broke off.
    fn next(&mut self) -> impl Future<Output = Option<Result<Bytes, Broken>>> + Send;
}

/// It broke off.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Broken;

impl Chunks for Body {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        loop {
            match self.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(_) => return Some(Err(Broken)),
            }
        }
    }
}

impl Chunks for Field<'_> {
    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        self.chunk().await.map_err(|_| Broken).transpose()
    }
}

/// A channel from a request to the scrub of a job.
pub(super) fn channel(job: Arc<Job>) -> (Feed, Upload) {
    let (sender, receiver) = mpsc::channel(FRAMES_WAITING);
    (Feed { sender, job }, Upload { receiver, frame: Bytes::new(), is_at_end: false })
}

/// The end of the channel that the request fills. Dropped before its end, it fails the scrub.
pub(in crate::server) struct Feed {
    sender: mpsc::Sender<Part>,
    job: Arc<Job>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

impl Feed {
    /// Hands on all that comes. Returns early when the scrub takes no more.
    pub(in crate::server) async fn pump(self, limits: &Limits, chunks: &mut impl Chunks) {
        let mut pace = Pace::new(limits);
        loop {
            let begin = Instant::now();
            let next = tokio::select! {
                next = timeout(limits.body_time, chunks.next()) => next,
                () = self.sender.closed() => return,
                () = self.job.cancelled() => return,
            };
            let part = match next {
                Ok(Some(Ok(bytes))) if pace.is_kept(begin.elapsed(), bytes.len()) => {
                    Part::Bytes(bytes)
                }
                Ok(Some(Ok(_))) | Err(_) => Part::Failed(io::ErrorKind::TimedOut),
                Ok(Some(Err(Broken))) => Part::Failed(io::ErrorKind::UnexpectedEof),
                Ok(None) => Part::End,
            };
            let is_last = !matches!(part, Part::Bytes(_));
            if self.sender.send(part).await.is_err() || is_last {
                return;
            }
        }
    }
}

/// Whether a client sends at a pace that is worth waiting for.
#[derive(Debug)]
pub(in crate::server) struct Pace {
    per_second: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(in crate::server) fn new(limits: &Limits) -> Pace {
        Pace { per_second: limits.upload_rate, waited: Duration::ZERO, bytes: 0 }
    }

    /// Counts bytes that were waited for so long.
    pub(in crate::server) fn is_kept(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        let least = self.waited.as_secs().saturating_mul(self.per_second);
        self.waited < SLOW_AFTER || self.bytes >= least
    }
}

/// The end of the channel that the scrub reads.
pub(super) struct Upload {
    receiver: mpsc::Receiver<Part>,
    frame: Bytes,
    is_at_end: bool,
}

impl Upload {
    /// Takes a part; whether there are bytes to be read.
    fn take(&mut self, part: Part) -> io::Result<bool> {
        match part {
            Part::Bytes(bytes) => self.frame = bytes,
            Part::End => self.is_at_end = true,
            Part::Failed(kind) => return Err(kind.into()),
        }
        Ok(!self.frame.is_empty())
    }
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.frame.is_empty() && !self.is_at_end {
            let part = self.receiver.blocking_recv();
            self.take(part.unwrap_or(Part::Failed(io::ErrorKind::UnexpectedEof)))?;
        }
        let mut read = 0;
        while read < buffer.len() {
            let count = self.frame.len().min(buffer.len() - read);
            self.frame.copy_to_slice(&mut buffer[read..read + count]);
            read += count;
            // Whatever is there already saves the caller a turn.
            if self.frame.is_empty() && read < buffer.len() {
                let Ok(part) = self.receiver.try_recv() else { break };
                if !self.take(part)? {
                    break;
                }
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(parts: Vec<Part>) -> Upload {
        let (sender, receiver) = mpsc::channel(parts.len().max(1));
        parts.into_iter().for_each(|part| sender.try_send(part).unwrap());
        Upload { receiver, frame: Bytes::new(), is_at_end: false }
    }

    fn bytes(text: &'static str) -> Part {
        Part::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_list_ends_only_when_its_end_was_received() {
        let mut text = String::new();
        let parts = vec![bytes("one,"), bytes(""), bytes("two"), Part::End];
        upload(parts).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one,two");
        for (parts, kind) in [
            (vec![bytes("one")], io::ErrorKind::UnexpectedEof),
            (vec![], io::ErrorKind::UnexpectedEof),
            (vec![bytes("one"), Part::Failed(io::ErrorKind::TimedOut)], io::ErrorKind::TimedOut),
        ] {
            let error = upload(parts).read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }

    #[test]
    fn who_hardly_sends_anything_is_given_up_after_a_while() {
        let limits = Limits::default();
        let mut pace = Pace::new(&limits);
        assert!(pace.is_kept(Duration::from_secs(50), 1));
        assert!(!pace.is_kept(Duration::from_secs(20), 1));
        let mut pace = Pace::new(&limits);
        assert!((0..100).all(|_| pace.is_kept(Duration::from_secs(1), 64 << 10)));
    }
}
