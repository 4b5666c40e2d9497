//! How do programs record and ask over HTTP?
//!
//! [`Server`] serves one store: `/v1/optouts`, `/v1/check` and the others that `/openapi.json`
//! lists. It is the only writer of the store as long as it runs. [`KeyFile`] makes and revokes the
//! keys of those who ask.
//!
//! Promises: an answer of success to a recording means that it is durable, and that every later
//! question finds it; nothing of a client's is logged; whatever is refused is refused with a
//! problem document. Without a key in the store only loopback addresses are served, and everything
//! is open there. Ends gracefully: what was acknowledged is durable, what was begun is answered if
//! it takes no longer than a while. Leaves to others: encryption (a proxy in front), what counts as
//! an opt-out (`policy`), printing the log (whoever starts it).
//!
//! This is the only async code, and the only one that reads the clock for others.

mod body;
mod campaigns;
mod capture;
mod connections;
mod console;
mod deliver;
mod descriptors;
mod guard;
mod idempotency;
mod keys;
mod limits;
mod messages;
mod metrics;
mod problem;
mod routes;
mod scrub;
mod senders;
mod sent;
mod service;
mod views;
mod webhooks;
mod wire;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{Semaphore, watch};

pub use campaigns::{Campaign, CampaignError, CampaignFile, CampaignMode};
pub use keys::{KEY_PREFIX, KeyError, KeyFile, KeyInfo, KeyScope, NewKey};
pub use limits::{Limits, Rate};
pub use senders::{CaptureError, CaptureFile};

use self::campaigns::Campaigns;
use self::connections::Open;
use self::deliver::Deliverer;
use self::limits::Buckets;
use self::metrics::Metrics;
use self::problem::{Kind, Problem};
use self::scrub::ScrubJobs;
use self::sent::Sent;
use self::service::{Service, Threads};
use crate::disk::{Disk, RealDisk};
use crate::policy::Policy;
use crate::store::{Reader, StoreError, WriteError, Writer};

/// Takes the lines of the log, which hold no number, no key and nothing that a client sent.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// How a store is served.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where to listen. Port 0 takes any that is free.
    pub address: SocketAddr,
    /// By which rules it is decided who may be messaged.
    pub policy: Policy,
    /// Bounds of sizes, times and rates.
    pub limits: Limits,
    /// Where the log goes.
    pub log: Log,
    /// The folder for campaign files while they are scrubbed; the store's own if not given. The
    /// files have no names, and are gone when the server ends.
    pub spool: Option<PathBuf>,
}

impl Settings {
    /// The usual bounds and rules, and no log.
    pub fn new(address: SocketAddr) -> Settings {
        let log: Log = Arc::new(|_: &str| {});
        Settings { address, policy: Policy::default(), limits: Limits::default(), log, spool: None }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why a store is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The store can't be written. While it is served nobody else writes to it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys can't be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The campaigns can't be read.
    #[error(transparent)]
    Campaigns(#[from] CampaignError),
    /// There is no key, and others than this machine could ask.
    #[error(
        "the store has no key, so that only loopback addresses such as 127.0.0.1 may be served, \
         not {address}: make a key with `optout key create`"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// The address can't be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The senders that are set up can't be read.
    #[error(transparent)]
    Senders(#[from] CaptureError),
    /// Threads can't be had.
    #[error("cannot start threads: {0}")]
    Threads(#[source] std::io::Error),
}

/// A store that is about to be served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    /// Ends first, so that what it logs is still heard.
    sending: deliver::Threads,
    threads: Threads,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

/// Ends a server, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Begins the end: no more connections are accepted, requests are finished.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// What every route shares.
pub(crate) struct App {
    service: Arc<Service>,
    deliverer: Arc<Deliverer>,
    captured: capture::Counts,
    sent: Sent,
    policy: Policy,
    limits: Limits,
    log: Log,
    metrics: Metrics,
    open: Open,
    answered: idempotency::Answered,
    requests: Buckets<Arc<str>>,
    lookups: Buckets<Arc<str>>,
    records: Buckets<Arc<str>>,
    failures: Buckets<std::net::IpAddr>,
    questions: Arc<Semaphore>,
    questions_waiting: AtomicUsize,
    downloads: Arc<Semaphore>,
    /// For large bodies.
    room: Arc<Semaphore>,
    scrubs: ScrubJobs,
    campaign_file: CampaignFile,
    campaigns: Campaigns,
    sessions: console::Sessions,
}

impl Server {
    /// Opens the store in a directory and listens. Nobody is answered before [`Server::run`].
    ///
    /// # Errors
    ///
    /// When the store or the address can't be had, or there is no key and the address is not
    /// loopback.
    pub fn bind(directory: impl AsRef<Path>, settings: Settings) -> Result<Server, ServeError> {
        Server::bind_on(Arc::new(RealDisk::new(directory.as_ref())), settings)
    }

    /// As [`Server::bind`], for the store on a disk of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`].
    pub fn bind_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<Server, ServeError> {
        let key_file = KeyFile::open(disk.clone())?;
        let keys = key_file.ring(key_file.bytes()?.as_deref())?;
        let capture_file = CaptureFile::open(disk.clone())?;
        let sent = Sent::open(disk.clone()).map_err(CaptureError::from)?;
        let address = settings.address;
        if !keys.is_needed() && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Open { address });
        }
        let campaign_file = CampaignFile::open(disk.clone())?;
        let writer = Writer::open_on(disk.clone())?;
        let spool = settings.spool.clone().unwrap_or_else(|| disk.path_of(""));
        let view = Reader::open_on(disk)?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let Settings { policy, limits, log, .. } = settings;
        let keys = (key_file, keys);
        let (service, threads) =
            Service::start(writer, view, keys, capture_file, &limits, log.clone())
                .map_err(ServeError::Threads)?;
        let (deliverer, sending) =
            Deliverer::start(&limits, log.clone()).map_err(ServeError::Threads)?;
        let app = Arc::new(App {
            service,
            deliverer,
            captured: capture::Counts::default(),
            sent,
            policy,
            log,
            metrics: Metrics::default(),
            open: Open::default(),
            answered: idempotency::Answered::default(),
            requests: Buckets::new(limits.rate),
            lookups: Buckets::new(limits.lookup_rate),
            records: Buckets::new(limits.record_rate),
            failures: Buckets::new(limits.failure_rate),
            questions: Arc::new(Semaphore::new(limits.questions)),
            questions_waiting: AtomicUsize::new(0),
            downloads: Arc::new(Semaphore::new(limits.downloads)),
            room: body::room(&limits),
            scrubs: ScrubJobs::new(spool, &limits),
            campaigns: campaign_file.watched(),
            campaign_file,
            sessions: console::Sessions::new()?,
            limits,
        });
        let stop = watch::Sender::new(false);
        Ok(Server { listener, address, app, sending, threads, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Answers until it is stopped, and returns when all that was acknowledged is durable and
    /// the store is free again.
    ///
    /// # Errors
    ///
    /// When it can't begin.
    pub fn run(self) -> Result<(), ServeError> {
        let Server { listener, address, app, sending, threads, stop } = self;
        let served = runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(
                app.limits.questions + app.limits.downloads + 2 * app.limits.scrubs + 4,
            )
            .build()
            .map_err(ServeError::Threads)
            .and_then(|runtime| {
                let listen = |source| ServeError::Listen { address, source };
                let served = runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
                    let router = routes::router(app.clone());
                    let (limits, open) = (app.limits.clone(), app.open.clone());
                    tokio::spawn(sweep(app.clone()));
                    connections::serve(listener, router, limits, open, stop.subscribe()).await;
                    Ok(())
                });
                // A question that nobody waits for any more needs no answer.
                runtime.shutdown_background();
                served
            });
        drop(sending);
        app.scrubs.end();
        drop(threads);
        served
    }
}

/// Lets go what was kept long enough, for as long as the server runs.
async fn sweep(app: Arc<App>) {
    const PAUSE: Duration = Duration::from_secs(30);
    loop {
        tokio::time::sleep(PAUSE).await;
        app.scrubs.sweep(Instant::now());
    }
}

impl App {
    fn log(&self, line: fmt::Arguments<'_>) {
        (self.log)(&line.to_string());
    }

    /// Answers a question on a thread that may wait for the disk, as many at a time as there are
    /// places for.
    async fn ask<T: Send + 'static>(
        self: &Arc<App>,
        question: impl FnOnce(&App, &Reader) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let waiting = Waiting::begin(self)?;
        let place = self.questions.clone().acquire_owned().await;
        let place = place.map_err(|_| Problem::new(Kind::Internal, "the server is ending"))?;
        drop(waiting);
        let app = self.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let answer = question(&app, &app.service.view());
            drop(place);
            answer
        });
        answered.await.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "no answer was found")))
    }

    /// Does what takes a while on a thread of its own.
    async fn ask_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "nothing was done")))
    }

    /// What becomes of a question that the store can't answer. What it says is for the log: it
    /// names files, and nobody's number.
    fn unanswered(&self, error: &StoreError) -> Problem {
        self.log(format_args!("store: {error}"));
        Problem::new(Kind::StoreUnavailable, "the store can't be read now: do not send meanwhile")
    }
}

/// A question that waits for its turn.
struct Waiting<'a>(&'a App);

impl Waiting<'_> {
    fn begin(app: &App) -> Result<Waiting<'_>, Problem> {
        if app.questions_waiting.fetch_add(1, Ordering::Relaxed) >= app.limits.questions_waiting {
            app.questions_waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::new(Kind::Overloaded, "too many questions wait: ask again later"));
        }
        Ok(Waiting(app))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.questions_waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
