//! Tags of Enhanced RTMP as any encoder may write them: modifiers of any kind and length, tracks of
//! every kind; whole, cut and damaged.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use codecs::flv::enhanced::{codec_of, four_cc};
use codecs::flv::{AudioPacket, AudioTagHeader, MultitrackKind, VideoPacket, VideoTagHeader};
use codecs::media::{Codec, TrackKind};
use proptest::prelude::*;

const VIDEO: [Codec; 6] =
    [Codec::H264, Codec::Hevc, Codec::Vvc, Codec::Av1, Codec::Vp8, Codec::Vp9];
const AUDIO: [Codec; 6] =
    [Codec::Aac, Codec::Mp3, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3];

/// What a tag says, before it is written.
#[derive(Clone, Debug)]
struct Tag {
    video: bool,
    /// Sub-type and data of each modifier.
    modifiers: Vec<(u8, Vec<u8>)>,
    packet_type: u8,
    kind: MultitrackKind,
    tracks: Vec<Track>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Track {
    id: u8,
    codec: Codec,
    cts: i32,
    payload: Vec<u8>,
}

fn timed(codec: Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::Hevc | Codec::Vvc)
}

impl Tag {
    /// Packets that tell a composition time are of type 1, if the codec has one.
    fn has_time(&self, codec: Codec) -> bool {
        self.video && self.packet_type == 1 && timed(codec)
    }

    /// The one codec of all tracks, unless each has its own.
    fn shared(&self) -> Option<Codec> {
        let own = self.kind == MultitrackKind::ManyTracksManyCodecs;
        (!own).then(|| self.tracks[0].codec)
    }

    fn codec_of_track(&self, track: &Track) -> Codec {
        self.shared().unwrap_or(track.codec)
    }

    fn write(&self) -> Vec<u8> {
        let multitrack = if self.video { 6 } else { 5 };
        let mut next = if self.modifiers.is_empty() { multitrack } else { 7 };
        // A keyframe behind the mark of enhanced video; the sound format of enhanced audio.
        let mut out = vec![0x90 | next];
        for (at, (sub_type, data)) in self.modifiers.iter().enumerate() {
            if data.len() < 256 {
                out.push(u8::try_from(data.len() - 1).unwrap());
            } else {
                out.push(0xff);
                out.extend_from_slice(&u16::try_from(data.len() - 1).unwrap().to_be_bytes());
            }
            out.extend_from_slice(data);
            next = if at + 1 == self.modifiers.len() { multitrack } else { 7 };
            out.push(sub_type << 4 | next);
        }
        let kind = match self.kind {
            MultitrackKind::OneTrack => 0,
            MultitrackKind::ManyTracks => 1,
            MultitrackKind::ManyTracksManyCodecs => 2_u8,
        };
        out.push(kind << 4 | self.packet_type);
        if let Some(codec) = self.shared() {
            out.extend_from_slice(&four_cc(codec).unwrap());
        }
        for track in &self.tracks {
            let codec = self.codec_of_track(track);
            if self.shared().is_none() {
                out.extend_from_slice(&four_cc(codec).unwrap());
            }
            out.push(track.id);
            let [_, cts @ ..] = track.cts.to_be_bytes();
            let time: &[u8] = if self.has_time(codec) { &cts } else { &[] };
            if self.kind != MultitrackKind::OneTrack {
                let len = u32::try_from(time.len() + track.payload.len()).unwrap();
                out.extend_from_slice(&len.to_be_bytes()[1..]);
            }
            out.extend_from_slice(time);
            out.extend_from_slice(&track.payload);
        }
        out
    }

    /// The tracks as a reader must find them.
    fn expected(&self) -> Vec<Track> {
        let tracks = self.tracks.iter().map(|track| {
            let codec = self.codec_of_track(track);
            let cts = if self.has_time(codec) { track.cts } else { 0 };
            Track { codec, cts, ..track.clone() }
        });
        tracks.collect()
    }

    /// The last offset that a modifier tells.
    fn nanos(&self) -> u32 {
        let of = |(sub_type, data): &(u8, Vec<u8>)| {
            (*sub_type == 0).then(|| u32::from_be_bytes([0, data[0], data[1], data[2]]))
        };
        self.modifiers.iter().filter_map(of).next_back().unwrap_or(0)
    }
}

/// What a reader found: nanoseconds and tracks; the iteration must end.
fn read(video: bool, body: &[u8]) -> Result<(u32, Vec<Track>), codecs::Error> {
    let track = |track: codecs::flv::Track| Track {
        id: track.track_id,
        codec: track.codec,
        cts: track.composition_time_ms,
        payload: body[track.range].to_vec(),
    };
    if video {
        let header = VideoTagHeader::parse(body)?;
        assert!(header.header_len <= body.len());
        if let VideoPacket::Command(_) = header.packet {
            assert_eq!(header.tracks(body).count(), 0);
        }
        Ok((header.nano_offset, header.tracks(body).flatten().map(track).collect()))
    } else {
        let header = AudioTagHeader::parse(body)?;
        assert!(header.header_len <= body.len());
        if header.packet == AudioPacket::Silence {
            assert_eq!(header.tracks(body).count(), 0);
        }
        Ok((header.nano_offset, header.tracks(body).flatten().map(track).collect()))
    }
}

fn modifiers() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let nanos = (0_u32..1_000_000).prop_map(|nanos| (0, nanos.to_be_bytes()[1..].to_vec()));
    let unknown = (1_u8..16, prop::collection::vec(any::<u8>(), 1..600));
    prop::collection::vec(prop_oneof![nanos, unknown], 0..5)
}

fn tag() -> impl Strategy<Value = Tag> {
    let kind = prop::sample::select(vec![
        MultitrackKind::OneTrack,
        MultitrackKind::ManyTracks,
        MultitrackKind::ManyTracksManyCodecs,
    ]);
    let track = (any::<u8>(), 0..6_usize, -(1 << 23)..(1 << 23), payload());
    let tracks = prop::collection::vec(track, 1..9);
    (any::<bool>(), modifiers(), 0..4_usize, kind, tracks).prop_map(
        |(video, modifiers, packet, kind, tracks)| {
            let codecs = if video { VIDEO } else { AUDIO };
            let types: [u8; 4] = if video { [0, 1, 3, 4] } else { [0, 1, 1, 4] };
            let mut tracks: Vec<_> = tracks
                .into_iter()
                .map(|(id, codec, cts, payload)| Track { id, codec: codecs[codec], cts, payload })
                .collect();
            if kind == MultitrackKind::OneTrack {
                tracks.truncate(1);
            }
            Tag { video, modifiers, packet_type: types[packet], kind, tracks }
        },
    )
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..40)
}

proptest! {
    #[test]
    fn what_is_written_is_read(tag in tag()) {
        let body = tag.write();
        let (nanos, tracks) = read(tag.video, &body).unwrap();
        prop_assert_eq!(nanos, tag.nanos());
        prop_assert_eq!(tracks, tag.expected());
    }

    #[test]
    fn what_is_cut_gives_the_tracks_before_the_cut(
        tag in tag(),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = tag.write();
        let cut = &body[..cut.index(body.len())];
        if let Ok((_, tracks)) = read(tag.video, cut) {
            let whole = tag.expected();
            // The one track of a tag ends where the tag does.
            let same = |(got, whole): (&Track, &Track)| match tag.kind {
                MultitrackKind::OneTrack => whole.payload.starts_with(&got.payload),
                _ => got == whole,
            };
            prop_assert!(tracks.len() <= whole.len());
            prop_assert!(tracks.iter().zip(&whole).all(same), "{:?} of {:?}", tracks, whole);
        }
    }

    #[test]
    fn what_is_damaged_is_read_or_refused(
        tag in tag(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = tag.write();
        for (at, value) in damage {
            let at = at.index(body.len());
            body[at] = value;
        }
        for video in [true, false] {
            if let Ok((nanos, tracks)) = read(video, &body) {
                prop_assert!(nanos < 1_000_000);
                let bytes: usize = tracks.iter().map(|track| track.payload.len()).sum();
                prop_assert!(bytes <= body.len(), "no byte is in two tracks");
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for video in [true, false] {
            let _ = read(video, &body);
        }
    }
}

#[test]
fn every_codec_is_found_by_its_name() {
    for (codecs, kind) in [(VIDEO, TrackKind::Video), (AUDIO, TrackKind::Audio)] {
        for codec in codecs {
            assert_eq!(codec.kind(), kind);
            assert_eq!(codec_of(four_cc(codec).unwrap()), Some(codec));
        }
    }
}
