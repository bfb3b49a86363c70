//! Parcel: one event on its way to one hook, and its row in the store.

use std::borrow::Cow;
use std::sync::Arc;

use dataplane::ids::StreamName;
use serde::Deserialize;

use super::lane::Lane;
use crate::dialect::Note;
use crate::events::Event;
use crate::store::{Table, Write};

/// Before and after the event in a row's value; the number is the version of this form.
const ROW: (&str, &str) = ("{\"v\":1,\"event\":", "}");

/// Before the note of an event in the dialect of its hook, which ends it. Texts have no such
/// letters, because their quotes are escaped, and no field of an event is called so.
const NOTE: &str = ",\"dialect_note\":";

/// The event without its note, which may hold what a peer showed.
pub(super) fn bare(json: &str) -> Cow<'_, str> {
    match json.rsplit_once(NOTE) {
        Some((event, _)) => Cow::Owned(format!("{event}}}")),
        None => Cow::Borrowed(json),
    }
}

/// One event on its way to one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    /// Its place in the queue of its hook, which rises for ever.
    pub(super) number: u64,
    /// The event's id.
    pub(super) id: Arc<str>,
    /// The order that it is part of.
    pub(super) lane: Lane,
    /// The event as JSON.
    pub(super) json: Arc<str>,
}

/// What a stored event tells of itself.
#[derive(Deserialize)]
struct Head {
    id: String,
    r#type: String,
    stream: Option<String>,
    #[serde(default)]
    data: Data,
}

/// Whose event it is, wherever that stands.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    session: Option<String>,
    party: Option<Who>,
    asked: Option<Who>,
}

#[derive(Deserialize)]
struct Who {
    session: String,
}

impl Data {
    fn session(self) -> Option<u64> {
        let who = self.party.or(self.asked).map(|who| who.session);
        u64::from_str_radix(&who.or(self.session)?, 16).ok()
    }
}

impl Parcel {
    /// The event as the `number`-th of a hook.
    pub(super) fn new(number: u64, event: &Event) -> Self {
        let (id, lane) = (event.id().to_string().into(), Lane::of(event));
        Self { number, id, lane, json: Arc::clone(event.json()) }
    }

    /// What is told of the event in the dialect of a hook, as its `number`-th.
    pub(super) fn noted(number: u64, event: &Event, note: &Note) -> Self {
        let bare = event.json().strip_suffix('}').unwrap_or_default();
        let note = serde_json::to_string(note).expect("a note has text for keys");
        let json = [bare, NOTE, &note, "}"].concat().into();
        Self { json, ..Self::new(number, event) }
    }

    /// What is told of it in the dialect of its hook.
    pub(super) fn note(&self) -> Option<Note> {
        let (_, note) = self.json.rsplit_once(NOTE)?;
        serde_json::from_str(note.strip_suffix('}')?).ok()
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
        let lane = Lane::new(&head.r#type, stream, head.data.session());
        Some(Self { number, id: head.id.into(), lane, json: json.into() })
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
    use crate::events::{Asked, Bus, Kind, Party, RingLimits};
    use dataplane::control::Protocol;
    use dataplane::ids::SessionId;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let stream = StreamName::parse("news/1").unwrap();
        let party = Party {
            session: SessionId(0xfeed),
            protocol: Protocol::Rtmp,
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "OBS".into(),
            claim: None,
        };
        let asked = Asked { party: party.clone(), intent: "play", named: "news/1".into() };
        let of = |kind| (Some(&stream), kind);
        let about = Lane::Stream(stream.clone());
        for ((stream, kind), lane) in [
            ((None, Kind::ShardStarted { shard: 0 }), Lane::Node),
            (of(Kind::StreamLost {}), about.clone()),
            (of(Kind::StreamReturned { session: Some("00000000feed".into()) }), about.clone()),
            (of(Kind::PublishStarted { party: party.clone(), tls: true }), about),
            (of(Kind::SessionOpened { party: party.clone(), tls: true }), Lane::Session(0xfeed)),
            (
                of(Kind::SessionKicked { session: SessionId(0xfeed), reason: "kicked" }),
                Lane::Session(0xfeed),
            ),
            (of(Kind::AuthorisationTimeout { asked }), Lane::Question(0xfeed)),
            (of(Kind::PublishRefused { party, reason: "busy" }), Lane::Question(0xfeed)),
        ] {
            let parcel = Parcel::new(258, &bus.unpublished(stream, kind));
            assert_eq!(parcel.lane, lane);
            let write = parcel.keep("a");
            let read = Parcel::read("a", &write.key, &write.value.unwrap());
            assert_eq!(read.as_ref(), Some(&parcel));
            assert_eq!(number("b", &write.key), None);
            assert_eq!(Parcel::forget("a", 258).key, write.key);
        }
        let event = bus.unpublished(Some(&stream), Kind::StreamLost {});
        let text = r#"{"key":"hunter2,\"dialect_note\":"}"#.to_owned();
        let note = Note { call: "on_stop".into(), text };
        let parcel = Parcel::noted(3, &event, &note);
        let write = parcel.keep("a");
        let read = Parcel::read("a", &write.key, &write.value.unwrap()).unwrap();
        assert_eq!((&read, read.note()), (&parcel, Some(note)));
        assert_eq!(bare(&read.json), **event.json(), "nobody else is told the note");
        assert_eq!(Parcel::new(3, &event).note(), None);
        assert!(key("a", 255) < key("a", 256) && key("a", u64::MAX) < key("b", 0));
        assert_eq!(Parcel::read("a", &key("a", 1), b"{\"v\":2}"), None);
    }
}
