//! Full disks, closed pipes, files that change while they are read.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Place, Ran};

/// So many numbers, one a line.
fn many(count: usize) -> String {
    (0..count).map(|at| format!("+5255{at:08}\n")).collect()
}

/// An error, not the end by a signal.
#[track_caller]
fn runs_out_of_space(ran: &Ran) {
    ran.exits(1);
    assert!(ran.stderr.contains("File too large"), "{}", ran.stderr);
}

#[test]
fn a_store_that_cannot_grow_loses_nothing() {
    let place = Place::holding(&["+34600123456"]);
    place.write("list", many(100_000));
    let sound = |events: u64| {
        let ran = place.run(&["--json", "verify"]).json();
        assert_eq!(ran["events"], events, "{ran}");
        assert_eq!(ran["damages"], serde_json::json!([]));
    };
    // 50 blocks are 25 KiB: some groups of `add` fit, the list does not.
    runs_out_of_space(&place.run_limited(50, &["import", "list"], b""));
    sound(1);
    let ran = place.run_limited(50, &["add", "-"], many(100_000).as_bytes());
    runs_out_of_space(&ran);
    let acknowledged = ran.exits(1).lines().count() as u64;
    sound(1 + acknowledged);
    place.run(&["import", "list", "--quiet"]).exits(0);
    let events = place.run(&["--json", "verify"]).json()["events"].as_u64().unwrap();
    assert_eq!(events, 1 + acknowledged + 100_000);

    let before = place.run(&["--json", "stats"]).json();
    runs_out_of_space(&place.run_limited(50, &["compact"], b""));
    sound(events);
    assert_eq!(place.run(&["--json", "stats"]).json(), before);
    place.run(&["compact"]).exits(0);
    sound(events);
    let names: Vec<String> = place.store_files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".roaring")).count(), 2, "{names:?}");
}

#[test]
fn outputs_that_cannot_grow_do_not_appear() {
    let place = Place::holding(&["+525500000001"]);
    place.write("list", many(20_000));
    place.run(&["import", "list", "--quiet"]).exits(0);
    let bad: String = (0..20_000).map(|at| format!("word {at}\n")).collect();
    place.write("bad", format!("phone\n{bad}"));
    place.write("other", format!("phone\n{}", many(20_000).replace("+5255", "+5233")));
    let before = place.store_files();
    for args in [
        &["export", "-o", "all.csv"][..],
        &["scrub", "other", "-o", "kept.csv", "--report", "report.json"],
        &["scrub", "list", "--suppressed", "suppressed.csv"],
        &["scrub", "bad", "--column", "phone", "--invalid", "invalid.csv"],
        &["import", "bad", "--column", "phone", "--invalid", "invalid.csv"],
    ] {
        runs_out_of_space(&place.run_limited(20, args, b""));
        assert_eq!(place.names(), ["bad", "list", "other"], "{args:?}");
    }
    assert_eq!(place.store_files(), before);
}

#[test]
fn a_full_standard_output_is_an_error() {
    let place = Place::holding(&["+525512345678"]);
    place.write("list.csv", "phone\n+34600123456\n");
    for args in [
        &["export"][..],
        &["check", "+525512345678"],
        &["scrub", "list.csv", "-o", "-"],
        &["stats"],
        &["--json", "stats"],
        &["import", "list.csv"],
        &["add", "+525587654321"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("No space left on device"), "{args:?}: {stderr}");
        assert!(stderr.contains("standard output"), "{args:?}: {stderr}");
    }
    // What was not acknowledged may be there all the same, never the other way round.
    assert_eq!(place.suppressed(&["+525587654321", "+34600123456"]), [true, true]);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new();
    place.write("list", many(50_000));
    place.run(&["import", "list", "--quiet"]).exits(0);
    for args in [
        &["export"][..],
        &["export", "--view", "state", "--format", "ndjson"],
        &["scrub", "list", "--mode", "off", "-o", "-"],
        &["check", "-"],
        &["normalize"],
    ] {
        let mut child = place
            .command(args)
            .stdin(File::open(place.path("list")).unwrap())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = child.stdout.take().unwrap();
        let mut first = [0; 100];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked") && !stderr.contains("error:"), "{args:?}: {stderr}");
    }
}

/// Starts a run whose output is a pipe that nobody reads yet, so that it waits in the middle;
/// changes the list; lets it go on.
fn while_it_is_read(place: &Place, args: &[&str], change: impl Fn(&File)) -> Ran {
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let child = place
        .command(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = File::open(place.path("pipe")).unwrap();
    let mut some = [0; 10];
    pipe.read_exact(&mut some).unwrap();
    // Times of files go by the clock's ticks.
    sleep(Duration::from_millis(30));
    change(&OpenOptions::new().append(true).open(place.path("list")).unwrap());
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest).unwrap();
    fs::remove_file(place.path("pipe")).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        exit: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_list_that_changes_while_it_is_read_fails_the_run() {
    let place = Place::holding(&["+525500000001"]);
    let bad: String = (0..100_000).map(|at| format!("word {at}\n")).collect();
    let list = format!("phone\n{}{bad}", many(100_000));
    for (what, change) in [
        ("grows", (|mut file| file.write_all(b"+34600123456\n").unwrap()) as fn(&File)),
        ("shrinks", |file| file.set_len(100_000).unwrap()),
    ] {
        for args in [
            &["scrub", "list", "--invalid", "pipe", "-o", "kept.csv", "--report", "report.json"][..],
            &["import", "list", "--invalid", "pipe"],
        ] {
            place.write("list", &list);
            let ran = while_it_is_read(&place, args, change);
            ran.fails(1, &["list changed while it was read", "let its writer finish"]);
            assert_eq!(place.names(), ["list"], "{what}: {args:?}");
        }
    }
    place.run(&["verify"]).exits(0);
}

#[test]
fn a_closed_standard_error_keeps_nobody_from_being_recorded() {
    let place = Place::new();
    let mut child = place
        .command(&["add", "n/a", "+525512345678"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"1\t+525512345678\tadded\n");
}

#[test]
fn a_cancelled_scrub_leaves_nothing() {
    let place = Place::holding(&["+525500000001"]);
    assert!(Command::new("mkfifo").arg(place.path("list")).status().unwrap().success());
    let mut child = place
        .command(&["scrub", "list", "--column", "1", "-o", "kept.csv"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut list = OpenOptions::new().write(true).open(place.path("list")).unwrap();
    let text = many(200_000);
    list.write_all(text.as_bytes()).unwrap();
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    sleep(Duration::from_millis(50));
    let _ = list.write_all(text.as_bytes());
    drop(list);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(stderr.contains("cancelled: nothing was written"), "{stderr}");
    assert_eq!(place.names(), ["list"]);
}
