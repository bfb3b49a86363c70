//! The peer against itself: a caller, and somebody who answers it, over a line in memory that
//! loses, delays and repeats.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use codecs::srt::{
    Extension, ExtensionType, Extensions, HANDSHAKE_BYTES, HEADER_BYTES, HS_EXTENSION_BYTES,
    HS_FLAG, HSV5_MAGIC, Handshake, HandshakeKind, Header, HsExtension, KM_FLAG, KeyState,
    Passphrase, RejectReason, SocketId, VERSION_5, decode_stream_id,
};
use codecs::writer::Writer;

use super::call::{FLAGS, SECRETS_BYTES, put_handshake};
use super::inbound::Arrivals;
use super::keys::Keys;
use super::link::{Agreed, Link};
use super::outbound::Departures;
use super::{Caller, Closed, Outbox, PAYLOAD_BYTES, SILENCE_US_MAX, SrtTarget, Told};

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SERVER_SOCKET: SocketId = SocketId(77);
const COOKIE: u32 = 0xc0c0_c0c0;
const STEP_US: u64 = 1_000;

/// Decides what becomes of packets; the same seed decides the same.
struct Dice(u64);

impl Dice {
    fn percent(&mut self, percent: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % 100 < percent
    }
}

/// Packets on their way, by when they come.
#[derive(Default)]
struct Way {
    coming: BTreeMap<(u64, u64), Vec<u8>>,
    count: u64,
}

#[derive(Clone, Copy)]
struct Line {
    seed: u64,
    loss_percent: u64,
    /// Of packets that are 7 ms later than others, and of those that come twice.
    odd_percent: u64,
    delay_us: u64,
}

impl Line {
    fn send(self, out: &mut Outbox, now_us: u64, way: &mut Way, dice: &mut Dice) {
        for datagram in out.datagrams() {
            if dice.percent(self.loss_percent) {
                continue;
            }
            let is_late = dice.percent(self.odd_percent);
            let copies = 1 + u64::from(dice.percent(self.odd_percent));
            for copy in 0..copies {
                way.count += 1;
                let late_us = 7_000 * (u64::from(is_late) + copy);
                let at_us = now_us + self.delay_us + late_us;
                way.coming.insert((at_us, way.count), datagram.to_vec());
            }
        }
        out.clear();
    }
}

impl Way {
    fn arrived(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        let later = self.coming.split_off(&(now_us + 1, 0));
        std::mem::replace(&mut self.coming, later).into_values().collect()
    }
}

/// Who answers a call, as far as the tests need it.
#[derive(Default)]
struct Answerer {
    passphrase: Option<Passphrase>,
    refuses: Option<RejectReason>,
    link: Option<Link>,
    stream_id: Vec<u8>,
    /// What granted the call, for a caller that missed it.
    granted: Outbox,
}

impl Answerer {
    fn take(&mut self, datagram: &[u8], now_us: u64, out: &mut Outbox, released: &mut Vec<u8>) {
        let header = Header::parse(datagram).unwrap();
        if header.destination() != SocketId::LISTENER {
            if let Some(link) = &mut self.link {
                link.take(datagram, now_us, out, released).unwrap();
            }
            return;
        }
        // A caller who was misled says what makes no sense here.
        let Ok((call, extensions)) = Handshake::parse(&datagram[HEADER_BYTES..]) else { return };
        let answer = Handshake { version: VERSION_5, encryption: 0, ..call };
        if call.kind == HandshakeKind::Induction {
            let answer = Handshake { extension: HSV5_MAGIC, cookie: COOKIE, ..answer };
            put_handshake(&answer, &[], call.socket, now_us, out);
        } else if let Some(reason) = self.refuses {
            let answer = Handshake { kind: HandshakeKind::Rejected(reason), ..answer };
            put_handshake(&answer, &[], call.socket, now_us, out);
        } else {
            if (call.kind, call.cookie) != (HandshakeKind::Conclusion, COOKIE) {
                return;
            }
            if self.link.is_none() {
                self.grant(&header, &call, extensions, now_us);
            }
            for datagram in self.granted.datagrams() {
                out.put(datagram.len(), |writer| writer.put(datagram));
            }
        }
    }

    fn grant(&mut self, header: &Header, call: &Handshake, extensions: &[u8], now_us: u64) {
        let Header::Control(header) = header else { panic!("a handshake is a control packet") };
        let extensions: Vec<Extension<'_>> =
            Extensions::new(extensions).map(Result::unwrap).collect();
        let of = |kind| extensions.iter().find(|extension| extension.kind == kind);
        let hs = HsExtension::parse(of(ExtensionType::HsRequest).unwrap().body).unwrap();
        self.stream_id = decode_stream_id(of(ExtensionType::StreamId).unwrap().body).unwrap();
        assert_eq!(hs.flags, FLAGS);
        let mut said = [0; HS_EXTENSION_BYTES];
        hs.encode(&mut Writer::new(&mut said));
        let mut answers = vec![(ExtensionType::HsResponse, &said[..])];
        let mut flags = HS_FLAG;
        let mut keys = None;
        let refusal = KeyState::BadSecret.to_wire();
        if let Some(asked) = of(ExtensionType::KmRequest) {
            let passphrase = self.passphrase.clone().unwrap();
            keys = Keys::answer(&passphrase, asked.body).ok();
            flags |= KM_FLAG;
            let answer = if keys.is_some() { asked.body } else { &refusal[..] };
            answers.push((ExtensionType::KmResponse, answer));
        }
        let answer = Handshake { extension: flags, socket: SERVER_SOCKET, ..*call };
        put_handshake(&answer, &answers, call.socket, now_us, &mut self.granted);
        let agreed = Agreed {
            peer: call.socket,
            first: call.initial_sequence,
            receive_latency_us: 1_000 * u64::from(hs.receiver_latency_ms),
            send_latency_us: 1_000 * u64::from(hs.sender_latency_ms),
            peer_zero_us: now_us as i64 - i64::from(header.timestamp),
            keys,
        };
        self.link = Some(Link::new(agreed, now_us));
    }
}

/// What both ends saw.
struct Outcome {
    sent: Vec<u8>,
    received: Vec<u8>,
    arrivals: Arrivals,
    departures: Departures,
    told: Vec<Told>,
    error: Option<String>,
    stream_id: Vec<u8>,
}

/// Media of so many packets, one each millisecond, from the caller or to it.
fn run(line: Line, query: &str, answerer: Answerer, packets: usize, from_caller: bool) -> Outcome {
    let target = SrtTarget::parse(query).unwrap();
    let mut answerer = answerer;
    // Numbers of packets are about to wrap.
    let mut secrets = [0xff; SECRETS_BYTES];
    secrets[7] = 0x80;
    let mut caller = Caller::new(&target, SERVER, &secrets).unwrap();
    let (mut up, mut down, mut dice) = (Way::default(), Way::default(), Dice(line.seed));
    let mut outcome = Outcome {
        sent: Vec::new(),
        received: Vec::new(),
        arrivals: Arrivals::default(),
        departures: Departures::default(),
        told: Vec::new(),
        error: None,
        stream_id: Vec::new(),
    };
    let (mut out, mut nothing) = (Outbox::default(), Vec::new());
    let mut left = packets;
    for step in 0.. {
        let now_us = step * STEP_US;
        let (to_caller, to_answerer) = match from_caller {
            true => (&mut nothing, &mut outcome.received),
            false => (&mut outcome.received, &mut nothing),
        };
        for datagram in down.arrived(now_us) {
            match caller.take(&datagram, now_us, &mut out, to_caller) {
                Ok(Told::Nothing) => {}
                Ok(told) => outcome.told.push(told),
                Err(error) => outcome.error = Some(error.to_string()),
            }
        }
        if let Err(error) = caller.tick(now_us, &mut out, to_caller) {
            outcome.error = Some(error.to_string());
        }
        let is_ready = caller.link().is_some();
        if let Some(link) = caller.link().filter(|_| from_caller && left > 0) {
            left -= 1;
            link.send(&payload(left, &mut outcome.sent), now_us, &mut out);
        }
        line.send(&mut out, now_us, &mut up, &mut dice);
        for datagram in up.arrived(now_us) {
            answerer.take(&datagram, now_us, &mut out, to_answerer);
        }
        if let Some(link) = &mut answerer.link {
            link.tick(now_us, &mut out, to_answerer).unwrap();
            if is_ready && !from_caller && left > 0 {
                left -= 1;
                link.send(&payload(left, &mut outcome.sent), now_us, &mut out);
            }
        }
        line.send(&mut out, now_us, &mut down, &mut dice);
        let is_refused = matches!(outcome.told.last(), Some(Told::Refused(_)));
        if outcome.error.is_some() || is_refused || now_us > (packets as u64 + 3_000) * STEP_US {
            break;
        }
    }
    outcome.stream_id = std::mem::take(&mut answerer.stream_id);
    if let (Some(ours), Some(theirs)) = (caller.link(), &mut answerer.link) {
        let (sender, receiver) = if from_caller { (ours, theirs) } else { (theirs, ours) };
        outcome.arrivals = receiver.take_arrivals();
        outcome.departures = sender.take_departures();
    }
    outcome
}

fn payload(number: usize, sent: &mut Vec<u8>) -> Vec<u8> {
    let bytes: Vec<u8> = (0..PAYLOAD_BYTES).map(|at| (at ^ number ^ number >> 8) as u8).collect();
    sent.extend_from_slice(&bytes);
    bytes
}

const CLEAN: Line = Line { seed: 1, loss_percent: 0, odd_percent: 0, delay_us: 5_000 };

fn answerer(passphrase: &[u8]) -> Answerer {
    Answerer { passphrase: Passphrase::new(passphrase).ok(), ..Answerer::default() }
}

#[test]
fn media_passes_both_ways_bit_by_bit() {
    let secret = b"a secret of ten";
    let table = [
        "streamid=live/a",
        "streamid=live/a&passphrase=a%20secret%20of%20ten",
        "streamid=live/a&passphrase=a%20secret%20of%20ten&pbkeylen=32",
    ];
    for query in table {
        for from_caller in [true, false] {
            let seen = run(CLEAN, query, answerer(secret), 500, from_caller);
            assert_eq!((seen.told, seen.error), (vec![Told::Accepted], None), "{query}");
            assert_eq!(seen.stream_id, b"live/a");
            assert_eq!(seen.sent.len(), 500 * PAYLOAD_BYTES);
            assert!(seen.received == seen.sent, "{query}");
            let all = Arrivals { packets: 500, ..Arrivals::default() };
            assert_eq!(seen.arrivals, all, "{query}");
            let departures = Departures { packets: 500, ..Departures::default() };
            assert_eq!(seen.departures, departures, "{query}");
        }
    }
}

#[test]
fn what_is_lost_is_sent_again_in_time() {
    for seed in 1..6 {
        let line = Line { seed, loss_percent: 10, odd_percent: 5, delay_us: 20_000 };
        for from_caller in [true, false] {
            let query = "streamid=a&latency=1200&passphrase=a%20secret%20of%20ten";
            let seen = run(line, query, answerer(b"a secret of ten"), 1_000, from_caller);
            assert_eq!((seen.told, seen.error), (vec![Told::Accepted], None), "seed {seed}");
            // The tail has nothing behind it by which a gap is seen.
            let tail = seen.sent.len() - seen.received.len();
            assert!(tail <= 10 * PAYLOAD_BYTES, "seed {seed}: {tail}");
            assert!(seen.sent.starts_with(&seen.received), "seed {seed}");
            assert_eq!(seen.arrivals.lost, 0, "seed {seed}");
            assert!(seen.arrivals.recovered > 50, "seed {seed}: {:?}", seen.arrivals);
            assert!(seen.departures.again > 50, "seed {seed}: {:?}", seen.departures);
        }
    }
}

#[test]
fn what_comes_too_late_is_given_up_and_counted() {
    // An answer to a NAK takes 100 ms, of which the latency has 40.
    let line = Line { seed: 3, loss_percent: 10, odd_percent: 0, delay_us: 50_000 };
    let seen = run(line, "streamid=a&latency=40", Answerer::default(), 1_000, true);
    assert_eq!(seen.error, None);
    let Arrivals { packets, lost, .. } = seen.arrivals;
    assert!(lost > 50 && packets + lost <= 1_000 && packets + lost > 980, "{:?}", seen.arrivals);
    assert_eq!(seen.received.len(), packets as usize * PAYLOAD_BYTES);
}

#[test]
fn refusals_and_silence_are_told() {
    let refuses = Some(RejectReason::NOT_FOUND);
    let seen = run(CLEAN, "streamid=a", Answerer { refuses, ..Answerer::default() }, 0, true);
    let reason = RejectReason::NOT_FOUND.to_string();
    assert_eq!(seen.told, [Told::Refused(reason)]);
    let query = "streamid=a&passphrase=a%20secret%20of%20ten";
    let seen = run(CLEAN, query, answerer(b"another of ten"), 0, true);
    assert!(matches!(&seen.told[..], [Told::Refused(reason)] if reason.contains("passphrase")));
    let dead = Line { loss_percent: 100, ..CLEAN };
    let seen = run(dead, "streamid=a", Answerer::default(), 10_000, true);
    assert_eq!(seen.error.as_deref(), Some("no answer within 10 s; does it speak SRT there?"));
}

#[test]
fn the_end_of_a_connection_is_told_apart() {
    let target = SrtTarget::parse("streamid=a").unwrap();
    let mut caller = Caller::new(&target, SERVER, &[5; SECRETS_BYTES]).unwrap();
    let (mut answerer, mut out, mut released) =
        (Answerer::default(), Outbox::default(), Vec::new());
    caller.tick(0, &mut out, &mut released).unwrap();
    while caller.link().is_none() {
        for call in take_all(&mut out) {
            answerer.take(&call, 0, &mut out, &mut released);
        }
        for answer in take_all(&mut out) {
            caller.take(&answer, 0, &mut out, &mut released).unwrap();
        }
    }
    answerer.link.unwrap().close(0, &mut out);
    let goodbye = take_all(&mut out);
    let error = caller.take(&goodbye[0], 0, &mut out, &mut released).unwrap_err();
    assert!(error.is::<Closed>(), "{error}");
    assert!(caller.tick(SILENCE_US_MAX, &mut out, &mut released).is_ok());
    let error = caller.tick(SILENCE_US_MAX + 1, &mut out, &mut released).unwrap_err();
    assert_eq!(error.to_string(), "the server has said nothing for 5 s");
}

fn take_all(out: &mut Outbox) -> Vec<Vec<u8>> {
    let datagrams = out.datagrams().map(<[u8]>::to_vec).collect();
    out.clear();
    datagrams
}

#[test]
fn no_datagram_of_a_server_ends_this_process() {
    let target = SrtTarget::parse("streamid=a").unwrap();
    let mut dice = Dice(7);
    for round in 0..200 {
        let (mut out, mut released) = (Outbox::default(), Vec::new());
        let mut caller = Caller::new(&target, SERVER, &[5; SECRETS_BYTES]).unwrap();
        let mut answerer = Answerer::default();
        let (mut up, mut down) = (Way::default(), Way::default());
        for step in 0..50 {
            let now_us = step * STEP_US;
            let _ = caller.tick(now_us, &mut out, &mut released);
            CLEAN.send(&mut out, now_us, &mut up, &mut dice);
            for datagram in up.arrived(now_us) {
                answerer.take(&datagram, now_us, &mut out, &mut Vec::new());
            }
            CLEAN.send(&mut out, now_us, &mut down, &mut dice);
            for mut datagram in down.arrived(now_us) {
                if round > 0 && dice.percent(50) {
                    let at = (dice.0 >> 8) as usize % datagram.len();
                    datagram[at] ^= 1 << (round % 8);
                }
                let _ = caller.take(&datagram, now_us, &mut out, &mut released);
            }
        }
        // Numbers far away, lists that lie, packets that are cut.
        for _ in 0..200 {
            let len = (dice.0 >> 8) as usize % (HEADER_BYTES + HANDSHAKE_BYTES);
            let mut datagram: Vec<u8> = (0..len)
                .map(|_| {
                    let _ = dice.percent(1);
                    dice.0 as u8
                })
                .collect();
            if let Some(first) = datagram.get_mut(..4).filter(|_| dice.percent(70)) {
                first.copy_from_slice(&[0x80, (dice.0 % 9) as u8, 0, 0]);
            }
            let _ = caller.take(&datagram, 60_000, &mut out, &mut released);
            let _ = caller.tick(60_000, &mut out, &mut released);
        }
    }
}
