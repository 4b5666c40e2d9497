//! Every file name in a store directory.

use crate::journal::format::{revised_index_name, revised_segment_name};

/// Says what the store is; replaced as a whole, last of all.
pub(super) const MANIFEST: &str = "MANIFEST";
/// Where the next manifest is written before it takes its name.
pub(super) const MANIFEST_NEXT: &str = "MANIFEST.next";
/// Held by the writer; its content means nothing.
pub(super) const LOCK: &str = "LOCK";

/// The files of a list beside the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideNames {
    /// The list, replaced as a whole.
    pub(crate) file: &'static str,
    /// Where the next list is written before it takes its name.
    pub(crate) next: &'static str,
    /// Held while the list is changed; its content means nothing.
    pub(crate) lock: &'static str,
}

/// The digests of the keys with which programs ask the server.
pub(crate) const KEYS: SideNames =
    SideNames { file: "keys.json", next: "keys.json.next", lock: "keys.lock" };
/// What category each campaign has, and whether it excludes whoever opted out.
pub(crate) const CAMPAIGNS: SideNames =
    SideNames { file: "campaigns.json", next: "campaigns.json.next", lock: "campaigns.lock" };
/// How replies to each sender are read and answered.
pub(crate) const CAPTURE: SideNames =
    SideNames { file: "capture.json", next: "capture.json.next", lock: "capture.lock" };

/// The names of the campaigns in [`SENT_TABLE`].
pub(crate) const SENT: SideNames =
    SideNames { file: "sent.json", next: "sent.json.next", lock: "sent.lock" };
/// Which campaign each message belongs to that was sent lately.
pub(crate) const SENT_TABLE: &str = "sent.table";

const SIDE: [SideNames; 4] = [KEYS, CAMPAIGNS, CAPTURE, SENT];

/// The files of one generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct GenerationNames(pub(super) u64);

impl GenerationNames {
    /// The keys that are opted out, or that have come back, as a portable 64-bit Roaring file.
    pub(super) fn set(self, layer: &str) -> String {
        format!("{layer}-{:010}.roaring", self.0)
    }

    /// For each of these keys the sequence of its newest event.
    pub(super) fn heads(self, layer: &str) -> String {
        format!("{layer}-{:010}.heads", self.0)
    }

    /// For each of these keys the moment since when it is what it is.
    pub(super) fn moments(self, layer: &str) -> String {
        format!("{layer}-{:010}.moments", self.0)
    }

    /// For each of these keys which opt-outs stand, as a place in the list of profiles.
    pub(super) fn profiles(self, layer: &str) -> String {
        format!("{layer}-{:010}.profiles", self.0)
    }

    /// The list of profiles.
    pub(super) fn profile_list(self) -> String {
        format!("profiles-{:010}.json", self.0)
    }

    /// For each of these keys the sequence of the event since which it is opted out.
    pub(super) fn since(self, layer: &str) -> String {
        format!("{layer}-{:010}.since", self.0)
    }
}

/// The table of ids without a number that were known when a generation was made.
pub(super) fn ids_name(generation: u64) -> String {
    format!("ids-{generation:010}.table")
}

/// What a generation changes of the sets and columns of one before it.
pub(super) fn changes_name(generation: u64) -> String {
    format!("changes-{generation:010}.table")
}

/// A snapshot of a registry layer, or of a change of one.
pub(super) fn registry_name(number: u64) -> String {
    format!("registry-{number:010}.roaring")
}

/// What a name in the directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Manifest,
    ManifestNext,
    Lock,
    /// A segment, and how often it was revised.
    Segment(u64, u32),
    /// The index beside a segment, likewise.
    Index(u64, u32),
    /// A set, a column or a list of profiles of a generation. They outlive it as long as few
    /// subscribers change.
    Generation(u64),
    /// The changes of a generation.
    Changes(u64),
    /// A table of ids. It outlives its generation as long as no id is new.
    Ids(u64),
    /// A file of a registry layer.
    Registry(u64),
    Quarantine,
    /// A list beside the events, or what its changes need.
    Side,
    /// Not ours.
    Foreign,
}

impl Entry {
    /// Reads a name. A name that only looks like ours is foreign.
    pub(super) fn of(name: &str) -> Entry {
        match name {
            MANIFEST => return Entry::Manifest,
            MANIFEST_NEXT => return Entry::ManifestNext,
            LOCK => return Entry::Lock,
            SENT_TABLE => return Entry::Side,
            _ if SIDE.iter().any(|it| [it.file, it.next, it.lock].contains(&name)) => {
                return Entry::Side;
            }
            _ if name.starts_with("quarantine-") => return Entry::Quarantine,
            _ => {}
        }
        let stem = name.split_once('-').and_then(|(_, rest)| rest.split_once('.'));
        let (number, revision) = match stem.map(|(stem, _)| stem.split_once("-r").ok_or(stem)) {
            Some(Ok((number, revision))) => (number.parse().ok(), revision.parse().ok()),
            Some(Err(number)) => (number.parse().ok(), Some(0)),
            None => (None, None),
        };
        let (Some(number), Some(revision)) = (number, revision) else { return Entry::Foreign };
        let names = GenerationNames(number);
        let of_generation = |layer: &&str| {
            let files = [
                names.set(layer),
                names.heads(layer),
                names.moments(layer),
                names.since(layer),
                names.profiles(layer),
            ];
            files.iter().any(|file| file == name)
        };
        if name == revised_segment_name(number, revision) {
            Entry::Segment(number, revision)
        } else if name == revised_index_name(number, revision) {
            Entry::Index(number, revision)
        } else if name == ids_name(number) {
            Entry::Ids(number)
        } else if name == changes_name(number) {
            Entry::Changes(number)
        } else if name == registry_name(number) {
            Entry::Registry(number)
        } else if super::generation::LAYERS.iter().any(of_generation)
            || name == names.profile_list()
        {
            Entry::Generation(number)
        } else {
            Entry::Foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_what_they_were_written_for() {
        let names = GenerationNames(12);
        for (name, entry) in [
            (revised_segment_name(7, 0), Entry::Segment(7, 0)),
            (revised_index_name(7, 0), Entry::Index(7, 0)),
            ("journal-0000000007-r0012.seg".to_owned(), Entry::Segment(7, 12)),
            (revised_index_name(7, 12), Entry::Index(7, 12)),
            ("journal-0000000007-r0000.seg".to_owned(), Entry::Foreign),
            ("suppressed-0000000007-r0001.heads".to_owned(), Entry::Foreign),
            (names.set("suppressed"), Entry::Generation(12)),
            (names.heads("released"), Entry::Generation(12)),
            (names.since("suppressed"), Entry::Generation(12)),
            (names.moments("released"), Entry::Generation(12)),
            (registry_name(3), Entry::Registry(3)),
            (ids_name(3), Entry::Ids(3)),
            (changes_name(3), Entry::Changes(3)),
            ("changes-3.table".to_owned(), Entry::Foreign),
            ("MANIFEST".to_owned(), Entry::Manifest),
            ("keys.json".to_owned(), Entry::Side),
            ("keys.json.next".to_owned(), Entry::Side),
            ("campaigns.lock".to_owned(), Entry::Side),
            ("capture.json".to_owned(), Entry::Side),
            ("sent.json".to_owned(), Entry::Side),
            ("sent.table".to_owned(), Entry::Side),
            ("keys.json.bak".to_owned(), Entry::Foreign),
            ("journal-7.seg".to_owned(), Entry::Foreign),
            ("notes.txt".to_owned(), Entry::Foreign),
        ] {
            assert_eq!(Entry::of(&name), entry, "{name}");
        }
    }
}
