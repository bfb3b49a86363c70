//! Wire formats of live media, sans-IO: no clock, no socket, no thread, no random number.
//!
//! Reading order: [`error`], [`reader`], [`writer`], [`time`], [`media`], then one module per
//! format. Parsers borrow from the bytes they are given; encoders write headers and leave the
//! payload to the caller, so a payload is never copied here.
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(clippy::cast_possible_truncation)]

extern crate alloc;

pub mod aac;
pub mod ac3;
pub mod adts;
pub mod amf0;
pub mod amf3;
pub mod av1;
pub mod bits;
pub mod codec_string;
pub mod decoder_config;
pub mod error;
pub mod flac;
pub mod flv;
pub mod h264;
pub mod hevc;
pub mod http1;
pub mod m3u8;
pub mod media;
pub mod mpeg_audio;
pub mod mpegts;
pub mod nal;
pub mod opus;
pub mod proxy_protocol;
pub mod reader;
pub mod rtmp;
pub mod rtp;
pub mod srt;
pub mod time;
pub mod vp8;
pub mod vp9;
pub mod websocket;
pub mod writer;

pub use error::Error;
