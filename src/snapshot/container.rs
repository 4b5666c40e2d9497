//! One container: up to 65,536 members that share all but their low 16 bits.
//!
//! A [`Body`] borrows bytes that `check` has accepted, together with the marks that `check` took
//! on the way: how many members lie before a block, or which member a block begins with. They
//! lead to the block that has to hold a member if any does, so that nothing is searched for by
//! halving and the position of a member costs little more than its presence.

use super::compare::{at_most, equal};
use super::format::{BITMAP_BYTES, MEMBER_BYTES, RUN_BYTES};

/// A bitmap has one count for each block of this many bytes (a cache line).
pub(super) const BLOCK_BYTES: usize = 64;
/// How many counts a bitmap has.
pub(super) const BLOCKS: usize = BITMAP_BYTES / BLOCK_BYTES;
/// A run container has one count for each block of this many runs (a cache line).
pub(super) const BLOCK_RUNS: usize = 16;
/// A block of an array has up to this many members (a cache line).
const BLOCK_MEMBERS: usize = 32;

/// The members of one container. Counts are those of the members before each block.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// The members, and marks of which the first are the members that the blocks after the first
    /// begin with.
    Array(Array<'a>, &'a [u16]),
    Bitmap {
        bits: &'a [u8],
        counts: &'a [u16],
    },
    Runs {
        runs: &'a [[u8; 4]],
        counts: &'a [u16],
    },
}

impl<'a> Body<'a> {
    #[inline]
    pub(super) fn contains(self, low: u16) -> bool {
        self.contains_near(low, self.block(low))
    }

    /// [`Body::contains`] by somebody who knows the block.
    #[inline(always)]
    pub(super) fn contains_near(self, low: u16, block: usize) -> bool {
        match self {
            Body::Array(array, _) => array.contains(low, block),
            Body::Bitmap { bits, .. } => bit(bits, low),
            Body::Runs { runs, .. } => match runs_up_to(runs, low).checked_sub(1) {
                Some(index) => low <= run_at(runs[index]).1,
                None => false,
            },
        }
    }

    /// How many members lie below `low`: `Ok` when `low` is a member, `Err` when it isn't.
    pub(super) fn locate(self, low: u16) -> Result<usize, usize> {
        match self {
            Body::Array(array, _) => array.locate(low, self.block(low)),
            Body::Bitmap { bits, counts } => {
                let below = count_bits_below(bits, counts, low);
                if bit(bits, low) { Ok(below) } else { Err(below) }
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low),
        }
    }

    /// How many members lie below the member `low`, by somebody who knows the block; `None` when
    /// it isn't one.
    #[inline(always)]
    pub(super) fn position_near(self, low: u16, block: usize) -> Option<usize> {
        match self {
            Body::Array(array, _) => array.locate(low, block).ok(),
            // The counts would be one more cache miss for each key that is no member.
            Body::Bitmap { bits, counts } => {
                bit(bits, low).then(|| count_bits_below(bits, counts, low))
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low).ok(),
        }
    }

    /// The block of an array that holds `low` if any does; 0 for other containers.
    #[inline(always)]
    pub(super) fn block(self, low: u16) -> usize {
        match self {
            Body::Array(array, marks) => marks_up_to(marks, array.further_blocks(), low),
            _ => 0,
        }
    }

    /// The member with exactly `position` members below it.
    pub(super) fn select(self, position: usize) -> Option<u16> {
        match self {
            Body::Array(array, _) => {
                array.members().get(position).map(|&member| u16::from_le_bytes(member))
            }
            Body::Bitmap { bits, counts } => select_bit(bits, counts, position),
            Body::Runs { runs, counts } => select_in_runs(runs, counts, position),
        }
    }

    /// Members from `low` on, ascending.
    pub(super) fn members_from(self, low: u16) -> Members<'a> {
        match self {
            Body::Array(array, _) => {
                let (Ok(first) | Err(first)) = self.locate(low);
                Members::Array(array.members()[first..].iter())
            }
            Body::Bitmap { bits, .. } => {
                let (words, _) = bits.as_chunks::<8>();
                let index = usize::from(low / 64);
                let word = u64::from_le_bytes(words[index]) & (u64::MAX << (low % 64));
                Members::Bitmap { base: low & !63, word, rest: words[index + 1..].iter() }
            }
            Body::Runs { runs, .. } => {
                let from = runs_up_to(runs, low).saturating_sub(1);
                let mut rest = runs[from..].iter();
                let mut members = Members::Runs { next: 0, end: 0, rest: rest.clone() };
                if let Some(&run) = rest.next() {
                    let (first, last) = run_at(run);
                    let next = u32::from(first.max(low));
                    members = Members::Runs { next, end: u32::from(last) + 1, rest };
                }
                members
            }
        }
    }

    /// The first of the bytes that `contains_near` and `position_near` will look at, counted from
    /// where the members start.
    #[inline(always)]
    pub(super) fn reach(self, low: u16, block: usize) -> usize {
        match self {
            Body::Array(array, _) => array.block_start(block) * MEMBER_BYTES,
            Body::Bitmap { .. } => usize::from(low / 8),
            // Where the search begins.
            Body::Runs { runs, .. } => runs.len() / 2 * RUN_BYTES,
        }
    }
}

/// Ascending members of one container.
#[derive(Clone)]
pub(super) enum Members<'a> {
    Array(std::slice::Iter<'a, [u8; 2]>),
    /// `word` holds the members still to come of the 64 that start at `base`.
    Bitmap {
        base: u16,
        word: u64,
        rest: std::slice::Iter<'a, [u8; 8]>,
    },
    /// `next..end` is still to come of the current run.
    Runs {
        next: u32,
        end: u32,
        rest: std::slice::Iter<'a, [u8; 4]>,
    },
}

impl Iterator for Members<'_> {
    type Item = u16;

    #[inline]
    fn next(&mut self) -> Option<u16> {
        match self {
            Members::Array(members) => members.next().map(|&member| u16::from_le_bytes(member)),
            Members::Bitmap { base, word, rest } => {
                while *word == 0 {
                    *word = u64::from_le_bytes(*rest.next()?);
                    *base = base.wrapping_add(64);
                }
                let bit = word.trailing_zeros() as u16;
                *word &= *word - 1;
                Some(*base + bit)
            }
            Members::Runs { next, end, rest } => {
                if *next >= *end {
                    let (first, last) = run_at(*rest.next()?);
                    (*next, *end) = (u32::from(first), u32::from(last) + 1);
                }
                let member = *next as u16;
                *next += 1;
                Some(member)
            }
        }
    }
}

/// First and last member of a run.
#[inline]
pub(super) fn run_at(run: [u8; 4]) -> (u16, u16) {
    let first = u16::from_le_bytes([run[0], run[1]]);
    let more = u16::from_le_bytes([run[2], run[3]]);
    // Checked at open; saturating so that a file that changed since can't cause a panic.
    (first, first.saturating_add(more))
}

/// How many of the first `count` marks are not above `low`. In most containers a single vector is
/// compared, whatever of it counts.
#[inline(always)]
fn marks_up_to(mut marks: &[u16], mut count: usize, low: u16) -> usize {
    let mut up_to = 0;
    loop {
        let Some((vector, rest)) = marks.split_first_chunk() else {
            // Behind them are no others.
            let marks = &marks[..count.min(marks.len())];
            return up_to + marks.iter().filter(|&&mark| mark <= low).count();
        };
        up_to += (at_most(&[*vector], low) & first_lanes(count)).count_ones() as usize;
        if count <= vector.len() {
            return up_to;
        }
        (marks, count) = (rest, count - vector.len());
    }
}

/// A bit for each of the first `count` numbers of a line.
#[inline(always)]
fn first_lanes(count: usize) -> u32 {
    !(u64::MAX << count.min(BLOCK_MEMBERS)) as u32
}

/// The members of an array container, within the bytes of the whole file.
///
/// Its blocks end where a cache line of the file does, so that a look into one is one cache miss.
/// The first block is shorter by the `lead`, which are the members that would fit in front of it.
#[derive(Clone, Copy)]
pub(super) struct Array<'a> {
    file: &'a [u8],
    at: usize,
    count: usize,
}

impl<'a> Array<'a> {
    /// `count` members, at least one, that start at `at`.
    #[inline(always)]
    pub(super) fn new(file: &'a [u8], at: usize, count: usize) -> Array<'a> {
        Array { file, at, count }
    }

    fn members(self) -> &'a [[u8; 2]] {
        self.file[self.at..self.at + self.count * MEMBER_BYTES].as_chunks().0
    }

    #[inline(always)]
    fn lead(self) -> usize {
        self.at / MEMBER_BYTES % BLOCK_MEMBERS
    }

    /// How many blocks there are behind the first.
    #[inline(always)]
    pub(super) fn further_blocks(self) -> usize {
        (self.lead() + self.count - 1) / BLOCK_MEMBERS
    }

    /// The members that the blocks behind the first begin with.
    pub(super) fn first_members(self) -> impl Iterator<Item = u16> {
        let members = self.members().iter().skip(BLOCK_MEMBERS - self.lead());
        members.step_by(BLOCK_MEMBERS).map(|&member| u16::from_le_bytes(member))
    }

    /// Which member a block begins with. The first one's lead has no members.
    #[inline(always)]
    fn block_start(self, block: usize) -> usize {
        (block * BLOCK_MEMBERS).saturating_sub(self.lead())
    }

    #[inline(always)]
    fn contains(self, low: u16, block: usize) -> bool {
        match self.line(block) {
            Some((line, members)) => equal(&line, low) & members != 0,
            None => self.rest(block).contains(&low.to_le_bytes()),
        }
    }

    /// Finds `low`: its place, or where it would be.
    #[inline(always)]
    fn locate(self, low: u16, block: usize) -> Result<usize, usize> {
        let start = self.block_start(block);
        let Some((line, members)) = self.line(block) else {
            let find = |member: &[u8; 2]| u16::from_le_bytes(*member).cmp(&low);
            let found = self.rest(block).binary_search_by(find);
            return found.map(|at| start + at).map_err(|at| start + at);
        };
        let end = start + (at_most(&line, low) & members).count_ones() as usize;
        match equal(&line, low) & members {
            0 => Err(end),
            _ => Ok(end - 1),
        }
    }

    /// The cache line of a block, and a bit for each of its members; `None` where the file ends
    /// within it.
    #[inline(always)]
    fn line(self, block: usize) -> Option<([[u16; 8]; 4], u32)> {
        let lead = if block == 0 { self.lead() } else { 0 };
        let start = self.block_start(block);
        let at = self.at + start * MEMBER_BYTES - lead * MEMBER_BYTES;
        let line: &[u8; BLOCK_BYTES] = self.file[at..].first_chunk()?;
        let vectors = line.as_chunks::<16>().0;
        let line = std::array::from_fn(|place| {
            let numbers = vectors[place].as_chunks::<2>().0;
            std::array::from_fn(|lane| u16::from_le_bytes(numbers[lane]))
        });
        let members = first_lanes(lead + self.count - start) & !first_lanes(lead);
        Some((line, members))
    }

    /// The members of the block with which the file ends.
    fn rest(self, block: usize) -> &'a [[u8; 2]] {
        let rest = &self.members()[self.block_start(block)..];
        &rest[..rest.len().min(BLOCK_MEMBERS)]
    }
}

#[inline]
fn bit(bits: &[u8], low: u16) -> bool {
    (bits[usize::from(low / 8)] >> (low % 8)) & 1 == 1
}

fn count_bits_below(bits: &[u8], counts: &[u16], low: u16) -> usize {
    let block = usize::from(low) / (8 * BLOCK_BYTES);
    let (words, _) = bits[block * BLOCK_BYTES..].as_chunks::<8>();
    let index = usize::from(low / 64) % (BLOCK_BYTES / 8);
    let whole: u32 = words[..index].iter().map(|&word| u64::from_le_bytes(word).count_ones()).sum();
    let part = u64::from_le_bytes(words[index]) & !(u64::MAX << (low % 64));
    usize::from(counts[block]) + (whole + part.count_ones()) as usize
}

fn select_bit(bits: &[u8], counts: &[u16], position: usize) -> Option<u16> {
    let block = counts.partition_point(|&count| usize::from(count) <= position).checked_sub(1)?;
    let mut left = position - usize::from(counts[block]);
    let (words, _) = bits[block * BLOCK_BYTES..].as_chunks::<8>();
    for (index, &word) in words.iter().take(BLOCK_BYTES / 8).enumerate() {
        let mut word = u64::from_le_bytes(word);
        let ones = word.count_ones() as usize;
        if left >= ones {
            left -= ones;
            continue;
        }
        for _ in 0..left {
            word &= word - 1;
        }
        let place = block * BLOCK_BYTES * 8 + index * 64 + word.trailing_zeros() as usize;
        return u16::try_from(place).ok();
    }
    None
}

/// How many runs start at or below `low`.
#[inline]
fn runs_up_to(runs: &[[u8; 4]], low: u16) -> usize {
    runs.partition_point(|&run| run_at(run).0 <= low)
}

fn locate_in_runs(runs: &[[u8; 4]], counts: &[u16], low: u16) -> Result<usize, usize> {
    let Some(index) = runs_up_to(runs, low).checked_sub(1) else { return Err(0) };
    let block = index / BLOCK_RUNS;
    let before: usize = runs[block * BLOCK_RUNS..index].iter().map(|&run| run_members(run)).sum();
    let before = usize::from(counts[block]) + before;
    let (first, last) = run_at(runs[index]);
    if low <= last {
        Ok(before + usize::from(low - first))
    } else {
        Err(before + run_members(runs[index]))
    }
}

fn select_in_runs(runs: &[[u8; 4]], counts: &[u16], position: usize) -> Option<u16> {
    let block = counts.partition_point(|&count| usize::from(count) <= position).checked_sub(1)?;
    let mut left = position - usize::from(counts[block]);
    for &run in &runs[block * BLOCK_RUNS..] {
        if left < run_members(run) {
            return u16::try_from(usize::from(run_at(run).0) + left).ok();
        }
        left -= run_members(run);
    }
    None
}

#[inline]
fn run_members(run: [u8; 4]) -> usize {
    let (first, last) = run_at(run);
    usize::from(last - first) + 1
}
