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
                claim: None,
            });
            let kind = Kind::StreamStarted { shard: shard.0, protocol, party };
            bus.publish(Some(&start.stream), start.id, kind);
        }
        Event::StreamLost { stream, id, .. } => bus.publish(Some(stream), *id, Kind::StreamLost {}),
        Event::StreamReturned { stream, id, session, .. } => {
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
        Event::PublishRefused(refusal) => {
            let publisher = &refusal.publisher;
            let party = Party {
                session: publisher.session,
                protocol: refusal.protocol,
                peer: publisher.peer,
                agent: Arc::clone(&publisher.agent),
                claim: None,
            };
            let kind = Kind::PublishRefused { party, reason: refusal.reason };
            bus.publish(Some(&refusal.stream), None, kind);
        }
        Event::Stopped => bus.publish(None, None, Kind::ShardStopped { shard: shard.0 }),
        // Sessions are told by who keeps their table: what is lost and found is told once, too. So
        // is what needs to know how somebody came in.
        Event::Session(_)
        | Event::SegmentFinished(_)
        | Event::ConnectionClosed(_)
        | Event::PlayerWaits(_)
        | Event::Ready { .. }
        | Event::Authorize { .. }
        | Event::SessionsOverflowed { .. }
        | Event::Kicked { .. }
        | Event::InputTaken { .. }
        | Event::InputFailed { .. }
        | Event::StreamMoved(_)
        | Event::Moved { .. }
        | Event::Dialled(_)
        | Event::TurnedAway(_)
        | Event::Snapshot(_)
        | Event::Usage(_)
        | Event::ListenFailed { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::RingLimits;
    use dataplane::control::{CloseReason, Protocol, PublishRefusal, StreamPublisher, StreamStart};
    use dataplane::ids::{SessionId, StreamId, StreamName};
    use serde_json::{Value, json};

    const ID: StreamId = StreamId([7; 16]);

    /// What a shard tells of one publication and of one that was refused.
    fn events() -> [Event; 5] {
        let stream = StreamName::parse("news/1").unwrap();
        let (id, protocol) = (Some(ID), Protocol::Rtmp);
        let publisher = StreamPublisher {
            session: SessionId(9),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "OBS".into(),
        };
        let refusal = PublishRefusal {
            stream: stream.clone(),
            protocol,
            publisher: publisher.clone(),
            reason: "busy",
        };
        let publisher = Some(publisher);
        let start = StreamStart { stream: stream.clone(), id, protocol, publisher };
        let (width, height, fps_milli, target_ms) = (640, 360, 25_000, 2_000);
        let ready = stream.clone();
        [
            Event::StreamStarted(Box::new(start)),
            Event::PublishRefused(Box::new(refusal)),
            Event::SegmentsReady { stream: ready, id, width, height, fps_milli, target_ms },
            Event::StreamEnded { stream, id, reason: CloseReason::PeerClosed },
            Event::Stopped,
        ]
    }

    #[test]
    fn what_a_shard_tells_is_told_with_stream_and_publication() {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let mut cursor = bus.cursor();
        for event in events() {
            publish(&bus, ShardId(1), &event);
        }
        let told = cursor.read(9).events;
        let told: Vec<Value> =
            told.iter().map(|event| serde_json::from_str(event.json()).unwrap()).collect();
        let party = json!({
            "session": "000000000009", "protocol": "rtmp", "peer": "192.0.2.1:5", "agent": "OBS",
        });
        let pictures =
            json!({ "width": 640, "height": 360, "fps_milli": 25_000, "target_ms": 2_000 });
        let expected = [
            ("stream.started", json!({ "shard": 1, "protocol": "rtmp", "party": party })),
            ("publish.refused", json!({ "party": party, "reason": "busy" })),
            ("segment.ready", pictures),
            ("stream.stopped", json!({ "reason": "peer_closed" })),
            ("shard.stopped", json!({ "shard": 1 })),
        ];
        for (told, (name, data)) in told.iter().zip(&expected) {
            assert_eq!((&told["type"], &told["data"]), (&json!(name), data));
        }
        assert_eq!(told[0]["stream_id"], ID.to_string());
        assert_eq!((told.len(), told[3]["stream"].as_str()), (5, Some("news/1")));
    }
}
