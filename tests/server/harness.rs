//! A store, a server for it in this process, and a client that sends bytes as they are.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use optout::disk::{Disk, RealDisk};
use optout::number::Folding;
use optout::server::{KeyFile, KeyScope, Limits, NewKey, Server, Settings, Stopper};
use optout::store;
use optout::time::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

/// A store in a directory of its own.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        store::init(place.store(), Folding::default(), Timestamp::now()).unwrap();
        place
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn keys(&self) -> KeyFile {
        KeyFile::open(Arc::new(RealDisk::new(self.store()))).unwrap()
    }

    /// A key that opens these, and its id.
    pub(crate) fn key(&self, scopes: &[KeyScope]) -> (String, String) {
        let new = NewKey { scopes: scopes.to_vec(), ..NewKey::default() };
        let (text, info) = self.keys().create(&new, Timestamp::now()).unwrap();
        (text, info.id)
    }

    /// A key with a name, which opens nothing but recording.
    pub(crate) fn key_named(&self, name: &str) {
        let new = NewKey { name: name.to_owned(), scopes: vec![KeyScope::Add], expires_at: None };
        self.keys().create(&new, Timestamp::now()).unwrap();
    }

    pub(crate) fn serve(&self) -> Served {
        self.serve_with(|_| {})
    }

    pub(crate) fn serve_with(&self, change: impl FnOnce(&mut Limits)) -> Served {
        let mut settings = Settings::new("127.0.0.1:0".parse().unwrap());
        change(&mut settings.limits);
        let log: Arc<Mutex<String>> = Arc::default();
        let lines = log.clone();
        settings.log = Arc::new(move |line: &str| {
            let mut log = lines.lock().unwrap();
            log.push_str(line);
            log.push('\n');
        });
        Served::run(Server::bind(self.store(), settings).unwrap(), log)
    }
}

/// A server that ends with the value.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    log: Arc<Mutex<String>>,
}

impl Served {
    /// Serves the store on a disk.
    pub(crate) fn on(disk: Arc<dyn Disk>) -> Served {
        let settings = Settings::new("127.0.0.1:0".parse().unwrap());
        Served::run(Server::bind_on(disk, settings).unwrap(), Arc::default())
    }

    fn run(server: Server, log: Arc<Mutex<String>>) -> Served {
        let (address, stopper) = (server.address(), server.stopper());
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        Served { address, stopper, thread, log }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn end(mut self) {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Asserts that it is a problem document of this status, and gives it.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16) -> Value {
        let problem = self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{problem}");
        }
        problem
    }
}

/// One kept-alive connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    key: Option<String>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { stream: BufReader::new(stream), key: None }
    }

    pub(crate) fn with_key(self, key: &str) -> Client {
        Client { key: Some(key.to_owned()), ..self }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[JSON], body.to_string().as_bytes())
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(key) = &self.key {
            head.push_str(&format!("Authorization: Bearer {key}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.send(&[head.as_bytes(), body].concat());
        self.answer().expect("the server answers")
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// The next answer; `None` when the server has closed the connection.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let status = self.line()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if answer.header("transfer-encoding").is_some() {
            while let Some(size) = self.line() {
                let size = usize::from_str_radix(&size, 16).unwrap();
                let at = answer.body.len();
                answer.body.resize(at + size, 0);
                self.stream.read_exact(&mut answer.body[at..]).ok()?;
                self.line()?;
                if size == 0 {
                    return Some(answer);
                }
            }
            return None;
        }
        let size = answer.header("content-length").map_or(0, |it| it.parse().unwrap());
        answer.body.resize(size, 0);
        self.stream.read_exact(&mut answer.body).ok()?;
        Some(answer)
    }

    /// Whether the server closes the connection before long without another answer.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => !rest.windows(5).any(|it| it == b"HTTP/"),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(count) if count > 0 => Some(String::from_utf8(line).unwrap().trim_end().to_owned()),
            _ => None,
        }
    }
}

pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");
