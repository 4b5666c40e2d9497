//! How does something leave a journal whose segments are never written again?
//!
//! A sealed segment is written anew under another name, without what somebody wanted forgotten.
//! The events keep their sequences, and everybody else's keep their content, so that whoever reads
//! either file is told the same of everybody else. Leaves to `store` who is forgotten, the swap of
//! the manifest and the removal of the old file.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::format::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, Seal};
use super::index::{GrowingIndex, entry, message_hash};
use super::reader::read_sealed;
use super::record::{Place, Record, Redaction};
use super::segment::End;
use super::{JournalError, JournalIdentity, SegmentInfo, hex};
use crate::disk::{Disk, DiskError};

/// Writes a sealed segment anew, with its index, without what `redaction` takes out. Both files are
/// synced; their names are not. `None` when nothing has to be taken out.
///
/// # Errors
///
/// When the segment is damaged or the disk refuses. A file that was begun may be left over; nothing
/// names it.
pub fn revise(
    disk: &dyn Disk,
    identity: JournalIdentity,
    info: &SegmentInfo,
    redaction: &dyn Redaction,
) -> Result<Option<SegmentInfo>, JournalError> {
    let mut changed = HashMap::new();
    let read = read_sealed(disk, identity, info, |record| {
        if record.holds(redaction) {
            changed.insert(record.first_sequence(), record.redacted(redaction));
        }
        Ok(())
    })?;
    // What is written anew gets checksums of its own: damage must not be sealed by them.
    if read.bytes.len() as u64 != info.bytes
        || hex(xxh3_64(&read.bytes)) != info.xxh3
        || read.walked.end != End::Sealed
    {
        let file = disk.path_of(&info.file());
        let what = "the file is not the one that the manifest lists";
        return Err(JournalError::Damaged { file, offset: 0, what });
    }
    if changed.is_empty() {
        return Ok(None);
    }
    let copy = Copy {
        seal: Seal::new(identity.store),
        segment: info.segment,
        generation: read.generation,
        old: &read.bytes,
        changed: &changed,
    };
    let (bytes, index) = copy.write(&read.index, &identity.store);
    let revised = SegmentInfo {
        bytes: bytes.len() as u64,
        xxh3: hex(xxh3_64(&bytes)),
        revision: info.revision + 1,
        ..info.clone()
    };
    put(disk, &revised.file(), &bytes)?;
    put(disk, &revised.index_file(), &index.encode(identity.store, info.segment))?;
    Ok(Some(revised))
}

fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    // An interrupted run may have left it; nothing names it.
    disk.remove(name)?;
    let file = disk.create(name)?;
    file.write_at(bytes, 0)?;
    file.sync()
}

/// A segment on its way from one revision to the next.
struct Copy<'a> {
    seal: Seal,
    segment: u64,
    generation: u64,
    old: &'a [u8],
    /// The records that change, by their first sequence.
    changed: &'a HashMap<u64, Record>,
}

impl Copy<'_> {
    /// The bytes of the next revision, and their index.
    fn write(&self, old_index: &GrowingIndex, store: &[u8; 16]) -> (Vec<u8>, GrowingIndex) {
        let mut out = self.old[..SEGMENT_HEADER_BYTES].to_vec();
        let mut index = GrowingIndex::default();
        for old in &old_index.entries {
            let at = out.len();
            let first_sequence = old.first_sequence.get();
            match self.changed.get(&first_sequence) {
                Some(record) => record.encode(&mut out, self.seal, self.place(at, first_sequence)),
                None => self.copy(old.offset.get() as usize, &mut out),
            }
            let (header, _) = RecordHeader::read_from_prefix(&out[at..]).expect("just written");
            index.entries.push(entry(&header, at as u64));
        }
        // Message ids by the records that carry them now.
        index.messages = old_index
            .messages
            .iter()
            .filter(|(_, sequence)| !self.changed.contains_key(sequence))
            .copied()
            .collect();
        for (sequence, record) in self.changed {
            let message_id = &record.details().message_id;
            if !message_id.is_empty() {
                index.messages.insert((message_hash(store, message_id), *sequence));
            }
        }
        self.copy(self.old.len() - RECORD_HEADER_BYTES, &mut out);
        (out, index)
    }

    fn place(&self, at: usize, first_sequence: u64) -> Place {
        Place {
            segment: self.segment,
            generation: self.generation,
            first_sequence,
            durable_to: at as u64,
        }
    }

    /// Copies the record or seal that begins at `from`. Only what it says of its place changes.
    fn copy(&self, from: usize, out: &mut Vec<u8>) {
        let (mut header, behind) =
            RecordHeader::read_from_prefix(&self.old[from..]).expect("the index leads to records");
        header.durable_to = U64::new(out.len() as u64);
        header.header_checksum = U64::new(self.seal.header_checksum(&header));
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&behind[..header.payload_bytes.get() as usize]);
    }
}
