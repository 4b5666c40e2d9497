//! The snapshots of layers, opened and checked.

use std::sync::Arc;

use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::info::{RegistryInfo, VersionInfo};
use super::{Inner, Registry};
use crate::disk::{Disk, Mapped};
use crate::journal::hex;
use crate::snapshot::View;
use crate::store::error::StoreError;
use crate::store::generation::map;
use crate::store::layout::MANIFEST;
use crate::store::manifest::{FileInfo, Manifest};
use crate::time::Timestamp;

/// A snapshot in the store's directory.
pub(super) type Set = View<SharedBytes>;

/// The bytes of a snapshot, so that two threads can check them.
#[derive(Clone, Debug)]
pub(super) struct SharedBytes(Arc<Mapped>);

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// A set and the file that it is in.
pub(super) struct OpenSet {
    pub(super) file: FileInfo,
    pub(super) set: Arc<Set>,
}

/// Opens the layers of a manifest, side by side. Sets that `known` has open are not read again.
pub(in crate::store) fn open_all(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    known: &[Registry],
) -> Result<Arc<[Registry]>, StoreError> {
    check_manifest(&**disk, manifest)?;
    let present =
        |info: &'_ RegistryInfo| info.present().map(|it| (it.clone(), vec![it.file.clone()]));
    open_layers(disk, manifest, known, present)
}

/// As [`open_all`], for the layers as the store knew them at a moment (by the time of import).
pub(in crate::store) fn open_as_of(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    known: &[Registry],
    moment: Timestamp,
) -> Result<Arc<[Registry]>, StoreError> {
    open_layers(disk, manifest, known, |info| info.at(moment))
}

/// Opens the layers for which `version` names one and the files that tell who is on it.
fn open_layers(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    known: &[Registry],
    version: impl Fn(&RegistryInfo) -> Option<(VersionInfo, Vec<FileInfo>)> + Sync,
) -> Result<Arc<[Registry]>, StoreError> {
    let open = |info: &RegistryInfo| {
        let Some((version, files)) = version(info) else { return Ok(None) };
        // A file alone is the whole list.
        let count = (files.len() == 1).then_some(version.count);
        let mut sets = Vec::with_capacity(files.len());
        for file in files {
            let mut opened = known.iter().flat_map(|it| &it.inner.sets);
            let set = match opened.find(|it| it.file == file) {
                Some(same) => same.set.clone(),
                None => Arc::new(open_set(&**disk, &file, count)?),
            };
            sets.push(OpenSet { file, set });
        }
        let inner = Inner { name: info.name.clone(), scope: version.scope(), version, sets };
        Ok(Some(Registry { inner: Arc::new(inner) }))
    };
    let opened: Vec<Result<Option<Registry>, StoreError>> =
        manifest.registries.par_iter().map(open).collect();
    let opened: Result<Vec<Option<Registry>>, StoreError> = opened.into_iter().collect();
    Ok(opened?.into_iter().flatten().collect())
}

/// Opens a set and checks every byte of it: against its checksum and, at the same time, whether
/// it is one. `count` is how many members it must have, if that is known.
pub(super) fn open_set(
    disk: &dyn Disk,
    file: &FileInfo,
    count: Option<u64>,
) -> Result<Set, StoreError> {
    let bytes = SharedBytes(Arc::new(map(disk, file)?));
    let path = disk.path_of(&file.name);
    let checksum = || hex(xxh3_64(bytes.as_ref()));
    let (checksum, set) = rayon::join(checksum, || View::open(bytes.clone()));
    // When the checksum says that something is wrong, the view may say where.
    let set = set.map_err(|error| StoreError::snapshot(path.clone(), &error))?;
    if checksum != file.xxh3 {
        return Err(StoreError::damaged(path, 0, "it does not match its checksum"));
    }
    match count {
        Some(count) if count != set.len() => {
            let what = format!("it holds {} keys, the manifest says {count}", set.len());
            Err(StoreError::damaged(path, 0, what))
        }
        _ => Ok(set),
    }
}

/// Reads everything that a manifest says of layers; gives each problem to `report`.
pub(in crate::store) fn verify(
    disk: &dyn Disk,
    manifest: &Manifest,
    mut report: impl FnMut(Result<(), StoreError>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    report(check_manifest(disk, manifest))?;
    for (file, count) in manifest.registries.iter().flat_map(RegistryInfo::files) {
        report(open_set(disk, file, count).map(|_| ()))?;
    }
    Ok(())
}

fn check_manifest(disk: &dyn Disk, manifest: &Manifest) -> Result<(), StoreError> {
    let registries = &manifest.registries;
    let ascend = registries.windows(2).all(|pair| pair[0].name < pair[1].name);
    if ascend && registries.iter().all(RegistryInfo::is_plausible) {
        return Ok(());
    }
    Err(StoreError::damaged(disk.path_of(MANIFEST), 0, "what it says of registries is nonsense"))
}
