//! Which view of the store does a question get, while the store goes on?
//!
//! Promises: a question keeps the view that it began with; whoever begins after [`Views::follow`]
//! has returned finds what was durable before; following costs no copy of what the views hold,
//! unless a question lasts longer than the time between two of them. Leaves to others when the
//! store is followed (`service`).

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::store::{Reader, StoreError};

/// Two views in turn: one is asked, the other is the one before it, which follows as soon as
/// nobody asks it any more.
pub(super) struct Views {
    now: RwLock<Arc<Reader>>,
    /// Held by whoever lets the views follow.
    before: Mutex<Option<Arc<Reader>>>,
}

impl Views {
    pub(super) fn new(view: Reader) -> Views {
        Views { now: RwLock::new(Arc::new(view)), before: Mutex::default() }
    }

    /// The store as it is now.
    pub(super) fn now(&self) -> Arc<Reader> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the view follow the store: in place while nobody asks, else by way of the view before.
    pub(super) fn follow(&self) -> Result<(), StoreError> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = {
            let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(view) = Arc::get_mut(&mut now) {
                let followed = view.refresh().map(drop);
                // It would keep the files of a generation that is gone.
                let generation = view.generation();
                before.take_if(|before| before.generation() != generation);
                return followed;
            }
            now.clone()
        };
        let mut next = match before.take().map(Arc::try_unwrap) {
            Some(Ok(view)) => view,
            // Both are asked at the same time.
            Some(Err(_)) | None => Reader::clone(&asked),
        };
        let followed = next.refresh().map(drop);
        // One that could not follow is asked too: it answers nothing.
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        *before = Some(asked);
        followed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::event::{Action, Details, Source};
    use crate::number::{Address, Folding, Number};
    use crate::store::{NewEvent, Writer, init_on};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn stop(index: u64) -> NewEvent {
        NewEvent {
            address: Address::Number(Number::from_e164(573_000_000_000 + index).unwrap()),
            linked: None,
            raw: String::new(),
            occurred_at: NOW,
            details: Details::new(Action::OptOut, Source::Keyword),
        }
    }

    #[test]
    fn a_question_keeps_its_view_and_the_next_one_finds_all_that_is_durable() {
        let disk = Arc::new(MemoryDisk::new());
        init_on(&*disk, Folding::default(), NOW).unwrap();
        let writer = Writer::open_on(disk.clone()).unwrap();
        let views = Views::new(Reader::open_on(disk).unwrap());
        let mut asked: Vec<(u64, Arc<Reader>)> = Vec::new();
        for step in 1..=200u64 {
            writer.append(vec![stop(step)], NOW).unwrap();
            if step % 50 == 0 {
                writer.compact(NOW).unwrap();
            }
            views.follow().unwrap();
            assert_eq!(views.now().len().unwrap(), step);
            // None, one, two or three questions go on meanwhile.
            asked.push((step, views.now()));
            if asked.len() > (step as usize / 10) % 4 {
                asked.remove(0);
            }
            for (then, view) in &asked {
                assert_eq!(view.len().unwrap(), *then);
            }
        }
    }
}
