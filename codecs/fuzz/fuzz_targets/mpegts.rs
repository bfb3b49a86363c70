//! Access units of a peer on their way into transport packets: a record, then the payload in cuts.
#![no_main]

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::annex_b::{AnnexB, Layout};
use codecs::mpegts::es::HEAD_LEN_MAX;
use codecs::mpegts::{ElementaryStream, Framing, Muxer, PACKET_LEN, PacketHead, Unit};
use codecs::time::MediaTime;
use libfuzzer_sys::fuzz_target;

const CODECS: [Codec; 7] =
    [Codec::H264, Codec::Hevc, Codec::Aac, Codec::Mp3, Codec::Ac3, Codec::Eac3, Codec::Opus];

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, cut, record_len], rest)) = data.split_first_chunk() else { return };
    let codec = CODECS[usize::from(choice) % CODECS.len()];
    let (record, payload) = rest.split_at(usize::from(record_len).min(rest.len()));
    let config = DecoderConfig::parse(codec, record).ok();
    let Ok(framing) = Framing::of(codec, config.as_ref()) else { return };
    let Some(bytes) = framed(codec, &framing, payload, usize::from(cut) + 1) else { return };
    let stream = ElementaryStream::of(codec, config.as_ref());
    let video = stream.filter(|stream| stream.codec().kind() == TrackKind::Video);
    let mut muxer = Muxer::new();
    muxer.set_streams(video, stream.filter(|_| video.is_none()));
    muxer.see(codec, payload);
    let (dts, cts) = (MediaTime::from_millis(i64::from(choice)), MediaTime::from_millis(-3));
    let len = bytes.len();
    let unit = Unit { codec, dts, cts, random_access: true, join: cut & 1 == 1, len };
    if muxer.begin(unit).is_err() {
        return;
    }
    let (mut head, mut written) = ([0; PACKET_LEN], 0);
    while let Some(PacketHead { len, payload }) = muxer.next(&mut head) {
        assert_eq!((len + payload, head[0]), (PACKET_LEN, 0x47));
        written += payload;
    }
    assert_eq!(written, bytes.len(), "the whole unit");
});

/// The elementary stream's bytes of a unit, if it can be carried.
fn framed(codec: Codec, framing: &Framing, payload: &[u8], cut: usize) -> Option<Vec<u8>> {
    if !matches!(framing, Framing::AnnexB { .. }) {
        let mut head = [0; HEAD_LEN_MAX];
        let len = framing.encode_head(payload.len(), &mut head).ok()?;
        return Some([&head[..len], payload].concat());
    }
    let layout = Layout::of(codec, payload.chunks(cut)).ok()?;
    let mut bytes = framing.lead(!layout.has_parameter_sets).concat();
    let before = bytes.len();
    for piece in AnnexB::new(codec, payload.chunks(cut)) {
        bytes.extend_from_slice(piece.expect("it was looked at before").bytes());
    }
    assert_eq!(bytes.len() - before, layout.len, "both looks agree");
    Some(bytes)
}
