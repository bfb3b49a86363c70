//! The built-in demo stream: a short clip, looped with continuous timestamps.
//!
//! It plays on the home shard of its name whenever nobody publishes that name.

use std::time::{Duration, Instant};

use codecs::flv::audio::{AudioPacket, AudioTagHeader};
use codecs::flv::tag::{FlvReader, TagKind};
use codecs::flv::video::{VideoPacket, VideoTagHeader};
use codecs::media::{Codec, TrackKind};
use codecs::time::MediaTime;

use super::message::Message;
use super::shard::{Shard, TimerKey};
use super::timer::TimerId;
use crate::config::DemoConfig;
use crate::control::Protocol;
use crate::error::Error;
use crate::hub::{Publisher, Source};
use crate::ids::StreamName;
use crate::session::AccessUnit;
use crate::slab::{AuWriter, PageClass};

/// Bytes of one tag of the clip at most.
const TAG_BYTES_MAX: u32 = 1 << 20;
/// A stall of the shard is not caught up with a burst longer than this.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// The clip and how far it has played.
#[derive(Debug)]
pub(crate) struct Demo {
    name: StreamName,
    frames: Vec<Frame>,
    configs: Vec<(Codec, Vec<u8>)>,
    duration: MediaTime,
    playing: Option<Play>,
}

/// One frame of the clip.
#[derive(Debug)]
struct Frame {
    codec: Codec,
    dts: MediaTime,
    cts: MediaTime,
    keyframe: bool,
    payload: Vec<u8>,
}

/// The clip on a stream.
#[derive(Debug)]
struct Play {
    hub: u32,
    began: Instant,
    /// Where the loop that plays now began on the stream's timeline.
    base: MediaTime,
    next: usize,
    /// Fires when the next frame is due.
    timer: Option<TimerId>,
    video: AuWriter,
    audio: AuWriter,
}

impl Demo {
    /// Reads the clip.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no FLV file with H.264 and AAC.
    pub(super) fn new(config: &DemoConfig) -> Result<Self, Error> {
        let mut demo = Self {
            name: config.name.clone(),
            frames: Vec::new(),
            configs: Vec::new(),
            duration: MediaTime::ZERO,
            playing: None,
        };
        let mut reader = FlvReader::new(TAG_BYTES_MAX);
        let (mut rest, mut body) = (config.flv, Vec::new());
        while !rest.is_empty() {
            let (consumed, fragment) = reader.feed(rest)?;
            rest = &rest[consumed..];
            let Some(fragment) = fragment else { continue };
            // COPY(demo): tags of the clip, once at start.
            body.extend_from_slice(fragment.data);
            if fragment.last {
                let dts = MediaTime::from_millis(i64::from(fragment.header.timestamp_ms));
                demo.add(fragment.header.kind, dts, &body)?;
                body.clear();
            }
        }
        demo.duration = demo.measure();
        if demo.duration <= MediaTime::ZERO {
            // A loop without a length would never end its turn.
            return Err(codecs::Error::Invalid { what: "demo.duration", value: 0 }.into());
        }
        Ok(demo)
    }

    fn add(&mut self, kind: TagKind, dts: MediaTime, body: &[u8]) -> Result<(), Error> {
        let (codec, config, cts, keyframe, header_len) = match kind {
            TagKind::Video => {
                let header = VideoTagHeader::parse(body)?;
                let (config, cts) = match header.packet {
                    VideoPacket::SequenceStart => (true, 0),
                    VideoPacket::Coded { composition_time_ms } => (false, composition_time_ms),
                    _ => return Ok(()),
                };
                (header.codec, config, cts, header.frame_type.is_key(), header.header_len)
            }
            TagKind::Audio => {
                let header = AudioTagHeader::parse(body)?;
                let config = match header.packet {
                    AudioPacket::SequenceStart => true,
                    AudioPacket::Coded => false,
                    _ => return Ok(()),
                };
                (header.codec, config, 0, false, header.header_len)
            }
            _ => return Ok(()),
        };
        let Some(codec) = codec else { return Ok(()) };
        // COPY(demo): payloads of the clip, once at start.
        let payload = body.get(header_len..).unwrap_or_default().to_vec();
        if config {
            self.configs.push((codec, payload));
        } else {
            let cts = MediaTime::from_millis(cts.into());
            self.frames.push(Frame { codec, dts, cts, keyframe, payload });
        }
        Ok(())
    }

    /// The last video frame's end, so that pictures keep their cadence over the loop's border.
    fn measure(&self) -> MediaTime {
        let video = || self.frames.iter().filter(|f| f.codec.kind() == TrackKind::Video);
        let last = video().next_back().map_or(MediaTime::ZERO, |frame| frame.dts);
        let first = video().next().map_or(MediaTime::ZERO, |frame| frame.dts);
        let steps = i64::try_from(video().count()).unwrap_or(1).saturating_sub(1).max(1);
        last + MediaTime::from_nanos((last - first).as_nanos() / steps)
    }
}

impl Shard {
    /// Starts the demo if this shard is its home and nobody publishes its name.
    pub(super) fn start_demo(&mut self) {
        let Some(name) = self.demo.as_ref().map(|demo| demo.name.clone()) else { return };
        let away = self.streams.away.find(&name).is_some();
        if self.draining.is_some() || away || self.streams.find(&name).is_some() {
            return;
        }
        let Ok(hub) = self.claim_name(&name, Source::new(Publisher::Demo, Protocol::Demo)) else {
            return;
        };
        let Some(demo) = &mut self.demo else { return };
        demo.playing = Some(Play {
            hub,
            began: self.now,
            base: MediaTime::ZERO,
            next: 0,
            timer: None,
            video: AuWriter::new(),
            audio: AuWriter::new(),
        });
        let configs = demo.configs.clone();
        self.with_stream(hub, |hub, sink| {
            for (codec, record) in configs {
                if let Err(error) = hub.set_config(0, codec, &record, MediaTime::ZERO, sink) {
                    tracing::error!(%error, "the demo clip is broken");
                }
            }
        });
        self.play_demo();
    }

    /// Pushes the frames that are due and sets the timer for the next one.
    pub(super) fn play_demo(&mut self) {
        let Some(mut demo) = self.demo.take() else { return };
        if let Some(mut play) = demo.playing.take() {
            let holds = |hub: &crate::hub::Hub| hub.publisher() == Publisher::Demo;
            if self.streams.get(play.hub).is_some_and(holds) {
                let next = self.push_due_frames(&demo, &mut play);
                play.timer = self.timers.insert(next, TimerKey::Demo);
                demo.playing = Some(play);
            } else {
                play.video.close(&self.pool);
                play.audio.close(&self.pool);
            }
        }
        self.demo = Some(demo);
    }

    /// The demo comes back once nobody publishes its name any more.
    pub(super) fn keep_demo(&mut self) {
        let Some(demo) = self.demo.as_ref().filter(|demo| demo.playing.is_none()) else { return };
        let home = self.shared.placement.home(&demo.name);
        if home == self.id {
            self.start_demo();
        } else if let Some(demo) = self.demo.take() {
            // It went along with its stream, which somebody else delivers now, or nobody.
            self.post(home, Message::Demo(demo));
        }
    }

    /// Takes the clip out of this shard, for the stream that it plays moves.
    pub(super) fn lift_demo(&mut self) -> Option<Box<Demo>> {
        let mut demo = self.demo.take()?;
        if let Some(play) = &mut demo.playing {
            if let Some(timer) = play.timer.take() {
                self.timers.cancel(timer);
            }
            std::mem::take(&mut play.video).close(&self.pool);
            std::mem::take(&mut play.audio).close(&self.pool);
        }
        Some(demo)
    }

    /// The clip came with its stream, which is in the slot `hub`, and goes on.
    pub(super) fn go_on_with_demo(&mut self, mut demo: Box<Demo>, hub: u32) {
        if let Some(play) = &mut demo.playing {
            play.hub = hub;
        }
        self.demo = Some(demo);
        self.play_demo();
    }

    fn push_due_frames(&mut self, demo: &Demo, play: &mut Play) -> Instant {
        loop {
            let frame = &demo.frames[play.next];
            let dts = play.base + frame.dts;
            let offset = Duration::from_nanos(u64::try_from(dts.as_nanos()).unwrap_or(0));
            let due = play.began + offset;
            if due > self.now {
                return due;
            }
            if self.now.saturating_duration_since(due) > CATCH_UP_MAX {
                play.began = self.now.checked_sub(offset).unwrap_or(self.now);
            }
            self.push_frame(play, frame, dts);
            play.next += 1;
            if play.next == demo.frames.len() {
                play.next = 0;
                play.base += demo.duration;
            }
        }
    }

    fn push_frame(&mut self, play: &mut Play, frame: &Frame, dts: MediaTime) {
        let (writer, class) = match frame.codec.kind() {
            TrackKind::Video => (&mut play.video, PageClass::Large),
            _ => (&mut play.audio, PageClass::Small),
        };
        // COPY(ingest): the clip's bytes enter the slab as a publisher's would.
        if writer.append(&self.pool, class, &frame.payload).is_err() {
            writer.abort(&self.pool);
            self.counters.units_dropped_memory += 1;
            return;
        }
        let unit = AccessUnit {
            track: 0,
            codec: frame.codec,
            dts,
            cts: frame.cts,
            keyframe: frame.keyframe,
            payload: writer.finish(&self.pool),
        };
        self.push_unit(play.hub, unit);
    }
}
