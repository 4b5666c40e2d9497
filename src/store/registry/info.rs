//! What the manifest says of a layer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::write::RegistryError;
use crate::policy::Scope;
use crate::store::layout::Entry;
use crate::store::manifest::FileInfo;
use crate::time::Timestamp;

/// How far a clock may be behind the moment that a list describes.
const CLOCK_SLACK_MILLIS: i64 = 86_400_000;
const DAY_MILLIS: i64 = 86_400_000;

/// The name of a layer: up to 40 of `a-z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RegistryName(String);

impl RegistryName {
    /// Characters that a name may have.
    const LENGTH_MAX: usize = 40;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryName {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<RegistryName, RegistryError> {
        let fits = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-_".contains(&it);
        if text.is_empty() || text.len() > Self::LENGTH_MAX || !text.bytes().all(fits) {
            return Err(RegistryError::Name { got: text.chars().take(40).collect() });
        }
        Ok(RegistryName(text.to_owned()))
    }
}

impl TryFrom<String> for RegistryName {
    type Error = RegistryError;

    fn try_from(text: String) -> Result<RegistryName, RegistryError> {
        text.parse()
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What being on a layer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryKind {
    /// Do not contact: an outside list of people who want no messages.
    Registry,
    /// These people agreed: an outside list that outranks layers of the other kind.
    Consent,
}

impl RegistryKind {
    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            RegistryKind::Registry => "registry",
            RegistryKind::Consent => "consent",
        }
    }
}

impl fmt::Display for RegistryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A layer and all that it has been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct RegistryInfo {
    pub(super) name: RegistryName,
    /// Oldest first, ascending by the time of import; the last is what holds now.
    pub(super) states: Vec<State>,
}

/// What a layer is from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum State {
    /// There is a list.
    Listed(VersionInfo),
    /// There is none any more.
    Dropped {
        #[serde(with = "moment")]
        received_at: Timestamp,
        reason: String,
    },
}

/// A list as it was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionInfo {
    #[serde(with = "moment")]
    pub(super) received_at: Timestamp,
    pub(super) kind: RegistryKind,
    /// Empty for all.
    pub(super) channel: String,
    #[serde(with = "moment")]
    pub(super) as_of: Timestamp,
    pub(super) max_age_days: Option<u32>,
    pub(super) count: u64,
    /// The name of the list's file.
    pub(super) source: String,
    /// Who is in either this list or the next, but not in both. There is no next list after the
    /// last one and before a drop: it counts as empty, so that this is the whole list.
    pub(super) file: FileInfo,
}

impl RegistryInfo {
    /// The list that holds now.
    pub(super) fn present(&self) -> Option<&VersionInfo> {
        match self.states.last()? {
            State::Listed(version) => Some(version),
            State::Dropped { .. } => None,
        }
    }

    /// The list that held at a moment, and the files that tell who was on it: those who are in
    /// an odd number of them.
    pub(super) fn at(&self, moment: Timestamp) -> Option<(VersionInfo, Vec<FileInfo>)> {
        let behind = self.states.partition_point(|state| state.received_at() <= moment);
        let states = self.states.get(behind.checked_sub(1)?..)?;
        let mut versions = states.iter().map_while(|state| match state {
            State::Listed(version) => Some(version),
            State::Dropped { .. } => None,
        });
        let version = versions.next()?;
        let files = std::iter::once(version).chain(versions).map(|it| it.file.clone()).collect();
        Some((version.clone(), files))
    }

    /// All files, each with the number of its members where that is known.
    pub(super) fn files(&self) -> impl Iterator<Item = (&FileInfo, Option<u64>)> {
        self.states.iter().enumerate().filter_map(|(index, state)| match state {
            State::Listed(version) => {
                let next = self.states.get(index + 1);
                let is_whole = !matches!(next, Some(State::Listed(_)));
                Some((&version.file, is_whole.then_some(version.count)))
            }
            State::Dropped { .. } => None,
        })
    }

    /// Whether everything in it can be as it says.
    pub(super) fn is_plausible(&self) -> bool {
        let moments = self.states.iter().map(State::received_at);
        moments.is_sorted()
            && !self.states.is_empty()
            && self.files().all(|it| matches!(Entry::of(&it.0.name), Entry::Registry(_)))
            && self.states.iter().all(|state| match state {
                State::Listed(version) => Scope::new(&version.channel, "", "").is_ok(),
                State::Dropped { .. } => true,
            })
    }
}

impl State {
    pub(super) fn received_at(&self) -> Timestamp {
        match self {
            State::Listed(version) => version.received_at,
            State::Dropped { received_at, .. } => *received_at,
        }
    }
}

impl VersionInfo {
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.max_age_days.is_some_and(|days| {
            let age = now.as_millis() - self.as_of.as_millis();
            age > i64::from(days) * DAY_MILLIS || age < -CLOCK_SLACK_MILLIS
        })
    }

    /// The scope; one that can't be read is everywhere.
    pub(super) fn scope(&self) -> Scope {
        Scope::new(&self.channel, "", "").unwrap_or_default()
    }
}

/// Moments as people read them.
mod moment {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::time::{Timestamp, Zone};

    pub(super) fn serialize<S: Serializer>(
        moment: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(moment)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text, &Zone::UTC).map_err(serde::de::Error::custom)
    }
}
