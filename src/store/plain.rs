//! Rows of a list that say nothing but a number: how are tens of millions of them kept?
//!
//! In most lists nearly every row is the digits of a number, with or without a plus, the number is
//! its own key, and all have the same moment. Such a row takes eight bytes here, where any other
//! takes 32, and everything else that is recorded of it follows from its place among the sorted
//! rows. A list of 20 million is so sorted and folded as a whole.
//!
//! Promises that nothing is kept for each subscriber beside the row itself. Leaves rows of any
//! other kind, and those of subscribers who are known already, to `bulk`.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::bulk::RECORD_ROWS;
use super::profiles::ProfileId;
use super::standing::Standing;
use crate::journal::{Row, Spelling, Subject};
use crate::number::{Number, SubscriberKey};
use crate::time::Timestamp;

/// A row that says nothing but a number which is its own key: the number, and in the lowest bit
/// whether it had no plus. Their order is that of the keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlainRow(u64);

/// The two ways in which plain rows are spelled, in the order in which they are recorded.
const SPELLINGS: [Spelling<'static>; 2] = [Spelling::Plus, Spelling::Digits];

/// Rows that one thread works on at a time.
const PIECE_ROWS: usize = 1 << 15;

impl PlainRow {
    /// The row of a number, unless it says more than that.
    #[inline]
    pub(crate) fn of(
        number: Number,
        key: SubscriberKey,
        spelling: Spelling<'_>,
    ) -> Option<PlainRow> {
        let place = match spelling {
            Spelling::Plus => 0,
            Spelling::Digits => 1,
            Spelling::Text(_) => return None,
        };
        let is_plain = key.get() == number.get() && number.get() >> (u64::BITS - 1) == 0;
        is_plain.then_some(PlainRow(number.get() << 1 | place))
    }

    pub(super) fn key(self) -> SubscriberKey {
        SubscriberKey::from_u64(self.0 >> 1)
    }

    pub(super) fn number(self) -> Number {
        Number::trusted(self.0 >> 1)
    }

    pub(super) fn spelling(self) -> Spelling<'static> {
        SPELLINGS[self.place()]
    }

    /// The place of its spelling.
    fn place(self) -> usize {
        (self.0 & 1) as usize
    }
}

/// Plain rows of one moment.
#[derive(Default)]
pub(super) struct PlainRows {
    rows: Vec<PlainRow>,
    occurred_at: Timestamp,
}

impl PlainRows {
    /// Adds rows; `false`, and nothing added, when those before have another moment.
    pub(super) fn extend(&mut self, rows: &[PlainRow], occurred_at: Timestamp) -> bool {
        if self.rows.is_empty() {
            self.occurred_at = occurred_at;
        }
        if self.occurred_at != occurred_at {
            return false;
        }
        self.rows.extend_from_slice(rows);
        true
    }

    pub(super) fn rows(&self) -> &[PlainRow] {
        &self.rows
    }

    pub(super) fn occurred_at(&self) -> Timestamp {
        self.occurred_at
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
    }

    /// By key; rows of one subscriber by spelling. Others of one spelling are the same row.
    pub(super) fn sort(&mut self) {
        sort(&mut self.rows);
    }

    /// Takes out the rows of the subscribers who are known, of ascending keys. They stay sorted.
    pub(super) fn take_known<E: Send>(
        &mut self,
        are_known: impl Fn(&[SubscriberKey]) -> Result<Vec<bool>, E> + Sync,
    ) -> Result<Vec<PlainRow>, E> {
        let known = |rows: &[PlainRow]| {
            let keys: Vec<SubscriberKey> = rows.iter().map(|row| row.key()).collect();
            let known = rows.iter().zip(are_known(&keys)?).filter(|(_, is_known)| *is_known);
            Ok(known.map(|(row, _)| *row).collect::<Vec<PlainRow>>())
        };
        let known: Vec<Vec<PlainRow>> =
            self.rows.par_chunks(PIECE_ROWS).map(known).collect::<Result<_, E>>()?;
        let known = known.concat();
        if !known.is_empty() {
            // Equal rows are either all known or none of them.
            let mut next = known.iter().peekable();
            self.rows.retain(|row| next.next_if(|known| *known == row).is_none());
        }
        Ok(known)
    }

    /// The rows, sorted and of subscribers of whom nothing is known, as they are recorded from the
    /// sequence `first` on: those with a plus come first. `profile` is what then stands against
    /// each of them.
    pub(super) fn number_from(&self, first: u64, profile: ProfileId) -> Fresh<'_> {
        let tally = |rows: &[PlainRow]| rows.iter().filter(|row| row.place() == 0).count();
        let plus: usize = self.rows.par_chunks(PIECE_ROWS).map(tally).sum();
        let repeats = |rows: &[PlainRow]| usize::from(rows[0].key() == rows[1].key());
        let repeated: usize = self.rows.par_windows(2).with_min_len(PIECE_ROWS).map(repeats).sum();
        Fresh {
            rows: &self.rows,
            first: [first, first + plus as u64],
            subscribers: (self.rows.len() - repeated) as u64,
            occurred_at: self.occurred_at,
            profile,
        }
    }
}

/// Parts them in the middle until there is a part for each thread.
fn sort(rows: &mut [PlainRow]) {
    const PART_ROWS: usize = 1 << 20;
    if rows.len() <= PART_ROWS {
        return rows.sort_unstable();
    }
    let (low, _, high) = rows.select_nth_unstable(rows.len() / 2);
    rayon::join(|| sort(low), || sort(high));
}

/// Sorted and numbered rows that are the first events about their subscribers.
#[derive(Clone, Copy)]
pub(super) struct Fresh<'a> {
    rows: &'a [PlainRow],
    /// Sequence of the first row of each spelling.
    first: [u64; SPELLINGS.len()],
    subscribers: u64,
    occurred_at: Timestamp,
    profile: ProfileId,
}

impl<'a> Fresh<'a> {
    /// Number of rows.
    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// How many subscribers they are about.
    pub(super) fn subscribers(&self) -> u64 {
        self.subscribers
    }

    /// Whether somebody has several rows.
    pub(super) fn has_repeats(&self) -> bool {
        self.subscribers < self.len()
    }

    /// Two standings between which all of them are, in every respect.
    pub(super) fn extremes(&self) -> [Standing; 2] {
        let [first, _] = self.first;
        let last = first + self.len().saturating_sub(1);
        [self.standing(first, first), self.standing(last, last)]
    }

    /// The keys of the subscribers, ascending.
    pub(super) fn keys(self) -> impl Iterator<Item = SubscriberKey> + 'a {
        let mut before = None;
        self.rows.iter().map(|row| row.key()).filter(move |&key| before.replace(key) != Some(key))
    }

    /// Goes over how the subscribers stand afterwards.
    pub(super) fn cursor(self) -> Cursor<'a> {
        Cursor { fresh: self, next: self.first }
    }

    fn standing(&self, since: u64, head: u64) -> Standing {
        let (since_at, profile) = (self.occurred_at, self.profile);
        Standing { opted_out: true, head, since, since_at, profile }
    }

    /// What is recorded, in pieces for one record each, in the order of the sequences.
    pub(super) fn records(self) -> impl Iterator<Item = Vec<Row<'static>>> + 'a {
        (0..SPELLINGS.len()).flat_map(move |place| {
            let mut rows = self.rows_spelled(place);
            std::iter::from_fn(move || {
                let rows: Vec<Row<'static>> = rows.by_ref().take(RECORD_ROWS).collect();
                (!rows.is_empty()).then_some(rows)
            })
        })
    }

    /// The rows of one spelling.
    fn rows_spelled(self, place: usize) -> impl Iterator<Item = Row<'static>> + 'a {
        let mut next = self.first;
        let mut before = (SubscriberKey::from_u64(0), 0);
        let end = self.first[0] + self.len();
        let has_some = [self.first[1] > self.first[0], end > self.first[1]][place];
        let rows = if has_some { self.rows } else { &[] };
        rows.iter().filter_map(move |row| {
            let (key, next) = (row.key(), &mut next[row.place()]);
            let previous = if before.0 == key { before.1 } else { 0 };
            before = (key, *next);
            *next += 1;
            (row.place() == place).then(|| Row {
                subject: Subject::Number(row.number()),
                occurred_at: self.occurred_at,
                spelling: row.spelling(),
                previous,
            })
        })
    }
}

/// Goes over how the subscribers of fresh rows stand, ascending by key.
pub(super) struct Cursor<'a> {
    /// Those that are left.
    fresh: Fresh<'a>,
    /// Sequence of the next row of each spelling.
    next: [u64; SPELLINGS.len()],
}

impl Cursor<'_> {
    /// Visits those whose key is below `end` and who were not visited yet.
    #[inline]
    pub(super) fn visit_below<E>(
        &mut self,
        end: SubscriberKey,
        mut visit: impl FnMut(SubscriberKey, &Standing) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some((row, rest)) = self.fresh.rows.split_first()
            && row.key() < end
        {
            self.fresh.rows = rest;
            let since = self.take(row);
            let mut head = since;
            while let Some((later, rest)) = self.fresh.rows.split_first()
                && later.key() == row.key()
            {
                self.fresh.rows = rest;
                head = self.take(later);
            }
            visit(row.key(), &self.fresh.standing(since, head))?;
        }
        Ok(())
    }

    fn take(&mut self, row: &PlainRow) -> u64 {
        let next = &mut self.next[row.place()];
        *next += 1;
        *next - 1
    }
}
