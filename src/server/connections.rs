//! Who is connected, and how long may he take?
//!
//! Accepts connections, serves HTTP/1.1 on each, and ends them in time. Promises: a client that
//! sends its headers drop by drop, stays silent, or takes nothing of its answer loses its
//! connection; a server that ends lets requests finish for a while. Leaves to others: what is
//! answered.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::limits::Limits;

/// The address of whoever is connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// How many are connected.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes of a connection that are held at most while they are read.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// After an error of `accept`: most often there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` says so, and then until all requests are answered or the time is up.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    open: Open,
    mut stop: watch::Receiver<bool>,
) {
    let limits = Arc::new(limits);
    let places = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            _ = stop.wait_for(|&stopped| stopped) => break,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let connection =
                    Connection { router: router.clone(), limits: limits.clone(), peer };
                let (stop, open) = (stop.clone(), open.clone());
                tokio::spawn(async move {
                    open.0.fetch_add(1, Ordering::Relaxed);
                    connection.serve(stream, stop).await;
                    open.0.fetch_sub(1, Ordering::Relaxed);
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = timeout(limits.drain_time, places.acquire_many(all)).await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Answers are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip(), place))
}

struct Connection {
    router: Router,
    limits: Arc<Limits>,
    peer: IpAddr,
}

impl Connection {
    async fn serve(self, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let Connection { router, limits, peer } = self;
        let router = TowerToHyperService::new(router);
        let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            router.call(request)
        });
        let io = Impatient::new(TokioIo::new(stream), limits.write_time);
        let serving = http1::Builder::new()
            // Without a timer hyper ignores the time that headers may take.
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time)
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_header_size(limits.header_bytes)
            .max_headers(limits.headers)
            .serve_connection(io, answer);
        let mut serving = pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            _ = stop.wait_for(|&stopped| stopped) => {}
        }
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
}

/// A connection that gives up when nothing of an answer is taken for too long.
struct Impatient<T> {
    io: T,
    patience: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<T> Impatient<T> {
    fn new(io: T, patience: Duration) -> Impatient<T> {
        Impatient { io, patience, deadline: None }
    }

    /// What a write gave; when it has to wait, for how long it may.
    fn bounded<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let end = Instant::now() + self.patience;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(end)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: Read + Unpin> Read for Impatient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            // Whoever still sends his request is busy, and takes the answer afterwards.
            self.deadline = None;
        }
        read
    }
}

impl<T: Write + Unpin> Write for Impatient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.bounded(context, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.bounded(context, written)
    }
}
