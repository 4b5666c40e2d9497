//! Who of a scrubbed list may be sent to now, but not then, or the other way round?
//!
//! A [`Recheck`] is run right before a list is handed on. It is told which subscribers may stand
//! differently since the scrub; it finds their rows by the receipt's index and reads those
//! stretches of the list that may hold them, and no others.
//!
//! Promises: the rows that it writes are the difference between what the scrub kept and what the
//! same scrub would keep now, whole and in the order of the list; whatever it reads is compared
//! with what was scrubbed, and another list, or another index, is refused. What it does not read
//! it does not compare: whoever changes other rows of the list is not noticed. Leaves to others:
//! who has changed, and whether the set is of the same store.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read, Seek, SeekFrom};

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::engine::WriteIfAny;
use super::index::{Hit, IndexError, IndexReader, Placed, RunInfo};
use super::receipt::{FileInfo, Receipt};
use super::set::{Origin, SuppressionSet};
use super::trace::RowHasher;
use super::worker::{self, Found, Readers, keys_of_ids, read_cell};
use super::{ScrubError, Sink};
use crate::number::{BusinessId, Region, SubscriberKey};
use crate::policy::Ruling;
use crate::table::{Record, Shape};

/// Keys that are judged at once.
const BATCH: usize = 1024;
/// Bytes of rows that are written at once.
const WRITE_BYTES: usize = 1 << 18;
/// The columns behind each row.
const NAMES: [&[u8]; 5] =
    [b"optout_change", b"optout_line", b"optout_since", b"optout_source", b"optout_rule"];

/// Subscribers who may stand differently since a scrub. An id without a number may have had no
/// key then, so that its text is needed to find it in a list.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// The subscribers behind numbers.
    pub keys: Vec<SubscriberKey>,
    /// The ids.
    pub ids: Vec<BusinessId>,
}

/// What a recheck found. In JSON the fields have these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RecheckReport {
    /// Which of the two files it was.
    pub file: ListKind,
    /// Subscribers who may stand differently.
    pub changed: u64,
    /// Rows that were read for them.
    pub looked_at: u64,
    /// Rows that were kept, and must not be sent to now.
    pub suppressed: u64,
    /// Rows that were suppressed, and may be sent to now.
    pub released: u64,
}

/// Which file of a scrub is rechecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    /// The list that was scrubbed. Where nobody was taken out, also what came out.
    Input,
    /// What was kept of it: nobody can be released there.
    Kept,
}

/// A file to be read by position, and how to call it in messages.
#[derive(Debug)]
pub struct Source<R> {
    name: String,
    reader: R,
}

impl<R: Read + Seek> Source<R> {
    /// A file.
    pub fn new(name: impl Into<String>, reader: R) -> Source<R> {
        Source { name: name.into(), reader }
    }
}

/// Why a list could not be rechecked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecheckError {
    /// The file is neither the list that was scrubbed nor what was kept of it.
    #[error(
        "{file} is not the list of this receipt ({bytes} bytes; the list had {input_bytes}{}): recheck the file that was scrubbed or what it kept",
        kept_bytes.map_or_else(String::new, |bytes| format!(", what it kept {bytes}"))
    )]
    OtherFile {
        /// The file.
        file: String,
        /// Its length.
        bytes: u64,
        /// The length of the list.
        input_bytes: u64,
        /// The length of what was kept.
        kept_bytes: Option<u64>,
    },
    /// The file has the right length, but not the right bytes.
    #[error("{file} is not as it was scrubbed (near byte {offset}, line {line}): scrub it again")]
    FileChanged {
        /// The file.
        file: String,
        /// Where the part begins that is different.
        offset: u64,
        /// The line on which it begins.
        line: u64,
    },
    /// The index is not the one that belongs to the receipt.
    #[error(
        "{file} can't be used, {what}: put the one there that was written with the receipt, or scrub the list again"
    )]
    Index {
        /// The index.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file can't be read.
    #[error("{file} can't be read")]
    Read {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The set of opt-outs could not answer.
    #[error("the opt-outs can't be looked up")]
    Lookup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The output can't be written.
    #[error(transparent)]
    Write(#[from] ScrubError),
}

/// A recheck of one list.
#[derive(Debug)]
pub struct Recheck<'a, S> {
    receipt: &'a Receipt,
    now: &'a S,
}

impl<'a, S: SuppressionSet> Recheck<'a, S> {
    /// A recheck by a receipt, against the set as it is now.
    pub fn new(receipt: &'a Receipt, now: &'a S) -> Recheck<'a, S> {
        Recheck { receipt, now }
    }

    /// Writes the rows of a list that would not be kept any more, or only now, with the columns
    /// `optout_change` (`suppressed` or `released`), `optout_line` (in this file),
    /// `optout_since`, `optout_source` and `optout_rule`, the last three for suppressed rows.
    /// `changed` are the subscribers who may stand differently since the scrub; who is not among
    /// them is taken to stand as he did. Where duplicates were removed, only the first row of a
    /// number counts.
    ///
    /// # Errors
    ///
    /// When index or list are not those of the receipt, and when anything else fails: what was
    /// written must not be used then.
    pub fn run<I: Read + Seek, F: Read + Seek>(
        &self,
        changed: &Changed,
        index: Source<I>,
        list: Source<F>,
        sink: Option<Sink<'_>>,
    ) -> Result<RecheckReport, RecheckError> {
        let receipt = self.receipt;
        let (Some(id), Some(shape)) = (receipt.id(), receipt.shape()) else {
            unreachable!("a receipt that was read has them");
        };
        let failed = |error| index_failed(&index.name, error);
        let mut rows = IndexReader::open(index.reader, id, receipt.index()).map_err(failed)?;
        let mut list = List::open(list, receipt)?;
        let hasher = RowHasher::of_receipt(id);
        let asked = self.ask(changed, hasher)?;
        let mut walk = self.begin(hasher, &asked, list.kind, Rows::new(sink, shape));
        walk.output.begin(&list.prologue(receipt, &shape)?, receipt)?;
        let runs = &receipt.index().runs;
        for (place, run) in runs.iter().enumerate() {
            let hits = rows.find(run, &asked.bits_in(run)).map_err(failed)?;
            let chosen = asked.chosen(hits, run, list.kind);
            let is_border = place == 0 || place + 1 == runs.len();
            if chosen.is_empty() && !is_border {
                continue;
            }
            let of_kept = list.kind == ListKind::Kept;
            let stretches = rows.stretches(run, of_kept).map_err(failed)?;
            if is_border {
                list.check_borders(&stretches)?;
            }
            for (stretch, hits) in chosen {
                let placed = stretches.get(stretch as usize).copied();
                let placed =
                    placed.ok_or(IndexError::Other("it names a stretch that is not there"));
                let placed = placed.map_err(failed)?;
                if !walk.stretch(list.read(placed)?, placed, run, &hits)? {
                    return Err(failed(IndexError::Other("it contradicts the list")));
                }
            }
        }
        walk.output.finish()?;
        Ok(walk.report)
    }

    /// The ruling on each subscriber as of now.
    fn ask(&self, changed: &Changed, hasher: RowHasher) -> Result<Asked, RecheckError> {
        let mut hashed: Vec<(u32, SubscriberKey)> =
            changed.keys.iter().map(|&key| (hasher.of_key(key), key)).collect();
        let ids: Vec<&str> = changed.ids.iter().map(|id| id.as_str()).collect();
        let keys = keys_of_ids(self.now, &ids).map_err(lookup_failed)?;
        let of_ids = ids.iter().zip(keys).filter_map(|(&id, key)| Some((hasher.of_id(id), key?)));
        hashed.extend(of_ids);
        let mut asked = Asked { rulings: HashMap::with_capacity(hashed.len()), hashed: Vec::new() };
        for part in hashed.chunks(BATCH) {
            let keys: Vec<SubscriberKey> = part.iter().map(|&(_, key)| key).collect();
            let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
            self.now.judge_batch(&keys, &mut rulings).map_err(lookup_failed)?;
            let hashes = part.iter().map(|&(hash, _)| hash);
            asked.hashed.extend(hashes.zip(rulings.iter().map(|it| it.may_send())));
            asked.rulings.extend(keys.into_iter().zip(rulings));
        }
        Ok(asked)
    }

    fn begin<'w, 'o>(
        &'w self,
        hasher: RowHasher,
        asked: &'w Asked,
        file: ListKind,
        output: Rows<'o>,
    ) -> Walk<'w, 'a, 'o, S> {
        Walk {
            recheck: self,
            asked,
            origins: HashMap::new(),
            hasher,
            readers: self.readers(),
            seen: HashSet::new(),
            scratch: Vec::new(),
            output,
            report: RecheckReport {
                file,
                changed: asked.rulings.len() as u64,
                looked_at: 0,
                suppressed: 0,
                released: 0,
            },
        }
    }

    fn readers(&self) -> Readers {
        let region = self.receipt.options().region.as_deref();
        Readers::new(region.and_then(|it| Region::parse(it).ok()), self.receipt.folding())
    }
}

fn lookup_failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> RecheckError {
    RecheckError::Lookup(Box::new(error))
}

fn index_failed(file: &str, error: IndexError) -> RecheckError {
    let file = file.to_owned();
    match error {
        IndexError::Io(source) => RecheckError::Read { file, source },
        IndexError::Other(what) => RecheckError::Index { file, what },
    }
}

/// How those stand now who may stand differently.
struct Asked {
    rulings: HashMap<SubscriberKey, Ruling>,
    /// Whether he may be sent to who has this hash.
    hashed: Vec<(u32, bool)>,
}

impl Asked {
    /// What a run keeps of the hashes, ascending and each once.
    fn bits_in(&self, run: &RunInfo) -> Vec<u32> {
        let mut bits: Vec<u32> = self.hashed.iter().map(|&(hash, _)| run.bits_of(hash)).collect();
        bits.sort_unstable();
        bits.dedup();
        bits
    }

    /// The stretches that have to be read, each with the entries that are there for the hashes, in
    /// the order of the list: those where an entry and the ruling of now on a subscriber who may
    /// be meant by it say different things.
    fn chosen(&self, hits: Vec<Hit>, run: &RunInfo, kind: ListKind) -> BTreeMap<u32, Vec<Hit>> {
        let mut passes: HashMap<u32, [bool; 2]> = HashMap::new();
        for &(hash, may_send) in &self.hashed {
            passes.entry(run.bits_of(hash)).or_default()[usize::from(may_send)] = true;
        }
        let differs = |hit: &Hit| {
            let of_file = hit.passed || kind == ListKind::Input;
            of_file && passes.get(&hit.bits).is_some_and(|it| it[usize::from(!hit.passed)])
        };
        let mut stretches: BTreeMap<u32, Vec<Hit>> = BTreeMap::new();
        for hit in hits {
            stretches.entry(hit.stretch).or_default().push(hit);
        }
        stretches.retain(|_, hits| hits.iter().any(differs));
        stretches
    }
}

/// The list, of which pieces are read.
struct List<R> {
    name: String,
    reader: R,
    kind: ListKind,
    buffer: Vec<u8>,
}

impl<R: Read + Seek> List<R> {
    /// Finds out by its length which file it is.
    fn open(source: Source<R>, receipt: &Receipt) -> Result<List<R>, RecheckError> {
        let Source { name, mut reader } = source;
        let bytes = match reader.seek(SeekFrom::End(0)) {
            Ok(bytes) => bytes,
            Err(source) => return Err(RecheckError::Read { file: name, source }),
        };
        let has_length = |file: &FileInfo| file.bytes == bytes;
        // When both are as long as each other, nobody was taken out, and they are the same.
        let kind = match receipt.kept() {
            _ if has_length(receipt.input()) => ListKind::Input,
            Some(kept) if has_length(kept) => ListKind::Kept,
            kept => {
                return Err(RecheckError::OtherFile {
                    file: name,
                    bytes,
                    input_bytes: receipt.input().bytes,
                    kept_bytes: kept.map(|file| file.bytes),
                });
            }
        };
        Ok(List { name, reader, kind, buffer: Vec::new() })
    }

    /// The text before the records.
    fn prologue(&mut self, receipt: &Receipt, shape: &Shape) -> Result<Vec<u8>, RecheckError> {
        let (bytes, xxh3) = receipt.prologue();
        let piece = self.bytes(0, bytes)?;
        let text = match xxh3_64(piece) == xxh3 {
            true => shape.decode(piece).ok().map(|text| text.into_owned()),
            false => None,
        };
        text.ok_or_else(|| self.changed(0, 1))
    }

    /// Compares the first and the last stretch of these: a list that was edited, or another one of
    /// the same length, nearly always differs there.
    fn check_borders(&mut self, stretches: &[Placed]) -> Result<(), RecheckError> {
        let filled = || stretches.iter().filter(|it| it.piece.bytes > 0);
        for placed in filled().next().into_iter().chain(filled().next_back()) {
            self.read(*placed)?;
        }
        Ok(())
    }

    /// The bytes of a stretch, compared.
    fn read(&mut self, placed: Placed) -> Result<&[u8], RecheckError> {
        let matches = xxh3_64(self.bytes(placed.at, placed.piece.bytes)?) == placed.piece.xxh3;
        // Nothing has no checksum.
        if placed.piece.bytes > 0 && !matches {
            return Err(self.changed(placed.at, placed.line));
        }
        Ok(&self.buffer)
    }

    fn bytes(&mut self, at: u64, bytes: u32) -> Result<&[u8], RecheckError> {
        self.buffer.resize(bytes as usize, 0);
        let read = match self.reader.seek(SeekFrom::Start(at)) {
            Ok(_) => self.reader.read_exact(&mut self.buffer),
            Err(error) => Err(error),
        };
        match read {
            Ok(()) => Ok(&self.buffer),
            Err(source) => Err(RecheckError::Read { file: self.name.clone(), source }),
        }
    }

    fn changed(&self, offset: u64, line: u64) -> RecheckError {
        RecheckError::FileChanged { file: self.name.clone(), offset, line }
    }
}

/// A row that can be sent to.
struct Row {
    recipient: worker::Recipient,
    /// None of an id that the set has never heard of.
    key: Option<SubscriberKey>,
    hash: u32,
}

/// The walk over those stretches that are read.
struct Walk<'w, 'a, 'o, S> {
    recheck: &'w Recheck<'a, S>,
    asked: &'w Asked,
    origins: HashMap<SubscriberKey, Option<Origin>>,
    hasher: RowHasher,
    readers: Readers,
    /// Those whose first row has been written, where duplicates were removed.
    seen: HashSet<worker::Recipient>,
    scratch: Vec<u8>,
    output: Rows<'o>,
    report: RecheckReport,
}

impl<S: SuppressionSet> Walk<'_, '_, '_, S> {
    /// Goes through the rows of a stretch; whether they are those that the index knows. `hits`
    /// are the entries of the index for the subscribers who changed, in the order of the list.
    fn stretch(
        &mut self,
        piece: &[u8],
        placed: Placed,
        run: &RunInfo,
        hits: &[Hit],
    ) -> Result<bool, RecheckError> {
        let shape = self.output.shape;
        let Ok(text) = shape.decode(piece) else { return Ok(false) };
        // Rows of one hash come in the order in which their entries do.
        let mut then: HashMap<u32, VecDeque<bool>> = HashMap::new();
        hits.iter().for_each(|hit| then.entry(hit.bits).or_default().push_back(hit.passed));
        for record in shape.records(&text, placed.line) {
            self.report.looked_at += 1;
            let Some(row) = self.read(&record)? else { continue };
            let passed = match (self.report.file, then.get_mut(&run.bits_of(row.hash))) {
                (ListKind::Kept, _) => true,
                (ListKind::Input, None) => continue,
                (ListKind::Input, Some(entries)) => match entries.pop_front() {
                    Some(passed) => passed,
                    None => return Ok(false),
                },
            };
            self.row(&record, row, passed)?;
        }
        let is_input = self.report.file == ListKind::Input;
        Ok(!is_input || then.into_values().all(|entries| entries.is_empty()))
    }

    /// Whom a row is for, if it can be sent to.
    fn read(&mut self, record: &Record<'_>) -> Result<Option<Row>, RecheckError> {
        let has_region_column = self.recheck.receipt.options().region_column.is_some();
        let found = read_cell(record, has_region_column, &mut self.readers, &mut self.scratch);
        Ok(match found {
            Ok(Found::Number(it)) if it.sendable => {
                let recipient = worker::Recipient::Number(it.number.get());
                Some(Row { recipient, key: Some(it.key), hash: self.hasher.of_key(it.key) })
            }
            Ok(Found::Id(id)) => {
                let key = keys_of_ids(self.recheck.now, &[id]).map_err(lookup_failed)?[0];
                let recipient = worker::Recipient::Id(id.into());
                Some(Row { recipient, key, hash: self.hasher.of_id(id) })
            }
            _ => None,
        })
    }

    /// Writes a row if its subscriber changed. `passed` is whether it was let pass then.
    fn row(&mut self, record: &Record<'_>, row: Row, passed: bool) -> Result<(), RecheckError> {
        let ruling = row.key.and_then(|key| Some((key, *self.asked.rulings.get(&key)?)));
        let Some((key, ruling)) = ruling else { return Ok(()) };
        let dedupe = self.recheck.receipt.options().dedupe;
        if ruling.may_send() == passed || dedupe && !self.seen.insert(row.recipient) {
            return Ok(());
        }
        let line = record.line().to_string();
        if passed {
            self.report.suppressed += 1;
            let origin = self.origin(key, ruling)?;
            let since = origin.as_ref().map_or_else(String::new, |it| it.since.to_string());
            let source = origin.as_ref().map_or("", |it| it.source.as_str());
            let rule = origin.as_ref().map_or("", |it| &*it.rule);
            self.output.write(record, ["suppressed", &line, &since, source, rule])
        } else {
            self.report.released += 1;
            self.output.write(record, ["released", &line, "", "", ""])
        }
    }

    fn origin(
        &mut self,
        key: SubscriberKey,
        ruling: Ruling,
    ) -> Result<Option<Origin>, RecheckError> {
        if let Some(origin) = self.origins.get(&key) {
            return Ok(origin.clone());
        }
        let origin = self.recheck.now.origin(key, ruling).map_err(lookup_failed)?;
        self.origins.insert(key, origin.clone());
        Ok(origin)
    }
}

/// The rows that are written.
struct Rows<'o> {
    sink: Option<Sink<'o>>,
    shape: Shape,
    text: Vec<u8>,
}

impl<'o> Rows<'o> {
    fn new(sink: Option<Sink<'o>>, shape: Shape) -> Rows<'o> {
        Rows { sink, shape, text: Vec::new() }
    }

    fn begin(&mut self, prologue: &[u8], receipt: &Receipt) -> Result<(), RecheckError> {
        let (preamble, header) = receipt.part(prologue).unwrap_or((prologue, None));
        let header = self.shape.extend_header(preamble, header, &NAMES);
        Ok(self.sink.write(&header)?)
    }

    fn write(&mut self, record: &Record<'_>, cells: [&str; 5]) -> Result<(), RecheckError> {
        if self.sink.is_none() {
            return Ok(());
        }
        let cells = cells.map(str::as_bytes);
        self.shape.append_row(record.body(), record.line_end(), &cells, &mut self.text);
        if self.text.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RecheckError> {
        let text = std::mem::take(&mut self.text);
        Ok(self.sink.write(&self.shape.encode(text))?)
    }

    fn finish(&mut self) -> Result<(), RecheckError> {
        self.flush()?;
        Ok(self.sink.flush()?)
    }
}
