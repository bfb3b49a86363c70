//! Parcel: one event on its way to one hook, and its row in the store.

use std::sync::Arc;

use dataplane::ids::StreamName;
use serde::Deserialize;

use crate::events::Event;
use crate::store::{Table, Write};

/// Before and after the event in a row's value; the number is the version of this form.
const ROW: (&str, &str) = ("{\"v\":1,\"event\":", "}");

/// One event on its way to one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    /// Its place in the queue of its hook, which rises for ever.
    pub(super) number: u64,
    /// The event's id.
    pub(super) id: Arc<str>,
    /// Whose order it is part of.
    pub(super) stream: Option<StreamName>,
    /// The event as JSON.
    pub(super) json: Arc<str>,
}

/// What a stored event tells of itself.
#[derive(Deserialize)]
struct Head {
    id: String,
    stream: Option<String>,
}

impl Parcel {
    /// The event as the `number`-th of a hook.
    pub(super) fn new(number: u64, event: &Event) -> Self {
        let (id, stream) = (event.id().to_string().into(), event.stream().cloned());
        Self { number, id, stream, json: Arc::clone(event.json()) }
    }

    /// From an event's JSON; `None` if it is not one.
    pub(super) fn parse(number: u64, json: &str) -> Option<Self> {
        let head: Head = serde_json::from_str(json).ok()?;
        let stream = head.stream.map(|name| StreamName::parse(&name));
        let stream = match stream {
            Some(None) => return None,
            Some(name) => name,
            None => None,
        };
        Some(Self { number, id: head.id.into(), stream, json: json.into() })
    }

    /// From its row; `None` if it is not one.
    pub(super) fn read(hook: &str, key: &[u8], value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let json = value.strip_prefix(ROW.0)?.strip_suffix(ROW.1)?;
        Self::parse(number(hook, key)?, json)
    }

    /// Puts it into the outbox.
    pub(super) fn keep(&self, hook: &str) -> Write {
        let value = [ROW.0, &self.json, ROW.1].concat().into_bytes();
        Write { table: Table::Outbox, key: key(hook, self.number), value: Some(value) }
    }

    /// Takes the `number`-th of a hook out of the outbox.
    pub(super) fn forget(hook: &str, number: u64) -> Write {
        Write { table: Table::Outbox, key: key(hook, number), value: None }
    }
}

/// The key of the `number`-th row of a hook: rows of a hook lie together, in their order.
pub(super) fn key(hook: &str, number: u64) -> Vec<u8> {
    [hook.as_bytes(), &[0], &number.to_be_bytes()].concat()
}

/// The number in a key; `None` if it is not one of `hook`.
pub(super) fn number(hook: &str, key: &[u8]) -> Option<u64> {
    let rest = key.strip_prefix(hook.as_bytes())?.strip_prefix(&[0])?;
    Some(u64::from_be_bytes(rest.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Bus, Kind, RingLimits};

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let stream = StreamName::parse("news/1").unwrap();
        for stream in [Some(&stream), None] {
            let parcel = Parcel::new(258, &bus.unpublished(stream, Kind::StreamLost {}));
            let write = parcel.keep("a");
            let read = Parcel::read("a", &write.key, &write.value.unwrap());
            assert_eq!(read.as_ref(), Some(&parcel));
            assert_eq!(number("b", &write.key), None);
            assert_eq!(Parcel::forget("a", 258).key, write.key);
        }
        assert!(key("a", 255) < key("a", 256) && key("a", u64::MAX) < key("b", 0));
        assert_eq!(Parcel::read("a", &key("a", 1), b"{\"v\":2}"), None);
    }
}
