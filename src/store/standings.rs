//! How everybody stands: the sets of a generation, and over them what changed since they were
//! written, as the generation's file of changes and the journal behind it say.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::changes::Changes;
use super::error::StoreError;
use super::filter::LazyFilter;
use super::generation::Generation;
use super::linked::{Pool, follow_all};
use super::manifest::Manifest;
use super::profiles::{Profile, ProfileId, Profiles};
use super::standing::{Decided, Standing, decide, fact_of_row};
use crate::disk::Disk;
use crate::event::Action;
use crate::journal::{Journal, Record, Subject};
use crate::number::{Address, BusinessId, Folding, SubscriberKey, fold};
use crate::policy::{Claims, Context, Fact, Policy, Ruling};
use crate::time::Timestamp;

/// What the events beyond the sets of the generation changed: those that its file of changes covers,
/// and those of the journal behind it. Numbers come from outside, hence the keyed hash.
#[derive(Debug, Default)]
struct Overlay {
    entries: HashMap<SubscriberKey, Entry, RandomState>,
    /// Most keys of a list are not in it, which is told sooner than by a look at its entries.
    filter: LazyFilter,
}

/// A clone is made to be changed: its filter is made when it is next asked.
impl Clone for Overlay {
    fn clone(&self) -> Overlay {
        Overlay { entries: self.entries.clone(), filter: LazyFilter::default() }
    }
}

impl Overlay {
    fn insert(&mut self, key: SubscriberKey, entry: Entry) {
        self.entries.insert(key, entry);
        self.filter = LazyFilter::default();
    }

    fn get(&self, key: SubscriberKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = (SubscriberKey, &Entry)> {
        self.entries.iter().map(|(&key, entry)| (key, entry))
    }

    /// Gives each key's place and entry to `found`, of the keys that have one.
    fn get_batch(&self, keys: &[SubscriberKey], mut found: impl FnMut(usize, &Entry)) {
        if self.entries.is_empty() {
            return;
        }
        let all = || self.entries.keys().copied();
        let filter = self.filter.get(keys.len(), self.entries.len() as u64, all);
        for (place, &key) in keys.iter().enumerate() {
            if filter.is_none_or(|filter| filter.may_contain(key))
                && let Some(entry) = self.get(key)
            {
                found(place, entry);
            }
        }
    }
}

/// A key in the overlay.
#[derive(Clone, Copy, Debug)]
struct Entry {
    standing: Standing,
    /// `since` is that of the generation if the key is suppressed there: only opt-outs came
    /// since, so that nobody had to look yet.
    continues: bool,
}

/// What a row of a record says. The rows share all but person and moment, so that it is found out
/// once.
struct Said {
    fact: Fact,
    /// The profile of an opt-out against somebody against whom nothing else stands.
    alone: Profile,
    /// Its place, once it has one.
    place: Option<ProfileId>,
}

impl Said {
    fn of(fact: Fact) -> Said {
        let alone = Profile::alone(Claims::default().with(fact.claim()));
        Said { fact, alone, place: None }
    }

    /// The same in another row.
    fn in_row(&mut self, record: &Record, row: usize) {
        self.fact.sequence = record.first_sequence() + row as u64;
        self.fact.occurred_at = record.occurred_at(row);
    }
}

/// What a policy says of each profile for one message.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    by_profile: Vec<Ruling>,
    /// The ruling on everybody who is opted out of anything, if it is the same for all.
    uniform: Option<Ruling>,
}

impl Lens {
    /// The rulings on a list of profiles.
    pub(super) fn new(profiles: &Profiles, policy: &Policy, context: &Context) -> Lens {
        Lens::by(profiles, |claims| policy.on_claims(claims, context))
    }

    /// The rulings on a list of profiles, by what stands in each.
    pub(super) fn by(profiles: &Profiles, ruling: impl Fn(&Claims) -> Ruling) -> Lens {
        let by_profile: Vec<Ruling> = profiles.iter().map(|it| ruling(&it.claims)).collect();
        let opted_out = profiles.iter().zip(&by_profile).filter(|it| !it.0.claims.is_empty());
        let mut of_claims = opted_out.map(|(_, ruling)| *ruling);
        let first = of_claims.next();
        let uniform = first.filter(|first| of_claims.all(|it| it == *first));
        Lens { by_profile, uniform }
    }

    /// What is not listed was added after the lens was made: it stays unanswered, suppressed.
    pub(super) fn of(&self, profile: ProfileId) -> Ruling {
        self.by_profile.get(profile.0 as usize).copied().unwrap_or(Ruling::UNANSWERED)
    }
}

/// Generation and overlay together. Clones share both until one of them changes.
#[derive(Clone, Debug)]
pub(super) struct Standings {
    pub(super) generation: Arc<Generation>,
    overlay: Arc<Overlay>,
    /// Those of the generation, and behind them those of the overlay.
    profiles: Arc<Profiles>,
    /// The ids of the overlay that the generation's table does not know.
    ids: Arc<NewIds>,
}

/// Ids beyond the generation, with their keys.
type NewIds = HashMap<BusinessId, SubscriberKey, RandomState>;

impl Standings {
    /// The generation of a manifest, with all events that are folded into it and no others, over
    /// its sets and columns.
    pub(super) fn over(
        generation: Arc<Generation>,
        disk: &dyn Disk,
        manifest: &Manifest,
    ) -> Result<Standings, StoreError> {
        let Some(info) = &manifest.changes else {
            let profiles = generation.profiles.clone();
            return Ok(Standings {
                generation,
                overlay: Arc::default(),
                profiles,
                ids: Arc::default(),
            });
        };
        let Changes { standings, profiles, ids } =
            Changes::read(disk, manifest, info, &generation)?;
        let entry = |(key, standing)| (key, Entry { standing, continues: false });
        Ok(Standings {
            generation,
            overlay: Arc::new(Overlay {
                entries: standings.into_iter().map(entry).collect(),
                filter: LazyFilter::default(),
            }),
            profiles: Arc::new(profiles),
            ids: Arc::new(ids.into_iter().collect()),
        })
    }

    /// Makes room for so many events, which are taken in next.
    pub(super) fn expect(&mut self, events: u64) {
        /// More than these are rarely beyond a generation, and may be of the same people.
        const EVENTS_MAX: u64 = 1 << 17;
        if events > 0 {
            let room = events.min(EVENTS_MAX) as usize;
            Arc::make_mut(&mut self.overlay).entries.reserve(room);
        }
    }

    /// The key of an address; `None` for an id that no event is about.
    pub(super) fn key_of(&self, address: &Address, folding: Folding) -> Option<SubscriberKey> {
        match address {
            Address::Number(number) => Some(fold(*number, folding)),
            Address::Id(id) => self.key_of_id(id.as_str()),
        }
    }

    /// The key of an id; `None` when no event is about it.
    pub(super) fn key_of_id(&self, id: &str) -> Option<SubscriberKey> {
        self.ids.get(id).copied().or_else(|| self.generation.ids.find(id))
    }

    /// The key of each id; `None` when no event is about it.
    pub(super) fn keys_of_ids(&self, ids: &[&str]) -> Vec<Option<SubscriberKey>> {
        let mut keys = self.generation.ids.find_all(ids);
        if !self.ids.is_empty() {
            for (id, key) in ids.iter().zip(&mut keys) {
                *key = self.ids.get(*id).copied().or(*key);
            }
        }
        keys
    }

    /// Remembers the key of a new id.
    pub(super) fn learn(&mut self, id: BusinessId, key: SubscriberKey) {
        Arc::make_mut(&mut self.ids).insert(id, key);
    }

    /// The ids that the generation does not know.
    pub(super) fn new_ids(&self) -> impl ExactSizeIterator<Item = (&BusinessId, SubscriberKey)> {
        self.ids.iter().map(|(id, &key)| (id, key))
    }

    /// All that is recorded of the subscriber of a key.
    pub(super) fn pool(&self, journal: &Journal, key: SubscriberKey) -> Result<Pool, StoreError> {
        Pool::gather(journal, key, |key| self.head(key))
    }

    /// The sequence of a key's newest event, 0 for none.
    pub(super) fn head(&self, key: SubscriberKey) -> Result<u64, StoreError> {
        match self.overlay.get(key) {
            Some(entry) => Ok(entry.standing.head),
            None => Ok(self.generation.standing(key)?.map_or(0, |standing| standing.head)),
        }
    }

    /// How a key stands; `None` when no event is about it.
    pub(super) fn standing(&self, key: SubscriberKey) -> Result<Option<Standing>, StoreError> {
        match self.overlay.get(key) {
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
                standing.profile = folded.profile;
            }
        }
        Ok(standing)
    }

    /// Whether each key is opted out.
    pub(super) fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) {
        self.generation.suppressed.set.contains_batch(keys, found);
        self.overlay.get_batch(keys, |place, entry| found[place] = entry.standing.opted_out);
    }

    /// Sequences of each key's newest event, 0 for keys without one.
    pub(super) fn heads(&self, keys: &[SubscriberKey]) -> Result<Vec<u64>, StoreError> {
        const BATCH: usize = 1024;
        let mut heads = Vec::with_capacity(keys.len());
        let mut positions = [None; BATCH];
        for keys in keys.chunks(BATCH) {
            let begin = heads.len();
            let positions = &mut positions[..keys.len()];
            let Generation { suppressed, released, .. } = &*self.generation;
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
            let heads = &mut heads[begin..];
            self.overlay.get_batch(keys, |place, entry| heads[place] = entry.standing.head);
        }
        Ok(heads)
    }

    /// Number of subscribers who are opted out.
    pub(super) fn opted_out(&self) -> u64 {
        let set = &self.generation.suppressed.set;
        let mut count = set.len();
        for (key, entry) in self.overlay.iter() {
            match (entry.standing.opted_out, set.contains(key)) {
                (true, false) => count += 1,
                (false, true) => count -= 1,
                _ => {}
            }
        }
        count
    }

    /// Number of subscribers about whom there is an event.
    pub(super) fn subscribers(&self) -> u64 {
        let Generation { suppressed, released, .. } = &*self.generation;
        let is_new =
            |key: SubscriberKey| !suppressed.set.contains(key) && !released.set.contains(key);
        let new = self.overlay.iter().filter(|&(key, _)| is_new(key)).count() as u64;
        suppressed.set.len() + released.set.len() + new
    }

    /// Number of subscribers who are opted out and whose newest event `counts`.
    pub(super) fn opted_out_with(&self, counts: impl Fn(u64) -> bool) -> Result<u64, StoreError> {
        let layer = &self.generation.suppressed;
        let mut count = 0;
        for position in 0..layer.set.len() {
            count += u64::from(counts(layer.head(position)?));
        }
        for (key, entry) in self.overlay.iter() {
            if let Some(position) = layer.set.position(key) {
                count -= u64::from(counts(layer.head(position)?));
            }
            count += u64::from(entry.standing.opted_out && counts(entry.standing.head));
        }
        Ok(count)
    }

    /// Takes a record of the journal in. The journal holds it already.
    pub(super) fn apply(&mut self, journal: &Journal, record: &Record) -> Result<(), StoreError> {
        let folding = journal.folding();
        let mut of_record = None;
        for row in 0..record.rows() {
            self.meet(journal, record, row)?;
            let Some(key) = record.key(row, folding) else { continue };
            let said = match &mut of_record {
                None => of_record.insert(Said::of(fact_of_row(journal, record, row)?)),
                Some(said) => {
                    said.in_row(record, row);
                    said
                }
            };
            // Of a link, the other end's newest event is in this record too.
            let other = record.partner(row).and_then(|other| {
                Some((record.key(other, folding)?, record.first_sequence() + other as u64))
            });
            self.settle(journal, key, said, other)?;
        }
        Ok(())
    }

    /// Learns the id of a row, or sees that its key is the one that is known.
    fn meet(&mut self, journal: &Journal, record: &Record, row: usize) -> Result<(), StoreError> {
        let Subject::Id(key) = record.subjects()[row] else { return Ok(()) };
        let text = record.text(row).unwrap_or_default();
        let is_first = key.id_sequence() == Some(record.first_sequence() + row as u64);
        match (self.key_of_id(text), BusinessId::parse(text.as_bytes())) {
            (Some(known), _) if known == key => Ok(()),
            (None, Some(id)) if is_first => {
                self.learn(id, key);
                Ok(())
            }
            _ => {
                let what = format!(
                    "event {} gives an id another key than it has",
                    record.first_sequence() + row as u64
                );
                Err(StoreError::damaged(journal.path(), 0, what))
            }
        }
    }

    /// Takes one event of `key` in. `other` is the other end of a link, and its newest event.
    fn settle(
        &mut self,
        journal: &Journal,
        key: SubscriberKey,
        said: &mut Said,
        other: Option<(SubscriberKey, u64)>,
    ) -> Result<(), StoreError> {
        said.place = said.place.or_else(|| self.profiles.find(&said.alone));
        if let Some(entry) = self.settled_at_once(key, said)? {
            Arc::make_mut(&mut self.overlay).insert(key, entry);
            return Ok(());
        }
        let pool = Pool::gather(journal, key, |member| match other {
            _ if member == key => Ok(said.fact.sequence),
            Some((other, head)) if member == other => Ok(head),
            _ => self.head(member),
        })?;
        let decided = decide(&pool.facts).expect("there is one event at least");
        for (member, head) in pool.members {
            let standing = self.place(Decided { head, ..decided.clone() });
            let entry = Entry { standing, continues: false };
            Arc::make_mut(&mut self.overlay).insert(member, entry);
        }
        Ok(())
    }

    /// The entry of a key after an event that needs no look at its history: an opt-out that says
    /// nothing beside those that stand, or one of somebody of whom nothing is known.
    fn settled_at_once(
        &self,
        key: SubscriberKey,
        said: &Said,
    ) -> Result<Option<Entry>, StoreError> {
        let Said { fact, place: alone, .. } = said;
        if fact.action != Action::OptOut {
            return Ok(None);
        }
        let (head, since, since_at) = (fact.sequence, fact.sequence, fact.occurred_at);
        let first = |profile, continues| {
            let standing = Standing { opted_out: true, head, since, since_at, profile };
            Some(Entry { standing, continues })
        };
        let says_nothing = |profile| *alone == Some(profile) || self.says_nothing(fact, profile);
        if let Some(mut entry) = self.overlay.get(key).copied() {
            let stands = entry.standing.opted_out && says_nothing(entry.standing.profile);
            entry.standing.head = head;
            return Ok(stands.then_some(entry));
        }
        let Generation { suppressed, released, .. } = &*self.generation;
        if released.set.contains(key) {
            return Ok(None);
        }
        let uniform = suppressed.uniform_profile();
        // Whether listed or not: afterwards the profile is this one.
        if let (Some(alone), Some(uniform)) = (*alone, uniform)
            && (uniform == alone || suppressed.set.is_empty())
        {
            return Ok(first(alone, true));
        }
        match suppressed.set.position(key) {
            None => Ok(alone.and_then(|alone| first(alone, false))),
            Some(position) => {
                let mut standing = suppressed.standing(position, true)?;
                let stands = says_nothing(standing.profile);
                standing.head = head;
                Ok(stands.then_some(Entry { standing, continues: false }))
            }
        }
    }

    /// Whether an opt-out changes nothing for somebody of this profile.
    pub(super) fn says_nothing(&self, fact: &Fact, profile: ProfileId) -> bool {
        let claims = self.claims(profile);
        claims.with(fact.claim()) == *claims
    }

    /// Whether an address of this profile is one of several of its subscriber.
    pub(super) fn is_linked(&self, profile: ProfileId) -> bool {
        self.profiles.is_linked(profile)
    }

    /// The keys and those of all addresses that are linked with one of them: ascending, none
    /// twice. Not sorted in parallel: a thread that waits for parts takes other work up, which may
    /// be a question to the view of the past for which this is done.
    pub(super) fn with_linked(
        &self,
        journal: &Journal,
        mut keys: Vec<SubscriberKey>,
    ) -> Result<Vec<SubscriberKey>, StoreError> {
        keys.sort_unstable();
        keys.dedup();
        if !self.profiles.iter().any(|profile| profile.linked) {
            return Ok(keys);
        }
        let mut linked = Vec::new();
        for &key in &keys {
            if self.standing(key)?.is_some_and(|it| self.is_linked(it.profile)) {
                let members = follow_all(journal, key, |key| self.head(key), |_, _| Ok(true))?;
                linked.extend(members.into_iter().map(|(member, _)| member));
            }
        }
        keys.append(&mut linked);
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// What stands in a profile.
    pub(super) fn claims(&self, profile: ProfileId) -> &Claims {
        self.profiles.claims(profile)
    }

    /// The profile of somebody against whom nothing stands but this opt-out.
    pub(super) fn place_alone(&mut self, opt_out: &Fact) -> ProfileId {
        let claims = Claims::default().with(opt_out.claim());
        Arc::make_mut(&mut self.profiles).intern(Profile::alone(claims))
    }

    /// Gives what was decided its place in the list of profiles.
    pub(super) fn place(&mut self, decided: Decided) -> Standing {
        decided.settled(Arc::make_mut(&mut self.profiles))
    }

    /// The list of profiles, as a generation made now would have it.
    pub(super) fn profiles(&self) -> &Arc<Profiles> {
        &self.profiles
    }

    /// What a policy says of each profile for one message.
    pub(super) fn lens(&self, policy: &Policy, context: &Context) -> Lens {
        Lens::new(&self.profiles, policy, context)
    }

    /// The ruling on each key. Only those that are opted out of something need a second look.
    pub(super) fn judge_batch(
        &self,
        lens: &Lens,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), StoreError> {
        const BATCH: usize = 1024;
        let mut found = [false; BATCH];
        let layer = &self.generation.suppressed;
        let uniform = layer.uniform_profile().map(|it| lens.of(it)).or(lens.uniform);
        for (keys, rulings) in keys.chunks(BATCH).zip(rulings.chunks_mut(BATCH)) {
            match uniform {
                Some(ruling) => {
                    let found = &mut found[..keys.len()];
                    layer.set.contains_batch(keys, found);
                    for (found, answer) in found.iter().zip(&mut *rulings) {
                        *answer = if *found { ruling } else { Ruling::UNLISTED };
                    }
                }
                None => self.judge_hits::<BATCH>(lens, keys, rulings)?,
            }
            let ruled = |place: usize, entry: &Entry| {
                rulings[place] = lens.of(entry.standing.profile);
            };
            self.overlay.get_batch(keys, ruled);
        }
        Ok(())
    }

    /// Rules on at most `N` keys by the profiles of the generation.
    fn judge_hits<const N: usize>(
        &self,
        lens: &Lens,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), StoreError> {
        let layer = &self.generation.suppressed;
        let mut positions = [None; N];
        let positions = &mut positions[..keys.len()];
        layer.set.positions_batch(keys, positions);
        for (position, answer) in positions.iter().zip(rulings) {
            *answer = match *position {
                Some(position) => lens.of(layer.profile(position)?),
                None => Ruling::UNLISTED,
            };
        }
        Ok(())
    }

    /// Everything in which the overlay differs from the sets, ascending by key.
    pub(super) fn changes(&self) -> Result<Vec<(SubscriberKey, Standing)>, StoreError> {
        use rayon::slice::ParallelSliceMut;
        let listed = self.overlay.iter();
        let mut changes = Vec::with_capacity(listed.len());
        for (key, entry) in listed {
            changes.push((key, self.resolve(key, entry)?));
        }
        changes.par_sort_unstable_by_key(|&(key, _)| key);
        Ok(changes)
    }
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
