//! Which rule decides what stands against a recipient and a message?
//!
//! A [`Policy`] is a text that people read and edit: one rule a line, the first that fits a case
//! decides. `data/policy/default.policy` explains the columns. There are few cases (see
//! [`Case`]), so reading a policy decides all of them at once.
//!
//! Promises that a policy that was read answers every case by exactly one rule, that each of its
//! rules answers some case, and that none goes below the floor: no file can make an opt-out
//! weaker than what it says. Leaves to others where the text comes from and where it is recorded.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

use super::{Claim, Claims, Context, Decision, RuleId, Ruling};
use crate::event::{Category, Tier};

/// The first line of every policy: what it is, and the version of the format.
const HEADER: [&str; 2] = ["optout-policy", "1"];
/// The columns of a rule.
const COLUMNS: [&str; 6] = ["name", "entry", "category", "override", "consent", "verdict"];

/// A table of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    text: String,
    rules: Vec<Rule>,
    answers: Vec<(Case, Ruling)>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What verdicts and reports call it.
    pub name: String,
    /// The number of its line in the text, from 1.
    pub line: usize,
    /// The line as it stands there, without blanks around it.
    pub text: String,
    /// What it decides.
    pub decision: Decision,
    entry: Entry,
    categories: Vec<Category>,
    overridden: Option<bool>,
    consent: Option<bool>,
}

/// What stands against a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An opt-out from marketing.
    OptOut,
    /// An opt-out from all messages.
    OptOutAll,
    /// An entry in an outside do-not-contact list.
    Registry,
}

impl Entry {
    const ALL: [Entry; 3] = [Entry::OptOut, Entry::OptOutAll, Entry::Registry];

    /// The word for people and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Entry::OptOut => "opt-out",
            Entry::OptOutAll => "opt-out-all",
            Entry::Registry => "registry",
        }
    }
}

/// What a policy has to answer. Overrides are exceptions from "all messages" and never name
/// marketing; consent says something about registries only. Other cases do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    entry: Entry,
    category: Category,
    overridden: bool,
    consent: bool,
}

impl Case {
    fn of_claim(claim: &Claim, category: Category) -> Case {
        let (entry, overridden) = match claim.tier {
            Tier::Marketing => (Entry::OptOut, false),
            Tier::All => (Entry::OptOutAll, claim.excepted.contains(&category)),
        };
        Case { entry, category, overridden, consent: false }
    }

    /// Every case there is.
    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        for entry in Entry::ALL {
            for &category in Category::ALL {
                let case = Case { entry, category, overridden: false, consent: false };
                cases.push(case);
                if entry == Entry::OptOutAll && category != Category::Marketing {
                    cases.push(Case { overridden: true, ..case });
                }
                if entry == Entry::Registry {
                    cases.push(Case { consent: true, ..case });
                }
            }
        }
        cases
    }

    /// Why no policy may decide otherwise than to suppress, if that is so.
    fn floor(self) -> Option<&'static str> {
        let is_marketing = self.category == Category::Marketing;
        match self.entry {
            Entry::OptOut if is_marketing => Some("an opt-out always stops marketing"),
            Entry::OptOutAll if is_marketing => Some("nothing lets marketing through an opt-out"),
            Entry::OptOutAll if !self.overridden => {
                Some("only an override lets messages through an opt-out from all of them")
            }
            Entry::OptOut | Entry::OptOutAll | Entry::Registry => None,
        }
    }
}

/// In the words of the file: `registry, category marketing, consent yes`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        write!(f, "{}, category {}", self.entry.as_str(), self.category)?;
        match self.entry {
            Entry::OptOut => Ok(()),
            Entry::OptOutAll if self.category == Category::Marketing => Ok(()),
            Entry::OptOutAll => write!(f, ", override {}", word(self.overridden)),
            Entry::Registry => write!(f, ", consent {}", word(self.consent)),
        }
    }
}

impl Policy {
    /// The largest number of rules.
    pub const RULES_MAX: usize = 250;
    /// The largest length of a policy's text.
    pub const TEXT_BYTES_MAX: usize = 64 * 1024;

    /// Reads a policy from its text.
    ///
    /// # Errors
    ///
    /// When a line can't be read, a case is left open, a rule never applies, or an opt-out would
    /// become weaker than what it says.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(PolicyError::TooLong { bytes: text.len() });
        }
        let rules = rules(text)?;
        let answers = answers(&rules)?;
        Ok(Policy { text: text.to_owned(), rules, answers })
    }

    /// The text that it was read from, to be recorded.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A checksum of the text, by which two policies are told apart. Nothing that withstands
    /// somebody who looks for two texts with the same one.
    pub fn digest(&self) -> u128 {
        xxh3_128(self.text.as_bytes())
    }

    /// The rules, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule of this policy; `None` for the id of another one that has more.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(usize::from(id.0))
    }

    /// What the opt-outs that stand against a subscriber decide about a message:
    /// [`Ruling::UNLISTED`] when none of them may be about it, and otherwise the strongest
    /// decision. When several decide the same, an opt-out from all messages names the rule before
    /// one from marketing, and one without an override before one with.
    pub fn on_claims(&self, claims: &Claims, context: &Context) -> Ruling {
        let cases = claims.iter().filter(|claim| claim.scope.may_concern(&context.scope));
        let mut cases: Vec<Case> =
            cases.map(|claim| Case::of_claim(claim, context.category)).collect();
        cases.sort_by_key(|case| (case.entry == Entry::OptOut, case.overridden));
        cases.iter().fold(Ruling::UNLISTED, |ruling, &case| ruling.stronger(self.answer(case)))
    }

    /// What an entry in an outside list decides about a message to a recipient who consented or
    /// did not. Opt-outs are asked apart: of both answers the [stronger](Ruling::stronger) counts.
    pub fn on_registry(&self, context: &Context, consent: bool) -> Ruling {
        let category = context.category;
        self.answer(Case { entry: Entry::Registry, category, overridden: false, consent })
    }

    /// Whether entries in outside lists stop any message of this category. If not, such lists
    /// need not be asked, nor be fresh.
    pub fn registries_matter(&self, category: Category) -> bool {
        let context = Context { category, ..Context::default() };
        [false, true].into_iter().any(|consent| !self.on_registry(&context, consent).may_send())
    }

    fn answer(&self, case: Case) -> Ruling {
        let found = self.answers.iter().find(|(it, _)| *it == case);
        found.map_or(Ruling::UNANSWERED, |&(_, ruling)| ruling)
    }
}

/// The rules of `data/policy/default.policy`.
impl Default for Policy {
    fn default() -> Policy {
        let text = include_str!("../../data/policy/default.policy");
        Policy::parse(text).expect("the policy in the source is read by a test")
    }
}

impl Rule {
    fn fits(&self, case: Case) -> bool {
        let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        self.entry == case.entry
            && self.categories.contains(&case.category)
            && fits(self.overridden, case.overridden)
            && fits(self.consent, case.consent)
    }

    fn parse(line: usize, text: &str) -> Result<Rule, PolicyError> {
        let cells = cells(text);
        let Ok([name, entry, category, overridden, consent, verdict]) =
            <[String; COLUMNS.len()]>::try_from(cells.clone())
        else {
            return Err(PolicyError::Columns { line, found: cells.len() });
        };
        let entry = word(line, 1, &entry, &Entry::ALL.map(|it| (it.as_str(), it)))?;
        let rule = Rule {
            name: rule_name(line, &name)?,
            line,
            text: text.to_owned(),
            decision: word(line, 5, &verdict, &DECISIONS.map(|it| (it.as_str(), it)))?,
            entry,
            categories: categories(line, &category)?,
            overridden: word(line, 3, &overridden, &YES_NO_ANY)?,
            consent: word(line, 4, &consent, &YES_NO_ANY)?,
        };
        if rule.overridden.is_some() && entry != Entry::OptOutAll {
            return Err(PolicyError::NoOverride { line, entry: entry.as_str() });
        }
        if rule.consent.is_some() && entry != Entry::Registry {
            return Err(PolicyError::NoConsent { line, entry: entry.as_str() });
        }
        Ok(rule)
    }
}

const DECISIONS: [Decision; 3] = [Decision::Allowed, Decision::Exempt, Decision::Suppressed];
const YES_NO_ANY: [(&str, Option<bool>); 3] =
    [("yes", Some(true)), ("no", Some(false)), ("any", None)];

/// The rules of a text, each readable by itself.
fn rules(text: &str) -> Result<Vec<Rule>, PolicyError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines());
    let mut lines = lines
        .map(|(line, text)| (line, text.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, text)| !text.is_empty());
    let (line, header) = lines.next().ok_or(PolicyError::Empty)?;
    if !header.split_whitespace().eq(HEADER) {
        return Err(PolicyError::Header { line, got: shortened(header) });
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (line, text) in lines {
        let rule = Rule::parse(line, text)?;
        if let Some(first) = rules.iter().find(|it| it.name == rule.name) {
            return Err(PolicyError::SameName { line, name: rule.name, first: first.line });
        }
        if rules.len() == Policy::RULES_MAX {
            return Err(PolicyError::TooMany { line });
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// The answer to every case.
fn answers(rules: &[Rule]) -> Result<Vec<(Case, Ruling)>, PolicyError> {
    let mut answers = Vec::new();
    for case in Case::all() {
        let rule = rules.iter().position(|rule| rule.fits(case));
        let rule = rule.ok_or_else(|| PolicyError::Open { case: case.to_string() })?;
        let Rule { line, ref name, decision, .. } = rules[rule];
        if let Some(why) = case.floor().filter(|_| decision != Decision::Suppressed) {
            let (name, case) = (name.clone(), case.to_string());
            return Err(PolicyError::BelowFloor { line, name, case, decision, why });
        }
        // Never cut off: there are at most `RULES_MAX` rules.
        answers.push((case, Ruling { decision, rule: Some(RuleId(rule as u8)) }));
    }
    let applies = |id: usize| answers.iter().any(|(_, it)| it.rule == Some(RuleId(id as u8)));
    match (0..).zip(rules).find(|&(id, _)| !applies(id)) {
        Some((_, rule)) => Err(PolicyError::never_applies(rule, rules)),
        None => Ok(answers),
    }
}

/// The cells of a line: between bars, or where there are none between blanks. Blanks around
/// commas don't count.
fn cells(text: &str) -> Vec<String> {
    let text: Vec<&str> = text.split(',').map(str::trim).collect();
    let text = text.join(",");
    match text.contains('|') {
        true => text.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect(),
        false => text.split_whitespace().map(str::to_owned).collect(),
    }
}

/// Names stand in reports and files of columns: small letters, digits and hyphens.
fn rule_name(line: usize, text: &str) -> Result<String, PolicyError> {
    const LENGTH_MAX: usize = 40;
    let is_plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    let begins_well = text.starts_with(|it: char| it.is_ascii_lowercase());
    match begins_well && text.len() <= LENGTH_MAX && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(PolicyError::Name { line, got: shortened(text) }),
    }
}

fn categories(line: usize, text: &str) -> Result<Vec<Category>, PolicyError> {
    if text == "any" {
        return Ok(Category::ALL.to_vec());
    }
    let known = [Category::Marketing, Category::Utility, Category::Authentication];
    let known = known.map(|it| (it.as_str(), it));
    text.split(',').map(|it| word(line, 2, it, &known)).collect()
}

/// The value behind a word of a column.
fn word<T: Copy>(
    line: usize,
    column: usize,
    text: &str,
    known: &[(&str, T)],
) -> Result<T, PolicyError> {
    let found = known.iter().find(|(word, _)| *word == text);
    found.map(|&(_, value)| value).ok_or_else(|| PolicyError::Word {
        line,
        column: COLUMNS[column],
        got: shortened(text),
        known: known.iter().map(|&(word, _)| word).collect::<Vec<_>>().join(", "),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// There is nothing but comments.
    #[error("the policy is empty: its first line has to be \"{} {}\"", HEADER[0], HEADER[1])]
    Empty,
    /// The text is too long for a table of rules.
    #[error(
        "the policy has {bytes} bytes, more than the {} that are allowed",
        Policy::TEXT_BYTES_MAX
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text is something else, or of a version that this release does not know.
    #[error(
        "line {line}: a policy begins with \"{} {}\", not with \"{got}\"", HEADER[0], HEADER[1]
    )]
    Header {
        /// The line.
        line: usize,
        /// What stands there, shortened.
        got: String,
    },
    /// A line has too few or too many cells.
    #[error("line {line}: a rule has {} columns ({}), not {found}", COLUMNS.len(), COLUMNS.join(", "))]
    Columns {
        /// The line.
        line: usize,
        /// How many cells it has.
        found: usize,
    },
    /// A cell has a word that its column does not know.
    #[error("line {line}: \"{got}\" is not known in the column {column}: use one of {known}")]
    Word {
        /// The line.
        line: usize,
        /// The column.
        column: &'static str,
        /// What stands there, shortened.
        got: String,
        /// What may stand there.
        known: String,
    },
    /// A name that would not survive in reports.
    #[error(
        "line {line}: \"{got}\" can't be the name of a rule: use small letters, digits and hyphens, \
         a letter first, 40 at most"
    )]
    Name {
        /// The line.
        line: usize,
        /// What stands there, shortened.
        got: String,
    },
    /// Two rules have the same name.
    #[error("line {line}: the rule of line {first} has the name {name} too")]
    SameName {
        /// The line of the second.
        line: usize,
        /// The name.
        name: String,
        /// The line of the first.
        first: usize,
    },
    /// There are too many rules.
    #[error("line {line}: a policy has at most {} rules", Policy::RULES_MAX)]
    TooMany {
        /// The line of the first that is too many.
        line: usize,
    },
    /// A rule asks for an override where there is none.
    #[error(
        "line {line}: override has to be any: overrides are exceptions from opt-out-all and mean \
         nothing to {entry}"
    )]
    NoOverride {
        /// The line.
        line: usize,
        /// The entry.
        entry: &'static str,
    },
    /// A rule lets consent change what a person's own opt-out says.
    #[error(
        "line {line}: consent has to be any: it helps against a registry, never against {entry}"
    )]
    NoConsent {
        /// The line.
        line: usize,
        /// The entry.
        entry: &'static str,
    },
    /// No rule fits a case.
    #[error("the policy leaves a case open: {case}: add a rule for it")]
    Open {
        /// The case.
        case: String,
    },
    /// Other rules decide every case of a rule, so that it says something that is not so.
    #[error("line {line}: the rule {name} never applies: {why}")]
    NeverApplies {
        /// The line.
        line: usize,
        /// The rule's name.
        name: String,
        /// Which rules come before it.
        why: String,
    },
    /// A rule lets messages through that every policy has to stop.
    #[error("line {line}: the rule {name} makes a case {}: {case}: {why}", decision.as_str())]
    BelowFloor {
        /// The line.
        line: usize,
        /// The rule's name.
        name: String,
        /// The case.
        case: String,
        /// What it decides.
        decision: Decision,
        /// What holds in every policy.
        why: &'static str,
    },
}

impl PolicyError {
    fn never_applies(rule: &Rule, rules: &[Rule]) -> PolicyError {
        let own: Vec<Case> = Case::all().into_iter().filter(|&case| rule.fits(case)).collect();
        let before = rules.iter().take_while(|it| it.line < rule.line);
        let before = before.filter(|it| own.iter().any(|&case| it.fits(case)));
        let lines: Vec<String> =
            before.map(|it| format!("{} (line {})", it.name, it.line)).collect();
        let why = match own.is_empty() {
            true => "overrides never name marketing".to_owned(),
            false => format!("before it comes {}", lines.join(", ")),
        };
        PolicyError::NeverApplies { line: rule.line, name: rule.name.clone(), why }
    }
}

#[cfg(test)]
mod tests;
