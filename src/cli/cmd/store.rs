//! `init`, `compact`, `verify`: the store as a whole.

use std::path::Path;

use optout::number::Folding;
use optout::store::{self, Initialized, Writer};
use optout::time::Timestamp;
use serde_json::json;

use crate::args::Init;
use crate::exit::Exit;
use crate::output::{Output, grouped};

pub(crate) fn init(path: &Path, args: &Init, output: &Output) -> anyhow::Result<Exit> {
    let made = store::init(path, Folding { tier2: args.tier2 }, Timestamp::now())?;
    let words = match made {
        Initialized::Made => format!("made an empty store at {}", path.display()),
        Initialized::Existed => {
            format!("there is a store at {} already; it is as it was", path.display())
        }
    };
    if output.is_json() {
        output.json(&json!({"store": path, "made": made == Initialized::Made}))?;
    }
    output.say(words);
    Ok(Exit::Done)
}

pub(crate) fn compact(path: &Path, output: &Output) -> anyhow::Result<Exit> {
    let report = Writer::open(path)?.compact(Timestamp::now())?;
    if output.is_json() {
        output.json(&report)?;
    } else {
        let beside = match report.changes {
            0 => String::new(),
            changes => format!("; {} changes are listed beside its sets", grouped(changes)),
        };
        output.say(format!(
            "folded {} events; generation {} holds {} opted-out subscribers up to sequence {}{beside}",
            grouped(report.folded),
            report.generation,
            grouped(report.opted_out),
            report.sequence
        ));
    }
    Ok(Exit::Done)
}

pub(crate) fn verify(path: &Path, output: &Output) -> anyhow::Result<Exit> {
    let report = store::verify(path)?;
    if output.is_json() {
        output.json(&report)?;
    } else {
        for damage in &report.damages {
            output.warn(format!(
                "{} at byte {}: {}",
                damage.file.display(),
                damage.offset,
                damage.what
            ));
        }
        if report.is_sound() {
            output.say(format!(
                "sound: {} events, {} subscribers, generation {}, sequence {}",
                grouped(report.events),
                grouped(report.subscribers),
                report.generation,
                report.sequence
            ));
        }
    }
    Ok(if report.is_sound() { Exit::Done } else { Exit::Store })
}
