//! A store that lists changes beside its sets against one that writes the sets anew each time.

use std::sync::Arc;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::disk::{Disk, Faults, MemoryDisk};
use crate::event::{Action, Details, Source};
use crate::journal::hex;
use crate::number::Address;
use crate::policy::{Context, Policy, Ruling};
use crate::store::core::Limits;
use crate::store::layout::{Entry, MANIFEST};
use crate::store::tests::{FOLDING, NOW, event, key, new_store, number, reader, writer};
use crate::store::verify::verify_on;
use crate::store::{Bulk, Erasure, Moment, NewEvent, Reader, Writer};

/// Lists changes whenever there are fewer than members of the sets.
fn listing() -> Limits {
    Limits { changes_max: u64::MAX, members_per_change: 1, ..Limits::default() }
}

fn id(index: u64) -> BusinessId {
    BusinessId::parse(format!("MX.ENT.77{index}").as_bytes()).unwrap()
}

/// Numbers, and at every third place an id.
fn address(index: u64) -> Address {
    match index % 3 {
        2 => Address::Id(id(index)),
        _ => Address::Number(number(index)),
    }
}

fn said(index: u64, action: Action, at: i64, brand: &str) -> NewEvent {
    let mut said = NewEvent { address: address(index), ..event(index, action, at) };
    said.details.brand = brand.to_owned();
    said
}

fn add(store: &Writer, indexes: impl Iterator<Item = u64>) {
    store.append(indexes.map(|index| said(index, Action::OptOut, 1, "")).collect(), NOW).unwrap();
}

fn changes_of(disk: &MemoryDisk) -> Option<ChangesInfo> {
    Manifest::read(disk).unwrap().changes
}

/// A store with sets of twelve, and beside them two who are new, one who came back, and one who
/// opted out of what a new profile says.
fn listed() -> (MemoryDisk, Writer, ChangesInfo) {
    let disk = new_store();
    let store = writer(&disk).with_limits(listing());
    add(&store, 0..12);
    store.compact(NOW).unwrap();
    assert_eq!(changes_of(&disk), None);
    add(&store, 12..15);
    let others = [said(3, Action::Resubscribe, 2, ""), said(7, Action::OptOut, 2, "acme")];
    for other in others {
        store.append(vec![other], NOW).unwrap();
    }
    assert_eq!(store.compact(NOW).unwrap().changes, 5);
    let info = changes_of(&disk).unwrap();
    (disk, store, info)
}

/// Everything that a reader says of a few subscribers.
fn told(reader: &Reader, people: u64) -> impl PartialEq + std::fmt::Debug + use<> {
    let lens = reader.lens(&Policy::default(), &Context::default()).unwrap();
    let of = |index: u64| {
        let key = reader.key_of(&address(index)).unwrap()?;
        let (mut found, mut ruling) = ([false], [Ruling::UNANSWERED]);
        reader.contains_batch(&[key], &mut found).unwrap();
        reader.judge_batch(&lens, &[key], &mut ruling).unwrap();
        let standing = reader.standing(key).unwrap();
        let stands = standing.map(|it| {
            let linked = reader.is_linked(&it).unwrap();
            (it.opted_out, it.head, it.since, it.since_at, linked)
        });
        let claims = reader.claims(key).unwrap();
        let history: Vec<u64> =
            reader.history(key).unwrap().iter().map(|event| event.sequence).collect();
        Some((key, found, ruling[0].may_send(), stands, claims, history))
    };
    (reader.len().unwrap(), reader.sequence(), (0..people).map(of).collect::<Vec<_>>())
}

const PEOPLE: u64 = 18;

/// One step in the life of both stores.
#[derive(Clone, Debug)]
enum Step {
    Said(u64, bool, i64, bool),
    Joined(u64, u64),
    Listed(Vec<u64>),
    Compacted,
    Reopened,
}

fn step() -> impl Strategy<Value = Step> {
    let index = || 0..PEOPLE;
    prop_oneof![
        6 => (index(), any::<bool>(), 0..9_i64, any::<bool>())
            .prop_map(|(index, stops, at, of_brand)| Step::Said(index, stops, at, of_brand)),
        1 => (index(), 0..PEOPLE / 3).prop_map(|(one, other)| Step::Joined(one, other * 3 + 2)),
        2 => prop::collection::vec(index(), 1..6).prop_map(Step::Listed),
        3 => Just(Step::Compacted),
        1 => Just(Step::Reopened),
    ]
}

fn take(store: &Writer, step: &Step) {
    match step {
        &Step::Said(index, stops, at, of_brand) => {
            let action = if stops { Action::OptOut } else { Action::Resubscribe };
            let brand = if of_brand { "acme" } else { "" };
            store.append(vec![said(index, action, at, brand)], NOW).unwrap();
        }
        &Step::Joined(one, other) if one != other => {
            let linked = Some(address(other));
            let link = NewEvent { linked, ..said(one, Action::Link, 1, "") };
            store.append(vec![link], NOW).unwrap();
        }
        Step::Listed(indexes) => {
            let mut bulk = Bulk::new();
            for &index in indexes {
                match address(index) {
                    Address::Number(number) => bulk.push(number, NOW, "x"),
                    Address::Id(id) => bulk.push_id(&id, NOW),
                }
            }
            let details = Details::new(Action::OptOut, Source::Import);
            store.append_bulk(&details, NOW, &mut bulk).unwrap();
        }
        Step::Compacted => drop(store.compact(NOW).unwrap()),
        Step::Joined(..) | Step::Reopened => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn listed_changes_say_the_same_as_sets_that_are_written_anew(
        steps in prop::collection::vec(step(), 0..40),
        changes_max in prop_oneof![Just(3), Just(8), Just(u64::MAX)],
        compact_after_events in prop_oneof![Just(3), Just(u64::MAX)],
    ) {
        let of_sets = Limits { changes_max: 0, ..Limits::default() };
        let beside =
            Limits { changes_max, compact_after_events, compact_seals_bytes: 1, ..listing() };
        let limits = [beside, of_sets];
        let disks = [new_store(), new_store()];
        let open = |place: usize| writer(&disks[place]).with_limits(limits[place]);
        let mut stores = [open(0), open(1)];
        stores.iter().for_each(|store| add(store, 0..PEOPLE / 2));
        let mut follower = reader(&disks[0]);
        for step in &steps {
            stores.iter().for_each(|store| take(store, step));
            if matches!(step, Step::Reopened) {
                drop(stores);
                stores = [open(0), open(1)];
            }
            if matches!(step, Step::Compacted | Step::Reopened) {
                let [beside, anew] = disks.each_ref().map(reader);
                prop_assert_eq!(told(&beside, PEOPLE), told(&anew, PEOPLE));
                follower.refresh().unwrap();
                prop_assert_eq!(told(&follower, PEOPLE), told(&anew, PEOPLE));
                for sequence in [anew.sequence() / 3, anew.sequence() / 3 * 2] {
                    let [beside, anew] =
                        [&beside, &anew].map(|it| it.at(Moment::Sequence(sequence)).unwrap());
                    prop_assert_eq!(told(&beside, PEOPLE), told(&anew, PEOPLE));
                }
                for disk in &disks {
                    let report = verify_on(Arc::new(disk.clone())).unwrap();
                    prop_assert!(report.is_sound(), "{:?}", report.damages);
                }
            }
        }
    }
}

#[test]
fn few_changes_leave_the_sets_as_they_are_and_many_do_not() {
    let disk = new_store();
    let limits = Limits { changes_max: 5, members_per_change: 4, ..listing() };
    let store = writer(&disk).with_limits(limits);
    add(&store, 0..16);
    let report = store.compact(NOW).unwrap();
    assert_eq!((report.generation, report.folded, report.changes), (1, 16, 0));
    let files = |of: fn(&Entry) -> bool| -> Vec<String> {
        let mut names = disk.list().unwrap();
        names.retain(|name| of(&Entry::of(name)));
        names.sort_unstable();
        names
    };
    let sets = || files(|it| matches!(it, Entry::Generation(_)));
    let changes = || files(|it| matches!(it, Entry::Changes(_)));
    let before = sets();
    for (indexes, generation, listed) in [(16..18, 2, 2), (17..20, 3, 4)] {
        add(&store, indexes);
        let report = store.compact(NOW).unwrap();
        assert_eq!((report.generation, report.changes), (generation, listed));
        assert_eq!(sets(), before);
        assert_eq!(changes(), [changes_name(generation)]);
        let again = store.compact(NOW).unwrap();
        assert_eq!((again.generation, again.folded, again.changes), (generation, 0, listed));
    }
    // A fifth would be one for less than four members.
    add(&store, 20..21);
    let report = store.compact(NOW).unwrap();
    assert_eq!((report.generation, report.changes, report.opted_out), (4, 0, 21));
    assert_eq!(changes(), [""; 0]);
    assert!(sets().iter().all(|name| Entry::of(name) == Entry::Generation(4)));
    // Of twenty-one the twentieth part are not too many.
    add(&store, 21..26);
    assert_eq!(store.compact(NOW).unwrap().changes, 5);
    add(&store, 26..27);
    assert_eq!(store.compact(NOW).unwrap().changes, 0);
    assert_eq!(reader(&disk).generation(), 6);
}

#[test]
fn a_reader_follows_from_changes_to_changes_to_sets() {
    let (disk, store, _) = listed();
    let sealing = Limits { compact_seals_bytes: 1, ..listing() };
    let store = store.with_limits(sealing);
    let mut follower = reader(&disk);
    for (indexes, generation, lists) in [(15..17, 3, true), (17..19, 4, true), (19..30, 5, false)] {
        add(&store, indexes);
        assert_eq!(store.compact(NOW).unwrap().changes > 0, lists);
        follower.refresh().unwrap();
        assert_eq!(follower.generation(), generation);
        assert_eq!(told(&follower, 32), told(&reader(&disk), 32));
        // What came since is taken in over them.
        add(&store, 30 + generation..31 + generation);
        assert_eq!(follower.refresh().unwrap(), 1);
        let key = follower.key_of(&address(30 + generation)).unwrap().unwrap();
        assert!(follower.contains(key).unwrap());
    }
}

/// Every sync fails once, then the power is cut there.
#[test]
fn a_listing_interrupted_anywhere_leaves_the_store_as_it_was_or_complete() {
    let mut completed = 0;
    for (syncs, seals) in (0..10).flat_map(|syncs| [(syncs, 1), (syncs, u64::MAX)]) {
        let (disk, store, _) = listed();
        let limits = Limits { compact_seals_bytes: seals, ..listing() };
        let store = store.with_limits(limits);
        add(&store, 15..18);
        let before = told(&reader(&disk), 32);
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let result = store.compact(NOW);
        completed += u64::from(result.is_ok());
        drop(store);
        for disk in [disk.clone(), disk.after_power_cut()] {
            disk.set_faults(Faults::default());
            let found = reader(&disk);
            assert_eq!(told(&found, 32), before, "{syncs} syncs");
            assert!(result.is_err() || found.generation() == 3, "{syncs} syncs");
            let store = writer(&disk).with_limits(limits);
            let left = disk.list().unwrap();
            let of_changes = |it: &&String| matches!(Entry::of(it), Entry::Changes(_));
            assert_eq!(left.iter().filter(of_changes).count(), 1, "{syncs} syncs");
            assert_eq!(store.compact(NOW).unwrap().generation, 3, "{syncs} syncs");
            assert_eq!(told(&reader(&disk), 32), before, "{syncs} syncs");
            assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "{syncs} syncs");
        }
    }
    assert!((2..18).contains(&completed), "{completed}");
}

#[test]
fn half_a_list_on_a_full_disk_is_removed_and_the_writer_goes_on() {
    let (disk, store, info) = listed();
    add(&store, 15..18);
    let names = || {
        let mut names = disk.list().unwrap();
        names.sort_unstable();
        names
    };
    let before = names();
    let used: usize = before.iter().map(|name| disk.bytes(name).unwrap().len()).sum();
    for room in (0..info.file.bytes as usize).step_by(53) {
        disk.set_faults(Faults { capacity: Some(used + room), ..Faults::default() });
        assert!(store.compact(NOW).is_err());
        assert_eq!(names(), before, "room {room}");
    }
    disk.set_faults(Faults::default());
    add(&store, 18..19);
    assert_eq!(store.compact(NOW).unwrap().changes, 9);
}

#[test]
fn changed_bytes_are_refused_by_name() {
    let (disk, store, info) = listed();
    drop(store);
    let name = &info.file.name;
    let whole = disk.bytes(name).unwrap();
    let flipped = (0..whole.len()).map(|byte| {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    for bytes in flipped.chain(cut).chain([[&whole[..], b"\0"].concat()]) {
        disk.put(name, bytes);
        match Reader::open_on(Arc::new(disk.clone())) {
            Err(StoreError::Damaged { file, .. }) => assert!(file.ends_with(name), "{file:?}"),
            other => panic!("{other:?}"),
        }
        let report = verify_on(Arc::new(disk.clone())).unwrap();
        assert!(report.damages.iter().any(|it| it.file.ends_with(name)));
    }
    disk.remove(name).unwrap();
    let missing = Reader::open_on(Arc::new(disk.clone()));
    assert!(matches!(missing, Err(StoreError::FileMissing { .. })), "{missing:?}");
    disk.put(name, whole);
    assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
}

/// As somebody would do it who makes the checksum right again.
#[test]
fn changed_bytes_with_right_checksums_are_refused_or_noticed_by_verify() {
    let (disk, store, info) = listed();
    drop(store);
    let manifest = Manifest::read(&disk).unwrap();
    let whole = disk.bytes(&info.file.name).unwrap();
    let publish = |bytes: Vec<u8>| {
        let mut hostile = manifest.clone();
        let file = &mut hostile.changes.as_mut().unwrap().file;
        (file.bytes, file.xxh3) = (bytes.len() as u64, hex(xxh3_64(&bytes)));
        disk.put(&file.name, bytes);
        hostile.publish(&disk).unwrap();
    };
    let mut refused = 0;
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        publish(bytes);
        refused += u64::from(Reader::open_on(Arc::new(disk.clone())).is_err());
        let report = verify_on(Arc::new(disk.clone())).unwrap();
        assert!(!report.is_sound(), "bit {bit}");
    }
    assert!(refused > 1000, "{refused}");
    for length in 0..whole.len() {
        publish(whole[..length].to_vec());
        assert!(Reader::open_on(Arc::new(disk.clone())).is_err(), "cut at {length}");
    }
    publish(whole);
    assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound());
}

#[test]
fn changes_of_another_store_generation_or_sequence_are_refused() {
    let (disk, store, info) = listed();
    drop(store);
    let manifest = Manifest::read(&disk).unwrap();
    let bytes = disk.bytes(&info.file.name).unwrap();
    assert!(Changes::decode(&bytes, &manifest, &info).is_ok());
    let others: [fn(&mut Manifest); 3] =
        [|it| it.store = format!("{:032x}", 7), |it| it.generation += 1, |it| it.sequence -= 1];
    for change in others {
        let mut other = manifest.clone();
        change(&mut other);
        assert!(Changes::decode(&bytes, &other, &info).is_err());
    }
    let other = ChangesInfo { base: info.base + 1, ..info.clone() };
    assert!(Changes::decode(&bytes, &manifest, &other).is_err());
    let other = ChangesInfo { count: info.count - 1, ..info };
    assert!(Changes::decode(&bytes, &manifest, &other).is_err());
}

#[test]
fn whoever_is_erased_leaves_the_changes_too() {
    let (disk, store, _) = listed();
    // Number and id that only the changes know, and one of each that the sets know.
    let addresses = [12, 14, 3, 2].map(address).to_vec();
    let erasure = Erasure { addresses: addresses.clone(), ..Erasure::default() };
    store.erase(&erasure, NOW).unwrap();
    assert_eq!(changes_of(&disk), None);
    for name in disk.list().unwrap() {
        assert!(!matches!(Entry::of(&name), Entry::Changes(_)), "{name}");
        let bytes = disk.bytes(&name).unwrap();
        for address in &addresses {
            let found =
                memchr::memmem::find(&bytes, address.to_string().replace('+', "").as_bytes());
            assert_eq!(found, None, "{name}");
        }
    }
    // Of somebody of whom nothing was known only the key is listed, and not as a number.
    let unknown = Erasure { addresses: vec![number(27).into()], ..Erasure::default() };
    store.erase(&unknown, NOW).unwrap();
    assert_eq!(store.compact(NOW).unwrap().changes, 1);
    assert_eq!(store.erase(&unknown, NOW).unwrap().people[0].events_dropped, 0);
    assert!(reader(&disk).contains(key(27)).unwrap());
    for address in &addresses {
        let key = reader(&disk).key_of(address).unwrap().unwrap();
        assert!(reader(&disk).contains(key).unwrap());
    }
    assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
}

#[test]
fn an_erasure_interrupted_anywhere_leaves_nobody_in_the_changes_who_can_be_sent_to() {
    let erased = [12, 14, 3];
    for syncs in 0..40 {
        let (disk, store, _) = listed();
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let addresses = erased.map(address).to_vec();
        let erasure = Erasure { addresses, ..Erasure::default() };
        let result = store.erase(&erasure, NOW);
        drop(store);
        for (disk, compacts) in [(disk.clone(), true), (disk.after_power_cut(), false)] {
            disk.set_faults(Faults::default());
            let before = reader(&disk);
            let is_held = |index| {
                let key = before.key_of(&address(index)).unwrap().unwrap();
                before.contains(key).unwrap()
            };
            // The third came back; from his tombstone on he is held too.
            assert!(is_held(12) && is_held(14), "{syncs} syncs");
            assert!(result.is_err() || is_held(3), "{syncs} syncs");
            assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{syncs} syncs");
            let store = writer(&disk).with_limits(listing());
            if compacts {
                store.compact(NOW).unwrap();
                assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{syncs} syncs");
            }
            store.erase(&erasure, NOW).unwrap();
            for name in disk.list().unwrap() {
                let bytes = disk.bytes(&name).unwrap();
                for index in erased {
                    let text = address(index).to_string().replace('+', "");
                    let found = memchr::memmem::find(&bytes, text.as_bytes());
                    assert_eq!(found, None, "{syncs} syncs, {name}");
                }
            }
            assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "{syncs} syncs");
        }
    }
}

/// Whoever is asked often has made a filter of the changes: it must not outlive them.
#[test]
fn whoever_comes_after_many_questions_is_found_like_everybody_before() {
    let (disk, store, _) = listed();
    let mut reader = reader(&disk);
    let lens = reader.lens(&Policy::default(), &Context::default()).unwrap();
    let keys: Vec<SubscriberKey> = (0..70_000).map(key).collect();
    let opted_out = |index: usize, more: usize| index < 15 + more && index % 3 != 2 && index != 3;
    for more in 0..4 {
        for _ in 0..2 {
            let mut found = vec![false; keys.len()];
            reader.contains_batch(&keys, &mut found).unwrap();
            let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
            reader.judge_batch(&lens, &keys, &mut rulings).unwrap();
            for index in 0..keys.len() {
                assert_eq!(found[index], opted_out(index, more), "{more} more, {index}");
                assert_eq!(rulings[index].may_send(), !opted_out(index, more), "{more}, {index}");
            }
        }
        // A clone that goes on by itself has filters of its own.
        let mut clone = reader.clone();
        add(&store, 15 + more as u64..16 + more as u64);
        assert_eq!((clone.refresh().unwrap(), reader.refresh().unwrap()), (1, 1));
        let mut found = vec![false; keys.len()];
        clone.contains_batch(&keys, &mut found).unwrap();
        assert_eq!(found[15 + more], opted_out(15 + more, more + 1));
    }
}

#[test]
fn a_store_of_the_format_before_is_opened_and_goes_on() {
    let disk = new_store();
    let store = writer(&disk).with_limits(listing());
    add(&store, 0..8);
    store.compact(NOW).unwrap();
    drop(store);
    let text = String::from_utf8(disk.bytes(MANIFEST).unwrap()).unwrap();
    let body = text[..text.rfind("xxh3:").unwrap()]
        .replace("\"format\": 3", "\"format\": 2")
        .replace("  \"changes\": null,\n", "");
    disk.put(MANIFEST, format!("{body}xxh3:{}\n", hex(xxh3_64(body.as_bytes()))).into_bytes());
    let before = told(&reader(&disk), 9);
    let store = writer(&disk).with_limits(listing());
    assert_eq!(told(&reader(&disk), 9), before);
    add(&store, 8..9);
    assert_eq!(store.compact(NOW).unwrap().changes, 1);
    assert_eq!(reader(&disk).len().unwrap(), 9);
    assert_eq!(reader(&disk).folding(), FOLDING);
}
