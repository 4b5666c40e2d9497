//! Which stretches of a list may hold a subscriber? The file beside a receipt.
//!
//! It is written while the scrub goes on, run by run, and read by position: a directory and a
//! bucket of each run for a subscriber, the table of stretches of a run for its rows.
//!
//! Promises: memory is that of one run, whatever the list holds; everything that is read is
//! compared with a checksum that leads back to the receipt. Leaves to others: what the rows say.
//! `docs/format.md` has its bytes.

use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::engine::WriteIfAny;
use super::trace::{BlockTrace, Piece};
use super::{ScrubError, Sink};

/// The first bytes of the file; the receipt's id follows.
pub(super) const MAGIC: [u8; 8] = *b"OPTOUTR\n";
const HEADER_BYTES: u64 = 24;

/// Entries at which a run is written: some 40 MB of memory.
pub(super) const RUN_ENTRIES: usize = 1 << 22;
/// Stretches that a run can have: their number has 16 bits.
const RUN_STRETCHES: usize = 1 << 16;
/// Entries of a bucket, about, and the most buckets of a run.
const BUCKET_ENTRIES: usize = 256;
const BUCKET_BITS_MAX: u32 = 14;

/// A checksum, in a receipt as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) u64);

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Checksum, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Checksum).map_err(serde::de::Error::custom)
    }
}

/// What a receipt says of its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexInfo {
    pub(super) bytes: u64,
    pub(super) runs: Vec<RunInfo>,
}

/// A part of the index, for a part of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunInfo {
    /// Where it begins in the index: its entries, the directory, the table of stretches.
    at: u64,
    entries: u32,
    bucket_bits: u32,
    stretches: u32,
    /// Where its rows begin in the list and in what was kept of it.
    pub(super) starts: Starts,
    directory_xxh3: Checksum,
    stretches_xxh3: Checksum,
}

/// Places in the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Starts {
    pub(super) input_byte: u64,
    pub(super) input_line: u64,
    pub(super) kept_byte: u64,
    pub(super) kept_line: u64,
}

/// A bucket as the directory has it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct BucketEntry {
    /// Entries of this bucket and all before it.
    end: U32,
    checksum: U64,
}

/// A stretch as the table has it.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StretchEntry {
    input_bytes: U32,
    input_lines: U32,
    kept_bytes: U32,
    kept_lines: U32,
    input_xxh3: U64,
    kept_xxh3: U64,
}

impl StretchEntry {
    fn of(input: Piece, kept: Piece) -> StretchEntry {
        StretchEntry {
            input_bytes: U32::new(input.bytes),
            input_lines: U32::new(input.lines),
            kept_bytes: U32::new(kept.bytes),
            kept_lines: U32::new(kept.lines),
            input_xxh3: U64::new(input.xxh3),
            kept_xxh3: U64::new(kept.xxh3),
        }
    }
}

/// Which bucket an entry is in, by the highest bits of its hash.
#[inline]
fn bucket_of(entry: u32, bits: u32) -> usize {
    entry.checked_shr(32 - bits).unwrap_or(0) as usize
}

impl RunInfo {
    /// What the run keeps of a hash. Two hashes of which it keeps the same are not told apart.
    pub(super) fn bits_of(&self, hash: u32) -> u32 {
        (bucket_of(hash, self.bucket_bits) as u32) << 16 | hash & 0xfffe
    }

    /// Where the directory begins.
    fn directory_at(&self) -> u64 {
        self.at + u64::from(self.entries) * size_of::<U32>() as u64
    }

    fn directory_bytes(&self) -> u64 {
        (1 << self.bucket_bits) * size_of::<BucketEntry>() as u64
    }

    fn stretches_bytes(&self) -> u64 {
        u64::from(self.stretches) * size_of::<StretchEntry>() as u64
    }
}

/// Writes an index while a scrub goes on.
pub(super) struct IndexWriter<'a> {
    sink: Option<Sink<'a>>,
    at: u64,
    /// The run that is being gathered: its entries in the order of the list, how many of them
    /// each stretch has, and the stretches.
    entries: Vec<u32>,
    counts: Vec<u32>,
    stretches: Vec<StretchEntry>,
    starts: Starts,
    /// Where the next stretch begins.
    next: Starts,
    runs: Vec<RunInfo>,
    digests: Digests,
    run_entries: usize,
}

/// What both files are, from their beginnings to the last stretch so far.
#[derive(Clone)]
struct Digests {
    input: Xxh3,
    kept: Xxh3,
}

/// What is known when all rows have been traced.
pub(super) struct Traced {
    pub(super) index: IndexInfo,
    pub(super) ends: Starts,
    pub(super) input_digest: u128,
    pub(super) kept_digest: u128,
}

impl<'a> IndexWriter<'a> {
    /// Begins an index. Both files begin with `prologue`, a piece of its own.
    pub(super) fn begin(
        sink: Sink<'a>,
        id: [u8; 16],
        prologue: Piece,
        run_entries: usize,
    ) -> Result<IndexWriter<'a>, ScrubError> {
        let starts = Starts {
            input_byte: prologue.bytes.into(),
            input_line: 1 + u64::from(prologue.lines),
            kept_byte: prologue.bytes.into(),
            kept_line: 1 + u64::from(prologue.lines),
        };
        let mut digest = Xxh3::new();
        take_in(&mut digest, prologue);
        let mut sink = Some(sink);
        sink.write(&[&MAGIC[..], &id].concat())?;
        Ok(IndexWriter {
            sink,
            at: HEADER_BYTES,
            entries: Vec::new(),
            counts: Vec::new(),
            stretches: Vec::new(),
            starts,
            next: starts,
            runs: Vec::new(),
            digests: Digests { input: digest.clone(), kept: digest },
            run_entries,
        })
    }

    /// Takes in the next block of the list.
    pub(super) fn add(&mut self, trace: &BlockTrace) -> Result<(), ScrubError> {
        let mut entries = &trace.entries[..];
        for stretch in &trace.stretches {
            let count = stretch.entries as usize;
            let is_full = self.entries.len() + count > self.run_entries;
            if is_full && !self.stretches.is_empty() || self.stretches.len() == RUN_STRETCHES {
                self.write_run()?;
            }
            let (own, rest) = entries.split_at(count);
            entries = rest;
            self.entries.extend_from_slice(own);
            self.counts.push(stretch.entries);
            self.stretches.push(StretchEntry::of(stretch.input, stretch.kept));
            take_in(&mut self.digests.input, stretch.input);
            take_in(&mut self.digests.kept, stretch.kept);
            self.next.input_byte += u64::from(stretch.input.bytes);
            self.next.input_line += u64::from(stretch.input.lines);
            self.next.kept_byte += u64::from(stretch.kept.bytes);
            self.next.kept_line += u64::from(stretch.kept.lines);
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<Traced, ScrubError> {
        if !self.stretches.is_empty() {
            self.write_run()?;
        }
        self.sink.flush()?;
        Ok(Traced {
            index: IndexInfo { bytes: self.at, runs: self.runs },
            ends: self.next,
            input_digest: self.digests.input.digest128(),
            kept_digest: self.digests.kept.digest128(),
        })
    }

    /// Sorts the entries into buckets. Within a bucket they stay in the order of the list.
    fn write_run(&mut self) -> Result<(), ScrubError> {
        let buckets = self.entries.len().div_ceil(BUCKET_ENTRIES).next_power_of_two();
        let bits = buckets.ilog2().min(BUCKET_BITS_MAX);
        let mut places = vec![0_u32; 1 << bits];
        for &entry in &self.entries {
            places[bucket_of(entry, bits)] += 1;
        }
        let mut before = 0;
        for place in &mut places {
            before += std::mem::replace(place, before);
        }
        let mut sorted = vec![U32::ZERO; self.entries.len()];
        let mut entries = self.entries.iter();
        for (stretch, &count) in self.counts.iter().enumerate() {
            for &entry in entries.by_ref().take(count as usize) {
                let place = &mut places[bucket_of(entry, bits)];
                sorted[*place as usize] = U32::new((stretch as u32) << 16 | entry & 0xffff);
                *place += 1;
            }
        }
        // Each place has moved on to the end of its bucket.
        let mut start = 0;
        let directory: Vec<BucketEntry> = places
            .iter()
            .map(|&end| {
                let bucket = &sorted[start as usize..end as usize];
                start = end;
                let checksum = U64::new(xxh3_64(bucket.as_bytes()));
                BucketEntry { end: U32::new(end), checksum }
            })
            .collect();
        self.write_sorted(bits, &sorted, &directory)
    }

    fn write_sorted(
        &mut self,
        bucket_bits: u32,
        sorted: &[U32],
        directory: &[BucketEntry],
    ) -> Result<(), ScrubError> {
        let parts = [sorted.as_bytes(), directory.as_bytes(), self.stretches.as_bytes()];
        self.runs.push(RunInfo {
            at: self.at,
            entries: sorted.len() as u32,
            bucket_bits,
            stretches: self.stretches.len() as u32,
            starts: self.starts,
            directory_xxh3: Checksum(xxh3_64(parts[1])),
            stretches_xxh3: Checksum(xxh3_64(parts[2])),
        });
        for part in parts {
            self.sink.write(part)?;
            self.at += part.len() as u64;
        }
        self.entries.clear();
        self.counts.clear();
        self.stretches.clear();
        self.starts = self.next;
        Ok(())
    }
}

fn take_in(digest: &mut Xxh3, piece: Piece) {
    digest.update(&piece.bytes.to_le_bytes());
    digest.update(&piece.xxh3.to_le_bytes());
}

/// Why an index can't be used.
#[derive(Debug)]
pub(super) enum IndexError {
    Io(io::Error),
    /// It is not the one that belongs to the receipt, or not any more.
    Other(&'static str),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> IndexError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => IndexError::Other("it is cut short"),
            _ => IndexError::Io(error),
        }
    }
}

/// Reads an index by position.
pub(super) struct IndexReader<R> {
    source: R,
    buffer: Vec<u8>,
}

/// An entry that was found: perhaps a row of the subscriber who was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) stretch: u32,
    /// What the index keeps of the hash.
    pub(super) bits: u32,
    /// Whether the row was let pass.
    pub(super) passed: bool,
}

/// Where a stretch stands in one of the files, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) at: u64,
    pub(super) line: u64,
    pub(super) piece: Piece,
}

impl<R: Read + Seek> IndexReader<R> {
    /// Opens the index that belongs to the receipt of this id.
    pub(super) fn open(
        mut source: R,
        id: [u8; 16],
        info: &IndexInfo,
    ) -> Result<IndexReader<R>, IndexError> {
        if source.seek(SeekFrom::End(0))? != info.bytes {
            return Err(IndexError::Other("it has another length"));
        }
        let mut reader = IndexReader { source, buffer: Vec::new() };
        if *reader.read(0, HEADER_BYTES)? != *[&MAGIC[..], &id].concat() {
            return Err(IndexError::Other("it belongs to another receipt"));
        }
        Ok(reader)
    }

    /// The entries of a run that have one of these hashes, which ascend by what an index keeps of
    /// them: bucket after bucket, within a bucket in the order of the list.
    pub(super) fn find(&mut self, run: &RunInfo, wanted: &[u32]) -> Result<Vec<Hit>, IndexError> {
        let bytes = self.read(run.directory_at(), run.directory_bytes())?;
        if xxh3_64(bytes) != run.directory_xxh3.0 {
            return Err(IndexError::Other("a directory does not match its checksum"));
        }
        let directory: Vec<BucketEntry> = entries_of(bytes)?.to_vec();
        let mut hits = Vec::new();
        for same_bucket in wanted.chunk_by(|one, other| one >> 16 == other >> 16) {
            let bucket = (same_bucket[0] >> 16) as usize;
            let start = bucket.checked_sub(1).map_or(0, |before| directory[before].end.get());
            let Some(count) = directory[bucket].end.get().checked_sub(start) else {
                return Err(IndexError::Other("a directory does not ascend"));
            };
            let bytes = self.read(run.at + u64::from(start) * 4, u64::from(count) * 4)?;
            if xxh3_64(bytes) != directory[bucket].checksum.get() {
                return Err(IndexError::Other("a bucket does not match its checksum"));
            }
            hits.extend(entries_of::<U32>(bytes)?.iter().filter_map(|entry| {
                let bits = (bucket as u32) << 16 | entry.get() & 0xfffe;
                let (stretch, passed) = (entry.get() >> 16, entry.get() & 1 == 1);
                same_bucket.binary_search(&bits).ok().map(|_| Hit { stretch, bits, passed })
            }));
        }
        Ok(hits)
    }

    /// Where the stretches of a run stand, in the input or in what was kept of it.
    pub(super) fn stretches(
        &mut self,
        run: &RunInfo,
        of_kept: bool,
    ) -> Result<Vec<Placed>, IndexError> {
        let at = run.directory_at() + run.directory_bytes();
        let bytes = self.read(at, run.stretches_bytes())?;
        if xxh3_64(bytes) != run.stretches_xxh3.0 {
            return Err(IndexError::Other("a table of stretches does not match its checksum"));
        }
        let (mut at, mut line) = match of_kept {
            false => (run.starts.input_byte, run.starts.input_line),
            true => (run.starts.kept_byte, run.starts.kept_line),
        };
        let placed = entries_of::<StretchEntry>(bytes)?.iter().map(|entry| {
            let (bytes, lines, xxh3) = match of_kept {
                false => (entry.input_bytes, entry.input_lines, entry.input_xxh3),
                true => (entry.kept_bytes, entry.kept_lines, entry.kept_xxh3),
            };
            let piece = Piece { bytes: bytes.get(), lines: lines.get(), xxh3: xxh3.get() };
            let placed = Placed { at, line, piece };
            at = at.saturating_add(piece.bytes.into());
            line = line.saturating_add(piece.lines.into());
            placed
        });
        Ok(placed.collect())
    }

    fn read(&mut self, at: u64, bytes: u64) -> Result<&[u8], IndexError> {
        self.source.seek(SeekFrom::Start(at))?;
        self.buffer.resize(bytes as usize, 0);
        self.source.read_exact(&mut self.buffer)?;
        Ok(&self.buffer)
    }
}

fn entries_of<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    bytes: &[u8],
) -> Result<&[T], IndexError> {
    <[T]>::ref_from_bytes(bytes).map_err(|_| IndexError::Other("it has another length"))
}

impl IndexInfo {
    /// Whether it can be as it says: then no reading asks for more than there is.
    pub(super) fn is_plausible(&self) -> bool {
        let mut at = HEADER_BYTES;
        let fits = self.runs.iter().all(|run| {
            let is_next = run.at == at
                && at <= self.bytes
                && run.bucket_bits <= BUCKET_BITS_MAX
                && run.stretches as usize <= RUN_STRETCHES;
            at = match is_next {
                true => run.directory_at() + run.directory_bytes() + run.stretches_bytes(),
                false => u64::MAX,
            };
            is_next
        });
        fits && at == self.bytes
    }
}
