//! AMF0, the value format of RTMP commands and of `onMetaData`.
//!
//! Spec: Action Message Format AMF 0 (Adobe, 2007).
//! Shape: one marker byte, then the value; big-endian throughout.
//! In/Out: values are owned, because commands outlive the bytes that carried them.
//! Limits: [`Limits`] bounds nesting, values and text of one message, so that neither a deep nest
//! nor a reference to a large value costs more than the bytes that a peer really sent.

mod decoder;
mod encoder;
mod limits;
mod marker;
mod value;

pub use decoder::{decode, decode_all};
pub use encoder::encode;
pub(crate) use limits::Budget;
pub use limits::Limits;
pub use value::Value;
