//! Where does an opt-out hold?

use std::fmt;

/// The channels that there are. A closed list: an opt-out for a channel that nobody sends on
/// would silence nobody.
pub const CHANNELS: &[&str] = &[
    "whatsapp",
    "sms",
    "rcs",
    "voice",
    "email",
    "push",
    "telegram",
    "messenger",
    "instagram",
    "viber",
    "line",
];

/// Channel × sender × brand; what is empty stands for all of them. The empty scope is everywhere.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope {
    channel: String,
    sender: String,
    brand: String,
}

impl Scope {
    /// Everywhere.
    pub const EVERYWHERE: Scope =
        Scope { channel: String::new(), sender: String::new(), brand: String::new() };

    /// A scope from names as people write them: case and blanks around them don't count, nor do
    /// signs between the digits of a sender that is a number. Empty means all.
    ///
    /// # Errors
    ///
    /// When the channel is none of [`CHANNELS`].
    pub fn new(channel: &str, sender: &str, brand: &str) -> Result<Scope, UnknownChannel> {
        let scope = Scope {
            channel: channel.trim().to_lowercase(),
            sender: sender_name(sender),
            brand: brand.trim().to_lowercase(),
        };
        if scope.channel.is_empty() || CHANNELS.contains(&&*scope.channel) {
            return Ok(scope);
        }
        Err(UnknownChannel { got: channel.trim().chars().take(40).collect() })
    }

    /// The channel; empty for all.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The sender; empty for all.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// The brand; empty for all.
    pub fn brand(&self) -> &str {
        &self.brand
    }

    /// Whether `other` is at or below this scope: everything that it says, this one says too.
    pub fn covers(&self, other: &Scope) -> bool {
        self.parts().iter().zip(other.parts()).all(|(&mine, it)| mine.is_empty() || mine == it)
    }

    /// Whether an opt-out of this scope may be about a message of `message`'s. What the message
    /// does not name may be anything: in doubt it is about it.
    pub fn may_concern(&self, message: &Scope) -> bool {
        let agree = |(&mine, it): (&&str, &str)| mine.is_empty() || it.is_empty() || mine == it;
        self.parts().iter().zip(message.parts()).all(agree)
    }

    fn parts(&self) -> [&str; 3] {
        [&self.channel, &self.sender, &self.brand]
    }
}

/// `everywhere`, or what it names, such as `channel sms, brand acme`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = ["channel", "sender", "brand"].into_iter().zip(self.parts());
        let named: Vec<String> = named
            .filter(|(_, name)| !name.is_empty())
            .map(|(what, name)| format!("{what} {name}"))
            .collect();
        match named.is_empty() {
            true => f.write_str("everywhere"),
            false => f.write_str(&named.join(", ")),
        }
    }
}

/// Senders that are numbers are written in many ways, names in one.
fn sender_name(text: &str) -> String {
    const DIGITS_MIN: usize = 5;
    let text = text.trim();
    let is_sign = |it: char| it.is_ascii_digit() || "+-.()/ ".contains(it);
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    match text.chars().all(is_sign) && digits.len() >= DIGITS_MIN {
        true => digits,
        false => text.to_lowercase(),
    }
}

/// The text is no channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{got}\" is not a channel: use one of {}", CHANNELS.join(", "))]
pub struct UnknownChannel {
    got: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(channel: &str, sender: &str, brand: &str) -> Scope {
        Scope::new(channel, sender, brand).unwrap()
    }

    #[test]
    fn a_scope_covers_what_is_at_or_below_it() {
        let narrow = scope("sms", "55555", "acme");
        for wide in [scope("", "", ""), scope("sms", "", ""), scope("", "55555", "acme")] {
            assert!(wide.covers(&narrow) && wide.covers(&wide), "{wide}");
            assert!(!narrow.covers(&wide), "{wide}");
        }
        assert!(!scope("sms", "", "").covers(&scope("", "", "acme")));
        assert!(!scope("sms", "", "").covers(&scope("voice", "", "acme")));
        assert!(!scope("sms", "", "").covers(&Scope::EVERYWHERE));
    }

    #[test]
    fn what_a_message_does_not_name_may_be_anything() {
        let stop = scope("sms", "55555", "");
        assert!(stop.may_concern(&Scope::EVERYWHERE));
        assert!(stop.may_concern(&scope("sms", "", "acme")));
        assert!(stop.may_concern(&scope("", "55555", "")));
        assert!(!stop.may_concern(&scope("sms", "66666", "")));
        assert!(!stop.may_concern(&scope("voice", "", "")));
        assert!(Scope::EVERYWHERE.may_concern(&scope("voice", "1", "acme")));
    }

    #[test]
    fn names_are_compared_without_case_blanks_and_signs_in_numbers() {
        let plain = scope("whatsapp", "5215512345678", "acme");
        assert_eq!(scope(" WhatsApp ", "+52 1 (55) 1234-5678", "ACME "), plain);
        assert_ne!(scope("whatsapp", "shop-12", ""), scope("whatsapp", "shop12", ""));
        assert_eq!(scope("", "Shop 12345", "").sender(), "shop 12345");
        assert_eq!(Scope::EVERYWHERE.to_string(), "everywhere");
        assert_eq!(scope("SMS", "", "Acme").to_string(), "channel sms, brand acme");
    }

    #[test]
    fn a_channel_that_nobody_sends_on_is_refused() {
        let error = Scope::new("fax", "", "").unwrap_err().to_string();
        assert!(error.contains("\"fax\"") && error.contains("whatsapp"), "{error}");
    }
}
