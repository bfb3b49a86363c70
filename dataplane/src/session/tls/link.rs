//! The TLS connection of a shard's peer, whichever of both opened it.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};

use super::failure::TlsFailure;
use super::hello::Hello;
use super::record::{Unwritten, put};
use crate::Error;

/// What a peer hears that speaks HTTP where TLS is spoken.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 23\r\nConnection: close\r\n\r\nThis port speaks TLS.\r\n";

/// Whom a server is believed to be, and how it is spoken with; the same only as itself.
#[derive(Clone)]
pub struct TlsTrust(pub Arc<ClientConfig>);

impl PartialEq for TlsTrust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsTrust {}

impl std::fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTrust")
    }
}

/// Either end of a connection.
enum End {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Looks at the records that came to either end; the states of both have the same names.
macro_rules! with_records {
    ($end:expr, $records:expr, $status:ident => $act:expr) => {
        match $end {
            End::Server(connection) => {
                let $status = connection.process_tls_records($records);
                $act
            }
            End::Client(connection) => {
                let $status = connection.process_tls_records($records);
                $act
            }
        }
    };
}

macro_rules! each {
    ($end:expr, $connection:ident => $call:expr) => {
        match $end {
            End::Server($connection) => $call,
            End::Client($connection) => $call,
        }
    };
}

/// The TLS connection of a peer.
///
/// Lives on: its peer's shard. Crosses by: mailbox, with a publisher that goes home, also in the
/// middle of a record.
/// In/Out: `handle_bytes` takes ciphertext and appends plain bytes; `encrypt` writes ciphertext
/// into the caller's room; what must go out before that is in `waiting`.
/// Errors: final; the alert for the peer is in `waiting`.
/// Limits: ciphertext of an incomplete record or handshake is bounded by the caller.
pub struct TlsLink {
    connection: End,
    /// What an authority is served with, until it is known whether the peer is one.
    challenge: Option<Arc<ServerConfig>>,
    /// Ciphertext of a record or handshake message that is not complete.
    incoming: Vec<u8>,
    /// Ciphertext that waits for the socket, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    stage: Stage,
}

/// Where the connection stands.
///
/// ```text
///   Handshake --finished--> Open --close_notify--> PeerClosed
///       |                    |                         |
///       +--error--> Failed <-+--------- ours -> Closed-+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Open,
    /// The peer says no more; we may.
    PeerClosed,
    /// We said that nothing follows.
    Closed,
    Failed(TlsFailure),
}

impl std::fmt::Debug for TlsLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys and plain bytes stay out of every log.
        f.debug_struct("TlsLink").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl TlsLink {
    /// Waits for a peer's first bytes.
    ///
    /// # Errors
    /// The configuration cannot serve.
    pub fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let (connection, challenge) = (served_by(config)?, None);
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Ok(Self { connection, challenge, incoming, outgoing, sent: 0, stage: Stage::Handshake })
    }

    /// Opens towards `host`, which has to prove that it is that; the first bytes wait to be sent.
    ///
    /// # Errors
    /// [`Error::Rejected`] if `host` is neither a name nor an address.
    pub fn open(trust: &TlsTrust, host: &str) -> Result<Self, Error> {
        let wrong = || Error::Rejected("tls_name");
        let name = ServerName::try_from(host.to_owned()).map_err(|_| wrong())?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&trust.0), name);
        let connection = End::Client(connection.map_err(|_| Error::Rejected("tls_configuration"))?);
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let (challenge, stage) = (None, Stage::Handshake);
        let mut link = Self { connection, challenge, incoming, outgoing, sent: 0, stage };
        link.handle_bytes(&[], &mut Vec::new(), &mut Vec::new())?;
        Ok(link)
    }

    /// Serves with `challenge` instead, if there is one and the peer turns out to be an authority
    /// that looks for it.
    #[must_use]
    pub fn or_challenge(self, challenge: Option<&Arc<ServerConfig>>) -> Self {
        Self { challenge: challenge.cloned(), ..self }
    }

    /// Keeps ciphertext for the next [`Self::handle_bytes`]; false if more than `bytes_max` wait.
    #[must_use]
    pub fn hold(&mut self, ciphertext: &[u8], bytes_max: usize) -> bool {
        // COPY(tls): ciphertext of a handshake that waits for its turn.
        self.incoming.extend_from_slice(ciphertext);
        self.incoming.len() <= bytes_max
    }

    /// Takes ciphertext and appends what it decrypts to; `scratch` is the caller's, for a moment.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the name of a [`TlsFailure`].
    pub fn handle_bytes(
        &mut self,
        ciphertext: &[u8],
        scratch: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if let Stage::Failed(failure) = self.stage {
            return Err(failure.error());
        }
        scratch.clear();
        scratch.append(&mut self.incoming);
        // COPY(tls): records are decrypted in place, which a receive buffer does not allow.
        scratch.extend_from_slice(ciphertext);
        if !self.is_known(scratch)? {
            self.incoming.append(scratch);
            return Ok(());
        }
        let mut at = 0;
        loop {
            match self.step(&mut scratch[at..], plain) {
                Ok((used, again)) => {
                    at += used;
                    if !again {
                        break;
                    }
                }
                Err(error) => {
                    let failure = TlsFailure::of(&error, self.is_handshaking());
                    tracing::debug!(%error, reason = failure.name(), "tls");
                    self.fail(failure, scratch.get_mut(at..).unwrap_or_default());
                    self.incoming = Vec::new();
                    return Err(failure.error());
                }
            }
        }
        if at == scratch.len() {
            self.incoming = Vec::new();
        }
        // COPY(tls): ciphertext of a record that is not complete yet.
        self.incoming.extend_from_slice(&scratch[at..]);
        Ok(())
    }

    /// Chooses who serves the peer that has said `heard`; false if that does not show yet.
    fn is_known(&mut self, heard: &[u8]) -> Result<bool, Error> {
        let Some(challenge) = &self.challenge else { return Ok(true) };
        match Hello::read(heard) {
            Hello::Unfinished => return Ok(false),
            Hello::Challenge => self.connection = served_by(challenge)?,
            Hello::Else => {}
        }
        self.challenge = None;
        Ok(true)
    }

    /// One state of the connection: bytes that are done with, and whether another state may follow.
    fn step(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Vec<u8>,
    ) -> Result<(usize, bool), rustls::Error> {
        let Self { connection, outgoing, stage, .. } = self;
        with_records!(connection, incoming, status => {
            let UnbufferedStatus { mut discard, state } = status;
            let again = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        // COPY(tls): plain text of a record.
                        plain.extend_from_slice(record.payload);
                    }
                    true
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    put(outgoing, |room| data.encode(room))
                        .map_err(|_| rustls::Error::General("not encoded".to_owned()))?;
                    true
                }
                ConnectionState::TransmitTlsData(data) => {
                    // What is encoded waits in `outgoing`, in order: nothing overtakes it.
                    data.done();
                    true
                }
                ConnectionState::WriteTraffic(_) => {
                    if *stage == Stage::Handshake {
                        *stage = Stage::Open;
                    }
                    false
                }
                ConnectionState::PeerClosed => {
                    if *stage != Stage::Closed {
                        *stage = Stage::PeerClosed;
                    }
                    true
                }
                // The handshake wants more bytes, or nothing follows; no early data is sent.
                _ => false,
            };
            Ok((discard, again))
        })
    }

    /// Ends the connection; the alert for the peer, or an answer that it understands, waits.
    ///
    /// The library remembers places in what it did not take, which is `rest`, unchanged.
    fn fail(&mut self, failure: TlsFailure, rest: &mut [u8]) {
        let Self { connection, outgoing, .. } = self;
        self.stage = Stage::Failed(failure);
        let serves = matches!(connection, End::Server(_));
        let is_text = rest.first().is_some_and(u8::is_ascii_uppercase);
        if serves && failure == TlsFailure::Plain && is_text {
            // CONTROL: the answer to somebody who forgot the `s` of https.
            outgoing.extend_from_slice(PLAIN_HTTP_ANSWER);
            return;
        }
        // Once: the library must not look at what it found wrong a second time.
        with_records!(connection, rest, status => {
            if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
                // The connection is lost either way.
                let _ = put(outgoing, |room| data.encode(room));
            }
        });
    }

    /// Ends the connection from outside: no alert is due.
    pub fn give_up(&mut self, failure: TlsFailure) {
        if !matches!(self.stage, Stage::Failed(_)) {
            self.stage = Stage::Failed(failure);
        }
    }

    /// Encrypts `plain`, in records of [`super::PLAIN_BYTES_MAX`], into `room`; returns how much of
    /// the room was written.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the connection is not open, the keys are used up or `room` is short.
    pub fn encrypt(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, Error> {
        if !matches!(self.stage, Stage::Open | Stage::PeerClosed) {
            return Err(Error::Rejected("tls_closed"));
        }
        let Self { connection, incoming, .. } = self;
        let mut written = 0;
        loop {
            let (discard, done) = with_records!(connection, incoming, status => {
                let done = match status.state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                        let encrypted = traffic.encrypt(plain, &mut room[written..]);
                        Some(encrypted.map_err(|error| match Unwritten::from(error) {
                            Unwritten::Room(_) => Error::Rejected("tls_room"),
                            Unwritten::Exhausted => Error::Rejected("tls_exhausted"),
                        })?)
                    }
                    Ok(ConnectionState::EncodeTlsData(mut data)) => {
                        let encoded = data.encode(&mut room[written..]);
                        written += encoded.map_err(|_| Error::Rejected("tls_room"))?;
                        None
                    }
                    Ok(ConnectionState::TransmitTlsData(data)) => {
                        data.done();
                        None
                    }
                    _ => return Err(Error::Rejected("tls_closed")),
                };
                (status.discard, done)
            });
            incoming.drain(..discard.min(incoming.len()));
            if let Some(n) = done {
                return Ok(written + n);
            }
        }
    }

    /// Tells the peer that nothing follows; true if that now waits to be sent, false if it was said
    /// or cannot be said.
    pub fn say_goodbye(&mut self) -> bool {
        if !matches!(self.stage, Stage::Open | Stage::PeerClosed) {
            return false;
        }
        self.stage = Stage::Closed;
        let Self { connection, incoming, outgoing, .. } = self;
        loop {
            let (discard, said) = with_records!(connection, incoming, status => {
                let said = match status.state {
                    Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                        Some(put(outgoing, |room| traffic.queue_close_notify(room)).is_ok())
                    }
                    Ok(ConnectionState::EncodeTlsData(mut data)) => {
                        put(outgoing, |room| data.encode(room)).err().map(|_| false)
                    }
                    Ok(ConnectionState::TransmitTlsData(data)) => {
                        data.done();
                        None
                    }
                    _ => Some(false),
                };
                (status.discard, said)
            });
            incoming.drain(..discard.min(incoming.len()));
            if let Some(said) = said {
                return said;
            }
        }
    }

    /// Ciphertext that must be sent before any other.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// The socket took `n` bytes of what waits. Memory goes back with the last one.
    pub fn sent(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.outgoing.len() {
            self.outgoing = Vec::new();
            self.sent = 0;
        }
    }

    /// Keeps ciphertext that a full socket did not take.
    pub fn keep(&mut self, ciphertext: &[u8]) {
        // COPY(tls): ciphertext that a full socket left.
        self.outgoing.extend_from_slice(ciphertext);
    }

    /// True until both ends have proved themselves.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshake
    }

    /// True if plain bytes can be encrypted.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::PeerClosed)
    }

    /// True once the peer said that it sends no more.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.stage == Stage::PeerClosed
    }

    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<TlsFailure> {
        match self.stage {
            Stage::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// True if the peer came back with a ticket.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        each!(&self.connection, end => end.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    /// The version, once it is agreed.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match each!(&self.connection, end => end.protocol_version()) {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "handshake",
        }
    }

    /// Bytes that are no whole record or handshake message yet.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        self.incoming.len()
    }

    /// Bytes of the buffers that this connection holds outside of rustls.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }
}

fn served_by(config: &Arc<ServerConfig>) -> Result<End, Error> {
    UnbufferedServerConnection::new(Arc::clone(config))
        .map(End::Server)
        .map_err(|_| Error::Rejected("tls_configuration"))
}
