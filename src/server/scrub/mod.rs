//! Whose campaign files are being scrubbed, and where is what came of them?
//!
//! A job reads a file while it is uploaded, and keeps what came of it for a while. Promises: no
//! more jobs at a time than the limits say; a job is seen by the key that made it and by nobody
//! else; what is kept ends an hour after the job, with the server at the latest. Leaves to
//! others: how a scrub works (`crate::scrub`), how jobs are asked for (`routes`).

mod job;
mod spool;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) use job::{Job, Outcome, Output, Plan, stream, stream_of, unwritten};
pub(super) use spool::{Room, Spool};
pub(super) use upload::{Broken, Chunks, Feed, Pace};

use super::App;
use super::limits::Limits;
use super::problem::{Kind, Problem};

/// Every job of a server.
pub(super) struct ScrubJobs {
    room: Room,
    places: Arc<Semaphore>,
    kept_max: usize,
    kept_time: Duration,
    jobs: Mutex<BTreeMap<String, Arc<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for ScrubJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScrubJobs({})", lock(&self.jobs).len())
    }
}

impl ScrubJobs {
    pub(super) fn new(folder: PathBuf, limits: &Limits) -> ScrubJobs {
        ScrubJobs {
            room: Room::new(folder, limits.disk_reserve),
            places: Arc::new(Semaphore::new(limits.scrubs)),
            kept_max: limits.scrubs_kept,
            kept_time: limits.scrub_kept_time,
            jobs: Mutex::default(),
            threads: Mutex::default(),
        }
    }

    /// Where files may be spooled.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// A place among those that work at the same time.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let what = "too many lists are scrubbed at once: ask again later";
            Problem::new(Kind::Overloaded, what).retry_after(5)
        })
    }

    /// Begins a job: it scrubs what the feed is given. `bytes_total` is how much that will be, if
    /// it is known.
    pub(super) fn start(
        &self,
        app: &Arc<App>,
        owner: &str,
        plan: Plan,
        bytes_total: Option<u64>,
    ) -> Result<(Arc<Job>, Feed), Problem> {
        let place = self.place()?;
        self.make_room()?;
        let job = Job::new(owner, plan, bytes_total, &self.room);
        let job = Arc::new(job.map_err(|error| unwritten(app, &error))?);
        let (feed, upload) = upload::channel(job.clone());
        let (working, of) = (job.clone(), app.clone());
        let work = move || job::work(&of, &working, upload, place);
        let thread = thread::Builder::new().name("optout-scrub".to_owned()).spawn(work);
        let thread =
            thread.map_err(|_| Problem::new(Kind::Overloaded, "no thread is left for a scrub"))?;
        let mut threads = lock(&self.threads);
        threads.retain(|it| !it.is_finished());
        threads.push(thread);
        drop(threads);
        lock(&self.jobs).insert(job.id.clone(), job.clone());
        Ok((job, feed))
    }

    /// Of the jobs that ended, the oldest go when there are too many.
    fn make_room(&self) -> Result<(), Problem> {
        self.sweep(Instant::now());
        let mut jobs = lock(&self.jobs);
        while jobs.len() >= self.kept_max {
            let oldest = jobs.values().filter_map(|job| Some((job.ended_at()?, job.id.clone())));
            let Some((_, id)) = oldest.min() else {
                let what = "too many lists are scrubbed at once: ask again later";
                return Err(Problem::new(Kind::Overloaded, what).retry_after(5));
            };
            jobs.remove(&id);
        }
        Ok(())
    }

    /// A job of this owner.
    pub(super) fn find(&self, owner: &str, id: &str) -> Result<Arc<Job>, Problem> {
        self.sweep(Instant::now());
        let found = lock(&self.jobs).get(id).filter(|job| &*job.owner == owner).cloned();
        found.ok_or_else(|| {
            let what = "no job of this key has this id: jobs end an hour after their work, and \
                        with the server";
            Problem::new(Kind::NotFound, what)
        })
    }

    /// The jobs of this owner, newest first.
    pub(super) fn list(&self, owner: &str) -> Vec<Arc<Job>> {
        self.sweep(Instant::now());
        let jobs = lock(&self.jobs);
        let mut jobs: Vec<_> = jobs.values().filter(|job| &*job.owner == owner).cloned().collect();
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created_at));
        jobs
    }

    /// Ends a job of this owner and lets go what it kept.
    pub(super) fn remove(&self, owner: &str, id: &str) -> Result<(), Problem> {
        let job = self.find(owner, id)?;
        lock(&self.jobs).remove(&job.id);
        job.cancel();
        Ok(())
    }

    /// Lets go what was kept long enough.
    pub(super) fn sweep(&self, now: Instant) {
        let is_kept = |job: &Job| {
            job.ended_at().is_none_or(|at| now.saturating_duration_since(at) < self.kept_time)
        };
        lock(&self.jobs).retain(|_, job| is_kept(job));
    }

    /// Ends all jobs, and waits for them.
    pub(super) fn end(&self) {
        self.places.close();
        for (_, job) in std::mem::take(&mut *lock(&self.jobs)) {
            job.cancel();
        }
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
