//! A publisher of SRT: its connection, and what its payload says.

use std::collections::VecDeque;
use std::time::Instant;

use super::connection::Connection;
use crate::session::Event;
use crate::session::mpegts::Ingest;
use crate::session::rtmp::Supply;
use crate::slab::Pool;

/// A publisher.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) connection: Connection,
    pub(super) ingest: Ingest,
    pub(super) supply: Supply,
    /// Where its lines about the stream belong.
    pub(super) span: tracing::Span,
    /// The shard heard that it is over.
    pub(super) is_over: bool,
}

/// What one payload of a publisher says.
pub(super) fn take(
    now: Instant,
    ingest: &mut Ingest,
    mut bytes: &[u8],
    pool: &Pool,
    events: &mut VecDeque<Event>,
) {
    while let Some(event) = ingest.feed(now, &mut bytes, pool) {
        events.push_back(event);
    }
    while let Some((kind, track)) = ingest.take_ended() {
        events.push_back(Event::TrackEnded { kind, track });
    }
}
