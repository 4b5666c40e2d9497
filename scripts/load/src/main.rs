//! How many requests a second does a server answer, and how long does each take?
//!
//! `optout-load record|check|mixed|trickle HOST:PORT [CONNECTIONS [SECONDS [FIRST]]]` keeps so many
//! connections busy (64 for 5 seconds if not said) and prints rate and percentiles. `record` posts
//! one opt-out a request, of the numbers from FIRST on; `check` asks for 1,000 recipients of one
//! country a request; `mixed` does both on half of the connections each. `trickle` sends 200 opt-outs
//! and 200 small questions a second, first alone and then beside CONNECTIONS clients (2,000 for 60
//! seconds) that send or take a byte a second, and fails when that doubles the 99th percentile.
//!
//! `optout-load scrub HOST:PORT FILE KEPT [QUERY]` uploads a campaign file, takes the rows that come
//! back meanwhile, and compares them with those that the command line kept.
//!
//! With a key in `OPTOUT_KEY` it is sent. Any answer but 200 is an error.

#![expect(clippy::print_stdout, reason = "its figures are its output")]

mod connection;
mod scrub;
mod trickle;

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use connection::Connection;

/// Recipients of one question.
const RECIPIENTS: u64 = 1000;
/// Connections of the steady load, and what each does in a second.
const STEADY: u64 = 8;
const STEADY_RATE: u32 = 50;

const USAGE: &str = "usage: optout-load record|check|mixed|trickle HOST:PORT [CONNECTIONS [SECONDS [FIRST]]]\n       \
     optout-load scrub HOST:PORT FILE KEPT [QUERY]";

type Times = Vec<Duration>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, address, more @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    if what == "scrub" {
        let [file, kept, query @ ..] = more else { return Err(USAGE.into()) };
        return scrub::scrub(address, file, kept, query.first().map_or("", |it| it));
    }
    let number = |at: usize, default: u64| more.get(at).map_or(Ok(default), |it| it.parse());
    let next = AtomicU64::new(number(2, 525_510_000_000)?);
    let load = Load { address, next: &next };
    let (connections, seconds) = (number(0, 64)?, number(1, 5)?);
    let time = Duration::from_secs(seconds);
    match what.as_str() {
        "record" => print("record", &load.run(0..connections, time, |_| Work::Record, None)?, time),
        "check" => print("check", &load.run(0..connections, time, Work::check, None)?, time),
        "mixed" => {
            let (record, check) = thread::scope(|scope| {
                let half = connections / 2;
                let record = scope.spawn(move || load.run(0..half, time, |_| Work::Record, None));
                let check = load.run(half..connections, time, Work::check, None);
                (record.join(), check)
            });
            print("record", &record.map_err(|_| "a thread panicked")??, time);
            print("check", &check?, time);
        }
        "trickle" => beside_trickling(&load, number(0, 2000)?, number(1, 60)?)?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// What one connection does.
enum Work {
    Record,
    Check(String),
}

impl Work {
    fn check(seed: u64) -> Work {
        Work::Check(question(seed, RECIPIENTS))
    }
}

/// Where requests go, and which number comes next.
#[derive(Clone, Copy)]
struct Load<'a> {
    address: &'a str,
    next: &'a AtomicU64,
}

impl Load<'_> {
    /// Runs connections for a while, each as fast as it can or so often a second.
    fn run(
        &self,
        connections: std::ops::Range<u64>,
        time: Duration,
        work: fn(u64) -> Work,
        rate: Option<u32>,
    ) -> Result<Times, String> {
        let end = Instant::now() + time;
        let one = |seed| self.one(end, &work(seed), rate);
        let times = thread::scope(|scope| {
            let threads: Vec<_> = connections.map(|seed| scope.spawn(move || one(seed))).collect();
            let mut times = Vec::new();
            for thread in threads {
                times.extend(thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
            }
            Ok::<_, io::Error>(times)
        });
        let mut times = times.map_err(|error| error.to_string())?;
        times.sort_unstable();
        if times.is_empty() { Err("nothing was answered".to_owned()) } else { Ok(times) }
    }

    fn one(&self, end: Instant, work: &Work, rate: Option<u32>) -> io::Result<Times> {
        let mut connection = Connection::open(self.address)?;
        let mut times = Vec::new();
        let mut since = Instant::now();
        while since < end {
            match work {
                Work::Check(question) => connection.post("/v1/check", question)?,
                Work::Record => {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let body = format!("{{\"number\":\"+{number}\",\"source\":\"keyword\"}}");
                    connection.post("/v1/optouts", &body)?;
                }
            }
            // With a rate, whoever is late is late for the next one too: waiting counts.
            times.push(since.elapsed());
            since = match rate {
                None => Instant::now(),
                Some(rate) => {
                    let next = since + Duration::from_secs(1) / rate;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    next
                }
            };
        }
        Ok(times)
    }
}

fn beside_trickling(load: &Load<'_>, clients: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let clients = usize::try_from(clients)?;
    let time = Duration::from_secs(seconds);
    let work = |seed: u64| match seed % 2 {
        0 => Work::Record,
        _ => Work::Check(question(seed, 100)),
    };
    let steady = || load.run(0..STEADY, time, work, Some(STEADY_RATE));
    let before = steady()?;
    print("alone", &before, time);
    let stop = AtomicBool::new(false);
    let (during, seen) = thread::scope(|scope| {
        let trickling = scope.spawn(|| trickle::trickle(load.address, clients, &stop));
        // Until all are there.
        thread::sleep(Duration::from_secs(2));
        let during = steady();
        stop.store(true, Ordering::Relaxed);
        (during, trickling.join())
    });
    let seen = seen.map_err(|_| "a thread panicked")??;
    let during = during?;
    print("beside", &during, time);
    let trickle::Seen { opened, ended, refused } = seen;
    println!(
        "{clients} clients: {opened} connections, {ended} ended by the server, {refused} refused"
    );
    let ratio = at(&during, 0.99).as_secs_f64() / at(&before, 0.99).as_secs_f64();
    println!("p99 beside them: {ratio:.2} of that alone; bar 2.00");
    if ratio > 2.0 { Err("others are slowed down too much".into()) } else { Ok(()) }
}

/// The time that this part of the requests took at most.
fn at(times: &[Duration], part: f64) -> Duration {
    times[((times.len() - 1) as f64 * part) as usize]
}

fn print(what: &str, times: &[Duration], time: Duration) {
    let rate = times.len() as f64 / time.as_secs_f64();
    let [half, most, last] = [0.5, 0.99, 1.0].map(|part| at(times, part).as_secs_f64() * 1e3);
    println!("{what}: {rate:.0} requests/s; p50 {half:.1} ms, p99 {most:.1} ms, max {last:.1} ms");
    if what == "check" {
        println!("{:.2} million recipients/s", rate * RECIPIENTS as f64 / 1e6);
    }
}

/// Recipients that lie apart, as those of a campaign do.
fn question(seed: u64, count: u64) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed + 1) | 1;
    let recipient = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("\"+5255{:08}\"", 10_000_000 + state % 80_000_000)
    };
    let recipients: Vec<String> = (0..count).map(recipient).collect();
    format!("{{\"recipients\":[{}]}}", recipients.join(","))
}
