//! The opening handshake, as the server sees it.
//!
//! Spec: RFC 6455 4.2.

use sha1::{Digest, Sha1};

use crate::http1::{Method, Request};

/// The only version there is.
pub const VERSION: &str = "13";
/// Letters of `Sec-WebSocket-Accept`.
pub const ACCEPT_LEN: usize = 28;
/// Letters of `Sec-WebSocket-Key`: 16 bytes in base64.
const KEY_LEN: usize = 24;
/// What the server proves to know.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Letters of a subprotocol that is agreed to at most.
const PROTOCOL_BYTES_MAX: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `Sec-WebSocket-Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptKey([u8; ACCEPT_LEN]);

/// What a request says about WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Nothing: it is a plain request.
    Plain,
    /// It wants to switch, in a way that no version describes (400).
    Malformed,
    /// It wants to switch to a version other than [`VERSION`] (426).
    Version,
    /// It may be answered with 101.
    Accepted {
        /// The proof for the client.
        accept: AcceptKey,
        /// The first subprotocol that it offers: some browsers end a connection whose server
        /// chose none of them.
        protocol: Option<&'a str>,
    },
}

impl AcceptKey {
    /// The answer to a key; `None` if that is not 16 bytes in base64.
    #[must_use]
    pub fn answer(key: &str) -> Option<Self> {
        let letters = key.strip_suffix("==").filter(|_| key.len() == KEY_LEN)?;
        if !letters.bytes().all(|letter| ALPHABET.contains(&letter)) {
            return None;
        }
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        Some(Self(base64(digest.into())))
    }

    /// The letters.
    ///
    /// # Panics
    /// Never: they are of the alphabet of base64.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

/// The 28 letters of 20 bytes.
fn base64(digest: [u8; 20]) -> [u8; ACCEPT_LEN] {
    let mut letters = [b'='; ACCEPT_LEN];
    for (bytes, letters) in digest.chunks(3).zip(letters.chunks_mut(4)) {
        let bits = bytes.iter().zip([16, 8, 0]).fold(0, |bits, (b, at)| bits | u32::from(*b) << at);
        // One letter more than there are bytes; padding stands in the place of the others.
        for (letter, at) in letters.iter_mut().zip([18, 12, 6, 0]).take(bytes.len() + 1) {
            let index = usize::try_from(bits >> at & 0x3f).expect("6 bits");
            *letter = ALPHABET.get(index).copied().expect("64 letters");
        }
    }
    letters
}

/// Reads the fields of a request that are about WebSocket.
///
/// An upgrade that a `GET` of HTTP/1.1 alone may ask for is no upgrade elsewhere (RFC 9110 7.8).
#[must_use]
pub fn opening<'a>(request: &Request<'a>) -> Opening<'a> {
    let asks =
        request.has_token("upgrade", "websocket") && request.has_token("connection", "upgrade");
    if !asks || request.method != Method::Get || request.version_minor < 1 {
        return Opening::Plain;
    }
    let once = |name: &str| {
        let mut values = request.headers().filter(|(of, _)| of.eq_ignore_ascii_case(name));
        let value = values.next().and_then(|(_, value)| str::from_utf8(value).ok());
        value.filter(|_| values.next().is_none()).map(str::trim)
    };
    if once("sec-websocket-version") != Some(VERSION) {
        return Opening::Version;
    }
    match once("sec-websocket-key").and_then(AcceptKey::answer) {
        Some(accept) => Opening::Accepted { accept, protocol: protocol(request) },
        None => Opening::Malformed,
    }
}

fn protocol<'a>(request: &Request<'a>) -> Option<&'a str> {
    let offered = request.header("sec-websocket-protocol")?;
    let first = offered.split(',').next()?.trim();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = !first.is_empty() && first.bytes().all(legal);
    Some(first).filter(|first| is_token && first.len() <= PROTOCOL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::http1::{RequestLimits, parse_request};

    #[test]
    fn the_proof_is_the_specification_s() {
        let accept = AcceptKey::answer("dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for key in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhl IHNhbXBsZSBub25jZ==",
        ] {
            assert_eq!(AcceptKey::answer(key), None, "{key}");
        }
    }

    #[test]
    fn openings() {
        const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        const UPGRADE: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n";
        const V13: &str = "Sec-WebSocket-Version: 13\r\n";
        let word = |start: &str, fields: &str| {
            let text = format!("{start}\r\nHost: h\r\n{fields}\r\n");
            let limits = RequestLimits::default();
            let (request, _) = parse_request(text.as_bytes(), &limits).unwrap().unwrap();
            match opening(&request) {
                Opening::Plain => "plain".into(),
                Opening::Malformed => "malformed".into(),
                Opening::Version => "version".into(),
                Opening::Accepted { protocol, .. } => format!("accepted {protocol:?}"),
            }
        };
        let get = |fields: &str| word("GET / HTTP/1.1", fields);
        let whole = format!("{UPGRADE}{V13}{KEY}");
        assert_eq!(get(&whole), "accepted None");
        assert_eq!(word("HEAD / HTTP/1.1", &whole), "plain");
        assert_eq!(word("GET / HTTP/1.0", &whole), "plain");
        for (fields, expected) in [
            (format!("{V13}{KEY}"), "plain"),
            (format!("Upgrade: websocket\r\n{V13}{KEY}"), "plain"),
            (format!("Upgrade: h2c\r\nConnection: upgrade\r\n{V13}{KEY}"), "plain"),
            (format!("{UPGRADE}{V13}"), "malformed"),
            (format!("{UPGRADE}{V13}{KEY}{KEY}"), "malformed"),
            (format!("{UPGRADE}{V13}Sec-WebSocket-Key: short\r\n"), "malformed"),
            (format!("{UPGRADE}{KEY}"), "version"),
            (format!("{UPGRADE}{KEY}Sec-WebSocket-Version: 8\r\n"), "version"),
            (format!("{UPGRADE}{KEY}{V13}Sec-WebSocket-Version: 8\r\n"), "version"),
            (format!("{whole}Sec-WebSocket-Protocol: flv, x\r\n"), "accepted Some(\"flv\")"),
            (format!("{whole}Sec-WebSocket-Protocol: a b\r\n"), "accepted None"),
            (format!("{whole}Sec-WebSocket-Protocol: {}\r\n", "x".repeat(65)), "accepted None"),
            (format!("{whole}Sec-WebSocket-Extensions: permessage-deflate\r\n"), "accepted None"),
        ] {
            assert_eq!(get(&fields), expected, "{fields}");
        }
    }
}
