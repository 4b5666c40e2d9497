//! What the first records of a file say about it: `sep=` line and delimiter.

use super::header::is_known_name;
use super::record::{Records, fields};
use super::split::Splitter;

/// The delimiters that are found without being asked for; at a draw the first wins. The comma is
/// last because it is the one that also stands in names and amounts.
const CANDIDATES: [u8; 4] = [b'\t', b';', b'|', b','];

/// Of a list without a delimiter, this one is said. It matters for appended columns only.
const NONE_FOUND: u8 = b',';

/// Length of the byte order mark, which the text of UTF-16 has in the form of UTF-8.
pub(super) fn mark_len(text: &[u8]) -> usize {
    if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
}

/// Excel's first line that names the delimiter, `sep=;`: the delimiter and the line's length.
pub(super) fn sep_line(text: &[u8]) -> Option<(u8, usize)> {
    let end = memchr::memchr2(b'\n', b'\r', text)?;
    let line = &text[..end];
    let unquoted =
        line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
    let (word, delimiter) = unquoted.split_at_checked(4)?;
    let &[delimiter] = delimiter else { return None };
    let line_end = if text[end..].starts_with(b"\r\n") { 2 } else { 1 };
    word.eq_ignore_ascii_case(b"sep=").then_some((delimiter, end + line_end))
}

/// The part of `sample` that holds whole records: all of a complete file.
pub(super) fn whole_records(sample: &[u8], delimiter: u8, complete: bool) -> &[u8] {
    if complete {
        return sample;
    }
    let mut splitter = Splitter::new(delimiter);
    splitter.advance(sample, false);
    &sample[..splitter.whole()]
}

/// The delimiter under which the records look most like a table: one under which a cell of the
/// first is known or looks like a value, then the one that gives most records the same length.
pub(super) fn delimiter(
    sample: &[u8],
    complete: bool,
    looks_like_value: &dyn Fn(&[u8]) -> bool,
) -> u8 {
    let mut best = (NONE_FOUND, (false, 0, 0));
    for candidate in CANDIDATES {
        let whole = whole_records(sample, candidate, complete);
        if let Some(score) = score(whole, candidate, looks_like_value)
            && score > best.1
        {
            best = (candidate, score);
        }
    }
    best.0
}

/// How well a delimiter fits; `None` when the first record doesn't hold it.
fn score(
    whole: &[u8],
    delimiter: u8,
    looks_like_value: &dyn Fn(&[u8]) -> bool,
) -> Option<(bool, usize, usize)> {
    const RECORDS_MAX: usize = 64;
    const PER_MILLE: usize = 1000;
    let mut scratch = Vec::new();
    let mut counts = Vec::new();
    let mut telling = false;
    for record in
        Records::of_sample(whole, delimiter).filter(|record| !record.is_blank()).take(RECORDS_MAX)
    {
        counts.push(fields(record.body(), delimiter).count());
        if counts.len() == 1 {
            telling = fields(record.body(), delimiter).any(|cell| {
                let value = cell.value(&mut scratch).trim_ascii();
                is_known_name(value) || looks_like_value(value)
            });
        }
    }
    let &columns = counts.first().filter(|&&columns| columns > 1)?;
    let alike = counts.iter().filter(|&&count| count == columns).count();
    Some((telling, alike * PER_MILLE / counts.len(), columns))
}
