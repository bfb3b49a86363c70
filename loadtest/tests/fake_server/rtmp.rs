//! RTMP, as far as the generator speaks it.

use std::collections::HashMap;

use codecs::amf0::{Limits, Value};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::command::{Level, code, result, status};
use codecs::rtmp::handshake::{BODY_LEN, C0C1_LEN, RANDOM_LEN, server_response};
use codecs::rtmp::{ChunkLimits, ChunkReader, Command, Control, Csid, MessageHeader, MessageKind};
use codecs::writer::Writer;

use crate::server::{Framing, Shared, Wire, join, publish};

pub(crate) fn video(timestamp: u32, body: &[u8]) -> Vec<u8> {
    message(MessageKind::Video, timestamp, body)
}

fn message(kind: MessageKind, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let (csid, msid) = match kind {
        MessageKind::Video => (Csid::VIDEO, 1),
        MessageKind::CommandAmf0 => (Csid::COMMAND, 1),
        _ => (Csid::CONTROL, 0),
    };
    let len = u32::try_from(body.len()).unwrap();
    let mut out = Vec::new();
    frame_message(&MessageHeader { csid, timestamp, len, kind, msid }, body, 4096, &mut out);
    out
}

fn control(control: Control) -> Vec<u8> {
    let mut body = vec![0; control.encoded_len()];
    control.encode(&mut Writer::new(&mut body));
    message(control.kind(), 0, &body)
}

fn command(command: &Command) -> Vec<u8> {
    let mut body = Vec::new();
    command.encode(&mut body);
    message(MessageKind::CommandAmf0, 0, &body)
}

pub(crate) fn serve(mut stream: Box<dyn Wire>, shared: &Shared) -> std::io::Result<()> {
    let mut c0c1 = [0; C0C1_LEN];
    stream.read_exact(&mut c0c1)?;
    let c1 = c0c1.last_chunk::<BODY_LEN>().unwrap();
    stream.write_all(&server_response(c1, &[7; RANDOM_LEN], 0))?;
    stream.read_exact(&mut [0; BODY_LEN])?;
    stream.write_all(&control(Control::SetChunkSize(4096)))?;
    let mut reader = ChunkReader::new(ChunkLimits::default());
    let mut bodies = HashMap::<Csid, Vec<u8>>::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        let mut input = &buffer[..len];
        while !input.is_empty() {
            let (taken, fragment) = reader.feed(input).unwrap();
            input = &input[taken..];
            let Some(fragment) = fragment else { continue };
            let body = bodies.entry(fragment.header.csid).or_default();
            if fragment.offset == 0 {
                body.clear();
            }
            body.extend_from_slice(fragment.data);
            if !fragment.last {
                continue;
            }
            match fragment.header.kind {
                MessageKind::SetChunkSize => {
                    let size = u32::from_be_bytes(*body.first_chunk().unwrap());
                    reader.set_chunk_size(size).unwrap();
                }
                MessageKind::Video if !publish(shared, fragment.header.timestamp, body) => {
                    return Ok(());
                }
                MessageKind::CommandAmf0 => {
                    let asked = Command::parse(body, &Limits::default(), false).unwrap();
                    answer(&asked, &mut stream, shared)?;
                    if asked.name == "play" {
                        join(stream, Framing::Rtmp, shared);
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }
}

fn answer(asked: &Command, stream: &mut Box<dyn Wire>, shared: &Shared) -> std::io::Result<()> {
    let said = |level, code| command(&status::<&str>(level, code, "", []));
    match asked.name.as_str() {
        "connect" => {
            let reply = result(asked.transaction_id, Value::Null, [Value::Null]);
            stream.write_all(&command(&reply))
        }
        "createStream" => {
            let reply = result(asked.transaction_id, Value::Null, [Value::from(1.0)]);
            stream.write_all(&command(&reply))
        }
        "publish" => stream.write_all(&said(Level::Status, code::PUBLISH_START)),
        "play" if !shared.lock().unwrap().has_room() => {
            stream.write_all(&said(Level::Error, code::PLAY_STREAM_NOT_FOUND))
        }
        "play" => stream.write_all(&said(Level::Status, code::PLAY_START)),
        _ => Ok(()),
    }
}
