//! Row: what one tenant's stream used in one hour by one protocol, as a row of the store.

use dataplane::control::{Protocol, Usage};
use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};

use super::hour::Hour;
use super::ledger::WriterId;
use crate::registry::TenantName;

/// The version of a value.
const VERSION: u64 = 1;

/// What a row counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Account {
    pub tenant: Option<TenantName>,
    /// The stream; `None` of those that were counted together.
    pub stream: Option<StreamName>,
    pub protocol: Word,
}

/// A protocol by its word, in the order of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Word(pub &'static str);

impl From<Protocol> for Word {
    fn from(protocol: Protocol) -> Self {
        Self(protocol.name())
    }
}

/// The key of a row.
///
/// Shape: 4 bytes of the hour, the tenant, 0, the stream, 0, the protocol, 0, 8 bytes of the
/// writer; numbers are big endian. Rows of an hour lie together, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub hour: Hour,
    pub account: Account,
    /// Who alone writes it.
    pub writer: WriterId,
}

impl RowKey {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Account { tenant, stream, protocol } = &self.account;
        let tenant = tenant.as_ref().map_or("", TenantName::as_str);
        let stream = stream.as_ref().map_or("", StreamName::as_str);
        let words = [tenant, "\0", stream, "\0", protocol.0, "\0"].concat();
        [&self.hour.0.to_be_bytes()[..], words.as_bytes(), &self.writer.0.to_be_bytes()].concat()
    }

    /// The key that `bytes` are; `None` if another version wrote them.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hour, rest) = bytes.split_first_chunk::<4>()?;
        let (words, writer) = rest.split_last_chunk::<8>()?;
        let mut words = str::from_utf8(words).ok()?.split('\0');
        let (tenant, stream, protocol) = (words.next()?, words.next()?, words.next()?);
        let whole = words.next()?.is_empty() && words.next().is_none();
        let protocol = Protocol::ALL.into_iter().find(|known| known.name() == protocol)?;
        let account = Account {
            tenant: unless_empty(tenant, TenantName::parse)?,
            stream: unless_empty(stream, StreamName::parse)?,
            protocol: Some(protocol.into()).filter(|_| whole)?,
        };
        let writer = WriterId(u64::from_be_bytes(*writer));
        Some(Self { hour: Hour(u32::from_be_bytes(*hour)), account, writer })
    }
}

/// What a text that is not empty is; `None` if it is nothing.
fn unless_empty<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { parse(text).map(Some) }
}

/// The value of a row.
#[derive(Serialize, Deserialize)]
struct Value {
    v: u64,
    r#in: u64,
    out: u64,
    play_us: u64,
    publish_us: u64,
}

pub(super) fn value(used: &Usage) -> Vec<u8> {
    let Usage { bytes_in, bytes_out, play_us, publish_us } = *used;
    let value = Value { v: VERSION, r#in: bytes_in, out: bytes_out, play_us, publish_us };
    serde_json::to_vec(&value).expect("numbers always serialise")
}

/// What was used; `None` if another version wrote it.
pub(super) fn used(value: &[u8]) -> Option<Usage> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let Value { v, r#in, out, play_us, publish_us } = value;
    let used = Usage { bytes_in: r#in, bytes_out: out, play_us, publish_us };
    (v == VERSION).then_some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written_and_sort_by_time() {
        let tenant = |text: &str| TenantName::parse(text);
        let stream = |text: &str| StreamName::parse(text);
        let key = |hour, tenant, stream, protocol: Protocol, writer| RowKey {
            hour: Hour(hour),
            account: Account { tenant, stream, protocol: protocol.into() },
            writer: WriterId(writer),
        };
        let keys = [
            key(1, None, stream("a/b"), Protocol::Rtmp, u64::MAX),
            key(1, tenant("t.1"), None, Protocol::Hls, 0),
            key(0x1_0000, tenant("t"), stream("z"), Protocol::WsTs, 7),
        ];
        let written = keys.clone().map(|key| key.to_bytes());
        assert!(written.is_sorted());
        for (key, bytes) in keys.iter().zip(&written) {
            assert_eq!(RowKey::from_bytes(bytes).as_ref(), Some(key));
            for end in 0..bytes.len() {
                // A key that was cut is none, or at least no other row of this account.
                assert_ne!(RowKey::from_bytes(&bytes[..end]).as_ref(), Some(key));
            }
        }
        let mut other = keys[0].to_bytes();
        other[5] = b' ';
        assert_eq!(RowKey::from_bytes(&other), None, "no stream has such a name");
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        let all = Usage { bytes_in: 1, bytes_out: u64::MAX, play_us: 3, publish_us: 4 };
        assert_eq!(used(&value(&all)), Some(all));
        let later = String::from_utf8(value(&all)).unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(used(later.as_bytes()), None);
        assert_eq!(used(b"{}"), None);
    }
}
