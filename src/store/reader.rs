//! Answers from a store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::error::StoreError;
use super::generation::Generation;
use super::linked::follow_all;
use super::manifest::Manifest;
use super::past::Past;
use super::registry::{self, Registry};
use super::standing::Standing;
use super::standings::{Lens, Standings};
use crate::disk::{Disk, RealDisk};
use crate::event::{Event, Source};
use crate::journal::{Journal, JournalError, JournalIdentity, Record, Span};
use crate::number::{Address, Folding, SubscriberKey};
use crate::policy::{Claims, Context, Policy, Ruling, Scope};
use crate::time::Timestamp;

/// A store open for reading, as it was at the last [`Reader::refresh`].
///
/// A clone shares what it can with the original and costs next to nothing; each can be refreshed
/// on its own, so that every thread has its own view and none waits for another.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) manifest: Arc<Manifest>,
    pub(super) journal: Journal,
    pub(super) standings: Standings,
    /// Those of the present.
    pub(super) registries: Arc<[Registry]>,
    /// What is otherwise in a view of an earlier moment.
    pub(super) past: Option<Arc<Past>>,
    failed: bool,
}

impl Reader {
    /// Opens the store in a directory. Takes no lock, writes nothing.
    ///
    /// # Errors
    ///
    /// When there is no store, or it is damaged, newer or unreadable: never an empty answer.
    pub fn open(directory: impl AsRef<Path>) -> Result<Reader, StoreError> {
        Reader::open_on(Arc::new(RealDisk::new(directory.as_ref())))
    }

    /// Opens the store on a disk of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Reader::open`].
    pub fn open_on(disk: Arc<dyn Disk>) -> Result<Reader, StoreError> {
        Reader::open_knowing(&disk, None)
    }

    /// As [`Reader::open_on`]; sets and registry layers that another view knows are not read again.
    fn open_knowing(disk: &Arc<dyn Disk>, known: Option<&Reader>) -> Result<Reader, StoreError> {
        // A compaction may remove a generation between the look at the manifest and the opening
        // of its files; the next look then names the new one.
        let mut manifest = Manifest::read(&**disk)?;
        loop {
            match Reader::open_at(disk, &manifest, known) {
                Ok(reader) => return Ok(reader),
                Err(error) => {
                    let newer = Manifest::read(&**disk)?;
                    if newer == manifest {
                        return Err(error);
                    }
                    manifest = newer;
                }
            }
        }
    }

    fn open_at(
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
        known: Option<&Reader>,
    ) -> Result<Reader, StoreError> {
        let same = known.filter(|known| known.manifest.has_sets_of(manifest));
        let generation = same.map(|known| known.standings.generation.clone());
        let known = known.map_or(&[][..], |known| &known.registries);
        let (loaded, registries) = rayon::join(
            || load(disk, manifest, generation),
            || registry::open_all(disk, manifest, known),
        );
        let (journal, standings) = loaded?;
        Ok(Reader {
            disk: disk.clone(),
            manifest: Arc::new(manifest.clone()),
            journal,
            standings,
            registries: registries?,
            past: None,
            failed: false,
        })
    }

    /// Takes in what has been recorded since; the number of new events. Without news it costs
    /// about a microsecond. A view of an earlier moment stays as it is.
    ///
    /// # Errors
    ///
    /// When what was recorded is damaged, or the store is gone or another one. The reader then
    /// answers nothing more until a later refresh succeeds.
    pub fn refresh(&mut self) -> Result<u64, StoreError> {
        if self.past.is_some() {
            return Ok(0);
        }
        let before = self.journal.sequence();
        if self.failed || self.try_refresh().is_err() {
            // What was read may have been taken back by a writer that failed before it
            // acknowledged: a fresh look tells that from damage.
            self.failed = true;
            *self = self.reopened()?;
        }
        Ok(self.journal.sequence().saturating_sub(before))
    }

    fn try_refresh(&mut self) -> Result<(), StoreError> {
        let after = self.journal.sequence();
        let sealed = self.journal.catch_up()?;
        let standings = &mut self.standings;
        let journal = &self.journal;
        journal.scan(after, |_| true, |record| standings.apply(journal, record).map(|()| true))?;
        if sealed {
            let manifest = Manifest::read(&*self.disk)?;
            if manifest != *self.manifest {
                *self = self.reopened()?;
            }
        }
        Ok(())
    }

    /// The same store as it is now.
    fn reopened(&self) -> Result<Reader, StoreError> {
        let fresh = Reader::open_knowing(&self.disk, Some(self))?;
        if fresh.manifest.store != self.manifest.store {
            let why = "another store has taken its place".to_owned();
            return Err(StoreError::NotAStore { path: self.disk.path_of(""), why });
        }
        Ok(fresh)
    }

    /// Sequence of the newest event that this view knows; 0 for a store without events.
    pub fn sequence(&self) -> u64 {
        self.past.as_ref().map_or_else(|| self.journal.sequence(), |past| past.sequence())
    }

    /// The generation that it reads.
    pub fn generation(&self) -> u64 {
        self.manifest.generation
    }

    /// What the store is made of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How numbers become keys in this store: recipients must be read the same way.
    pub fn folding(&self) -> Folding {
        self.manifest.folding()
    }

    /// Number of subscribers who are opted out.
    ///
    /// # Errors
    ///
    /// As [`Reader::contains_batch`].
    pub fn len(&self) -> Result<u64, StoreError> {
        self.usable()?;
        match self.past_standings()? {
            None => Ok(self.standings.opted_out()),
            Some(past) => past.opted_out(),
        }
    }

    /// Whether nobody is opted out.
    ///
    /// # Errors
    ///
    /// As [`Reader::contains_batch`].
    pub fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }

    /// Whether a subscriber is opted out. For many, [`Reader::contains_batch`] is several times
    /// faster.
    ///
    /// # Errors
    ///
    /// As [`Reader::contains_batch`].
    pub fn contains(&self, key: SubscriberKey) -> Result<bool, StoreError> {
        let mut found = [false];
        self.contains_batch(&[key], &mut found)?;
        Ok(found[0])
    }

    /// Whether each subscriber is opted out; `found` has one place for each key.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed, and for a view of an earlier moment when the journal can't
    /// be read. `found` then says nothing.
    pub fn contains_batch(
        &self,
        keys: &[SubscriberKey],
        found: &mut [bool],
    ) -> Result<(), StoreError> {
        self.usable()?;
        assert_eq!(keys.len(), found.len(), "one answer for each key");
        match self.past_standings()? {
            None => self.standings.contains_batch(keys, found),
            Some(past) => past.contains_batch(keys, found)?,
        }
        Ok(())
    }

    /// What a policy says of everything that can stand against a subscriber, for one message.
    /// It belongs to this view: a refresh may give profiles other places.
    ///
    /// # Errors
    ///
    /// As [`Reader::contains_batch`].
    pub(crate) fn lens(&self, policy: &Policy, context: &Context) -> Result<Lens, StoreError> {
        self.usable()?;
        Ok(match self.past_standings()? {
            None => self.standings.lens(policy, context),
            Some(past) => past.lens(policy, context),
        })
    }

    /// The ruling on each subscriber; `rulings` has one place for each key.
    ///
    /// # Errors
    ///
    /// When a page that tells what stands is damaged, or an earlier refresh failed. `rulings`
    /// then says nothing.
    pub(crate) fn judge_batch(
        &self,
        lens: &Lens,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), StoreError> {
        self.usable()?;
        assert_eq!(keys.len(), rulings.len(), "one ruling for each key");
        match self.past_standings()? {
            None => self.standings.judge_batch(lens, keys, rulings),
            Some(past) => past.judge_batch(lens, keys, rulings),
        }
    }

    /// Every scope in which somebody is, or was, opted out; in a view of an earlier moment also
    /// those in which somebody is since.
    pub fn scopes(&self) -> BTreeSet<Scope> {
        let profiles = self.standings.profiles();
        profiles.iter().flat_map(|it| it.claims.iter()).map(|it| it.scope.clone()).collect()
    }

    /// Which opt-outs stand against a subscriber.
    ///
    /// # Errors
    ///
    /// As [`Reader::standing`].
    pub fn claims(&self, key: SubscriberKey) -> Result<Claims, StoreError> {
        let standing = self.standing(key)?;
        let Some(standing) = standing else { return Ok(Claims::default()) };
        Ok(match self.past_standings()? {
            None => self.standings.claims(standing.profile).clone(),
            Some(past) => past.claims(standing.profile).clone(),
        })
    }

    /// How a subscriber stands; `None` when no event is about him.
    ///
    /// # Errors
    ///
    /// When the page that tells it is damaged, or an earlier refresh failed.
    pub fn standing(&self, key: SubscriberKey) -> Result<Option<Standing>, StoreError> {
        self.usable()?;
        match self.past_standings()? {
            None => self.standings.standing(key),
            Some(past) => past.standing(key),
        }
    }

    /// The event since which a subscriber, about whom there is one, stands as he does.
    ///
    /// # Errors
    ///
    /// As [`Reader::opted_out_since`], and when no event is about him.
    pub(crate) fn since(&self, key: SubscriberKey) -> Result<Event, StoreError> {
        let standing = self.standing(key)?;
        let event = standing.map(|it| self.journal.event(it.since)).transpose()?.flatten();
        event.ok_or_else(|| self.dangling())
    }

    /// Whether links join the address that stands like this with others of the same subscriber.
    ///
    /// # Errors
    ///
    /// As [`Reader::contains_batch`].
    pub fn is_linked(&self, standing: &Standing) -> Result<bool, StoreError> {
        Ok(match self.past_standings()? {
            None => self.standings.is_linked(standing.profile),
            Some(past) => past.is_linked(standing.profile),
        })
    }

    /// When the standing of a subscriber who is opted out began, and by which source; `None` for
    /// everybody else.
    ///
    /// # Errors
    ///
    /// As [`Reader::standing`], and when the journal can't be read.
    pub fn opted_out_since(
        &self,
        key: SubscriberKey,
    ) -> Result<Option<(Timestamp, Source)>, StoreError> {
        let Some(standing) = self.standing(key)?.filter(|standing| standing.opted_out) else {
            return Ok(None);
        };
        let source = self.journal.source(standing.since)?.ok_or_else(|| self.dangling())?;
        Ok(Some((standing.since_at, source)))
    }

    /// All events about a subscriber, oldest first: those of every address that a link joins with
    /// this one.
    ///
    /// # Errors
    ///
    /// As [`Reader::opted_out_since`].
    pub fn history(&self, key: SubscriberKey) -> Result<Vec<Event>, StoreError> {
        self.history_if(key, |_| true)
    }

    /// As [`Reader::history`], of those events that `known` accepts: links that it does not
    /// accept join nobody.
    ///
    /// # Errors
    ///
    /// As [`Reader::opted_out_since`].
    pub fn history_if(
        &self,
        key: SubscriberKey,
        mut known: impl FnMut(&Event) -> bool,
    ) -> Result<Vec<Event>, StoreError> {
        self.usable()?;
        let knows =
            |sequence| self.past.as_ref().is_none_or(|past: &Arc<Past>| past.knows(sequence));
        let mut events = Vec::new();
        follow_all(
            &self.journal,
            key,
            |key| self.standings.head(key),
            |record, row| {
                let event = record.event(row, self.folding());
                let is_known = (knows(event.sequence) || event.is_tombstone()) && known(&event);
                events.extend(is_known.then_some(event));
                Ok(is_known)
            },
        )?;
        events.sort_unstable_by_key(|event| event.sequence);
        Ok(events)
    }

    /// The key of an address; `None` for an id that no event is about.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed.
    pub fn key_of(&self, address: &Address) -> Result<Option<SubscriberKey>, StoreError> {
        self.usable()?;
        Ok(self.standings.key_of(address, self.folding()))
    }

    /// The key of an id by its text; `None` when no event is about it.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed.
    pub fn key_of_id(&self, id: &str) -> Result<Option<SubscriberKey>, StoreError> {
        self.usable()?;
        Ok(self.standings.key_of_id(id))
    }

    /// As [`Reader::key_of_id`] for each of many ids, in their order, several times faster.
    ///
    /// # Errors
    ///
    /// When an earlier refresh failed.
    pub fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, StoreError> {
        self.usable()?;
        Ok(self.standings.keys_of_ids(ids))
    }

    /// Goes through the records past the sequence `after` that `wanted` accepts by what the
    /// index says, oldest first, until `visit` gives `false`. Other records are not read. A record
    /// of which a view of an earlier moment knows a part is given as if it ended there.
    ///
    /// # Errors
    ///
    /// When the journal is damaged or can't be read, and what `visit` gives.
    pub fn scan<E: From<StoreError>>(
        &self,
        after: u64,
        mut wanted: impl FnMut(&Span) -> bool,
        mut visit: impl FnMut(&Record) -> Result<bool, E>,
    ) -> Result<(), E> {
        enum Failure<E> {
            Journal(JournalError),
            Visit(E),
        }
        impl<E> From<JournalError> for Failure<E> {
            fn from(error: JournalError) -> Failure<E> {
                Failure::Journal(error)
            }
        }
        self.usable()?;
        let past = self.past.as_deref();
        let wanted = |span: &Span| match past {
            None => wanted(span),
            Some(past) => past.cut_span(span).is_some_and(|known| wanted(&known)),
        };
        let result = self.journal.scan(after, wanted, |record| {
            let cut = past.and_then(|past| past.cut_record(record));
            visit(cut.as_ref().unwrap_or(record)).map_err(Failure::Visit)
        });
        result.map_err(|failure| match failure {
            Failure::Journal(error) => StoreError::from(error).into(),
            Failure::Visit(error) => error,
        })
    }

    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Unusable { path: self.disk.path_of("") });
        }
        Ok(())
    }

    fn dangling(&self) -> StoreError {
        let what = "a key leads to an event that the journal does not hold";
        StoreError::damaged(self.disk.path_of(""), 0, what)
    }
}

/// Opens what a manifest names, its sets and columns only if they are not `open` already, and takes
/// in the events beyond the generation.
pub(super) fn load(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    open: Option<Arc<Generation>>,
) -> Result<(Journal, Standings), StoreError> {
    let identity = JournalIdentity {
        store: manifest.store_id().unwrap_or_default(),
        folding: manifest.folding(),
    };
    let (journal, generation) = rayon::join(
        || Journal::open(disk.clone(), identity, &manifest.sealed, manifest.active),
        || open.map_or_else(|| Generation::open(disk, manifest).map(Arc::new), Ok),
    );
    let journal = journal.map_err(missing_file)?;
    if journal.sequence() < manifest.sequence {
        let what = format!(
            "the journal ends at sequence {}, but generation {} was folded up to {}",
            journal.sequence(),
            manifest.generation,
            manifest.sequence
        );
        return Err(StoreError::damaged(journal.path(), 0, what));
    }
    let mut standings = Standings::over(generation?, &**disk, manifest)?;
    standings.expect(journal.sequence() - manifest.sequence);
    journal.scan(
        manifest.sequence,
        |_| true,
        |record| standings.apply(&journal, record).map(|()| true),
    )?;
    Ok((journal, standings))
}

/// A segment that the manifest names and that is not there is the store's fault.
fn missing_file(error: JournalError) -> StoreError {
    match error {
        JournalError::Disk(error) if error.is_missing() => {
            StoreError::FileMissing { file: error.path }
        }
        error => error.into(),
    }
}
