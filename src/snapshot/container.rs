//! One container: up to 65,536 members that share all but their low 16 bits.
//!
//! A [`Body`] borrows bytes that `check` has accepted, together with marks: how many members lie
//! before each block or slice. They lead to the few members among which one has to be if it is
//! there, so that nothing is searched for by halving and the position of a member costs little more
//! than its presence. Blocks are marked by `check` on its way, slices once many keys were asked for.

use super::compare::{Vector, at_most, equal};
use super::format::{BITMAP_BYTES, MEMBER_BYTES, RUN_BYTES};

/// A bitmap has one count for each block of this many bytes (a cache line).
pub(super) const BLOCK_BYTES: usize = 64;
/// How many counts a bitmap has.
pub(super) const BLOCKS: usize = BITMAP_BYTES / BLOCK_BYTES;
/// A run container has one count for each block of this many runs (a cache line).
pub(super) const BLOCK_RUNS: usize = 16;

/// The members of one container. Counts are those of the members before each block.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    Array(Array<'a>),
    Bitmap { bits: &'a [u8], counts: &'a [u16] },
    Runs { runs: &'a [[u8; 4]], counts: &'a [u16] },
}

impl<'a> Body<'a> {
    #[inline(always)]
    pub(super) fn contains(self, low: u16) -> bool {
        match self {
            Body::Array(array) => array.contains(low, array.span(low)),
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
            Body::Array(array) => array.locate(low, array.span(low)),
            Body::Bitmap { bits, counts } => {
                let below = count_bits_below(bits, counts, low);
                if bit(bits, low) { Ok(below) } else { Err(below) }
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low),
        }
    }

    /// How many members lie below the member `low`; `None` when it isn't one.
    #[inline(always)]
    pub(super) fn position(self, low: u16) -> Option<usize> {
        match self {
            Body::Array(array) => array.locate(low, array.span(low)).ok(),
            // The counts would be one more cache miss for each key that is no member.
            Body::Bitmap { bits, counts } => {
                bit(bits, low).then(|| count_bits_below(bits, counts, low))
            }
            Body::Runs { runs, counts } => locate_in_runs(runs, counts, low).ok(),
        }
    }

    /// The member with exactly `position` members below it.
    pub(super) fn select(self, position: usize) -> Option<u16> {
        match self {
            Body::Array(array) => {
                array.members().get(position).map(|&member| u16::from_le_bytes(member))
            }
            Body::Bitmap { bits, counts } => select_bit(bits, counts, position),
            Body::Runs { runs, counts } => select_in_runs(runs, counts, position),
        }
    }

    /// Members from `low` on, ascending.
    pub(super) fn members_from(self, low: u16) -> Members<'a> {
        match self {
            Body::Array(array) => {
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

    /// Where a search for `low` begins, counted from where the members start.
    #[inline(always)]
    pub(super) fn reach(self, low: u16) -> usize {
        match self {
            Body::Array(array) => usize::from(array.span(low).from) * MEMBER_BYTES,
            Body::Bitmap { .. } => usize::from(low / 8),
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

/// The members of an array container, within the bytes of the whole file.
///
/// Its 65,536 possible members are parted into slices of one width. Where each begins among the
/// members is marked, so that a member is found in a few neighbours, which lie in one cache line
/// of the file or two.
#[derive(Clone, Copy)]
pub(super) struct Array<'a> {
    file: &'a [u8],
    at: usize,
    count: usize,
    /// How many members lie before each slice. Ends with the number of all members. Empty as long
    /// as nothing is marked.
    starts: &'a [u16],
}

/// The members of one slice, by their places among all.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    from: u16,
    to: u16,
}

/// How many members a slice has, unless they are unevenly spread; up to twice as many.
const SLICE_MEMBERS: usize = 8;
/// How many members fit into a cache line.
const LINE_MEMBERS: usize = BLOCK_BYTES / MEMBER_BYTES;

impl<'a> Array<'a> {
    /// `count` members, at least one, that start at `at`.
    #[inline(always)]
    pub(super) fn new(file: &'a [u8], at: usize, count: usize, starts: &'a [u16]) -> Array<'a> {
        Array { file, at, count, starts }
    }

    /// How many starts an array of `count` members has.
    #[inline(always)]
    pub(super) fn starts(count: usize) -> usize {
        (1 << Self::slice_bits(count)) + 1
    }

    /// The slice that `low` is in, in an array of `count` members.
    #[inline(always)]
    pub(super) fn slice(count: usize, low: u16) -> usize {
        usize::from(low) >> (u16::BITS - Self::slice_bits(count))
    }

    #[inline(always)]
    fn slice_bits(count: usize) -> u32 {
        (count / SLICE_MEMBERS).max(1).ilog2()
    }

    /// Fills in the starts of ascending members.
    pub(super) fn mark(members: &[[u8; 2]], starts: &mut [u16]) {
        // Each start is looked for behind the one before, which the processor has to wait for:
        // with four parts of the array in turns it has something else to do.
        match starts.len() > 16 {
            true => Self::mark_in_parts::<4>(members, starts),
            false => Self::mark_in_parts::<1>(members, starts),
        }
    }

    fn mark_in_parts<const PARTS: usize>(members: &[[u8; 2]], starts: &mut [u16]) {
        let slices = (starts.len() - 1) / PARTS;
        let width_bits = u16::BITS - Self::slice_bits(members.len());
        let end_of = |slice: usize| (((slice + 1) << width_bits) - 1) as u16;
        let mut at: [usize; PARTS] = std::array::from_fn(|part| match part * slices {
            0 => 0,
            first => members.partition_point(|&it| u16::from_le_bytes(it) <= end_of(first - 1)),
        });
        for slice in 0..slices {
            for (part, at) in at.iter_mut().enumerate() {
                let slice = part * slices + slice;
                *at = behind(members, *at, end_of(slice));
                starts[slice + 1] = *at as u16;
            }
        }
    }

    pub(super) fn members(self) -> &'a [[u8; 2]] {
        self.file[self.at..self.at + self.count * MEMBER_BYTES].as_chunks().0
    }

    /// Those members that have to hold `low` if any do.
    #[inline(always)]
    pub(super) fn span(self, low: u16) -> Span {
        if self.starts.is_empty() {
            return Span { from: 0, to: self.count as u16 };
        }
        let slice = Self::slice(self.count, low);
        Span { from: self.starts[slice], to: self.starts[slice + 1] }
    }

    /// The first and the last byte of the file that has to be looked at.
    #[inline(always)]
    pub(super) fn reach(self, span: Span) -> [usize; 2] {
        let first = self.at + usize::from(span.from) * MEMBER_BYTES;
        [first, first.max(self.at + usize::from(span.to) * MEMBER_BYTES - 1)]
    }

    #[inline(always)]
    pub(super) fn contains(self, low: u16, span: Span) -> bool {
        match self.lines(span) {
            Some((lines, members)) => joined(lines.map(|line| equal(&line, low))) & members != 0,
            None => self.search(low, span).is_ok(),
        }
    }

    /// Finds `low`: its place, or where it would be.
    #[inline(always)]
    pub(super) fn locate(self, low: u16, span: Span) -> Result<usize, usize> {
        let Some((lines, members)) = self.lines(span) else { return self.search(low, span) };
        let up_to = joined(lines.map(|line| at_most(&line, low))) & members;
        let end = usize::from(span.from) + up_to.count_ones() as usize;
        match joined(lines.map(|line| equal(&line, low))) & members {
            0 => Err(end),
            _ => Ok(end - 1),
        }
    }

    /// The cache lines that the members of a slice lie in, and a bit for each of those members.
    /// When they lie in one line, it stands for both. `None` when they lie in more than two, or
    /// the file ends within one.
    #[inline(always)]
    fn lines(self, span: Span) -> Option<([[Vector; 4]; 2], u64)> {
        let (from, count) = (usize::from(span.from), usize::from(span.to - span.from));
        // Members before them in the line, of whatever container.
        let lead = (self.at / MEMBER_BYTES + from) % LINE_MEMBERS;
        let first = self.at + from * MEMBER_BYTES - lead * MEMBER_BYTES;
        let second = if lead + count > LINE_MEMBERS { first + BLOCK_BYTES } else { first };
        if lead + count > 2 * LINE_MEMBERS {
            return None;
        }
        let line = |at: usize| {
            let bytes: &[u8; BLOCK_BYTES] = self.file.get(at..)?.first_chunk()?;
            let members: &[[u8; 2]; LINE_MEMBERS] = bytes.as_chunks().0.first_chunk()?;
            Some(vectors(members))
        };
        let members = !u64::MAX.checked_shl(count as u32).unwrap_or(0) << lead;
        Some(([line(first)?, line(second)?], members))
    }

    fn search(self, low: u16, span: Span) -> Result<usize, usize> {
        let (from, to) = (usize::from(span.from), usize::from(span.to));
        let members = &self.members()[from..to];
        let found = members.binary_search_by_key(&low, |&member| u16::from_le_bytes(member));
        found.map(|at| from + at).map_err(|at| from + at)
    }
}

/// The first of ascending members above `low`, from one on that is not behind it.
#[inline(always)]
fn behind(members: &[[u8; 2]], mut at: usize, low: u16) -> usize {
    while let Some(near) = members[at..].first_chunk::<LINE_MEMBERS>() {
        let up_to = at_most::<4>(&vectors(near), low).trailing_ones() as usize;
        at += up_to;
        if up_to < near.len() {
            return at;
        }
    }
    at + members[at..].iter().take_while(|&&it| u16::from_le_bytes(it) <= low).count()
}

/// The bits of two lines as one.
#[inline(always)]
fn joined([first, second]: [u32; 2]) -> u64 {
    u64::from(first) | u64::from(second) << u32::BITS
}

/// Members as vectors.
#[inline(always)]
fn vectors<const MEMBERS: usize, const N: usize>(members: &[[u8; 2]; MEMBERS]) -> [Vector; N] {
    const { assert!(MEMBERS == N * size_of::<Vector>() / MEMBER_BYTES) };
    let vectors = members.as_chunks::<8>().0;
    std::array::from_fn(|place| vectors[place].map(u16::from_le_bytes))
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
