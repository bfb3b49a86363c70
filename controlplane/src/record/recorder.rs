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
use super::report::Report;
use super::shelf::Shelf;
use super::source::Switch;
use crate::bridge::Ask;
use crate::counts::Counts;
use crate::events::Party;

/// Bytes of one recording that is under way: what it reads, what its decoders need, its stack.
pub(crate) const ACTIVE_BYTES: u64 = 192 << 10;
/// Stack of a thread.
const STACK_BYTES: usize = 128 << 10;
/// A recording that was over though its stream is not begins again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// One that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(10);

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
    /// Streams that are tried again, and when.
    again: BTreeMap<StreamName, Instant>,
    failures: BTreeMap<StreamName, (&'static str, String)>,
    /// Nothing is begun any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Desk {
    shelf: Shelf,
    asks: mpsc::Sender<Ask>,
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
        Self { desk: Some(Desk { shelf, asks }), key: Secret(key), ..Self::default() }
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
        let AuthorizeRequest { intent, protocol, stream, key, .. } = request;
        let is_ours = || bool::from(key.0.as_bytes().ct_eq(self.key.0.as_bytes()));
        *intent == Intent::Play
            && *protocol == Protocol::HttpFlv
            && !self.key.0.is_empty()
            && self.active.values().any(|active| active.stream == *stream)
            && is_ours()
    }

    /// True if `stream` is being recorded, and goes on to be.
    pub(crate) fn records(&self, stream: &StreamName) -> bool {
        self.of(stream).is_some()
    }

    /// The recording of a stream that goes on, by its name.
    pub(crate) fn of(&self, stream: &StreamName) -> Option<&Active> {
        self.active.values().find(|active| active.stream == *stream && !active.is_leaving)
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
        self.again.remove(stream);
        let Some(Desk { shelf, asks }) = self.desk.as_ref().filter(|_| !self.is_closed) else {
            return Ok(());
        };
        let Some(Entrance(addr)) = self.entrance else {
            let message = "a recording plays by HTTP-FLV; open listeners.http without \
                           proxy_protocol, on an address of this host";
            return Err(("no_listener", message.to_owned()));
        };
        let active_max = shelf.terms().active_max;
        if self.active.len() >= active_max as usize {
            let message = format!("{active_max} recordings are under way: recording.active_max");
            return Err(("active_max", message));
        }
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
        let active = Active { stream, id, publisher, switch, is_leaving, file, has_failed };
        self.active.insert(number, active);
        Ok(())
    }

    /// Ends the recording of a stream that is wanted no more.
    pub(crate) fn end(&mut self, stream: &StreamName) {
        self.forget(stream);
        for active in self.active.values_mut().filter(|active| active.stream == *stream) {
            active.is_leaving = true;
            active.switch.turn_off();
        }
    }

    /// A stream is over: its recordings end with it, by themselves.
    pub(crate) fn over(&mut self, stream: &StreamName) {
        self.forget(stream);
        for active in self.active.values_mut().filter(|active| active.stream == *stream) {
            active.is_leaving = true;
        }
    }

    fn forget(&mut self, stream: &StreamName) {
        self.again.remove(stream);
        self.failures.remove(stream);
    }

    /// Begins nothing any more; what is under way goes on until its stream ends.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.again.clear();
    }

    /// Another session publishes the stream.
    pub(crate) fn published_by(&mut self, stream: &StreamName, publisher: Option<Party>) {
        let of = |active: &&mut Active| active.stream == *stream && !active.is_leaving;
        if let Some(active) = self.active.values_mut().find(of) {
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

    /// A recording cannot go on.
    pub(crate) fn failed(&mut self, number: u64, why: (&'static str, String)) {
        if let Some(active) = self.active.get_mut(&number) {
            active.has_failed = true;
            if !active.is_leaving {
                self.failures.insert(active.stream.clone(), why);
            }
        }
    }

    /// A recording could not be begun.
    pub(crate) fn refused(
        &mut self,
        stream: &StreamName,
        why: (&'static str, String),
        now: Instant,
    ) {
        self.failures.insert(stream.clone(), why);
        self.again.insert(stream.clone(), now + RETRY);
    }

    /// A recording's thread is over: it is tried again if it should go on.
    pub(crate) fn is_over(&mut self, number: u64, now: Instant) {
        let Some(active) = self.active.remove(&number) else { return };
        if !active.is_leaving && !self.is_closed {
            let pause = if active.has_failed { RETRY } else { AGAIN };
            self.again.insert(active.stream, now + pause);
        }
    }

    /// Streams that are to be tried again by now.
    pub(crate) fn due_again(&mut self, now: Instant) -> Vec<StreamName> {
        let due: Vec<_> = self.again.iter().filter(|(_, at)| **at <= now).collect();
        let due: Vec<_> = due.into_iter().map(|(stream, _)| stream.clone()).collect();
        for stream in &due {
            self.again.remove(stream);
        }
        due
    }

    /// When a stream is tried again.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.again.values().min().copied()
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
}
