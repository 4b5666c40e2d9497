//! The answer for one subscriber and one message.

use super::Scope;
use crate::event::Category;

/// The message that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// On which channel, by which sender, for which brand; what is empty is not known, and every
    /// opt-out that may concern it counts.
    pub scope: Scope,
    /// What kind of message it is.
    pub category: Category,
}

impl Default for Context {
    /// A marketing message of which nothing else is known: every opt-out counts.
    fn default() -> Context {
        Context { scope: Scope::EVERYWHERE, category: Category::Marketing }
    }
}

/// What becomes of a recipient. In the order of strength: of two decisions the larger counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Nothing stands against this message.
    Allowed,
    /// Something stands against other messages, but not against this one.
    Exempt,
    /// The message must not be sent.
    Suppressed,
}

impl Decision {
    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Decision::Allowed => "allowed",
            Decision::Exempt => "exempt",
            Decision::Suppressed => "suppressed",
        }
    }
}

/// A rule of a policy, by its place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(crate) u8);

/// A decision and the rule that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a recipient may be messaged only when the decision is `Allowed` or `Exempt`"]
pub struct Ruling {
    /// What becomes of the recipient.
    pub decision: Decision,
    /// By which rule; none when no event and no registry is about the recipient.
    pub rule: Option<RuleId>,
}

impl Ruling {
    /// Nothing is known of the recipient.
    pub const UNLISTED: Ruling = Ruling { decision: Decision::Allowed, rule: None };
    /// Nobody has answered yet: what a set forgets to answer stays suppressed.
    pub const UNANSWERED: Ruling = Ruling { decision: Decision::Suppressed, rule: None };

    /// Whether the message may be sent.
    pub const fn may_send(self) -> bool {
        !matches!(self.decision, Decision::Suppressed)
    }

    /// Of two rulings on one recipient the one that counts: the stronger decision. When they
    /// decide the same, the first, unless only the second has a rule to name.
    pub fn stronger(self, other: Ruling) -> Ruling {
        let key = |ruling: Ruling| (ruling.decision, ruling.rule.is_some());
        if key(other) > key(self) { other } else { self }
    }
}
