//! Recordings: a stream on the air is recorded while that is wanted of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use dataplane::ids::{StreamId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use crate::config::RecordingSection;
use crate::events::{Kind, Party};
use crate::record::{Entrance, RecordMode, Recorder, Report, Word};

impl<F: Fleet> Exchange<F> {
    /// Streams are recorded by `recorder` from now on.
    pub(crate) fn record_by(&mut self, recorder: Recorder) {
        self.recorder = recorder;
    }

    /// These terms are in force; places and files are as many as at the start.
    pub(crate) fn record_by_terms(&self, new: RecordingSection, started: &RecordingSection) {
        let RecordingSection { active_max, files_max, .. } = *started;
        let terms = RecordingSection { active_max, files_max, ..new };
        if let Some(shelf) = self.recorder.shelf() {
            shelf.set_terms(terms);
        }
    }

    /// What is recorded.
    pub(crate) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Another configuration is in force: everything is looked at anew.
    pub(crate) fn record_anew(&mut self, entrance: Option<Entrance>, now: Instant) {
        self.recorder.enter_by(entrance);
        let streams = self.sessions.streams().map(|(stream, ..)| stream.clone()).collect();
        self.record_changed(&streams, now);
    }

    /// What is wanted of these changed.
    pub(crate) fn record_changed(&mut self, streams: &BTreeSet<StreamName>, now: Instant) {
        for stream in streams {
            self.record(stream, now);
        }
    }

    /// Begins or ends to record a stream, as it is wanted.
    pub(super) fn record(&mut self, stream: &StreamName, now: Instant) {
        let on_air = self.sessions.newest_publication(stream);
        let Some(id) = on_air.filter(|_| self.mode_of(stream) != RecordMode::Off) else {
            return self.recorder.end(stream);
        };
        let publisher = self.publisher_of(stream);
        match self.recorder.of(stream).map(|active| active.id) {
            Some(before) if before == id => {
                if publisher.is_some() {
                    self.recorder.published_by(stream, publisher);
                }
                return;
            }
            // The end of the publication before comes later, from another shard.
            Some(_) => self.recorder.over(stream),
            None => {}
        }
        if let Err((reason, message)) = self.recorder.begin(stream, id, publisher)
            && self.recorder.refused(stream, (reason, message.clone()), now)
        {
            self.tell_failed(stream, id, reason, &message);
        }
    }

    /// A stream is over, and so is its recording.
    pub(super) fn record_over(&mut self, stream: &StreamName) {
        self.recorder.over(stream);
    }

    /// Does what time makes due for recordings.
    pub(super) fn tick_recordings(&mut self, now: Instant) {
        while let Some(stream) = self.recorder.next_due(now) {
            self.record(&stream, now);
        }
    }

    /// A recording tells what became of it.
    pub(super) fn recording_told(&mut self, report: Report, now: Instant) {
        let Report { number, stream, word } = report;
        let (id, publisher) =
            self.recorder.active(number).map_or((None, None), |active| active.told());
        match word {
            Word::Began { id: file, path } => {
                let path = path.display().to_string();
                tracing::info!(%stream, path, "recording");
                self.recorder.writes(number, Some(file.clone()));
                // A stream may begin before its session is told of.
                let publisher = self.publisher_of(&stream).or(publisher);
                self.recorder.published_by(&stream, publisher.clone());
                let recording = file.to_string();
                let kind = Kind::RecordingStarted { recording, path, publisher };
                self.bus.publish(Some(&stream), id, kind);
            }
            Word::Finished { id: file, path, bytes, duration_ms, reason } => {
                let path = path.display().to_string();
                tracing::info!(%stream, path, bytes, duration_ms, reason, "recorded");
                self.recorder.writes(number, None);
                let recording = file.to_string();
                let kind = Kind::RecordingFinished {
                    recording,
                    path,
                    bytes,
                    duration_ms,
                    reason,
                    publisher,
                };
                self.bus.publish(Some(&stream), id, kind);
                if let Some(shelf) = self.recorder.shelf() {
                    shelf.told(&stream, &file);
                }
            }
            Word::Failed { reason, message } => {
                if self.recorder.failed(number, (reason, message.clone())) {
                    self.tell_failed(&stream, id, reason, &message);
                }
            }
            Word::Over => {
                self.recorder.is_over(number, now);
                self.tick_recordings(now);
            }
        }
    }

    fn tell_failed(
        &self,
        stream: &StreamName,
        id: Option<StreamId>,
        reason: &'static str,
        message: &str,
    ) {
        tracing::warn!(%stream, reason, message, "not recorded; it is tried again");
        let message = message.to_owned();
        self.bus.publish(Some(stream), id, Kind::RecordingFailed { reason, message });
    }

    /// How a stream is recorded: what is declared of it comes before what the application said.
    fn mode_of(&self, stream: &StreamName) -> RecordMode {
        let declared = self.registry.resolve(stream).and_then(|it| it.traits.record);
        declared.unwrap_or_else(|| {
            let asked = self.gate.policies().of(stream).is_some_and(|policy| policy.record);
            match self.recorder.shelf() {
                Some(shelf) if asked => shelf.policy(),
                _ => RecordMode::Off,
            }
        })
    }

    /// Who publishes a stream.
    pub(super) fn publisher_of(&self, stream: &StreamName) -> Option<Party> {
        let session = self.registry.running.lookup(stream)?.holder?;
        let live = self.sessions.get(session)?;
        let claim = self.gate.claim_of(session);
        let agent = Arc::clone(&live.agent);
        Some(Party { session, protocol: live.protocol, peer: live.peer, agent, claim })
    }
}
