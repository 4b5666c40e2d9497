//! Blocks of whole records, and the walk over them.
//!
//! The walk finds the wanted columns and the end of each record, nothing else. Nothing is
//! allocated and nothing is copied: a cell is a range until somebody asks for its value.

use std::fmt;

use memchr::{memchr, memchr2, memchr3};

use super::reader::COLUMNS_MAX;
use super::split::{QUOTE, count_lines, near};
use super::window::{WINDOW_BYTES, field_ends};

/// An owned piece of the file: whole records, one after another.
pub struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) len: usize,
    pub(super) index: u64,
    pub(super) first_line: u64,
    pub(super) quotes: bool,
    pub(super) plan: Plan,
}

impl Block {
    /// The text of all its records.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The line of the file on which its first record begins, from 1.
    pub fn first_line(&self) -> u64 {
        self.first_line
    }

    /// Its place among the blocks of the file: 0, 1, 2 …
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Walks the records.
    pub fn records(&self) -> Records<'_> {
        Records::of_piece(self.bytes(), self.first_line, self.quotes, self.plan)
    }

    /// The memory of the block, to be moved into or given back by
    /// [`Table::recycle`](super::Table::recycle). The text is its first `bytes().len()` bytes.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// Which columns are wanted, in the order in which a walk meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) delimiter: u8,
    /// The distinct columns from left to right.
    steps: [u32; COLUMNS_MAX],
    step_count: usize,
    /// For each wanted column, which step finds it.
    slots: [u8; COLUMNS_MAX],
    /// Whether a cell goes on to the end of its record, delimiters or not.
    whole_lines: bool,
}

impl Plan {
    /// A plan for at most [`COLUMNS_MAX`] columns, in the order in which they were asked for.
    pub(super) fn new(delimiter: u8, columns: &[usize]) -> Plan {
        let mut sorted = columns.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut plan = Plan {
            delimiter,
            steps: [0; COLUMNS_MAX],
            step_count: sorted.len(),
            slots: [u8::MAX; COLUMNS_MAX],
            whole_lines: false,
        };
        for (step, &column) in plan.steps.iter_mut().zip(&sorted) {
            *step = u32::try_from(column).unwrap_or(u32::MAX);
        }
        for (slot, column) in plan.slots.iter_mut().zip(columns) {
            *slot = sorted.binary_search(column).map_or(u8::MAX, |step| step as u8);
        }
        plan
    }

    /// The wanted columns, in the order in which they were asked for.
    pub(super) fn columns(&self) -> Vec<usize> {
        let steps = &self.steps[..self.step_count];
        let column = |slot: &u8| steps.get(usize::from(*slot)).map(|&step| step as usize);
        self.slots.iter().map_while(column).collect()
    }

    /// The plan for a table of one column. Whatever else stands on a line belongs to the cell: a
    /// second number, or all columns of a table under a title. Cut off, it would be lost.
    pub(super) fn of_whole_lines(self, one_column: bool) -> Plan {
        Plan { whole_lines: one_column, ..self }
    }
}

/// The records of a block, in order.
#[derive(Clone)]
pub struct Records<'a> {
    /// The one that was handed out last; none of the block at first.
    record: Record<'a>,
    /// The line on which the next one begins.
    line: u64,
    quotes: bool,
    plan: Plan,
}

impl<'a> Records<'a> {
    /// The records of a sample of which no column is wanted yet.
    pub(super) fn of_sample(bytes: &'a [u8], delimiter: u8) -> Records<'a> {
        Records::of_piece(bytes, 1, true, Plan::new(delimiter, &[]))
    }

    /// The records of a piece that begins and ends where a record does.
    pub(super) fn of_piece(bytes: &'a [u8], line: u64, quotes: bool, plan: Plan) -> Records<'a> {
        let record = Record {
            block: bytes,
            start: 0,
            body_end: 0,
            end: 0,
            line,
            spans: [MISSING; COLUMNS_MAX],
            slots: plan.slots,
        };
        Records { record, line, quotes, plan }
    }

    /// The next record, as from [`Iterator::next`], but left where it is: moving one costs more
    /// than finding it.
    #[inline]
    pub fn step(&mut self) -> Option<&Record<'a>> {
        let record = &mut self.record;
        let (bytes, start) = (record.block, record.end);
        if start >= bytes.len() {
            return None;
        }
        // Without a quote in the block, which is most files, no byte is asked whether it is one.
        record.spans = [MISSING; COLUMNS_MAX];
        let glanced = match self.quotes {
            true => None,
            false => glance(bytes, start, &self.plan, &mut record.spans),
        };
        let body_end = match glanced {
            Some(body_end) => body_end,
            None => look(bytes, start, self.quotes, &self.plan, &mut record.spans),
        };
        if self.plan.whole_lines && self.plan.step_count > 0 {
            record.spans[0] = (start as u32, body_end as u32);
        }
        record.start = start;
        record.body_end = body_end;
        record.end = body_end + line_end_len(bytes, body_end);
        record.line = self.line;
        self.line += 1;
        if self.quotes {
            self.line += count_lines(&bytes[start..body_end]);
        }
        Some(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        self.step().cloned()
    }
}

/// Start and end of a cell within its block.
type Span = (u32, u32);

/// The record has no such column.
const MISSING: Span = (u32::MAX, u32::MAX);

/// One record.
#[derive(Clone)]
pub struct Record<'a> {
    block: &'a [u8],
    start: usize,
    body_end: usize,
    end: usize,
    line: u64,
    spans: [Span; COLUMNS_MAX],
    slots: [u8; COLUMNS_MAX],
}

impl<'a> Record<'a> {
    /// The line of the file on which it begins, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Its bytes, with the line end if there is one.
    pub fn bytes(&self) -> &'a [u8] {
        &self.block[self.start..self.end]
    }

    /// Its bytes without the line end.
    pub fn body(&self) -> &'a [u8] {
        &self.block[self.start..self.body_end]
    }

    /// Its line end; empty for a last record without one.
    pub fn line_end(&self) -> &'a [u8] {
        &self.block[self.body_end..self.end]
    }

    /// Where it stands in its block, line end included.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }

    /// Whether there is nothing on its line.
    pub fn is_blank(&self) -> bool {
        self.start == self.body_end
    }

    /// The cell of a wanted column, by its place among those asked for; `None` when the record
    /// is too short to have it.
    #[inline]
    pub fn cell(&self, wanted: usize) -> Option<Cell<'a>> {
        let step = usize::from(*self.slots.get(wanted)?);
        let &(start, end) = self.spans.get(step)?;
        self.block.get(start as usize..end as usize).map(Cell)
    }
}

/// A cell as it stands in the file.
#[derive(Clone, Copy)]
pub struct Cell<'a>(&'a [u8]);

impl<'a> Cell<'a> {
    /// Its bytes in the file, quotes included.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Its value: what a quoted cell has between its quotes. Copies into `scratch` only when
    /// there is a quote to take out.
    #[inline]
    pub fn value<'b>(self, scratch: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        match self.0 {
            [QUOTE, rest @ ..] => unquote(rest, scratch),
            plain => plain,
        }
    }
}

// `Debug` says where and how long, never what: cells are people's data.

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} from line {}, {} bytes)", self.index, self.first_line, self.len)
    }
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { block, end, .. } = self.record;
        write!(f, "Records(line {}, byte {end} of {})", self.line, block.len())
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record(line {}, bytes {:?})", self.line, self.range())
    }
}

impl fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cell({} bytes)", self.0.len())
    }
}

/// The value of a quoted cell, from behind its first quote.
fn unquote<'b>(rest: &'b [u8], scratch: &'b mut Vec<u8>) -> &'b [u8] {
    if let [inner @ .., QUOTE] = rest
        && memchr(QUOTE, inner).is_none()
    {
        return inner;
    }
    scratch.clear();
    let mut left = rest;
    while let Some(place) = memchr(QUOTE, left) {
        scratch.extend_from_slice(&left[..place]);
        left = &left[place + 1..];
        if left.first() != Some(&QUOTE) {
            // Closed. What follows up to the delimiter is data as it stands.
            break;
        }
        scratch.push(QUOTE);
        left = &left[1..];
    }
    scratch.extend_from_slice(left);
    scratch
}

/// The cells of one record's body, all of them. For headers and rare rows.
pub fn fields(body: &[u8], delimiter: u8) -> impl Iterator<Item = Cell<'_>> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at?;
        let end = field_end::<true>(body, start, delimiter);
        at = (body.get(end) == Some(&delimiter)).then_some(end + 1);
        Some(Cell(&body[start..end]))
    })
}

/// Appends `value` to `out` as a cell, quoted when it has to be.
pub fn append_cell(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    let special = |&byte: &u8| byte == delimiter || matches!(byte, QUOTE | b'\n' | b'\r');
    if !value.iter().any(special) {
        out.extend_from_slice(value);
        return;
    }
    out.push(QUOTE);
    for &byte in value {
        out.extend(std::iter::repeat_n(byte, if byte == QUOTE { 2 } else { 1 }));
    }
    out.push(QUOTE);
}

/// The wanted cells of any record at `start`, and where its body ends.
#[inline(never)]
fn look(
    bytes: &[u8],
    start: usize,
    quotes: bool,
    plan: &Plan,
    spans: &mut [Span; COLUMNS_MAX],
) -> usize {
    *spans = [MISSING; COLUMNS_MAX];
    if quotes {
        walk::<true>(bytes, start, plan, spans)
    } else {
        walk::<false>(bytes, start, plan, spans)
    }
}

/// As `walk`, of a record without quotes whose wanted cells lie within its first 64 bytes; `None`
/// when they don't, or fewer bytes are left.
///
/// Fields are of all lengths, so a processor that looks for their ends one by one guesses wrong at
/// every one. Here all bytes are compared at once, whatever they are, and the ends counted off.
#[inline]
fn glance(
    bytes: &[u8],
    start: usize,
    plan: &Plan,
    spans: &mut [Span; COLUMNS_MAX],
) -> Option<usize> {
    let window = bytes.get(start..)?.first_chunk::<WINDOW_BYTES>()?;
    let (delimiters, line_ends) = field_ends(window, plan.delimiter);
    // The lowest line end, and the delimiters below it.
    let below = line_ends.wrapping_sub(1) & !line_ends;
    let body_end = (line_ends != 0).then(|| start + line_ends.trailing_zeros() as usize);
    let mut ends = (delimiters & below) | (line_ends & line_ends.wrapping_neg());
    let (mut at, mut column) = (start, 0);
    for (&wanted, span) in plan.steps[..plan.step_count].iter().zip(spans) {
        while column < wanted && ends != 0 {
            at = start + ends.trailing_zeros() as usize + 1;
            ends &= ends - 1;
            column += 1;
        }
        if ends == 0 {
            // The record is too short to have the column, or the window to hold it.
            return body_end;
        }
        *span = (at as u32, (start + ends.trailing_zeros() as usize) as u32);
    }
    body_end.or_else(|| Some(body_end_from(bytes, start + WINDOW_BYTES)))
}

/// Finds the wanted cells of the record at `start`, and where its body ends.
#[inline]
fn walk<const QUOTES: bool>(
    bytes: &[u8],
    start: usize,
    plan: &Plan,
    spans: &mut [Span; COLUMNS_MAX],
) -> usize {
    let mut at = start;
    let mut column = 0;
    for (&wanted, span) in plan.steps[..plan.step_count].iter().zip(spans) {
        loop {
            let end = field_end::<QUOTES>(bytes, at, plan.delimiter);
            let found = column == wanted;
            if found {
                *span = (at as u32, end as u32);
            }
            if bytes.get(end) != Some(&plan.delimiter) {
                return end;
            }
            at = end + 1;
            column += 1;
            if found {
                break;
            }
        }
    }
    body_end::<QUOTES>(bytes, at, plan.delimiter)
}

/// End of the field that begins at `at`: its delimiter, line end, or the end of the bytes.
#[inline]
fn field_end<const QUOTES: bool>(bytes: &[u8], at: usize, delimiter: u8) -> usize {
    let from = if QUOTES && bytes.get(at) == Some(&QUOTE) { closed(bytes, at + 1) } else { at };
    let ends = |byte| byte == delimiter || byte == b'\n' || byte == b'\r';
    near(bytes, from, ends).unwrap_or_else(|from| {
        memchr3(delimiter, b'\n', b'\r', &bytes[from..]).map_or(bytes.len(), |place| from + place)
    })
}

/// End of the body of the record, from the beginning of one of its fields.
#[inline]
fn body_end<const QUOTES: bool>(bytes: &[u8], mut at: usize, delimiter: u8) -> usize {
    if !QUOTES {
        return body_end_from(bytes, at);
    }
    let mut opens = bytes.get(at) == Some(&QUOTE);
    loop {
        if opens {
            at = closed(bytes, at + 1);
        }
        let stops = |byte| byte == QUOTE || byte == b'\n' || byte == b'\r';
        let found = near(bytes, at, stops).unwrap_or_else(|at| {
            memchr3(QUOTE, b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |place| at + place)
        });
        if bytes.get(found) != Some(&QUOTE) {
            return found;
        }
        // A quote opens a field or is data. Nothing but a delimiter ends the field before it.
        opens = bytes[found - 1] == delimiter;
        at = if opens { found } else { found + 1 };
    }
}

/// The first line end at or behind `at`, outside of quotes.
#[inline]
fn body_end_from(bytes: &[u8], at: usize) -> usize {
    memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |place| at + place)
}

/// The first byte behind the quote that closes what is open at `at`.
#[inline]
fn closed(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let found = near(bytes, at, |byte| byte == QUOTE).unwrap_or_else(|at| {
            memchr(QUOTE, &bytes[at..]).map_or(bytes.len(), |place| at + place)
        });
        at = found + 1;
        if bytes.get(at) != Some(&QUOTE) {
            return at.min(bytes.len());
        }
        at += 1;
    }
}

/// Length of the line end at `at`: LF, CRLF or CR; 0 at the end of the file.
#[inline]
fn line_end_len(bytes: &[u8], at: usize) -> usize {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => 2,
        (Some(_), _) => 1,
        (None, _) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_sees_what_a_walk_finds() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let plans = [&[0][..], &[1], &[2], &[0, 1], &[3, 0, 5], &[7], &[]];
        let plans = plans.map(|columns| Plan::new(b';', columns));
        let mut glanced = 0;
        for _ in 0..20_000 {
            let often = [8, 20, 60, 150][random(4) as usize];
            let length = random(300);
            let byte = |_| match random(often) {
                0 => b'\n',
                1 if random(4) == 0 => b'\r',
                1..=4 => b';',
                _ => b'7',
            };
            let text: Vec<u8> = (0..length).map(byte).collect();
            for plan in &plans {
                let (mut quick, mut slow) = ([MISSING; COLUMNS_MAX], [MISSING; COLUMNS_MAX]);
                let Some(end) = glance(&text, 0, plan, &mut quick) else { continue };
                assert_eq!(end, walk::<false>(&text, 0, plan, &mut slow));
                assert_eq!(quick, slow);
                glanced += 1;
            }
        }
        assert!(glanced > 50_000, "{glanced}");
    }
}
