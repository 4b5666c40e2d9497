//! `serve`: the store over HTTP until a signal ends it.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use optout::server::{Server, Settings};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::policy_of;
use crate::args::Serve;
use crate::exit::Exit;
use crate::output::Output;

pub(crate) fn run(path: &Path, args: &Serve, output: &Output) -> anyhow::Result<Exit> {
    let mut settings = Settings::new(args.listen);
    dump_nothing();
    settings.policy = policy_of(args.policy.as_deref())?;
    settings.spool.clone_from(&args.spool);
    let log = *output;
    settings.log = Arc::new(move |line: &str| log.say(line));
    let server = Server::bind(path, settings)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be watched")?;
    let (address, stopper, said) = (server.address(), server.stopper(), *output);
    let ender = signals.handle();
    let watcher = thread::spawn(move || {
        if signals.forever().next().is_some() {
            said.say("ending: requests that were begun are finished");
            stopper.stop();
        }
    });
    if output.is_json() {
        output.json(&json!({"listening": address.to_string()}))?;
    }
    output.say(format!("listening on http://{address}"));
    let served = server.run();
    ender.close();
    let _ = watcher.join();
    served?;
    output.say("ended: all that was acknowledged is durable");
    Ok(Exit::Done)
}

/// What a server holds in memory is about people: it is not left behind in a file when it crashes.
#[cfg(target_os = "linux")]
fn dump_nothing() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    let _ = setrlimit(Resource::Core, limit);
}

#[cfg(not(target_os = "linux"))]
fn dump_nothing() {}
