//! Records events. One writer a store; many threads may share it.
//!
//! Threads that append at the same time share one sync (group commit): whoever finds nobody at
//! work takes everything that waits, writes it, syncs once, and hands each its answer.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::column::ColumnIdentity;
use super::error::{StoreError, WriteError};
use super::generation::{self, Generation};
use super::layout::{Entry, LOCK};
use super::manifest::Manifest;
use super::reader::load;
use super::standing::{Standing, decide};
use super::standings::{Standings, facts_of};
use crate::disk::{Disk, Lock, RealDisk};
use crate::event::{Action, Details};
use crate::journal::{JournalIdentity, JournalWriter, Row, Spelling};
use crate::number::{Folding, Number, SubscriberKey, fold};
use crate::time::Timestamp;

/// Bytes that a text of an event may have.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Events beyond the generation after which folding them pays: a reader takes in about ten
/// million a second, so that opening stays in the range of ten milliseconds.
const COMPACT_AFTER_EVENTS: u64 = 131_072;

/// Compaction seals an active segment of this length, so that opening reads little.
const SEAL_AFTER_BYTES: u64 = 4 << 20;

/// Whether [`init`] made a store or found one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialized {
    /// It is new and empty.
    Made,
    /// It was there already and is as it was.
    Existed,
}

/// Makes a store in a directory, which is created if need be.
///
/// # Errors
///
/// When the directory holds something else, or what is left of a store; when the disk refuses.
pub fn init(
    directory: impl AsRef<Path>,
    folding: Folding,
    now: Timestamp,
) -> Result<Initialized, WriteError> {
    let disk = RealDisk::new(directory.as_ref());
    disk.create_directory()?;
    init_on(&disk, folding, now)
}

/// Makes a store on a disk of the caller's.
pub(super) fn init_on(
    disk: &dyn Disk,
    folding: Folding,
    now: Timestamp,
) -> Result<Initialized, WriteError> {
    // Before the lock, which makes a file: a directory that is somebody else's stays untouched.
    let is_foreign = |name: &String| Entry::of(name) == Entry::Foreign;
    let is_manifest = |name: &String| Entry::of(name) == Entry::Manifest;
    let names = disk.list()?;
    if names.iter().any(is_foreign) && !names.iter().any(is_manifest) {
        return Err(WriteError::NotEmpty { path: disk.path_of("") });
    }
    let _lock = take_lock(disk)?;
    let names = disk.list()?;
    if names.iter().any(is_manifest) {
        Manifest::read(disk)?;
        return Ok(Initialized::Existed);
    }
    for name in &names {
        match Entry::of(name) {
            Entry::Lock => {}
            // An interrupted `init` leaves these; a store that lost its manifest has more.
            Entry::ManifestNext => disk.remove(name)?,
            Entry::Segment(1) if is_unused_segment(disk, name)? => disk.remove(name)?,
            Entry::Foreign => return Err(WriteError::NotEmpty { path: disk.path_of("") }),
            _ => {
                let why = format!("it holds {name} but no manifest: restore it from a backup");
                return Err(StoreError::NotAStore { path: disk.path_of(""), why }.into());
            }
        }
    }
    let mut store = [0; 16];
    getrandom::fill(&mut store).map_err(|error| crate::disk::DiskError {
        operation: "draw the id of",
        path: disk.path_of(""),
        source: std::io::Error::other(error.to_string()),
    })?;
    let manifest = Manifest::new(store, folding, now);
    JournalWriter::create_segment(disk, JournalIdentity { store, folding }, 1, 0, 1, now)?;
    disk.sync_directory()?;
    manifest.publish(disk)?;
    Ok(Initialized::Made)
}

fn is_unused_segment(disk: &dyn Disk, name: &str) -> Result<bool, WriteError> {
    let length = disk.open(name)?.len()?;
    Ok(length <= crate::journal::format::SEGMENT_HEADER_BYTES as u64)
}

fn take_lock(disk: &dyn Disk) -> Result<Box<dyn Lock>, WriteError> {
    disk.lock(LOCK)?.ok_or_else(|| WriteError::Locked { path: disk.path_of("") })
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The number as it was read.
    pub number: Number,
    /// The number as it was written.
    pub raw: String,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// Everything else. With a message id, the same event twice is recorded once.
    pub details: Details,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subscriber was not opted out before and is now.
    Added,
    /// The opt-out changed nothing: the subscriber was opted out already, or came back later
    /// than this opt-out happened; or the same message was recorded before.
    Already,
    /// The subscriber was opted out and is no more.
    Resubscribed,
    /// The resubscribe changed nothing: the subscriber was not opted out, or said STOP at the
    /// same moment or later.
    NotListed,
}

impl Outcome {
    /// The word for people and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Added => "added",
            Outcome::Already => "already",
            Outcome::Resubscribed => "resubscribed",
            Outcome::NotListed => "not-listed",
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
    /// Subscribers opted out.
    pub opted_out: u64,
}

/// A store open for writing. Share it by reference among threads.
#[derive(Debug)]
pub struct Writer {
    queue: Mutex<Queue>,
    turn: Condvar,
    core: Mutex<Core>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Arc<Ticket>>,
    is_led: bool,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Ticket {
    events: Vec<NewEvent>,
    received_at: Timestamp,
    answer: Mutex<Option<Result<Vec<Receipt>, WriteError>>>,
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
        Ok(Writer { queue: Mutex::default(), turn: Condvar::new(), core: Mutex::new(core) })
    }

    /// How numbers become keys in this store.
    pub fn folding(&self) -> Folding {
        self.core().manifest.folding()
    }

    /// Sequence of the newest event.
    pub fn sequence(&self) -> u64 {
        self.core().journal.journal().sequence()
    }

    /// Records events and returns when they are durable, with a receipt for each in their order.
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
        events.iter().try_for_each(|event| check_texts(&event.details, &event.raw))?;
        let ticket = Arc::new(Ticket { events, received_at, answer: Mutex::new(None) });
        let mut queue = lock(&self.queue);
        queue.waiting.push(ticket.clone());
        loop {
            if let Some(answer) = lock(&ticket.answer).take() {
                return answer;
            }
            if queue.is_led {
                queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.is_led = true;
            let group = std::mem::take(&mut queue.waiting);
            drop(queue);
            self.core().commit(&group);
            queue = lock(&self.queue);
            queue.is_led = false;
            self.turn.notify_all();
        }
    }

    /// Records a list of opt-outs that share their details, and returns when all are durable.
    /// Folds the journal into a new generation when enough has gathered.
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
        check_texts(details, "")?;
        let mut core = self.core();
        let report = core.append_bulk(details, received_at, bulk)?;
        core.compact_if_due(received_at)?;
        Ok(report)
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
    pub(super) fn compact_after(self, events: u64) -> Writer {
        self.core().compact_after = events;
        self
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }
}

/// A thread that panicked while it held a lock has broken nothing that the journal's checks
/// would not find.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_texts(details: &Details, raw: &str) -> Result<(), WriteError> {
    let texts = [
        ("channel", &*details.channel),
        ("sender", &details.sender),
        ("brand", &details.brand),
        ("word", &details.word),
        ("campaign", &details.campaign),
        ("message id", &details.message_id),
        ("operator", &details.operator),
        ("note", &details.note),
        ("number's spelling", raw),
    ];
    // NUL is left out of texts so that a run of zeros in a file is always a lost sector.
    match texts.iter().find(|(_, text)| text.len() >= TEXT_BYTES_MAX || text.contains('\0')) {
        Some(&(field, _)) => Err(WriteError::Text { field, limit: TEXT_BYTES_MAX }),
        None => Ok(()),
    }
}

/// What only one thread at a time touches.
#[derive(Debug)]
struct Core {
    disk: Arc<dyn Disk>,
    lock: Box<dyn Lock>,
    manifest: Manifest,
    journal: JournalWriter,
    standings: Standings,
    /// [`COMPACT_AFTER_EVENTS`], but for tests that want many generations.
    compact_after: u64,
}

impl Core {
    fn open(disk: Arc<dyn Disk>) -> Result<Core, WriteError> {
        // First a look without the lock: locking creates its file, and a directory that is no
        // store stays untouched.
        Manifest::read(&*disk)?;
        let lock = take_lock(&*disk)?;
        let manifest = Manifest::read(&*disk)?;
        let (journal, standings) = load(&disk, &manifest)?;
        let journal = JournalWriter::new(journal)?;
        let compact_after = COMPACT_AFTER_EVENTS;
        let mut core = Core { disk, lock, manifest, journal, standings, compact_after };
        core.remove_unfinished()?;
        if core.journal.is_rotation_pending() {
            core.rotate(Timestamp::now())?;
        }
        Ok(core)
    }

    /// Removes files that an interrupted change left and the manifest does not name.
    fn remove_unfinished(&self) -> Result<(), WriteError> {
        let active = self.manifest.active;
        for name in self.disk.list()? {
            let is_unfinished = match Entry::of(&name) {
                Entry::ManifestNext => true,
                Entry::Generation(generation) => generation != self.manifest.generation,
                Entry::Segment(segment) => segment > active,
                Entry::Index(segment) => segment >= active,
                _ => false,
            };
            if is_unfinished {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.journal.is_finished() {
            return Err(WriteError::Finished);
        }
        if !self.lock.is_in_place() {
            return Err(WriteError::LockLost { path: self.disk.path_of(LOCK) });
        }
        Ok(())
    }

    /// Records what waits, syncs once, and answers every ticket.
    fn commit(&mut self, group: &[Arc<Ticket>]) {
        let mut answers: Vec<Result<Vec<Receipt>, WriteError>> =
            group.iter().map(|ticket| self.record(ticket)).collect();
        let synced = self.journal.sync().map_err(WriteError::from);
        if let Err(error) = synced {
            // One of them gets the cause; that nothing is acknowledged holds for all.
            let mut cause = Some(error);
            for answer in &mut answers {
                *answer = Err(cause.take().unwrap_or(WriteError::Finished));
            }
        }
        // A full segment is no reason to take an acknowledgement back: the next call tells.
        if self.journal.is_segment_full() && !self.journal.is_finished() {
            let received_at = group.iter().map(|ticket| ticket.received_at).max();
            let _ = self.rotate(received_at.unwrap_or_default());
        }
        for (ticket, answer) in group.iter().zip(answers) {
            *lock(&ticket.answer) = Some(answer);
        }
    }

    fn record(&mut self, ticket: &Ticket) -> Result<Vec<Receipt>, WriteError> {
        self.check()?;
        let mut receipts = Vec::with_capacity(ticket.events.len());
        let mut rest = &ticket.events[..];
        while let Some(first) = rest.first() {
            // Rows of one record share their details. A subscriber must not occur twice in it,
            // as the second row's outcome hangs on the first's; nor may a message id be repeated.
            let mut run = 1;
            if first.details.message_id.is_empty() {
                let mut keys = std::collections::HashSet::from([self.key(first)]);
                let belongs =
                    |it: &&NewEvent| it.details == first.details && keys.insert(self.key(it));
                run += rest[1..].iter().take_while(belongs).count();
            }
            let (now, later) = rest.split_at(run);
            self.record_run(now, ticket.received_at, &mut receipts)?;
            rest = later;
        }
        Ok(receipts)
    }

    fn key(&self, event: &NewEvent) -> SubscriberKey {
        fold(event.number, self.manifest.folding())
    }

    fn record_run(
        &mut self,
        events: &[NewEvent],
        received_at: Timestamp,
        receipts: &mut Vec<Receipt>,
    ) -> Result<(), WriteError> {
        let details = &events[0].details;
        if let Some(sequence) = self.recorded_before(&events[0])? {
            receipts.push(Receipt { sequence, outcome: Outcome::Already });
            return Ok(());
        }
        let keys: Vec<SubscriberKey> = events.iter().map(|event| self.key(event)).collect();
        let before = keys
            .iter()
            .map(|&key| self.standings.standing(key))
            .collect::<Result<Vec<_>, StoreError>>()?;
        let rows: Vec<Row<'_>> = events
            .iter()
            .zip(&before)
            .map(|(event, before)| Row {
                number: event.number,
                occurred_at: event.occurred_at,
                spelling: Spelling::of(event.number, &event.raw),
                previous: before.map_or(0, |standing| standing.head),
            })
            .collect();
        let first = self.journal.append(details, received_at, &rows)?;
        self.take_in(first - 1)?;
        for (row, (&key, before)) in keys.iter().zip(before).enumerate() {
            let after = self.standings.standing(key)?;
            let was = before.is_some_and(|standing| standing.opted_out);
            let is = after.is_some_and(|standing| standing.opted_out);
            let outcome = match (details.action, was, is) {
                (Action::OptOut, false, true) => Outcome::Added,
                (Action::OptOut, ..) => Outcome::Already,
                (Action::Resubscribe, true, false) => Outcome::Resubscribed,
                (Action::Resubscribe, ..) => Outcome::NotListed,
            };
            receipts.push(Receipt { sequence: first + row as u64, outcome });
        }
        Ok(())
    }

    /// The sequence under which the same message, number and action stand already.
    fn recorded_before(&self, event: &NewEvent) -> Result<Option<u64>, WriteError> {
        let message_id = &event.details.message_id;
        if message_id.is_empty() {
            return Ok(None);
        }
        let key = self.key(event);
        let folding = self.manifest.folding();
        for record in self.journal.journal().records_of_message(message_id)? {
            if record.details().action != event.details.action {
                continue;
            }
            let row = record.numbers().iter().position(|&number| fold(number, folding) == key);
            if let Some(row) = row {
                return Ok(Some(record.first_sequence() + row as u64));
            }
        }
        Ok(None)
    }

    /// Lets the standings follow the journal past the sequence `after`.
    fn take_in(&mut self, after: u64) -> Result<(), WriteError> {
        let journal = self.journal.journal();
        let standings = &mut self.standings;
        let apply = |record: &_| standings.apply(journal, record).map(|()| true);
        journal.scan::<StoreError>(after, |_| true, apply)?;
        Ok(())
    }

    fn append_bulk(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        bulk: &mut Bulk,
    ) -> Result<BulkReport, WriteError> {
        self.check()?;
        let after = self.journal.journal().sequence();
        let mut report = BulkReport::default();
        report.already += self.drop_recorded_before(details, bulk)?;
        bulk.sort(self.manifest.folding());
        let heads = self.standings.heads(&bulk.keys)?;
        bulk.number_from(after + 1);
        for spelling in SPELLINGS {
            for rows in bulk.rows_spelled(spelling, &heads) {
                self.journal.append(details, received_at, &rows)?;
            }
        }
        self.journal.sync()?;
        let changes = self.changes_of(bulk, &heads, &mut report)?;
        report.sequence = self.journal.journal().sequence();
        // A large bulk goes into a generation at once: by way of the overlay it would be hashed,
        // gathered and sorted again, which took twice as long for 20 million numbers.
        let folded = if bulk.rows.len() as u64 >= self.compact_after {
            let changes = merge_changes(self.standings.changes()?, changes);
            self.fold(&changes, report.sequence, received_at)
        } else {
            Ok(())
        };
        if self.manifest.sequence < report.sequence {
            self.take_in(after)?;
        }
        folded?;
        if self.journal.is_segment_full() {
            self.rotate(received_at)?;
        }
        Ok(report)
    }

    /// How the subscribers of a bulk stand now that its rows are in the journal; counts the rows.
    fn changes_of(
        &self,
        bulk: &Bulk,
        heads: &[u64],
        report: &mut BulkReport,
    ) -> Result<Vec<(SubscriberKey, Standing)>, WriteError> {
        let mut changes = Vec::with_capacity(bulk.keys.len());
        let mut begin = 0;
        for rows in bulk.keys.chunk_by(|one, other| one == other) {
            let end = begin + rows.len();
            let (since, head) = (bulk.sequences[begin], bulk.sequences[end - 1]);
            let before = match heads[begin] {
                0 => None,
                _ => self.standings.standing(rows[0])?,
            };
            let standing = match before {
                None => Standing { opted_out: true, head, since },
                Some(before) if before.opted_out => Standing { head, ..before },
                Some(_) => decide(&facts_of(self.journal.journal(), head)?)
                    .expect("there is one event at least"),
            };
            let is_new = standing.opted_out && before.is_none_or(|it| !it.opted_out);
            report.added += u64::from(is_new);
            report.already += rows.len() as u64 - u64::from(is_new);
            changes.push((rows[0], standing));
            begin = end;
        }
        Ok(changes)
    }

    /// Leaves out rows that were recorded under the same message id; their number.
    fn drop_recorded_before(&self, details: &Details, bulk: &mut Bulk) -> Result<u64, WriteError> {
        if details.message_id.is_empty() {
            return Ok(0);
        }
        let folding = self.manifest.folding();
        let mut known = std::collections::HashSet::new();
        for record in self.journal.journal().records_of_message(&details.message_id)? {
            if record.details().action == details.action {
                known.extend(record.numbers().iter().map(|&number| fold(number, folding)));
            }
        }
        let before = bulk.rows.len();
        bulk.rows.retain(|row| known.insert(fold(row.number, folding)));
        Ok((before - bulk.rows.len()) as u64)
    }

    fn compact_if_due(&mut self, now: Timestamp) -> Result<Option<CompactReport>, WriteError> {
        let beyond = self.journal.journal().sequence() - self.manifest.sequence;
        (beyond >= self.compact_after).then(|| self.compact(now)).transpose()
    }

    fn compact(&mut self, now: Timestamp) -> Result<CompactReport, WriteError> {
        self.check()?;
        self.journal.sync()?;
        let sequence = self.journal.journal().sequence();
        let folded = sequence - self.manifest.sequence;
        if folded > 0 {
            let changes = self.standings.changes()?;
            self.fold(&changes, sequence, now)?;
        }
        Ok(CompactReport {
            generation: self.manifest.generation,
            sequence,
            folded,
            opted_out: self.standings.opted_out(),
        })
    }

    /// Makes the next generation: the current one with `changes` applied, which ascend by key and
    /// are everything up to `sequence`.
    fn fold(
        &mut self,
        changes: &[(SubscriberKey, Standing)],
        sequence: u64,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut next = self.manifest.clone();
        next.generation += 1;
        next.sequence = sequence;
        let store = self.manifest.store_id().unwrap_or_default();
        let identity = ColumnIdentity { store, generation: next.generation };
        let old = self.standings.generation.clone();
        next.layers = generation::write(&*self.disk, &old, changes, identity, sequence)?;
        self.disk.sync_directory()?;
        // Opening checks every byte that was written before anything rests on it.
        let opened = Arc::new(Generation::open(&self.disk, &next)?);
        if self.journal.active_bytes() >= SEAL_AFTER_BYTES {
            self.journal.rotate(next.generation, now)?;
            self.list_segments(&mut next);
        }
        next.publish(&*self.disk)?;
        self.manifest = next;
        self.standings = Standings::new(opened);
        // Readers that have the old files open keep them; nobody opens them any more.
        self.remove_unfinished()?;
        Ok(())
    }

    /// Seals the active segment and begins the next.
    fn rotate(&mut self, now: Timestamp) -> Result<(), WriteError> {
        let mut next = self.manifest.clone();
        self.journal.rotate(next.generation, now)?;
        self.list_segments(&mut next);
        next.publish(&*self.disk)?;
        self.manifest = next;
        Ok(())
    }

    fn list_segments(&self, manifest: &mut Manifest) {
        manifest.sealed = self.journal.sealed().cloned().collect();
        manifest.active = self.journal.active_segment();
    }
}

/// Joins two lists that ascend by key; of a key in both, the newer counts.
fn merge_changes(
    older: Vec<(SubscriberKey, Standing)>,
    newer: Vec<(SubscriberKey, Standing)>,
) -> Vec<(SubscriberKey, Standing)> {
    if older.is_empty() {
        return newer;
    }
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let mut older = older.into_iter().peekable();
    for change in newer {
        while let Some(before) = older.next_if(|before| before.0 < change.0) {
            merged.push(before);
        }
        older.next_if(|before| before.0 == change.0);
        merged.push(change);
    }
    merged.extend(older);
    merged
}

/// Opt-outs to be recorded together: numbers and spellings, compactly.
#[derive(Debug, Default)]
pub struct Bulk {
    rows: Vec<BulkRow>,
    texts: String,
    /// The rows' keys, once sorted.
    keys: Vec<SubscriberKey>,
    /// The rows' sequences, once numbered.
    sequences: Vec<u64>,
}

/// What became of a [`Bulk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Rows after which a subscriber was opted out who was not before.
    pub added: u64,
    /// All other rows.
    pub already: u64,
    /// Sequence of the last row.
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct BulkRow {
    key: SubscriberKey,
    number: Number,
    occurred_at: Timestamp,
    /// Where the spelling stands in the texts.
    text: u32,
    arrival: u32,
    text_bytes: u16,
    spelling: u8,
}

/// The spellings in the order in which a bulk's rows are recorded: those that need no text are
/// kept apart, so that their records hold none.
const SPELLINGS: [u8; 3] = [0, 1, 2];

impl Bulk {
    /// Rows that a bulk should gather at the most: what is sorted and folded at once.
    pub const ROWS_MAX: usize = 4 << 20;
    /// Bytes of spellings after which it should be recorded too.
    const TEXT_BYTES_MAX: usize = 256 << 20;

    /// An empty one.
    pub fn new() -> Bulk {
        Bulk::default()
    }

    /// Adds a row. A spelling longer than [`TEXT_BYTES_MAX`] is cut; NUL is replaced.
    pub fn push(&mut self, number: Number, occurred_at: Timestamp, raw: &str) {
        let mut row = BulkRow {
            key: SubscriberKey::from_u64(0),
            number,
            occurred_at,
            text: 0,
            arrival: self.rows.len() as u32,
            text_bytes: 0,
            spelling: 0,
        };
        match Spelling::of(number, raw) {
            Spelling::Plus => {}
            Spelling::Digits => row.spelling = 1,
            Spelling::Text(text) => {
                row.spelling = 2;
                row.text = self.texts.len() as u32;
                let end = text.floor_char_boundary(TEXT_BYTES_MAX - 1);
                let clean = text[..end].chars().map(|it| if it == '\0' { ' ' } else { it });
                self.texts.extend(clean);
                row.text_bytes = (self.texts.len() - row.text as usize) as u16;
            }
        }
        self.rows.push(row);
    }

    /// Whether it has gathered so much that it should be recorded.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= Bulk::ROWS_MAX || self.texts.len() >= Bulk::TEXT_BYTES_MAX
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows: number and moment.
    pub fn rows(&self) -> impl Iterator<Item = (Number, Timestamp)> + '_ {
        self.rows.iter().map(|row| (row.number, row.occurred_at))
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.texts.clear();
        self.keys.clear();
        self.sequences.clear();
    }

    /// By key; rows of one subscriber by spelling and arrival, which is the order in which they
    /// are recorded.
    fn sort(&mut self, folding: Folding) {
        use rayon::prelude::*;
        self.rows.par_iter_mut().for_each(|row| row.key = fold(row.number, folding));
        self.rows.par_sort_unstable_by_key(|row| (row.key, row.spelling, row.arrival));
        self.keys = self.rows.iter().map(|row| row.key).collect();
    }

    /// Gives each row the sequence that it will get: all rows of the first spelling come first.
    fn number_from(&mut self, first: u64) {
        let mut next = [first; SPELLINGS.len()];
        for (spelling, next) in next.iter_mut().enumerate().skip(1) {
            let before = self.rows.iter().filter(|row| usize::from(row.spelling) < spelling);
            *next += before.count() as u64;
        }
        let number = |row: &BulkRow| {
            let next = &mut next[usize::from(row.spelling)];
            *next += 1;
            *next - 1
        };
        self.sequences = self.rows.iter().map(number).collect();
    }

    /// The rows of one spelling, in pieces for one record each. `heads` are the sequences of the
    /// keys' events before this bulk.
    fn rows_spelled<'a>(
        &'a self,
        spelling: u8,
        heads: &'a [u64],
    ) -> impl Iterator<Item = Vec<Row<'a>>> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut rows = Vec::new();
            while at < self.rows.len() && rows.len() < crate::journal::format::RECORD_ROWS_MAX {
                if self.rows[at].spelling == spelling {
                    rows.push(self.row(at, heads[at]));
                }
                at += 1;
            }
            (!rows.is_empty()).then_some(rows)
        })
    }

    fn row(&self, at: usize, head: u64) -> Row<'_> {
        let row = &self.rows[at];
        let follows = at > 0 && self.keys[at - 1] == self.keys[at];
        let text = row.text as usize;
        Row {
            number: row.number,
            occurred_at: row.occurred_at,
            spelling: match row.spelling {
                0 => Spelling::Plus,
                1 => Spelling::Digits,
                _ => Spelling::Text(&self.texts[text..text + usize::from(row.text_bytes)]),
            },
            previous: if follows { self.sequences[at - 1] } else { head },
        }
    }
}
