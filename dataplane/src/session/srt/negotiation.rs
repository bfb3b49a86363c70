//! What the two sides of a conclusion tell each other, and what follows from it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use codecs::srt::{
    CONFIG_FLAG, ControlHeader, ControlType, EXTENSION_HEADER_BYTES, ExtensionType, Extensions,
    HANDSHAKE_BYTES, HEADER_BYTES, HS_EXTENSION_BYTES, HS_FLAG, Handshake, HandshakeKind,
    HsExtension, HsFlags, KEY_MATERIAL_BYTES_MAX, KM_FLAG, RejectReason, SeqNumber, SocketId,
    VERSION_5, decode_stream_id, encode_extension, encode_stream_id, peer_addr,
};
use codecs::writer::Writer;

use super::keyring::Keyring;
use super::settings::{FLAGS, MTU_MIN, SEND_MTU_MIN, SRT_VERSION, Settings};

/// The congestion control of live streams.
const LIVE: &[u8] = b"live";

/// Where the timestamp stands in a header.
const TIMESTAMP: std::ops::Range<usize> = 8..12;
/// What our clock shows when it begins. libsrt takes times for wrapped only if it has seen the half
/// minute before the wrap, and one before our first would be as good as 71 minutes later.
const HEAD_START_US: i64 = 60_000_000;

/// What one side says in a conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) handshake: Handshake,
    pub(super) extension: HsExtension,
    pub(super) stream_id: Option<Vec<u8>>,
    pub(super) key_material: Option<Vec<u8>>,
}

/// Which side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Caller,
    Listener,
}

impl Offer {
    /// Reads the extensions of a conclusion that `side` sent.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn parse(
        handshake: Handshake,
        rest: &[u8],
        side: Side,
    ) -> Result<Self, RejectReason> {
        if handshake.version != VERSION_5 {
            return Err(RejectReason::VERSION);
        }
        let is_odd = handshake.socket == SocketId::LISTENER
            || handshake.mtu < MTU_MIN
            || handshake.flow_window == 0;
        if is_odd {
            return Err(RejectReason::ROGUE);
        }
        let (hs, km) = match side {
            Side::Caller => (ExtensionType::HsRequest, ExtensionType::KmRequest),
            Side::Listener => (ExtensionType::HsResponse, ExtensionType::KmResponse),
        };
        let mut extension = None;
        let mut stream_id = None;
        let mut key_material = None;
        for read in Extensions::new(rest) {
            let read = read.map_err(|_| RejectReason::ROGUE)?;
            if read.kind == hs {
                let parsed = HsExtension::parse(read.body).map_err(|_| RejectReason::ROGUE)?;
                once(&mut extension, parsed)?;
            } else if read.kind == km {
                if read.body.len() > KEY_MATERIAL_BYTES_MAX {
                    return Err(RejectReason::ROGUE);
                }
                // CONTROL: key material, of a bounded length.
                once(&mut key_material, read.body.to_vec())?;
            } else {
                match read.kind {
                    ExtensionType::StreamId => {
                        let text =
                            decode_stream_id(read.body).map_err(|_| RejectReason::BAD_REQUEST)?;
                        once(&mut stream_id, text)?;
                    }
                    ExtensionType::Congestion if !read.is_text(LIVE) => {
                        return Err(RejectReason::CONGESTION);
                    }
                    ExtensionType::Filter if !read.body.is_empty() => {
                        return Err(RejectReason::FILTER);
                    }
                    // A group of one link is a link: a caller that wants more hears of no group.
                    _ => {}
                }
            }
        }
        let extension = extension.ok_or(RejectReason::ROGUE)?;
        if extension.flags.has(HsFlags::STREAM) {
            return Err(RejectReason::MESSAGE_API);
        }
        Ok(Self { handshake, extension, stream_id, key_material })
    }

    /// Writes it as a packet to `destination`.
    pub(super) fn encode(&self, side: Side, destination: SocketId, timestamp: u32) -> Vec<u8> {
        let (hs, km) = match side {
            Side::Caller => (ExtensionType::HsRequest, ExtensionType::KmRequest),
            Side::Listener => (ExtensionType::HsResponse, ExtensionType::KmResponse),
        };
        let stream_id = self.stream_id.as_deref().map(encode_stream_id);
        let body_bytes = |body: &Option<Vec<u8>>| {
            body.as_ref().map_or(0, |body| EXTENSION_HEADER_BYTES + body.len())
        };
        let len = HEADER_BYTES
            + HANDSHAKE_BYTES
            + EXTENSION_HEADER_BYTES
            + HS_EXTENSION_BYTES
            + body_bytes(&self.key_material)
            + body_bytes(&stream_id);
        let mut packet = vec![0; len];
        let mut writer = Writer::new(&mut packet);
        let kind = ControlType::Handshake;
        ControlHeader { kind, info: 0, timestamp, destination }.encode(&mut writer);
        let flag = |has: bool, flag: u16| if has { flag } else { 0 };
        let extension = HS_FLAG
            | flag(self.key_material.is_some(), KM_FLAG)
            | flag(stream_id.is_some(), CONFIG_FLAG);
        Handshake { extension, ..self.handshake }.encode(&mut writer);
        let mut body = [0; HS_EXTENSION_BYTES];
        self.extension.encode(&mut Writer::new(&mut body));
        encode_extension(hs, &body, &mut writer);
        for (kind, body) in [(km, &self.key_material), (ExtensionType::StreamId, &stream_id)] {
            if let Some(body) = body {
                encode_extension(kind, body, &mut writer);
            }
        }
        packet
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), RejectReason> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(RejectReason::ROGUE),
    }
}

/// What is said of us.
pub(super) fn our_extension(settings: &Settings) -> HsExtension {
    HsExtension {
        version: SRT_VERSION,
        flags: FLAGS,
        receiver_latency_ms: settings.latency_ms(),
        sender_latency_ms: settings.peer_latency_ms(),
    }
}

/// A handshake of ours, without the extension field.
pub(super) fn our_handshake(
    settings: &Settings,
    socket: SocketId,
    initial_sequence: SeqNumber,
    peer: IpAddr,
) -> Handshake {
    Handshake {
        version: VERSION_5,
        encryption: 0,
        extension: 0,
        initial_sequence,
        mtu: settings.mtu,
        flow_window: settings.receive_window,
        kind: HandshakeKind::Conclusion,
        socket,
        cookie: 0,
        peer_addr: peer_addr(peer),
    }
}

/// What was agreed on.
#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) socket: SocketId,
    pub(super) peer_socket: SocketId,
    /// The number of the peer's first packet.
    pub(super) initial: SeqNumber,
    /// That of ours: the same, unless two callers met.
    pub(super) send_initial: SeqNumber,
    pub(super) mtu: u32,
    pub(super) peer_window: u32,
    /// How long we wait for what is missing.
    pub(super) receive_latency: Duration,
    /// How long the peer does.
    pub(super) send_latency: Duration,
    /// True if the peer asks more than once for what it misses.
    pub(super) peer_asks_again: bool,
    /// When the peer's handshake came, and its timestamp.
    pub(super) heard: (Instant, u32),
    /// When our clock began.
    pub(super) began: Instant,
    pub(super) keys: Option<Keyring>,
    /// What is answered to a conclusion that comes again.
    pub(super) greeting: Option<Vec<u8>>,
}

impl Agreement {
    /// What follows from the peer's offer and our settings.
    ///
    /// # Errors
    /// Why there is no agreement.
    pub(super) fn new(
        settings: &Settings,
        offer: &Offer,
        socket: SocketId,
        heard: (Instant, u32),
        began: Instant,
    ) -> Result<Self, RejectReason> {
        let mtu = offer.handshake.mtu.min(settings.mtu);
        if settings.sends && mtu < SEND_MTU_MIN {
            return Err(RejectReason::ROGUE);
        }
        let ms = |ms: u16| Duration::from_millis(ms.into());
        let theirs = offer.extension;
        Ok(Self {
            socket,
            peer_socket: offer.handshake.socket,
            initial: offer.handshake.initial_sequence,
            send_initial: offer.handshake.initial_sequence,
            mtu,
            peer_window: offer.handshake.flow_window,
            receive_latency: ms(settings.latency_ms().max(theirs.sender_latency_ms)),
            send_latency: ms(settings.peer_latency_ms().max(theirs.receiver_latency_ms)),
            peer_asks_again: theirs.flags.has(HsFlags::PERIODIC_NAK),
            heard,
            began,
            keys: None,
            greeting: None,
        })
    }
}

/// The time on our clock, as it stands in a header.
pub(super) fn timestamp(now: Instant, began: Instant) -> u32 {
    let micros = now.saturating_duration_since(began).as_micros();
    wire_time(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// Writes anew when a packet that was kept is sent: the peer ties its clock to ours by it.
pub(super) fn stamp(packet: &mut [u8], sent: u32) {
    if let Some(field) = packet.get_mut(TIMESTAMP) {
        // CONTROL: four bytes of a header.
        field.copy_from_slice(&sent.to_be_bytes());
    }
}

/// Microseconds since our clock began, as they stand in a header.
pub(super) fn wire_time(at_us: i64) -> u32 {
    let shown = at_us.saturating_add(HEAD_START_US).max(0);
    u32::try_from(shown & i64::from(u32::MAX)).expect("32 bits")
}
