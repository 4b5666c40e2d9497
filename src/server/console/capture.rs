//! How are replies read and confirmed, for each sender?
//!
//! Promises: settings that can't stand are not kept, and come back in their form with what is wrong
//! beside its field; secrets are neither shown nor taken here: they are set on the command line;
//! trying a message records nothing. Leaves to others: what follows from a message (`capture`).

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::extract::Request;
use axum::http::StatusCode;

use super::form::{self, Fields};
use super::look::Choice;
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, Failed, html, see};
use crate::capture::lint::{self, Finding, Template as MessageTemplate};
use crate::capture::{Incoming, Said, SenderSettings, SettingsError, decide};
use crate::event::Action;
use crate::intent::Detector;
use crate::server::keys::KeyScope;
use crate::server::problem::{Kind, Problem};
use crate::server::senders::CaptureError;
use crate::time::Timestamp;

/// Languages for which a text is asked, beside those that the sender has.
const LANGUAGES: [&str; 3] = ["es", "pt", "en"];

struct SenderRow {
    sender: String,
    channel: String,
    languages: String,
    is_on: bool,
    link: String,
}

/// What a message would do.
struct Tried {
    intent: &'static str,
    intent_word: &'static str,
    rule: &'static str,
    matched: String,
    language: &'static str,
    follows: &'static str,
    confirmation: Option<(String, String)>,
}

/// A finding, for people.
struct Found {
    refuses: bool,
    rule: &'static str,
    what: String,
    mend: String,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Found {
        let Finding { rule, refuses, what, mend, .. } = finding;
        Found { refuses, rule, what, mend }
    }
}

#[derive(Template)]
#[template(path = "capture.html")]
struct CapturePage {
    f: Frame,
    t: &'static Texts,
    senders: Vec<SenderRow>,
    choices: Vec<Choice>,
    fields: Fields,
    tried: Option<Tried>,
    /// What is said of a template; `None` when none was checked.
    checked: Option<Vec<Found>>,
}

/// A confirmation text with what is said of it.
struct Confirmation {
    language: String,
    text: String,
    errors: Vec<String>,
    findings: Vec<Found>,
}

#[derive(Template)]
#[template(path = "sender.html")]
struct SenderPage {
    f: Frame,
    t: &'static Texts,
    is_refused: bool,
    is_saved: bool,
    settings: SenderSettings,
    buttons: String,
    languages: String,
    confirmations: Vec<Confirmation>,
    /// What is wrong beside the texts: the field and what.
    errors: Vec<(String, String)>,
}

/// The senders, a box to try a message, and one to check a template.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.may(KeyScope::Admin)?;
    shown(&visit, &Fields::default(), None, None).await
}

async fn shown(
    visit: &Visit,
    fields: &Fields,
    tried: Option<Tried>,
    checked: Option<Vec<Found>>,
) -> Answer {
    let t = visit.t;
    let senders = list(visit).await?;
    let chosen = fields.get("of");
    let name = |it: &SenderSettings| format!("{} {}", it.channel, it.sender);
    let choice = |it: &SenderSettings| Choice::of(&name(it), &name(it), chosen);
    let none = Choice::of("", t.no_sender, chosen);
    let choices = std::iter::once(none).chain(senders.iter().map(choice)).collect();
    let row = |it: SenderSettings| {
        let query = [("channel", it.channel.as_str()), ("sender", it.sender.as_str())];
        SenderRow {
            link: format!("/console/capture/sender?{}", form::query(query.into_iter())),
            languages: it.languages.join(", "),
            is_on: it.capture,
            channel: it.channel,
            sender: it.sender,
        }
    };
    let page = CapturePage {
        f: visit.frame(t.capture, "/console/capture"),
        t,
        senders: senders.into_iter().map(row).collect(),
        choices,
        fields: fields.clone(),
        tried,
        checked,
    };
    Ok(html(StatusCode::OK, &page))
}

/// The settings of every sender, without secrets.
async fn list(visit: &Visit) -> Result<Vec<SenderSettings>, Failed> {
    let service = visit.app.service.clone();
    let listed = visit.app.ask_apart(move || Ok(service.capture_file().list())).await?;
    let listed = listed.map_err(|error| unread(visit, &error))?;
    Ok(listed.iter().map(SenderSettings::shown).collect())
}

fn unread(visit: &Visit, error: &CaptureError) -> Failed {
    visit.app.log(format_args!("store: {error}"));
    let what = "the list of senders can't be read or changed now";
    Problem::new(Kind::StoreUnavailable, what).into()
}

/// What a message would do. Nothing is recorded.
pub(super) async fn try_message(visit: Visit, request: Request) -> Answer {
    visit.may(KeyScope::Admin)?;
    let fields = form::posted(&visit, request).await?;
    let of = fields.get("of").to_owned();
    let senders = list(&visit).await?;
    let settings = senders.into_iter().find(|it| of == format!("{} {}", it.channel, it.sender));
    let (text, button) = (fields.get("text").to_owned(), fields.get("button").to_owned());
    let t = visit.t;
    let tried = visit.app.ask_apart(move || Ok(tried(settings.as_ref(), text, button, t))).await?;
    shown(&visit, &fields, Some(tried), None).await
}

fn tried(
    settings: Option<&SenderSettings>,
    text: String,
    button: String,
    t: &'static Texts,
) -> Tried {
    // Words that can't be read are not kept in the first place.
    let own = settings.and_then(|it| it.detector().ok().flatten());
    let detector = own.as_ref().unwrap_or_else(|| Detector::built_in());
    let said = match button.is_empty() {
        true => Said::Text(text),
        false => Said::Button { payload: String::new(), text: button },
    };
    let incoming = Incoming {
        number: None,
        id: None,
        sender: settings.map_or(String::new(), |it| it.sender.clone()),
        channel: settings.map_or(String::new(), |it| it.channel.clone()),
        said,
        message_id: "try".to_owned(),
        occurred_at: Timestamp::now(),
        answers: None,
        campaign: None,
    };
    let decision = decide(settings, detector, &incoming);
    let action = decision.details.map(|details| details.action);
    Tried {
        intent: t.intent(decision.verdict.intent),
        intent_word: decision.verdict.intent.as_str(),
        rule: decision.verdict.rule,
        matched: decision.verdict.matched,
        language: decision.verdict.language.unwrap_or("–"),
        follows: match action {
            Some(Action::OptOut) => t.follows_opt_out,
            Some(Action::Resubscribe) => t.follows_resubscribe,
            _ => t.follows_nothing,
        },
        confirmation: decision.confirmation,
    }
}

/// Whether a template says how to opt out.
pub(super) async fn check_template(visit: Visit, request: Request) -> Answer {
    visit.may(KeyScope::Admin)?;
    let fields = form::posted(&visit, request).await?;
    let template = MessageTemplate {
        language: fields.get("language").to_owned(),
        category: "marketing".to_owned(),
        body: fields.get("body").to_owned(),
        footer: fields.get("footer").to_owned(),
        buttons: lines(fields.get("buttons")),
    };
    let findings = lint::template(&template, Detector::built_in(), &[]);
    let checked = findings.into_iter().map(Found::from).collect();
    shown(&visit, &fields, None, Some(checked)).await
}

/// The settings of a sender.
pub(super) async fn sender(visit: Visit) -> Answer {
    visit.may(KeyScope::Admin)?;
    let (sender, channel) = (visit.fields.get("sender"), visit.fields.get("channel"));
    let senders = list(&visit).await?;
    let found = senders.into_iter().find(|it| it.sender == sender && it.channel == channel);
    let settings = found.unwrap_or_else(|| SenderSettings::new(sender, channel));
    Ok(edited(&visit, StatusCode::OK, settings, vec![]))
}

fn edited(
    visit: &Visit,
    status: StatusCode,
    settings: SenderSettings,
    errors: Vec<SettingsError>,
) -> axum::response::Response {
    let languages: BTreeSet<&str> = LANGUAGES
        .into_iter()
        .chain(settings.languages.iter().map(String::as_str))
        .chain(settings.confirmations.keys().map(String::as_str))
        .collect();
    let confirmation = |language: &str| {
        let text = settings.confirmations.get(language).cloned().unwrap_or_default();
        let field = format!("confirmations.{language}");
        let errors = errors.iter().filter(|it| it.field == field).map(|it| it.what.clone());
        let findings = match text.is_empty() {
            true => vec![],
            false => lint::confirmation(&text, &settings.channel),
        };
        Confirmation {
            language: language.to_owned(),
            errors: errors.collect(),
            findings: findings.into_iter().map(Found::from).collect(),
            text,
        }
    };
    let others = errors.iter().filter(|it| !it.field.starts_with("confirmations."));
    let page = SenderPage {
        f: visit.frame(visit.t.capture, "/console/capture"),
        t: visit.t,
        is_refused: !errors.is_empty(),
        is_saved: visit.fields.get("done") == "saved",
        confirmations: languages.into_iter().map(confirmation).collect(),
        errors: others.map(|it| (it.field.clone(), it.what.clone())).collect(),
        buttons: settings.buttons.join("\n"),
        languages: settings.languages.join(", "),
        settings,
    };
    html(status, &page)
}

/// Keeps the settings of a sender.
pub(super) async fn save(visit: Visit, request: Request) -> Answer {
    let access = visit.may(KeyScope::Admin)?.clone();
    let fields = form::posted(&visit, request).await?;
    let senders = list(&visit).await?;
    let fresh = SenderSettings::new(fields.get("sender"), fields.get("channel"));
    let is_same = |it: &SenderSettings| it.sender == fresh.sender && it.channel == fresh.channel;
    let before = senders.into_iter().find(is_same);
    let mut settings = before.unwrap_or(fresh);
    fill(&mut settings, &fields);
    let service = visit.app.service.clone();
    let wanted = settings.clone();
    let kept = visit.app.ask_apart(move || Ok(service.capture_file().set(&wanted))).await?;
    match kept {
        Ok(kept) => {
            visit.app.log(format_args!("console: settings of a sender changed key={}", access.id));
            let query = [
                ("channel", kept.channel.as_str()),
                ("sender", kept.sender.as_str()),
                ("done", "saved"),
            ];
            Ok(see(&format!("/console/capture/sender?{}", form::query(query.into_iter()))))
        }
        Err(CaptureError::Settings(errors)) => {
            Ok(edited(&visit, StatusCode::UNPROCESSABLE_ENTITY, settings, errors))
        }
        Err(error @ CaptureError::List(_)) => Err(unread(&visit, &error)),
        Err(error) => Err(Problem::field("sender", error.to_string()).into()),
    }
}

fn fill(settings: &mut SenderSettings, fields: &Fields) {
    let text = |name: &str| fields.get(name).to_owned();
    settings.provider_id = text("provider_id");
    settings.brand = text("brand");
    settings.words = fields.get("words").replace("\r\n", "\n");
    settings.buttons = lines(fields.get("buttons"));
    let languages = fields.get("languages").split([',', ' ']).map(str::trim);
    settings.languages = languages.filter(|it| !it.is_empty()).map(str::to_owned).collect();
    settings.language = text("language");
    let known: BTreeMap<String, String> = settings
        .languages
        .iter()
        .map(String::as_str)
        .chain(LANGUAGES)
        .chain(settings.confirmations.keys().map(String::as_str))
        .map(|language| (language.to_owned(), text(&format!("confirmation-{language}"))))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    settings.confirmations = known;
    settings.opt_in_lifts = fields.get("opt_in_lifts") == "on";
    settings.holds_likely = fields.get("holds_likely") == "on";
    settings.capture = fields.get("capture") == "on";
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
