//! How does the server fare? Figures for Prometheus.
//!
//! Counts of answers by route and status, and what the store says of itself. No figure is about
//! a person, no label comes from a client.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::service::Service;
use super::{capture, deliver, webhooks};

/// Upper bounds of the histogram of durations, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// What was answered.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    routes: Mutex<BTreeMap<(String, String, u16), Answers>>,
    pub(super) webhooks: webhooks::Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    within: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

impl Metrics {
    /// Counts an answer. `route` is the path as it is described, never as it was asked for.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = routes.entry((route.to_owned(), method.to_owned(), status)).or_default();
        let seconds = took.as_secs_f64();
        for (bound, count) in BOUNDS.iter().zip(&mut answers.within) {
            *count += u64::from(seconds <= *bound);
        }
        answers.count += 1;
        answers.seconds += seconds;
    }

    /// The figures in Prometheus' text format.
    pub(super) fn text(
        &self,
        service: &Service,
        connections: usize,
        captured: &capture::Counts,
        confirmed: &deliver::Counts,
    ) -> String {
        let mut text = String::new();
        self.write_answers(&mut text);
        write_captured(&mut text, captured, confirmed);
        for (name, help, value) in self.webhooks.figures() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}");
        }
        let counts = &service.counts;
        let view = service.view();
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let figures = [
            ("optout_groups_total", "counter", "Groups of events that shared a sync", {
                of(&counts.groups)
            }),
            ("optout_events_recorded_total", "counter", "Events answered", of(&counts.events)),
            ("optout_shed_total", "counter", "Recordings turned away", of(&counts.shed)),
            ("optout_folds_total", "counter", "Generations made", of(&counts.folds)),
            ("optout_connections", "gauge", "Open connections", connections as u64),
            ("optout_sequence", "gauge", "Sequence of the newest event", view.sequence()),
            ("optout_generation", "gauge", "The generation that is read", view.generation()),
            ("optout_opted_out", "gauge", "Subscribers opted out", view.len().unwrap_or(0)),
            ("optout_writes", "gauge", "Whether events can be recorded", {
                u64::from(service.writes())
            }),
            ("optout_takes_replies", "gauge", "Whether the list of senders can be read", {
                u64::from(service.senders().is_some())
            }),
            ("optout_senders", "gauge", "Senders that are set up", {
                service.senders().map_or(0, |senders| senders.all().len() as u64)
            }),
        ];
        for (name, kind, help, value) in figures {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }

    fn write_answers(&self, text: &mut String) {
        const NAME: &str = "optout_request_seconds";
        let _ = writeln!(text, "# HELP {NAME} Time until an answer began");
        let _ = writeln!(text, "# TYPE {NAME} histogram");
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for ((route, method, status), answers) in routes.iter() {
            let labels = format!("method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let bounds = BOUNDS.iter().map(f64::to_string).zip(answers.within);
            for (bound, count) in bounds.chain([("+Inf".to_owned(), answers.count)]) {
                let _ = writeln!(text, "{NAME}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(text, "{NAME}_sum{{{labels}}} {}", answers.seconds);
            let _ = writeln!(text, "{NAME}_count{{{labels}}} {}", answers.count);
        }
    }
}

/// Replies by what they asked for, and confirmations by what became of them.
fn write_captured(text: &mut String, captured: &capture::Counts, confirmed: &deliver::Counts) {
    const REPLIES: &str = "optout_replies_total";
    let _ = writeln!(text, "# HELP {REPLIES} Replies taken, by intent\n# TYPE {REPLIES} counter");
    for (intent, count) in captured.taken() {
        let _ = writeln!(text, "{REPLIES}{{intent=\"{intent}\"}} {count}");
    }
    const NAME: &str = "optout_confirmations_total";
    let _ = writeln!(text, "# HELP {NAME} Confirmations, by what became of them");
    let _ = writeln!(text, "# TYPE {NAME} counter");
    for (result, count) in [
        ("sent", &confirmed.sent),
        ("failed", &confirmed.failed),
        ("expired", &confirmed.expired),
        ("dropped", &confirmed.dropped),
        ("retried", &confirmed.retried),
    ] {
        let count = count.load(Ordering::Relaxed);
        let _ = writeln!(text, "{NAME}{{result=\"{result}\"}} {count}");
    }
}
