//! Records events. One writer a store; many threads may share it.
//!
//! Threads that append at the same time share one sync (group commit): whoever finds nobody at
//! work takes everything that waits, writes it, syncs once, and hands each its answer.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::bulk::{Bulk, BulkReport};
use super::core::Core;
use super::erase::{EraseReport, Erasure};
use super::error::WriteError;
use crate::disk::{Disk, RealDisk};
use crate::event::{Action, Category, Details};
use crate::number::{Address, Folding};
use crate::policy::Scope;
use crate::time::Timestamp;

/// Bytes that a text of an event may have.
pub const TEXT_BYTES_MAX: usize = 4096;

/// An event to be recorded.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The number as it was read, or the id.
    pub address: Address,
    /// For a link, the other end: one of the two is an id. `None` for every other action.
    pub linked: Option<Address>,
    /// The number as it was written.
    pub raw: String,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// Everything else. With a message id, the same event twice is recorded once.
    pub details: Details,
}

/// Shows the number shortened and leaves its spelling out.
impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("address", &self.address)
            .field("linked", &self.linked)
            .field("occurred_at", &self.occurred_at)
            .field("details", &self.details)
            .finish_non_exhaustive()
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscriber is opted out of something that he was not opted out of before.
    Added,
    /// The opt-out changed nothing: the subscriber was opted out of as much already, or came back
    /// later than this opt-out happened; or the same message was recorded before; or the two
    /// addresses are linked already, and nothing is recorded.
    Already,
    /// The subscriber is no longer opted out of something that he was opted out of.
    Resubscribed,
    /// The resubscribe changed nothing: the subscriber was not opted out, or said STOP at the
    /// same moment or later, or of more than the resubscribe reaches.
    NotListed,
    /// An operator's decision is recorded.
    Recorded,
    /// Two addresses are one subscriber's from now on.
    Linked,
    /// Nothing was recorded: an operator's resubscribe would leave standing what the person said
    /// himself, or a link would free one of its ends. The sequence is that of the opt-out.
    Refused,
}

impl Outcome {
    /// The word for people and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Added => "added",
            Outcome::Already => "already",
            Outcome::Resubscribed => "resubscribed",
            Outcome::NotListed => "not-listed",
            Outcome::Recorded => "recorded",
            Outcome::Linked => "linked",
            Outcome::Refused => "refused",
        }
    }
}

/// The acknowledgement of one event: it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its sequence; that of the first recording if this was a repetition.
    pub sequence: u64,
    /// What it changed.
    pub outcome: Outcome,
    /// Whether the subscriber is opted out now. An opt-out that answers "already" may be older
    /// than the moment at which he came back.
    pub opted_out: bool,
}

/// What [`Writer::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CompactReport {
    /// The generation that is current now.
    pub generation: u64,
    /// The sequence up to which events are folded into it.
    pub sequence: u64,
    /// Events that were folded now.
    pub folded: u64,
    /// Subscribers who are listed beside the sets, as they differ from them or are new; 0 when the
    /// sets were written for this generation. Listing a few is much faster than writing the sets
    /// anew.
    pub changes: u64,
    /// Subscribers opted out.
    pub opted_out: u64,
}

/// A store open for writing. Share it by reference among threads.
#[derive(Debug)]
pub struct Writer {
    queue: Mutex<Queue>,
    core: Mutex<Core>,
    /// Held while a registry layer is changed: its files are written beside the events.
    pub(super) registry_turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Arc<Ticket>>,
    /// Whether a thread commits, or was told to.
    is_led: bool,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Ticket {
    events: Vec<NewEvent>,
    received_at: Timestamp,
    /// What became of it; nothing yet.
    news: Mutex<Option<News>>,
    /// Its own, so that nobody is woken in vain.
    changed: Condvar,
}

/// What a waiting call is woken with.
#[derive(Debug)]
enum News {
    /// Commit what waits, your own events with it.
    Lead,
    Answer(Result<Vec<Receipt>, WriteError>),
}

impl Ticket {
    fn tell(&self, news: News) {
        *lock(&self.news) = Some(news);
        self.changed.notify_one();
    }

    fn wait(&self) -> News {
        let mut news = lock(&self.news);
        loop {
            match news.take() {
                Some(news) => return news,
                None => news = self.changed.wait(news).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Writer {
    /// Opens the store in a directory for writing, and mends what an interrupted writer left: a
    /// torn end of the journal (kept aside), unfinished files.
    ///
    /// # Errors
    ///
    /// When another writer holds it, or it can't be read.
    pub fn open(directory: impl AsRef<Path>) -> Result<Writer, WriteError> {
        Writer::open_on(Arc::new(RealDisk::new(directory.as_ref())))
    }

    /// Opens the store on a disk of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Writer::open`].
    pub fn open_on(disk: Arc<dyn Disk>) -> Result<Writer, WriteError> {
        let core = Core::open(disk)?;
        Ok(Writer {
            queue: Mutex::default(),
            core: Mutex::new(core),
            registry_turn: Mutex::default(),
        })
    }

    /// How numbers become keys in this store.
    pub fn folding(&self) -> Folding {
        self.core().folding()
    }

    /// The release of the phone metadata by which the store's numbers were read.
    pub fn metadata_release(&self) -> String {
        self.core().metadata_release().to_owned()
    }

    /// Whether it can still record: neither did a write or sync fail, nor has somebody taken the
    /// lock away.
    pub fn is_usable(&self) -> bool {
        self.core().check().is_ok()
    }

    /// Sequence of the newest event.
    pub fn sequence(&self) -> u64 {
        self.core().sequence()
    }

    /// Records events and returns when they are durable, with a receipt for each in their order.
    ///
    /// Appending never folds the journal by itself: a program that runs for long calls
    /// [`Writer::compact_if_due`] now and then, when a moment's wait does no harm.
    ///
    /// # Errors
    ///
    /// When nothing of this call is acknowledged. After a failed write or sync the writer is
    /// finished, and every later call fails too.
    pub fn append(
        &self,
        events: Vec<NewEvent>,
        received_at: Timestamp,
    ) -> Result<Vec<Receipt>, WriteError> {
        check_events(&events)?;
        let (news, changed) = (Mutex::default(), Condvar::new());
        let ticket = Arc::new(Ticket { events, received_at, news, changed });
        let is_led = {
            let mut queue = lock(&self.queue);
            queue.waiting.push(ticket.clone());
            std::mem::replace(&mut queue.is_led, true)
        };
        if !is_led {
            self.lead();
        }
        loop {
            match ticket.wait() {
                News::Lead => self.lead(),
                News::Answer(answer) => return answer,
            }
        }
    }

    /// As [`Writer::append`], for the calls of many who wait for one thread: they share a sync, and
    /// each has an answer of its own, in their order.
    pub fn append_each(
        &self,
        calls: &[(Vec<NewEvent>, Timestamp)],
    ) -> Vec<Result<Vec<Receipt>, WriteError>> {
        let checked: Vec<_> = calls.iter().map(|(events, _)| check_events(events)).collect();
        let fit = calls.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let requests: Vec<_> = fit.map(|((events, at), _)| (&events[..], *at)).collect();
        let guard = EndsOnPanic(self);
        let mut answers = guard.0.core().commit(&requests).into_iter();
        let mut answer = || answers.next().unwrap_or(Err(WriteError::Finished));
        checked.into_iter().map(|checked| checked.and_then(|()| answer())).collect()
    }

    /// Commits what waits.
    fn lead(&self) {
        let group = std::mem::take(&mut lock(&self.queue).waiting);
        Lead { writer: self, group, answers: Vec::new() }.commit();
    }

    /// Records a list of opt-outs that share their details, and returns when all are durable.
    /// Folds the journal into a new generation when enough has gathered. What the list holds
    /// afterwards says nothing; it can be cleared and filled again.
    ///
    /// # Errors
    ///
    /// As [`Writer::append`]; an error means that none or only a part was recorded, and that
    /// importing the list again completes it.
    pub fn append_bulk(
        &self,
        details: &Details,
        received_at: Timestamp,
        bulk: &mut Bulk,
    ) -> Result<BulkReport, WriteError> {
        self.append_bulks(&mut [(details, bulk)], received_at)
    }

    /// As [`Writer::append_bulk`], for several lists with details of their own. Those that begin
    /// an import ([`Details::NEW_BATCH`]) begin the same one.
    ///
    /// # Errors
    ///
    /// As [`Writer::append_bulk`].
    pub fn append_bulks(
        &self,
        lists: &mut [(&Details, &mut Bulk)],
        received_at: Timestamp,
    ) -> Result<BulkReport, WriteError> {
        for (details, _) in lists.iter() {
            if details.action != Action::OptOut {
                let why = "a list is one of opt-outs";
                return Err(WriteError::Action { action: details.action, why });
            }
            check_texts(details, "")?;
        }
        self.core().append_bulks(lists, received_at)
    }

    /// Forgets people and keeps them suppressed: what was recorded of them leaves the journal, its
    /// indexes and what recovery kept aside, and every file of the store is then searched for
    /// their numbers. Somebody of whom nothing is known is suppressed all the same.
    ///
    /// Outside lists are not touched. Readers that are open keep the old files until they refresh.
    ///
    /// # Errors
    ///
    /// When something was not forgotten. The people are suppressed if any of this had begun, and
    /// asking again completes it.
    pub fn erase(&self, request: &Erasure, now: Timestamp) -> Result<EraseReport, WriteError> {
        let details = request.details();
        check_texts(&details, "")?;
        self.core().erase(request, &details, now)
    }

    /// Folds the journal into a new generation. Readers go on meanwhile and afterwards.
    ///
    /// # Errors
    ///
    /// When the generation can't be written; the store is then as before.
    pub fn compact(&self, now: Timestamp) -> Result<CompactReport, WriteError> {
        self.core().compact(now)
    }

    /// Folds the journal if so much has gathered that opening the store would take noticeable
    /// time.
    ///
    /// # Errors
    ///
    /// As [`Writer::compact`].
    pub fn compact_if_due(&self, now: Timestamp) -> Result<Option<CompactReport>, WriteError> {
        self.core().compact_if_due(now)
    }

    #[cfg(test)]
    pub(super) fn with_limits(self, limits: super::core::Limits) -> Writer {
        self.core().set_limits(limits);
        self
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }
}

/// Ends the writer when the thread that holds it panics while it commits.
struct EndsOnPanic<'a>(&'a Writer);

impl Drop for EndsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.core().give_up();
        }
    }
}

/// The thread that commits for a group. However it ends, everybody of the group gets an answer
/// and the next thread leads.
struct Lead<'a> {
    writer: &'a Writer,
    group: Vec<Arc<Ticket>>,
    answers: Vec<Result<Vec<Receipt>, WriteError>>,
}

impl Lead<'_> {
    fn commit(mut self) {
        let requests: Vec<_> =
            self.group.iter().map(|it| (&it.events[..], it.received_at)).collect();
        self.answers = self.writer.core().commit(&requests);
    }
}

impl Drop for Lead<'_> {
    /// First the next group, which has its events to write while this one is woken.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.writer.core().give_up();
        }
        let next = {
            let mut queue = lock(&self.writer.queue);
            queue.is_led = !queue.waiting.is_empty();
            queue.waiting.first().cloned()
        };
        if let Some(next) = next {
            next.tell(News::Lead);
        }
        let unanswered = std::iter::repeat_with(|| Err(WriteError::Finished));
        let answers = std::mem::take(&mut self.answers).into_iter().chain(unanswered);
        for (ticket, answer) in self.group.iter().zip(answers) {
            ticket.tell(News::Answer(answer));
        }
    }
}

/// A thread that panicked while it held a lock has broken nothing that the journal's checks
/// would not find.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_events(events: &[NewEvent]) -> Result<(), WriteError> {
    events.iter().try_for_each(|event| {
        check_action(event)?;
        check_texts(&event.details, &event.raw)
    })
}

/// Whether the action says all that it needs to be recorded.
fn check_action(event: &NewEvent) -> Result<(), WriteError> {
    let details = &event.details;
    let ends = (&event.address, event.linked.as_ref());
    let why = match (details.action, details.category) {
        _ if details.batch == Details::NEW_BATCH => "an import begins with a list",
        (Action::Link, _) => match ends {
            (_, None) => "it has to name two addresses",
            (Address::Number(_), Some(Address::Number(_))) => {
                "it joins an id with a number or another id, not two numbers"
            }
            (one, Some(other)) if one == other => "its two ends are the same",
            _ => return Ok(()),
        },
        _ if event.linked.is_some() => "only a link is about two addresses",
        (Action::Override, None) => "it has to name a category",
        (Action::Override, Some(Category::Marketing)) => {
            "nobody who opted out gets marketing: it names utility or authentication"
        }
        (Action::Retract, _) if details.batch == 0 => {
            "it has to name the import that it takes back"
        }
        _ => return Ok(()),
    };
    Err(WriteError::Action { action: details.action, why })
}

pub(super) fn check_texts(details: &Details, raw: &str) -> Result<(), WriteError> {
    let texts = [
        ("channel", &*details.channel),
        ("sender", &details.sender),
        ("brand", &details.brand),
        ("word", &details.word),
        ("campaign", &details.campaign),
        ("template", &details.template),
        ("message id", &details.message_id),
        ("operator", &details.operator),
        ("note", &details.note),
        ("number's spelling", raw),
    ];
    Scope::new(&details.channel, &details.sender, &details.brand)?;
    // NUL is left out of texts so that a run of zeros in a file is always a lost sector.
    match texts.iter().find(|(_, text)| text.len() >= TEXT_BYTES_MAX || text.contains('\0')) {
        Some(&(field, _)) => Err(WriteError::Text { field, limit: TEXT_BYTES_MAX }),
        None => Ok(()),
    }
}
