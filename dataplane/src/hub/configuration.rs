//! What players must know before they can decode: configurations, metadata, and which tracks a log
//! holds.
//!
//! A change of a decoder's configuration begins a new version: joins never mix what lies before it
//! with what comes after. Metadata, colours and speaker maps change without one, because no decoder
//! waits for them.

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::time::MediaTime;

use super::{Hub, Shown, Sink};
use crate::config::LimitId;
use crate::error::Error;
use crate::log::{EntryKind, EntryMeta, Preamble, PreambleItem, PreambleKind};
use crate::package::Packager;
use crate::session::{AccessUnit, LogKey, TrackId};

/// Stream time after which a track that a new publisher does not deliver is hidden.
const SILENT_TRACK: MediaTime = MediaTime::from_millis(1_500);

impl Hub {
    /// A track's decoder configuration began or changed.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the record cannot be read; the track keeps what it had.
    pub fn set_config(
        &mut self,
        id: TrackId,
        codec: Codec,
        record: &[u8],
        raw: MediaTime,
        sink: &mut Sink<'_>,
    ) -> Result<(), Error> {
        let config = DecoderConfig::parse(codec, record)?;
        let Some((track, changed)) = self.tracks.ensure(id, codec) else {
            return Err(Error::Limit(LimitId::TracksMax));
        };
        let known = |known: &DecoderConfig| known.record == config.record;
        if !changed && track.config.as_ref().is_some_and(known) {
            return Ok(());
        }
        track.config = Some(config);
        tracing::info!(stream = %self.name, track = id, codec = codec.name(), "configuration");
        let dts = self.timeline.newest().unwrap_or(raw);
        self.config_changed(Some((codec.kind(), id)), dts, sink);
        Ok(())
    }

    /// The publisher ended a track and goes on with others: players are told of those only.
    pub fn end_track(&mut self, kind: TrackKind, id: TrackId, sink: &mut Sink<'_>) {
        if !self.tracks.hide_ended(kind, id) {
            return;
        }
        tracing::info!(stream = %self.name, track = id, ?kind, "track ended");
        let dts = self.timeline.newest().unwrap_or(MediaTime::ZERO);
        self.config_changed(None, dts, sink);
    }

    /// What a track says beside its configuration began or changed.
    pub fn set_detail(
        &mut self,
        id: TrackId,
        codec: Codec,
        body: Vec<u8>,
        raw: MediaTime,
        sink: &mut Sink<'_>,
    ) {
        let Some((track, _)) = self.tracks.ensure(id, codec) else { return };
        if track.detail.as_ref() == Some(&body) {
            return;
        }
        track.detail = Some(body);
        // As with metadata, the version stays.
        let dts = self.timeline.newest().unwrap_or(raw);
        let meta = EntryMeta::plain(EntryKind::Config, dts, self.config_version);
        for at in 0..self.logs.len() {
            if self.logs[at].shown().of(codec.kind()) != Some(id) {
                continue;
            }
            self.renew_preamble(at, sink);
            let Some(track) = self.tracks.chosen_of(codec.kind(), id) else { continue };
            let packager = self.logs[at].packager();
            let body = track.detail.as_ref();
            if let Some(item) = body.and_then(|body| packager.detail(codec, body)) {
                self.logs[at].append_message(&item, meta, sink);
            }
        }
    }

    /// The stream's metadata began or changed: an `onMetaData` body.
    pub fn set_metadata(&mut self, body: Vec<u8>, raw: MediaTime, sink: &mut Sink<'_>) {
        if self.metadata.as_ref() == Some(&body) {
            return;
        }
        self.metadata = Some(body);
        // No decoder needs it: the version stays, so that what is kept can still be joined.
        let dts = self.timeline.newest().unwrap_or(raw);
        for at in 0..self.logs.len() {
            self.renew_preamble(at, sink);
            self.append_config(at, TrackKind::Data, dts, sink);
        }
    }

    pub(super) fn hide_silent_tracks(&mut self, unit: &AccessUnit, sink: &mut Sink<'_>) {
        let began = *self.source_began.get_or_insert(unit.dts);
        if !self.silent_checked && unit.keyframe && unit.dts - began >= SILENT_TRACK {
            self.silent_checked = true;
            if self.tracks.hide_silent() {
                self.config_changed(None, unit.dts, sink);
            }
        }
    }

    /// A new version of the configuration begins: every log gets its tracks and its preamble, and
    /// its players hear of `news` and of the tracks that they did not get before.
    pub(super) fn config_changed(
        &mut self,
        news: Option<(TrackKind, TrackId)>,
        dts: MediaTime,
        sink: &mut Sink<'_>,
    ) {
        self.config_version += 1;
        self.config_changed_at = self.ring.next_number();
        self.segments.set_tracks(&self.tracks, self.shown(LogKey::SEGMENTS), news);
        for at in 0..self.logs.len() {
            let shown = self.shown(self.logs[at].key());
            let before = self.logs[at].show(shown);
            self.logs[at].set_tracks(&self.tracks);
            self.renew_preamble(at, sink);
            for kind in [TrackKind::Video, TrackKind::Audio] {
                let Some(id) = shown.of(kind) else { continue };
                let other = before.of(kind).is_some_and(|before| before != id);
                if other || news == Some((kind, id)) {
                    self.append_config(at, kind, dts, sink);
                }
            }
        }
    }

    /// A unit told what no record does: logs describe their tracks anew, and what is kept can still
    /// be joined.
    pub(super) fn format_learned(&mut self, sink: &mut Sink<'_>) {
        for at in 0..self.logs.len() {
            self.logs[at].set_tracks(&self.tracks);
            self.renew_preamble(at, sink);
        }
    }

    /// Shows a log the preamble of the version in force.
    pub(super) fn renew_preamble(&mut self, at: usize, sink: &mut Sink<'_>) {
        let log = &self.logs[at];
        let preamble = self.preamble(log.packager(), log.shown());
        self.logs[at].set_preamble(preamble, sink);
    }

    pub(super) fn preamble(&self, packager: Packager, shown: Shown) -> Preamble {
        let version = self.config_version;
        let (video, audio) = (shown.video.is_some(), shown.audio.is_some());
        if !packager.has_messages() {
            return Preamble { version, video, audio, ..Preamble::default() };
        }
        let metadata = self
            .metadata
            .iter()
            .map(|body| PreambleItem { kind: PreambleKind::Metadata, body: body.clone() });
        let kinds = [TrackKind::Video, TrackKind::Audio].into_iter();
        let tracks = kinds.filter_map(|kind| self.tracks.chosen_of(kind, shown.of(kind)?));
        let headers = tracks.flat_map(|track| {
            let header = track.config.as_ref().and_then(|config| packager.sequence_header(config));
            let detail = track.detail.as_ref();
            let detail = detail.and_then(|detail| packager.detail(track.codec, detail));
            header.into_iter().chain(detail)
        });
        let items = metadata.chain(headers).collect();
        Preamble { version, items, video, audio, relayed: None }
    }

    /// Tells the players of a log what is in force for one kind of track.
    fn append_config(&mut self, at: usize, kind: TrackKind, dts: MediaTime, sink: &mut Sink<'_>) {
        let meta = EntryMeta::plain(EntryKind::Config, dts, self.config_version);
        let log = &self.logs[at];
        let wanted = match kind {
            TrackKind::Video => PreambleKind::Video,
            TrackKind::Audio => PreambleKind::Audio,
            TrackKind::Data => PreambleKind::Metadata,
        };
        let preamble = self.preamble(log.packager(), log.shown());
        for item in preamble.items.iter().filter(|item| item.kind == wanted) {
            self.logs[at].append_message(item, meta, sink);
        }
    }
}
