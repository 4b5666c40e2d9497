//! Who may ask the server, and for what?
//!
//! A key is 256 random bits behind a prefix that secret scanners know, with a checksum that tells
//! a mistyped key from an unknown one. It is shown once, when it is made; the store keeps its
//! SHA-256 digest in `keys.json`. Promises: every comparison takes the same time wherever digests
//! differ; a list that can't be read lets nobody in; once a store has had a key, no request goes
//! without one. Leaves to others: what a scope opens (`routes`), and when the list is read again
//! (`service`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::Disk;
use crate::store::SideError;
use crate::store::layout::{self, SideNames};
use crate::store::side::{SideFile, SideList};
use crate::time::Timestamp;

/// What every key begins with.
pub const KEY_PREFIX: &str = "optout_";

/// Keys that a list may hold, revoked ones included.
const KEYS_MAX: usize = 4096;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 52;
const CHECK_CHARS: usize = 6;
const NAME_CHARS_MAX: usize = 80;

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyScope {
    /// Recording opt-outs.
    Add,
    /// Recording that people came back.
    Resubscribe,
    /// Asking who may be messaged, and for one person's history.
    Check,
    /// Listing, counting and downloading what was recorded.
    Export,
    /// The server's figures, and lifting what a person said himself.
    Admin,
}

impl KeyScope {
    /// Every scope.
    pub const ALL: &'static [KeyScope] =
        &[KeyScope::Add, KeyScope::Resubscribe, KeyScope::Check, KeyScope::Export, KeyScope::Admin];

    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyScope::Add => "add",
            KeyScope::Resubscribe => "resubscribe",
            KeyScope::Check => "check",
            KeyScope::Export => "export",
            KeyScope::Admin => "admin",
        }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeyScope {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<KeyScope, KeyError> {
        KeyScope::ALL.iter().copied().find(|scope| scope.as_str() == text).ok_or(KeyError::Scope)
    }
}

/// What is kept of a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its name in lists and logs; it opens nothing.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<KeyScope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    #[serde(with = "hex")]
    digest: [u8; 32],
}

/// Leaves the digest out.
impl fmt::Debug for KeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyInfo({}, {:?})", self.id, self.scopes)
    }
}

impl KeyInfo {
    /// Whether it opens anything at a moment.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A key to be made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it opens.
    pub scopes: Vec<KeyScope>,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
}

/// Why a key could not be made, listed or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The list could not be read or changed.
    #[error(transparent)]
    List(#[from] SideError),
    /// No scope is called so.
    #[error("that is no scope: use add, resubscribe, check, export or admin")]
    Scope,
    /// A key that opens nothing.
    #[error("the key would open nothing: name at least one scope")]
    NoScope,
    /// Its end is past already.
    #[error("the key would have expired already")]
    Expired,
    /// The name is no name.
    #[error("a key's name has at most 80 characters, none of them a control character")]
    Name,
    /// No key has this id.
    #[error("no key has this id: see the list of keys")]
    Unknown,
    /// There are too many.
    #[error("there are 4096 keys already, revoked ones included")]
    TooMany,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}

/// The keys of a store, on its disk.
#[derive(Clone, Debug)]
pub struct KeyFile {
    file: SideFile<List>,
}

impl KeyFile {
    /// The keys of the store on a disk.
    ///
    /// # Errors
    ///
    /// When there is no store.
    pub fn open(disk: Arc<dyn Disk>) -> Result<KeyFile, KeyError> {
        Ok(KeyFile { file: SideFile::open(disk)? })
    }

    /// Every key that was made, oldest first.
    ///
    /// # Errors
    ///
    /// When the list is damaged or can't be read.
    pub fn list(&self) -> Result<Vec<KeyInfo>, KeyError> {
        Ok(self.file.read()?.keys)
    }

    /// Makes a key: its text, which nobody can tell again, and what is kept of it.
    ///
    /// # Errors
    ///
    /// When the request makes no sense, or the list can't be changed. There is then no new key.
    pub fn create(&self, new: &NewKey, now: Timestamp) -> Result<(String, KeyInfo), KeyError> {
        if new.scopes.is_empty() {
            return Err(KeyError::NoScope);
        }
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(KeyError::Expired);
        }
        let is_name =
            new.name.chars().count() <= NAME_CHARS_MAX && !new.name.chars().any(char::is_control);
        if !is_name {
            return Err(KeyError::Name);
        }
        let text = draw()?;
        let digest = digest(&text);
        let mut scopes = new.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        let mut bytes = [0; 5];
        random(&mut bytes)?;
        let info = KeyInfo {
            id: base32(&bytes),
            name: new.name.clone(),
            scopes,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            digest,
        };
        self.file.change(|list| {
            if list.keys.len() >= KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            list.keys.push(info.clone());
            Ok(())
        })?;
        Ok((text, info))
    }

    /// Revokes a key by its id. A key that is revoked already stays as it is.
    ///
    /// # Errors
    ///
    /// When no key has the id, or the list can't be changed.
    pub fn revoke(&self, id: &str, now: Timestamp) -> Result<KeyInfo, KeyError> {
        self.file.change(|list| {
            let key = list.keys.iter_mut().find(|key| key.id == id).ok_or(KeyError::Unknown)?;
            key.revoked_at.get_or_insert(now);
            Ok(key.clone())
        })
    }

    /// The list as it stands on the disk; `None` when there is none.
    pub(super) fn bytes(&self) -> Result<Option<Vec<u8>>, KeyError> {
        Ok(self.file.bytes().map_err(SideError::from)?)
    }

    /// The keys behind the bytes of the list.
    pub(super) fn ring(&self, bytes: Option<&[u8]>) -> Result<KeyRing, KeyError> {
        Ok(KeyRing { keys: self.file.parse(bytes)?.keys, is_needed: bytes.is_some() })
    }
}

/// `keys.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    version: u32,
    keys: Vec<KeyInfo>,
}

impl SideList for List {
    const NAMES: SideNames = layout::KEYS;
    const WHAT: &'static str = "list of keys";
    const VERSION: u32 = 1;
    const BYTES_MAX: u64 = 4 << 20;

    fn empty() -> List {
        List { version: List::VERSION, keys: Vec::new() }
    }

    fn version(&self) -> u32 {
        self.version
    }
}

/// The keys as the server holds them.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRing {
    keys: Vec<KeyInfo>,
    is_needed: bool,
}

impl KeyRing {
    /// Lets nobody in.
    pub(super) fn closed() -> KeyRing {
        KeyRing { keys: Vec::new(), is_needed: true }
    }

    /// Whether a request needs a key.
    pub(super) fn is_needed(&self) -> bool {
        self.is_needed
    }

    /// The live key of an id.
    pub(super) fn by_id(&self, id: &str, now: Timestamp) -> Option<&KeyInfo> {
        self.keys.iter().find(|key| key.id == id && key.is_live(now))
    }

    /// The live key behind a text. All digests are looked at, each wholly.
    pub(super) fn find(&self, text: &str, now: Timestamp) -> Option<&KeyInfo> {
        if !is_well_formed(text) {
            return None;
        }
        let asked = digest(text);
        let mut place = u32::MAX;
        for (at, key) in (0..).zip(&self.keys) {
            place.conditional_assign(&at, key.digest.ct_eq(&asked));
        }
        self.keys.get(place as usize).filter(|key| key.is_live(now))
    }
}

fn draw() -> Result<String, KeyError> {
    let mut secret = [0; SECRET_BYTES];
    random(&mut secret)?;
    let body = format!("{KEY_PREFIX}{}", base32(&secret));
    let check = check(&body);
    Ok(body + &check)
}

pub(super) fn random(bytes: &mut [u8]) -> Result<(), KeyError> {
    getrandom::fill(bytes).map_err(|error| KeyError::Random(error.to_string()))
}

fn check(body: &str) -> String {
    let sum = xxh3_64(body.as_bytes()).to_le_bytes();
    base32(&sum)[..CHECK_CHARS].to_owned()
}

/// Whether a text has the form of a key and its checksum fits.
fn is_well_formed(text: &str) -> bool {
    let length = KEY_PREFIX.len() + SECRET_CHARS + CHECK_CHARS;
    if text.len() != length || !text.is_ascii() || !text.starts_with(KEY_PREFIX) {
        return false;
    }
    let (body, sum) = text.split_at(length - CHECK_CHARS);
    check(body) == sum
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Letters and digits without those that look alike.
pub(super) fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut text = String::new();
    let (mut held, mut bits) = (0u32, 0);
    for &byte in bytes {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    text
}

/// Bytes as hexadecimal text.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        out.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let is_hex = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_hex {
            return Err(serde::de::Error::custom("no digest"));
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let pair = u8::from_str_radix(&text[2 * at..2 * at + 2], 16);
            *byte = pair.map_err(serde::de::Error::custom)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::number::Folding;
    use crate::store::{Writer, init_on};

    fn file() -> (Arc<MemoryDisk>, KeyFile) {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), Timestamp::default()).unwrap();
        (disk.clone(), KeyFile::open(disk).unwrap())
    }

    fn ring(file: &KeyFile) -> KeyRing {
        file.ring(file.bytes().unwrap().as_deref()).unwrap()
    }

    fn new(scope: KeyScope) -> NewKey {
        NewKey { scopes: vec![scope], ..NewKey::default() }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_key_opens_until_it_is_revoked_or_expires() {
        let (_, file) = file();
        assert!(!ring(&file).is_needed());
        let (text, info) = file.create(&new(KeyScope::Add), NOW).unwrap();
        let end = Timestamp::from_millis(2_000_000);
        let short = NewKey { expires_at: Some(end), ..new(KeyScope::Check) };
        let (other, _) = file.create(&short, NOW).unwrap();
        assert_eq!(ring(&file).find(&text, NOW).unwrap().scopes, [KeyScope::Add]);
        assert_eq!(ring(&file).find(&other, NOW).unwrap().scopes, [KeyScope::Check]);
        assert!(ring(&file).find(&other, end).is_none());
        file.revoke(&info.id, NOW).unwrap();
        assert!(ring(&file).find(&text, NOW).is_none());
        assert!(ring(&file).is_needed());
        assert!(matches!(file.revoke("nobody", NOW), Err(KeyError::Unknown)));
    }

    #[test]
    fn the_list_holds_no_key_and_outlives_a_writer() {
        let (disk, file) = file();
        let (text, _) = file.create(&new(KeyScope::Export), NOW).unwrap();
        drop(Writer::open_on(disk.clone()).unwrap());
        let bytes = disk.bytes(layout::KEYS.file).unwrap();
        let secret = &text[KEY_PREFIX.len()..];
        assert!(!String::from_utf8(bytes).unwrap().contains(secret));
        assert_eq!(file.list().unwrap().len(), 1);
    }

    #[test]
    fn a_changed_character_is_no_key() {
        let (_, file) = file();
        let (text, _) = file.create(&new(KeyScope::Add), NOW).unwrap();
        let ring = ring(&file);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert!(ring.find(std::str::from_utf8(&bytes).unwrap(), NOW).is_none(), "{at}");
        }
        for text in ["", "optout_", &format!("{text}0"), &text[1..]] {
            assert!(ring.find(text, NOW).is_none());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let (_, file) = file();
        assert!(matches!(file.create(&NewKey::default(), NOW), Err(KeyError::NoScope)));
        let past = NewKey { expires_at: Some(NOW), ..new(KeyScope::Add) };
        assert!(matches!(file.create(&past, NOW), Err(KeyError::Expired)));
        let named = NewKey { name: "a\nb".to_owned(), ..new(KeyScope::Add) };
        assert!(matches!(file.create(&named, NOW), Err(KeyError::Name)));
        assert!(file.ring(Some(b"{}")).is_err() && file.ring(Some(b"")).is_err());
        assert!(file.list().unwrap().is_empty());
    }
}
