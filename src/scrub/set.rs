//! What the scrub asks of whoever keeps the opt-outs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use crate::event::Source;
use crate::number::SubscriberKey;
use crate::policy::{Decision, Ruling};
use crate::time::Timestamp;

/// A set of subscribers who must not be messaged, as of one moment. It may not change under a
/// scrub: give it a view of a store, not the store.
pub trait SuppressionSet: Sync {
    /// Why the set could not answer. There is no answer to fall back on: the scrub fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The ruling on each key. Both slices have the same length; `rulings` comes filled with
    /// [`Ruling::UNANSWERED`], which suppresses.
    ///
    /// # Errors
    ///
    /// When the set can't tell, for even one of the keys.
    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Self::Error>;

    /// The keys of ids without a number, by which they are judged: one for each id, in their
    /// order; `None` when the set has never heard of it, so that nothing stands against it.
    ///
    /// # Errors
    ///
    /// When the set can't tell, for even one of the ids.
    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Self::Error>;

    /// Since when and from where a subscriber is suppressed by a ruling, as far as that is known.
    ///
    /// # Errors
    ///
    /// When the set can't tell.
    fn origin(&self, key: SubscriberKey, ruling: Ruling) -> Result<Option<Origin>, Self::Error>;
}

/// Since when and from where a subscriber is suppressed, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When the person opted out.
    pub since: Timestamp,
    /// Where that came from.
    pub source: Source,
    /// The rule that makes it count for this message.
    pub rule: String,
}

impl<S: SuppressionSet + ?Sized> SuppressionSet for &S {
    type Error = S::Error;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Self::Error> {
        (**self).judge_batch(keys, rulings)
    }

    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Self::Error> {
        (**self).keys_of_ids(ids)
    }

    fn origin(&self, key: SubscriberKey, ruling: Ruling) -> Result<Option<Origin>, Self::Error> {
        (**self).origin(key, ruling)
    }
}

/// The ruling on a member of a plain set.
fn of_member(is_member: bool) -> Ruling {
    let decision = if is_member { Decision::Suppressed } else { Decision::Allowed };
    Ruling { decision, rule: None }
}

impl SuppressionSet for BTreeSet<SubscriberKey> {
    type Error = Infallible;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Infallible> {
        for (key, ruling) in keys.iter().zip(rulings) {
            *ruling = of_member(self.contains(key));
        }
        Ok(())
    }

    /// A plain set holds no ids.
    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Infallible> {
        Ok(vec![None; ids.len()])
    }

    fn origin(&self, _: SubscriberKey, _: Ruling) -> Result<Option<Origin>, Infallible> {
        Ok(None)
    }
}

impl SuppressionSet for BTreeMap<SubscriberKey, Origin> {
    type Error = Infallible;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), Infallible> {
        for (key, ruling) in keys.iter().zip(rulings) {
            *ruling = of_member(self.contains_key(key));
        }
        Ok(())
    }

    /// A plain set holds no ids.
    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, Infallible> {
        Ok(vec![None; ids.len()])
    }

    fn origin(&self, key: SubscriberKey, _: Ruling) -> Result<Option<Origin>, Infallible> {
        Ok(self.get(&key).cloned())
    }
}
