//! What stands at this place of a segment, and may it be cut off?
//!
//! A crash leaves half-written bytes at the end of the newest segment: they were never
//! acknowledged and are cut off. Damage hits bytes that were acknowledged: they are never cut,
//! the store is refused. Telling the two apart is a table, carried out by [`observe`]:
//!
//! | # | what stands there | it is |
//! |---|---|---|
//! | 1 | nothing | the end |
//! | 2 | an intact header of this segment and its intact payload | a record |
//! | 3 | fewer bytes than a header | torn |
//! | 4 | an intact header, its payload runs past the end of the file | torn |
//! | 5 | an intact header, a wrong payload with a zeroed sector | torn |
//! | 6 | an intact header, a wrong payload otherwise | damage |
//! | 7 | an intact header that contradicts its place (sequence, generation, kind, lengths) | damage |
//! | 8 | a broken header that is intact for another segment: a stale block of a deleted file | torn |
//! | 9 | a broken header in a zeroed sector, or zeros to the end | torn |
//! | 10 | a broken header otherwise | damage |
//! | 11 | torn by the above, but a later record of this segment was written when these bytes were already known to be durable | damage |
//!
//! A zeroed sector is told by [`ZERO_RUN_BYTES`] or more zeros that fill an aligned sector or
//! its part inside the record. Records never hold such a run themselves: see `varint`, and the
//! refusal of NUL in texts.

use zerocopy::FromBytes;

use super::format::{
    KIND_EVENTS, KIND_SEAL, RECORD_HEADER_BYTES, RECORD_MAGIC, RECORD_PAYLOAD_BYTES_MAX,
    RECORD_ROWS_MAX, RecordHeader, SECTOR_BYTES, Seal,
};

/// Zeros in a row that no record holds by itself.
const ZERO_RUN_BYTES: usize = 16;

/// The bytes of a segment from `base` to its end, and which segment it is.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) seal: Seal,
    pub(super) segment: u64,
    pub(super) revision: u32,
    pub(super) generation: u64,
    /// Where in the file `bytes` begins.
    pub(super) base: u64,
    pub(super) bytes: &'a [u8],
}

/// What stands at a place of a segment.
#[derive(Clone, Copy)]
pub(super) enum Observation<'a> {
    /// Nothing: the stretch ends here.
    End,
    /// An intact record of events, with its payload.
    Events(RecordHeader, &'a [u8]),
    /// The intact last record of a segment that has a successor.
    Sealed(RecordHeader),
    /// Bytes that were never acknowledged, and how that is known.
    Torn(&'static str),
    /// Bytes that may have been acknowledged and are not what was written.
    Damage(&'static str),
}

/// Looks at the place `at` (an index into the stretch), where the record that begins with
/// `sequence` is expected.
pub(super) fn observe<'a>(stretch: &Stretch<'a>, at: usize, sequence: u64) -> Observation<'a> {
    match observe_here(stretch, at, sequence) {
        Observation::Torn(_) if stretch.is_followed_by_later(at, sequence) => {
            Observation::Damage("unreadable, but later records were written after it was durable")
        }
        observation => observation,
    }
}

/// Rows 1 to 10 of the table.
fn observe_here<'a>(stretch: &Stretch<'a>, at: usize, sequence: u64) -> Observation<'a> {
    let rest = &stretch.bytes[at..];
    if rest.is_empty() {
        return Observation::End;
    }
    let Ok((header, behind)) = RecordHeader::read_from_prefix(rest) else {
        return Observation::Torn("the file ends within a record's header");
    };
    if !stretch.is_intact(&header) {
        return observe_broken_header(stretch, at, &header);
    }
    if let Some(contradiction) = contradiction(stretch, &header, sequence) {
        return Observation::Damage(contradiction);
    }
    let payload_bytes = header.payload_bytes.get() as usize;
    let Some(payload) = behind.get(..payload_bytes) else {
        return Observation::Torn("the file ends within a record's payload");
    };
    if stretch.seal.payload_checksum(&header, payload) != header.payload_checksum.get() {
        return if stretch.has_zeroed_sector(at, at + RECORD_HEADER_BYTES + payload_bytes) {
            Observation::Torn("part of a record's payload never reached the disk")
        } else {
            Observation::Damage("a record's payload does not match its checksum")
        };
    }
    match header.kind {
        KIND_SEAL => Observation::Sealed(header),
        _ => Observation::Events(header, payload),
    }
}

fn observe_broken_header<'a>(
    stretch: &Stretch<'a>,
    at: usize,
    header: &RecordHeader,
) -> Observation<'a> {
    let rest = &stretch.bytes[at..];
    if header.segment.get() != stretch.segment
        && header.magic == RECORD_MAGIC
        && stretch.seal.header_checksum(header) == header.header_checksum.get()
    {
        Observation::Torn("a stale block of another segment")
    } else if rest.iter().all(|&byte| byte == 0) {
        Observation::Torn("zeros to the end of the file")
    } else if stretch.has_zeroed_sector(at, at + RECORD_HEADER_BYTES) {
        Observation::Torn("part of a record's header never reached the disk")
    } else {
        Observation::Damage("a record's header does not match its checksum")
    }
}

/// What an intact header says that can't be so at this place.
fn contradiction(
    stretch: &Stretch<'_>,
    header: &RecordHeader,
    sequence: u64,
) -> Option<&'static str> {
    let rows = header.rows.get() as usize;
    let lengths_fit = match header.kind {
        KIND_EVENTS => {
            (1..=RECORD_ROWS_MAX).contains(&rows)
                && header.payload_bytes.get() as usize <= RECORD_PAYLOAD_BYTES_MAX
        }
        KIND_SEAL => rows == 0 && header.payload_bytes.get() == 0,
        _ => return Some("a record is of a kind that this release does not know"),
    };
    if !lengths_fit {
        Some("a record's lengths are out of bounds")
    } else if header.generation.get() != stretch.generation {
        Some("a record belongs to another generation")
    } else if header.first_sequence.get() != sequence {
        Some("a record is out of sequence")
    } else {
        None
    }
}

impl Stretch<'_> {
    fn is_intact(&self, header: &RecordHeader) -> bool {
        header.magic == RECORD_MAGIC
            && header.segment.get() == self.segment
            && self.seal.header_checksum(header) == header.header_checksum.get()
    }

    /// Whether an aligned sector, or its part between `from` and `to`, is all zeros.
    fn has_zeroed_sector(&self, from: usize, to: usize) -> bool {
        let to = to.min(self.bytes.len());
        let mut begin = from;
        while begin < to {
            let in_sector = (self.base as usize + begin) % SECTOR_BYTES;
            let end = (begin + SECTOR_BYTES - in_sector).min(to);
            let part = &self.bytes[begin..end];
            if part.len() >= ZERO_RUN_BYTES && part.iter().all(|&byte| byte == 0) {
                return true;
            }
            begin = end;
        }
        false
    }

    /// Row 11: whether behind `at` stands an intact record of this segment that was written when
    /// the bytes at `at` were durable already.
    fn is_followed_by_later(&self, at: usize, sequence: u64) -> bool {
        let place = self.base + at as u64;
        memchr::memmem::find_iter(&self.bytes[at..], &RECORD_MAGIC).any(|found| {
            RecordHeader::read_from_prefix(&self.bytes[at + found..]).is_ok_and(|(header, _)| {
                self.is_intact(&header)
                    && header.first_sequence.get() >= sequence
                    && header.durable_to.get() > place
            })
        })
    }
}
