//! Which opt-outs stand against whom, in a number that fits into a column.
//!
//! Few things can stand against a person, and the same ones stand against millions: each distinct
//! combination is a profile, listed once. Profiles are never renumbered within a store, so that a
//! column can be copied from generation to generation.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::event::{Category, Tier};
use crate::policy::{Claim, Claims, Scope};

/// Place of a profile in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProfileId(pub(super) u32);

impl ProfileId {
    /// Nothing stands against the subscriber.
    pub(super) const NOTHING: ProfileId = ProfileId(0);
    /// He wants no marketing from anywhere: nearly everybody.
    pub(super) const EVERYDAY: ProfileId = ProfileId(1);
}

/// What stands against a subscriber.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Profile {
    pub(super) claims: Claims,
    /// Whether the address is one of several of its subscriber.
    pub(super) linked: bool,
}

impl Profile {
    /// What stands against a subscriber with one address.
    pub(super) fn alone(claims: Claims) -> Profile {
        Profile { claims, linked: false }
    }
}

/// The list of profiles.
#[derive(Clone, Debug)]
pub(super) struct Profiles {
    list: Vec<Profile>,
    ids: HashMap<Profile, ProfileId>,
}

impl Profiles {
    /// The list of a new store: the two profiles that have fixed places.
    pub(super) fn new() -> Profiles {
        let everyday =
            Claim { scope: Scope::EVERYWHERE, tier: Tier::Marketing, excepted: Vec::new() };
        let mut profiles = Profiles { list: Vec::new(), ids: HashMap::new() };
        let nothing = profiles.intern(Profile::default());
        let claims = Claims::default().with(everyday);
        let everyday = profiles.intern(Profile::alone(claims));
        assert_eq!((nothing, everyday), (ProfileId::NOTHING, ProfileId::EVERYDAY));
        profiles
    }

    /// The place of a profile that is in the list.
    pub(super) fn find(&self, profile: &Profile) -> Option<ProfileId> {
        self.ids.get(profile).copied()
    }

    /// The place of a profile, which is added if it is new.
    pub(super) fn intern(&mut self, profile: Profile) -> ProfileId {
        if let Some(id) = self.find(&profile) {
            return id;
        }
        let id = ProfileId(u32::try_from(self.list.len()).expect("memory holds fewer profiles"));
        self.list.push(profile.clone());
        self.ids.insert(profile, id);
        id
    }

    pub(super) fn get(&self, id: ProfileId) -> Option<&Profile> {
        self.list.get(id.0 as usize)
    }

    /// What stands in a profile of this list.
    pub(super) fn claims(&self, id: ProfileId) -> &Claims {
        &self.get(id).expect("standings hold profiles of their own list").claims
    }

    /// Whether an address of this profile is one of several of its subscriber.
    pub(super) fn is_linked(&self, id: ProfileId) -> bool {
        self.get(id).is_some_and(|profile| profile.linked)
    }

    /// The profiles in their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.list.iter()
    }

    /// The bytes of its file: JSON.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let list: Vec<StoredProfile> = self.list.iter().map(StoredProfile::of).collect();
        let mut bytes = serde_json::to_vec_pretty(&list).expect("texts and words serialize");
        bytes.push(b'\n');
        bytes
    }

    /// Reads its file; `Err` says what is wrong with it.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Profiles, String> {
        let stored: Vec<StoredProfile> =
            serde_json::from_slice(bytes).map_err(|error| format!("it can't be read: {error}"))?;
        let mut profiles = Profiles { list: Vec::new(), ids: HashMap::new() };
        for (place, stored) in stored.into_iter().enumerate() {
            let profile = stored.read().map_err(|what| format!("profile {place}: {what}"))?;
            if profiles.intern(profile).0 as usize != place {
                return Err(format!("profile {place} is there twice"));
            }
        }
        let fixed = Profiles::new();
        match profiles.list.starts_with(&fixed.list) {
            true => Ok(profiles),
            false => Err("the first two profiles are not the fixed ones".to_owned()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredProfile {
    claims: Vec<StoredClaim>,
    #[serde(default)]
    linked: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredClaim {
    channel: String,
    sender: String,
    brand: String,
    tier: String,
    excepted: Vec<String>,
}

impl StoredProfile {
    fn of(profile: &Profile) -> StoredProfile {
        let claim = |claim: &Claim| StoredClaim {
            channel: claim.scope.channel().to_owned(),
            sender: claim.scope.sender().to_owned(),
            brand: claim.scope.brand().to_owned(),
            tier: claim.tier.to_string(),
            excepted: claim.excepted.iter().map(Category::to_string).collect(),
        };
        let claims = profile.claims.iter().map(claim).collect();
        StoredProfile { claims, linked: profile.linked }
    }

    fn read(self) -> Result<Profile, String> {
        let mut claims = Claims::default();
        let count = self.claims.len();
        for stored in self.claims {
            let scope = Scope::new(&stored.channel, &stored.sender, &stored.brand)
                .map_err(|error| error.to_string())?;
            let tier: Tier = stored.tier.parse().map_err(said)?;
            let excepted: Vec<Category> = stored
                .excepted
                .iter()
                .map(|text| text.parse().map_err(said))
                .collect::<Result<_, String>>()?;
            claims = claims.with(Claim { scope, tier, excepted });
        }
        match claims.iter().count() == count {
            true => Ok(Profile { claims, linked: self.linked }),
            false => Err("one of its claims says nothing".to_owned()),
        }
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_in_the_same_places() {
        let mut profiles = Profiles::new();
        let scope = Scope::new("sms", "", "acme").unwrap();
        let claim = Claim { scope, tier: Tier::All, excepted: vec![Category::Utility] };
        let profile = Profile { claims: Claims::default().with(claim), linked: true };
        let id = profiles.intern(profile.clone());
        let read = Profiles::from_json(&profiles.to_json()).unwrap();
        assert_eq!(read.find(&profile), Some(id));
        assert_eq!(read.list, profiles.list);
    }

    #[test]
    fn a_list_that_says_nonsense_is_refused() {
        let fixed = String::from_utf8(Profiles::new().to_json()).unwrap();
        for (from, to) in [
            ("\"marketing\"", "\"everything\""),
            ("\"channel\": \"\"", "\"channel\": \"pigeon\""),
            ("[\n  {", "[\n  {\"claims\": [], \"linked\": false}, {"),
        ] {
            assert!(Profiles::from_json(fixed.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
