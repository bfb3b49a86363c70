//! View tokens: what a viewer of HLS is known by, in the addresses or the cookie of its requests.
//!
//! A viewer is only requests, on any connection to any shard. Who was allowed gets a token; whoever
//! shows it is that viewer, and no shard has to ask anybody about what it was given for.
//!
//! Shape: 32 letters of base64url, of 24 bytes: the session's number (big endian), then the first
//! 12 bytes of HMAC-SHA-256 over `LABEL`, the number and the name that the stream was asked for
//! by, then a print of the question that it was given for, by exclusive or with the next 4 bytes of
//! the HMAC. A viewer's number holds the second in which it was given: see [`ViewIds`].
//!
//! Spec: RFC 2104 (HMAC, truncation), RFC 4648 5 (base64url).
//! Limits: [`KEYS_BEFORE_MAX`] keys before the one in force are still taken, so that a change of
//! keys ends no view. The comparison takes the same time wherever tokens differ.
//! Not here: whether the viewer of a good token may go on (`shard/views.rs`).

use std::fmt;
use std::time::Duration;

use codecs::time::WallTime;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::ids::{SessionId, ShardId, StreamName};

/// Letters of a token.
pub const TOKEN_LETTERS: usize = 32;

/// Keys that were signed with before, and are still taken, at most.
pub const KEYS_BEFORE_MAX: usize = 7;

const LABEL: &[u8] = b"grandstand view 1";
const ID_BYTES: usize = 8;
const MAC_BYTES: usize = 12;
const PRINT_BYTES: usize = 4;
const TOKEN_BYTES: usize = ID_BYTES + MAC_BYTES + PRINT_BYTES;
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A token as it stands in an address. It is a secret: `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ViewToken([u8; TOKEN_LETTERS]);

impl ViewToken {
    /// Takes text that has the shape of a token, whoever made it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; TOKEN_LETTERS] = text.as_bytes().try_into().ok()?;
        letters.iter().all(|&letter| value_of(letter).is_some()).then_some(Self(letters))
    }

    /// The letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("letters of base64url are ASCII")
    }

    /// The viewer that whoever made it says it was given to.
    #[must_use]
    pub fn claimed(self) -> SessionId {
        let bytes = self.decode();
        let [a, b, c, d, e, f, g, h, ..] = bytes;
        SessionId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    fn encode(bytes: [u8; TOKEN_BYTES]) -> Self {
        let mut letters = [0; TOKEN_LETTERS];
        for (three, four) in bytes.chunks_exact(3).zip(letters.chunks_exact_mut(4)) {
            let bits = three.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte));
            for (at, letter) in four.iter_mut().enumerate() {
                *letter = LETTERS[bits >> (18 - 6 * at) & 63];
            }
        }
        Self(letters)
    }

    fn decode(self) -> [u8; TOKEN_BYTES] {
        let mut bytes = [0; TOKEN_BYTES];
        for (four, three) in self.0.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
            let value = |letter| u32::from(value_of(letter).unwrap_or(0));
            let bits = four.iter().fold(0, |bits, &letter| bits << 6 | value(letter));
            let [_, read @ ..] = bits.to_be_bytes();
            // CONTROL: three bytes of a token.
            three.copy_from_slice(&read);
        }
        bytes
    }
}

/// What a letter stands for.
const fn value_of(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

impl fmt::Debug for ViewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

/// What tokens are signed with; made by the control plane, which keeps them over a restart.
#[derive(Clone, PartialEq, Eq)]
pub struct ViewKeys {
    /// What is signed with from now on.
    pub current: [u8; 32],
    /// What was signed with before, and is still taken, newest first; [`KEYS_BEFORE_MAX`] of them
    /// at most count.
    pub before: Vec<[u8; 32]>,
}

impl fmt::Debug for ViewKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(keys)")
    }
}

/// Keys, ready for use. Lives on: each shard. Crosses by: never.
pub struct ViewSigner {
    current: Hmac<Sha256>,
    before: Vec<Hmac<Sha256>>,
}

impl fmt::Debug for ViewSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(signer)")
    }
}

impl ViewSigner {
    /// Signs with the newest of `keys`.
    #[must_use]
    pub fn new(keys: &ViewKeys) -> Self {
        let ready = |key: &[u8; 32]| {
            <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
        };
        let before = keys.before.iter().take(KEYS_BEFORE_MAX).map(ready).collect();
        Self { current: ready(&keys.current), before }
    }

    /// The token of the viewer `id` of what is asked for as `stream`, given for the question with
    /// this print.
    #[must_use]
    pub fn sign(&self, stream: &StreamName, id: SessionId, print: u32) -> ViewToken {
        let (mac, cover) = proof(&self.current, stream, id);
        let mut bytes = [0; TOKEN_BYTES];
        // CONTROL: what a token is made of.
        bytes[..ID_BYTES].copy_from_slice(&id.0.to_be_bytes());
        // CONTROL: what a token is made of.
        bytes[ID_BYTES..ID_BYTES + MAC_BYTES].copy_from_slice(&mac);
        // CONTROL: what a token is made of.
        bytes[ID_BYTES + MAC_BYTES..].copy_from_slice(&(print ^ cover).to_be_bytes());
        ViewToken::encode(bytes)
    }

    /// The viewer that `token` was given to, if it was given for this stream, and the print of the
    /// question that it was given for.
    ///
    /// Whoever alters the print alters it by chance: he knows neither the old one nor his own.
    #[must_use]
    pub fn verify(&self, stream: &StreamName, token: ViewToken) -> Option<(SessionId, u32)> {
        let bytes = token.decode();
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (mac, print) = rest.split_first_chunk::<MAC_BYTES>()?;
        let id = SessionId(u64::from_be_bytes(*id));
        let print = u32::from_be_bytes(print.try_into().ok()?);
        let given = |key| {
            let (signed, cover) = proof(key, stream, id);
            bool::from(signed.ct_eq(mac)).then_some((id, print ^ cover))
        };
        given(&self.current).or_else(|| self.before.iter().find_map(given))
    }
}

/// What proves a token, and what covers the print in it.
fn proof(key: &Hmac<Sha256>, stream: &StreamName, id: SessionId) -> ([u8; MAC_BYTES], u32) {
    let mac = key.clone().chain_update(LABEL).chain_update(id.0.to_be_bytes());
    let mac: [u8; 32] = mac.chain_update(stream.as_str()).finalize().into_bytes().into();
    let cover = std::array::from_fn(|at| mac[MAC_BYTES + at]);
    (std::array::from_fn(|at| mac[at]), u32::from_be_bytes(cover))
}

/// Seconds from the epoch of Unix to 2024, which the seconds of a viewer's number count from.
const EPOCH_S: i64 = 1_704_067_200;
/// Set in the number of a viewer and of no other session.
const VIEWER: u64 = 1 << 47;
/// Set in the number of a viewer that is known by its address alone.
const BY_ADDRESS: u64 = 1 << 46;
const SECOND_SHIFT: u32 = 17;
/// They last until 2041, then they begin anew: no token is good for as long.
const SECOND_MAX: u64 = (1 << 29) - 1;
const COUNT_SHIFT: u32 = 2;
const COUNT_MAX: u64 = (1 << 15) - 1;
const RENAMED: u64 = 1;
const TIMED: u64 = 1 << 1;

/// What the number of a viewer notes of how it was allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewNote {
    /// The control plane gave the stream another name than the viewer.
    pub renamed: bool,
    /// What it said holds for a while only.
    pub timed: bool,
}

/// Numbers of viewers, unique over restarts, too.
///
/// Shape: 16 bits of the shard, a one, a zero, 29 bits of seconds since 2024, 15 of a count, and
/// two of the [`ViewNote`]. Where the zero is a one, the viewer is known by its address, and 46
/// bits are a hash of that: see [`id_by_address`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ViewIds {
    second: u64,
    count: u64,
}

impl ViewIds {
    /// The next number that `shard` gives at `wall`, of which nothing is [`noted`] yet.
    pub fn next(&mut self, shard: ShardId, wall: WallTime) -> SessionId {
        let second = second_of(wall);
        if second > self.second {
            *self = Self { second, count: 0 };
        } else if self.count == COUNT_MAX {
            // Borrowed from the next one; the calendar may also have been set back.
            *self = Self { second: self.second + 1, count: 0 };
        } else {
            self.count += 1;
        }
        let place = (self.second & SECOND_MAX) << SECOND_SHIFT | self.count << COUNT_SHIFT;
        SessionId::new(shard, VIEWER | place)
    }
}

/// The number by which somebody was asked about who is a viewer of this number now, if he was: what
/// the answer is noted in was not known then.
#[must_use]
pub const fn asked_as(id: SessionId) -> SessionId {
    let noted = is_viewer(id) && !is_by_address(id);
    if noted { SessionId(id.0 & !(RENAMED | TIMED)) } else { id }
}

/// The number of a viewer who was asked about as `id`, with what is noted of the answer.
#[must_use]
pub const fn noted(id: SessionId, note: ViewNote) -> SessionId {
    let renamed = if note.renamed { RENAMED } else { 0 };
    let timed = if note.timed { TIMED } else { 0 };
    SessionId(asked_as(id).0 | timed | renamed)
}

/// The number of the viewer whose address has this hash.
#[must_use]
pub fn id_by_address(shard: ShardId, hash: u64) -> SessionId {
    SessionId::new(shard, VIEWER | BY_ADDRESS | hash & (BY_ADDRESS - 1))
}

fn second_of(wall: WallTime) -> u64 {
    u64::try_from(wall.as_unix_millis() / 1_000 - EPOCH_S).unwrap_or(0)
}

/// True if `id` is the number of a viewer that is known by its address.
#[must_use]
pub const fn is_by_address(id: SessionId) -> bool {
    id.0 & BY_ADDRESS != 0
}

/// What the number of a viewer notes; nothing of one that is known by its address.
#[must_use]
pub const fn note_of(id: SessionId) -> ViewNote {
    let noted = !is_by_address(id);
    ViewNote { renamed: noted && id.0 & RENAMED != 0, timed: noted && id.0 & TIMED != 0 }
}

/// True if `id` is a viewer's number.
#[must_use]
pub const fn is_viewer(id: SessionId) -> bool {
    id.0 & VIEWER != 0
}

/// The second in which the number `id` was given, from some moment on.
#[must_use]
pub const fn given_second(id: SessionId) -> u64 {
    id.0 >> SECOND_SHIFT & SECOND_MAX
}

/// Seconds since the number `id` was given, unless the calendar says that it is yet to be.
#[must_use]
pub fn age_seconds(id: SessionId, wall: WallTime) -> Option<u64> {
    let age = second_of(wall).wrapping_sub(given_second(id)) & SECOND_MAX;
    (age <= SECOND_MAX / 2).then_some(age)
}

/// Time since the beginning of the second in which a token was given to the viewer `id`, unless
/// there is none or the calendar says that it is yet to be.
#[must_use]
pub fn age(id: SessionId, wall: WallTime) -> Option<Duration> {
    let seconds = age_seconds(id, wall).filter(|_| !is_by_address(id))?;
    let millis = u64::try_from(wall.as_unix_millis().rem_euclid(1_000)).unwrap_or(0);
    Some(Duration::from_millis(seconds * 1_000 + millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn signer(current: u8, before: &[u8]) -> ViewSigner {
        let before = before.iter().map(|&key| [key; 32]).collect();
        ViewSigner::new(&ViewKeys { current: [current; 32], before })
    }

    const ID: SessionId = SessionId(0x0003_8123_4567_89ab);

    #[test]
    fn a_token_names_its_viewer_of_its_stream_only() {
        let signer = signer(1, &[]);
        let token = signer.sign(&name("news/cam"), ID, 0x1234_5678);
        assert_eq!(ViewToken::parse(token.as_str()), Some(token));
        assert_eq!(token.claimed(), ID);
        assert_eq!(signer.verify(&name("news/cam"), token), Some((ID, 0x1234_5678)));
        assert_eq!(signer.verify(&name("news/cam2"), token), None);
        for at in 0..TOKEN_LETTERS {
            let mut forged = token;
            let value = value_of(forged.0[at]).unwrap();
            forged.0[at] = LETTERS[usize::from(value ^ 32)];
            let taken = signer.verify(&name("news/cam"), forged);
            // The last letters are of the print alone, and tell of another question.
            let last = at * 6 >= 8 * (ID_BYTES + MAC_BYTES);
            assert_eq!(taken.is_some(), last, "letter {at}");
            assert_ne!(taken, Some((ID, 0x1234_5678)), "letter {at}");
        }
        assert_eq!(format!("{token:?} {signer:?}"), "(token) (signer)");
    }

    #[test]
    fn a_token_is_good_while_its_key_is_among_those_that_count() {
        let token = signer(1, &[]).sign(&name("cam"), ID, 7);
        let before = |newest: u8| (1..newest).rev().collect::<Vec<_>>();
        for key in 2..=8 {
            let taken = signer(key, &before(key)).verify(&name("cam"), token);
            assert_eq!(taken, Some((ID, 7)), "{key}");
        }
        assert_eq!(signer(9, &before(9)).verify(&name("cam"), token), None);
    }

    #[test]
    fn letters_are_read_as_they_are_written() {
        for (at, &letter) in LETTERS.iter().enumerate() {
            assert_eq!(value_of(letter).map(usize::from), Some(at));
        }
        let bytes = std::array::from_fn(|at| (at * 37 + 11) as u8);
        assert_eq!(ViewToken::encode(bytes).decode(), bytes);
    }

    #[test]
    fn what_has_not_the_shape_of_a_token_is_none() {
        for text in ["", "A", &"A".repeat(31), &"A".repeat(33), &"=".repeat(32), &"ü".repeat(16)] {
            assert_eq!(ViewToken::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_unique_and_tell_their_age() {
        let mut ids = ViewIds::default();
        let at = |second: i64| WallTime::from_unix_millis((EPOCH_S + second) * 1_000);
        let renamed = ViewNote { renamed: true, timed: false };
        let asked = ids.next(ShardId(7), at(100));
        let first = noted(asked, renamed);
        assert_eq!((asked_as(first), note_of(asked)), (asked, ViewNote::default()));
        assert!(is_viewer(first) && !is_by_address(first) && first.accepted_by() == ShardId(7));
        assert_eq!(note_of(first), renamed);
        let ages = [100, 131, 7].map(|second| age_seconds(first, at(second)));
        assert_eq!(ages, [Some(0), Some(31), None]);
        let late = WallTime::from_unix_millis((EPOCH_S + 131) * 1_000 + 250);
        assert_eq!(age(first, late), Some(Duration::from_millis(31_250)));
        assert_eq!(age(id_by_address(ShardId(7), 3), late), None);
        let timed = ViewNote { renamed: false, timed: true };
        let second = noted(ids.next(ShardId(7), at(100)), timed);
        assert_eq!((note_of(second), note_of(noted(second, renamed))), (timed, renamed));
        for other in [id_by_address(ShardId(7), 3), SessionId::new(ShardId(7), 3)] {
            assert_eq!(asked_as(other), other, "nothing is noted in it");
        }
        let mut last = first;
        for n in 0..2 * COUNT_MAX {
            // The calendar may stand still, or be set back.
            let next = ids.next(ShardId(7), at(100 - (n % 2) as i64));
            assert!(next > last && note_of(next) == ViewNote::default(), "{n}");
            last = next;
        }
        assert!(!is_viewer(SessionId::new(ShardId(7), 12)));
    }

    #[test]
    fn ages_are_told_over_the_end_of_what_seconds_can_count() {
        let at = |second: u64| WallTime::from_unix_millis((EPOCH_S + second as i64) * 1_000);
        let last = ViewIds::default().next(ShardId(0), at(SECOND_MAX));
        assert_eq!((age_seconds(last, at(SECOND_MAX + 5)), is_by_address(last)), (Some(5), false));
    }

    #[test]
    fn who_is_known_by_address_is_a_viewer_with_nothing_noted() {
        let [one, other] = [u64::MAX, 1].map(|hash| id_by_address(ShardId(3), hash));
        assert!(is_viewer(one) && is_by_address(one) && one != other);
        assert_eq!((one.accepted_by(), note_of(one)), (ShardId(3), ViewNote::default()));
    }
}
