//! Quotas: the places that players of this shard have in those of their streams.
//!
//! A stream without a quota costs one look-up when somebody begins to play it.
//!
//! Lives on: its shard. Crosses by: never; the counts are shared ([`StreamQuotas`]).
//! Limits: the control plane bounds the streams, `players_max` and `hls_viewers_max` the places.

use std::collections::HashMap;

use super::shard::Shard;
use crate::control::{QuotaPlace, StreamQuotas};
use crate::ids::StreamName;

/// What one shard knows of quotas.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    of: HashMap<StreamName, StreamQuotas>,
    /// By slot of the connection that plays.
    places: HashMap<u32, QuotaPlace>,
}

/// The stream has as many players as it may.
#[derive(Debug)]
pub(super) struct Full;

impl Quotas {
    /// A place for one player more of `stream`; `None` if nobody counts.
    pub(super) fn enter(&self, stream: &StreamName) -> Result<Option<QuotaPlace>, Full> {
        match self.of.get(stream) {
            Some(quotas) => quotas.enter().map(Some).ok_or(Full),
            None => Ok(None),
        }
    }

    /// True if nothing of `stream` is left, not even for viewers who are not told apart.
    pub(super) fn are_spent(&self, stream: &StreamName) -> bool {
        self.of.get(stream).is_some_and(StreamQuotas::is_spent)
    }

    /// The connection in `slot` plays in this place.
    pub(super) fn seat(&mut self, slot: u32, place: Option<QuotaPlace>) {
        if let Some(place) = place {
            self.places.insert(slot, place);
        }
    }

    /// The connection in `slot` plays no more.
    pub(super) fn leave(&mut self, slot: u32) {
        if !self.places.is_empty() {
            self.places.remove(&slot);
        }
    }
}

impl Shard {
    /// Players of `stream` that come from now on count in `quotas`.
    pub(super) fn set_quotas(&mut self, stream: StreamName, quotas: Option<StreamQuotas>) {
        match quotas {
            Some(quotas) => drop(self.quotas.of.insert(stream, quotas)),
            None => drop(self.quotas.of.remove(&stream)),
        }
    }
}
