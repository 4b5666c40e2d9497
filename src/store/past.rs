//! How did the store stand at an earlier moment?
//!
//! [`Reader::at`] gives a view of the same type as the present one, so that whatever asks a store
//! can ask an earlier one. Nothing is replayed: whoever had no event since stands as he stands
//! now, and whoever had only later ones was not there. The few who have events on both sides of
//! the moment are decided again from those before it; they alone take memory, and next to none
//! when that says nothing else of them than the present does.
//!
//! Promises: a view answers as a store would that holds the known events and no others, whatever
//! was folded since; later events never change it, but for erasures, which silence at every
//! moment. Who has to be decided again is found out when the first answer needs it, so that one
//! person's history costs no look at everybody's. Leaves to others: what a view means for a
//! message.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use super::error::StoreError;
use super::linked::follow_all;
use super::profiles::{ProfileId, Profiles};
use super::reader::Reader;
use super::registry::{Registry, open_as_of};
use super::standing::{Decided, Standing, decide, fact_of_row, record_of};
use super::standings::{Lens, Standings};
use crate::journal::{Journal, Record, Span, Subject};
use crate::number::SubscriberKey;
use crate::policy::{Claims, Context, Fact, Policy, Ruling};
use crate::snapshot::{View, write_sorted};
use crate::time::Timestamp;

/// A moment in the life of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// What had been received until then, that moment included. Each event says for itself when
    /// it was received: when the clock was set back in between, one that was recorded later may
    /// be known and one before it not. The outside lists are those imported until then.
    Received(Timestamp),
    /// The events up to this sequence; of a link, which is two events, both or none. The outside
    /// lists are those imported before the next event.
    Sequence(u64),
}

/// What a view of an earlier moment has beside the present.
#[derive(Debug)]
pub(super) struct Past {
    moment: Moment,
    /// The sequences of the events that are not known: ascending, apart from each other. One
    /// range, unless the clock was set back.
    unknown: Vec<RangeInclusive<u64>>,
    /// The newest event that is known; 0 for none.
    sequence: u64,
    registries: Arc<[Registry]>,
    corrections: OnceLock<Corrections>,
    /// Held by whoever makes the corrections, so that the others wait instead of doing the same.
    making: Mutex<()>,
}

/// Those who have known events and others.
#[derive(Debug)]
struct Corrections {
    /// How each stood by the known ones; `None` for somebody without any, who is linked to others.
    standings: HashMap<SubscriberKey, Option<Standing>, RandomState>,
    /// Those who stood as they stand now, but for the sequence of their newest event. A list that
    /// is imported again and again has everybody here.
    unchanged: View<Vec<u8>>,
    /// The list of the present, and behind it what stood against these only.
    profiles: Arc<Profiles>,
}

impl Reader {
    /// The store as it was at an earlier moment: the same as that of a store that holds the
    /// events of then and no others. Asked of a view of the past, it goes by the same events as
    /// that view was made from, so that a later moment can be given too.
    ///
    /// The view stays as it is: [`Reader::refresh`] finds nothing new. It shares everything with
    /// this one. The first answer about anybody's standing reads the journal from the moment on;
    /// the history of one person does not.
    ///
    /// # Errors
    ///
    /// For a sequence that was not given yet, when a list of then is damaged or missing, and when
    /// an earlier refresh failed.
    pub fn at(&self, moment: Moment) -> Result<Reader, StoreError> {
        self.usable()?;
        let mut view = self.clone();
        view.past = Some(Arc::new(Past::open(self, moment)?));
        Ok(view)
    }

    /// The moment of a view of the past; `None` for one of now.
    pub fn moment(&self) -> Option<Moment> {
        self.past.as_ref().map(|past| past.moment)
    }

    /// Every subscriber about whom this view knows an event past the sequence `after`, and whoever
    /// shares facts with one: ascending, nobody twice. Nobody else can stand differently than he
    /// did at that sequence. Somebody who was erased since is among them by his tombstone.
    ///
    /// # Errors
    ///
    /// For a sequence past the newest that this view knows, and when the journal is damaged or
    /// can't be read.
    pub fn touched(&self, after: u64) -> Result<Vec<SubscriberKey>, StoreError> {
        if after > self.sequence() {
            return Err(StoreError::Future { asked: after, newest: self.sequence() });
        }
        self.subscribers_of(after, |_| true)
    }

    /// As [`Reader::touched`], of the events that another view of the same store does not know.
    pub(crate) fn touched_since(&self, other: &Reader) -> Result<Vec<SubscriberKey>, StoreError> {
        let Some(past) = &other.past else { return Ok(Vec::new()) };
        let Some(first) = past.unknown.first() else { return Ok(Vec::new()) };
        self.subscribers_of(first.start() - 1, |sequence| !past.knows(sequence))
    }

    /// Whether this view knows every event that another view of the same store knows.
    pub(crate) fn knows_all_of(&self, other: &Reader) -> bool {
        let unknown = |reader: &Reader| reader.past.as_ref().map(|it| it.unknown.clone());
        let (own, others) = (unknown(self).unwrap_or_default(), unknown(other).unwrap_or_default());
        let is_within = |inner: &RangeInclusive<u64>, outer: &RangeInclusive<u64>| {
            outer.contains(inner.start()) && outer.contains(inner.end())
        };
        own.iter().all(|inner| others.iter().any(|outer| is_within(inner, outer)))
    }

    /// Whom the events past `after` that count are about.
    fn subscribers_of(
        &self,
        after: u64,
        counts: impl Fn(u64) -> bool,
    ) -> Result<Vec<SubscriberKey>, StoreError> {
        let mut keys = Vec::new();
        self.scan::<StoreError>(
            after,
            |_| true,
            |record| {
                let rows = 0..record.rows();
                let counted = rows.filter(|&row| {
                    let sequence = record.first_sequence() + row as u64;
                    sequence > after && counts(sequence)
                });
                keys.extend(counted.filter_map(|row| record.key(row, self.folding())));
                Ok(true)
            },
        )?;
        self.standings.with_linked(&self.journal, keys)
    }

    /// The layers of the view's moment.
    pub(super) fn known_registries(&self) -> &[Registry] {
        self.past.as_ref().map_or(&self.registries, |past| &past.registries)
    }

    /// How everybody stood, for a view of the past.
    pub(super) fn past_standings(&self) -> Result<Option<PastStandings<'_>>, StoreError> {
        let Some(past) = &self.past else { return Ok(None) };
        let corrections = past.corrections(&self.standings, &self.journal)?;
        let (present, journal) = (&self.standings, &self.journal);
        Ok(Some(PastStandings { past, present, journal, corrections }))
    }
}

impl Past {
    fn open(reader: &Reader, moment: Moment) -> Result<Past, StoreError> {
        let journal = &reader.journal;
        let newest = journal.sequence();
        let unknown = match moment {
            Moment::Sequence(asked) if asked > newest => {
                return Err(StoreError::Future { asked, newest });
            }
            Moment::Sequence(last) if last == newest => Vec::new(),
            Moment::Sequence(last) => vec![whole_links(journal, last)? + 1..=newest],
            Moment::Received(at) => received_after(journal, at)?,
        };
        let sequence = match unknown.last() {
            Some(last) if *last.end() == newest => last.start() - 1,
            _ => newest,
        };
        let registries = match moment {
            Moment::Received(at) => Some(at),
            Moment::Sequence(last) => before_next(journal, last)?,
        };
        let registries = match registries {
            Some(at) => open_as_of(&reader.disk, &reader.manifest, &reader.registries, at)?,
            None => reader.registries.clone(),
        };
        let (corrections, making) = (OnceLock::new(), Mutex::new(()));
        Ok(Past { moment, unknown, sequence, registries, corrections, making })
    }

    /// Sequence of the newest event that is known.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether an event is known.
    pub(super) fn knows(&self, sequence: u64) -> bool {
        let behind = self.unknown.partition_point(|it| *it.start() <= sequence);
        behind.checked_sub(1).is_none_or(|at| *self.unknown[at].end() < sequence)
    }

    /// How many of the events `first ..= last`, which are of one record, are known. They are the
    /// first ones: all rows of a record were received at once.
    fn known_of(&self, first: u64, last: u64) -> u64 {
        if !self.knows(first) {
            return 0;
        }
        let next = self.unknown.partition_point(|it| *it.start() <= first);
        self.unknown.get(next).map_or(last + 1, |it| *it.start().min(&(last + 1))) - first
    }

    /// What is known of a record by what the index says; `None` when nothing is.
    pub(super) fn cut_span(&self, span: &Span) -> Option<Span> {
        let known = self.known_of(span.first_sequence, span.last_sequence);
        (known > 0).then(|| Span { last_sequence: span.first_sequence + known - 1, ..*span })
    }

    /// The record without the rows that are not known, if there are any.
    pub(super) fn cut_record(&self, record: &Record) -> Option<Record> {
        let first = record.first_sequence();
        let known = self.known_of(first, first + record.rows() as u64 - 1) as usize;
        (known < record.rows()).then(|| record.cut(known))
    }

    fn corrections(
        &self,
        present: &Standings,
        journal: &Journal,
    ) -> Result<&Corrections, StoreError> {
        if let Some(made) = self.corrections.get() {
            return Ok(made);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.corrections.get() {
            return Ok(made);
        }
        let made = self.correct(present, journal)?;
        Ok(self.corrections.get_or_init(|| made))
    }

    fn correct(&self, present: &Standings, journal: &Journal) -> Result<Corrections, StoreError> {
        /// A history takes some hundred bytes while it is decided. The more at once, the fewer
        /// records are read more than once.
        const AT_ONCE: usize = 1 << 19;
        let mut profiles = present.profiles().clone();
        let mut standings = HashMap::default();
        let mut unchanged = Vec::new();
        let keys = present.with_linked(journal, self.divided(journal)?)?;
        for keys in keys.chunks(AT_ONCE) {
            let facts = self.facts_of(journal, &present.heads(keys)?)?;
            for (&key, facts) in keys.iter().zip(facts) {
                let now = present.standing(key)?;
                let is_linked = now.is_some_and(|now| present.is_linked(now.profile));
                let decided = match is_linked {
                    true => self.decide_linked(present, journal, key)?,
                    false => decide(&facts),
                };
                let then = decided.map(|it| it.settled(Arc::make_mut(&mut profiles)));
                let as_now = then.zip(now).map(|(then, now)| Standing { head: now.head, ..then });
                match as_now.is_some() && as_now == now {
                    true => unchanged.push(key),
                    false => drop(standings.insert(key, then)),
                }
            }
        }
        Ok(Corrections { standings, unchanged: set_of(&unchanged), profiles })
    }

    /// The keys of which some events are known and others not: somewhere in their history a known
    /// one comes next to one that is not. Also those of people who were erased since: what was
    /// known of them can't be told any more, and they count as suppressed at any moment.
    fn divided(&self, journal: &Journal) -> Result<Vec<SubscriberKey>, StoreError> {
        let mut keys = Vec::new();
        let Some(first) = self.unknown.first() else { return Ok(keys) };
        let folding = journal.folding();
        journal.scan::<StoreError>(
            first.start() - 1,
            |_| true,
            |record| {
                for row in 0..record.rows() {
                    let (sequence, previous) =
                        (record.first_sequence() + row as u64, record.previous(row));
                    let is_divided = previous != 0 && self.knows(previous) != self.knows(sequence);
                    if is_divided || (is_tombstone(record, row) && !self.knows(sequence)) {
                        keys.extend(record.key(row, folding));
                    }
                }
                Ok(true)
            },
        )?;
        Ok(keys)
    }

    /// What the known events of the subscriber of a linked address amount to; `None` when the
    /// address has none.
    fn decide_linked(
        &self,
        present: &Standings,
        journal: &Journal,
        key: SubscriberKey,
    ) -> Result<Option<Decided>, StoreError> {
        let (mut facts, mut head) = (Vec::new(), 0);
        follow_all(
            journal,
            key,
            |key| present.head(key),
            |record, row| {
                let sequence = record.first_sequence() + row as u64;
                let counts = self.knows(sequence) || is_tombstone(record, row);
                if counts {
                    facts.push(fact_of_row(journal, record, row)?);
                    if record.key(row, journal.folding()) == Some(key) {
                        head = head.max(sequence);
                    }
                }
                Ok(counts)
            },
        )?;
        Ok(decide(&facts).filter(|_| head > 0).map(|decided| Decided { head, ..decided }))
    }

    /// For each address, given the newest event about it, all facts that are known. Step by
    /// step back in the histories of all together, in the order of the journal: in a list that was
    /// imported twice, one history after the other would read the same large records for each.
    fn facts_of(&self, journal: &Journal, heads: &[u64]) -> Result<Vec<Vec<Fact>>, StoreError> {
        let mut facts = vec![Vec::new(); heads.len()];
        let mut wanted: Vec<(u64, usize)> = heads.iter().copied().zip(0..).collect();
        loop {
            wanted.retain(|&(sequence, _)| sequence != 0);
            if wanted.is_empty() {
                return Ok(facts);
            }
            wanted.sort_unstable();
            for (sequence, place) in &mut wanted {
                let record = record_of(journal, *sequence)?;
                let row = (*sequence - record.first_sequence()) as usize;
                if self.knows(*sequence) || is_tombstone(&record, row) {
                    facts[*place].push(fact_of_row(journal, &record, row)?);
                }
                *sequence = record.previous(row);
            }
        }
    }

    /// The newest event that is known in a history, or what is left of it.
    fn newest_of(&self, journal: &Journal, head: u64) -> Result<u64, StoreError> {
        let mut sequence = head;
        while sequence != 0 && !self.knows(sequence) {
            let record = record_of(journal, sequence)?;
            let row = (sequence - record.first_sequence()) as usize;
            if is_tombstone(&record, row) {
                break;
            }
            sequence = record.previous(row);
        }
        Ok(sequence)
    }
}

/// A set of ascending keys: some two bytes for each in place of eight.
fn set_of(keys: &[SubscriberKey]) -> View<Vec<u8>> {
    let mut bytes = Vec::new();
    write_sorted(&mut bytes, || keys.iter().copied()).expect("they ascend, and memory takes all");
    View::open(bytes).expect("it was written just now")
}

fn is_tombstone(record: &Record, row: usize) -> bool {
    matches!(record.subjects()[row], Subject::Tombstone(_))
}

/// The sequences of all events that were received after a moment, by the indexes alone.
fn received_after(
    journal: &Journal,
    at: Timestamp,
) -> Result<Vec<RangeInclusive<u64>>, StoreError> {
    let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
    let look = |span: &Span| {
        if span.received_at > at {
            let (first, last) = (span.first_sequence, span.last_sequence);
            match ranges.last_mut() {
                Some(range) if range.end() + 1 == first => *range = *range.start()..=last,
                _ => ranges.push(first..=last),
            }
        }
        false
    };
    journal.scan::<StoreError>(0, look, |_| Ok(true))?;
    Ok(ranges)
}

/// The sequence, or the one before it if it is the first of the two events of a link: both of them
/// are known or none.
fn whole_links(journal: &Journal, sequence: u64) -> Result<u64, StoreError> {
    let Some(record) = journal.record(sequence)? else { return Ok(sequence) };
    let row = (sequence - record.first_sequence()) as usize;
    Ok(if record.partner(row) == Some(row + 1) { sequence - 1 } else { sequence })
}

/// The last moment before the event after `sequence` was received; `None` when there is none yet.
fn before_next(journal: &Journal, sequence: u64) -> Result<Option<Timestamp>, StoreError> {
    let received_at = |sequence| Ok(journal.span(sequence)?.map(|span| span.received_at));
    let received_at = |sequence| received_at(sequence).map_err(StoreError::Journal);
    let Some(next) = received_at(sequence + 1)? else { return Ok(None) };
    let before = Timestamp::from_millis(next.as_millis() - 1);
    // Events of the same millisecond have no moment between them.
    let own = received_at(sequence)?.filter(|&own| own <= next);
    Ok(Some(own.map_or(before, |own| own.max(before))))
}

/// How everybody stood at the moment of a view. As [`Standings`] for the present.
#[derive(Clone, Copy, Debug)]
pub(super) struct PastStandings<'a> {
    past: &'a Past,
    present: &'a Standings,
    journal: &'a Journal,
    corrections: &'a Corrections,
}

impl<'a> PastStandings<'a> {
    /// How a key stood; `None` when no known event is about it.
    pub(super) fn standing(&self, key: SubscriberKey) -> Result<Option<Standing>, StoreError> {
        if let Some(then) = self.corrections.standings.get(&key) {
            return Ok(*then);
        }
        match self.present.standing(key)? {
            Some(now) if !self.past.knows(now.head) => {
                if !self.corrections.unchanged.contains(key) {
                    return Ok(None);
                }
                let head = self.past.newest_of(self.journal, now.head)?;
                Ok(Some(Standing { head, ..now }))
            }
            now => Ok(now),
        }
    }

    /// Whether each key was opted out.
    pub(super) fn contains_batch(
        &self,
        keys: &[SubscriberKey],
        found: &mut [bool],
    ) -> Result<(), StoreError> {
        self.present.contains_batch(keys, found);
        self.forget(keys, found, false)?;
        let opted_out = |then: Option<Standing>| then.is_some_and(|it| it.opted_out);
        self.put_right(keys, found, opted_out);
        Ok(())
    }

    /// The ruling on each key.
    pub(super) fn judge_batch(
        &self,
        lens: &Lens,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), StoreError> {
        self.present.judge_batch(lens, keys, rulings)?;
        self.forget(keys, rulings, Ruling::UNLISTED)?;
        let ruling =
            |then: Option<Standing>| then.map_or(Ruling::UNLISTED, |it| lens.of(it.profile));
        self.put_right(keys, rulings, ruling);
        Ok(())
    }

    /// Answers `absent` for those who had no event yet. Where somebody's newest event is costs a
    /// look at another file: only those are looked up who are answered otherwise now.
    fn forget<T: Copy + PartialEq>(
        &self,
        keys: &[SubscriberKey],
        answers: &mut [T],
        absent: T,
    ) -> Result<(), StoreError> {
        if self.past.unknown.is_empty() {
            return Ok(());
        }
        let mut stayed = vec![false; keys.len()];
        self.corrections.unchanged.contains_batch(keys, &mut stayed);
        let (mut listed, mut places) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            if answers[place] != absent && !stayed[place] {
                listed.push(*key);
                places.push(place);
            }
        }
        for (place, head) in places.into_iter().zip(self.present.heads(&listed)?) {
            if !self.past.knows(head) {
                answers[place] = absent;
            }
        }
        Ok(())
    }

    /// Answers by the known events for those who have others too.
    fn put_right<T>(
        &self,
        keys: &[SubscriberKey],
        answers: &mut [T],
        answer: impl Fn(Option<Standing>) -> T,
    ) {
        if self.corrections.standings.is_empty() {
            return;
        }
        for (key, place) in keys.iter().zip(answers) {
            if let Some(then) = self.corrections.standings.get(key) {
                *place = answer(*then);
            }
        }
    }

    /// Number of subscribers who were opted out. Reads a column of everybody.
    pub(super) fn opted_out(&self) -> Result<u64, StoreError> {
        let mut count = self.present.opted_out_with(|head| self.past.knows(head))?;
        for key in &self.corrections.unchanged {
            let now = self.present.standing(key)?;
            count += u64::from(now.is_some_and(|it| it.opted_out && !self.past.knows(it.head)));
        }
        for (key, then) in &self.corrections.standings {
            let now = self.present.standing(*key)?;
            count -= u64::from(now.is_some_and(|it| it.opted_out && self.past.knows(it.head)));
            count += u64::from(then.is_some_and(|it| it.opted_out));
        }
        Ok(count)
    }

    /// Whether an address of this profile was one of several of its subscriber.
    pub(super) fn is_linked(&self, profile: ProfileId) -> bool {
        self.corrections.profiles.is_linked(profile)
    }

    /// What stood in a profile.
    pub(super) fn claims(&self, profile: ProfileId) -> &'a Claims {
        self.corrections.profiles.claims(profile)
    }

    /// What a policy says of each profile for one message.
    pub(super) fn lens(&self, policy: &Policy, context: &Context) -> Lens {
        Lens::new(&self.corrections.profiles, policy, context)
    }
}
