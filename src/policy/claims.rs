//! What do the events of one subscriber amount to?

use super::Scope;
use crate::event::{Action, Category, Ground, Source, Tier};
use crate::time::Timestamp;

/// An event of a subscriber, as far as it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its sequence.
    pub sequence: u64,
    /// What was done.
    pub action: Action,
    /// Where it holds.
    pub scope: Scope,
    /// What it covers.
    pub tier: Tier,
    /// On what ground an opt-out rests.
    pub ground: Ground,
    /// Where it came from.
    pub source: Source,
    /// The category that an override names.
    pub category: Option<Category>,
    /// Whether an operator's resubscribe lifts also what the person said.
    pub overrides: bool,
    /// The import that it belongs to or takes back; 0 for none.
    pub batch: u64,
    /// When the person acted.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub received_at: Timestamp,
}

/// One opt-out that stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// Where it holds.
    pub scope: Scope,
    /// What it covers.
    pub tier: Tier,
    /// The categories that overrides let through in spite of it, ascending.
    pub excepted: Vec<Category>,
}

/// Everything that stands against a subscriber: ascending, without claims that say nothing beside
/// another. Empty when he may get everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claims(Vec<Claim>);

impl Claims {
    /// The claims, ascending.
    pub fn iter(&self) -> std::slice::Iter<'_, Claim> {
        self.0.iter()
    }

    /// Whether nothing stands.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
