//! Opt-outs that are recorded together: a list, compactly, in the order of its keys.

use std::collections::HashMap;
use std::fmt;

use rayon::prelude::*;

use super::writer::TEXT_BYTES_MAX;
use crate::journal::{Row, Spelling, Subject};
use crate::number::{Address, BusinessId, Folding, Number, SubscriberKey, fold};
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
    /// `None` for an id, which is its text.
    number: Option<Number>,
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
/// kept apart, so that their records hold none. Ids come last.
pub(super) const SPELLINGS: [u8; 4] = [0, 1, 2, ID];
const ID: u8 = 3;

/// What the keys of ids begin from that have none before they are numbered: no journal is as long.
const UNNUMBERED: u64 = 1 << 60;

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
        let mut row = self.row_of(Some(number), occurred_at);
        match Spelling::of(number, raw) {
            Spelling::Plus => {}
            Spelling::Digits => row.spelling = 1,
            Spelling::Text(text) => {
                row.spelling = 2;
                let end = text.floor_char_boundary(TEXT_BYTES_MAX - 1);
                let clean = text[..end].chars().map(|it| if it == '\0' { ' ' } else { it });
                self.texts.extend(clean);
                row.text_bytes = (self.texts.len() - row.text as usize) as u16;
            }
        }
        self.rows.push(row);
    }

    /// Adds a row of an id without a number.
    pub fn push_id(&mut self, id: &BusinessId, occurred_at: Timestamp) {
        let mut row = self.row_of(None, occurred_at);
        row.spelling = ID;
        row.text_bytes = id.as_str().len() as u16;
        self.texts.push_str(id.as_str());
        self.rows.push(row);
    }

    /// Adds a row that takes an import back; `empties` when nothing else is known of the
    /// subscriber.
    pub(super) fn push_retract(&mut self, address: &Address, at: Timestamp, empties: bool) {
        match address {
            Address::Number(number) => self.push(*number, at, &number.to_string()),
            Address::Id(id) => self.push_id(id, at),
        }
        if let Some(row) = self.rows.last_mut() {
            row.empties = empties;
        }
    }

    /// A row that comes next, before its spelling is known.
    fn row_of(&self, number: Option<Number>, occurred_at: Timestamp) -> BulkRow {
        BulkRow {
            key: SubscriberKey::from_u64(0),
            number,
            occurred_at,
            text: self.texts.len() as u64,
            arrival: self.rows.len() as u32,
            text_bytes: 0,
            spelling: 0,
            empties: false,
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

    /// The rows: address and moment.
    pub fn rows(&self) -> impl Iterator<Item = (Address, Timestamp)> + '_ {
        self.rows.iter().map(|row| (self.address(row), row.occurred_at))
    }

    /// Leaves out the rows whose address `wanted` refuses.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&Address) -> bool) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|row| wanted(&self.address(row)));
        self.rows = rows;
    }

    fn address(&self, row: &BulkRow) -> Address {
        match row.number {
            Some(number) => Address::Number(number),
            None => Address::Id(self.id(row)),
        }
    }

    fn id(&self, row: &BulkRow) -> BusinessId {
        BusinessId::parse(self.text(row).as_bytes()).expect("the text of an id was one")
    }

    fn text(&self, row: &BulkRow) -> &str {
        let begin = row.text as usize;
        &self.texts[begin..begin + usize::from(row.text_bytes)]
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.texts.clear();
        self.keys.clear();
        self.sequences.clear();
    }

    /// By key; rows of one subscriber by spelling and arrival, which is the order in which they
    /// are recorded. `key_of_id` gives the keys of ids that have one; the others follow behind,
    /// by the arrival of their first rows.
    pub(super) fn sort(
        &mut self,
        folding: Folding,
        key_of_id: impl Fn(&str) -> Option<SubscriberKey>,
    ) {
        let mut new_ids = HashMap::new();
        let mut rows = std::mem::take(&mut self.rows);
        for row in rows.iter_mut().filter(|row| row.number.is_none()) {
            let id = self.text(row);
            row.key = key_of_id(id).unwrap_or_else(|| {
                let next = SubscriberKey::of_id(UNNUMBERED + new_ids.len() as u64);
                *new_ids.entry(id).or_insert(next)
            });
        }
        rows.par_iter_mut().for_each(|row| {
            row.key = row.number.map_or(row.key, |number| fold(number, folding));
        });
        rows.par_sort_unstable_by_key(|row| (row.key, row.spelling, row.arrival));
        self.keys = rows.iter().map(|row| row.key).collect();
        self.rows = rows;
    }

    /// Gives each row the sequence that it will get: all rows of the first spelling come first.
    /// An id that has no key yet gets that of its first row: these ids and keys.
    pub(super) fn number_from(&mut self, first: u64) -> Vec<(BusinessId, SubscriberKey)> {
        let mut next = [first; SPELLINGS.len()];
        for spelling in 1..SPELLINGS.len() {
            let before = SPELLINGS[spelling - 1];
            let count = self.rows.iter().filter(|row| row.spelling == before).count() as u64;
            next[spelling] = next[spelling - 1] + count;
        }
        let number = |row: &BulkRow| {
            let next = &mut next[usize::from(row.spelling)];
            *next += 1;
            *next - 1
        };
        self.sequences = self.rows.iter().map(number).collect();
        let unnumbered = SubscriberKey::of_id(UNNUMBERED);
        let begin = self.keys.partition_point(|&key| key < unnumbered);
        let mut new_ids: Vec<(BusinessId, SubscriberKey)> = Vec::new();
        let mut before = None;
        for place in begin..self.rows.len() {
            let row = self.rows[place];
            if before != Some(row.key) {
                new_ids.push((self.id(&row), SubscriberKey::of_id(self.sequences[place])));
            }
            before = Some(row.key);
            self.keys[place] = new_ids.last().map_or(row.key, |&(_, key)| key);
        }
        new_ids
    }

    /// The sequence of a key's newest row, once numbered; `None` for a key without one.
    pub(super) fn head(&self, key: SubscriberKey) -> Option<u64> {
        let behind = self.keys.partition_point(|&it| it <= key);
        let last = behind.checked_sub(1)?;
        (self.keys[last] == key).then(|| self.sequences[last])
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
        Row {
            subject: row.number.map_or(Subject::Id(self.keys[at]), Subject::Number),
            occurred_at: row.occurred_at,
            spelling: match row.spelling {
                0 => Spelling::Plus,
                1 => Spelling::Digits,
                _ => Spelling::Text(self.text(row)),
            },
            previous: if follows { self.sequences[at - 1] } else { head },
        }
    }
}
