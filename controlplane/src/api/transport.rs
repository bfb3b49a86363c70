//! Transport: the JSON of what the transport stream of a publisher has.

use codecs::media::TrackKind;
use codecs::mpegts::demux::{Carriage, DataFormat};
use dataplane::session::mpegts::{TransportProgram, TransportStream};
use serde::Serialize;
use utoipa::ToSchema;

/// The program that is read, and what is beside it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Transport {
    /// Its number; none if there is none that can be read.
    program: Option<u16>,
    /// The numbers of all programs.
    programs: Vec<u16>,
    /// Players of transport streams get its own packets.
    passthrough: bool,
    /// Its streams, whatever they hold.
    streams: Vec<Listed>,
}

/// A stream of it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Listed {
    pid: u16,
    stream_type: u8,
    /// `video`, `audio`, `data`, or `unknown` for what is not read.
    kind: &'static str,
    /// What it holds: a codec, `scte35`, `klv`.
    format: Option<&'static str>,
    /// ISO 639-2.
    language: Option<String>,
    /// It is among the packet ids that were chosen; all are where none was.
    chosen: bool,
}

impl From<&TransportProgram> for Transport {
    fn from(program: &TransportProgram) -> Self {
        Self {
            program: program.number,
            programs: program.programs.clone(),
            passthrough: program.relay.is_some(),
            streams: program.streams.iter().map(Into::into).collect(),
        }
    }
}

impl From<&TransportStream> for Listed {
    fn from(stream: &TransportStream) -> Self {
        let &TransportStream { pid, stream_type, carriage, language, is_chosen } = stream;
        let kind = carriage.map_or("unknown", |carriage| match carriage.kind() {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Data => "data",
        });
        let format = carriage.map(|carriage| match carriage {
            Carriage::AnnexB(codec) => codec.name(),
            Carriage::Adts | Carriage::Latm => "aac",
            Carriage::MpegAudio => "mpeg-audio",
            Carriage::Ac3 => "ac3",
            Carriage::Opus { .. } => "opus",
            Carriage::Data(DataFormat::Scte35) => "scte35",
            Carriage::Data(DataFormat::Klv) => "klv",
        });
        let language = language.map(|letters| letters.iter().map(|&b| char::from(b)).collect());
        Self { pid, stream_type, kind, format, language, chosen: is_chosen }
    }
}

#[cfg(test)]
mod tests {
    use codecs::media::Codec;

    use super::*;

    #[test]
    fn what_is_not_read_is_listed_too() {
        let stream = |pid, stream_type, carriage| TransportStream {
            pid,
            stream_type,
            carriage,
            language: (pid == 257).then_some(*b"deu"),
            is_chosen: pid != 259,
        };
        let program = TransportProgram {
            number: Some(7),
            programs: vec![7, 8],
            streams: vec![
                stream(256, 0x1b, Some(Carriage::AnnexB(Codec::H264))),
                stream(257, 0x0f, Some(Carriage::Adts)),
                stream(258, 0x86, Some(Carriage::Data(DataFormat::Scte35))),
                stream(259, 0x06, None),
            ],
            relay: None,
        };
        let json = serde_json::to_value(Transport::from(&program)).unwrap();
        assert_eq!((&json["program"], &json["passthrough"]), (&7.into(), &false.into()));
        let of = |at: usize, field: &str| json["streams"][at][field].clone();
        assert_eq!((of(0, "kind"), of(0, "format")), ("video".into(), "h264".into()));
        assert_eq!((of(1, "language"), of(2, "format")), ("deu".into(), "scte35".into()));
        assert_eq!((of(3, "kind"), of(3, "chosen")), ("unknown".into(), false.into()));
    }
}
