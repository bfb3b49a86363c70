//! Sessions: that one began or ended, as an event.

use std::sync::Arc;

use dataplane::control::{CloseReason, Role};
use dataplane::ids::{SessionId, StreamId, StreamName};

use super::kind::{Kind, Party};
use crate::dialect::Claim;
use crate::viewing::{Change, LiveSession};

/// What is told of a session that began or ended, of which stream, and of which publication if it
/// publishes; `claim` is how it had come in.
#[must_use]
pub fn told_of(
    change: &Change,
    claim: Option<Arc<Claim>>,
) -> (&StreamName, Option<StreamId>, Kind) {
    match change {
        Change::Opened(session, live) => {
            // It is told when it leaves.
            let (party, tls) = (party(*session, live, None), live.tls);
            let kind = match live.role {
                Role::Publish => Kind::PublishStarted { party, tls },
                Role::Play => Kind::SessionOpened { party, tls },
            };
            (&live.stream, live.publication, kind)
        }
        Change::Closed(closed) => {
            let party = party(closed.session, &closed.was, claim);
            let (bytes_in, bytes_out) = (closed.bytes_in, closed.bytes_out);
            let duration_ms = closed.age_ms;
            let reason = closed.reason.map_or("unknown", CloseReason::name);
            let kind = match closed.was.role {
                Role::Publish => {
                    Kind::PublishEnded { party, bytes_in, bytes_out, duration_ms, reason }
                }
                Role::Play => {
                    Kind::SessionClosed { party, bytes_in, bytes_out, duration_ms, reason }
                }
            };
            (&closed.was.stream, closed.was.publication, kind)
        }
    }
}

fn party(session: SessionId, live: &LiveSession, claim: Option<Arc<Claim>>) -> Party {
    let agent = Arc::clone(&live.agent);
    Party { session, protocol: live.protocol, peer: live.peer, agent, claim }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewing::ClosedSession;
    use codecs::time::WallTime;
    use dataplane::control::Protocol;
    use dataplane::ids::ShardId;
    use dataplane::session::view_token::{ViewIds, ViewNote, noted};
    use serde_json::json;

    /// What an application was asked about as, it is told of, whatever its number notes since.
    #[test]
    fn a_viewer_is_told_of_by_the_number_that_he_was_asked_about_by() {
        let asked = ViewIds::default().next(ShardId(1), WallTime::default());
        let session = noted(asked, ViewNote { renamed: true, timed: true });
        let reason = CloseReason::Kicked.name();
        let told = serde_json::to_value(Kind::SessionKicked { session, reason }).unwrap();
        assert_ne!(session, asked);
        assert_eq!(told["session"], asked.to_string());
        let live = LiveSession {
            shard: ShardId(1),
            role: Role::Play,
            protocol: Protocol::Hls,
            tls: false,
            stream: StreamName::parse("cam").unwrap(),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "VLC".into(),
            started: WallTime::default(),
            publication: None,
        };
        let (_, _, kind) = told_of(&Change::Opened(session, live), None);
        assert_eq!(serde_json::to_value(kind).unwrap()["party"]["session"], asked.to_string());
    }

    const ID: StreamId = StreamId([7; 16]);

    #[test]
    fn a_session_is_told_by_its_role_to_begin_and_to_end() {
        let (session, stream) = (SessionId(9), StreamName::parse("news/1").unwrap());
        let live = |role| LiveSession {
            shard: ShardId(1),
            role,
            protocol: Protocol::Rtmp,
            tls: false,
            stream: stream.clone(),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "OBS".into(),
            started: WallTime::default(),
            publication: (role == Role::Publish).then_some(ID),
        };
        let closed = |role| ClosedSession {
            session,
            was: live(role),
            ended: WallTime::default(),
            age_ms: 7,
            bytes_in: 5,
            bytes_out: 6,
            reason: Some(CloseReason::Kicked),
        };
        let party = json!({
            "session": "000000000009", "protocol": "rtmp", "peer": "192.0.2.1:5", "agent": "OBS",
        });
        let begin = json!({ "party": party, "tls": false });
        let end = json!({
            "party": party, "bytes_in": 5, "bytes_out": 6, "duration_ms": 7, "reason": "kicked",
        });
        for (role, began, ended) in [
            (Role::Publish, "publish.started", "publish.ended"),
            (Role::Play, "session.opened", "session.closed"),
        ] {
            for (change, name, data) in [
                (Change::Opened(session, live(role)), began, &begin),
                (Change::Closed(Arc::new(closed(role))), ended, &end),
            ] {
                let (about, id, kind) = told_of(&change, None);
                let fed = name.starts_with("publish.").then_some(ID);
                assert_eq!((about, id, kind.name()), (&stream, fed, name));
                assert_eq!(&serde_json::to_value(kind).unwrap(), data);
            }
        }
    }
}
