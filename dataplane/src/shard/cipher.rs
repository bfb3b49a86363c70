//! TLS below everything else: what egress planned is encrypted for a socket that can take it, what
//! was received is decrypted before a session sees it.
//!
//! ```text
//!   planned parts (own bytes, a frame's header, ranges of the log)
//!      -> records, in the shard's arena -> one send -> what the socket left -> the connection
//! ```
//!
//! A cursor moves when its bytes are encrypted: a record that was begun must go out, whatever the
//! player does next. So a connection encrypts nothing while older ciphertext of it waits, and after
//! a send that the socket cut it goes on record by record until one fits.
//!
//! Limits: the arena has `ARENA_BYTES`, and a slice of sends ends when it is full. A connection
//! keeps what one send leaves: `SEND_PLAIN_MAX` and the overhead of its records, or one record once
//! its socket was full. Handshakes are counted by `tls_handshakes_max`, their bytes by
//! `tls_pending_bytes_max`, their time by the turn.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::connection::{Connection, InFlight, Sending};
use super::ingress::Source;
use super::plan::Outcome;
use super::queues::Class;
use super::shard::Shard;
use crate::config::{LimitId, ListenerKind};
use crate::error::Error;
use crate::reactor::{SendPart, Token};
use crate::session::tls::{Identity, PLAIN_BYTES_MAX, RECORD_ROOM, TlsFailure, TlsLink};

/// Ciphertext of one slice of sends.
const ARENA_BYTES: usize = 1 << 20;
/// Plain bytes of one send.
const SEND_PLAIN_MAX: usize = 64 << 10;
/// Room that a send is sure to find: one record more than it has plain bytes for, because parts
/// that are no whole record are gathered, and never more records than that.
const SEND_ROOM: usize = SEND_PLAIN_MAX + (SEND_PLAIN_MAX / PLAIN_BYTES_MAX + 2) * 512;
/// Bytes that the shard keeps for the plain text of one receive buffer.
const SCRATCH_KEPT_BYTES: usize = 256 << 10;

/// What a connection inside TLS has beside its session. Lives on: its shard. Crosses by: mailbox.
#[derive(Debug)]
pub(crate) struct Tls {
    pub link: TlsLink,
    /// Its handshake waits for its share of a turn.
    queued: bool,
    /// It counts among the shard's handshakes.
    counted: bool,
    /// The socket cut its last send.
    full: bool,
    /// Bytes of its buffers that the shard's gauge has in it.
    buffered: u32,
}

impl Tls {
    /// True while the handshake waits for its turn: nothing more is received before.
    pub(super) const fn is_queued(&self) -> bool {
        self.queued
    }

    /// Bytes of its buffers, which the shard's gauge gets now.
    pub(super) fn count_buffers(&mut self) -> u64 {
        self.buffered = u32::try_from(self.link.buffer_bytes()).unwrap_or(u32::MAX);
        self.buffered.into()
    }

    /// Bytes of its buffers, which the shard's gauge gets no more.
    pub(super) fn uncount_buffers(&mut self) -> u64 {
        std::mem::take(&mut self.buffered).into()
    }
}

/// A submitted send of ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ciphered {
    /// Where it lies in the arena; `None` if it is what the connection kept.
    at: Option<u32>,
    len: u32,
    /// What the plain bytes of it left to do.
    took: Took,
}

/// What follows once plain bytes of a connection are taken by the socket or the cipher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    /// More may be sent at once.
    pub more: bool,
    /// Replies went out that the session was held back for.
    pub hears: bool,
    /// The last byte of a segment went out.
    pub viewed: bool,
}

/// The buffers of a shard's TLS connections. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Cipher {
    /// Ciphertext of sends whose completions are not yet reaped; empty until it is needed.
    arena: Vec<u8>,
    used: usize,
    in_flight: usize,
    /// Parts that share a record.
    gathered: Vec<u8>,
    /// Records that are being decrypted, and what they decrypt to.
    scratch: Vec<u8>,
    plain: Vec<u8>,
    /// Connections whose handshake waits for its turn.
    queue: VecDeque<Token>,
    /// Connections that shake hands.
    handshakes: u64,
}

impl Cipher {
    /// True if another send might not fit before completions are reaped.
    pub(super) const fn is_full(&self) -> bool {
        self.in_flight > 0 && self.used + SEND_ROOM > ARENA_BYTES
    }

    /// Bytes that it holds.
    pub(super) const fn buffer_bytes(&self) -> usize {
        self.arena.capacity()
            + self.gathered.capacity()
            + self.scratch.capacity()
            + self.plain.capacity()
    }

    /// Encrypts the first bytes of `parts`, at most `max`: how many, and where their ciphertext is.
    ///
    /// # Safety
    /// The bytes of every part are valid and unchanged during the call.
    unsafe fn encrypt(
        &mut self,
        link: &mut TlsLink,
        parts: &[SendPart],
        max: usize,
    ) -> Result<(usize, u32, u32), Error> {
        if self.arena.is_empty() {
            self.arena = vec![0; ARENA_BYTES];
            self.gathered = Vec::with_capacity(PLAIN_BYTES_MAX);
        }
        if self.in_flight == 0 {
            self.used = 0;
        }
        let start = self.used;
        let Self { arena, gathered, .. } = self;
        let mut end = start;
        let mut record = |plain: &[u8]| {
            end += link.encrypt(plain, &mut arena[end..])?;
            Ok::<(), Error>(())
        };
        gathered.clear();
        let mut taken = 0;
        for part in parts {
            let len = (part.len as usize).min(max - taken);
            // SAFETY: the caller's promise.
            let mut rest = unsafe { std::slice::from_raw_parts(part.ptr, len) };
            taken += len;
            let last = taken == max || std::ptr::eq(part, &raw const parts[parts.len() - 1]);
            while !rest.is_empty() {
                // Whole records, and the rest of the last part, need no gathering.
                let whole =
                    if last { rest.len() } else { rest.len() - rest.len() % PLAIN_BYTES_MAX };
                if gathered.is_empty() && whole > 0 {
                    record(&rest[..whole])?;
                    rest = &rest[whole..];
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(PLAIN_BYTES_MAX - gathered.len()));
                // COPY(tls): parts that share a record.
                gathered.extend_from_slice(now);
                rest = later;
                if gathered.len() == PLAIN_BYTES_MAX {
                    record(gathered)?;
                    gathered.clear();
                }
            }
        }
        if !gathered.is_empty() {
            record(gathered)?;
        }
        self.used = end;
        let narrow = |n: usize| u32::try_from(n).expect("the arena has a megabyte");
        Ok((taken, narrow(start), narrow(end - start)))
    }

    /// The completion of a send from the arena is there, or will find nobody.
    fn release(&mut self, sent: &Ciphered) {
        if sent.at.is_some() {
            self.in_flight -= 1;
        }
    }
}

/// A fresh connection cannot be served inside TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoTls;

impl Shard {
    /// What a fresh connection of a listener of that kind needs to speak TLS, if it shall.
    pub(super) fn tls_of(&mut self, kind: ListenerKind) -> Result<Option<Box<Tls>>, NoTls> {
        let identity = self.config.tls.as_ref();
        let (config, challenge) = match kind {
            ListenerKind::Rtmp | ListenerKind::Http | ListenerKind::Srt => return Ok(None),
            ListenerKind::Rtmps => {
                (identity.map(Identity::rtmps), identity.and_then(Identity::challenge))
            }
            ListenerKind::Https => (identity.map(Identity::https), None),
        };
        let link = config.and_then(|config| TlsLink::new(config).ok()).ok_or(NoTls)?;
        self.tls_by(link.or_challenge(challenge)).map(Some).map_err(|_| NoTls)
    }

    /// What a connection needs that begins to shake hands by `link`.
    pub(super) fn tls_by(&mut self, link: TlsLink) -> Result<Box<Tls>, LimitId> {
        if self.cipher.handshakes >= self.config.limits.get(LimitId::TlsHandshakesMax) {
            self.counters.limit(LimitId::TlsHandshakesMax);
            return Err(LimitId::TlsHandshakesMax);
        }
        self.cipher.handshakes += 1;
        Ok(Box::new(Tls { link, queued: false, counted: true, full: false, buffered: 0 }))
    }

    /// Ciphertext was received.
    pub(super) fn received_ciphertext(&mut self, slot: u32, source: &Source<'_>) {
        let Self { connections, reactor, cipher, config, .. } = self;
        let token = connections.token(slot);
        let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) else {
            return;
        };
        if !tls.link.is_handshaking() {
            self.decrypt(slot, Some(source));
            self.count_tls_buffers(slot);
            return;
        }
        let max = config.limits.get(LimitId::TlsPendingBytesMax);
        if !tls.link.hold(source.bytes(reactor), usize::try_from(max).unwrap_or(usize::MAX)) {
            tls.link.give_up(TlsFailure::Limit);
            self.fail(slot, &Error::Limit(LimitId::TlsPendingBytesMax));
        } else if !tls.queued {
            tls.queued = true;
            cipher.queue.push_back(token);
        }
        self.count_tls_buffers(slot);
        self.account(slot);
    }

    /// True if handshakes wait for their turn.
    pub(super) fn has_handshakes(&self) -> bool {
        !self.cipher.queue.is_empty()
    }

    /// Advances the handshake that waits longest; false if there is none.
    pub(super) fn next_handshake(&mut self) -> bool {
        let Some(token) = self.cipher.queue.pop_front() else { return false };
        if self.connections.is_current(token) {
            let slot = token.slot;
            if let Some(tls) = self.connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) {
                tls.queued = false;
                self.decrypt(slot, None);
                self.count_tls_buffers(slot);
                self.arm(slot);
                self.rearm(slot);
            }
        }
        true
    }

    /// Decrypts what was received, beside what waited for it, and gives it to the session.
    fn decrypt(&mut self, slot: u32, source: Option<&Source<'_>>) {
        let Self { connections, reactor, cipher, config, .. } = self;
        let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) else {
            return;
        };
        let bytes = source.map_or(&[][..], |source| source.bytes(reactor));
        let Cipher { scratch, plain, .. } = cipher;
        let link = &mut tls.link;
        // Bytes of strangers meet a library here: a panic of its closes this connection only.
        let result = catch_unwind(AssertUnwindSafe(|| link.handle_bytes(bytes, scratch, plain)));
        let result = result.unwrap_or(Err(Error::Panicked));
        let pending = link.pending_bytes() as u64;
        let result = match result {
            Ok(()) if pending > config.limits.get(LimitId::TlsPendingBytesMax) => {
                link.give_up(TlsFailure::Limit);
                Err(Error::Limit(LimitId::TlsPendingBytesMax))
            }
            other => other,
        };
        self.note_handshake(slot);
        self.account(slot);
        if self.connections.get(slot).is_some_and(Connection::has_ciphertext) {
            self.enqueue(slot, Class::Reply);
        }
        self.take_plain(slot);
        if let Err(error) = result {
            self.fail(slot, &error);
            return;
        }
        let tls = self.connections.get(slot).and_then(|connection| connection.tls.as_deref());
        if tls.is_some_and(|tls| tls.link.peer_closed()) {
            self.peer_says_no_more(slot);
        }
    }

    /// Gives decrypted bytes to the session; the buffer stays with the shard.
    fn take_plain(&mut self, slot: u32) {
        let mut plain = std::mem::take(&mut self.cipher.plain);
        if !plain.is_empty() {
            plain = self.take_decrypted(slot, plain);
        }
        plain.clear();
        for buffer in [&mut plain, &mut self.cipher.scratch] {
            if buffer.capacity() > SCRATCH_KEPT_BYTES {
                *buffer = Vec::new();
            }
        }
        self.cipher.plain = plain;
    }

    /// Counts a handshake that was completed or failed.
    fn note_handshake(&mut self, slot: u32) {
        let Self { connections, cipher, counters, .. } = self;
        let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) else {
            return;
        };
        if tls.link.is_handshaking() || !tls.counted {
            return;
        }
        tls.counted = false;
        cipher.handshakes -= 1;
        if tls.link.failure().is_none() {
            counters.tls_handshakes += 1;
            counters.tls_handshakes_resumed += u64::from(tls.link.is_resumed());
            self.ask_server(slot);
        }
    }

    /// The connection is closed: it is counted no more, and its last send is nobody's.
    pub(super) fn leave_tls(&mut self, connection: &mut Connection) {
        if let Sending::Ciphered(sent) = connection.sending {
            self.cipher.release(&sent);
        }
        let Some(tls) = connection.tls.as_deref_mut() else { return };
        if tls.counted {
            self.cipher.handshakes -= 1;
        }
        if tls.link.is_handshaking() {
            let late = self.now >= connection.opened + self.config.session.connect_deadline;
            tls.link.give_up(if late { TlsFailure::Timeout } else { TlsFailure::Closed });
        }
        if let Some(failure) = tls.link.failure() {
            self.counters.tls_failure(failure);
        }
    }

    /// Sends the ciphertext that a connection kept; `None` if there is none and it may encrypt.
    pub(super) fn send_kept(&mut self, slot: u32) -> Option<Outcome> {
        let Self { connections, reactor, counters, .. } = self;
        let token = connections.token(slot);
        let connection = connections.get_mut(slot)?;
        let link = &connection.tls.as_deref()?.link;
        let waiting = link.waiting();
        if waiting.is_empty() {
            if link.is_writable() {
                return None;
            }
            // Nothing can be said any more, or not yet: a handshake that ends ends without words.
            connection.out = super::connection::Outbox::default();
            let over = connection.closing.as_ref().is_some_and(|closing| !closing.lingering);
            return Some(if over { Outcome::Farewell } else { Outcome::Idle });
        }
        let part = SendPart::new(waiting);
        let took = Took { more: true, hears: true, viewed: false };
        connection.sending = Sending::Ciphered(Ciphered { at: None, len: part.len, took });
        counters.sends += 1;
        // SAFETY: what the connection kept does not change before the submit: nothing is received
        // and no handshake advanced between here and there.
        unsafe { reactor.send(connection.stream_fd(), token, &[part]) };
        Some(Outcome::Sent(part.len as usize))
    }

    /// Encrypts what was planned for a connection, as much as it may have ahead, and sends that.
    ///
    /// # Safety
    /// The bytes of every part are valid and unchanged until the next submit.
    pub(super) unsafe fn send_encrypted(
        &mut self,
        slot: u32,
        flight: InFlight,
        parts: &[SendPart],
    ) -> Outcome {
        let Self { connections, cipher, counters, budget, .. } = self;
        let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) else {
            return Outcome::Idle;
        };
        // What a full socket leaves is kept: one record at most when room for that is scarce.
        let sparing = tls.full || budget.is_tight();
        let max = if sparing { PLAIN_BYTES_MAX } else { SEND_PLAIN_MAX };
        // SAFETY: the caller's promise.
        let encrypted = unsafe { cipher.encrypt(&mut tls.link, parts, max) };
        let (plain, at, len) = match encrypted {
            Ok(encrypted) => encrypted,
            Err(error) => return Outcome::Broken(error),
        };
        cipher.in_flight += 1;
        counters.tls_bytes_encrypted += plain as u64;
        let took = self.took(slot, &flight, plain);
        let Self { connections, cipher, reactor, counters, .. } = self;
        let token = connections.token(slot);
        let Some(connection) = connections.get_mut(slot) else { return Outcome::Idle };
        connection.sending = Sending::Ciphered(Ciphered { at: Some(at), len, took });
        counters.sends += 1;
        let part = SendPart::new(&cipher.arena[at as usize..(at + len) as usize]);
        // SAFETY: this part of the arena is written again only after the completion was reaped.
        unsafe { reactor.send(connection.stream_fd(), token, &[part]) };
        Outcome::Sent(plain)
    }

    /// The kernel took `bytes` of ciphertext.
    pub(super) fn ciphertext_sent(&mut self, slot: u32, sent: Ciphered, bytes: usize) {
        let Self { connections, cipher, .. } = self;
        cipher.release(&sent);
        let Some(tls) = connections.get_mut(slot).and_then(|c| c.tls.as_deref_mut()) else {
            return;
        };
        match sent.at {
            None => tls.link.sent(bytes),
            Some(at) => {
                let (at, len) = (at as usize, sent.len as usize);
                tls.link.keep(&cipher.arena[at + bytes..at + len]);
            }
        }
        let cut = bytes < sent.len as usize;
        tls.full = cut;
        self.count_tls_buffers(slot);
        if sent.at.is_none() || cut {
            self.account(slot);
        }
        // The log may have moved on since the plain bytes were taken.
        let now = self.took(slot, &InFlight::NOTHING, 0);
        let took = Took { more: sent.took.more || now.more, ..sent.took };
        self.go_on(slot, took, cut);
    }
}

const _: () = assert!(SEND_ROOM >= SEND_PLAIN_MAX + RECORD_ROOM - PLAIN_BYTES_MAX);
