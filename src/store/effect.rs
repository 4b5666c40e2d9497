//! Would one more opt-out change how somebody stands?
//!
//! Asked before a list is recorded, of millions. Promises no wrong answer, but that it may have
//! none: where somebody's history decides. Leaves that to the caller.

use super::error::StoreError;
use super::reader::Reader;
use super::standings::Lens;
use crate::number::SubscriberKey;
use crate::policy::{Decision, Fact, Ruling};

/// What one more opt-out would do to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: he is opted out of all that it says.
    Nothing,
    /// It would be the first that is known of him.
    First,
    /// His history tells.
    Unclear,
}

/// The ruling on those against whom all stands already that an opt-out says.
const COVERED: Ruling = Ruling { decision: Decision::Exempt, rule: None };

impl Reader {
    /// What one more opt-out would do to each subscriber.
    ///
    /// # Errors
    ///
    /// As [`Reader::standing`].
    pub(crate) fn effects(
        &self,
        opt_out: &Fact,
        keys: &[SubscriberKey],
    ) -> Result<Vec<Effect>, StoreError> {
        self.usable()?;
        if self.past.is_some() {
            return Ok(vec![Effect::Unclear; keys.len()]);
        }
        let lens = Lens::by(self.standings.profiles(), |claims| {
            let is_covered = !claims.is_empty() && claims.with(opt_out.claim()) == *claims;
            if is_covered { COVERED } else { Ruling::UNANSWERED }
        });
        let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
        self.standings.judge_batch(&lens, keys, &mut rulings)?;
        let unlisted: Vec<SubscriberKey> = keys
            .iter()
            .zip(&rulings)
            .filter(|(_, ruling)| **ruling == Ruling::UNLISTED)
            .map(|(key, _)| *key)
            .collect();
        let mut heads = self.standings.heads(&unlisted)?.into_iter();
        let effect = |ruling| match ruling {
            COVERED => Effect::Nothing,
            Ruling::UNLISTED if heads.next() == Some(0) => Effect::First,
            _ => Effect::Unclear,
        };
        Ok(rulings.into_iter().map(effect).collect())
    }
}
