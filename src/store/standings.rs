//! How everybody stands: a generation, and over it what the journal holds beyond.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::error::StoreError;
use super::generation::Generation;
use super::standing::{Fact, Standing, decide};
use crate::event::Action;
use crate::journal::{Journal, JournalError, Record};
use crate::number::SubscriberKey;
use crate::time::Timestamp;

/// What the events beyond the generation changed. Numbers come from outside, hence the keyed
/// hash.
type Overlay = HashMap<SubscriberKey, Entry, RandomState>;

/// A key in the overlay.
#[derive(Clone, Copy, Debug)]
struct Entry {
    standing: Standing,
    /// `since` is that of the generation if the key is suppressed there: only opt-outs came
    /// since, so that nobody had to look yet.
    continues: bool,
}

/// Generation and overlay together. Clones share both until one of them changes.
#[derive(Clone, Debug)]
pub(super) struct Standings {
    pub(super) generation: Arc<Generation>,
    overlay: Arc<Overlay>,
}

impl Standings {
    pub(super) fn new(generation: Arc<Generation>) -> Standings {
        Standings { generation, overlay: Arc::default() }
    }

    /// How a key stands; `None` when no event is about it.
    pub(super) fn standing(&self, key: SubscriberKey) -> Result<Option<Standing>, StoreError> {
        match self.overlay.get(&key) {
            Some(entry) => self.resolve(key, entry).map(Some),
            None => self.generation.standing(key),
        }
    }

    fn resolve(&self, key: SubscriberKey, entry: &Entry) -> Result<Standing, StoreError> {
        let mut standing = entry.standing;
        if entry.continues {
            let layer = &self.generation.suppressed;
            if let Some(position) = layer.set.position(key) {
                let folded = layer.standing(position, true)?;
                (standing.since, standing.since_at) = (folded.since, folded.since_at);
            }
        }
        Ok(standing)
    }

    /// Whether each key is opted out.
    pub(super) fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        self.generation.suppressed.set.contains_batch(keys, found);
        if !self.overlay.is_empty() {
            for (key, found) in keys.iter().zip(found) {
                if let Some(entry) = self.overlay.get(key) {
                    *found = entry.standing.opted_out;
                }
            }
        }
    }

    /// Sequences of each key's newest event, 0 for keys without one.
    pub(super) fn heads(&self, keys: &[SubscriberKey]) -> Result<Vec<u64>, StoreError> {
        const BATCH: usize = 1024;
        let mut heads = Vec::with_capacity(keys.len());
        let mut positions = [None; BATCH];
        for keys in keys.chunks(BATCH) {
            let begin = heads.len();
            let positions = &mut positions[..keys.len()];
            let Generation { suppressed, released } = &*self.generation;
            for layer in [suppressed, released] {
                if layer.set.is_empty() {
                    continue;
                }
                layer.set.positions_batch(keys, positions);
                heads.resize(begin + keys.len(), 0);
                for (head, position) in heads[begin..].iter_mut().zip(&*positions) {
                    if let Some(position) = *position {
                        *head = layer.head(position)?;
                    }
                }
            }
            heads.resize(begin + keys.len(), 0);
            if !self.overlay.is_empty() {
                for (head, key) in heads[begin..].iter_mut().zip(keys) {
                    *head = self.overlay.get(key).map_or(*head, |entry| entry.standing.head);
                }
            }
        }
        Ok(heads)
    }

    /// Number of subscribers who are opted out.
    pub(super) fn opted_out(&self) -> u64 {
        let set = &self.generation.suppressed.set;
        let mut count = set.len();
        for (key, entry) in self.overlay.iter() {
            match (entry.standing.opted_out, set.contains(*key)) {
                (true, false) => count += 1,
                (false, true) => count -= 1,
                _ => {}
            }
        }
        count
    }

    /// Takes a record of the journal in.
    pub(super) fn apply(&mut self, journal: &Journal, record: &Record) -> Result<(), StoreError> {
        let folding = journal.folding();
        for row in 0..record.rows() {
            let Some(key) = record.key(row, folding) else { continue };
            let fact = Fact::of_row(record, row);
            self.settle(journal, key, fact, record.previous(row))?;
        }
        Ok(())
    }

    /// Takes one event in; `previous` is the sequence of the key's event before, 0 for none.
    fn settle(
        &mut self,
        journal: &Journal,
        key: SubscriberKey,
        fact: Fact,
        previous: u64,
    ) -> Result<(), StoreError> {
        let opts_out = fact.action == Action::OptOut;
        let known = self.overlay.get(&key).copied();
        let was_released = match known {
            Some(entry) => !entry.standing.opted_out,
            None => self.generation.released.set.contains(key),
        };
        let (head, since, since_at) = (fact.sequence, fact.sequence, fact.occurred_at);
        let entry = match known {
            // Nothing can lift an opt-out but a resubscribe, so that one more changes no state.
            Some(mut entry) if opts_out && !was_released => {
                entry.standing.head = head;
                entry
            }
            None if opts_out && !was_released => {
                let standing = Standing { opted_out: true, head, since, since_at };
                Entry { standing, continues: true }
            }
            _ => {
                let mut facts = facts_of(journal, previous)?;
                facts.push(fact);
                let standing = decide(&facts).expect("there is one event at least");
                Entry { standing, continues: false }
            }
        };
        Arc::make_mut(&mut self.overlay).insert(key, entry);
        Ok(())
    }

    /// Everything that the overlay changes, ascending by key.
    pub(super) fn changes(&self) -> Result<Vec<(SubscriberKey, Standing)>, StoreError> {
        use rayon::slice::ParallelSliceMut;
        let mut changes = Vec::with_capacity(self.overlay.len());
        for (&key, entry) in self.overlay.iter() {
            changes.push((key, self.resolve(key, entry)?));
        }
        changes.par_sort_unstable_by_key(|&(key, _)| key);
        Ok(changes)
    }
}

/// Follows a subscriber's history back from the event `sequence`.
pub(super) fn facts_of(journal: &Journal, sequence: u64) -> Result<Vec<Fact>, StoreError> {
    let mut facts = Vec::new();
    follow(journal, sequence, |record, row| facts.push(Fact::of_row(record, row)))?;
    Ok(facts)
}

/// Visits the event `sequence` and all before it of the same subscriber, newest first.
pub(super) fn follow(
    journal: &Journal,
    mut sequence: u64,
    mut visit: impl FnMut(&Record, usize),
) -> Result<(), StoreError> {
    while sequence != 0 {
        let record = journal.record(sequence)?.ok_or_else(|| {
            let what = "a history leads to an event that the journal does not hold";
            StoreError::Journal(JournalError::Damaged { file: journal.path(), offset: 0, what })
        })?;
        let row = (sequence - record.first_sequence()) as usize;
        visit(&record, row);
        // `Record::decode` refuses a link that does not lead back, so that this ends.
        sequence = record.previous(row);
    }
    Ok(())
}

/// The moment by which a range or a history goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Clock {
    /// When the person acted.
    Occurred,
    /// When it was recorded.
    #[default]
    Received,
}

impl Clock {
    /// The moment of a row by this clock.
    pub fn of(self, record: &Record, row: usize) -> Timestamp {
        match self {
            Clock::Occurred => record.occurred_at(row),
            Clock::Received => record.received_at(),
        }
    }
}
