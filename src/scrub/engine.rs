//! Many threads, one order.
//!
//! Every thread does the same: takes the next block from the table, judges its rows, and hands
//! the result over. Reading is one thread at a time, so is writing, and the writing thread is
//! whichever has the block that is next in order: it writes that one and all that wait behind it.
//! No thread ever stands idle for another's turn, as long as not too much is in flight.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::table::{Block, Table, TableError};

use super::index::IndexWriter;
use super::report::Counts;
use super::worker::{Done, Job, Recipient, Worker};
use super::{Progress, ScrubError, Sink, Sinks, SuppressionSet};

/// Bytes of blocks in flight at which no more are read. With blocks of the usual size the number
/// of blocks is the limit; this one is for files of giant records.
const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;

/// Runs the job over the rest of the table, writing what each sink gets.
pub(super) fn run<S: SuppressionSet, R: Read + Send>(
    job: &Job<'_, S>,
    table: &mut Table<R>,
    sinks: &mut Sinks<'_>,
    index: Option<&mut IndexWriter<'_>>,
    controls: &Controls<'_>,
) -> Result<Counts, ScrubError> {
    let engine = Engine {
        job,
        controls,
        table: Mutex::new(table),
        writer: Mutex::new(Writer {
            sinks,
            index,
            counts: Counts::default(),
            seen: HashSet::default(),
            seen_ids: HashSet::default(),
        }),
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
        stop: AtomicBool::new(false),
    };
    let panicked = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..controls.threads).map(|_| scope.spawn(|| engine.work())).collect();
        // All are joined, whatever becomes of one of them.
        threads
            .into_iter()
            .map(|thread| thread.join().is_err())
            .fold(false, |one, other| one | other)
    });
    let state = into_inner(engine.state);
    if let Some(error) = state.error {
        return Err(error);
    }
    if panicked || !state.waiting.is_empty() {
        return Err(ScrubError::Panicked);
    }
    Ok(into_inner(engine.writer).counts)
}

/// What steers a run from outside.
pub(super) struct Controls<'a> {
    pub(super) threads: usize,
    pub(super) cancel: Option<&'a AtomicBool>,
    pub(super) progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

struct Engine<'e, 'j, 's, 'i, S, R> {
    job: &'e Job<'j, S>,
    controls: &'e Controls<'e>,
    table: Mutex<&'e mut Table<R>>,
    writer: Mutex<Writer<'e, 's, 'i>>,
    state: Mutex<State>,
    /// Signalled when room comes free, or when all have to stop.
    changed: Condvar,
    stop: AtomicBool,
}

/// Who waits for what.
#[derive(Default)]
struct State {
    /// Index of the block to be written next.
    next: u64,
    /// Judged blocks whose turn has not come.
    waiting: BTreeMap<u64, (Done, u64)>,
    /// Whether a thread is writing. It takes care of every block that is handed over meanwhile.
    writing: bool,
    in_flight: usize,
    in_flight_bytes: usize,
    /// Memory of written blocks, for the next.
    spare: Vec<Vec<u8>>,
    error: Option<ScrubError>,
}

struct Writer<'e, 's, 'i> {
    sinks: &'e mut Sinks<'s>,
    index: Option<&'e mut IndexWriter<'i>>,
    counts: Counts,
    /// The numbers that were kept, to know duplicates: exact, 8 bytes and a bit for each. By
    /// number, not by key: a key may merge two people, which is right for silence only.
    seen: HashSet<u64, foldhash::fast::RandomState>,
    /// The ids that were kept.
    seen_ids: HashSet<Box<str>, foldhash::fast::RandomState>,
}

impl<S: SuppressionSet, R: Read + Send> Engine<'_, '_, '_, '_, S, R> {
    /// One thread's whole life.
    fn work(&self) {
        let _guard = StopOnPanic(self);
        if let Err(error) = self.work_until_done() {
            let mut state = lock(&self.state);
            state.error.get_or_insert(error);
            drop(state);
            self.stop_all();
        }
    }

    fn work_until_done(&self) -> Result<(), ScrubError> {
        let mut worker = Worker::new(self.job);
        while self.wait_for_room() {
            if self.controls.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(ScrubError::Cancelled);
            }
            let (block, bytes_read) = self.next_block()?;
            let Some(block) = block else { break };
            let index = block.index();
            let done = worker.judge(block)?;
            self.hand_over(index, done, bytes_read)?;
        }
        Ok(())
    }

    /// The next block, and how much of the file was read by then.
    fn next_block(&self) -> Result<(Option<Block>, u64), ScrubError> {
        let mut table = lock(&self.table);
        let spare = std::mem::take(&mut lock(&self.state).spare);
        spare.into_iter().for_each(|buffer| table.recycle(buffer));
        let block = table.next_block().map_err(|source| self.table_failed(source))?;
        let mut state = lock(&self.state);
        match &block {
            Some(block) => state.in_flight_bytes += block.bytes().len(),
            None => state.in_flight -= 1,
        }
        Ok((block, table.bytes_read()))
    }

    /// Reserves a place in flight; false when all have to stop.
    fn wait_for_room(&self) -> bool {
        let blocks_max = 2 * self.controls.threads + 2;
        let mut state = lock(&self.state);
        while !self.stop.load(Ordering::Relaxed)
            && (state.in_flight >= blocks_max || state.in_flight_bytes > IN_FLIGHT_BYTES_MAX)
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.in_flight += 1;
        !self.stop.load(Ordering::Relaxed)
    }

    /// Writes the block if its turn has come and nobody else is writing, with all behind it.
    fn hand_over(&self, index: u64, done: Done, bytes_read: u64) -> Result<(), ScrubError> {
        let mut state = lock(&self.state);
        state.waiting.insert(index, (done, bytes_read));
        if state.writing {
            return Ok(());
        }
        state.writing = true;
        while let Some((done, bytes_read)) = {
            let next = state.next;
            state.waiting.remove(&next)
        } {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            drop(state);
            let block_bytes = done.block_bytes;
            let (buffer, rows) = lock(&self.writer).write(self.job, done)?;
            if let Some(progress) = self.controls.progress {
                progress(Progress { bytes: bytes_read, rows });
            }
            state = lock(&self.state);
            state.spare.push(buffer);
            state.next += 1;
            state.in_flight -= 1;
            state.in_flight_bytes = state.in_flight_bytes.saturating_sub(block_bytes);
            self.changed.notify_all();
        }
        state.writing = false;
        Ok(())
    }

    fn table_failed(&self, source: TableError) -> ScrubError {
        ScrubError::Table { file: self.job.file.to_owned(), source }
    }
}

impl<S, R> Engine<'_, '_, '_, '_, S, R> {
    fn stop_all(&self) {
        // Under the lock, or a thread that is about to wait would miss it.
        let _state = lock(&self.state);
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

impl Writer<'_, '_, '_> {
    /// Writes one block; its memory, and the rows of the run so far.
    fn write<S>(&mut self, job: &Job<'_, S>, mut done: Done) -> Result<(Vec<u8>, u64), ScrubError> {
        if job.dedupe {
            done.dedupe(job.mode, &job.shape, |recipient| match recipient {
                Recipient::Number(number) => self.seen.insert(number),
                Recipient::Id(id) => self.seen_ids.insert(id),
            });
        }
        self.sinks.kept.write(&done.kept[..done.kept_len])?;
        self.sinks.suppressed.write(&done.suppressed)?;
        self.sinks.invalid.write(&done.invalid)?;
        if let (Some(index), Some(trace)) = (&mut self.index, &done.trace) {
            index.add(trace)?;
        }
        self.counts.add(&done.counts);
        Ok((done.kept, self.counts.rows))
    }
}

/// Without it, a panic in one thread would leave the others waiting for its block for ever.
struct StopOnPanic<'g, 'e, 'j, 's, 'i, S, R>(&'g Engine<'e, 'j, 's, 'i, S, R>);

impl<S, R> Drop for StopOnPanic<'_, '_, '_, '_, '_, S, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop_all();
        }
    }
}

/// What a panicked thread leaves behind is never used: the run fails.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Writing to an output that nobody asked for is done.
pub(super) trait WriteIfAny {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ScrubError>;
    fn flush(&mut self) -> Result<(), ScrubError>;
}

impl WriteIfAny for Option<Sink<'_>> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ScrubError> {
        let Some(sink) = self else { return Ok(()) };
        sink.writer
            .write_all(bytes)
            .map_err(|source| ScrubError::Write { file: sink.name.clone(), source })
    }

    fn flush(&mut self) -> Result<(), ScrubError> {
        let Some(sink) = self else { return Ok(()) };
        sink.writer.flush().map_err(|source| ScrubError::Write { file: sink.name.clone(), source })
    }
}
