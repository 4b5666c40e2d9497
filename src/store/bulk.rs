//! Opt-outs that are recorded together: a list, compactly, in the order of its keys.

use std::fmt;

use rayon::prelude::*;

use super::writer::TEXT_BYTES_MAX;
use crate::journal::{Row, Spelling, Subject};
use crate::number::{Folding, Number, SubscriberKey, fold};
use crate::time::Timestamp;

/// Rows in one record of a list. Telling one subscriber's history means reading the records of his
/// events; larger ones make the journal hardly smaller.
const RECORD_ROWS: usize = 8_192;

/// Opt-outs to be recorded together: numbers and spellings, compactly.
#[derive(Default)]
pub struct Bulk {
    pub(super) rows: Vec<BulkRow>,
    texts: String,
    /// The rows' keys, once sorted.
    pub(super) keys: Vec<SubscriberKey>,
    /// The rows' sequences, once numbered.
    pub(super) sequences: Vec<u64>,
}

/// Counts the rows; shows nobody's number.
impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bulk({} rows)", self.rows.len())
    }
}

/// What became of a [`Bulk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// Rows after which a subscriber was opted out who was not before.
    pub added: u64,
    /// All other rows.
    pub already: u64,
    /// Sequence of the last row.
    pub sequence: u64,
    /// The import to which the rows belong; none when they belong to none, or nothing was recorded.
    pub batch: Option<u64>,
}

impl BulkReport {
    /// Adds what became of the next bulk.
    pub(super) fn add(&mut self, next: BulkReport) {
        self.added += next.added;
        self.already += next.already;
        self.sequence = next.sequence;
        self.batch = self.batch.or(next.batch);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BulkRow {
    key: SubscriberKey,
    pub(super) number: Number,
    pub(super) occurred_at: Timestamp,
    /// Where the spelling stands in the texts.
    text: u64,
    arrival: u32,
    text_bytes: u16,
    spelling: u8,
    /// Whether it takes back all that is known of the subscriber.
    pub(super) empties: bool,
}

/// The spellings in the order in which a bulk's rows are recorded: those that need no text are
/// kept apart, so that their records hold none.
pub(super) const SPELLINGS: [u8; 3] = [0, 1, 2];

impl Bulk {
    /// Rows that a bulk should gather at the most: what is sorted and folded at once.
    pub const ROWS_MAX: usize = 4 << 20;
    /// Bytes of spellings after which it should be recorded too.
    const TEXT_BYTES_MAX: usize = 256 << 20;

    /// An empty one.
    pub fn new() -> Bulk {
        Bulk::default()
    }

    /// Adds a row. A spelling longer than [`TEXT_BYTES_MAX`] is cut; NUL is replaced.
    pub fn push(&mut self, number: Number, occurred_at: Timestamp, raw: &str) {
        let mut row = BulkRow {
            key: SubscriberKey::from_u64(0),
            number,
            occurred_at,
            text: 0,
            arrival: self.rows.len() as u32,
            text_bytes: 0,
            spelling: 0,
            empties: false,
        };
        match Spelling::of(number, raw) {
            Spelling::Plus => {}
            Spelling::Digits => row.spelling = 1,
            Spelling::Text(text) => {
                row.spelling = 2;
                row.text = self.texts.len() as u64;
                let end = text.floor_char_boundary(TEXT_BYTES_MAX - 1);
                let clean = text[..end].chars().map(|it| if it == '\0' { ' ' } else { it });
                self.texts.extend(clean);
                row.text_bytes = (self.texts.len() - row.text as usize) as u16;
            }
        }
        self.rows.push(row);
    }

    /// Adds a row that takes an import back; `empties` when nothing else is known of the
    /// subscriber.
    pub(super) fn push_retract(&mut self, number: Number, at: Timestamp, empties: bool) {
        self.push(number, at, &number.to_string());
        if let Some(row) = self.rows.last_mut() {
            row.empties = empties;
        }
    }

    /// Whether it has gathered so much that it should be recorded.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= Bulk::ROWS_MAX || self.texts.len() >= Bulk::TEXT_BYTES_MAX
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows: number and moment.
    pub fn rows(&self) -> impl Iterator<Item = (Number, Timestamp)> + '_ {
        self.rows.iter().map(|row| (row.number, row.occurred_at))
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.texts.clear();
        self.keys.clear();
        self.sequences.clear();
    }

    /// By key; rows of one subscriber by spelling and arrival, which is the order in which they
    /// are recorded.
    pub(super) fn sort(&mut self, folding: Folding) {
        self.rows.par_iter_mut().for_each(|row| row.key = fold(row.number, folding));
        self.rows.par_sort_unstable_by_key(|row| (row.key, row.spelling, row.arrival));
        self.keys = self.rows.iter().map(|row| row.key).collect();
    }

    /// Gives each row the sequence that it will get: all rows of the first spelling come first.
    pub(super) fn number_from(&mut self, first: u64) {
        let count =
            |spelling: u8| self.rows.iter().filter(|row| row.spelling == spelling).count() as u64;
        let second = first + count(SPELLINGS[0]);
        let mut next = [first, second, second + count(SPELLINGS[1])];
        let number = |row: &BulkRow| {
            let next = &mut next[usize::from(row.spelling)];
            *next += 1;
            *next - 1
        };
        self.sequences = self.rows.iter().map(number).collect();
    }

    /// The rows of one spelling, in pieces for one record each. `heads` are the sequences of the
    /// keys' events before this bulk.
    pub(super) fn rows_spelled<'a>(
        &'a self,
        spelling: u8,
        heads: &'a [u64],
    ) -> impl Iterator<Item = Vec<Row<'a>>> + 'a {
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut rows = Vec::new();
            while at < self.rows.len() && rows.len() < RECORD_ROWS {
                if self.rows[at].spelling == spelling {
                    rows.push(self.row(at, heads[at]));
                }
                at += 1;
            }
            (!rows.is_empty()).then_some(rows)
        })
    }

    fn row(&self, at: usize, head: u64) -> Row<'_> {
        let row = &self.rows[at];
        let follows = at > 0 && self.keys[at - 1] == self.keys[at];
        let text = row.text as usize;
        Row {
            subject: Subject::Number(row.number),
            occurred_at: row.occurred_at,
            spelling: match row.spelling {
                0 => Spelling::Plus,
                1 => Spelling::Digits,
                _ => Spelling::Text(&self.texts[text..text + usize::from(row.text_bytes)]),
            },
            previous: if follows { self.sequences[at - 1] } else { head },
        }
    }
}
