//! A recheck by a store against two whole scrubs, over random lives of the store.

mod common;

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;

use optout::disk::MemoryDisk;
use optout::event::{Action, Category, Details, Source as EventSource, Tier};
use optout::number::{Address, BusinessId, Folding, Number, fold};
use optout::policy::{Context, Policy, Scope};
use optout::query::{Judge, Stale, basis_of, message_of, recheck};
use optout::scrub::{Input, ListKind, Receipt, Scrubber, Sink, Sinks, Source};
use optout::store::{
    KeySorter, NewEvent, Reader, RegistryContents, RegistryKind, RegistryUpdate, Writer, init_on,
};
use optout::time::Timestamp;

use common::Random;

const NUMBERS: u64 = 30;
const IDS: u64 = 6;

/// Several steps have one moment: clocks stand still.
fn moment(step: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + step / 4 * 60_000)
}

fn address(index: u64) -> Address {
    if index < NUMBERS {
        Number::from_e164(525_512_345_600 + index).unwrap().into()
    } else {
        BusinessId::parse(format!("MX.1349{index}").as_bytes()).unwrap().into()
    }
}

fn text(address: &Address) -> String {
    address.id().map_or_else(|| address.number().unwrap().to_string(), |id| id.to_string())
}

/// Lets something happen to the store.
fn happen(random: &mut Random, writer: &Writer, now: i64) {
    let moment = moment(now);
    match random.below(12) {
        0 => drop(writer.compact(moment).unwrap()),
        1 => {
            let name = random.pick(&["a", "b", "c"]).parse().unwrap();
            drop(writer.drop_registry(&name, "over", moment));
        }
        2 | 3 => {
            let mut sorter = KeySorter::new();
            for index in (0..NUMBERS).filter(|_| random.below(3) > 0) {
                let number = Number::from_e164(525_512_345_600 + index).unwrap();
                sorter.push(fold(number, Folding::default()));
            }
            let keys = sorter.finish();
            let name = random.pick(&["a", "b", "c"]).parse().unwrap();
            let mut update = RegistryUpdate::new(name, moment);
            update.max_shrink_percent = 100;
            update.max_age_days = Some(1000);
            update.allow_older = true;
            if random.below(3) == 0 {
                update.kind =
                    Some([RegistryKind::Registry, RegistryKind::Consent][random.index(2)]);
                update.channel = Some(random.pick(&["", "sms", "whatsapp"]).to_owned());
            }
            // Without a single number a list is refused.
            drop(writer.update_registry(&update, RegistryContents::List(&keys), moment));
        }
        4 => {
            let (number, id) = (random.below(NUMBERS), NUMBERS + random.below(IDS));
            let mut event = event(random, number, Action::Link, now);
            event.linked = Some(address(id));
            writer.append(vec![event], moment).unwrap();
        }
        _ => {
            let action = [Action::OptOut, Action::OptOut, Action::Resubscribe][random.index(3)];
            let index = random.below(NUMBERS + IDS);
            let event = event(random, index, action, now);
            writer.append(vec![event], moment).unwrap();
        }
    }
}

fn event(random: &mut Random, index: u64, action: Action, now: i64) -> NewEvent {
    let mut details = Details::new(action, EventSource::Keyword);
    if action != Action::Link {
        details.tier = [Tier::Marketing, Tier::All][random.index(2)];
        details.channel = random.pick(&["", "", "sms", "whatsapp"]).to_owned();
    }
    let address = address(index);
    let raw = text(&address);
    let occurred_at = moment(now - random.below(20) as i64);
    NewEvent { address, linked: None, raw, occurred_at, details }
}

/// What is kept of the list, with its receipt and index.
fn scrub(
    reader: &Reader,
    judge: &Judge<'_>,
    list: &str,
    now: Timestamp,
) -> (String, Receipt, Vec<u8>) {
    let (mut kept, mut index) = (Vec::new(), Vec::new());
    let (_, receipt) = Scrubber::new(judge)
        .message(message_of(judge, now))
        .as_of(reader.generation(), reader.sequence())
        .run_with_receipt(
            Input::reader("list", Cursor::new(list.as_bytes().to_vec())),
            Sinks::new().kept("kept", &mut kept),
            Sink::new("index", &mut index),
            basis_of(judge, now).unwrap(),
        )
        .unwrap();
    (String::from_utf8(kept).unwrap(), receipt, index)
}

fn message(random: &mut Random) -> Context {
    let scope = Scope::new(random.pick(&["", "sms", "whatsapp"]), "", "").unwrap();
    let category = [Category::Marketing, Category::Marketing, Category::Utility][random.index(3)];
    Context { scope, category }
}

fn judge<'a>(reader: &'a Reader, context: &Context, now: i64) -> Judge<'a> {
    let policy = Policy::default();
    Judge::new(reader, policy, context.clone(), moment(now), Stale::Refuse).unwrap()
}

#[test]
fn a_recheck_by_a_store_gives_the_rows_in_which_two_scrubs_differ() {
    let test = "a_recheck_by_a_store_gives_the_rows_in_which_two_scrubs_differ";
    let mut random = Random::of_test(test);
    let list: String =
        (0..NUMBERS + IDS).map(|it| format!("{},row {it}\n", text(&address(it)))).collect();
    let mut found = [0, 0];
    for life in 0..60 {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), moment(0)).unwrap();
        let writer = Writer::open_on(disk.clone()).unwrap();
        let context = message(&mut random);
        let before = 1 + random.below(30) as i64;
        (1..before).for_each(|now| happen(&mut random, &writer, now));
        let reader = Reader::open_on(disk.clone()).unwrap();
        let then = judge(&reader, &context, before);
        let (kept_then, receipt, index) = scrub(&reader, &then, &list, moment(before));

        let mut now = before;
        for _ in 0..4 {
            let until = now + random.below(6) as i64;
            (now..until).for_each(|now| happen(&mut random, &writer, now));
            now = until;
            let reader = Reader::open_on(disk.clone()).unwrap();
            let judge = judge(&reader, &context, now);
            let kept_now = scrub(&reader, &judge, &list, moment(now)).0;
            let [was, is] = [&kept_then, &kept_now].map(|it| it.lines().collect::<BTreeSet<_>>());
            for (file, kind) in [(&list, ListKind::Input), (&kept_then, ListKind::Kept)] {
                let mut out = Vec::new();
                let report = recheck(
                    &judge,
                    &receipt,
                    Source::new("index", Cursor::new(&index)),
                    Source::new("list", Cursor::new(file.as_bytes())),
                    Some(Sink::new("out", &mut out)),
                )
                .unwrap();
                let out = String::from_utf8(out).unwrap();
                let rows = |change: &str| -> BTreeSet<&str> {
                    out.lines().filter_map(|it| Some(it.split_once(change)?.0)).collect()
                };
                let suppressed: BTreeSet<&str> = was.difference(&is).copied().collect();
                let mut released: BTreeSet<&str> = is.difference(&was).copied().collect();
                if kind == ListKind::Kept && *file != list {
                    released.clear();
                }
                assert_eq!(rows(",suppressed,"), suppressed, "life {life}, {kind:?}");
                assert_eq!(rows(",released,"), released, "life {life}, {kind:?}");
                found[0] += report.suppressed;
                found[1] += report.released;
            }
        }
    }
    assert!(found.iter().all(|&it| it > 10), "{found:?}");
}
