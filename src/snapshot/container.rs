//! One container: up to 65,536 members that share all but their low 16 bits.
//!
//! A [`Body`] borrows bytes that `check` has accepted, together with the counts that `check` took
//! on the way, so that the position of a member costs no more than its presence.

use super::format::BITMAP_BYTES;

/// A bitmap has one count for each block of this many bytes (a cache line).
pub(super) const BLOCK_BYTES: usize = 64;
/// How many counts a bitmap has.
pub(super) const BLOCKS: usize = BITMAP_BYTES / BLOCK_BYTES;
/// A run container has one count for each block of this many runs (a cache line).
pub(super) const BLOCK_RUNS: usize = 16;
/// How many neighbours are looked at around a guessed place in an array: 64 bytes.
const WINDOW: usize = 32;

/// The members of one container. Counts are those of the members before each block.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    Array(&'a [[u8; 2]]),
    Bitmap { bits: &'a [u8], counts: &'a [u16] },
    Runs { runs: &'a [[u8; 4]], counts: &'a [u16] },
}

impl<'a> Body<'a> {
    pub(super) fn contains(self, low: u16) -> bool {
        match self {
            Body::Array(members) => array_contains(members, low),
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
            Body::Array(members) => search_array(members, low),
            Body::Bitmap { bits, counts } => {
                let below = count_bits_below(bits, counts, low);
                if bit(bits, low) { Ok(below) } else { Err(below) }
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low),
        }
    }

    /// The member with exactly `position` members below it.
    pub(super) fn select(self, position: usize) -> Option<u16> {
        match self {
            Body::Array(members) => members.get(position).map(|&member| u16::from_le_bytes(member)),
            Body::Bitmap { bits, counts } => select_bit(bits, counts, position),
            Body::Runs { runs, counts } => select_in_runs(runs, counts, position),
        }
    }

    /// Members from `low` on, ascending.
    pub(super) fn members_from(self, low: u16) -> Members<'a> {
        match self {
            Body::Array(members) => {
                let (Ok(first) | Err(first)) = search_array(members, low);
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

    /// Reads, and hands back, bytes that `contains` and `locate` will need, without waiting for
    /// anything but them. This is how a batch gets its cache misses to overlap.
    pub(super) fn touch(self, low: u16) -> u16 {
        match self {
            Body::Array(members) => {
                let from = window_start(guess(members.len(), low), members.len());
                let to = (from + WINDOW).min(members.len()) - 1;
                u16::from_le_bytes(members[from]) ^ u16::from_le_bytes(members[to])
            }
            Body::Bitmap { bits, .. } => u16::from(bits[usize::from(low / 8)]),
            Body::Runs { runs, .. } => u16::from(runs[runs.len() / 2][0]),
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

/// Where `low` would be if the members were spread evenly. Phone numbers nearly are.
#[inline]
fn guess(members: usize, low: u16) -> usize {
    (usize::from(low) * members) >> 16
}

#[inline]
fn window_start(guess: usize, members: usize) -> usize {
    guess.saturating_sub(WINDOW / 2).min(members.saturating_sub(WINDOW))
}

/// Finds `low`: its place, or where it would be.
#[inline]
fn search_array(members: &[[u8; 2]], low: u16) -> Result<usize, usize> {
    let (from, window) = narrow(members, low);
    let at = from + members_below(window, low);
    match members.get(at) {
        Some(&member) if u16::from_le_bytes(member) == low => Ok(at),
        _ => Err(at),
    }
}

/// Like [`search_array`] without the place. Whether a key is a member is a coin toss to the
/// processor, so nothing branches on it: every neighbour is compared, in a few vectors.
#[inline]
fn array_contains(members: &[[u8; 2]], low: u16) -> bool {
    let (_, window) = narrow(members, low);
    match window.first_chunk::<WINDOW>() {
        Some(window) => is_among(window, low),
        None => is_among(window, low),
    }
}

/// A stretch of the members that holds `low` if any does, and all that comes before the stretch
/// lies below `low`. Guesses the place, twice if need be, before resorting to halving.
///
/// A guess over n evenly spread members is off by less than √n/2 on average, so that the first
/// window nearly always does up to about a thousand members; the second guess starts from a member
/// nearby and covers the rest. Members that aren't evenly spread cost the two guesses on top of
/// the binary search.
#[inline]
fn narrow(members: &[[u8; 2]], low: u16) -> (usize, &[[u8; 2]]) {
    let mut place = guess(members.len(), low);
    for _ in 0..2 {
        let from = window_start(place, members.len());
        let Some(window) = members[from..].first_chunk::<WINDOW>() else { return (0, members) };
        let first = u16::from_le_bytes(window[0]);
        let last = u16::from_le_bytes(window[WINDOW - 1]);
        if low < first && from > 0 {
            place = from.saturating_sub(guess(members.len(), first - low));
        } else if low > last && from + WINDOW < members.len() {
            place = from + WINDOW + guess(members.len(), low - last);
        } else {
            return (from, window);
        }
    }
    let from = members.partition_point(|&member| u16::from_le_bytes(member) < low);
    (from, &members[from..members.len().min(from + 1)])
}

#[inline]
fn is_among(members: &[[u8; 2]], low: u16) -> bool {
    members.iter().fold(false, |found, &member| found | (u16::from_le_bytes(member) == low))
}

/// Counts without branches, so that the compiler makes vectors of it.
#[inline]
fn members_below(members: &[[u8; 2]], low: u16) -> usize {
    let below = members.iter().map(|&member| u16::from(u16::from_le_bytes(member) < low));
    usize::from(below.sum::<u16>())
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
