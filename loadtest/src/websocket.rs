//! A player of FLV over WebSocket, sans-IO: bytes in, bytes out, events.
//!
//! Spec: RFC 6455 4.1, 5.2 and 5.5; the messages together are an FLV file.
//!
//! Shape: response head, then frames: flags and opcode 4 | mask bit, length 7, 16 or 64 | payload.
//!
//! Limits: control frames of 125 bytes, as the protocol has it; of messages nothing is held.

use anyhow::{Result, bail, ensure};
use codecs::flv::tag::{FlvReader, TAG_DATA_LEN_MAX};

use crate::http_flv;
use crate::http_head::{Head, HeadReader};
use crate::piece::Event;
use crate::stream_url::StreamUrl;

/// The nonce of the protocol's own example, and its answer. A server cannot tell it from another,
/// and whether it reads the key at all shows as well as with a random one.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The longest header of a frame that is not masked.
const FRAME_HEAD_LEN_MAX: usize = 10;

/// The longest payload of a control frame.
const CONTROL_LEN_MAX: u64 = 125;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

#[derive(Debug)]
enum Phase {
    Head(HeadReader),
    /// Between two frames, or inside a frame's header.
    Frame {
        bytes: [u8; FRAME_HEAD_LEN_MAX],
        len: usize,
    },
    Data {
        left: u64,
    },
    Control {
        opcode: u8,
        left: u64,
        payload: Vec<u8>,
    },
}

const BETWEEN: Phase = Phase::Frame { bytes: [0; FRAME_HEAD_LEN_MAX], len: 0 };

/// One connection.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    reader: FlvReader,
    /// What masks our own frames.
    mask: u32,
}

impl Client {
    /// Starts; the request is in `out`. `seed` makes the masks differ.
    #[must_use]
    pub fn new(url: &StreamUrl, seed: u64, out: &mut Vec<u8>) -> Self {
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let fields =
            ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", &key];
        http_flv::put_request(&url.request_target(), &url.authority, &fields, out);
        Self {
            phase: Phase::Head(HeadReader::default()),
            reader: FlvReader::new(TAG_DATA_LEN_MAX),
            mask: seed as u32 | 1,
        }
    }

    /// Takes bytes of the server; tells how many, and the first thing that they said. Without an
    /// event all were taken. What is to be answered is appended to `out`.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>)> {
        let mut at = 0;
        while at < input.len() {
            let (taken, event) = self.step(&input[at..], out)?;
            at += taken;
            if event.is_some() {
                return Ok((at, event));
            }
        }
        Ok((at, None))
    }

    /// Takes at least one byte.
    fn step<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Option<Event<'a>>)> {
        match &mut self.phase {
            Phase::Head(reader) => {
                let (taken, head) = reader.feed(input)?;
                let Some(head) = head else { return Ok((taken, None)) };
                self.phase = BETWEEN;
                Ok((taken, Some(verdict(&head)?)))
            }
            Phase::Frame { bytes, len } => {
                bytes[*len] = input[0];
                *len += 1;
                if let Some((opcode, payload_len)) = frame_head(&bytes[..*len])? {
                    self.phase = match opcode {
                        CLOSE.. => {
                            Phase::Control { opcode, left: payload_len, payload: Vec::new() }
                        }
                        _ => Phase::Data { left: payload_len },
                    };
                    // A frame without payload ends where it begins.
                    return Ok((1, self.end_frame(out)));
                }
                Ok((1, None))
            }
            Phase::Data { left } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                let (taken, fragment) = self.reader.feed(&input[..len])?;
                *left -= taken as u64;
                self.end_frame(out);
                let piece = fragment.as_ref().and_then(http_flv::media);
                Ok((taken, piece.map(Event::Media)))
            }
            Phase::Control { left, payload, .. } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                payload.extend_from_slice(&input[..len]);
                *left -= len as u64;
                Ok((len, self.end_frame(out)))
            }
        }
    }

    /// Goes on to the next frame if this one has come whole.
    fn end_frame(&mut self, out: &mut Vec<u8>) -> Option<Event<'static>> {
        let (Phase::Data { left: 0 } | Phase::Control { left: 0, .. }) = self.phase else {
            return None;
        };
        let ended = std::mem::replace(&mut self.phase, BETWEEN);
        let Phase::Control { opcode, payload, .. } = ended else { return None };
        match opcode {
            PING => {
                self.mask = self.mask.wrapping_mul(0x9e37_79b9).rotate_left(5) | 1;
                put_masked(PONG, &payload, self.mask, out);
                None
            }
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let code = code.map_or("no code".to_owned(), |code| code.to_string());
                Some(Event::Refused(format!("the WebSocket was closed: {code}")))
            }
            _ => None,
        }
    }
}

fn verdict(head: &Head) -> Result<Event<'static>> {
    if head.status != 101 {
        return Ok(Event::Refused(head.status_line.clone()));
    }
    ensure!(
        head.field("sec-websocket-accept") == Some(ACCEPT),
        "the server did not accept the key of the WebSocket"
    );
    Ok(Event::Accepted)
}

/// Opcode and length of a frame, once its header is whole.
fn frame_head(bytes: &[u8]) -> Result<Option<(u8, u64)>> {
    let [flags, short, extended @ ..] = bytes else { return Ok(None) };
    let opcode = flags & 0x0f;
    ensure!(flags & 0x70 == 0, "a frame with an extension that nobody asked for");
    ensure!(short & 0x80 == 0, "a masked frame from a server");
    ensure!(!matches!(opcode, TEXT | 3..CLOSE | 11..), "a frame of kind {opcode}");
    let len = match short {
        126 => extended.first_chunk().map(|len| u64::from(u16::from_be_bytes(*len))),
        127 => extended.first_chunk().map(|len| u64::from_be_bytes(*len)),
        short => Some(u64::from(*short)),
    };
    let Some(len) = len else { return Ok(None) };
    if opcode >= CLOSE && (len > CONTROL_LEN_MAX || flags & 0x80 == 0) {
        bail!("a control frame of {len} bytes, or in parts");
    }
    Ok(Some((opcode, len)))
}

/// Appends a pong that nobody asked for: it tells that this end is there. `seed` makes the masks
/// differ.
pub fn put_pong(seed: u64, out: &mut Vec<u8>) {
    put_masked(PONG, &[], seed as u32 | 1, out);
}

fn put_masked(opcode: u8, payload: &[u8], mask: u32, out: &mut Vec<u8>) {
    let mask = mask.to_be_bytes();
    out.extend_from_slice(&[0x80 | opcode, 0x80 | payload.len() as u8]);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header and one video tag of five bytes at 40 ms.
    const FLV: &[u8] = b"FLV\x01\x01\0\0\0\x09\0\0\0\0\
        \x09\0\0\x05\0\0\x28\0\0\0\0\x17\x01\0\0\0\0\0\0\x10";

    fn accepted() -> Vec<u8> {
        let head = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ";
        format!("{head}{ACCEPT}\r\n\r\n").into_bytes()
    }

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let len = match payload.len() {
            len @ 0..126 => vec![len as u8],
            len => [&[126][..], &(len as u16).to_be_bytes()].concat(),
        };
        [&[0x80 | opcode][..], &len, payload].concat()
    }

    /// What was said, bytes of media, and what was answered.
    fn play(stream: &[u8], step: usize) -> Result<(Vec<String>, usize, Vec<u8>)> {
        let url = StreamUrl::parse("ws://h/a.flv")?;
        let mut client = Client::new(&url, 7, &mut Vec::new());
        let (mut said, mut media, mut out) = (Vec::new(), 0, Vec::new());
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() {
                let (taken, event) = client.feed(piece, &mut out)?;
                piece = &piece[taken..];
                match event {
                    Some(Event::Accepted) => said.push("accepted".to_owned()),
                    Some(Event::Refused(reason)) => said.push(reason),
                    Some(Event::Media(piece)) => media += piece.data.len(),
                    Some(Event::Unit(_) | Event::Moved(_)) => unreachable!("neither is told here"),
                    None => assert!(piece.is_empty()),
                }
            }
        }
        Ok((said, media, out))
    }

    #[test]
    fn media_comes_out_of_any_splitting() {
        let (first, second) = FLV.split_at(17);
        let empty = frame(2, &[]);
        let stream = [accepted(), frame(2, first), empty, frame(9, b"hi"), frame(2, second)];
        let stream = [stream.concat(), frame(8, &[3, 232])].concat();
        let said = vec!["accepted".to_owned(), "the WebSocket was closed: 1000".to_owned()];
        for step in 1..stream.len() {
            let (heard, media, pong) = play(&stream, step).unwrap();
            assert_eq!((&heard, media), (&said, 5), "{step}");
            let unmasked: Vec<_> = (0..2).map(|at| pong[6 + at] ^ pong[2 + at]).collect();
            assert_eq!((&pong[..2], &unmasked[..]), (&[0x8a, 0x82][..], &b"hi"[..]));
        }
        let long = frame(2, &[FLV, &[9; 500]].concat()[..FLV.len()]);
        assert_eq!(play(&[accepted(), long].concat(), 3).unwrap().1, 5);
    }

    #[test]
    fn a_pong_may_come_unasked() {
        let mut out = Vec::new();
        put_pong(6, &mut out);
        assert_eq!(out, [0x8a, 0x80, 0, 0, 0, 7], "final, masked, empty");
    }

    #[test]
    fn what_breaks_the_protocol_is_an_error() {
        let refused = play(b"HTTP/1.1 404 Not Found\r\n\r\n", 9).unwrap().0;
        assert_eq!(refused, ["HTTP/1.1 404 Not Found"]);
        assert!(play(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 9).is_err());
        for frame in [&[0x82, 0x81][..], &[0xc2, 1], &[0x81, 1], &[0x89, 126, 0, 126], &[9, 0]] {
            assert!(play(&[&accepted()[..], frame].concat(), 9).is_err(), "{frame:?}");
        }
    }
}
