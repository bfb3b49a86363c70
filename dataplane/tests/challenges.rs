//! Challenges of an authority of certificates: each listener answers the one in force, to whoever
//! asks for it, and everybody else as before.

#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod node;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use dataplane::config::Config;
use dataplane::control::{Command, HttpChallenge};
use dataplane::session::tls::Identity;
use node::{Certificate, Server, TIME_BOUND, certificate, client_config, with_tls};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

on_both_backends! {
    http_answers_the_token_in_force
    tls_answers_who_asks_about_the_name_in_force
}

/// Status and body of a request by a connection of its own.
fn asks(addr: SocketAddr, token: &str) -> (String, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    let path = format!("/.well-known/acme-challenge/{token}");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].to_owned(), body.to_owned())
}

fn http_answers_the_token_in_force(config: Config) {
    let server = Server::start(config);
    let shows = |token: Option<&str>| {
        let challenge = token.map(|token| {
            let key_authorization = format!("{token}.print").into_bytes().into();
            Arc::new(HttpChallenge { token: token.into(), key_authorization })
        });
        server.control.send_all(|| Command::Challenge(challenge.clone()));
        server.control.snapshot();
    };
    let answers = |token: &str| {
        // Whichever shard is met.
        let all: Vec<_> = (0..8).map(|_| asks(server.http, token)).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
        all[0].clone()
    };
    let nothing = ("404".to_owned(), "not found\n".to_owned());
    assert_eq!(answers("one"), nothing);
    shows(Some("one"));
    assert_eq!(answers("one"), ("200".to_owned(), "one.print".to_owned()));
    assert_eq!(answers("on"), nothing);
    assert_eq!(answers("onee"), nothing);
    shows(Some("two"));
    assert_eq!(answers("one"), nothing);
    assert_eq!(answers("two"), ("200".to_owned(), "two.print".to_owned()));
    shows(None);
    assert_eq!(answers("two"), nothing);
}

/// A client that names these protocols and trusts one certificate.
fn naming(trusted: &Certificate, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client_config(trusted, rustls::ALL_VERSIONS));
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The protocol that was agreed on, or why there is none.
fn agrees(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Result<String, String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(TIME_BOUND)).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut secure = StreamOwned::new(connection, stream);
    while secure.conn.is_handshaking() {
        secure.conn.complete_io(&mut secure.sock).map_err(|error| error.to_string())?;
    }
    Ok(String::from_utf8(secure.conn.alpn_protocol().unwrap_or_default().to_vec()).unwrap())
}

fn tls_answers_who_asks_about_the_name_in_force(config: Config) {
    let config = with_tls(config);
    let identity = config.tls.clone().unwrap();
    let server = Server::start(config);
    let answer = Certificate::new();
    let certified = answer.certified();
    let (usual, everybody) = (certificate(), client_config(certificate(), rustls::ALL_VERSIONS));
    let challenge = naming(&answer, &["acme-tls/1"]);
    let agreed = |protocol: &str| Ok(protocol.to_owned());
    let shows = |identity: &Identity| {
        server.control.send_all(|| Command::Identity(identity.clone()));
        server.control.snapshot();
    };
    for addr in [server.rtmps(), server.https()] {
        agrees(addr, &challenge, "localhost").unwrap_err();
    }
    shows(&identity.with_challenge("LocalHost", &certified));
    // Protocols are agreed on with HTTPS alone.
    for (addr, http) in [(server.rtmps(), ""), (server.https(), "http/1.1")] {
        assert_eq!(agrees(addr, &challenge, "localhost"), agreed("acme-tls/1"));
        let error = agrees(addr, &challenge, "other.example").unwrap_err();
        assert!(error.contains("alert"), "refused by the server: {error}");
        // Everybody else is shown what everybody was shown before.
        assert_eq!(agrees(addr, &everybody, "localhost"), agreed(""));
        let both = naming(usual, &["h2", "http/1.1"]);
        assert_eq!(agrees(addr, &both, "localhost"), agreed(http));
        let error = agrees(addr, &naming(&answer, &["http/1.1"]), "localhost").unwrap_err();
        assert!(error.contains("certificate"), "{error}");
    }
    // Whoever is no authority may name what it likes to RTMPS, as before.
    for protocols in [&["rtmp"][..], &["h2", "rtmp"]] {
        let names = naming(usual, protocols);
        assert_eq!(agrees(server.rtmps(), &names, "localhost"), agreed(""));
        agrees(server.https(), &names, "localhost").unwrap_err();
    }
    // What is renewed meanwhile keeps the answer until it is taken back.
    shows(&identity.with_tickets_of(&identity).with_challenge("localhost", &certified));
    assert_eq!(agrees(server.https(), &challenge, "localhost"), agreed("acme-tls/1"));
    shows(&identity);
    for addr in [server.rtmps(), server.https()] {
        agrees(addr, &challenge, "localhost").unwrap_err();
        assert_eq!(agrees(addr, &everybody, "localhost"), agreed(""));
    }
}
