//! Taking back in small parts, with folds between them and interrupted anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::UndoReport;
use crate::disk::{Faults, MemoryDisk};
use crate::event::{Action, Details, Source};
use crate::number::{Folding, Number, fold};
use crate::store::core::Limits;
use crate::store::{Bulk, NewEvent, Reader, WriteError, Writer, init_on};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn number(index: u64) -> Number {
    Number::from_e164(525_512_345_600 + index).unwrap()
}

fn new_store() -> MemoryDisk {
    let disk = MemoryDisk::new();
    init_on(&disk, Folding::default(), NOW).unwrap();
    disk
}

fn writer(disk: &MemoryDisk, limits: Limits) -> Writer {
    Writer::open_on(Arc::new(disk.clone())).unwrap().with_limits(limits)
}

fn is_opted_out(disk: &MemoryDisk, index: u64) -> bool {
    let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
    reader.contains(fold(number(index), Folding::default())).unwrap()
}

/// Imports the numbers; the name of the import.
fn import(writer: &Writer, batch: u64, indexes: impl IntoIterator<Item = u64>) -> u64 {
    let mut details = Details::new(Action::OptOut, Source::Import);
    details.batch = batch;
    let mut bulk = Bulk::new();
    for index in indexes {
        // In every way of spelling.
        let raw = [format!("+{}", number(index).get()), number(index).get().to_string()];
        let raw = raw.get(index as usize % 3).map_or("a spelling", |raw| raw);
        bulk.push(number(index), NOW, raw);
    }
    writer.append_bulk(&details, NOW, &mut bulk).unwrap().batch.unwrap()
}

fn said(writer: &Writer, index: u64, action: Action, at: i64) {
    let occurred_at = Timestamp::from_millis(at);
    let details = Details::new(action, Source::Keyword);
    let event = NewEvent {
        address: number(index).into(),
        linked: None,
        raw: String::new(),
        occurred_at,
        details,
    };
    writer.append(vec![event], NOW).unwrap();
}

fn retract(batch: u64) -> Details {
    let mut details = Details::new(Action::Retract, Source::Agent);
    (details.batch, details.note) = (batch, "the wrong file".to_owned());
    details
}

fn undo(writer: &Writer, batch: u64) -> UndoReport {
    writer.undo_import(&retract(batch), NOW).unwrap()
}

/// Everything that folds at once, in parts of a few rows, and nothing of it.
fn limits() -> Vec<Limits> {
    let usual = Limits::default();
    vec![
        usual,
        Limits { undo_rows: 3, ..usual },
        Limits { undo_rows: 7, compact_after_events: 5, ..usual },
        Limits {
            undo_rows: 7,
            compact_after_events: 5,
            changes_max: 9,
            members_per_change: 1,
            ..usual
        },
        Limits { compact_after_events: 2, segment_bytes: 300, compact_seals_bytes: 1, ..usual },
    ]
}

#[test]
fn who_said_stop_himself_stays_opted_out() {
    for limits in limits() {
        let disk = new_store();
        let store = writer(&disk, limits);
        said(&store, 1, Action::OptOut, 1);
        let batch = import(&store, Details::NEW_BATCH, 0..20);
        assert_eq!(batch, 2, "an import is named by its first event");
        assert_eq!(import(&store, batch, 15..40), batch, "and goes on under its name");
        let other = import(&store, Details::NEW_BATCH, [3, 30, 3]);
        said(&store, 2, Action::OptOut, 2);
        said(&store, 4, Action::Resubscribe, 1_000);
        said(&store, 5, Action::Resubscribe, 1_000);
        said(&store, 5, Action::OptOut, 2_000);
        let report = undo(&store, batch);
        assert_eq!((report.batch, report.retracted), (batch, 40));
        // By themselves 1, 2 and 5, by the other import 3 and 30. At the same moment as the import
        // 4 was not free.
        assert_eq!((report.released, report.still_opted_out, report.not_listed), (35, 5, 0));
        let again = UndoReport { sequence: report.sequence, batch, ..UndoReport::default() };
        assert_eq!(undo(&store, batch), again);
        let stay = BTreeSet::from([1, 2, 3, 5, 30]);
        for index in 0..40 {
            assert_eq!(is_opted_out(&disk, index), stay.contains(&index), "{index}");
        }
        let report = undo(&store, other);
        assert_eq!((report.retracted, report.released, report.still_opted_out), (2, 2, 0));
        // Whom a list names again afterwards is opted out again.
        import(&store, Details::NEW_BATCH, [7]);
        said(&store, 8, Action::OptOut, 3);
        assert!(is_opted_out(&disk, 7) && is_opted_out(&disk, 8) && !is_opted_out(&disk, 30));
        // So is whom the same import names again, until it is taken back again.
        import(&store, batch, [9]);
        assert!(is_opted_out(&disk, 9));
        assert_eq!((undo(&store, batch).retracted, is_opted_out(&disk, 9)), (1, false));
    }
}

#[test]
fn an_undo_interrupted_anywhere_is_completed_by_the_next() {
    let limits = Limits { undo_rows: 4, compact_after_events: 6, ..Limits::default() };
    let begun = new_store();
    let store = writer(&begun, limits);
    said(&store, 1, Action::OptOut, 1);
    let batch = import(&store, Details::NEW_BATCH, 0..30);
    drop(store);
    let mut interrupted = 0;
    for syncs in 0.. {
        let disk = begun.after_power_cut();
        let store = writer(&disk, limits);
        disk.set_faults(Faults { syncs_left: Some(syncs), ..Faults::default() });
        let result = store.undo_import(&retract(batch), NOW);
        drop(store);
        disk.set_faults(Faults::default());
        for disk in [disk.clone(), disk.after_power_cut()] {
            assert!(is_opted_out(&disk, 1));
            let store = writer(&disk, limits);
            let report = undo(&store, batch);
            assert_eq!(report.retracted, report.released + report.still_opted_out);
            drop(store);
            let opted_out: Vec<u64> = (0..30).filter(|&it| is_opted_out(&disk, it)).collect();
            assert_eq!(opted_out, [1]);
            let events = Reader::open_on(Arc::new(disk)).unwrap().sequence();
            assert_eq!(events, 1 + 30 + 30, "one retract each");
        }
        if result.is_ok() {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted > 8, "{interrupted}");
}

#[test]
fn what_is_no_import_is_refused_before_anything_is_recorded() {
    let disk = new_store();
    let store = writer(&disk, Limits::default());
    said(&store, 1, Action::OptOut, 1);
    let batch = import(&store, Details::NEW_BATCH, 0..3);
    for (wrong, words) in [
        (0, "there is no such event"),
        (1, "belongs to no import"),
        (3, "belongs to the import 2"),
        (5, "there is no such event"),
        (Details::NEW_BATCH, "there is no such event"),
    ] {
        let error = store.undo_import(&retract(wrong), NOW).unwrap_err();
        assert!(matches!(error, WriteError::Batch { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        let reader = Reader::open_on(Arc::new(disk.clone())).unwrap();
        assert!(reader.plan_undo(wrong).unwrap_err().to_string().contains(words));
    }
    let opt_out = Details { action: Action::OptOut, ..retract(batch) };
    assert!(store.undo_import(&opt_out, NOW).is_err());
    assert_eq!(store.sequence(), 4);
}
