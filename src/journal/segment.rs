//! One segment file: its header, its records, and the way through all of them.

use zerocopy::FromBytes;
use zerocopy::little_endian::{I64, U16, U32, U64};

use super::JournalError;
use super::format::{
    IndexEntry, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, Seal,
    SegmentHeader, VERSION, revised_segment_name, segment_checksum,
};
use super::index::{GrowingIndex, entry, message_hash};
use super::record::Record;
use super::recover::{Observation, Stretch, observe};
use crate::disk::{Disk, DiskFile};
use crate::number::Folding;
use crate::time::Timestamp;

/// Which store and segment a file must belong to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) store: [u8; 16],
    pub(super) segment: u64,
    pub(super) revision: u32,
}

/// The bytes of a new segment's header.
pub(super) fn header(
    identity: Identity,
    generation: u64,
    first_sequence: u64,
    created_at: Timestamp,
) -> SegmentHeader {
    let mut header = SegmentHeader {
        magic: SEGMENT_MAGIC,
        version: U16::new(VERSION),
        flags: U16::new(0),
        fold_version: U32::new(Folding::VERSION),
        store: identity.store,
        segment: U64::new(identity.segment),
        generation: U64::new(generation),
        first_sequence: U64::new(first_sequence),
        created_at: I64::new(created_at.as_millis()),
        checksum: U64::new(0),
    };
    header.checksum = U64::new(segment_checksum(&header));
    header
}

/// Reads a segment's header and checks that it belongs here.
pub(super) fn read_header(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    identity: Identity,
) -> Result<SegmentHeader, JournalError> {
    let name = revised_segment_name(identity.segment, identity.revision);
    let damaged = |what| JournalError::Damaged { file: disk.path_of(&name), offset: 0, what };
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    if file.read_at(&mut bytes, 0)? < bytes.len() {
        return Err(damaged("the file ends within its header"));
    }
    let header = SegmentHeader::read_from_bytes(&bytes).expect("the array has its size");
    if header.magic != SEGMENT_MAGIC {
        return Err(damaged("this is not a journal segment"));
    }
    if header.version.get() > VERSION {
        return Err(JournalError::Newer {
            file: disk.path_of(&name),
            got: header.version.get(),
            known: VERSION,
        });
    }
    if header.version.get() < VERSION {
        return Err(damaged("its version was never released"));
    }
    if segment_checksum(&header) != header.checksum.get() {
        return Err(damaged("the segment's header does not match its checksum"));
    }
    if header.store != identity.store || header.segment.get() != identity.segment {
        return Err(damaged("the segment belongs to another place or another store"));
    }
    Ok(header)
}

/// How a walk over a stretch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At the end of the bytes.
    Clean,
    /// At the seal.
    Sealed,
    /// Before bytes that were never acknowledged.
    Torn(&'static str),
}

/// Where a walk over a stretch came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    pub(super) end: End,
    /// Offset in the file behind the last intact record.
    pub(super) offset: u64,
    pub(super) next_sequence: u64,
    /// The header of the last intact record, with its offset.
    pub(super) last: Option<(u64, RecordHeader)>,
}

/// Goes through all records of a stretch, hands each to `visit` and adds it to `index`.
///
/// # Errors
///
/// At the first damage; what `visit` was given until then is right.
pub(super) fn walk(
    disk: &dyn Disk,
    stretch: &Stretch<'_>,
    mut sequence: u64,
    index: &mut GrowingIndex,
    store: &[u8; 16],
    mut visit: impl FnMut(Record) -> Result<(), JournalError>,
) -> Result<Walked, JournalError> {
    let mut at = 0;
    let mut last = None;
    loop {
        let offset = stretch.base + at as u64;
        let damaged = |what| JournalError::Damaged {
            file: disk.path_of(&revised_segment_name(stretch.segment, stretch.revision)),
            offset,
            what,
        };
        let end = match observe(stretch, at, sequence) {
            Observation::End => End::Clean,
            Observation::Torn(how) => End::Torn(how),
            Observation::Damage(what) => return Err(damaged(what)),
            Observation::Sealed(header) => {
                let behind = offset + RECORD_HEADER_BYTES as u64;
                if at + RECORD_HEADER_BYTES < stretch.bytes.len() {
                    return Err(damaged("bytes stand behind the segment's last record"));
                }
                return Ok(Walked {
                    end: End::Sealed,
                    offset: behind,
                    next_sequence: sequence,
                    last: Some((offset, header)),
                });
            }
            Observation::Events(header, payload) => {
                let record = Record::decode(stretch.seal, &header, payload)
                    .ok_or_else(|| damaged("a record's payload contradicts its header"))?;
                last = Some((offset, header));
                index.entries.push(entry(&header, offset));
                let message_id = &record.details().message_id;
                if !message_id.is_empty() {
                    index.messages.insert((message_hash(store, message_id), sequence));
                }
                sequence += record.rows() as u64;
                at += RECORD_HEADER_BYTES + payload.len();
                visit(record)?;
                continue;
            }
        };
        return Ok(Walked { end, offset, next_sequence: sequence, last });
    }
}

/// Reads records of one segment by their index entries, through a window of its bytes, so that
/// neighbours cost one read.
pub(super) struct Cursor<'a> {
    disk: &'a dyn Disk,
    file: &'a dyn DiskFile,
    seal: Seal,
    segment: u64,
    revision: u32,
    window_bytes: usize,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        file: &'a dyn DiskFile,
        seal: Seal,
        (segment, revision): (u64, u32),
        window_bytes: usize,
    ) -> Cursor<'a> {
        let window = Vec::new();
        Cursor { disk, file, seal, segment, revision, window_bytes, window, window_at: 0 }
    }

    /// Has the bytes of the file from an offset on at hand.
    pub(super) fn hold(&mut self, bytes: Vec<u8>, offset: u64) {
        (self.window, self.window_at) = (bytes, offset);
    }

    /// What it has at hand.
    pub(super) fn into_held(self) -> Vec<u8> {
        self.window
    }

    /// The record of an entry.
    pub(super) fn record(&mut self, entry: &IndexEntry) -> Result<Record, JournalError> {
        let offset = entry.offset.get();
        let file = self.disk.path_of(&revised_segment_name(self.segment, self.revision));
        let damaged = |what| JournalError::Damaged { file: file.clone(), offset, what };
        let seal = self.seal;
        let segment = self.segment;
        let bytes = self.bytes(offset, RECORD_HEADER_BYTES)?;
        let header = RecordHeader::read_from_bytes(bytes)
            .map_err(|_| damaged("the file ends within a record's header"))?;
        if header.segment.get() != segment
            || header.first_sequence != entry.first_sequence
            || seal.header_checksum(&header) != header.header_checksum.get()
        {
            return Err(damaged("a record's header does not match its checksum"));
        }
        let whole = RECORD_HEADER_BYTES + header.payload_bytes.get() as usize;
        let bytes = self.bytes(offset, whole)?;
        let payload = bytes
            .get(RECORD_HEADER_BYTES..whole)
            .ok_or_else(|| damaged("the file ends within a record's payload"))?;
        if seal.payload_checksum(&header, payload) != header.payload_checksum.get() {
            return Err(damaged("a record's payload does not match its checksum"));
        }
        Record::decode(seal, &header, payload)
            .ok_or_else(|| damaged("a record's payload contradicts its header"))
    }

    /// `length` bytes at `offset`, fewer at the end of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], JournalError> {
        let inside = offset
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip + length <= self.window.len());
        let skip = if let Some(skip) = inside {
            skip
        } else {
            // No more than the file has: a window of zeros for a short one takes longer than its
            // records.
            let left = self.file.len()?.saturating_sub(offset);
            let wanted = u64::min(self.window_bytes as u64, left) as usize;
            self.window.resize(length.max(wanted), 0);
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.window_at = offset;
            0
        };
        let end = (skip + length).min(self.window.len());
        Ok(&self.window[skip..end])
    }
}
