//! What is one scrub of the server: asked for how, how far, with what outcome?
//!
//! Promises: an outcome is told only when it stands for good; nothing of a job that failed is
//! given out, but what had been streamed before. Leaves to others: whose job it is and how long
//! it is kept (the list of jobs), how it is asked for (`routes`).

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::Body;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::spool::{Room, Spool};
use super::upload::Upload;
use crate::number::Region;
use crate::policy::Context;
use crate::query::{Judge, RecheckRefused, Stale, basis_of, message_of};
use crate::scrub::{
    Basis, Input, MaxSuppressed, Mode, Progress, Receipt, Report, ScrubError, Scrubber, Sink, Sinks,
};
use crate::server::App;
use crate::server::body::Streamed;
use crate::server::problem::{Kind, Problem};
use crate::server::routes::judge;
use crate::table::TableError;
use crate::time::Timestamp;

/// How a scrub is asked for.
#[derive(Clone, Debug)]
pub(in crate::server) struct Plan {
    /// The message that is to be sent.
    pub(in crate::server) context: Context,
    /// What is done with the verdicts.
    pub(in crate::server) mode: Mode,
    /// The campaign whose settings were taken.
    pub(in crate::server) campaign: Option<String>,
    /// The column of the numbers, by name or by index from 1; found out if not given.
    pub(in crate::server) column: Option<String>,
    /// The region of national numbers.
    pub(in crate::server) region: Option<Region>,
    /// The column of the regions.
    pub(in crate::server) region_column: Option<String>,
    /// Whether later rows with the same number are taken out.
    pub(in crate::server) dedupe: bool,
    /// More suppressed rows than this fail the job.
    pub(in crate::server) max_suppressed: Option<MaxSuppressed>,
    /// Whether the suppressed rows are kept.
    pub(in crate::server) suppressed: bool,
    /// Whether the invalid rows are kept.
    pub(in crate::server) invalid: bool,
    /// Whether the job can be rechecked.
    pub(in crate::server) receipt: bool,
}

/// A file that a job gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Output {
    /// The rows that may be sent to.
    Clean,
    /// The rows of those who opted out.
    Suppressed,
    /// The rows without a number that can be sent to.
    Invalid,
    /// The index that belongs to the receipt.
    Rows,
}

impl Output {
    pub(in crate::server) const ALL: [Output; 4] =
        [Output::Clean, Output::Suppressed, Output::Invalid, Output::Rows];

    pub(in crate::server) const fn as_str(self) -> &'static str {
        match self {
            Output::Clean => "clean",
            Output::Suppressed => "suppressed",
            Output::Invalid => "invalid",
            Output::Rows => "rows",
        }
    }
}

/// What became of a job.
#[derive(Clone, Debug)]
pub(in crate::server) enum Outcome {
    Running,
    Done(Arc<Done>),
    Failed(Problem),
}

/// What a job found.
#[derive(Debug)]
pub(in crate::server) struct Done {
    pub(in crate::server) report: Report,
    pub(in crate::server) receipt: Option<Receipt>,
}

/// One scrub.
pub(in crate::server) struct Job {
    pub(in crate::server) id: String,
    /// The id of the key that asked for it.
    pub(in crate::server) owner: Arc<str>,
    pub(in crate::server) plan: Plan,
    pub(in crate::server) created_at: Timestamp,
    /// Bytes of the file, if the client said them.
    pub(in crate::server) bytes_total: Option<u64>,
    bytes: AtomicU64,
    rows: AtomicU64,
    cancel: AtomicBool,
    outcome: Mutex<(Outcome, Option<Instant>)>,
    outputs: Mutex<[Option<Arc<Spool>>; Output::ALL.len()]>,
    /// Told whenever something of it changes.
    changed: watch::Sender<()>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({})", self.id)
    }
}

impl Job {
    /// A job with room for its outputs.
    pub(super) fn new(
        owner: &str,
        plan: Plan,
        bytes_total: Option<u64>,
        room: &Room,
    ) -> io::Result<Job> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
        let wants = [true, plan.suppressed, plan.invalid, plan.receipt];
        let mut outputs = [const { None }; Output::ALL.len()];
        for (output, _) in outputs.iter_mut().zip(wants).filter(|(_, wanted)| *wanted) {
            *output = Some(Arc::new(room.spool()?));
        }
        Ok(Job {
            id: format!("{:032x}", u128::from_le_bytes(random)),
            owner: owner.into(),
            plan,
            created_at: Timestamp::now(),
            bytes_total,
            bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            cancel: AtomicBool::new(false),
            outcome: Mutex::new((Outcome::Running, None)),
            outputs: Mutex::new(outputs),
            changed: watch::Sender::new(()),
        })
    }

    /// How far it is.
    pub(in crate::server) fn progress(&self) -> Progress {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Progress { bytes: of(&self.bytes), rows: of(&self.rows) }
    }

    pub(in crate::server) fn outcome(&self) -> Outcome {
        lock(&self.outcome).0.clone()
    }

    /// When it ended.
    pub(super) fn ended_at(&self) -> Option<Instant> {
        lock(&self.outcome).1
    }

    /// Waits until `is_enough` says so, or it has ended.
    pub(in crate::server) async fn wait(&self, is_enough: impl Fn(&Job) -> bool) -> Outcome {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let outcome = self.outcome();
            if !matches!(outcome, Outcome::Running) || is_enough(self) {
                return outcome;
            }
            if changed.changed().await.is_err() {
                return self.outcome();
            }
        }
    }

    /// The rows of an output, if it has them.
    pub(in crate::server) fn output(&self, output: Output) -> Option<Arc<Spool>> {
        lock(&self.outputs)[output as usize].clone()
    }

    /// Lets rows go that nobody will ask for again.
    fn forget(&self, output: Output) {
        lock(&self.outputs)[output as usize] = None;
    }

    /// Ends it soon, if it has not ended.
    pub(super) fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
        self.changed.send_replace(());
    }

    /// Waits until somebody cancels it.
    pub(super) async fn cancelled(&self) {
        let mut changed = self.changed.subscribe();
        while !self.cancel.load(Ordering::Relaxed) {
            // Its sender lives as long as the job.
            let _ = changed.changed().await;
        }
    }

    fn end(&self, outcome: Outcome) {
        let mut ended = lock(&self.outcome);
        if matches!(ended.0, Outcome::Running) {
            if matches!(outcome, Outcome::Failed(_)) {
                *lock(&self.outputs) = [const { None }; Output::ALL.len()];
            }
            *ended = (outcome, Some(Instant::now()));
        }
        drop(ended);
        self.changed.send_replace(());
    }
}

/// Scrubs what is uploaded. However it ends, the job has an outcome then.
pub(super) fn work(app: &App, job: &Job, upload: Upload, place: OwnedSemaphorePermit) {
    /// Whoever waits would wait for ever.
    struct Ending<'a>(&'a Job);
    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            let what = "the scrub ended in a defect of the server";
            self.0.end(Outcome::Failed(Problem::new(Kind::Internal, what)));
        }
    }
    let _ending = Ending(job);
    let outcome = match scrub(app, job, upload) {
        Ok(done) => Outcome::Done(Arc::new(done)),
        Err(Unscrubbed::Refused(problem)) => Outcome::Failed(problem),
        Err(Unscrubbed::Failed(error)) => Outcome::Failed(refused(app, job, &error)),
    };
    // Whoever sees the outcome may begin the next.
    drop(place);
    job.end(outcome);
}

enum Unscrubbed {
    Failed(ScrubError),
    Refused(Problem),
}

impl From<ScrubError> for Unscrubbed {
    fn from(error: ScrubError) -> Unscrubbed {
        Unscrubbed::Failed(error)
    }
}

impl From<Problem> for Unscrubbed {
    fn from(problem: Problem) -> Unscrubbed {
        Unscrubbed::Refused(problem)
    }
}

fn scrub(app: &App, job: &Job, upload: Upload) -> Result<Done, Unscrubbed> {
    let reader = app.service.view();
    let (plan, now) = (&job.plan, Timestamp::now());
    let judge = judge(app, &reader, plan.context.clone(), Stale::Refuse)?;
    let basis = match plan.receipt {
        true => Some(basis_of(&judge, now).map_err(|error| unread(app, &error))?),
        false => None,
    };
    let update = |progress: Progress| {
        job.bytes.store(progress.bytes, Ordering::Relaxed);
        job.rows.store(progress.rows, Ordering::Relaxed);
        job.changed.send_replace(());
    };
    let mut scrubber = Scrubber::new(&judge)
        .message(message_of(&judge, now))
        .folding(reader.folding())
        .mode(plan.mode)
        .dedupe(plan.dedupe)
        .as_of(reader.generation(), reader.sequence())
        .cancel(&job.cancel)
        .progress(&update);
    if let Some(column) = &plan.column {
        scrubber = scrubber.column(column);
    }
    if let Some(region) = plan.region {
        scrubber = scrubber.region(region);
    }
    if let Some(column) = &plan.region_column {
        scrubber = scrubber.region_column(column);
    }
    let done = run(&scrubber, job, Input::reader("the list", upload), basis)?;
    if let Some(max) = plan.max_suppressed {
        let checked = max.check(&done.report);
        checked.map_err(|error| Problem::new(Kind::TooManySuppressed, error.to_string()))?;
    }
    Ok(done)
}

/// Runs a scrub into the outputs of the job.
fn run(
    scrubber: &Scrubber<'_, Judge<'_>>,
    job: &Job,
    input: Input,
    basis: Option<Basis>,
) -> Result<Done, ScrubError> {
    let spools = Output::ALL.map(|output| job.output(output));
    let mut writers = spools.each_ref().map(|spool| spool.as_ref().map(|spool| spool.writer()));
    let [clean, suppressed, invalid, rows] = &mut writers;
    let mut sinks = Sinks::new();
    if let Some(writer) = clean {
        sinks = sinks.kept(Output::Clean.as_str(), writer);
    }
    if let Some(writer) = suppressed {
        sinks = sinks.suppressed(Output::Suppressed.as_str(), writer);
    }
    if let Some(writer) = invalid {
        sinks = sinks.invalid(Output::Invalid.as_str(), writer);
    }
    let (Some(writer), Some(basis)) = (rows, basis) else {
        return Ok(Done { report: scrubber.run(input, sinks)?, receipt: None });
    };
    let index = Sink::new(Output::Rows.as_str(), writer);
    let (report, receipt) = scrubber.run_with_receipt(input, sinks, index, basis)?;
    Ok(Done { report, receipt: Some(receipt) })
}

fn unread(app: &App, error: &RecheckRefused) -> Problem {
    match error {
        RecheckRefused::Store(error) => app.unanswered(error),
        error => Problem::new(Kind::Internal, error.to_string()),
    }
}

/// What the client is told. What it says of a list goes to the client alone, not to the log, and
/// shows no number even if one stands where a name should.
fn refused(app: &App, job: &Job, error: &ScrubError) -> Problem {
    let defect = |error: &ScrubError| {
        app.log(format_args!("scrub {}: {error}", job.id));
        Problem::new(Kind::Internal, "the scrub failed: nothing of it may be used")
    };
    if job.cancel.load(Ordering::Relaxed) {
        return Problem::new(Kind::Removed, "it was removed before its end");
    }
    match error {
        ScrubError::Table { source: TableError::Read { source, .. }, .. } => match source.kind() {
            io::ErrorKind::TimedOut => Problem::new(Kind::TooSlow, "the list came too slowly"),
            _ => Problem::new(Kind::Malformed, "the list could not be read to its end"),
        },
        ScrubError::Table { source, .. } => Problem::field(
            "body",
            without_numbers(&source.to_string().replace("--column ", "column=")),
        ),
        ScrubError::Lookup { source, .. } => {
            app.log(format_args!("scrub {}: {source}", job.id));
            let what = "the store can't be read now: do not send meanwhile";
            Problem::new(Kind::StoreUnavailable, what)
        }
        ScrubError::Write { source, .. } => unwritten(app, source),
        error => defect(error),
    }
}

/// What becomes of a job for whose rows there is no room.
pub(in crate::server) fn unwritten(app: &App, error: &io::Error) -> Problem {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let what = "the disk of the server is nearly full: remove jobs, or ask whoever runs it";
        return Problem::new(Kind::DiskFull, what);
    }
    app.log(format_args!("scrub: the rows can't be kept: {error}"));
    Problem::new(Kind::Internal, "the server can't keep the rows of a scrub")
}

/// A text in which no number shows more than its first digits.
fn without_numbers(text: &str) -> String {
    const DIGITS_MIN: usize = 7;
    const SHOWN: usize = 4;
    let is_part = |it: char| it.is_ascii_digit() || " +-().".contains(it);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let is_number = part.chars().filter(char::is_ascii_digit).count() >= DIGITS_MIN;
        let mut digits = 0;
        shown.extend(part.chars().map(|it| {
            digits += usize::from(it.is_ascii_digit());
            if is_number && it.is_ascii_digit() && digits > SHOWN { '•' } else { it }
        }));
        let end = after.find(is_part).unwrap_or(after.len());
        let (words, after) = after.split_at(end);
        shown.push_str(words);
        rest = after;
    }
    shown
}

/// Bytes that are handed on at once.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks that wait for the client.
const CHUNKS_WAITING: usize = 2;

/// The rows of an output as they come. When the job fails the body breaks off, so that nobody
/// takes it for all. With `once`, the rows are let go when all were sent.
pub(in crate::server) fn stream(job: Arc<Job>, output: Output, once: bool) -> Option<Body> {
    let spool = job.output(output)?;
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::spawn(async move {
        let mut at = 0;
        let sent = loop {
            let outcome = job.wait(|_| spool.len() > at).await;
            if spool.len() == at {
                break match outcome {
                    Outcome::Failed(_) => Err(()),
                    _ => Ok(()),
                };
            }
            let from = spool.clone();
            let chunk = tokio::task::spawn_blocking(move || from.read_at(at, CHUNK_BYTES)).await;
            let Ok(Ok(chunk)) = chunk else { break Err(()) };
            at += chunk.len() as u64;
            if sender.send(Ok(chunk)).await.is_err() {
                return;
            }
        };
        match sent {
            Ok(()) if once && job.output(Output::Rows).is_none() => job.forget(output),
            Ok(()) => {}
            Err(()) => drop(sender.send(Err(io::ErrorKind::Other.into())).await),
        }
    });
    Some(Body::new(Streamed::new(receiver)))
}

/// The bytes of a spool that is complete.
pub(in crate::server) fn stream_of(spool: Arc<Spool>) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::spawn(async move {
        let mut at = 0;
        while at < spool.len() {
            let from = spool.clone();
            let read = tokio::task::spawn_blocking(move || from.read_at(at, CHUNK_BYTES)).await;
            let chunk = read.unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
            at += chunk.as_ref().map_or(u64::MAX - at, |chunk| chunk.len() as u64);
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    Body::new(Streamed::new(receiver))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_place_of_a_name_is_not_told() {
        let told =
            without_numbers("no column \"x\": they are \"+52 55 1234 5678\", \"Ana\", \"12\"");
        assert_eq!(told, "no column \"x\": they are \"+52 55 •••• ••••\", \"Ana\", \"12\"");
        for text in ["", "5512345678", "línea 12345, byte 1234567", "•"] {
            let told = without_numbers(text);
            assert_eq!(told.chars().count(), text.chars().count(), "{told}");
        }
    }
}
