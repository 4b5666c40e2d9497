//! To which campaign does the message belong that a person answers?
//!
//! A reply names the message that it answers by the provider's id. [`Sent`] remembers which
//! campaign each of our messages belongs to, as receipts and programs tell it. Promises: memory
//! does not grow with messages, and the file `sent.table` not beyond 128 MiB; of those that hash
//! to one page the oldest go first, and nothing older than 30 days is remembered. Nothing here is
//! synced: losing it loses campaigns of opt-outs, never an opt-out. Leaves to others: who may tell
//! it.
//!
//! `sent.table` is a hash table of 32,768 pages with 256 slots each. A slot has 16 bytes, little
//! endian: hash of the id (8), campaign (4), day since 1970 (2), check over these (2). A slot that
//! fails its check is empty, as after a torn write. A page that was never written is a hole and
//! takes no room. The campaigns' names are in `sent.json`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, DiskError, DiskFile};
use crate::store::SideError;
use crate::store::layout::{self, SideNames};
use crate::store::side::{SideFile, SideList};
use crate::time::Timestamp;

const SLOT_BYTES: usize = 16;
const SLOTS: usize = 256;
const PAGE_BYTES: usize = SLOTS * SLOT_BYTES;
const PAGES: u64 = 1 << 15;
/// Days that a message is remembered: whoever answers one that is older answers for himself.
const DAYS: u16 = 30;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Campaigns that are remembered; more are not told apart.
const CAMPAIGNS_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 256;

/// Why nothing was remembered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum SentError {
    /// The names could not be read or changed.
    #[error(transparent)]
    Names(#[from] SideError),
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] DiskError),
    /// There are too many campaigns.
    #[error("{CAMPAIGNS_MAX} campaigns are remembered already: remove sent.json and sent.table")]
    Full,
}

/// Which campaign each message belongs to.
pub(super) struct Sent {
    disk: Arc<dyn Disk>,
    file: SideFile<Names>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The names as they were last read; `None` before.
    campaigns: Option<Campaigns>,
    table: Option<Box<dyn DiskFile>>,
}

#[derive(Default)]
struct Campaigns {
    names: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u32>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sent")
    }
}

impl Sent {
    /// What the store on a disk remembers.
    ///
    /// # Errors
    ///
    /// When there is no store.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Sent, SideError> {
        let file = SideFile::open(disk.clone())?;
        Ok(Sent { disk, file, memory: Mutex::default() })
    }

    /// Remembers to which campaign these messages belong. What is remembered already costs no
    /// write.
    ///
    /// # Errors
    ///
    /// When names or table can't be written; some may be remembered.
    pub(super) fn learn<'a>(
        &self,
        sent: impl IntoIterator<Item = (&'a str, &'a str)>,
        now: Timestamp,
    ) -> Result<(), SentError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let today = day(now);
        for (id, campaign) in sent {
            if id.is_empty() || !is_campaign(campaign) {
                continue;
            }
            let place = self.place(&mut memory, campaign)?;
            let table = memory.table(&*self.disk)?;
            let slot = Slot { hash: xxh3_64(id.as_bytes()), campaign: place, day: today };
            let page = Page::read(table, slot.hash)?;
            if let Some(at) = page.place(slot, today) {
                table.write_at(&slot.bytes(), page.offset + (at * SLOT_BYTES) as u64)?;
            }
        }
        Ok(())
    }

    /// The campaign of a message, if it is remembered.
    ///
    /// # Errors
    ///
    /// When names or table can't be read.
    pub(super) fn campaign(&self, id: &str, now: Timestamp) -> Result<Option<Arc<str>>, SentError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.table.is_none() {
            match self.disk.open_write(layout::SENT_TABLE) {
                Ok(table) => memory.table = Some(table),
                Err(error) if error.is_missing() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let hash = xxh3_64(id.as_bytes());
        let page = Page::read(memory.table(&*self.disk)?, hash)?;
        let (today, found) = (day(now), page.slots().find(|(_, slot)| slot.hash == hash));
        let Some((_, slot)) = found.filter(|(_, slot)| slot.is_fresh(today)) else {
            return Ok(None);
        };
        let names = &memory.campaigns(&self.file)?.names;
        Ok(names.get(slot.campaign as usize).cloned())
    }

    /// The place of a campaign among the names. A new one is synced before it is used: a slot
    /// that names a campaign is never without it.
    fn place(&self, memory: &mut Memory, campaign: &str) -> Result<u32, SentError> {
        let campaigns = memory.campaigns(&self.file)?;
        if let Some(&place) = campaigns.places.get(campaign) {
            return Ok(place);
        }
        let mut changed = self.file.change(|names: &mut Names| {
            if !names.campaigns.iter().any(|name| name == campaign) {
                if names.campaigns.len() >= CAMPAIGNS_MAX {
                    return Err(SentError::Full);
                }
                names.campaigns.push(campaign.to_owned());
            }
            Ok(Campaigns::of(&names.campaigns))
        })?;
        std::mem::swap(campaigns, &mut changed);
        campaigns.places.get(campaign).copied().ok_or(SentError::Full)
    }
}

/// Whether a text can be the name of a campaign.
pub(super) fn is_campaign(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Memory {
    fn campaigns(&mut self, file: &SideFile<Names>) -> Result<&mut Campaigns, SentError> {
        if self.campaigns.is_none() {
            self.campaigns = Some(Campaigns::of(&file.read()?.campaigns));
        }
        Ok(self.campaigns.get_or_insert_default())
    }

    fn table(&mut self, disk: &dyn Disk) -> Result<&dyn DiskFile, SentError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => match disk.open_write(layout::SENT_TABLE) {
                Err(error) if error.is_missing() => disk.create(layout::SENT_TABLE)?,
                opened => opened?,
            },
        };
        Ok(&**self.table.insert(table))
    }
}

impl Campaigns {
    fn of(names: &[String]) -> Campaigns {
        let names: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
        let places = (0..).zip(&names).map(|(place, name)| (name.clone(), place)).collect();
        Campaigns { names, places }
    }
}

/// `sent.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    version: u32,
    campaigns: Vec<String>,
}

impl SideList for Names {
    const NAMES: SideNames = layout::SENT;
    const WHAT: &'static str = "list of campaigns that were sent";
    const VERSION: u32 = 1;
    const BYTES_MAX: u64 = (CAMPAIGNS_MAX * (NAME_BYTES_MAX + 16)) as u64;

    fn empty() -> Names {
        Names { version: Names::VERSION, campaigns: Vec::new() }
    }

    fn version(&self) -> u32 {
        self.version
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    hash: u64,
    campaign: u32,
    day: u16,
}

impl Slot {
    fn bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&self.hash.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.campaign.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.day.to_le_bytes());
        let check = check(&bytes);
        bytes[14..].copy_from_slice(&check);
        bytes
    }

    fn of(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let (hash, rest) = bytes.split_first_chunk::<8>()?;
        let (campaign, rest) = rest.split_first_chunk::<4>()?;
        let (day, _) = rest.split_first_chunk::<2>()?;
        let day = u16::from_le_bytes(*day);
        // Day 0 is that of a hole.
        (day != 0 && bytes[14..] == check(bytes)).then_some(Slot {
            hash: u64::from_le_bytes(*hash),
            campaign: u32::from_le_bytes(*campaign),
            day,
        })
    }

    fn is_fresh(self, today: u16) -> bool {
        self.day.saturating_add(DAYS) >= today
    }
}

fn check(bytes: &[u8; SLOT_BYTES]) -> [u8; 2] {
    let [low, high, ..] = xxh3_64(&bytes[..14]).to_le_bytes();
    [low, high]
}

/// The slots among which a hash has its own.
struct Page {
    offset: u64,
    bytes: Vec<u8>,
}

impl Page {
    fn read(table: &dyn DiskFile, hash: u64) -> Result<Page, DiskError> {
        let offset = hash % PAGES * PAGE_BYTES as u64;
        let mut bytes = vec![0; PAGE_BYTES];
        // Beyond the end of the file everything is empty.
        let read = table.read_at(&mut bytes, offset)?;
        bytes[read..].fill(0);
        Ok(Page { offset, bytes })
    }

    /// The slots that are used, with their places.
    fn slots(&self) -> impl Iterator<Item = (usize, Slot)> {
        let slots = self.bytes.as_chunks::<SLOT_BYTES>().0.iter().enumerate();
        slots.filter_map(|(place, bytes)| Some((place, Slot::of(bytes)?)))
    }

    /// Where a slot goes: its own place, one that is empty, or that of the oldest. `None` when it
    /// is there as it should be.
    fn place(&self, slot: Slot, today: u16) -> Option<usize> {
        let mut days = [0; SLOTS];
        for (place, used) in self.slots() {
            if used.hash == slot.hash {
                let is_same = used.campaign == slot.campaign && used.is_fresh(today);
                return (!is_same).then_some(place);
            }
            days[place] = used.day;
        }
        days.iter().enumerate().min_by_key(|(_, day)| **day).map(|(place, _)| place)
    }
}

/// Days since 1970; never 0.
fn day(now: Timestamp) -> u16 {
    u16::try_from(now.as_millis().div_euclid(DAY_MILLIS).max(1)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::number::Folding;
    use crate::store::init_on;

    fn disk() -> Arc<MemoryDisk> {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), Timestamp::default()).unwrap();
        disk
    }

    /// An id on one of the first pages: tables in memory have no holes.
    fn id(which: usize) -> String {
        let ids = (0..).map(|it| format!("wamid.{it}"));
        let is_near = |id: &String| xxh3_64(id.as_bytes()) % PAGES < 8;
        ids.filter(is_near).nth(which).unwrap()
    }

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(day * DAY_MILLIS + 5)
    }

    fn asked(sent: &Sent, id: &str, day: i64) -> Option<String> {
        sent.campaign(id, at(day)).unwrap().map(|name| name.to_string())
    }

    #[test]
    fn messages_are_remembered_across_restarts_and_for_a_month() {
        let disk = disk();
        let (one, two) = (id(1), id(2));
        let sent = Sent::open(disk.clone()).unwrap();
        assert_eq!(asked(&sent, &one, 20_000), None);
        sent.learn([(&*one, "spring"), (&*two, "summer"), ("", "none")], at(20_000)).unwrap();
        assert_eq!(asked(&sent, &one, 20_000).as_deref(), Some("spring"));
        let again = Sent::open(disk).unwrap();
        assert_eq!(asked(&again, &two, 20_030).as_deref(), Some("summer"));
        assert_eq!(asked(&again, &two, 20_031), None);
        assert_eq!(asked(&again, &id(3), 20_000), None);
        assert_eq!(asked(&again, "", 20_000), None);
    }

    #[test]
    fn a_message_that_is_told_again_stays_where_it_is() {
        let disk = disk();
        let one = id(1);
        let sent = Sent::open(disk.clone()).unwrap();
        sent.learn([(&*one, "spring")], at(20_000)).unwrap();
        let before = disk.bytes(layout::SENT_TABLE).unwrap();
        sent.learn([(&*one, "spring")], at(20_001)).unwrap();
        assert_eq!(disk.bytes(layout::SENT_TABLE).unwrap(), before);
        sent.learn([(&*one, "summer")], at(20_001)).unwrap();
        assert_eq!(asked(&sent, &one, 20_001).as_deref(), Some("summer"));
        assert_eq!(disk.bytes(layout::SENT_TABLE).unwrap().len(), before.len());
    }

    #[test]
    fn the_oldest_make_room_when_a_page_is_full() {
        let mut page = Page { offset: 0, bytes: vec![0; PAGE_BYTES] };
        let slot = |hash: u64, day: u16| Slot { hash, campaign: 1, day };
        for hash in 0..SLOTS as u64 {
            let new = slot(hash, 20_000 - u16::from(hash == 77));
            let place = page.place(new, 20_000).unwrap();
            page.bytes[place * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&new.bytes());
        }
        assert_eq!(page.slots().count(), SLOTS);
        assert_eq!(page.place(slot(1_000, 20_000), 20_000), Some(77));
        assert_eq!(page.place(slot(5, 20_000), 20_000), None);
    }

    #[test]
    fn a_torn_slot_or_table_is_forgotten() {
        let disk = disk();
        let sent = Sent::open(disk.clone()).unwrap();
        let one = id(1);
        sent.learn([(&*one, "spring")], at(20_000)).unwrap();
        let whole = disk.bytes(layout::SENT_TABLE).unwrap();
        let slot = whole.iter().position(|&byte| byte != 0).unwrap() / SLOT_BYTES * SLOT_BYTES;
        for bit in 0..SLOT_BYTES * 8 {
            let mut torn = whole.clone();
            torn[slot + bit / 8] ^= 1 << (bit % 8);
            disk.put(layout::SENT_TABLE, torn);
            assert_eq!(asked(&Sent::open(disk.clone()).unwrap(), &one, 20_000), None, "{bit}");
        }
        for length in [0, 1, slot, slot + 1, slot + 15] {
            disk.put(layout::SENT_TABLE, whole[..length].to_vec());
            assert_eq!(asked(&Sent::open(disk.clone()).unwrap(), &one, 20_000), None);
        }
        disk.remove(layout::SENT_TABLE).unwrap();
        disk.put(layout::SENT.file, b"{".to_vec());
        assert!(Sent::open(disk).unwrap().learn([("a", "b")], at(20_000)).is_err());
    }

    #[test]
    fn names_that_are_none_are_not_remembered() {
        let disk = disk();
        let sent = Sent::open(disk.clone()).unwrap();
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "a\nb", "a\0", &long] {
            sent.learn([("wamid.1", name)], at(20_000)).unwrap();
        }
        assert!(disk.bytes(layout::SENT.file).is_none());
    }
}
