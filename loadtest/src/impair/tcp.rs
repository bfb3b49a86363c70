//! Connections: each client's is joined to one of its own to the server.
//!
//! What is delayed is the data, not the acknowledgements: the sender's kernel sees a short way with
//! a full pipe at its end. A pipe that is full is not read, which holds the sender up.
//!
//! What fails for a client ends no other: it is counted. While the kernel lets nobody in, for want
//! of open files or memory, those that come wait in its backlog, and it is asked every
//! [`PAUSE_NS`].
//!
//! Limits: [`CLIENTS_MAX`] connections, fewer if their pipes together could hold more than
//! [`HELD_BYTES_MAX`].

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};

use super::joint::{Joint, Outcome};
use super::relay::{CLIENTS_MAX, HELD_BYTES_MAX, ImpairPlan};
use super::schedule::Schedule;
use super::totals::ImpairSummary;
use crate::socket::{self, Interest, Poll, monotonic_ns};
use crate::stats::Histogram;

/// Connections that are accepted before others have their turn.
const BATCH_MAX: usize = 64;

/// How long nobody is let in after the kernel would not.
const PAUSE_NS: u64 = 50_000_000;

const LISTENER: u64 = u64::MAX;

/// The relay of connections.
#[derive(Debug)]
pub(super) struct TcpRelay {
    plan: ImpairPlan,
    poll: Poll,
    listener: TcpListener,
    joints: HashMap<u64, Joint>,
    clients_max: usize,
    next_client: u64,
    /// When somebody is let in again.
    resume_ns: Option<u64>,
    /// Connections with data that is due.
    due: Schedule<u64>,
    /// Counts of connections that ended.
    ended: ImpairSummary,
    lateness: Histogram,
}

impl TcpRelay {
    pub(super) fn open(plan: &ImpairPlan) -> io::Result<Self> {
        let listener = TcpListener::bind(plan.listen)?;
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        let held_max = plan.up.queue_bytes.saturating_add(plan.down.queue_bytes).max(1);
        let clients_max = (HELD_BYTES_MAX / held_max).clamp(1, CLIENTS_MAX as u64) as usize;
        Ok(Self {
            plan: plan.clone(),
            poll,
            listener,
            joints: HashMap::new(),
            clients_max,
            next_client: 0,
            resume_ns: None,
            due: Schedule::default(),
            ended: ImpairSummary::default(),
            lateness: Histogram::default(),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) const fn poll(&self) -> &Poll {
        &self.poll
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        self.due.next_ns().into_iter().chain(self.resume_ns).min()
    }

    pub(super) fn summary(&self) -> ImpairSummary {
        let mut summary = self.ended;
        self.joints.values().for_each(|joint| joint.count(&mut summary));
        summary.clients = self.next_client;
        summary.lateness = self.lateness.percentiles();
        summary
    }

    /// Accepts, reads, and writes what is due.
    pub(super) fn turn(&mut self, ready: &[u64]) -> io::Result<()> {
        self.write_due();
        if self.resume_ns.is_some_and(|resume_ns| resume_ns <= monotonic_ns()) {
            self.resume_ns = None;
            self.poll.add(&self.listener, LISTENER, Interest::Read)?;
        }
        for token in ready {
            if *token == LISTENER {
                self.accept()?;
                continue;
            }
            let side = (*token % 2) as usize;
            self.with_joint(*token / 2, |joint, due| joint.ready(side, due));
            self.write_due();
        }
        Ok(())
    }

    fn write_due(&mut self) {
        while let Some((due_ns, client)) = self.due.pop(monotonic_ns()) {
            self.lateness.record(monotonic_ns().saturating_sub(due_ns));
            self.with_joint(client, |joint, _| joint.write_due());
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..BATCH_MAX {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // A client that went before it was accepted is nobody's loss.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    self.ended.failed += 1;
                    self.resume_ns = Some(monotonic_ns() + PAUSE_NS);
                    self.poll.remove(&self.listener)?;
                    break;
                }
            };
            if self.joints.len() >= self.clients_max {
                self.ended.refused += 1;
                continue;
            }
            let client = self.next_client;
            self.next_client += 1;
            // Without one to the server, a client's connection is closed.
            match self.join(client, stream) {
                Ok(joint) => drop(self.joints.insert(client, joint)),
                Err(_) => self.ended.failed += 1,
            }
        }
        Ok(())
    }

    fn join(&self, client: u64, stream: TcpStream) -> io::Result<Joint> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let streams = [stream, socket::connect(self.plan.to)?];
        Joint::new(&self.plan, client, streams, &self.poll, monotonic_ns())
    }

    /// Lets `act` work on a connection, and ends it if that is the outcome.
    fn with_joint(&mut self, client: u64, act: impl FnOnce(&mut Joint, &mut Vec<u64>) -> Outcome) {
        let Some(joint) = self.joints.get_mut(&client) else { return };
        let mut due = Vec::new();
        let mut outcome = act(joint, &mut due);
        due.into_iter().for_each(|due_ns| self.due.push(due_ns, client));
        if outcome == Outcome::Open && joint.watch(&self.poll).is_err() {
            outcome = Outcome::Failed;
        }
        if outcome == Outcome::Open {
            return;
        }
        joint.count(&mut self.ended);
        self.ended.cut += u64::from(outcome == Outcome::Cut);
        if outcome != Outcome::Ended {
            joint.reset();
        }
        self.joints.remove(&client);
    }
}
