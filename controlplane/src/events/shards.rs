//! Shards: what they tell, as events.

use std::sync::Arc;

use dataplane::control::{Event, Role, SessionEvent};
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
        Event::Session(event) => publish_session(bus, event),
        Event::Stopped => bus.publish(None, None, Kind::ShardStopped { shard: shard.0 }),
        Event::Ready { .. }
        | Event::Authorize { .. }
        | Event::SessionsOverflowed { .. }
        | Event::Moved { .. }
        | Event::Snapshot(_)
        | Event::ListenFailed { .. } => {}
    }
}

fn publish_session(bus: &Bus, event: &SessionEvent) {
    match *event {
        SessionEvent::Started {
            session, role, protocol, tls, ref stream, peer, ref agent, ..
        } => {
            let party = Party { session, protocol, peer, agent: Arc::clone(agent) };
            let kind = match role {
                Role::Publish => Kind::PublishStarted { party, tls },
                Role::Play => Kind::SessionOpened { party, tls },
            };
            bus.publish(Some(stream), None, kind);
        }
        SessionEvent::Ended {
            session,
            role,
            protocol,
            ref stream,
            peer,
            ref agent,
            bytes_in,
            bytes_out,
            age_ms: duration_ms,
            reason,
            ..
        } => {
            let party = Party { session, protocol, peer, agent: Arc::clone(agent) };
            let reason = reason.name();
            let kind = match role {
                Role::Publish => {
                    Kind::PublishEnded { party, bytes_in, bytes_out, duration_ms, reason }
                }
                Role::Play => {
                    Kind::SessionClosed { party, bytes_in, bytes_out, duration_ms, reason }
                }
            };
            bus.publish(Some(stream), None, kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RingLimits;
    use dataplane::control::{CloseReason, Protocol, StreamPublisher, StreamStart};
    use dataplane::ids::{SessionId, StreamId, StreamName};

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
        let ended = SessionEvent::Ended {
            session,
            role,
            protocol,
            stream: stream.clone(),
            peer,
            agent: "OBS".into(),
            bytes_in: 5,
            bytes_out: 6,
            age_ms: 7,
            reason: CloseReason::Kicked,
        };
        let reason = CloseReason::PeerClosed;
        for event in [
            Event::StreamStarted(Box::new(start)),
            Event::Session(Box::new(ended)),
            Event::StreamEnded { stream, id: Some(id), reason },
            Event::Stopped,
        ] {
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
