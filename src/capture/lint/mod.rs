//! Is this text fit to be sent, as a confirmation or as a template?
//!
//! [`confirmation`] refuses what a message that only says "you get no more messages" must not
//! hold; [`template`] looks for the way out in a marketing template, read as a reply would be read.
//! Promises no I/O, the same findings for the same text, and places that lie on the borders of
//! characters. Leaves to others who may send, and whether anybody listens to the findings.

mod confirmation;
mod fold;
mod template;
mod words;

use std::ops::Range;

use serde::Serialize;

pub use confirmation::confirmation;
pub use template::{Template, TemplateError, template};

/// Something about a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Which rule: `link`, `offer`, `persuasion`, `length` and others.
    pub rule: &'static str,
    /// Whether the text is refused for it; otherwise it is advice.
    pub refuses: bool,
    /// What is wrong.
    pub what: String,
    /// Where, in bytes of the text; the whole text when nothing is pointed at.
    pub at: Range<usize>,
    /// How to mend it.
    pub mend: String,
}

impl Finding {
    fn refusal(rule: &'static str, what: String, at: Range<usize>, mend: &str) -> Finding {
        Finding { rule, refuses: true, what, at, mend: mend.to_owned() }
    }

    fn advice(rule: &'static str, what: String, at: Range<usize>, mend: &str) -> Finding {
        Finding { refuses: false, ..Finding::refusal(rule, what, at, mend) }
    }
}
