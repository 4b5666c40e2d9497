//! Accepts or refuses the bytes of a snapshot, and builds the directory on the way.
//!
//! Everything that a lookup relies on is checked here, once, in one pass over all bytes: after
//! that the rest of this module reads without asking again. Readers of other libraries are known
//! to let a repeated bucket overwrite an earlier one, which would lose opt-outs; here it is damage.

use super::container::{BLOCK_BYTES, BLOCK_RUNS, BLOCKS};
use super::directory::{Directory, Kind};
use super::error::{Damage, Part, SnapshotError};
use super::format::{
    ARRAY_MEMBERS_MAX, BITMAP_BYTES, BUCKET_BYTES_MIN, BUCKET_COUNT_BYTES, BUCKET_KEY_BYTES,
    CONTAINER_COUNT_BYTES, CONTAINERS_MAX, COOKIE_BYTES, COOKIE_PLAIN, COOKIE_RUNS,
    DESCRIPTION_BYTES, MEMBER_BYTES, OFFSET_BYTES, RUN_BYTES, RUN_COUNT_BYTES, Shape, has_offsets,
};

/// Checks all of `bytes`. Allocates in proportion to their number, whatever they claim.
pub(super) fn check(bytes: &[u8]) -> Result<Directory, SnapshotError> {
    let mut input = Input { bytes, at: 0 };
    let mut directory = Directory::default();
    let buckets = u64::from_le_bytes(input.word::<BUCKET_COUNT_BYTES>(Part::BucketCount)?);
    // A claim that can't be true is refused here instead of by the bucket that is missing.
    let needed = buckets.saturating_mul(BUCKET_BYTES_MIN as u64);
    if needed > input.left() {
        return Err(input.truncated(Part::Buckets, needed));
    }
    let mut previous = None;
    for _ in 0..buckets {
        let at = input.at;
        let key = u32::from_le_bytes(input.word::<BUCKET_KEY_BYTES>(Part::BucketKey)?);
        if previous.is_some_and(|previous| previous >= key) {
            return Err(damaged(at, Damage::BucketOrder));
        }
        previous = Some(key);
        let first = directory.containers();
        check_bucket(&mut input, &mut directory)?;
        directory.end_bucket(key, first, at as u64)?;
    }
    if input.left() > 0 {
        return Err(damaged(input.at, Damage::Trailing { count: input.left() }));
    }
    directory.finish(bytes.len() as u64)?;
    Ok(directory)
}

fn check_bucket(input: &mut Input<'_>, directory: &mut Directory) -> Result<(), SnapshotError> {
    let start = input.at;
    let header = read_header(input)?;
    directory.reserve(header.descriptions.len());
    let mut previous = None;
    for (index, description) in header.descriptions.iter().enumerate() {
        let description_at = header.descriptions_at + index * DESCRIPTION_BYTES;
        let key = u16::from_le_bytes([description[0], description[1]]);
        let members_less_one = u16::from_le_bytes([description[2], description[3]]);
        if previous.is_some_and(|previous| previous >= key) {
            return Err(damaged(description_at, Damage::ContainerOrder));
        }
        previous = Some(key);
        if let Some(&offset) = header.offsets.get(index) {
            let (got, expected) = (u32::from_le_bytes(offset), (input.at - start) as u64);
            if u64::from(got) != expected {
                let at = header.offsets_at + index * OFFSET_BYTES;
                return Err(damaged(at, Damage::ContainerOffset { expected, got }));
            }
        }
        if header.is_run(index) {
            check_runs(input, directory, key, members_less_one)?;
        } else if usize::from(members_less_one) < ARRAY_MEMBERS_MAX {
            check_array(input, directory, key, members_less_one)?;
        } else {
            check_bitmap(input, directory, key, members_less_one)?;
        }
    }
    Ok(())
}

/// What stands before the containers of a bucket.
struct Header<'a> {
    run_flags: &'a [u8],
    descriptions: &'a [[u8; DESCRIPTION_BYTES]],
    descriptions_at: usize,
    /// Empty when the bucket has none.
    offsets: &'a [[u8; OFFSET_BYTES]],
    offsets_at: usize,
}

impl Header<'_> {
    fn is_run(&self, index: usize) -> bool {
        self.run_flags.get(index / 8).is_some_and(|flags| flags >> (index % 8) & 1 == 1)
    }
}

fn read_header<'a>(input: &mut Input<'a>) -> Result<Header<'a>, SnapshotError> {
    let start = input.at;
    let cookie = u32::from_le_bytes(input.word::<COOKIE_BYTES>(Part::Cookie)?);
    let has_runs = cookie & 0xffff == COOKIE_RUNS;
    let (containers, run_flags) = if has_runs {
        let containers = (cookie >> 16) as usize + 1;
        (containers, read_run_flags(input, containers)?)
    } else if cookie == COOKIE_PLAIN {
        let at = input.at;
        let count = input.word::<CONTAINER_COUNT_BYTES>(Part::ContainerCount)?;
        let got = u32::from_le_bytes(count);
        if got == 0 || got > CONTAINERS_MAX as u32 {
            return Err(damaged(at, Damage::ContainerCount { got }));
        }
        (got as usize, &[][..])
    } else {
        return Err(damaged(start, Damage::Cookie { got: cookie }));
    };
    let descriptions_at = input.at;
    let descriptions = input.take(containers * DESCRIPTION_BYTES, Part::Descriptions)?;
    let offsets_at = input.at;
    let offsets = if has_offsets(containers, has_runs) { containers * OFFSET_BYTES } else { 0 };
    let offsets = input.take(offsets, Part::Offsets)?;
    Ok(Header {
        run_flags,
        descriptions: descriptions.as_chunks().0,
        descriptions_at,
        offsets: offsets.as_chunks().0,
        offsets_at,
    })
}

/// Flags beyond the last container mean nothing; that they are set means that bits have flipped.
fn read_run_flags<'a>(input: &mut Input<'a>, containers: usize) -> Result<&'a [u8], SnapshotError> {
    let at = input.at;
    let flags = input.take(containers.div_ceil(8), Part::RunFlags)?;
    match flags.last() {
        Some(&last) if !containers.is_multiple_of(8) && last >> (containers % 8) != 0 => {
            Err(damaged(at + flags.len() - 1, Damage::RunFlags))
        }
        _ => Ok(flags),
    }
}

fn check_array(
    input: &mut Input<'_>,
    directory: &mut Directory,
    key: u16,
    members_less_one: u16,
) -> Result<(), SnapshotError> {
    let at = input.at;
    let members = usize::from(members_less_one) + 1;
    let bytes = input.take(members * MEMBER_BYTES, Part::Array)?;
    let members: &[[u8; 2]] = bytes.as_chunks().0;
    if !ascend(members) {
        let values = members.iter().map(|&member| u16::from_le_bytes(member));
        let index = values.clone().zip(values.skip(1)).position(|(a, b)| a >= b).unwrap_or(0) + 1;
        return Err(damaged(at + index * MEMBER_BYTES, Damage::ArrayOrder));
    }
    directory.push_array(key, at, members_less_one)
}

/// Without an early way out, so that the compiler makes vectors of it.
fn ascend(members: &[[u8; 2]]) -> bool {
    let mut wrong = 0;
    for (a, b) in members.iter().zip(members.iter().skip(1)) {
        wrong |= u16::from(u16::from_le_bytes(*a) >= u16::from_le_bytes(*b));
    }
    wrong == 0
}

fn check_bitmap(
    input: &mut Input<'_>,
    directory: &mut Directory,
    key: u16,
    members_less_one: u16,
) -> Result<(), SnapshotError> {
    let at = input.at;
    let (blocks, _) = input.take(BITMAP_BYTES, Part::Bitmap)?.as_chunks::<BLOCK_BYTES>();
    let expected = u32::from(members_less_one) + 1;
    let place = (key, at, Kind::Bitmap);
    let counts = directory.push(place, members_less_one, u64::from(expected), BLOCKS)?;
    let mut got = 0;
    for (block, count) in blocks.iter().zip(counts) {
        // The last block starts at 65,024: what lies before it always fits.
        *count = got as u16;
        let (words, _) = block.as_chunks::<8>();
        got += words.iter().map(|&word| u64::from_le_bytes(word).count_ones()).sum::<u32>();
    }
    if got == expected { Ok(()) } else { Err(damaged(at, Damage::Members { expected, got })) }
}

fn check_runs(
    input: &mut Input<'_>,
    directory: &mut Directory,
    key: u16,
    members_less_one: u16,
) -> Result<(), SnapshotError> {
    let count_at = input.at;
    let count = u16::from_le_bytes(input.word::<RUN_COUNT_BYTES>(Part::RunCount)?);
    let at = input.at;
    let runs = input.take(usize::from(count) * RUN_BYTES, Part::Runs)?;
    let runs: &[[u8; 4]] = runs.as_chunks().0;
    let expected = u32::from(members_less_one) + 1;
    let Some(count_less_one) = count.checked_sub(1) else {
        return Err(damaged(count_at, Damage::Members { expected, got: 0 }));
    };
    let place = (key, at, Kind::Runs);
    let blocks = runs.len().div_ceil(BLOCK_RUNS);
    let counts = directory.push(place, count_less_one, u64::from(expected), blocks)?;
    let (got, touching) = count_runs(runs, counts, at)?;
    if got != expected {
        return Err(damaged(count_at, Damage::Members { expected, got }));
    }
    // The format doesn't forbid runs that touch, but some readers refuse them.
    let smallest = Shape::smallest(expected as usize, runs.len());
    if touching || smallest != (Shape::Runs { count }) {
        directory.loosen_last();
    }
    Ok(())
}

/// Checks the order of runs, fills in their counts; how many members, and whether any runs touch.
fn count_runs(
    runs: &[[u8; 4]],
    counts: &mut [u16],
    at: usize,
) -> Result<(u32, bool), SnapshotError> {
    let (mut got, mut touching) = (0, false);
    let mut free_from = 0;
    for (index, &run) in runs.iter().enumerate() {
        if index % BLOCK_RUNS == 0 {
            // Fits, because this run follows and runs don't overlap.
            counts[index / BLOCK_RUNS] = got as u16;
        }
        let offset = at + index * RUN_BYTES;
        let first = u32::from(u16::from_le_bytes([run[0], run[1]]));
        let more = u32::from(u16::from_le_bytes([run[2], run[3]]));
        if first < free_from {
            return Err(damaged(offset, Damage::RunOrder));
        }
        if first + more > u32::from(u16::MAX) {
            return Err(damaged(offset, Damage::RunEnd));
        }
        touching |= first == free_from && index > 0;
        free_from = first + more + 1;
        got += more + 1;
    }
    Ok((got, touching))
}

/// What is left to read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    fn take(&mut self, count: usize, part: Part) -> Result<&'a [u8], SnapshotError> {
        match self.bytes[self.at..].get(..count) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.truncated(part, count as u64)),
        }
    }

    fn word<const BYTES: usize>(&mut self, part: Part) -> Result<[u8; BYTES], SnapshotError> {
        match self.bytes[self.at..].first_chunk() {
            Some(&word) => {
                self.at += BYTES;
                Ok(word)
            }
            None => Err(self.truncated(part, BYTES as u64)),
        }
    }

    fn truncated(&self, part: Part, needed: u64) -> SnapshotError {
        damaged(self.at, Damage::Truncated { part, needed, left: self.left() })
    }
}

#[cold]
fn damaged(at: usize, damage: Damage) -> SnapshotError {
    SnapshotError::Damaged { offset: at as u64, damage }
}
