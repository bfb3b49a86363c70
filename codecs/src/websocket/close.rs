//! Why a connection ends.
//!
//! Spec: RFC 6455 5.5.1 and 7.4, and the registry of close codes that it opened.
//! Shape: nothing, or a 16-bit code and a reason in UTF-8.

use alloc::vec::Vec;

use super::frame::{CONTROL_BYTES_MAX, FrameHeader, Opcode, SERVER_HEADER_BYTES_MAX};
use crate::Error;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes of a reason at most: a close frame is a control frame.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The code of a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away, as a server that stops or a page that is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// A frame broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data that the endpoint does not take.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// The peer broke a rule of the endpoint's own.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message is larger than the endpoint takes.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// The server met a condition that it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server has no room now.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// What a peer is told that sent what `error` says.
    #[must_use]
    pub fn of(error: Error) -> Self {
        match error {
            Error::Invalid { what: "websocket.close.reason", .. } => Self::INVALID_PAYLOAD,
            Error::Invalid { .. } | Error::Truncated { .. } => Self::PROTOCOL_ERROR,
            Error::Unsupported { .. } => Self::UNSUPPORTED_DATA,
            Error::TooLarge { .. } => Self::MESSAGE_TOO_BIG,
        }
    }

    /// True if it may stand in a frame: 1005, 1006 and 1015 are words for what no frame said.
    #[must_use]
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// Reads the body of a close frame; `None` if it gives no code.
///
/// # Errors
/// [`Error::Truncated`] for half a code; [`Error::Invalid`] for a code that no frame may have, and
/// for a reason that is not UTF-8.
pub(super) fn parse(body: &[u8]) -> Result<Option<CloseCode>, Error> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(body);
    let code = CloseCode(reader.u16("websocket.close.code")?);
    if !code.is_sendable() {
        return Err(Error::Invalid { what: "websocket.close.code", value: code.0.into() });
    }
    if let Err(error) = str::from_utf8(reader.rest()) {
        let value = error.valid_up_to() as u64;
        return Err(Error::Invalid { what: "websocket.close.reason", value });
    }
    Ok(Some(code))
}

/// Appends a server's close frame; a reason that is too long is cut, an absent code says nothing.
pub fn encode_close(code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
    let mut cut = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let reason = reason.get(..cut).filter(|_| code.is_some()).unwrap_or_default();
    let len = code.map_or(0, |_| 2) + reason.len();
    let header = FrameHeader { fin: true, opcode: Opcode::Close, mask: None, len: len as u64 };
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    let mut writer = Writer::new(&mut bytes);
    header.encode(&mut writer);
    if let Some(code) = code {
        writer.u16(code.0);
    }
    let written = writer.written();
    out.extend_from_slice(bytes.get(..written).unwrap_or_default());
    out.extend_from_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_checked() {
        let code = |code: u16| Ok(Some(CloseCode(code)));
        let invalid = |what, value| Err(Error::Invalid { what, value });
        let table: [(&[u8], _); 11] = [
            (b"", Ok(None)),
            (b"\x03", Err(Error::Truncated { what: "websocket.close.code" })),
            (b"\x03\xe8", code(1000)),
            (b"\x03\xe9bye", code(1001)),
            (b"\x0f\xa0\xc3\xa4", code(4000)),
            (b"\x03\xf5", code(1013)),
            (b"\x03\xed", invalid("websocket.close.code", 1005)),
            (b"\x03\xee", invalid("websocket.close.code", 1006)),
            (b"\x00\x00", invalid("websocket.close.code", 0)),
            (b"\x13\x88", invalid("websocket.close.code", 5000)),
            (b"\x03\xe8ab\xff", invalid("websocket.close.reason", 2)),
        ];
        for (body, expected) in table {
            assert_eq!(parse(body), expected, "{body:?}");
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let mut out = Vec::new();
        encode_close(Some(CloseCode::GOING_AWAY), &"\u{e4}".repeat(100), &mut out);
        assert_eq!(out.len(), 2 + 2 + 122);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xe9]);
        assert_eq!(parse(&out[2..]), Ok(Some(CloseCode::GOING_AWAY)));
        out.clear();
        encode_close(None, "never said", &mut out);
        assert_eq!(out, [0x88, 0]);
    }
}
