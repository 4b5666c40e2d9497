//! Clients that hold connections and give or take a byte a second.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::head;

/// What a client does with its byte a second.
#[derive(Clone, Copy)]
enum Kind {
    /// Sends another one of its headers.
    Headers,
    /// Sends another one of its body.
    Body,
    /// Takes one of a download.
    Reads,
}

/// Of each sixteen, ten trickle headers, four a body, two read slowly.
fn kind(client: usize) -> Kind {
    match client % 16 {
        0..10 => Kind::Headers,
        10..14 => Kind::Body,
        _ => Kind::Reads,
    }
}

/// What happened to the clients.
#[derive(Default)]
pub(crate) struct Seen {
    /// Connections that were opened.
    pub(crate) opened: usize,
    /// Those that the server ended.
    pub(crate) ended: usize,
    /// Those that could not be had.
    pub(crate) refused: usize,
}

/// Keeps so many clients trickling until `stop`. Whoever loses his connection opens another.
pub(crate) fn trickle(address: &str, clients: usize, stop: &AtomicBool) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let mut connections: Vec<Option<TcpStream>> = (0..clients).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        for (client, connection) in connections.iter_mut().enumerate() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let kind = kind(client);
            if connection.as_mut().is_some_and(|stream| step(stream, kind).is_err()) {
                seen.ended += 1;
                *connection = None;
            }
            if connection.is_none() {
                match open(address, kind) {
                    Ok(stream) => {
                        seen.opened += 1;
                        *connection = Some(stream);
                    }
                    // EMFILE is this program's own bound, not the server's.
                    Err(error) if error.raw_os_error() == Some(24) => {
                        return Err("too few open files: ulimit -n 8192".to_owned());
                    }
                    Err(_) => seen.refused += 1,
                }
            }
        }
        thread::sleep(Duration::from_secs(1).saturating_sub(begin.elapsed()));
    }
    Ok(seen)
}

fn open(address: &str, kind: Kind) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let head = head(address);
    let begin = match kind {
        Kind::Headers => "GET /healthz HTTP/1.1\r\nX-Trickle: ".to_owned(),
        Kind::Body => format!("POST /v1/optouts HTTP/1.1\r\n{head}Content-Length: 1000\r\n\r\n"),
        Kind::Reads => format!("GET /v1/optouts/export HTTP/1.1\r\n{head}\r\n"),
    };
    stream.write_all(begin.as_bytes())?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A byte; an error when the server has ended the connection.
fn step(stream: &mut TcpStream, kind: Kind) -> io::Result<()> {
    let moved = match kind {
        Kind::Headers | Kind::Body => {
            stream.write(b"a").and_then(|_| match stream.read(&mut [0; 512]) {
                Ok(_) => Err(ErrorKind::ConnectionAborted.into()),
                Err(error) => Err(error),
            })
        }
        Kind::Reads => stream.read(&mut [0]),
    };
    match moved {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
