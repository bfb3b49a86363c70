//! The PROXY protocol: what a load balancer says of its client before the client's own bytes.
//!
//! Spec: HAProxy, "The PROXY protocol", versions 1 (section 2.1) and 2 (section 2.2).
//! Shape: version 1 is a line of text, version 2 a binary head of 16 bytes, addresses, and values
//! of type, length and content; of those only the checksum is looked at (section 2.2.3).
//! Errors: [`Error::Invalid`] for what is no head of either version, a damaged checksum, or an
//! address that is none; [`Error::TooLarge`]. Limits: [`HEAD_BYTES_MAX`].
//! Not here: who may be believed. A head of a stranger says nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use crate::Error;
use crate::reader::Reader;

/// Bytes of a head at most: room for the certificate's names that balancers add to it.
pub const HEAD_BYTES_MAX: usize = 4_096;

/// Bytes of a line of version 1 at most, its end included (section 2.1).
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = SIGNATURE.len() + 4;
/// `PP2_TYPE_CRC32C`.
const TYPE_CRC32C: u8 = 0x03;

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The connection is of this client.
    Client {
        /// Its address.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The connection is the balancer's own, such as a look whether the server lives, or of a
    /// client without an internet address: who connected is who speaks.
    Unchanged,
}

/// Reads a head from the first bytes of a connection: what it says, and how long it is. `None` if
/// more bytes are needed.
///
/// # Errors
/// [`Error::Invalid`], [`Error::Unsupported`] for another version, [`Error::TooLarge`].
pub fn parse(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    match bytes.first() {
        None => Ok(None),
        Some(&first) if first == SIGNATURE[0] => parse_binary(bytes),
        Some(_) => parse_line(bytes),
    }
}

const fn invalid(what: &'static str, value: u64) -> Error {
    Error::Invalid { what, value }
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn parse_line(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    const WORD: &[u8] = b"PROXY ";
    let known = bytes.len().min(WORD.len());
    if bytes[..known] != WORD[..known] {
        return Err(invalid("proxy.signature", bytes[0].into()));
    }
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        if window.len() == LINE_BYTES_MAX {
            let (value, max) = (bytes.len() as u64, LINE_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "proxy.line", value, max });
        }
        return Ok(None);
    };
    let bad_line = invalid("proxy.line", end as u64);
    let line = core::str::from_utf8(&window[WORD.len()..end]).map_err(|_| bad_line)?;
    let mut words = line.split(' ');
    let origin = match words.next() {
        // What follows it is to be ignored.
        Some("UNKNOWN") => return Ok(Some((Origin::Unchanged, end + 2))),
        Some("TCP4") => endpoints::<Ipv4Addr>(&mut words),
        Some("TCP6") => endpoints::<Ipv6Addr>(&mut words),
        _ => None,
    };
    let origin = origin.filter(|_| words.next().is_none()).ok_or(bad_line)?;
    Ok(Some((origin, end + 2)))
}

fn endpoints<'a, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<Origin> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (from, to): (IpAddr, IpAddr) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let plain = word.bytes().all(|digit| digit.is_ascii_digit());
        let padded = word.len() > 1 && word.starts_with('0');
        (plain && !padded).then(|| word.parse().ok()).flatten()
    };
    let (source_port, destination_port): (u16, u16) = (port()?, port()?);
    Some(Origin::Client {
        source: SocketAddr::new(from, source_port),
        destination: SocketAddr::new(to, destination_port),
    })
}

/// Section 2.2.
fn parse_binary(bytes: &[u8]) -> Result<Option<(Origin, usize)>, Error> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(invalid("proxy.signature", bytes[0].into()));
    }
    let Some(head) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else { return Ok(None) };
    let (version, command, family) = (head[0] >> 4, head[0] & 0xf, head[1]);
    if version != 2 {
        return Err(Error::Unsupported { what: "proxy.version", value: version.into() });
    }
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([head[2], head[3]]));
    if len > HEAD_BYTES_MAX {
        let (value, max) = (len as u64, HEAD_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "proxy.length", value, max });
    }
    let Some(whole) = bytes.get(..len) else { return Ok(None) };
    if command == 0 {
        // LOCAL: whatever stands behind it is to be passed over.
        return Ok(Some((Origin::Unchanged, len)));
    }
    let mut body = Reader::new(&whole[FIXED_BYTES..]);
    let addresses = match family >> 4 {
        0x1 => two::<Ipv4Addr, 4>(&mut body)?,
        0x2 => two::<Ipv6Addr, 16>(&mut body)?,
        // Unix sockets have two paths of 108 bytes.
        0x3 => body.bytes(216, "proxy.addresses").map(|_| None)?,
        _ => None,
    };
    // How long the addresses of another family are is not known.
    if (0x1..=0x3).contains(&(family >> 4)) {
        check(whole, body)?;
    }
    let origin = match (command, family & 0xf, addresses) {
        (0x1, 0x1, Some((source, destination))) => Origin::Client { source, destination },
        (0x1, ..) => Origin::Unchanged,
        _ => return Err(invalid("proxy.command", command.into())),
    };
    Ok(Some((origin, len)))
}

type Endpoints = Option<(SocketAddr, SocketAddr)>;

fn two<A: From<[u8; N]> + Into<IpAddr>, const N: usize>(
    body: &mut Reader<'_>,
) -> Result<Endpoints, Error> {
    let mut address = || Ok::<IpAddr, Error>(A::from(body.array::<N>("proxy.address")?).into());
    let (from, to) = (address()?, address()?);
    let (source, destination) = (body.u16("proxy.port")?, body.u16("proxy.port")?);
    Ok(Some((SocketAddr::new(from, source), SocketAddr::new(to, destination))))
}

/// Walks the values behind the addresses; a checksum among them must be right.
fn check(whole: &[u8], mut values: Reader<'_>) -> Result<(), Error> {
    while !values.is_empty() {
        let kind = values.u8("proxy.value.type")?;
        let len = values.u16("proxy.value.length")?;
        let at = whole.len() - values.remaining();
        let content = values.bytes(len.into(), "proxy.value")?;
        if kind != TYPE_CRC32C {
            continue;
        }
        let stated = Reader::new(content).u32("proxy.checksum")?;
        let zeroed = at..at + 4;
        let byte = |(place, &byte): (usize, &u8)| if zeroed.contains(&place) { 0 } else { byte };
        if len != 4 || crc32c(whole.iter().enumerate().map(byte)) != stated {
            return Err(invalid("proxy.checksum", stated.into()));
        }
    }
    Ok(())
}

/// RFC 3309 appendix B, bit by bit: a head is short and comes once a connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn client(source: &str, destination: &str) -> Origin {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Origin::Client { source, destination }
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).unwrap();
        [&SIGNATURE[..], &[command, family], &len.to_be_bytes(), body].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x07, 0x8f];

    /// Its head is understood at its last byte, and before that more is asked for.
    fn whole(head: &[u8], origin: Origin) {
        for len in 0..head.len() {
            assert_eq!(parse(&head[..len]), Ok(None), "{len} of {}", head.len());
        }
        let longer = [head, b"\x03what follows"].concat();
        assert_eq!(parse(&longer), Ok(Some((origin, head.len()))));
    }

    #[test]
    fn lines_tell_who_connected() {
        whole(
            b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 1935\r\n",
            client("192.0.2.1:56324", "198.51.100.7:1935"),
        );
        whole(
            b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n",
            client("[2001:db8::1]:65535", "[2001:db8::2]:0"),
        );
        let longest = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), LINE_BYTES_MAX);
        whole(longest, Origin::Unchanged);
        whole(b"PROXY UNKNOWN\r\n", Origin::Unchanged);
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 1935 1\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.7 56324 1935\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 1935\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +1 1935\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 01 1935\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 -1 1935\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.7 1 1935\r\n",
            "PROXY tcp4 192.0.2.1 198.51.100.7 1 1935\r\n",
            "PROXY \r\n",
            "PROXY\tTCP4",
            "proxy TCP4",
            "\x03",
            "GET / HTTP/1.1\r\n",
        ] {
            let error = parse(line.as_bytes()).expect_err(line);
            assert!(matches!(error, Error::Invalid { .. }), "{line}: {error}");
        }
        let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        assert!(matches!(parse(&endless), Err(Error::TooLarge { what: "proxy.line", .. })));
    }

    #[test]
    fn binary_heads_tell_who_connected() {
        let four = client("192.0.2.1:56324", "198.51.100.7:1935");
        whole(&binary(0x21, 0x11, &V4), four);
        // Values that nobody asks for are passed over.
        let values = [&V4[..], &[0x05, 0, 2, 1, 2, 0xe0, 0, 0]].concat();
        whole(&binary(0x21, 0x11, &values), four);
        let mut six = [0; 36];
        six[15] = 1;
        six[31] = 2;
        six[33] = 9;
        whole(&binary(0x21, 0x21, &six), client("[::1]:9", "[::2]:0"));
    }

    #[test]
    fn some_heads_change_nothing() {
        whole(&binary(0x20, 0x00, &[]), Origin::Unchanged);
        whole(&binary(0x20, 0x11, &V4), Origin::Unchanged);
        whole(&binary(0x20, 0x11, &V4[..3]), Origin::Unchanged);
        whole(&binary(0x21, 0x41, &[1, 2, 3]), Origin::Unchanged);
        whole(&binary(0x21, 0x00, &[1, 2, 3]), Origin::Unchanged);
        whole(&binary(0x21, 0x31, &[0; 216]), Origin::Unchanged);
        // A client of datagrams is none of a stream.
        whole(&binary(0x21, 0x12, &V4), Origin::Unchanged);
    }

    #[test]
    fn a_checksum_must_be_right() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        let mut head = binary(0x21, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c(head.iter().copied()).to_be_bytes();
        let at = head.len() - 4;
        head[at..].copy_from_slice(&sum);
        whole(&head, client("192.0.2.1:56324", "198.51.100.7:1935"));
        head[20] ^= 1;
        assert!(matches!(parse(&head), Err(Error::Invalid { what: "proxy.checksum", .. })));
    }

    #[test]
    fn binary_heads_that_are_none_are_refused() {
        let short = binary(0x21, 0x11, &V4[..11]);
        assert!(matches!(parse(&short), Err(Error::Truncated { what: "proxy.port" })));
        let cut_value = binary(0x21, 0x11, &[&V4[..], &[5, 0, 9, 1]].concat());
        assert!(matches!(parse(&cut_value), Err(Error::Truncated { what: "proxy.value" })));
        let command = binary(0x22, 0x11, &V4);
        assert!(matches!(parse(&command), Err(Error::Invalid { what: "proxy.command", .. })));
        let version = binary(0x31, 0x11, &V4);
        assert!(matches!(parse(&version), Err(Error::Unsupported { .. })));
        let long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        assert!(matches!(parse(&long), Err(Error::TooLarge { what: "proxy.length", .. })));
        let damaged = [&SIGNATURE[..11], b"!"].concat();
        assert!(matches!(parse(&damaged), Err(Error::Invalid { what: "proxy.signature", .. })));
    }

    proptest::proptest! {
        /// Whatever comes is judged without a panic, and a head is never longer than what came.
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>, signed: bool) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { bytes };
            if let Ok(Some((_, len))) = parse(&bytes) {
                assert!(len <= bytes.len() && len <= HEAD_BYTES_MAX);
            }
        }
    }
}
