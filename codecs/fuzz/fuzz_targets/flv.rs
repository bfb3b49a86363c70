//! FLV files and the bodies of their tags.
#![no_main]

use codecs::flv::{AudioTagHeader, FlvReader, TagKind, VideoTagHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = VideoTagHeader::parse(data) {
        assert!(header.header_len <= data.len());
        header.tracks(data).for_each(|_| {});
    }
    if let Ok(header) = AudioTagHeader::parse(data) {
        assert!(header.header_len <= data.len());
        header.tracks(data).for_each(|_| {});
    }
    let Some((&cut, mut input)) = data.split_first() else { return };
    let mut reader = FlvReader::new(1 << 20);
    while !input.is_empty() {
        let piece = &input[..input.len().min(usize::from(cut) + 1)];
        let Ok((taken, fragment)) = reader.feed(piece) else { return };
        assert!(taken > 0 || fragment.is_some(), "no progress");
        input = &input[taken..];
        if let Some(fragment) = fragment {
            match fragment.header.kind {
                TagKind::Video => drop(VideoTagHeader::parse(fragment.data)),
                TagKind::Audio => drop(AudioTagHeader::parse(fragment.data)),
                _ => {}
            }
        }
    }
});
