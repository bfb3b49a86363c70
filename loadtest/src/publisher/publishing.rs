//! Any number of streams, dealt to the threads of a crew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::PublishTotals;
use super::bank::{Bank, Board};
use super::feed::Recording;
use crate::connection::Route;
use crate::crew::Crew;
use crate::source::SourceSettings;
use crate::stream_url::StreamUrl;
use crate::tls::Trust;

/// How often it is looked at whether all streams run, or are over.
const LOOK: Duration = Duration::from_millis(5);

/// What to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishPlan {
    /// Where; the first of several streams is `NAME-0`.
    pub url: StreamUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// How many streams.
    pub streams: usize,
    /// Streams that connect in a second.
    pub ramp_per_s: u64,
    /// What each of them holds.
    pub source: SourceSettings,
    /// What each of them holds instead, if that is recorded.
    pub recording: Option<Recording>,
    /// How long, from when all are accepted; `None` until the wish to stop.
    pub duration_ns: Option<u64>,
}

/// What is published at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnAir {
    /// Streams that the server has accepted.
    pub streams: usize,
    /// Video frames sent.
    pub frames: u64,
    /// Frames left out because the server did not take what was before them.
    pub dropped: u64,
    /// Streams that ended before their time.
    pub lost: usize,
    /// CPU time that the threads have used since they began.
    pub cpu_ns: u64,
}

/// Streams that are published for as long as this lives.
pub struct Publishing {
    threads: Vec<Thread>,
    streams: usize,
}

struct Thread {
    board: Arc<Board>,
    handle: Option<JoinHandle<Result<PublishTotals>>>,
    /// What it has published, once it is over.
    totals: Option<PublishTotals>,
}

impl Publishing {
    /// Begins to connect.
    ///
    /// # Errors
    /// If the server has no address or speaks another protocol.
    pub fn start(plan: &PublishPlan, crew: &Crew) -> Result<Self> {
        if !plan.url.scheme.publishes() {
            bail!("streams are published by rtmp://, rtmps:// or srt://");
        }
        let route = Route::to(&plan.url, &plan.trust)?;
        let plan = Arc::new(plan.clone());
        let mut publishing = Self { threads: Vec::new(), streams: plan.streams };
        let threads = crew.threads_for(plan.streams);
        for index in 0..threads {
            let bank = Bank::new(plan.clone(), route.clone(), (index, threads))?;
            let board = Arc::new(Board::default());
            let (crew, shown) = (crew.clone(), board.clone());
            let thread = Builder::new().name(format!("publish-{index}"));
            let handle = thread.spawn(move || {
                crew.settle(index)?;
                bank.work(&shown)
            });
            let handle = Some(handle.context("cannot start a thread")?);
            publishing.threads.push(Thread { board, handle, totals: None });
        }
        Ok(publishing)
    }

    /// Waits until the server has accepted all streams, or for the wish to stop.
    ///
    /// # Errors
    /// If it cannot be reached, or refuses a stream.
    pub fn wait_accepted(&mut self, stop: &AtomicBool) -> Result<()> {
        while self.on_air()?.streams < self.streams && !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Waits until the planned time is over, or for the wish to stop.
    ///
    /// # Errors
    /// If nothing can be published any more.
    pub fn wait_over(&mut self, stop: &AtomicBool) -> Result<()> {
        let is_over = |thread: &Thread| thread.handle.as_ref().is_none_or(JoinHandle::is_finished);
        while !self.threads.iter().all(is_over) && !stop.load(Ordering::Relaxed) {
            self.on_air()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What is published now.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses a stream, or if all of them are lost.
    pub fn on_air(&mut self) -> Result<OnAir> {
        let mut sum = OnAir::default();
        for thread in &mut self.threads {
            if thread.handle.as_ref().is_some_and(JoinHandle::is_finished) {
                let totals = thread.join()?;
                thread.totals = Some(totals);
            }
            let board = &thread.board;
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            sum.streams += board.accepted.load(Ordering::Relaxed);
            sum.frames += read(&board.frames);
            sum.dropped += read(&board.dropped);
            sum.lost += board.lost.load(Ordering::Relaxed);
            sum.cpu_ns += read(&board.cpu_ns);
        }
        let is_over = self.threads.iter().all(|thread| thread.totals.is_some());
        if is_over && sum.lost > 0 && sum.lost >= self.streams {
            let totals = self.threads.iter().filter_map(|thread| thread.totals.as_ref());
            let reason = totals.filter_map(|totals| totals.first_loss.as_deref()).next();
            let reason = reason.unwrap_or("for no known reason");
            bail!("nothing is published any more, all {} streams are lost: {reason}", self.streams);
        }
        Ok(sum)
    }

    /// Ends all streams.
    ///
    /// # Errors
    /// If one has failed before.
    pub fn finish(mut self) -> Result<PublishTotals> {
        self.stop();
        let mut sum = PublishTotals::default();
        for thread in &mut self.threads {
            let totals = match thread.totals.take() {
                Some(totals) => totals,
                None => thread.join()?,
            };
            sum.add(&totals);
        }
        Ok(sum)
    }

    fn stop(&self) {
        for thread in &self.threads {
            thread.board.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Thread {
    fn join(&mut self) -> Result<PublishTotals> {
        let handle = self.handle.take().context("a thread of publishers has ended")?;
        handle.join().map_err(|_| anyhow!("a thread of publishers panicked"))?
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.stop();
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // Its failure has been told, or nobody wants to know it any more.
                let _ = handle.join();
            }
        }
    }
}
