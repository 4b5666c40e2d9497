//! What comes into the next generation?
//!
//! Two lists that ascend by key and have no key in common: standings that were worked out one by
//! one, and the rows of a list about people of whom nothing was known, from whose places their
//! standings follow.

use std::iter::Peekable;

use super::plain::Fresh;
use super::standing::Standing;
use crate::number::SubscriberKey;
use crate::snapshot::Change;

/// What comes into the next generation.
#[derive(Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) settled: &'a [(SubscriberKey, Standing)],
    pub(super) fresh: Option<Fresh<'a>>,
}

impl<'a> From<&'a [(SubscriberKey, Standing)]> for Incoming<'a> {
    fn from(settled: &'a [(SubscriberKey, Standing)]) -> Incoming<'a> {
        Incoming { settled, fresh: None }
    }
}

impl<'a> Incoming<'a> {
    /// What of it can concern those who are opted out, or those who came back: who was unknown did
    /// not come back.
    pub(super) fn of_layer(self, opted_out: bool) -> Incoming<'a> {
        Incoming { fresh: self.fresh.filter(|_| opted_out), ..self }
    }

    /// Each key, ascending, and whether it is to be a member of the set of those who are opted out,
    /// or of those who came back.
    pub(super) fn members(self, opted_out: bool) -> impl Iterator<Item = Change> + 'a {
        let settled = self.settled.iter();
        let settled = settled
            .map(move |&(key, standing)| Change { key, present: standing.opted_out == opted_out });
        let fresh = self.fresh.map(Fresh::keys).into_iter().flatten();
        let fresh = fresh.map(|key| Change { key, present: true });
        ByKey { one: settled.peekable(), other: fresh.peekable() }
    }

    /// Visits how each subscriber is to stand, ascending by key: with his place among those that
    /// were settled, and without one if he was unknown.
    #[inline]
    pub(super) fn visit<E>(
        self,
        mut visit: impl FnMut(SubscriberKey, &Standing, Option<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut fresh = self.fresh.map(Fresh::cursor);
        for (place, (key, standing)) in self.settled.iter().enumerate() {
            if let Some(fresh) = &mut fresh {
                fresh.visit_below(*key, |key, standing| visit(key, standing, None))?;
            }
            visit(*key, standing, Some(place))?;
        }
        let end = SubscriberKey::from_u64(u64::MAX);
        fresh.map_or(Ok(()), |mut it| it.visit_below(end, |key, it| visit(key, it, None)))
    }
}

/// Two lists of changes that ascend by key, as one.
struct ByKey<A: Iterator, B: Iterator> {
    one: Peekable<A>,
    other: Peekable<B>,
}

impl<A, B> Iterator for ByKey<A, B>
where
    A: Iterator<Item = Change>,
    B: Iterator<Item = Change>,
{
    type Item = Change;

    #[inline]
    fn next(&mut self) -> Option<Change> {
        match (self.one.peek(), self.other.peek()) {
            (Some(one), Some(other)) if other.key < one.key => self.other.next(),
            (Some(_), _) => self.one.next(),
            (None, _) => self.other.next(),
        }
    }
}
