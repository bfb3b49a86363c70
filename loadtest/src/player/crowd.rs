//! Any number of players, dealt to the threads of a crew.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result, anyhow};

use super::cast::{Part, Sampling};
use super::census::{Census, Gauge};
use super::routes::Routes;
use super::worker::{Order, Seat, Worker};
use crate::crew::Crew;
use crate::socket::monotonic_ns;
use crate::tls::Trust;

/// Who is in the crowd.
#[derive(Clone, Debug, PartialEq)]
pub struct CrowdPlan {
    /// Who plays what, how fast.
    pub parts: Vec<Part>,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// How many streams each part's address stands for.
    pub streams: usize,
    /// How uneven players are spread over the streams: stream `k` has `1 / k^skew` of the first
    /// one's.
    pub skew: f64,
    /// Who checks all that he gets.
    pub sampling: Sampling,
    /// Players of HLS ask for one playlist and keep their connection.
    pub holds: bool,
}

/// How many players do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attendance {
    /// They are to be so many.
    pub wanted: usize,
    /// They have had a frame and are connected.
    pub playing: usize,
    /// They are connecting, or wait for their first frame.
    pub joining: usize,
    /// Their time to connect has not come.
    pub waiting: usize,
}

impl Attendance {
    /// True once every player plays or is lost.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.joining == 0 && self.waiting == 0
    }
}

/// The crowd; its threads end when it is dropped.
pub struct Crowd {
    threads: Vec<Thread>,
    /// Which parts' latency is told as that of all.
    timely: Vec<bool>,
    wanted: usize,
    /// Whose turn it is to replace a player.
    replaced: usize,
}

struct Thread {
    orders: Option<Sender<Order>>,
    given: u64,
    gauge: Arc<Gauge>,
    handle: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// An empty crowd.
    ///
    /// # Errors
    /// If a host has no address, or its certificate could not be checked.
    pub fn start(plan: CrowdPlan, crew: &Crew) -> Result<Self> {
        let routes = Routes::of(&plan)?;
        let plan = Arc::new(plan);
        let timely = Part::timely(&plan.parts);
        let mut crowd = Self { threads: Vec::new(), timely, wanted: 0, replaced: 0 };
        let threads = crew.threads_for(usize::MAX);
        for index in 0..threads {
            let worker = Worker::new(plan.clone(), Seat { index, threads }, routes.clone())?;
            let (sender, orders) = channel();
            let gauge = Arc::new(Gauge::default());
            let (crew, shown) = (crew.clone(), gauge.clone());
            let thread = Builder::new().name(format!("players-{index}"));
            let handle = thread.spawn(move || {
                crew.settle(index)?;
                worker.work(&orders, &shown)
            });
            let handle = Some(handle.context("cannot start a thread")?);
            crowd.threads.push(Thread { orders: Some(sender), given: 0, gauge, handle });
        }
        Ok(crowd)
    }

    /// Which parts' latency is told as that of all.
    #[must_use]
    pub fn timely(&self) -> &[bool] {
        &self.timely
    }

    /// Sets how many players there are to be: the missing ones connect in a ramp, whoever was lost
    /// among them; those too many leave.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn resize(&mut self, players: usize, ramp_per_s: u64) -> Result<()> {
        self.wanted = players;
        let started_ns = monotonic_ns();
        self.order(|| Order::Resize { players, ramp_per_s, started_ns })
    }

    /// Has everybody leave at once.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn leave(&mut self) -> Result<()> {
        self.wanted = 0;
        self.order(|| Order::Leave)
    }

    /// Has so many players leave, the next in turn on each thread, and come again at once.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn replace(&mut self, players: usize) -> Result<()> {
        let threads = self.threads.len();
        for number in 0..players.min(threads) {
            let share = players / threads + usize::from(number < players % threads);
            let index = (self.replaced + number) % threads;
            self.threads[index].order(Order::Replace { players: share })?;
        }
        self.replaced = (self.replaced + players) % threads;
        Ok(())
    }

    /// How many players do what now.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn attendance(&mut self) -> Result<Attendance> {
        let mut sum = Attendance { wanted: self.wanted, ..Attendance::default() };
        for thread in &mut self.threads {
            let is_behind = thread.gauge.orders_done() < thread.given;
            let [playing, joining, waiting] = thread.gauge.read();
            sum.playing += playing;
            sum.joining += joining;
            // Until an order is followed, somebody waits.
            sum.waiting += waiting.max(usize::from(is_behind));
            if thread.handle.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(thread.failure());
            }
        }
        Ok(sum)
    }

    /// What was counted since this was last asked.
    ///
    /// # Errors
    /// If a thread has failed.
    pub fn census(&mut self) -> Result<Census> {
        let (sender, told) = channel();
        self.order(|| Order::Tell(sender.clone()))?;
        drop(sender);
        let mut sum = Census::default();
        for _ in 0..self.threads.len() {
            match told.recv() {
                Ok(census) => sum.add(&census),
                // A thread that fails drops its end unused, and is found by its attendance.
                Err(_) => return Err(self.first_failure()),
            }
        }
        Ok(sum)
    }

    fn order(&mut self, order: impl Fn() -> Order) -> Result<()> {
        self.threads.iter_mut().try_for_each(|thread| thread.order(order()))
    }

    fn first_failure(&mut self) -> anyhow::Error {
        let ended =
            |thread: &&mut Thread| thread.handle.as_ref().is_none_or(JoinHandle::is_finished);
        match self.threads.iter_mut().find(ended) {
            Some(thread) => thread.failure(),
            None => anyhow!("a thread of players does not answer"),
        }
    }
}

impl Thread {
    fn order(&mut self, order: Order) -> Result<()> {
        self.given += 1;
        match self.orders.as_ref().map(|orders| orders.send(order)) {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Why it has ended.
    fn failure(&mut self) -> anyhow::Error {
        match self.handle.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            Some(Err(_)) => anyhow!("a thread of players panicked"),
            Some(Ok(Ok(()))) | None => anyhow!("a thread of players has ended"),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.orders = None;
        }
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                // Its failure has been told, or nobody wants to know it any more.
                let _ = handle.join();
            }
        }
    }
}
