//! May these recipients be messaged?

use crate::event::Source;
use crate::number::{Number, NumberReader, Reason, Region, SubscriberKey};
use crate::policy::{Claims, Context, Decision, Fact, Policy, RuleId, Ruling, standing_opt_outs};
use crate::scrub::{Origin, SuppressionSet};
use crate::store::{Lens, Reader, Registry, RegistryKind, StoreError, fact_of};
use crate::time::Timestamp;

/// The answer for one recipient. Only [`Verdict::Allowed`] and [`Verdict::Exempt`] may be
/// messaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a recipient may be messaged only when the verdict says so"]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing stands against this number.
    Allowed(Number),
    /// The subscriber opted out, but not of this message.
    Exempt {
        /// The number as it was read.
        number: Number,
        /// The rule that lets the message through.
        rule: String,
    },
    /// The subscriber opted out.
    Suppressed {
        /// The number as it was read.
        number: Number,
        /// When the present opt-out began, by the person's clock.
        since: Timestamp,
        /// Where it came from.
        source: Source,
        /// The rule that makes it count.
        rule: String,
    },
    /// There is no number here that can be messaged.
    Invalid(Reason),
}

impl Verdict {
    /// Whether the recipient may be messaged.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allowed(_) | Verdict::Exempt { .. })
    }

    /// The word for people and files: `allowed`, `exempt`, `suppressed` or `invalid`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Allowed(_) => Decision::Allowed.as_str(),
            Verdict::Exempt { .. } => Decision::Exempt.as_str(),
            Verdict::Suppressed { .. } => Decision::Suppressed.as_str(),
            Verdict::Invalid(_) => "invalid",
        }
    }
}

/// A view of a store, a policy and a message: rules on subscribers. To be made again after the
/// view was refreshed.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    reader: &'a Reader,
    policy: Policy,
    context: Context,
    lens: Lens,
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
    /// outside list of the store that is about the message counts.
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
        let lens = reader.lens(&policy, &context);
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
        Ok(Judge { reader, policy, context, lens, registries, consents })
    }

    /// The outside lists that count, registries first.
    pub fn layers(&self) -> impl Iterator<Item = &Registry> {
        self.registries.iter().chain(&self.consents)
    }

    /// Whether outside lists can stop the message; if not, they are not asked.
    pub(super) fn asks_registries(&self) -> bool {
        self.policy.registries_matter(self.context.category)
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
        if standing.head == standing.since {
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
        self.reader.judge_batch(&self.lens, keys, rulings)?;
        self.ask_layers(keys, rulings);
        Ok(())
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
}

impl<'a> Checker<'a> {
    /// Recipients of the message that `judge` rules on. Those without a calling code are read as
    /// numbers of `region`; without a region, all digits are international, as webhooks write
    /// them.
    pub fn new(judge: Judge<'a>, region: Option<Region>) -> Checker<'a> {
        let numbers = NumberReader::new(region, judge.reader.folding());
        Checker { judge, numbers }
    }

    /// The verdict on each recipient, in their order.
    ///
    /// # Errors
    ///
    /// When the store can't tell. There is then no verdict on anybody: do not send.
    pub fn verdicts<T: AsRef<[u8]>>(&self, recipients: &[T]) -> Result<Vec<Verdict>, StoreError> {
        let read: Vec<_> =
            recipients.iter().map(|it| self.numbers.recipient(it.as_ref())).collect();
        let keys: Vec<SubscriberKey> =
            read.iter().filter_map(|it| it.as_ref().ok()).map(|it| it.key).collect();
        let mut rulings = vec![Ruling::UNANSWERED; keys.len()];
        self.judge.judge_batch(&keys, &mut rulings)?;
        let mut rulings = rulings.into_iter();
        read.into_iter()
            .map(|recipient| match recipient {
                Err(reason) => Ok(Verdict::Invalid(reason)),
                Ok(it) => {
                    let ruling = rulings.next().unwrap_or(Ruling::UNANSWERED);
                    self.verdict(it.number, it.key, it.sendable, ruling)
                }
            })
            .collect()
    }

    fn verdict(
        &self,
        number: Number,
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
                Ok(Verdict::Suppressed { number, since, source, rule })
            }
            _ if !sendable => Ok(Verdict::Invalid(Reason::NotSendable)),
            Decision::Exempt => Ok(Verdict::Exempt { number, rule }),
            Decision::Allowed => Ok(Verdict::Allowed(number)),
        }
    }
}
