//! What only one thread at a time touches: journal, standings and manifest of a writer.
//!
//! Everything here either is durable when it is answered, or the writer is finished.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::bulk::{Bulk, BulkReport, SPELLINGS};
use super::changes;
use super::column::ColumnIdentity;
use super::erase::Gone;
use super::error::{StoreError, WriteError};
use super::generation::{self, Generation};
use super::incoming::Incoming;
use super::init::{is_unused_segment, take_lock};
use super::layout::{Entry, LOCK};
use super::linked::Pool;
use super::manifest::{FileInfo, LayerInfo, Manifest};
use super::plain::{PlainRow, PlainRows};
use super::profiles::ProfileId;
use super::reader::load;
use super::standing::{Decided, Standing, decide};
use super::standings::Standings;
use super::writer::{CompactReport, NewEvent, Outcome, Receipt};
use crate::disk::{Disk, Lock};
use crate::event::{Action, Details};
use crate::journal::format::SEGMENT_BYTES_MAX;
use crate::journal::{JournalWriter, Row, Spelling, Subject};
use crate::number::{Address, Folding, SubscriberKey};
use crate::policy::{Claims, Fact, refusal, standing_opt_outs};
use crate::time::Timestamp;

/// When files are folded and sealed. Tests set other limits, to see many files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Events beyond the generation after which folding them pays.
    pub(super) compact_after_events: u64,
    /// So many subscribers at most are listed beside the sets as changed, before the sets are
    /// written anew.
    pub(super) changes_max: u64,
    /// So many members the sets have at least for each subscriber that is listed beside them.
    pub(super) members_per_change: u64,
    /// Compaction seals an active segment of this length, so that opening reads little.
    pub(super) compact_seals_bytes: u64,
    /// An active segment of this length is sealed before the next record.
    pub(super) segment_bytes: u64,
    /// Retracts that are recorded at once when an import is taken back.
    pub(super) undo_rows: usize,
    /// Rows about people who are known already that are recorded at once.
    pub(super) known_rows: usize,
}

impl Default for Limits {
    /// A reader takes in about five million events a second, and as many changes, so that opening
    /// stays in the range of some ten milliseconds.
    fn default() -> Limits {
        Limits {
            compact_after_events: 131_072,
            changes_max: 32_768,
            members_per_change: 64,
            compact_seals_bytes: 4 << 20,
            segment_bytes: SEGMENT_BYTES_MAX,
            undo_rows: Bulk::ROWS_MAX,
            known_rows: Bulk::ROWS_MAX,
        }
    }
}

/// What only one thread at a time touches.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    lock: Box<dyn Lock>,
    pub(super) manifest: Manifest,
    pub(super) journal: JournalWriter,
    pub(super) standings: Standings,
    pub(super) limits: Limits,
}

impl Core {
    /// Opens a store for writing, and mends what an interrupted writer left.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Core, WriteError> {
        // First a look without the lock: locking creates its file, and a directory that is no
        // store stays untouched.
        Manifest::read(&*disk)?;
        let lock = take_lock(&*disk)?;
        let manifest = Manifest::read(&*disk)?;
        let (journal, standings) = load(&disk, &manifest, None)?;
        let journal = JournalWriter::new(journal)?;
        let limits = Limits::default();
        let mut core = Core { disk, lock, manifest, journal, standings, limits };
        core.remove_unfinished()?;
        core.remove_unnamed_registries()?;
        if core.journal.is_rotation_pending() {
            let at = core.journal.last_received_at().unwrap_or_default();
            core.rotate(at)?;
        }
        Ok(core)
    }

    /// Removes files that an interrupted change left and the manifest does not name. A segment
    /// with records is none of these: events are only appended to segments that it names.
    pub(super) fn remove_unfinished(&self) -> Result<(), WriteError> {
        let active = self.manifest.active;
        let sealed = &self.manifest.sealed;
        // Another revision than the manifest's holds what somebody wanted forgotten, or what an
        // interrupted revision left.
        let is_other_revision = |segment, revision| {
            let place = sealed.binary_search_by_key(&segment, |it| it.segment);
            place.is_ok_and(|place| sealed[place].revision != revision)
        };
        for name in self.disk.list()? {
            if matches!(Entry::of(&name), Entry::Segment(segment, _) if segment > active)
                && !is_unused_segment(&*self.disk, &name)?
            {
                let what = "it holds events, but the manifest does not name it";
                return Err(StoreError::damaged(self.disk.path_of(&name), 0, what).into());
            }
            let is_unfinished = match Entry::of(&name) {
                Entry::ManifestNext => true,
                Entry::Generation(generation) => generation != self.manifest.base(),
                Entry::Changes(generation) => {
                    self.manifest.changes.is_none() || generation != self.manifest.generation
                }
                Entry::Ids(_) => self.manifest.ids.as_ref().is_none_or(|file| file.name != name),
                Entry::Segment(segment, revision) => {
                    segment > active || is_other_revision(segment, revision)
                }
                Entry::Index(segment, revision) => {
                    segment >= active || is_other_revision(segment, revision)
                }
                _ => false,
            };
            if is_unfinished {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Whether the store is still this writer's.
    pub(super) fn check(&self) -> Result<(), WriteError> {
        self.check_finished()?;
        if !self.lock.is_in_place() {
            return Err(WriteError::LockLost { path: self.disk.path_of(LOCK) });
        }
        Ok(())
    }

    fn check_finished(&self) -> Result<(), WriteError> {
        if self.journal.is_finished() { Err(WriteError::Finished) } else { Ok(()) }
    }

    /// Records the events of several calls, each with the moment at which it came, syncs once,
    /// and gives each call its answer, in their order.
    pub(super) fn commit(
        &mut self,
        calls: &[(&[NewEvent], Timestamp)],
    ) -> Vec<Result<Vec<Receipt>, WriteError>> {
        let mut answers = Vec::with_capacity(calls.len());
        // Its system calls would be a good part of what a small event takes.
        let is_ours = self.check().is_ok();
        for &(events, received_at) in calls {
            let before = self.sequence();
            let usable = if is_ours { self.check_finished() } else { self.check() };
            let answer = usable.and_then(|()| self.record(events, received_at));
            if answer.is_err() {
                self.give_up_past(before);
            }
            answers.push(answer);
        }
        if let Err(error) = self.journal.sync() {
            // One of them gets the cause; that nothing is acknowledged holds for all.
            let mut cause = Some(WriteError::from(error));
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(cause.take().unwrap_or(WriteError::Finished));
            }
        }
        answers
    }

    /// Ends the writer: it acknowledges nothing more.
    pub(super) fn give_up(&mut self) {
        self.journal.give_up();
    }

    /// After a failure: if events were appended past `sequence`, the standings may not have
    /// followed them, and nothing that this writer would do from here on could be relied on.
    pub(super) fn give_up_past(&mut self, sequence: u64) {
        if self.sequence() != sequence {
            self.journal.give_up();
        }
    }

    fn record(
        &mut self,
        events: &[NewEvent],
        received_at: Timestamp,
    ) -> Result<Vec<Receipt>, WriteError> {
        let mut receipts = Vec::with_capacity(events.len());
        let mut rest = events;
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(self.run_length(first, rest));
            self.record_run(now, received_at, &mut receipts)?;
            rest = later;
        }
        Ok(receipts)
    }

    /// How many of the events go into one record. Its rows share their details; a subscriber
    /// must not occur twice in it, as the second row's outcome hangs on the first's; nor may a
    /// message id be repeated.
    fn run_length(&self, first: &NewEvent, events: &[NewEvent]) -> usize {
        // An operator's resubscribe may be refused, each by itself.
        let may_be_refused = first.details.action == Action::Resubscribe;
        let is_alone = !first.details.message_id.is_empty() || first.linked.is_some();
        if events.len() == 1 || is_alone || may_be_refused {
            return 1;
        }
        let (mut keys, mut new_ids) = (HashSet::new(), HashSet::new());
        let mut length = 0;
        for event in events.iter().take_while(|it| it.details == first.details) {
            let is_new_in_it = match self.key_of(&event.address) {
                Some(key) => keys.insert(key),
                None => new_ids.insert(&event.address),
            };
            if !is_new_in_it {
                break;
            }
            length += 1;
        }
        length
    }

    /// How numbers become keys in this store.
    pub(super) fn folding(&self) -> Folding {
        self.manifest.folding()
    }

    /// The release of the phone metadata by which the store's numbers were read.
    pub(super) fn metadata_release(&self) -> &str {
        &self.manifest.metadata_release
    }

    /// Sequence of the newest event.
    pub(super) fn sequence(&self) -> u64 {
        self.journal.journal().sequence()
    }

    #[cfg(test)]
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The key of an address; `None` for an id that no event is about.
    pub(super) fn key_of(&self, address: &Address) -> Option<SubscriberKey> {
        self.standings.key_of(address, self.manifest.folding())
    }

    fn record_run(
        &mut self,
        events: &[NewEvent],
        received_at: Timestamp,
        receipts: &mut Vec<Receipt>,
    ) -> Result<(), WriteError> {
        let first = &events[0];
        if let Some(sequence) = self.recorded_before(first)? {
            let opted_out = self.is_opted_out(&first.address)?;
            receipts.push(Receipt { sequence, outcome: Outcome::Already, opted_out });
            return Ok(());
        }
        let addresses: Vec<&Address> = events
            .iter()
            .flat_map(|it| [Some(&it.address), it.linked.as_ref()])
            .flatten()
            .collect();
        let next = self.sequence() + 1;
        let keys: Vec<SubscriberKey> = (next..)
            .zip(&addresses)
            .map(|(at, address)| self.key_of(address).unwrap_or(SubscriberKey::of_id(at)))
            .collect();
        let before = keys
            .iter()
            .map(|&key| self.standings.standing(key))
            .collect::<Result<Vec<_>, StoreError>>()?;
        if let Some(receipt) = self.refused(first, keys[0], received_at)? {
            receipts.push(receipt);
            return Ok(());
        }
        if let [one, other] = keys[..]
            && first.linked.is_some()
            && let Some(sequence) = self.linked_before(one, other)?
        {
            let opted_out = before[0].is_some_and(|standing| standing.opted_out);
            receipts.push(Receipt { sequence, outcome: Outcome::Already, opted_out });
            return Ok(());
        }
        if let [one, other] = keys[..]
            && first.linked.is_some()
            && let Some(sequence) = self.freed_by_link(one, other)?
        {
            receipts.push(Receipt { sequence, outcome: Outcome::Refused, opted_out: true });
            return Ok(());
        }
        let mut rows = Vec::with_capacity(addresses.len());
        for (place, address) in addresses.into_iter().enumerate() {
            // The second row of a link is no event of its own.
            let raw = events.get(place).map(|event| &*event.raw);
            rows.push(Row {
                subject: subject(address, keys[place]),
                occurred_at: events.get(place).unwrap_or(first).occurred_at,
                spelling: spelling(address, raw),
                previous: before[place].map_or(0, |standing| standing.head),
            });
        }
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let taken = self.append_record(&first.details, received_at, rest)?;
            let record = self.journal.newest()?;
            self.standings.apply(self.journal.journal(), &record)?;
            rest = &rest[taken..];
        }
        for (place, (&key, before)) in keys.iter().zip(before).take(events.len()).enumerate() {
            let after = self.standings.standing(key)?;
            let profile = |it: Option<Standing>| it.map_or(ProfileId::NOTHING, |it| it.profile);
            let is = after.is_some_and(|standing| standing.opted_out);
            let outcome = match (first.details.action, profile(before) != profile(after)) {
                (Action::OptOut, true) => Outcome::Added,
                (Action::OptOut, false) => Outcome::Already,
                (Action::Override, _) => Outcome::Recorded,
                (Action::Link, _) => Outcome::Linked,
                (_, true) => Outcome::Resubscribed,
                (_, false) => Outcome::NotListed,
            };
            let sequence = next + place as u64;
            receipts.push(Receipt { sequence, outcome, opted_out: is });
        }
        Ok(())
    }

    fn is_opted_out(&self, address: &Address) -> Result<bool, StoreError> {
        let Some(key) = self.key_of(address) else { return Ok(false) };
        Ok(self.standings.standing(key)?.is_some_and(|standing| standing.opted_out))
    }

    /// The event that joined two addresses, if they are joined.
    fn linked_before(
        &self,
        one: SubscriberKey,
        other: SubscriberKey,
    ) -> Result<Option<u64>, WriteError> {
        let pool = self.standings.pool(self.journal.journal(), one)?;
        if pool.members.iter().all(|&(member, _)| member != other) {
            return Ok(None);
        }
        let links = pool.facts.iter().filter(|fact| fact.action == Action::Link);
        Ok(links.map(|fact| fact.sequence).min())
    }

    /// An opt-out that no longer counts as it does once two addresses are one subscriber's: somebody
    /// came back at the one and not at the other. Whether that was meant for both nobody knows.
    fn freed_by_link(
        &self,
        one: SubscriberKey,
        other: SubscriberKey,
    ) -> Result<Option<u64>, WriteError> {
        let journal = self.journal.journal();
        let one = self.standings.pool(journal, one)?.facts;
        let other = self.standings.pool(journal, other)?.facts;
        let joined: Vec<Fact> = one.iter().chain(&other).cloned().collect();
        let (apart, together) = (Claims::of(&one).union(&Claims::of(&other)), Claims::of(&joined));
        if together.union(&apart) == together {
            return Ok(None);
        }
        let is_lifted =
            |opt_out: &&Fact| standing_opt_outs(&joined).all(|it| it.sequence != opt_out.sequence);
        let before = || standing_opt_outs(&one).chain(standing_opt_outs(&other));
        let freed = before().find(is_lifted).or_else(|| before().next());
        Ok(freed.map(|opt_out| opt_out.sequence))
    }

    /// The answer to an operator's resubscribe that would leave the person's own word standing,
    /// without saying that it overrides it: nothing is recorded.
    fn refused(
        &self,
        event: &NewEvent,
        key: SubscriberKey,
        received_at: Timestamp,
    ) -> Result<Option<Receipt>, WriteError> {
        if event.details.action != Action::Resubscribe {
            return Ok(None);
        }
        let sequence = self.sequence() + 1;
        let fact = Fact::new(&event.details, sequence, event.occurred_at, received_at)?;
        let pool = self.standings.pool(self.journal.journal(), key)?;
        let refusal = refusal(&fact, &pool.facts);
        Ok(refusal.map(|refusal| Receipt {
            sequence: refusal.sequence,
            outcome: Outcome::Refused,
            opted_out: true,
        }))
    }

    /// Appends rows that share their details; the sequence of the first. Seals segments as they
    /// fill up.
    pub(super) fn append(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        rows: &[Row<'_>],
    ) -> Result<u64, WriteError> {
        let first = self.sequence() + 1;
        let mut rest = rows;
        while !rest.is_empty() {
            let taken = self.append_record(details, received_at, rest)?;
            rest = &rest[taken..];
        }
        Ok(first)
    }

    /// Appends as many of the rows as one record holds; how many those were.
    fn append_record(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        rows: &[Row<'_>],
    ) -> Result<usize, WriteError> {
        if self.journal.active_bytes() >= self.limits.segment_bytes {
            self.rotate(received_at)?;
        }
        Ok(self.journal.append(details, received_at, rows)?)
    }

    /// The sequence under which the same message, number and action stand already.
    fn recorded_before(&self, event: &NewEvent) -> Result<Option<u64>, WriteError> {
        let message_id = &event.details.message_id;
        // A link that is repeated is known by what it joins: one message may join several ids.
        if message_id.is_empty() || event.linked.is_some() {
            return Ok(None);
        }
        let Some(key) = self.key_of(&event.address) else { return Ok(None) };
        let folding = self.manifest.folding();
        for record in self.journal.journal().records_of_message(message_id)? {
            if record.details().action != event.details.action {
                continue;
            }
            let row = (0..record.rows()).find(|&row| record.key(row, folding) == Some(key));
            if let Some(row) = row {
                return Ok(Some(record.first_sequence() + row as u64));
            }
        }
        Ok(None)
    }

    /// Lets the standings follow the journal past the sequence `after`.
    pub(super) fn take_in(&mut self, after: u64) -> Result<(), WriteError> {
        let journal = self.journal.journal();
        let standings = &mut self.standings;
        let apply = |record: &_| standings.apply(journal, record).map(|()| true);
        journal.scan::<StoreError>(after, |_| true, apply)?;
        Ok(())
    }

    /// Records lists, each with its details, and syncs once unless they are large. Those that
    /// begin an import begin the same one.
    pub(super) fn append_bulks(
        &mut self,
        lists: &mut [(&Details, &mut Bulk)],
        received_at: Timestamp,
    ) -> Result<BulkReport, WriteError> {
        self.check()?;
        let before = self.sequence();
        let mut total = BulkReport { sequence: before, ..BulkReport::default() };
        let mut begun = None;
        let last = lists.len().saturating_sub(1);
        for (place, (details, bulk)) in lists.iter_mut().enumerate() {
            let mut details = details.clone();
            let begins = details.batch == Details::NEW_BATCH;
            if let Some(batch) = begun.filter(|_| begins) {
                details.batch = batch;
            }
            let report = self.append_bulk(&details, received_at, bulk, place == last);
            if report.is_err() {
                self.give_up_past(before);
            }
            let report = report?;
            begun = begun.or(report.batch.filter(|_| begins));
            total.add(report);
            // Makes what it folds durable first.
            self.compact_if_due(received_at)?;
        }
        Ok(total)
    }

    /// Records a list; many rows that say nothing but a number, of people of whom nothing is known,
    /// apart from the others. Durable when this returns, but for a small list without `sync`.
    fn append_bulk(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        bulk: &mut Bulk,
        sync: bool,
    ) -> Result<BulkReport, WriteError> {
        // Rows are compared with those of the same message one by one.
        let many = match details.message_id.is_empty() {
            true => self.limits.compact_after_events.max(1),
            false => u64::MAX,
        };
        let Some(mut plain) = bulk.take_plain(many) else {
            return self.append_others(details, received_at, bulk, sync);
        };
        let at = plain.occurred_at();
        let mut known = self.part_known(&mut plain, bulk)?;
        let is_many = plain.rows().len() as u64 >= many;
        if !is_many {
            known.extend(std::mem::take(&mut plain).rows());
        }
        let mut total = match is_many {
            true => self.append_fresh(details, received_at, &plain, bulk)?,
            false => self.append_others(details, received_at, bulk, true)?,
        };
        drop(plain);
        let mut details = details.clone();
        for rows in known.chunks(self.limits.known_rows) {
            details.batch = total.batch.unwrap_or(details.batch);
            bulk.clear();
            bulk.push_plain(rows, at);
            total.add(self.append_others(&details, received_at, bulk, true)?);
        }
        Ok(total)
    }

    /// Takes the rows out of `plain`, and sorts it, whose subscribers have events already or are in
    /// `bulk` too. They go into the bulk; those for which it has no room are given.
    fn part_known(
        &self,
        plain: &mut PlainRows,
        bulk: &mut Bulk,
    ) -> Result<Vec<PlainRow>, WriteError> {
        plain.sort();
        bulk.sort(self.manifest.folding(), |id| self.standings.key_of_id(id));
        if self.sequence() == 0 && bulk.is_empty() {
            return Ok(Vec::new());
        }
        let known = plain.take_known(|keys| {
            let mut known = match self.sequence() {
                0 => vec![false; keys.len()],
                _ => self.standings.heads(keys)?.into_iter().map(|head| head != 0).collect(),
            };
            bulk.mark(keys, &mut known);
            Ok::<Vec<bool>, StoreError>(known)
        })?;
        let room = self.limits.known_rows.saturating_sub(bulk.len());
        let (now, later) = known.split_at(room.min(known.len()));
        bulk.push_plain(now, plain.occurred_at());
        Ok(later.to_vec())
    }

    /// Records and folds rows about people of whom nothing is known, and those of a bulk about
    /// other people.
    fn append_fresh(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        plain: &PlainRows,
        bulk: &mut Bulk,
    ) -> Result<BulkReport, WriteError> {
        let first = self.sequence() + 1;
        let mut details = details.clone();
        if details.batch == Details::NEW_BATCH {
            details.batch = first;
        }
        let opt_out = Fact::new(&details, first, Timestamp::default(), received_at)?;
        let fresh = plain.number_from(first, self.standings.place_alone(&opt_out));
        bulk.sort(self.manifest.folding(), |id| self.standings.key_of_id(id));
        let heads = self.heads(&bulk.keys)?;
        let new_ids = bulk.number_from(first + fresh.len());
        let mut report = BulkReport::default();
        let others = self.changes_of(bulk, &heads, &opt_out, &mut report, Journaled::NotYet)?;
        let is_settled = others.is_some();
        let settled = match others {
            Some(others) => merge_changes(self.standings.changes()?, others),
            None => self.standings.changes()?,
        };
        if is_settled {
            new_ids.into_iter().for_each(|(id, key)| self.standings.learn(id, key));
        }
        let changes = Incoming { settled: &settled, fresh: Some(fresh) };
        self.append_and_fold(received_at, changes, |core| {
            for rows in fresh.records() {
                core.append(&details, received_at, &rows)?;
            }
            if is_settled {
                core.append_rows(&details, received_at, bulk, &heads)?;
            }
            Ok(())
        })?;
        report.added += fresh.subscribers();
        report.already += fresh.len() - fresh.subscribers();
        report.batch = Some(details.batch).filter(|&batch| batch != 0);
        report.sequence = self.sequence();
        if !is_settled {
            // Somebody's history decides, which has to be in the journal first.
            report.add(self.append_others(&details, received_at, bulk, true)?);
        }
        Ok(report)
    }

    /// Records a list. Without `sync` it is durable only when it is so large that it is folded.
    fn append_others(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        bulk: &mut Bulk,
        sync: bool,
    ) -> Result<BulkReport, WriteError> {
        let after = self.journal.journal().sequence();
        let mut report = BulkReport::default();
        let repeated = self.drop_recorded_before(details, bulk)?;
        bulk.sort(self.manifest.folding(), |id| self.standings.key_of_id(id));
        let heads = self.heads(&bulk.keys)?;
        let new_ids = bulk.number_from(after + 1);
        let mut named = details.clone();
        if named.batch == Details::NEW_BATCH {
            named.batch = after + 1;
        }
        let details = &named;
        report.batch = Some(named.batch).filter(|&batch| batch != 0 && !bulk.is_empty());
        let opt_out = Fact::new(details, after + 1, Timestamp::default(), received_at)?;
        let is_large = bulk.rows.len() as u64 >= self.limits.compact_after_events;
        let early = match is_large {
            true => self.changes_of(bulk, &heads, &opt_out, &mut report, Journaled::NotYet)?,
            false => None,
        };
        let early = match early {
            Some(changes) => Some(merge_changes(self.standings.changes()?, changes)),
            None => None,
        };
        for (id, key) in new_ids {
            self.standings.learn(id, key);
        }
        // A large bulk goes into a generation at once: by way of the overlay it would be hashed,
        // gathered and sorted again, which took twice as long for 20 million numbers.
        if let Some(changes) = early {
            self.append_and_fold(received_at, changes[..].into(), |core| {
                core.append_rows(details, received_at, bulk, &heads)
            })?;
        } else {
            self.append_rows(details, received_at, bulk, &heads)?;
            if sync || is_large {
                self.journal.sync()?;
            }
            let changes =
                self.changes_of(bulk, &heads, &opt_out, &mut report, Journaled::Already)?;
            let changes = changes.expect("every history is in the journal");
            if is_large {
                let changes = merge_changes(self.standings.changes()?, changes);
                self.fold(&changes, &Gone::default(), self.sequence(), received_at)?;
            } else {
                self.take_in(after)?;
            }
        }
        report.already += repeated;
        report.sequence = self.sequence();
        Ok(report)
    }

    /// Lets `append` write a list to the journal and writes, beside it, the generation into which
    /// it is folded: that is published only after the journal is durable.
    fn append_and_fold(
        &mut self,
        received_at: Timestamp,
        changes: Incoming<'_>,
        append: impl FnOnce(&mut Core) -> Result<(), WriteError> + Send,
    ) -> Result<(), WriteError> {
        let gone = Gone::default();
        let (disk, manifest, standings) =
            (self.disk.clone(), self.manifest.clone(), self.standings.clone());
        let (appended, files) = rayon::join(
            || {
                append(self)?;
                self.journal.sync().map_err(WriteError::from)
            },
            || GenerationFiles::write(&*disk, &manifest, &standings, changes, &gone),
        );
        // What is left of the generation then is removed by the next writer: which segments the
        // manifest names may be unknown now.
        appended?;
        self.adopt_generation(files, &gone, self.sequence(), received_at)
    }

    /// Writes the rows of a sorted and numbered list to the journal.
    fn append_rows(
        &mut self,
        details: &Details,
        received_at: Timestamp,
        bulk: &Bulk,
        heads: &[u64],
    ) -> Result<(), WriteError> {
        for spelling in SPELLINGS {
            for rows in bulk.rows_spelled(spelling, heads) {
                self.append(details, received_at, &rows)?;
            }
        }
        Ok(())
    }

    /// Sequences of each key's newest event, 0 for keys without one.
    fn heads(&self, keys: &[SubscriberKey]) -> Result<Vec<u64>, StoreError> {
        const PIECE: usize = 1 << 16;
        if self.sequence() == 0 {
            return Ok(vec![0; keys.len()]);
        }
        let pieces = keys.par_chunks(PIECE).map(|keys| self.standings.heads(keys));
        Ok(pieces.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// How the subscribers of a bulk stand once its rows are in the journal; counts the rows. All
    /// rows are the same opt-out, or the same retract, but for person and moment. `None`, and
    /// nothing counted, when they have to be in the journal first: somebody's history decides.
    fn changes_of(
        &mut self,
        bulk: &Bulk,
        heads: &[u64],
        opt_out: &Fact,
        report: &mut BulkReport,
        journaled: Journaled,
    ) -> Result<Option<Vec<(SubscriberKey, Standing)>>, WriteError> {
        let (mut added, mut already) = (0, 0);
        let mut changes = Vec::with_capacity(bulk.keys.len());
        // Those who are not in the bulk, but linked with somebody who is.
        let mut linked = BTreeMap::new();
        let profile = self.standings.place_alone(opt_out);
        // Nearly everybody of a list that comes again has the same profile.
        let mut said_nothing: Option<(ProfileId, bool)> = None;
        let mut begin = 0;
        for rows in bulk.keys.chunk_by(|one, other| one == other) {
            let end = begin + rows.len();
            let (since, head) = (bulk.sequences[begin], bulk.sequences[end - 1]);
            let since_at = bulk.rows[begin].occurred_at;
            let before = match heads[begin] {
                0 => None,
                _ => self.standings.standing(rows[0])?,
            };
            if let Some(it) =
                before.filter(|it| said_nothing.is_none_or(|said| said.0 != it.profile))
            {
                let nothing = opt_out.action == Action::OptOut
                    && it.opted_out
                    && self.standings.says_nothing(opt_out, it.profile);
                said_nothing = Some((it.profile, nothing));
            }
            let standing = match before {
                None => Standing { opted_out: true, head, since, since_at, profile },
                Some(it) if said_nothing.is_some_and(|said| said.1) => Standing { head, ..it },
                Some(_) if bulk.rows[begin].empties() => Standing {
                    opted_out: false,
                    head,
                    since: head,
                    since_at,
                    profile: ProfileId::NOTHING,
                },
                Some(_) if journaled == Journaled::NotYet => return Ok(None),
                Some(_) => {
                    let standings = &self.standings;
                    let head_of = |key| bulk.head(key).map_or_else(|| standings.head(key), Ok);
                    let pool = Pool::gather(self.journal.journal(), rows[0], head_of)?;
                    let decided = decide(&pool.facts).expect("there is one event at least");
                    let placed = |head| Decided { head, ..decided.clone() };
                    for &(member, head) in &pool.members[1..] {
                        if bulk.head(member).is_none() {
                            linked.insert(member, self.standings.place(placed(head)));
                        }
                    }
                    self.standings.place(placed(head))
                }
            };
            let was = before.map_or(ProfileId::NOTHING, |it| it.profile);
            let is_new = standing.opted_out && standing.profile != was;
            added += u64::from(is_new);
            already += rows.len() as u64 - u64::from(is_new);
            changes.push((rows[0], standing));
            begin = end;
        }
        (report.added, report.already) = (added, already);
        Ok(Some(merge_changes(linked.into_iter().collect(), changes)))
    }

    /// Leaves out rows that were recorded under the same message id; their number.
    fn drop_recorded_before(&self, details: &Details, bulk: &mut Bulk) -> Result<u64, WriteError> {
        if details.message_id.is_empty() {
            return Ok(0);
        }
        let folding = self.manifest.folding();
        let mut known = HashSet::new();
        for record in self.journal.journal().records_of_message(&details.message_id)? {
            if record.details().action == details.action {
                known.extend((0..record.rows()).filter_map(|row| record.key(row, folding)));
            }
        }
        let before = bulk.rows.len();
        let standings = &self.standings;
        let mut new_ids = HashSet::new();
        bulk.retain(|address| match standings.key_of(address, folding) {
            Some(key) => known.insert(key),
            None => new_ids.insert(address.clone()),
        });
        Ok((before - bulk.rows.len()) as u64)
    }

    pub(super) fn compact_if_due(
        &mut self,
        now: Timestamp,
    ) -> Result<Option<CompactReport>, WriteError> {
        let beyond = self.journal.journal().sequence() - self.manifest.sequence;
        (beyond >= self.limits.compact_after_events).then(|| self.compact(now)).transpose()
    }

    pub(super) fn compact(&mut self, now: Timestamp) -> Result<CompactReport, WriteError> {
        self.check()?;
        self.journal.sync()?;
        let sequence = self.journal.journal().sequence();
        let folded = sequence - self.manifest.sequence;
        if folded > 0 {
            let changes = self.standings.changes()?;
            match self.pays_to_list(changes.len() as u64) {
                true => self.list_changes(&changes, sequence, now)?,
                false => self.fold(&changes, &Gone::default(), sequence, now)?,
            }
        }
        Ok(CompactReport {
            generation: self.manifest.generation,
            sequence,
            folded,
            changes: self.manifest.changes.as_ref().map_or(0, |changes| changes.count),
            opted_out: self.standings.opted_out(),
        })
    }

    /// Whether so many subscribers, who stand otherwise than the sets say, are better listed
    /// beside these than put into them.
    fn pays_to_list(&self, changed: u64) -> bool {
        let Generation { suppressed, released, .. } = &*self.standings.generation;
        let members = suppressed.set.len() + released.set.len();
        let limit = self.limits.changes_max.min(members / self.limits.members_per_change);
        (1..=limit).contains(&changed)
    }

    /// Makes the next generation of the sets and columns that there are: `changes`, which ascend
    /// by key and are everything up to `sequence` in which they differ, are listed beside them.
    fn list_changes(
        &mut self,
        changes: &[(SubscriberKey, Standing)],
        sequence: u64,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let mut next = self.manifest.clone();
        (next.generation, next.sequence) = (next.generation + 1, sequence);
        let base = self.manifest.base();
        let written = changes::write(&*self.disk, &next, base, &self.standings, changes);
        next.changes = Some(self.or_tidied(written)?);
        self.adopt(next, self.standings.generation.clone(), &Gone::default(), now)
    }

    /// What was written. When that failed, half of it on a full disk is room that somebody waits
    /// for.
    fn or_tidied<T>(&self, written: Result<T, WriteError>) -> Result<T, WriteError> {
        written.inspect_err(|_| drop(self.remove_unfinished()))
    }

    /// Makes the next generation: the current one with `changes` applied, which ascend by key and
    /// are everything up to `sequence`. In the same step what is `gone` leaves the store: revised
    /// segments take the place of those before them.
    pub(super) fn fold(
        &mut self,
        changes: &[(SubscriberKey, Standing)],
        gone: &Gone,
        sequence: u64,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let (manifest, standings) = (&self.manifest, &self.standings);
        let files = GenerationFiles::write(&*self.disk, manifest, standings, changes.into(), gone);
        self.adopt_generation(files, gone, sequence, now)
    }

    /// Goes over to the generation of these files, which is everything up to `sequence`.
    fn adopt_generation(
        &mut self,
        files: Result<GenerationFiles, WriteError>,
        gone: &Gone,
        sequence: u64,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let files = self.or_tidied(files)?;
        let mut next = self.manifest.clone();
        (next.generation, next.sequence) = (next.generation + 1, sequence);
        (next.layers, next.profiles) = (files.layers, Some(files.profiles));
        next.ids = files.ids.or(next.ids);
        next.changes = None;
        // Opening checks every byte of the sets before anything rests on them.
        let opened = Arc::new(Generation::open(&self.disk, &next)?);
        self.adopt(next, opened, gone, now)
    }

    /// Goes over to the generation of a manifest, whose sets are open; all its files are synced,
    /// their names are not.
    fn adopt(
        &mut self,
        mut next: Manifest,
        generation: Arc<Generation>,
        gone: &Gone,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        self.disk.sync_directory()?;
        // From here on this writer answers from what others will read.
        let standings = Standings::over(generation, &*self.disk, &next)?;
        if self.journal.active_bytes() >= self.limits.compact_seals_bytes {
            self.journal.rotate(next.generation, now)?;
        }
        self.journal.adopt(&gone.revised);
        self.list_segments(&mut next);
        self.publish(next)?;
        self.standings = standings;
        // Readers that have the old files open keep them; nobody opens them any more. What can't
        // be removed now is removed when the store is next opened for writing.
        let _ = self.remove_unfinished();
        Ok(())
    }

    /// Seals the active segment and begins the next.
    pub(super) fn rotate(&mut self, now: Timestamp) -> Result<(), WriteError> {
        let mut next = self.manifest.clone();
        self.journal.rotate(next.generation, now)?;
        self.list_segments(&mut next);
        self.publish(next)
    }

    /// Swaps the manifest. When that fails, nobody knows which one the disk has: the writer must
    /// neither append to a segment that may be in no manifest nor replace files that may be.
    pub(super) fn publish(&mut self, next: Manifest) -> Result<(), WriteError> {
        if let Err(error) = next.publish(&*self.disk) {
            self.journal.give_up();
            return Err(error.into());
        }
        self.manifest = next;
        Ok(())
    }

    pub(super) fn list_segments(&self, manifest: &mut Manifest) {
        manifest.sealed = self.journal.sealed().cloned().collect();
        manifest.active = self.journal.active_segment();
    }
}

/// Whether the rows of a list are in the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Journaled {
    NotYet,
    Already,
}

/// The files of the next generation, which no manifest names yet.
struct GenerationFiles {
    layers: Vec<LayerInfo>,
    profiles: FileInfo,
    /// None when no id came or went.
    ids: Option<FileInfo>,
}

impl GenerationFiles {
    fn write(
        disk: &dyn Disk,
        manifest: &Manifest,
        standings: &Standings,
        changes: Incoming<'_>,
        gone: &Gone,
    ) -> Result<GenerationFiles, WriteError> {
        let store = manifest.store_id().unwrap_or_default();
        let identity = ColumnIdentity { store, generation: manifest.generation + 1 };
        let old = &standings.generation;
        let (layers, profiles) =
            generation::write(disk, old, changes, standings.profiles(), identity)?;
        let new = standings.new_ids();
        let is_changed = new.len() > 0 || !gone.ids.is_empty();
        let ids = is_changed
            .then(|| generation::write_ids(disk, &old.ids, new, &gone.ids, identity))
            .transpose()?;
        Ok(GenerationFiles { layers, profiles, ids })
    }
}

/// Whom a row is about, by the key of his address.
pub(super) fn subject(address: &Address, key: SubscriberKey) -> Subject {
    match address {
        Address::Number(number) => Subject::Number(*number),
        Address::Id(_) => Subject::Id(key),
    }
}

/// How an address was written. An id is written in one way only.
fn spelling<'a>(address: &'a Address, raw: Option<&'a str>) -> Spelling<'a> {
    match (address, raw) {
        (Address::Number(number), Some(raw)) => Spelling::of(*number, raw),
        (Address::Number(_), None) => Spelling::Plus,
        (Address::Id(id), _) => Spelling::Text(id.as_str()),
    }
}

/// Joins two lists that ascend by key; of a key in both, the newer counts.
pub(super) fn merge_changes(
    older: Vec<(SubscriberKey, Standing)>,
    newer: Vec<(SubscriberKey, Standing)>,
) -> Vec<(SubscriberKey, Standing)> {
    if older.is_empty() {
        return newer;
    }
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let mut older = older.into_iter().peekable();
    for change in newer {
        while let Some(before) = older.next_if(|before| before.0 < change.0) {
            merged.push(before);
        }
        older.next_if(|before| before.0 == change.0);
        merged.push(change);
    }
    merged.extend(older);
    merged
}
