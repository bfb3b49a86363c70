//! Names and numbers of shards, sessions and streams: types, parsed once.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::words::Words;

/// Bytes of a stream name at most.
pub const STREAM_NAME_BYTES_MAX: usize = 128;
/// Shards of a process at most: one bit each in a reader mask.
pub const SHARDS_MAX: usize = 64;

/// One shard, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Some of the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSet(u64);

const _: () = assert!(SHARDS_MAX <= u64::BITS as usize, "a set has one bit per shard");

impl ShardSet {
    /// Every shard.
    pub const ALL: Self = Self(u64::MAX);

    /// True if `shard` is among them.
    #[must_use]
    pub const fn contains(self, shard: ShardId) -> bool {
        shard.0 < u64::BITS as u16 && self.0 & (1 << shard.0) != 0
    }
}

impl FromIterator<ShardId> for ShardSet {
    /// Shards beyond [`SHARDS_MAX`] do not exist and are left out.
    fn from_iter<I: IntoIterator<Item = ShardId>>(shards: I) -> Self {
        let legal = shards.into_iter().filter(|shard| shard.index() < SHARDS_MAX);
        Self(legal.fold(0, |set, shard| set | 1 << shard.0))
    }
}

/// One session, unique for the life of the process: 16 bits of accepting shard, 48 of its count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The shard that accepted it.
    #[must_use]
    pub const fn accepted_by(self) -> ShardId {
        ShardId((self.0 >> 48) as u16)
    }

    /// The `count`-th session of `shard`.
    #[must_use]
    pub const fn new(shard: ShardId, count: u64) -> Self {
        Self(((shard.0 as u64) << 48) | (count & 0xffff_ffff_ffff))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One publication of a stream, whatever its name: chosen by the control plane when it is allowed,
/// kept through grace times and moves.
///
/// Shape: 8 bytes of Unix milliseconds, big endian, 4 of a counter and 4 that nobody can guess, so
/// that ids sort by time; shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// Parses 32 lower-case hexadecimal digits; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(|id| Self(id.to_be_bytes()))
    }
}

/// Reads an id of 32 lower-case hexadecimal digits; `None` if it is anything else.
#[must_use]
pub fn parse_hex(text: &str) -> Option<u128> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == 32 && digits).then(|| u128::from_str_radix(text, 16).ok())?
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The public name of a stream: segments of `[A-Za-z0-9_-]+` joined by `/`.
///
/// Limits: [`STREAM_NAME_BYTES_MAX`]; no empty, `.` or `..` segment, so a name is always safe as a
/// relative path. It is never the stream key, which is a secret.
/// Crosses by: cloning a reference.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// Parses a canonical name; `None` if it is not one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        let whole = !name.is_empty() && name.len() <= STREAM_NAME_BYTES_MAX;
        let fits = whole && name.split('/').all(|s| !s.is_empty() && s.bytes().all(legal));
        fits.then(|| Self(Arc::from(name)))
    }

    /// Shares the letters with equal names.
    pub(crate) fn share(&mut self, words: &mut Words) {
        words.share(&mut self.0);
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stream key or token: never shown by `Debug` or `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

impl Secret {
    /// What it can be compared by, and not be told from.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        SecretDigest(Sha256::digest(&self.0).into())
    }
}

/// A secret that can only be compared: takes the same time whatever differs.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(digest)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_segments_of_safe_letters() {
        for good in ["demo", "live/cam-1", "a_b/C/9", &"x".repeat(128)] {
            assert_eq!(StreamName::parse(good).map(|n| n.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "a.b", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(StreamName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stream_ids_are_32_digits_that_sort_by_time() {
        let text = "0000019af0c3d2e100000007a1b2c3d4";
        let id = StreamId::parse(text).unwrap();
        assert_eq!((id.to_string().as_str(), format!("{id:?}").as_str()), (text, text));
        assert_eq!(id.0[..8], 0x0000_019a_f0c3_d2e1_u64.to_be_bytes());
        let later = StreamId::parse("0000019af0c3d2e2000000000000000f").unwrap();
        assert!(id < later && text < later.to_string().as_str());
        for bad in ["", &text[1..], &text.to_uppercase(), "+000019af0c3d2e100000007a1b2c3d4"] {
            assert_eq!(StreamId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret:?} {:?}", secret.digest()), "(secret) (digest)");
        assert!(secret.digest() == Secret("hunter2".into()).digest());
        assert!(secret.digest() != Secret("hunter".into()).digest());
    }
}
