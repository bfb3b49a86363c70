//! The RTMP handshake, plain and with digests.
//!
//! Spec: RTMP 1.0 section 5.2; the digest form is Flash Player 9's and publicly documented.
//! Shape: `C0` and `S0` are one version byte; `C1`, `S1`, `C2`, `S2` are 1536 bytes each: a time, a
//! version and filler. With digests, 32 bytes of the filler are an HMAC-SHA256 of the rest, at an
//! offset that four bytes of the filler give.
//! In/Out: random bytes and times come from the caller.
//! Not here: RTMPE, which is refused.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::Error;
use crate::reader::Reader;

/// The only version in use.
pub const VERSION: u8 = 3;
/// Bytes of `C1`, `S1`, `C2` and `S2`.
pub const BODY_LEN: usize = 1536;
/// Bytes of `C0` and `C1`.
pub const C0C1_LEN: usize = 1 + BODY_LEN;
/// Bytes of `S0`, `S1` and `S2`.
pub const S0S1S2_LEN: usize = 1 + 2 * BODY_LEN;
/// Random bytes that either side needs.
pub const RANDOM_LEN: usize = BODY_LEN - 8;

const DIGEST_LEN: usize = 32;
const DIGEST_OFFSETS: u32 = 728;

/// What our `S1` claims to be; players ask for digests of servers from version 3 on.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];
/// What our `C1` claims to be when it carries a digest.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];

const SERVER_NAME: &[u8] = b"Genuine Adobe Flash Media Server 001";
const CLIENT_NAME: &[u8] = b"Genuine Adobe Flash Player 001";
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57,
    0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

/// Where the filler keeps the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The digest's block comes first: its offset stands in bytes 8 to 11.
    DigestFirst,
    /// The key's block comes first: the digest's offset stands in bytes 772 to 775.
    KeyFirst,
}

/// How a handshake proves its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not at all: each end echoes the other's filler.
    Plain,
    /// By digests.
    Digest {
        /// Where they are.
        scheme: Scheme,
    },
}

/// What a client opens with.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    /// The client's clock.
    pub time_ms: u32,
    /// The version of the client's software, 0 in a plain handshake.
    pub version: u32,
    /// `C1` as it came, for [`server_response`].
    pub c1: &'a [u8; BODY_LEN],
}

/// Reads `C0` and `C1`.
///
/// # Errors
/// [`Error::Unsupported`] for RTMPE (6, 8 and 9), [`Error::Invalid`] for any other version but 3:
/// what speaks to us is then no RTMP client.
pub fn parse_c0c1(bytes: &[u8; C0C1_LEN]) -> Result<ClientHello<'_>, Error> {
    let [version, rest @ ..] = bytes;
    check_version("rtmp.handshake.c0", *version)?;
    let c1 = rest.first_chunk().ok_or(Error::Truncated { what: "rtmp.handshake.c1" })?;
    let mut reader = Reader::new(c1);
    let time_ms = reader.u32("rtmp.handshake.c1.time")?;
    Ok(ClientHello { time_ms, version: reader.u32("rtmp.handshake.c1.version")?, c1 })
}

/// Tells which handshake a client's `C1` asks for.
#[must_use]
pub fn kind_of(c1: &[u8; BODY_LEN]) -> Kind {
    match find_digest(c1, CLIENT_NAME) {
        Some((scheme, _)) => Kind::Digest { scheme },
        None => Kind::Plain,
    }
}

/// Answers a `C1` with `S0`, `S1` and `S2`.
///
/// The `C2` that follows is not verified, as encoders get it wrong: only its length counts.
#[must_use]
pub fn server_response(
    c1: &[u8; BODY_LEN],
    random: &[u8; RANDOM_LEN],
    time_ms: u32,
) -> [u8; S0S1S2_LEN] {
    let mut response = [0; S0S1S2_LEN];
    response[0] = VERSION;
    let (s1, s2) = response[1..].split_at_mut(BODY_LEN);
    s1[..4].copy_from_slice(&time_ms.to_be_bytes());
    s1[8..].copy_from_slice(random);
    match find_digest(c1, CLIENT_NAME) {
        None => s2.copy_from_slice(c1),
        Some((scheme, digest)) => {
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            sign(s1, scheme, SERVER_NAME);
            fill_answer(s2, random, SERVER_NAME, &digest);
        }
    }
    response
}

/// The client's side.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    kind: Kind,
    c0c1: [u8; C0C1_LEN],
}

impl ClientHandshake {
    /// Composes `C0` and `C1`.
    #[must_use]
    pub fn new(kind: Kind, random: &[u8; RANDOM_LEN], time_ms: u32) -> Self {
        let mut c0c1 = [0; C0C1_LEN];
        c0c1[0] = VERSION;
        let c1 = &mut c0c1[1..];
        c1[..4].copy_from_slice(&time_ms.to_be_bytes());
        c1[8..].copy_from_slice(random);
        if let Kind::Digest { scheme } = kind {
            c1[4..8].copy_from_slice(&CLIENT_VERSION);
            sign(c1, scheme, CLIENT_NAME);
        }
        Self { kind, c0c1 }
    }

    /// The bytes to open with.
    #[must_use]
    pub const fn c0c1(&self) -> &[u8; C0C1_LEN] {
        &self.c0c1
    }

    /// Reads the server's answer and returns `C2`.
    ///
    /// A server without digests is answered with an echo, whatever we offered.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Unsupported`] for another version than 3, and
    /// [`Error::Invalid`] if `S1` has a digest but `S2` does not prove that the server read `C1`.
    pub fn finish(&self, s0s1s2: &[u8; S0S1S2_LEN]) -> Result<[u8; BODY_LEN], Error> {
        let mut reader = Reader::new(s0s1s2);
        check_version("rtmp.handshake.s0", reader.u8("rtmp.handshake.s0")?)?;
        let s1 = reader.array::<BODY_LEN>("rtmp.handshake.s1")?;
        let s2 = reader.array::<BODY_LEN>("rtmp.handshake.s2")?;
        let Kind::Digest { scheme } = self.kind else {
            return Ok(s1);
        };
        let Some((_, server_digest)) = find_digest(&s1, SERVER_NAME) else {
            return Ok(s1);
        };
        let c1 = &self.c0c1[1..];
        let at = digest_offset(c1, scheme);
        let own_digest = &c1[at..at + DIGEST_LEN];
        let (filler, proof) = s2.split_at(BODY_LEN - DIGEST_LEN);
        if proof != answer_digest(filler, SERVER_NAME, own_digest) {
            let value = u64::from(proof.first().copied().unwrap_or_default());
            return Err(Error::Invalid { what: "rtmp.handshake.s2.digest", value });
        }
        let mut c2 = [0; BODY_LEN];
        fill_answer(&mut c2, &c1[8..], CLIENT_NAME, &server_digest);
        Ok(c2)
    }
}

const fn check_version(what: &'static str, version: u8) -> Result<(), Error> {
    match version {
        VERSION => Ok(()),
        6 | 8 | 9 => Err(Error::Unsupported { what, value: version as u64 }),
        _ => Err(Error::Invalid { what, value: version as u64 }),
    }
}

/// The digest's offset in a `C1` or `S1`; at most 776 + 727 + 32 bytes are within it.
fn digest_offset(body: &[u8], scheme: Scheme) -> usize {
    let field = match scheme {
        Scheme::DigestFirst => 8,
        Scheme::KeyFirst => 772,
    };
    let sum: u32 = body[field..field + 4].iter().map(|byte| u32::from(*byte)).sum();
    field + 4 + (sum % DIGEST_OFFSETS) as usize
}

/// The digest of `body` around the place where the digest itself stands.
fn body_digest(body: &[u8], at: usize, name: &[u8]) -> [u8; DIGEST_LEN] {
    let mut mac = keyed(name);
    mac.update(&body[..at]);
    mac.update(&body[at + DIGEST_LEN..]);
    mac.finalize().into_bytes().into()
}

fn sign(body: &mut [u8], scheme: Scheme, name: &[u8]) {
    let at = digest_offset(body, scheme);
    let digest = body_digest(body, at, name);
    body[at..at + DIGEST_LEN].copy_from_slice(&digest);
}

fn find_digest(body: &[u8; BODY_LEN], name: &[u8]) -> Option<(Scheme, [u8; DIGEST_LEN])> {
    [Scheme::KeyFirst, Scheme::DigestFirst].into_iter().find_map(|scheme| {
        let at = digest_offset(body, scheme);
        let digest = body_digest(body, at, name);
        (body[at..at + DIGEST_LEN] == digest).then_some((scheme, digest))
    })
}

/// `C2` or `S2`: filler, then a digest of it under a key that the other end's digest gives.
fn fill_answer(body: &mut [u8], filler: &[u8], name: &[u8], peer_digest: &[u8]) {
    let (head, proof) = body.split_at_mut(BODY_LEN - DIGEST_LEN);
    head.copy_from_slice(&filler[..BODY_LEN - DIGEST_LEN]);
    proof.copy_from_slice(&answer_digest(head, name, peer_digest));
}

fn answer_digest(filler: &[u8], name: &[u8], peer_digest: &[u8]) -> [u8; DIGEST_LEN] {
    let mut full_key = keyed_with_tail(name);
    full_key.update(peer_digest);
    let mut mac = keyed(&full_key.finalize().into_bytes());
    mac.update(filler);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn keyed_with_tail(name: &[u8]) -> Hmac<Sha256> {
    let mut key = [0; SERVER_NAME.len() + KEY_TAIL.len()];
    let len = name.len() + KEY_TAIL.len();
    key[..name.len()].copy_from_slice(name);
    key[name.len()..len].copy_from_slice(&KEY_TAIL);
    keyed(&key[..len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCHEMES: [Scheme; 2] = [Scheme::DigestFirst, Scheme::KeyFirst];

    fn filler(seed: u8) -> [u8; RANDOM_LEN] {
        core::array::from_fn(|index| seed.wrapping_mul(31) ^ index.to_le_bytes()[0])
    }

    fn c1(client: &ClientHandshake) -> [u8; BODY_LEN] {
        *parse_c0c1(client.c0c1()).unwrap().c1
    }

    #[test]
    fn a_plain_client_gets_an_echo() {
        let client = ClientHandshake::new(Kind::Plain, &filler(1), 7);
        let hello = parse_c0c1(client.c0c1()).unwrap();
        assert_eq!((hello.time_ms, hello.version), (7, 0));
        assert_eq!(kind_of(hello.c1), Kind::Plain);
        let answer = server_response(hello.c1, &filler(2), 9);
        assert_eq!(answer[..9], [3, 0, 0, 0, 9, 0, 0, 0, 0]);
        assert_eq!(answer[1 + BODY_LEN..], hello.c1[..]);
        assert_eq!(client.finish(&answer).unwrap()[..], answer[1..=BODY_LEN]);
    }

    #[test]
    fn digests_prove_both_ends() {
        for scheme in SCHEMES {
            let client = ClientHandshake::new(Kind::Digest { scheme }, &filler(3), 7);
            let c1 = c1(&client);
            assert_eq!(kind_of(&c1), Kind::Digest { scheme });
            let answer = server_response(&c1, &filler(4), 9);
            let s1 = answer[1..=BODY_LEN].try_into().unwrap();
            let (found, s1_digest) = find_digest(&s1, SERVER_NAME).unwrap();
            assert_eq!(found, scheme, "the server answers in the client's scheme");
            assert!(s1[4] >= 3, "a version that makes players look for the digest");
            let c2 = client.finish(&answer).unwrap();
            let (head, proof) = c2.split_at(BODY_LEN - DIGEST_LEN);
            assert_eq!(proof, answer_digest(head, CLIENT_NAME, &s1_digest));
        }
    }

    #[test]
    fn a_digest_client_falls_back_to_an_echo() {
        let client = ClientHandshake::new(Kind::Digest { scheme: SCHEMES[0] }, &filler(5), 7);
        let mut answer = [0x55; S0S1S2_LEN];
        answer[0] = VERSION;
        assert_eq!(client.finish(&answer).unwrap()[..], answer[1..=BODY_LEN]);
    }

    #[test]
    fn a_forged_proof_is_refused() {
        let client = ClientHandshake::new(Kind::Digest { scheme: SCHEMES[1] }, &filler(6), 7);
        let mut answer = server_response(&c1(&client), &filler(7), 9);
        answer[S0S1S2_LEN - 1] ^= 1;
        let error = client.finish(&answer).unwrap_err();
        assert!(matches!(error, Error::Invalid { what: "rtmp.handshake.s2.digest", .. }));
    }

    #[test]
    fn a_damaged_digest_makes_a_plain_handshake() {
        let client = ClientHandshake::new(Kind::Digest { scheme: SCHEMES[1] }, &filler(8), 7);
        let mut c1 = c1(&client);
        c1[BODY_LEN - 1] ^= 1;
        assert_eq!(kind_of(&c1), Kind::Plain);
    }

    #[test]
    fn versions_other_than_3_are_refused() {
        let mut bytes = [0; C0C1_LEN];
        for version in [6, 8, 9] {
            bytes[0] = version;
            let error = parse_c0c1(&bytes).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "RTMPE");
        }
        for version in [0, 2, 4, b'G', 0x16] {
            bytes[0] = version;
            assert!(matches!(parse_c0c1(&bytes).unwrap_err(), Error::Invalid { .. }));
        }
        let client = ClientHandshake::new(Kind::Plain, &filler(9), 0);
        assert!(client.finish(&[0; S0S1S2_LEN]).is_err());
    }

    #[test]
    fn the_largest_offsets_stay_inside() {
        let filler = [0xff; RANDOM_LEN];
        for scheme in SCHEMES {
            let client = ClientHandshake::new(Kind::Digest { scheme }, &filler, 0);
            assert_eq!(kind_of(&c1(&client)), Kind::Digest { scheme });
        }
        let mut body = [0; BODY_LEN];
        body[772..776].copy_from_slice(&[255, 255, 217, 0]);
        assert_eq!(digest_offset(&body, Scheme::KeyFirst), 776 + 727);
    }

    proptest! {
        #[test]
        fn any_filler_shakes_hands(
            ours in prop::collection::vec(any::<u8>(), RANDOM_LEN),
            theirs in prop::collection::vec(any::<u8>(), RANDOM_LEN),
            digest_first in any::<bool>(),
        ) {
            let scheme = if digest_first { SCHEMES[0] } else { SCHEMES[1] };
            let kind = Kind::Digest { scheme };
            let client = ClientHandshake::new(kind, &ours.try_into().unwrap(), 1);
            let answer = server_response(&c1(&client), &theirs.try_into().unwrap(), 2);
            let c2 = client.finish(&answer).unwrap();
            prop_assert_ne!(&c2[..], &answer[1..=BODY_LEN]);
        }
    }
}
