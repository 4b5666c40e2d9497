//! Where in a segment does an event stand? One entry a record, and the message ids.
//!
//! The index of a sealed segment is written once beside it. It holds nothing that the segment
//! doesn't: a missing or damaged index is made again by reading the segment.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::format::{
    INDEX_MAGIC, IndexEntry, IndexHeader, MessageEntry, RecordHeader, VERSION, index_checksum,
};
use crate::disk::Mapped;

/// The hash under which a message id is listed. Equal hashes are only candidates: the events
/// themselves decide.
pub(super) fn message_hash(store: &[u8; 16], message_id: &str) -> u64 {
    let seed = u64::from_le_bytes(store[..8].try_into().expect("eight of sixteen bytes"));
    xxh3_64_with_seed(message_id.as_bytes(), seed)
}

/// The entry of a record that begins at `offset`.
pub(super) fn entry(header: &RecordHeader, offset: u64) -> IndexEntry {
    IndexEntry {
        first_sequence: header.first_sequence,
        offset: U64::new(offset),
        received_at: header.received_at,
        occurred_min: header.occurred_min,
        occurred_max: header.occurred_max,
        rows: header.rows,
        action: header.action,
        source: header.source,
        reserved: U16::new(0),
    }
}

/// The last of the entries that begin at or before `sequence`, if it reaches that far.
pub(super) fn find(entries: &[IndexEntry], sequence: u64) -> Option<&IndexEntry> {
    let behind = entries.partition_point(|entry| entry.first_sequence.get() <= sequence);
    let entry = entries.get(behind.checked_sub(1)?)?;
    let past = sequence - entry.first_sequence.get();
    (past < u64::from(entry.rows.get())).then_some(entry)
}

/// The index of a segment that still grows.
#[derive(Clone, Debug, Default)]
pub(super) struct GrowingIndex {
    pub(super) entries: Vec<IndexEntry>,
    /// Hash and sequence.
    pub(super) messages: BTreeSet<(u64, u64)>,
}

impl GrowingIndex {
    /// The bytes of an index file.
    pub(super) fn encode(&self, store: [u8; 16], segment: u64) -> Vec<u8> {
        let mut rest = self.entries.as_bytes().to_vec();
        for &(hash, sequence) in &self.messages {
            let entry = MessageEntry { hash: U64::new(hash), sequence: U64::new(sequence) };
            rest.extend_from_slice(entry.as_bytes());
        }
        let mut header = IndexHeader {
            magic: INDEX_MAGIC,
            version: U16::new(VERSION),
            reserved: [0; 6],
            store,
            segment: U64::new(segment),
            entries: U64::new(self.entries.len() as u64),
            messages: U64::new(self.messages.len() as u64),
            checksum: U64::new(0),
        };
        header.checksum = U64::new(index_checksum(&header, &rest));
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&rest);
        bytes
    }
}

/// The index of a sealed segment, read in place.
#[derive(Debug)]
pub(super) struct SealedIndex {
    bytes: Mapped,
    entries: usize,
}

impl SealedIndex {
    /// Checks all of it; `None` when it is not the index of this segment.
    pub(super) fn open(bytes: Mapped, store: [u8; 16], segment: u64) -> Option<SealedIndex> {
        let (header, rest) = IndexHeader::read_from_prefix(bytes.as_ref()).ok()?;
        let entries = usize::try_from(header.entries.get()).ok()?;
        let messages = usize::try_from(header.messages.get()).ok()?;
        let length = entries
            .checked_mul(size_of::<IndexEntry>())?
            .checked_add(messages.checked_mul(size_of::<MessageEntry>())?)?;
        let known = header.magic == INDEX_MAGIC
            && header.version.get() == VERSION
            && header.store == store
            && header.segment.get() == segment
            && rest.len() == length
            && index_checksum(&header, rest) == header.checksum.get();
        known.then_some(SealedIndex { bytes, entries })
    }

    fn rest(&self) -> &[u8] {
        &self.bytes.as_ref()[size_of::<IndexHeader>()..]
    }

    /// The records, ascending.
    pub(super) fn entries(&self) -> &[IndexEntry] {
        let bytes = &self.rest()[..self.entries * size_of::<IndexEntry>()];
        <[IndexEntry]>::ref_from_bytes(bytes).expect("open checked the length")
    }

    /// The message ids, ascending by hash.
    pub(super) fn messages(&self) -> &[MessageEntry] {
        let bytes = &self.rest()[self.entries * size_of::<IndexEntry>()..];
        <[MessageEntry]>::ref_from_bytes(bytes).expect("open checked the length")
    }
}
