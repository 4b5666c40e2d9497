//! Why does a subscriber stand as he does?

use super::check::RULE_OPT_OUT;
use crate::event::Event;
use crate::number::SubscriberKey;
use crate::store::{Fact, Reader, Standing, StoreError, decide};
use crate::time::Timestamp;

/// How a subscriber stands and the events behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How he stands; `None` when no event was known.
    pub standing: Option<Standing>,
    /// The rule that suppresses him, if he is suppressed.
    pub rule: Option<&'static str>,
    /// All events that were known, oldest first.
    pub events: Vec<Event>,
}

impl Explanation {
    /// Whether he is opted out.
    pub fn is_suppressed(&self) -> bool {
        self.standing.is_some_and(|standing| standing.opted_out)
    }

    /// The event that began what he is now.
    pub fn since(&self) -> Option<&Event> {
        let since = self.standing?.since;
        self.events.iter().find(|event| event.sequence == since)
    }
}

/// Why a subscriber stands as he does; with `at`, as the store knew it at that moment: by the
/// events that had been received until then.
///
/// # Errors
///
/// When the store is damaged or can't be read.
pub fn explain(
    reader: &Reader,
    key: SubscriberKey,
    at: Option<Timestamp>,
) -> Result<Explanation, StoreError> {
    let known = |moment: Timestamp| at.is_none_or(|at| moment <= at);
    let mut events = reader.history(key)?;
    events.retain(|event| known(event.received_at));
    let standing = match at {
        None => reader.standing(key)?,
        Some(_) => decide(&events.iter().map(Fact::from).collect::<Vec<_>>()),
    };
    let rule = standing.filter(|standing| standing.opted_out).map(|_| RULE_OPT_OUT);
    Ok(Explanation { standing, rule, events })
}
