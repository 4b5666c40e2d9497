//! What happened in a range of dates?

use std::collections::BTreeMap;

use crate::event::{Action, Event, Source};
use crate::journal::{Record, Span};
use crate::number::{Address, SubscriberKey};
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
    /// Only those past this sequence: goes on where an earlier answer ended.
    pub after: u64,
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
            let sequence = first + row as u64;
            sequence > self.after
                && self.up_to.is_none_or(|last| sequence <= last)
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
    reader.scan(filter.after, wanted, |record| {
        for row in filter.rows(record) {
            if !visit(record.event(row, reader.folding()))? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

/// Hands one event to `visit` for each address whose subscriber opted out in the range and is
/// still opted out at its end: the first opt-out in the range that no resubscribe before its end
/// has lifted. An address that is opted out because a link joins it with that of the event comes
/// behind it, as the same event with this address.
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
    reader.scan(filter.after, wanted, |record| {
        if record.details().action != Action::OptOut {
            return Ok(true);
        }
        for row in filter.rows(record) {
            let Some(linked) = represents(reader, filter, record, row)? else { continue };
            let event = record.event(row, reader.folding());
            let of_linked = |(key, address)| Event {
                key: Some(key),
                address: Some(address),
                raw: String::new(),
                ..event.clone()
            };
            let others: Vec<Event> = linked.into_iter().map(of_linked).collect();
            for event in std::iter::once(event).chain(others) {
                if !visit(event)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    })
}

/// For a row that stands for its subscriber's state at the end of the range, the other addresses
/// of his; `None` for every other row.
fn represents(
    reader: &Reader,
    filter: &Filter,
    record: &Record,
    row: usize,
) -> Result<Option<BTreeMap<SubscriberKey, Address>>, StoreError> {
    let sequence = record.first_sequence() + row as u64;
    let Some(key) = record.key(row, reader.folding()) else { return Ok(None) };
    // Nearly everybody has one event only: then there is no history to be read.
    if record.previous(row) == 0 && reader.standing(key)?.is_some_and(|it| it.head == sequence) {
        return Ok(Some(BTreeMap::new()));
    }
    let known = reader.history_if(key, |event| {
        filter.range.to().is_none_or(|to| filter.moment(event) < to)
            && filter.up_to.is_none_or(|last| event.sequence <= last)
    })?;
    let facts = known.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
    let stands =
        |event: &Event| standing_opt_outs(&facts).any(|fact| fact.sequence == event.sequence);
    let first = known.iter().find(|event| {
        stands(event)
            && filter.range.contains(filter.moment(event))
            && filter.source.is_none_or(|source| event.details.source == source)
    });
    if first.is_none_or(|first| first.sequence != sequence) {
        return Ok(None);
    }
    let links = known.into_iter().filter(|event| event.details.action == Action::Link);
    let addresses = links.filter_map(|event| Some((event.key?, event.address?)));
    Ok(Some(addresses.filter(|&(other, _)| other != key).collect()))
}
