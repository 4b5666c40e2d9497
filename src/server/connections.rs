//! Who is connected, and how long may he take?
//!
//! Accepts connections, serves HTTP/1.1 on each, and ends them in time. Promises: a client that
//! sends its headers drop by drop, stays silent, or takes too little of its answer loses its
//! connection; when there are too many, more wait a moment and are then told to come back; a server
//! that ends lets requests finish for a while. Leaves to others: what is answered, and how fast it
//! has to be taken (`wire`).

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::descriptors;
use super::limits::Limits;
use super::problem::{Kind, Problem};
use super::wire::{Answering, Wire};

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
/// Connections that wait for a place, and for how long.
const WAITING_MAX: usize = 64;
const WAITING_TIME: Duration = Duration::from_secs(1);

/// Serves until `stop` says so, and then until all requests are answered or the time is up.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    open: Open,
    mut stop: watch::Receiver<bool>,
) {
    let limits = Arc::new(limits);
    let places = Places::new(descriptors::places(limits.connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|&stopped| stopped) => break,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let connection =
            Connection { router: router.clone(), limits: limits.clone(), peer: peer.ip() };
        let (stop, open, turn) = (stop.clone(), open.clone(), places.turn());
        tokio::spawn(async move {
            let Some(place) = turn.place().await else {
                refuse(stream);
                return;
            };
            open.0.fetch_add(1, Ordering::Relaxed);
            connection.serve(stream, stop).await;
            open.0.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    let _ = timeout(limits.drain_time, places.all_free()).await;
}

/// Places of connections, and of those that wait for one.
struct Places {
    count: usize,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// What a connection gets when it comes.
enum Turn {
    Place(OwnedSemaphorePermit),
    Waits { places: Arc<Semaphore>, waiting: OwnedSemaphorePermit },
    Nothing,
}

impl Places {
    fn new(count: usize) -> Places {
        let waiting = Arc::new(Semaphore::new(WAITING_MAX.min(count)));
        Places { count, places: Arc::new(Semaphore::new(count)), waiting }
    }

    fn turn(&self) -> Turn {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Turn::Place(place);
        }
        match self.waiting.clone().try_acquire_owned() {
            Ok(waiting) => Turn::Waits { places: self.places.clone(), waiting },
            Err(_) => Turn::Nothing,
        }
    }

    async fn all_free(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await;
    }
}

impl Turn {
    async fn place(self) -> Option<OwnedSemaphorePermit> {
        match self {
            Turn::Place(place) => Some(place),
            Turn::Waits { places, waiting } => {
                let place = timeout(WAITING_TIME, places.acquire_owned()).await;
                drop(waiting);
                place.ok()?.ok()
            }
            Turn::Nothing => None,
        }
    }
}

/// Tells a client for whom there is no place to come back.
fn refuse(stream: TcpStream) {
    let what = "there are too many connections: come back later, and use one for many requests";
    let answer = Problem::new(Kind::Overloaded, what).alone();
    let Ok(mut stream) = stream.into_std() else { return };
    let _ = stream.write_all(&answer);
    let _ = stream.shutdown(Shutdown::Write);
    // What came already would otherwise make the system take the answer back.
    let _ = stream.read(&mut [0; 4096]);
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
        let answering = Answering::default();
        let io = Wire::new(TokioIo::new(stream), limits.clone(), answering.clone());
        let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let begun = answering.begin();
            let answer = router.call(request);
            async move { answer.await.map(|answer| answer.map(|body| begun.with(body))) }
        });
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
