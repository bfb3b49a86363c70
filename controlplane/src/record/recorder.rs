//! Recorder: which recordings are under way, and which are tried again.
//!
//! Lives on: the control thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::config::{ListenerConfig, ListenerKind};
use dataplane::control::{AuthorizeRequest, Intent, Protocol};
use dataplane::ids::{Secret, StreamId, StreamName};
use serde::Serialize;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::file_id::FileId;
use super::janitor;
use super::job::Job;
use super::line::Line;
use super::report::Report;
use super::shelf::Shelf;
use super::source::Switch;
use crate::bridge::Ask;
use crate::counts::Counts;
use crate::events::Party;

/// Bytes of one recording that is under way: what it reads, what its decoders need, its stack.
pub(crate) const ACTIVE_BYTES: u64 = 192 << 10;
/// Bytes of a stream that waits, or failed: why, and when it is tried again.
pub(crate) const WAITING_BYTES: u64 = 640;
/// Stack of a thread.
const STACK_BYTES: usize = 128 << 10;
/// A recording that was over though its stream is not begins again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// One that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

/// What it is called that as many are under way as may be.
const NO_PLACE: &str = "active_max";
/// And that the configuration leaves no room to recordings, which nothing but a restart changes.
const NOT_CONFIGURED: &str = "not_configured";

/// How this node plays its own streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance(SocketAddr);

impl Entrance {
    /// That of the listeners that are open: the first of HTTP that is there without a balancer.
    #[must_use]
    pub fn of(open: impl Iterator<Item = ListenerConfig>) -> Option<Self> {
        let mut plain = open.filter(|one| one.kind == ListenerKind::Http && !one.proxied);
        let mut addr = plain.next()?.addr;
        if addr.ip().is_unspecified() {
            let v4 = addr.is_ipv4();
            let loopback: [std::net::IpAddr; 2] =
                [std::net::Ipv6Addr::LOCALHOST.into(), std::net::Ipv4Addr::LOCALHOST.into()];
            addr.set_ip(loopback[usize::from(v4)]);
        }
        Some(Self(addr))
    }
}

/// What recording a stream comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RecordingState {
    /// It waits for the first frame.
    Starting,
    /// It is recorded.
    Recording {
        /// The name of the file.
        id: String,
        /// Where it is.
        path: String,
        /// When it was begun.
        started: String,
        /// Its bytes until now.
        bytes: u64,
    },
    /// It could not go on, and is tried again.
    Failed {
        /// Why, in a word.
        #[schema(value_type = String)]
        reason: &'static str,
        /// What went wrong, and the mend.
        message: String,
    },
}

/// A recording that is under way.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) stream: StreamName,
    pub(crate) id: Option<StreamId>,
    /// Who publishes the stream.
    pub(crate) publisher: Option<Party>,
    switch: Switch,
    /// It was told to end, or its stream is over.
    is_leaving: bool,
    file: Option<FileId>,
    has_failed: bool,
}

/// What is under way.
#[derive(Debug, Default)]
pub struct Recorder {
    desk: Option<Desk>,
    entrance: Option<Entrance>,
    key: Secret,
    numbers: u64,
    active: BTreeMap<u64, Active>,
    /// Those that go on, by their stream.
    going_on: BTreeMap<StreamName, u64>,
    /// Streams that are tried again, and when.
    again: Line<Instant>,
    /// Streams that wait for a place, in the order in which they came.
    waiting: Line<u64>,
    /// Nobody is called before this, because the one before could not be begun.
    call_at: Option<Instant>,
    failures: BTreeMap<StreamName, (&'static str, String)>,
    /// Nothing is begun any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Desk {
    shelf: Shelf,
    /// By which threads tell; `None` where nothing is recorded.
    asks: Option<mpsc::Sender<Ask>>,
}

impl Recorder {
    /// One whose files are those of `shelf`, and whose threads tell by `asks`.
    #[must_use]
    pub fn start(shelf: Shelf, asks: mpsc::Sender<Ask>) -> Self {
        let mut random = [0; 16];
        // Without a source of chance nobody is let in by it.
        let key = match getrandom::fill(&mut random) {
            Ok(()) => format!("{:032x}", u128::from_be_bytes(random)),
            Err(_) => String::new(),
        };
        let (files, told) = (shelf.clone(), asks.clone());
        let tell = move |report| drop(told.blocking_send(Ask::Recording(Box::new(report))));
        let thread = std::thread::Builder::new().name("recordings".into()).stack_size(512 << 10);
        if let Err(error) = thread.spawn(move || janitor::run(&files, tell)) {
            tracing::warn!(%error, "files of earlier recordings are not looked at");
        }
        let desk = Desk { shelf, asks: Some(asks) };
        Self { desk: Some(desk), key: Secret(key), ..Self::default() }
    }

    /// One that records nothing, and looks at no file.
    #[must_use]
    pub fn off(shelf: Shelf) -> Self {
        Self { desk: Some(Desk { shelf, asks: None }), ..Self::default() }
    }

    /// Where this node plays its own streams from now on.
    pub fn enter_by(&mut self, entrance: Option<Entrance>) {
        self.entrance = entrance;
    }

    /// The files, once there is somewhere to put them.
    #[must_use]
    pub fn shelf(&self) -> Option<&Shelf> {
        self.desk.as_ref().map(|desk| &desk.shelf)
    }

    /// True if `request` is that of a recording.
    #[must_use]
    pub(crate) fn plays(&self, request: &AuthorizeRequest) -> bool {
        let AuthorizeRequest { intent, protocol, stream, key, peer, .. } = request;
        let is_here = self
            .entrance
            .is_some_and(|Entrance(addr)| peer.ip().to_canonical() == addr.ip().to_canonical());
        let is_ours = || bool::from(key.0.as_bytes().ct_eq(self.key.0.as_bytes()));
        *intent == Intent::Play
            && *protocol == Protocol::HttpFlv
            && is_here
            && !self.key.0.is_empty()
            && is_ours()
            && self.active.values().any(|active| active.stream == *stream)
    }

    /// The recording of a stream that goes on, by its name.
    pub(crate) fn of(&self, stream: &StreamName) -> Option<&Active> {
        self.active.get(self.going_on.get(stream)?)
    }

    fn of_mut(&mut self, stream: &StreamName) -> Option<&mut Active> {
        self.active.get_mut(self.going_on.get(stream)?)
    }

    /// True if one more may be begun.
    fn has_place(&self) -> bool {
        let places = self.shelf().map_or(0, |shelf| shelf.terms().active_max as usize);
        self.active.len() < places
    }

    /// Begins to record a stream of that publication.
    ///
    /// Errors: why it cannot be begun, in a word and in words.
    pub(crate) fn begin(
        &mut self,
        stream: &StreamName,
        id: Option<StreamId>,
        publisher: Option<Party>,
    ) -> Result<(), (&'static str, String)> {
        self.again.leave(stream);
        let Some(Desk { shelf, asks }) = self.desk.as_ref().filter(|_| !self.is_closed) else {
            return Ok(());
        };
        let Some(asks) = asks else {
            let message = "nothing is set aside for recordings; set recording.dir or \
                           recording.policy, and restart";
            return Err((NOT_CONFIGURED, message.to_owned()));
        };
        let active_max = shelf.terms().active_max;
        if self.active.len() >= active_max as usize {
            let message = format!("{active_max} recordings are under way: recording.active_max");
            return Err((NO_PLACE, message));
        }
        self.waiting.leave(stream);
        let Some(Entrance(addr)) = self.entrance else {
            let message = "a recording plays by HTTP-FLV; open listeners.http without \
                           proxy_protocol, on an address of this host";
            return Err(("no_listener", message.to_owned()));
        };
        self.numbers += 1;
        let (number, switch) = (self.numbers, Switch::default());
        let job = Job {
            stream: stream.clone(),
            addr,
            key: self.key.clone(),
            switch: switch.clone(),
            shelf: shelf.clone(),
        };
        let (asks, name) = (asks.clone(), stream.clone());
        let tell = move |word| {
            let report = Report { number, stream: name.clone(), word };
            // A desk that is gone needs no word.
            drop(asks.blocking_send(Ask::Recording(Box::new(report))));
        };
        let thread = std::thread::Builder::new().name("recording".into());
        if let Err(error) = thread.stack_size(STACK_BYTES).spawn(move || job.run(tell)) {
            return Err(("io", format!("no thread for it: {error}; raise the limit of tasks")));
        }
        let (is_leaving, file, has_failed) = (false, None, false);
        let stream = stream.clone();
        self.going_on.insert(stream.clone(), number);
        let active = Active { stream, id, publisher, switch, is_leaving, file, has_failed };
        self.active.insert(number, active);
        Ok(())
    }

    /// Ends the recording of a stream that is wanted no more.
    pub(crate) fn end(&mut self, stream: &StreamName) {
        self.forget(stream);
        // One whose publication is over ends by itself, unless it is told to.
        for active in self.active.values_mut().filter(|active| active.stream == *stream) {
            active.is_leaving = true;
            active.switch.turn_off();
        }
        self.going_on.remove(stream);
    }

    /// A stream is over: its recordings end with it, by themselves.
    pub(crate) fn over(&mut self, stream: &StreamName) {
        self.forget(stream);
        if let Some(active) = self.of_mut(stream) {
            active.is_leaving = true;
        }
        self.going_on.remove(stream);
    }

    fn forget(&mut self, stream: &StreamName) {
        self.again.leave(stream);
        self.waiting.leave(stream);
        self.failures.remove(stream);
    }

    /// Begins nothing any more; what is under way goes on until its stream ends.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.again.clear();
        self.waiting.clear();
    }

    /// Another session publishes the stream.
    pub(crate) fn published_by(&mut self, stream: &StreamName, publisher: Option<Party>) {
        if let Some(active) = self.of_mut(stream) {
            active.publisher = publisher;
        }
    }

    /// A recording that tells something.
    pub(crate) fn active(&self, number: u64) -> Option<&Active> {
        self.active.get(&number)
    }

    /// A file is being written, or none is.
    pub(crate) fn writes(&mut self, number: u64, file: Option<FileId>) {
        if let Some(active) = self.active.get_mut(&number) {
            active.file = file;
            if active.file.is_some() {
                let stream = active.stream.clone();
                self.failures.remove(&stream);
            }
        }
    }

    /// A recording cannot go on; true if that is news.
    pub(crate) fn failed(&mut self, number: u64, why: (&'static str, String)) -> bool {
        let Some(active) = self.active.get_mut(&number) else { return false };
        active.has_failed = true;
        if active.is_leaving {
            return true;
        }
        let stream = active.stream.clone();
        self.fails(&stream, why)
    }

    /// A recording could not be begun; true if that is news. With no place left it waits for one.
    pub(crate) fn refused(
        &mut self,
        stream: &StreamName,
        why: (&'static str, String),
        now: Instant,
    ) -> bool {
        if why.0 == NOT_CONFIGURED {
            return self.fails(stream, why);
        }
        if why.0 != NO_PLACE {
            self.again.wait(stream, now + RETRY);
            self.call_at = Some(now + RETRY);
        } else if !self.waiting.has(stream) {
            self.numbers += 1;
            self.waiting.wait(stream, self.numbers);
        }
        self.fails(stream, why)
    }

    fn fails(&mut self, stream: &StreamName, why: (&'static str, String)) -> bool {
        let reason = why.0;
        let before = self.failures.insert(stream.clone(), why);
        before.is_none_or(|(before, _)| before != reason)
    }

    /// A recording's thread is over: it is tried again if it should go on.
    pub(crate) fn is_over(&mut self, number: u64, now: Instant) {
        let Some(active) = self.active.remove(&number) else { return };
        if !active.is_leaving {
            self.going_on.remove(&active.stream);
            if !self.is_closed {
                let pause = if active.has_failed { RETRY } else { AGAIN };
                self.again.wait(&active.stream, now + pause);
            }
        }
    }

    /// The next stream that is to be tried by now, or for which there is a place.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<StreamName> {
        if let Some(stream) = self.again.take(now) {
            return Some(stream);
        }
        if self.waiting.first().is_none() || self.call_at.is_some_and(|at| at > now) {
            return None;
        }
        self.call_at = None;
        if self.has_place() { self.waiting.take(u64::MAX) } else { None }
    }

    /// When a stream is tried again.
    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let calls = self.waiting.first().is_some() && self.has_place();
        let call = calls.then(|| self.call_at.map_or(now, |at| at.max(now)));
        self.again.first().into_iter().chain(call).min()
    }

    /// Recordings under way.
    #[must_use]
    pub fn count_active(&self) -> usize {
        self.active.len()
    }

    /// What recording a stream comes to; `None` if it is not recorded.
    #[must_use]
    pub fn state(&self, stream: &StreamName) -> Option<RecordingState> {
        if let Some((reason, message)) = self.failures.get(stream) {
            return Some(RecordingState::Failed { reason, message: message.clone() });
        }
        let active = self.of(stream)?;
        let file = active.file.as_ref().and_then(|id| self.shelf()?.get(id));
        Some(match file {
            None => RecordingState::Starting,
            Some(file) => RecordingState::Recording {
                id: file.id.to_string(),
                path: file.path.display().to_string(),
                started: file.id.began(),
                bytes: file.bytes,
            },
        })
    }

    /// What is counted of recordings.
    pub fn count(&self, into: &mut Counts) {
        let help = "Recordings that are under way.";
        into.gauge("recordings_active", help, self.active.len() as f64);
        if let Some(shelf) = self.shelf() {
            shelf.count(into);
        }
    }
}

impl Active {
    /// Who publishes it, for those who are told.
    pub(crate) fn told(&self) -> (Option<StreamId>, Option<Party>) {
        (self.id, self.publisher.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RecordingSection;

    #[test]
    fn a_recording_comes_in_where_no_balancer_is_in_front() {
        let listener = |kind, addr: &str, proxied| ListenerConfig {
            proxied,
            ..ListenerConfig::new(kind, addr.parse().unwrap())
        };
        for (listeners, expected) in [
            (vec![], None),
            (vec![listener(ListenerKind::Https, "127.0.0.1:1", false)], None),
            (vec![listener(ListenerKind::Http, "0.0.0.0:80", true)], None),
            (vec![listener(ListenerKind::Http, "0.0.0.0:80", false)], Some("127.0.0.1:80")),
            (vec![listener(ListenerKind::Http, "[::]:80", false)], Some("[::1]:80")),
            (
                vec![
                    listener(ListenerKind::Http, "192.0.2.1:80", true),
                    listener(ListenerKind::Http, "192.0.2.1:81", false),
                ],
                Some("192.0.2.1:81"),
            ),
        ] {
            let entrance = Entrance::of(listeners.into_iter());
            assert_eq!(entrance, expected.map(|addr| Entrance(addr.parse().unwrap())));
        }
    }

    /// A recorder of one place, and the listener that its recordings wait for.
    fn of_one_place(name: &str) -> (Recorder, std::net::TcpListener) {
        let dir = std::env::temp_dir().join(format!("grandstand-{name}-{}", std::process::id()));
        let terms = RecordingSection { active_max: 1, ..RecordingSection::default() };
        let (asks, _) = mpsc::channel(1);
        let mut recorder = Recorder::start(Shelf::new(dir, terms), asks);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        recorder.enter_by(Some(Entrance(listener.local_addr().unwrap())));
        (recorder, listener)
    }

    #[test]
    fn without_a_word_of_recordings_none_is_begun_or_tried_again() {
        let shelf = Shelf::new(std::env::temp_dir(), RecordingSection::default());
        let mut recorder = Recorder::off(shelf);
        let (stream, now) = (StreamName::parse("cam").unwrap(), Instant::now());
        let why = recorder.begin(&stream, None, None).unwrap_err();
        assert!(why.0 == NOT_CONFIGURED && why.1.contains("recording.dir"), "{why:?}");
        assert!(recorder.refused(&stream, why, now));
        assert_eq!((recorder.due(now), recorder.count_active()), (None, 0));
        assert!(matches!(recorder.state(&stream), Some(RecordingState::Failed { .. })));
        recorder.over(&stream);
        assert_eq!(recorder.state(&stream), None);
    }

    #[test]
    fn streams_wait_for_a_place_in_turn_and_are_told_of_once() {
        let (mut recorder, _listener) = of_one_place("places");
        let [one, two, three] = ["z", "y", "x"].map(|name| StreamName::parse(name).unwrap());
        let now = Instant::now();
        recorder.begin(&one, None, None).unwrap();
        for stream in [&two, &three] {
            for is_news in [true, false] {
                let why = recorder.begin(stream, None, None).unwrap_err();
                assert_eq!(why.0, "active_max");
                assert_eq!(recorder.refused(stream, why, now), is_news);
            }
        }
        assert_eq!((recorder.due(now), recorder.next_due(now + RETRY)), (None, None));
        recorder.end(&one);
        assert_eq!(recorder.next_due(now), None, "it is not over yet");
        recorder.is_over(1, now);
        assert_eq!(recorder.due(now), Some(now));
        assert_eq!(recorder.next_due(now).as_ref(), Some(&two));
        recorder.begin(&two, None, None).unwrap();
        assert_eq!(recorder.next_due(now), None);
        // Whoever is over waits no more.
        recorder.over(&three);
        recorder.end(&two);
        recorder.is_over(*recorder.active.keys().next().unwrap(), now);
        assert_eq!((recorder.due(now), recorder.next_due(now)), (None, None));
        assert_eq!(recorder.count_active(), 0);
    }

    #[test]
    fn what_cannot_be_begun_calls_nobody_for_a_while() {
        let (mut recorder, _listener) = of_one_place("calls");
        let [one, two] = ["one", "two"].map(|name| StreamName::parse(name).unwrap());
        let now = Instant::now();
        assert!(recorder.refused(&one, (NO_PLACE, String::new()), now));
        assert_eq!(recorder.next_due(now), Some(one));
        assert!(recorder.refused(&two, ("io", String::new()), now));
        assert!(recorder.refused(&two, (NO_PLACE, String::new()), now), "another reason");
        assert_eq!(recorder.due(now), Some(now + RETRY));
        assert_eq!(recorder.next_due(now), None);
        assert_eq!(recorder.next_due(now + RETRY), Some(two));
    }

    #[test]
    fn a_recording_plays_from_this_host_alone() {
        let (mut recorder, _listener) = of_one_place("plays");
        let stream = StreamName::parse("cam").unwrap();
        recorder.begin(&stream, None, None).unwrap();
        let request = |peer: &str, key: &Secret| AuthorizeRequest {
            session: dataplane::ids::SessionId(7),
            intent: Intent::Play,
            protocol: Protocol::HttpFlv,
            tls: false,
            stream: stream.clone(),
            key: key.clone(),
            login: Secret::default(),
            query: Secret::default(),
            url: "http://h/cam.flv".into(),
            referer: None,
            peer: peer.parse().unwrap(),
            local: "127.0.0.1:80".parse().unwrap(),
            listener: dataplane::config::ListenerNumber(1),
            agent: "test".into(),
            since: None,
        };
        let key = recorder.key.clone();
        assert!(recorder.plays(&request("127.0.0.1:5", &key)));
        assert!(recorder.plays(&request("[::ffff:127.0.0.1]:5", &key)));
        assert!(!recorder.plays(&request("192.0.2.1:5", &key)), "whoever found the key");
        assert!(!recorder.plays(&request("127.0.0.1:5", &Secret::default())));
        recorder.end(&stream);
    }
}
