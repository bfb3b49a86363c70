//! Sessions: that one began or ended, as an event.

use std::sync::Arc;

use dataplane::control::{CloseReason, Role};
use dataplane::ids::SessionId;

use super::bus::Bus;
use super::kind::{Kind, Party};
use crate::viewing::{Change, LiveSession};

/// Publishes that a session began or ended.
pub fn publish_change(bus: &Bus, change: &Change) {
    match change {
        Change::Opened(session, live) => {
            let (party, tls) = (party(*session, live), live.tls);
            let kind = match live.role {
                Role::Publish => Kind::PublishStarted { party, tls },
                Role::Play => Kind::SessionOpened { party, tls },
            };
            bus.publish(Some(&live.stream), None, kind);
        }
        Change::Closed(closed) => {
            let party = party(closed.session, &closed.was);
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
            bus.publish(Some(&closed.was.stream), None, kind);
        }
    }
}

fn party(session: SessionId, live: &LiveSession) -> Party {
    let agent = Arc::clone(&live.agent);
    Party { session, protocol: live.protocol, peer: live.peer, agent }
}
