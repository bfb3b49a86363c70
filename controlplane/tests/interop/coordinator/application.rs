//! The application: a small HTTP server that verifies keys and takes events, or fails to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
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
    /// The status that it was answered with; 0 for one that never was.
    pub(super) status: u16,
}

impl Request {
    /// The value of a header, empty without it.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The channel that it is about.
    pub(super) fn channel(&self) -> &str {
        self.header("x-streaming-channel")
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

/// How it fails about a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It answers 500.
    Error,
    /// It never answers, until who asked has left.
    Silence,
}

/// What it knows and did.
#[derive(Default)]
struct State {
    /// The key of each channel.
    keys: BTreeMap<String, String>,
    /// Channels whose keys it does not answer about for now.
    held: BTreeSet<String>,
    /// How it fails when it is asked about a channel's key.
    key_faults: BTreeMap<String, Fault>,
    /// How it fails to take events of a channel, and how many of them.
    event_faults: BTreeMap<String, (Fault, u32)>,
    asked: Vec<Request>,
    told: Vec<Request>,
}

/// The application.
pub(super) struct Application {
    addr: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Application {
    /// Starts it with an account for each channel: the key of `camN` is `right-N`.
    pub(super) fn start(channels: impl IntoIterator<Item = u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("a bound address");
        let account = |number| (format!("cam{number}"), format!("right-{number}"));
        let keys = channels.into_iter().map(account).collect();
        let shared = Arc::new((Mutex::new(State { keys, ..State::default() }), Condvar::new()));
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

    /// Fails about the key of a channel from now on.
    pub(super) fn fail_keys(&self, channel: &str, fault: Fault) {
        self.state().key_faults.insert(channel.to_owned(), fault);
    }

    /// Fails to take the next `count` events of a channel.
    pub(super) fn fail_events(&self, channel: &str, fault: Fault, count: u32) {
        self.state().event_faults.insert(channel.to_owned(), (fault, count));
    }

    /// Takes events of a channel again.
    pub(super) fn take_events(&self, channel: &str) {
        self.state().event_faults.remove(channel);
    }

    /// Answers nothing about the key of a channel, until it is let go.
    pub(super) fn hold(&self, channel: &str) {
        self.state().held.insert(channel.to_owned());
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

    /// Every event of a channel so far, as its type, its publication and how it was answered.
    pub(super) fn told_of(&self, channel: &str) -> Vec<(String, String, u16)> {
        let told = self.told();
        let of = told.iter().filter(|told| told.channel() == channel);
        of.map(|told| {
            let (kind, id) = told.event();
            (kind.to_owned(), id.to_owned(), told.status)
        })
        .collect()
    }

    /// Waits for an event that `is` the one.
    pub(super) fn wait_told(&self, is: impl Fn(&Request) -> bool) -> Request {
        self.wait(|state| state.told.iter().find(|told| is(told)).cloned())
    }

    /// Waits until a channel was announced, and gives the event that was taken.
    pub(super) fn wait_available(&self, channel: &str) -> Request {
        self.wait_told(|told| {
            let available = told.event().0 == "stream-available";
            available && told.channel() == channel && told.status == 200
        })
    }

    /// Waits until the end of a publication was taken.
    pub(super) fn wait_closed(&self, id: &str) -> Request {
        self.wait_told(|told| told.event() == ("stream-closed", id) && told.status == 200)
    }

    /// Waits for the `count`th question about `channel`.
    pub(super) fn wait_asked(&self, channel: &str, count: usize) -> Request {
        let about = |asked: &&Request| asked.channel() == channel;
        self.wait(|state| state.asked.iter().filter(about).nth(count - 1).cloned())
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

impl State {
    /// How the next event of a channel fails, if it does.
    fn event_fault(&mut self, channel: &str) -> Option<Fault> {
        let (fault, left) = self.event_faults.get_mut(channel)?;
        *left = left.checked_sub(1)?;
        Some(*fault)
    }
}

/// Answers one request.
fn serve(stream: &TcpStream, shared: &(Mutex<State>, Condvar)) {
    let Some(mut request) = Request::read(&mut BufReader::new(stream)) else { return };
    let (lock, changed) = shared;
    let mut state = lock.lock().expect("nobody panics");
    let known = request.header("authorization") == TOKEN;
    let mut policy = "";
    let mut fault = None;
    let channel = request.channel().to_owned();
    if request.line == "POST /callbacks/key_verification HTTP/1.1" {
        fault = state.key_faults.get(&channel).copied();
        let key = request.header("x-streaming-key");
        let right = state.keys.get(&channel).is_some_and(|right| right == key);
        let status = if known && right { 200 } else { 403 };
        request.status = answer_of(fault, status);
        policy = POLICY;
        state.asked.push(request.clone());
        changed.notify_all();
        while state.held.contains(&channel) {
            state = changed.wait(state).expect("nobody panics");
        }
    } else if request.line == "POST /callbacks/events HTTP/1.1" {
        fault = state.event_fault(&channel);
        request.status = answer_of(fault, if known { 200 } else { 403 });
        state.told.push(request.clone());
        changed.notify_all();
    } else {
        request.status = 404;
    }
    drop(state);
    let mut stream = stream;
    if fault == Some(Fault::Silence) {
        // Until who asked gives up.
        let _ = stream.read_to_end(&mut Vec::new());
        return;
    }
    let answer = format!(
        "HTTP/1.1 {} Answer\r\n{policy}Content-Length: 0\r\nConnection: close\r\n\r\n",
        request.status
    );
    // Who asked may be gone, as after a kill.
    let _ = stream.write_all(answer.as_bytes());
}

const fn answer_of(fault: Option<Fault>, status: u16) -> u16 {
    match fault {
        None => status,
        Some(Fault::Error) => 500,
        Some(Fault::Silence) => 0,
    }
}
