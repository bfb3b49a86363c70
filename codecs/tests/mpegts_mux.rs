//! What the multiplexer writes, read back by an independent implementation.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::annex_b::{AnnexB, Layout};
use codecs::mpegts::demux::{Demuxer, Event, MediaUnit, MemoryStore, Settings};
use codecs::mpegts::es::HEAD_LEN_MAX;
use codecs::mpegts::{ElementaryStream, Framing, Muxer, PACKET_LEN, PacketHead, Splice, Unit};
use codecs::nal;
use codecs::time::MediaTime;
use codecs::writer::Writer;
use mpeg2ts::pes::{PesPacketReader, ReadPesPacket};
use mpeg2ts::ts::{ReadTsPacket, TsPacketReader, TsPayload};
use proptest::prelude::*;

/// avcC of a baseline stream.
const AVCC: &[u8] = &[
    1, 66, 0xc0, 30, 0xff, 0xe1, 0, 9, 0x67, 66, 0xc0, 30, 0xf4, 5, 1, 0xec, 0x80, 1, 0, 4, 0x68,
    0xce, 0x3c, 0x80,
];
const ASC: &[u8] = &[0x12, 0x10];

/// One access unit as a publisher sends it.
#[derive(Clone, Debug)]
struct Au {
    codec: Codec,
    ms: i64,
    cts_ms: i64,
    keyframe: bool,
    payload: Vec<u8>,
}

/// A multiplexer with what it wrote.
struct Bench {
    muxer: Muxer,
    framings: Vec<(Codec, Framing)>,
    out: Vec<u8>,
}

impl Bench {
    fn new(codecs: &[Codec]) -> Self {
        let config = |codec| match codec {
            Codec::H264 => Some(DecoderConfig::parse(codec, AVCC).unwrap()),
            Codec::Aac => Some(DecoderConfig::parse(codec, ASC).unwrap()),
            _ => None,
        };
        let of = |kind| codecs.iter().copied().find(|codec| codec.kind() == kind);
        let listed = |kind| of(kind).and_then(|codec| ElementaryStream::of(codec, None));
        let mut muxer = Muxer::new();
        muxer.set_streams(listed(TrackKind::Video), listed(TrackKind::Audio));
        let framing = |&codec: &Codec| (codec, Framing::of(codec, config(codec).as_ref()).unwrap());
        Self { muxer, framings: codecs.iter().map(framing).collect(), out: Vec::new() }
    }

    /// The elementary stream's bytes of a unit.
    fn framed(&self, au: &Au) -> Vec<u8> {
        let (_, framing) = self.framings.iter().find(|(codec, _)| *codec == au.codec).unwrap();
        if !matches!(framing, Framing::AnnexB { .. }) {
            let mut head = [0; HEAD_LEN_MAX];
            let len = framing.encode_head(au.payload.len(), &mut head).unwrap();
            return [&head[..len], &au.payload].concat();
        }
        let layout = Layout::of(au.codec, au.payload.chunks(1_000)).unwrap();
        let lead = framing.lead(au.keyframe && !layout.has_parameter_sets);
        let mut bytes = lead.concat();
        for piece in AnnexB::new(au.codec, au.payload.chunks(1_000)) {
            bytes.extend_from_slice(piece.unwrap().bytes());
        }
        bytes
    }

    fn write(&mut self, au: &Au) -> Vec<u8> {
        let bytes = self.framed(au);
        let unit = Unit {
            codec: au.codec,
            dts: MediaTime::from_millis(au.ms),
            cts: MediaTime::from_millis(au.cts_ms),
            random_access: au.keyframe,
            join: au.keyframe && au.codec.kind() == TrackKind::Video,
            len: bytes.len(),
        };
        self.muxer.begin(unit).unwrap();
        let mut left = &bytes[..];
        let mut head = [0; PACKET_LEN];
        while let Some(PacketHead { len, payload }) = self.muxer.next(&mut head) {
            let (now, later) = left.split_at(payload);
            self.out.extend_from_slice(&head[..len]);
            self.out.extend_from_slice(now);
            left = later;
        }
        assert_eq!((left.len(), self.out.len() % PACKET_LEN), (0, 0));
        bytes
    }
}

fn picture(ms: i64, keyframe: bool, len: usize) -> Au {
    let header = if keyframe { 0x65 } else { 0x41 };
    let mut payload = u32::try_from(len + 1).unwrap().to_be_bytes().to_vec();
    payload.push(header);
    payload.extend((0..len).map(|at| (at % 251) as u8));
    Au { codec: Codec::H264, ms, cts_ms: 0, keyframe, payload }
}

fn sound(codec: Codec, ms: i64, len: usize) -> Au {
    let payload = (0..len).map(|at| (at % 253) as u8).collect();
    Au { codec, ms, cts_ms: 0, keyframe: true, payload }
}

/// (stream id, PTS, DTS, bytes) of every PES packet.
type Read = (u8, Option<u64>, Option<u64>, Vec<u8>);

fn read(bytes: &[u8]) -> Vec<Read> {
    let mut reader = PesPacketReader::new(TsPacketReader::new(bytes));
    std::iter::from_fn(|| reader.read_pes_packet().unwrap())
        .map(|packet| {
            let header = packet.header;
            let (pts, dts) = (header.pts.map(|t| t.as_u64()), header.dts.map(|t| t.as_u64()));
            (header.stream_id.as_u8(), pts, dts, packet.data)
        })
        .collect()
}

const fn ticks(ms: i64) -> u64 {
    ((ms + 1_400) * 90).rem_euclid(1 << 33).unsigned_abs()
}

#[test]
fn an_access_unit_returns_whatever_its_length() {
    let lens = (0..400).chain([65_000, 65_513, 65_514, 65_515, 65_536, 100_000, 400 << 10]);
    for len in lens {
        let mut bench = Bench::new(&[Codec::H264]);
        let first = bench.write(&picture(0, true, len));
        let mut second = picture(40, false, len);
        second.cts_ms = 80;
        let second = bench.write(&second);
        let expected = [
            (0xe0, Some(ticks(0)), None, first),
            (0xe0, Some(ticks(120)), Some(ticks(40)), second),
        ];
        assert!(read(&bench.out) == expected, "{len} bytes");
    }
}

#[test]
fn the_tables_are_read_by_others() {
    for (video, audio) in [(Codec::H264, Codec::Aac), (Codec::H264, Codec::Mp3)] {
        let mut bench = Bench::new(&[video, audio]);
        bench.write(&picture(0, true, 1_000));
        bench.write(&sound(audio, 0, 300));
        let mut reader = TsPacketReader::new(&bench.out[..]);
        let (mut map, mut clocks) = (Vec::new(), 0);
        while let Some(packet) = reader.read_ts_packet().unwrap() {
            clocks += usize::from(packet.adaptation_field.is_some_and(|field| field.pcr.is_some()));
            match packet.payload {
                Some(TsPayload::Pat(pat)) => {
                    assert_eq!(pat.table[0].program_map_pid.as_u16(), 0x1000)
                }
                Some(TsPayload::Pmt(pmt)) => {
                    assert_eq!(pmt.pcr_pid.map(|pid| pid.as_u16()), Some(0x100));
                    let streams = pmt.es_info.iter();
                    map.extend(
                        streams.map(|es| (es.elementary_pid.as_u16(), es.stream_type as u8)),
                    );
                }
                _ => {}
            }
        }
        let of = |codec| ElementaryStream::of(codec, None).unwrap();
        let expected = [video, audio].map(|codec| (of(codec).pid().get(), of(codec).stream_type()));
        assert_eq!((map, clocks), (expected.to_vec(), 1));
    }
}

#[test]
fn a_parameter_set_comes_before_a_keyframe_once() {
    let mut bench = Bench::new(&[Codec::H264]);
    let kinds = |bytes: &[u8]| nal::annex_b(bytes).map(|unit| unit[0] & 0x1f).collect::<Vec<_>>();
    assert_eq!(kinds(&bench.write(&picture(0, true, 20))), [9, 7, 8, 5]);
    assert_eq!(kinds(&bench.write(&picture(40, false, 20))), [9, 1]);
    let own: &[&[u8]] = &[&[9, 0xf0], &[0x67, 1], &[0x68, 2], &[0x65, 3]];
    let payload = own.iter().fold(Vec::new(), |mut bytes, unit| {
        bytes.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(unit);
        bytes
    });
    let au = Au { payload, ..picture(80, true, 0) };
    assert_eq!(kinds(&bench.write(&au)), [9, 7, 8, 5]);
}

#[test]
fn a_reader_goes_on_behind_a_splice() {
    let mut bench = Bench::new(&[Codec::H264, Codec::Aac]);
    for number in 0..40 {
        bench.write(&picture(number * 40, number % 10 == 0, 2_000));
        bench.write(&sound(Codec::Aac, number * 40, 100));
    }
    let kept = bench.out.len();
    (40..50).for_each(|number| drop(bench.write(&picture(number * 40, false, 3_000))));
    // What was written since is skipped.
    bench.out.truncate(kept);
    let splice = Splice(bench.muxer.continuity());
    let mut packets = vec![0; splice.encoded_len()];
    splice.encode(&mut Writer::new(&mut packets));
    bench.out.extend(packets);
    let last = bench.write(&picture(2_000, true, 500));
    let units = read(&bench.out);
    assert_eq!(units.len(), 81);
    // It gives a unit when the next of its stream begins, so the last ones are in no order.
    assert!(units.iter().any(|unit| unit.3 == last));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_unit_of_any_stream_returns(
        units in prop::collection::vec(
            (any::<bool>(), 0_i64..200, 0_i64..300, any::<bool>(), 0_usize..5_000), 1..40,
        ),
        audio in prop::sample::select(&[Codec::Aac, Codec::Mp3]),
        start in prop::sample::select(&[0_i64, (1 << 33) / 90 - 2_000]),
    ) {
        let mut bench = Bench::new(&[Codec::H264, audio]);
        let mut expected: Vec<Read> = Vec::new();
        let mut now = start;
        for (is_picture, step, cts_ms, keyframe, len) in units {
            now += step;
            let au = if is_picture {
                Au { cts_ms, ..picture(now, keyframe, len) }
            } else {
                sound(audio, now, len + 1)
            };
            let bytes = bench.write(&au);
            let dts = (is_picture && cts_ms > 0).then_some(ticks(now));
            let pts = ticks(now + if is_picture { cts_ms } else { 0 });
            expected.push((if is_picture { 0xe0 } else { 0xc0 }, Some(pts), dts, bytes));
        }
        let mut found = read(&bench.out);
        // The reader gives a unit when the next of its stream begins, so the order is another one.
        let key = |unit: &Read| (unit.0, unit.3.clone(), unit.1);
        found.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert!(found == expected);
    }
}

/// What our own reader makes of it: codec, DTS and PTS in milliseconds, keyframe, payload.
fn demuxed(bytes: &[u8]) -> Vec<(Codec, i64, i64, bool, Vec<u8>)> {
    let (mut demuxer, mut store) = (Demuxer::new(Settings::default()), MemoryStore::default());
    let (mut input, mut units) = (bytes, Vec::new());
    let mut take = |event| match event {
        Event::Unit(unit) => units.push(unit),
        Event::ClockJump(_) | Event::TrackEnded(_) | Event::Data(_) => panic!("{event:?}"),
        Event::Track(_) | Event::Config { .. } => {}
    };
    while let Some(event) = demuxer.feed(&mut input, &mut store) {
        take(event);
    }
    demuxer.finish(&mut store);
    std::iter::from_fn(|| demuxer.poll()).for_each(take);
    assert_eq!(demuxer.counters().continuity_errors, 0);
    let ms = |time: MediaTime| time.as_millis() - 1_400;
    units
        .into_iter()
        .map(|unit: MediaUnit<Vec<u8>>| {
            (unit.codec, ms(unit.dts), ms(unit.pts), unit.keyframe, unit.bytes)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn our_own_reader_gives_back_every_unit(
        units in prop::collection::vec(
            (any::<bool>(), 0_i64..200, 0_i64..300, any::<bool>(), 1_usize..5_000), 1..40,
        ),
        start in prop::sample::select(&[0_i64, (1 << 33) / 90 - 2_000]),
    ) {
        let mut bench = Bench::new(&[Codec::H264, Codec::Aac]);
        let mut expected = Vec::new();
        let mut now = start;
        for (at, (is_picture, step, cts_ms, keyframe, len)) in units.into_iter().enumerate() {
            now += step;
            let mut au = if at == 0 || is_picture {
                Au { cts_ms, ..picture(now, at == 0 || keyframe, len) }
            } else {
                sound(Codec::Aac, now, len)
            };
            // The first bit says that the slice is the first of its picture.
            if au.codec == Codec::H264 {
                au.payload[5] |= 0x80;
                au.payload[6..].iter_mut().for_each(|byte| *byte = (*byte).max(4));
            }
            bench.write(&au);
            expected.push((au.codec, au.ms, au.ms + au.cts_ms, au.keyframe, au.payload));
        }
        // The first picture waits for the next one, and sound does not.
        let mut found = demuxed(&bench.out);
        found.sort_by_key(|unit| unit.0 == Codec::Aac);
        expected.sort_by_key(|unit| unit.0 == Codec::Aac);
        prop_assert!(found == expected);
    }
}
