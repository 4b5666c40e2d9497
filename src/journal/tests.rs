//! The decision table of recovery, exhaustively, on small segments.

use std::sync::Arc;

use super::format::{RECORD_HEADER_BYTES, SECTOR_BYTES, SEGMENT_HEADER_BYTES, segment_name};
use super::{
    Journal, JournalError, JournalIdentity, JournalWriter, Record, Row, Spelling, Subject,
    verify_sealed,
};
use crate::disk::{Disk, MemoryDisk};
use crate::event::{Action, Details, Ground, Source};
use crate::number::{Folding, Number, SubscriberKey};
use crate::time::Timestamp;

const IDENTITY: JournalIdentity =
    JournalIdentity { store: [7; 16], folding: Folding { tier2: false } };

fn row(number: u64) -> Row<'static> {
    Row {
        subject: Subject::Number(Number::from_e164(number).unwrap()),
        occurred_at: Timestamp::from_millis(1_700_000_000_000),
        spelling: Spelling::Plus,
        previous: 0,
    }
}

fn numbers_after(journal: &Journal, after: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    let visit = |record: &Record| -> Result<bool, JournalError> {
        numbers.extend(record.subjects().iter().map(|subject| match subject {
            Subject::Number(number) => number.get(),
            other => panic!("{other:?}"),
        }));
        Ok(true)
    };
    journal.scan(after, |_| true, visit).unwrap();
    numbers
}

fn open(disk: &MemoryDisk) -> Result<(Journal, Vec<u64>), JournalError> {
    let journal = Journal::open(Arc::new(disk.clone()), IDENTITY, &[], 1)?;
    let numbers = numbers_after(&journal, 0);
    Ok((journal, numbers))
}

fn writer(disk: &MemoryDisk) -> JournalWriter {
    JournalWriter::new(open(disk).unwrap().0).unwrap()
}

/// A disk whose first segment holds groups of records, a sync after each group; and the offsets
/// at which its records end. The records are longer than a sector, so that zeroed sectors can
/// lie inside.
fn disk_with(groups: &[&[u64]]) -> (MemoryDisk, Vec<usize>) {
    disk_with_notes(groups, 30)
}

fn disk_with_notes(groups: &[&[u64]], note_repeats: usize) -> (MemoryDisk, Vec<usize>) {
    let disk = MemoryDisk::new();
    let now = Timestamp::from_millis(1_700_000_000_000);
    JournalWriter::create_segment(&disk, IDENTITY, 1, 0, 1, now).unwrap();
    disk.sync_directory().unwrap();
    let mut writer = writer(&disk);
    let mut details = Details::new(Action::OptOut, Source::Keyword);
    details.note = "the person wrote that this has to stop ".repeat(note_repeats);
    let mut ends = Vec::new();
    for group in groups {
        for &number in *group {
            writer.append(&details, now, &[row(number)]).unwrap();
            ends.push(writer.active_bytes() as usize + SEGMENT_HEADER_BYTES);
        }
        writer.sync().unwrap();
    }
    (disk, ends)
}

const A: u64 = 525_512_345_678;
const B: u64 = 525_512_345_679;
const C: u64 = 573_001_234_567;
const D: u64 = 5_511_987_654_321;

fn with_bytes(bytes: Vec<u8>) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.put(&segment_name(1), bytes);
    disk
}

#[test]
fn what_was_appended_is_read_back_in_order() {
    let (disk, _) = disk_with(&[&[A], &[B, C], &[D]]);
    let (journal, numbers) = open(&disk).unwrap();
    assert_eq!(numbers, [A, B, C, D]);
    assert_eq!(journal.sequence(), 4);
    let event = journal.event(3).unwrap().unwrap();
    assert_eq!(
        (event.sequence, event.address.map(|it| it.to_string())),
        (3, Some(format!("+{C}")))
    );
    assert_eq!(event.raw, format!("+{C}"));
    assert!(journal.event(5).unwrap().is_none());
    assert!(journal.event(0).unwrap().is_none());
}

#[test]
fn truncated_at_any_byte_the_whole_records_stay_and_the_rest_is_quarantined() {
    let (disk, ends) = disk_with(&[&[A], &[B], &[C]]);
    let whole = disk.bytes(&segment_name(1)).unwrap();
    for length in SEGMENT_HEADER_BYTES..=whole.len() {
        let cut = with_bytes(whole[..length].to_vec());
        let kept = ends.iter().filter(|&&end| end <= length).count();
        assert_eq!(open(&cut).unwrap().1, [A, B, C][..kept], "cut at {length}");
        drop(writer(&cut));
        let end = ends[..kept].last().copied().unwrap_or(SEGMENT_HEADER_BYTES);
        assert_eq!(cut.bytes(&segment_name(1)).unwrap(), whole[..end], "cut at {length}");
        let names = cut.list().unwrap();
        let kept_aside = names.iter().find(|name| name.starts_with("quarantine-"));
        let aside = kept_aside.map(|name| cut.bytes(name).unwrap()).unwrap_or_default();
        assert_eq!(aside, whole[end..length], "cut at {length}");
    }
    for length in 0..SEGMENT_HEADER_BYTES {
        let cut = with_bytes(whole[..length].to_vec());
        assert!(matches!(open(&cut), Err(JournalError::Damaged { .. })), "cut at {length}");
    }
}

#[test]
fn every_flipped_bit_of_an_acknowledged_segment_is_refused() {
    let (disk, _) = disk_with_notes(&[&[A], &[B, C]], 1);
    let whole = disk.bytes(&segment_name(1)).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match open(&with_bytes(bytes)) {
            Err(JournalError::Damaged { .. }) => {}
            Err(JournalError::Newer { .. }) if (8..10).contains(&(bit / 8)) => {}
            other => panic!("bit {} of byte {}: {other:?}", bit % 8, bit / 8),
        }
    }
}

#[test]
fn a_zeroed_sector_is_torn_in_the_last_group_and_damage_before_it() {
    let (disk, ends) = disk_with(&[&[A], &[B], &[C, D]]);
    let whole = disk.bytes(&segment_name(1)).unwrap();
    let last_group = ends[1];
    for sector in (SECTOR_BYTES..whole.len()).step_by(SECTOR_BYTES) {
        let end = (sector + SECTOR_BYTES).min(whole.len());
        let mut bytes = whole.clone();
        bytes[sector..end].fill(0);
        let result = open(&with_bytes(bytes));
        if sector < last_group {
            assert!(matches!(result, Err(JournalError::Damaged { .. })), "sector at {sector}");
        } else if end - sector >= 16 {
            let kept = ends.iter().filter(|&&end| end <= sector).count();
            assert_eq!(result.unwrap().1, [A, B, C, D][..kept], "sector at {sector}");
        }
    }
}

#[test]
fn zeros_and_stale_blocks_behind_the_end_are_torn_and_garbage_is_damage() {
    let (disk, _) = disk_with(&[&[A], &[B]]);
    let whole = disk.bytes(&segment_name(1)).unwrap();
    for length in [1, RECORD_HEADER_BYTES, 700, 5000] {
        let bytes = [whole.clone(), vec![0; length]].concat();
        assert_eq!(open(&with_bytes(bytes)).unwrap().1, [A, B], "{length} zeros");
    }
    // A record of segment 2 of the same store, as a deleted file would leave it.
    let other = MemoryDisk::new();
    let now = Timestamp::default();
    JournalWriter::create_segment(&other, IDENTITY, 2, 0, 1, now).unwrap();
    let journal = Journal::open(Arc::new(other.clone()), IDENTITY, &[], 2).unwrap();
    let mut stale = JournalWriter::new(journal).unwrap();
    stale.append(&Details::new(Action::Resubscribe, Source::Api), now, &[row(A)]).unwrap();
    let record = other.bytes(&segment_name(2)).unwrap().split_off(SEGMENT_HEADER_BYTES);
    let bytes = [whole.clone(), record].concat();
    assert_eq!(open(&with_bytes(bytes)).unwrap().1, [A, B]);
    let bytes = [whole, vec![0x5a; 200]].concat();
    assert!(matches!(open(&with_bytes(bytes)), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_repeated_or_missing_record_is_refused() {
    let (disk, ends) = disk_with(&[&[A], &[B], &[C]]);
    let whole = disk.bytes(&segment_name(1)).unwrap();
    let records = [&whole[SEGMENT_HEADER_BYTES..ends[0]], &whole[ends[0]..ends[1]]];
    let head = &whole[..SEGMENT_HEADER_BYTES];
    let repeated = [head, records[0], records[0], records[1]].concat();
    assert!(matches!(open(&with_bytes(repeated)), Err(JournalError::Damaged { .. })));
    let missing = [head, records[1]].concat();
    assert!(matches!(open(&with_bytes(missing)), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let (disk, _) = disk_with(&[&[A]]);
    let other = JournalIdentity { store: [8; 16], ..IDENTITY };
    let result = Journal::open(Arc::new(disk), other, &[], 1);
    assert!(matches!(result, Err(JournalError::Damaged { .. })));
}

#[test]
fn a_reader_catches_up_and_follows_the_seal() {
    let (disk, _) = disk_with(&[&[A]]);
    let (mut reader, _) = open(&disk).unwrap();
    let mut writer = writer(&disk);
    let now = Timestamp::default();
    let details = Details::new(Action::OptOut, Source::Api);
    assert!(!reader.catch_up().unwrap());
    writer.append(&details, now, &[row(B), row(C)]).unwrap();
    assert!(!reader.catch_up().unwrap());
    assert_eq!(numbers_after(&reader, 1), [B, C]);
    writer.rotate(1, now).unwrap();
    assert!(reader.catch_up().unwrap());
    let sealed: Vec<_> = writer.sealed().cloned().collect();
    assert_eq!((sealed[0].first_sequence, sealed[0].last_sequence), (1, 3));
    writer.append(&details, now, &[row(D)]).unwrap();
    writer.sync().unwrap();
    let after = Journal::open(Arc::new(disk.clone()), IDENTITY, &sealed, 2).unwrap();
    assert_eq!(numbers_after(&after, 0), [A, B, C, D]);
    assert_eq!(numbers_after(&after, 3), [D]);
    verify_sealed(&disk, IDENTITY, &sealed[0], |_| Ok(())).unwrap();
    // Without its index the segment answers the same.
    disk.remove("journal-0000000001.idx").unwrap();
    let rebuilt = Journal::open(Arc::new(disk), IDENTITY, &sealed, 2).unwrap();
    assert_eq!(rebuilt.event(2).unwrap(), after.event(2).unwrap());
}

#[test]
fn a_failed_sync_ends_the_writer_and_nothing_of_it_counts() {
    let (disk, _) = disk_with(&[&[A]]);
    let mut writer = writer(&disk);
    let now = Timestamp::default();
    let details = Details::new(Action::OptOut, Source::Api);
    writer.append(&details, now, &[row(B)]).unwrap();
    disk.set_faults(crate::disk::Faults { syncs_left: Some(0), ..Default::default() });
    assert!(writer.sync().is_err());
    assert!(writer.is_finished());
    assert_eq!(open(&disk.after_power_cut()).unwrap().1, [A]);
}

#[test]
fn columns_of_all_kinds_are_read_back() {
    let disk = MemoryDisk::new();
    let now = Timestamp::from_millis(1_700_000_000_000);
    JournalWriter::create_segment(&disk, IDENTITY, 1, 0, 1, now).unwrap();
    let mut writer = writer(&disk);
    let mut details = Details::new(Action::OptOut, Source::Import);
    details.message_id = "wamid.1".to_owned();
    details.ground = Ground::Legal;
    details.template = "spring".to_owned();
    details.batch = 77;
    let id = |first, text| Row {
        subject: Subject::Id(SubscriberKey::of_id(first)),
        spelling: Spelling::Text(text),
        ..row(A)
    };
    let rows = [
        Row { spelling: Spelling::Digits, occurred_at: now, ..row(B) },
        Row { spelling: Spelling::Text("(55) 1234"), occurred_at: Timestamp::MIN, ..row(A) },
        Row { previous: 1, occurred_at: Timestamp::MAX, ..row(D) },
    ];
    let ids = [id(4, "US.1349"), Row { previous: 4, ..id(4, "US.1349") }];
    writer.append(&details, now, &rows).unwrap();
    writer.append(&details, now, &ids).unwrap();
    writer.sync().unwrap();
    let journal = Journal::open(Arc::new(disk.clone()), IDENTITY, &[], 1).unwrap();
    for sequence in [4, 5] {
        let event = journal.event(sequence).unwrap().unwrap();
        assert_eq!(event.address.unwrap().to_string(), "US.1349");
        assert_eq!(event.key, Some(SubscriberKey::of_id(4)));
        assert_eq!(event.details, details);
    }
    for (at, expected) in rows.iter().enumerate() {
        let event = journal.event(at as u64 + 1).unwrap().unwrap();
        let Subject::Number(number) = expected.subject else { panic!("a number") };
        assert_eq!(event.address, Some(number.into()));
        assert_eq!(event.occurred_at, expected.occurred_at);
        assert_eq!(event.previous, expected.previous);
        assert_eq!(journal.source(at as u64 + 1).unwrap(), Some(Source::Import));
        let text = match expected.spelling {
            Spelling::Plus => format!("+{}", number.get()),
            Spelling::Digits => number.get().to_string(),
            Spelling::Text(text) => text.to_owned(),
        };
        assert_eq!(event.raw, text);
        assert_eq!(Spelling::of(number, &event.raw), expected.spelling);
    }
    assert_eq!(journal.records_of_message("wamid.1").unwrap().len(), 2);
    assert!(journal.records_of_message("wamid.2").unwrap().is_empty());
}

#[test]
fn a_tombstone_keeps_its_key_and_an_erased_row_nothing() {
    let (disk, _) = disk_with(&[&[B]]);
    let mut writer = writer(&disk);
    let now = Timestamp::default();
    let mut details = Details::new(Action::OptOut, Source::Agent);
    details.note = "shared".to_owned();
    let keys = [A, SubscriberKey::of_id(1).get()].map(SubscriberKey::from_u64);
    let tombstone = |key| Row { subject: Subject::Tombstone(key), previous: 1, ..row(C) };
    let erased = Row { subject: Subject::Erased, ..row(C) };
    writer.append(&details, now, &[tombstone(keys[0]), tombstone(keys[1])]).unwrap();
    // Erased rows go with every spelling.
    let digits = Row { spelling: Spelling::Digits, ..row(D) };
    let text = Row { spelling: Spelling::Text("(1)"), ..row(D) };
    for other in [row(D), digits, text] {
        writer.append(&details, now, &[erased, other]).unwrap();
    }
    writer.append(&details, now, &[erased]).unwrap();
    writer.sync().unwrap();
    let journal = open_journal(&disk);
    for (sequence, key) in (2..).zip(keys) {
        let event = journal.event(sequence).unwrap().unwrap();
        assert_eq!((event.key, event.address, &*event.raw), (Some(key), None, ""));
        assert_eq!((event.previous, &*event.details.note), (1, "shared"));
    }
    for (sequence, raw) in [(4, format!("+{D}")), (6, D.to_string()), (8, "(1)".to_owned())] {
        let event = journal.event(sequence).unwrap().unwrap();
        assert_eq!((event.key, event.address, &*event.raw), (None, None, ""));
        assert_eq!(&*event.details.note, "");
        assert_eq!(journal.event(sequence + 1).unwrap().unwrap().raw, raw);
    }
    let bytes = disk.bytes(&segment_name(1)).unwrap();
    for form in [&A.to_le_bytes()[..], A.to_string().as_bytes(), format!("{A:x}").as_bytes()] {
        assert!(memchr::memmem::find(&bytes, form).is_none());
    }
}

fn open_journal(disk: &MemoryDisk) -> Journal {
    Journal::open(Arc::new(disk.clone()), IDENTITY, &[], 1).unwrap()
}

#[test]
fn a_bulk_record_costs_about_two_bytes_a_number() {
    let disk = MemoryDisk::new();
    let now = Timestamp::default();
    JournalWriter::create_segment(&disk, IDENTITY, 1, 0, 1, now).unwrap();
    let mut writer = writer(&disk);
    let rows: Vec<Row<'_>> = (0..60_000).map(|step| row(A + step * 900)).collect();
    let details = Details::new(Action::OptOut, Source::Import);
    writer.append(&details, now, &rows).unwrap();
    assert!(writer.active_bytes() < 2 * 60_000 + 200, "{}", writer.active_bytes());
}
