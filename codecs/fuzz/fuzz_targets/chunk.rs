//! RTMP chunks: any bytes, in cuts that the first byte chooses, under small limits.
#![no_main]

use codecs::amf0::Limits;
use codecs::rtmp::chunk_reader::{ChunkLimits, ChunkReader};
use codecs::rtmp::command::Command;
use codecs::rtmp::message::{AggregateMessages, Control, MessageKind};
use libfuzzer_sys::fuzz_target;

/// What one message may gather here.
const BODY_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((&cut, mut input)) = data.split_first() else { return };
    let limits = ChunkLimits { partial_bytes_max: 1 << 20, ..ChunkLimits::default() };
    let mut reader = ChunkReader::new(limits);
    let mut body = Vec::new();
    while !input.is_empty() {
        let piece = &input[..input.len().min(usize::from(cut) + 1)];
        let Ok((taken, fragment)) = reader.feed(piece) else { return };
        assert!(taken > 0 || fragment.is_some(), "no progress");
        input = &input[taken..];
        let Some(fragment) = fragment else { continue };
        assert!(fragment.offset as usize + fragment.data.len() <= fragment.header.len as usize);
        if fragment.offset == 0 {
            body.clear();
        }
        body.extend_from_slice(fragment.data);
        if !fragment.last || body.len() > BODY_BYTES_MAX {
            continue;
        }
        match fragment.header.kind {
            MessageKind::SetChunkSize => {
                if let Ok(Control::SetChunkSize(size)) = Control::parse(fragment.header.kind, &body)
                {
                    let _ = reader.set_chunk_size(size);
                }
            }
            MessageKind::Aggregate => {
                AggregateMessages::new(&body, &fragment.header).for_each(|_| {});
            }
            kind => {
                let _ = Control::parse(kind, &body);
                let _ = Command::parse(&body, &Limits::default(), kind == MessageKind::CommandAmf3);
            }
        }
    }
});
