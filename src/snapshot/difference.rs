//! What is in one of two sets only?

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::number::SubscriberKey;

/// What stands in one of two ascending sequences only, with whether that is the new one.
pub fn differences<O, N>(old: O, new: N) -> Differences<O::IntoIter, N::IntoIter>
where
    O: IntoIterator<Item = SubscriberKey>,
    N: IntoIterator<Item = SubscriberKey>,
{
    Differences { old: old.into_iter().peekable(), new: new.into_iter().peekable() }
}

/// What [`differences`] found, ascending.
#[derive(Clone)]
pub struct Differences<O, N>
where
    O: Iterator<Item = SubscriberKey>,
    N: Iterator<Item = SubscriberKey>,
{
    old: Peekable<O>,
    new: Peekable<N>,
}

/// Nothing: members are people.
impl<O, N> std::fmt::Debug for Differences<O, N>
where
    O: Iterator<Item = SubscriberKey>,
    N: Iterator<Item = SubscriberKey>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Differences")
    }
}

impl<O, N> Iterator for Differences<O, N>
where
    O: Iterator<Item = SubscriberKey>,
    N: Iterator<Item = SubscriberKey>,
{
    type Item = (SubscriberKey, bool);

    fn next(&mut self) -> Option<(SubscriberKey, bool)> {
        loop {
            let order = match (self.old.peek(), self.new.peek()) {
                (Some(old), Some(new)) => old.cmp(new),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            match order {
                Ordering::Less => return self.old.next().map(|key| (key, false)),
                Ordering::Greater => return self.new.next().map(|key| (key, true)),
                Ordering::Equal => {
                    self.old.next();
                    self.new.next();
                }
            }
        }
    }
}
