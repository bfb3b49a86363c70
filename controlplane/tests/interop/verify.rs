//! Whether a player got what was published: every coded picture and sound, once, in order, intact.

use codecs::flv::{
    AudioPacket, AudioTagHeader, FlvReader, FrameType, TagKind, VideoPacket, VideoTagHeader,
};
use codecs::media::Codec;

const TAG_BYTES_MAX: u32 = 16 << 20;

/// One FLV tag: RTMP messages and HTTP-FLV tags look alike here.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    /// Audio, video or script.
    pub(crate) kind: TagKind,
    /// Milliseconds.
    pub(crate) timestamp: u32,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// What was published or received, reduced to what may not change on the way.
#[derive(Default)]
pub(crate) struct Media {
    /// Coded pictures: whether decoding may start there, and the bytes of their VCL NAL units.
    pub(crate) video: Vec<(bool, Vec<u8>)>,
    /// Sound frames.
    pub(crate) audio: Vec<Vec<u8>>,
    /// Decoder configurations of the pictures, in order.
    pub(crate) video_configs: Vec<Vec<u8>>,
    /// Decoder configurations of the sound, in order.
    pub(crate) audio_configs: Vec<Vec<u8>>,
    /// Frames that the client itself throws away at the end, because it stops before it passed on
    /// what it had read; 0 for nearly all.
    pub(crate) end_missing_max: usize,
}

/// The tags of an FLV file or body; an unfinished last tag is left out.
pub(crate) fn tags(flv: &[u8]) -> Vec<Tag> {
    let mut reader = FlvReader::new(TAG_BYTES_MAX);
    let mut rest = flv;
    let mut tags = Vec::new();
    let mut body = Vec::new();
    while !rest.is_empty() {
        let (taken, fragment) = reader.feed(rest).expect("the bytes are FLV");
        rest = &rest[taken..];
        let Some(fragment) = fragment else { continue };
        body.extend_from_slice(fragment.data);
        if fragment.last {
            let body = std::mem::take(&mut body);
            let timestamp = fragment.header.timestamp_ms;
            tags.push(Tag { kind: fragment.header.kind, timestamp, body });
        }
    }
    tags
}

impl Media {
    /// Reads FLV.
    pub(crate) fn of_flv(flv: &[u8]) -> Self {
        Self::of_tags(&tags(flv))
    }

    /// Reads tags or messages.
    pub(crate) fn of_tags(tags: &[Tag]) -> Self {
        let mut media = Self::default();
        for tag in tags.iter().filter(|tag| !tag.body.is_empty()) {
            match tag.kind {
                TagKind::Video => media.video_tag(&tag.body),
                TagKind::Audio => media.audio_tag(&tag.body),
                _ => {}
            }
        }
        media
    }

    fn video_tag(&mut self, body: &[u8]) {
        let header = VideoTagHeader::parse(body).expect("a video tag");
        let payload = &body[header.header_len..];
        match header.packet {
            VideoPacket::SequenceStart => push_new(&mut self.video_configs, payload),
            VideoPacket::Coded { .. } => {
                let keyframe = header.frame_type == FrameType::Key;
                let codec = header.codec.expect("one track has one codec");
                self.video.push((keyframe, vcl(codec, payload)));
            }
            _ => {}
        }
    }

    fn audio_tag(&mut self, body: &[u8]) {
        let header = AudioTagHeader::parse(body).expect("an audio tag");
        let payload = &body[header.header_len..];
        match header.packet {
            AudioPacket::SequenceStart => push_new(&mut self.audio_configs, payload),
            AudioPacket::Coded => self.audio.push(payload.to_vec()),
            _ => {}
        }
    }

    /// Asserts that this is what a player of `published` must have got.
    ///
    /// Pictures are a run without gap that begins at a keyframe; sound is a run without gap; both
    /// go on to the end of the publication.
    pub(crate) fn assert_played(&self, published: &Self, who: &str) {
        assert!(!self.video.is_empty() || published.video.is_empty(), "{who}: no picture came");
        assert!(!self.audio.is_empty() || published.audio.is_empty(), "{who}: no sound came");
        assert!(self.video.first().is_none_or(|(keyframe, _)| *keyframe), "{who}: no keyframe");
        let pictures =
            |media: &Self| media.video.iter().map(|(_, b)| b.clone()).collect::<Vec<_>>();
        let missing = self.end_missing_max;
        assert_tail(&pictures(self), &pictures(published), missing, &format!("{who}: pictures"));
        assert_tail(&self.audio, &published.audio, missing, &format!("{who}: sound frames"));
    }

    /// [`Self::assert_played`], and no picture of the beginning is missing.
    pub(crate) fn assert_whole(&self, published: &Self, who: &str) {
        self.assert_played(published, who);
        let least = published.video.len() - self.end_missing_max.min(published.video.len());
        assert!(self.video.len() >= least, "{who}: {} pictures of {least}", self.video.len());
    }
}

fn push_new(configs: &mut Vec<Vec<u8>>, record: &[u8]) {
    if configs.last().is_none_or(|last| last != record) {
        configs.push(record.to_vec());
    }
}

fn assert_tail(got: &[Vec<u8>], published: &[Vec<u8>], missing_max: usize, what: &str) {
    let (came, total) = (got.len(), published.len());
    assert!(came <= total, "{what}: {came} came, only {total} were published");
    let latest = total - came;
    let starts = latest.saturating_sub(missing_max)..=latest;
    if starts.clone().any(|start| got == &published[start..start + came]) {
        return;
    }
    let at = got.iter().zip(&published[latest..]).position(|(a, b)| a != b);
    let at = at.expect("the runs differ somewhere");
    let is = published.iter().position(|unit| *unit == got[at]);
    let (bytes, wanted) = (&got[at], &published[latest + at]);
    let differs = bytes.iter().zip(wanted).position(|(a, b)| a != b);
    panic!(
        "{what}: {came} of {total} came; number {at} is not {} but {is:?}: {} bytes for {}, \
         different from byte {differs:?} on",
        latest + at,
        bytes.len(),
        wanted.len(),
    );
}

/// How NAL units tell what they carry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Nals {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
}

impl Nals {
    /// True for a coded slice.
    pub(crate) fn is_vcl(self, unit: &[u8]) -> bool {
        unit.first().is_some_and(|byte| match self {
            Self::H264 => (1..=5).contains(&(byte & 31)),
            Self::Hevc => (byte >> 1) & 63 < 32,
        })
    }

    /// True for a slice of a picture at which decoding may start.
    pub(crate) fn is_key(self, unit: &[u8]) -> bool {
        unit.first().is_some_and(|byte| match self {
            Self::H264 => byte & 31 == 5,
            Self::Hevc => (16..24).contains(&((byte >> 1) & 63)),
        })
    }
}

/// The VCL NAL units of a length-prefixed access unit; other codecs as they are.
fn vcl(codec: Codec, payload: &[u8]) -> Vec<u8> {
    let nals = match codec {
        Codec::H264 => Nals::H264,
        Codec::Hevc => Nals::Hevc,
        _ => return payload.to_vec(),
    };
    let mut kept = Vec::new();
    let mut rest = payload;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(length <= after.len(), "a NAL unit is longer than its access unit");
        let (unit, next) = after.split_at(length);
        if nals.is_vcl(unit) {
            kept.extend_from_slice(&(length as u32).to_be_bytes());
            kept.extend_from_slice(unit);
        }
        rest = next;
    }
    assert!(rest.is_empty(), "bytes are left after the last NAL unit");
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published() -> Media {
        Media {
            video: (0..9_u8).map(|n| (n % 3 == 0, vec![n])).collect(),
            audio: (0..9_u8).map(|n| vec![n]).collect(),
            ..Media::default()
        }
    }

    fn played(video: &[u8], audio: &[u8]) -> Media {
        Media {
            video: video.iter().map(|&n| (n % 3 == 0, vec![n])).collect(),
            audio: audio.iter().map(|&n| vec![n]).collect(),
            ..Media::default()
        }
    }

    #[test]
    fn a_run_from_a_keyframe_to_the_end_is_accepted() {
        played(&[6, 7, 8], &[5, 6, 7, 8]).assert_played(&published(), "a late player");
        published().assert_whole(&published(), "an early player");
    }

    #[test]
    #[should_panic(expected = "number 1 is not 7")]
    fn a_gap_is_found() {
        played(&[6, 8, 8], &[8]).assert_played(&published(), "x");
    }

    #[test]
    #[should_panic(expected = "no keyframe")]
    fn a_start_between_keyframes_is_found() {
        played(&[7, 8], &[8]).assert_played(&published(), "x");
    }

    #[test]
    #[should_panic(expected = "sound frames")]
    fn a_missing_end_is_found() {
        played(&[6, 7, 8], &[6, 7]).assert_played(&published(), "x");
    }

    #[test]
    #[should_panic(expected = "only 9 were published")]
    fn a_repetition_is_found() {
        played(&[0, 0, 1, 2, 3, 4, 5, 6, 7, 8], &[8]).assert_played(&published(), "x");
    }
}
