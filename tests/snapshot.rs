//! The snapshot against two other Roaring libraries, and against damage.
//!
//! Random cases come from seeds, which a failing assertion names.

mod common;

use std::collections::BTreeSet;

use croaring::{Bitmap64, Portable};
use optout::number::SubscriberKey;
use optout::snapshot::{Change, Damage, SnapshotError, View, merge, write_sorted};
use proptest::prelude::*;
use roaring::RoaringTreemap;

use common::Random;

fn key(value: u64) -> SubscriberKey {
    SubscriberKey::from_u64(value)
}

fn written(values: &BTreeSet<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = write_sorted(&mut bytes, || values.iter().map(|&value| key(value))).unwrap();
    assert_eq!(summary.len, values.len() as u64);
    assert_eq!(summary.bytes, bytes.len() as u64);
    bytes
}

fn values_of<B: AsRef<[u8]>>(view: &View<B>) -> Vec<u64> {
    view.iter().map(SubscriberKey::get).collect()
}

fn read_by_roaring(bytes: &[u8]) -> RoaringTreemap {
    let mut rest = bytes;
    let read = RoaringTreemap::deserialize_from(&mut rest).unwrap();
    assert!(rest.is_empty());
    read
}

fn written_by_roaring(values: &BTreeSet<u64>, optimize: bool) -> Vec<u8> {
    let mut set: RoaringTreemap = values.iter().copied().collect();
    if optimize {
        set.optimize();
    }
    let mut bytes = Vec::new();
    set.serialize_into(&mut bytes).unwrap();
    bytes
}

fn written_by_croaring(values: &BTreeSet<u64>, optimize: bool) -> Vec<u8> {
    let mut set: Bitmap64 = values.iter().copied().collect();
    if optimize {
        set.run_optimize();
    } else {
        set.remove_run_compression();
    }
    set.serialize::<Portable>()
}

/// What containers may look like, the edges between shapes included.
fn fill_container(values: &mut BTreeSet<u64>, base: u64, random: &mut Random) {
    match random.below(10) {
        0 => values.extend([base]),
        1 => values.extend([base + 65_535]),
        2 => values.extend((0..random.below(40) + 1).map(|_| base + random.below(65_536))),
        3 => values.extend((0..random.below(3000)).map(|_| base + random.below(65_536))),
        4 => values.extend((0..4096).map(|i| base + 16 * i)),
        5 => values.extend((0..4097).map(|i| base + 15 * i)),
        6 => values.extend(base..=base + 65_535),
        7 => {
            for _ in 0..random.below(60) + 1 {
                let first = base + random.below(65_536);
                values.extend(first..=first.saturating_add(random.below(300)).min(base + 65_535));
            }
        }
        // Crowded at one end: guesses by position are wrong here.
        8 => values.extend((0..700).map(|i| base + 65_535 - i * i % 1500)),
        _ => values.extend((0..20_000).map(|_| base + random.below(65_536))),
    }
}

fn random_set(seed: u64) -> BTreeSet<u64> {
    let mut random = Random(seed);
    let mut values = BTreeSet::new();
    let buckets = random.below(6);
    for _ in 0..buckets {
        let bucket = match random.below(4) {
            0 => u64::from(u32::MAX),
            1 => random.below(4),
            _ => random.below(240_000),
        };
        // Many containers, far from each other or close together.
        if random.below(4) == 0 {
            let span = 1 << (22 + random.below(11));
            values.extend((0..1500).map(|_| bucket << 32 | random.below(span)));
        }
        for _ in 0..random.below(6) + 1 {
            let container = match random.below(4) {
                0 => 0xffff,
                1 => random.below(5),
                _ => random.below(0x1_0000),
            };
            fill_container(&mut values, bucket << 32 | container << 16, &mut random);
        }
    }
    values
}

/// Members, their neighbours, and anything else.
fn probes(values: &BTreeSet<u64>, random: &mut Random) -> Vec<u64> {
    let members: Vec<u64> = values.iter().copied().collect();
    let mut probes = vec![0, u64::MAX, u64::MAX - 1, 1 << 32, u64::from(u32::MAX)];
    for _ in 0..600 {
        if !members.is_empty() {
            let member = members[random.below(members.len() as u64) as usize];
            let near = random.below(5).wrapping_sub(2);
            probes.extend([member, member.wrapping_add(near), member ^ 1 << random.below(64)]);
        }
        probes.push(random.next() >> random.below(40));
    }
    probes
}

#[test]
fn every_answer_agrees_with_a_plain_set() {
    for seed in 0..60 {
        let values = random_set(seed);
        let mut random = Random(seed ^ 0xabcd);
        let view = View::open(written(&values)).unwrap();
        let model: RoaringTreemap = values.iter().copied().collect();
        assert_eq!(view.len(), model.len(), "seed {seed}");
        assert_eq!(view.is_empty(), values.is_empty(), "seed {seed}");
        assert!(values_of(&view).into_iter().eq(values.iter().copied()), "seed {seed}");

        let probes = probes(&values, &mut random);
        let keys: Vec<SubscriberKey> = probes.iter().map(|&probe| key(probe)).collect();
        let mut found = vec![false; keys.len()];
        let mut positions = vec![None; keys.len()];
        view.contains_batch(&keys, &mut found);
        view.positions_batch(&keys, &mut positions);
        for (index, &probe) in probes.iter().enumerate() {
            let member = model.contains(probe);
            let below = model.rank(probe) - u64::from(member);
            assert_eq!(view.contains(key(probe)), member, "seed {seed}, probe {index}");
            assert_eq!(found[index], member, "seed {seed}, probe {index}");
            assert_eq!(view.rank(key(probe)), below, "seed {seed}, probe {index}");
            let position = member.then_some(below);
            assert_eq!(view.position(key(probe)), position, "seed {seed}, probe {index}");
            assert_eq!(positions[index], position, "seed {seed}, probe {index}");
            if let Some(position) = position {
                assert_eq!(view.select(position), Some(key(probe)), "seed {seed}, probe {index}");
            }
        }
        assert_eq!(view.select(view.len()), None);
        assert_eq!(view.select(u64::MAX), None);
    }
}

#[test]
fn ranges_agree_with_a_plain_set() {
    for seed in 0..40 {
        let values = random_set(seed);
        let mut random = Random(seed ^ 0x77);
        let view = View::open(written(&values)).unwrap();
        let probes = probes(&values, &mut random);
        for pair in probes.chunks_exact(2).take(60) {
            let (from, to) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            let range = view.range(key(from)..key(to));
            assert_eq!(range.size_hint().1, Some(range.clone().count()), "seed {seed}");
            assert!(
                range.map(SubscriberKey::get).eq(values.range(from..to).copied()),
                "seed {seed}"
            );
            let closed = view.range(key(from)..=key(to)).map(SubscriberKey::get);
            assert!(closed.eq(values.range(from..=to).copied()), "seed {seed}");
            if to > from {
                assert_eq!(view.range(key(to)..key(from)).count(), 0, "seed {seed}");
            }
        }
        assert_eq!(view.range(..=key(u64::MAX)).count(), values.len(), "seed {seed}");
        let none = (std::ops::Bound::Excluded(key(u64::MAX)), std::ops::Bound::Unbounded);
        assert_eq!(view.range(none).count(), 0, "seed {seed}");
    }
}

#[test]
fn other_libraries_read_what_is_written_here() {
    for seed in 0..60 {
        let values = random_set(seed);
        let bytes = written(&values);
        assert!(read_by_roaring(&bytes).iter().eq(values.iter().copied()), "seed {seed}");
        let read = Bitmap64::try_deserialize::<Portable>(&bytes).unwrap();
        assert!(read.internal_validate().is_ok(), "seed {seed}");
        assert!(read.iter().eq(values.iter().copied()), "seed {seed}");
    }
}

#[test]
fn what_other_libraries_write_is_read_here() {
    for seed in 0..60 {
        let values = random_set(seed);
        for optimize in [false, true] {
            for bytes in
                [written_by_roaring(&values, optimize), written_by_croaring(&values, optimize)]
            {
                let view = View::open(&bytes).unwrap();
                assert!(values_of(&view).into_iter().eq(values.iter().copied()), "seed {seed}");
            }
        }
    }
}

#[test]
fn no_other_library_writes_a_smaller_file() {
    for seed in 0..60 {
        let values = random_set(seed);
        let bytes = written(&values).len();
        assert!(bytes <= written_by_roaring(&values, true).len(), "seed {seed}");
        assert!(bytes <= written_by_croaring(&values, true).len(), "seed {seed}");
        assert!(bytes <= written_by_croaring(&values, false).len(), "seed {seed}");
    }
}

fn random_changes(values: &BTreeSet<u64>, random: &mut Random) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let keep = random.below(600);
    for probe in probes(values, random).into_iter().skip(keep as usize * 4) {
        changes.push(Change { key: key(probe), present: random.below(2) == 0 });
    }
    // Whole containers go: the buckets they leave empty have to go as well.
    if let Some(&first) = values.iter().next() {
        let container = values.range(first & !0xffff..=first | 0xffff);
        changes.extend(container.map(|&value| Change { key: key(value), present: false }));
    }
    changes.sort_by_key(|change| change.key);
    changes.dedup_by_key(|change| change.key);
    changes
}

fn assert_merged(old: &[u8], values: &BTreeSet<u64>, changes: &[Change], seed: u64) {
    let mut expected = values.clone();
    let (mut added, mut removed) = (0, 0);
    for change in changes {
        if change.present {
            added += u64::from(expected.insert(change.key.get()));
        } else {
            removed += u64::from(expected.remove(&change.key.get()));
        }
    }
    let mut merged = Vec::new();
    let summary = merge(&View::open(old).unwrap(), changes, &mut merged).unwrap();
    assert_eq!(summary.bytes, merged.len() as u64, "seed {seed}");
    assert_eq!(summary.len, expected.len() as u64, "seed {seed}");
    assert_eq!((summary.added, summary.removed), (added, removed), "seed {seed}");
    let view = View::open(&merged).unwrap();
    assert!(values_of(&view).into_iter().eq(expected.iter().copied()), "seed {seed}");
    assert!(read_by_roaring(&merged).iter().eq(expected.iter().copied()), "seed {seed}");
}

#[test]
fn merging_agrees_with_changing_a_plain_set() {
    for seed in 0..60 {
        let values = random_set(seed);
        let mut random = Random(seed ^ 0x1234);
        let changes = random_changes(&values, &mut random);
        assert_merged(&written(&values), &values, &changes, seed);
        assert_merged(&written_by_croaring(&values, false), &values, &changes, seed);
        assert_merged(&written_by_roaring(&values, true), &values, &changes, seed);
        assert_merged(&written(&values), &values, &[], seed);
    }
}

#[test]
fn merging_no_changes_copies_the_file() {
    let bytes = written(&random_set(3));
    let mut merged = Vec::new();
    merge(&View::open(&bytes).unwrap(), &[], &mut merged).unwrap();
    assert!(merged == bytes);
}

#[test]
fn merging_into_nothing_writes_what_the_writer_writes() {
    let values = random_set(11);
    let changes: Vec<Change> =
        values.iter().map(|&value| Change { key: key(value), present: true }).collect();
    let mut merged = Vec::new();
    let summary = merge(&View::empty(), &changes, &mut merged).unwrap();
    assert_eq!(summary.added, values.len() as u64);
    assert!(merged == written(&values));

    let gone: Vec<Change> = changes.iter().map(|c| Change { present: false, ..*c }).collect();
    let mut empty = Vec::new();
    let summary = merge(&View::open(merged).unwrap(), &gone, &mut empty).unwrap();
    assert_eq!((summary.len, summary.removed), (0, values.len() as u64));
    assert_eq!(empty, [0; 8]);
    assert!(View::open(empty).unwrap().is_empty());
}

#[test]
fn unsorted_input_is_refused_before_anything_is_written() {
    for values in [vec![5, 5], vec![1, 2, 1], vec![1 << 40, 7]] {
        let mut out = Vec::new();
        let keys = || values.iter().map(|&value| key(value));
        let error = write_sorted(&mut out, keys).unwrap_err();
        let last = values.len() as u64 - 1;
        assert!(matches!(error, SnapshotError::NotAscending { index } if index == last));
        let changes: Vec<Change> = keys().map(|key| Change { key, present: true }).collect();
        let error = merge(&View::empty(), &changes, &mut out).unwrap_err();
        assert!(matches!(error, SnapshotError::NotAscending { index } if index == last));
        assert!(out.is_empty());
    }
}

#[test]
fn source_that_changes_between_readings_is_refused() {
    for second in [vec![1, 2], vec![1, 2, 3, 4], vec![1, 2, 9], vec![1, 3, 2], vec![1 << 20]] {
        let readings = std::cell::Cell::new(0);
        let error = write_sorted(&mut Vec::new(), || {
            readings.set(readings.get() + 1);
            let values = if readings.get() == 1 { vec![1, 2, 3] } else { second.clone() };
            values.into_iter().map(key)
        });
        assert!(matches!(error, Err(SnapshotError::SourceChanged { .. })), "{second:?}");
    }
}

#[test]
fn refused_output_is_an_error() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(std::io::Error::other("full")) } else { Ok(taken) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let values = random_set(5);
    let bytes = written(&values);
    for room in [0, 7, 100, bytes.len() - 1] {
        let keys = || values.iter().map(|&value| key(value));
        let error = write_sorted(&mut Full(room), keys);
        assert!(matches!(error, Err(SnapshotError::Write { .. })), "room for {room}");
        let error = merge(&View::open(&bytes).unwrap(), &[], &mut Full(room));
        assert!(matches!(error, Err(SnapshotError::Write { .. })), "room for {room}");
    }
}

// Files that the format's authors publish for testing: see data/roaring/README.md.

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/data/roaring/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn one_bucket(bucket: u32, bitmap: &[u8]) -> Vec<u8> {
    let mut bytes = 1u64.to_le_bytes().to_vec();
    bytes.extend(bucket.to_le_bytes());
    bytes.extend(bitmap);
    bytes
}

#[test]
fn published_64_bit_file_is_read() {
    let mut expected = BTreeSet::new();
    for base in [0u64, 1 << 32] {
        expected.extend(base..=base + 0x9000);
        expected.extend(base + 0xa000..=base + 0x1_0000);
        expected.extend([base + 0x2_0000, base + 0x2_0005]);
        expected.extend((0x8_0000..0x9_0000).step_by(2).map(|value| base + value));
    }
    let bytes = data("portable_bitmap64.bin");
    assert_eq!((bytes.len(), expected.len()), (16_506, 188_424));
    let view = View::open(&bytes).unwrap();
    assert!(values_of(&view).into_iter().eq(expected.iter().copied()));
    assert!(written(&expected) == bytes, "and written byte for byte");
}

#[test]
fn published_32_bit_files_are_read() {
    let mut expected: BTreeSet<u64> = (0..100_000).step_by(1000).collect();
    expected.extend((100_000..200_000).map(|k| 3 * k));
    expected.extend(700_000..800_000);
    for (name, bytes) in [("bitmapwithruns.bin", 48_056), ("bitmapwithoutruns.bin", 72_616)] {
        let bitmap = data(name);
        assert_eq!(bitmap.len(), bytes);
        let view = View::open(one_bucket(7, &bitmap)).unwrap();
        assert_eq!(view.len(), 200_100);
        let values = expected.iter().map(|value| 7 << 32 | value);
        assert!(values_of(&view).into_iter().eq(values), "{name}");
    }
}

#[test]
fn published_description_gives_the_published_size() {
    let mut values: BTreeSet<u64> = (0..65_536).step_by(2).collect();
    values.extend((1 << 32)..(1 << 32) + 1_000_000);
    values.insert(1 << 48);
    assert_eq!(values.len(), 1_032_769);
    let bytes = written(&values);
    assert_eq!(bytes.len(), 8_476);
    assert_eq!(bytes[8220..8224], 1u32.to_le_bytes(), "where the second bucket is said to be");
    assert_eq!(bytes[8454..8458], 65_536u32.to_le_bytes(), "where the third is said to be");
    assert!(bytes == written_by_croaring(&values, true));
}

// Edges of the format.

#[test]
fn offset_table_comes_and_goes_with_runs_and_containers() {
    for containers in 1..=9u64 {
        for runs in [false, true] {
            let mut values: BTreeSet<u64> = (0..containers).map(|index| index << 16).collect();
            if runs {
                values.extend(10..40);
            }
            let bytes = written(&values);
            let table = if runs && containers < 4 { 0 } else { 4 * containers };
            let flags = if runs { containers.div_ceil(8) } else { 4 };
            let body = if runs { 2 * (containers - 1) + 10 } else { 2 * containers };
            assert_eq!(bytes.len() as u64, 16 + flags + 4 * containers + table + body);
            assert!(bytes == written_by_croaring(&values, true));
            assert_eq!(values_of(&View::open(bytes).unwrap()).len(), values.len());
        }
    }
}

#[test]
fn runs_that_touch_are_read_and_written_anew() {
    let mut bitmap = (12347u32).to_le_bytes().to_vec();
    bitmap.push(1);
    bitmap.extend([0, 0, 9, 0]);
    bitmap.extend([2, 0, 11, 0, 4, 0, 16, 0, 4, 0]);
    let old = one_bucket(0, &bitmap);
    let view = View::open(&old).unwrap();
    assert!(values_of(&view).into_iter().eq(11..=20));
    assert_eq!(view.position(key(16)), Some(5));
    let mut merged = Vec::new();
    merge(&view, &[], &mut merged).unwrap();
    assert!(merged == written(&(11..=20).collect()));
    assert_eq!(read_by_roaring(&merged).len(), 10);
}

#[test]
fn runs_where_an_array_would_be_smaller_are_written_anew() {
    let mut bitmap = (12347u32).to_le_bytes().to_vec();
    bitmap.push(1);
    bitmap.extend([0, 0, 1, 0]);
    bitmap.extend([2, 0, 11, 0, 0, 0, 16, 0, 0, 0]);
    let old = one_bucket(0, &bitmap);
    let mut merged = Vec::new();
    merge(&View::open(&old).unwrap(), &[], &mut merged).unwrap();
    assert!(merged == written(&BTreeSet::from([11, 16])));
}

#[test]
fn damage_is_named_with_its_place() {
    let damage = |bytes: &[u8]| match View::open(bytes).unwrap_err() {
        SnapshotError::Damaged { offset, damage } => (offset, damage),
        other => panic!("{other}"),
    };
    let good = written(&BTreeSet::from([1, 5, 1 << 16]));
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(matches!(damage(&change(12, 0)), (12, Damage::Cookie { .. })));
    assert!(matches!(damage(&change(16, 0)), (16, Damage::ContainerCount { got: 0 })));
    assert!(matches!(damage(&change(24, 0)), (24, Damage::ContainerOrder)));
    assert!(matches!(
        damage(&change(28, 33)),
        (28, Damage::ContainerOffset { expected: 24, got: 33 })
    ));
    assert!(matches!(damage(&change(38, 1)), (38, Damage::ArrayOrder)));
    let mut long = good.clone();
    long.push(0);
    assert_eq!(damage(&long), (good.len() as u64, Damage::Trailing { count: 1 }));

    // The same bucket twice, and buckets in the wrong order: other readers lose members here.
    for keys in [[4u32, 4], [5, 4]] {
        let bucket = &good[12..];
        let mut bytes = 2u64.to_le_bytes().to_vec();
        for key in keys {
            bytes.extend(key.to_le_bytes());
            bytes.extend(bucket);
        }
        assert_eq!(damage(&bytes), (12 + bucket.len() as u64, Damage::BucketOrder));
    }
    let text = View::open(&good[..30]).unwrap_err().to_string();
    assert!(text.contains("at byte 28") && text.contains("older generation"), "{text}");
}

// Bytes from anywhere: an error, or exactly the set that the bytes hold.

/// A few kilobytes with all shapes, several buckets, with and without offsets.
fn small_files() -> Vec<Vec<u8>> {
    let mut sparse = BTreeSet::from([3, 9, 70_000, 1 << 33, u64::MAX]);
    sparse.extend((0..40).map(|value| (7 << 32) + value * value * 31));
    sparse.extend((9 << 32) + 100..(9 << 32) + 200);
    let mut dense: BTreeSet<u64> = (0..9000).map(|value| value * 7).collect();
    dense.extend((1 << 17)..(1 << 17) + 3000);
    dense.extend((2 << 17)..(2 << 17) + 65_536);
    dense.extend((0..64).map(|value| (3 << 17) + value * 50));
    dense.extend((0..64).map(|value| (4 << 17) + value / 3 * 50 + value % 3));
    let mut files = vec![written(&BTreeSet::new())];
    for values in [&sparse, &dense] {
        files.push(written(values));
        files.push(written_by_croaring(values, false));
    }
    files
}

/// Opens, and when that works, demands that all answers agree with each other and with roaring.
fn open_or_refuse(bytes: &[u8], name: &str) -> bool {
    let Ok(view) = View::open(bytes) else { return false };
    let values = values_of(&view);
    assert_eq!(values.len() as u64, view.len(), "{name}");
    assert!(values.is_sorted_by(|a, b| a < b), "{name}");
    for index in (0..values.len()).step_by(1 + values.len() / 64) {
        assert_eq!(view.position(key(values[index])), Some(index as u64), "{name}");
        assert_eq!(view.select(index as u64), Some(key(values[index])), "{name}");
    }
    let mut rest = bytes;
    match RoaringTreemap::deserialize_from(&mut rest) {
        Ok(read) => assert!(rest.is_empty() && read.iter().eq(values), "{name}"),
        // The one thing that is accepted here and refused there.
        Err(_) => {
            let mut merged = Vec::new();
            merge(&view, &[], &mut merged).unwrap();
            assert!(read_by_roaring(&merged).iter().eq(values), "{name}");
        }
    }
    true
}

#[test]
fn every_cut_file_is_refused() {
    for (index, file) in small_files().iter().enumerate() {
        for length in 0..file.len() {
            assert!(View::open(&file[..length]).is_err(), "file {index} cut to {length}");
        }
        assert!(open_or_refuse(file, "whole"));
    }
}

#[test]
fn flipped_bits_are_refused_or_give_what_the_bytes_say() {
    for (index, file) in small_files().iter().enumerate() {
        let mut bytes = file.clone();
        // Every bit of headers and lists; the inside of bitmaps is all alike.
        let step = if file.len() > 4096 { 5 } else { 1 };
        for at in (0..file.len().min(200)).chain((200..file.len()).step_by(step)) {
            for flip in [1, 0x10, 0x80, 0xff] {
                bytes[at] ^= flip;
                open_or_refuse(&bytes, &format!("file {index}, byte {at} ^ {flip:#x}"));
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn random_damage_is_refused_or_gives_what_the_bytes_say() {
    let files = small_files();
    for seed in 0..4000 {
        let mut random = Random(seed);
        let mut bytes = files[random.below(files.len() as u64) as usize].clone();
        for _ in 0..=random.below(3) {
            let length = bytes.len() as u64;
            let (at, other) = (random.below(length) as usize, random.below(length) as usize);
            match random.below(5) {
                0 => bytes[at] = random.next() as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.swap(at, other),
                3 => drop(bytes.drain(at.min(other)..at.max(other))),
                _ => bytes.splice(at..at, random.next().to_le_bytes()).for_each(drop),
            }
            if bytes.is_empty() {
                break;
            }
        }
        open_or_refuse(&bytes, &format!("seed {seed}"));
    }
}

#[test]
fn huge_claims_are_refused_at_once() {
    for count in [1, 2, 1 << 20, u64::from(u32::MAX), 1 << 40, u64::MAX] {
        assert!(View::open(count.to_le_bytes()).is_err());
        let mut bytes = count.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        for cookie in [12346, 12347, 0xffff_303b_u32] {
            let mut bytes = bytes.clone();
            bytes.extend(cookie.to_le_bytes());
            bytes.extend([0xff; 64]);
            assert!(View::open(bytes).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        open_or_refuse(&bytes, "random bytes");
    }

    #[test]
    fn any_bucket_is_refused_or_read(bytes in proptest::collection::vec(0u8..4, 0..60), runs: bool) {
        let cookie: u32 = if runs { 12347 | 1 << 16 } else { 12346 };
        let mut bitmap = cookie.to_le_bytes().to_vec();
        bitmap.extend(bytes);
        open_or_refuse(&one_bucket(0, &bitmap), "random bucket");
    }

    #[test]
    fn any_small_set_is_kept(values in proptest::collection::btree_set(0u64..400_000, 0..400)) {
        let view = View::open(written(&values)).unwrap();
        prop_assert!(values_of(&view).into_iter().eq(values.iter().copied()));
    }
}
