//! Heads of the PROXY protocol: any bytes, and a binary head of any content.
#![no_main]

use codecs::proxy_protocol::{HEAD_BYTES_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    judge(data);
    judge(&[b"\r\n\r\n\0\r\nQUIT\n", data].concat());
});

fn judge(bytes: &[u8]) {
    match parse(bytes) {
        Ok(Some((origin, len))) => {
            assert!(len > 0 && len <= bytes.len() && len <= HEAD_BYTES_MAX);
            assert_eq!(parse(&bytes[..len]), Ok(Some((origin, len))), "what follows says nothing");
            assert_eq!(parse(&bytes[..len - 1]), Ok(None), "the end is known before it is there");
        }
        Ok(None) => assert!(bytes.len() < HEAD_BYTES_MAX, "a head without end"),
        Err(_) => {}
    }
}
