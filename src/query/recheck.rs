//! Who of a scrubbed list stands differently in the store since?
//!
//! Finds out who may have changed, from the events and the outside lists that came after the
//! scrub, and leaves it to [`Recheck`] to find their rows. A receipt that does not fit the store,
//! the message or the rules is refused: then only another scrub tells.

use std::io::{Read, Seek};

use super::Judge;
use crate::event::Category;
use crate::journal::Span;
use crate::policy::{Context, Scope};
use crate::scrub::{
    Basis, Changed, LayerUsed, Message, Receipt, Recheck, RecheckError, RecheckReport, Sink, Source,
};
use crate::store::{Reader, Registry, RegistryChanges, StoreError};
use crate::time::Timestamp;

/// More subscribers than that are not looked for one by one: another scrub is faster.
const CHANGED_MAX: u64 = 16 << 20;

/// Why a list could not be rechecked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecheckRefused {
    /// The receipt is of another store.
    #[error(
        "the receipt is of the store {receipt}, this one is {store}: name the store that was asked"
    )]
    OtherStore {
        /// The store of the receipt.
        receipt: String,
        /// This store.
        store: String,
    },
    /// The store is older than the receipt, or another one has grown from the same backup.
    #[error(
        "the receipt knows of sequence {receipt}, the newest here is {newest}{}: this store was restored from an older copy; scrub the list again",
        if newest < receipt { "" } else { ", but not the same events" }
    )]
    OtherHistory {
        /// The sequence of the receipt.
        receipt: u64,
        /// That of the newest event of the store.
        newest: u64,
    },
    /// The rules are others.
    #[error(
        "the list was scrubbed by another policy: name that one with --policy, or scrub it again"
    )]
    OtherPolicy,
    /// The message is another one than that of the receipt.
    #[error("the list was scrubbed for another message: scrub it again for this one")]
    OtherMessage,
    /// A layer of the receipt can't be found in the store.
    #[error("the list was scrubbed against a layer {layer} that is not known here: scrub it again")]
    UnknownLayer {
        /// Its name.
        layer: String,
    },
    /// An id was erased since: which one it was nobody can tell, so that its rows can't be found.
    #[error(
        "an id was erased from the store since, and nobody can tell which: scrub the list again"
    )]
    Erased,
    /// A view of the past was asked: a receipt tells how everybody stood when it was written.
    #[error("a receipt is written, and a list rechecked, against the present store")]
    EarlierMoment,
    /// So many changed that a scrub is faster.
    #[error(
        "{changed} subscribers changed since, more than are looked for one by one: scrub the list again"
    )]
    TooManyChanges {
        /// How many.
        changed: u64,
    },
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// List or index are not those of the receipt, or can't be read.
    #[error(transparent)]
    Recheck(#[from] RecheckError),
}

/// What a receipt says of the store and the rules that a scrub asks.
///
/// # Errors
///
/// When the store can't be read, or the judge asks a view of the past.
pub fn basis_of(judge: &Judge<'_>, now: Timestamp) -> Result<Basis, RecheckRefused> {
    let reader = judge.reader();
    if reader.moment().is_some() {
        return Err(RecheckRefused::EarlierMoment);
    }
    Ok(Basis {
        store: reader.manifest().store.clone(),
        asked_at: now,
        newest_event_at: received_at(reader, reader.sequence())?,
        policy: format!("{:032x}", judge.policy().digest()),
    })
}

/// The message that a judge rules on, and the outside lists that it asks, for the scrubber: a
/// receipt needs them.
pub fn message_of(judge: &Judge<'_>, now: Timestamp) -> Message {
    let Context { scope, category } = judge.context();
    let text = |value: &str| Some(value.to_owned()).filter(|it| !it.is_empty());
    let layers = judge.layers().map(|layer| LayerUsed {
        name: layer.name().to_owned(),
        as_of: layer.as_of(),
        received_at: layer.received_at(),
        digest: layer.digest().to_owned(),
        stale: layer.is_stale(now),
    });
    Message {
        category: Some(*category),
        channel: text(scope.channel()),
        sender: text(scope.sender()),
        brand: text(scope.brand()),
        layers: layers.collect(),
    }
}

/// The message of a receipt, to make a [`Judge`] of.
///
/// # Errors
///
/// When this release does not know its channel.
pub fn context_of(receipt: &Receipt) -> Result<Context, RecheckRefused> {
    let message = &receipt.options().message;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let [channel, sender, brand] = [&message.channel, &message.sender, &message.brand].map(text);
    let scope = Scope::new(&channel, &sender, &brand).map_err(|_| RecheckRefused::OtherMessage)?;
    Ok(Context { scope, category: message.category.unwrap_or(Category::Marketing) })
}

/// Writes the rows of a scrubbed list that would not be kept any more, or only now; see
/// [`Recheck::run`]. The cost follows what changed, not the list. `judge` has to rule by the same
/// policy on the same message ([`context_of`]), as of now.
///
/// # Errors
///
/// When the receipt does not fit, and when anything else fails: what was written must not be used
/// then.
pub fn recheck<I: Read + Seek, F: Read + Seek>(
    judge: &Judge<'_>,
    receipt: &Receipt,
    index: Source<I>,
    list: Source<F>,
    sink: Option<Sink<'_>>,
) -> Result<RecheckReport, RecheckRefused> {
    check_basis(judge, receipt)?;
    let changed = changed_since(judge, receipt)?;
    Ok(Recheck::new(receipt, judge).run(&changed, index, list, sink)?)
}

fn check_basis(judge: &Judge<'_>, receipt: &Receipt) -> Result<(), RecheckRefused> {
    let (reader, basis) = (judge.reader(), receipt.basis());
    if reader.moment().is_some() {
        return Err(RecheckRefused::EarlierMoment);
    }
    let store = &reader.manifest().store;
    if *store != basis.store {
        let (receipt, store) = (basis.store.clone(), store.clone());
        return Err(RecheckRefused::OtherStore { receipt, store });
    }
    let (sequence, newest) = (receipt.sequence(), reader.sequence());
    if sequence > newest || received_at(reader, sequence)? != basis.newest_event_at {
        return Err(RecheckRefused::OtherHistory { receipt: sequence, newest });
    }
    if format!("{:032x}", judge.policy().digest()) != basis.policy {
        return Err(RecheckRefused::OtherPolicy);
    }
    let folds_alike = reader.folding() == receipt.folding();
    if *judge.context() != context_of(receipt)? || !folds_alike {
        return Err(RecheckRefused::OtherMessage);
    }
    Ok(())
}

/// When an event was received, by the index of the journal alone.
fn received_at(reader: &Reader, sequence: u64) -> Result<Option<Timestamp>, StoreError> {
    let mut received_at = None;
    let Some(before) = sequence.checked_sub(1) else { return Ok(None) };
    let look = |span: &Span| {
        received_at.get_or_insert(span.received_at);
        false
    };
    reader.scan::<StoreError>(before, look, |_| Ok(true))?;
    Ok(received_at)
}

/// Everybody who may stand differently than at the time of the receipt.
fn changed_since(judge: &Judge<'_>, receipt: &Receipt) -> Result<Changed, RecheckRefused> {
    let reader = judge.reader();
    let mut keys = reader.touched(receipt.sequence())?;
    let layers = changed_layers(judge, receipt)?;
    let changed = keys.len() as u64 + layers.iter().map(|it| it.len()).sum::<u64>();
    if changed > CHANGED_MAX {
        return Err(RecheckRefused::TooManyChanges { changed });
    }
    keys.extend(layers.iter().flat_map(|it| it.keys()));
    keys.sort_unstable();
    keys.dedup();
    let mut ids = Vec::new();
    for &key in keys.iter().filter(|key| key.id_sequence().is_some()) {
        let events = reader.history(key)?;
        let address = events
            .iter()
            .filter(|it| it.key == Some(key))
            .find_map(|it| it.address.as_ref().and_then(|address| address.id().cloned()));
        ids.push(address.ok_or(RecheckRefused::Erased)?);
    }
    keys.retain(|key| key.id_sequence().is_none());
    Ok(Changed { keys, ids })
}

/// What differs between the outside lists that the scrub asked and those that are asked now.
fn changed_layers(
    judge: &Judge<'_>,
    receipt: &Receipt,
) -> Result<Vec<RegistryChanges>, RecheckRefused> {
    let then = &receipt.options().message.layers;
    let mut changes = Vec::new();
    let mut add = |name: &str, then, counts_now| {
        let found = judge.reader().registry_changes(name, then, counts_now)?;
        let unknown = || RecheckRefused::UnknownLayer { layer: name.to_owned() };
        changes.push(found.ok_or_else(unknown)?);
        Ok::<(), RecheckRefused>(())
    };
    for used in then {
        let now = judge.layers().find(|it| it.name() == used.name);
        // Of two lists that were imported while the clock stood still, the members tell.
        let is_used = |it: &Registry| {
            (it.received_at(), it.digest()) == (used.received_at, used.digest.as_str())
        };
        if !now.is_some_and(is_used) {
            add(&used.name, Some(used.received_at), now.is_some())?;
        }
    }
    for now in judge.layers() {
        if then.iter().all(|used| used.name != now.name()) {
            add(now.name(), None, true)?;
        }
    }
    Ok(changes)
}
