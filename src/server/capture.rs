//! What becomes of replies that came in, by whatever way?
//!
//! Promises: whatever asks to be left alone is durable before the answer; the same message again
//! is recorded once; a confirmation goes out at most once, for an opt-out that is new, and not when
//! the person wrote more than five minutes ago. While the list of senders can't be read nothing is
//! taken, so that providers send again. Leaves to others what follows from a reply
//! (`crate::capture`) and the sending (`deliver`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::deliver::{Job, Queued};
use super::problem::{Kind, Problem};
use super::senders::{Sender, Senders};
use super::service::{Unrecorded, Urgency};
use crate::capture::{Decision, Delivery, Incoming, SenderSettings, decide};
use crate::event::Action;
use crate::intent::{Detector, Intent, Verdict};
use crate::number::Address;
use crate::store::{NewEvent, Outcome, Receipt, WriteError};
use crate::time::Timestamp;

/// More replies than this are read where they keep nobody waiting.
const READ_AT_ONCE: usize = 50;

/// What became of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// What the person wants, and why it is read so.
    pub(super) verdict: Verdict,
    /// What was recorded, if anything was: of a person with number and id, of both.
    pub(super) receipt: Option<Receipt>,
    /// The confirmation, if there is one.
    pub(super) confirmation: Option<Confirmation>,
}

/// A confirmation of an opt-out, which is due once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Confirmation {
    /// Its language.
    #[schema(example = "es")]
    pub(super) language: String,
    /// What to send, if the caller is to send it: at once and once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// caller (send the text), queued (the server sends it) or dropped (too many wait: nobody
    /// sends it).
    #[schema(example = "caller")]
    pub(super) delivery: &'static str,
}

/// What was taken, counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    taken: [AtomicU64; Intent::ALL.len()],
}

impl Counts {
    pub(super) fn taken(&self) -> impl Iterator<Item = (Intent, u64)> + '_ {
        Intent::ALL.into_iter().zip(self.taken.iter().map(|it| it.load(Ordering::Relaxed)))
    }

    fn count(&self, intent: Intent) {
        if let Some(at) = Intent::ALL.iter().position(|it| *it == intent) {
            self.taken[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl App {
    /// The senders that are set up.
    ///
    /// # Errors
    ///
    /// While the list can't be read.
    pub(super) fn senders(&self) -> Result<Arc<Senders>, Problem> {
        self.service.senders().ok_or_else(|| {
            let what = "the list of senders can't be read: send it again when it can";
            Problem::new(Kind::StoreUnavailable, what)
        })
    }

    /// Records what replies say, and queues what is to be confirmed. `operator` is who brought
    /// them; a sender of which `vouched` is false is taken for one that nobody knows.
    ///
    /// # Errors
    ///
    /// When it is not known whether all is recorded: then it is to be brought again.
    pub(super) async fn take(
        &self,
        operator: &str,
        incoming: Vec<Incoming>,
        vouched: impl Fn(&SenderSettings) -> bool,
    ) -> Result<Vec<Taken>, Problem> {
        let senders = self.senders()?;
        let count = incoming.len();
        let decide_all = || -> Vec<Decided> {
            let of = |it| Decided::of(&senders, it, operator, &vouched);
            incoming.into_iter().map(of).collect()
        };
        let decided = match count > READ_AT_ONCE {
            true => tokio::task::block_in_place(decide_all),
            false => decide_all(),
        };
        let events: Vec<NewEvent> =
            decided.iter().flat_map(|it| it.events.iter().cloned()).collect();
        let receipts = self.record_all(events).await?;
        let now = Timestamp::now();
        let mut receipts = receipts.into_iter();
        let taken = decided.into_iter().map(|it| {
            self.captured.count(it.decision.verdict.intent);
            let own: Vec<Receipt> = receipts.by_ref().take(it.events.len()).collect();
            self.answer(it, &own, now)
        });
        Ok(taken.collect())
    }

    async fn record_all(&self, events: Vec<NewEvent>) -> Result<Vec<Receipt>, Problem> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let stops = events.iter().any(|it| it.details.action == Action::OptOut);
        let urgency = if stops { Urgency::OptOut } else { Urgency::Other };
        self.service.record(events, urgency).await.map_err(|error| self.unrecorded(error))
    }

    /// What becomes of a recording that the store did not take.
    pub(super) fn unrecorded(&self, error: Unrecorded) -> Problem {
        match error {
            Unrecorded::Busy => {
                Problem::new(Kind::Overloaded, "too much waits to be recorded: send it again")
            }
            Unrecorded::Ending => Problem::new(Kind::Overloaded, "the server ends: send it again"),
            Unrecorded::Refused(
                error @ (WriteError::Text { .. }
                | WriteError::Channel(_)
                | WriteError::Action { .. }),
            ) => Problem::field("items", error.to_string()),
            Unrecorded::Refused(error) => {
                self.log(format_args!("store: {error}"));
                let what = "it is not known to be recorded: send it again";
                Problem::new(Kind::StoreUnavailable, what)
            }
        }
    }

    fn answer(&self, decided: Decided, receipts: &[Receipt], now: Timestamp) -> Taken {
        let Decided { incoming, decision, sender, .. } = decided;
        let is_added = |it: &&Receipt| it.outcome == Outcome::Added;
        let receipt = receipts.iter().find(is_added).or(receipts.first()).copied();
        // Of a number and an id the number tells: who was opted out under it has had his answer.
        let is_new = receipts.first().is_some_and(|it| is_added(&it));
        let age = now.as_millis().saturating_sub(incoming.occurred_at.as_millis());
        let window = self.limits.confirmation_window;
        let left = u64::try_from(age.max(0)).ok().and_then(|age| {
            window.checked_sub(std::time::Duration::from_millis(age)).filter(|it| !it.is_zero())
        });
        let due = decision.confirmation.zip(sender).zip(left);
        let confirmation = due.filter(|_| is_new).map(|((confirmation, sender), left)| {
            let (language, text) = confirmation;
            if sender.settings.delivery == Delivery::None {
                return Confirmation { language, text: Some(text), delivery: "caller" };
            }
            let job = Job { sender, incoming, language: language.clone(), text, left };
            let delivery = match self.deliverer.queue(job) {
                Queued::Waits => "queued",
                Queued::Dropped => "dropped",
            };
            Confirmation { language, text: None, delivery }
        });
        Taken { verdict: decision.verdict, receipt, confirmation }
    }
}

/// A reply, and what follows from it.
struct Decided {
    incoming: Incoming,
    decision: Decision,
    sender: Option<Arc<Sender>>,
    events: Vec<NewEvent>,
}

impl Decided {
    fn of(
        senders: &Senders,
        incoming: Incoming,
        operator: &str,
        vouched: impl Fn(&SenderSettings) -> bool,
    ) -> Decided {
        let sender = senders.find(&incoming.channel, &incoming.sender);
        let sender = sender.filter(|it| vouched(&it.settings)).cloned();
        let detector = match &sender {
            Some(sender) => sender.detector(),
            None => Detector::built_in(),
        };
        let decision = decide(sender.as_ref().map(|it| &it.settings), detector, &incoming);
        let event = |address: Address| {
            let mut details = decision.details.clone()?;
            operator.clone_into(&mut details.operator);
            let raw = address.to_string();
            let occurred_at = incoming.occurred_at;
            Some(NewEvent { address, linked: None, raw, occurred_at, details })
        };
        let events = incoming.addresses().into_iter().filter_map(event).collect();
        Decided { incoming, decision, sender, events }
    }
}
