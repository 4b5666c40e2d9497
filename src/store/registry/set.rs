//! The snapshots of layers, opened and checked.

use std::sync::Arc;

use rayon::prelude::*;

use super::info::RegistryInfo;
use super::{Inner, Registry};
use crate::disk::Disk;
use crate::store::error::StoreError;
use crate::store::layout::MANIFEST;
use crate::store::manifest::Manifest;
pub(super) use crate::store::set::{Set, open_set};

/// Opens the layers of a manifest, side by side. Sets that `known` has open are not read again.
pub(in crate::store) fn open_all(
    disk: &Arc<dyn Disk>,
    manifest: &Manifest,
    known: &[Registry],
) -> Result<Arc<[Registry]>, StoreError> {
    check_manifest(&**disk, manifest)?;
    let open = |info: &RegistryInfo| {
        let Some(version) = info.present() else { return Ok(None) };
        let same = known.iter().find(|it| it.inner.version.file == version.file);
        let set = match same {
            Some(registry) => registry.inner.set.clone(),
            None => Arc::new(open_set(&**disk, &version.file, Some(version.count))?),
        };
        let (info, version) = (info.clone(), version.clone());
        let inner = Inner { scope: version.scope(), info, version, set, disk: disk.clone() };
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
