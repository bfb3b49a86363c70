//! What an RTMP client says: bytes, ready to be sent whole or cut anywhere.

use codecs::amf0::Value;
use codecs::rtmp::chunk_writer::ChunkWriter;
use codecs::rtmp::command::{Command, encode_data};
use codecs::rtmp::handshake;
use codecs::rtmp::message::{Csid, MessageHeader, MessageKind};

use super::media::{asc, audio_body, audio_config_body, avcc, video_body, video_config_body};

/// Milliseconds between two video frames of [`Script::gop`].
pub(crate) const FRAME_MS: u32 = 40;
/// Video frames of one [`Script::gop`].
pub(crate) const GOP_FRAMES: u32 = 10;
/// Bytes of a chunk that a script announces.
const CHUNK_BYTES: u32 = 4096;

/// Client bytes.
pub(crate) struct Script {
    pub(crate) out: Vec<u8>,
    writer: ChunkWriter,
    transaction: u32,
    /// The message stream of media and stream commands.
    pub(crate) msid: u32,
    /// Payload bytes of a video frame, and of an audio frame.
    pub(crate) video_bytes: usize,
    pub(crate) audio_bytes: usize,
}

impl Default for Script {
    fn default() -> Self {
        let writer = ChunkWriter::new();
        Self { out: Vec::new(), writer, transaction: 0, msid: 1, video_bytes: 600, audio_bytes: 90 }
    }
}

impl Script {
    /// `C0`, `C1` and a `C2` that no server may verify.
    pub(crate) fn hello(&mut self) {
        self.out.push(handshake::VERSION);
        self.out.extend_from_slice(&[0; 2 * handshake::BODY_LEN]);
    }

    pub(crate) fn message(
        &mut self,
        csid: Csid,
        kind: MessageKind,
        msid: u32,
        ms: u32,
        body: &[u8],
    ) {
        let len = u32::try_from(body.len()).unwrap();
        let header = MessageHeader { csid, timestamp: ms, len, kind, msid };
        self.writer.write(&header, body, &mut self.out);
    }

    /// A command with a transaction of its own, which is returned.
    pub(crate) fn command(&mut self, name: &str, msid: u32, object: Value, args: &[Value]) -> u32 {
        self.transaction += 1;
        let command = Command {
            name: name.into(),
            transaction_id: f64::from(self.transaction),
            object,
            args: args.to_vec(),
        };
        let mut body = Vec::new();
        command.encode(&mut body);
        self.message(Csid::COMMAND, MessageKind::CommandAmf0, msid, 0, &body);
        self.transaction
    }

    /// `connect` to the application `live`, and our chunk size.
    pub(crate) fn connect(&mut self) {
        self.connect_with(0.0);
    }

    /// As [`Self::connect`], with these capabilities of Enhanced RTMP if there are any.
    pub(crate) fn connect_with(&mut self, caps_ex: f64) {
        self.connect_to("live", caps_ex);
    }

    /// As [`Self::connect_with`], to another application.
    pub(crate) fn connect_to(&mut self, app: &str, caps_ex: f64) {
        let tc_url = format!("rtmp://127.0.0.1/{app}");
        let mut object = vec![
            ("app", Value::from(app)),
            ("flashVer", "FMLE/3.0".into()),
            ("tcUrl", tc_url.as_str().into()),
        ];
        if caps_ex > 0.0 {
            object.push(("capsEx", Value::Number(caps_ex)));
        }
        let object = Value::object(object);
        self.command("connect", 0, object, &[]);
        self.set_chunk_size(CHUNK_BYTES);
    }

    pub(crate) fn set_chunk_size(&mut self, bytes: u32) {
        let body = bytes.to_be_bytes();
        self.message(Csid::CONTROL, MessageKind::SetChunkSize, 0, 0, &body);
        self.writer.set_chunk_size(bytes);
    }

    pub(crate) fn create_stream(&mut self) {
        self.command("createStream", 0, Value::Null, &[]);
    }

    pub(crate) fn publish(&mut self, name: &str) {
        self.stream_command("publish", &[name.into(), "live".into()]);
    }

    pub(crate) fn play(&mut self, name: &str) {
        self.stream_command("play", &[name.into(), Value::Number(-2000.0)]);
    }

    pub(crate) fn stream_command(&mut self, name: &str, args: &[Value]) -> u32 {
        self.command(name, self.msid, Value::Null, args)
    }

    /// `@setDataFrame` with an `onMetaData` that tells `width`.
    pub(crate) fn metadata(&mut self, width: u32, ms: u32) {
        let values = [
            Value::from("@setDataFrame"),
            Value::from("onMetaData"),
            Value::EcmaArray(vec![("width".into(), Value::from(width))]),
        ];
        let mut body = Vec::new();
        encode_data(&values, &mut body);
        self.message(Csid::DATA, MessageKind::DataAmf0, self.msid, ms, &body);
    }

    pub(crate) fn video_config(&mut self, record: &[u8], ms: u32) {
        let body = video_config_body(record);
        self.message(Csid::VIDEO, MessageKind::Video, self.msid, ms, &body);
    }

    pub(crate) fn audio_config(&mut self, asc: &[u8], ms: u32) {
        let body = audio_config_body(asc);
        self.message(Csid::AUDIO, MessageKind::Audio, self.msid, ms, &body);
    }

    /// Metadata and both sequence headers of the usual stream.
    pub(crate) fn configure(&mut self, ms: u32) {
        self.metadata(640, ms);
        self.video_config(&avcc(40, 30, 0x80), ms);
        self.audio_config(&asc(4), ms);
    }

    pub(crate) fn video(&mut self, number: u32, ms: u32, keyframe: bool) {
        self.video_cts(number, ms, keyframe, 0);
    }

    pub(crate) fn video_cts(&mut self, number: u32, ms: u32, keyframe: bool, cts_ms: i32) {
        let body = video_body(number, keyframe, cts_ms, self.video_bytes);
        self.message(Csid::VIDEO, MessageKind::Video, self.msid, ms, &body);
    }

    pub(crate) fn audio(&mut self, number: u32, ms: u32) {
        let body = audio_body(number, self.audio_bytes);
        self.message(Csid::AUDIO, MessageKind::Audio, self.msid, ms, &body);
    }

    /// Video frame `number` and the audio frame of the same number; every tenth is a keyframe.
    pub(crate) fn frame(&mut self, number: u32) {
        let ms = number.wrapping_mul(FRAME_MS);
        self.video(number, ms, number.is_multiple_of(GOP_FRAMES));
        self.audio(number, ms.wrapping_add(FRAME_MS / 2));
    }

    /// Frames from `from` up to `to`, which is not among them.
    pub(crate) fn frames(&mut self, from: u32, to: u32) {
        (from..to).for_each(|number| self.frame(number));
    }
}
