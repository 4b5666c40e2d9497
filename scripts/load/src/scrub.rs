//! A campaign file goes up, and the rows that may be messaged come back meanwhile.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

pub(crate) fn scrub(
    address: &str,
    file: &str,
    kept: &str,
    query: &str,
) -> Result<(), Box<dyn Error>> {
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
