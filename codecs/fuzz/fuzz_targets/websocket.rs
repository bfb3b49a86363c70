//! WebSocket frames of either side: any bytes, in cuts that the first byte chooses.
#![no_main]

use codecs::http1::{RequestLimits, parse_request};
use codecs::websocket::{CloseCode, Event, FrameHeader, FrameReader, HEADER_BYTES_MAX, opening};
use codecs::writer::Writer;
use libfuzzer_sys::fuzz_target;

/// What one message may have here.
const MESSAGE_BYTES_MAX: u64 = 4_096;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((request, _))) = parse_request(data, &RequestLimits::default()) {
        let _ = opening(&request);
    }
    let Some((&cut, mut input)) = data.split_first() else { return };
    if let Ok(Some((header, len))) = FrameHeader::parse(input) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        let mut writer = Writer::new(&mut bytes);
        header.encode(&mut writer);
        let written = writer.written();
        assert_eq!(&bytes[..written], &input[..len], "one form for each header");
    }
    let mut reader = if cut & 1 == 0 {
        FrameReader::of_client(MESSAGE_BYTES_MAX)
    } else {
        FrameReader::of_server(MESSAGE_BYTES_MAX)
    };
    let mut message = 0;
    while !input.is_empty() {
        let piece = &input[..input.len().min(usize::from(cut) + 1)];
        let (taken, event) = match reader.feed(piece) {
            Ok(read) => read,
            Err(error) => {
                assert!(CloseCode::of(error).is_sendable());
                return;
            }
        };
        assert!(taken > 0 && taken <= piece.len(), "no progress");
        input = &input[taken..];
        match event {
            Some(Event::Data(data)) => {
                message += data.bytes.len() as u64;
                assert!(message <= MESSAGE_BYTES_MAX);
                if data.last {
                    message = 0;
                }
            }
            Some(Event::Ping(payload)) => assert!(payload.len() <= 125),
            Some(Event::Close(code)) => assert!(code.is_none_or(CloseCode::is_sendable)),
            Some(Event::Pong) => {}
            None => assert_eq!(taken, piece.len(), "all of the input is taken"),
        }
    }
});
