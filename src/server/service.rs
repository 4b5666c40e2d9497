//! How do the many who ask at the same time share one store?
//!
//! One thread owns the recording. It takes all that waits, commits it as one group under one
//! sync, lets the shared view follow, and only then answers: whoever has his answer finds his
//! event. Another thread looks every 50 milliseconds for what other processes recorded, and for
//! changed keys and senders. Promises: a receipt means durable; when too much waits, others are turned away
//! before opt-outs are. Leaves to others: what is recorded and asked (`routes`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Log;
use super::keys::{KeyFile, KeyRing};
use super::limits::Limits;
use super::senders::{CaptureFile, Senders};
use super::views::Views;
use crate::intent::Detector;
use crate::store::{NewEvent, Reader, Receipt, WriteError, Writer};
use crate::time::Timestamp;

/// How often other processes' events are looked for.
const POLL: Duration = Duration::from_millis(50);
/// So many polls lie between two looks at the keys.
const POLLS_PER_KEYS: u32 = 4;
/// Nothing to record for so long: a good moment to fold.
const IDLE: Duration = Duration::from_millis(200);
/// Folding waits for an idle moment no longer than this; after a failure, so long for another try.
const FOLD_AT_LEAST: Duration = Duration::from_secs(60);

/// Who records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Opt-outs: turned away last.
    OptOut,
    /// Everything else.
    Other,
}

/// Why nothing was recorded.
#[derive(Debug)]
pub(super) enum Unrecorded {
    /// Too much waits already.
    Busy,
    /// The server is ending.
    Ending,
    /// The store refused.
    Refused(WriteError),
}

/// What the service does, counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) groups: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) shed: AtomicU64,
    pub(super) folds: AtomicU64,
}

/// The store behind the server.
pub(super) struct Service {
    queue: Mutex<Queue>,
    arrived: Condvar,
    events_max: usize,
    views: Views,
    keys: RwLock<Arc<KeyRing>>,
    key_file: KeyFile,
    /// `None` while the list of senders can't be read.
    senders: RwLock<Option<Arc<Senders>>>,
    capture_file: CaptureFile,
    /// Whether the writer still records.
    writes: AtomicBool,
    log: Log,
    pub(super) counts: Counts,
}

/// The bytes of a list when it was looked at last: `None` when they could not be read, or nobody
/// has looked; inside, `None` when there is no file.
type Seen = Option<Option<Vec<u8>>>;

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Call>,
    /// Events of those that wait.
    events: usize,
    closed: bool,
}

#[derive(Debug)]
struct Call {
    events: Vec<NewEvent>,
    received_at: Timestamp,
    answer: oneshot::Sender<Result<Vec<Receipt>, WriteError>>,
}

/// The threads behind a service. Dropping it closes the service and waits until all that waited is
/// recorded and the store is free.
pub(super) struct Threads {
    service: Arc<Service>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.service.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Service {
    /// Begins to record and to look.
    pub(super) fn start(
        writer: Writer,
        view: Reader,
        (key_file, keys): (KeyFile, KeyRing),
        capture_file: CaptureFile,
        limits: &Limits,
        log: Log,
    ) -> std::io::Result<(Arc<Service>, Threads)> {
        let service = Arc::new(Service {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            events_max: limits.events_waiting,
            views: Views::new(view),
            keys: RwLock::new(Arc::new(keys)),
            key_file,
            senders: RwLock::default(),
            capture_file,
            writes: AtomicBool::new(true),
            log,
            counts: Counts::default(),
        });
        let mut captures = None;
        service.look_at_senders(&mut captures);
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let mut begun = Threads { service: service.clone(), threads: Vec::new() };
        let recording = service.clone();
        let recorder = move || Recorder::new(recording, writer).run();
        begun.threads.push(named("optout-record").spawn(recorder)?);
        let looking = service.clone();
        begun.threads.push(named("optout-look").spawn(move || looking.look(captures))?);
        Ok((service, begun))
    }

    /// Takes no more events; what waits is still recorded.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Records events, which are received now: their receipts, once they are durable and every
    /// later question finds them.
    pub(super) async fn record(
        &self,
        events: Vec<NewEvent>,
        urgency: Urgency,
    ) -> Result<Vec<Receipt>, Unrecorded> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.lock();
            if queue.closed {
                return Err(Unrecorded::Ending);
            }
            let max = match urgency {
                Urgency::OptOut => self.events_max,
                Urgency::Other => self.events_max / 4,
            };
            if queue.events + events.len() > max {
                self.counts.shed.fetch_add(1, Ordering::Relaxed);
                return Err(Unrecorded::Busy);
            }
            queue.events += events.len();
            // Read under the lock, so that the order of moments is that of sequences.
            let received_at = Timestamp::now();
            queue.waiting.push(Call { events, received_at, answer });
        }
        self.arrived.notify_one();
        let receipts = answered.await.unwrap_or(Err(WriteError::Finished));
        receipts.map_err(Unrecorded::Refused)
    }

    /// The list of keys, for whoever may change it.
    pub(super) fn key_file(&self) -> &KeyFile {
        &self.key_file
    }

    /// The settings of senders, for whoever may change them.
    pub(super) fn capture_file(&self) -> &CaptureFile {
        &self.capture_file
    }

    /// The store as it is now.
    pub(super) fn view(&self) -> Arc<Reader> {
        self.views.now()
    }

    /// The keys as they are now.
    pub(super) fn keys(&self) -> Arc<KeyRing> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether events can be recorded.
    pub(super) fn writes(&self) -> bool {
        self.writes.load(Ordering::Relaxed) && !self.lock().closed
    }

    /// The senders as they are set up now; `None` while the list can't be read.
    pub(super) fn senders(&self) -> Option<Arc<Senders>> {
        self.senders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for other processes' events and for changed lists until the service is closed.
    fn look(&self, mut captures: Seen) {
        // So that the first reply does not wait until it is built.
        Detector::built_in();
        // What the server began with may have changed since.
        let mut known = None;
        let mut keys_in = POLLS_PER_KEYS;
        while !self.lock().closed {
            thread::sleep(POLL);
            // A view that can't follow answers nothing until it can.
            let _ = self.views.follow();
            keys_in -= 1;
            if keys_in == 0 {
                keys_in = POLLS_PER_KEYS;
                self.look_at_keys(&mut known);
                self.look_at_senders(&mut captures);
            }
        }
    }

    fn look_at_keys(&self, known: &mut Seen) {
        let bytes = self.key_file.bytes().ok();
        if bytes.is_some() && bytes == *known {
            return;
        }
        // Once there was a key, a list that is gone or can't be read lets nobody in.
        let was_needed = self.keys().is_needed();
        let ring = match &bytes {
            Some(None) if was_needed => KeyRing::closed(),
            Some(bytes) => {
                self.key_file.ring(bytes.as_deref()).unwrap_or_else(|_| KeyRing::closed())
            }
            None => KeyRing::closed(),
        };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        *known = bytes;
    }

    /// A list that can't be read is no list: until it can, nobody's replies are taken.
    fn look_at_senders(&self, known: &mut Seen) {
        let bytes = self.capture_file.bytes().ok();
        if bytes.is_some() && bytes == *known {
            return;
        }
        let before = self.senders();
        let read = match &bytes {
            Some(bytes) => {
                let none = Senders::default();
                let before = before.as_deref().unwrap_or(&none);
                self.capture_file.senders(bytes.as_deref(), before).ok()
            }
            None => None,
        };
        if read.is_none() && (before.is_some() || known.is_none()) {
            (self.log)("capture: the list of senders can't be read: no replies are taken");
        }
        *self.senders.write().unwrap_or_else(PoisonError::into_inner) = read.map(Arc::new);
        *known = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that records. However it ends, nobody waits for it afterwards.
struct Recorder {
    service: Arc<Service>,
    writer: Writer,
    folded_at: Instant,
    /// When it failed last.
    failed_at: Option<Instant>,
}

impl Recorder {
    fn new(service: Arc<Service>, writer: Writer) -> Recorder {
        Recorder { service, writer, folded_at: Instant::now(), failed_at: None }
    }

    fn run(mut self) {
        while let Some(group) = self.next_group() {
            if !group.is_empty() {
                self.commit(group);
            }
        }
    }

    /// All that waits, folding when there is time; `None` when no more comes.
    fn next_group(&mut self) -> Option<Vec<Call>> {
        let service = self.service.clone();
        let mut queue = service.lock();
        if !queue.waiting.is_empty() && self.folded_at.elapsed() > FOLD_AT_LEAST {
            drop(queue);
            self.fold();
            queue = service.lock();
        }
        while queue.waiting.is_empty() {
            if queue.closed {
                return None;
            }
            let (woken, waited) =
                service.arrived.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if waited.timed_out() && queue.waiting.is_empty() {
                drop(queue);
                self.fold();
                queue = service.lock();
            }
        }
        queue.events = 0;
        Some(std::mem::take(&mut queue.waiting))
    }

    fn commit(&mut self, group: Vec<Call>) {
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        for call in group {
            calls.push((call.events, call.received_at));
            answers.push(call.answer);
        }
        let receipts = self.writer.append_each(&calls);
        let counts = &self.service.counts;
        counts.groups.fetch_add(1, Ordering::Relaxed);
        let recorded: usize = receipts.iter().flatten().map(Vec::len).sum();
        counts.events.fetch_add(recorded as u64, Ordering::Relaxed);
        if receipts.iter().any(Result::is_err) {
            self.look_at_writer();
        }
        // What is durable is acknowledged even when the view can't follow: it then answers
        // nothing.
        let _ = self.service.views.follow();
        for (answer, receipts) in answers.into_iter().zip(receipts) {
            // Whoever has gone meanwhile has his event recorded all the same.
            let _ = answer.send(receipts);
        }
    }

    fn fold(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < FOLD_AT_LEAST) {
            return;
        }
        self.folded_at = Instant::now();
        match self.writer.compact_if_due(Timestamp::now()) {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.service.counts.folds.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.failed_at = Some(Instant::now());
                (self.service.log)(&format!("store: not folded: {error}"));
                self.look_at_writer();
            }
        }
    }

    fn look_at_writer(&self) {
        if !self.writer.is_usable() {
            self.service.writes.store(false, Ordering::Relaxed);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let mut queue = self.service.lock();
        queue.closed = true;
        // Dropping their senders tells those who wait.
        queue.waiting.clear();
    }
}
