//! AMF0 and AMF3 values; what decodes is encoded and decodes again.
#![no_main]

use codecs::amf0::{self, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let _ = codecs::amf3::decode(data, &limits);
    let Ok(values) = amf0::decode_all(data, &limits) else { return };
    let mut encoded = Vec::new();
    for value in &values {
        amf0::encode(value, &mut encoded);
    }
    let _ = amf0::decode_all(&encoded, &limits);
});
