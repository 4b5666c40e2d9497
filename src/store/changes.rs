//! What is to change in the next generation?
//!
//! Two lists that ascend by key and have no key in common: standings that were worked out one by
//! one, and the rows of a list about people of whom nothing was known, from whose places their
//! standings follow.

use super::plain::Fresh;
use super::standing::Standing;
use crate::number::SubscriberKey;

/// What is to change in the next generation.
#[derive(Clone, Copy)]
pub(super) struct Changes<'a> {
    pub(super) settled: &'a [(SubscriberKey, Standing)],
    pub(super) fresh: Option<Fresh<'a>>,
}

impl<'a> From<&'a [(SubscriberKey, Standing)]> for Changes<'a> {
    fn from(settled: &'a [(SubscriberKey, Standing)]) -> Changes<'a> {
        Changes { settled, fresh: None }
    }
}

impl<'a> Changes<'a> {
    /// The changes as far as they can concern those who are opted out, or those who came back:
    /// who was unknown did not come back.
    pub(super) fn of_layer(self, opted_out: bool) -> Changes<'a> {
        Changes { fresh: self.fresh.filter(|_| opted_out), ..self }
    }

    /// How each subscriber is to stand, ascending by key.
    pub(super) fn iter(self) -> impl Iterator<Item = (SubscriberKey, Standing)> + 'a {
        ByKey::new(self.settled.iter().copied(), self.fresh_standings())
    }

    /// How those stand who were unknown.
    pub(super) fn fresh_standings(self) -> impl Iterator<Item = (SubscriberKey, Standing)> + 'a {
        self.fresh.map(Fresh::standings).into_iter().flatten()
    }
}

/// Two iterators that ascend by key, as one.
pub(super) struct ByKey<A: Iterator, B: Iterator> {
    one: std::iter::Peekable<A>,
    other: std::iter::Peekable<B>,
}

impl<T, A, B> ByKey<A, B>
where
    A: Iterator<Item = (SubscriberKey, T)>,
    B: Iterator<Item = (SubscriberKey, T)>,
{
    pub(super) fn new(one: A, other: B) -> ByKey<A, B> {
        ByKey { one: one.peekable(), other: other.peekable() }
    }
}

impl<T, A, B> Iterator for ByKey<A, B>
where
    A: Iterator<Item = (SubscriberKey, T)>,
    B: Iterator<Item = (SubscriberKey, T)>,
{
    type Item = (SubscriberKey, T);

    #[inline]
    fn next(&mut self) -> Option<(SubscriberKey, T)> {
        match (self.one.peek(), self.other.peek()) {
            (Some(one), Some(other)) if other.0 < one.0 => self.other.next(),
            (Some(_), _) => self.one.next(),
            (None, _) => self.other.next(),
        }
    }
}
