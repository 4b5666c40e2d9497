//! One container: up to 65,536 members that share all but their low 16 bits.
//!
//! A [`Body`] borrows bytes that `check` has accepted, together with the marks that `check` took
//! on the way: how many members lie before a block, or which member a block begins with. They
//! lead to the block that has to hold a member if any does, so that nothing is searched for by
//! halving and the position of a member costs little more than its presence.

use super::format::BITMAP_BYTES;

/// A bitmap has one count for each block of this many bytes (a cache line).
pub(super) const BLOCK_BYTES: usize = 64;
/// How many counts a bitmap has.
pub(super) const BLOCKS: usize = BITMAP_BYTES / BLOCK_BYTES;
/// A run container has one count for each block of this many runs (a cache line).
pub(super) const BLOCK_RUNS: usize = 16;
/// An array has one mark for each further block of this many members (64 bytes).
pub(super) const BLOCK_MEMBERS: usize = 32;

/// The members of one container. Counts are those of the members before each block.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// `firsts` are the members that the blocks after the first begin with.
    Array {
        members: &'a [[u8; 2]],
        firsts: &'a [u16],
    },
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
            Body::Array { members, .. } => is_among(window(members, block).1, low),
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
            Body::Array { members, .. } => locate_in_array(members, self.block(low), low),
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
            Body::Array { members, .. } => locate_in_array(members, block, low).ok(),
            // The counts would be one more cache miss for each key that is no member.
            Body::Bitmap { bits, counts } => {
                bit(bits, low).then(|| count_bits_below(bits, counts, low))
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low).ok(),
        }
    }

    /// The block of an array that holds `low` if any does; 0 for other containers.
    ///
    /// Whether a mark lies below a key is a coin toss to the processor, so nothing branches on it:
    /// all of them, 128 at most, are compared, in a few vectors.
    #[inline(always)]
    pub(super) fn block(self, low: u16) -> usize {
        match self {
            Body::Array { firsts, .. } => {
                usize::from(firsts.iter().map(|&first| u16::from(first <= low)).sum::<u16>())
            }
            _ => 0,
        }
    }

    /// The member with exactly `position` members below it.
    pub(super) fn select(self, position: usize) -> Option<u16> {
        match self {
            Body::Array { members, .. } => {
                members.get(position).map(|&member| u16::from_le_bytes(member))
            }
            Body::Bitmap { bits, counts } => select_bit(bits, counts, position),
            Body::Runs { runs, counts } => select_in_runs(runs, counts, position),
        }
    }

    /// Members from `low` on, ascending.
    pub(super) fn members_from(self, low: u16) -> Members<'a> {
        match self {
            Body::Array { members, .. } => {
                let (Ok(first) | Err(first)) = self.locate(low);
                Members::Array(members[first..].iter())
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

    /// The first and last of the bytes that `contains_near` and `position_near` will look at,
    /// counted from where the members start.
    #[inline(always)]
    pub(super) fn reach(self, low: u16, block: usize) -> (usize, usize) {
        match self {
            Body::Array { members, .. } => {
                let (from, window) = window(members, block);
                (2 * from, 2 * (from + window.len()) - 1)
            }
            Body::Bitmap { .. } => (usize::from(low / 8), usize::from(low / 8)),
            // Where the search begins.
            Body::Runs { runs, .. } => (runs.len() / 2 * 4, runs.len() / 2 * 4),
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

/// The members of a block, and how many lie before them. The last block is filled up with members
/// of the one before: a whole vector is compared faster than a part of one.
#[inline(always)]
fn window(members: &[[u8; 2]], block: usize) -> (usize, &[[u8; 2]]) {
    let from = (block * BLOCK_MEMBERS).min(members.len().saturating_sub(BLOCK_MEMBERS));
    (from, &members[from..members.len().min(from + BLOCK_MEMBERS)])
}

/// Finds `low`: its place, or where it would be.
#[inline(always)]
fn locate_in_array(members: &[[u8; 2]], block: usize, low: u16) -> Result<usize, usize> {
    let (from, window) = window(members, block);
    let at = from + members_below(window, low);
    match is_among(window, low) {
        true => Ok(at),
        false => Err(at),
    }
}

/// Compares every member, so that nothing branches on any of them.
#[inline(always)]
fn is_among(window: &[[u8; 2]], low: u16) -> bool {
    let among = |window: &[[u8; 2]]| {
        window.iter().fold(false, |found, &member| found | (u16::from_le_bytes(member) == low))
    };
    match window.first_chunk::<BLOCK_MEMBERS>() {
        Some(whole) => among(whole),
        None => among(window),
    }
}

/// Counts without branches, so that the compiler makes vectors of it.
#[inline(always)]
fn members_below(window: &[[u8; 2]], low: u16) -> usize {
    let below = |window: &[[u8; 2]]| {
        window.iter().map(|&member| u16::from(u16::from_le_bytes(member) < low)).sum::<u16>()
    };
    usize::from(match window.first_chunk::<BLOCK_MEMBERS>() {
        Some(whole) => below(whole),
        None => below(window),
    })
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
