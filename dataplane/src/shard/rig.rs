//! Two shards of a node that take their turns when they are told to, by a clock that goes on only
//! when it is looked at: what one turn does can be counted.
//!
//! Shard 0 accepts players, shard 1 can be given the streams. Peers are plain sockets on loopback.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]

use std::cell::Cell;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::{self, MailboxLimits};
use super::placement::Placement;
use super::{ControlLink, Shard, ShardParts, Shared, readers_max, views_max};
use crate::config::{
    Admission, AuthConfig, Config, DemoConfig, EgressConfig, Limits, ListenerConfig, ListenerKind,
    Pin, SessionConfig, ShardConfig, SrtConfig, SrtSecret, StreamConfig,
};
use crate::control::{CloseReason, Command, Event, Grant, Verdict};
use crate::ids::{ShardId, StreamName};
use crate::metrics::ShardCounters;
use crate::reactor::{
    BackendChoice, ListenOptions, Listener, Reactor, ReactorConfig, UdpOptions, local_addr,
    udp_socket,
};
use crate::session::view_token::ViewKeys;
use crate::slab::{Region, RegionConfig};

/// Letters, answers, commands and events that wait at most.
const MAILBOX_MAX: usize = 4_096;
/// Turns that a case takes at most until what it waits for.
const TURNS_MAX: usize = 10_000;

thread_local! {
    /// The moment, and by how much each look at it goes on.
    static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// Looks at the clock of the case; `None` if it has none.
pub(super) fn look() -> Option<Instant> {
    let (now, step) = CLOCK.get()?;
    CLOCK.set(Some((now + step, step)));
    Some(now)
}

/// Lets the clock of the case go on by so much with every look.
pub(super) fn each_look_takes(step: Duration) {
    CLOCK.set(CLOCK.get().map(|(now, _)| (now, step)));
}

/// The shards, and the control plane's ends of their mailboxes.
pub(super) struct Rig {
    pub shards: Vec<Shard>,
    commands: Vec<rtrb::Producer<Command>>,
    events: Vec<rtrb::Consumer<Event>>,
    /// Where shard 0 hears its peers.
    pub addr: SocketAddr,
    peers: Vec<TcpStream>,
    judged: u64,
}

/// A node of two shards without a stream, all of whose streams live on shard `home`.
pub(super) fn config(home: u16) -> Config {
    let listener = ListenerConfig::new(ListenerKind::Http, "127.0.0.1:0".parse().unwrap());
    Config {
        shards: vec![ShardConfig { cpu: None }; 2],
        pins: vec![Pin { pattern: "*".into(), shard: ShardId(home) }],
        reactor: ReactorConfig {
            choice: BackendChoice::Epoll,
            sq_entries: 256,
            recv_buffers: 64,
            recv_buffer_bytes: 4096,
            datagram_buffers: 0,
        },
        listeners: vec![ListenerConfig { shards: [ShardId(0)].into_iter().collect(), ..listener }],
        tls: None,
        limits: Limits::default(),
        egress: EgressConfig { admission: Admission::Off, ..EgressConfig::default() },
        stream: StreamConfig::default(),
        view_keys: ViewKeys { current: [1; 32], before: Vec::new() },
        session: SessionConfig::default(),
        auth: AuthConfig::default(),
        srt: SrtConfig::new(SrtSecret([1; 32])),
        page_bytes: 32 << 20,
        poison: true,
        demo: Some(DemoConfig {
            name: StreamName::parse("demo").unwrap(),
            flv: include_bytes!("../../assets/demo.flv"),
        }),
    }
}

impl Rig {
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        CLOCK.set(Some((now, Duration::ZERO)));
        let count = config.shards.len();
        let placement = Placement::new(count as u16, config.pins.clone());
        let (readers, views) = (readers_max(config), views_max(config));
        let shared = Arc::new(Shared::new(count, readers, views, placement, Arc::default(), now));
        let region = RegionConfig {
            shards: count as u16,
            large_pages_per_shard: 128,
            small_pages_per_shard: 512,
            poison: config.poison,
        };
        let (_, pools) = Region::map(&region).unwrap();
        let limits = MailboxLimits { letters_max: MAILBOX_MAX, answers_max: MAILBOX_MAX };
        let mesh = mailbox::mesh(count as u16, limits);
        let listener = config.listeners[0];
        let socket = match listener.kind {
            ListenerKind::Srt => udp_socket(&listener.addr, &UdpOptions::default()).unwrap(),
            _ => Listener::bind(listener.addr, &ListenOptions::default()).unwrap().into_fd(),
        };
        let addr = local_addr(socket.as_fd()).unwrap();
        let mut listeners = vec![(listener, socket)];
        let (shards, commands, events) = (Vec::new(), Vec::new(), Vec::new());
        let mut rig = Self { shards, commands, events, addr, peers: Vec::new(), judged: 0 };
        for (id, (pool, (outboxes, inboxes))) in (0..).map(ShardId).zip(pools.into_iter().zip(mesh))
        {
            let (reactor, _) = Reactor::new(&config.reactor).unwrap();
            let (commands, to_shard) = rtrb::RingBuffer::new(MAILBOX_MAX);
            let (from_shard, events) = rtrb::RingBuffer::new(MAILBOX_MAX);
            let waker = reactor.waker();
            shared.set_waker(id, reactor.waker());
            let control = ControlLink { commands: to_shard, events: from_shard, waker };
            let (config, shared) = (config.clone(), Arc::clone(&shared));
            let listeners = std::mem::take(&mut listeners);
            let parts =
                ShardParts { id, config, shared, pool, outboxes, inboxes, control, listeners };
            rig.shards.push(Shard::new(parts, reactor, now).unwrap());
            rig.commands.push(commands);
            rig.events.push(events);
        }
        rig
    }

    /// What shard 0 counted.
    pub(super) fn counters(&self) -> &ShardCounters {
        &self.shards[0].counters
    }

    /// Questions that were answered; the shard hears the last answers in its next turn.
    pub(super) const fn judged(&self) -> u64 {
        self.judged
    }

    /// Those on shard 0 whose question a home shard has.
    pub(super) fn asked(&self) -> u64 {
        let connections = self.shards[0].connections.iter();
        let asked = connections.filter_map(|connection| connection.asked.as_ref());
        asked.filter(|asked| asked.allowed).count() as u64
    }

    /// One turn of a shard; its questions are answered with leave to do what was asked.
    pub(super) fn turn(&mut self, shard: usize) {
        let turning = &mut self.shards[shard];
        turning.now = look().unwrap();
        turning.take_turn();
        while let Ok(event) = self.events[shard].pop() {
            if let Event::Authorize { ticket, request } = event {
                let verdict = Verdict::Allow(Grant::to(request.stream));
                self.judged += 1;
                self.commands[shard].push(Command::Verdict { ticket, verdict }).unwrap();
            }
        }
    }

    /// Turns of these shards, one after the other, until `is` holds.
    pub(super) fn turn_until(&mut self, shards: &[usize], is: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if is(self) {
                return;
            }
            shards.iter().for_each(|&shard| self.turn(shard));
        }
        panic!("it never came to that: {:#?}", self.counters());
    }

    /// The clock goes on by so much at once.
    pub(super) fn pass(&self, time: Duration) {
        CLOCK.set(CLOCK.get().map(|(now, step)| (now + time, step)));
    }

    /// So many players ask for `path`.
    pub(super) fn ask(&mut self, players: usize, path: &str) {
        for _ in 0..players {
            let mut peer = TcpStream::connect(self.addr).unwrap();
            peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            self.peers.push(peer);
        }
    }

    /// The demo begins on its home.
    pub(super) fn begin_stream(&mut self, home: usize) {
        self.shards[home].start_demo();
    }

    /// The demo ends.
    pub(super) fn end_stream(&mut self, home: usize) {
        let shard = &mut self.shards[home];
        let hub = shard.streams.find(&StreamName::parse("demo").unwrap()).unwrap();
        shard.end_stream(hub, CloseReason::StreamEnded);
    }

    /// The most that a turn of shard 0 added to what `count` counts, until it reaches `all`.
    pub(super) fn most_in_a_turn(&mut self, all: u64, count: impl Fn(&Shard) -> u64) -> u64 {
        let mut most = 0;
        for _ in 0..TURNS_MAX {
            let before = count(&self.shards[0]);
            if before >= all {
                return most;
            }
            self.turn(0);
            most = most.max(count(&self.shards[0]) - before);
        }
        panic!("not all of {all} had their turn: {:#?}", self.counters());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shards.iter_mut().for_each(Shard::shutdown);
    }
}
