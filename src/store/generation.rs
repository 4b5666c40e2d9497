//! A generation: what all events up to a sequence amount to, in immutable files.
//!
//! Two layers, *suppressed* (opted out now) and *released* (came back): each a Roaring set of
//! subscriber keys and, in the order of the keys, columns: the sequence of each one's newest
//! event, and the moment since when each is what he is. A further column says since which event
//! that is; it is left out as long as that is the newest one, as it is for everybody with a
//! single event.

use std::collections::BTreeSet;
use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::column::{Column, ColumnDamage, ColumnIdentity, ColumnWriter, CopyError, Cursor};
use super::error::{StoreError, WriteError};
use super::ids::Ids;
use super::incoming::Incoming;
use super::layout::{GenerationNames, ids_name};
use super::manifest::{FileInfo, LayerInfo, Manifest};
use super::profiles::{ProfileId, Profiles};
use super::set::{Set, SharedBytes, open_set};
use super::standing::Standing;
use crate::disk::{Appender, Disk, DiskError, Mapped};
use crate::journal::hex;
use crate::number::{BusinessId, SubscriberKey};
use crate::snapshot::{SnapshotError, View, merge_with};
use crate::time::Timestamp;

/// The layers, by the names of their files.
pub(super) const LAYERS: [&str; 2] = ["suppressed", "released"];

/// An open generation.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) suppressed: Layer,
    pub(super) released: Layer,
    pub(super) profiles: Arc<Profiles>,
    /// The ids without a number among the keys.
    pub(super) ids: Ids,
}

/// A set of keys and what is known of each.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) set: Set,
    heads: Column,
    moments: Column,
    since: Option<Column>,
    profiles: Column,
    /// For each place in the list of profiles whether its keys can have it.
    allowed: Vec<bool>,
    /// The columns' files, in this order.
    files: [Option<FileInfo>; 4],
    disk: Arc<dyn Disk>,
}

impl Generation {
    /// Opens the generation of a manifest: every byte of the sets is checked, the columns'
    /// pages as they are read.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        manifest: &Manifest,
    ) -> Result<Generation, StoreError> {
        let store = manifest.store_id().unwrap_or_default();
        let identity = ColumnIdentity { store, generation: manifest.base() };
        let layer = |name: &str| match manifest.layers.iter().find(|layer| layer.name == name) {
            Some(info) => Layer::open(disk, info, identity),
            None if manifest.base() == 0 => Ok(Layer::empty(disk, identity)),
            None => {
                let what = format!("generation {} lists no {name} layer", manifest.base());
                Err(StoreError::damaged(disk.path_of(super::layout::MANIFEST), 0, what))
            }
        };
        let (suppressed, released) = rayon::join(|| layer(LAYERS[0]), || layer(LAYERS[1]));
        let profiles = match &manifest.profiles {
            Some(file) => read_profiles(&**disk, file)?,
            None if manifest.base() == 0 => Profiles::new(),
            None => {
                let what = format!("generation {} lists no profiles", manifest.base());
                let path = disk.path_of(super::layout::MANIFEST);
                return Err(StoreError::damaged(path, 0, what));
            }
        };
        let (mut suppressed, mut released) = (suppressed?, released?);
        // Who is opted out has a profile that says of what.
        suppressed.allow_profiles(profiles.iter().map(|it| !it.claims.is_empty()).collect())?;
        released.allow_profiles(profiles.iter().map(|it| it.claims.is_empty()).collect())?;
        let ids = match &manifest.ids {
            Some(file) => read_ids(&**disk, file, store)?,
            None => Ids::empty(store),
        };
        let generation = Generation { suppressed, released, profiles: Arc::new(profiles), ids };
        generation.check_ids(&**disk, manifest)?;
        Ok(generation)
    }

    /// Whether the table of ids has as many as the sets. An id that it lacks would be looked up in
    /// vain, and taken for one that nobody has heard of.
    fn check_ids(&self, disk: &dyn Disk, manifest: &Manifest) -> Result<(), StoreError> {
        let first = SubscriberKey::of_id(0);
        let in_set = |layer: &Layer| layer.set.len() - layer.set.rank(first);
        let (in_sets, in_table) =
            (in_set(&self.suppressed) + in_set(&self.released), self.ids.len());
        if in_sets == in_table {
            return Ok(());
        }
        let name = manifest.ids.as_ref().map_or(super::layout::MANIFEST, |file| &file.name);
        let what = format!("the sets hold {in_sets} ids, the table of ids {in_table}");
        Err(StoreError::damaged(disk.path_of(name), 0, what))
    }

    /// How a key stands; `None` when no folded event is about it.
    pub(super) fn standing(&self, key: SubscriberKey) -> Result<Option<Standing>, StoreError> {
        for (layer, opted_out) in [(&self.suppressed, true), (&self.released, false)] {
            if let Some(position) = layer.set.position(key) {
                return layer.standing(position, opted_out).map(Some);
            }
        }
        Ok(None)
    }
}

impl Layer {
    fn empty(disk: &Arc<dyn Disk>, identity: ColumnIdentity) -> Layer {
        let no_buckets = SharedBytes::new(Mapped::from_vec(0u64.to_le_bytes().to_vec()));
        let empty = View::open(no_buckets).expect("a count of zero buckets is the empty set");
        Layer {
            set: Set::new(empty),
            heads: Column::empty(identity),
            moments: Column::empty(identity),
            since: None,
            profiles: Column::empty(identity),
            allowed: Vec::new(),
            files: Default::default(),
            disk: disk.clone(),
        }
    }

    fn open(
        disk: &Arc<dyn Disk>,
        info: &LayerInfo,
        identity: ColumnIdentity,
    ) -> Result<Layer, StoreError> {
        let damaged = |file: &FileInfo, at: ColumnDamage| {
            StoreError::damaged(disk.path_of(&file.name), at.offset, at.what)
        };
        let set = open_set(&**disk, &info.set, Some(info.count))?;
        let column = |file: &FileInfo| {
            Column::open(map(&**disk, file)?, identity, info.count).map_err(|at| damaged(file, at))
        };
        Ok(Layer {
            set,
            heads: column(&info.heads)?,
            moments: column(&info.moments)?,
            since: info.since.as_ref().map(column).transpose()?,
            profiles: column(&info.profiles)?,
            allowed: Vec::new(),
            files: [
                Some(info.heads.clone()),
                Some(info.moments.clone()),
                info.since.clone(),
                Some(info.profiles.clone()),
            ],
            disk: disk.clone(),
        })
    }

    /// How the key at a position stands; `opted_out` says which layer this is.
    pub(super) fn standing(&self, position: u64, opted_out: bool) -> Result<Standing, StoreError> {
        let head = self.head(position)?;
        let since_at = self.moments.get(position).map_err(|at| self.damaged(1, at))?;
        let since = match &self.since {
            Some(column) => column.get(position).map_err(|at| self.damaged(2, at))? as u64,
            None => head,
        };
        let since_at = Timestamp::from_millis(since_at);
        let profile = self.profile(position)?;
        Ok(Standing { opted_out, head, since, since_at, profile })
    }

    /// Sequence of the newest event of the key at a position.
    pub(super) fn head(&self, position: u64) -> Result<u64, StoreError> {
        Ok(self.heads.get(position).map_err(|at| self.damaged(0, at))? as u64)
    }

    /// The profile of the key at a position.
    pub(super) fn profile(&self, position: u64) -> Result<ProfileId, StoreError> {
        let profile = self.profiles.get(position).map_err(|at| self.damaged(3, at))?;
        self.check_profile(profile)
    }

    /// The profile of all keys, if they have the same.
    pub(super) fn uniform_profile(&self) -> Option<ProfileId> {
        match self.profiles.bounds() {
            None => Some(ProfileId::EVERYDAY),
            Some((low, high)) => (low == high).then_some(ProfileId(low as u32)),
        }
    }

    /// Says which places its keys can have. Entries are looked at when they are read; the base,
    /// which stands for all of them when they are equal, now.
    fn allow_profiles(&mut self, allowed: Vec<bool>) -> Result<(), StoreError> {
        self.allowed = allowed;
        match self.profiles.bounds() {
            Some((base, _)) => self.check_profile(base).map(drop),
            None => Ok(()),
        }
    }

    fn check_profile(&self, place: i64) -> Result<ProfileId, StoreError> {
        let allowed = usize::try_from(place).ok().and_then(|place| self.allowed.get(place));
        if allowed == Some(&true) {
            return Ok(ProfileId(place as u32));
        }
        let what = "it holds a profile that no key of its layer can have";
        Err(self.damaged(3, ColumnDamage { offset: 0, what }))
    }

    /// Reads the columns to the end, each page by its own checksum, then as a whole.
    pub(super) fn verify(&self) -> Result<(), StoreError> {
        let columns =
            [Some(&self.heads), Some(&self.moments), self.since.as_ref(), Some(&self.profiles)];
        for (place, (column, file)) in columns.into_iter().zip(&self.files).enumerate() {
            let (Some(column), Some(file)) = (column, file) else { continue };
            column.verify().map_err(|at| self.damaged(place, at))?;
            if hex(xxh3_64(column.bytes())) != file.xxh3 {
                let what = "it does not match its checksum in the manifest";
                return Err(self.damaged(place, ColumnDamage { offset: 0, what }));
            }
        }
        Ok(())
    }

    fn damaged_column(&self, column: &Column, at: ColumnDamage) -> StoreError {
        let columns =
            [Some(&self.heads), Some(&self.moments), self.since.as_ref(), Some(&self.profiles)];
        let place = columns.iter().position(|it| it.is_some_and(|it| std::ptr::eq(it, column)));
        self.damaged(place.unwrap_or(0), at)
    }

    fn damaged(&self, column: usize, at: ColumnDamage) -> StoreError {
        let name = self.files[column].as_ref().map_or("", |file| &file.name);
        StoreError::damaged(self.disk.path_of(name), at.offset, at.what)
    }
}

/// Maps a file that the manifest names and checks its length.
pub(super) fn map(disk: &dyn Disk, file: &FileInfo) -> Result<Mapped, StoreError> {
    let path = disk.path_of(&file.name);
    let bytes = disk.map(&file.name).map_err(|error| {
        if error.is_missing() {
            StoreError::FileMissing { file: path.clone() }
        } else {
            error.into()
        }
    })?;
    let length = bytes.as_ref().len() as u64;
    if length != file.bytes {
        let what = format!("it has {length} bytes, the manifest says {}", file.bytes);
        return Err(StoreError::damaged(path, length.min(file.bytes), what));
    }
    Ok(bytes)
}

/// As [`map`], and compares the checksum, for which all bytes are read.
pub(super) fn map_checked(disk: &dyn Disk, file: &FileInfo) -> Result<Mapped, StoreError> {
    let bytes = map(disk, file)?;
    if hex(xxh3_64(bytes.as_ref())) != file.xxh3 {
        let path = disk.path_of(&file.name);
        return Err(StoreError::damaged(path, 0, "it does not match its checksum"));
    }
    Ok(bytes)
}

/// Writes the files of the next generation: the old one with `changes` applied, which ascend by
/// key. All files are synced when this returns; their names are not.
pub(super) fn write(
    disk: &dyn Disk,
    old: &Generation,
    changes: Incoming<'_>,
    profiles: &Profiles,
    identity: ColumnIdentity,
) -> Result<(Vec<LayerInfo>, FileInfo), WriteError> {
    let profiles_file = write_profiles(disk, profiles, identity)?;
    let write_layer = |layer: &Layer, name: &str, holds: bool| {
        let changes = changes.of_layer(holds);
        LayerWriter { disk, layer, name, holds, changes, identity }.write()
    };
    let (suppressed, released) = rayon::join(
        || write_layer(&old.suppressed, LAYERS[0], true),
        || write_layer(&old.released, LAYERS[1], false),
    );
    Ok((vec![suppressed?, released?], profiles_file))
}

fn write_profiles(
    disk: &dyn Disk,
    profiles: &Profiles,
    identity: ColumnIdentity,
) -> Result<FileInfo, WriteError> {
    let name = GenerationNames(identity.generation).profile_list();
    write_whole(disk, name, &profiles.to_json())
}

/// Writes a small file and syncs it; its name is not.
pub(super) fn write_whole(
    disk: &dyn Disk,
    name: String,
    bytes: &[u8],
) -> Result<FileInfo, WriteError> {
    disk.remove(&name)?;
    let file = disk.create(&name)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    Ok(FileInfo { name, bytes: bytes.len() as u64, xxh3: hex(xxh3_64(bytes)) })
}

fn read_profiles(disk: &dyn Disk, file: &FileInfo) -> Result<Profiles, StoreError> {
    let bytes = map_checked(disk, file)?;
    Profiles::from_json(bytes.as_ref())
        .map_err(|what| StoreError::damaged(disk.path_of(&file.name), 0, what))
}

/// Writes the table of ids of the next generation: that of `old` and `new` ones, without the
/// texts of those that are forgotten.
pub(super) fn write_ids<'a>(
    disk: &dyn Disk,
    old: &Ids,
    new: impl Iterator<Item = (&'a BusinessId, SubscriberKey)>,
    forgotten: &BTreeSet<SubscriberKey>,
    identity: ColumnIdentity,
) -> Result<FileInfo, WriteError> {
    let name = ids_name(identity.generation);
    disk.remove(&name)?;
    let mut out = Hashing::new(Appender::new(disk.create(&name)?));
    old.write_with(identity.store, new, forgotten, &mut out)
        .map_err(|error| write_failed(disk, &name, error))?;
    out.finish(&name)
}

fn read_ids(disk: &dyn Disk, file: &FileInfo, store: [u8; 16]) -> Result<Ids, StoreError> {
    let bytes = map_checked(disk, file)?;
    Ids::open(bytes, store).map_err(|what| StoreError::damaged(disk.path_of(&file.name), 0, what))
}

/// The disk's own error out of what `io::Write` made of it.
fn write_failed(disk: &dyn Disk, name: &str, error: std::io::Error) -> WriteError {
    match error.downcast::<DiskError>() {
        Ok(error) => error.into(),
        Err(error) => WriteError::Generation { file: disk.path_of(name), source: Box::new(error) },
    }
}

/// Writes one layer of the next generation.
struct LayerWriter<'a> {
    disk: &'a dyn Disk,
    layer: &'a Layer,
    name: &'a str,
    /// The value of `opted_out` of the keys that this layer holds.
    holds: bool,
    changes: Incoming<'a>,
    identity: ColumnIdentity,
}

/// Where a changed key stands in the old set: how many members are below it, and in the lowest bit
/// whether it is one itself.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    fn new(rank: u64, is_member: bool) -> Place {
        Place(rank << 1 | u64::from(is_member))
    }

    fn rank(self) -> u64 {
        self.0 >> 1
    }

    fn is_member(self) -> bool {
        self.0 & 1 == 1
    }
}

impl LayerWriter<'_> {
    /// Files are made beside each other, so that one is written while another is synced.
    fn write(&self) -> Result<LayerInfo, WriteError> {
        let names = GenerationNames(self.identity.generation);
        let (set, columns) =
            rayon::join(|| self.write_set(&names.set(self.name)), || self.write_columns(names));
        let ((members, set), (count, [heads, moments, profiles], since)) = (set?, columns?);
        assert_eq!(members, count, "an entry for each key");
        Ok(LayerInfo { name: self.name.to_owned(), count, set, heads, moments, since, profiles })
    }

    fn write_set(&self, name: &str) -> Result<(u64, FileInfo), WriteError> {
        let mut out = self.create(name)?;
        let members = || self.changes.members(self.holds);
        let merged = merge_with(&self.layer.set, members, &mut out);
        let summary = merged.map_err(|error| match error {
            SnapshotError::Write { source, .. } => self.failed(name, source),
            source => {
                WriteError::Generation { file: self.disk.path_of(name), source: Box::new(source) }
            }
        })?;
        Ok((summary.len, out.finish(name)?))
    }

    /// How many entries each column has, the three that there always are (heads, moments and
    /// profiles), and that of the first events.
    fn write_columns(
        &self,
        names: GenerationNames,
    ) -> Result<(u64, [FileInfo; 3], Option<FileInfo>), WriteError> {
        let places = self.places();
        let gone = places.iter().filter(|place| place.is_member()).count() as u64;
        let fresh = self.changes.fresh;
        let come = self.held().count() as u64 + fresh.map_or(0, |fresh| fresh.subscribers());
        let count = self.layer.set.len() - gone + come;
        let places = &places[..];
        let layer = self.layer;
        let of_layer = self.name;
        let heads = || {
            let name = names.heads(of_layer);
            self.write_column(&name, count, places, &layer.heads, |it| it.head as i64)
        };
        let moments = || {
            let name = names.moments(of_layer);
            let moment = |it: &Standing| it.since_at.as_millis();
            self.write_column(&name, count, places, &layer.moments, moment)
        };
        let since = || {
            let is_needed = layer.since.is_some()
                || fresh.is_some_and(|fresh| fresh.has_repeats())
                || self.held().any(|it| it.since != it.head);
            let old = layer.since.as_ref().unwrap_or(&layer.heads);
            let name = names.since(of_layer);
            let column = || self.write_column(&name, count, places, old, |it| it.since as i64);
            is_needed.then(column).transpose()
        };
        let profiles = || {
            let name = names.profiles(of_layer);
            let profile = |it: &Standing| i64::from(it.profile.0);
            self.write_column(&name, count, places, &layer.profiles, profile)
        };
        let ((heads, moments), (since, profiles)) =
            rayon::join(|| rayon::join(heads, moments), || rayon::join(since, profiles));
        Ok((count, [heads?, moments?, profiles?], since?))
    }

    /// How those stand whom this layer holds, of those whose change was settled one by one.
    fn held(&self) -> impl Iterator<Item = &Standing> {
        let standings = self.changes.settled.iter().map(|(_, standing)| standing);
        standings.filter(|standing| standing.opted_out == self.holds)
    }

    /// The place in the old set of every key whose change was settled: few are searched, many are
    /// met on a walk through the set. A step of the walk costs about a twentieth of a search.
    fn places(&self) -> Vec<Place> {
        const STEPS_PER_SEARCH: u64 = 20;
        let set = &self.layer.set;
        let settled = self.changes.settled.iter();
        if self.changes.settled.len() as u64 * STEPS_PER_SEARCH < set.len() {
            return settled
                .map(|(key, _)| match set.position(*key) {
                    Some(rank) => Place::new(rank, true),
                    None => Place::new(set.rank(*key), false),
                })
                .collect();
        }
        let mut place = self.walk();
        settled.map(|(key, _)| place(*key)).collect()
    }

    /// Gives the places of ascending keys in the old set.
    fn walk(&self) -> impl FnMut(SubscriberKey) -> Place {
        let mut members = self.layer.set.iter();
        let mut member = members.next();
        let mut rank = 0;
        move |key| {
            while member.is_some_and(|member| member < key) {
                member = members.next();
                rank += 1;
            }
            Place::new(rank, member == Some(key))
        }
    }

    /// Copies an old column around the changed keys, whose entries `new` gives.
    fn write_column(
        &self,
        name: &str,
        count: u64,
        places: &[Place],
        old: &Column,
        new: impl Fn(&Standing) -> i64,
    ) -> Result<FileInfo, WriteError> {
        let damaged = |at| WriteError::from(self.layer.damaged_column(old, at));
        let output = |source| self.failed(name, source);
        let failed = |error| match error {
            CopyError::Output(source) => output(source),
            CopyError::Old(at) => damaged(at),
        };
        let extremes = self.changes.fresh.map(|fresh| fresh.extremes());
        let bounds = self
            .held()
            .chain(extremes.iter().flatten())
            .map(|standing| (new(standing), new(standing)))
            .chain(old.bounds())
            .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
            .unwrap_or_default();
        let out = self.create(name)?;
        let mut column = ColumnWriter::new(out, self.identity, count, bounds).map_err(output)?;
        if column.is_uniform() {
            column.fill();
            return column.finish().map_err(output)?.finish(name);
        }
        let mut entries = Cursor::new(old);
        let mut copied = 0;
        let mut walk = self.walk();
        self.changes.visit(|key, standing, settled| {
            let place = settled.map_or_else(|| walk(key), |at| places[at]);
            if place.rank() > copied {
                column.copy(&mut entries, place.rank() - copied).map_err(failed)?;
                copied = place.rank();
            }
            if place.is_member() {
                entries.skip().map_err(damaged)?;
                copied += 1;
            }
            if standing.opted_out == self.holds {
                column.push(new(standing)).map_err(output)?;
            }
            Ok::<(), WriteError>(())
        })?;
        column.copy(&mut entries, self.layer.set.len() - copied).map_err(failed)?;
        column.finish().map_err(output)?.finish(name)
    }

    fn failed(&self, name: &str, error: std::io::Error) -> WriteError {
        write_failed(self.disk, name, error)
    }

    fn create(&self, name: &str) -> Result<Hashing, WriteError> {
        self.disk.remove(name)?;
        Ok(Hashing::new(Appender::new(self.disk.create(name)?)))
    }
}

/// Hashes what goes into a file.
pub(super) struct Hashing {
    out: Appender,
    hash: Xxh3,
}

impl Hashing {
    /// Begins at the start of a new file.
    pub(super) fn new(out: Appender) -> Hashing {
        Hashing { out, hash: Xxh3::new() }
    }

    /// Writes what is left and syncs.
    pub(super) fn finish(self, name: &str) -> Result<FileInfo, WriteError> {
        let bytes = self.out.finish()?;
        Ok(FileInfo { name: name.to_owned(), bytes, xxh3: hex(self.hash.digest()) })
    }
}

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hash.update(bytes);
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
