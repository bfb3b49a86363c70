//! SRT (Secure Reliable Transport): packets, handshakes, key material and stream ids.
//!
//! Spec: draft-sharabayko-srt-01; where it is silent, what libsrt 1.5 does, said at the place.
//! Shape: every datagram is one packet: a header of 16 bytes ([`Header`]) and a body. A data
//! packet's body is payload, which [`PayloadCipher`] hides or shows in place; a control packet's
//! body is read by [`Control::parse`]. A handshake's body is [`Handshake`] and [`Extensions`].
//! Limits: a packet is one datagram, so nothing here gathers bytes; stream ids are bounded by
//! [`STREAM_ID_BYTES_MAX`], key material has one exact length for each size of key.
//! Version 4 of the handshake, which says what it wants in packets of its own once data flows, is
//! read as far as it takes to refuse it: it has no stream id.
//! Not here: state, retransmission and time are the session's; keys and salts come in as arguments.

mod cipher;
mod control;
mod dialect;
mod extension;
#[cfg(test)]
mod goldens;
mod handshake;
mod key_material;
mod loss_list;
mod number;
mod packet;
mod passphrase;
mod reject;
mod stream_id;

pub use cipher::PayloadCipher;
pub use control::{ACK_BYTES_MAX, Ack, AckReport, Control, ControlType, DropRequest};
pub use dialect::{StreamMode, StreamRequest};
pub use extension::{
    EXTENSION_HEADER_BYTES, Extension, ExtensionType, Extensions, HS_EXTENSION_BYTES, HsExtension,
    HsFlags, encode_extension,
};
pub use handshake::{
    CONFIG_FLAG, HANDSHAKE_BYTES, HS_FLAG, HSV5_MAGIC, Handshake, HandshakeKind, KM_FLAG,
    VERSION_4, VERSION_5, peer_addr,
};
pub use key_material::{
    KEY_MATERIAL_BYTES_MAX, KeyLength, KeyMaterial, KeySlots, KeyState, SALT_BYTES, StreamKey,
};
pub use loss_list::{LossRange, LossRanges};
pub use number::{MessageNumber, SeqNumber, SocketId};
pub use packet::{
    ControlHeader, DataHeader, HEADER_BYTES, Header, KeySlot, PACKET_BYTES_MAX, PAYLOAD_BYTES_MAX,
    Position,
};
pub use passphrase::{KeyEncryptionKey, PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN, Passphrase};
pub use reject::RejectReason;
pub use stream_id::{STREAM_ID_BYTES_MAX, decode_stream_id, encode_stream_id};
