//! Event: one thing that happened, with its JSON.

use std::sync::Arc;

use dataplane::ids::{StreamId, StreamName};
use serde::{Serialize, Serializer};

use super::id::EventId;
use super::kind::Kind;
use crate::dialect::Claim;

/// One thing that happened.
///
/// Shape: `{"id","type","time","node","stream","stream_id","data"}`; `stream` and `stream_id` are
/// null for what concerns no stream or no publication, `data` depends on `type`.
#[derive(Clone, Debug)]
pub struct Event {
    id: EventId,
    stream: Option<StreamName>,
    kind: Kind,
    json: Arc<str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(serialize_with = "text")]
    id: EventId,
    r#type: &'static str,
    time: String,
    node: &'a str,
    stream: Option<&'a str>,
    stream_id: Option<String>,
    data: &'a Kind,
}

/// Writes what shows itself as text.
pub(super) fn text<T: std::fmt::Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Event {
    pub(super) fn new(
        id: EventId,
        node: &str,
        stream: Option<StreamName>,
        stream_id: Option<StreamId>,
        kind: Kind,
    ) -> Self {
        let envelope = Envelope {
            id,
            r#type: kind.name(),
            time: id.at().to_string(),
            node,
            stream: stream.as_ref().map(StreamName::as_str),
            stream_id: stream_id.map(|id| id.to_string()),
            data: &kind,
        };
        let json = serde_json::to_string(&envelope).expect("an event has text for keys");
        Self { id, stream, kind, json: json.into() }
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// The stream that it concerns.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamName> {
        self.stream.as_ref()
    }

    /// What happened.
    #[must_use]
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.json.len() as u64 + self.kind.claim().map_or(0, Claim::bytes)
    }

    /// It as one line of JSON.
    #[must_use]
    pub fn json(&self) -> &Arc<str> {
        &self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Bus, RingLimits};

    #[test]
    fn an_event_is_one_object_of_json() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let stream = StreamName::parse("news/1").unwrap();
        let kind = Kind::StreamStopped { reason: "idle" };
        let event = bus.unpublished(Some(&stream), kind);
        let json: serde_json::Value = serde_json::from_str(event.json()).unwrap();
        assert_eq!(json["id"], event.id().to_string());
        assert_eq!(json["time"], event.id().at().to_string());
        let time = json["time"].as_str().unwrap();
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
        let rest = ["type", "node", "stream", "stream_id", "data"].map(|key| json[key].clone());
        let expected = serde_json::json!([
            "stream.stopped", "edge-1", "news/1", null, { "reason": "idle" },
        ]);
        assert_eq!(serde_json::json!(rest), expected);
        assert_eq!(json.as_object().unwrap().len(), 7);
    }
}
