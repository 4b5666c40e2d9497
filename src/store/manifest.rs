//! Which files are the store? JSON that a person can read during an incident, one checksum line
//! behind it, replaced as a whole.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::StoreError;
use super::layout::{MANIFEST, MANIFEST_NEXT};
use super::registry::RegistryInfo;
use crate::disk::{Disk, DiskError, read_all};
use crate::journal::{SegmentInfo, hex};
use crate::number::{Folding, METADATA_RELEASE};
use crate::time::Timestamp;

/// The format of manifest and store that this release writes, and the newest that it reads.
const FORMAT: u32 = 3;
/// The oldest that it reads: in a store of this one no generation has changes beside its sets.
const FORMAT_MIN: u32 = 2;
/// Longer than this no manifest is: some 100 bytes a segment.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const CHECKSUM_PREFIX: &str = "xxh3:";

/// What the store is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The newest, whichever was read: what is written is of that one.
    format: u32,
    /// 128 random bits that all its files carry, hexadecimal.
    pub store: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The libphonenumber metadata that read its numbers.
    pub metadata_release: String,
    /// The version of the fold table that made its keys.
    pub fold_version: u32,
    /// Whether tier 2 of that table is on.
    pub tier2: bool,
    /// The current generation; 0 before the first fold.
    pub generation: u64,
    /// Sequence up to which events are folded into it.
    pub sequence: u64,
    /// The sets and columns; none in generation 0.
    pub(super) layers: Vec<LayerInfo>,
    /// The list of what can stand against a subscriber; none in generation 0.
    pub(super) profiles: Option<FileInfo>,
    /// The table of ids without a number; none as long as there are none.
    #[serde(default)]
    pub(super) ids: Option<FileInfo>,
    /// What is otherwise in this generation than the files above say; none when they were written
    /// for it.
    #[serde(default)]
    pub(super) changes: Option<ChangesInfo>,
    /// Sealed segments of the journal, oldest first.
    pub(super) sealed: Vec<SegmentInfo>,
    /// The segment that is being written.
    pub(super) active: u64,
    /// The layers that are outside lists, by name.
    #[serde(default)]
    pub(super) registries: Vec<RegistryInfo>,
    /// The number that the next file of such a layer gets.
    #[serde(default = "first_registry_file")]
    pub(super) next_registry_file: u64,
}

fn first_registry_file() -> u64 {
    1
}

/// A set of keys and its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerInfo {
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) set: FileInfo,
    pub(super) heads: FileInfo,
    pub(super) moments: FileInfo,
    pub(super) since: Option<FileInfo>,
    pub(super) profiles: FileInfo,
}

/// What changed since the sets and columns were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChangesInfo {
    /// The generation for which they were written.
    pub(super) base: u64,
    /// Subscribers who stand otherwise, or are new.
    pub(super) count: u64,
    pub(super) file: FileInfo,
}

/// A file and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileInfo {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) xxh3: String,
}

impl Manifest {
    /// The manifest of a new store.
    pub(super) fn new(store: [u8; 16], folding: Folding, now: Timestamp) -> Manifest {
        Manifest {
            format: FORMAT,
            store: format!("{:032x}", u128::from_le_bytes(store)),
            created_at: now.to_string(),
            metadata_release: METADATA_RELEASE.to_owned(),
            fold_version: Folding::VERSION,
            tier2: folding.tier2,
            generation: 0,
            sequence: 0,
            layers: Vec::new(),
            profiles: None,
            ids: None,
            changes: None,
            sealed: Vec::new(),
            active: 1,
            registries: Vec::new(),
            next_registry_file: first_registry_file(),
        }
    }

    /// The store's id as its files carry it.
    pub(super) fn store_id(&self) -> Option<[u8; 16]> {
        let value = (self.store.len() == 32).then_some(&self.store)?;
        u128::from_str_radix(value, 16).ok().map(u128::to_le_bytes)
    }

    /// The generation for which the sets and columns were written; 0 before the first fold.
    pub(super) fn base(&self) -> u64 {
        self.changes.as_ref().map_or(self.generation, |changes| changes.base)
    }

    /// Whether another manifest names the same sets and columns.
    pub(super) fn has_sets_of(&self, other: &Manifest) -> bool {
        (&self.store, self.base()) == (&other.store, other.base())
            && (&self.layers, &self.profiles) == (&other.layers, &other.profiles)
            && self.ids == other.ids
    }

    /// How numbers become keys in this store.
    pub fn folding(&self) -> Folding {
        Folding { tier2: self.tier2 }
    }

    /// Reads and checks the manifest of a store.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Manifest, StoreError> {
        let bytes = match read_all(disk, MANIFEST, MANIFEST_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Err(why_missing(disk)),
            Err(error) => return Err(not_a_manifest(disk, error)),
        };
        let path = disk.path_of(MANIFEST);
        let damaged =
            |offset: usize, what: &str| StoreError::damaged(path.clone(), offset as u64, what);
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| damaged(error.valid_up_to(), "it is not text"))?;
        let body_bytes = text
            .trim_end_matches('\n')
            .rfind('\n')
            .map(|newline| newline + 1)
            .ok_or_else(|| damaged(0, "it has no checksum line"))?;
        let (body, checksum) = text.split_at(body_bytes);
        let expected = format!("{CHECKSUM_PREFIX}{}\n", hex(xxh3_64(body.as_bytes())));
        if checksum != expected {
            return Err(damaged(body_bytes, "it does not match its checksum line"));
        }
        Self::parse(body, &path)
    }

    fn parse(body: &str, path: &std::path::Path) -> Result<Manifest, StoreError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |error: serde_json::Error| {
            StoreError::damaged(path.to_owned(), 0, format!("it can't be read: {error}"))
        };
        let Format { format } = serde_json::from_str(body).map_err(damaged)?;
        if format > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), got: format, known: FORMAT });
        }
        if format < FORMAT_MIN {
            let what = format!(
                "it has format {format}, which was never released: import what its program exports into a new store"
            );
            return Err(StoreError::damaged(path.to_owned(), 0, what));
        }
        let mut manifest: Manifest = serde_json::from_str(body).map_err(damaged)?;
        manifest.format = FORMAT;
        if manifest.store_id().is_none() {
            return Err(StoreError::damaged(path.to_owned(), 0, "the store's id is unreadable"));
        }
        if manifest.changes.is_some() && !(1..manifest.generation).contains(&manifest.base()) {
            let what = "its changes belong to no generation before it";
            return Err(StoreError::damaged(path.to_owned(), 0, what));
        }
        if manifest.fold_version != Folding::VERSION {
            return Err(StoreError::OtherFolding {
                path: path.to_owned(),
                got: manifest.fold_version,
                known: Folding::VERSION,
            });
        }
        Ok(manifest)
    }

    /// Puts this manifest in the place of the one before. Everything that it names must be
    /// synced; when this returns, the change is durable.
    pub(super) fn publish(&self, disk: &dyn Disk) -> Result<(), DiskError> {
        let mut text = serde_json::to_string_pretty(self).expect("strings and integers serialize");
        text.push('\n');
        let checksum = hex(xxh3_64(text.as_bytes()));
        text.push_str(&format!("{CHECKSUM_PREFIX}{checksum}\n"));
        disk.remove(MANIFEST_NEXT)?;
        let file = disk.create(MANIFEST_NEXT)?;
        file.write_at(text.as_bytes(), 0)?;
        file.sync()?;
        disk.rename(MANIFEST_NEXT, MANIFEST)?;
        disk.sync_directory()
    }
}

/// The manifest can't be read: is it the operating system that refuses, or is this no store?
fn not_a_manifest(disk: &dyn Disk, error: DiskError) -> StoreError {
    use std::io::ErrorKind;
    match error.source.kind() {
        ErrorKind::NotADirectory => {
            let why = "it is no directory".to_owned();
            StoreError::NotAStore { path: disk.path_of(""), why }
        }
        // A folder, a pipe or a link in its place; or more bytes than any manifest has.
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            StoreError::damaged(error.path, 0, error.source.to_string())
        }
        _ => error.into(),
    }
}

/// No manifest: is there no store, or has a store lost it?
fn why_missing(disk: &dyn Disk) -> StoreError {
    let path = disk.path_of("");
    match disk.list() {
        Err(error) if error.is_missing() => StoreError::Missing { path },
        Err(error) => error.into(),
        Ok(names) if names.is_empty() => StoreError::Missing { path },
        Ok(_) => StoreError::NotAStore { path, why: format!("it has no {MANIFEST} file") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn published() -> (Manifest, MemoryDisk) {
        let disk = MemoryDisk::new();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let manifest = Manifest::new([9; 16], Folding { tier2: true }, now);
        manifest.publish(&disk).unwrap();
        (manifest, disk)
    }

    #[test]
    fn it_is_read_as_it_was_published_also_after_a_power_cut() {
        let (manifest, disk) = published();
        assert_eq!(Manifest::read(&disk.after_power_cut()).unwrap(), manifest);
        assert_eq!(manifest.store_id(), Some([9; 16]));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (_, disk) = published();
        let whole = disk.bytes(MANIFEST).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other = MemoryDisk::new();
            other.put(MANIFEST, bytes);
            assert!(Manifest::read(&other).is_err(), "bit {bit}");
        }
        for length in 0..whole.len() {
            let other = MemoryDisk::new();
            other.put(MANIFEST, whole[..length].to_vec());
            assert!(Manifest::read(&other).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_newer_format_and_another_fold_table_are_refused_by_name() {
        for (change, is_right) in [
            (
                ("\"format\": 3", "\"format\": 4"),
                (|it| matches!(it, StoreError::Newer { .. })) as fn(&_) -> bool,
            ),
            (("\"fold_version\": 1", "\"fold_version\": 99"), |it| {
                matches!(it, StoreError::OtherFolding { .. })
            }),
        ] {
            let (_, disk) = published();
            let text = String::from_utf8(disk.bytes(MANIFEST).unwrap()).unwrap();
            let body = text[..text.rfind("xxh3:").unwrap()].replace(change.0, change.1);
            let checksum = hex(xxh3_64(body.as_bytes()));
            disk.put(MANIFEST, format!("{body}xxh3:{checksum}\n").into_bytes());
            assert!(is_right(&Manifest::read(&disk).unwrap_err()));
        }
    }

    #[test]
    fn a_manifest_without_the_field_of_changes_is_read_and_written_as_a_newer_one() {
        let (manifest, disk) = published();
        let text = String::from_utf8(disk.bytes(MANIFEST).unwrap()).unwrap();
        let body = text[..text.rfind("xxh3:").unwrap()]
            .replace("\"format\": 3", "\"format\": 2")
            .replace("  \"changes\": null,\n", "");
        let checksum = hex(xxh3_64(body.as_bytes()));
        disk.put(MANIFEST, format!("{body}xxh3:{checksum}\n").into_bytes());
        assert_eq!(Manifest::read(&disk).unwrap(), manifest);
        manifest.publish(&disk).unwrap();
        assert_eq!(disk.bytes(MANIFEST).unwrap(), text.as_bytes());
    }

    #[test]
    fn changes_that_belong_to_no_earlier_generation_are_refused() {
        let (mut manifest, disk) = published();
        let file = FileInfo { name: "changes".to_owned(), bytes: 1, xxh3: String::new() };
        for (generation, base, is_right) in
            [(2, 1, true), (9, 1, true), (2, 2, false), (2, 3, false), (1, 0, false)]
        {
            manifest.generation = generation;
            manifest.changes = Some(ChangesInfo { base, count: 1, file: file.clone() });
            manifest.publish(&disk).unwrap();
            assert_eq!(Manifest::read(&disk).is_ok(), is_right, "{base} before {generation}");
        }
    }

    #[test]
    fn a_missing_store_and_a_lost_manifest_are_told_apart() {
        assert!(matches!(Manifest::read(&MemoryDisk::new()), Err(StoreError::Missing { .. })));
        let (_, disk) = published();
        disk.put("journal-0000000001.seg", Vec::new());
        disk.remove(MANIFEST).unwrap();
        assert!(matches!(Manifest::read(&disk), Err(StoreError::NotAStore { .. })));
    }
}
