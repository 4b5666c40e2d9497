//! Progress bars with rate and remaining time, and the flag that Ctrl-C sets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use optout::scrub::Progress;

use crate::output::Output;

/// A bar over the bytes of an input that also counts rows; drawn at most ten times a second.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    last: Mutex<Progress>,
}

impl Bar {
    /// A bar for an input of a known length, or a running count for one of unknown length.
    /// Nothing is drawn when nobody would see it.
    pub(crate) fn new(output: &Output, name: &str, bytes: Option<u64>) -> Bar {
        let bar = if output.shows_progress() {
            let bar = bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
            bar.set_style(style(bytes.is_some()));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        } else {
            ProgressBar::hidden()
        };
        bar.set_prefix(name.to_owned());
        Bar { bar, last: Mutex::new(Progress { bytes: 0, rows: 0 }) }
    }

    /// How far it is.
    pub(crate) fn update(&self, progress: Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.bytes >= last.bytes {
            self.bar.set_position(progress.bytes);
            self.bar.set_message(format!("{} rows", HumanCount(progress.rows)));
            *last = progress;
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(has_length: bool) -> ProgressStyle {
    let template = if has_length {
        "{prefix} {wide_bar} {percent:>3}%  {msg}  {binary_bytes_per_sec}  {eta} left"
    } else {
        "{prefix} {spinner} {binary_bytes}  {msg}  {binary_bytes_per_sec}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A size for people.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// A flag that the first Ctrl-C or SIGTERM sets, so that work ends at a good place; the second
/// ends the process at once.
pub(crate) fn cancel_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    flag.store(false, Ordering::Relaxed);
    Ok(flag)
}
