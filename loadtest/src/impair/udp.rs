//! Datagrams: each client has a socket of its own towards the server, so that the server can tell
//! clients apart.
//!
//! Limits: [`CLIENTS_MAX`] clients, of which those silent for [`IDLE_NS`] end; [`HELD_BYTES_MAX`]
//! bytes on their way; a socket gives [`BATCH_MAX`] datagrams before others have their turn.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::path::{Fate, Path};
use super::relay::{CLIENTS_MAX, HELD_BYTES_MAX, ImpairPlan};
use super::schedule::Schedule;
use super::totals::ImpairSummary;
use crate::socket::{self, Interest, Poll, monotonic_ns};
use crate::stats::Histogram;

/// How long a client may be silent.
const IDLE_NS: u64 = 60_000_000_000;

/// How often silence is looked for.
const SWEEP_NS: u64 = 1_000_000_000;

/// The longest datagram.
const DATAGRAM_LEN_MAX: usize = 65_536;

const BATCH_MAX: usize = 64;

/// Room for bursts in the sockets, as far as the kernel allows.
const SOCKET_BYTES: usize = 4 << 20;

/// Buffers that are kept for use again.
const SPARE_MAX: usize = 4096;

const LISTENER: u64 = u64::MAX;

/// From the client to the server, and back.
const UP: usize = 0;
const DOWN: usize = 1;

#[derive(Debug)]
struct Client {
    addr: SocketAddr,
    upstream: UdpSocket,
    paths: [Path; 2],
    last_ns: u64,
}

#[derive(Debug)]
struct Datagram {
    client: u64,
    direction: usize,
    bytes: Vec<u8>,
}

/// The relay of datagrams.
#[derive(Debug)]
pub(super) struct UdpRelay {
    plan: ImpairPlan,
    poll: Poll,
    listener: UdpSocket,
    clients: HashMap<u64, Client>,
    by_addr: HashMap<SocketAddr, u64>,
    next_client: u64,
    on_their_way: Schedule<Datagram>,
    held_bytes: u64,
    spare: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    next_sweep_ns: u64,
    /// Counts of clients that ended.
    ended: ImpairSummary,
    lateness: Histogram,
}

impl UdpRelay {
    pub(super) fn open(plan: &ImpairPlan) -> io::Result<Self> {
        let listener = UdpSocket::bind(plan.listen)?;
        listener.set_nonblocking(true)?;
        socket::buffers(&listener, SOCKET_BYTES)?;
        let poll = Poll::new()?;
        poll.add(&listener, LISTENER, Interest::Read)?;
        Ok(Self {
            plan: plan.clone(),
            poll,
            listener,
            clients: HashMap::new(),
            by_addr: HashMap::new(),
            next_client: 0,
            on_their_way: Schedule::default(),
            held_bytes: 0,
            spare: Vec::new(),
            buffer: vec![0; DATAGRAM_LEN_MAX],
            next_sweep_ns: monotonic_ns() + SWEEP_NS,
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
        self.on_their_way.next_ns()
    }

    pub(super) fn summary(&self) -> ImpairSummary {
        let mut summary = self.ended;
        self.clients.values().for_each(|client| client.count(&mut summary));
        summary.clients = self.next_client;
        summary.lateness = self.lateness.percentiles();
        summary
    }

    /// Receives, and sends what is due.
    pub(super) fn turn(&mut self, ready: &[u64]) -> io::Result<()> {
        for token in ready {
            if *token == LISTENER {
                self.receive_up()?;
            } else {
                self.receive_down(*token);
            }
            self.send_due();
        }
        self.send_due();
        let now_ns = monotonic_ns();
        if now_ns >= self.next_sweep_ns {
            self.next_sweep_ns = now_ns + SWEEP_NS;
            self.end_silent(now_ns);
        }
        Ok(())
    }

    fn receive_up(&mut self) -> io::Result<()> {
        for _ in 0..BATCH_MAX {
            match self.listener.recv_from(&mut self.buffer) {
                Ok((len, addr)) => {
                    if let Some(client) = self.client(addr)? {
                        self.admit(client, UP, len);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What the network says of a client that is gone is told to this socket.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn receive_down(&mut self, client: u64) {
        for _ in 0..BATCH_MAX {
            let Some(of) = self.clients.get(&client) else { return };
            match of.upstream.recv(&mut self.buffer) {
                Ok(len) => self.admit(client, DOWN, len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The server's port is closed, for now.
                Err(_) => {}
            }
        }
    }

    /// The client with an address, new if it has room; `None` if there are too many.
    fn client(&mut self, addr: SocketAddr) -> io::Result<Option<u64>> {
        if let Some(client) = self.by_addr.get(&addr) {
            return Ok(Some(*client));
        }
        if self.clients.len() >= CLIENTS_MAX {
            self.ended.refused += 1;
            return Ok(None);
        }
        let any: IpAddr = match self.plan.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let upstream = UdpSocket::bind((any, 0))?;
        upstream.connect(self.plan.to)?;
        upstream.set_nonblocking(true)?;
        socket::buffers(&upstream, SOCKET_BYTES)?;
        let client = self.next_client;
        self.next_client += 1;
        self.poll.add(&upstream, client, Interest::Read)?;
        let now_ns = monotonic_ns();
        let paths = self.plan.paths(client, now_ns);
        self.clients.insert(client, Client { addr, upstream, paths, last_ns: now_ns });
        self.by_addr.insert(addr, client);
        Ok(Some(client))
    }

    /// Decides on the datagram at the start of the buffer, and keeps it until it is due.
    fn admit(&mut self, client: u64, direction: usize, len: usize) {
        let now_ns = monotonic_ns();
        let Some(of) = self.clients.get_mut(&client) else { return };
        of.last_ns = now_ns;
        let path = &mut of.paths[direction];
        let Fate::Due { due_ns, copy_due_ns } = path.admit(now_ns, len) else { return };
        for due_ns in [Some(due_ns), copy_due_ns].into_iter().flatten() {
            if self.held_bytes + len as u64 > HELD_BYTES_MAX {
                path.overflowed();
                continue;
            }
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(&self.buffer[..len]);
            self.held_bytes += len as u64;
            self.on_their_way.push(due_ns, Datagram { client, direction, bytes });
        }
    }

    fn send_due(&mut self) {
        let now_ns = monotonic_ns();
        while let Some((due_ns, datagram)) = self.on_their_way.pop(now_ns) {
            let Datagram { client, direction, bytes } = datagram;
            self.held_bytes -= bytes.len() as u64;
            self.lateness.record(now_ns - due_ns);
            if let Some(of) = self.clients.get_mut(&client) {
                let sent = match direction {
                    UP => of.upstream.send(&bytes),
                    _ => self.listener.send_to(&bytes, of.addr),
                };
                match sent {
                    Ok(_) => of.paths[direction].forwarded(bytes.len()),
                    Err(_) => of.paths[direction].unsent(),
                }
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(bytes);
            }
        }
    }

    fn end_silent(&mut self, now_ns: u64) {
        let Self { clients, by_addr, ended, .. } = self;
        clients.retain(|_, client| {
            let is_silent = now_ns - client.last_ns > IDLE_NS;
            if is_silent {
                by_addr.remove(&client.addr);
                client.count(ended);
            }
            !is_silent
        });
    }
}

impl Client {
    const fn count(&self, summary: &mut ImpairSummary) {
        summary.up.add(self.paths[UP].totals());
        summary.down.add(self.paths[DOWN].totals());
    }
}
