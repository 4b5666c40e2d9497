//! One kept-alive connection that posts and waits for the answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
    body: Vec<u8>,
}

/// The headers that every request has.
pub(crate) fn head(address: &str) -> String {
    let key = std::env::var("OPTOUT_KEY");
    let key = key.map_or_else(|_| String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    format!("Host: {address}\r\nContent-Type: application/json\r\n{key}")
}

impl Connection {
    pub(crate) fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(1 << 16, stream);
        Ok(Connection { stream, head: head(address), body: Vec::new() })
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> io::Result<()> {
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
