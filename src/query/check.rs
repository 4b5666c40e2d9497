//! May these recipients be messaged?

use std::sync::OnceLock;
use std::time::Duration;

use crate::event::Source;
use crate::number::{Address, BusinessId, NumberReader, Reason, Region, SubscriberKey};
use crate::policy::{Claims, Context, Decision, Fact, Policy, RuleId, Ruling, standing_opt_outs};
use crate::scrub::{Origin, SuppressionSet};
use crate::store::{Lens, Moment, Reader, Registry, RegistryKind, StoreError, fact_of};
use crate::time::Timestamp;

/// The answer for one recipient. Only [`Verdict::Allowed`] and [`Verdict::Exempt`] may be
/// messaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a recipient may be messaged only when the verdict says so"]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing stands against this address.
    Allowed(Address),
    /// The subscriber opted out, but not of this message.
    Exempt {
        /// The number as it was read, or the id.
        address: Address,
        /// The rule that lets the message through.
        rule: String,
    },
    /// The subscriber opted out.
    Suppressed {
        /// The number as it was read, or the id.
        address: Address,
        /// When the present opt-out began, by the person's clock.
        since: Timestamp,
        /// Where it came from.
        source: Source,
        /// The rule that makes it count.
        rule: String,
    },
    /// There is no number here that can be messaged.
    Invalid(Reason),
    /// Nobody can tell: ask again, and do not send until there is an answer.
    Unknown(Doubt),
}

impl Verdict {
    /// Whether the recipient may be messaged.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allowed(_) | Verdict::Exempt { .. })
    }

    /// The word for people and files: `allowed`, `exempt`, `suppressed`, `invalid` or `unknown`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Allowed(_) => Decision::Allowed.as_str(),
            Verdict::Exempt { .. } => Decision::Exempt.as_str(),
            Verdict::Suppressed { .. } => Decision::Suppressed.as_str(),
            Verdict::Invalid(_) => "invalid",
            Verdict::Unknown(_) => "unknown",
        }
    }
}

/// Why nobody can tell whether a recipient may be messaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The view of the store is older than the caller wants to rely on: refresh the reader.
    StaleView {
        /// The moment at which the judge was made.
        judged_at: Timestamp,
    },
    /// What the store holds of this recipient can't be read.
    Unreadable {
        /// What the store said.
        error: String,
    },
}

/// A view of a store, a policy and a message: rules on subscribers. To be made again after the
/// view was refreshed.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    reader: &'a Reader,
    policy: Policy,
    context: Context,
    /// When it was made.
    now: Timestamp,
    /// Made when the first answer needs it: a single person's history does without.
    lens: OnceLock<Lens>,
    /// The outside lists that are about the message.
    registries: Vec<Registry>,
    /// The lists of consents that hold for the whole message.
    consents: Vec<Registry>,
}

/// What is done when an outside list is older than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stale {
    /// Nobody is ruled on.
    #[default]
    Refuse,
    /// The list counts as it is; an old list of consents does not count.
    Accept,
}

/// Why there is no judge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An outside list is older than it may be.
    #[error(
        "the layer {layer} is stale: it is of {as_of} and holds for {max_age_days} days: import a \
         newer list"
    )]
    Stale {
        /// The layer.
        layer: String,
        /// The moment that it describes.
        as_of: Timestamp,
        /// For how many days it may be relied on.
        max_age_days: u32,
    },
}

impl<'a> Judge<'a> {
    /// Rules by `policy` on who may get the message of `context`, which is sent `now`. Every
    /// outside list of the store that is about the message counts. For a view of what had been
    /// received until a moment, that moment is now.
    ///
    /// # Errors
    ///
    /// When a list is stale, unless that is accepted, or an earlier refresh of the view failed.
    pub fn new(
        reader: &'a Reader,
        policy: Policy,
        context: Context,
        now: Timestamp,
        stale: Stale,
    ) -> Result<Judge<'a>, JudgeError> {
        // What was known at an earlier moment was as old as it was then.
        let now = match reader.moment() {
            Some(Moment::Received(at)) => at,
            _ => now,
        };
        let (mut registries, mut consents) = (Vec::new(), Vec::new());
        let matter = policy.registries_matter(context.category);
        for layer in reader.registries()?.iter().filter(|_| matter) {
            let is_registry = layer.kind() == RegistryKind::Registry;
            let is_about_it = match is_registry {
                true => layer.scope().may_concern(&context.scope),
                // Consent to one channel says nothing of a message that may go over another.
                false => layer.scope().covers(&context.scope),
            };
            if !is_about_it {
                continue;
            }
            if let Some(max_age_days) = layer.max_age_days().filter(|_| layer.is_stale(now)) {
                if stale == Stale::Refuse {
                    let (layer, as_of) = (layer.name().to_owned(), layer.as_of());
                    return Err(JudgeError::Stale { layer, as_of, max_age_days });
                }
                if !is_registry {
                    continue;
                }
            }
            if is_registry { registries.push(layer.clone()) } else { consents.push(layer.clone()) }
        }
        let lens = OnceLock::new();
        Ok(Judge { reader, policy, context, lens, now, registries, consents })
    }

    fn lens(&self) -> Result<&Lens, StoreError> {
        if self.lens.get().is_none() {
            let _ = self.lens.set(self.reader.lens(&self.policy, &self.context)?);
        }
        Ok(self.lens.get().expect("it was made just now"))
    }

    /// The outside lists that count, registries first.
    pub fn layers(&self) -> impl Iterator<Item = &Registry> {
        self.registries.iter().chain(&self.consents)
    }

    /// The view that it asks.
    pub(super) fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// The rules by which it decides.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The ruling on somebody who is on an outside list.
    pub(super) fn on_registry(&self, consent: bool) -> Ruling {
        self.policy.on_registry(&self.context, consent)
    }

    /// Adds what the outside lists say. Most people are on none, so that the lists of consents are
    /// asked for the others only.
    fn ask_layers(&self, keys: &[SubscriberKey], rulings: &mut [Ruling]) {
        const BATCH: usize = 1024;
        if self.registries.is_empty() {
            return;
        }
        let (mut listed, mut found) = ([false; BATCH], [false; BATCH]);
        for (keys, rulings) in keys.chunks(BATCH).zip(rulings.chunks_mut(BATCH)) {
            let (listed, found) = (&mut listed[..keys.len()], &mut found[..keys.len()]);
            listed.fill(false);
            for layer in &self.registries {
                layer.contains_batch(keys, found);
                listed.iter_mut().zip(&*found).for_each(|(listed, found)| *listed |= found);
            }
            for (place, _) in listed.iter().enumerate().filter(|(_, listed)| **listed) {
                let consented = self.consents.iter().any(|layer| layer.contains(keys[place]));
                rulings[place] = rulings[place].stronger(self.on_registry(consented));
            }
        }
    }

    /// The message.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The name of a rule.
    pub fn rule_name(&self, rule: Option<RuleId>) -> &str {
        rule.and_then(|rule| self.policy.rule(rule)).map_or("", |rule| &rule.name)
    }

    /// The ruling on what stands against a subscriber.
    pub fn rule(&self, claims: &Claims) -> Ruling {
        self.policy.on_claims(claims, &self.context)
    }

    /// Of a subscriber's facts the opt-out that is behind a ruling: of those that stand and lead
    /// to it, the first that was recorded.
    pub fn behind<'f>(&self, facts: &'f [Fact], ruling: Ruling) -> Option<&'f Fact> {
        let leads_to_it = |opt_out: &&Fact| {
            let others = facts.iter().filter(|fact| fact.action != opt_out.action);
            let alone: Vec<Fact> = others.chain([*opt_out]).cloned().collect();
            self.rule(&Claims::of(&alone)) == ruling
        };
        standing_opt_outs(facts).filter(leads_to_it).min_by_key(|fact| fact.sequence)
    }

    /// Since when and from where a subscriber is suppressed.
    fn since(
        &self,
        key: SubscriberKey,
        ruling: Ruling,
    ) -> Result<Option<(Timestamp, Source)>, StoreError> {
        if let Some(layer) = self.registries.iter().find(|layer| layer.contains(key))
            && self.rule(&self.reader.claims(key)?) != ruling
        {
            return Ok(Some((layer.as_of(), Source::Registry)));
        }
        let Some(standing) = self.reader.standing(key)? else { return Ok(None) };
        // With one event there is one opt-out, as nearly everybody has.
        if standing.head == standing.since && !self.reader.is_linked(&standing)? {
            return self.reader.opted_out_since(key);
        }
        let history = self.reader.history(key)?;
        let facts = history.iter().map(fact_of).collect::<Result<Vec<Fact>, StoreError>>()?;
        Ok(self.behind(&facts, ruling).map(|fact| (fact.occurred_at, fact.source)))
    }
}

impl SuppressionSet for Judge<'_> {
    type Error = StoreError;

    fn judge_batch(
        &self,
        keys: &[SubscriberKey],
        rulings: &mut [Ruling],
    ) -> Result<(), StoreError> {
        self.reader.judge_batch(self.lens()?, keys, rulings)?;
        self.ask_layers(keys, rulings);
        Ok(())
    }

    fn keys_of_ids(&self, ids: &[&str]) -> Result<Vec<Option<SubscriberKey>>, StoreError> {
        self.reader.keys_of_ids(ids)
    }

    fn origin(&self, key: SubscriberKey, ruling: Ruling) -> Result<Option<Origin>, StoreError> {
        let rule = self.rule_name(ruling.rule).to_owned();
        Ok(self.since(key, ruling)?.map(|(since, source)| Origin { since, source, rule }))
    }
}

/// Reads recipients as the store reads opt-outs, and looks them up.
#[derive(Clone, Debug)]
pub struct Checker<'a> {
    judge: Judge<'a>,
    numbers: NumberReader,
    max_age: Option<Duration>,
}

impl<'a> Checker<'a> {
    /// Recipients of the message that `judge` rules on. Those without a calling code are read as
    /// numbers of `region`; without a region, all digits are international, as webhooks write
    /// them. Ids without a number are taken as they are.
    pub fn new(judge: Judge<'a>, region: Option<Region>) -> Checker<'a> {
        let numbers = NumberReader::new(region, judge.reader.folding());
        Checker { judge, numbers, max_age: None }
    }

    /// How old the judge may be when it is asked; for ever if not given. A pipeline that sends
    /// for hours would otherwise go on with what was known when it began.
    pub fn max_age(mut self, max_age: Duration) -> Checker<'a> {
        self.max_age = Some(max_age);
        self
    }

    /// The verdict on each recipient, in their order, for a message that is sent `now`: the one
    /// call of a send pipeline. What can't be told is [`Verdict::Unknown`], for those whom it
    /// concerns.
    #[must_use = "a recipient may be messaged only when the verdict says so"]
    pub fn decide<T: AsRef<[u8]>>(&self, recipients: &[T], now: Timestamp) -> Vec<Verdict> {
        if let Some(doubt) = self.stale_view(now) {
            return recipients.iter().map(|_| Verdict::Unknown(doubt.clone())).collect();
        }
        self.verdicts(recipients).unwrap_or_else(|_| {
            let alone = |recipient| match self.verdicts(std::slice::from_ref(recipient)) {
                Ok(mut verdicts) => verdicts.remove(0),
                Err(error) => Verdict::Unknown(Doubt::Unreadable { error: error.to_string() }),
            };
            recipients.iter().map(alone).collect()
        })
    }

    /// The verdict on each recipient, in their order, or on none of them.
    ///
    /// # Errors
    ///
    /// When the store can't tell. There is then no verdict on anybody: do not send.
    pub fn verdicts<T: AsRef<[u8]>>(&self, recipients: &[T]) -> Result<Vec<Verdict>, StoreError> {
        let read = recipients
            .iter()
            .map(|it| self.read(it.as_ref()))
            .collect::<Result<Vec<Recipient>, StoreError>>()?;
        let keys: Vec<SubscriberKey> = read.iter().filter_map(Recipient::key).collect();
        let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
        self.judge.judge_batch(&keys, &mut rulings)?;
        let mut rulings = keys.into_iter().zip(rulings);
        read.into_iter()
            .map(|recipient| match recipient {
                Recipient::Invalid(reason) => Ok(Verdict::Invalid(reason)),
                Recipient::Unheard(id) => Ok(Verdict::Allowed(id.into())),
                Recipient::Known { address, sendable, .. } => {
                    let (key, ruling) = rulings.next().expect("there is a ruling for each key");
                    self.verdict(address, key, sendable, ruling)
                }
            })
            .collect()
    }

    /// A clock that was set back by more than the age has no say either.
    fn stale_view(&self, now: Timestamp) -> Option<Doubt> {
        let max_age = i64::try_from(self.max_age?.as_millis()).unwrap_or(i64::MAX);
        let judged_at = self.judge.now;
        let age = now.as_millis().saturating_sub(judged_at.as_millis()).saturating_abs();
        (age > max_age).then_some(Doubt::StaleView { judged_at })
    }

    fn read(&self, recipient: &[u8]) -> Result<Recipient, StoreError> {
        let reason = match self.numbers.recipient(recipient) {
            Ok(it) => {
                let (key, sendable) = (it.key, it.sendable);
                return Ok(Recipient::Known { address: it.number.into(), key, sendable });
            }
            Err(reason) => reason,
        };
        let id = BusinessId::parse(recipient).filter(|_| reason == Reason::BusinessScopedId);
        let Some(id) = id else { return Ok(Recipient::Invalid(reason)) };
        Ok(match self.judge.reader.key_of_id(id.as_str())? {
            Some(key) => Recipient::Known { address: id.into(), key, sendable: true },
            None => Recipient::Unheard(id),
        })
    }

    fn verdict(
        &self,
        address: Address,
        key: SubscriberKey,
        sendable: bool,
        ruling: Ruling,
    ) -> Result<Verdict, StoreError> {
        let rule = self.judge.rule_name(ruling.rule).to_owned();
        match ruling.decision {
            Decision::Suppressed => {
                let (since, source) = self.judge.since(key, ruling)?.unwrap_or_else(|| {
                    unreachable!("the same view said that this subscriber is suppressed")
                });
                Ok(Verdict::Suppressed { address, since, source, rule })
            }
            _ if !sendable => Ok(Verdict::Invalid(Reason::NotSendable)),
            Decision::Exempt => Ok(Verdict::Exempt { address, rule }),
            Decision::Allowed => Ok(Verdict::Allowed(address)),
        }
    }
}

/// A recipient as it was read.
enum Recipient {
    Known {
        address: Address,
        key: SubscriberKey,
        sendable: bool,
    },
    /// An id that no event is about.
    Unheard(BusinessId),
    Invalid(Reason),
}

impl Recipient {
    fn key(&self) -> Option<SubscriberKey> {
        match self {
            Recipient::Known { key, .. } => Some(*key),
            _ => None,
        }
    }
}
