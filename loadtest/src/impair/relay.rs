//! The relay: one socket that clients talk to, and the loop that does what is due.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use super::impairment::Impairment;
use super::path::{Flow, Path};
use super::tcp::TcpRelay;
use super::totals::ImpairSummary;
use super::udp::UdpRelay;
use crate::socket::monotonic_ns;

/// Clients at once; the next one is refused.
pub const CLIENTS_MAX: usize = 4096;

/// Bytes on their way, of all clients together.
pub const HELD_BYTES_MAX: u64 = 1 << 30;

/// How often the wish to stop is looked at.
const STOP_CHECK_NS: u64 = 50_000_000;

/// What is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// What to relay, and how badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpairPlan {
    /// Where clients come.
    pub listen: SocketAddr,
    /// Where the server is.
    pub to: SocketAddr,
    /// What is relayed.
    pub transport: Transport,
    /// What is wrong from the client to the server.
    pub up: Impairment,
    /// What is wrong from the server to the client.
    pub down: Impairment,
    /// The seed of all decisions.
    pub seed: u64,
    /// Bytes of both directions after which a connection is cut.
    pub cut_after: Option<u64>,
    /// How long; `None` until the wish to stop.
    pub duration_ns: Option<u64>,
}

impl ImpairPlan {
    /// The paths of a client, from it and to it.
    pub(super) fn paths(&self, client: u64, now_ns: u64) -> [Path; 2] {
        let path = |impairment, direction| {
            Path::new(impairment, Flow { seed: self.seed, client, direction }, now_ns)
        };
        [path(self.up, 0), path(self.down, 1)]
    }
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    course: Course,
    duration_ns: Option<u64>,
    ready: Vec<u64>,
}

#[derive(Debug)]
enum Course {
    Udp(Box<UdpRelay>),
    Tcp(Box<TcpRelay>),
}

impl Relay {
    /// Starts to listen.
    ///
    /// # Errors
    /// If the address is taken or not ours.
    pub fn open(plan: &ImpairPlan) -> Result<Self> {
        let course = match plan.transport {
            Transport::Udp => UdpRelay::open(plan).map(|relay| Course::Udp(Box::new(relay))),
            Transport::Tcp => TcpRelay::open(plan).map(|relay| Course::Tcp(Box::new(relay))),
        };
        let course = course.with_context(|| {
            format!("cannot listen on {}; choose a free address with --listen", plan.listen)
        })?;
        Ok(Self { course, duration_ns: plan.duration_ns, ready: Vec::new() })
    }

    /// Where clients come.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(match &self.course {
            Course::Udp(relay) => relay.local_addr()?,
            Course::Tcp(relay) => relay.local_addr()?,
        })
    }

    /// Relays until `stop` is set or the time is over; tells what was done.
    ///
    /// # Errors
    /// If this process cannot go on; what fails for a client is that client's end.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<ImpairSummary> {
        let end_ns = self.duration_ns.map_or(u64::MAX, |duration| monotonic_ns() + duration);
        while !stop.load(Ordering::Relaxed) {
            let now_ns = monotonic_ns();
            if now_ns >= end_ns {
                break;
            }
            self.turn(end_ns.min(now_ns + STOP_CHECK_NS)).context("relaying")?;
        }
        Ok(match &self.course {
            Course::Udp(relay) => relay.summary(),
            Course::Tcp(relay) => relay.summary(),
        })
    }

    fn turn(&mut self, until_ns: u64) -> Result<()> {
        let (poll, next_ns) = match &self.course {
            Course::Udp(relay) => (relay.poll(), relay.next_ns()),
            Course::Tcp(relay) => (relay.poll(), relay.next_ns()),
        };
        poll.wait_exact(next_ns.unwrap_or(until_ns).min(until_ns), &mut self.ready)?;
        match &mut self.course {
            Course::Udp(relay) => relay.turn(&self.ready)?,
            Course::Tcp(relay) => relay.turn(&self.ready)?,
        }
        Ok(())
    }
}
