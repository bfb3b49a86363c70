//! RTP packets: any bytes, and any bytes behind a first one of the right version.
#![no_main]

use codecs::rtp::RtpPacket;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    judge(data);
    if let Some((&first, rest)) = data.split_first() {
        judge(&[&[first & 0x3f | 0x80][..], rest].concat());
    }
});

fn judge(bytes: &[u8]) {
    if let Ok(packet) = RtpPacket::parse(bytes) {
        assert_eq!(bytes[0] >> 6, 2, "there is one version");
        assert!(packet.payload.len() + 12 <= bytes.len());
    }
}
