//! Shards: what they tell, as events.

use std::sync::Arc;

use dataplane::control::Event;
use dataplane::ids::ShardId;

use super::bus::Bus;
use super::kind::{Kind, Party};

/// Publishes what `event` of `shard` says, if it is anybody's business.
pub fn publish(bus: &Bus, shard: ShardId, event: &Event) {
    match event {
        Event::StreamStarted(start) => {
            let protocol = start.protocol;
            let party = start.publisher.as_ref().map(|publisher| Party {
                session: publisher.session,
                protocol,
                peer: publisher.peer,
                agent: Arc::clone(&publisher.agent),
            });
            let kind = Kind::StreamStarted { shard: shard.0, protocol, party };
            bus.publish(Some(&start.stream), start.id, kind);
        }
        Event::StreamLost { stream, id } => bus.publish(Some(stream), *id, Kind::StreamLost {}),
        Event::StreamReturned { stream, id, session } => {
            let session = session.map(|session| session.to_string());
            bus.publish(Some(stream), *id, Kind::StreamReturned { session });
        }
        Event::StreamEnded { stream, id, reason } => {
            bus.publish(Some(stream), *id, Kind::StreamStopped { reason: reason.name() });
        }
        &Event::SegmentsReady { ref stream, id, width, height, fps_milli, target_ms } => {
            let kind = Kind::SegmentReady { width, height, fps_milli, target_ms };
            bus.publish(Some(stream), id, kind);
        }
        Event::Stopped => bus.publish(None, None, Kind::ShardStopped { shard: shard.0 }),
        // Sessions are told by who keeps their table: what is lost and found is told once, too.
        Event::Session(_)
        | Event::Ready { .. }
        | Event::Authorize { .. }
        | Event::SessionsOverflowed { .. }
        | Event::Moved { .. }
        | Event::Snapshot(_)
        | Event::ListenFailed { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RingLimits;
    use codecs::time::WallTime;
    use dataplane::control::{CloseReason, Protocol, Role, StreamPublisher, StreamStart};
    use dataplane::ids::{SessionId, StreamId, StreamName};

    use crate::events::publish_change;
    use crate::viewing::{Change, ClosedSession, LiveSession};

    #[test]
    fn what_a_shard_tells_is_told_with_stream_and_publication() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let mut cursor = bus.cursor();
        let stream = StreamName::parse("news/1").unwrap();
        let id = StreamId([7; 16]);
        let (session, peer) = (SessionId(9), "192.0.2.1:5".parse().unwrap());
        let (role, protocol) = (Role::Publish, Protocol::Rtmp);
        let publisher = StreamPublisher { session, peer, agent: "OBS".into() };
        let start = StreamStart {
            stream: stream.clone(),
            id: Some(id),
            protocol,
            publisher: Some(publisher),
        };
        let was = LiveSession {
            shard: ShardId(1),
            role,
            protocol,
            tls: false,
            stream: stream.clone(),
            peer,
            agent: "OBS".into(),
            started: WallTime::default(),
        };
        let ended = ClosedSession {
            session,
            was,
            ended: WallTime::default(),
            age_ms: 7,
            bytes_in: 5,
            bytes_out: 6,
            reason: Some(CloseReason::Kicked),
        };
        let reason = CloseReason::PeerClosed;
        publish(&bus, ShardId(1), &Event::StreamStarted(Box::new(start)));
        publish_change(&bus, &Change::Closed(Arc::new(ended)));
        for event in [Event::StreamEnded { stream, id: Some(id), reason }, Event::Stopped] {
            publish(&bus, ShardId(1), &event);
        }
        let told = cursor.read(9).events;
        let told: Vec<serde_json::Value> =
            told.iter().map(|event| serde_json::from_str(event.json()).unwrap()).collect();
        let party = serde_json::json!({
            "session": "000000000009", "protocol": "rtmp", "peer": "192.0.2.1:5", "agent": "OBS",
        });
        let expected = [
            (
                "stream.started",
                serde_json::json!({ "shard": 1, "protocol": "rtmp", "party": party }),
            ),
            (
                "publish.ended",
                serde_json::json!({
                    "party": party, "bytes_in": 5, "bytes_out": 6, "duration_ms": 7,
                    "reason": "kicked",
                }),
            ),
            ("stream.stopped", serde_json::json!({ "reason": reason.name() })),
            ("shard.stopped", serde_json::json!({ "shard": 1 })),
        ];
        for (told, (name, data)) in told.iter().zip(&expected) {
            assert_eq!((&told["type"], &told["data"]), (&serde_json::json!(name), data));
        }
        assert_eq!(told[0]["stream_id"], id.to_string());
        assert_eq!((told.len(), told[2]["stream"].as_str()), (4, Some("news/1")));
    }
}
