//! What the scrub asks of whoever keeps the opt-outs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use crate::event::Source;
use crate::number::SubscriberKey;
use crate::time::Timestamp;

/// A set of subscribers who must not be messaged, as of one moment. It may not change under a
/// scrub: give it a view of a store, not the store.
pub trait SuppressionSet: Sync {
    /// Why the set could not answer. There is no answer to fall back on: the scrub fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Says for each key whether it is in the set. Both slices have the same length.
    ///
    /// # Errors
    ///
    /// When the set can't tell, for even one of the keys.
    fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool])
    -> Result<(), Self::Error>;

    /// Since when and from where a subscriber is in the set, as far as that is known.
    ///
    /// # Errors
    ///
    /// When the set can't tell.
    fn origin(&self, key: SubscriberKey) -> Result<Option<Origin>, Self::Error>;
}

/// Since when and from where a subscriber is suppressed, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When the person opted out.
    pub since: Timestamp,
    /// Where that came from.
    pub source: Source,
    /// The rule that makes it count for this message.
    pub rule: &'static str,
}

impl<S: SuppressionSet + ?Sized> SuppressionSet for &S {
    type Error = S::Error;

    fn contains_batch(
        &self,
        keys: &[SubscriberKey],
        found: &mut [bool],
    ) -> Result<(), Self::Error> {
        (**self).contains_batch(keys, found)
    }

    fn origin(&self, key: SubscriberKey) -> Result<Option<Origin>, Self::Error> {
        (**self).origin(key)
    }
}

impl SuppressionSet for BTreeSet<SubscriberKey> {
    type Error = Infallible;

    fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) -> Result<(), Infallible> {
        for (key, found) in keys.iter().zip(found) {
            *found = self.contains(key);
        }
        Ok(())
    }

    fn origin(&self, _key: SubscriberKey) -> Result<Option<Origin>, Infallible> {
        Ok(None)
    }
}

impl SuppressionSet for BTreeMap<SubscriberKey, Origin> {
    type Error = Infallible;

    fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) -> Result<(), Infallible> {
        for (key, found) in keys.iter().zip(found) {
            *found = self.contains_key(key);
        }
        Ok(())
    }

    fn origin(&self, key: SubscriberKey) -> Result<Option<Origin>, Infallible> {
        Ok(self.get(&key).copied())
    }
}
