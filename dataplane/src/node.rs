//! A running node: its shards, and the control plane's ends of their mailboxes.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::config::{Config, ListenerConfig, ListenerKind, PORT_RECEIVE_BYTES, PORT_SEND_BYTES};
use crate::control::{Command, Event};
use crate::error::Error;
use crate::heartbeats::Heartbeats;
use crate::ids::{SHARDS_MAX, ShardId};
use crate::rates::Penalties;
use crate::reactor::{self, ListenOptions, Listener, Reactor, UdpBuffers, UdpOptions, Waker};
use crate::shard::mailbox::{self, MailboxLimits};
use crate::shard::placement::Placement;
use crate::shard::{
    ConnectRates, ControlLink, Message, Shard, ShardParts, Shared, USAGE_BYTES, bytes_per_view,
    readers_max, views_max,
};
use crate::slab::{PageClass, Region, RegionConfig};

/// Letters and answers between each pair of shards.
const MAILBOX: MailboxLimits = MailboxLimits { letters_max: 1_024, answers_max: 1_024 };
/// Commands to a shard, and events of it, that wait at most.
pub const CONTROL_MAILBOX_MAX: usize = 4_096;
/// One byte of this many goes to small pages: entry indexes and sound.
const SMALL_SHARE: u64 = 8;

/// A running node. Lives on: the control thread. Crosses by: never.
#[derive(Debug)]
pub struct Node {
    shards: Vec<ShardEnd>,
    shared: Arc<Shared>,
    listeners: Vec<(ListenerKind, SocketAddr)>,
    port_buffers: Option<UdpBuffers>,
    waker: Waker,
    next: usize,
}

#[derive(Debug)]
struct ShardEnd {
    commands: rtrb::Producer<Command>,
    events: rtrb::Consumer<Event>,
    thread: Option<JoinHandle<()>>,
    reactor: &'static str,
    fallback: Option<String>,
}

/// What a shard's thread tells once it runs.
type Started = Result<(&'static str, Option<String>), Error>;

impl Node {
    /// Binds the listeners, maps the memory and starts the shards.
    ///
    /// # Errors
    /// [`Error::Listen`] names the address; [`Error::Io`] the operation.
    pub fn start(config: Config) -> Result<Self, Error> {
        Self::start_with(config, Arc::default())
    }

    /// The same, with a table of those who may not come for a while: what is written there, every
    /// shard sees, and from the first connection on.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(mut config: Config, penalties: Arc<Penalties>) -> Result<Self, Error> {
        let count = config.shards.len();
        assert!((1..=SHARDS_MAX).contains(&count), "the configuration has 1 to 64 shards");
        let mut listeners = bind_all(&mut config.listeners, count)?;
        let port_buffers = least_buffers(&listeners)?;
        let placement = Placement::new(count as u16, config.pins.clone());
        let (readers, views) = (readers_max(&config), views_max(&config));
        let began = origin();
        let shared = Arc::new(Shared::new(count, readers, views, placement, penalties, began));
        let (_, pools) = Region::map(&region_config(&config))?;
        let waker = Waker::standalone()?;
        let mesh = mailbox::mesh(count as u16, MAILBOX);
        let bound = config.listeners.iter().map(|l| (l.kind, l.addr)).collect();
        let (shards, next) = (Vec::new(), 0);
        let mut node = Self { shards, shared, listeners: bound, port_buffers, waker, next };
        let (told, telling) = std::sync::mpsc::channel();
        for (i, (pool, (outboxes, inboxes))) in pools.into_iter().zip(mesh).enumerate() {
            let (commands, to_shard) = rtrb::RingBuffer::new(CONTROL_MAILBOX_MAX);
            let (from_shard, events) = rtrb::RingBuffer::new(CONTROL_MAILBOX_MAX);
            let waker = node.waker.clone();
            let control = ControlLink { commands: to_shard, events: from_shard, waker };
            let parts = ShardParts {
                id: ShardId(i as u16),
                config: config.clone(),
                shared: Arc::clone(&node.shared),
                pool,
                outboxes,
                inboxes,
                control,
                listeners: listeners.remove(0),
            };
            let thread = spawn(parts, told.clone())?;
            node.shards.push(ShardEnd {
                commands,
                events,
                thread: Some(thread),
                reactor: "",
                fallback: None,
            });
        }
        drop(told);
        for _ in 0..count {
            let (id, started) =
                telling.recv().map_err(|_| Error::Rejected("a shard died while starting"))?;
            let id: ShardId = id;
            let (kind, fallback) = started?;
            node.shards[id.index()].reactor = kind;
            node.shards[id.index()].fallback = fallback;
        }
        Ok(node)
    }

    /// Bytes of the mailboxes of a node with so many shards: from each to each, and between each
    /// and the control plane.
    #[must_use]
    pub const fn mailbox_bytes(shards: u64) -> u64 {
        let letters = (MAILBOX.letters_max + MAILBOX.answers_max) * size_of::<Message>();
        let control = CONTROL_MAILBOX_MAX * (size_of::<Command>() + size_of::<Event>());
        shards * (shards * letters as u64 + control as u64)
    }

    /// Bytes of what all shards remember of the use of streams.
    #[must_use]
    pub const fn usage_bytes(shards: u64) -> u64 {
        shards * USAGE_BYTES
    }

    /// Bytes of what one shard knows of the quotas of one stream, with its name.
    pub const QUOTA_BYTES: u64 = 224;

    /// Bytes of the table of HLS viewers for each that there may be.
    #[must_use]
    pub const fn view_bytes() -> u64 {
        bytes_per_view() as u64
    }

    /// Bytes of the tables of rates and penalties.
    #[must_use]
    pub const fn rate_bytes() -> u64 {
        (2 * ConnectRates::BYTES + Penalties::BYTES) as u64
    }

    /// How many shards run.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Where peers are accepted, in the order of the configuration, ports resolved.
    #[must_use]
    pub fn listeners(&self) -> &[(ListenerKind, SocketAddr)] {
        &self.listeners
    }

    /// The least buffers that a socket of datagrams was given, if there are such: less than
    /// [`PORT_SEND_BYTES`] or [`PORT_RECEIVE_BYTES`] where the host allows no more.
    #[must_use]
    pub const fn port_buffers(&self) -> Option<UdpBuffers> {
        self.port_buffers
    }

    /// The reactor in use, and why it is not io_uring if another was preferred.
    #[must_use]
    pub fn reactor(&self) -> (&'static str, Option<&str>) {
        let first = &self.shards[0];
        (first.reactor, self.shards.iter().find_map(|shard| shard.fallback.as_deref()))
    }

    /// The home shard of a stream.
    #[must_use]
    pub fn home(&self, stream: &crate::ids::StreamName) -> ShardId {
        self.shared.placement.home(stream)
    }

    /// Whether its shards turn, for another thread.
    #[must_use]
    pub fn heartbeats(&self) -> Heartbeats {
        Heartbeats::of(self.shared.loads())
    }

    /// Readable when a shard has sent an event.
    #[must_use]
    pub fn events_fd(&self) -> RawFd {
        self.waker.event_fd()
    }

    /// The next event of any shard; `None` re-arms [`Self::events_fd`].
    pub fn next_event(&mut self) -> Option<(ShardId, Event)> {
        if let Some(event) = self.poll_shards() {
            return Some(event);
        }
        // An event that was sent before the wake-up was taken is found by the second look.
        self.waker.clear();
        self.poll_shards()
    }

    /// Sends a command.
    ///
    /// # Errors
    /// Gives the command back if the shard's mailbox is full.
    pub fn send(&mut self, shard: ShardId, command: Command) -> Result<(), Command> {
        let rtrb_full = |rtrb::PushError::Full(command)| command;
        self.shards[shard.index()].commands.push(command).map_err(rtrb_full)?;
        if self.shared.wakes.alert(shard) {
            self.shared.waker(shard).wake();
        }
        Ok(())
    }

    /// Waits until every shard's thread has ended; they end after [`Command::Drain`] or
    /// [`Command::Stop`].
    pub fn join(mut self) {
        for shard in &mut self.shards {
            if let Some(thread) = shard.thread.take() {
                // A shard that panicked has said so; the others still end in order.
                drop(thread.join());
            }
        }
    }

    fn poll_shards(&mut self) -> Option<(ShardId, Event)> {
        for _ in 0..self.shards.len() {
            let at = self.next;
            self.next = (self.next + 1) % self.shards.len();
            if let Ok(event) = self.shards[at].events.pop() {
                return Some((ShardId(at as u16), event));
            }
        }
        None
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for shard in 0..self.shards.len() {
            // A full mailbox belongs to a thread that is ending already.
            drop(self.send(ShardId(shard as u16), Command::Stop));
        }
        for shard in &mut self.shards {
            if let Some(thread) = shard.thread.take() {
                drop(thread.join());
            }
        }
    }
}

fn region_config(config: &Config) -> RegionConfig {
    let per_shard = config.page_bytes / config.shards.len() as u64;
    let small = per_shard / SMALL_SHARE;
    let pages = |bytes: u64, class: PageClass| {
        u32::try_from(bytes / u64::from(class.bytes())).unwrap_or(u32::MAX)
    };
    RegionConfig {
        shards: config.shards.len() as u16,
        large_pages_per_shard: pages(per_shard - small, PageClass::Large),
        small_pages_per_shard: pages(small, PageClass::Small),
        poison: config.poison,
    }
}

#[expect(clippy::disallowed_methods, reason = "the origin of all clocks that peers are shown")]
fn origin() -> Instant {
    Instant::now()
}

/// Listening sockets of one shard.
type Bound = Vec<(ListenerConfig, OwnedFd)>;

/// Opens every listener once for each of its shards; a port of 0 is chosen once.
fn bind_all(listeners: &mut [ListenerConfig], shards: usize) -> Result<Vec<Bound>, Error> {
    let mut per_shard: Vec<Bound> = (0..shards).map(|_| Vec::new()).collect();
    for listener in listeners {
        let failed = |error: Error| match error {
            Error::Io { op, errno } => Error::Listen { addr: listener.addr, op, errno },
            other => other,
        };
        // A first socket without SO_REUSEPORT finds out whether another process listens there,
        // which sharing the port would hide.
        if listener.kind.is_datagram() {
            *listener = bind_ports(listener, &mut per_shard).map_err(failed)?;
            continue;
        }
        let alone = ListenOptions { reuse_port: false, ..ListenOptions::default() };
        let addr = Listener::bind(listener.addr, &alone).and_then(|l| l.local_addr());
        let addr = addr.map_err(failed)?;
        let bound = ListenerConfig { addr, ..*listener };
        for (shard, sockets) in (0..).map(ShardId).zip(&mut per_shard) {
            if listener.shards.contains(shard) {
                let socket = Listener::bind(addr, &ListenOptions::default()).map_err(failed)?;
                sockets.push((bound, socket.into_fd()));
            }
        }
        *listener = bound;
    }
    Ok(per_shard)
}

/// The least that any socket of datagrams has.
fn least_buffers(per_shard: &[Bound]) -> Result<Option<UdpBuffers>, Error> {
    let all = per_shard.iter().flatten().filter(|(config, _)| config.kind.is_datagram());
    let each = all.map(|(_, fd)| reactor::udp_buffers(fd.as_fd()));
    let each = each.collect::<Result<Vec<_>, _>>()?;
    Ok(each.into_iter().reduce(UdpBuffers::least))
}

/// Opens a listener of datagrams once for each shard, whichever accept there: the kernel tells the
/// sockets apart by the order in which they were bound.
fn bind_ports(listener: &ListenerConfig, per_shard: &mut [Bound]) -> Result<ListenerConfig, Error> {
    let alone = UdpOptions { reuse_port: false, ..UdpOptions::default() };
    let first = reactor::udp_socket(&listener.addr, &alone)?;
    let addr = reactor::local_addr(first.as_fd())?;
    drop(first);
    let bound = ListenerConfig { addr, ..*listener };
    let options = UdpOptions {
        send_buffer_bytes: Some(PORT_SEND_BYTES),
        recv_buffer_bytes: Some(PORT_RECEIVE_BYTES),
        ..UdpOptions::default()
    };
    let sockets = u16::try_from(per_shard.len()).unwrap_or(u16::MAX);
    let mut last = None;
    for shard in per_shard {
        let fd = reactor::udp_socket(&addr, &options)?;
        shard.push((bound, fd));
        last = shard.last();
    }
    if let Some((_, fd)) = last {
        reactor::steer_group(fd.as_fd(), sockets)?;
    }
    Ok(bound)
}

/// Runs a shard to its end.
///
/// A panic outside a session's fence leaves the shard's memory in an unknown state, and the other
/// shards waiting for an epoch that never comes: the process ends, and whoever watches it starts it
/// again.
fn run(shard: Shard) {
    let id = shard.id();
    if catch_unwind(AssertUnwindSafe(|| shard.run())).is_err() {
        tracing::error!(shard = %id, "a shard panicked, the process ends");
        std::process::abort();
    }
}

fn spawn(
    parts: ShardParts,
    told: std::sync::mpsc::Sender<(ShardId, Started)>,
) -> Result<JoinHandle<()>, Error> {
    let id = parts.id;
    std::thread::Builder::new()
        .name(format!("shard-{id}"))
        .spawn(move || {
            if let Some(cpu) = parts.config.shards[id.index()].cpu
                && let Err(error) = reactor::pin_to_cpu(cpu)
            {
                tracing::warn!(shard = %id, cpu, %error, "not pinned");
            }
            match build(parts) {
                Ok((shard, kind, fallback)) => {
                    // Nobody listens any more if another shard failed to start.
                    drop(told.send((id, Ok((kind, fallback)))));
                    drop(told);
                    run(shard);
                }
                Err(error) => drop(told.send((id, Err(error)))),
            }
        })
        .map_err(|error| Error::Io { op: "thread", errno: error.raw_os_error().unwrap_or(0) })
}

#[expect(clippy::disallowed_methods, reason = "the origin of the shard's clock")]
fn build(parts: ShardParts) -> Result<(Shard, &'static str, Option<String>), Error> {
    let (reactor, fallback) = Reactor::new(&parts.config.reactor)?;
    let kind = reactor.kind().name();
    parts.shared.set_waker(parts.id, reactor.waker());
    let shard = Shard::new(parts, reactor, Instant::now())?;
    Ok((shard, kind, fallback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_buffers_of_any_port_are_told() {
        let listener = |kind| ListenerConfig::new(kind, "127.0.0.1:0".parse().unwrap());
        let bytes = |kind| {
            let sockets = bind_all(&mut [listener(kind)], 2).unwrap();
            assert_eq!(sockets.len(), 2);
            least_buffers(&sockets).unwrap()
        };
        assert_eq!(bytes(ListenerKind::Rtmp), None);
        let got = bytes(ListenerKind::Srt).unwrap();
        let asked = UdpBuffers { send_bytes: PORT_SEND_BYTES, recv_bytes: PORT_RECEIVE_BYTES };
        assert_eq!(got.least(asked), got, "more than was asked for");
        assert!(got.send_bytes > 1_024 && got.recv_bytes > 1_024, "{got:?}");
    }
}
