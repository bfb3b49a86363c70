//! RTMP chunks: a second of the stream read and written at the chunk sizes that peers use.

use std::hint::black_box;

use codecs::rtmp::chunk_reader::{ChunkLimits, ChunkReader};
use codecs::rtmp::chunk_writer::frame_message;
use codecs::rtmp::message::MessageHeader;

use super::Scenario;
use super::stream::{SECOND_BYTES, chunked, second};

struct Read {
    chunk_bytes: u32,
    bytes: Vec<u8>,
    messages: usize,
}

/// Chunks of `chunk_bytes` to messages.
pub(super) fn read(chunk_bytes: u32) -> Box<dyn Scenario> {
    Box::new(Read { chunk_bytes, bytes: chunked(chunk_bytes), messages: second().len() })
}

impl Scenario for Read {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn run(&mut self) {
        let mut reader = ChunkReader::new(ChunkLimits::default());
        reader.set_chunk_size(self.chunk_bytes).expect("a legal chunk size");
        let (mut rest, mut whole) = (self.bytes.as_slice(), 0);
        while let (taken, Some(fragment)) = reader.feed(rest).expect("our own chunks") {
            rest = &rest[taken..];
            black_box(fragment.data);
            whole += usize::from(fragment.last);
        }
        assert_eq!(whole, self.messages);
    }
}

struct Write {
    chunk_bytes: u32,
    messages: Vec<(MessageHeader, Vec<u8>)>,
    out: Vec<u8>,
}

/// Messages to chunks of `chunk_bytes` that every player can share.
pub(super) fn write(chunk_bytes: u32) -> Box<dyn Scenario> {
    let messages = second().into_iter().map(|frame| {
        let body = frame.body();
        (frame.header(body.len()), body)
    });
    let (messages, out) = (messages.collect(), Vec::with_capacity(1 << 20));
    Box::new(Write { chunk_bytes, messages, out })
}

impl Scenario for Write {
    fn bytes(&self) -> u64 {
        SECOND_BYTES
    }

    fn run(&mut self) {
        self.out.clear();
        for (header, body) in &self.messages {
            frame_message(header, body, self.chunk_bytes, &mut self.out);
        }
        black_box(&self.out);
    }
}
