//! What happened in a range of dates?

use crate::event::{Action, Event, Source};
use crate::journal::{Record, Span};
use crate::policy::{Fact, standing_opt_outs};
use crate::store::{Clock, Reader, StoreError, fact_of};
use crate::time::{TimeRange, Timestamp};

/// Which events are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The moments that count.
    pub range: TimeRange,
    /// By which clock.
    pub clock: Clock,
    /// Only those of this source.
    pub source: Option<Source>,
    /// Only those up to this sequence: pins an answer while writes go on.
    pub up_to: Option<u64>,
}

impl Filter {
    /// Whether a record can hold a match, by what the index says of it.
    fn can_match(&self, span: &Span) -> bool {
        let (first, last) = match self.clock {
            Clock::Received => (span.received_at, span.received_at),
            Clock::Occurred => (span.occurred_min, span.occurred_max),
        };
        self.range.overlaps(first, last) && self.up_to.is_none_or(|it| span.first_sequence <= it)
    }

    /// The rows of a record that match.
    fn rows<'a>(&'a self, record: &'a Record) -> impl Iterator<Item = usize> + 'a {
        let is_of_source = self.source.is_none_or(|source| record.details().source == source);
        let rows = if is_of_source { record.rows() } else { 0 };
        let first = record.first_sequence();
        (0..rows).filter(move |&row| {
            self.up_to.is_none_or(|last| first + row as u64 <= last)
                && self.range.contains(self.clock.of(record, row))
        })
    }

    fn moment(&self, event: &Event) -> Timestamp {
        match self.clock {
            Clock::Occurred => event.occurred_at,
            Clock::Received => event.received_at,
        }
    }
}

/// Hands every event that matches to `visit`, in order of sequence, until it gives `false`.
///
/// # Errors
///
/// When the journal is damaged or can't be read, and what `visit` gives.
pub fn events<E: From<StoreError>>(
    reader: &Reader,
    filter: &Filter,
    mut visit: impl FnMut(Event) -> Result<bool, E>,
) -> Result<(), E> {
    let wanted = |span: &Span| filter.can_match(span);
    reader.scan(0, wanted, |record| {
        for row in filter.rows(record) {
            if !visit(record.event(row, reader.folding()))? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Hands one event to `visit` for each subscriber who opted out in the range and is still opted
/// out at its end: the first opt-out in the range that no resubscribe before its end has lifted.
///
/// # Errors
///
/// As [`events`].
pub fn states<E: From<StoreError>>(
    reader: &Reader,
    filter: &Filter,
    mut visit: impl FnMut(Event) -> Result<bool, E>,
) -> Result<(), E> {
    let wanted = |span: &Span| filter.can_match(span);
    reader.scan(0, wanted, |record| {
        if record.details().action != Action::OptOut {
            return Ok(true);
        }
        for row in filter.rows(record) {
            let event = record.event(row, reader.folding());
            if represents(reader, filter, record, row)? && !visit(event)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Whether a row is the event that stands for its subscriber's state at the end of the range.
fn represents(
    reader: &Reader,
    filter: &Filter,
    record: &Record,
    row: usize,
) -> Result<bool, StoreError> {
    let sequence = record.first_sequence() + row as u64;
    let Some(key) = record.key(row, reader.folding()) else { return Ok(false) };
    // Nearly everybody has one event only: then there is no history to be read.
    if record.previous(row) == 0 && reader.standing(key)?.is_some_and(|it| it.head == sequence) {
        return Ok(true);
    }
    let mut known = reader.history(key)?;
    known.retain(|event| {
        filter.range.to().is_none_or(|to| filter.moment(event) < to)
            && filter.up_to.is_none_or(|last| event.sequence <= last)
    });
    let facts = known.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
    let stands =
        |event: &Event| standing_opt_outs(&facts).any(|fact| fact.sequence == event.sequence);
    let first = known.iter().find(|event| {
        stands(event)
            && filter.range.contains(filter.moment(event))
            && filter.source.is_none_or(|source| event.details.source == source)
    });
    Ok(first.is_some_and(|first| first.sequence == sequence))
}
