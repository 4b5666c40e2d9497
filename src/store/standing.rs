//! What do the events of one subscriber amount to?
//!
//! The event with the latest `occurred_at` decides, in whatever order the events arrive; at a
//! tie an opt-out decides. An old START thus never lifts a newer STOP.

use crate::event::Action;
use crate::time::Timestamp;

/// How a subscriber stands after all recorded events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether he is opted out; otherwise he came back.
    pub opted_out: bool,
    /// Sequence of his newest event, from which his whole history can be followed.
    pub head: u64,
    /// Sequence of the event that began what he is now: the first recorded opt-out that no
    /// resubscribe has lifted, or the resubscribe that decides.
    pub since: u64,
}

/// An event, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) sequence: u64,
    pub(super) action: Action,
    pub(super) occurred_at: Timestamp,
}

/// How one subscriber stands after the given events, which are all of his, in any order.
/// `None` when there are none.
pub(super) fn decide(facts: &[Fact]) -> Option<Standing> {
    let head = facts.iter().map(|fact| fact.sequence).max()?;
    let lifted = facts
        .iter()
        .filter(|fact| fact.action == Action::Resubscribe)
        .max_by_key(|fact| (fact.occurred_at, fact.sequence));
    let unlifted = |fact: &&Fact| {
        fact.action == Action::OptOut
            && lifted.is_none_or(|resubscribe| fact.occurred_at >= resubscribe.occurred_at)
    };
    let first = facts.iter().filter(unlifted).map(|fact| fact.sequence).min();
    match (first, lifted) {
        (Some(since), _) => Some(Standing { opted_out: true, head, since }),
        (None, Some(fact)) => Some(Standing { opted_out: false, head, since: fact.sequence }),
        (None, None) => unreachable!("every event is an opt-out or a resubscribe"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(sequence: u64, action: Action, at: i64) -> Fact {
        Fact { sequence, action, occurred_at: Timestamp::from_millis(at) }
    }

    #[test]
    fn the_later_moment_decides_and_a_tie_is_opted_out() {
        use Action::{OptOut, Resubscribe};
        for (facts, opted_out, since) in [
            (vec![fact(1, OptOut, 5)], true, 1),
            (vec![fact(1, OptOut, 5), fact(2, Resubscribe, 6)], false, 2),
            (vec![fact(1, OptOut, 5), fact(2, Resubscribe, 5)], true, 1),
            (vec![fact(1, OptOut, 5), fact(2, Resubscribe, 4)], true, 1),
            (vec![fact(1, Resubscribe, 9), fact(2, OptOut, 5)], false, 1),
            (vec![fact(1, OptOut, 1), fact(2, Resubscribe, 2), fact(3, OptOut, 3)], true, 3),
            (vec![fact(1, OptOut, 9), fact(2, OptOut, 3)], true, 1),
            (vec![fact(1, OptOut, 1), fact(2, OptOut, 9), fact(3, Resubscribe, 5)], true, 2),
        ] {
            let standing = decide(&facts).unwrap();
            assert_eq!((standing.opted_out, standing.since), (opted_out, since), "{facts:?}");
            assert_eq!(standing.head, facts.len() as u64);
            let mut backwards = facts.clone();
            backwards.reverse();
            assert_eq!(decide(&backwards), Some(standing));
        }
        assert_eq!(decide(&[]), None);
    }
}
