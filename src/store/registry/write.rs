//! Layers come, change and go.

use std::io;
use std::sync::Arc;

use super::info::{RegistryInfo, RegistryKind, RegistryName, State, VersionInfo};
use super::set::{Set, open_set};
use super::sorter::SortedKeys;
use crate::disk::{Appender, Disk, DiskError};
use crate::number::SubscriberKey;
use crate::policy::{Scope, UnknownChannel};
use crate::snapshot::{Change, SnapshotError, View, differences, merge, write_sorted};
use crate::store::core::Core;
use crate::store::error::{StoreError, WriteError};
use crate::store::generation::Hashing;
use crate::store::layout::{Entry, registry_name};
use crate::store::manifest::FileInfo;
use crate::store::reader::Reader;
use crate::store::writer::{TEXT_BYTES_MAX, Writer, lock};
use crate::time::Timestamp;

/// What is said of a list that is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryUpdate {
    /// The layer, new or not.
    pub name: RegistryName,
    /// What being on it means; as before if not given, a registry if it is new.
    pub kind: Option<RegistryKind>,
    /// The channel for which it counts, empty for all; as before if not given.
    pub channel: Option<String>,
    /// The moment that the list describes.
    pub as_of: Timestamp,
    /// For how many days it may be relied on; as before if not given. A layer of consents may do
    /// without, a registry may not.
    pub max_age_days: Option<u32>,
    /// The name of the list's file.
    pub source: String,
    /// By how many percent of its members the layer may shrink.
    pub max_shrink_percent: u8,
    /// Take the list though it is older than the present one.
    pub allow_older: bool,
}

impl RegistryUpdate {
    /// By how many percent a layer may shrink unless told otherwise.
    pub const MAX_SHRINK_PERCENT: u8 = 10;

    /// A list as of a moment; everything else as before.
    pub fn new(name: RegistryName, as_of: Timestamp) -> RegistryUpdate {
        RegistryUpdate {
            name,
            kind: None,
            channel: None,
            as_of,
            max_age_days: None,
            source: String::new(),
            max_shrink_percent: RegistryUpdate::MAX_SHRINK_PERCENT,
            allow_older: false,
        }
    }
}

/// Who is on a list.
#[derive(Clone, Copy, Debug)]
pub enum RegistryContents<'a> {
    /// These, and nobody else.
    List(&'a SortedKeys),
    /// Those who were on it before, with these changes, which strictly ascend by key.
    Changes(&'a [Change]),
}

/// What a layer has become.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryReport {
    /// What being on it means.
    pub kind: RegistryKind,
    /// The channel for which it counts; empty for all.
    pub channel: String,
    /// The moment that the list describes.
    pub as_of: Timestamp,
    /// For how many days it may be relied on.
    pub max_age_days: Option<u32>,
    /// When it was imported.
    pub received_at: Timestamp,
    /// How many subscribers are on it.
    pub count: u64,
    /// How many of them were not before.
    pub added: u64,
    /// How many were before and are not now.
    pub removed: u64,
}

/// Why a layer stays as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is no name of a layer.
    #[error("\"{got}\" is no name of a layer: use up to 40 of a-z, 0-9, - and _")]
    Name {
        /// What was given, shortened.
        got: String,
    },
    /// There is no such layer.
    #[error("there is no layer \"{name}\": {}", known_layers(known))]
    Unknown {
        /// What was asked for.
        name: RegistryName,
        /// The layers that there are.
        known: Vec<String>,
    },
    /// The channel is none that there is.
    #[error(transparent)]
    Channel(#[from] UnknownChannel),
    /// A layer keeps its kind and channel.
    #[error(
        "layer \"{name}\" is a {is} list for {scope}: drop it first, or give the new list a name \
         of its own"
    )]
    OtherKind {
        /// The layer.
        name: RegistryName,
        /// Its kind.
        is: RegistryKind,
        /// Its scope.
        scope: String,
    },
    /// A registry of which nobody knows when it is too old.
    #[error("layer \"{name}\" needs a maximum age: say after how many days it is too old")]
    NoMaxAge {
        /// The layer.
        name: RegistryName,
    },
    /// A list without a single number.
    #[error("the list for layer \"{name}\" holds no number at all")]
    Empty {
        /// The layer.
        name: RegistryName,
    },
    /// The new list is much shorter than the present one.
    #[error(
        "layer \"{name}\" would shrink from {before} to {after} members, by more than \
         {max_shrink_percent} %: check the list, and allow a larger shrinkage if it is right"
    )]
    Shrunk {
        /// The layer.
        name: RegistryName,
        /// Its members.
        before: u64,
        /// Its members after the import.
        after: u64,
        /// The share that was allowed to go.
        max_shrink_percent: u8,
    },
    /// The new list is older than the present one.
    #[error("the list for layer \"{name}\" is as of {as_of}, the present one as of {present}")]
    Older {
        /// The layer.
        name: RegistryName,
        /// The moment that the new list describes.
        as_of: Timestamp,
        /// The moment that the present one describes.
        present: Timestamp,
    },
    /// The list describes a moment that has not come.
    #[error("the list for layer \"{name}\" is as of {as_of}, which lies in the future")]
    InFuture {
        /// The layer.
        name: RegistryName,
        /// The moment that the list describes.
        as_of: Timestamp,
    },
}

impl RegistryError {
    /// Whether the request makes no sense, as opposed to a guard that refused the list.
    pub fn is_usage(&self) -> bool {
        !matches!(
            self,
            RegistryError::Empty { .. }
                | RegistryError::Shrunk { .. }
                | RegistryError::Older { .. }
                | RegistryError::InFuture { .. }
        )
    }
}

fn known_layers(known: &[String]) -> String {
    match known.is_empty() {
        true => "the store has none".to_owned(),
        false => format!("the store has {}", known.join(", ")),
    }
}

impl Writer {
    /// What being on a layer means; `None` when there is no such layer.
    pub fn registry_kind(&self, name: &RegistryName) -> Option<RegistryKind> {
        let core = self.core();
        let info = core.manifest.registries.iter().find(|info| info.name == *name)?;
        info.present().map(|version| version.kind)
    }

    /// Puts a list in the place of a layer's present one, or makes the layer. Events are recorded
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// When a guard refuses ([`WriteError::Registry`]), or the list can't be written: the layer is
    /// then as before.
    pub fn update_registry(
        &self,
        update: &RegistryUpdate,
        contents: RegistryContents<'_>,
        now: Timestamp,
    ) -> Result<RegistryReport, WriteError> {
        let _turn = lock(&self.registry_turn);
        let Begun { disk, infos, next_file } = self.core().begin_registry()?;
        let plan = Plan::new(&*disk, &infos, None, update, contents, now)?;
        let files = Files { disk: &*disk, first: next_file };
        let info = match files.write(&plan, contents) {
            Ok(info) => info,
            Err(error) => {
                // Half a list on a full disk is room that somebody waits for.
                files.remove();
                return Err(error);
            }
        };
        self.core().publish_registry(info, next_file + Files::COUNT, now)?;
        Ok(plan.report)
    }

    /// Takes a layer away. That it was there stays known, and who was on it.
    ///
    /// # Errors
    ///
    /// When there is no such layer ([`WriteError::Registry`]), or the change can't be written.
    pub fn drop_registry(
        &self,
        name: &RegistryName,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        if reason.len() >= TEXT_BYTES_MAX || reason.contains('\0') {
            return Err(WriteError::Text { field: "reason", limit: TEXT_BYTES_MAX });
        }
        let _turn = lock(&self.registry_turn);
        let Begun { infos, next_file, .. } = self.core().begin_registry()?;
        let info = infos.iter().find(|it| it.name == *name && it.present().is_some());
        let mut info = info.ok_or_else(|| unknown(name, &infos))?.clone();
        let received_at = info.moment_of_next(now);
        info.states.push(State::Dropped { received_at, reason: reason.to_owned() });
        self.core().publish_registry(info, next_file, now)
    }
}

impl Reader {
    /// What [`Writer::update_registry`] would do.
    ///
    /// # Errors
    ///
    /// As it would give, and when an earlier refresh failed.
    pub fn plan_registry(
        &self,
        update: &RegistryUpdate,
        contents: RegistryContents<'_>,
        now: Timestamp,
    ) -> Result<RegistryReport, WriteError> {
        self.usable()?;
        let open = self.registries.iter().find(|it| it.name() == update.name.as_str());
        let open = open.and_then(|it| it.whole_set().cloned());
        let infos = &self.manifest.registries;
        Ok(Plan::new(&*self.disk, infos, open, update, contents, now)?.report)
    }
}

impl Core {
    /// What a change of a layer starts from.
    fn begin_registry(&self) -> Result<Begun, WriteError> {
        self.check()?;
        Ok(Begun {
            disk: self.disk.clone(),
            infos: self.manifest.registries.clone(),
            next_file: self.manifest.next_registry_file,
        })
    }

    /// Makes a layer what `info` says. Its files are synced, their names need not be.
    fn publish_registry(
        &mut self,
        info: RegistryInfo,
        next_file: u64,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        self.check()?;
        self.disk.sync_directory()?;
        let mut next = self.manifest.clone();
        let place = next.registries.binary_search_by(|it| it.name.cmp(&info.name));
        match place {
            Ok(place) => next.registries[place] = info,
            Err(place) => next.registries.insert(place, info),
        }
        next.next_registry_file = next_file;
        // Readers look at the manifest again when the active segment is sealed.
        self.journal.rotate(next.generation, now)?;
        self.list_segments(&mut next);
        self.publish(next)?;
        // What can't be removed now is removed when the store is next opened for writing.
        let _ = self.remove_unnamed_registries();
        Ok(())
    }

    /// Removes files of layers that the manifest does not name. Only for moments at which no such
    /// file is being written.
    pub(in crate::store) fn remove_unnamed_registries(&self) -> Result<(), WriteError> {
        let named = |name: &str| {
            let mut files = self.manifest.registries.iter().flat_map(RegistryInfo::files);
            files.any(|(file, _)| file.name == name)
        };
        for name in self.disk.list()? {
            if matches!(Entry::of(&name), Entry::Registry(_)) && !named(&name) {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn unknown(name: &RegistryName, infos: &[RegistryInfo]) -> WriteError {
    let present = infos.iter().filter(|info| info.present().is_some());
    let known = present.map(|info| info.name.to_string()).collect();
    RegistryError::Unknown { name: name.clone(), known }.into()
}

impl RegistryInfo {
    /// The moment of a change now: never before that of the last one, whatever the clock says.
    fn moment_of_next(&self, now: Timestamp) -> Timestamp {
        self.states.last().map_or(now, |state| state.received_at().max(now))
    }
}

/// The layers at the beginning of a change, and the number of the next file.
struct Begun {
    disk: Arc<dyn Disk>,
    infos: Vec<RegistryInfo>,
    next_file: u64,
}

/// A change that every guard let pass.
struct Plan {
    /// The layer before it.
    info: RegistryInfo,
    /// Its present set.
    old: Option<Arc<Set>>,
    /// The changes that change something, when only changes were given.
    changes: Vec<Change>,
    source: String,
    report: RegistryReport,
}

impl Plan {
    fn new(
        disk: &dyn Disk,
        infos: &[RegistryInfo],
        open: Option<Arc<Set>>,
        update: &RegistryUpdate,
        contents: RegistryContents<'_>,
        now: Timestamp,
    ) -> Result<Plan, WriteError> {
        let info = infos.iter().find(|info| info.name == update.name).cloned();
        let info = info.unwrap_or(RegistryInfo { name: update.name.clone(), states: Vec::new() });
        if info.present().is_none() && matches!(contents, RegistryContents::Changes(_)) {
            return Err(unknown(&update.name, infos));
        }
        if update.source.len() >= TEXT_BYTES_MAX || update.source.contains('\0') {
            return Err(WriteError::Text { field: "file name", limit: TEXT_BYTES_MAX });
        }
        let mut report = describe(&info, update, now)?;
        if let RegistryContents::List(keys) = contents {
            report.count = keys.len();
            check_length(&info, update, report.count)?;
        }
        let old = match info.present() {
            Some(version) => Some(match open {
                Some(set) => set,
                None => Arc::new(open_set(disk, &version.file, Some(version.count))?),
            }),
            None => None,
        };
        let mut changes = Vec::new();
        match contents {
            RegistryContents::List(keys) => {
                for (_, is_new) in differences(members(&old), keys.iter()) {
                    report.added += u64::from(is_new);
                    report.removed += u64::from(!is_new);
                }
            }
            RegistryContents::Changes(all) => {
                changes = effective(all, old.as_deref());
                report.added = changes.iter().filter(|it| it.present).count() as u64;
                report.removed = changes.len() as u64 - report.added;
                let before = old.as_ref().map_or(0, |set| set.len());
                report.count = before + report.added - report.removed;
                check_length(&info, update, report.count)?;
            }
        }
        let source = update.source.clone();
        Ok(Plan { info, old, changes, source, report })
    }

    fn changes_nothing(&self) -> bool {
        self.old.is_some() && self.report.added == 0 && self.report.removed == 0
    }
}

/// What the layer is to be, without its members.
fn describe(
    info: &RegistryInfo,
    update: &RegistryUpdate,
    now: Timestamp,
) -> Result<RegistryReport, RegistryError> {
    let name = || update.name.clone();
    let present = info.present();
    let channel = match &update.channel {
        Some(channel) => Scope::new(channel, "", "")?.channel().to_owned(),
        None => present.map(|it| it.channel.clone()).unwrap_or_default(),
    };
    let kind = update.kind.or(present.map(|it| it.kind)).unwrap_or(RegistryKind::Registry);
    let max_age_days = update.max_age_days.or(present.and_then(|it| it.max_age_days));
    if let Some(present) = present {
        if (present.kind, &present.channel) != (kind, &channel) {
            let scope = present.scope().to_string();
            return Err(RegistryError::OtherKind { name: name(), is: present.kind, scope });
        }
        if update.as_of < present.as_of && !update.allow_older {
            let (as_of, present) = (update.as_of, present.as_of);
            return Err(RegistryError::Older { name: name(), as_of, present });
        }
    }
    if kind == RegistryKind::Registry && max_age_days.is_none() {
        return Err(RegistryError::NoMaxAge { name: name() });
    }
    if update.as_of > now {
        return Err(RegistryError::InFuture { name: name(), as_of: update.as_of });
    }
    Ok(RegistryReport {
        kind,
        channel,
        as_of: update.as_of,
        max_age_days,
        received_at: info.moment_of_next(now),
        count: 0,
        added: 0,
        removed: 0,
    })
}

fn check_length(
    info: &RegistryInfo,
    update: &RegistryUpdate,
    after: u64,
) -> Result<(), RegistryError> {
    let name = || update.name.clone();
    let Some(present) = info.present() else {
        return match after {
            0 => Err(RegistryError::Empty { name: name() }),
            _ => Ok(()),
        };
    };
    let (before, percent) = (present.count, update.max_shrink_percent.min(100));
    let least = u128::from(before) * u128::from(100 - percent);
    if u128::from(after) * 100 < least {
        let max_shrink_percent = update.max_shrink_percent;
        return Err(RegistryError::Shrunk { name: name(), before, after, max_shrink_percent });
    }
    Ok(())
}

fn effective(changes: &[Change], old: Option<&Set>) -> Vec<Change> {
    let Some(old) = old else { return changes.iter().filter(|it| it.present).copied().collect() };
    let keys: Vec<SubscriberKey> = changes.iter().map(|it| it.key).collect();
    let mut found = vec![false; keys.len()];
    old.contains_batch(&keys, &mut found);
    let differs = |(change, found): (&Change, bool)| (change.present != found).then_some(*change);
    changes.iter().zip(found).filter_map(differs).collect()
}

fn members(set: &Option<Arc<Set>>) -> impl Iterator<Item = SubscriberKey> + '_ {
    set.iter().flat_map(|set| set.iter())
}

/// The new files of a change.
struct Files<'a> {
    disk: &'a dyn Disk,
    first: u64,
}

impl Files<'_> {
    /// Numbers that a change uses up.
    const COUNT: u64 = 2;

    fn set_name(&self) -> String {
        registry_name(self.first)
    }

    fn change_name(&self) -> String {
        registry_name(self.first + 1)
    }

    /// Writes and syncs them, looks whether they can be read, and says what the layer is then.
    fn write(
        &self,
        plan: &Plan,
        contents: RegistryContents<'_>,
    ) -> Result<RegistryInfo, WriteError> {
        let (set, change) =
            rayon::join(|| self.write_set(plan, contents), || self.write_change(plan, contents));
        let (set, change) = (set?, change?);
        if !plan.changes_nothing() {
            open_set(self.disk, &set, Some(plan.report.count))?;
        }
        let mut info = plan.info.clone();
        if let (Some(State::Listed(before)), Some(change)) = (info.states.last_mut(), change) {
            open_set(self.disk, &change, Some(plan.report.added + plan.report.removed))?;
            before.file = change;
        }
        let report = &plan.report;
        info.states.push(State::Listed(VersionInfo {
            received_at: report.received_at,
            kind: report.kind,
            channel: report.channel.clone(),
            as_of: report.as_of,
            max_age_days: report.max_age_days,
            count: report.count,
            source: plan.source.clone(),
            file: set,
        }));
        Ok(info)
    }

    /// The new list; the file of the present one if they are the same.
    fn write_set(
        &self,
        plan: &Plan,
        contents: RegistryContents<'_>,
    ) -> Result<FileInfo, WriteError> {
        if let (Some(present), true) = (plan.info.present(), plan.changes_nothing()) {
            return Ok(present.file.clone());
        }
        self.create(&self.set_name(), |out| match (contents, &plan.old) {
            (RegistryContents::List(keys), _) => write_sorted(out, || keys.iter()).map(drop),
            (RegistryContents::Changes(_), Some(old)) => merge(old, &plan.changes, out).map(drop),
            (RegistryContents::Changes(_), None) => {
                merge(&View::empty(), &plan.changes, out).map(drop)
            }
        })
    }

    /// What differs between the present list and the new one; none when there was no list.
    fn write_change(
        &self,
        plan: &Plan,
        contents: RegistryContents<'_>,
    ) -> Result<Option<FileInfo>, WriteError> {
        if plan.old.is_none() {
            return Ok(None);
        }
        let written = self.create(&self.change_name(), |out| match contents {
            RegistryContents::List(keys) => {
                let differ = || differences(members(&plan.old), keys.iter()).map(|(key, _)| key);
                write_sorted(out, differ).map(drop)
            }
            RegistryContents::Changes(_) => {
                write_sorted(out, || plan.changes.iter().map(|it| it.key)).map(drop)
            }
        });
        written.map(Some)
    }

    fn create(
        &self,
        name: &str,
        write: impl FnOnce(&mut Hashing) -> Result<(), SnapshotError>,
    ) -> Result<FileInfo, WriteError> {
        self.disk.remove(name)?;
        let mut out = Hashing::new(Appender::new(self.disk.create(name)?));
        write(&mut out).map_err(|error| self.failed(name, error))?;
        out.finish(name)
    }

    /// The disk's own error out of what the snapshot made of it.
    fn failed(&self, name: &str, error: SnapshotError) -> WriteError {
        let file = self.disk.path_of(name);
        let boxed: Box<dyn std::error::Error + Send + Sync> = match error {
            SnapshotError::Write { source, .. } => match io::Error::downcast::<DiskError>(source) {
                Ok(error) => return StoreError::from(error).into(),
                Err(error) => Box::new(error),
            },
            error => Box::new(error),
        };
        WriteError::Generation { file, source: boxed }
    }

    fn remove(&self) {
        for name in [self.set_name(), self.change_name()] {
            let _ = self.disk.remove(&name);
        }
    }
}
