//! Two callers meet: the handshake without a listener, until a connection stands or is refused.
//!
//! Spec: draft-sharabayko-srt 4.3.2.
//! Shape: both wave until they hear of each other. Whose cookie is the greater one is the
//! initiator, which says what a caller says; the other answers as a listener does.
//!
//! ```text
//!   waving --(wave, conclusion)--> meeting --(their conclusion)--> connected or refused
//! ```
//!
//! The initiator says that it agrees by the first words of its connection, the responder its
//! answer, and both say it again as long as the other repeats itself. Waves are to nobody in
//! particular, so that anybody can send one in the name of the peer: none of them ends a meeting.
//! Who has heard us knows our socket; whoever it is then stays the peer, and is heard to the end.
//! Limits: what is said is said every [`REPEAT`] until [`Settings::connect_timeout`], however many
//! wave.

use std::time::{Duration, Instant};

use codecs::srt::{
    ControlHeader, ControlType, HANDSHAKE_BYTES, HEADER_BYTES, Handshake, HandshakeKind, Header,
    KeyState, RejectReason, SocketId, VERSION_5,
};
use codecs::writer::Writer;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::caller::{Call, Progress};
use super::connection::Connection;
use super::keyring::{KeySeed, Keyring};
use super::negotiation::{Agreement, Offer, Side, our_extension, our_handshake, stamp, timestamp};
use super::settings::Settings;
use super::transmit::Scratch;

/// Time between two attempts.
const REPEAT: Duration = Duration::from_millis(250);

/// Who says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Initiator,
    Responder,
}

#[derive(Debug)]
enum State {
    Waving,
    Meeting(Meeting),
    Over,
}

/// Somebody is there.
#[derive(Debug)]
struct Meeting {
    part: Part,
    peer: SocketId,
    /// It knows our socket.
    has_heard_us: bool,
    /// What is said until it has said its part.
    packet: Vec<u8>,
}

/// A meeting of two callers.
#[derive(Debug)]
pub struct Rendezvous {
    settings: Settings,
    pub(super) call: Call,
    seed: KeySeed,
    began: Instant,
    cookie: u32,
    state: State,
    /// Those of an initiator, and the message that tells them.
    keys: Option<(Keyring, Vec<u8>)>,
    send_at: Instant,
    /// A wave of an earlier version of the protocol came.
    is_old: bool,
    /// The version of SRT that the peer speaks, once it said so.
    pub(super) peer_version: u32,
}

impl Rendezvous {
    /// Begins to wave. The bytes of `seed` are random, and nobody else's.
    #[must_use]
    pub fn new(settings: Settings, call: Call, seed: KeySeed, now: Instant) -> Self {
        Self {
            settings,
            call,
            seed,
            began: now,
            cookie: cookie(&seed),
            state: State::Waving,
            keys: None,
            send_at: now,
            is_old: false,
            peer_version: 0,
        }
    }

    /// True if [`Self::derive_keys`] takes the time of a derivation.
    #[must_use]
    pub const fn awaits_keys(&self) -> bool {
        self.settings.passphrase.is_some()
            && self.keys.is_none()
            && matches!(self.state, State::Waving)
    }

    /// Makes the keys that an initiator tells, if there is a secret.
    pub fn derive_keys(&mut self) {
        if self.awaits_keys()
            && let Some(passphrase) = &self.settings.passphrase
        {
            let keys = Keyring::of_caller(passphrase, self.settings.key_length, self.seed);
            self.keys = Some(keys);
        }
    }

    /// Takes a datagram of the peer.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Progress {
        let Ok(Header::Control(header)) = Header::parse(datagram) else { return Progress::Waiting };
        let body = datagram.get(HEADER_BYTES..).unwrap_or_default();
        let is_for_us = [SocketId::LISTENER, self.call.socket].contains(&header.destination);
        if header.kind != ControlType::Handshake || !is_for_us {
            return Progress::Waiting;
        }
        let Ok((handshake, rest)) = Handshake::parse(body) else { return Progress::Waiting };
        match (&self.state, handshake.kind) {
            (State::Over, _) => Progress::Waiting,
            (_, HandshakeKind::Rejected(reason)) if header.destination == self.call.socket => {
                self.end(reason)
            }
            (_, HandshakeKind::WaveAHand | HandshakeKind::Conclusion) => {
                if handshake.version < VERSION_5 {
                    // It may not be the peer who says so: the end is told if nobody else comes.
                    self.is_old = true;
                    return Progress::Waiting;
                }
                self.meet(now, &header, handshake, rest)
            }
            _ => Progress::Waiting,
        }
    }

    /// The peer is there, and may have said its part.
    fn meet(
        &mut self,
        now: Instant,
        header: &ControlHeader,
        handshake: Handshake,
        rest: &[u8],
    ) -> Progress {
        let part = match self.cookie.wrapping_sub(handshake.cookie) {
            // Nobody can tell them apart: most likely it is us.
            0 => return Progress::Waiting,
            more if more & 0x8000_0000 == 0 => Part::Initiator,
            _ => Part::Responder,
        };
        let peer = handshake.socket;
        let has_heard_us = header.destination == self.call.socket;
        match &mut self.state {
            State::Meeting(known) if (known.part, known.peer) == (part, peer) => {
                known.has_heard_us |= has_heard_us;
            }
            State::Meeting(known) if known.has_heard_us && !has_heard_us => {
                return Progress::Waiting;
            }
            state => {
                if has_heard_us || matches!(state, State::Waving) {
                    self.send_at = now;
                }
                self.derive_keys();
                let packet = self.conclusion(now, part, peer);
                self.state = State::Meeting(Meeting { part, peer, has_heard_us, packet });
            }
        }
        if handshake.kind != HandshakeKind::Conclusion || rest.is_empty() || !has_heard_us {
            return Progress::Waiting;
        }
        let side = match part {
            Part::Initiator => Side::Listener,
            Part::Responder => Side::Caller,
        };
        match Offer::parse(handshake, rest, side) {
            Ok(offer) => self.connect(now, header.timestamp, part, &offer),
            Err(reason) => self.end(reason),
        }
    }

    fn connect(&mut self, now: Instant, sent: u32, part: Part, offer: &Offer) -> Progress {
        self.peer_version = offer.extension.version;
        let keys = match part {
            Part::Initiator => self.initiator_keys(offer.key_material.as_deref()),
            Part::Responder => self.responder_keys(offer.key_material.as_deref()),
        };
        let (settings, socket) = (&self.settings, self.call.socket);
        let agreed = Agreement::new(settings, offer, socket, (now, sent), self.began);
        let agreed = agreed.and_then(|agreement| Ok(Agreement { keys: keys?, ..agreement }));
        let mut agreement = match agreed {
            Ok(agreement) => agreement,
            Err(reason) => return self.end(reason),
        };
        // Each direction has numbers of its own.
        agreement.send_initial = self.call.initial;
        let at = timestamp(now, self.began);
        agreement.greeting = Some(match part {
            Part::Initiator => self.bare(HandshakeKind::Agreement, 0, (agreement.peer_socket, at)),
            Part::Responder => {
                let mut extension = our_extension(settings);
                let ms = |time: Duration| u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
                extension.receiver_latency_ms = ms(agreement.receive_latency);
                extension.sender_latency_ms = ms(agreement.send_latency);
                // CONTROL: key material is answered with itself.
                let key_material = offer.key_material.clone();
                let handshake = Handshake { mtu: agreement.mtu, ..self.handshake() };
                let answer = Offer { handshake, extension, stream_id: None, key_material };
                answer.encode(Side::Listener, agreement.peer_socket, at)
            }
        });
        self.state = State::Over;
        Progress::Connected(Box::new(Connection::new(&self.settings, agreement, now)))
    }

    fn initiator_keys(&mut self, answer: Option<&[u8]>) -> Result<Option<Keyring>, RejectReason> {
        match (self.keys.take(), answer) {
            (None, None) => Ok(None),
            (Some((keys, message)), Some(answer)) if message == answer => Ok(Some(keys)),
            (Some(_), Some(answer)) => Err(match KeyState::parse(answer) {
                Some(KeyState::NoSecret | KeyState::Unsecured) => RejectReason::UNSECURE,
                Some(KeyState::BadCryptoMode) => RejectReason::CRYPTO,
                _ => RejectReason::BAD_SECRET,
            }),
            _ => Err(RejectReason::UNSECURE),
        }
    }

    fn responder_keys(&self, material: Option<&[u8]>) -> Result<Option<Keyring>, RejectReason> {
        match (&self.settings.passphrase, material) {
            (None, None) => Ok(None),
            (Some(passphrase), Some(material)) => {
                let keys = Keyring::of_listener(passphrase, material, self.seed, false);
                keys.map(Some).map_err(|state| match state {
                    KeyState::BadSecret => RejectReason::BAD_SECRET,
                    KeyState::BadCryptoMode => RejectReason::CRYPTO,
                    _ => RejectReason::UNSECURE,
                })
            }
            _ => Err(RejectReason::UNSECURE),
        }
    }

    /// A handshake of ours, without the extension field.
    fn handshake(&self) -> Handshake {
        let Call { peer, socket, initial, .. } = self.call;
        let units = u16::try_from(self.settings.key_length.bytes() / 8).expect("4 at most");
        Handshake {
            cookie: self.cookie,
            encryption: if self.settings.passphrase.is_some() { units } else { 0 },
            ..our_handshake(&self.settings, socket, initial, peer.ip())
        }
    }

    /// What is said until the peer has said its part.
    fn conclusion(&self, now: Instant, part: Part, peer: SocketId) -> Vec<u8> {
        let sent = timestamp(now, self.began);
        match part {
            Part::Initiator => Offer {
                handshake: self.handshake(),
                extension: our_extension(&self.settings),
                stream_id: self.call.stream_id.clone(),
                key_material: self.keys.as_ref().map(|(_, message)| message.clone()),
            }
            .encode(Side::Caller, peer, sent),
            Part::Responder => self.bare(HandshakeKind::Conclusion, 0, (peer, sent)),
        }
    }

    /// A handshake without extensions.
    fn bare(&self, kind: HandshakeKind, extension: u16, to: (SocketId, u32)) -> Vec<u8> {
        let mut packet = vec![0; HEADER_BYTES + HANDSHAKE_BYTES];
        let mut writer = Writer::new(&mut packet);
        let (destination, timestamp) = to;
        ControlHeader { kind: ControlType::Handshake, info: 0, timestamp, destination }
            .encode(&mut writer);
        Handshake { kind, extension, ..self.handshake() }.encode(&mut writer);
        packet
    }

    fn end(&mut self, reason: RejectReason) -> Progress {
        self.state = State::Over;
        Progress::Refused(reason)
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) -> Progress {
        let is_over = matches!(self.state, State::Over);
        if !is_over && now >= self.began + self.settings.connect_timeout {
            return self.end(match self.is_old {
                true => RejectReason::VERSION,
                false => RejectReason::TIMEOUT,
            });
        }
        Progress::Waiting
    }

    /// Writes the next handshake into `out` and gives its length.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Scratch) -> Option<usize> {
        if self.send_at > now {
            return None;
        }
        let sent = timestamp(now, self.began);
        let packet = match &self.state {
            State::Waving => &self.bare(HandshakeKind::WaveAHand, 0, (SocketId::LISTENER, sent)),
            State::Meeting(meeting) => &meeting.packet,
            State::Over => return None,
        };
        let len = packet.len();
        // CONTROL: a handshake.
        out[..len].copy_from_slice(packet);
        stamp(out, sent);
        self.send_at = now + REPEAT;
        Some(len)
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

/// What tells two callers apart. It is said in clear, so that it leads to nothing of the keys.
fn cookie(seed: &KeySeed) -> u32 {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("any length is a key");
    mac.update(b"cookie of a meeting");
    let hash: [u8; 32] = mac.finalize().into_bytes().into();
    u32::from_be_bytes(*hash.first_chunk().expect("it is longer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::srt::{KeyLength, PACKET_BYTES_MAX, Passphrase, SeqNumber};
    use std::net::SocketAddr;

    #[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn meeting(number: u8, secret: Option<&[u8]>, now: Instant) -> Rendezvous {
        let settings = Settings {
            passphrase: secret.map(|secret| Passphrase::new(secret).unwrap()),
            key_length: KeyLength::Aes256,
            ..Settings::default()
        };
        let call = Call {
            peer: SocketAddr::from(([192, 0, 2, number], 9000)),
            socket: SocketId(u32::from(number)),
            initial: SeqNumber::new(u32::from(number) * 1_000),
            stream_id: None,
        };
        Rendezvous::new(settings, call, [number; 32], now)
    }

    enum End {
        Open(Box<Connection>),
        Refused(RejectReason),
    }

    struct Side {
        meeting: Rendezvous,
        end: Option<End>,
    }

    impl Side {
        fn take(&mut self, now: Instant, datagram: &mut [u8]) {
            if let Some(End::Open(connection)) = &mut self.end {
                connection.handle_datagram(now, datagram);
                return;
            }
            match self.meeting.handle_datagram(now, datagram) {
                Progress::Waiting => {}
                Progress::Connected(connection) => self.end = Some(End::Open(connection)),
                Progress::Refused(reason) => self.end = Some(End::Refused(reason)),
            }
        }

        fn say(&mut self, now: Instant) -> Vec<Vec<u8>> {
            let mut out = [0; PACKET_BYTES_MAX];
            let mut said = Vec::new();
            loop {
                let len = match &mut self.end {
                    Some(End::Open(connection)) => connection.poll_transmit(now, &mut out),
                    Some(End::Refused(_)) => None,
                    None => self.meeting.poll_transmit(now, &mut out),
                };
                let Some(len) = len else { return said };
                said.push(out[..len].to_vec());
            }
        }
    }

    /// Lets two meet on a line that loses what `lost` says of the number of a datagram; the second
    /// comes `late`.
    fn meet(
        secrets: [Option<&[u8]>; 2],
        late: Duration,
        lost: impl Fn(usize) -> bool,
    ) -> [Option<End>; 2] {
        let mut now = epoch();
        let began = now;
        let mut first = Side { meeting: meeting(1, secrets[0], now), end: None };
        let mut second = Side { meeting: meeting(2, secrets[1], now), end: None };
        let mut number = 0;
        for _ in 0..400 {
            for turn in 0..2 {
                let (from, to) = match turn {
                    0 => (&mut first, &mut second),
                    _ => (&mut second, &mut first),
                };
                if turn == 1 && now < began + late {
                    continue;
                }
                for mut datagram in from.say(now) {
                    number += 1;
                    let hears = turn == 1 || now >= began + late;
                    if hears && !lost(number) {
                        to.take(now, &mut datagram);
                    }
                }
            }
            now += Duration::from_millis(5);
        }
        [first.end, second.end]
    }

    #[test]
    fn two_callers_meet_whoever_comes_first_and_whatever_gets_lost() {
        let secret: Option<&[u8]> = Some(b"a secret of two");
        for secret in [None, secret] {
            for late in [0, 7, 300] {
                for losses in 0..6 {
                    let lost = |number: usize| number <= losses;
                    let ends = meet([secret; 2], Duration::from_millis(late), lost);
                    let [Some(End::Open(one)), Some(End::Open(two))] = ends else {
                        panic!("late by {late} ms, {losses} lost: they do not meet");
                    };
                    assert_eq!((one.is_encrypted(), two.is_encrypted()), {
                        (secret.is_some(), secret.is_some())
                    });
                    assert_eq!((one.closed(), two.closed()), (None, None));
                }
            }
        }
    }

    #[test]
    fn those_who_have_not_one_secret_do_not_meet() {
        let (one, other): (Option<&[u8]>, Option<&[u8]>) =
            (Some(b"a secret of two"), Some(b"another secret"));
        for secrets in [[one, other], [one, None], [None, one]] {
            let ends = meet(secrets, Duration::ZERO, |_| false);
            let is_refused = |end: &Option<End>| match end {
                Some(End::Refused(reason)) => {
                    [RejectReason::BAD_SECRET, RejectReason::UNSECURE].contains(reason)
                }
                _ => false,
            };
            assert!(ends.iter().any(is_refused));
            assert!(!ends.iter().any(|end| matches!(end, Some(End::Open(_)))));
        }
    }

    /// What somebody sends in the name of the second.
    fn wave(version: u32, from: SocketId, to: SocketId, kind: HandshakeKind) -> Vec<u8> {
        let second = meeting(2, None, epoch());
        let mut packet = second.bare(kind, 0, (to, 1));
        let mut writer = Writer::new(&mut packet[HEADER_BYTES..]);
        Handshake { kind, version, socket: from, ..second.handshake() }.encode(&mut writer);
        packet
    }

    #[test]
    fn strangers_who_wave_end_no_meeting_and_nothing_is_sent_for_each() {
        let (began, strange) = (epoch(), HandshakeKind::WaveAHand);
        let mut first = Side { meeting: meeting(1, None, began), end: None };
        assert_eq!(first.say(began).len(), 1, "it waves");
        let mut now = began + Duration::from_millis(1);
        first.take(now, &mut wave(4, SocketId(7), SocketId::LISTENER, strange));
        assert!(first.end.is_none() && matches!(first.meeting.state, State::Waving));
        // The first that is heard is answered at once, all others when something is due.
        let mut said = 0;
        for number in 0..200 {
            let from = SocketId(1_000 + number);
            first.take(now, &mut wave(5, from, SocketId::LISTENER, strange));
            // Nor can anybody conclude who has not heard us.
            let kind = HandshakeKind::Conclusion;
            let mut spoof = [wave(5, from, SocketId::LISTENER, kind), vec![0xff; 12]].concat();
            first.take(now, &mut spoof);
            said += first.say(now).len();
            now += Duration::from_millis(2);
        }
        assert!(first.end.is_none(), "nobody ends it");
        assert!((1..=3).contains(&said), "{said} in 400 ms");
        // Who has heard us is the peer, whoever waves.
        let mut second = Side { meeting: meeting(2, None, now), end: None };
        second.take(now, &mut first.meeting.bare(strange, 0, (SocketId::LISTENER, 1)));
        for _ in 0..8 {
            second.say(now).iter_mut().for_each(|datagram| first.take(now, datagram));
            first.take(now, &mut wave(5, SocketId(7), SocketId::LISTENER, strange));
            first.say(now).iter_mut().for_each(|datagram| second.take(now, datagram));
            now += REPEAT;
        }
        let open = |side: &Side| matches!(&side.end, Some(End::Open(c)) if c.closed().is_none());
        assert!(open(&first) && open(&second));
    }

    #[test]
    fn an_old_peer_is_told_when_nobody_else_came() {
        let now = epoch();
        let mut first = meeting(1, None, now);
        let old = wave(4, SocketId(2), SocketId::LISTENER, HandshakeKind::WaveAHand);
        assert!(matches!(first.handle_datagram(now, &old), Progress::Waiting));
        let over = now + Settings::default().connect_timeout;
        let Progress::Refused(reason) = first.handle_timeout(over) else { panic!() };
        assert_eq!(reason, RejectReason::VERSION);
    }

    #[test]
    fn what_is_said_in_clear_is_nothing_of_the_keys() {
        let seed: KeySeed = std::array::from_fn(|at| at as u8 * 7 + 1);
        let call = meeting(1, None, epoch()).call;
        let mut waving = Rendezvous::new(Settings::default(), call, seed, epoch());
        let mut out = [0; PACKET_BYTES_MAX];
        let len = waving.poll_transmit(epoch(), &mut out).unwrap();
        let is_in_it = |part: &[u8]| out[..len].windows(part.len()).any(|bytes| bytes == part);
        assert!(!seed.windows(4).any(is_in_it));
    }

    #[test]
    fn nobody_meets_himself() {
        let now = epoch();
        let mut alone = Side { meeting: meeting(1, None, now), end: None };
        for mut wave in alone.say(now) {
            alone.take(now, &mut wave);
        }
        assert!(matches!(alone.meeting.state, State::Waving));
        let over = now + Settings::default().connect_timeout;
        let Progress::Refused(reason) = alone.meeting.handle_timeout(over) else { panic!() };
        assert_eq!(reason, RejectReason::TIMEOUT);
    }
}
