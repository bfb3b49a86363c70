//! News: what shards tell only while somebody outside wants to hear of it.

use std::sync::Arc;

use dataplane::control::{Command, ConnectionEnd, FinishedSegment, News, Role};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::dialect::Claim;
use crate::events::{Kind, Party, Wants};

impl<F: Fleet> Exchange<F> {
    /// Has shards tell what is wanted at this moment, if that changed.
    pub(super) fn want(&mut self) {
        let Wants { segments, connections, .. } = self.bus.wants();
        let news = News { segments, connections, waits: self.gate.asks_about_waiting() };
        if news != self.wanted {
            self.wanted = news;
            self.tell_all(|| Command::Want(news));
        }
    }

    /// A segment is finished.
    pub(super) fn segment_finished(&mut self, segment: &FinishedSegment) {
        let FinishedSegment { ref stream, id, number, duration_ms } = *segment;
        let publisher = self.publisher_of(stream);
        let kind = Kind::SegmentFinished { number, duration_ms, publisher };
        self.bus.publish(Some(stream), id, kind);
    }

    /// A connection is closed. Those by which somebody played come in crowds; the one of a
    /// publisher is part of the order of its stream.
    pub(super) fn connection_closed(&mut self, end: ConnectionEnd) {
        let ConnectionEnd { request, last, bytes_in, bytes_out, age_ms, reason } = end;
        let (session, protocol, peer) = (request.session, request.protocol, request.peer);
        let agent = Arc::clone(&request.agent);
        let asker = self.gate.asker();
        let claim = Some(Arc::new(Claim { request: Box::new(request), asker, stream_id: None }));
        let party = Party { session, protocol, peer, agent, claim };
        let (duration_ms, reason) = (age_ms, reason.name());
        match last {
            None => {
                let kind =
                    Kind::ConnectionUnused { party, bytes_in, bytes_out, duration_ms, reason };
                self.bus.publish(None, None, kind);
            }
            Some((role, stream)) => {
                let kind =
                    Kind::ConnectionClosed { party, bytes_in, bytes_out, duration_ms, reason };
                match role {
                    Role::Publish => self.bus.publish(Some(&stream), None, kind),
                    Role::Play => self.news.push(None, kind),
                }
            }
        }
    }
}
