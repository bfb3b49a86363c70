//! Datagrams of libsrt 1.5.1, captured between two of its sockets on loopback.

use alloc::vec::Vec;

use super::{
    Ack, AckReport, CONFIG_FLAG, Control, ControlHeader, ControlType, Extension, ExtensionType,
    Extensions, HEADER_BYTES, HS_FLAG, HSV5_MAGIC, Handshake, HandshakeKind, Header, HsExtension,
    HsFlags, KM_FLAG, KeyLength, KeyMaterial, KeySlots, KeyState, LossRange, Passphrase,
    RejectReason, SeqNumber, SocketId, StreamRequest, VERSION_4, VERSION_5, decode_stream_id,
};
use crate::writer::Writer;

const INDUCTION: &str = "80000000000000000000016600000000\
    00000004000000026dd7f636000005dc000020000000000120fb6aa4000000000100007f\
    000000000000000000000000";
const COOKIE: &str = "800000000000000000001e3a20fb6aa4\
    0000000500004a176dd7f636000005dc000020000000000120fb6aa4244464690100007f\
    000000000000000000000000";
const CONCLUSION: &str = "80000000000000000000032f00000000\
    00000005000000056dd7f636000005dc00002000ffffffff20fb6aa4244464690100007f\
    0000000000000000000000000001000300010501000000bf007800000005\
    00023a3a212300613d72";
const ANSWER: &str = "8000000000000000000002ca20fb6aa4\
    00000005000000016dd7f636000005dc00002000ffffffff20fb6aa3244464690100007f\
    0000000000000000000000000002000300010501000000bf00780078";
const ENCRYPTED: &str = "80000000000000000000081d00000000\
    00000005000400073b35b7e3000005dc00002000ffffffff20fb6aa19368a7f80100007f\
    0000000000000000000000000001000300010501000000bf0078000000050002\
    3a3a212300613d72000300121220290100000000020002000000040876b4631bfbd277843ba69b7806e60b7f\
    db96ae5b57ddd17dcf7894fb736a26dfad2420e61f5497819768876bc19d1ba37dd47383c933e2f1";
const WRONG_SECRET: &str = "80000000000000000000040020fb6a9e\
    00000005000000037cd022dd000005dc00002000ffffffff20fb6a9d2d0b4fbd0100007f\
    0000000000000000000000000002000300010501000000bf007800780004000104000000";
const REFUSAL: &str = "800000000000000000000ec920fb6a98\
    0000000500000007397324db000005dc00002000000003f220fb6a97cf4cf6010100007f\
    000000000000000000000000";
const FULL_ACK: &str = "800200000000000100002d6220fb6aa4\
    6dd7f63f000186a00000c35000001ff600000308000003e800101472";
const SMALL_ACK: &str = "800200000000002e000785f328650cc7\
    20ffb3110000007d0000002400001e57";
const LIGHT_ACK: &str = "800200000000000000078e5428650cc720ffb351";
const NAK_RANGE: &str = "80030000000000000002173928650cc7a0ffb1cc20ffb1ce";
const NAK_SINGLE: &str = "80030000000000000002ea1d28650cc720ffb1fb";
const REFRESH: &str = "ffff00030000000000025b6628650cc6\
    1220290300000000020002000000040609ef89d2888d19bd57176313f6c160b4\
    77e6d61afc5ee8c037aee1d3aae412cdc21ee4638c2f51a3b7291ce8bbc19e63\
    d6d437dbfbb32ef4e52dd7f10dae472ba4a20d21ce212344";
const ACKACK: &str = "80060000000000010000318c20fb6aa300000000";
const SHUTDOWN: &str = "80050000000000000016f05c20fb6aa300000000";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

/// The header of a control packet, which writes the same bytes, and the body.
fn control(golden: &str) -> (ControlHeader, Vec<u8>) {
    let bytes = unhex(golden);
    let Ok(Header::Control(header)) = Header::parse(&bytes) else { panic!("{golden}") };
    let mut written = [0; HEADER_BYTES];
    header.encode(&mut Writer::new(&mut written));
    assert_eq!(written, bytes[..HEADER_BYTES]);
    (header, bytes[HEADER_BYTES..].to_vec())
}

/// A handshake, which writes the same bytes, and its extensions.
fn handshake(golden: &str) -> (Handshake, Vec<u8>) {
    let (header, body) = control(golden);
    assert_eq!(header.kind, ControlType::Handshake);
    let (handshake, rest) = Handshake::parse(&body).unwrap();
    let mut written = [0; super::HANDSHAKE_BYTES];
    handshake.encode(&mut Writer::new(&mut written));
    assert_eq!(written, body[..written.len()]);
    (handshake, rest.to_vec())
}

fn extensions(bytes: &[u8]) -> Vec<Extension<'_>> {
    Extensions::new(bytes).map(Result::unwrap).collect()
}

#[test]
fn a_call_in_the_clear() {
    let (call, rest) = handshake(INDUCTION);
    assert_eq!((call.version, call.extension, rest.len()), (VERSION_4, 2, 0));
    assert_eq!((call.kind, call.socket), (HandshakeKind::Induction, SocketId(0x20fb_6aa4)));
    assert_eq!((call.mtu, call.flow_window, call.cookie), (1_500, 8_192, 0));
    assert_eq!(call.peer_addr, super::peer_addr([127, 0, 0, 1].into()));

    let (cookie, _) = handshake(COOKIE);
    assert_eq!((cookie.version, cookie.extension), (VERSION_5, HSV5_MAGIC));
    assert_eq!(cookie.cookie, 0x2444_6469);

    let (conclusion, rest) = handshake(CONCLUSION);
    assert_eq!(conclusion.kind, HandshakeKind::Conclusion);
    assert_eq!(conclusion.extension, HS_FLAG | CONFIG_FLAG);
    let read = extensions(&rest);
    let [hs, stream_id] = read[..] else { panic!("{read:?}") };
    assert_eq!((hs.kind, stream_id.kind), (ExtensionType::HsRequest, ExtensionType::StreamId));
    let flags = HsFlags::TSBPD_SEND
        .with(HsFlags::TSBPD_RECEIVE)
        .with(HsFlags::CRYPT)
        .with(HsFlags::TOO_LATE_DROP)
        .with(HsFlags::PERIODIC_NAK)
        .with(HsFlags::RETRANSMIT_FLAG)
        .with(HsFlags::PACKET_FILTER);
    let said =
        HsExtension { version: 0x0001_0501, flags, receiver_latency_ms: 120, sender_latency_ms: 0 };
    assert_eq!(HsExtension::parse(hs.body), Ok(said));
    let text = decode_stream_id(stream_id.body).unwrap();
    assert_eq!(StreamRequest::parse(&text).unwrap().resource, "a");

    let (answer, rest) = handshake(ANSWER);
    assert_eq!((answer.kind, answer.extension), (HandshakeKind::Conclusion, HS_FLAG));
    assert_eq!(answer.initial_sequence, call.initial_sequence);
    let read = extensions(&rest);
    assert_eq!(read[0].kind, ExtensionType::HsResponse);
    let said = HsExtension { sender_latency_ms: 120, ..said };
    assert_eq!(HsExtension::parse(read[0].body), Ok(said));
}

#[test]
fn keys_of_a_call_and_of_a_refresh() {
    let (conclusion, rest) = handshake(ENCRYPTED);
    assert_eq!((conclusion.encryption, conclusion.extension), (4, HS_FLAG | KM_FLAG | CONFIG_FLAG));
    let read = extensions(&rest);
    let body = read.iter().find(|read| read.kind == ExtensionType::KmRequest).unwrap().body;
    let material = KeyMaterial::parse(body).unwrap();
    assert_eq!((material.slots, material.length), (KeySlots::Even, KeyLength::Aes256));
    let passphrase = Passphrase::new(b"passphrase of a stream").unwrap();
    let kek = passphrase.derive(material.salt, material.length);
    let [Some(even), None] = kek.open(&material).unwrap() else { panic!("an even key") };
    assert_eq!(kek.seal([Some(&even), None]), body, "wrapping has no chance in it");

    let (header, body) = control(REFRESH);
    let Ok(Control::KeyRequest(message)) = Control::parse(&header, &body) else { panic!() };
    let material = KeyMaterial::parse(message).unwrap();
    assert_eq!((material.slots, material.length), (KeySlots::Both, KeyLength::Aes192));
    let kek = Passphrase::new(&[b'x'; 80]).unwrap().derive(material.salt, material.length);
    let keys = kek.open(&material).unwrap();
    assert_eq!(kek.seal(keys.each_ref().map(Option::as_ref)), message);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn refusals() {
    let (refusal, _) = handshake(REFUSAL);
    assert_eq!(refusal.kind, HandshakeKind::Rejected(RejectReason::BAD_SECRET));
    let (_, rest) = handshake(WRONG_SECRET);
    let read = extensions(&rest);
    assert_eq!(read[1].kind, ExtensionType::KmResponse);
    assert_eq!(KeyState::parse(read[1].body), Some(KeyState::BadSecret));
    assert_eq!(KeyState::BadSecret.to_wire(), read[1].body);
}

#[test]
fn reports_of_a_receiver() {
    let ack = |number, next, report| Ack { number, next: SeqNumber::new(next), report };
    let report = |rtt_us, rtt_variance_us, buffer_free, rates| {
        Some(AckReport { rtt_us, rtt_variance_us, buffer_free, rates })
    };
    let rates = Some([0x308, 1_000, 0x10_1472]);
    for (golden, expected) in [
        (FULL_ACK, ack(1, 0x6dd7_f63f, report(100_000, 50_000, 0x1ff6, rates))),
        (SMALL_ACK, ack(0x2e, 0x20ff_b311, report(125, 36, 0x1e57, None))),
        (LIGHT_ACK, ack(0, 0x20ff_b351, None)),
    ] {
        let (header, body) = control(golden);
        assert_eq!(Control::parse(&header, &body), Ok(Control::Ack(expected)));
        let mut written = [0; super::ACK_BYTES_MAX];
        expected.encode(&mut Writer::new(&mut written));
        assert_eq!(written[..expected.encoded_len()], body);
    }
    for (golden, first, last) in
        [(NAK_RANGE, 0x20ff_b1cc, 0x20ff_b1ce), (NAK_SINGLE, 0x20ff_b1fb, 0x20ff_b1fb)]
    {
        let (header, body) = control(golden);
        let Ok(Control::Nak(ranges)) = Control::parse(&header, &body) else { panic!("{golden}") };
        let range = LossRange { first: SeqNumber::new(first), last: SeqNumber::new(last) };
        assert_eq!(ranges.collect::<Vec<_>>(), [Ok(range)]);
        let mut written = [0; 8];
        range.encode(&mut Writer::new(&mut written));
        assert_eq!(written[..range.encoded_len()], body);
    }
    let (header, body) = control(ACKACK);
    assert_eq!(Control::parse(&header, &body), Ok(Control::AckAck(1)));
    let (header, body) = control(SHUTDOWN);
    assert_eq!(Control::parse(&header, &body), Ok(Control::Shutdown));
}

#[test]
fn codes_are_those_of_the_specification() {
    for (wire, kind) in [
        (0x0001_0000, ControlType::KeepAlive),
        (0x0004_0000, ControlType::Congestion),
        (0x0007_0000, ControlType::DropRequest),
        (0x0008_0000, ControlType::PeerError),
        (0x7fff_0001, ControlType::HsRequest),
        (0x7fff_0002, ControlType::HsResponse),
        (0x7fff_0004, ControlType::KeyResponse),
    ] {
        assert_eq!(ControlType::from_wire(0x8000_0000 | wire), kind);
        assert_eq!(kind.to_wire(), wire);
    }
    let flags = [
        (HsFlags::TSBPD_SEND, 0x01),
        (HsFlags::TSBPD_RECEIVE, 0x02),
        (HsFlags::CRYPT, 0x04),
        (HsFlags::TOO_LATE_DROP, 0x08),
        (HsFlags::PERIODIC_NAK, 0x10),
        (HsFlags::RETRANSMIT_FLAG, 0x20),
        (HsFlags::STREAM, 0x40),
        (HsFlags::PACKET_FILTER, 0x80),
    ];
    assert!(flags.into_iter().all(|(flag, bit)| flag.0 == bit));
    let kinds = [6_u8, 7, 8].map(|code| {
        let bytes = [0, code, 0, 0];
        extensions(&bytes)[0].kind
    });
    let expected = [ExtensionType::Congestion, ExtensionType::Filter, ExtensionType::Group];
    assert_eq!(kinds, expected);
    let reasons = [
        (RejectReason::SYSTEM, 1),
        (RejectReason::PEER, 2),
        (RejectReason::RESOURCE, 3),
        (RejectReason::ROGUE, 4),
        (RejectReason::BACKLOG, 5),
        (RejectReason::CLOSE, 7),
        (RejectReason::UNSECURE, 11),
        (RejectReason::MESSAGE_API, 12),
        (RejectReason::CONGESTION, 13),
        (RejectReason::FILTER, 14),
        (RejectReason::GROUP, 15),
        (RejectReason::TIMEOUT, 16),
        (RejectReason::CRYPTO, 17),
        (RejectReason::FORBIDDEN, 1403),
        (RejectReason::DOWN, 1503),
    ];
    assert!(reasons.into_iter().all(|(reason, code)| reason.0 == code));
}
