//! Which words may stand in a field? For the description only; what is read and written decides.

use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use crate::event::{Action, Category, Ground, Source, Tier};
use crate::store::Outcome;

/// One of these words.
fn of(words: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// One of these words, or nothing.
fn maybe(words: impl IntoIterator<Item = &'static str>) -> Object {
    let words = words.into_iter().map(Some).chain([None]);
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types).enum_values(Some(words)).build()
}

macro_rules! words {
    ($($of:ident $name:ident = $words:expr;)+) => {
        $(
            pub(super) fn $name() -> Object {
                $of($words)
            }
        )+
    };
}

words! {
    of action = Action::ALL.iter().map(|it| it.as_str());
    of source = Source::ALL.iter().map(|it| it.as_str());
    maybe maybe_source = Source::ALL.iter().map(|it| it.as_str());
    of tier = Tier::ALL.iter().map(|it| it.as_str());
    maybe maybe_tier = Tier::ALL.iter().map(|it| it.as_str());
    of ground = Ground::ALL.iter().map(|it| it.as_str());
    of category = Category::ALL.iter().map(|it| it.as_str());
    maybe maybe_category = Category::ALL.iter().map(|it| it.as_str());
    of clock = ["received", "occurred"];
    of view = ["events", "state"];
    of verdict = ["allowed", "exempt", "suppressed", "invalid", "unknown"];
    of decision = ["allowed", "exempt", "suppressed"];
    of outcome = {
        let recorded = [Outcome::Added, Outcome::Already, Outcome::Resubscribed];
        let not = [Outcome::NotListed, Outcome::Refused];
        recorded.into_iter().chain(not).map(Outcome::as_str).chain(["invalid"])
    };
    of by = [
        "day", "week", "month", "source", "country", "campaign", "template", "sender", "word",
    ];
}
