//! A send pipeline that asks right before hand-off, while opt-outs keep coming in.
//!
//! `cargo run --example embed` makes a store in a temporary folder and shows both sides: one
//! that records and one that asks. In production these are two processes.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use optout::event::{Action, Details, Source};
use optout::number::{Folding, NumberReader, Region};
use optout::policy::{Context, Policy};
use optout::query::{Checker, Judge, Stale, Verdict};
use optout::store::{self, NewEvent, Reader, Writer};
use optout::time::Timestamp;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("optout-embed-{}", std::process::id()));
    store::init(&folder, Folding::default(), Timestamp::now())?;

    // The side that asks. A reader takes no lock; give each thread a clone of its own.
    let mut reader = Reader::open(&folder)?;
    let recipients = ["+52 55 1234 5678", "(55) 8765 4321", "whatsapp:+573001234567", "n/a"];
    send(&reader, &recipients)?;

    // The side that records: somebody answered STOP, and WhatsApp writes his number with an
    // old 1. When `append` returns, the opt-out is on the disk.
    let writer = Writer::open(&folder)?;
    let said = "5215512345678";
    let numbers = NumberReader::new(None, writer.folding());
    let number = numbers.read(said.as_bytes()).number.ok_or("a webhook's number can be read")?;
    let mut details = Details::new(Action::OptOut, Source::Keyword);
    details.word = "STOP".to_owned();
    details.message_id = "wamid.HBgN".to_owned();
    let now = Timestamp::now();
    let (address, raw) = (number.into(), said.to_owned());
    let event = NewEvent { address, linked: None, raw, occurred_at: now, details };
    writer.append(vec![event], now)?;

    // Seen without reopening; without news a refresh costs about a microsecond.
    reader.refresh()?;
    send(&reader, &recipients)?;

    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Hands over who may be messaged. Without a calling code, numbers are Mexican.
fn send(reader: &Reader, recipients: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "as of sequence {}:", reader.sequence())?;
    // A marketing message of which nothing else is known: every opt-out counts.
    let message = Context::default();
    let now = Timestamp::now();
    let judge = Judge::new(reader, Policy::default(), message, now, Stale::Refuse)?;
    // A pipeline that goes on for longer has to refresh: it gets no other answer than "unknown".
    let checker = Checker::new(judge, Some(Region::parse("MX")?)).max_age(Duration::from_secs(60));
    for (recipient, verdict) in recipients.iter().zip(checker.decide(recipients, now)) {
        match verdict {
            Verdict::Allowed(address) => writeln!(out, "  {recipient}: send to {address}")?,
            Verdict::Suppressed { since, source, .. } => {
                writeln!(out, "  {recipient}: opted out since {since} by {source}")?;
            }
            Verdict::Invalid(reason) => writeln!(out, "  {recipient}: {reason}")?,
            // Whatever a later release answers, it is not "allowed".
            _ => writeln!(out, "  {recipient}: not sent")?,
        }
    }
    Ok(())
}
