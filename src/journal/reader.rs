//! A journal open for reading: which segment, which record, which row?
//!
//! Sealed segments are opened when they are first needed; the active one is read whole at
//! opening and followed as it grows.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::JournalError;
use super::format::{
    IndexEntry, RECORD_HEADER_BYTES, RECORD_PAYLOAD_BYTES_MAX, RecordHeader, SEGMENT_BYTES_MAX,
    SEGMENT_HEADER_BYTES, Seal, SegmentHeader, revised_index_name, revised_segment_name,
    segment_name,
};
use super::hex;
use super::index::{GrowingIndex, SealedIndex, find, message_hash};
use super::record::Record;
use super::recover::Stretch;
use super::segment::{Cursor, End, Identity, Walked, read_header, walk};
use crate::disk::{Disk, DiskError, DiskFile, read_all};
use crate::event::{Event, Source};
use crate::number::Folding;
use crate::time::Timestamp;

/// Longer than this no segment can be: it is sealed when it has passed [`SEGMENT_BYTES_MAX`],
/// which one last record can overstep, and the seal follows.
pub(super) const SEGMENT_BYTES_LIMIT: u64 =
    SEGMENT_BYTES_MAX + RECORD_PAYLOAD_BYTES_MAX as u64 + 2 * RECORD_HEADER_BYTES as u64;

/// Read at once when records are gone through in order.
const SCAN_WINDOW_BYTES: usize = 1 << 20;
/// Read at once when a single record is wanted.
const POINT_WINDOW_BYTES: usize = 4096;

/// A sealed segment, as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentInfo {
    /// Its number.
    pub segment: u64,
    /// Sequence of its first event.
    pub first_sequence: u64,
    /// Sequence of its last event.
    pub last_sequence: u64,
    /// Length of the file.
    pub bytes: u64,
    /// xxh3-64 of the file, hexadecimal.
    pub xxh3: String,
    /// How often it was written anew to erase what somebody wanted forgotten.
    #[serde(default)]
    pub revision: u32,
}

impl SegmentInfo {
    /// The name of its file.
    pub fn file(&self) -> String {
        revised_segment_name(self.segment, self.revision)
    }

    /// The name of its index.
    pub fn index_file(&self) -> String {
        revised_index_name(self.segment, self.revision)
    }
}

/// Whose journal this is and how its numbers become keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalIdentity {
    /// The store's id.
    pub store: [u8; 16],
    /// How its numbers are folded.
    pub folding: Folding,
}

/// A sealed segment, opened when it is first needed.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) info: SegmentInfo,
    pub(super) opened: OnceLock<OpenedSegment>,
}

#[derive(Debug)]
pub(super) struct OpenedSegment {
    file: Box<dyn DiskFile>,
    index: SegmentIndex,
}

#[derive(Debug)]
enum SegmentIndex {
    Stored(SealedIndex),
    Rebuilt(GrowingIndex),
}

impl SegmentIndex {
    fn entries(&self) -> &[IndexEntry] {
        match self {
            SegmentIndex::Stored(index) => index.entries(),
            SegmentIndex::Rebuilt(index) => &index.entries,
        }
    }
}

/// The newest segment, which still grows.
#[derive(Clone, Debug)]
pub(super) struct ActiveSegment {
    pub(super) segment: u64,
    pub(super) generation: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: Arc<GrowingIndex>,
    /// Offset behind the last intact record.
    pub(super) end: u64,
    pub(super) sealed: bool,
    pub(super) mark: Mark,
}

/// The checksum in the last header that was read, and where it stands. As long as it stands
/// there, nothing that was read has been taken back: a writer that fails cuts off what it could
/// not sync, and the next one may write as many other bytes in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    offset: u64,
    checksum: u64,
}

impl Mark {
    pub(super) fn of_segment(header: &SegmentHeader) -> Mark {
        let offset = (SEGMENT_HEADER_BYTES - size_of::<u64>()) as u64;
        Mark { offset, checksum: header.checksum.get() }
    }

    fn of_record(offset: u64, header: &RecordHeader) -> Mark {
        let offset = offset + (RECORD_HEADER_BYTES - size_of::<u64>()) as u64;
        Mark { offset, checksum: header.header_checksum.get() }
    }

    fn is_in_place(self, file: &dyn DiskFile) -> Result<bool, JournalError> {
        let mut bytes = [0; 8];
        let read = file.read_at(&mut bytes, self.offset)?;
        Ok(read == bytes.len() && u64::from_le_bytes(bytes) == self.checksum)
    }
}

/// A journal open for reading. Cheap to clone; clones share what they have opened.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) identity: JournalIdentity,
    pub(super) sealed: Vec<Arc<SealedSegment>>,
    pub(super) active: ActiveSegment,
    /// Sequence of the event that comes next.
    pub(super) next_sequence: u64,
    recent: RecentRecords,
}

/// The records that were looked up last. Those who stand side by side in a list that was imported
/// twice have their histories in the same two records of many thousand rows: decoding these anew
/// for each of them took hours for a list of a million.
#[derive(Debug, Default)]
struct RecentRecords(Mutex<VecDeque<Arc<Record>>>);

impl RecentRecords {
    /// A large record takes some megabytes.
    const RECORDS_MAX: usize = 8;

    fn get(&self, sequence: u64) -> Option<Arc<Record>> {
        let holds = |record: &&Arc<Record>| {
            let first = record.first_sequence();
            (first..first + record.rows() as u64).contains(&sequence)
        };
        self.lock().iter().find(holds).cloned()
    }

    fn put(&self, record: Arc<Record>) {
        let mut records = self.lock();
        records.truncate(Self::RECORDS_MAX - 1);
        records.push_front(record);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clone begins with none: each journal has seen only what it has read itself, and what another
/// one read may have been taken back since.
impl Clone for RecentRecords {
    fn clone(&self) -> RecentRecords {
        RecentRecords::default()
    }
}

impl Journal {
    /// Opens the segments that the manifest lists and reads all of the active one.
    ///
    /// # Errors
    ///
    /// When the active segment is missing, damaged or of another store, or the disk refuses.
    pub fn open(
        disk: Arc<dyn Disk>,
        identity: JournalIdentity,
        sealed: &[SegmentInfo],
        active: u64,
    ) -> Result<Journal, JournalError> {
        let sealed: Vec<Arc<SealedSegment>> = sealed
            .iter()
            .map(|info| Arc::new(SealedSegment { info: info.clone(), opened: OnceLock::new() }))
            .collect();
        let next_sequence = sealed.last().map_or(1, |segment| segment.info.last_sequence + 1);
        let place = Identity { store: identity.store, segment: active, revision: 0 };
        let file: Arc<dyn DiskFile> = Arc::from(disk.open(&segment_name(active))?);
        let header = read_header(&*disk, &*file, place)?;
        let mut journal = Journal {
            active: ActiveSegment {
                segment: active,
                generation: header.generation.get(),
                file,
                index: Arc::default(),
                end: SEGMENT_HEADER_BYTES as u64,
                sealed: false,
                mark: Mark::of_segment(&header),
            },
            disk,
            identity,
            sealed,
            next_sequence,
            recent: RecentRecords::default(),
        };
        if header.first_sequence.get() != next_sequence {
            return Err(journal.damaged(active, 0, "the segment does not continue the one before"));
        }
        journal.catch_up()?;
        Ok(journal)
    }

    /// Reads what has been appended since. `true` when the active segment was found sealed: a
    /// newer manifest names its successor.
    ///
    /// # Errors
    ///
    /// When what was appended is damaged, or the store was deleted.
    pub fn catch_up(&mut self) -> Result<bool, JournalError> {
        // Another writer may be cutting a torn end off and writing anew while this reads: what
        // was seen is then a mixture, and the next look finds it whole.
        const LOOKS: usize = 2;
        if !self.active.mark.is_in_place(&*self.active.file)? {
            let what = "what was read from the file has been taken back";
            return Err(self.damaged(self.active.segment, self.active.mark.offset, what));
        }
        for look in 1..=LOOKS {
            let length = self.active.file.len()?;
            if length == self.active.end || self.active.sealed {
                if !self.active.file.is_in_place()? {
                    let file = self.disk.path_of(&segment_name(self.active.segment));
                    return Err(JournalError::Deleted { file });
                }
                break;
            }
            if length < self.active.end {
                return Err(self.damaged(
                    self.active.segment,
                    length,
                    "the file has become shorter than what was read from it",
                ));
            }
            match self.read_tail(length) {
                Err(JournalError::Damaged { .. }) if look < LOOKS => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(error) => return Err(error),
                Ok(walked) => {
                    self.active.sealed = walked.end == End::Sealed;
                    break;
                }
            }
        }
        Ok(self.active.sealed)
    }

    fn read_tail(&mut self, length: u64) -> Result<Walked, JournalError> {
        let base = self.active.end;
        if length > SEGMENT_BYTES_LIMIT {
            return Err(self.damaged(self.active.segment, length, "the segment is too long"));
        }
        let mut bytes = vec![0; (length - base) as usize];
        let read = self.active.file.read_at(&mut bytes, base)?;
        let stretch = Stretch {
            seal: Seal::new(self.identity.store),
            segment: self.active.segment,
            revision: 0,
            generation: self.active.generation,
            base,
            bytes: &bytes[..read],
        };
        let mut index = GrowingIndex::default();
        let store = &self.identity.store;
        let next = self.next_sequence;
        let walked = walk(&*self.disk, &stretch, next, &mut index, store, |_| Ok(()))?;
        let whole = Arc::make_mut(&mut self.active.index);
        whole.entries.append(&mut index.entries);
        whole.messages.append(&mut index.messages);
        self.active.end = walked.offset;
        if let Some((offset, header)) = walked.last {
            self.active.mark = Mark::of_record(offset, &header);
        }
        self.next_sequence = walked.next_sequence;
        Ok(walked)
    }

    /// Goes over to other revisions of sealed segments. What was read before is forgotten.
    pub(super) fn adopt(&mut self, revised: &[SegmentInfo]) {
        if revised.is_empty() {
            return;
        }
        for segment in &mut self.sealed {
            if let Some(info) = revised.iter().find(|it| it.segment == segment.info.segment) {
                let opened = OnceLock::new();
                *segment = Arc::new(SealedSegment { info: info.clone(), opened });
            }
        }
        self.recent = RecentRecords::default();
    }

    /// Sequence of the newest event; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// Whose journal it is.
    pub fn identity(&self) -> JournalIdentity {
        self.identity
    }

    /// The directory that holds its segments.
    pub fn path(&self) -> PathBuf {
        self.disk.path_of("")
    }

    /// How numbers become keys in this journal.
    pub fn folding(&self) -> Folding {
        self.identity.folding
    }

    /// The event of a sequence; `None` for one that was never given.
    ///
    /// # Errors
    ///
    /// When its record is damaged or can't be read.
    pub fn event(&self, sequence: u64) -> Result<Option<Event>, JournalError> {
        let Some(record) = self.record(sequence)? else { return Ok(None) };
        let row = (sequence - record.first_sequence()) as usize;
        Ok(Some(record.event(row, self.identity.folding)))
    }

    /// The record that holds a sequence.
    ///
    /// # Errors
    ///
    /// As [`Journal::event`].
    pub fn record(&self, sequence: u64) -> Result<Option<Arc<Record>>, JournalError> {
        if let Some(record) = self.recent.get(sequence) {
            return Ok(Some(record));
        }
        let record = self.with_entry(sequence, |entry, file, place| {
            self.cursor(file, place, POINT_WINDOW_BYTES).record(entry)
        })?;
        let record = record.map(Arc::new);
        record.iter().for_each(|record| self.recent.put(record.clone()));
        Ok(record)
    }

    /// In which file the record of a sequence stands, and where in it.
    ///
    /// # Errors
    ///
    /// As [`Journal::event`].
    pub fn place_of(&self, sequence: u64) -> Result<Option<(PathBuf, u64)>, JournalError> {
        self.with_entry(sequence, |entry, _, (segment, revision)| {
            let name = revised_segment_name(segment, revision);
            Ok((self.disk.path_of(&name), entry.offset.get()))
        })
    }

    /// Where the event of a sequence came from, by the index alone.
    ///
    /// # Errors
    ///
    /// As [`Journal::event`].
    pub fn source(&self, sequence: u64) -> Result<Option<Source>, JournalError> {
        self.with_entry(sequence, |entry, _, place| {
            let what = "the index names a source that this release does not know";
            Source::from_code(entry.source)
                .ok_or_else(|| damaged(&*self.disk, place, entry.offset.get(), what))
        })
    }

    /// What the index says of the record that holds a sequence.
    ///
    /// # Errors
    ///
    /// As [`Journal::event`].
    pub fn span(&self, sequence: u64) -> Result<Option<Span>, JournalError> {
        self.with_entry(sequence, |entry, _, _| Ok(Span::of(entry)))
    }

    fn with_entry<T>(
        &self,
        sequence: u64,
        then: impl FnOnce(&IndexEntry, &dyn DiskFile, (u64, u32)) -> Result<T, JournalError>,
    ) -> Result<Option<T>, JournalError> {
        let behind = self.sealed.partition_point(|it| it.info.first_sequence <= sequence);
        let sealed = behind.checked_sub(1).map(|at| &self.sealed[at]);
        if let Some(segment) = sealed.filter(|it| sequence <= it.info.last_sequence) {
            let opened = self.opened(segment)?;
            let entry = find(opened.index.entries(), sequence);
            let place = (segment.info.segment, segment.info.revision);
            return entry.map(|entry| then(entry, &*opened.file, place)).transpose();
        }
        let entry = find(&self.active.index.entries, sequence);
        let place = (self.active.segment, 0);
        entry.map(|entry| then(entry, &*self.active.file, place)).transpose()
    }

    /// Goes through the records past the sequence `after` whose index entries `wanted` accepts,
    /// in order of sequence, until `visit` gives `false`. Other records are not read.
    ///
    /// # Errors
    ///
    /// When a record is damaged or can't be read, and what `visit` gives.
    pub fn scan<E: From<JournalError>>(
        &self,
        after: u64,
        mut wanted: impl FnMut(&Span) -> bool,
        mut visit: impl FnMut(&Record) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut scan_segment = |entries: &[IndexEntry], cursor: &mut Cursor<'_>| {
            let known = entries.partition_point(|it| Span::of(it).last_sequence <= after);
            for entry in &entries[known..] {
                if wanted(&Span::of(entry)) && !visit(&cursor.record(entry)?)? {
                    return Ok(false);
                }
            }
            Ok::<bool, E>(true)
        };
        for segment in self.sealed.iter().filter(|it| it.info.last_sequence > after) {
            let opened = self.opened(segment)?;
            let place = (segment.info.segment, segment.info.revision);
            let mut cursor = self.cursor(&*opened.file, place, SCAN_WINDOW_BYTES);
            if !scan_segment(opened.index.entries(), &mut cursor)? {
                return Ok(());
            }
        }
        let place = (self.active.segment, 0);
        let mut cursor = self.cursor(&*self.active.file, place, SCAN_WINDOW_BYTES);
        scan_segment(&self.active.index.entries, &mut cursor)?;
        Ok(())
    }

    /// The events that carry a message id, oldest first. Those of one record are represented by
    /// its first row's sequence.
    ///
    /// # Errors
    ///
    /// When a candidate can't be read.
    pub fn records_of_message(&self, message_id: &str) -> Result<Vec<Arc<Record>>, JournalError> {
        let hash = message_hash(&self.identity.store, message_id);
        let mut sequences = Vec::new();
        for segment in &self.sealed {
            match &self.opened(segment)?.index {
                SegmentIndex::Stored(index) => {
                    let messages = index.messages();
                    let first = messages.partition_point(|entry| entry.hash.get() < hash);
                    let equal = messages[first..].iter().take_while(|it| it.hash.get() == hash);
                    sequences.extend(equal.map(|entry| entry.sequence.get()));
                }
                SegmentIndex::Rebuilt(index) => sequences.extend(index.of_message(hash)),
            }
        }
        sequences.extend(self.active.index.of_message(hash));
        let mut records = Vec::new();
        for sequence in sequences {
            records
                .extend(self.record(sequence)?.filter(|it| it.details().message_id == message_id));
        }
        Ok(records)
    }

    fn opened<'s>(&self, segment: &'s SealedSegment) -> Result<&'s OpenedSegment, JournalError> {
        if let Some(opened) = segment.opened.get() {
            return Ok(opened);
        }
        let info = &segment.info;
        let file = match self.disk.open(&info.file()) {
            Err(error) if error.is_missing() => return self.opened_revision(segment, error),
            file => file?,
        };
        let stored = self
            .disk
            .map(&info.index_file())
            .ok()
            .and_then(|bytes| SealedIndex::open(bytes, self.identity.store, info.segment));
        let index = match stored {
            Some(index) => SegmentIndex::Stored(index),
            None => {
                let read = read_sealed(&*self.disk, self.identity, info, |_| Ok(()))?;
                SegmentIndex::Rebuilt(read.index)
            }
        };
        if file.len()? != info.bytes {
            let what = "the file's length is not the one that the manifest lists";
            return Err(damaged_sealed(&*self.disk, info, file.len()?, what));
        }
        Ok(segment.opened.get_or_init(|| OpenedSegment { file, index }))
    }

    /// Opens the revision that has taken the place of a segment since the manifest was read. It
    /// tells the same of everybody but those who were erased, and of them it tells that.
    fn opened_revision<'s>(
        &self,
        segment: &'s SealedSegment,
        missing: DiskError,
    ) -> Result<&'s OpenedSegment, JournalError> {
        // The next one is complete: the one before it was removed after that.
        let revision = segment.info.revision + 1;
        let number = segment.info.segment;
        let Ok(file) = self.disk.open(&revised_segment_name(number, revision)) else {
            return Err(missing.into());
        };
        let stored = self.disk.map(&revised_index_name(number, revision)).ok();
        let index = stored.and_then(|it| SealedIndex::open(it, self.identity.store, number));
        let index = SegmentIndex::Stored(index.ok_or(missing)?);
        Ok(segment.opened.get_or_init(|| OpenedSegment { file, index }))
    }

    pub(super) fn cursor<'a>(
        &'a self,
        file: &'a dyn DiskFile,
        place: (u64, u32),
        window_bytes: usize,
    ) -> Cursor<'a> {
        Cursor::new(&*self.disk, file, Seal::new(self.identity.store), place, window_bytes)
    }

    fn damaged(&self, segment: u64, offset: u64, what: &'static str) -> JournalError {
        damaged(&*self.disk, (segment, 0), offset, what)
    }
}

/// Damage in a segment of a revision.
fn damaged(
    disk: &dyn Disk,
    (segment, revision): (u64, u32),
    offset: u64,
    what: &'static str,
) -> JournalError {
    let file = disk.path_of(&revised_segment_name(segment, revision));
    JournalError::Damaged { file, offset, what }
}

fn damaged_sealed(
    disk: &dyn Disk,
    info: &SegmentInfo,
    offset: u64,
    what: &'static str,
) -> JournalError {
    damaged(disk, (info.segment, info.revision), offset, what)
}

/// Reads every byte of a sealed segment, hands its records to `visit`, and compares the file and
/// its index with what the manifest lists.
///
/// # Errors
///
/// At the first damage.
pub fn verify_sealed(
    disk: &dyn Disk,
    identity: JournalIdentity,
    info: &SegmentInfo,
    visit: impl FnMut(Record) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let read = read_sealed(disk, identity, info, visit)?;
    let last = read.walked.next_sequence - 1;
    if hex(xxh3_64(&read.bytes)) != info.xxh3 || read.bytes.len() as u64 != info.bytes {
        let what = "the file is not the one that the manifest lists";
        return Err(damaged_sealed(disk, info, 0, what));
    }
    if read.walked.end != End::Sealed || last != info.last_sequence {
        let what = "the segment does not end where the manifest says";
        return Err(damaged_sealed(disk, info, read.walked.offset, what));
    }
    let index = disk.map(&info.index_file())?;
    if index.as_ref() != read.index.encode(identity.store, info.segment) {
        let what = "the index does not match its segment";
        let file = disk.path_of(&info.index_file());
        return Err(JournalError::Damaged { file, offset: 0, what });
    }
    Ok(())
}

/// A sealed segment, read whole.
pub(super) struct ReadSegment {
    pub(super) walked: Walked,
    pub(super) generation: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) index: GrowingIndex,
}

pub(super) fn read_sealed(
    disk: &dyn Disk,
    identity: JournalIdentity,
    info: &SegmentInfo,
    visit: impl FnMut(Record) -> Result<(), JournalError>,
) -> Result<ReadSegment, JournalError> {
    let (segment, revision) = (info.segment, info.revision);
    let place = Identity { store: identity.store, segment, revision };
    let name = info.file();
    let header = read_header(disk, &*disk.open(&name)?, place)?;
    let bytes = read_all(disk, &name, SEGMENT_BYTES_LIMIT.max(info.bytes))?;
    let generation = header.generation.get();
    let stretch = Stretch {
        seal: Seal::new(identity.store),
        segment,
        revision,
        generation,
        base: SEGMENT_HEADER_BYTES as u64,
        bytes: bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default(),
    };
    let mut index = GrowingIndex::default();
    let first = info.first_sequence;
    let walked = walk(disk, &stretch, first, &mut index, &identity.store, visit)?;
    match walked.end {
        End::Torn(what) => Err(damaged_sealed(disk, info, walked.offset, what)),
        _ => Ok(ReadSegment { walked, generation, bytes, index }),
    }
}

/// What an index says of a record: enough to leave out those that can't match.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Sequence of the first row.
    pub first_sequence: u64,
    /// Sequence of the last row.
    pub last_sequence: u64,
    /// When the rows were recorded.
    pub received_at: Timestamp,
    /// The earliest moment at which a person of these rows acted.
    pub occurred_min: Timestamp,
    /// The latest.
    pub occurred_max: Timestamp,
}

impl Span {
    fn of(entry: &IndexEntry) -> Span {
        let first = entry.first_sequence.get();
        Span {
            first_sequence: first,
            last_sequence: first + u64::from(entry.rows.get()) - 1,
            received_at: Timestamp::from_millis(entry.received_at.get()),
            occurred_min: Timestamp::from_millis(entry.occurred_min.get()),
            occurred_max: Timestamp::from_millis(entry.occurred_max.get()),
        }
    }
}

impl GrowingIndex {
    fn of_message(&self, hash: u64) -> impl Iterator<Item = u64> + '_ {
        self.messages.range((hash, 0)..=(hash, u64::MAX)).map(|&(_, sequence)| sequence)
    }
}
