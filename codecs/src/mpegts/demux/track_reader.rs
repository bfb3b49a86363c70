//! The packets of one track: PES packets or sections, and what is assembled from them.
//!
//! ```text
//!   Waiting --start--> Head --whole--> Payload --length reached--> Waiting
//!      ^                 |                |  `--start--> Head
//!      '-- unreadable ---'--- packets are missing: Waiting
//! ```

use super::carriage::{Carriage, DataFormat};
use super::data_packets::DataPackets;
use super::event::Track;
use super::frame_head::FrameFormat;
use super::frames::Frames;
use super::opus_packets::OpusPackets;
use super::packet::TransportPacket;
use super::pes_head::{PES_HEAD_LEN_MAX, PesHead, wanted_len};
use super::reference_clock::ReferenceClock;
use super::section::{SectionPayload, SectionReader};
use super::sink::{OpenUnit, Sink};
use super::store::UnitStore;
use super::tables::{TABLE_SPLICE, is_sound};
use super::video::{PesStart, Video};
use crate::Error;

/// Where in a PES packet the track is.
#[derive(Clone, Copy, Debug)]
enum Pes {
    /// Nothing is read before the next one begins.
    Waiting,
    /// So many bytes of its header are there.
    Head { len: usize, random_access: bool },
    /// So many bytes of payload are left; `None` lasts until the next one begins.
    Payload { left: Option<usize> },
}

/// What is made of a track's packets.
#[derive(Clone, Debug)]
enum Assembler {
    Video(Video),
    Frames(Frames),
    Opus(OpusPackets),
    Data(DataPackets),
    Cues(SectionReader),
}

/// Reads one track.
#[derive(Clone, Debug)]
pub(super) struct TrackReader {
    pub(super) track: Track,
    assembler: Assembler,
    pes: Pes,
    head: [u8; PES_HEAD_LEN_MAX],
}

impl TrackReader {
    pub(super) fn new(track: Track) -> Self {
        let frames = |format| Assembler::Frames(Frames::new(format));
        let assembler = match track.carriage {
            Carriage::AnnexB(codec) => Assembler::Video(Video::new(codec)),
            Carriage::Adts => frames(FrameFormat::Adts),
            Carriage::Latm => frames(FrameFormat::Loas),
            Carriage::MpegAudio => frames(FrameFormat::MpegAudio),
            Carriage::Ac3 => frames(FrameFormat::Ac3),
            Carriage::Opus { channel_config } => Assembler::Opus(OpusPackets::new(channel_config)),
            Carriage::Data(DataFormat::Scte35) => Assembler::Cues(SectionReader::default()),
            Carriage::Data(format) => Assembler::Data(DataPackets::new(format)),
        };
        Self { track, assembler, pes: Pes::Waiting, head: [0; PES_HEAD_LEN_MAX] }
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        match &self.assembler {
            Assembler::Video(video) => video.buffer_bytes(),
            Assembler::Frames(frames) => frames.buffer_bytes(),
            Assembler::Cues(reader) => reader.buffer_bytes(),
            Assembler::Opus(_) | Assembler::Data(_) => 0,
        }
    }

    /// Takes the payload of a packet.
    pub(super) fn packet<S: UnitStore>(
        &mut self,
        packet: &TransportPacket<'_>,
        clock: &mut ReferenceClock,
        sink: &mut Sink<'_, S>,
    ) {
        if let Assembler::Cues(reader) = &mut self.assembler {
            let mut payload = SectionPayload::new(packet.payload, packet.start);
            while let Some(section) = reader.next(&mut payload) {
                cue(section, clock, sink);
            }
            return;
        }
        if packet.start {
            self.end_untold(sink);
            let random_access = packet.adaptation.random_access;
            self.pes = Pes::Head { len: 0, random_access };
        }
        let mut input = packet.payload;
        if let Pes::Head { len, random_access } = self.pes {
            input = self.gather(input, len, random_access, clock, sink);
        }
        if let Pes::Payload { left } = self.pes {
            let (now, _) = input.split_at(left.unwrap_or(usize::MAX).min(input.len()));
            self.payload(now, sink);
            let left = left.map(|left| left - now.len());
            self.pes = Pes::Payload { left };
            if left == Some(0) {
                self.end_pes(sink);
                self.pes = Pes::Waiting;
            }
        }
    }

    /// Packets are missing here.
    pub(super) fn lose<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.pes = match (self.pes, &self.assembler) {
            // Its end is not known any more.
            (Pes::Payload { .. }, Assembler::Video(_)) if sink.keeps_damaged() => {
                Pes::Payload { left: None }
            }
            _ => Pes::Waiting,
        };
        match &mut self.assembler {
            Assembler::Video(video) => video.lose(sink),
            Assembler::Frames(frames) => frames.lose(sink),
            Assembler::Opus(packets) => packets.lose(sink),
            Assembler::Data(packets) => packets.lose(sink),
            Assembler::Cues(reader) => reader.reset(),
        }
    }

    /// The stream is over: gives out what is whole, and holds nothing then.
    pub(super) fn end<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.end_untold(sink);
        let is_cut = matches!(self.pes, Pes::Payload { left: Some(_) });
        self.pes = Pes::Waiting;
        match &mut self.assembler {
            Assembler::Video(video) if is_cut && !sink.keeps_damaged() => video.lose(sink),
            Assembler::Video(video) => video.end(sink),
            Assembler::Frames(frames) => frames.end(sink),
            Assembler::Opus(packets) => packets.forget(sink),
            Assembler::Data(_) | Assembler::Cues(_) => sink.abort(),
        }
    }

    /// Another PES packet begins: the one before is over, if its length was not told.
    fn end_untold<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        match (&mut self.assembler, self.pes) {
            (Assembler::Frames(frames), Pes::Payload { left: None }) => frames.end_pes(sink),
            (Assembler::Data(packets), Pes::Payload { left: None }) => packets.end_pes(sink),
            // It is cut short.
            (Assembler::Data(packets), Pes::Payload { .. }) => packets.lose(sink),
            _ => {}
        }
    }

    /// Takes bytes up to the end of the header; gives what is behind it.
    fn gather<'a, S: UnitStore>(
        &mut self,
        mut input: &'a [u8],
        mut len: usize,
        random_access: bool,
        clock: &mut ReferenceClock,
        sink: &mut Sink<'_, S>,
    ) -> &'a [u8] {
        loop {
            let wanted = wanted_len(self.head.get(..len).unwrap_or_default());
            if len >= wanted {
                break;
            }
            let (now, later) = input.split_at((wanted - len).min(input.len()));
            if now.is_empty() {
                self.pes = Pes::Head { len, random_access };
                return input;
            }
            if let Some(place) = self.head.get_mut(len..len + now.len()) {
                place.copy_from_slice(now);
            }
            len += now.len();
            input = later;
        }
        self.pes = match PesHead::parse(self.head.get(..len).unwrap_or_default()) {
            Ok(PesHead { scrambled: true, .. }) => {
                sink.counters.scrambled += 1;
                self.lose(sink);
                Pes::Waiting
            }
            Ok(head) => {
                self.begin_pes(&head, random_access, clock);
                Pes::Payload { left: head.payload_len }
            }
            Err(error) => {
                // Padding is no part of the track.
                if !matches!(error, Error::Unsupported { .. }) {
                    sink.counters.pes_errors += 1;
                    self.lose(sink);
                }
                Pes::Waiting
            }
        };
        input
    }

    fn begin_pes(&mut self, head: &PesHead, random_access: bool, clock: &mut ReferenceClock) {
        let PesHead { stamps, payload_len, aligned, .. } = *head;
        let time_base = clock.time_base();
        match &mut self.assembler {
            Assembler::Video(video) => {
                let times = stamps.pts.map(|pts| {
                    let dts = clock.place(stamps.dts.unwrap_or(pts));
                    (clock.place(pts), dts)
                });
                video.begin_pes(PesStart { times, time_base, random_access, payload_len });
            }
            Assembler::Frames(frames) => {
                frames.begin_pes(stamps.pts.map(|pts| clock.place(pts)), time_base, aligned);
            }
            Assembler::Opus(packets) => {
                packets.begin_pes(stamps.pts.map(|pts| clock.place(pts)), time_base);
            }
            Assembler::Data(packets) => {
                let own = stamps.pts.map(|pts| clock.look(pts));
                packets.begin_pes(own.or_else(|| clock.now()), time_base);
            }
            Assembler::Cues(_) => {}
        }
    }

    fn payload<S: UnitStore>(&mut self, bytes: &[u8], sink: &mut Sink<'_, S>) {
        match &mut self.assembler {
            Assembler::Video(video) => video.payload(bytes, sink),
            Assembler::Frames(frames) => frames.payload(bytes, sink),
            Assembler::Opus(packets) => packets.payload(bytes, sink),
            Assembler::Data(packets) => packets.payload(bytes, sink),
            Assembler::Cues(_) => {}
        }
    }

    fn end_pes<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        match &mut self.assembler {
            Assembler::Video(video) => video.end_pes(sink),
            Assembler::Frames(frames) => frames.end_pes(sink),
            Assembler::Data(packets) => packets.end_pes(sink),
            Assembler::Opus(_) | Assembler::Cues(_) => {}
        }
    }
}

/// Gives out a section of SCTE-35, at the time that the program has.
fn cue<S: UnitStore>(section: &[u8], clock: &ReferenceClock, sink: &mut Sink<'_, S>) {
    if section.first() != Some(&TABLE_SPLICE) {
        sink.counters.table_errors += 1;
    } else if !is_sound(section) {
        sink.counters.crc_errors += 1;
    } else if let Some(now) = clock.now() {
        let mut unit = OpenUnit::new();
        unit.append(section, sink);
        if unit.end() {
            sink.give_data(DataFormat::Scte35, now, clock.time_base());
        }
    } else {
        sink.counters.units_without_time += 1;
    }
}
