//! How does a campaign treat those who opted out?
//!
//! Each campaign has a category, a scope, and whether it excludes whoever opted out: `on`,
//! `report` (nobody is taken out, it is told who would be) or `off`. The store keeps them in
//! `campaigns.json`. Promises: who changed a campaign last, and when, is kept with it; a list that
//! can't be read answers nothing, so that a damaged one never means `off`. Leaves to others: what
//! is asked for a campaign (`routes`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::event::Category;
use crate::policy::{Scope, UnknownChannel};
use crate::scrub::Mode;
use crate::store::SideError;
use crate::store::layout::{self, SideNames};
use crate::store::side::{SideFile, SideList, Watched};
use crate::time::Timestamp;

/// Campaigns that a store keeps.
const CAMPAIGNS_MAX: usize = 100_000;
const TEXT_CHARS_MAX: usize = 200;

/// Whether a campaign excludes whoever opted out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CampaignMode {
    /// Whoever opted out is taken out.
    #[default]
    On,
    /// Nobody is taken out; it is told who would be.
    Report,
    /// Nobody is asked.
    Off,
}

impl CampaignMode {
    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            CampaignMode::On => "on",
            CampaignMode::Report => "report",
            CampaignMode::Off => "off",
        }
    }

    /// What a scrub for the campaign does.
    pub const fn scrub_mode(self) -> Mode {
        match self {
            CampaignMode::On => Mode::Enforce,
            CampaignMode::Report => Mode::Report,
            CampaignMode::Off => Mode::Off,
        }
    }
}

impl FromStr for CampaignMode {
    type Err = CampaignError;

    fn from_str(text: &str) -> Result<CampaignMode, CampaignError> {
        let all = [CampaignMode::On, CampaignMode::Report, CampaignMode::Off];
        all.into_iter().find(|mode| mode.as_str() == text).ok_or(CampaignError::Mode)
    }
}

/// How a campaign is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Of its messages.
    pub category: Category,
    /// Whether it excludes whoever opted out.
    pub mode: CampaignMode,
    /// The channel over which it goes; empty for any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Who sends it; empty for anybody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sender: String,
    /// The brand behind the sender; empty for any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub brand: String,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
}

impl Campaign {
    /// For which messages it holds.
    ///
    /// # Errors
    ///
    /// When there is no such channel.
    pub fn scope(&self) -> Result<Scope, UnknownChannel> {
        Scope::new(&self.channel, &self.sender, &self.brand)
    }
}

/// Why a campaign could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// The list could not be read or changed.
    #[error(transparent)]
    List(#[from] SideError),
    /// No mode is called so.
    #[error("that is no mode: use on, report or off")]
    Mode,
    /// The id is no id.
    #[error("a campaign's id has 1 to 200 characters, none of them a control character")]
    Id,
    /// A name is no name.
    #[error("sender and brand have at most 200 characters, none of them a control character")]
    Text,
    /// There is no such channel.
    #[error(transparent)]
    Channel(#[from] UnknownChannel),
    /// There are too many.
    #[error("there are 100,000 campaigns already: remove those that were sent")]
    TooMany,
}

/// The campaigns of a store, on its disk.
#[derive(Clone, Debug)]
pub struct CampaignFile {
    file: SideFile<List>,
}

impl CampaignFile {
    /// The campaigns of the store on a disk.
    ///
    /// # Errors
    ///
    /// When there is no store.
    pub fn open(disk: Arc<dyn Disk>) -> Result<CampaignFile, CampaignError> {
        Ok(CampaignFile { file: SideFile::open(disk)? })
    }

    /// Every campaign, by id.
    ///
    /// # Errors
    ///
    /// When the list is damaged or can't be read.
    pub fn list(&self) -> Result<BTreeMap<String, Campaign>, CampaignError> {
        Ok(self.file.read()?.campaigns)
    }

    /// Puts a campaign in place, new or not; whether it is new.
    ///
    /// # Errors
    ///
    /// When it makes no sense, or the list can't be changed. It is then as before.
    pub fn set(&self, id: &str, campaign: Campaign) -> Result<bool, CampaignError> {
        if id.is_empty() || !is_text(id) {
            return Err(CampaignError::Id);
        }
        if !is_text(&campaign.sender) || !is_text(&campaign.brand) {
            return Err(CampaignError::Text);
        }
        campaign.scope()?;
        self.file.change(|list| {
            if list.campaigns.len() >= CAMPAIGNS_MAX && !list.campaigns.contains_key(id) {
                return Err(CampaignError::TooMany);
            }
            Ok(list.campaigns.insert(id.to_owned(), campaign).is_none())
        })
    }

    /// Removes a campaign; whether there was one.
    ///
    /// # Errors
    ///
    /// When the list can't be changed.
    pub fn remove(&self, id: &str) -> Result<bool, CampaignError> {
        self.file.change(|list| Ok(list.campaigns.remove(id).is_some()))
    }

    /// What looks campaigns up for long.
    pub(super) fn watched(&self) -> Campaigns {
        Campaigns(Watched::new(self.file.clone()))
    }
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
}

/// The campaigns as they stand at each look.
#[derive(Debug)]
pub(super) struct Campaigns(Watched<List>);

impl Campaigns {
    pub(super) fn get(&self, id: &str) -> Result<Option<Campaign>, CampaignError> {
        Ok(self.0.read()?.campaigns.get(id).cloned())
    }

    /// Up to `limit` campaigns behind an id, by id.
    pub(super) fn after(
        &self,
        id: &str,
        limit: usize,
    ) -> Result<Vec<(String, Campaign)>, CampaignError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let list = self.0.read()?;
        let behind = list.campaigns.range::<str, _>((Excluded(id), Unbounded));
        Ok(behind.take(limit).map(|(id, campaign)| (id.clone(), campaign.clone())).collect())
    }
}

/// `campaigns.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    campaigns: BTreeMap<String, Campaign>,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List({})", self.campaigns.len())
    }
}

impl SideList for List {
    const NAMES: SideNames = layout::CAMPAIGNS;
    const WHAT: &'static str = "list of campaigns";
    const VERSION: u32 = 1;
    const BYTES_MAX: u64 = 256 << 20;

    fn empty() -> List {
        List { version: List::VERSION, campaigns: BTreeMap::new() }
    }

    fn version(&self) -> u32 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::number::Folding;
    use crate::store::init_on;

    fn file() -> (Arc<MemoryDisk>, CampaignFile) {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), Timestamp::default()).unwrap();
        (disk.clone(), CampaignFile::open(disk).unwrap())
    }

    fn campaign(mode: CampaignMode) -> Campaign {
        Campaign {
            category: Category::Marketing,
            mode,
            channel: String::new(),
            sender: String::new(),
            brand: String::new(),
            changed_at: Timestamp::from_millis(7),
            changed_by: "Ana".to_owned(),
        }
    }

    #[test]
    fn a_look_sees_every_change_at_once() {
        let (_, file) = file();
        let watched = file.watched();
        assert_eq!(watched.get("spring").unwrap(), None);
        assert!(file.set("spring", campaign(CampaignMode::Off)).unwrap());
        assert_eq!(watched.get("spring").unwrap().unwrap().mode, CampaignMode::Off);
        assert!(!file.set("spring", campaign(CampaignMode::On)).unwrap());
        assert_eq!(watched.get("spring").unwrap().unwrap().mode, CampaignMode::On);
        file.set("autumn", campaign(CampaignMode::On)).unwrap();
        let ids = |after, limit| {
            let page = watched.after(after, limit).unwrap();
            page.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(ids("", 9), ["autumn", "spring"]);
        assert_eq!(ids("", 1), ["autumn"]);
        assert_eq!(ids("autumn", 9), ["spring"]);
        assert!(file.remove("spring").unwrap() && !file.remove("spring").unwrap());
        assert_eq!(watched.get("spring").unwrap(), None);
    }

    #[test]
    fn nonsense_is_refused_and_a_damaged_list_answers_nothing() {
        let (disk, file) = file();
        let on = || campaign(CampaignMode::On);
        for id in ["", "a\nb", &"a".repeat(201)] {
            assert!(matches!(file.set(id, on()), Err(CampaignError::Id)));
        }
        let named = Campaign { sender: "a\0".to_owned(), ..on() };
        assert!(matches!(file.set("a", named), Err(CampaignError::Text)));
        let far = Campaign { channel: "pigeon".to_owned(), ..on() };
        assert!(matches!(file.set("a", far), Err(CampaignError::Channel(_))));
        assert!(file.list().unwrap().is_empty());
        file.set("a", on()).unwrap();
        let watched = file.watched();
        watched.get("a").unwrap();
        disk.remove(layout::CAMPAIGNS.file).unwrap();
        disk.create(layout::CAMPAIGNS.file).unwrap().write_at(b"{}", 0).unwrap();
        assert!(watched.get("a").is_err() && watched.get("a").is_err());
        assert!(file.set("b", on()).is_err());
    }
}
