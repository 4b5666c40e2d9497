//! The numbers of the journal's layout: what stands where in a segment and its index.
//!
//! Everything is little-endian and of fixed width; `docs/format.md` tells the same in prose.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"OPTOUTJ\n";
/// The first bytes of a segment's index.
pub const INDEX_MAGIC: [u8; 8] = *b"OPTOUTI\n";
/// The first bytes of a record.
pub const RECORD_MAGIC: [u8; 4] = *b"REC\n";
/// The version of segments, records and indexes that this release writes, and the only one that
/// it reads: version 1 was never released.
pub const VERSION: u16 = 2;

/// Rows in one record at the most: looking at one row means reading its whole record.
pub const RECORD_ROWS_MAX: usize = 65_536;
/// Bytes of one payload at the most. Bounds what a damaged length can make a reader allocate.
pub const RECORD_PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// A segment that has reached this length is sealed and followed by a new one.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// What a disk keeps or loses in one piece.
pub const SECTOR_BYTES: usize = 512;

/// The name of a segment file as it was first written.
pub fn segment_name(segment: u64) -> String {
    revised_segment_name(segment, 0)
}

/// The name of the index beside a sealed segment.
pub fn index_name(segment: u64) -> String {
    revised_index_name(segment, 0)
}

/// The name of a segment file that took the place of another: revision 0 is the first.
pub fn revised_segment_name(segment: u64, revision: u32) -> String {
    revised_name(segment, revision, "seg")
}

/// The name of the index beside a revised segment.
pub fn revised_index_name(segment: u64, revision: u32) -> String {
    revised_name(segment, revision, "idx")
}

fn revised_name(segment: u64, revision: u32, extension: &str) -> String {
    match revision {
        0 => format!("journal-{segment:010}.{extension}"),
        _ => format!("journal-{segment:010}-r{revision:04}.{extension}"),
    }
}

/// What a segment file begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SegmentHeader {
    /// [`SEGMENT_MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U16,
    /// No bit is used yet.
    pub flags: U16,
    /// The version of the fold table in force when the segment was begun.
    pub fold_version: U32,
    /// The store that the segment belongs to.
    pub store: [u8; 16],
    /// Number of the segment, from 1, never reused within a store.
    pub segment: U64,
    /// The generation that was current when the segment was begun.
    pub generation: U64,
    /// Sequence of the first event that it can hold.
    pub first_sequence: U64,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub created_at: I64,
    /// xxh3-64 of the bytes before this field.
    pub checksum: U64,
}

/// Bytes of a [`SegmentHeader`].
pub const SEGMENT_HEADER_BYTES: usize = size_of::<SegmentHeader>();
const _: () = assert!(SEGMENT_HEADER_BYTES == 72);

/// What a record says about itself before its payload.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct RecordHeader {
    /// [`RECORD_MAGIC`].
    pub magic: [u8; 4],
    /// [`KIND_EVENTS`] or [`KIND_SEAL`].
    pub kind: u8,
    /// Code of the [`crate::event::Action`] of all rows.
    pub action: u8,
    /// Code of the [`crate::event::Source`] of all rows.
    pub source: u8,
    /// Code of the [`crate::event::Tier`] of all rows.
    pub tier: u8,
    /// The segment that the record belongs to.
    pub segment: U64,
    /// The generation of the segment's header.
    pub generation: U64,
    /// Sequence of the first row; the others follow without a gap.
    pub first_sequence: U64,
    /// How far the segment was known to be durable when this record was written: an offset in
    /// this file. Records of one unsynced group carry the same.
    pub durable_to: U64,
    /// Number of rows.
    pub rows: U32,
    /// Bytes of payload behind the header.
    pub payload_bytes: U32,
    /// When the rows were recorded.
    pub received_at: I64,
    /// The earliest moment at which a person of these rows acted.
    pub occurred_min: I64,
    /// The latest.
    pub occurred_max: I64,
    /// xxh3-64 of the payload, seeded with the record's identity.
    pub payload_checksum: U64,
    /// xxh3-64 of the bytes before this field, seeded with the store and the segment.
    pub header_checksum: U64,
}

/// Bytes of a [`RecordHeader`].
pub const RECORD_HEADER_BYTES: usize = size_of::<RecordHeader>();
const _: () = assert!(RECORD_HEADER_BYTES == 88);

/// A record of events.
pub const KIND_EVENTS: u8 = 1;
/// The last record of a segment that has a successor: no rows, no payload.
pub const KIND_SEAL: u8 = 2;

/// One record, as an index lists it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IndexEntry {
    /// Sequence of the first row.
    pub first_sequence: U64,
    /// Where the record's header begins in the segment.
    pub offset: U64,
    /// When the rows were recorded.
    pub received_at: I64,
    /// The earliest moment at which a person of these rows acted.
    pub occurred_min: I64,
    /// The latest.
    pub occurred_max: I64,
    /// Number of rows.
    pub rows: U32,
    /// Code of the action.
    pub action: u8,
    /// Code of the source.
    pub source: u8,
    /// Zero.
    pub reserved: U16,
}
const _: () = assert!(size_of::<IndexEntry>() == 48);

/// Where the event of a message id stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct MessageEntry {
    /// Hash of the message id; the list is sorted by it.
    pub hash: U64,
    /// Sequence of the first row of the record that carries the id.
    pub sequence: U64,
}

/// What an index file begins with; entries follow, then message ids.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IndexHeader {
    /// [`INDEX_MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved: [u8; 6],
    /// The store that the index belongs to.
    pub store: [u8; 16],
    /// The segment that it describes.
    pub segment: U64,
    /// Number of [`IndexEntry`]s.
    pub entries: U64,
    /// Number of [`MessageEntry`]s.
    pub messages: U64,
    /// xxh3-64 of the rest of the file behind this header, seeded with the checksum of the bytes
    /// before this field.
    pub checksum: U64,
}
const _: () = assert!(size_of::<IndexHeader>() == 64);

/// Makes checksums depend on where a record belongs, so that a valid record of another place
/// (a stale block of a deleted file, a swapped file) never passes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    store: [u8; 16],
}

impl Seal {
    /// The checksums of one store.
    pub fn new(store: [u8; 16]) -> Seal {
        Seal { store }
    }

    fn seed(self, segment: u64) -> u64 {
        let mut identity = [0; 24];
        identity[..16].copy_from_slice(&self.store);
        identity[16..].copy_from_slice(&segment.to_le_bytes());
        xxh3_64(&identity)
    }

    /// What the keys of tombstones are mixed with.
    pub fn mask(self) -> u64 {
        xxh3_64_with_seed(b"tombstone", xxh3_64(&self.store))
    }

    /// The header's checksum under the segment that it names itself.
    pub fn header_checksum(self, header: &RecordHeader) -> u64 {
        let covered = RECORD_HEADER_BYTES - size_of::<U64>();
        xxh3_64_with_seed(&header.as_bytes()[..covered], self.seed(header.segment.get()))
    }

    /// The payload's checksum, which also covers the identity in the header.
    pub fn payload_checksum(self, header: &RecordHeader, payload: &[u8]) -> u64 {
        let identity = self
            .seed(header.segment.get())
            .wrapping_add(header.generation.get().rotate_left(20))
            .wrapping_add(header.first_sequence.get().rotate_left(40));
        xxh3_64_with_seed(payload, identity)
    }
}

/// The checksum of a segment header.
pub fn segment_checksum(header: &SegmentHeader) -> u64 {
    xxh3_64(&header.as_bytes()[..SEGMENT_HEADER_BYTES - size_of::<U64>()])
}

/// The checksum of an index: its header's first bytes and all that follows the header.
pub fn index_checksum(header: &IndexHeader, rest: &[u8]) -> u64 {
    let covered = size_of::<IndexHeader>() - size_of::<U64>();
    xxh3_64_with_seed(rest, xxh3_64(&header.as_bytes()[..covered]))
}
