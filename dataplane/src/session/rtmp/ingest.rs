//! A publisher's media messages become access units, its sequence headers configurations.
//!
//! Tolerated, dropped with a reason and counted, never a reason to close: empty messages (silence,
//! and Flash's empty video tags), ends of sequences, commands, unknown codecs, headers that cannot
//! be read. HEVC in the layout of AVC under AVC's id (OBS before 29.1 and cameras after it) is
//! told by its record and taken as HEVC.
//! Limits: `tracks_max`, over which the peer is closed; [`RECORD_BYTES_MAX`] a configuration
//! record; [`DETAIL_BYTES_MAX`] colours or a speaker map.

use std::collections::VecDeque;

use codecs::amf0::{self, Value};
use codecs::flv::enhanced::Track as TagTrack;
use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::rtmp::command::{encode_data, parse_data};
use codecs::rtmp::message::{AggregateMessages, MessageHeader, MessageKind};
use codecs::time::{MediaTime, Unwrapper};

use super::assembly::{Assembly, Body, class_of};
use super::nal_length::widen;
use super::tag::{Content, Tag};
use crate::config::{LimitId, Limits};
use crate::session::{AccessUnit, Event, TrackId};
use crate::slab::{AuBytes, AuWriter, Pool};

/// Bytes of a configuration record at most.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// Bytes of what a track says beside its configuration at most: a colour volume or a speaker map.
const DETAIL_BYTES_MAX: usize = 4 << 10;
/// Messages inside one aggregate, which is handled in one go: `EVENTS_MAX` may be exceeded by it.
const AGGREGATE_MESSAGES_MAX: usize = 256;
/// Data messages of a server to its own players, which those of this node hear from this node.
const SERVER_WORDS: [&str; 3] = ["|RtmpSampleAccess", "onStatus", "onPlayStatus"];
/// The reason of a drop for want of pages.
const MEMORY: &str = "memory";

/// What is known of a track.
#[derive(Debug)]
struct Track {
    kind: TrackKind,
    id: TrackId,
    /// The codec that its tags name, and the one that it is.
    named: Codec,
    codec: Codec,
    /// Bytes of a NAL unit's length field.
    nal_length_bytes: u8,
    /// A picture was dropped for memory: those up to the next keyframe cannot be decoded.
    awaits_keyframe: bool,
}

/// One packet of one track.
#[derive(Clone, Copy, Debug)]
struct Packet {
    track: TrackId,
    codec: Codec,
    dts: MediaTime,
    cts: MediaTime,
    keyframe: bool,
    content: Content,
}

/// A publisher's tracks and clock.
#[derive(Debug)]
pub(super) struct Ingest {
    clock: Unwrapper<32>,
    tracks: Vec<Track>,
    tracks_max: u64,
    /// For units that must be written anew.
    rewriter: AuWriter,
    /// Units rewritten and not yet reported.
    converted: u32,
}

type Events = VecDeque<Event>;

/// Taken or dropped, or the limit that the peer reached.
type Taken = Result<(), LimitId>;

fn drop_unit(reason: &'static str, unit: AuBytes, pool: &Pool, events: &mut Events) -> Taken {
    pool.release(unit);
    events.push_back(Event::MediaDropped { reason });
    Ok(())
}

impl Ingest {
    pub(super) const fn new(limits: &Limits) -> Self {
        let (clock, rewriter) = (Unwrapper::new(), AuWriter::new());
        Self { clock, tracks: Vec::new(), tracks_max: limits.tracks_max, rewriter, converted: 0 }
    }

    pub(super) const fn reload(&mut self, limits: &Limits) {
        self.tracks_max = limits.tracks_max;
    }

    /// Access units rewritten since the last call.
    pub(super) const fn take_converted(&mut self) -> u32 {
        std::mem::replace(&mut self.converted, 0)
    }

    /// Gives every page back.
    pub(super) fn close(&mut self, pool: &Pool) {
        std::mem::take(&mut self.rewriter).close(pool);
    }

    /// A message was dropped before it was read.
    pub(super) fn dropped(&mut self, kind: MessageKind, reason: &'static str, events: &mut Events) {
        if reason == MEMORY && kind == MessageKind::Video {
            // Its header was not looked at, so it may have been of any track.
            let pictures = self.tracks.iter_mut().filter(|track| track.kind == TrackKind::Video);
            pictures.for_each(|track| track.awaits_keyframe = true);
        }
        events.push_back(Event::MediaDropped { reason });
    }

    /// Takes the body of an audio or video message.
    ///
    /// Errors: [`LimitId::TracksMax`].
    pub(super) fn media(
        &mut self,
        header: &MessageHeader,
        unit: AuBytes,
        pool: &Pool,
        events: &mut Events,
    ) -> Taken {
        let millis = self.clock.unwrap(u64::from(header.timestamp));
        if unit.is_empty() && header.kind == MessageKind::Video {
            return drop_unit("empty", unit, pool, events);
        }
        let tag = match Tag::read(header.kind, &unit, pool) {
            Ok(Tag { content: Content::Nothing(reason), .. }) | Err(reason) => {
                return drop_unit(reason, unit, pool, events);
            }
            Ok(tag) => tag,
        };
        let nanos = MediaTime::from_nanos(i64::from(tag.nano_offset));
        let mut packet = Packet {
            track: tag.multitrack.map_or(0, |multitrack| multitrack.track_id),
            codec: Codec::H264,
            dts: MediaTime::from_millis(millis) + nanos,
            cts: MediaTime::from_millis(i64::from(tag.composition_time_ms)),
            keyframe: tag.keyframe,
            content: tag.content,
        };
        if tag.is_split() {
            return self.split(packet, &tag, unit, pool, events);
        }
        let Some(codec) = tag.codec.filter(|codec| codec.kind() == tag.kind()) else {
            return drop_unit("codec", unit, pool, events);
        };
        packet.codec = codec;
        let mut unit = unit;
        unit.skip(tag.header_len);
        self.packet(packet, unit, pool, events)
    }

    /// Several tracks in one message. No encoder in use sends it live, so the bodies are copied out
    /// and in again.
    fn split(
        &mut self,
        packet: Packet,
        tag: &Tag,
        unit: AuBytes,
        pool: &Pool,
        events: &mut Events,
    ) -> Taken {
        let body = gather(&unit, pool);
        pool.release(unit);
        let count = usize::try_from(self.tracks_max).unwrap_or(usize::MAX);
        // One more than may be, so that it is noticed.
        for track in tag.tracks(&body).take(count.saturating_add(1)) {
            let legal = track.ok().filter(|track| track.codec.kind() == tag.kind());
            let Some(TagTrack { track_id, codec, composition_time_ms, range }) = legal else {
                events.push_back(Event::MediaDropped { reason: "multitrack" });
                continue;
            };
            let kind = match codec.kind() {
                TrackKind::Audio => MessageKind::Audio,
                TrackKind::Video | TrackKind::Data => MessageKind::Video,
            };
            let payload = body.get(range).unwrap_or_default();
            // COPY(aggregate): one track of a multitrack message.
            if self.rewriter.append(pool, class_of(kind), payload).is_err() {
                self.rewriter.abort(pool);
                self.dropped(kind, MEMORY, events);
                continue;
            }
            let unit = self.rewriter.finish(pool);
            let cts = MediaTime::from_millis(i64::from(composition_time_ms));
            self.packet(Packet { track: track_id, codec, cts, ..packet }, unit, pool, events)?;
        }
        Ok(())
    }

    fn packet(&mut self, packet: Packet, unit: AuBytes, pool: &Pool, events: &mut Events) -> Taken {
        // Some codecs begin with nothing but their name.
        let bare = packet.content == Content::Config && begins_bare(packet.codec);
        if unit.is_empty() && !bare {
            return drop_unit("empty", unit, pool, events);
        }
        // ffmpeg tells the colours of every track as those of track 0, whatever its codec.
        if packet.content == Content::Detail && self.is_another_codec(&packet) {
            return drop_unit("detail_codec", unit, pool, events);
        }
        let Some(index) = self.track(&packet) else {
            pool.release(unit);
            return Err(LimitId::TracksMax);
        };
        match packet.content {
            Content::Config => return self.config(index, packet, unit, pool, events),
            Content::Detail => return self.detail(index, packet, unit, pool, events),
            Content::Unit | Content::Nothing(_) => {}
        }
        let Packet { track: id, dts, cts, keyframe, .. } = packet;
        let track = &mut self.tracks[index];
        let codec = track.codec;
        track.awaits_keyframe &= !keyframe;
        if track.awaits_keyframe {
            return drop_unit("awaits_keyframe", unit, pool, events);
        }
        let payload = match track.nal_length_bytes {
            4 => unit,
            bytes => match widen(&unit, bytes, &mut self.rewriter, pool) {
                Ok(wide) => {
                    pool.release(unit);
                    self.converted += 1;
                    wide
                }
                Err(reason) => {
                    track.awaits_keyframe = reason == MEMORY && track.kind == TrackKind::Video;
                    return drop_unit(reason, unit, pool, events);
                }
            },
        };
        events.push_back(Event::Media(AccessUnit {
            track: id,
            codec,
            dts,
            cts,
            keyframe,
            payload,
        }));
        Ok(())
    }

    fn config(
        &mut self,
        index: usize,
        packet: Packet,
        unit: AuBytes,
        pool: &Pool,
        events: &mut Events,
    ) -> Taken {
        if unit.len() > RECORD_BYTES_MAX {
            return drop_unit("config_bytes", unit, pool, events);
        }
        let mut record = gather(&unit, pool);
        pool.release(unit);
        let track = &mut self.tracks[index];
        track.codec = actual_codec(track.named, &record);
        track.nal_length_bytes = nal_length_bytes(track.codec, &record);
        if track.codec == Codec::Opus {
            // COPY(config): an identification header without its magic.
            record = codecs::opus::without_magic(&record).to_vec();
        }
        let Packet { track: id, dts, .. } = packet;
        events.push_back(Event::Config { track: id, codec: track.codec, record, dts });
        Ok(())
    }

    fn detail(
        &mut self,
        index: usize,
        packet: Packet,
        unit: AuBytes,
        pool: &Pool,
        events: &mut Events,
    ) -> Taken {
        if unit.len() > DETAIL_BYTES_MAX {
            return drop_unit("detail_bytes", unit, pool, events);
        }
        let body = gather(&unit, pool);
        pool.release(unit);
        let Packet { track, dts, .. } = packet;
        let codec = self.tracks[index].codec;
        events.push_back(Event::Detail { track, codec, body, dts });
        Ok(())
    }

    /// True if the track of a packet is known with another codec.
    fn is_another_codec(&self, packet: &Packet) -> bool {
        let Packet { track: id, codec, .. } = *packet;
        let same = |track: &&Track| track.kind == codec.kind() && track.id == id;
        self.tracks.iter().find(same).is_some_and(|track| track.named != codec)
    }

    /// The track of a packet, known or new; `None` over the limit.
    fn track(&mut self, packet: &Packet) -> Option<usize> {
        let Packet { track: id, codec: named, .. } = *packet;
        let (kind, fresh) = (named.kind(), (named, named, 4));
        let known = self.tracks.iter().position(|track| track.kind == kind && track.id == id);
        if let Some(index) = known {
            let track = &mut self.tracks[index];
            if track.named != named {
                (track.named, track.codec, track.nal_length_bytes) = fresh;
            }
            return Some(index);
        }
        if self.tracks.len() as u64 >= self.tracks_max {
            return None;
        }
        let (named, codec, nal_length_bytes) = fresh;
        let awaits_keyframe = false;
        self.tracks.push(Track { kind, id, named, codec, nal_length_bytes, awaits_keyframe });
        Some(self.tracks.len() - 1)
    }

    /// Takes an aggregate: rare (old Flash encoders), so its bodies are copied a second time.
    ///
    /// Errors: [`LimitId::TracksMax`].
    pub(super) fn aggregate(
        &mut self,
        header: &MessageHeader,
        body: &[u8],
        (assembly, pool): (&mut Assembly, &Pool),
        limits: &amf0::Limits,
        events: &mut Events,
    ) -> Taken {
        let dropped = |reason| Event::MediaDropped { reason };
        if AggregateMessages::new(body, header).nth(AGGREGATE_MESSAGES_MAX).is_some() {
            events.push_back(dropped("aggregate_messages"));
            return Ok(());
        }
        for message in AggregateMessages::new(body, header) {
            let Ok((header, body)) = message else {
                events.push_back(dropped("aggregate"));
                return Ok(());
            };
            match header.kind {
                MessageKind::Audio | MessageKind::Video => {
                    match assembly.whole(header.kind, body, pool) {
                        Body::Unit(unit) => self.media(&header, unit, pool, events)?,
                        Body::Dropped(reason) => self.dropped(header.kind, reason, events),
                        Body::Partial | Body::Bytes(_) => {}
                    }
                }
                MessageKind::DataAmf0 | MessageKind::DataAmf3
                    if self.data(&header, body, limits, events).is_err() =>
                {
                    events.push_back(dropped("data"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the body of a data message.
    ///
    /// Errors: only what is over a limit; what cannot be read is dropped.
    pub(super) fn data(
        &mut self,
        header: &MessageHeader,
        body: &[u8],
        limits: &amf0::Limits,
        events: &mut Events,
    ) -> Result<(), codecs::Error> {
        let amf3 = header.kind == MessageKind::DataAmf3;
        let values = match parse_data(body, limits, amf3) {
            Ok(values) => values,
            Err(error @ codecs::Error::TooLarge { .. }) => return Err(error),
            Err(_) => {
                events.push_back(Event::MediaDropped { reason: "data" });
                return Ok(());
            }
        };
        let (set, values) = match values.as_slice() {
            [Value::String(first), rest @ ..] if first == "@setDataFrame" => (true, rest),
            all => (false, all),
        };
        let Some(Value::String(name)) = values.first() else { return Ok(()) };
        let metadata = name == "onMetaData";
        if SERVER_WORDS.contains(&name.as_str()) {
            return Ok(());
        }
        if !metadata && (set || name.starts_with('@')) {
            // Other stored frames, and `@clearDataFrame`: a live stream gives nothing back.
            return Ok(());
        }
        let dts = MediaTime::from_millis(self.clock.unwrap(u64::from(header.timestamp)));
        let mut body = Vec::with_capacity(body.len());
        encode_data(values, &mut body);
        let event =
            if metadata { Event::Metadata { body, dts } } else { Event::Data { body, dts } };
        events.push_back(event);
        Ok(())
    }
}

/// The bytes of a unit of control rate.
fn gather(unit: &AuBytes, pool: &Pool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len());
    // COPY(config): a configuration record, or a rare multitrack body, in one piece.
    pool.chunks(unit).for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

/// True for codecs whose sequence header may be empty: their units tell the rest.
const fn begins_bare(codec: Codec) -> bool {
    DecoderConfig::learns(codec) || matches!(codec, Codec::Opus)
}

/// The codec that a record is of, if its tag names AVC: old OBS sends HEVC under that id.
fn actual_codec(named: Codec, record: &[u8]) -> Codec {
    let is = |codec| DecoderConfig::parse(codec, record).is_ok();
    match named {
        Codec::H264 if !is(Codec::H264) && is(Codec::Hevc) => Codec::Hevc,
        _ => named,
    }
}

/// Bytes of the length field of NAL units, as the record says; 4 where there is none.
fn nal_length_bytes(codec: Codec, record: &[u8]) -> u8 {
    let at = match codec {
        Codec::H264 => record.get(4),
        Codec::Hevc => record.get(21),
        _ => None,
    };
    at.map_or(4, |byte| (byte & 3) + 1)
}

#[cfg(test)]
mod tests {
    use codecs::rtmp::message::Csid;

    use super::*;
    use crate::slab::{PageClass, Region, RegionConfig};

    #[test]
    fn pictures_after_a_drop_for_memory_wait_for_a_keyframe() {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 2,
            small_pages_per_shard: 1,
            poison: true,
        };
        let pool = Region::map(&config).unwrap().1.remove(0);
        let mut ingest = Ingest::new(&Limits::default());
        let (mut events, mut writer) = (Events::new(), AuWriter::new());
        let header = MessageHeader {
            csid: Csid::COMMAND,
            msid: 1,
            kind: MessageKind::Video,
            timestamp: 0,
            len: 0,
        };
        let mut send = |ingest: &mut Ingest, first: u8| {
            writer.append(&pool, PageClass::Large, &[first, 1, 0, 0, 0, 9]).unwrap();
            let unit = writer.finish(&pool);
            ingest.media(&header, unit, &pool, &mut events).unwrap();
            match events.pop_front() {
                Some(Event::Media(unit)) => {
                    pool.release(unit.payload);
                    "media"
                }
                Some(Event::MediaDropped { reason }) => reason,
                _ => "nothing",
            }
        };
        assert_eq!(send(&mut ingest, 0x17), "media");
        ingest.dropped(MessageKind::Video, MEMORY, &mut Events::new());
        assert_eq!(send(&mut ingest, 0x27), "awaits_keyframe");
        assert_eq!(send(&mut ingest, 0x17), "media");
        assert_eq!(send(&mut ingest, 0x27), "media");
        ingest.close(&pool);
    }
}
