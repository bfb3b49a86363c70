//! The client's side of a TLS connection.
//!
//! In/Out: `handle_bytes` takes ciphertext and appends plain bytes; `send` takes plain bytes;
//! `poll_transmit` appends ciphertext.
//! Errors: final; a TLS alert for the peer, if one is due, is in `poll_transmit`.
//! Limits: `INCOMING_BYTES_MAX` of ciphertext that is no whole record yet, and
//! `EARLY_BYTES_MAX` of plain bytes while the handshake runs.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{CertificateError, ClientConfig};

use super::record::put;
use crate::Error;

/// Ciphertext that waits for its record or handshake message to be complete. rustls refuses larger
/// ones by itself.
const INCOMING_BYTES_MAX: usize = 128 << 10;
/// Plain bytes that wait for the end of the handshake.
const EARLY_BYTES_MAX: usize = 256 << 10;
/// Ciphertext that is looked at in one go.
const STEP_BYTES: usize = 16 << 10;

/// A client's TLS connection.
///
/// Lives on: its owner's thread. Crosses by: never.
pub struct TlsClient {
    connection: UnbufferedClientConnection,
    incoming: Vec<u8>,
    /// Plain bytes that wait for the end of the handshake.
    early: Vec<u8>,
    outgoing: Vec<u8>,
    stage: Stage,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Open,
    /// The peer sends no more.
    PeerClosed,
    /// An error, or both ends have closed.
    Closed,
}

impl std::fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys and plain bytes stay out of every log.
        f.debug_struct("TlsClient").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// Opens towards `host`, whose certificate is checked against the roots of `config`; the first
    /// bytes are ready to be sent.
    ///
    /// # Errors
    /// [`Error::Rejected`] if `host` is neither a name nor an address.
    pub fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, Error> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| Error::Rejected("tls_name"))?;
        let connection = UnbufferedClientConnection::new(config, name).map_err(|e| reason(&e))?;
        let (incoming, early, outgoing) = (Vec::new(), Vec::new(), Vec::new());
        let mut this = Self { connection, incoming, early, outgoing, stage: Stage::Handshake };
        this.drive(&mut Vec::new())?;
        Ok(this)
    }

    /// Takes ciphertext and appends what it decrypts to.
    ///
    /// # Errors
    /// [`Error::Rejected`]: `tls_certificate` if the peer is not who it should be, `tls` for
    /// everything else.
    pub fn handle_bytes(&mut self, ciphertext: &[u8], plain: &mut Vec<u8>) -> Result<(), Error> {
        for step in ciphertext.chunks(STEP_BYTES) {
            if self.incoming.len() + step.len() > INCOMING_BYTES_MAX {
                self.stage = Stage::Closed;
                return Err(Error::Rejected("tls_record"));
            }
            // COPY(tls): cipher text of a record that is not complete yet.
            self.incoming.extend_from_slice(step);
            self.drive(plain)?;
        }
        Ok(())
    }

    /// Takes plain bytes to be encrypted, at once or when the handshake is over.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the connection is closed or too much waits.
    pub fn send(&mut self, plain: &[u8]) -> Result<(), Error> {
        if self.stage == Stage::Closed {
            return Err(Error::Rejected("tls_closed"));
        }
        if self.early.len() + plain.len() > EARLY_BYTES_MAX {
            return Err(Error::Rejected("tls_early_bytes"));
        }
        // COPY(tls): plain text that came before the handshake was over.
        self.early.extend_from_slice(plain);
        if self.stage == Stage::Handshake { Ok(()) } else { self.drive(&mut Vec::new()) }
    }

    /// Tells the peer that no more comes.
    ///
    /// # Errors
    /// [`Error::Rejected`] while the handshake runs.
    pub fn close(&mut self) -> Result<(), Error> {
        let Self { connection, incoming, outgoing, .. } = self;
        let UnbufferedStatus { discard, state } = connection.process_tls_records(incoming);
        let closed = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                put(outgoing, |room| traffic.queue_close_notify(room))
            }
            _ => Err(Error::Rejected("tls")),
        };
        incoming.drain(..discard.min(incoming.len()));
        self.stage = Stage::Closed;
        closed
    }

    /// Appends the ciphertext that waits; true if there was any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.outgoing.is_empty();
        out.append(&mut self.outgoing);
        any
    }

    /// True until the peer has proved who it is.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshake
    }

    /// True once the peer said that it sends no more: an end without it was cut.
    #[must_use]
    pub fn peer_closed(&self) -> bool {
        self.stage == Stage::PeerClosed
    }

    /// Moves records until one is missing.
    fn drive(&mut self, plain: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            match self.step(plain) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    self.stage = Stage::Closed;
                    return Err(error);
                }
            }
        }
    }

    /// One state of the connection; true if there may be another at once.
    fn step(&mut self, plain: &mut Vec<u8>) -> Result<bool, Error> {
        let Self { connection, incoming, early, outgoing, stage } = self;
        let UnbufferedStatus { mut discard, state } = connection.process_tls_records(incoming);
        let again = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        discard += record.discard;
                        // COPY(tls): plain text of a record.
                        plain.extend_from_slice(record.payload);
                    }
                    Some(Err(error)) => break Err(reason(&error)),
                    None => break Ok(true),
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                put(outgoing, |room| data.encode(room)).map(|()| true)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // What is encoded waits in `outgoing`, in order: nothing may overtake it.
                data.done();
                Ok(true)
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                if *stage == Stage::Handshake {
                    *stage = Stage::Open;
                }
                let sent = early
                    .chunks(STEP_BYTES)
                    .try_for_each(|piece| put(outgoing, |room| traffic.encrypt(piece, room)));
                early.clear();
                sent.map(|()| false)
            }
            Ok(ConnectionState::PeerClosed) => {
                *stage = Stage::PeerClosed;
                Ok(true)
            }
            Ok(ConnectionState::Closed) => {
                *stage = Stage::Closed;
                Ok(false)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(reason(&error)),
        };
        incoming.drain(..discard.min(incoming.len()));
        if again.is_err() {
            self.alert();
        }
        again
    }

    /// After an error: the alert that tells the peer, if there is one.
    fn alert(&mut self) {
        let Self { connection, incoming, outgoing, .. } = self;
        let UnbufferedStatus { state, .. } = connection.process_tls_records(incoming);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
            // The connection is lost either way.
            let _ = put(outgoing, |room| data.encode(room));
        }
    }
}

/// The word for an error; the detail goes to the log.
fn reason(error: &rustls::Error) -> Error {
    tracing::debug!(%error, "tls");
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Expired) => {
            Error::Rejected("tls_certificate_expired")
        }
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Error::Rejected("tls_certificate")
        }
        _ => Error::Rejected("tls"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{RootCertStore, ServerConfig, ServerConnection};
    use std::io::{Read, Write};

    /// A server for `localhost` and a client configuration that trusts it.
    fn pair() -> (ServerConnection, Arc<ClientConfig>) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        let certificate = own.cert.der().clone();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        (ServerConnection::new(Arc::new(server)).unwrap(), client_config(roots))
    }

    fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// Carries ciphertext both ways, `size` bytes at a time to the client, until both are silent.
    fn talk(
        client: &mut TlsClient,
        server: &mut ServerConnection,
        size: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let (mut at_client, mut at_server) = (Vec::new(), Vec::new());
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            client.poll_transmit(&mut up);
            let mut rest = up.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                // An alert of the client is its own affair.
                if server.process_new_packets().is_err() {
                    return Ok((at_client, at_server));
                }
                let mut room = [0; 4096];
                while let Ok(n @ 1..) = server.reader().read(&mut room) {
                    at_server.extend_from_slice(&room[..n]);
                }
            }
            while server.wants_write() {
                server.write_tls(&mut down).unwrap();
            }
            if up.is_empty() && down.is_empty() {
                return Ok((at_client, at_server));
            }
            for piece in down.chunks(size) {
                client.handle_bytes(piece, &mut at_client)?;
            }
        }
    }

    #[test]
    fn bytes_go_both_ways_whatever_the_pieces() {
        for size in [1, 7, 1000, usize::MAX] {
            let (mut server, config) = pair();
            let mut client = TlsClient::new(config, "localhost").unwrap();
            assert!(client.is_handshaking());
            client.send(b"early").unwrap();
            server.writer().write_all(&[9; 50_000]).unwrap();
            let (at_client, at_server) = talk(&mut client, &mut server, size).unwrap();
            assert_eq!((at_client, at_server), (vec![9; 50_000], b"early".to_vec()));
            assert!(!client.is_handshaking());
            let long = vec![7; 100_000];
            client.send(&long).unwrap();
            let (_, at_server) = talk(&mut client, &mut server, size).unwrap();
            assert_eq!(at_server, long);
            server.send_close_notify();
            talk(&mut client, &mut server, size).unwrap();
            assert!(client.peer_closed());
            client.close().unwrap();
            assert!(client.poll_transmit(&mut Vec::new()));
            assert_eq!(client.send(b"late"), Err(Error::Rejected("tls_closed")));
        }
    }

    #[test]
    fn a_certificate_that_does_not_prove_the_host_is_refused_with_an_alert() {
        let (_, stranger) = pair();
        for (host, trusted) in [("example.org", true), ("localhost", false)] {
            let (mut server, config) = pair();
            let config = if trusted { config } else { Arc::clone(&stranger) };
            let mut client = TlsClient::new(config, host).unwrap();
            let error = talk(&mut client, &mut server, usize::MAX).unwrap_err();
            assert_eq!(error, Error::Rejected("tls_certificate"), "{host}");
            assert!(client.poll_transmit(&mut Vec::new()), "an alert is due");
        }
    }

    #[test]
    fn what_is_no_tls_is_refused() {
        let (_, config) = pair();
        let mut client = TlsClient::new(Arc::clone(&config), "localhost").unwrap();
        let error = client.handle_bytes(b"HTTP/1.1 400 Bad Request\r\n", &mut Vec::new());
        assert_eq!(error, Err(Error::Rejected("tls")));
        assert_eq!(TlsClient::new(config, "no name").map(|_| ()), Err(Error::Rejected("tls_name")));
    }

    #[test]
    fn waiting_bytes_have_a_bound() {
        let (_, config) = pair();
        let mut client = TlsClient::new(config, "localhost").unwrap();
        client.send(&vec![0; EARLY_BYTES_MAX]).unwrap();
        assert_eq!(client.send(b"x"), Err(Error::Rejected("tls_early_bytes")));
    }
}
