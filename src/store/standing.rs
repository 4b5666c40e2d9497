//! What do the events of one subscriber amount to?
//!
//! The moments at which the person acted decide, in whatever order the events arrive: a
//! resubscribe lifts the opt-outs that happened before it. At a tie, and in doubt, the opt-out
//! stands; see [`lifts`].

use crate::event::{Action, Event};
use crate::journal::Record;
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
    /// When the person did that.
    pub since_at: Timestamp,
}

/// An event, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its sequence.
    pub sequence: u64,
    /// What the person did.
    pub action: Action,
    /// When.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub received_at: Timestamp,
}

impl Fact {
    /// What a row of a record says.
    pub fn of_row(record: &Record, row: usize) -> Fact {
        Fact {
            sequence: record.first_sequence() + row as u64,
            action: record.details().action,
            occurred_at: record.occurred_at(row),
            received_at: record.received_at(),
        }
    }

    /// The moment from which a resubscribe counts: nobody can have come back later than it was
    /// recorded. A date in the future, from a slip or a wrong clock, would otherwise silence
    /// every STOP until then.
    fn effective_at(&self) -> Timestamp {
        self.occurred_at.min(self.received_at)
    }
}

impl From<&Event> for Fact {
    fn from(event: &Event) -> Fact {
        Fact {
            sequence: event.sequence,
            action: event.details.action,
            occurred_at: event.occurred_at,
            received_at: event.received_at,
        }
    }
}

/// Whether a resubscribe lifts an opt-out: when the person came back after it, not at the same
/// moment. An opt-out that was recorded after the resubscribe, but at an earlier time by our own
/// clock, stands: the clock was set back in between, so that the moments can't be compared.
pub fn lifts(resubscribe: &Fact, opt_out: &Fact) -> bool {
    let clock_was_set_back =
        opt_out.sequence > resubscribe.sequence && opt_out.received_at < resubscribe.received_at;
    resubscribe.effective_at() > opt_out.occurred_at && !clock_was_set_back
}

/// The opt-outs among the facts that no resubscribe among them lifts.
pub fn unlifted(facts: &[Fact]) -> impl Iterator<Item = &Fact> {
    let is = |action| move |fact: &&Fact| fact.action == action;
    facts.iter().filter(is(Action::OptOut)).filter(move |opt_out| {
        !facts.iter().filter(is(Action::Resubscribe)).any(|it| lifts(it, opt_out))
    })
}

/// How one subscriber stands after the given events, which are all of his, in any order.
/// `None` when there are none.
pub fn decide(facts: &[Fact]) -> Option<Standing> {
    let head = facts.iter().map(|fact| fact.sequence).max()?;
    if let Some(first) = unlifted(facts).min_by_key(|fact| fact.sequence) {
        let (since, since_at) = (first.sequence, first.occurred_at);
        return Some(Standing { opted_out: true, head, since, since_at });
    }
    let came_back = facts.iter().filter(|fact| fact.action == Action::Resubscribe);
    let last = came_back.max_by_key(|fact| (fact.effective_at(), fact.sequence))?;
    let (since, since_at) = (last.sequence, last.occurred_at);
    Some(Standing { opted_out: false, head, since, since_at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{OptOut, Resubscribe};

    const LATE: i64 = 100;

    fn fact(sequence: u64, action: Action, occurred: i64, received: i64) -> Fact {
        Fact {
            sequence,
            action,
            occurred_at: Timestamp::from_millis(occurred),
            received_at: Timestamp::from_millis(received),
        }
    }

    #[test]
    fn the_later_moment_decides_and_a_tie_is_opted_out() {
        for (events, opted_out, since) in [
            (&[(OptOut, 5)][..], true, 1),
            (&[(OptOut, 5), (Resubscribe, 6)], false, 2),
            (&[(OptOut, 5), (Resubscribe, 5)], true, 1),
            (&[(OptOut, 5), (Resubscribe, 4)], true, 1),
            (&[(Resubscribe, 9), (OptOut, 5)], false, 1),
            (&[(OptOut, 1), (Resubscribe, 2), (OptOut, 3)], true, 3),
            (&[(OptOut, 9), (OptOut, 3)], true, 1),
            (&[(OptOut, 1), (OptOut, 9), (Resubscribe, 5)], true, 2),
        ] {
            let facts: Vec<Fact> =
                (1..).zip(events).map(|(seq, &(action, at))| fact(seq, action, at, LATE)).collect();
            let standing = decide(&facts).unwrap();
            assert_eq!((standing.opted_out, standing.since), (opted_out, since), "{facts:?}");
            assert_eq!(standing.head, facts.len() as u64);
            let mut backwards = facts.clone();
            backwards.reverse();
            assert_eq!(decide(&backwards), Some(standing));
        }
        assert_eq!(decide(&[]), None);
    }

    #[test]
    fn a_resubscribe_dated_in_the_future_does_not_silence_later_stops() {
        let facts = [fact(1, OptOut, 1, 1), fact(2, Resubscribe, 900, 10)];
        assert!(!decide(&facts).unwrap().opted_out);
        let stop = fact(3, OptOut, 20, 20);
        assert!(decide(&[facts[0], facts[1], stop]).unwrap().opted_out);
    }

    #[test]
    fn a_clock_that_was_ahead_and_set_right_does_not_silence_later_stops() {
        let ahead = [fact(1, OptOut, 1, 1), fact(2, Resubscribe, 900, 900)];
        let stop = fact(3, OptOut, 20, 20);
        assert!(decide(&[ahead[0], ahead[1], stop]).unwrap().opted_out);
        // Under a clock that runs forward, an old STOP that arrives late changes nothing.
        let late = fact(3, OptOut, 20, 950);
        assert!(!decide(&[ahead[0], ahead[1], late]).unwrap().opted_out);
    }
}
