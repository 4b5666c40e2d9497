//! Who may be on one state of a layer and not on another?

use super::info::{RegistryInfo, State, VersionInfo};
use super::set::{Set, open_set};
use crate::number::SubscriberKey;
use crate::store::error::StoreError;
use crate::store::reader::Reader;
use crate::time::Timestamp;

/// Everybody for whom a layer may say something else than it did: all whom its changes name, and
/// perhaps others.
pub struct RegistryChanges {
    sets: Vec<Set>,
}

impl RegistryChanges {
    /// How many there are; who is named by several changes counts several times.
    pub fn len(&self) -> u64 {
        self.sets.iter().map(|set| set.len()).sum()
    }

    /// Whether nobody changed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who they are, in no order.
    pub fn keys(&self) -> impl Iterator<Item = SubscriberKey> {
        self.sets.iter().flat_map(|set| set.iter())
    }
}

/// Counts only: members are people.
impl std::fmt::Debug for RegistryChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryChanges").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Reader {
    /// For whom a layer may say something else now than the list did that was imported at `then`,
    /// or than nothing, if no list counted. `counts_now` says whether its present list counts.
    /// `None` when there was no list of that moment.
    ///
    /// # Errors
    ///
    /// When a file that records a change is missing or damaged, and when an earlier refresh
    /// failed.
    pub fn registry_changes(
        &self,
        name: &str,
        then: Option<Timestamp>,
        counts_now: bool,
    ) -> Result<Option<RegistryChanges>, StoreError> {
        self.usable()?;
        let infos = &self.manifest.registries;
        let Some(info) = infos.iter().find(|it| it.name.as_str() == name) else { return Ok(None) };
        let Some(versions) = changed_versions(info, then, counts_now) else { return Ok(None) };
        let open = |version: &&VersionInfo| open_set(&*self.disk, &version.file, None);
        let sets = versions.iter().map(open).collect::<Result<Vec<Set>, StoreError>>()?;
        Ok(Some(RegistryChanges { sets }))
    }
}

/// The versions whose files name everybody who changed.
fn changed_versions(
    info: &RegistryInfo,
    then: Option<Timestamp>,
    counts_now: bool,
) -> Option<Vec<&VersionInfo>> {
    let present = info.present().filter(|_| counts_now);
    let Some(then) = then else { return Some(present.into_iter().collect()) };
    let is_it = |state: &State| matches!(state, State::Listed(it) if it.received_at == then);
    let states = &info.states[info.states.iter().position(is_it)?..];
    let versions: Vec<&VersionInfo> = states
        .iter()
        .filter_map(|state| match state {
            State::Listed(version) => Some(version),
            State::Dropped { .. } => None,
        })
        .collect();
    let (last, before) = versions.split_last()?;
    // The last file is the whole list; those before it are what differs from list to list, as long
    // as the layer was never dropped and went on meaning the same.
    let is_the_same = |it: &&VersionInfo| it.kind == last.kind && it.channel == last.channel;
    let goes_on = present.is_some() && versions.len() == states.len();
    match goes_on && before.iter().all(is_the_same) {
        true => Some(before.to_vec()),
        false => Some(versions),
    }
}
