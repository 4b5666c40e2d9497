//! Whoever is erased stands nowhere any more, and stays suppressed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::super::core::Limits;
use super::super::manifest::Manifest;
use super::super::tests::{FOLDING, NOW, bulk_of, event, key, new_store, number, reader, writer};
use super::super::verify::verify_on;
use super::super::{Moment, NewEvent, Outcome, Reader, WriteError, Writer, init, verify};
use super::*;
use crate::disk::{Faults, MemoryDisk};
use crate::event::Category;
use crate::number::{BusinessId, Number, fold};
use crate::policy::{Context, Decision, Policy, Ruling};

fn request(indexes: &[u64]) -> Erasure {
    let addresses = indexes.iter().map(|&index| number(index).into()).collect();
    Erasure { addresses, operator: "anna".to_owned(), reason: "case 17".to_owned() }
}

/// Every way in which the digits of a number could stand in a file, looked for by hand.
fn places_of(number: u64, name: &str, bytes: &[u8]) -> Vec<String> {
    let digits = number.to_string();
    let spaced = |every: usize| {
        let groups: Vec<&str> = (0..digits.len())
            .step_by(every)
            .map(|at| &digits[at..(at + every).min(digits.len())])
            .collect();
        groups.join(" ").into_bytes()
    };
    let mut zigzag = Vec::new();
    let mut rest = number << 1;
    while rest >= 0x80 {
        zigzag.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    zigzag.push(rest as u8);
    let mut varint = Vec::new();
    let mut rest = number;
    while rest >= 0x80 {
        varint.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    varint.push(rest as u8);
    let forms = [
        digits.as_bytes()[2..].to_vec(),
        spaced(2),
        spaced(3),
        format!("+{} {}", &digits[..2], &digits[2..]).into_bytes(),
        format!("{number:x}").into_bytes(),
        number.to_le_bytes().to_vec(),
        number.swap_bytes().to_le_bytes().to_vec(),
        zigzag,
        varint,
    ];
    let found = forms.iter().filter_map(|form| Some((memchr::memmem::find(bytes, form)?, form)));
    found.map(|(at, form)| format!("{name} at {at}: {form:x?}")).collect()
}

fn places_in_memory(disk: &MemoryDisk, index: u64) -> Vec<String> {
    let names = disk.list().unwrap();
    let found =
        |name: &String| places_of(number(index).get(), name, &disk.bytes(name).unwrap_or_default());
    names.iter().flat_map(found).collect()
}

fn places_in_folder(folder: &Path, index: u64) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        found.extend(places_of(number(index).get(), &name, &std::fs::read(&path).unwrap()));
    }
    found
}

fn rulings(reader: &Reader, index: u64) -> Vec<Decision> {
    let of = |category: &Category| {
        let context = Context { category: *category, ..Context::default() };
        let lens = reader.lens(&Policy::default(), &context).unwrap();
        let mut rulings = [Ruling::UNLISTED];
        reader.judge_batch(&lens, &[key(index)], &mut rulings).unwrap();
        rulings[0].decision
    };
    Category::ALL.iter().map(of).collect()
}

#[track_caller]
fn assert_erased(reader: &Reader, index: u64) {
    let history = reader.history(key(index)).unwrap();
    assert!(!history.is_empty() && history.iter().all(|it| it.is_tombstone()), "{history:?}");
    assert!(history.iter().all(|it| it.raw.is_empty() && it.details.campaign.is_empty()));
    assert_eq!(history[0].details.ground, Ground::Erasure);
    assert_eq!(history[0].previous, 0);
    assert!(reader.contains(key(index)).unwrap());
    assert_eq!(rulings(reader, index), [Decision::Suppressed; 3]);
}

/// Far apart, so that no difference between two of them looks like a third.
fn index(place: u64) -> u64 {
    place * place * 1_234_577 % 999_999_937
}

/// Histories of all kinds: lists, single events, message ids, notes, spellings; many segments.
fn fill(store: &Writer) {
    for round in 0..4 {
        let rows: Vec<(u64, i64)> = (1..60).map(|it| (index(it), round)).collect();
        let details = Details::new(Action::OptOut, Source::Import);
        store.append_bulk(&details, NOW, &mut bulk_of(&rows)).unwrap();
        for place in 1..20 {
            let mut said = event(index(place), Action::OptOut, 10 + round);
            let digits = number(index(place)).get().to_string();
            said.raw = format!("tel. +{} ({}) {}", &digits[..2], &digits[2..5], &digits[5..]);
            said.details.message_id = format!("wamid.{place}.{round}");
            said.details.note = format!("{digits} wrote: stop; also {}", &digits[2..]);
            said.details.word = digits.clone();
            let shared = event(index(place), Action::Resubscribe, 20 + round);
            let beside = event(index(place + 20), Action::Resubscribe, 20 + round);
            store.append(vec![said, shared, beside], NOW).unwrap();
        }
        if round == 2 {
            store.compact(NOW).unwrap();
        }
    }
}

fn histories(reader: &Reader, places: impl Iterator<Item = u64>) -> Vec<Vec<crate::event::Event>> {
    places.map(|it| reader.history(key(index(it))).unwrap()).collect()
}

#[test]
fn no_file_of_a_folder_holds_an_erased_number_in_any_form() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("store");
    init(&folder, FOLDING, NOW).unwrap();
    let limits = Limits { segment_bytes: 2_000, compact_seals_bytes: 1, ..Limits::default() };
    let store = Writer::open(&folder).unwrap().with_limits(limits);
    fill(&store);
    // One has its history in the active segment too, one only there.
    let active = [event(index(5), Action::OptOut, 50), event(index(900), Action::OptOut, 50)];
    store.append(active.to_vec(), NOW).unwrap();
    let others = |it: &u64| ![5, 7, 45].contains(it);
    let before = histories(&Reader::open(&folder).unwrap(), (1..60).filter(others));
    assert!(!places_in_folder(&folder, index(5)).is_empty());

    let erased = [5, 7, 45, 900].map(index);
    let report = store.erase(&request(&erased), NOW).unwrap();
    let dropped: Vec<u64> = report.people.iter().map(|it| it.events_dropped).collect();
    assert_eq!(dropped, [13, 12, 4, 1]);
    assert!(report.segments_rewritten > 3, "{report:?}");
    let files = std::fs::read_dir(&folder).unwrap().count() as u64;
    assert_eq!(report.files_searched, files);

    for index in erased {
        assert_eq!(places_in_folder(&folder, index), [""; 0]);
        assert_erased(&Reader::open(&folder).unwrap(), index);
    }
    let reader = Reader::open(&folder).unwrap();
    assert_eq!(histories(&reader, (1..60).filter(others)), before);
    assert!(verify(&folder).unwrap().is_sound(), "{:?}", verify(&folder).unwrap());
    // Everybody else's message ids are known as before, those of the erased are not.
    let repeated = |place: u64| {
        let mut said = event(index(place), Action::OptOut, 10);
        said.details.message_id = format!("wamid.{place}.0");
        store.append(vec![said], NOW).unwrap()[0]
    };
    assert!(repeated(6).sequence < report.people[0].sequence);
    assert!(repeated(7).sequence > report.people[0].sequence);
    drop(store);
    Writer::open(&folder).unwrap().compact(NOW).unwrap();
    assert!(verify(&folder).unwrap().is_sound());
}

#[test]
fn somebody_unknown_is_suppressed_and_erasing_again_records_nothing() {
    let disk = new_store();
    let store = writer(&disk);
    let first = store.erase(&request(&[1]), NOW).unwrap();
    assert_eq!(first.people, [Erased { sequence: 1, events_dropped: 0 }]);
    assert_eq!((first.segments_rewritten, first.generation), (0, 0));
    let again = store.erase(&request(&[1, 1]), NOW).unwrap();
    assert_eq!(again.people, [first.people[0]; 2]);
    store.compact(NOW).unwrap();
    assert_eq!(store.erase(&request(&[1]), NOW).unwrap().people, first.people);
    assert_erased(&reader(&disk), 1);
    assert_eq!(places_in_memory(&disk, 1), [""; 0]);
    assert_eq!(reader(&disk).sequence(), 1);
    assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
}

#[test]
fn whoever_comes_back_has_a_history_again_and_can_be_erased_again() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    store.erase(&request(&[1]), NOW).unwrap();
    let later = Timestamp::from_millis(NOW.as_millis() + 10);
    let come_back = |at: Timestamp, tier| {
        let mut start = event(1, Action::Resubscribe, at.as_millis());
        start.details.tier = tier;
        store.append(vec![start], later).unwrap()[0].outcome
    };
    // Neither what he did before nor what reaches less far lifts it.
    assert_eq!(come_back(Timestamp::from_millis(5), Tier::All), Outcome::NotListed);
    assert_eq!(come_back(later, Tier::Marketing), Outcome::NotListed);
    assert_eq!(come_back(later, Tier::All), Outcome::Resubscribed);
    assert!(!reader(&disk).contains(key(1)).unwrap());
    assert_eq!(reader(&disk).history(key(1)).unwrap().len(), 4);
    let later = Timestamp::from_millis(later.as_millis() + 10);
    let report = store.erase(&request(&[1]), later).unwrap();
    assert_eq!(report.people[0].events_dropped, 3);
    assert_erased(&reader(&disk), 1);
    assert_eq!(reader(&disk).history(key(1)).unwrap().len(), 1);
    assert_eq!(places_in_memory(&disk, 1), [""; 0]);
    assert!(verify_on(Arc::new(disk)).unwrap().is_sound());
}

#[test]
fn what_nothing_lifts_is_lifted_by_nothing_after_an_erasure() {
    let disk = new_store();
    let store = writer(&disk);
    let mut legal = event(1, Action::OptOut, 1);
    legal.details.ground = Ground::Legal;
    legal.details.channel = "sms".to_owned();
    store.append(vec![legal, event(2, Action::OptOut, 1)], NOW).unwrap();
    for _ in 0..2 {
        store.erase(&request(&[1, 2]), NOW).unwrap();
        let later = Timestamp::from_millis(NOW.as_millis() + 1);
        for index in [1, 2] {
            assert_erased(&reader(&disk), index);
            let mut start = event(index, Action::Resubscribe, later.as_millis());
            start.details.tier = Tier::All;
            store.append(vec![start], later).unwrap();
        }
        let reader = reader(&disk);
        let claims = reader.claims(key(1)).unwrap();
        let scopes: Vec<&str> = claims.iter().map(|claim| claim.scope.channel()).collect();
        assert_eq!(scopes, ["sms"]);
        assert!(!reader.contains(key(2)).unwrap());
        assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound());
    }
}

#[test]
fn what_others_wrote_stays_but_for_the_number() {
    let disk = new_store();
    let store = writer(&disk);
    let [one, other] = [1, 2].map(|index| number(index).get().to_string());
    let cell = format!("{one};{other}");
    let mut events: Vec<NewEvent> = vec![event(1, Action::OptOut, 1), event(2, Action::OptOut, 1)];
    for event in &mut events {
        event.raw.clone_from(&cell);
        event.details.note = format!("a couple, call {} first", &one[2..]);
        event.details.campaign = "spring".to_owned();
    }
    store.append(events, NOW).unwrap();
    let mut about = event(3, Action::OptOut, 1);
    about.details.note = format!("brother of +{one}");
    store.append(vec![about], NOW).unwrap();
    store.compact(NOW).unwrap();
    store.erase(&request(&[1]), NOW).unwrap();
    assert_eq!(places_in_memory(&disk, 1), [""; 0]);
    let history = |index| reader(&disk).history(key(index)).unwrap().remove(0);
    assert_eq!(history(2).raw, format!("+{other}"));
    assert_eq!(history(2).details.note, "a couple, call ********** first");
    assert_eq!(history(2).details.campaign, "spring");
    assert_eq!(history(3).details.note, "brother of +57**********");
    // When the last of them goes, so does what they shared.
    store.erase(&request(&[2]), NOW).unwrap();
    let names = disk.list().unwrap();
    let holds = |text: &str| {
        let holds = |name| memchr::memmem::find(&disk.bytes(name).unwrap(), text.as_bytes());
        names.iter().any(|name| holds(name).is_some())
    };
    assert!(!holds("couple") && !holds("spring") && holds("brother"));
    assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound());
}

#[test]
fn what_is_recorded_of_an_erasure_must_not_name_the_person() {
    let disk = new_store();
    let store = writer(&disk);
    let mut named = request(&[1]);
    named.reason = format!("asked by {}", number(1));
    let refused = store.erase(&named, NOW);
    assert!(matches!(refused, Err(WriteError::NamesForgotten { field: "reason" })));
    assert_eq!(reader(&disk).sequence(), 0);
}

#[test]
fn quarantines_are_removed_and_a_copy_of_somebodys_own_is_named() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::OptOut, 1)], NOW).unwrap();
    let segment = disk.bytes("journal-0000000001.seg").unwrap();
    disk.put("quarantine-0000000001-72-0.bin", segment.clone());
    let mut copy = vec![b'x'; 3 << 20];
    copy.extend_from_slice(number(1).to_string().as_bytes());
    disk.put("copy.txt", copy);
    match store.erase(&request(&[1]), NOW) {
        Err(WriteError::Remains { file, offset }) => {
            assert_eq!(
                (file.file_name().unwrap().to_str(), offset),
                (Some("copy.txt"), (3 << 20) + 3)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(disk.bytes("quarantine-0000000001-72-0.bin").is_none());
    disk.remove("copy.txt").unwrap();
    assert_eq!(store.erase(&request(&[1]), NOW).unwrap().people[0].events_dropped, 0);
    assert_eq!(places_in_memory(&disk, 1), [""; 0]);
}

/// Every sync of an erasure fails once, then the power is cut there.
#[test]
fn an_erasure_interrupted_anywhere_is_completed_by_the_next() {
    let mut outcomes = BTreeSet::new();
    for syncs in 0..40 {
        let disk = new_store();
        let limits = Limits { segment_bytes: 300, ..Limits::default() };
        let store = writer(&disk).with_limits(limits);
        for step in 0..12 {
            store.append(vec![event(step % 4, Action::OptOut, 1)], NOW).unwrap();
        }
        store.append(vec![event(2, Action::Resubscribe, 2)], NOW).unwrap();
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let result = store.erase(&request(&[2, 3]), NOW);
        drop(store);
        for disk in [disk.clone(), disk.after_power_cut()] {
            disk.set_faults(Faults::default());
            let before = reader(&disk);
            let tombstones = |index| {
                let history = before.history(key(index)).unwrap();
                (history.len(), history.iter().filter(|it| it.is_tombstone()).count())
            };
            assert!(result.is_err() || tombstones(2) == (1, 1));
            // Nobody is let go: who was opted out is, and who came back is from his tombstone on.
            assert!(before.contains(key(3)).unwrap(), "{syncs} syncs");
            assert_eq!(before.contains(key(2)).unwrap(), tombstones(2).1 > 0, "{syncs} syncs");
            outcomes.insert((tombstones(2), tombstones(3)));
            assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{syncs} syncs");
            let store = writer(&disk).with_limits(limits);
            assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{syncs} syncs");
            if syncs % 2 == 0 {
                store.compact(NOW).unwrap();
                assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "{syncs} syncs");
            }
            store.erase(&request(&[2, 3]), NOW).unwrap();
            for index in [2, 3] {
                assert_erased(&reader(&disk), index);
                assert_eq!(places_in_memory(&disk, index), [""; 0], "{syncs} syncs");
            }
            assert_eq!(reader(&disk).history(key(0)).unwrap().len(), 3);
            assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "{syncs} syncs");
        }
    }
    // As before, suppressed but not erased yet, and erased.
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

#[test]
fn an_erasure_on_a_full_disk_leaves_the_store_as_it_was_and_the_person_suppressed() {
    for room in (0..6000).step_by(67) {
        let disk = new_store();
        let store = writer(&disk);
        for step in 0..12 {
            store.append(vec![event(step % 4, Action::OptOut, 1)], NOW).unwrap();
        }
        let used: usize =
            disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len()).sum();
        disk.set_faults(Faults { capacity: Some(used + room), ..Faults::default() });
        let result = store.erase(&request(&[2]), NOW);
        disk.set_faults(Faults::default());
        for index in 0..4 {
            assert!(reader(&disk).contains(key(index)).unwrap(), "room {room}");
        }
        assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound(), "room {room}");
        drop(store);
        let store = writer(&disk);
        store.append(vec![event(9, Action::OptOut, 1)], NOW).unwrap();
        let again = store.erase(&request(&[2]), NOW).unwrap();
        assert_eq!(again.people[0].events_dropped, if result.is_ok() { 0 } else { 3 }, "{room}");
        assert_eq!(places_in_memory(&disk, 2), [""; 0], "room {room}");
        assert!(verify_on(Arc::new(disk)).unwrap().is_sound(), "room {room}");
    }
}

#[test]
fn a_reader_that_is_open_across_an_erasure_goes_on_and_never_lets_the_person_go() {
    let disk = new_store();
    let limits = Limits { segment_bytes: 300, ..Limits::default() };
    let store = writer(&disk).with_limits(limits);
    for step in 0..20 {
        store.append(vec![event(step % 5, Action::OptOut, step as i64)], NOW).unwrap();
    }
    store.compact(NOW).unwrap();
    let [mut cold, mut warm] = [reader(&disk), reader(&disk)];
    (0..5).for_each(|index| drop(warm.history(key(index)).unwrap()));
    store.erase(&request(&[2]), NOW).unwrap();
    for _ in 0..2 {
        for reader in [&cold, &warm] {
            assert!(reader.contains(key(2)).unwrap());
            assert_eq!(rulings(reader, 2)[0], Decision::Suppressed);
            assert!(reader.opted_out_since(key(2)).unwrap().is_some());
            // Everybody else's history is told, from the old file or from the new one.
            for index in [0, 1, 3, 4] {
                assert_eq!(reader.history(key(index)).unwrap().len(), 4);
            }
        }
        // What was read before is still told by whoever has it open; who has not says no.
        assert!(cold.clone().history(key(2)).is_err() || cold.generation() == 2);
        cold.refresh().unwrap();
        warm.refresh().unwrap();
        assert_erased(&cold, 2);
        assert_erased(&warm, 2);
    }
    store.append(vec![event(2, Action::OptOut, 1)], NOW).unwrap();
    assert_eq!(cold.refresh().unwrap(), 1);
    assert_eq!(cold.history(key(2)).unwrap().len(), 2);
}

#[test]
fn a_revision_is_checked_byte_by_byte_and_leftovers_of_others_are_removed() {
    let disk = new_store();
    let limits = Limits { segment_bytes: 300, ..Limits::default() };
    let store = writer(&disk).with_limits(limits);
    for step in 0..8 {
        store.append(vec![event(step % 4, Action::OptOut, 1)], NOW).unwrap();
    }
    store.compact(NOW).unwrap();
    let old = disk.bytes("journal-0000000001.seg").unwrap();
    store.erase(&request(&[1]), NOW).unwrap();
    store.erase(&request(&[2]), NOW).unwrap();
    drop(store);
    let manifest = Manifest::read(&disk).unwrap();
    assert_eq!(manifest.sealed[0].file(), "journal-0000000001-r0002.seg");
    // As after a crash between the swap and the removal.
    disk.put("journal-0000000001.seg", old);
    disk.put("journal-0000000001-r0003.idx", b"half".to_vec());
    drop(writer(&disk));
    let names = disk.list().unwrap();
    let first: Vec<&String> =
        names.iter().filter(|name| name.starts_with("journal-0000000001")).collect();
    assert_eq!(first, ["journal-0000000001-r0002.idx", "journal-0000000001-r0002.seg"]);
    for name in &names {
        let whole = disk.bytes(name).unwrap();
        for byte in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << (byte % 8);
            disk.put(name, bytes);
            let report = verify_on(Arc::new(disk.clone()));
            assert!(report.map_or(true, |it| !it.is_sound()), "{name}, byte {byte}");
        }
        disk.put(name, whole);
    }
}

fn id(text: &str) -> Address {
    Address::Id(BusinessId::parse(text.as_bytes()).unwrap())
}

fn event_of(address: &Address, action: Action) -> NewEvent {
    let raw = address.to_string();
    NewEvent { address: address.clone(), raw, ..event(0, action, 1) }
}

#[test]
fn an_id_and_what_is_linked_with_it_are_erased_together_and_stay_known() {
    let disk = new_store();
    let store = writer(&disk);
    let [one, other, unknown] =
        ["US.13491208655302741918", "US.13491208655302741919", "MX.77"].map(id);
    let link = NewEvent { linked: Some(number(1).into()), ..event_of(&one, Action::Link) };
    store.append(vec![event_of(&other, Action::OptOut), event(1, Action::OptOut, 1)], NOW).unwrap();
    store.append(vec![event_of(&one, Action::OptOut), link], NOW).unwrap();
    store.compact(NOW).unwrap();
    let mut about = event_of(&other, Action::OptOut);
    about.details.note = format!("not {one}, nor {}", number(1));
    store.append(vec![about], NOW).unwrap();

    let addresses = vec![one.clone(), unknown.clone()];
    let request = Erasure { addresses, ..Erasure::default() };
    let report = store.erase(&request, NOW).unwrap();
    let dropped: Vec<u64> = report.people.iter().map(|it| it.events_dropped).collect();
    assert_eq!(dropped, [4, 0]);
    assert_eq!(places_in_memory(&disk, 1), [""; 0]);
    for (name, address) in disk
        .list()
        .unwrap()
        .iter()
        .flat_map(|name| [(name.clone(), &one), (name.clone(), &unknown)])
    {
        let found =
            memchr::memmem::find(&disk.bytes(&name).unwrap(), address.to_string().as_bytes());
        assert_eq!(found, None, "{name}");
    }
    for _ in 0..2 {
        let reader = reader(&disk);
        assert_erased(&reader, 1);
        for address in [&one, &unknown] {
            let key = reader.key_of(address).unwrap().unwrap();
            assert!(reader.contains(key).unwrap());
            assert!(reader.history(key).unwrap().iter().all(|it| it.is_tombstone()));
        }
        let kept = reader.history(reader.key_of(&other).unwrap().unwrap()).unwrap();
        assert_eq!(kept.len(), 2);
        assert!(kept[1].details.note.starts_with("not ***"), "{}", kept[1].details.note);
        assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound());
        // Who writes again is known by his id, and no link is left.
        store.append(vec![event_of(&one, Action::OptOut)], NOW).unwrap();
        store.compact(NOW).unwrap();
        assert!(verify_on(Arc::new(disk.clone())).unwrap().is_sound());
        assert_eq!(store.erase(&request, NOW).unwrap().people[0].events_dropped, 1);
    }
}

#[test]
fn the_end_of_somebody_elses_number_is_not_his() {
    let disk = new_store();
    let store = writer(&disk);
    let people = [525_512_345_678, 15_512_345_678, 85_512_345_678, 5_512_345_678];
    let people = people.map(|it| Number::from_e164(it).unwrap());
    for (place, raw) in
        ["55 1234 5678", "+1 (551) 234-5678", "85512345678", "+5512345678"].iter().enumerate()
    {
        let mut said = event_of(&people[place].into(), Action::OptOut);
        said.raw = (*raw).to_owned();
        store.append(vec![said], NOW).unwrap();
    }
    let request = Erasure { addresses: vec![people[0].into()], ..Erasure::default() };
    store.erase(&request, NOW).unwrap();
    let history = |number| reader(&disk).history(fold(number, FOLDING)).unwrap();
    let raws: Vec<String> = people[1..].iter().map(|it| history(*it)[0].raw.clone()).collect();
    assert_eq!(raws, ["+1 (551) 234-5678", "85512345678", "+5512345678"]);
}

#[test]
fn at_earlier_moments_whoever_was_erased_is_suppressed() {
    let disk = new_store();
    let store = writer(&disk);
    store.append(vec![event(1, Action::Resubscribe, 1), event(2, Action::OptOut, 1)], NOW).unwrap();
    store.append(vec![event(3, Action::OptOut, 1)], NOW).unwrap();
    store.erase(&request(&[1, 2]), NOW).unwrap();
    for sequence in 0..=5 {
        let view = reader(&disk).at(Moment::Sequence(sequence)).unwrap();
        assert_erased(&view, 1);
        assert_erased(&view, 2);
        assert_eq!(view.contains(key(3)).unwrap(), sequence >= 3);
        assert_eq!(view.len().unwrap(), 2 + u64::from(sequence >= 3));
    }
}
