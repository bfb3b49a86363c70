//! The tracks of one stream and their decoder configurations.

use codecs::decoder_config::UNIT_START_LEN;
use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::time::MediaTime;

use crate::control::TrackStatus;
use crate::session::{AccessUnit, TrackId};
use crate::slab::Pool;

/// Stream time over which a track's bit rate is measured.
const RATE_WINDOW: MediaTime = MediaTime::from_millis(2_000);

/// One track.
#[derive(Clone, Debug)]
pub struct Track {
    /// Its number within its kind.
    pub id: TrackId,
    /// Its codec.
    pub codec: Codec,
    /// What its decoder must know; `None` for codecs without a configuration, or before it came.
    pub config: Option<DecoderConfig>,
    /// What it says beside that: the colours of its pictures, or how its channels map to speakers.
    pub detail: Option<Vec<u8>>,
    /// Its publisher spoke of it, or delivered it, since it began.
    pub mentioned: bool,
    /// Its publisher delivered units since it began.
    pub delivered: bool,
    /// Announced but not delivered: players are not told of it until its first unit.
    pub silent: bool,
    window_began: Option<MediaTime>,
    window_bytes: u64,
    bps: u64,
}

impl Track {
    /// True if its units cannot be decoded before a configuration came.
    #[must_use]
    pub const fn lacks_config(&self) -> bool {
        let needs = matches!(self.codec, Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Aac);
        needs && self.config.is_none()
    }

    /// Takes what the bytes of a unit tell where no record does: of every keyframe, and of sound
    /// now and then. True if that was news.
    pub fn learn(&mut self, unit: &AccessUnit, pool: &Pool) -> bool {
        let due = if self.codec.kind() == TrackKind::Video {
            unit.keyframe
        } else {
            self.window_bytes == 0
        };
        if !due || !DecoderConfig::learns(self.codec) {
            return false;
        }
        let mut start = [0; UNIT_START_LEN];
        let len = pool.prefix(&unit.payload, &mut start);
        if self.config.is_none() {
            self.config = DecoderConfig::parse(self.codec, &[]).ok();
        }
        self.config.as_mut().is_some_and(|config| config.learn(&start[..len]))
    }

    /// Counts one unit into the bit rate.
    pub fn account(&mut self, dts: MediaTime, bytes: u64) {
        self.delivered = true;
        let began = *self.window_began.get_or_insert(dts);
        self.window_bytes += bytes;
        let passed = dts - began;
        if passed >= RATE_WINDOW {
            let ms = u64::try_from(passed.as_millis()).unwrap_or(1).max(1);
            self.bps = self.window_bytes * 8 * 1000 / ms;
            self.window_began = Some(dts);
            self.window_bytes = 0;
        }
    }

    fn status(&self) -> TrackStatus {
        TrackStatus {
            id: self.id,
            kind: self.codec.kind(),
            codec: self.codec,
            config: self.config.clone(),
            bps: self.bps,
        }
    }
}

/// All tracks of a stream. Limits: `tracks_max`.
#[derive(Debug)]
pub struct Tracks {
    tracks: Vec<Track>,
    max: usize,
}

impl Tracks {
    /// No track yet, `max` at most.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { tracks: Vec::new(), max }
    }

    /// Bytes of what decoders must know.
    #[must_use]
    pub fn told_bytes(&self) -> usize {
        let configs = self.tracks.iter().filter_map(|track| track.config.as_ref());
        let details = self.tracks.iter().filter_map(|track| track.detail.as_ref());
        configs
            .map(|config| config.record.capacity() + config.codec_string.capacity())
            .sum::<usize>()
            + details.map(Vec::capacity).sum::<usize>()
    }

    /// Track `id` of `codec`'s kind, created or changed to `codec`; `None` if there is no room.
    ///
    /// The second value is true if the track is new or carried another codec before.
    pub fn ensure(&mut self, id: TrackId, codec: Codec) -> Option<(&mut Track, bool)> {
        let same = |t: &Track| t.id == id && t.codec.kind() == codec.kind();
        if self.tracks.len() >= self.max && !self.tracks.iter().any(same) {
            // A silent track makes room for one that is, and so does one of a publisher before.
            self.tracks.retain(|track| !track.silent);
            if self.tracks.len() >= self.max {
                self.tracks.retain(|track| track.mentioned);
            }
        }
        let at = match self.tracks.iter().position(same) {
            Some(at) if self.tracks[at].codec == codec => {
                self.tracks[at].mentioned = true;
                return Some((&mut self.tracks[at], false));
            }
            Some(at) => {
                self.tracks.remove(at);
                at
            }
            None if self.tracks.len() < self.max => self.tracks.len(),
            None => return None,
        };
        let (window_began, window_bytes, bps) = (None, 0, 0);
        let (mentioned, delivered, silent) = (true, false, false);
        let (config, detail) = (None, None);
        let track = Track {
            id,
            codec,
            config,
            detail,
            mentioned,
            delivered,
            silent,
            window_began,
            window_bytes,
            bps,
        };
        self.tracks.insert(at, track);
        Some((&mut self.tracks[at], true))
    }

    /// The track of `kind` for players of number `wanted`: that one, or else the default one.
    #[must_use]
    pub fn chosen_of(&self, kind: TrackKind, wanted: TrackId) -> Option<&Track> {
        self.shown(kind, wanted).or_else(|| self.shown(kind, 0))
    }

    /// True if players of number `wanted` find anything that those of the default track do not.
    #[must_use]
    pub fn offers(&self, wanted: TrackId) -> bool {
        let of_number = |kind| self.shown(kind, wanted).is_some();
        wanted == 0 || of_number(TrackKind::Video) || of_number(TrackKind::Audio)
    }

    fn shown(&self, kind: TrackKind, id: TrackId) -> Option<&Track> {
        let of = |track: &&Track| track.id == id && track.codec.kind() == kind;
        self.tracks.iter().find(of).filter(|track| !track.silent && !track.lacks_config())
    }

    /// A new publisher begins: no track has delivered or said anything yet.
    pub fn begin_source(&mut self) {
        for track in &mut self.tracks {
            (track.mentioned, track.delivered, track.detail) = (false, false, None);
        }
    }

    /// Hides the tracks that the publisher does not deliver; true if there were any.
    pub fn hide_silent(&mut self) -> bool {
        let mut any = false;
        for track in self.tracks.iter_mut().filter(|track| !track.delivered && !track.silent) {
            track.silent = true;
            any = true;
        }
        any
    }

    /// Hides a track that its publisher ended, unless nothing else is shown; true if players see
    /// it no more. Its next unit shows it again.
    pub fn hide_ended(&mut self, kind: TrackKind, id: TrackId) -> bool {
        let is_it = |track: &Track| track.id == id && track.codec.kind() == kind;
        let is_shown = |track: &Track| !track.silent && track.delivered && !track.lacks_config();
        if !self.tracks.iter().any(|track| is_shown(track) && !is_it(track)) {
            return false;
        }
        let ended = self.tracks.iter_mut().find(|track| is_it(track) && !track.silent);
        let Some(ended) = ended else { return false };
        (ended.silent, ended.delivered) = (true, false);
        true
    }

    /// The tracks, for the API.
    #[must_use]
    pub fn status(&self) -> Vec<TrackStatus> {
        self.tracks.iter().filter(|track| !track.silent).map(Track::status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_change_replaces_the_track_and_forgets_its_config() {
        let mut tracks = Tracks::new(2);
        assert!(tracks.ensure(0, Codec::H264).unwrap().1);
        assert!(!tracks.ensure(0, Codec::H264).unwrap().1);
        assert!(tracks.ensure(0, Codec::Hevc).unwrap().1);
        assert!(tracks.ensure(0, Codec::Aac).unwrap().1);
        assert!(tracks.ensure(1, Codec::Aac).is_none(), "the limit holds");
        assert_eq!(
            tracks.status().iter().map(|t| t.codec).collect::<Vec<_>>(),
            [Codec::Hevc, Codec::Aac]
        );
        assert!(tracks.chosen_of(TrackKind::Video, 0).is_none(), "nobody can decode it yet");
    }

    #[test]
    fn tracks_of_a_publisher_before_make_room() {
        let mut tracks = Tracks::new(2);
        for id in [0, 1] {
            tracks.ensure(id, Codec::Opus);
        }
        tracks.begin_source();
        assert!(tracks.ensure(0, Codec::Opus).is_some_and(|(_, changed)| !changed));
        assert!(tracks.ensure(2, Codec::Opus).is_some_and(|(_, changed)| changed));
        assert!(tracks.ensure(3, Codec::Opus).is_none(), "those of this one do not");
        assert_eq!(tracks.status().iter().map(|track| track.id).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn a_number_is_chosen_where_there_is_one() {
        let mut tracks = Tracks::new(8);
        assert!(tracks.offers(0) && !tracks.offers(1));
        for (id, codec) in [(0, Codec::Vp9), (0, Codec::Mp3), (1, Codec::Opus)] {
            tracks.ensure(id, codec);
        }
        let chosen = |wanted| {
            [TrackKind::Video, TrackKind::Audio].map(|kind| tracks.chosen_of(kind, wanted))
        };
        let codecs = |wanted| chosen(wanted).map(|track| track.map(|track| track.codec));
        assert_eq!(codecs(0), [Some(Codec::Vp9), Some(Codec::Mp3)]);
        assert_eq!(codecs(1), [Some(Codec::Vp9), Some(Codec::Opus)]);
        assert_eq!(codecs(2), codecs(0));
        assert!(tracks.offers(0) && tracks.offers(1) && !tracks.offers(2));
    }

    #[test]
    fn an_ended_track_is_hidden_if_another_one_is_shown() {
        let mut tracks = Tracks::new(8);
        for codec in [Codec::Vp9, Codec::Mp3] {
            tracks.ensure(0, codec).unwrap().0.account(MediaTime::ZERO, 10);
        }
        assert!(!tracks.hide_ended(TrackKind::Audio, 1), "there is none");
        assert!(tracks.hide_ended(TrackKind::Audio, 0));
        assert!(tracks.chosen_of(TrackKind::Audio, 0).is_none());
        assert!(!tracks.hide_ended(TrackKind::Audio, 0), "it is hidden already");
        assert!(!tracks.hide_ended(TrackKind::Video, 0), "nothing else is there");
        let sound = tracks.ensure(0, Codec::Mp3).unwrap().0;
        assert!(std::mem::take(&mut sound.silent), "its next unit shows it");
        sound.account(MediaTime::ZERO, 10);
        assert!(tracks.hide_ended(TrackKind::Video, 0));
    }

    #[test]
    fn silent_tracks_go_with_their_publisher() {
        let mut tracks = Tracks::new(8);
        tracks.ensure(0, Codec::Vp9);
        tracks.ensure(0, Codec::Mp3);
        tracks.begin_source();
        tracks.ensure(0, Codec::Vp9).unwrap().0.account(MediaTime::ZERO, 10);
        assert!(tracks.hide_silent());
        assert!(tracks.chosen_of(TrackKind::Audio, 0).is_none());
        assert!(!tracks.hide_silent());
    }
}
