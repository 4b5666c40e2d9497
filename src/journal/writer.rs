//! The one writer of a journal.
//!
//! Appended records can be read at once, but are acknowledged only by [`JournalWriter::sync`].
//! After the first failed write or sync the writer is finished: kernels may have dropped the
//! pages and call them clean, so nothing that it wrote since can be trusted until the journal
//! is opened afresh.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I64, U32, U64};

use super::format::{
    KIND_SEAL, RECORD_HEADER_BYTES, RECORD_MAGIC, RECORD_ROWS_MAX, RecordHeader,
    SEGMENT_HEADER_BYTES, Seal, SegmentHeader, index_name, segment_name,
};
use super::index::{entry, message_hash};
use super::reader::{ActiveSegment, Mark, SEGMENT_BYTES_LIMIT, SealedSegment};
use super::record::{Place, Record, Row, Spelling, encode};
use super::segment::{Identity, header};
use super::{Journal, JournalError, JournalIdentity, SegmentInfo, hex};
use crate::disk::{Disk, DiskError, DiskFile, read_all};
use crate::event::Details;
use crate::time::Timestamp;

/// Texts in one record at the most, so that its payload stays below the format's limit.
const RECORD_TEXT_BYTES_MAX: usize = 8 << 20;

/// Appends to a journal. There is one at a time in all processes; the store's lock sees to it.
pub struct JournalWriter {
    journal: Journal,
    file: Box<dyn DiskFile>,
    /// Everything before this offset of the active segment is synced.
    durable_to: u64,
    buffer: Vec<u8>,
    finished: bool,
}

/// Says where it stands; the buffer is people's numbers.
impl fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalWriter")
            .field("segment", &self.journal.active.segment)
            .field("end", &self.journal.active.end)
            .field("durable_to", &self.durable_to)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

impl JournalWriter {
    /// Makes an empty segment. Its name is durable after the caller has synced the directory.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn create_segment(
        disk: &dyn Disk,
        identity: JournalIdentity,
        segment: u64,
        generation: u64,
        first_sequence: u64,
        now: Timestamp,
    ) -> Result<SegmentHeader, JournalError> {
        let place = Identity { store: identity.store, segment, revision: 0 };
        let header = header(place, generation, first_sequence, now);
        let file = disk.create(&segment_name(segment))?;
        file.write_at(header.as_bytes(), 0)?;
        file.sync()?;
        Ok(header)
    }

    /// Takes an open journal over for writing. A torn end, which was never acknowledged, is
    /// copied to a `quarantine-…` file and cut off; what stands before it is synced, since its
    /// writer may have died between writing and syncing.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn new(journal: Journal) -> Result<JournalWriter, JournalError> {
        let file = journal.disk.open_write(&segment_name(journal.active.segment))?;
        let (end, length) = (journal.active.end, file.len()?);
        if length > end {
            let mut torn = vec![0; (length - end) as usize];
            let read = file.read_at(&mut torn, end)?;
            quarantine(&*journal.disk, journal.active.segment, end, &torn[..read])?;
            file.truncate(end)?;
        }
        file.sync()?;
        Ok(JournalWriter { journal, file, durable_to: end, buffer: Vec::new(), finished: false })
    }

    /// The journal as it stands, with what has been appended.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether an earlier failure has ended this writer.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Appends rows that share their details, as many as one record holds and at least one; how
    /// many those were. Their sequences follow that of the newest event without a gap. Not
    /// durable before [`JournalWriter::sync`].
    ///
    /// # Errors
    ///
    /// When writing fails; the writer is then finished.
    pub fn append(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        rows: &[Row<'_>],
    ) -> Result<usize, JournalError> {
        let rows = &rows[..rows_that_fit(rows)];
        let active = &self.journal.active;
        let sequence = self.journal.next_sequence;
        let place = Place {
            segment: active.segment,
            generation: active.generation,
            first_sequence: sequence,
            durable_to: self.durable_to,
        };
        let seal = Seal::new(self.journal.identity.store);
        self.buffer.clear();
        let header = encode(&mut self.buffer, seal, place, details, received_at, rows);
        let offset = active.end;
        self.write(offset)?;
        let store = self.journal.identity.store;
        let index = Arc::make_mut(&mut self.journal.active.index);
        index.entries.push(entry(&header, offset));
        if !details.message_id.is_empty() {
            index.messages.insert((message_hash(&store, &details.message_id), sequence));
        }
        self.journal.active.end = offset + self.buffer.len() as u64;
        self.journal.next_sequence += rows.len() as u64;
        Ok(rows.len())
    }

    /// The record that was appended last, out of the bytes that were written.
    ///
    /// # Errors
    ///
    /// When they are no record: they were written as something that nobody could read.
    pub fn newest(&mut self) -> Result<Record, JournalError> {
        let active = &self.journal.active;
        let entry = active.index.entries.last().expect("it is called after an append");
        let mut cursor = self.journal.cursor(&*active.file, (active.segment, 0), 0);
        cursor.hold(std::mem::take(&mut self.buffer), entry.offset.get());
        let record = cursor.record(entry);
        self.buffer = cursor.into_held();
        record
    }

    fn write(&mut self, offset: u64) -> Result<(), JournalError> {
        let result = self.file.write_at(&self.buffer, offset);
        result.map_err(|error| self.finish(error))
    }

    /// Ends the writer because its owner can't vouch any more for what was appended.
    pub fn give_up(&mut self) {
        if !self.finished {
            self.finished = true;
            let _ = self.file.truncate(self.durable_to);
        }
    }

    /// Ends the writer. What it could not sync is taken back where the disk lets us: an
    /// unacknowledged half record costs the next opening only a look.
    fn finish(&mut self, error: DiskError) -> JournalError {
        self.give_up();
        JournalError::Disk(error)
    }

    /// Makes everything appended durable. Acknowledge after this returned, not before.
    ///
    /// # Errors
    ///
    /// When syncing fails, which finishes the writer, or when it is finished already: what was
    /// appended since the last success may then have been cut off.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        if self.finished {
            return Err(JournalError::Finished);
        }
        if self.durable_to < self.journal.active.end {
            self.file.sync().map_err(|error| self.finish(error))?;
            self.durable_to = self.journal.active.end;
        }
        Ok(())
    }

    /// When the newest event of the active segment was recorded.
    pub fn last_received_at(&self) -> Option<Timestamp> {
        let entry = self.journal.active.index.entries.last()?;
        Some(Timestamp::from_millis(entry.received_at.get()))
    }

    /// Bytes of records in the active segment.
    pub fn active_bytes(&self) -> u64 {
        self.journal.active.end - SEGMENT_HEADER_BYTES as u64
    }

    /// Number of the active segment.
    pub fn active_segment(&self) -> u64 {
        self.journal.active.segment
    }

    /// The sealed segments, oldest first.
    pub fn sealed(&self) -> impl Iterator<Item = &SegmentInfo> {
        self.journal.sealed.iter().map(|segment| &segment.info)
    }

    /// Goes over to segments that [`revise`](super::revise) has written. The caller then publishes
    /// them in the manifest.
    pub fn adopt(&mut self, revised: &[SegmentInfo]) {
        self.journal.adopt(revised);
    }

    /// Whether the active segment has its seal already: its writer died before the manifest
    /// named a successor, so [`JournalWriter::rotate`] has to be carried to its end.
    pub fn is_rotation_pending(&self) -> bool {
        self.journal.active.sealed
    }

    /// Seals the active segment, writes its index and makes its successor. The caller then
    /// publishes both in the manifest; until that is durable, readers stay with the old one.
    ///
    /// # Errors
    ///
    /// When the disk refuses; the writer is then finished.
    pub fn rotate(&mut self, generation: u64, now: Timestamp) -> Result<(), JournalError> {
        self.sync()?;
        let result = self.try_rotate(generation, now);
        if result.is_err() {
            self.finished = true;
        }
        result
    }

    fn try_rotate(&mut self, generation: u64, now: Timestamp) -> Result<(), JournalError> {
        if !self.journal.active.sealed {
            self.write_seal()?;
        }
        let disk = self.journal.disk.clone();
        let identity = self.journal.identity;
        let segment = self.journal.active.segment;
        let info = self.describe_active()?;
        let index = self.journal.active.index.encode(identity.store, segment);
        // An interrupted rotation may have left these; nothing names them yet.
        disk.remove(&index_name(segment))?;
        let file = disk.create(&index_name(segment))?;
        file.write_at(&index, 0)?;
        file.sync()?;
        disk.remove(&segment_name(segment + 1))?;
        let next = self.journal.next_sequence;
        let header = Self::create_segment(&*disk, identity, segment + 1, generation, next, now)?;
        disk.sync_directory()?;
        let name = segment_name(segment + 1);
        self.file = disk.open_write(&name)?;
        self.journal.active = ActiveSegment {
            segment: segment + 1,
            generation,
            file: Arc::from(disk.open(&name)?),
            index: Arc::default(),
            end: SEGMENT_HEADER_BYTES as u64,
            sealed: false,
            mark: Mark::of_segment(&header),
        };
        self.journal
            .sealed
            .push(Arc::new(SealedSegment { info, opened: std::sync::OnceLock::new() }));
        self.durable_to = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    fn write_seal(&mut self) -> Result<(), JournalError> {
        let active = &self.journal.active;
        let mut header = RecordHeader {
            magic: RECORD_MAGIC,
            kind: KIND_SEAL,
            action: 0,
            source: 0,
            tier: 0,
            segment: U64::new(active.segment),
            generation: U64::new(active.generation),
            first_sequence: U64::new(self.journal.next_sequence),
            durable_to: U64::new(self.durable_to),
            rows: U32::new(0),
            payload_bytes: U32::new(0),
            received_at: I64::new(0),
            occurred_min: I64::new(0),
            occurred_max: I64::new(0),
            payload_checksum: U64::new(0),
            header_checksum: U64::new(0),
        };
        let seal = Seal::new(self.journal.identity.store);
        header.payload_checksum = U64::new(seal.payload_checksum(&header, &[]));
        header.header_checksum = U64::new(seal.header_checksum(&header));
        self.buffer.clear();
        self.buffer.extend_from_slice(header.as_bytes());
        self.write(self.journal.active.end)?;
        self.file.sync().map_err(|error| self.finish(error))?;
        self.journal.active.end += RECORD_HEADER_BYTES as u64;
        self.durable_to = self.journal.active.end;
        self.journal.active.sealed = true;
        Ok(())
    }

    fn describe_active(&self) -> Result<SegmentInfo, JournalError> {
        let active = &self.journal.active;
        let name = segment_name(active.segment);
        let bytes = read_all(&*self.journal.disk, &name, SEGMENT_BYTES_LIMIT)?;
        let last_sequence = self.journal.next_sequence - 1;
        let first_sequence = active
            .index
            .entries
            .first()
            .map_or(self.journal.next_sequence, |entry| entry.first_sequence.get());
        Ok(SegmentInfo {
            segment: active.segment,
            first_sequence,
            last_sequence,
            bytes: bytes.len() as u64,
            xxh3: hex(xxh3_64(&bytes)),
            revision: 0,
        })
    }
}

/// How many of the rows, at least one, go into the next record.
fn rows_that_fit(rows: &[Row<'_>]) -> usize {
    let mut texts = 0;
    for (row, it) in rows.iter().take(RECORD_ROWS_MAX).enumerate() {
        if let Spelling::Text(text) = it.spelling {
            texts += text.len();
        }
        if texts > RECORD_TEXT_BYTES_MAX && row > 0 {
            return row;
        }
    }
    rows.len().min(RECORD_ROWS_MAX)
}

/// Keeps what recovery cuts off, for people to look at.
fn quarantine(disk: &dyn Disk, segment: u64, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
    let taken = disk.list()?;
    let stem = format!("quarantine-{segment:010}-{offset}");
    let name = (0u32..)
        .map(|copy| format!("{stem}-{copy}.bin"))
        .find(|name| !taken.contains(name))
        .expect("fewer files than there are numbers");
    let file = disk.create(&name)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.sync_directory()
}
