//! The handshake of a caller.
//!
//! Spec: draft-sharabayko-srt 4.3.1: induction, then conclusion, each asked again until it is
//! answered.
//!
//! Limits: a call that is not answered within [`CALL_US_MAX`] has failed.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use codecs::srt::{
    CONFIG_FLAG, ControlHeader, ControlType, EXTENSION_HEADER_BYTES, ExtensionType, Extensions,
    HANDSHAKE_BYTES, HEADER_BYTES, HS_EXTENSION_BYTES, HS_FLAG, HSV5_MAGIC, Handshake,
    HandshakeKind, Header, HsExtension, HsFlags, KM_FLAG, SeqNumber, SocketId, VERSION_4,
    VERSION_5, encode_extension, encode_stream_id, peer_addr,
};
use codecs::writer::Writer;

use super::inbound::WINDOW_PACKETS_MAX;
use super::keys::{KEY_BYTES, Keys};
use super::link::Agreed;
use super::outbox::{ControlHead, Outbox};
use super::target::SrtTarget;

/// How long a call may take.
pub const CALL_US_MAX: u64 = 10_000_000;

/// How long an answer is waited for before it is asked for again.
const AGAIN_US: u64 = 250_000;

/// Bytes that nobody can guess, of which a call makes its ids and keys.
pub const SECRETS_BYTES: usize = KEY_BYTES + 8;

/// What we say to be: it plays by timestamps, and the peer may expect all that 1.5.1 does.
const VERSION: u32 = 0x0001_0501;
const MTU: u32 = 1500;

/// What a caller and who answers it can do.
pub(super) const FLAGS: HsFlags = HsFlags(
    HsFlags::TSBPD_SEND.0
        | HsFlags::TSBPD_RECEIVE.0
        | HsFlags::CRYPT.0
        | HsFlags::TOO_LATE_DROP.0
        | HsFlags::PERIODIC_NAK.0
        | HsFlags::RETRANSMIT_FLAG.0,
);

/// What came of a packet.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was none.
    Nothing,
    Granted(Box<Agreed>),
    Refused(String),
}

#[derive(Debug)]
pub(super) struct Call {
    target: SrtTarget,
    server: IpAddr,
    socket: SocketId,
    first: SeqNumber,
    /// The keys, and the message that tells them.
    keys: Option<(Keys, Vec<u8>)>,
    /// Known after the induction.
    cookie: Option<u32>,
    asked_us: Option<u64>,
}

impl Call {
    pub(super) fn new(
        target: &SrtTarget,
        server: IpAddr,
        secrets: &[u8; SECRETS_BYTES],
    ) -> Result<Self> {
        let (ids, secret) = secrets.split_first_chunk::<8>().context("ids come first")?;
        let secret = secret.first_chunk().context("a key follows")?;
        let [a, b, c, d, e, f, g, h] = *ids;
        // Bit 30 is left out of ids: libsrt marks groups by it.
        let socket = SocketId((u32::from_be_bytes([a, b, c, d]) & 0x3fff_ffff).max(1));
        let first = SeqNumber::new(u32::from_be_bytes([e, f, g, h]));
        let passphrase = target.passphrase.as_ref();
        let keys = passphrase.map(|words| Keys::make(words, target.key_length, secret));
        let keys = keys.transpose()?;
        let target = target.clone();
        Ok(Self { target, server, socket, first, keys, cookie: None, asked_us: None })
    }

    /// Asks, if it is time.
    ///
    /// # Errors
    /// If it is too late.
    pub(super) fn tick(&mut self, now_us: u64, out: &mut Outbox) -> Result<()> {
        if now_us > CALL_US_MAX {
            bail!("no answer within {} s; does it speak SRT there?", CALL_US_MAX / 1_000_000);
        }
        if self.asked_us.is_none_or(|asked_us| now_us.saturating_sub(asked_us) >= AGAIN_US) {
            self.ask(now_us, out);
        }
        Ok(())
    }

    fn ask(&mut self, now_us: u64, out: &mut Outbox) {
        self.asked_us = Some(now_us);
        let call = Handshake {
            version: VERSION_4,
            encryption: 0,
            extension: 2,
            initial_sequence: self.first,
            mtu: MTU,
            flow_window: WINDOW_PACKETS_MAX as u32,
            kind: HandshakeKind::Induction,
            socket: self.socket,
            cookie: 0,
            peer_addr: peer_addr(self.server),
        };
        let Some(cookie) = self.cookie else {
            put_handshake(&call, &[], SocketId::LISTENER, now_us, out);
            return;
        };
        let hs = HsExtension {
            version: VERSION,
            flags: FLAGS,
            receiver_latency_ms: self.target.latency_ms,
            sender_latency_ms: self.target.latency_ms,
        };
        let mut said = [0; HS_EXTENSION_BYTES];
        hs.encode(&mut Writer::new(&mut said));
        let stream_id = encode_stream_id(self.target.stream_id.as_bytes());
        let mut extensions =
            vec![(ExtensionType::HsRequest, &said[..]), (ExtensionType::StreamId, &stream_id[..])];
        let mut flags = HS_FLAG | CONFIG_FLAG;
        let mut encryption = 0;
        if let Some((_, message)) = &self.keys {
            extensions.push((ExtensionType::KmRequest, message.as_slice()));
            flags |= KM_FLAG;
            encryption = (self.target.key_length.bytes() / 8) as u16;
        }
        let call = Handshake {
            version: VERSION_5,
            encryption,
            extension: flags,
            kind: HandshakeKind::Conclusion,
            cookie,
            ..call
        };
        put_handshake(&call, &extensions, SocketId::LISTENER, now_us, out);
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub(super) fn take(
        &mut self,
        datagram: &[u8],
        now_us: u64,
        out: &mut Outbox,
    ) -> Result<Answer> {
        // Media may overtake the answer; it is asked for again once that has come.
        let Header::Control(header) = Header::parse(datagram)? else {
            return Ok(Answer::Nothing);
        };
        if header.kind != ControlType::Handshake || header.destination != self.socket {
            return Ok(Answer::Nothing);
        }
        let (answer, extensions) = Handshake::parse(&datagram[HEADER_BYTES..])?;
        match answer.kind {
            HandshakeKind::Induction if self.cookie.is_none() => {
                if answer.version < VERSION_5 || answer.extension != HSV5_MAGIC {
                    bail!("the server does not speak SRT 1.3 or newer");
                }
                self.cookie = Some(answer.cookie);
                self.ask(now_us, out);
                Ok(Answer::Nothing)
            }
            HandshakeKind::Conclusion if self.cookie.is_some() => {
                self.conclude(&header, &answer, extensions, now_us)
            }
            HandshakeKind::Rejected(reason) => Ok(Answer::Refused(reason.to_string())),
            _ => Ok(Answer::Nothing),
        }
    }

    fn conclude(
        &mut self,
        header: &ControlHeader,
        answer: &Handshake,
        extensions: &[u8],
        now_us: u64,
    ) -> Result<Answer> {
        let (mut hs, mut is_sealed) = (None, false);
        for extension in Extensions::new(extensions) {
            let extension = extension?;
            match extension.kind {
                ExtensionType::HsResponse => hs = Some(HsExtension::parse(extension.body)?),
                ExtensionType::KmResponse => {
                    let sent = self.keys.as_ref().map(|(_, message)| message.as_slice());
                    is_sealed = sent == Some(extension.body);
                }
                _ => {}
            }
        }
        let hs = hs.context("the server's answer says nothing of SRT")?;
        if self.keys.is_some() && !is_sealed {
            let reason = "the server did not take the key: its passphrase is another, or none";
            return Ok(Answer::Refused(reason.to_owned()));
        }
        let latency_us = |theirs: u16| 1_000 * u64::from(theirs.max(self.target.latency_ms));
        Ok(Answer::Granted(Box::new(Agreed {
            peer: answer.socket,
            first: self.first,
            receive_latency_us: latency_us(hs.sender_latency_ms),
            send_latency_us: latency_us(hs.receiver_latency_ms),
            peer_zero_us: now_us as i64 - i64::from(header.timestamp),
            keys: self.keys.take().map(|(keys, _)| keys),
        })))
    }
}

/// Appends a handshake with its extensions.
pub(super) fn put_handshake(
    handshake: &Handshake,
    extensions: &[(ExtensionType, &[u8])],
    destination: SocketId,
    now_us: u64,
    out: &mut Outbox,
) {
    let bodies = extensions.iter().map(|(_, body)| EXTENSION_HEADER_BYTES + body.len());
    let len = HANDSHAKE_BYTES + bodies.sum::<usize>();
    let head = ControlHead { kind: ControlType::Handshake, info: 0, now_us, destination };
    out.put_control(head, len, |writer| {
        handshake.encode(writer);
        for (kind, body) in extensions {
            encode_extension(*kind, body, writer);
        }
    });
}
