//! The snapshots of layers, opened and checked.

use std::sync::Arc;

use rayon::prelude::*;

use super::info::{RegistryInfo, VersionInfo};
use super::{Inner, Registry};
use crate::disk::Disk;
use crate::store::error::StoreError;
use crate::store::layout::MANIFEST;
use crate::store::manifest::{FileInfo, Manifest};
pub(super) use crate::store::set::{Set, open_set};
use crate::time::Timestamp;

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
