//! Bringing a file to the disk while it is still being written.
//!
//! A sync at the end of a large file takes as long as the disk needs for all of it, with nothing
//! else to be done. Here a thread syncs what is there every so many bytes, so that little is left
//! at the end. Of a very large file the system then need not keep in memory what is on the disk: it
//! would push out what other programs have there, and taking ever more memory for it can take longer
//! than the scrub. Promises nothing by itself: [`WriteBack::finish`] syncs the whole file, and gives
//! the first error of all syncs, since the system tells each error only once.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// A file up to this long stays in memory for whoever reads it next.
const KEPT_BYTES: u64 = 1 << 30;

/// A file whose syncs begin before its end.
#[derive(Debug)]
pub(super) struct WriteBack {
    file: Arc<File>,
    /// Bytes that were written.
    written: Arc<AtomicU64>,
    /// Those of them since the thread was last woken.
    waiting: usize,
    thread: Option<Syncer>,
}

/// The thread that syncs whenever it is woken.
#[derive(Debug)]
struct Syncer {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl WriteBack {
    /// How many bytes are left to gather before they are synced: enough that a sync is not mostly
    /// its own cost, and few beside a file for which it matters.
    const STEP_BYTES: usize = 32 << 20;

    pub(super) fn new(file: File) -> WriteBack {
        WriteBack { file: Arc::new(file), written: Arc::default(), waiting: 0, thread: None }
    }

    /// The file, to be written to.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Says that `bytes` more were written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.waiting += bytes;
        self.written.fetch_add(bytes as u64, Ordering::Release);
        if self.waiting < Self::STEP_BYTES {
            return;
        }
        self.waiting = 0;
        if self.thread.is_none() {
            // Without a thread all is synced at the end.
            self.thread = Syncer::start(self.file.clone(), self.written.clone()).ok();
        }
        if let Some(syncer) = &self.thread {
            // When it is still busy with what came before, it has been woken already or has ended
            // with an error, which `finish` gives.
            let _ = syncer.wake.try_send(());
        }
    }

    /// Makes durable what was written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(Syncer { wake, thread }) = self.thread.take() {
            drop(wake);
            let panicked = |_| Err(io::Error::other("the thread that syncs the file panicked"));
            thread.join().unwrap_or_else(panicked)?;
        }
        self.file.sync_all()
    }
}

impl Syncer {
    fn start(file: Arc<File>, written: Arc<AtomicU64>) -> io::Result<Syncer> {
        let (wake, woken) = sync_channel(1);
        let mut released = 0;
        let mut sync = move || {
            let end = written.load(Ordering::Acquire);
            file.sync_data()?;
            if end > KEPT_BYTES {
                release(&file, released..end);
                released = end;
            }
            Ok(())
        };
        let sync_when_woken = move || woken.iter().try_for_each(|()| sync());
        let thread = std::thread::Builder::new().name("sync".into()).spawn(sync_when_woken)?;
        Ok(Syncer { wake, thread })
    }
}

/// Tells the system that nobody needs these bytes of the file in memory.
fn release(file: &File, bytes: Range<u64>) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let length = std::num::NonZeroU64::new(bytes.end - bytes.start);
        // It is an advice: without it the file is as durable.
        let _ = fadvise(file, bytes.start, length, Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, bytes);
}
