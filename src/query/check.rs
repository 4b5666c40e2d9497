//! May these recipients be messaged?

use crate::event::Source;
use crate::number::{Number, NumberReader, Reason, Region, SubscriberKey};
use crate::scrub::{Origin, SuppressionSet};
use crate::store::{Reader, StoreError};
use crate::time::Timestamp;

/// The rule by which an opt-out suppresses: the person said so, everywhere.
pub const RULE_OPT_OUT: &str = "opt-out";

/// The answer for one recipient. Only [`Verdict::Allowed`] may be messaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a recipient may be messaged only when the verdict is `Allowed`"]
#[non_exhaustive]
pub enum Verdict {
    /// Nobody opted this number out.
    Allowed(Number),
    /// The subscriber opted out.
    Suppressed {
        /// The number as it was read.
        number: Number,
        /// When the present opt-out began, by the person's clock.
        since: Timestamp,
        /// Where it came from.
        source: Source,
        /// The rule that makes it count.
        rule: &'static str,
    },
    /// There is no number here that can be messaged.
    Invalid(Reason),
}

impl Verdict {
    /// Whether the recipient may be messaged.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Verdict::Allowed(_))
    }

    /// The word for people and files: `allowed`, `suppressed` or `invalid`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Allowed(_) => "allowed",
            Verdict::Suppressed { .. } => "suppressed",
            Verdict::Invalid(_) => "invalid",
        }
    }
}

/// Reads recipients as the store reads opt-outs, and looks them up.
#[derive(Clone, Debug)]
pub struct Checker<'a> {
    reader: &'a Reader,
    numbers: NumberReader,
}

impl<'a> Checker<'a> {
    /// Recipients without a calling code are read as numbers of `region`; without a region, all
    /// digits are international, as webhooks write them.
    pub fn new(reader: &'a Reader, region: Option<Region>) -> Checker<'a> {
        Checker { reader, numbers: NumberReader::new(region, reader.folding()) }
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
        let mut found = vec![false; keys.len()];
        self.reader.contains_batch(&keys, &mut found)?;
        let mut found = found.into_iter();
        read.into_iter()
            .map(|recipient| match recipient {
                Err(reason) => Ok(Verdict::Invalid(reason)),
                Ok(it) if found.next().unwrap_or(true) => self.suppressed(it.number, it.key),
                Ok(it) if it.sendable => Ok(Verdict::Allowed(it.number)),
                Ok(_) => Ok(Verdict::Invalid(Reason::NotSendable)),
            })
            .collect()
    }

    fn suppressed(&self, number: Number, key: SubscriberKey) -> Result<Verdict, StoreError> {
        let (since, source) = self.reader.opted_out_since(key)?.unwrap_or_else(|| {
            unreachable!("the same view said that this subscriber is opted out")
        });
        Ok(Verdict::Suppressed { number, since, source, rule: RULE_OPT_OUT })
    }
}

impl SuppressionSet for Reader {
    type Error = StoreError;

    fn contains_batch(&self, keys: &[SubscriberKey], found: &mut [bool]) -> Result<(), StoreError> {
        Reader::contains_batch(self, keys, found)
    }

    fn origin(&self, key: SubscriberKey) -> Result<Option<Origin>, StoreError> {
        let since = self.opted_out_since(key)?;
        Ok(since.map(|(since, source)| Origin { since, source, rule: RULE_OPT_OUT }))
    }
}
