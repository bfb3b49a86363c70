//! The server's side of TLS against an independent client, without a socket.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::io::{Read, Write};
use std::sync::Arc;

use dataplane::Error;
use dataplane::session::tls::{Identity, PLAIN_BYTES_MAX, TlsFailure, TlsLink, TlsTrust};
use node::{Certificate, client, client_config};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] =
    [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

/// Both ends of a connection, and what each has heard.
struct Pair {
    client: ClientConnection,
    server: TlsLink,
    scratch: Vec<u8>,
    at_client: Vec<u8>,
    at_server: Vec<u8>,
}

impl Pair {
    fn new(identity: &Identity, config: &Arc<ClientConfig>) -> Self {
        Self::by(TlsLink::new(identity.https()).unwrap(), config)
    }

    fn by(server: TlsLink, config: &Arc<ClientConfig>) -> Self {
        Self {
            client: client(config),
            server,
            scratch: Vec::new(),
            at_client: Vec::new(),
            at_server: Vec::new(),
        }
    }

    /// Carries ciphertext both ways, `size` bytes at a time, until both are silent.
    fn talk(&mut self, size: usize) -> Result<(), Error> {
        loop {
            let mut up = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut up).unwrap();
            }
            for piece in up.chunks(size) {
                self.server.handle_bytes(piece, &mut self.scratch, &mut self.at_server)?;
            }
            let down = self.server.waiting().to_vec();
            self.server.sent(down.len());
            self.hear(&down, size);
            if up.is_empty() && down.is_empty() {
                return Ok(());
            }
        }
    }

    /// The client takes ciphertext.
    fn hear(&mut self, down: &[u8], size: usize) {
        for mut piece in down.chunks(size) {
            while !piece.is_empty() {
                self.client.read_tls(&mut piece).unwrap();
                // What the client makes of an alert is its own affair.
                let _ = self.client.process_new_packets();
                let mut room = [0; 4_096];
                while let Ok(n @ 1..) = self.client.reader().read(&mut room) {
                    self.at_client.extend_from_slice(&room[..n]);
                }
            }
        }
    }

    /// The server says `plain`.
    fn say(&mut self, plain: &[u8]) {
        let mut room = vec![0; plain.len() + (plain.len() / PLAIN_BYTES_MAX + 2) * 512];
        let len = self.server.encrypt(plain, &mut room).unwrap();
        self.hear(&room[..len], usize::MAX);
    }
}

#[test]
fn bytes_go_both_ways_whatever_the_pieces() {
    let certificate = Certificate::new();
    let identity = certificate.identity();
    for versions in VERSIONS {
        for size in [1, 7, 1_000, usize::MAX] {
            let mut pair = Pair::new(&identity, &client_config(&certificate, versions));
            assert!(pair.server.is_handshaking() && !pair.server.is_writable());
            assert_eq!(pair.server.encrypt(b"x", &mut [0; 99]), Err(Error::Rejected("tls_closed")));
            pair.client.writer().write_all(&[9; 50_000]).unwrap();
            pair.talk(size).unwrap();
            assert!(!pair.server.is_handshaking() && pair.server.is_writable());
            pair.say(&[7; 100_000]);
            pair.say(b"end");
            pair.client.refresh_traffic_keys().unwrap_or_default();
            pair.client.writer().write_all(b"more").unwrap();
            pair.talk(size).unwrap();
            pair.say(b"!");
            let at_client = [vec![7; 100_000], b"end!".to_vec()].concat();
            let at_server = [vec![9; 50_000], b"more".to_vec()].concat();
            assert!(pair.at_client == at_client && pair.at_server == at_server);
            assert_eq!(pair.server.pending_bytes() + pair.server.buffer_bytes(), 0);
        }
    }
}

#[test]
fn each_end_may_close_first() {
    let certificate = Certificate::new();
    let identity = certificate.identity();
    for versions in VERSIONS {
        let mut pair = Pair::new(&identity, &client_config(&certificate, versions));
        pair.talk(usize::MAX).unwrap();
        pair.client.send_close_notify();
        pair.talk(usize::MAX).unwrap();
        assert!(pair.server.peer_closed() && pair.server.is_writable());
        pair.say(b"an answer that was owed");
        assert!(pair.server.say_goodbye() && !pair.server.say_goodbye());
        pair.talk(usize::MAX).unwrap();
        assert_eq!(pair.at_client, b"an answer that was owed");
        assert_eq!(pair.client.reader().read(&mut [0; 9]).unwrap(), 0, "a clean end");

        let mut pair = Pair::new(&identity, &client_config(&certificate, versions));
        pair.talk(usize::MAX).unwrap();
        assert!(pair.server.say_goodbye());
        pair.talk(usize::MAX).unwrap();
        assert_eq!(pair.client.reader().read(&mut [0; 9]).unwrap(), 0, "a clean end");
        assert!(!pair.server.is_writable());
    }
}

#[test]
fn a_peer_that_returns_resumes_also_after_the_certificate_changed() {
    let certificate = Certificate::new();
    let old = certificate.identity();
    let new = certificate.identity().with_tickets_of(&old);
    for versions in VERSIONS {
        let config = client_config(&certificate, versions);
        for (identity, resumed) in [(&old, false), (&old, true), (&new, true)] {
            let mut pair = Pair::new(identity, &config);
            pair.talk(usize::MAX).unwrap();
            pair.say(b"x");
            assert_eq!(pair.server.is_resumed(), resumed);
        }
    }
}

#[test]
fn each_failure_has_its_name_and_tells_the_peer() {
    let certificate = Certificate::new();
    let server = || TlsLink::new(certificate.identity().https()).unwrap();
    let refused = |server: &mut TlsLink, bytes: &[u8]| {
        let (mut scratch, mut plain) = (Vec::new(), Vec::new());
        let error = server.handle_bytes(bytes, &mut scratch, &mut plain).unwrap_err();
        assert!(plain.is_empty());
        let failure = server.failure().unwrap();
        assert_eq!(error, Error::Rejected(failure.name()));
        assert_eq!(server.handle_bytes(b"", &mut scratch, &mut plain), Err(error));
        assert!(!server.say_goodbye() && !server.is_handshaking() && !server.is_writable());
        failure
    };
    let mut http = server();
    assert_eq!(refused(&mut http, b"GET / HTTP/1.1\r\n\r\n"), TlsFailure::Plain);
    assert!(http.waiting().starts_with(b"HTTP/1.1 400 "));
    let trust = TlsTrust(client_config(&certificate, rustls::ALL_VERSIONS));
    let mut client = TlsLink::open(&trust, "localhost").unwrap();
    client.sent(client.waiting().len());
    assert_eq!(refused(&mut client, b"HTTP/1.1 400 Bad Request\r\n\r\n"), TlsFailure::Plain);
    assert!(!client.waiting().starts_with(b"HTTP"), "no server is answered");
    let mut rtmp = server();
    assert_eq!(refused(&mut rtmp, &[3; 1_537]), TlsFailure::Plain);
    let mut broken = server();
    assert_eq!(refused(&mut broken, b"\x16\x03\x01\0\x05\x01\0\0\x01\0"), TlsFailure::Handshake);
    assert_eq!(broken.waiting()[0], 21, "an alert");
    let mut huge = server();
    assert_eq!(refused(&mut huge, b"\x16\x03\x01\xff\xff\x01"), TlsFailure::Handshake);

    let mut config = ClientConfig::clone(&client_config(&certificate, rustls::ALL_VERSIONS));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut pair = Pair::new(&certificate.identity(), &Arc::new(config));
    pair.talk(usize::MAX).unwrap_err();
    assert_eq!(pair.server.failure(), Some(TlsFailure::Incompatible));

    let stranger = client_config(&Certificate::new(), rustls::ALL_VERSIONS);
    let mut pair = Pair::new(&certificate.identity(), &stranger);
    pair.talk(usize::MAX).unwrap_err();
    assert_eq!(pair.server.failure(), Some(TlsFailure::Refused));

    let trusting = client_config(&certificate, rustls::ALL_VERSIONS);
    let mut pair = Pair::new(&certificate.identity(), &trusting);
    pair.talk(usize::MAX).unwrap();
    let record = [b"\x17\x03\x03\0\x40".to_vec(), vec![1; 64]].concat();
    assert_eq!(refused(&mut pair.server, &record), TlsFailure::Record);
}

#[test]
fn what_a_handshake_waits_with_is_bounded_by_the_caller() {
    let mut server = TlsLink::new(Certificate::new().identity().rtmps()).unwrap();
    assert!(server.hold(&[0; 600], 1_000));
    assert!(server.hold(&[0; 400], 1_000));
    assert!(!server.hold(&[0; 1], 1_000));
    server.give_up(TlsFailure::Limit);
    assert_eq!(server.failure(), Some(TlsFailure::Limit));
}

#[test]
fn a_key_of_another_certificate_is_no_identity() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key).into();
    let error = Identity::new(vec![Certificate::new().chain], key).unwrap_err();
    assert!(matches!(error, rustls::Error::InconsistentKeys(_)), "{error}");
}

#[test]
fn an_authority_is_known_by_its_hello_whatever_the_pieces() {
    let (usual, answer) = (Certificate::new(), Certificate::new());
    let identity = usual.identity().with_challenge("localhost", &answer.certified());
    let server = || {
        let server = TlsLink::new(identity.rtmps()).unwrap();
        server.or_challenge(identity.challenge())
    };
    for (versions, size) in VERSIONS.into_iter().flat_map(|of| [1, 7, 1_000].map(|n| (of, n))) {
        for (trusted, protocols, agreed) in [
            (&usual, &[][..], None),
            (&usual, &["rtmp"][..], None),
            (&answer, &["acme-tls/1"][..], Some(&b"acme-tls/1"[..])),
        ] {
            let mut config = ClientConfig::clone(&client_config(trusted, versions));
            let names = protocols.iter().map(|name| name.as_bytes().to_vec());
            config.alpn_protocols = names.collect();
            let mut pair = Pair::by(server(), &Arc::new(config));
            pair.client.writer().write_all(b"hello").unwrap();
            pair.talk(size).unwrap();
            assert_eq!((&pair.at_server[..], pair.client.alpn_protocol()), (&b"hello"[..], agreed));
        }
    }
}

#[test]
fn who_speaks_no_tls_hears_it_while_an_authority_is_awaited() {
    let (usual, answer) = (Certificate::new(), Certificate::new());
    let identity = usual.identity().with_challenge("localhost", &answer.certified());
    let (mut scratch, mut plain) = (Vec::new(), Vec::new());
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[3; 1_537], &[21, 3, 3, 0, 2, 1, 0]] {
        let server = TlsLink::new(identity.rtmps()).unwrap();
        let mut challenged = server.or_challenge(identity.challenge());
        let mut usual = TlsLink::new(identity.rtmps()).unwrap();
        let heard = |server: &mut TlsLink, scratch: &mut Vec<u8>, plain: &mut Vec<u8>| {
            let result = server.handle_bytes(words, scratch, plain);
            (result, server.waiting().to_vec(), server.pending_bytes())
        };
        assert_eq!(
            heard(&mut challenged, &mut scratch, &mut plain),
            heard(&mut usual, &mut scratch, &mut plain),
            "{words:?}"
        );
    }
    // Half a hello waits within the bounds of the caller.
    let server = TlsLink::new(identity.rtmps()).unwrap();
    let mut server = server.or_challenge(identity.challenge());
    server.handle_bytes(&[22, 3, 1, 0, 200, 1], &mut scratch, &mut plain).unwrap();
    assert_eq!((server.pending_bytes(), server.is_handshaking()), (6, true));
}
