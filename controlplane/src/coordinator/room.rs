//! Room: what the control thread keeps for the contract.

use dataplane::control::StreamStart;
use dataplane::ids::{StreamId, StreamName};

use super::channels::Channels;
use super::teller::{Pictures, Teller, resolution};
use crate::counts::Counts;

/// The channels on the air, and who is told of them.
///
/// Lives on: the control thread. Crosses by: never.
#[derive(Debug, Default)]
pub struct Coordinator {
    channels: Channels,
    teller: Option<Teller>,
}

impl Coordinator {
    /// A stream began.
    pub fn started(&mut self, start: &StreamStart) {
        if let Some(id) = start.id {
            self.channels.started(start.stream.clone(), id);
        }
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

    /// The application is told by `teller` from now on.
    pub fn tell_by(&mut self, teller: Teller) {
        self.teller = Some(teller);
    }

    /// Writes what was counted.
    pub fn count(&self, into: &mut Counts) {
        let publications = self.channels.active().count() as f64;
        into.gauge("publications", "Publications with a number that are on the air.", publications);
    }

    /// The channels on the air.
    #[must_use]
    pub const fn channels(&self) -> &Channels {
        &self.channels
    }
}
