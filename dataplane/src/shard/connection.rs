//! One peer's connection: its socket, its session, and what waits to be sent.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::accept::LISTENER_SLOTS;
use super::asked::Asked;
use super::caps::Admission;
use super::cipher::{Ciphered, Tls};
use super::cursor::{Cursor, Filter, Jumps};
use super::fetch::Serving;
use super::frame::Frame;
use super::opening::Opening;
use super::peer::PeerAddr;
use super::prefetch::{self, CONNECTION_AHEAD, PLAYING_AHEAD};
use super::proxied::Proxy;
use super::timer::TimerId;
use crate::config::{Latency, ListenerNumber};
use crate::control::{CloseReason, Intent};
use crate::ids::SessionId;
use crate::reactor::Token;
use crate::session::{PlayOptions, Session};

/// Bytes that an idle connection keeps for its next reply.
const OUTBOX_KEPT_BYTES: usize = 64;

/// Connections of one shard, in slots with generations; the lowest slots are the listeners'.
#[derive(Debug)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
    /// Who is at the other end of those that are others': most are nobody else's, and a field of
    /// every connection would cost each player memory.
    proxies: HashMap<u32, Proxy>,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u16,
    connection: Option<Box<Connection>>,
}

/// One connection. Lives on: its shard. Crosses by: mailbox, when a publisher goes home.
#[derive(Debug)]
pub(crate) struct Connection {
    pub id: SessionId,
    /// Its own socket; `None` if it shares one of its shard's ([`super::ports`]).
    pub fd: Option<OwnedFd>,
    pub peer: PeerAddr,
    pub session: Session,
    /// What encrypts and decrypts, for a peer inside TLS.
    pub tls: Option<Box<Tls>>,
    pub admission: Admission,
    /// The class of its listener.
    pub latency: Latency,
    /// The listener that it came by.
    pub listener: ListenerNumber,
    pub opened: Instant,
    /// When the peer last accepted a byte, in milliseconds since it opened: an instant would cost
    /// every idle connection another allocation class.
    pub progressed_ms: u32,
    /// When what it was allowed ends, in seconds since it opened; 0 if it does not.
    pub leave_ends_s: u32,
    /// Bytes received since it was accepted, or since it began to publish or play.
    pub received: u64,
    /// Bytes sent since then.
    pub sent: u64,
    pub receiving: Receiving,
    pub sending: Sending,
    /// The egress queues that it waits in.
    pub lines: Lines,
    /// The peer ended its direction, but answers are owed to it.
    pub half_closed: bool,
    /// It was served playlists of HLS, and counts as a player until it is closed.
    pub viewer: bool,
    /// Bytes that came while the session could not take them.
    pub parked: Vec<u8>,
    pub out: Outbox,
    /// Bytes of its buffers that the shard counts.
    pub buffered: u32,
    pub asked: Option<Box<Asked>>,
    /// Number of the last question.
    pub ask_epoch: u32,
    pub role: Option<Establish>,
    pub closing: Option<Box<Closing>>,
    pub timer: Option<TimerId>,
}

/// Whether a connection waits in the egress queue of joins, and in one of the others, and whether
/// its turn came while it was being sent something: bits of one byte, because every byte of a
/// connection is paid for by each player.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines(u8);

impl Lines {
    const OTHERS: u8 = 1;
    const JOINS: u8 = 2;
    const MISSED: u8 = 4;

    /// It waits in one of the queues but that of joins, or is to be put into none.
    pub(super) const fn is_queued(self) -> bool {
        self.0 & Self::OTHERS != 0
    }

    pub(super) const fn set_queued(&mut self, queued: bool) {
        self.0 = (self.0 & !Self::OTHERS) | if queued { Self::OTHERS } else { 0 };
    }

    /// Its turn came while it was being sent something: it has another one afterwards.
    pub(super) const fn miss(&mut self) {
        self.0 |= Self::MISSED;
    }

    /// True if a turn was missed, which is made up for now.
    pub(super) const fn take_missed(&mut self) -> bool {
        let missed = self.0 & Self::MISSED != 0;
        self.0 &= !Self::MISSED;
        missed
    }

    pub(super) const fn joins(self) -> bool {
        self.0 & Self::JOINS != 0
    }

    pub(super) const fn set_joins(&mut self, joins: bool) {
        self.0 = (self.0 & !Self::JOINS) | if joins { Self::JOINS } else { 0 };
    }
}

/// What a connection begins with.
#[derive(Debug)]
pub(super) struct Arrival {
    pub id: SessionId,
    pub fd: Option<OwnedFd>,
    pub peer: SocketAddr,
    pub session: Session,
    pub tls: Option<Box<Tls>>,
    pub admission: Admission,
    pub latency: Latency,
    pub listener: ListenerNumber,
    pub opened: Instant,
}

/// What the connection does with media.
#[derive(Debug)]
pub(crate) enum Establish {
    /// It feeds the hub in this slot, and began to so many milliseconds after it was accepted.
    Publish { hub: u32, began_ms: u32 },
    /// It reads; in a box, because idle connections need no room for it.
    Play(Box<Playing>),
    /// It is sent a segment.
    View(Serving),
}

/// A player. The hot part of a connection.
#[derive(Debug)]
pub(crate) struct Playing {
    /// The reader that it belongs to on this shard.
    pub reader: u32,
    pub options: PlayOptions,
    /// Every frame at once, as its address says or else its listener.
    pub low_latency: bool,
    /// The node plays to itself: nobody is told of it.
    pub unlisted: bool,
    /// Where it reads; `None` while it waits for a join point.
    pub cursor: Option<Cursor>,
    /// A join point before this does not count.
    pub not_before: u64,
    pub filter: Filter,
    /// The WebSocket frame in hand, for a player of those.
    pub frame: Option<Box<Frame>>,
    pub paused: bool,
    /// It was paused: at the next boundary it goes on at the newest join point, if that is ahead.
    pub resumed: bool,
    /// The configuration that it was last greeted with.
    pub told: Option<u32>,
    /// It found no join point yet, and was counted.
    pub waiting: bool,
    /// Its stream ended, or it was told to end: why.
    pub over: Option<CloseReason>,
    /// The play is over; the entry in hand is finished before other bytes.
    pub leaving: bool,
    pub jumps: Jumps,
    /// What it asked, if it may wait for its stream, or plays by the publisher's key.
    pub again: Option<Box<Asked>>,
    pub accepted: Moment,
    pub opening: Opening,
}

/// A moment in the life of a connection, in half of the bytes of an instant: whole milliseconds
/// since it was opened, and the microseconds beyond them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    ms: u32,
    us: u16,
}

impl Moment {
    /// `now`, up to 49 days after the connection was `opened`.
    pub(super) fn of(now: Instant, opened: Instant) -> Self {
        let passed = now.saturating_duration_since(opened);
        let us = u16::try_from(passed.subsec_micros() % 1_000).expect("below a thousand");
        Self { ms: u32::try_from(passed.as_millis()).unwrap_or(u32::MAX), us }
    }

    /// When that was.
    pub(super) fn at(self, opened: Instant) -> Instant {
        opened + Duration::from_millis(self.ms.into()) + Duration::from_micros(self.us.into())
    }
}

/// How far receiving is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// Nothing is armed.
    Off,
    /// One receive is armed, then it is off: so a session that parks holds at most one buffer.
    Once,
    /// Receives go on until they are stopped.
    Multi,
    /// They are being stopped.
    Stopping,
}

/// How far sending is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// Nothing is in the kernel's hands.
    Idle,
    /// A send was submitted in this turn.
    InFlight(InFlight),
    /// Ciphertext was submitted in this turn; the plain bytes of it count as sent.
    Ciphered(Ciphered),
    /// The socket was full; writability is awaited.
    Blocked,
}

/// A submitted send: so many bytes of our own, of a frame's header, and of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub own: u32,
    pub head: u8,
    pub from: u64,
    pub len: u32,
    /// The log's bytes end where an entry does.
    pub boundary: bool,
    /// More was published than one send takes.
    pub cut: bool,
}

impl InFlight {
    /// No byte of anything.
    pub(super) const NOTHING: Self =
        Self { own: 0, head: 0, from: 0, len: 0, boundary: true, cut: false };
}

/// Bytes for this peer alone: replies, preambles.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub bytes: Vec<u8>,
    pub at: usize,
}

/// The way out.
#[derive(Debug)]
pub(crate) struct Closing {
    pub reason: &'static str,
    /// The last words are out and the peer was told that nothing follows; its own end is awaited so
    /// that unread bytes of its do not reset the connection before it has read them.
    pub lingering: bool,
    pub deadline: Instant,
}

impl Playing {
    /// True if the play is over and no entry of it is unfinished.
    pub(super) fn has_left(&self) -> bool {
        self.leaving && self.cursor.is_none_or(|cursor| cursor.at_boundary)
    }
}

impl Outbox {
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// `n` bytes are in the kernel. Memory goes back when all are, but for what an acknowledgement
    /// or a ping needs: those come again and again.
    pub(super) fn sent(&mut self, n: usize) {
        self.at += n;
        if !self.is_empty() {
            return;
        }
        if self.bytes.capacity() > OUTBOX_KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.at = 0;
    }
}

impl Connection {
    /// A connection that neither received nor sent anything.
    pub(super) fn new(arrival: Arrival) -> Self {
        let Arrival { id, fd, peer, session, tls, admission, latency, listener, opened } = arrival;
        Self {
            id,
            fd,
            peer: peer.into(),
            session,
            tls,
            admission,
            latency,
            listener,
            opened,
            progressed_ms: 0,
            leave_ends_s: 0,
            received: 0,
            sent: 0,
            receiving: Receiving::Off,
            sending: Sending::Idle,
            lines: Lines::default(),
            half_closed: false,
            viewer: false,
            parked: Vec::new(),
            out: Outbox::default(),
            buffered: 0,
            asked: None,
            ask_epoch: 0,
            role: None,
            closing: None,
            timer: None,
        }
    }

    /// The session's span, with the fields that every line about it has.
    ///
    /// It is made when a line is logged: a registered span for each of thousands of players would
    /// cost more memory than the player.
    pub(super) fn span(&self) -> tracing::Span {
        let proto = self.session.protocol().name();
        let shard = self.id.accepted_by();
        let (session, peer) = (self.id, SocketAddr::from(self.peer));
        match self.session.stream() {
            Some(stream) => tracing::info_span!("session", %shard, %session, proto, %peer, %stream),
            None => tracing::info_span!("session", %shard, %session, proto, %peer),
        }
    }

    /// Its own socket, of one that is known to send and receive bytes.
    pub(super) fn stream_fd(&self) -> BorrowedFd<'_> {
        self.fd().expect("who is sent bytes has a socket of its own")
    }

    /// Its own socket, if it has one.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn playing(&self) -> Option<&Playing> {
        match &self.role {
            Some(Establish::Play(playing)) => Some(playing),
            _ => None,
        }
    }

    pub(super) fn playing_mut(&mut self) -> Option<&mut Playing> {
        match &mut self.role {
            Some(Establish::Play(playing)) => Some(playing),
            _ => None,
        }
    }

    pub(super) fn publishing(&self) -> Option<u32> {
        match self.role {
            Some(Establish::Publish { hub, .. }) => Some(hub),
            _ => None,
        }
    }

    /// The peer accepted a byte.
    pub(super) fn progress(&mut self, now: Instant) {
        self.progressed_ms = self.millis_since_opened(now);
    }

    /// When the peer last accepted a byte.
    pub(super) fn progressed(&self) -> Instant {
        self.opened + Duration::from_millis(self.progressed_ms.into())
    }

    /// True while a send is in the kernel's hands.
    pub(super) const fn is_sending(&self) -> bool {
        matches!(self.sending, Sending::InFlight(_) | Sending::Ciphered(_))
    }

    /// True if ciphertext waits to be sent before anything else.
    pub(super) fn has_ciphertext(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.link.waiting().is_empty())
    }

    /// True if something is still to be said to a peer that only waits for answers.
    pub(super) fn owes(&self) -> bool {
        let views = matches!(self.role, Some(Establish::View(_)));
        // Who waits for a stream that may never come is gone when it says no more.
        let asks = self.asked.as_ref().is_some_and(|asked| !asked.idle);
        let waits = views || asks || !self.parked.is_empty();
        let waits = waits || self.has_ciphertext();
        let serves = matches!(self.session, Session::Http(_)) && self.playing().is_none();
        serves && (waits || !self.out.is_empty() || self.sending != Sending::Idle)
    }

    /// True if it is a publisher that was allowed, whose receives have ended for its move, and
    /// whose last play is over.
    pub(super) fn leaves_for_home(&self) -> bool {
        let asks = |asked: &Asked| asked.allowed && asked.intent == Intent::Publish;
        let idle = self.receiving == Receiving::Off && self.role.is_none();
        idle && self.asked.as_deref().is_some_and(asks)
    }
}

impl Default for Connections {
    fn default() -> Self {
        let slots = (0..LISTENER_SLOTS).map(|_| Slot::default()).collect();
        Self { slots, free: Vec::new(), len: 0, proxies: HashMap::new() }
    }
}

impl Connections {
    /// Puts a connection in a free slot.
    pub(super) fn insert(&mut self, connection: Box<Connection>) -> u32 {
        self.len += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("connections_max is under 32 bits")
        });
        self.slots[slot as usize].connection = Some(connection);
        slot
    }

    /// Frees a slot; completions of its old generation then find nobody.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Connection>> {
        let held = self.slots.get_mut(slot as usize)?;
        let connection = held.connection.take()?;
        held.generation = held.generation.wrapping_add(1);
        self.free.push(slot);
        self.len -= 1;
        self.proxies.remove(&slot);
        Some(connection)
    }

    /// Who is at the other end of a connection, if that one speaks for others.
    pub(super) fn proxy(&self, slot: u32) -> Option<&Proxy> {
        self.proxies.get(&slot)
    }

    /// Keeps who is at the other end.
    pub(super) fn set_proxy(&mut self, slot: u32, proxy: Option<Proxy>) {
        match proxy {
            Some(proxy) => self.proxies.insert(slot, proxy),
            None => self.proxies.remove(&slot),
        };
    }

    /// True while a balancer's head is awaited.
    pub(super) fn awaits_head(&self, slot: u32) -> bool {
        self.proxy(slot).is_some_and(Proxy::begins)
    }

    /// Lifts the connection out while its session is called; [`Self::put`] lays it back.
    pub(super) fn take(&mut self, slot: u32) -> Option<Box<Connection>> {
        self.slots.get_mut(slot as usize)?.connection.take()
    }

    pub(super) fn put(&mut self, slot: u32, connection: Box<Connection>) {
        self.slots[slot as usize].connection = Some(connection);
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.get(slot).is_some()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize)?.connection.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_deref_mut()
    }

    /// The next ones of `slots`, which are looked at in turn and of which number `at` is in hand.
    pub(super) fn foresee_walk(&self, slots: &[u32], at: usize) {
        if let Some(&soon) = slots.get(at + CONNECTION_AHEAD) {
            self.foresee(soon);
        }
        if let Some(&next) = slots.get(at + PLAYING_AHEAD) {
            self.foresee_playing(next);
        }
    }

    /// The connection in `slot` is looked at soon.
    pub(super) fn foresee(&self, slot: u32) {
        if let Some(connection) = self.get(slot) {
            prefetch::fetch(connection);
        }
    }

    /// What the player in `slot` is about is looked at soon, and its connection was foreseen.
    pub(super) fn foresee_playing(&self, slot: u32) {
        if let Some(playing) = self.get(slot).and_then(Connection::playing) {
            prefetch::fetch(playing);
        }
    }

    /// The token of the connection in `slot`.
    pub(super) fn token(&self, slot: u32) -> Token {
        Token { slot, generation: self.slots[slot as usize].generation }
    }

    /// True if `token` still means the connection in its slot.
    pub(super) fn is_current(&self, token: Token) -> bool {
        self.slots
            .get(token.slot as usize)
            .is_some_and(|s| s.connection.is_some() && s.generation == token.generation)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Slots with a connection or without.
    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Slots with a connection.
    pub(super) fn slots(&self) -> Vec<u32> {
        (0..self.slots.len())
            .filter(|&i| self.slots[i].connection.is_some())
            .filter_map(|i| u32::try_from(i).ok())
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().filter_map(|slot| slot.connection.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{http, rtmp};

    /// What sending to a player looks at.
    const HOT_BYTES_MAX: usize = 384;
    const _: () = assert!(size_of::<Connection>() + size_of::<Playing>() <= HOT_BYTES_MAX);
    /// A connection that waits for its next request, and its session.
    const IDLE_BYTES_MAX: usize = 416;
    /// A session, which sleeps while its peer plays.
    const SESSION_BYTES_MAX: usize = 352;

    #[test]
    fn a_player_that_waits_takes_no_more_memory_than_one_that_plays() {
        let (waits, plays) = (size_of::<Asked>(), size_of::<Playing>());
        assert!(waits <= plays, "a question has {waits} bytes, a player {plays}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn a_moment_is_exact_to_a_microsecond() {
        let opened = Instant::now();
        for us in [0, 1, 999, 1_000, 61_000_001, u64::from(u32::MAX) * 1_000 + 999] {
            let now = opened + Duration::from_micros(us);
            assert_eq!(Moment::of(now, opened).at(opened), now);
        }
        // Longer than it can tell it stays at its end, and before the beginning there is nothing.
        let late = opened + Duration::from_secs(50 * 24 * 3_600);
        assert!(Moment::of(late, opened).at(opened) <= late);
        assert_eq!(Moment::of(opened, late), Moment::default());
    }

    #[test]
    fn a_player_takes_no_more_memory_than_is_planned() {
        let hot = size_of::<Connection>() + size_of::<Playing>();
        assert!(hot <= HOT_BYTES_MAX, "a connection and its player have {hot} bytes");
        let idle = size_of::<Connection>() + size_of::<http::Server>();
        assert!(idle <= IDLE_BYTES_MAX, "an idle connection and its session have {idle} bytes");
        let session = size_of::<rtmp::Server>();
        assert!(session <= SESSION_BYTES_MAX, "a session has {session} bytes");
    }
}
