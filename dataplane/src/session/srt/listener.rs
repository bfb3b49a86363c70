//! Who listens: handshakes of callers, until a connection stands.
//!
//! Spec: draft-sharabayko-srt 4.3.1.
//! Shape:
//!
//! ```text
//!   induction -> cookie, nothing kept
//!   conclusion with a good cookie -> Request, waiting --accept--> accepted (a Connection)
//!                                                     \-refuse--> refused
//!   the conclusion again -> waiting: to who judges it; accepted: to its connection;
//!                           refused: the same again
//! ```
//!
//! Limits: a table of calls, waiting or answered (`calls.rs`); before a good cookie nothing is
//! kept, and no answer is larger than what it answers.
//! Not here: how often anybody may call, and who waits for the derivation of its keys
//! ([`Request::keys`]), which takes about a millisecond.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codecs::srt::{
    ControlHeader, ControlType, HANDSHAKE_BYTES, HEADER_BYTES, HSV5_MAGIC, Handshake,
    HandshakeKind, Header, KeyState, RejectReason, SocketId, VERSION_4, VERSION_5, peer_addr,
};
use codecs::writer::Writer;

use super::calls::{Answer, Calls};
use super::connection::Connection;
use super::cookie::CookieJar;
use super::keyring::{KeySeed, Keyring};
use super::negotiation::{Agreement, Offer, Side, our_extension, our_handshake, timestamp};
use super::settings::Settings;
use super::transmit::Scratch;

/// The keys of a caller, if it encrypts, or why it is not let in.
pub type Keys = Result<Option<Keyring>, RejectReason>;

/// What became of a datagram to nobody in particular.
#[derive(Debug)]
pub enum Incoming {
    /// Nothing.
    Ignored,
    /// So many bytes are to be sent back.
    Reply(usize),
    /// A caller waits for [`Listener::accept`] or [`Listener::refuse`], or is given up
    /// ([`Listener::give_up`]).
    Call(Box<Request>),
    /// A caller that waits repeats itself; where it is judged, as [`Listener::judged_at`] was told.
    Waiting(Option<u32>),
    /// The datagram is for the connection with that socket, which answers it again.
    For(SocketId),
}

/// What a caller wants.
#[derive(Debug)]
pub struct Request {
    peer: SocketAddr,
    offer: Offer,
    heard: (Instant, u32),
}

impl Request {
    /// Who calls.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The stream id, as it was sent.
    #[must_use]
    pub fn stream_id(&self) -> Option<&[u8]> {
        self.offer.stream_id.as_deref()
    }

    /// The version of SRT that the caller speaks, as `0x00MMmmpp`.
    #[must_use]
    pub const fn peer_version(&self) -> u32 {
        self.offer.extension.version
    }

    /// True if the caller encrypts.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.offer.key_material.is_some()
    }

    /// True if [`Self::keys`] takes the time of a derivation.
    #[must_use]
    pub const fn has_secret(&self, settings: &Settings) -> bool {
        self.is_encrypted() && settings.passphrase.is_some()
    }

    /// Its keys, with our own secret and random bytes of this call alone.
    ///
    /// With a passphrase the caller must encrypt with the same, without one it must not encrypt.
    ///
    /// # Errors
    /// Why it is to be refused.
    pub fn keys(&self, settings: &Settings, seed: KeySeed) -> Keys {
        keys_of(settings, self.offer.key_material.as_deref(), seed)
    }

    /// When it came.
    #[must_use]
    pub const fn heard(&self) -> Instant {
        self.heard.0
    }

    /// The caller's address and socket.
    #[must_use]
    pub const fn caller(&self) -> (SocketAddr, SocketId) {
        (self.peer, self.offer.handshake.socket)
    }
}

/// The handshakes of one UDP socket.
#[derive(Debug)]
pub struct Listener {
    cookies: CookieJar,
    began: Instant,
    mtu: u32,
    flow_window: u32,
    calls: Calls,
}

impl Listener {
    /// A listener whose cookies nobody can guess who does not know `secret`. Shards that share a
    /// socket are given the same `secret` and `now`: one may give the cookie that another is shown.
    #[must_use]
    pub fn new(settings: &Settings, secret: [u8; 32], now: Instant) -> Self {
        Self {
            cookies: CookieJar::new(secret, now),
            began: now,
            mtu: settings.mtu,
            flow_window: settings.receive_window,
            calls: Calls::new(settings.waiting_max),
        }
    }

    /// Takes a datagram whose destination is [`SocketId::LISTENER`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        datagram: &[u8],
        out: &mut Scratch,
    ) -> Incoming {
        let Ok(Header::Control(header)) = Header::parse(datagram) else { return Incoming::Ignored };
        let body = datagram.get(HEADER_BYTES..).unwrap_or_default();
        if header.kind != ControlType::Handshake || header.destination != SocketId::LISTENER {
            return Incoming::Ignored;
        }
        let Ok((handshake, rest)) = Handshake::parse(body) else { return Incoming::Ignored };
        match handshake.kind {
            HandshakeKind::Induction => self.induct(now, peer, handshake, out),
            HandshakeKind::Conclusion if self.cookies.is_good(handshake.cookie, peer, now) => {
                self.conclude(now, peer, header.timestamp, (handshake, rest), out)
            }
            _ => Incoming::Ignored,
        }
    }

    fn induct(
        &self,
        now: Instant,
        peer: SocketAddr,
        handshake: Handshake,
        out: &mut Scratch,
    ) -> Incoming {
        let answer = Handshake {
            version: VERSION_5,
            encryption: 0,
            extension: HSV5_MAGIC,
            mtu: self.mtu,
            flow_window: self.flow_window,
            cookie: self.cookies.cookie(peer, now),
            ..handshake
        };
        Incoming::Reply(self.write(now, peer, answer, handshake.socket, out))
    }

    fn conclude(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        sent: u32,
        (handshake, rest): (Handshake, &[u8]),
        out: &mut Scratch,
    ) -> Incoming {
        let call = (peer, handshake.socket);
        match self.calls.get(&call) {
            Some(Answer::Waiting(at)) => return Incoming::Waiting(at),
            Some(Answer::Accepted(socket)) => return Incoming::For(socket),
            Some(Answer::Refused(reason)) => {
                return Incoming::Reply(self.write_refusal(now, peer, handshake, reason, out));
            }
            None => {}
        }
        let offer = match Offer::parse(handshake, rest, Side::Caller) {
            Ok(_) if !self.calls.has_room() => Err(RejectReason::BACKLOG),
            other => other,
        };
        match offer {
            Ok(offer) => {
                self.calls.remember(now, call, Answer::Waiting(None));
                Incoming::Call(Box::new(Request { peer, offer, heard: (now, sent) }))
            }
            Err(reason) => Incoming::Reply(self.write_refusal(now, peer, handshake, reason, out)),
        }
    }

    /// Lets a caller in with its [`Request::keys`]; its connection has `socket`, and answers it by
    /// itself.
    ///
    /// # Errors
    /// So many bytes, which refuse the caller, are to be sent back.
    pub fn accept(
        &mut self,
        now: Instant,
        request: &Request,
        settings: &Settings,
        (socket, keys): (SocketId, Keys),
        out: &mut Scratch,
    ) -> Result<Connection, (RejectReason, usize)> {
        let offer = &request.offer;
        // Each connection has a clock of its own, however long we listen.
        let agreed = Agreement::new(settings, offer, socket, request.heard, now);
        let agreed = agreed.and_then(|agreement| Ok(Agreement { keys: keys?, ..agreement }));
        let mut agreement = match agreed {
            Ok(agreement) => agreement,
            Err(reason) => return Err((reason, self.refuse(now, request, reason, out))),
        };
        let peer = request.peer.ip();
        let mut extension = our_extension(settings);
        let ms = |time: Duration| u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        extension.receiver_latency_ms = ms(agreement.receive_latency);
        extension.sender_latency_ms = ms(agreement.send_latency);
        let handshake = Handshake {
            mtu: agreement.mtu,
            cookie: offer.handshake.cookie,
            ..our_handshake(settings, socket, agreement.initial, peer)
        };
        // CONTROL: key material is answered with itself.
        let key_material = offer.key_material.clone();
        let answer = Offer { handshake, extension, stream_id: None, key_material };
        let sent = timestamp(now, agreement.began);
        agreement.greeting = Some(answer.encode(Side::Listener, agreement.peer_socket, sent));
        self.calls.remember(now, request.caller(), Answer::Accepted(socket));
        Ok(Connection::new(settings, agreement, now))
    }

    /// Turns a caller away: so many bytes are to be sent back.
    pub fn refuse(
        &mut self,
        now: Instant,
        request: &Request,
        reason: RejectReason,
        out: &mut Scratch,
    ) -> usize {
        self.calls.remember(now, request.caller(), Answer::Refused(reason));
        self.write_refusal(now, request.peer, request.offer.handshake, reason, out)
    }

    /// Says where a call that waits is judged, for [`Incoming::Waiting`].
    pub fn judged_at(&mut self, caller: (SocketAddr, SocketId), at: Option<u32>) {
        self.calls.judged_at(&caller, at);
    }

    /// Nobody judges a call any more, and it was told nothing: if it comes again it is a new one.
    pub fn give_up(&mut self, caller: (SocketAddr, SocketId)) {
        self.calls.give_up(&caller);
    }

    /// Another listener of the same socket group answered a call that came here: what it says to a
    /// repetition is said here, too.
    pub fn answered(
        &mut self,
        now: Instant,
        caller: (SocketAddr, SocketId),
        answer: Result<SocketId, RejectReason>,
    ) {
        let answer = match answer {
            Ok(socket) => Answer::Accepted(socket),
            Err(reason) => Answer::Refused(reason),
        };
        self.calls.remember(now, caller, answer);
    }

    /// Forgets the calls that were answered a while ago.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.calls.forget(now);
    }

    /// When [`Self::handle_timeout`] is to be called at the latest for memory's sake.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.next_timeout()
    }

    /// A refusal has the caller's handshake in it, and is no longer than that.
    fn write_refusal(
        &self,
        now: Instant,
        peer: SocketAddr,
        handshake: Handshake,
        reason: RejectReason,
        out: &mut Scratch,
    ) -> usize {
        // Versions before 1.3 know one code alone.
        let reason = if handshake.version <= VERSION_4 { RejectReason::PEER } else { reason };
        let kind = HandshakeKind::Rejected(reason);
        let answer = Handshake { extension: 0, encryption: 0, kind, ..handshake };
        self.write(now, peer, answer, handshake.socket, out)
    }

    fn write(
        &self,
        now: Instant,
        peer: SocketAddr,
        handshake: Handshake,
        destination: SocketId,
        out: &mut Scratch,
    ) -> usize {
        let mut writer = Writer::new(out);
        let kind = ControlType::Handshake;
        let timestamp = timestamp(now, self.began);
        ControlHeader { kind, info: 0, timestamp, destination }.encode(&mut writer);
        Handshake { peer_addr: peer_addr(peer.ip()), ..handshake }.encode(&mut writer);
        debug_assert_eq!(writer.written(), HEADER_BYTES + HANDSHAKE_BYTES);
        writer.written()
    }
}

/// Keys for what a caller sent, if both or neither has a secret.
fn keys_of(
    settings: &Settings,
    material: Option<&[u8]>,
    seed: KeySeed,
) -> Result<Option<Keyring>, RejectReason> {
    let both_send = settings.sends && settings.receives;
    match (&settings.passphrase, material) {
        (None, None) => Ok(None),
        (Some(passphrase), Some(material)) => {
            let keys = Keyring::of_listener(passphrase, material, seed, both_send);
            keys.map(Some).map_err(|state| match state {
                KeyState::BadSecret => RejectReason::BAD_SECRET,
                KeyState::BadCryptoMode => RejectReason::CRYPTO,
                _ => RejectReason::UNSECURE,
            })
        }
        _ => Err(RejectReason::UNSECURE),
    }
}
