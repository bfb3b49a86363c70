//! FLV, and the media payloads of RTMP, which are FLV tag bodies.
//!
//! Spec: Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP v2.
//! Shape: [`tag`] is the file, [`video`] and [`audio`] are what the tag bodies start with, and
//! [`enhanced`] is what both share since Enhanced RTMP.

pub mod audio;
pub mod enhanced;
pub mod tag;
pub mod video;

pub use audio::{AudioPacket, AudioTagHeader, encode_audio_header};
pub use enhanced::{Multitrack, MultitrackKind, Track, Tracks};
pub use tag::{FileHeader, FlvReader, TagFragment, TagHeader, TagKind};
pub use video::{FrameType, VideoPacket, VideoTagHeader, encode_video_header};
