//! The application: a small HTTP server that verifies keys and takes events.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the application waits for comes within this: a start, a keyframe, a retry.
const PATIENCE: Duration = Duration::from_secs(60);
/// What it wants to see in every request.
const TOKEN: &str = "Bearer of-the-application";

/// What it lets every stream do.
const POLICY: &str = "x-record: TRUE\r\nx-previews: 320x180, 10\r\n\
                      x-resolutions: 640x360-30, original\r\n";

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
    /// The status that it was answered with.
    pub(super) status: u16,
}

impl Request {
    /// The value of a header, empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// An event, as its type and the number of its publication.
    pub(super) fn event(&self) -> (&str, &str) {
        (self.header("x-event-type"), self.header("x-streaming-id"))
    }

    fn read(stream: &mut BufReader<&TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|&read| read > 0)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut field = String::new();
            stream.read_line(&mut field).ok()?;
            let Some((name, value)) = field.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        assert_eq!(headers.get("content-length").map_or("0", String::as_str), "0", "no body");
        Some(Self { line: line.trim_end().to_owned(), headers, status: 0 })
    }
}

/// What it knows and did.
#[derive(Default)]
struct State {
    /// The key of each channel.
    keys: BTreeMap<String, String>,
    /// Channels whose keys it does not answer about for now.
    held: Vec<String>,
    /// Events that it fails to take from now on.
    failures: u32,
    asked: Vec<Request>,
    told: Vec<Request>,
}

/// The application.
pub(super) struct Application {
    addr: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Application {
    /// Starts it with the accounts of `keys`: a key for each channel.
    pub(super) fn start(keys: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound address");
        let keys = keys.iter().map(|&(channel, key)| (channel.to_owned(), key.to_owned()));
        let state = State { keys: keys.collect(), ..State::default() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&theirs);
                std::thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { addr, shared }
    }

    /// The variables that make a node its own.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let token = TOKEN.strip_prefix("Bearer ").expect("a token").to_owned();
        vec![
            ("KEY_VERIFICATION_URL", format!("http://{}/callbacks/key_verification", self.addr)),
            ("KEY_VERIFICATION_AUTH", "Bearer".to_owned()),
            ("KEY_VERIFICATION_AUTH_TOKEN", token.clone()),
            ("EVENT_CALLBACK_URL", format!("http://{}/callbacks/events", self.addr)),
            ("EVENT_CALLBACK_AUTH", "Custom".to_owned()),
            ("EVENT_CALLBACK_AUTH_CUSTOM", TOKEN.to_owned()),
        ]
    }

    /// Takes no event for the next `failures`.
    pub(super) fn fail(&self, failures: u32) {
        self.state().failures = failures;
    }

    /// Answers nothing about a channel, until it is let go.
    pub(super) fn hold(&self, channel: &str) {
        self.state().held.push(channel.to_owned());
    }

    /// Answers what was held.
    pub(super) fn let_go(&self) {
        self.state().held.clear();
        self.shared.1.notify_all();
    }

    /// Every question about keys so far.
    pub(super) fn asked(&self) -> Vec<Request> {
        self.state().asked.clone()
    }

    /// Every event so far, taken or not.
    pub(super) fn told(&self) -> Vec<Request> {
        self.state().told.clone()
    }

    /// Waits for an event that `is` the one.
    pub(super) fn wait_told(&self, is: impl Fn(&Request) -> bool) -> Request {
        self.wait(|state| state.told.iter().find(|told| is(told)).cloned())
    }

    /// Waits for a question about `channel`.
    pub(super) fn wait_asked(&self, channel: &str) -> Request {
        let about = |asked: &&Request| asked.header("x-streaming-channel") == channel;
        self.wait(|state| state.asked.iter().find(about).cloned())
    }

    fn wait<T>(&self, find: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it never came: {:#?} {:#?}", state.asked, state.told);
            state = self.shared.1.wait_timeout(state, left).expect("nobody panics").0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("nobody panics")
    }
}

/// Answers one request.
fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let Some(mut request) = Request::read(&mut BufReader::new(stream)) else { return };
    let (lock, changed) = shared;
    let mut state = lock.lock().expect("nobody panics");
    let known = request.header("authorization") == TOKEN;
    let mut policy = "";
    let channel = request.header("x-streaming-channel").to_owned();
    if request.line == "POST /callbacks/key_verification HTTP/1.1" {
        let key = request.header("x-streaming-key");
        let right = state.keys.get(&channel).is_some_and(|right| right == key);
        request.status = if known && right { 200 } else { 403 };
        policy = POLICY;
        state.asked.push(request.clone());
        changed.notify_all();
        while state.held.contains(&channel) {
            state = changed.wait(state).expect("nobody panics");
        }
    } else if request.line == "POST /callbacks/events HTTP/1.1" {
        let fails = state.failures > 0;
        state.failures = state.failures.saturating_sub(1);
        request.status = if fails || !known { 500 } else { 200 };
        state.told.push(request.clone());
        changed.notify_all();
    } else {
        request.status = 404;
    }
    drop(state);
    let answer = format!(
        "HTTP/1.1 {} Answer\r\n{policy}Content-Length: 0\r\nConnection: close\r\n\r\n",
        request.status
    );
    // Who asked may be gone, as after a kill.
    let mut stream = stream;
    let _ = stream.write_all(answer.as_bytes());
}
