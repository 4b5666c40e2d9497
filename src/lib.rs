//! The engine between a messaging campaign and its send.
//!
//! `optout` keeps who opted out, and takes them out of recipient lists: exactly, fast, and so
//! that it can be proved afterwards. One sentence ranks every decision in it: *an acknowledged
//! opt-out never becomes sendable without a loud error.*
//!
//! # Three looks
//!
//! Every spelling of a phone leads to one key, on the side of the opt-outs and on that of the
//! recipients:
//!
//! ```
//! use optout::number::{Folding, NumberReader, Region};
//!
//! let webhook = NumberReader::new(None, Folding::default()).read(b"5215512345678");
//! let mexico = Region::parse("MX")?;
//! let list = NumberReader::new(Some(mexico), Folding::default()).read(b"(55) 1234-5678");
//! assert_eq!(webhook.key, list.key);
//! # Ok::<(), optout::number::UnknownRegion>(())
//! ```
//!
//! A writer records what people say, and returns when it is on the disk; readers in any process
//! see it without reopening:
//!
//! ```
//! use std::sync::Arc;
//! use optout::disk::MemoryDisk;
//! use optout::event::{Action, Details, Source};
//! use optout::number::{Folding, Number};
//! use optout::policy::{Context, Policy};
//! use optout::query::{Checker, Judge, Stale};
//! use optout::store::{NewEvent, Reader, Writer, init_on};
//! use optout::time::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In memory for this example; `store::init`, `Writer::open` and `Reader::open` take a path.
//! let disk = Arc::new(MemoryDisk::new());
//! let now = Timestamp::now();
//! init_on(&*disk, Folding::default(), now)?;
//! let writer = Writer::open_on(disk.clone())?;
//! let mut reader = Reader::open_on(disk)?;
//!
//! let number = Number::from_e164(525512345678).ok_or("no number")?;
//! let details = Details::new(Action::OptOut, Source::Keyword);
//! let (address, raw) = (number.into(), "5215512345678".to_owned());
//! let event = NewEvent { address, linked: None, raw, occurred_at: now, details };
//! writer.append(vec![event], now)?;
//!
//! reader.refresh()?;
//! let message = Context::default();
//! let judge = Judge::new(&reader, Policy::default(), message, now, Stale::Refuse)?;
//! let checker = Checker::new(judge, None);
//! let verdicts = checker.decide(&["+52 55 1234 5678", "+52 55 8765 4321"], now);
//! assert!(!verdicts[0].is_allowed());
//! assert!(verdicts[1].is_allowed());
//! # Ok(())
//! # }
//! ```
//!
//! A whole recipient list goes through a [`scrub::Scrubber`]; its page shows how.
//!
//! # Modules, in reading order
//!
//! - [`number`]: from a messy string to one integer for each subscriber.
//! - [`time`] and [`event`]: what is recorded when a person opts out or comes back.
//! - [`policy`]: which opt-outs stand, and by which rule a message may go.
//! - [`snapshot`]: the immutable set of subscriber keys, read in place from its bytes.
//! - [`journal`]: the append log of events.
//! - [`disk`]: the only code that touches the files of a store.
//! - [`store`]: manifest, generations and journal behind one writer and many readers.
//! - [`query`]: one number, many numbers, history, ranges of dates.
//! - [`table`]: files of records; knows nothing of phones.
//! - [`scrub`]: the parallel filter, recipients in, verdicts and rows out.
//! - [`exchange`]: import and export of lists.
//! - [`intent`]: what a message asks for that came back.
//! - [`capture`]: what follows from such a message.
//! - `server` (feature `server`): the same over HTTP, and the keys of those who ask.

pub mod capture;
pub mod disk;
pub mod event;
pub mod exchange;
pub mod intent;
pub mod journal;
pub mod number;
pub mod policy;
pub mod query;
pub mod scrub;
#[cfg(feature = "server")]
pub mod server;
pub mod snapshot;
pub mod store;
pub mod table;
pub mod time;
