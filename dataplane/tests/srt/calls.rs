//! Who is let in: cookies, secrets, versions, and what a listener keeps and sends.

use std::net::SocketAddr;
use std::time::Duration;

use codecs::srt::{
    ControlHeader, ControlType, ExtensionType, HANDSHAKE_BYTES, HEADER_BYTES, HSV5_MAGIC,
    Handshake, HandshakeKind, Header, HsExtension, HsFlags, PACKET_BYTES_MAX, Passphrase,
    RejectReason, SeqNumber, SocketId, encode_extension,
};
use codecs::writer::Writer;
use dataplane::session::srt::{
    CALLS_MAX, Call, Caller, CloseReason, Incoming, Listener, PacketIndex, PacketMeta, Progress,
    Settings,
};

use crate::endpoint::Source;
use crate::line::Weather;
use crate::world::{Meeting, caller_addr, epoch};

const CALL: Handshake = Handshake {
    version: 4,
    encryption: 0,
    extension: 2,
    initial_sequence: SeqNumber::new(7),
    mtu: 1_500,
    flow_window: 8_192,
    kind: HandshakeKind::Induction,
    socket: SocketId(11),
    cookie: 0,
    peer_addr: [0; 16],
};

const HS: HsExtension = HsExtension {
    version: 0x0001_0501,
    flags: HsFlags(0xbf),
    receiver_latency_ms: 120,
    sender_latency_ms: 0,
};

fn packet(handshake: Handshake, extensions: &[(ExtensionType, &[u8])]) -> Vec<u8> {
    let more: usize = extensions.iter().map(|(_, body)| 4 + body.len()).sum();
    let mut bytes = vec![0; HEADER_BYTES + HANDSHAKE_BYTES + more];
    let mut writer = Writer::new(&mut bytes);
    let kind = ControlType::Handshake;
    let destination = SocketId::LISTENER;
    ControlHeader { kind, info: 0, timestamp: 5, destination }.encode(&mut writer);
    handshake.encode(&mut writer);
    for (kind, body) in extensions {
        encode_extension(*kind, body, &mut writer);
    }
    bytes
}

fn hs(extension: HsExtension) -> [u8; 12] {
    let mut body = [0; 12];
    extension.encode(&mut Writer::new(&mut body));
    body
}

struct Rig {
    listener: Listener,
    settings: Settings,
    out: [u8; PACKET_BYTES_MAX],
}

impl Rig {
    fn new() -> Self {
        let settings = Settings::default();
        let listener = Listener::new(&settings, [5; 32], epoch());
        Self { listener, settings, out: [0; PACKET_BYTES_MAX] }
    }

    fn say(&mut self, peer: SocketAddr, bytes: &[u8]) -> Incoming {
        self.listener.handle_datagram(epoch(), peer, bytes, &mut self.out)
    }

    fn answer(&self, len: usize) -> Handshake {
        let Ok(Header::Control(header)) = Header::parse(&self.out[..len]) else { panic!() };
        assert_eq!((header.kind, header.destination), (ControlType::Handshake, SocketId(11)));
        let (handshake, rest) = Handshake::parse(&self.out[HEADER_BYTES..len]).unwrap();
        assert!(rest.is_empty());
        handshake
    }

    fn cookie(&mut self, peer: SocketAddr) -> u32 {
        let Incoming::Reply(len) = self.say(peer, &packet(CALL, &[])) else { panic!() };
        self.answer(len).cookie
    }

    fn conclude(&mut self, handshake: Handshake, more: &[(ExtensionType, &[u8])]) -> Incoming {
        let cookie = self.cookie(caller_addr());
        let kind = HandshakeKind::Conclusion;
        let conclusion = Handshake { cookie, kind, extension: 5, ..handshake };
        let peer = caller_addr();
        self.say(peer, &packet(conclusion, more))
    }

    fn refused(&mut self, handshake: Handshake, more: &[(ExtensionType, &[u8])]) -> RejectReason {
        let Incoming::Reply(len) = self.conclude(handshake, more) else { panic!("let in") };
        let HandshakeKind::Rejected(reason) = self.answer(len).kind else { panic!("no refusal") };
        reason
    }
}

const FIVE: Handshake = Handshake { version: 5, ..CALL };

#[test]
fn a_first_handshake_gets_a_cookie_and_no_more_bytes_than_it_had() {
    let mut rig = Rig::new();
    let call = packet(CALL, &[]);
    let Incoming::Reply(len) = rig.say(caller_addr(), &call) else { panic!() };
    assert!(len <= call.len());
    let answer = rig.answer(len);
    assert_eq!((answer.version, answer.extension), (5, HSV5_MAGIC));
    assert_eq!(answer.kind, HandshakeKind::Induction);
    assert_eq!(rig.listener.poll_timeout(), None, "nothing is kept");
    // Whatever else comes unasked is not answered at all.
    let conclusion = Handshake { kind: HandshakeKind::Conclusion, cookie: 1, ..FIVE };
    let hs = hs(HS);
    let guessed = packet(conclusion, &[(ExtensionType::HsRequest, &hs)]);
    for bytes in [&guessed[..], &call[..60], b"", &[0; 64], &[0xff; 1_400]] {
        assert!(matches!(rig.say(caller_addr(), bytes), Incoming::Ignored), "{bytes:?}");
    }
    assert_eq!(rig.listener.poll_timeout(), None);
}

#[test]
fn a_cookie_of_one_address_is_none_of_another() {
    let mut rig = Rig::new();
    let cookie = rig.cookie(caller_addr());
    let conclusion = Handshake { kind: HandshakeKind::Conclusion, cookie, ..FIVE };
    let body = hs(HS);
    let bytes = packet(conclusion, &[(ExtensionType::HsRequest, &body)]);
    let other: SocketAddr = "192.0.2.1:4001".parse().unwrap();
    assert!(matches!(rig.say(other, &bytes), Incoming::Ignored));
    assert!(matches!(rig.say(caller_addr(), &bytes), Incoming::Call(_)));
}

#[test]
fn a_conclusion_that_makes_no_sense_is_refused_with_its_reason() {
    let body = hs(HS);
    let good = (ExtensionType::HsRequest, &body[..]);
    let stream = hs(HsExtension { flags: HsFlags(0x40), ..HS });
    let long = [0x55; 1_200];
    for (what, handshake, more, reason) in [
        ("version 4", CALL, vec![], RejectReason::PEER),
        ("version 6", Handshake { version: 6, ..CALL }, vec![good], RejectReason::VERSION),
        ("no extension", FIVE, vec![], RejectReason::ROGUE),
        ("no socket", Handshake { mtu: 75, ..FIVE }, vec![good], RejectReason::ROGUE),
        ("no window", Handshake { flow_window: 0, ..FIVE }, vec![good], RejectReason::ROGUE),
        ("twice", FIVE, vec![good, good], RejectReason::ROGUE),
        ("short", FIVE, vec![(ExtensionType::HsRequest, &body[..8])], RejectReason::ROGUE),
        (
            "a stream of bytes",
            FIVE,
            vec![(ExtensionType::HsRequest, &stream[..])],
            RejectReason::MESSAGE_API,
        ),
        (
            "file transfer",
            FIVE,
            vec![good, (ExtensionType::Congestion, b"elif")],
            RejectReason::CONGESTION,
        ),
        ("a filter", FIVE, vec![good, (ExtensionType::Filter, b",cef")], RejectReason::FILTER),
        (
            "an empty stream id",
            FIVE,
            vec![good, (ExtensionType::StreamId, &[0; 4])],
            RejectReason::BAD_REQUEST,
        ),
        (
            "a long stream id",
            FIVE,
            vec![good, (ExtensionType::StreamId, &long[..])],
            RejectReason::BAD_REQUEST,
        ),
        (
            "long key material",
            FIVE,
            vec![good, (ExtensionType::KmRequest, &long[..])],
            RejectReason::ROGUE,
        ),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.refused(handshake, &more), reason, "{what}");
        assert_eq!(rig.listener.poll_timeout(), None, "{what}: nothing is kept");
    }
    let mut rig = Rig::new();
    let group = (ExtensionType::Group, &[1, 2, 3, 4, 5, 6, 7, 8][..]);
    let live = (ExtensionType::Congestion, &b"evil"[..]);
    assert!(matches!(rig.conclude(FIVE, &[good, group, live]), Incoming::Call(_)));
}

fn sent_us(handshake: &[u8]) -> u32 {
    let Ok(Header::Control(header)) = Header::parse(handshake) else { panic!() };
    header.timestamp
}

#[test]
fn a_conclusion_that_is_sent_again_has_a_time_of_its_own() {
    let mut rig = Rig::new();
    let call = Call {
        peer: "192.0.2.9:8890".parse().unwrap(),
        socket: SocketId(11),
        initial: SeqNumber::new(7),
        stream_id: None,
    };
    let mut caller = Caller::new(Settings::default(), call, [3; 32], epoch());
    let len = caller.poll_transmit(epoch(), &mut rig.out).unwrap();
    let induction = rig.out[..len].to_vec();
    let Incoming::Reply(len) = rig.say(caller_addr(), &induction) else { panic!() };
    let cookie = rig.out[..len].to_vec();
    assert!(matches!(caller.handle_datagram(epoch(), &cookie), Progress::Waiting));
    let mut said = [0, 250].map(|ms| {
        let now = epoch() + Duration::from_millis(ms);
        let len = caller.poll_transmit(now, &mut rig.out).unwrap();
        rig.out[..len].to_vec()
    });
    assert_eq!(sent_us(&said[1]), sent_us(&said[0]) + 250_000);
    said.iter_mut().for_each(|bytes| bytes[8..12].fill(0));
    assert_eq!(said[0], said[1]);
}

#[test]
fn a_caller_waits_for_its_verdict_and_hears_it_again() {
    let mut rig = Rig::new();
    let body = hs(HS);
    let good = [(ExtensionType::HsRequest, &body[..])];
    let Incoming::Call(request) = rig.conclude(FIVE, &good) else { panic!() };
    assert_eq!((request.stream_id(), request.is_encrypted()), (None, false));
    assert!(matches!(rig.conclude(FIVE, &good), Incoming::Waiting(None)), "it waits");
    rig.listener.judged_at(request.caller(), Some(9));
    assert!(matches!(rig.conclude(FIVE, &good), Incoming::Waiting(Some(9))), "and is known");
    rig.listener.give_up(request.caller());
    let Incoming::Call(request) = rig.conclude(FIVE, &good) else { panic!("it is a new call") };
    let reason = RejectReason::NOT_FOUND;
    let len = rig.listener.refuse(epoch(), &request, reason, &mut rig.out);
    assert_eq!(rig.answer(len).kind, HandshakeKind::Rejected(reason));
    assert_eq!(rig.refused(FIVE, &good), reason, "again");
    let later = rig.listener.poll_timeout().unwrap();
    rig.listener.handle_timeout(later);
    assert_eq!(rig.listener.poll_timeout(), None, "it is forgotten");

    let Incoming::Call(request) = rig.conclude(FIVE, &good) else { panic!() };
    let Rig { listener, settings, out } = &mut rig;
    let keys = (SocketId(77), request.keys(settings, [9; 32]));
    let mut connection = listener.accept(epoch(), &request, settings, keys, out).unwrap();
    let first = connection.poll_transmit(epoch(), out).unwrap();
    let greeting = out[..first].to_vec();
    assert!(connection.poll_transmit(epoch(), out).is_none());
    let Incoming::For(socket) = rig.conclude(FIVE, &good) else { panic!() };
    assert_eq!(socket, connection.socket());
    connection.handle_datagram(epoch(), &mut packet(FIVE, &good));
    let again = connection.poll_transmit(epoch(), &mut rig.out).unwrap();
    assert_eq!(rig.out[..again], greeting);
    // Later it is the same but for its time, by which the caller sets its clock.
    let later = epoch() + Duration::from_millis(250);
    connection.handle_datagram(later, &mut packet(FIVE, &good));
    let again = connection.poll_transmit(later, &mut rig.out).unwrap();
    assert_eq!(sent_us(&rig.out[..again]), sent_us(&greeting) + 250_000);
    assert_eq!((&rig.out[..8], &rig.out[12..again]), (&greeting[..8], &greeting[12..]));
}

#[test]
fn a_player_whose_packets_are_too_small_is_refused() {
    let body = hs(HS);
    let good = [(ExtensionType::HsRequest, &body[..])];
    for (mtu, sends, is_let_in) in
        [(1_360, true, true), (1_359, true, false), (1_000, true, false), (256, false, true)]
    {
        let mut rig = Rig::new();
        let Incoming::Call(request) = rig.conclude(Handshake { mtu, ..FIVE }, &good) else {
            panic!()
        };
        let settings = Settings { sends, ..Settings::default() };
        let keys = (SocketId(77), request.keys(&settings, [9; 32]));
        let accepted = rig.listener.accept(epoch(), &request, &settings, keys, &mut rig.out);
        match accepted {
            Ok(connection) => {
                assert!(is_let_in, "{mtu}");
                assert_eq!(connection.payload_max(), usize::try_from(mtu).unwrap() - 44);
            }
            Err((reason, len)) => {
                assert!(!is_let_in, "{mtu}");
                assert_eq!(rig.answer(len).kind, HandshakeKind::Rejected(reason));
                assert_eq!(reason, RejectReason::ROGUE);
            }
        }
    }
}

#[test]
fn a_payload_that_was_not_agreed_on_ends_the_connection() {
    let mut meeting = Meeting::new(Weather::default(), 1);
    meeting.caller.mtu = 1_400;
    let stream = Source { first_us: 0, interval_us: 1_000, count: 10 };
    let mut world = meeting.hold([Source::NONE, Source::NONE]).unwrap();
    let now = world.now;
    let sender = &mut world.ends[1].connection;
    assert_eq!(sender.payload_max(), 1_356);
    sender.offer(2);
    assert!(sender.poll_data(now, &stream).is_some());
    assert!(sender.poll_data(now, &Long).is_none());
    assert_eq!(sender.closed(), Some(CloseReason::Mtu));
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.ends[0].connection.closed(), Some(CloseReason::Shutdown));
}

/// Packets that fit no agreement but the largest.
struct Long;

impl PacketIndex for Long {
    fn meta(&self, _: u64) -> Option<PacketMeta> {
        Some(PacketMeta { len: 1_357, at_us: 0 })
    }
}

/// A conclusion of that peer and socket, with a good cookie.
fn call(rig: &mut Rig, peer: SocketAddr, socket: u32, key: Option<&[u8]>) -> Vec<u8> {
    let cookie = rig.cookie(peer);
    let kind = HandshakeKind::Conclusion;
    let handshake = Handshake { kind, cookie, socket: SocketId(socket), ..FIVE };
    let body = hs(HS);
    let mut more = vec![(ExtensionType::HsRequest, &body[..])];
    more.extend(key.map(|key| (ExtensionType::KmRequest, key)));
    packet(handshake, &more)
}

fn host(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    ([198, 51, high, low], 4_000).into()
}

#[test]
fn those_who_wait_are_bounded_and_those_who_were_answered_are_not() {
    let mut rig = Rig::new();
    let waiting_max = rig.settings.waiting_max;
    let refusal = |rig: &Rig, len: usize| {
        let (handshake, _) = Handshake::parse(&rig.out[HEADER_BYTES..len]).unwrap();
        handshake.kind
    };
    let mut callers = Vec::new();
    for at in 0..waiting_max {
        let bytes = call(&mut rig, host(at % 7), at as u32 + 1, None);
        let Incoming::Call(request) = rig.say(host(at % 7), &bytes) else { panic!("{at}") };
        callers.push(request);
    }
    let bytes = call(&mut rig, host(9), 1, None);
    let Incoming::Reply(len) = rig.say(host(9), &bytes) else { panic!() };
    assert_eq!(refusal(&rig, len), HandshakeKind::Rejected(RejectReason::BACKLOG));
    // However many were let in a moment ago, the next may come.
    for (request, socket) in callers.iter().zip(1..) {
        let Rig { listener, settings, out } = &mut rig;
        let keys = (SocketId(socket), request.keys(settings, [9; 32]));
        listener.accept(epoch(), request, settings, keys, out).unwrap();
    }
    for at in 0..CALLS_MAX as u32 {
        let bytes = call(&mut rig, host(11), at + 1, None);
        let Incoming::Call(request) = rig.say(host(11), &bytes) else { panic!("{at}") };
        rig.listener.refuse(epoch(), &request, RejectReason::NOT_FOUND, &mut rig.out);
    }
    let bytes = call(&mut rig, host(9), 1, None);
    assert!(matches!(rig.say(host(9), &bytes), Incoming::Call(_)));
    // Refusals were forgotten for refusals, and not who was let in last.
    let last = u32::try_from(waiting_max).unwrap();
    let peer = host((waiting_max - 1) % 7);
    let bytes = call(&mut rig, peer, last, None);
    assert!(matches!(rig.say(peer, &bytes), Incoming::For(socket) if socket == SocketId(last)));
}

#[test]
fn however_many_show_keys_everybody_is_heard() {
    let mut rig = Rig::new();
    let key = [0x55; 40];
    for at in 0..1_000 {
        let bytes = call(&mut rig, host(at), 1, Some(&key));
        assert!(matches!(rig.say(host(at), &bytes), Incoming::Call(_)), "{at}");
    }
}

#[test]
fn both_or_neither_have_the_secret() {
    let secret = |text: &[u8]| Some(Passphrase::new(text).unwrap());
    let meet = |caller: Option<Passphrase>, listener: Option<Passphrase>| {
        let mut meeting = Meeting::new(Weather::default(), 1);
        meeting.caller.passphrase = caller;
        meeting.listener.passphrase = listener;
        meeting.hold([Source::NONE; 2]).err()
    };
    let (one, other) = (secret(b"secret number one"), secret(b"secret number two"));
    assert_eq!(meet(one.clone(), one.clone()), None);
    assert_eq!(meet(None, None), None);
    assert_eq!(meet(one.clone(), other), Some(RejectReason::BAD_SECRET));
    assert_eq!(meet(one.clone(), None), Some(RejectReason::UNSECURE));
    assert_eq!(meet(None, one), Some(RejectReason::UNSECURE));
}

#[test]
fn the_longer_latency_holds() {
    let ms = Duration::from_millis;
    let mut meeting = Meeting::new(Weather::default(), 1);
    meeting.caller.latency = ms(200);
    meeting.caller.peer_latency = ms(700);
    meeting.listener.latency = ms(300);
    meeting.listener.peer_latency = ms(100);
    let world = meeting.hold([Source::NONE; 2]).unwrap();
    let latencies = world.ends.map(|end| {
        let gauges = end.connection.gauges();
        (gauges.ms_rcv_tsb_pd_delay, gauges.ms_snd_tsb_pd_delay)
    });
    assert_eq!(latencies, [(200, 700), (700, 200)]);
}
