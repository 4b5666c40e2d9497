//! Who is known by an id instead of a number?

use crate::population::Subscriber;
use crate::random::mix;

/// The people whose number a sender never learns, as with WhatsApp's business-scoped user ids.
/// Who they are follows from their numbers, so that an opt-out list and a campaign with the same
/// share name the same people by the same ids.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ids {
    /// How many of 2^32 people they are.
    share: u64,
}

impl Ids {
    /// A share between 0 and 1 of all people.
    pub(crate) fn new(share: f64) -> Ids {
        Ids { share: (share * (1_u64 << 32) as f64) as u64 }
    }

    /// Appends the subscriber's id, if he has one.
    pub(crate) fn write(self, subscriber: &Subscriber, cell: &mut Vec<u8>) -> bool {
        let value = mix(mix(subscriber.digits));
        let has_one = value >> 32 < self.share;
        if has_one {
            let id = format!("{}.{:020}", subscriber.plan.country, mix(value));
            cell.extend_from_slice(id.as_bytes());
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{COUNTRIES, Population};

    #[test]
    fn a_share_of_the_people_have_an_id_of_their_own() {
        let population = Population::new(5, 100_000, 1, COUNTRIES).unwrap();
        let ids = |share: f64| {
            let mut seen = std::collections::HashSet::new();
            for rank in 0..20_000 {
                let mut id = Vec::new();
                if Ids::new(share).write(&population.other(rank), &mut id) {
                    assert!(seen.insert(id));
                } else {
                    assert!(id.is_empty());
                }
            }
            seen.len()
        };
        assert_eq!((ids(0.0), ids(1.0)), (0, 20_000));
        assert!(ids(0.05).abs_diff(1_000) < 100);
    }
}
