//! Stream ids of SRT, as they travel and as text.
#![no_main]

use codecs::srt::{STREAM_ID_BYTES_MAX, StreamRequest, decode_stream_id, encode_stream_id};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = decode_stream_id(input) {
        assert!(text.len() <= STREAM_ID_BYTES_MAX && !text.is_empty());
        assert_eq!(decode_stream_id(&encode_stream_id(&text)).as_ref(), Ok(&text));
    }
    if let Ok(request) = StreamRequest::parse(input) {
        assert!(request.resource.len() <= input.len());
        assert!(!request.resource.contains(char::is_control));
    }
});
