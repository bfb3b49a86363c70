//! The encoders of one thread.
//!
//! Frames follow an absolute schedule: one that is late does not delay the next, and streams are
//! spread over the frame interval. A frame is stamped when it is given to the socket.
//!
//! A stream that the server ends after it has accepted it is counted as lost, and the others go on;
//! one that it never accepts ends the start.
//!
//! Limits: [`BACKLOG_BYTES_MAX`] unsent bytes of a stream, then frames are dropped and counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use anyhow::{Context, Error, Result, bail};

use super::PublishTotals;
use super::feed::Feed;
use super::outlet::Outlet;
use super::publishing::PublishPlan;
use crate::connection::Route;
use crate::socket::{Poll, TRAIN_BYTES_MAX, monotonic_ns, thread_cpu_ns};

/// Bytes that a stream may have unsent.
pub const BACKLOG_BYTES_MAX: usize = 8 << 20;

/// How long all streams together may take to be accepted, beyond their ramp.
const START_NS_MAX: u64 = 15_000_000_000;

/// How often the wish to stop is looked at.
const STOP_CHECK_NS: u64 = 50_000_000;

/// How often those who publish in datagrams look at the time.
const TICK_NS: u64 = 10_000_000;

const READ_BYTES: usize = TRAIN_BYTES_MAX;

const SECOND_NS: u64 = 1_000_000_000;

/// What a thread shows while it publishes.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) accepted: AtomicUsize,
    pub(super) frames: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) lost: AtomicUsize,
    pub(super) cpu_ns: AtomicU64,
    /// The wish to stop.
    pub(super) stop: AtomicBool,
}

pub(super) struct Bank {
    plan: Arc<PublishPlan>,
    route: Route,
    poll: Poll,
    /// Those that were lost are gone.
    publications: Vec<Option<Outlet>>,
    /// Every how many streams one is ours, and the first.
    threads: usize,
    index: usize,
    /// When each stream's next frame is due.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    ready: Vec<u64>,
    buffer: Vec<u8>,
    opened_ns: u64,
    /// When time is looked at next; never without datagrams.
    tick_ns: u64,
    totals: PublishTotals,
}

impl Bank {
    pub(super) fn new(
        plan: Arc<PublishPlan>,
        route: Route,
        (index, threads): (usize, usize),
    ) -> Result<Self> {
        let tick_ns = if plan.url.srt.is_some() { 0 } else { u64::MAX };
        Ok(Self {
            plan,
            route,
            poll: Poll::new()?,
            publications: Vec::new(),
            threads,
            index,
            due: BinaryHeap::new(),
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES],
            opened_ns: monotonic_ns(),
            tick_ns,
            totals: PublishTotals::default(),
        })
    }

    /// Publishes until it is told to stop or all its streams are lost, or for as long as is planned
    /// from when all of them are accepted.
    pub(super) fn work(mut self, board: &Board) -> Result<PublishTotals> {
        let ours = (self.plan.streams + self.threads - 1 - self.index) / self.threads;
        let ramp_ns = self.plan.streams as u64 * SECOND_NS / self.plan.ramp_per_s.max(1);
        let accept_end_ns = self.opened_ns + ramp_ns + START_NS_MAX;
        let mut end_ns = u64::MAX;
        while !board.stop.load(Ordering::Relaxed)
            && monotonic_ns() < end_ns
            && self.totals.lost < ours
        {
            self.turn(ours).with_context(|| format!("publishing to {}", self.route.addr))?;
            let accepted = self.totals.streams;
            if accepted == ours && end_ns == u64::MAX {
                let duration = self.plan.duration_ns;
                end_ns = duration.map_or(u64::MAX - 1, |duration| monotonic_ns() + duration);
            }
            if accepted < ours && monotonic_ns() > accept_end_ns {
                let addr = self.route.addr;
                bail!("{addr} accepted {accepted} of {ours} streams in time; is it overloaded?");
            }
            board.accepted.store(accepted, Ordering::Relaxed);
            board.frames.store(self.totals.frames, Ordering::Relaxed);
            board.dropped.store(self.totals.dropped, Ordering::Relaxed);
            board.lost.store(self.totals.lost, Ordering::Relaxed);
            board.cpu_ns.store(thread_cpu_ns(), Ordering::Relaxed);
        }
        for publication in self.publications.iter_mut().flatten() {
            publication.end(&self.poll);
        }
        Ok(self.totals)
    }

    /// Waits for the next frame or for the server, and does what is due.
    fn turn(&mut self, ours: usize) -> Result<()> {
        let connect_ns = self.connect_due(ours)?;
        let due_ns = self.due.peek().map_or(u64::MAX, |Reverse((due_ns, _))| *due_ns);
        let stop_check_ns = monotonic_ns() + STOP_CHECK_NS;
        let until_ns = due_ns.min(connect_ns).min(stop_check_ns).min(self.tick_ns);
        self.poll.wait(until_ns, &mut self.ready)?;
        for at in 0..self.ready.len() {
            let local = usize::try_from(self.ready[at]).context("a token is an index")?;
            self.receive(local)?;
        }
        let now_ns = monotonic_ns();
        if now_ns >= self.tick_ns {
            self.tick_ns = now_ns + TICK_NS;
            self.tick()?;
        }
        while let Some(Reverse((due_ns, local))) = self.due.peek().copied() {
            if due_ns > now_ns {
                break;
            }
            self.due.pop();
            let Some(publication) = &mut self.publications[local] else { continue };
            if let Err(error) = publication.send_due(&mut self.totals, &self.poll) {
                self.lose(local, error)?;
                continue;
            }
            let next_ns = publication.due_ns().expect("it has begun");
            self.due.push(Reverse((next_ns, local)));
        }
        Ok(())
    }

    /// Lets all streams look at the time.
    fn tick(&mut self) -> Result<()> {
        for local in 0..self.publications.len() {
            let Some(publication) = &mut self.publications[local] else { continue };
            if let Err(error) = publication.tick(&mut self.totals) {
                self.lose(local, error)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, local: usize) -> Result<()> {
        let number = local * self.threads + self.index;
        let Some(publication) = &mut self.publications[local] else { return Ok(()) };
        let is_accepted = match publication.receive(&mut self.buffer, &self.poll) {
            Ok(is_accepted) => is_accepted,
            Err(error) => return self.lose(local, error),
        };
        if is_accepted && publication.due_ns().is_none() {
            let interval = SECOND_NS / u64::from(self.plan.source.fps.max(1));
            let phase = interval * number as u64 / self.plan.streams as u64;
            publication.start(monotonic_ns() + phase)?;
            let due_ns = publication.due_ns().expect("it has begun");
            self.due.push(Reverse((due_ns, local)));
            self.totals.streams += 1;
        }
        Ok(())
    }

    /// Counts a stream that was on the air as lost.
    ///
    /// # Errors
    /// If it never was: what cannot be started is no load.
    fn lose(&mut self, local: usize, error: Error) -> Result<()> {
        let error = error.context(format!("stream {}", local * self.threads + self.index));
        let lost = self.publications[local].take();
        if lost.is_none_or(|publication| publication.due_ns().is_none()) {
            return Err(error);
        }
        self.totals.lost += 1;
        self.totals.first_loss.get_or_insert_with(|| format!("{error:#}"));
        Ok(())
    }

    /// Connects the streams whose time has come; tells when the next one's comes.
    fn connect_due(&mut self, ours: usize) -> Result<u64> {
        loop {
            let local = self.publications.len();
            if local == ours {
                return Ok(u64::MAX);
            }
            let number = local * self.threads + self.index;
            let ramp = number as u64 * SECOND_NS / self.plan.ramp_per_s.max(1);
            let due_ns = self.opened_ns + ramp;
            if due_ns > monotonic_ns() {
                return Ok(due_ns);
            }
            let url = self.plan.url.nth(number, self.plan.streams);
            let feed = Feed::new(self.plan.source, self.plan.recording.as_ref());
            let outlet = Outlet::open(&self.route, url, feed, local as u64, &self.poll)
                .with_context(|| format!("cannot connect to {}", self.route.addr))?;
            self.publications.push(Some(outlet));
        }
    }
}
