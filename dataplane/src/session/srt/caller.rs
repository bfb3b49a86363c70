//! Who calls: the handshake, until a connection stands or is refused.
//!
//! Spec: draft-sharabayko-srt 4.3.1.
//! Shape: `induction -> conclusion -> connected or refused`; what is asked is asked again every
//! [`REPEAT`] until [`Settings::connect_timeout`].

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codecs::srt::{
    ControlHeader, ControlType, HANDSHAKE_BYTES, HEADER_BYTES, HSV5_MAGIC, Handshake,
    HandshakeKind, Header, KeyState, RejectReason, SeqNumber, SocketId, VERSION_4, VERSION_5,
};
use codecs::writer::Writer;

use super::connection::Connection;
use super::keyring::{KeySeed, Keyring};
use super::negotiation::{Agreement, Offer, Side, our_extension, our_handshake, stamp, timestamp};
use super::settings::Settings;
use super::transmit::Scratch;

/// Time between two attempts.
const REPEAT: Duration = Duration::from_millis(250);
/// The extension field of a first handshake: datagrams.
const DATAGRAMS: u16 = 2;

/// What a caller is made with.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who is called.
    pub peer: SocketAddr,
    /// Our socket, not zero.
    pub socket: SocketId,
    /// The number of the first packet, which nobody can guess.
    pub initial: SeqNumber,
    /// What it is called for.
    pub stream_id: Option<Vec<u8>>,
}

/// How far a call is.
#[derive(Debug)]
pub enum Progress {
    /// No answer yet.
    Waiting,
    /// The connection stands.
    Connected(Box<Connection>),
    /// It will not.
    Refused(RejectReason),
}

#[derive(Debug)]
enum State {
    Induction,
    Conclusion { packet: Vec<u8> },
    Over,
}

/// A call.
#[derive(Debug)]
pub struct Caller {
    settings: Settings,
    pub(super) call: Call,
    seed: KeySeed,
    began: Instant,
    state: State,
    keys: Option<(Keyring, Vec<u8>)>,
    send_at: Instant,
    /// The version of SRT that the listener speaks, once it said so.
    pub(super) peer_version: u32,
}

impl Caller {
    /// Begins to call.
    #[must_use]
    pub const fn new(settings: Settings, call: Call, seed: KeySeed, now: Instant) -> Self {
        let state = State::Induction;
        let (keys, began, peer_version) = (None, now, 0);
        Self { settings, call, seed, began, state, keys, send_at: now, peer_version }
    }

    /// Takes a datagram of the peer.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Progress {
        let Ok(Header::Control(header)) = Header::parse(datagram) else { return Progress::Waiting };
        let body = datagram.get(HEADER_BYTES..).unwrap_or_default();
        if header.kind != ControlType::Handshake || header.destination != self.call.socket {
            return Progress::Waiting;
        }
        let Ok((handshake, rest)) = Handshake::parse(body) else { return Progress::Waiting };
        match (&self.state, handshake.kind) {
            (State::Over, _) => Progress::Waiting,
            (_, HandshakeKind::Rejected(reason)) => self.end(reason),
            (State::Induction, HandshakeKind::Induction) => self.conclude(now, &handshake),
            (State::Conclusion { .. }, HandshakeKind::Conclusion) => {
                self.connect(now, header.timestamp, handshake, rest)
            }
            _ => Progress::Waiting,
        }
    }

    /// True if [`Self::derive_keys`] takes the time of a derivation.
    #[must_use]
    pub const fn awaits_keys(&self) -> bool {
        self.settings.passphrase.is_some()
            && self.keys.is_none()
            && matches!(self.state, State::Induction)
    }

    /// Makes the keys that the listener is told, if there is a secret. It is done when they are
    /// needed if it was not done before.
    pub fn derive_keys(&mut self) {
        if self.awaits_keys()
            && let Some(passphrase) = &self.settings.passphrase
        {
            let keys = Keyring::of_caller(passphrase, self.settings.key_length, self.seed);
            self.keys = Some(keys);
        }
    }

    /// The listener gave a cookie.
    fn conclude(&mut self, now: Instant, induction: &Handshake) -> Progress {
        if induction.version < VERSION_5 || induction.extension != HSV5_MAGIC {
            return self.end(RejectReason::VERSION);
        }
        self.derive_keys();
        let Self { settings, call, .. } = self;
        let units = u16::try_from(settings.key_length.bytes() / 8).expect("4 at most");
        let handshake = Handshake {
            cookie: induction.cookie,
            encryption: if settings.passphrase.is_some() { units } else { 0 },
            ..our_handshake(settings, call.socket, call.initial, call.peer.ip())
        };
        let offer = Offer {
            handshake,
            extension: our_extension(settings),
            stream_id: call.stream_id.clone(),
            key_material: self.keys.as_ref().map(|(_, message)| message.clone()),
        };
        let sent = timestamp(now, self.began);
        let packet = offer.encode(Side::Caller, SocketId::LISTENER, sent);
        self.state = State::Conclusion { packet };
        self.send_at = now;
        Progress::Waiting
    }

    /// The listener lets us in.
    fn connect(&mut self, now: Instant, sent: u32, handshake: Handshake, rest: &[u8]) -> Progress {
        let offer = match Offer::parse(handshake, rest, Side::Listener) {
            Ok(offer) => offer,
            Err(reason) => return self.end(reason),
        };
        self.peer_version = offer.extension.version;
        if offer.handshake.initial_sequence != self.call.initial {
            return self.end(RejectReason::ROGUE);
        }
        let keys = match (self.keys.take(), offer.key_material.as_deref()) {
            (None, None) => None,
            (Some((keys, message)), Some(answer)) if message == answer => Some(keys),
            (Some(_), Some(answer)) => {
                return self.end(match KeyState::parse(answer) {
                    Some(KeyState::NoSecret | KeyState::Unsecured) => RejectReason::UNSECURE,
                    Some(KeyState::BadCryptoMode) => RejectReason::CRYPTO,
                    _ => RejectReason::BAD_SECRET,
                });
            }
            _ => return self.end(RejectReason::UNSECURE),
        };
        let (settings, socket) = (&self.settings, self.call.socket);
        let agreed = Agreement::new(settings, &offer, socket, (now, sent), self.began);
        let mut agreement = match agreed {
            Ok(agreement) => agreement,
            Err(reason) => return self.end(reason),
        };
        agreement.keys = keys;
        self.state = State::Over;
        Progress::Connected(Box::new(Connection::new(&self.settings, agreement, now)))
    }

    fn end(&mut self, reason: RejectReason) -> Progress {
        self.state = State::Over;
        Progress::Refused(reason)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Progress {
        let is_over = matches!(self.state, State::Over);
        if !is_over && now >= self.began + self.settings.connect_timeout {
            return self.end(RejectReason::TIMEOUT);
        }
        Progress::Waiting
    }

    /// Writes the next handshake into `out` and gives its length.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        if self.send_at > now {
            return None;
        }
        let len = match &self.state {
            State::Induction => self.write_induction(now, out),
            State::Conclusion { packet } => {
                let len = packet.len();
                // CONTROL: a handshake.
                out[..len].copy_from_slice(packet);
                stamp(out, timestamp(now, self.began));
                len
            }
            State::Over => return None,
        };
        self.send_at = now + REPEAT;
        Some(len)
    }

    fn write_induction(&self, now: Instant, out: &mut Scratch) -> usize {
        let mut writer = Writer::new(out);
        let (kind, destination) = (ControlType::Handshake, SocketId::LISTENER);
        let timestamp = timestamp(now, self.began);
        ControlHeader { kind, info: 0, timestamp, destination }.encode(&mut writer);
        let Call { peer, socket, initial, .. } = self.call;
        let handshake = Handshake {
            version: VERSION_4,
            extension: DATAGRAMS,
            kind: HandshakeKind::Induction,
            ..our_handshake(&self.settings, socket, initial, peer.ip())
        };
        handshake.encode(&mut writer);
        debug_assert_eq!(writer.written(), HEADER_BYTES + HANDSHAKE_BYTES);
        writer.written()
    }

    /// When [`Self::handle_timeout`] and [`Self::poll_transmit`] are to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if matches!(self.state, State::Over) {
            return None;
        }
        Some(self.send_at.min(self.began + self.settings.connect_timeout))
    }
}
