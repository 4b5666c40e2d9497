//! Taking an import back: whom is it about, and who is free again without it?
//!
//! Every event of an import names it by the sequence of its first event. To take it back, a
//! retract is recorded for each subscriber whom it is about; nothing is deleted. What else was
//! recorded about him, by himself or by other imports, counts as if there had been no such import.
//!
//! Promises: nobody is freed from an opt-out of which the import knows nothing; a subscriber for
//! whom the import is taken back already gets no second retract, so that whatever interrupts an
//! undo, the next one completes it. Memory does not grow with the import: it is gone through in
//! parts, each of which is recorded like a list.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::bulk::Bulk;
use super::core::Core;
use super::error::{StoreError, WriteError};
use super::reader::Reader;
use super::standing::fact_of;
use super::standings::Standings;
use super::writer::{Writer, check_texts};
use crate::event::{Action, Details, Source};
use crate::journal::{Journal, Record};
use crate::number::{Address, SubscriberKey};
use crate::policy::{Claims, Fact};
use crate::time::Timestamp;

/// What taking an import back did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UndoReport {
    /// The import.
    pub batch: u64,
    /// Subscribers for whom it was taken back now: `released + still_opted_out + not_listed`.
    pub retracted: u64,
    /// Of these, those who are no longer opted out of anything.
    pub released: u64,
    /// Those who are opted out by other events.
    pub still_opted_out: u64,
    /// Those who had come back before.
    pub not_listed: u64,
    /// Sequence of the newest event in the store.
    pub sequence: u64,
}

impl UndoReport {
    fn count(&mut self, was_opted_out: bool, is_opted_out: bool) {
        self.retracted += 1;
        match (was_opted_out, is_opted_out) {
            (_, true) => self.still_opted_out += 1,
            (true, false) => self.released += 1,
            (false, false) => self.not_listed += 1,
        }
    }
}

impl Writer {
    /// Takes an import back, for all whom it is about and for whom it is not taken back yet.
    /// `details` say which, why and by whom; their action is [`Action::Retract`]. Returns when
    /// everything is durable. Other threads record meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such import ([`WriteError::Batch`]): nothing is recorded. Otherwise as
    /// [`Writer::append_bulk`]; doing it again completes it.
    pub fn undo_import(
        &self,
        details: &Details,
        received_at: Timestamp,
    ) -> Result<UndoReport, WriteError> {
        if details.action != Action::Retract {
            let why = "an import is taken back by a retract";
            return Err(WriteError::Action { action: details.action, why });
        }
        check_texts(details, "")?;
        let batch = Batch::of(self.core().journal.journal(), details.batch)?;
        let mut report = UndoReport { batch: batch.id, ..UndoReport::default() };
        let mut bulk = Bulk::new();
        let mut next = batch.id;
        while let Some(reached) =
            self.core().undo_part(&batch, next, details, received_at, &mut bulk, &mut report)?
        {
            next = reached + 1;
        }
        report.sequence = self.sequence();
        Ok(report)
    }
}

impl Reader {
    /// What [`Writer::undo_import`] would do.
    ///
    /// # Errors
    ///
    /// As it would give, and when an earlier refresh failed.
    pub fn plan_undo(&self, batch: u64) -> Result<UndoReport, WriteError> {
        self.usable()?;
        let batch = Batch::of(&self.journal, batch)?;
        let sequence = self.sequence();
        let mut report = UndoReport { batch: batch.id, sequence, ..UndoReport::default() };
        batch.visit(&self.journal, &self.standings, batch.id, |touched| {
            let was = self.contains(touched.key)?;
            let is = !touched.is_all && self.would_be_opted_out(touched.key, batch.id)?;
            report.count(was, is);
            Ok(true)
        })?;
        Ok(report)
    }

    /// Whether somebody would still be opted out of something without an import.
    fn would_be_opted_out(&self, key: SubscriberKey, batch: u64) -> Result<bool, StoreError> {
        let history = self.history(key)?;
        let mut facts = history.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
        let mut retract = Details::new(Action::Retract, Source::Agent);
        retract.batch = batch;
        let (next, now) = (self.sequence() + 1, Timestamp::default());
        facts.extend(Fact::new(&retract, next, now, now));
        Ok(!Claims::of(&facts).is_empty())
    }
}

impl Core {
    /// Takes the next part of an import back: its events from the sequence `from`. The last of
    /// these, or none at the import's end.
    fn undo_part(
        &mut self,
        batch: &Batch,
        from: u64,
        details: &Details,
        received_at: Timestamp,
        bulk: &mut Bulk,
        report: &mut UndoReport,
    ) -> Result<Option<u64>, WriteError> {
        self.check()?;
        bulk.clear();
        let mut keys = Vec::new();
        let undo_rows = self.limits.undo_rows;
        let reached = batch.visit(self.journal.journal(), &self.standings, from, |touched| {
            bulk.push_retract(&touched.address, received_at, touched.is_all);
            keys.push(touched.key);
            Ok(bulk.len() < undo_rows)
        })?;
        if !keys.is_empty() {
            let mut was = vec![false; keys.len()];
            let mut is = vec![false; keys.len()];
            self.standings.contains_batch(&keys, &mut was);
            self.append_bulks(&mut [(details, bulk)], received_at)?;
            self.standings.contains_batch(&keys, &mut is);
            was.into_iter().zip(is).for_each(|(was, is)| report.count(was, is));
        }
        Ok(reached)
    }
}

/// Where the journal holds an import.
#[derive(Debug)]
struct Batch {
    id: u64,
    /// Sequences of its events, ascending.
    events: Vec<Range<u64>>,
    /// Sequences of the retracts that took it back.
    retracts: Vec<Range<u64>>,
}

/// Somebody for whom an import is to be taken back.
struct Touched {
    key: SubscriberKey,
    address: Address,
    /// Whether one event of the import is all that is known of him.
    is_all: bool,
}

impl Batch {
    /// Looks an import up.
    fn of(journal: &Journal, id: u64) -> Result<Batch, WriteError> {
        let first = if id == 0 { None } else { journal.record(id)? };
        let refuse = |why: String| Err(WriteError::Batch { batch: id, why });
        match first.map(|record| record.details().batch) {
            Some(batch) if batch == id => {}
            Some(0) => return refuse(format!("event {id} belongs to no import")),
            Some(other) => return refuse(format!("event {id} belongs to the import {other}")),
            None => return refuse("there is no such event".to_owned()),
        }
        let mut batch = Batch { id, events: Vec::new(), retracts: Vec::new() };
        journal.scan::<StoreError>(
            id - 1,
            |_| true,
            |record| {
                if record.details().batch == id {
                    let ranges = match record.details().action {
                        Action::Retract => &mut batch.retracts,
                        _ => &mut batch.events,
                    };
                    extend(ranges, record);
                }
                Ok(true)
            },
        )?;
        Ok(batch)
    }

    /// Visits those for whom the import is not taken back yet, each once: at the last of its
    /// events about him. Begins with the event `from`, and ends with the record at which `visit`
    /// gave `false`: the sequence of its last row, or none at the import's end.
    fn visit(
        &self,
        journal: &Journal,
        standings: &Standings,
        from: u64,
        mut visit: impl FnMut(Touched) -> Result<bool, StoreError>,
    ) -> Result<Option<u64>, StoreError> {
        let mut reached = None;
        journal.scan::<StoreError>(
            from - 1,
            |span| holds(&self.events, span.first_sequence),
            |record| {
                let mut goes_on = true;
                for touched in self.touched(journal, standings, record)? {
                    goes_on &= visit(touched)?;
                }
                if !goes_on {
                    reached = Some(record.first_sequence() + record.rows() as u64 - 1);
                }
                Ok(goes_on)
            },
        )?;
        Ok(reached)
    }

    /// Those of a record at whose last event of the import it is.
    fn touched(
        &self,
        journal: &Journal,
        standings: &Standings,
        record: &Record,
    ) -> Result<Vec<Touched>, StoreError> {
        let folding = journal.folding();
        let key = |row| record.key(row, folding).zip(record.address(row)).map(|it| (row, it));
        let rows: Vec<(usize, (SubscriberKey, Address))> =
            (0..record.rows()).filter_map(key).collect();
        let keys: Vec<SubscriberKey> = rows.iter().map(|&(_, (key, _))| key).collect();
        let heads = standings.heads(&keys)?;
        let mut touched = Vec::new();
        for ((row, (key, address)), head) in rows.into_iter().zip(heads) {
            let sequence = record.first_sequence() + row as u64;
            if head == sequence || self.is_last(journal, head, sequence)? {
                let is_all = head == sequence && record.previous(row) == 0;
                touched.push(Touched { key, address, is_all });
            }
        }
        Ok(touched)
    }

    /// Whether an event is the import's last about its subscriber, whose newest event is `head`,
    /// and no retract followed it.
    fn is_last(&self, journal: &Journal, head: u64, sequence: u64) -> Result<bool, StoreError> {
        let mut at = head;
        while at > sequence && !holds(&self.events, at) && !holds(&self.retracts, at) {
            let Some(record) = journal.record(at)? else { break };
            at = record.previous((at - record.first_sequence()) as usize);
        }
        Ok(at == sequence)
    }
}

/// Adds the rows of a record that comes behind all others.
fn extend(ranges: &mut Vec<Range<u64>>, record: &Record) {
    let first = record.first_sequence();
    let end = first + record.rows() as u64;
    match ranges.last_mut() {
        Some(last) if last.end == first => last.end = end,
        _ => ranges.push(first..end),
    }
}

fn holds(ranges: &[Range<u64>], sequence: u64) -> bool {
    let next = ranges.partition_point(|range| range.end <= sequence);
    ranges.get(next).is_some_and(|range| range.start <= sequence)
}
