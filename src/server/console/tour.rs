//! What would it look like with people in it?
//!
//! A tour on sample data: the same code that answers from the store, on a store in memory that is
//! made for the tour. Promises: nothing of it reaches the real store, and it is marked on the page.

use std::sync::{Arc, LazyLock};

use askama::Template;
use axum::http::StatusCode;

use super::audience::{self, Found};
use super::texts::Texts;
use super::visit::{Frame, Visit};
use super::{Answer, html, look};
use crate::disk::MemoryDisk;
use crate::event::{Action, Category, Details, Source};
use crate::intent::{Detector, Intent};
use crate::number::{Folding, Number};
use crate::policy::{Context, Policy, Scope};
use crate::query::{Checker, Judge, Stale, Verdict};
use crate::server::problem::{Kind, Problem};
use crate::server::routes::list::Parts;
use crate::store::{NewEvent, Reader, Writer, init_on};
use crate::time::Timestamp;

const STEPS: u32 = 4;
const HOUR: i64 = 3_600_000;

struct ScrubRow {
    number: String,
    verdict: &'static str,
    verdict_word: &'static str,
    why: String,
}

struct Said {
    text: &'static str,
    intent: &'static str,
    intent_word: &'static str,
    rule: &'static str,
}

#[derive(Template)]
#[template(path = "tour.html")]
struct TourPage {
    f: Frame,
    t: &'static Texts,
    step: u32,
    steps: Vec<(u32, &'static str, bool)>,
    found: Option<Found>,
    scrubbed: Vec<ScrubRow>,
    said: Vec<Said>,
}

/// The tour.
pub(super) async fn page(visit: Visit) -> Answer {
    visit.known()?;
    let step = visit.fields.get("step").parse().unwrap_or(1).clamp(1, STEPS);
    let seen = visit.clone();
    let app = visit.app.clone();
    let (found, scrubbed) = app
        .ask(move |app, _| {
            let failed = || Problem::new(Kind::Internal, "the sample data could not be made");
            let reader = SAMPLE.as_ref().ok_or_else(failed)?;
            let parts = Parts { tz: Some(seen.zone_name()), ..Parts::default() };
            let found = match step {
                2 => Some(audience::found(app, reader, &seen, parts, (None, None), None)?),
                _ => None,
            };
            let scrubbed =
                if step == 3 { scrubbed(reader, &seen).ok_or_else(failed)? } else { vec![] };
            Ok((found, scrubbed))
        })
        .await?;
    let t = visit.t;
    let names = [t.tour_step1, t.tour_step2, t.tour_step3, t.tour_step4];
    let page = TourPage {
        f: visit.frame(t.tour, "/console/tour"),
        t,
        step,
        steps: (1..).zip(names).map(|(at, name)| (at, name, at == step)).collect(),
        found,
        scrubbed,
        said: if step == 4 { said(t) } else { vec![] },
    };
    Ok(html(StatusCode::OK, &page))
}

/// Numbers that belong to nobody, or are kept for examples.
fn number(at: u64) -> Option<Number> {
    let base = [525_555_550_100, 5_511_955_550_100, 12_025_550_100, 34_600_000_100];
    Number::from_e164(base[(at % 4) as usize] + at / 4)
}

/// The sample store.
static SAMPLE: LazyLock<Option<Reader>> = LazyLock::new(sample);

fn sample() -> Option<Reader> {
    const PEOPLE: u64 = 90;
    let disk = Arc::new(MemoryDisk::new());
    let now = Timestamp::now();
    init_on(&*disk, Folding::default(), now).ok()?;
    let writer = Writer::open_on(disk.clone()).ok()?;
    // Mixed by multiplication, so that every tour shows the same.
    let mixed = |at: u64, of: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % of;
    let mut moments: Vec<(i64, u64)> =
        (0..PEOPLE).map(|at| (mixed(at, 28 * 24) as i64, at)).collect();
    moments.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
    let said = ["BAJA", "STOP", "SAIR", "Parar", "CANCELAR"];
    for (hours, at) in moments {
        let moment = Timestamp::from_millis(now.as_millis() - hours * HOUR);
        let source = match mixed(at + 500, 10) {
            0..=4 => Source::Keyword,
            5..=6 => Source::Button,
            7 => Source::Api,
            8 => Source::Preference,
            _ => Source::Agent,
        };
        let mut details = Details::new(Action::OptOut, source);
        details.channel = if mixed(at + 900, 3) == 0 { "sms" } else { "whatsapp" }.to_owned();
        details.campaign =
            ["spring-sale", "welcome", "black-friday"][mixed(at + 77, 3) as usize].to_owned();
        if source == Source::Keyword {
            details.word = said[mixed(at + 3, 5) as usize].to_owned();
        }
        let number = number(at)?;
        let event = |details, occurred_at| NewEvent {
            address: number.into(),
            linked: None,
            raw: number.to_string(),
            occurred_at,
            details,
        };
        writer.append(vec![event(details.clone(), moment)], moment).ok()?;
        if mixed(at + 31, 12) == 0 {
            // An opt-out of the same moment would count more.
            let later = Timestamp::from_millis(moment.as_millis() + 1000);
            let mut back = Details::new(Action::Resubscribe, Source::Keyword);
            (back.channel, back.word) = (details.channel, "START".to_owned());
            writer.append(vec![event(back, later)], later).ok()?;
        }
    }
    Reader::open_on(disk).ok()
}

/// What a scrub makes of a short sample list.
fn scrubbed(reader: &Reader, visit: &Visit) -> Option<Vec<ScrubRow>> {
    let t = visit.t;
    let scope = Scope::new("whatsapp", "", "").ok()?;
    let context = Context { scope, category: Category::Marketing };
    let policy = Policy::default();
    let judge = Judge::new(reader, policy, context, Timestamp::now(), Stale::Accept).ok()?;
    let mut list: Vec<String> = (0..4).filter_map(|at| Some(number(at)?.to_string())).collect();
    list.extend(
        ["+52 55 5555 0199", "+55 11 95555-0188", "12", "+34 600 000 199"].map(String::from),
    );
    let verdicts = Checker::new(judge, None).verdicts(&list).ok()?;
    let row = |(text, verdict): (String, Verdict)| {
        let word = verdict.as_str();
        let (verdict, number, why) = match verdict {
            Verdict::Allowed(address) => (t.kept, look::shown(&address, false), String::new()),
            Verdict::Exempt { address, rule } => (t.exempt, look::shown(&address, false), rule),
            Verdict::Suppressed { address, since, source, .. } => {
                let why = format!("{}, {}", t.source(source), visit.moment(since));
                (t.suppressed, look::shown(&address, false), why)
            }
            Verdict::Invalid(reason) => (t.invalid, text, reason.sentence().to_owned()),
            Verdict::Unknown(_) => (t.invalid, text, String::new()),
        };
        ScrubRow { number, verdict, verdict_word: word, why }
    };
    Some(list.into_iter().zip(verdicts).map(row).collect())
}

/// What the detector makes of some messages.
fn said(t: &'static Texts) -> Vec<Said> {
    let messages = [
        "STOP",
        "Ya no quiero recibir mensajes, gracias",
        "por favor me tirem dessa lista",
        "please stop texting me",
        "cancel my order",
        "¿A qué hora abren?",
        "ALTA",
    ];
    let read = |text| {
        let verdict = Detector::built_in().read(text);
        let (intent, intent_word) = (t.intent(verdict.intent), verdict.intent.as_str());
        Said { text, intent, intent_word, rule: verdict.rule }
    };
    messages.into_iter().map(read).collect()
}

impl Texts {
    pub(super) fn intent(&self, intent: Intent) -> &'static str {
        match intent {
            Intent::OptOut => self.intent_opt_out,
            Intent::OptOutLikely => self.intent_likely,
            Intent::OptIn => self.intent_opt_in,
            Intent::Help => self.intent_help,
            Intent::None => self.intent_none,
        }
    }
}
