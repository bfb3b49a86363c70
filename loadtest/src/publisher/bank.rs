//! A bank of encoders on one thread.
//!
//! Frames follow an absolute schedule: one that is late does not delay the next, and streams are
//! spread over the frame interval. A frame is stamped when it is given to the socket.
//!
//! Limits: [`BACKLOG_BYTES_MAX`] unsent bytes of a stream, then frames are dropped and counted.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use super::PublishTotals;
use crate::client::{Client, Role};
use crate::connection::{Connection, Route};
use crate::piece::{Event, PieceKind};
use crate::socket::{Poll, monotonic_ns};
use crate::source::{Source, SourceSettings};
use crate::stream_url::{Scheme, StreamUrl};
use crate::tls::Trust;

/// Bytes that a stream may have unsent.
pub const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// How long all streams together may take to be accepted.
const START_NS_MAX: u64 = 15_000_000_000;

/// How often the wish to stop is looked at.
const STOP_CHECK_NS: u64 = 50_000_000;

const READ_BYTES: usize = 16 * 1024;

/// What to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishPlan {
    /// Where; the first of several streams is `NAME-0`.
    pub url: StreamUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// How many streams.
    pub streams: usize,
    /// What each of them holds.
    pub source: SourceSettings,
    /// How long, from when all are accepted; `None` until the wish to stop.
    pub duration_ns: Option<u64>,
}

struct Publication {
    connection: Connection,
    client: Client,
    source: Source,
    /// When frame 0 is due; `None` until the server accepts.
    started_ns: Option<u64>,
}

/// Publishes until `stop` is set or the plan is over; calls `started` once all streams run.
///
/// # Errors
/// If the server cannot be reached, refuses, or closes a stream.
pub fn publish(
    plan: &PublishPlan,
    stop: &AtomicBool,
    started: impl FnOnce(),
) -> Result<PublishTotals> {
    if plan.url.scheme != Scheme::Rtmp {
        bail!("streams are published by rtmp:// or rtmps://");
    }
    let route = Route::to(&plan.url, &plan.trust)?;
    let addr = route.addr;
    let mut bank = Bank::open(plan, &route)?;
    let opened_ns = monotonic_ns();
    while bank.totals.streams < plan.streams {
        if stop.load(Ordering::Relaxed) {
            return Ok(bank.totals);
        }
        if monotonic_ns() - opened_ns > START_NS_MAX {
            bail!("{addr} accepted {} of {} streams in time", bank.totals.streams, plan.streams);
        }
        bank.turn(plan).with_context(|| format!("publishing to {addr}"))?;
    }
    started();
    let end_ns = plan.duration_ns.map_or(u64::MAX, |duration| monotonic_ns() + duration);
    while !stop.load(Ordering::Relaxed) && monotonic_ns() < end_ns {
        bank.turn(plan).with_context(|| format!("publishing to {addr}"))?;
    }
    bank.end();
    Ok(bank.totals)
}

struct Bank {
    poll: Poll,
    publications: Vec<Publication>,
    ready: Vec<u64>,
    buffer: Vec<u8>,
    totals: PublishTotals,
}

impl Bank {
    fn open(plan: &PublishPlan, route: &Route) -> Result<Self> {
        let poll = Poll::new()?;
        let mut publications = Vec::with_capacity(plan.streams);
        for index in 0..plan.streams {
            let mut connection = Connection::open(route, index as u64, &poll)
                .with_context(|| format!("cannot connect to {}", route.addr))?;
            let url = plan.url.nth(index, plan.streams);
            let client = Client::new(Role::Publish, url, monotonic_ns(), connection.out());
            let source = Source::new(plan.source);
            publications.push(Publication { connection, client, source, started_ns: None });
        }
        let buffer = vec![0; READ_BYTES];
        let totals = PublishTotals::default();
        Ok(Self { poll, publications, ready: Vec::new(), buffer, totals })
    }

    /// Waits for the next frame or for the server, and does what is due.
    fn turn(&mut self, plan: &PublishPlan) -> Result<()> {
        let due = self.publications.iter().filter_map(Publication::due_ns).min();
        let stop_check = monotonic_ns() + STOP_CHECK_NS;
        self.poll.wait(due.unwrap_or(stop_check).min(stop_check), &mut self.ready)?;
        for token in std::mem::take(&mut self.ready) {
            let index = usize::try_from(token).context("a token is an index")?;
            self.receive(index, plan)?;
        }
        for publication in &mut self.publications {
            publication.send_due(&mut self.totals);
            publication.connection.flush(&self.poll)?;
        }
        Ok(())
    }

    fn receive(&mut self, index: usize, plan: &PublishPlan) -> Result<()> {
        let publication = &mut self.publications[index];
        while let Some(len) = publication.connection.read(&mut self.buffer)? {
            if len == 0 {
                bail!("the server closed stream {index}");
            }
            let mut input = &self.buffer[..len];
            while !input.is_empty() {
                let (taken, event) =
                    publication.client.feed(input, publication.connection.out())?;
                input = &input[taken..];
                match event {
                    Some(Event::Accepted) => {
                        let interval = 1_000_000_000 / u64::from(plan.source.fps.max(1));
                        let phase = interval * index as u64 / plan.streams as u64;
                        publication.start(monotonic_ns() + phase);
                        self.totals.streams += 1;
                    }
                    Some(Event::Refused(reason)) => {
                        bail!("the server refused stream {index}: {reason}");
                    }
                    Some(Event::Media(_) | Event::Unit(_)) | None => {}
                }
            }
        }
        Ok(())
    }

    /// Says goodbye as far as the sockets take it at once.
    fn end(&mut self) {
        for publication in &mut self.publications {
            publication.client.send_end(publication.connection.out());
            // What a server makes of a lost goodbye is its own business.
            let _ = publication.connection.flush(&self.poll);
        }
    }
}

impl Publication {
    fn due_ns(&self) -> Option<u64> {
        self.started_ns.map(|started_ns| started_ns + self.source.due_ns())
    }

    fn start(&mut self, started_ns: u64) {
        self.started_ns = Some(started_ns);
        let Self { connection, client, source, .. } = self;
        client.send_media(PieceKind::Video, 0, &source.video_config(), connection.out());
        if let Some(config) = source.audio_config() {
            client.send_media(PieceKind::Audio, 0, &config, connection.out());
        }
    }

    fn send_due(&mut self, totals: &mut PublishTotals) {
        while let Some(due_ns) = self.due_ns() {
            let now_ns = monotonic_ns();
            if due_ns > now_ns {
                return;
            }
            totals.lateness.record(now_ns - due_ns);
            let fits = self.connection.backlog() < BACKLOG_BYTES_MAX;
            let Self { connection, client, source, .. } = self;
            while let Some(frame) = source.audio() {
                if fits {
                    totals.bytes += frame.body.len() as u64;
                    let (time, out) = (frame.timestamp_ms, connection.out());
                    client.send_media(PieceKind::Audio, time, frame.body, out);
                }
            }
            let frame = source.video(now_ns);
            if fits {
                totals.frames += 1;
                totals.bytes += frame.body.len() as u64;
                let (time, out) = (frame.timestamp_ms, connection.out());
                client.send_media(PieceKind::Video, time, frame.body, out);
            } else {
                totals.dropped += 1;
            }
        }
    }
}
