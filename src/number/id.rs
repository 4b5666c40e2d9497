//! Ids without a number: WhatsApp's business-scoped user ids.
//!
//! An id is an exact string: two capitals of a country, a dot, for parent ids `ENT.`, then up to
//! 128 letters and digits, such as `US.13491208655302741918` (Meta, "Business-scoped user IDs",
//! 2026). Nothing is folded in it. It keeps its value when the person renames himself and changes
//! when his phone number does.

use std::fmt;

use super::{Masked, Number, SubscriberKey};

/// Most letters and digits behind the prefix.
const VALUE_MAX: usize = 128;

/// A business-scoped user id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessId(Box<str>);

impl BusinessId {
    /// Reads an id. Blanks around it and a prefix `whatsapp:` don't count; everything else does.
    /// `None` for anything that is no id in its exact form.
    pub fn parse(text: &[u8]) -> Option<BusinessId> {
        Self::find(text).map(|id| BusinessId(id.into()))
    }

    /// As [`BusinessId::parse`], without keeping it: the part of `text` that is the id.
    pub fn find(text: &[u8]) -> Option<&str> {
        const PREFIX: &[u8] = b"whatsapp:";
        let text = text.trim_ascii();
        let text = match text.split_at_checked(PREFIX.len()) {
            Some((prefix, id)) if prefix.eq_ignore_ascii_case(PREFIX) => id.trim_ascii_start(),
            _ => text,
        };
        let (country, value) = text.split_first_chunk::<3>()?;
        let is_country = country[0].is_ascii_uppercase()
            && country[1].is_ascii_uppercase()
            && country[2] == b'.';
        let value = value.strip_prefix(b"ENT.").unwrap_or(value);
        let is_value =
            (1..=VALUE_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_alphanumeric);
        (is_country && is_value).then(|| std::str::from_utf8(text).ok()).flatten()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id with the end of its value starred out, for messages and logs.
    pub fn masked(&self) -> String {
        let value = self.0.rfind('.').map_or(0, |dot| dot + 1);
        let shown = value + 4.min((self.0.len() - value) / 3);
        format!("{}{:*<2$}", &self.0[..shown], "", self.0.len() - shown)
    }
}

/// A map by id can be asked with a text.
impl std::borrow::Borrow<str> for BusinessId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BusinessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Shows it shortened.
impl fmt::Debug for BusinessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// What a message is sent to: a number, or an id without one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An E.164 number.
    Number(Number),
    /// A business-scoped id.
    Id(BusinessId),
}

impl Address {
    /// The id, if it is one.
    pub fn id(&self) -> Option<&BusinessId> {
        match self {
            Address::Number(_) => None,
            Address::Id(id) => Some(id),
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Address::Number(number) => Some(*number),
            Address::Id(_) => None,
        }
    }

    /// The address with its middle or end starred out.
    pub fn masked(&self) -> String {
        match self {
            Address::Number(number) => number.masked().to_string(),
            Address::Id(id) => id.masked(),
        }
    }
}

impl From<Number> for Address {
    fn from(number: Number) -> Address {
        Address::Number(number)
    }
}

impl From<BusinessId> for Address {
    fn from(id: BusinessId) -> Address {
        Address::Id(id)
    }
}

/// `+` and all digits, or the id.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Number(number) => fmt::Display::fmt(number, f),
            Address::Id(id) => fmt::Display::fmt(id, f),
        }
    }
}

/// Shows it shortened.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// The three highest bits of the key of an id. Numbers have 19 digits at the most and stay below
/// 10^19, which is less.
const ID: u64 = 0b110 << KIND_SHIFT;
const KIND_SHIFT: u32 = 61;

impl SubscriberKey {
    /// The key of an id: the store that first heard of it in event `sequence` gives it this one.
    pub const fn of_id(sequence: u64) -> SubscriberKey {
        SubscriberKey::from_u64(ID | sequence)
    }

    /// For the key of an id, the sequence of the first event about it; `None` for numbers.
    pub const fn id_sequence(self) -> Option<u64> {
        match self.get() >> KIND_SHIFT == ID >> KIND_SHIFT {
            true => Some(self.get() ^ ID),
            false => None,
        }
    }
}

/// Shows numbers shortened; the key of an id says nothing about anybody.
impl fmt::Debug for SubscriberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id_sequence() {
            Some(sequence) => write!(f, "id@{sequence}"),
            None => fmt::Debug::fmt(&Masked::of(self.get()), f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{Folding, NumberReader, Reason, Region};

    #[test]
    fn ids_are_read_exactly_or_not_at_all() {
        for id in
            ["US.13491208655302741918", "US.ENT.13491208655302741918", "CO.3001234567", "MX.a"]
        {
            assert_eq!(BusinessId::parse(id.as_bytes()).unwrap().as_str(), id);
        }
        let spelled = BusinessId::parse(b" WhatsApp: US.1349 ").unwrap();
        assert_eq!(spelled.as_str(), "US.1349");
        let long = format!("US.{}", "1".repeat(129));
        for text in
            ["us.1349", "US.", "US.ENT.", "USA.1", "US.13 49", "US.1.2", "+525512345678", &long]
        {
            assert_eq!(BusinessId::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn no_id_is_read_as_a_number() {
        let reader = NumberReader::new(Some(Region::parse("MX").unwrap()), Folding::default());
        for id in ["US.13491208655302741918", "US.ENT.5512345678", "CO.3001234567", "MX.a", "AZ.1"]
        {
            assert_eq!(BusinessId::find(id.as_bytes()), Some(id));
            assert_eq!(reader.recipient(id.as_bytes()), Err(Reason::BusinessScopedId));
        }
    }

    #[test]
    fn debug_shows_no_whole_id() {
        let id = BusinessId::parse(b"US.13491208655302741918").unwrap();
        assert_eq!(format!("{id:?}"), "US.1349****************");
        assert_eq!(format!("{:?}", Address::from(id)), "US.1349****************");
    }

    #[test]
    fn keys_of_ids_are_no_numbers() {
        let key = SubscriberKey::of_id(7);
        assert_eq!(key.id_sequence(), Some(7));
        assert_eq!(Number::from_e164(key.get()), None);
        assert_eq!(SubscriberKey::from_u64(9_999_999_999_999_999_999).id_sequence(), None);
    }
}
