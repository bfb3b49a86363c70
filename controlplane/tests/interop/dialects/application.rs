//! The application: takes every request as it comes, and answers by a script.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the application waits for comes within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Method and target.
    pub(super) line: String,
    headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Request {
    /// The value of a header, empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// A field of a form, as it was sent; empty without it.
    pub(super) fn field(&self, name: &str) -> &str {
        let pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        let value = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "{name} is said twice: {}", self.body);
        value
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).ok()?;
            let Some((name, value)) = field.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Self { line: line.trim_end().to_owned(), headers, body })
    }
}

type Script = dyn Fn(&Request) -> String + Send + Sync;
type Shared = (Mutex<Vec<Request>>, Condvar);

/// The application.
pub(super) struct Application {
    pub(super) addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Application {
    /// Answers each request by `script`: status line and headers without the length, an empty line,
    /// and the body.
    pub(super) fn start(script: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound address");
        let shared: Arc<Shared> = Arc::default();
        let (theirs, script): (_, Arc<Script>) = (Arc::clone(&shared), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, script) = (Arc::clone(&theirs), Arc::clone(&script));
                std::thread::spawn(move || serve(&stream, &shared, &*script));
            }
        });
        Self { addr, shared }
    }

    /// Everything so far, in the order in which it came.
    pub(super) fn seen(&self) -> Vec<Request> {
        self.lock().clone()
    }

    /// Waits for the first request that `is` the one.
    pub(super) fn wait(&self, is: impl Fn(&Request) -> bool) -> Request {
        self.wait_for(1, is)
    }

    /// Waits until so many requests were, and gives the last of them.
    pub(super) fn wait_for(&self, count: usize, is: impl Fn(&Request) -> bool) -> Request {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.lock();
        loop {
            if let Some(found) = seen.iter().filter(|request| is(request)).nth(count - 1) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came: {seen:#?}");
            seen = self.shared.1.wait_timeout(seen, left).expect("nobody panics").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Request>> {
        self.shared.0.lock().expect("nobody panics")
    }
}

/// Answers on one connection until it ends.
fn serve(stream: &TcpStream, shared: &Shared, script: &Script) {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = Request::read(&mut reader) {
        let answer = script(&request);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let whole = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        shared.0.lock().expect("nobody panics").push(request);
        shared.1.notify_all();
        // Who asked may be gone, as after a kill.
        if writer.write_all(whole.as_bytes()).is_err() {
            return;
        }
    }
}
