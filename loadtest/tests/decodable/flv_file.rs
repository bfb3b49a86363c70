//! An FLV file in the making, for ffmpeg to read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use codecs::flv::tag::{FILE_HEADER_LEN, FileHeader, TAG_HEADER_LEN, TagHeader, TagKind};
use codecs::writer::Writer;

/// The bytes so far.
pub(crate) struct FlvFile(Vec<u8>);

impl FlvFile {
    /// A file of pictures and sound without any.
    pub(crate) fn new() -> Self {
        let mut bytes = vec![0; FILE_HEADER_LEN];
        FileHeader { audio: true, video: true }.encode(&mut Writer::new(&mut bytes));
        Self(bytes)
    }

    /// Appends a video tag.
    pub(crate) fn video(&mut self, timestamp_ms: u32, body: &[u8]) {
        self.tag(TagKind::Video, timestamp_ms, body);
    }

    /// Appends an audio tag.
    pub(crate) fn audio(&mut self, timestamp_ms: u32, body: &[u8]) {
        self.tag(TagKind::Audio, timestamp_ms, body);
    }

    fn tag(&mut self, kind: TagKind, timestamp_ms: u32, body: &[u8]) {
        let header = TagHeader { kind, data_len: u32::try_from(body.len()).unwrap(), timestamp_ms };
        let mut head = [0; TAG_HEADER_LEN];
        header.encode(&mut Writer::new(&mut head));
        self.0.extend_from_slice(&head);
        self.0.extend_from_slice(body);
        self.0.extend_from_slice(&header.previous_tag_size().to_be_bytes());
    }

    /// Writes it where `use_file` finds it, and removes it afterwards.
    pub(crate) fn written<T>(&self, use_file: impl FnOnce(&Path) -> T) -> T {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}.flv", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, &self.0).unwrap();
        let result = use_file(&path);
        fs::remove_file(&path).unwrap();
        result
    }
}
