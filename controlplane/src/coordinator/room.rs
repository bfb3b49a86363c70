//! Room: what the control thread keeps for the contract.

use std::time::Instant;

use dataplane::control::StreamStart;
use dataplane::ids::{StreamId, StreamName};

use super::channels::Channels;
use super::encoder::Encoder;
use super::teller::{Pictures, Teller, resolution};
use crate::counts::Counts;

/// The channels on the air, and who is told of them.
///
/// Lives on: the control thread. Crosses by: never.
#[derive(Debug, Default)]
pub struct Coordinator {
    channels: Channels,
    encoder: Encoder,
    teller: Option<Teller>,
}

impl Coordinator {
    /// A stream began.
    pub fn started(&mut self, start: &StreamStart) {
        if let Some(id) = start.id {
            self.encoder.begun(&start.stream);
            self.channels.started(start.stream.clone(), id);
        }
    }

    /// A stream has a publisher again.
    pub fn returned(&mut self, stream: &StreamName) {
        self.encoder.begun(stream);
    }

    /// True if the encoder takes a publication of `stream`, besides those that it has.
    #[must_use]
    pub fn has_room(&self, stream: &StreamName) -> bool {
        self.encoder.has_room(stream, &self.channels)
    }

    /// A publication of `stream` was let in.
    pub fn granted(&mut self, stream: &StreamName, now: Instant) {
        self.encoder.granted(stream, now);
    }

    /// Forgets those who were let in and never began.
    pub fn expire(&mut self, now: Instant) {
        self.encoder.expire(now);
    }

    /// A stream is over, grace included.
    pub fn ended(&mut self, stream: &StreamName, id: Option<StreamId>) {
        if let Some(id) = id {
            self.channels.ended(stream, id);
            if let Some(teller) = &self.teller {
                teller.ended(id);
            }
        }
    }

    /// The first playlist of a publication can be served: its application is told.
    pub fn playable(&self, stream: &StreamName, id: Option<StreamId>, pictures: Pictures) {
        let (Some(teller), Some(id)) = (&self.teller, id) else { return };
        teller.ready(stream, id, resolution(pictures));
    }

    /// Ends what was announced and is not on the air, as a comparison with the shards found: both
    /// its beginning and its end were lost.
    pub fn end_unknown(&self, is_on_air: impl Fn(&StreamName, StreamId) -> bool) {
        let Some(teller) = &self.teller else { return };
        for (stream, id) in teller.running() {
            if !is_on_air(&stream, id) {
                tracing::warn!(%stream, %id, "announced, and on no shard: over");
                teller.ended(id);
            }
        }
    }

    /// The encoder takes so many publications at one time; `None` for as many as come.
    pub fn encode_at_most(&mut self, capacity: Option<u32>) {
        self.encoder = Encoder::new(capacity);
    }

    /// The application is told by `teller` from now on.
    pub fn tell_by(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// Writes what was counted.
    pub fn count(&self, into: &mut Counts) {
        let publications = self.channels.len() as f64;
        into.gauge("publications", "Publications with a number that are on the air.", publications);
    }

    /// The channels on the air.
    #[must_use]
    pub const fn channels(&self) -> &Channels {
        &self.channels
    }
}
