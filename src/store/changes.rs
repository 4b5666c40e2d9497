//! How does a generation differ from the sets and columns that were written for one before it?
//!
//! When few subscribers changed, writing all sets anew to fold their events would cost a hundred
//! times what they weigh. Instead one small file lists them, each as he stands now, with the
//! profiles and the ids that are new: everything since the sets were written, so that there is
//! never more than one such file. Opening a store lays it over the sets; the journal is replayed
//! only from where it ends.
//!
//! Promises: a file that does not belong to store, sets, generation and sequence, or that says
//! what can't be, is refused as a whole. Numbers stand in it as differences only, so that none is
//! found by searching. Leaves to `core` when such a file is written.

use std::collections::HashSet;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::error::{StoreError, WriteError};
use super::generation::{Generation, map_checked, write_whole};
use super::layout::changes_name;
use super::manifest::{ChangesInfo, Manifest};
use super::profiles::{ProfileId, Profiles};
use super::standing::Standing;
use super::standings::Standings;
use crate::disk::Disk;
use crate::journal::varint;
use crate::number::{BusinessId, SubscriberKey};
use crate::time::Timestamp;

/// The first bytes of a file of changes.
const CHANGES_MAGIC: [u8; 8] = *b"OPTOUTD\n";
/// The version that this release writes and reads.
const CHANGES_VERSION: u16 = 1;

/// What a file of changes begins with; the list of profiles follows, the standings, the ids.
#[derive(
    Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
struct ChangesHeader {
    /// [`CHANGES_MAGIC`].
    magic: [u8; 8],
    /// [`CHANGES_VERSION`].
    version: U16,
    /// Zero.
    reserved: [u8; 6],
    /// The store that it belongs to.
    store: [u8; 16],
    /// The generation that it makes.
    generation: U64,
    /// The generation whose sets and columns it is to be laid over.
    base: U64,
    /// The last sequence that is folded into it.
    sequence: U64,
    /// Number of standings.
    standings: U64,
    /// Number of ids.
    ids: U64,
    /// Bytes of the list of profiles.
    profile_bytes: U64,
}
const _: () = assert!(size_of::<ChangesHeader>() == 80);

impl ChangesHeader {
    fn new(manifest: &Manifest, base: u64) -> ChangesHeader {
        ChangesHeader {
            magic: CHANGES_MAGIC,
            version: U16::new(CHANGES_VERSION),
            reserved: [0; 6],
            store: manifest.store_id().unwrap_or_default(),
            generation: U64::new(manifest.generation),
            base: U64::new(base),
            sequence: U64::new(manifest.sequence),
            standings: U64::new(0),
            ids: U64::new(0),
            profile_bytes: U64::new(0),
        }
    }
}

/// What a file of changes says.
#[derive(Debug)]
pub(super) struct Changes {
    /// How those stand who stand otherwise than the sets say, or are new; ascending by key.
    pub(super) standings: Vec<(SubscriberKey, Standing)>,
    /// The whole list: that of the sets, and what is new.
    pub(super) profiles: Profiles,
    /// The ids that the sets' table does not know; ascending by key.
    pub(super) ids: Vec<(BusinessId, SubscriberKey)>,
}

/// Writes the file of a generation that is to be, over the sets of the generation `base`. `changes`
/// are everything in which `standings` differ from these, ascending by key. The file is synced when
/// this returns, its name is not.
pub(super) fn write(
    disk: &dyn Disk,
    next: &Manifest,
    base: u64,
    standings: &Standings,
    changes: &[(SubscriberKey, Standing)],
) -> Result<ChangesInfo, WriteError> {
    let profiles = standings.profiles().to_json();
    let mut ids: Vec<(SubscriberKey, &BusinessId)> =
        standings.new_ids().map(|(id, key)| (key, id)).collect();
    ids.sort_unstable_by_key(|&(key, _)| key);
    let header = ChangesHeader {
        standings: U64::new(changes.len() as u64),
        ids: U64::new(ids.len() as u64),
        profile_bytes: U64::new(profiles.len() as u64),
        ..ChangesHeader::new(next, base)
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(&profiles);
    put_standings(&mut bytes, changes, next.sequence);
    put_ids(&mut bytes, &ids);
    let file = write_whole(disk, changes_name(next.generation), &bytes)?;
    Ok(ChangesInfo { base, count: changes.len() as u64, file })
}

fn put_standings(out: &mut Vec<u8>, changes: &[(SubscriberKey, Standing)], sequence: u64) {
    let (mut key_before, mut moment_before) = (0, 0);
    for &(key, standing) in changes {
        let moment = standing.since_at.as_millis() as u64;
        varint::put(out, key.get() - key_before);
        varint::put(out, u64::from(standing.profile.0));
        varint::put(out, sequence - standing.head);
        varint::put_difference(out, standing.head, standing.since);
        varint::put_difference(out, moment_before, moment);
        (key_before, moment_before) = (key.get(), moment);
    }
}

fn put_ids(out: &mut Vec<u8>, ids: &[(SubscriberKey, &BusinessId)]) {
    for (key, id) in ids {
        varint::put(out, key.id_sequence().expect("the key of an id"));
        varint::put(out, id.as_str().len() as u64);
        out.extend_from_slice(id.as_str().as_bytes());
    }
}

impl Changes {
    /// Reads the file that a manifest names and holds it against the sets that it is for.
    pub(super) fn read(
        disk: &dyn Disk,
        manifest: &Manifest,
        info: &ChangesInfo,
        generation: &Generation,
    ) -> Result<Changes, StoreError> {
        let bytes = map_checked(disk, &info.file)?;
        Changes::decode(bytes.as_ref(), manifest, info)
            .and_then(|changes| changes.check_over(generation).map(|()| changes))
            .map_err(|what| StoreError::damaged(disk.path_of(&info.file.name), 0, what))
    }

    /// Reads a file whose checksum was found right; `Err` says what is wrong with it.
    fn decode(bytes: &[u8], manifest: &Manifest, info: &ChangesInfo) -> Result<Changes, String> {
        let (header, mut rest) =
            ChangesHeader::read_from_prefix(bytes).map_err(|_| "it ends within its header")?;
        let expected = ChangesHeader {
            standings: U64::new(info.count),
            ids: header.ids,
            profile_bytes: header.profile_bytes,
            ..ChangesHeader::new(manifest, info.base)
        };
        if header != expected {
            return Err("it belongs to another store or generation".to_owned());
        }
        let profile_bytes = usize::try_from(header.profile_bytes.get())
            .ok()
            .and_then(|length| rest.split_off(..length))
            .ok_or("it ends within its list of profiles")?;
        let profiles = Profiles::from_json(profile_bytes)?;
        let mut take = Take { rest, sequence: manifest.sequence };
        let standings = take.standings(header.standings.get(), &profiles)?;
        let ids = take.ids(header.ids.get())?;
        match take.rest.is_empty() {
            true => Ok(Changes { standings, profiles, ids }),
            false => Err("bytes follow its last id".to_owned()),
        }
    }

    /// Whether it goes with these sets: the profiles continue their list, and each id that is new
    /// has a text, and no other.
    fn check_over(&self, generation: &Generation) -> Result<(), String> {
        let mut listed = self.profiles.iter();
        if !generation.profiles.iter().all(|profile| listed.next() == Some(profile)) {
            return Err("its list of profiles does not continue that of the sets".to_owned());
        }
        let is_new = |key| {
            !generation.suppressed.set.contains(key) && !generation.released.set.contains(key)
        };
        let keys = self.standings.iter().map(|&(key, _)| key);
        let new = keys.filter(|&key| key.id_sequence().is_some() && is_new(key));
        if !new.eq(self.ids.iter().map(|&(_, key)| key)) {
            return Err("its ids are not those of its subscribers".to_owned());
        }
        let mut texts = HashSet::new();
        let is_known = |id: &BusinessId| generation.ids.find(id.as_str()).is_some();
        match self.ids.iter().all(|(id, _)| texts.insert(id) && !is_known(id)) {
            true => Ok(()),
            false => Err("an id is there twice".to_owned()),
        }
    }
}

/// Takes what the file lists from its front.
struct Take<'a> {
    rest: &'a [u8],
    /// That of the newest event that can be meant.
    sequence: u64,
}

impl Take<'_> {
    fn standings(
        &mut self,
        count: u64,
        profiles: &Profiles,
    ) -> Result<Vec<(SubscriberKey, Standing)>, &'static str> {
        // A count that the file can't hold must not become an allocation.
        let mut standings = Vec::with_capacity(count.min(self.rest.len() as u64) as usize);
        let (mut key, mut moment) = (None, 0);
        for _ in 0..count {
            let next = self.key_after(key)?;
            let (profile, standing) = self.standing(moment)?;
            let claims = &profiles.get(profile).ok_or("a profile is not in its list")?.claims;
            moment = standing.since_at.as_millis() as u64;
            key = Some(next);
            standings.push((next, Standing { opted_out: !claims.is_empty(), ..standing }));
        }
        Ok(standings)
    }

    fn key_after(&mut self, before: Option<SubscriberKey>) -> Result<SubscriberKey, &'static str> {
        let difference = self.integer()?;
        let value = match before {
            None => Some(difference),
            Some(before) => before.get().checked_add(difference).filter(|_| difference > 0),
        };
        let key = SubscriberKey::from_u64(value.ok_or("its keys do not ascend")?);
        let began = key.id_sequence();
        match began.is_none_or(|sequence| self.is_sequence(sequence)) {
            true => Ok(key),
            false => Err("an id began with an event that can't be"),
        }
    }

    /// The rest of an entry; whether he is opted out its profile says.
    fn standing(&mut self, moment_before: u64) -> Result<(ProfileId, Standing), &'static str> {
        let profile = u32::try_from(self.integer()?).map_err(|_| "a profile is not in its list")?;
        let profile = ProfileId(profile);
        let head = self.sequence.wrapping_sub(self.integer()?);
        let since = varint::take_difference(&mut self.rest, head).ok_or(ENDS)?;
        let moment = varint::take_difference(&mut self.rest, moment_before).ok_or(ENDS)? as i64;
        let since_at = Timestamp::from_millis(moment);
        if !self.is_sequence(head) || !self.is_sequence(since) {
            return Err("an event is not among those that it covers");
        }
        if since_at.as_millis() != moment {
            return Err("a moment is out of range");
        }
        Ok((profile, Standing { opted_out: false, head, since, since_at, profile }))
    }

    fn ids(&mut self, count: u64) -> Result<Vec<(BusinessId, SubscriberKey)>, &'static str> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let key = SubscriberKey::of_id(self.integer()?);
            let length = usize::try_from(self.integer()?).map_err(|_| ENDS)?;
            let text = self.rest.split_off(..length).ok_or(ENDS)?;
            let id = BusinessId::parse(text).filter(|id| id.as_str().as_bytes() == text);
            ids.push((id.ok_or("a text is no id")?, key));
        }
        Ok(ids)
    }

    fn integer(&mut self) -> Result<u64, &'static str> {
        varint::take(&mut self.rest).ok_or(ENDS)
    }

    fn is_sequence(&self, sequence: u64) -> bool {
        (1..=self.sequence).contains(&sequence)
    }
}

const ENDS: &str = "it ends too early";

#[cfg(test)]
mod tests;
