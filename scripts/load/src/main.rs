//! How many requests a second does a server answer, and how long does each take?
//!
//! `optout-load record|check HOST:PORT [CONNECTIONS [SECONDS [FIRST]]]` keeps so many connections
//! busy (64 for 5 seconds if not said) and prints rate and percentiles. `record` posts one opt-out
//! a request, of the numbers from FIRST on; `check` asks for 1,000 recipients of one country a
//! request. With a key in `OPTOUT_KEY` it is sent. Any answer but 200 is an error.
//!
//! `optout-load scrub HOST:PORT FILE KEPT [QUERY]` uploads a campaign file, takes the rows that come
//! back meanwhile, and compares them with those that the command line kept.

#![expect(clippy::print_stdout, reason = "its figures are its output")]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Recipients of one question.
const RECIPIENTS: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: optout-load record|check HOST:PORT [CONNECTIONS [SECONDS [FIRST]]]\n       \
                 optout-load scrub HOST:PORT FILE KEPT [QUERY]";
    let [what, address, more @ ..] = &arguments[..] else { return Err(usage.into()) };
    if what == "scrub" {
        let [file, kept, query @ ..] = more else { return Err(usage.into()) };
        return scrub(address, file, kept, query.first().map_or("", |it| it));
    }
    let number = |at: usize, default: u64| more.get(at).map_or(Ok(default), |it| it.parse());
    let (connections, seconds) = (number(0, 64)?, number(1, 5)?);
    let next = AtomicU64::new(number(2, 525_510_000_000)?);
    let questions = match what.as_str() {
        "record" => false,
        "check" => true,
        _ => return Err(usage.into()),
    };
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let run = |seed| -> io::Result<Vec<Duration>> {
        let mut connection = Connection::open(address)?;
        let question = question(seed);
        let mut times = Vec::new();
        while Instant::now() < end {
            let since = Instant::now();
            match questions {
                true => connection.post("/v1/check", &question)?,
                false => {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let body = format!("{{\"number\":\"+{number}\",\"source\":\"keyword\"}}");
                    connection.post("/v1/optouts", &body)?;
                }
            }
            times.push(since.elapsed());
        }
        Ok(times)
    };
    let mut times = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|seed| scope.spawn(move || run(seed))).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok::<_, Box<dyn Error>>(times)
    })?;
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let (half, most, last) = (at(0.5), at(0.99), at(1.0));
    println!("{what}: {rate:.0} requests/s; p50 {half:.1} ms, p99 {most:.1} ms, max {last:.1} ms");
    if questions {
        println!("{:.2} million recipients/s", rate * RECIPIENTS as f64 / 1e6);
    }
    Ok(())
}

fn scrub(address: &str, file: &str, kept: &str, query: &str) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let stream = TcpStream::connect(address)?;
    let (mut upload, mut list) = (stream.try_clone()?, File::open(file)?);
    let length = list.metadata()?.len();
    let key = std::env::var("OPTOUT_KEY");
    let key = key.map_or_else(|_| String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    let head = format!(
        "POST /v1/scrub{query} HTTP/1.1\r\nHost: {address}\r\n{key}Content-Length: {length}\r\n\r\n"
    );
    let sending = thread::spawn(move || {
        upload.write_all(head.as_bytes())?;
        io::copy(&mut list, &mut upload)
    });
    let mut answer = BufReader::with_capacity(1 << 20, stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        let mut text = String::new();
        let _ = answer.read_to_string(&mut text);
        return Err(format!("the server said {line}{text}").into());
    }
    let mut length = None;
    while line != "\r\n" {
        line.clear();
        answer.read_line(&mut line)?;
        if let Some(value) = line.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut kept = File::open(kept)?;
    let mut bytes = 0;
    let mut take = |answer: &mut BufReader<TcpStream>, count: u64| {
        bytes += count;
        is_same(answer, &mut kept, count)
    };
    match length {
        Some(length) => take(&mut answer, length)?,
        None => loop {
            line.clear();
            answer.read_line(&mut line)?;
            let count = u64::from_str_radix(line.trim_end(), 16)?;
            take(&mut answer, count)?;
            answer.read_line(&mut line)?;
            if count == 0 {
                break;
            }
        },
    }
    if kept.read(&mut [0])? > 0 {
        return Err("rows that the command line kept did not come back".into());
    }
    let sent = sending.join().map_err(|_| "a thread panicked")??;
    let seconds = begin.elapsed().as_secs_f64();
    let rate = sent as f64 / 1e6 / seconds;
    println!("scrub: {sent} bytes up, {bytes} down, as kept, in {seconds:.2} s: {rate:.0} MB/s");
    Ok(())
}

/// Fails when the next bytes of an answer are not the next ones of a file.
fn is_same(answer: &mut BufReader<TcpStream>, kept: &mut File, count: u64) -> io::Result<()> {
    let mut expected = vec![0; 1 << 20];
    let mut left = usize::try_from(count).map_err(io::Error::other)?;
    while left > 0 {
        let got = answer.fill_buf()?;
        let part = got.len().min(left);
        if part == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        kept.read_exact(&mut expected[..part])?;
        if got[..part] != expected[..part] {
            return Err(io::Error::other("other rows came back than the command line kept"));
        }
        answer.consume(part);
        left -= part;
    }
    Ok(())
}

/// Recipients that lie apart, as those of a campaign do.
fn question(seed: u64) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed + 1) | 1;
    let recipient = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("\"+5255{:08}\"", 10_000_000 + state % 80_000_000)
    };
    let recipients: Vec<String> = (0..RECIPIENTS).map(recipient).collect();
    format!("{{\"recipients\":[{}]}}", recipients.join(","))
}

struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
    body: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let key = std::env::var("OPTOUT_KEY");
        let key =
            key.map_or_else(|_| String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
        let head = format!("Host: {address}\r\nContent-Type: application/json\r\n{key}");
        Ok(Connection { stream: BufReader::with_capacity(1 << 16, stream), head, body: Vec::new() })
    }

    fn post(&mut self, path: &str, body: &str) -> io::Result<()> {
        let (head, length) = (&self.head, body.len());
        let request =
            format!("POST {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200 ") {
            return Err(io::Error::other(format!("the server said {}", line.trim_end())));
        }
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)
    }
}
