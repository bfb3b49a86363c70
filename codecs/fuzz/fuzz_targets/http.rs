//! HTTP/1.1 request heads and what is asked of them.
#![no_main]

use codecs::http1::{RequestLimits, basic_credentials, parse_request, percent_decode, query_pairs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = core::str::from_utf8(data) {
        let _ = percent_decode(text);
        let _ = basic_credentials(text);
        query_pairs(text).for_each(|_| {});
    }
    let Ok(Some((request, len))) = parse_request(data, &RequestLimits::default()) else { return };
    assert!(len <= data.len());
    let _ = (request.keep_alive(), request.content_length(), request.expects_body());
    let _ = request.range().and_then(|range| range.resolve(1000));
    let _ = (request.header("origin"), request.has_token("connection", "close"));
    request.headers().for_each(|_| {});
});
