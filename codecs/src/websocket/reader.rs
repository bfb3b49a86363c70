//! Frames of a peer, piece by piece.
//!
//! ```text
//!            +------------------------------------------+
//!            v                                          |
//!   --> header --> control payload --> ping, pong, close
//!            ^ |
//!            | +--> data payload --> fragments --+
//!            +-----------------------------------+
//! ```
//!
//! Limits: bytes of a message, however it is fragmented. Payload of data is not kept, that of a
//! ping or close up to its 125 bytes.

use alloc::vec::Vec;

use super::close::{self, CloseCode};
use super::frame::{FrameHeader, HEADER_BYTES_MAX, Opcode, unmask};
use crate::Error;

/// What a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of a message.
    Data(Data<'a>),
    /// It wants these bytes back in a pong.
    Ping(Vec<u8>),
    /// It is there.
    Pong,
    /// It says nothing more, for the reason of this code.
    Close(Option<CloseCode>),
}

/// A piece of a message, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The message is text.
    pub text: bool,
    /// The bytes; empty only if the frame is.
    pub bytes: &'a [u8],
    /// The key to [`unmask`] them with; zeros leave them as they are.
    pub mask: [u8; 4],
    /// The message ends with this piece.
    pub last: bool,
}

#[derive(Clone, Copy, Debug)]
enum Expect {
    Header,
    Payload { header: FrameHeader, left: u64 },
}

/// Reads the frames of one peer.
#[derive(Debug)]
pub struct FrameReader {
    /// Frames must have a mask, as those of a client, or must have none.
    masked: bool,
    message_bytes_max: u64,
    expect: Expect,
    /// A header that came in pieces.
    head: [u8; HEADER_BYTES_MAX],
    head_len: u8,
    /// The message in hand: is it text, and its bytes until now.
    message: Option<(bool, u64)>,
    control: Vec<u8>,
    frames: u32,
}

impl FrameReader {
    /// Reads a client; messages over `message_bytes_max` are refused.
    #[must_use]
    pub const fn of_client(message_bytes_max: u64) -> Self {
        Self::new(true, message_bytes_max)
    }

    /// Reads a server; messages over `message_bytes_max` are refused.
    #[must_use]
    pub const fn of_server(message_bytes_max: u64) -> Self {
        Self::new(false, message_bytes_max)
    }

    const fn new(masked: bool, message_bytes_max: u64) -> Self {
        Self {
            masked,
            message_bytes_max,
            expect: Expect::Header,
            head: [0; HEADER_BYTES_MAX],
            head_len: 0,
            message: None,
            control: Vec::new(),
            frames: 0,
        }
    }

    /// Takes another limit for messages that begin from now on.
    pub const fn limit(&mut self, message_bytes_max: u64) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Frames that began, of every kind; the count wraps.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Reads up to the next event and tells how many bytes that took. Without an event, all of the
    /// input has been taken.
    ///
    /// # Errors
    /// Those of [`FrameHeader::parse`]; [`Error::Invalid`] for a mask that must or must not be
    /// there, for fragments out of order and for a wrong close frame; [`Error::TooLarge`] over the
    /// limit. All are final.
    pub fn feed<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>), Error> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match self.expect {
                Expect::Header => {
                    let (taken, header) = self.header(rest)?;
                    at += taken;
                    let Some(header) = header else { return Ok((at, None)) };
                    self.expect = Expect::Payload { header, left: header.len };
                }
                Expect::Payload { header, left } => {
                    if rest.is_empty() && left > 0 {
                        return Ok((at, None));
                    }
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let piece = rest.get(..len).unwrap_or_default();
                    at += len;
                    let done = header.len - left;
                    let left = left - len as u64;
                    self.expect =
                        if left == 0 { Expect::Header } else { Expect::Payload { header, left } };
                    if !header.opcode.is_control() {
                        return Ok((at, Some(Event::Data(self.data(&header, done, piece, left)))));
                    }
                    if header.opcode != Opcode::Pong {
                        self.control.extend_from_slice(piece);
                    }
                    if left == 0 {
                        return self.control(&header).map(|event| (at, Some(event)));
                    }
                }
            }
        }
    }

    /// Gathers a header; without one, all of `bytes` is taken.
    fn header(&mut self, bytes: &[u8]) -> Result<(usize, Option<FrameHeader>), Error> {
        let before = usize::from(self.head_len);
        let mut head = self.head;
        let mut held = before;
        for (slot, byte) in head.iter_mut().skip(before).zip(bytes) {
            *slot = *byte;
            held += 1;
        }
        let Some((header, len)) = FrameHeader::parse(head.get(..held).unwrap_or_default())? else {
            self.head = head;
            self.head_len = u8::try_from(held).expect("a header has 14 bytes at most");
            return Ok((held - before, None));
        };
        self.head_len = 0;
        self.admit(&header)?;
        Ok((len - before, Some(header)))
    }

    /// Checks a header against what came before it.
    fn admit(&mut self, header: &FrameHeader) -> Result<(), Error> {
        self.frames = self.frames.wrapping_add(1);
        if header.mask.is_some() != self.masked {
            let value = u64::from(header.mask.is_some());
            return Err(Error::Invalid { what: "websocket.frame.mask", value });
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let goes_on = header.opcode == Opcode::Continuation;
        let (text, before) = match self.message {
            Some(message) if goes_on => message,
            None if !goes_on => (header.opcode == Opcode::Text, 0),
            message => {
                let value = u64::from(message.is_some());
                return Err(Error::Invalid { what: "websocket.frame.fragment", value });
            }
        };
        let value = header.len.saturating_add(before);
        if value > self.message_bytes_max {
            let max = self.message_bytes_max;
            return Err(Error::TooLarge { what: "websocket.message", value, max });
        }
        self.message = Some((text, value));
        Ok(())
    }

    /// The piece of a message that begins `done` bytes into its frame, `left` before its end.
    fn data<'a>(
        &mut self,
        header: &FrameHeader,
        done: u64,
        bytes: &'a [u8],
        left: u64,
    ) -> Data<'a> {
        let text = self.message.is_some_and(|(text, _)| text);
        let last = header.fin && left == 0;
        if last {
            self.message = None;
        }
        Data { text, bytes, mask: mask_at(header, done), last }
    }

    /// The event of a control frame whose payload is complete.
    fn control<'a>(&mut self, header: &FrameHeader) -> Result<Event<'a>, Error> {
        let mut payload = core::mem::take(&mut self.control);
        unmask(&mut payload, mask_at(header, 0));
        Ok(match header.opcode {
            Opcode::Ping => Event::Ping(payload),
            Opcode::Close => Event::Close(close::parse(&payload)?),
            _ => Event::Pong,
        })
    }
}

/// The masking key, turned so that it begins with the byte `done` bytes into the payload.
fn mask_at(header: &FrameHeader, done: u64) -> [u8; 4] {
    let mut mask = header.mask.unwrap_or_default();
    mask.rotate_left(usize::try_from(done % 4).expect("below 4"));
    mask
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::writer::Writer;

    fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let header = FrameHeader { fin, opcode, mask: Some(mask), len: payload.len() as u64 };
        let mut head = [0; HEADER_BYTES_MAX];
        let mut writer = Writer::new(&mut head);
        header.encode(&mut writer);
        let written = writer.written();
        let mut bytes = payload.to_vec();
        unmask(&mut bytes, mask);
        [&head[..written], &bytes].concat()
    }

    /// Everything said, data in the clear and joined, given in pieces of `cut` bytes.
    fn heard(input: &[u8], cut: usize) -> Result<Vec<String>, Error> {
        let mut reader = FrameReader::of_client(300);
        let mut words = Vec::new();
        let mut message = Vec::new();
        for piece in input.chunks(cut) {
            let mut at = 0;
            loop {
                let (taken, event) = reader.feed(&piece[at..])?;
                at += taken;
                match event {
                    None => break,
                    Some(Event::Data(data)) => {
                        let mut clear = data.bytes.to_vec();
                        unmask(&mut clear, data.mask);
                        message.extend_from_slice(&clear);
                        if data.last {
                            let text = String::from_utf8_lossy(&message).into_owned();
                            words.push(format!("{} {text}", data.text));
                            message.clear();
                        }
                    }
                    Some(other) => words.push(format!("{other:?}")),
                }
            }
            assert_eq!(at, piece.len(), "all of the input is taken");
        }
        Ok(words)
    }

    #[test]
    fn any_cut_gives_the_same_events() {
        let long = "x".repeat(200);
        let input = [
            frame(true, Opcode::Binary, b"Hello"),
            frame(true, Opcode::Ping, b"p1"),
            frame(false, Opcode::Text, b"a message in"),
            frame(true, Opcode::Ping, b""),
            frame(false, Opcode::Continuation, b""),
            frame(true, Opcode::Pong, b"ignored"),
            frame(true, Opcode::Continuation, long.as_bytes()),
            frame(true, Opcode::Binary, b""),
            frame(true, Opcode::Close, b"\x03\xe8done"),
        ]
        .concat();
        let expected = vec![
            "false Hello".into(),
            "Ping([112, 49])".into(),
            "Ping([])".into(),
            "Pong".into(),
            format!("true a message in{long}"),
            "false ".into(),
            "Close(Some(CloseCode(1000)))".into(),
        ];
        for cut in 1..input.len() + 1 {
            assert_eq!(heard(&input, cut).as_ref(), Ok(&expected), "{cut}");
        }
    }

    #[test]
    fn what_may_not_follow_is_refused() {
        let mut unmasked = frame(true, Opcode::Binary, b"");
        unmasked[1] = 0;
        unmasked.truncate(2);
        let start = frame(false, Opcode::Binary, b"x");
        let half = "y".repeat(150);
        let code = |input: Vec<u8>| heard(&input, 3).map_err(CloseCode::of);
        for (input, expected) in [
            (unmasked, CloseCode::PROTOCOL_ERROR),
            (frame(true, Opcode::Continuation, b"x"), CloseCode::PROTOCOL_ERROR),
            ([start.clone(), start.clone()].concat(), CloseCode::PROTOCOL_ERROR),
            (frame(true, Opcode::Binary, &[0; 301]), CloseCode::MESSAGE_TOO_BIG),
            (
                [start, frame(false, Opcode::Continuation, half.as_bytes())]
                    .into_iter()
                    .chain([frame(true, Opcode::Continuation, half.as_bytes())])
                    .collect::<Vec<_>>()
                    .concat(),
                CloseCode::MESSAGE_TOO_BIG,
            ),
            (frame(true, Opcode::Close, b"\x03"), CloseCode::PROTOCOL_ERROR),
            (frame(true, Opcode::Close, b"\x03\xe8\xff"), CloseCode::INVALID_PAYLOAD),
        ] {
            assert_eq!(code(input), Err(expected));
        }
        let mut server = FrameReader::of_server(10);
        assert!(server.feed(&frame(true, Opcode::Ping, b"")).is_err());
        assert_eq!(server.feed(&[0x89, 0]), Ok((2, Some(Event::Ping(vec![])))));
    }
}
