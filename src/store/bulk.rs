//! Opt-outs that are recorded together: a list, compactly, in the order of its keys.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use rayon::prelude::*;

use super::plain::{PlainRow, PlainRows};
use super::writer::TEXT_BYTES_MAX;
use crate::journal::{Row, Spelling, Subject};
use crate::number::{Address, BusinessId, Folding, Number, SubscriberKey, fold};
use crate::time::Timestamp;

/// Rows in one record of a list. Telling one subscriber's history means reading the records of his
/// events; larger ones make the journal hardly smaller.
pub(super) const RECORD_ROWS: usize = 8_192;

/// Opt-outs to be recorded together: numbers and spellings, compactly.
#[derive(Default)]
pub struct Bulk {
    /// Rows that say nothing but a number.
    pub(super) plain: PlainRows,
    /// All others.
    pub(super) rows: Vec<BulkRow>,
    texts: String,
    /// The rows' keys, once sorted.
    pub(super) keys: Vec<SubscriberKey>,
    /// The rows' sequences, once numbered.
    pub(super) sequences: Vec<u64>,
    /// Rows of each spelling, once numbered.
    spelled: [usize; SPELLINGS.len()],
}

/// Counts the rows; shows nobody's number.
impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bulk({} rows)", self.len())
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

/// A row, in as few bytes as hold it: sorting moves them, and there are millions.
#[derive(Clone, Copy)]
pub(super) struct BulkRow {
    key: SubscriberKey,
    /// Of an id, which is its text, it says nothing.
    number: Number,
    pub(super) occurred_at: Timestamp,
    order: Order,
}

/// The order of one subscriber's rows: the spelling in the two highest bits, then the place, by
/// which arrival is told. In the lowest bits what plays no part in it: the length of the text, and
/// whether the row takes back all that is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Order(u64);

impl Order {
    const PLACE_BITS: u32 = 46;
    const LENGTH_BITS: u32 = 15;

    /// A text has its place in the texts, any other spelling the number of rows before it.
    fn new(spelling: u8, place: usize, text_bytes: usize) -> Order {
        assert!(place < 1 << Self::PLACE_BITS && text_bytes < 1 << Self::LENGTH_BITS);
        let spelled = u64::from(spelling) << Self::PLACE_BITS | place as u64;
        Order((spelled << Self::LENGTH_BITS | text_bytes as u64) << 1)
    }

    fn spelling(self) -> u8 {
        (self.0 >> (Self::PLACE_BITS + Self::LENGTH_BITS + 1)) as u8
    }

    /// Where the text stands.
    fn text(self) -> Range<usize> {
        let below = |bits: u32| (1 << bits) - 1;
        let place = (self.0 >> (Self::LENGTH_BITS + 1) & below(Self::PLACE_BITS)) as usize;
        place..place + (self.0 >> 1 & below(Self::LENGTH_BITS)) as usize
    }
}

impl BulkRow {
    /// Whether it takes back all that is known of the subscriber.
    pub(super) fn empties(&self) -> bool {
        self.order.0 & 1 == 1
    }

    fn spelling(&self) -> u8 {
        self.order.spelling()
    }

    fn number(&self) -> Option<Number> {
        (self.spelling() != ID).then_some(self.number)
    }
}

/// The spellings in the order in which a bulk's rows are recorded: those that need no text are
/// kept apart, so that their records hold none. Ids come last.
pub(super) const SPELLINGS: [u8; 4] = [PLUS, DIGITS, TEXT, ID];
const PLUS: u8 = 0;
const DIGITS: u8 = 1;
const TEXT: u8 = 2;
const ID: u8 = 3;

/// Stands in the rows of ids, where nobody looks at it.
const ANY_NUMBER: u64 = 12_025_550_100;

/// The key of a row before it is known; nobody's.
const UNKNOWN: SubscriberKey = SubscriberKey::from_u64(0);

/// Rows that one thread works on at a time.
const PIECE_ROWS: usize = 1 << 15;

/// What the keys of ids begin from that have none before they are numbered: no journal is as long.
const UNNUMBERED: u64 = 1 << 60;

impl Bulk {
    /// Rows that a bulk should gather at the most: what is sorted and folded at once.
    pub const ROWS_MAX: usize = 4 << 20;
    /// As many, when nearly all of them say nothing but a number and need little room. A crash
    /// right before they are folded leaves so many events to be taken in at the next opening.
    pub const PLAIN_ROWS_MAX: usize = 27 << 18;
    /// Plain rows for each other one, from which on nearly all are.
    const PLAIN_PER_OTHER: usize = 8;
    /// Bytes of spellings after which it should be recorded too.
    const TEXT_BYTES_MAX: usize = 256 << 20;

    /// An empty one.
    pub fn new() -> Bulk {
        Bulk::default()
    }

    /// Adds a row. A spelling longer than [`TEXT_BYTES_MAX`] is cut; NUL is replaced.
    pub fn push(&mut self, number: Number, occurred_at: Timestamp, raw: &str) {
        self.push_read(number, None, occurred_at, Spelling::of(number, raw));
    }

    /// As [`Bulk::push`], when it is known how the number was written, and perhaps its key under
    /// the folding of the store.
    pub(crate) fn push_read(
        &mut self,
        number: Number,
        key: Option<SubscriberKey>,
        occurred_at: Timestamp,
        spelling: Spelling<'_>,
    ) {
        let arrival = self.rows.len();
        let order = match spelling {
            Spelling::Plus => Order::new(PLUS, arrival, 0),
            Spelling::Digits => Order::new(DIGITS, arrival, 0),
            Spelling::Text(text) => {
                let end = text.floor_char_boundary(TEXT_BYTES_MAX - 1);
                let clean = text[..end].chars().map(|it| if it == '\0' { ' ' } else { it });
                let begin = self.texts.len();
                self.texts.extend(clean);
                let order = Order::new(TEXT, begin, self.texts.len() - begin);
                // No two texts begin at the same place, even when they are empty.
                self.texts.push('\n');
                order
            }
        };
        let key = key.unwrap_or(UNKNOWN);
        self.rows.push(BulkRow { key, number, occurred_at, order });
    }

    /// Adds rows that say nothing but a number, all with one moment.
    pub(crate) fn extend_plain(&mut self, rows: &[PlainRow], occurred_at: Timestamp) {
        if !self.plain.extend(rows, occurred_at) {
            self.push_plain(rows, occurred_at);
        }
    }

    /// Adds plain rows to the others.
    pub(super) fn push_plain(&mut self, rows: &[PlainRow], occurred_at: Timestamp) {
        self.rows.reserve(rows.len());
        for row in rows {
            self.push_read(row.number(), Some(row.key()), occurred_at, row.spelling());
        }
    }

    /// Gives the plain rows away to be recorded apart, if that pays: if they are at least `many` and
    /// nearly all, or too many to be anything else. Otherwise they join the others.
    pub(super) fn take_plain(&mut self, many: u64) -> Option<PlainRows> {
        let plain = std::mem::take(&mut self.plain);
        let count = plain.rows().len();
        let is_most = self.rows.len() <= count / Self::PLAIN_PER_OTHER;
        if count as u64 >= many && (is_most || self.rows.len() + count > Self::ROWS_MAX) {
            return Some(plain);
        }
        self.push_plain(plain.rows(), plain.occurred_at());
        None
    }

    /// Adds a row of an id without a number.
    pub fn push_id(&mut self, id: &BusinessId, occurred_at: Timestamp) {
        let order = Order::new(ID, self.texts.len(), id.as_str().len());
        let number = Number::from_e164(ANY_NUMBER).expect("it begins with a calling code");
        self.texts.push_str(id.as_str());
        self.texts.push('\n');
        let key = UNKNOWN;
        self.rows.push(BulkRow { key, number, occurred_at, order });
    }

    /// Adds a row that takes an import back; `empties` when nothing else is known of the
    /// subscriber.
    pub(super) fn push_retract(&mut self, address: &Address, at: Timestamp, empties: bool) {
        match address {
            Address::Number(number) => self.push_read(*number, None, at, Spelling::Plus),
            Address::Id(id) => self.push_id(id, at),
        }
        if let Some(row) = self.rows.last_mut() {
            row.order.0 |= u64::from(empties);
        }
    }

    /// Whether it has gathered so much that it should be recorded.
    pub fn is_full(&self) -> bool {
        Bulk::are_enough(self.plain.rows().len(), self.rows.len())
            || self.texts.len() >= Bulk::TEXT_BYTES_MAX
    }

    /// Whether so many plain rows and others should be recorded.
    pub(crate) fn are_enough(plain: usize, others: usize) -> bool {
        let is_most = others <= plain / Self::PLAIN_PER_OTHER;
        plain + others >= if is_most { Self::PLAIN_ROWS_MAX } else { Self::ROWS_MAX }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.plain.rows().len() + self.rows.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows: address and moment.
    pub fn rows(&self) -> impl Iterator<Item = (Address, Timestamp)> + '_ {
        let plain = self.plain.rows().iter();
        let at = self.plain.occurred_at();
        plain
            .map(move |row| (Address::Number(row.number()), at))
            .chain(self.rows.iter().map(|row| (self.address(row), row.occurred_at)))
    }

    /// Leaves out the rows whose address `wanted` refuses.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&Address) -> bool) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|row| wanted(&self.address(row)));
        self.rows = rows;
    }

    fn address(&self, row: &BulkRow) -> Address {
        match row.number() {
            Some(number) => Address::Number(number),
            None => Address::Id(self.id(row)),
        }
    }

    fn id(&self, row: &BulkRow) -> BusinessId {
        BusinessId::parse(self.text(row).as_bytes()).expect("the text of an id was one")
    }

    fn text(&self, row: &BulkRow) -> &str {
        &self.texts[row.order.text()]
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.plain.clear();
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
        for row in rows.iter_mut().filter(|row| row.number().is_none()) {
            let id = self.text(row);
            row.key = key_of_id(id).unwrap_or_else(|| {
                let next = SubscriberKey::of_id(UNNUMBERED + new_ids.len() as u64);
                *new_ids.entry(id).or_insert(next)
            });
        }
        rows.par_iter_mut().with_min_len(PIECE_ROWS).for_each(|row| {
            if row.key == UNKNOWN {
                row.key = fold(row.number, folding);
            }
        });
        // One comparison of 128 bits, without a branch.
        let place = |row: &BulkRow| u128::from(row.key.get()) << 64 | u128::from(row.order.0);
        rows.par_sort_unstable_by_key(place);
        let keys = rows.par_iter().with_min_len(PIECE_ROWS).map(|row| row.key);
        keys.collect_into_vec(&mut self.keys);
        self.rows = rows;
    }

    /// Gives each row the sequence that it will get: all rows of the first spelling come first.
    /// An id that has no key yet gets that of its first row: these ids and keys.
    pub(super) fn number_from(&mut self, first: u64) -> Vec<(BusinessId, SubscriberKey)> {
        let count = |rows: &[BulkRow]| {
            let mut counts = [0; SPELLINGS.len()];
            rows.iter().for_each(|row| counts[usize::from(row.spelling())] += 1);
            counts
        };
        let counts: Vec<[usize; SPELLINGS.len()]> =
            self.rows.par_chunks(PIECE_ROWS).map(count).collect();
        self.spelled = [0; SPELLINGS.len()];
        for counts in &counts {
            self.spelled.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        }
        // Where the rows of each spelling go on, for each piece.
        let mut next = [first; SPELLINGS.len()];
        for spelling in 1..SPELLINGS.len() {
            next[spelling] = next[spelling - 1] + self.spelled[spelling - 1] as u64;
        }
        let begins = counts.iter().map(|counts| {
            let begin = next;
            next.iter_mut().zip(counts).for_each(|(next, &count)| *next += count as u64);
            begin
        });
        let begins: Vec<[u64; SPELLINGS.len()]> = begins.collect();
        self.sequences.clear();
        self.sequences.resize(self.rows.len(), 0);
        let pieces = self.sequences.par_chunks_mut(PIECE_ROWS);
        let pieces = pieces.zip(self.rows.par_chunks(PIECE_ROWS)).zip(begins);
        pieces.for_each(|((sequences, rows), mut next)| {
            for (sequence, row) in sequences.iter_mut().zip(rows) {
                let next = &mut next[usize::from(row.spelling())];
                *sequence = *next;
                *next += 1;
            }
        });
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

    /// Marks the keys, which ascend, that have a row, once sorted.
    pub(super) fn mark(&self, keys: &[SubscriberKey], marks: &mut [bool]) {
        let Some(&first) = keys.first() else { return };
        let mut own = &self.keys[self.keys.partition_point(|&it| it < first)..];
        for (key, mark) in keys.iter().zip(marks) {
            while let Some((next, rest)) = own.split_first()
                && next < key
            {
                own = rest;
            }
            *mark |= own.first() == Some(key);
        }
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
        let mut left = self.spelled[usize::from(spelling)];
        std::iter::from_fn(move || {
            let count = left.min(RECORD_ROWS);
            left -= count;
            let mut rows = Vec::with_capacity(count);
            while rows.len() < count {
                if self.rows[at].spelling() == spelling {
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
            subject: row.number().map_or(Subject::Id(self.keys[at]), Subject::Number),
            occurred_at: row.occurred_at,
            spelling: match row.spelling() {
                PLUS => Spelling::Plus,
                DIGITS => Spelling::Digits,
                _ => Spelling::Text(self.text(row)),
            },
            previous: if follows { self.sequences[at - 1] } else { head },
        }
    }
}
