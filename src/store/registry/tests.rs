//! Layers against a model: every state of every layer as a plain set, kept for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::disk::{Disk, Faults, MemoryDisk};
use crate::event::{Action, Details, Source};
use crate::number::{Folding, Number};
use crate::snapshot::Change;
use crate::store::verify::verify_on;
use crate::store::{Moment, NewEvent, WriteError, Writer, init_on};

const DAY: i64 = 86_400_000;
const START: i64 = 1_700_000_000_000;
/// Keys of two containers, and some far away.
const KEYS: u64 = 400;

fn moment(day: i64) -> Timestamp {
    Timestamp::from_millis(START + day * DAY)
}

fn new_store() -> MemoryDisk {
    let disk = MemoryDisk::new();
    init_on(&disk, Folding { tier2: false }, moment(0)).unwrap();
    disk
}

fn writer(disk: &MemoryDisk) -> Writer {
    Writer::open_on(Arc::new(disk.clone())).unwrap()
}

fn reader(disk: &MemoryDisk) -> Reader {
    Reader::open_on(Arc::new(disk.clone())).unwrap()
}

fn key(index: u64) -> SubscriberKey {
    SubscriberKey::from_u64(index + (index / 100) * 65_000)
}

fn keys(indexes: impl IntoIterator<Item = u64>) -> SortedKeys {
    indexes.into_iter().map(key).collect()
}

fn update(name: &str, day: i64) -> RegistryUpdate {
    let update = RegistryUpdate::new(name.parse().unwrap(), moment(day));
    RegistryUpdate { max_age_days: Some(31), max_shrink_percent: 100, ..update }
}

fn import(
    writer: &Writer,
    name: &str,
    day: i64,
    members: std::ops::Range<u64>,
) -> Result<RegistryReport, WriteError> {
    let members = keys(members);
    writer.update_registry(&update(name, day), RegistryContents::List(&members), moment(day))
}

fn refusal(result: Result<RegistryReport, WriteError>) -> RegistryError {
    match result {
        Err(WriteError::Registry(error)) => error,
        other => panic!("{other:?} is no refusal"),
    }
}

fn an_event() -> NewEvent {
    NewEvent {
        address: Number::from_e164(573_000_000_001).unwrap().into(),
        linked: None,
        raw: String::new(),
        occurred_at: moment(0),
        details: Details::new(Action::OptOut, Source::Api),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// For each layer its states: since which day, and who is on it.
type Model = BTreeMap<String, Vec<(i64, Option<BTreeSet<u64>>)>>;

fn indexes_of(mut contains: impl FnMut(&[SubscriberKey], &mut [bool])) -> BTreeSet<u64> {
    let all: Vec<SubscriberKey> = (0..KEYS).map(key).collect();
    let mut found = vec![true; all.len()];
    contains(&all, &mut found);
    (0..KEYS).filter(|&index| found[index as usize]).collect()
}

fn check(model: &Model, reader: &Reader, up_to: i64, seed: u64) {
    let now: BTreeMap<String, BTreeSet<u64>> = model
        .iter()
        .filter_map(|(name, states)| Some((name.clone(), states.last()?.1.clone()?)))
        .collect();
    let got: BTreeMap<String, BTreeSet<u64>> = reader
        .registries()
        .unwrap()
        .iter()
        .map(|it| (it.name().to_owned(), indexes_of(|keys, found| it.contains_batch(keys, found))))
        .collect();
    assert_eq!(got, now, "seed {seed}");
    for registry in reader.registries().unwrap() {
        assert_eq!(registry.len(), now[registry.name()].len() as u64, "seed {seed}");
    }
    for day in 0..=up_to {
        let then: BTreeMap<String, BTreeSet<u64>> = model
            .iter()
            .filter_map(|(name, states)| {
                let state = states.iter().rev().find(|state| state.0 <= day)?;
                Some((name.clone(), state.1.clone()?))
            })
            .collect();
        let view = reader.at(Moment::Received(moment(day))).unwrap();
        let views = view.registries().unwrap();
        let got: BTreeMap<String, BTreeSet<u64>> = views
            .iter()
            .map(|it| {
                let members = indexes_of(|keys, found| it.contains_batch(keys, found));
                assert_eq!(members.len() as u64, it.len(), "seed {seed}, day {day}");
                assert!(members.iter().all(|&index| it.contains(key(index))), "seed {seed}");
                (it.name().to_owned(), members)
            })
            .collect();
        assert_eq!(got, then, "seed {seed}, day {day}");
    }
}

#[test]
fn lists_changes_and_drops_are_known_for_every_moment() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let disk = new_store();
        let mut writer = Some(writer(&disk));
        let mut reader = reader(&disk);
        let mut model = Model::new();
        for day in 1..25 {
            let open = writer.as_ref().unwrap();
            let name = ["us", "mx", "yes"][random.below(3) as usize].to_owned();
            let present = model.get(&name).and_then(|states| states.last()?.1.clone());
            match (random.below(8), present) {
                (0, Some(_)) => {
                    open.drop_registry(&name.parse().unwrap(), "gone", moment(day)).unwrap();
                    model.entry(name).or_default().push((day, None));
                }
                (1..3, Some(before)) => {
                    let changes: Vec<Change> = (0..KEYS)
                        .filter_map(|index| {
                            let changes = random.below(10) == 0;
                            let present = random.below(2) == 0;
                            changes.then_some(Change { key: key(index), present })
                        })
                        .collect();
                    let mut after = before.clone();
                    for index in 0..KEYS {
                        match changes.iter().find(|it| it.key == key(index)) {
                            Some(change) if change.present => after.insert(index),
                            Some(_) => after.remove(&index),
                            None => false,
                        };
                    }
                    let contents = RegistryContents::Changes(&changes);
                    let report =
                        open.update_registry(&update(&name, day), contents, moment(day)).unwrap();
                    assert_eq!(report.added, after.difference(&before).count() as u64);
                    assert_eq!(report.removed, before.difference(&after).count() as u64);
                    model.entry(name).or_default().push((day, Some(after)));
                }
                (3, Some(before)) => {
                    let same = keys(before.iter().copied());
                    let contents = RegistryContents::List(&same);
                    let report =
                        open.update_registry(&update(&name, day), contents, moment(day)).unwrap();
                    assert_eq!((report.added, report.removed), (0, 0));
                    model.entry(name).or_default().push((day, Some(before)));
                }
                (_, before) => {
                    let share = 1 + random.below(10);
                    let after: BTreeSet<u64> =
                        (0..KEYS).filter(|_| random.below(share) == 0).chain([7]).collect();
                    let members = keys(after.iter().rev().copied());
                    let contents = RegistryContents::List(&members);
                    let report =
                        open.update_registry(&update(&name, day), contents, moment(day)).unwrap();
                    let before = before.unwrap_or_default();
                    assert_eq!(report.count, after.len() as u64);
                    assert_eq!(report.added, after.difference(&before).count() as u64);
                    assert_eq!(report.removed, before.difference(&after).count() as u64);
                    model.entry(name).or_default().push((day, Some(after)));
                }
            }
            match random.below(6) {
                0 => drop(open.append(vec![an_event()], moment(day)).unwrap()),
                1 => drop(open.compact(moment(day)).unwrap()),
                2 => {
                    drop(writer.take());
                    writer = Some(self::writer(&disk));
                }
                _ => {}
            }
            reader.refresh().unwrap();
            check(&model, &reader, if day % 8 == 0 { day } else { 0 }, seed);
        }
        let after = disk.after_power_cut();
        check(&model, &self::reader(&after), 25, seed);
        assert!(verify_on(Arc::new(after)).unwrap().is_sound(), "seed {seed}");
        assert!(writer.is_some());
    }
}

#[test]
fn a_full_or_failing_disk_leaves_the_old_list_or_the_new_one() {
    let files = |disk: &MemoryDisk| {
        let names = disk.list().unwrap();
        names.iter().filter(|name| name.starts_with("registry-")).count()
    };
    let mut outcomes = BTreeSet::new();
    for fault in 0..60 {
        let disk = new_store();
        import(&writer(&disk), "us", 1, 0..100).unwrap();
        let used: usize =
            disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len()).sum();
        let writer = writer(&disk);
        disk.set_faults(match fault < 30 {
            true => Faults { capacity: Some(used + 60 * fault), ..Faults::default() },
            false => Faults { syncs_left: Some(fault - 30), ..Faults::default() },
        });
        let result = import(&writer, "us", 2, 50..200);
        drop(writer);
        disk.set_faults(Faults::default());
        for disk in [disk.after_power_cut(), disk] {
            let reader = reader(&disk);
            let members = |reader: &Reader| {
                let registry = &reader.registries().unwrap()[0];
                indexes_of(|keys, found| registry.contains_batch(keys, found))
            };
            let earlier = members(&reader.at(Moment::Received(moment(1))).unwrap());
            let members = members(&reader);
            let is_new = members == (50..200).collect();
            assert!(is_new || members == (0..100).collect(), "fault {fault}");
            assert!(is_new || result.is_err(), "fault {fault}: acknowledged, but not there");
            assert_eq!(earlier, (0..100).collect(), "fault {fault}");
            // The next writer takes away what is left of the attempt.
            drop(self::writer(&disk));
            assert_eq!(files(&disk), if is_new { 2 } else { 1 }, "fault {fault}");
            assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "fault {fault}");
            outcomes.insert((is_new, result.is_ok()));
        }
    }
    assert!(outcomes.contains(&(true, true)) && outcomes.contains(&(false, false)));
}

#[test]
fn a_list_that_shrank_too_much_is_refused_and_nothing_changes() {
    let disk = new_store();
    let writer = writer(&disk);
    import(&writer, "us", 1, 0..100).unwrap();
    let before = disk.list().unwrap();
    let shrink = |to: u64, percent: u8| {
        let update = RegistryUpdate { max_shrink_percent: percent, ..update("us", 2) };
        let members = keys(0..to);
        writer.update_registry(&update, RegistryContents::List(&members), moment(2))
    };
    assert!(matches!(
        refusal(shrink(89, 10)),
        RegistryError::Shrunk { before: 100, after: 89, max_shrink_percent: 10, .. }
    ));
    let removals: Vec<Change> =
        (0..11).map(|index| Change { key: key(index), present: false }).collect();
    let update = RegistryUpdate { max_shrink_percent: 10, ..update("us", 2) };
    let contents = RegistryContents::Changes(&removals);
    let refused = refusal(writer.update_registry(&update, contents, moment(2)));
    assert!(matches!(refused, RegistryError::Shrunk { after: 89, .. }));
    assert!(!refused.is_usage());
    assert_eq!(disk.list().unwrap(), before);
    assert_eq!(shrink(90, 10).unwrap().removed, 10);
    assert_eq!(shrink(0, 100).unwrap().count, 0);
}

#[test]
fn lists_without_reason_or_out_of_time_are_refused() {
    let disk = new_store();
    let writer = writer(&disk);
    let (some, none) = (keys(0..9), keys([]));
    let update_on = |update: &RegistryUpdate, keys: &SortedKeys, day| {
        writer.update_registry(update, RegistryContents::List(keys), moment(day))
    };
    let ageless = RegistryUpdate { max_age_days: None, ..update("us", 5) };
    assert!(matches!(refusal(update_on(&ageless, &some, 5)), RegistryError::NoMaxAge { .. }));
    assert!(matches!(
        refusal(update_on(&update("us", 5), &some, 4)),
        RegistryError::InFuture { .. }
    ));
    assert!(matches!(refusal(update_on(&update("us", 5), &none, 5)), RegistryError::Empty { .. }));
    let channel = RegistryUpdate { channel: Some("smoke".to_owned()), ..update("us", 5) };
    assert!(matches!(refusal(update_on(&channel, &some, 5)), RegistryError::Channel(_)));
    let changes =
        writer.update_registry(&update("us", 5), RegistryContents::Changes(&[]), moment(5));
    assert!(matches!(refusal(changes), RegistryError::Unknown { .. }));
    assert!(writer.drop_registry(&"us".parse().unwrap(), "", moment(5)).is_err());
    assert!(reader(&disk).registries().unwrap().is_empty());

    update_on(&update("us", 5), &some, 6).unwrap();
    assert!(matches!(refusal(update_on(&update("us", 4), &some, 7)), RegistryError::Older { .. }));
    let older = RegistryUpdate { allow_older: true, ..update("us", 4) };
    update_on(&older, &some, 7).unwrap();
    let kind = RegistryUpdate { kind: Some(RegistryKind::Consent), ..update("us", 5) };
    assert!(matches!(refusal(update_on(&kind, &some, 7)), RegistryError::OtherKind { .. }));
    let consent = RegistryUpdate { name: "yes".parse().unwrap(), max_age_days: None, ..kind };
    update_on(&consent, &some, 7).unwrap();
    // What is not given stays as it was.
    let report = update_on(&RegistryUpdate { max_age_days: None, ..update("us", 6) }, &some, 7);
    assert_eq!(report.unwrap().max_age_days, Some(31));
    for name in ["", "US", "a b", "a/b", "é", &"x".repeat(41)] {
        assert!(matches!(name.parse::<RegistryName>(), Err(RegistryError::Name { .. })), "{name}");
    }
}

#[test]
fn a_layer_is_stale_past_its_age_and_when_the_clock_makes_no_sense() {
    let disk = new_store();
    import(&writer(&disk), "us", 10, 0..9).unwrap();
    let registry = reader(&disk).registries().unwrap()[0].clone();
    for (day, is_stale) in [(10, false), (41, false), (42, true), (9, false), (8, true)] {
        assert_eq!(registry.is_stale(moment(day)), is_stale, "day {day}");
    }
}

#[test]
fn a_damaged_or_missing_list_is_refused_by_name() {
    let disk = new_store();
    import(&writer(&disk), "us", 1, 0..100).unwrap();
    import(&writer(&disk), "us", 2, 50..200).unwrap();
    let names: Vec<String> =
        disk.list().unwrap().into_iter().filter(|it| it.starts_with("registry-")).collect();
    assert_eq!(names.len(), 2);
    let sets: Vec<_> = names.iter().map(|name| (name, disk.bytes(name).unwrap())).collect();
    for (name, bytes) in &sets {
        let is_present = reader(&disk).inner_name_for_tests() == **name;
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            disk.put(name, flipped);
            let opened = Reader::open_on(Arc::new(disk.clone()));
            if is_present {
                assert!(matches!(opened, Err(StoreError::Damaged { .. })), "byte {place}");
            } else {
                // A change is looked at when somebody asks for the time before it.
                let at = opened.unwrap().at(Moment::Received(moment(1)));
                assert!(matches!(at, Err(StoreError::Damaged { .. })), "byte {place}");
            }
            assert!(!verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "byte {place}");
        }
        disk.remove(name).unwrap();
        let opened = Reader::open_on(Arc::new(disk.clone()));
        let answer = opened.and_then(|reader| reader.at(Moment::Received(moment(1))));
        assert!(matches!(answer, Err(StoreError::FileMissing { .. })));
        assert!(!verify_on(Arc::new(disk.clone())).unwrap().is_sound());
        disk.put(name, bytes.clone());
    }
    assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
}

#[test]
fn a_manifest_that_says_nonsense_of_layers_is_damaged() {
    let disk = new_store();
    import(&writer(&disk), "us", 1, 0..100).unwrap();
    import(&writer(&disk), "mx", 1, 0..100).unwrap();
    let text = String::from_utf8(disk.bytes("MANIFEST").unwrap()).unwrap();
    let body = &text[..text.rfind("xxh3:").unwrap()];
    for (from, to) in [
        ("\"name\": \"us\"", "\"name\": \"mx\""),
        ("\"name\": \"us\"", "\"name\": \"US\""),
        ("\"state\": \"listed\"", "\"state\": \"lost\""),
        ("\"channel\": \"\"", "\"channel\": \"smoke\""),
        ("registry-0000000001", "suppressed-0000000001"),
        ("\"as_of\": \"2023", "\"as_of\": \"soon"),
    ] {
        assert!(body.contains(from), "{from}");
        let body = body.replace(from, to);
        let checksum = crate::journal::hex(xxhash_rust::xxh3::xxh3_64(body.as_bytes()));
        disk.put("MANIFEST", format!("{body}xxh3:{checksum}\n").into_bytes());
        let opened = Reader::open_on(Arc::new(disk.clone()));
        assert!(matches!(opened, Err(StoreError::Damaged { .. })), "{to}");
        assert!(!verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{to}");
    }
}

#[test]
fn a_clock_set_back_does_not_reorder_what_was_known() {
    let disk = new_store();
    let writer = writer(&disk);
    import(&writer, "us", 9, 0..10).unwrap();
    let back = RegistryUpdate { allow_older: true, ..update("us", 3) };
    let members = keys(0..20);
    let contents = RegistryContents::List(&members);
    let report = writer.update_registry(&back, contents, moment(4)).unwrap();
    assert_eq!(report.received_at, moment(9));
    let reader = reader(&disk);
    let at = |day| reader.at(Moment::Received(moment(day))).unwrap();
    assert!(at(8).registries().unwrap().is_empty());
    assert_eq!(at(9).registries().unwrap()[0].len(), 20);
}

#[test]
fn a_sequence_has_the_layers_that_were_there_before_the_next_event() {
    let disk = new_store();
    let writer = writer(&disk);
    let event_on = |day| writer.append(vec![an_event()], moment(day)).unwrap();
    import(&writer, "us", 1, 0..10).unwrap();
    event_on(2);
    import(&writer, "us", 3, 0..20).unwrap();
    event_on(4);
    writer.drop_registry(&"us".parse().unwrap(), "gone", moment(5)).unwrap();
    let reader = reader(&disk);
    let members = |sequence| -> Option<u64> {
        let view = reader.at(Moment::Sequence(sequence)).unwrap();
        view.registries().unwrap().first().map(Registry::len)
    };
    assert_eq!([0, 1, 2].map(members), [Some(10), Some(20), None]);
    let view = reader.at(Moment::Sequence(0)).unwrap();
    let layer = &view.registries().unwrap()[0];
    assert_eq!(indexes_of(|keys, found| layer.contains_batch(keys, found)), (0..10).collect());
}

#[test]
fn a_refresh_keeps_lists_open_that_are_the_same() {
    let disk = new_store();
    let writer = writer(&disk);
    import(&writer, "us", 1, 0..10).unwrap();
    let mut reader = reader(&disk);
    let before = reader.registries().unwrap()[0].whole_set().unwrap().clone();
    import(&writer, "mx", 2, 0..10).unwrap();
    writer.append(vec![an_event()], moment(2)).unwrap();
    assert_eq!(reader.refresh().unwrap(), 1);
    let registries = reader.registries().unwrap();
    assert_eq!(registries.iter().map(Registry::name).collect::<Vec<_>>(), ["mx", "us"]);
    assert!(Arc::ptr_eq(registries[1].whole_set().unwrap(), &before));
}

impl Reader {
    /// The file of the first layer's list.
    fn inner_name_for_tests(&self) -> String {
        self.registries[0].inner.version.file.name.clone()
    }
}
