//! One integer for each key of a set, in the order of the keys, read in place.
//!
//! Entries are differences from a base, of one width: none when all are equal, as the moments of
//! one imported list are. They are gathered in pages that carry their own checksum: looking one
//! up checks its page the first time, so that opening costs nothing and rot is still noticed
//! before it is answered from. Pages are bound to store, generation and place.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};
use zerocopy::little_endian::{I64, U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::Mapped;

const MAGIC: [u8; 8] = *b"OPTOUTC\n";
const VERSION: u16 = 1;
const PAGE_BYTES: usize = 4096;
/// A page's entries; its last eight bytes are the checksum.
const PAYLOAD_BYTES: usize = PAGE_BYTES - size_of::<u64>();

/// What a column file begins with; pages follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ColumnHeader {
    magic: [u8; 8],
    version: U16,
    /// Bytes of an entry, 0 to 8.
    width: u8,
    reserved: [u8; 5],
    store: [u8; 16],
    generation: U64,
    entries: U64,
    /// What every entry is counted from.
    base: I64,
    /// xxh3-64 of the bytes before this field.
    checksum: U64,
}

const HEADER_BYTES: usize = size_of::<ColumnHeader>();
const _: () = assert!(HEADER_BYTES == 64);

/// The store and generation that a column belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnIdentity {
    pub(super) store: [u8; 16],
    pub(super) generation: u64,
}

impl ColumnIdentity {
    fn page_checksum(self, page: usize, payload: &[u8]) -> u64 {
        let mut identity = [0; 32];
        identity[..16].copy_from_slice(&self.store);
        identity[16..24].copy_from_slice(&self.generation.to_le_bytes());
        identity[24..].copy_from_slice(&(page as u64).to_le_bytes());
        xxh3_64_with_seed(payload, xxh3_64(&identity))
    }
}

fn header_checksum(header: &ColumnHeader) -> u64 {
    xxh3_64(&header.as_bytes()[..HEADER_BYTES - size_of::<U64>()])
}

/// What is wrong with a column, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnDamage {
    pub(super) offset: u64,
    pub(super) what: &'static str,
}

/// A column over the bytes of its file.
#[derive(Debug)]
pub(super) struct Column {
    bytes: Mapped,
    identity: ColumnIdentity,
    width: usize,
    base: i64,
    entries: u64,
    /// One bit a page: its checksum was found right.
    checked: Vec<AtomicU64>,
}

impl Column {
    /// The column of an empty set.
    pub(super) fn empty(identity: ColumnIdentity) -> Column {
        let bytes = Mapped::from_vec(Vec::new());
        Column { bytes, identity, width: 0, base: 0, entries: 0, checked: Vec::new() }
    }

    /// Checks the header and the length; the pages are checked as they are read.
    pub(super) fn open(
        bytes: Mapped,
        identity: ColumnIdentity,
        entries: u64,
    ) -> Result<Column, ColumnDamage> {
        let damage = |what| ColumnDamage { offset: 0, what };
        let length = bytes.as_ref().len();
        let Ok((header, _)) = ColumnHeader::read_from_prefix(bytes.as_ref()) else {
            return Err(damage("the file ends within its header"));
        };
        if header.magic != MAGIC || header_checksum(&header) != header.checksum.get() {
            return Err(damage("the header does not match its checksum"));
        }
        let width = usize::from(header.width);
        let belongs = header.version.get() == VERSION
            && header.store == identity.store
            && header.generation.get() == identity.generation
            && header.entries.get() == entries
            && width <= size_of::<u64>();
        if !belongs {
            return Err(damage("the file belongs to another store or generation"));
        }
        let pages = match width {
            0 => 0,
            _ => entries.div_ceil((PAYLOAD_BYTES / width) as u64),
        };
        let expected = pages.checked_mul(PAGE_BYTES as u64).map(|it| it + HEADER_BYTES as u64);
        if Some(length as u64) != expected {
            return Err(damage("the file's length does not fit its number of entries"));
        }
        let checked = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Column { bytes, identity, width, base: header.base.get(), entries, checked })
    }

    /// The entry at `position`, which is below the number of entries.
    pub(super) fn get(&self, position: u64) -> Result<i64, ColumnDamage> {
        assert!(position < self.entries, "positions come from the set of the same generation");
        if self.width == 0 {
            return Ok(self.base);
        }
        let in_page = PAYLOAD_BYTES / self.width;
        let (page, entry) = (position as usize / in_page, position as usize % in_page);
        let payload = self.page(page)?;
        Ok(self.value(&payload[entry * self.width..][..self.width]))
    }

    /// The smallest value that the entries can have, and the largest; nothing without entries.
    pub(super) fn bounds(&self) -> Option<(i64, i64)> {
        let span = match self.width {
            0 => 0,
            8 => u64::MAX,
            width => (1 << (8 * width)) - 1,
        };
        (self.entries > 0).then(|| (self.base, self.base.saturating_add_unsigned(span)))
    }

    fn value(&self, entry: &[u8]) -> i64 {
        self.base.wrapping_add_unsigned(read_entry(entry))
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Checks every page that was not read yet.
    pub(super) fn verify(&self) -> Result<(), ColumnDamage> {
        let pages = (self.bytes.as_ref().len().saturating_sub(HEADER_BYTES)) / PAGE_BYTES;
        (0..pages).try_for_each(|page| self.page(page).map(|_| ()))
    }

    fn page(&self, page: usize) -> Result<&[u8], ColumnDamage> {
        let offset = HEADER_BYTES + page * PAGE_BYTES;
        let bytes = &self.bytes.as_ref()[offset..offset + PAGE_BYTES];
        let (payload, checksum) = bytes.split_at(PAYLOAD_BYTES);
        let (word, bit) = (page / 64, 1 << (page % 64));
        if self.checked[word].load(Ordering::Relaxed) & bit == 0 {
            if self.identity.page_checksum(page, payload).to_le_bytes() != checksum {
                let what = "a page does not match its checksum";
                return Err(ColumnDamage { offset: offset as u64, what });
            }
            self.checked[word].fetch_or(bit, Ordering::Relaxed);
        }
        Ok(payload)
    }
}

fn read_entry(bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    value[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(value)
}

/// Why entries could not be copied.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The old column is damaged.
    Old(ColumnDamage),
    /// The new one can't be written.
    Output(io::Error),
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> CopyError {
        CopyError::Output(error)
    }
}

/// Goes over the entries of a column in their order.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    column: &'a Column,
    /// Position of the next entry.
    at: u64,
    /// The entries of the page from there on, and what is left of it behind them.
    payload: &'a [u8],
    /// Entries in it.
    left: usize,
}

impl<'a> Cursor<'a> {
    /// Before the first entry.
    pub(super) fn new(column: &'a Column) -> Cursor<'a> {
        Cursor { column, at: 0, payload: &[], left: 0 }
    }

    /// Leaves the next entry out.
    pub(super) fn skip(&mut self) -> Result<(), ColumnDamage> {
        self.take(1).map(drop)
    }

    /// The next entries, at most `count` and those of one page.
    fn take(&mut self, count: u64) -> Result<&'a [u8], ColumnDamage> {
        let width = self.column.width;
        if self.left == 0 && width > 0 {
            let in_page = PAYLOAD_BYTES / width;
            self.payload = self.column.page(self.at as usize / in_page)?;
            self.left = in_page;
        }
        let count = count.min(self.left as u64) as usize;
        let (entries, rest) = self.payload.split_at(count * width);
        (self.payload, self.left) = (rest, self.left - count);
        self.at += count as u64;
        Ok(entries)
    }
}

/// Writes a column of a known number of entries.
#[derive(Debug)]
pub(super) struct ColumnWriter<W> {
    out: W,
    identity: ColumnIdentity,
    width: usize,
    base: i64,
    left: u64,
    /// One page, and room behind it so that an entry is written as eight bytes.
    page: Vec<u8>,
    filled: usize,
    pages: usize,
}

impl<W: Write> ColumnWriter<W> {
    /// Begins a column whose entries lie within `bounds`.
    pub(super) fn new(
        mut out: W,
        identity: ColumnIdentity,
        entries: u64,
        bounds: (i64, i64),
    ) -> io::Result<ColumnWriter<W>> {
        let span = bounds.1.abs_diff(bounds.0);
        let width = (u64::BITS - span.leading_zeros()).div_ceil(8) as usize;
        let base = bounds.0;
        let mut header = ColumnHeader {
            magic: MAGIC,
            version: U16::new(VERSION),
            width: width as u8,
            reserved: [0; 5],
            store: identity.store,
            generation: U64::new(identity.generation),
            entries: U64::new(entries),
            base: I64::new(base),
            checksum: U64::new(0),
        };
        header.checksum = U64::new(header_checksum(&header));
        out.write_all(header.as_bytes())?;
        let page = vec![0; PAGE_BYTES + size_of::<u64>()];
        Ok(ColumnWriter { out, identity, width, base, left: entries, page, filled: 0, pages: 0 })
    }

    /// Whether every entry is the base, so that none takes any room.
    pub(super) fn is_uniform(&self) -> bool {
        self.width == 0
    }

    /// Writes the next entry.
    pub(super) fn push(&mut self, value: i64) -> io::Result<()> {
        self.left = self.left.checked_sub(1).expect("no more entries than were announced");
        let entry = value.wrapping_sub(self.base) as u64;
        assert!(self.width == 8 || entry >> (8 * self.width) == 0, "within the bounds");
        if self.filled + self.width > PAYLOAD_BYTES {
            self.end_page()?;
        }
        self.page[self.filled..][..size_of::<u64>()].copy_from_slice(&entry.to_le_bytes());
        self.filled += self.width;
        Ok(())
    }

    /// Writes the base, as often as entries are left.
    pub(super) fn fill(&mut self) {
        assert!(self.is_uniform(), "entries that take room are pushed");
        self.left = 0;
    }

    /// Writes the next `count` entries of another column: page by page, which costs little more
    /// than copying.
    pub(super) fn copy(&mut self, old: &mut Cursor<'_>, count: u64) -> Result<(), CopyError> {
        let (width, base) = (old.column.width, old.column.base);
        if width == 0 {
            return Ok((0..count).try_for_each(|_| self.push(base))?);
        }
        let end = old.at + count;
        while old.at < end {
            let entries = old.take(end - old.at).map_err(CopyError::Old)?;
            if (width, base) == (self.width, self.base) {
                self.push_same(entries)?;
            } else {
                for entry in entries.chunks_exact(width) {
                    self.push(old.column.value(entry))?;
                }
            }
        }
        Ok(())
    }

    fn push_same(&mut self, mut entries: &[u8]) -> io::Result<()> {
        // Between two changed keys there are few entries, mostly in one page.
        if entries.len() > PAYLOAD_BYTES - self.filled {
            let room = (PAYLOAD_BYTES - self.filled) / self.width * self.width;
            let (now, later) = entries.split_at(room);
            self.put_same(now);
            self.end_page()?;
            entries = later;
        }
        self.put_same(entries);
        Ok(())
    }

    /// Writes entries of this column's width and base for which the page has room.
    fn put_same(&mut self, entries: &[u8]) {
        let count = (entries.len() / self.width) as u64;
        self.left = self.left.checked_sub(count).expect("no more entries than were announced");
        self.page[self.filled..][..entries.len()].copy_from_slice(entries);
        self.filled += entries.len();
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.page[self.filled..PAYLOAD_BYTES].fill(0);
        let checksum = self.identity.page_checksum(self.pages, &self.page[..PAYLOAD_BYTES]);
        self.page[PAYLOAD_BYTES..PAGE_BYTES].copy_from_slice(&checksum.to_le_bytes());
        self.out.write_all(&self.page[..PAGE_BYTES])?;
        self.filled = 0;
        self.pages += 1;
        Ok(())
    }

    /// Writes the last page.
    pub(super) fn finish(mut self) -> io::Result<W> {
        assert_eq!(self.left, 0, "as many entries as were announced");
        if self.filled > 0 {
            self.end_page()?;
        }
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: ColumnIdentity = ColumnIdentity { store: [3; 16], generation: 5 };

    fn column(values: &[i64]) -> Vec<u8> {
        let min = values.iter().copied().min().unwrap_or(0);
        let max = values.iter().copied().max().unwrap_or(0);
        let entries = values.len() as u64;
        let mut writer = ColumnWriter::new(Vec::new(), IDENTITY, entries, (min, max)).unwrap();
        values.iter().for_each(|&value| writer.push(value).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn entries_of_every_width_are_read_back() {
        for shift in 0..64 {
            let scale = |it: u64| (it.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as i64;
            let values: Vec<i64> = (0..3000).map(|it| scale(it) - 5).collect();
            let bytes = Mapped::from_vec(column(&values));
            let column = Column::open(bytes, IDENTITY, 3000).unwrap();
            for (at, &value) in values.iter().enumerate() {
                assert_eq!(column.get(at as u64), Ok(value));
            }
        }
    }

    #[test]
    fn equal_entries_take_no_room() {
        let bytes = column(&[-7; 5000]);
        assert_eq!(bytes.len(), HEADER_BYTES);
        let column = Column::open(Mapped::from_vec(bytes), IDENTITY, 5000).unwrap();
        assert_eq!(column.get(4999), Ok(-7));
        let mut writer = ColumnWriter::new(Vec::new(), IDENTITY, 3, (-9, 1)).unwrap();
        writer.push(-9).unwrap();
        writer.copy(&mut Cursor::new(&column), 2).unwrap();
        let copied = Mapped::from_vec(writer.finish().unwrap());
        assert_eq!(Column::open(copied, IDENTITY, 3).unwrap().get(2), Ok(-7));
    }

    #[test]
    fn every_flipped_bit_is_noticed_before_it_is_answered_from() {
        let values: Vec<i64> = (0..2000).collect();
        let whole = column(&values);
        for byte in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << (byte % 8);
            let opened = Column::open(Mapped::from_vec(bytes), IDENTITY, 2000);
            assert!(opened.is_err() || opened.unwrap().verify().is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_column_of_another_generation_or_length_is_refused() {
        let whole = column(&[1, 2, 3]);
        let open = |bytes: &[u8], identity, entries| {
            Column::open(Mapped::from_vec(bytes.to_vec()), identity, entries)
        };
        assert!(open(&whole, IDENTITY, 3).is_ok());
        assert!(open(&whole, IDENTITY, 4).is_err());
        assert!(open(&whole, ColumnIdentity { generation: 6, ..IDENTITY }, 3).is_err());
        for length in 0..whole.len() {
            assert!(open(&whole[..length], IDENTITY, 3).is_err(), "cut at {length}");
        }
    }
}
