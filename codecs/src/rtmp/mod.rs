//! RTMP, Adobe's Real-Time Messaging Protocol.
//!
//! Spec: Adobe's RTMP 1.0 (2012) and Enhanced RTMP v2.
//! Shape: [`handshake`], then chunks ([`chunk_reader`], [`chunk_writer`]) that carry messages
//! ([`message`]), some of which are AMF commands ([`command`]).
//! Not here: media payloads, which are FLV tag bodies ([`crate::flv`]), and who may say what when,
//! which is the session's business.

pub mod chunk_reader;
pub mod chunk_writer;
pub mod command;
pub mod handshake;
pub mod message;

pub use chunk_reader::{ChunkLimits, ChunkReader, Fragment};
pub use chunk_writer::ChunkWriter;
pub use command::{Command, ConnectInfo};
pub use message::{Control, Csid, MessageHeader, MessageKind, UserControl};
