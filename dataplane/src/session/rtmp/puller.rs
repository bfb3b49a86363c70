//! A pull: we play a stream of another server, and feed it to a hub as a publisher would.
//!
//! Shape:
//! ```text
//!   dialling --connected--> asking --Play.Start--> waiting --media--> claiming --> publishing
//!      |                       |                      |                  |             |
//!      +-----------------------+------ over <---------+------------------+-------------+
//! ```
//! The stream is claimed by the first of its media: nobody holds a name for a server that has
//! nothing to send, or only data. Its end is ours; whether it is asked for again the shard decides.
//! In/Out: the client's side of the protocol is [`Client`]; media goes from its fragments into
//! pages and from there by [`Ingest`], as that of a publisher does.
//! Limits: those of a publisher, and those of `hidden.rs` for what a server says. A server that
//! sends all that it keeps at once is read no faster than a publisher may send: what is over the
//! rate of a second stays in its socket until the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use codecs::amf0::{self, Value};
use codecs::rtmp::chunk_reader::Fragment;
use codecs::rtmp::command::{code, parse_data};
use codecs::rtmp::message::{MessageHeader, MessageKind};

use super::assembly::{Assembly, Body, Way};
use super::client::{Client, ClientConfig, ClientEvent, Intent};
use super::connect::name_agent;
use super::hidden;
use super::ingest::Ingest;
use super::limit::{amf_limits, limit_of};
use super::pace::{Rates, Supply};
use super::server::{EVENTS_MAX, millis};
use crate::Error;
use crate::config::{LimitId, Terms};
use crate::control::{self, DialFailure, Publication, RtmpPeer};
use crate::ids::StreamName;
use crate::session::{Command, Counts, Credentials, Event};
use crate::slab::Pool;
use crate::words::Words;

/// What ends a stream that plays.
const ENDS: [&str; 3] = [code::PLAY_UNPUBLISH_NOTIFY, code::PLAY_STOP, code::PLAY_COMPLETE];
/// Live, or else recorded; from its beginning to its end.
const PLAY: Intent = Intent::Play { start: -2.0, duration: -1.0, reset: true };

/// The playing side of one connection that we opened.
///
/// Lives on: the home shard of its stream. Crosses by: never.
#[derive(Debug)]
pub struct Puller {
    stage: Stage,
    is_reached: bool,
    client: Client,
    stream: StreamName,
    /// What the server calls itself.
    agent: Arc<str>,
    assembly: Assembly,
    ingest: Ingest,
    rates: Rates,
    /// Until when nothing is read, as the server is too fast.
    pause: Option<Instant>,
    /// The last metadata that came before media.
    metadata: Option<Event>,
    events: VecDeque<Event>,
    terms: Arc<Terms>,
    born: Instant,
    publication: Option<Publication>,
    /// Until when the server has to begin to play.
    deadline: Instant,
    /// Why nothing came of it, as far as that is known.
    failure: Option<DialFailure>,
}

#[derive(Debug)]
enum Stage {
    /// There is no connection yet: nothing is said or heard.
    Dialling,
    /// The server is asked for the stream.
    Asking,
    /// The server plays; nothing has come until then.
    Waiting(Instant),
    /// The shard was asked for the name; no byte is read.
    Claiming,
    /// Media comes in.
    Publishing(Supply),
    Over,
}

impl Stage {
    const fn name(&self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Asking => "asking",
            Self::Waiting(_) => "waiting",
            Self::Claiming => "claiming",
            Self::Publishing(_) => "publishing",
            Self::Over => "over",
        }
    }
}

impl Puller {
    /// A server is about to be dialled for `stream`; `seed` fills the handshake.
    #[must_use]
    pub fn new(
        now: Instant,
        stream: StreamName,
        peer: &RtmpPeer,
        terms: &Arc<Terms>,
        seed: [u8; 32],
    ) -> Self {
        let config = ClientConfig {
            flash_ver: "LNX 9,0,124,2 (Grandstand)".into(),
            deadline: peer.connect_timeout,
            ..ClientConfig::default()
        };
        let address = peer.address.clone();
        Self {
            stage: Stage::Dialling,
            is_reached: false,
            client: Client::new(now, address, PLAY, &config, &terms.limits, seed),
            stream,
            agent: Arc::from(""),
            assembly: Assembly::default(),
            ingest: Ingest::new(&terms.limits),
            rates: Rates::default(),
            pause: None,
            metadata: None,
            events: VecDeque::new(),
            terms: Arc::clone(terms),
            born: now,
            publication: peer.publication.clone(),
            deadline: now + peer.connect_timeout,
            failure: None,
        }
    }

    /// There is a connection; TLS may have to shake hands yet.
    pub const fn reached(&mut self) {
        self.is_reached = true;
    }

    /// False until there is a connection.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        self.is_reached
    }

    /// The server hears us: the handshake waits to be sent.
    pub fn connected(&mut self) {
        if matches!(self.stage, Stage::Dialling) {
            self.transition(Stage::Asking, "connected");
        }
    }

    /// There is no connection, by this number of the system.
    pub fn not_connected(&mut self, errno: i32) {
        self.failure = Some(DialFailure::Socket(errno));
        self.transition(Stage::Over, "not_connected");
    }

    /// The publication that it is, if it was let in as one.
    #[must_use]
    pub const fn publication(&self) -> Option<&Publication> {
        self.publication.as_ref()
    }

    /// Why nothing came of it, as far as that is known.
    #[must_use]
    pub fn failure(&self) -> Option<DialFailure> {
        self.failure.clone()
    }

    /// Takes received bytes and returns how many were consumed: fewer than all only if the session
    /// is parked, pauses, is closing, or its events must be drained first.
    ///
    /// # Errors
    /// The session is over.
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        bytes: &[u8],
        pool: &Pool,
    ) -> Result<usize, Error> {
        let result = self.read(now, bytes, pool);
        if let Err(error) = &result {
            self.transition(Stage::Over, error.reason());
        }
        result
    }

    fn read(&mut self, now: Instant, bytes: &[u8], pool: &Pool) -> Result<usize, Error> {
        let mut at = 0;
        while at < bytes.len() && self.wants_bytes() && self.events.len() < EVENTS_MAX {
            let (taken, fragment) = self.client.step(&bytes[at..])?;
            at += taken;
            if let Some(fragment) = fragment {
                self.fragment(now, fragment, pool)?;
            }
        }
        self.client.read_over()?;
        Ok(at)
    }

    fn fragment(&mut self, now: Instant, fragment: Fragment<'_>, pool: &Pool) -> Result<(), Error> {
        let header = fragment.header;
        let media =
            matches!(header.kind, MessageKind::Audio | MessageKind::Video | MessageKind::Aggregate);
        let now_ms = millis(self.born, now);
        if self.rates.count(now_ms, fragment.last, media, &self.terms.limits).is_err() {
            self.pause = Some(now + self.rates.rest(now_ms));
        }
        let Some(way) = self.way(&header)? else {
            let heard = self.client.fragment(fragment);
            self.hear(now, heard.is_err());
            return heard;
        };
        if let (true, Stage::Publishing(supply)) = (media, &mut self.stage) {
            supply.add(now, fragment.data.len());
        }
        match self.assembly.push(fragment, way, pool) {
            Body::Partial => {}
            Body::Dropped(reason) => self.ingest.dropped(header.kind, reason, &mut self.events),
            Body::Unit(unit) => {
                let Self { ingest, events, .. } = self;
                ingest.media(&header, unit, pool, events).map_err(Error::Limit)?;
            }
            Body::Bytes(body) => self.message(&header, &body, pool)?,
        }
        if self.awaits_media() {
            self.weigh();
        }
        Ok(())
    }

    /// Where the message of a header goes; `None` for what the client takes. Media that nobody
    /// asked for goes nowhere.
    fn way(&self, header: &MessageHeader) -> Result<Option<Way>, Error> {
        let way = match header.kind {
            MessageKind::Audio | MessageKind::Video => Way::Pages,
            MessageKind::Aggregate => Way::Bytes,
            MessageKind::DataAmf0 | MessageKind::DataAmf3 => {
                if u64::from(header.len) > self.terms.limits.rtmp_command_bytes_max {
                    return Err(Error::Limit(LimitId::RtmpCommandBytesMax));
                }
                Way::Bytes
            }
            MessageKind::SharedObjectAmf0
            | MessageKind::SharedObjectAmf3
            | MessageKind::Unknown(_) => return Ok(Some(Way::Skip)),
            _ => return Ok(None),
        };
        Ok(Some(if self.client.is_asking() { way } else { Way::Skip }))
    }

    fn message(&mut self, header: &MessageHeader, body: &[u8], pool: &Pool) -> Result<(), Error> {
        let limits = amf_limits(&self.terms.limits);
        let Self { ingest, assembly, events, .. } = self;
        match header.kind {
            MessageKind::Aggregate => {
                let taken = ingest.aggregate(header, body, (assembly, pool), &limits, events);
                taken.map_err(Error::Limit)
            }
            kind if is_complete(body, &limits, kind == MessageKind::DataAmf3) => {
                self.stream_ended();
                Ok(())
            }
            _ => ingest.data(header, body, &limits, events).map_err(limit_of),
        }
    }

    /// True until the first of the media.
    const fn awaits_media(&self) -> bool {
        matches!(self.stage, Stage::Asking | Stage::Waiting(_))
    }

    /// Claims the name if media is there; before that the last metadata is kept, and nothing else.
    fn weigh(&mut self) {
        let is_media = |event: &Event| matches!(event, Event::Media(_) | Event::Config { .. });
        if self.events.iter().any(is_media) {
            self.claim();
            return;
        }
        for event in self.events.drain(..) {
            if matches!(event, Event::Metadata { .. }) {
                self.metadata = Some(event);
            }
        }
    }

    /// The first of the media is there: the name is claimed for it.
    fn claim(&mut self) {
        // What was wrong before did not keep it from coming.
        self.failure = None;
        if let Some(metadata) = self.metadata.take() {
            self.events.push_front(metadata);
        }
        self.events.push_front(Event::Authorize {
            intent: control::Intent::Publish,
            stream: self.stream.clone(),
            credentials: Box::new(Credentials::default()),
            play: None,
        });
        self.transition(Stage::Claiming, "media");
    }

    /// Takes what the server said; `is_over` if that ended the connection.
    fn hear(&mut self, now: Instant, is_over: bool) {
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Connected { properties, .. } => {
                    let version = properties.get("fmsVer").and_then(Value::as_str);
                    name_agent(&mut self.agent, version.unwrap_or_default());
                }
                ClientEvent::PlayStarted if matches!(self.stage, Stage::Asking) => {
                    let until = now + self.terms.session.publish_idle;
                    self.transition(Stage::Waiting(until), "play_started");
                }
                ClientEvent::Status { level, code, description, redirect } => {
                    let is_end = is_over || ENDS.contains(&&*code);
                    if is_end || self.awaits_media() {
                        self.blame(&level, &code, (&description, redirect.as_deref()));
                    }
                    if ENDS.contains(&&*code) {
                        self.stream_ended();
                    }
                }
                ClientEvent::StreamEof => self.stream_ended(),
                ClientEvent::PlayStarted
                | ClientEvent::PublishStarted
                | ClientEvent::Media(_)
                | ClientEvent::Data { .. }
                | ClientEvent::CallResult { .. }
                | ClientEvent::Called { .. } => {}
            }
        }
    }

    /// A status may be why nothing comes of it.
    fn blame(&mut self, level: &str, code: &str, (text, place): (&str, Option<&str>)) {
        let asked = &self.client.address;
        if let Some(place) = place.and_then(|place| hidden::place(place, asked)) {
            self.failure = Some(DialFailure::Elsewhere(place.into()));
        } else if level == "error" {
            let fit = |text| hidden::words(text, &asked.stream.0);
            let code = if code.is_empty() { "an error".to_owned() } else { fit(code) };
            let said = match text {
                "" => code,
                text => format!("{code} ({})", fit(text)),
            };
            self.failure = Some(DialFailure::Said(said.into()));
        }
    }

    fn stream_ended(&mut self) {
        if matches!(self.stage, Stage::Waiting(_) | Stage::Claiming | Stage::Publishing(_)) {
            self.end("stream_ended");
        }
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        match (&self.stage, command) {
            (Stage::Claiming, Command::PublishStarted) => {
                let supply = Supply::new(now, &self.terms.session);
                self.transition(Stage::Publishing(supply), "publish_started");
            }
            (Stage::Claiming, Command::Refused(refusal)) => self.leave(refusal.name()),
            (Stage::Over, Command::Shutdown { .. }) => {}
            (_, Command::Shutdown { reason }) => self.leave(reason),
            (_, command) => {
                return Err(Error::Misbehaved { state: self.state_name(), got: command.name() });
            }
        }
        Ok(())
    }

    /// The server hears that we play no more.
    fn leave(&mut self, reason: &'static str) {
        // Before it plays there is nothing to say.
        drop(self.client.delete_stream());
        self.end(reason);
    }

    fn end(&mut self, reason: &'static str) {
        self.transition(Stage::Over, reason);
        self.events.push_back(Event::Close { reason });
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`]: the server does not answer, or sends nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.pause = self.pause.filter(|until| now < *until);
        let result = match &mut self.stage {
            Stage::Dialling | Stage::Asking if now >= self.deadline => {
                self.failure.get_or_insert(DialFailure::NoAnswer);
                Err(Error::Timeout { what: "connect_deadline" })
            }
            Stage::Waiting(until) if now >= *until => Err(Error::Timeout { what: "publish_idle" }),
            Stage::Publishing(supply) => supply.check(now, &self.terms.session),
            _ => Ok(()),
        };
        if let Err(error) = &result {
            self.transition(Stage::Over, error.reason());
        }
        result
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = match &self.stage {
            Stage::Dialling | Stage::Asking => Some(self.deadline),
            Stage::Waiting(until) => Some(*until),
            Stage::Publishing(supply) => Some(supply.deadline()),
            Stage::Claiming => None,
            Stage::Over => return None,
        };
        deadline.into_iter().chain(self.pause).min()
    }

    /// Appends what waits to be said; true if there was anything.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        !matches!(self.stage, Stage::Dialling) && self.client.poll_transmit(out)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        Counts { units_converted: self.ingest.take_converted(), ..Counts::default() }
    }

    /// False while parked, pausing or closing.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        self.pause.is_none() && !matches!(self.stage, Stage::Claiming | Stage::Over)
    }

    /// The stream that is pulled.
    #[must_use]
    pub const fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// `fmsVer`.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        &self.agent
    }

    /// Bytes of buffers that it holds beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let events = self.events.capacity() * size_of::<Event>();
        self.client.buffer_bytes() + self.assembly.buffer_bytes() + events
    }

    /// The word for the state.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        self.stage.name()
    }

    /// Shares with other sessions what they say, too.
    pub(crate) fn share(&mut self, words: &mut Words) {
        words.share(&mut self.agent);
        self.stream.share(words);
    }

    /// Takes new limits and settings.
    pub fn reload(&mut self, terms: &Arc<Terms>) {
        self.terms = Arc::clone(terms);
        self.ingest.reload(&terms.limits);
        self.client.reload(&terms.limits);
    }

    /// Drops the messages in hand: nothing more is heard.
    pub(in crate::session) fn drop_messages(&mut self, pool: &Pool) {
        self.assembly.close(pool);
    }

    /// Gives every page back; nothing may be called afterwards.
    pub fn close(&mut self, pool: &Pool) {
        self.assembly.close(pool);
        self.ingest.close(pool);
        for event in self.events.drain(..) {
            if let Event::Media(unit) = event {
                pool.release(unit.payload);
            }
        }
        self.transition(Stage::Over, "closed");
    }

    fn transition(&mut self, next: Stage, event: &'static str) {
        tracing::debug!(prev = self.stage.name(), next = next.name(), event, "rtmp pull");
        self.stage = next;
    }
}

/// True if a data message says that a recording was played to its end.
fn is_complete(body: &[u8], limits: &amf0::Limits, amf3: bool) -> bool {
    let values = parse_data(body, limits, amf3).unwrap_or_default();
    let [name, rest @ ..] = values.as_slice() else { return false };
    let mut codes = rest.iter().filter_map(|value| value.get("code")?.as_str());
    name.as_str() == Some("onPlayStatus") && codes.any(|said| said == code::PLAY_COMPLETE)
}
