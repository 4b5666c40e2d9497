//! What a scrub leaves behind of a block, so that single rows can be found again.
//!
//! The rows of a block are parted into stretches: some hundred rows that stand together in the
//! input, and those of them that were kept together in the output. Of each stretch is known how
//! long it is in both files and what its bytes are, by checksum; of each row that could be sent
//! to, a hash of its subscriber and whether it was kept.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::number::SubscriberKey;
use crate::table::{Shape, count_lines};

/// Rows of a stretch: few enough to be read again for one of them, enough that the table of
/// stretches is small beside the file.
const STRETCH_ROWS: u32 = 128;
/// Bytes at which a stretch ends with fewer rows.
const STRETCH_BYTES: u32 = 16 << 10;

/// Hashes subscribers, for one receipt. Nothing rests on the hash: rows that it finds are read,
/// and their subscribers compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowHasher(u64);

impl RowHasher {
    /// The hasher of the receipt with this id.
    pub(super) fn of_receipt(id: [u8; 16]) -> RowHasher {
        RowHasher(xxh3_64(&id))
    }

    /// 31 bits; the lowest is left for what became of the row.
    #[inline]
    pub(super) fn of_key(self, key: SubscriberKey) -> u32 {
        self.of(&key.get().to_le_bytes())
    }

    /// As [`RowHasher::of_key`], of an id without a number: whether it has a key already depends
    /// on the set.
    pub(super) fn of_id(self, id: &str) -> u32 {
        self.of(id.as_bytes())
    }

    #[inline]
    fn of(self, bytes: &[u8]) -> u32 {
        (xxh3_64_with_seed(bytes, self.0) >> 32) as u32 & !1
    }
}

/// The trace of one block.
#[derive(Debug, Default)]
pub(super) struct BlockTrace {
    /// For each row that could be sent to the hash of its subscriber, the lowest bit set when the
    /// set let it pass.
    pub(super) entries: Vec<u32>,
    pub(super) stretches: Vec<Stretch>,
    /// Where the open stretch begins, and how many rows it has.
    start: u32,
    rows: u32,
}

/// Rows that stand together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stretch {
    /// Where it ends in the text of its block.
    end: u32,
    /// How many entries its rows have.
    pub(super) entries: u32,
    /// Its bytes in the input.
    pub(super) input: Piece,
    /// Its bytes in the output.
    pub(super) kept: Piece,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: u32,
    pub(super) lines: u32,
    pub(super) xxh3: u64,
}

impl Piece {
    /// The piece of the file that holds this text.
    pub(super) fn of(text: &[u8], shape: &Shape) -> Piece {
        let (bytes, xxh3) = shape.with_encoded(text, |bytes| (bytes.len() as u32, xxh3_64(bytes)));
        Piece { bytes, lines: count_lines(text) as u32, xxh3 }
    }
}

impl BlockTrace {
    /// Takes in the next row, which ends at `end` in the text of the block.
    #[inline]
    pub(super) fn row(&mut self, end: u32, entry: Option<u32>) {
        let is_full =
            |last: &Stretch| self.rows >= STRETCH_ROWS || last.end - self.start >= STRETCH_BYTES;
        if self.stretches.last().is_none_or(is_full) {
            self.start = self.stretches.last().map_or(0, |last| last.end);
            self.rows = 0;
            self.stretches.push(Stretch::default());
        }
        self.rows += 1;
        if let Some(last) = self.stretches.last_mut() {
            last.end = end;
            last.entries += u32::from(entry.is_some());
        }
        self.entries.extend(entry);
    }

    /// Measures the stretches in the text of the whole block.
    pub(super) fn measure_input(&mut self, text: &[u8], shape: &Shape) {
        let mut start = 0;
        for stretch in &mut self.stretches {
            let end = stretch.end as usize;
            stretch.input = Piece::of(&text[start..end], shape);
            start = end;
        }
    }

    /// Measures what is left of the stretches in `text`, which is those ranges of the block, in
    /// their order, one behind the other.
    pub(super) fn measure_kept(&mut self, ranges: &[(u32, u32)], text: &[u8], shape: &Shape) {
        let mut ranges = ranges.iter().copied();
        let mut range = ranges.next();
        let mut at = 0;
        for stretch in &mut self.stretches {
            let from = at;
            while let Some((start, end)) = range.filter(|&(start, _)| start < stretch.end) {
                at += (end.min(stretch.end) - start) as usize;
                range = if end > stretch.end { Some((stretch.end, end)) } else { ranges.next() };
            }
            stretch.kept = match at - from {
                0 => Piece::default(),
                _ => Piece::of(&text[from..at], shape),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Encoding;

    #[test]
    fn kept_ranges_are_parted_at_the_borders_of_stretches() {
        let shape = Shape::new(Encoding::Bytes, b',', &[0], 1).unwrap();
        let text: Vec<u8> = (0..2000).flat_map(|row| format!("{row:04}\n").into_bytes()).collect();
        for step in 1..300 {
            let mut trace = BlockTrace::default();
            (1..=2000).for_each(|row| trace.row(row * 5, Some(row << 1)));
            // All but each `step`th row, neighbours joined.
            let mut ranges: Vec<(u32, u32)> = Vec::new();
            for row in (0..2000).filter(|row| row % step != 0) {
                match ranges.last_mut() {
                    Some(last) if last.1 == row * 5 => last.1 += 5,
                    _ => ranges.push((row * 5, row * 5 + 5)),
                }
            }
            let kept: Vec<u8> = ranges
                .iter()
                .flat_map(|&(start, end)| text[start as usize..end as usize].to_vec())
                .collect();
            trace.measure_input(&text, &shape);
            trace.measure_kept(&ranges, &kept, &shape);
            assert_eq!(trace.stretches.len(), 2000_usize.div_ceil(128));
            for (index, stretch) in trace.stretches.iter().enumerate() {
                let rows = index as u32 * 128..2000.min((index as u32 + 1) * 128);
                let of = |rows: Vec<u32>| {
                    let text: String = rows.iter().map(|row| format!("{row:04}\n")).collect();
                    let piece = Piece::of(text.as_bytes(), &shape);
                    if rows.is_empty() { Piece::default() } else { piece }
                };
                assert_eq!(stretch.entries as usize, rows.len());
                assert_eq!(stretch.input, of(rows.clone().collect()));
                assert_eq!(stretch.kept, of(rows.filter(|row| row % step != 0).collect()));
            }
        }
    }

    #[test]
    fn a_stretch_of_long_rows_ends_early() {
        let mut trace = BlockTrace::default();
        (1..=10).for_each(|row| trace.row(row * 10_000, None));
        assert_eq!(
            trace.stretches.iter().map(|it| it.end).collect::<Vec<_>>(),
            [20_000, 40_000, 60_000, 80_000, 100_000]
        );
    }
}
