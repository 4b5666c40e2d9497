//! Which key has an id without a number?
//!
//! The key of an id is made of the sequence of the first event about it, so that sets and columns
//! treat it like any other. This is the way from the text to the key: an immutable table in the
//! order of the texts' hashes, read in place. Two texts with one hash stand beside each other;
//! the text decides. An id whose subscriber asked to be forgotten has no text any more: its hash
//! alone decides, which can silence somebody else's id too, and never forgets his.
//!
//! The bytes are checked by the manifest's checksum and for order when the table is opened; that
//! each text has its hash is checked by [`Ids::verify`].

use std::collections::BTreeSet;
use std::io::{self, Write};

use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::Mapped;
use crate::number::{BusinessId, SubscriberKey};
use crate::snapshot::prefetch;

/// The first bytes of a table of ids.
const IDS_MAGIC: [u8; 8] = *b"OPTOUTN\n";
/// The version that this release writes and reads.
const IDS_VERSION: u16 = 1;

/// What a table of ids begins with; the entries follow, then the texts.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IdsHeader {
    /// [`IDS_MAGIC`].
    magic: [u8; 8],
    /// [`IDS_VERSION`].
    version: U16,
    /// Zero.
    reserved: [u8; 6],
    /// The store that it belongs to.
    store: [u8; 16],
    /// Number of entries.
    entries: U64,
    /// Bytes of all texts.
    text_bytes: U64,
}
const _: () = assert!(size_of::<IdsHeader>() == 48);

/// One id.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct IdEntry {
    /// xxh3-64 of the text, seeded with the first eight bytes of the store's id.
    hash: U64,
    /// Sequence of the first event about it.
    sequence: U64,
    /// Where its text ends among the texts; it begins where the one before ends.
    text_end: U64,
}
const _: () = assert!(size_of::<IdEntry>() == 24);

/// A table of ids, read in place.
#[derive(Debug)]
pub(super) struct Ids {
    bytes: Mapped,
    entries: usize,
    seed: u64,
}

impl Ids {
    /// The table of a store that knows none.
    pub(super) fn empty(store: [u8; 16]) -> Ids {
        let header = header(store, 0, 0);
        Ids { bytes: Mapped::from_vec(header.as_bytes().to_vec()), entries: 0, seed: seed(store) }
    }

    /// Reads a table whose checksum was found right; `Err` says what is wrong with it.
    pub(super) fn open(bytes: Mapped, store: [u8; 16]) -> Result<Ids, &'static str> {
        let (header, rest) =
            IdsHeader::read_from_prefix(bytes.as_ref()).map_err(|_| "it ends within its header")?;
        if header.magic != IDS_MAGIC || header.version.get() != IDS_VERSION {
            return Err("it is no table of ids that this release reads");
        }
        if header.store != store {
            return Err("it belongs to another store");
        }
        let entries = usize::try_from(header.entries.get()).map_err(|_| "it has too many ids")?;
        let length = entries
            .checked_mul(size_of::<IdEntry>())
            .and_then(|it| it.checked_add(usize::try_from(header.text_bytes.get()).ok()?));
        if length != Some(rest.len()) {
            return Err("its length is not what its header says");
        }
        let ids = Ids { bytes, entries, seed: seed(store) };
        ids.check_order(header.text_bytes.get())?;
        Ok(ids)
    }

    /// Whether the entries ascend by hash and their texts follow each other.
    fn check_order(&self, text_bytes: u64) -> Result<(), &'static str> {
        let (mut hash, mut end) = (0, 0);
        for entry in self.list() {
            if entry.text_end.get() < end {
                return Err("its texts do not follow each other");
            }
            if entry.hash.get() < hash {
                return Err("its ids do not ascend");
            }
            let first = entry.sequence.get();
            if first == 0 || SubscriberKey::of_id(first).id_sequence() != Some(first) {
                return Err("an id began with an event that can't be");
            }
            (hash, end) = (entry.hash.get(), entry.text_end.get());
        }
        (end == text_bytes).then_some(()).ok_or("its texts do not end where it does")
    }

    /// Looks at every text; `Err` says what is wrong.
    pub(super) fn verify(&self) -> Result<(), &'static str> {
        let mut before: Option<(u64, &[u8])> = None;
        for (hash, text, _) in self.iter() {
            let is_id = std::str::from_utf8(text)
                .is_ok_and(|it| BusinessId::find(text) == Some(it) && self.hash(it) == hash);
            if !is_id && !text.is_empty() {
                return Err("a text is no id, or stands in a wrong place");
            }
            if before.is_some_and(|before| before >= (hash, text)) {
                return Err("an id is there twice");
            }
            before = Some((hash, text));
        }
        Ok(())
    }

    /// Number of ids.
    pub(super) fn len(&self) -> u64 {
        self.entries as u64
    }

    /// The key of an id; `None` when no folded event is about it.
    pub(super) fn find(&self, id: &str) -> Option<SubscriberKey> {
        self.find_all(&[id])[0]
    }

    /// [`Ids::find`] for each of many ids. They take each step together, and each step asks for
    /// the memory of the next, so that they wait for memory at the same time.
    pub(super) fn find_all(&self, ids: &[&str]) -> Vec<Option<SubscriberKey>> {
        let list = self.list();
        let mut keys = vec![None; ids.len()];
        if list.is_empty() {
            return keys;
        }
        let mut searches: Vec<Search> = ids.iter().map(|id| Search::new(self.hash(id))).collect();
        for _ in 0..GUESSES {
            searches.iter_mut().for_each(|search| search.guess(list));
        }
        for search in &mut searches {
            search.finish(list);
            prefetch(self.texts(), self.text_begin(search.place.min(list.len() - 1)));
        }
        for ((id, key), search) in ids.iter().zip(&mut keys).zip(&searches) {
            *key = self.find_from(search.place, search.hash, id);
        }
        keys
    }

    /// The key of an id whose hash is first met at a place of the list.
    fn find_from(&self, mut place: usize, hash: u64, id: &str) -> Option<SubscriberKey> {
        let list = self.list();
        while let Some(entry) = list.get(place).filter(|entry| entry.hash.get() == hash) {
            let text = self.text(place);
            if text.is_empty() || text == id.as_bytes() {
                return Some(SubscriberKey::of_id(entry.sequence.get()));
            }
            place += 1;
        }
        None
    }

    /// Every id with its key, in the order of the table.
    fn iter(&self) -> impl Iterator<Item = (u64, &[u8], u64)> {
        self.list()
            .iter()
            .enumerate()
            .map(|(place, entry)| (entry.hash.get(), self.text(place), entry.sequence.get()))
    }

    /// Whether the text of an id stands in the table.
    pub(super) fn tells(&self, id: &str) -> bool {
        self.iter().any(|(_, text, _)| text == id.as_bytes())
    }

    /// Writes a table with these ids and `new` ones, which it does not know yet. Of those whose
    /// keys are `forgotten` only the hash is written.
    pub(super) fn write_with<'a>(
        &self,
        store: [u8; 16],
        new: impl Iterator<Item = (&'a BusinessId, SubscriberKey)>,
        forgotten: &BTreeSet<SubscriberKey>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let place = |(id, key): (&'a BusinessId, SubscriberKey)| {
            let first = key.id_sequence().expect("the key of an id");
            (self.hash(id.as_str()), id.as_str(), first)
        };
        let mut new: Vec<(u64, &str, u64)> = new.map(place).collect();
        new.sort_unstable();
        let merged = || {
            let merged = Merged {
                old: self.iter().peekable(),
                new: new.iter().map(|&(hash, id, at)| (hash, id.as_bytes(), at)).peekable(),
            };
            merged.map(|(hash, text, at)| match forgotten.contains(&SubscriberKey::of_id(at)) {
                true => (hash, &[][..], at),
                false => (hash, text, at),
            })
        };
        let text_bytes = merged().map(|(_, text, _)| text.len() as u64).sum();
        out.write_all(header(store, self.len() + new.len() as u64, text_bytes).as_bytes())?;
        let mut text_end = 0;
        for (hash, text, sequence) in merged() {
            text_end += text.len() as u64;
            let entry = IdEntry {
                hash: U64::new(hash),
                sequence: U64::new(sequence),
                text_end: U64::new(text_end),
            };
            out.write_all(entry.as_bytes())?;
        }
        merged().try_for_each(|(_, text, _)| out.write_all(text))
    }

    fn hash(&self, id: &str) -> u64 {
        xxh3_64_with_seed(id.as_bytes(), self.seed)
    }

    fn list(&self) -> &[IdEntry] {
        let start = size_of::<IdsHeader>();
        let bytes = &self.bytes.as_ref()[start..start + self.entries * size_of::<IdEntry>()];
        <[IdEntry]>::ref_from_bytes(bytes).expect("the length is a multiple of an entry's")
    }

    fn text(&self, place: usize) -> &[u8] {
        &self.texts()[self.text_begin(place)..self.list()[place].text_end.get() as usize]
    }

    fn text_begin(&self, place: usize) -> usize {
        place.checked_sub(1).map_or(0, |before| self.list()[before].text_end.get() as usize)
    }

    /// All texts, one behind the other.
    fn texts(&self) -> &[u8] {
        let begin = size_of::<IdsHeader>() + self.entries * size_of::<IdEntry>();
        &self.bytes.as_ref()[begin..]
    }
}

/// Two lists in the order of hash and text as one.
struct Merged<A: Iterator, B: Iterator> {
    old: std::iter::Peekable<A>,
    new: std::iter::Peekable<B>,
}

impl<'a, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (u64, &'a [u8], u64)>,
    B: Iterator<Item = (u64, &'a [u8], u64)>,
{
    type Item = (u64, &'a [u8], u64);

    fn next(&mut self) -> Option<Self::Item> {
        match (self.old.peek(), self.new.peek()) {
            (Some(old), Some(new)) if (old.0, old.1) > (new.0, new.1) => self.new.next(),
            (Some(_), _) => self.old.next(),
            (None, _) => self.new.next(),
        }
    }
}

fn header(store: [u8; 16], entries: u64, text_bytes: u64) -> IdsHeader {
    IdsHeader {
        magic: IDS_MAGIC,
        version: U16::new(IDS_VERSION),
        reserved: [0; 6],
        store,
        entries: U64::new(entries),
        text_bytes: U64::new(text_bytes),
    }
}

fn seed(store: [u8; 16]) -> u64 {
    u64::from_le_bytes(store[..8].try_into().expect("eight of sixteen bytes"))
}

/// How often the place of a hash is guessed before it is searched.
const GUESSES: usize = 3;

/// The way to the first entry whose hash is not below one. Hashes are spread evenly, so that its
/// place is guessed. A guess in n entries is off by about the root of n, and one from where the
/// last one led by the root of that; then the neighbourhood is searched.
struct Search {
    hash: u64,
    /// The guess; in the end the place.
    place: usize,
    is_first: bool,
}

impl Search {
    fn new(hash: u64) -> Search {
        Search { hash, place: 0, is_first: true }
    }

    /// Makes a guess, or a better one, in a list that is not empty, and asks for the memory there.
    fn guess(&mut self, list: &[IdEntry]) {
        let places = |hashes: u64| ((u128::from(hashes) * list.len() as u128) >> 64) as usize;
        if self.is_first {
            self.place = places(self.hash);
            self.is_first = false;
        } else if let Some(there) = list.get(self.place).map(|entry| entry.hash.get()) {
            self.place = match there < self.hash {
                true => (self.place + places(self.hash - there)).min(list.len()),
                false => self.place.saturating_sub(places(there - self.hash)),
            };
        }
        for place in [self.place.saturating_sub(Self::REACH), self.place, self.place + Self::REACH]
        {
            prefetch(list, place);
        }
    }

    /// How many entries around the last guess are searched first.
    const REACH: usize = 8;

    fn finish(&mut self, list: &[IdEntry]) {
        let mut reach = Self::REACH;
        loop {
            let low = self.place.saturating_sub(reach);
            let high = (self.place + reach).min(list.len());
            let is_below = |place: usize| list[place].hash.get() < self.hash;
            let low_is_below = low == 0 || is_below(low - 1);
            let high_is_not = high == list.len() || !is_below(high);
            if low_is_below && high_is_not {
                let near = &list[low..high];
                self.place = low + near.partition_point(|entry| entry.hash.get() < self.hash);
                return;
            }
            reach *= 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: [u8; 16] = [3; 16];

    fn table(ids: &Ids, new: &[(String, u64)]) -> Vec<u8> {
        let new: Vec<(BusinessId, SubscriberKey)> = new
            .iter()
            .map(|(id, at)| (BusinessId::parse(id.as_bytes()).unwrap(), SubscriberKey::of_id(*at)))
            .collect();
        let mut bytes = Vec::new();
        let new = new.iter().map(|(id, key)| (id, *key));
        ids.write_with(STORE, new, &BTreeSet::new(), &mut bytes).unwrap();
        bytes
    }

    fn open(bytes: &[u8]) -> Result<Ids, &'static str> {
        Ids::open(Mapped::from_vec(bytes.to_vec()), STORE)
    }

    #[test]
    fn every_id_is_found_and_no_other_also_after_more_came() {
        let id = |place: u64| format!("US.{}", place * 7919);
        let mut ids = Ids::empty(STORE);
        let mut known = 0;
        for count in [0, 1, 2, 500, 3_000] {
            let new: Vec<(String, u64)> =
                (known..known + count).map(|it| (id(it), it + 1)).collect();
            ids = open(&table(&ids, &new)).unwrap();
            known += count;
            assert_eq!(ids.len(), known);
            for place in 0..known {
                assert_eq!(ids.find(&id(place)), Some(SubscriberKey::of_id(place + 1)));
            }
            assert_eq!(ids.find(&id(known)), None);
            assert_eq!(ids.find("US.ENT.1"), None);
        }
    }

    #[test]
    fn a_table_that_was_cut_or_is_of_another_store_is_refused() {
        let bytes = table(&Ids::empty(STORE), &[("US.1".to_owned(), 1), ("US.2".to_owned(), 9)]);
        assert!(open(&bytes).is_ok());
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(Ids::open(Mapped::from_vec(bytes.clone()), [4; 16]).is_err());
        let mut swapped = bytes.clone();
        let (first, second) = (size_of::<IdsHeader>(), size_of::<IdsHeader>() + 24);
        swapped[first..first + 8].copy_from_slice(&bytes[second..second + 8]);
        assert!(open(&swapped).unwrap().verify().is_err());
    }
}
