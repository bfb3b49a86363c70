//! What a log shows of the tracks of its stream, and why a picture is missing in it.

use codecs::media::TrackKind;

use crate::metrics::ShardCounters;
use crate::session::TrackId;

/// The track of each kind that a log holds, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The pictures.
    pub video: Option<TrackId>,
    /// The sound.
    pub audio: Option<TrackId>,
}

impl Shown {
    /// The track of `kind`.
    #[must_use]
    pub const fn of(self, kind: TrackKind) -> Option<TrackId> {
        match kind {
            TrackKind::Video => self.video,
            TrackKind::Audio => self.audio,
            TrackKind::Data => None,
        }
    }
}

/// Why a picture is not in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// No page was left for it.
    Memory,
    /// Its bytes do not fit the format.
    LeftOut,
    /// The pictures are of another track from now on.
    Switched,
}

impl Missing {
    /// Counts a picture that is dropped for it.
    pub(super) const fn count(self, counters: &mut ShardCounters) {
        match self {
            Self::Memory => counters.units_dropped_memory += 1,
            Self::LeftOut => counters.units_left_out_ts += 1,
            Self::Switched => {}
        }
    }
}
