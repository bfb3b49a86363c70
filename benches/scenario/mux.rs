//! The multiplexer alone: units to transport packets in plain memory.

use std::hint::black_box;

use codecs::media::TrackKind;
use codecs::mpegts::{ElementaryStream, Muxer, PACKET_LEN, Unit};
use codecs::time::MediaTime;

use super::Scenario;
use super::memory::time;
use super::stream::{Frame, SECOND_BYTES, config, second};

struct Mux {
    muxer: Muxer,
    frames: Vec<Frame>,
    out: Vec<u8>,
    seconds: u32,
}

/// A second of the stream; its payload is taken as it is.
pub(super) fn mpegts() -> Box<dyn Scenario> {
    let [video, audio] = [codecs::media::Codec::H264, codecs::media::Codec::Aac]
        .map(|codec| ElementaryStream::of(codec, Some(&config(codec))));
    let mut muxer = Muxer::new();
    muxer.set_streams(video, audio);
    Box::new(Mux { muxer, frames: second(), out: Vec::with_capacity(1 << 20), seconds: 0 })
}

impl Scenario for Mux {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn run(&mut self) {
        self.out.clear();
        for frame in &self.frames {
            let key = frame.keyframe && frame.codec.kind() == TrackKind::Video;
            let unit = Unit {
                codec: frame.codec,
                dts: time(frame, self.seconds),
                cts: MediaTime::ZERO,
                random_access: key,
                join: key,
                len: frame.payload.len(),
            };
            self.muxer.begin(unit).expect("a unit of the program");
            let (mut head, mut rest) = ([0; PACKET_LEN], frame.payload.as_slice());
            while let Some(packet) = self.muxer.next(&mut head) {
                let (now, later) = rest.split_at(packet.payload);
                self.out.extend_from_slice(&head[..packet.len]);
                self.out.extend_from_slice(now);
                rest = later;
            }
            assert!(rest.is_empty(), "all of the unit is in packets");
        }
        self.seconds += 1;
        black_box(&self.out);
    }
}
