//! The body of an HTTP response: which of its bytes are data, and where it ends.
//!
//! Spec: RFC 9112 6.3 and 7.1.
//!
//! Shape: of chunks: size in hex [; extensions] CRLF | data CRLF | ... | 0 CRLF [trailer CRLF ...]
//! CRLF. Every other body is data only.
//!
//! Limits: [`CHUNK_LINE_BYTES_MAX`], [`TRAILER_BYTES_MAX`]; nothing of a body is held.

use std::ops::Range;

use anyhow::{Result, bail, ensure};

use crate::http_head::Head;

/// Bytes of a line that tells the size of a chunk, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;

/// Bytes of the lines behind the last chunk.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Digits of a size: as many as 64 bits have.
const DIGITS_MAX: usize = 16;

/// A body that is coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body(Framing);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// It ends with the connection.
    Open,
    /// So many bytes are to come.
    Sized {
        left: u64,
    },
    /// Digits of a size, `len` of them.
    Size {
        size: u64,
        len: usize,
    },
    /// What stands behind a size.
    Extension {
        size: u64,
        len: usize,
    },
    /// The line feed behind a size.
    SizeEnd {
        size: u64,
    },
    /// Data of a chunk.
    Data {
        left: u64,
    },
    /// Carriage return and line feed behind the data.
    DataEnd,
    DataEndFeed,
    /// Lines behind the last chunk: bytes of this one, and of all.
    Trailer {
        line: usize,
        all: usize,
    },
    TrailerEnd {
        line: usize,
        all: usize,
    },
    Whole,
}

impl Default for Body {
    /// One that has come whole.
    fn default() -> Self {
        Self(Framing::Whole)
    }
}

impl Body {
    /// The body that follows `head`.
    #[must_use]
    pub const fn of(head: &Head) -> Self {
        Self(match (head.is_chunked, head.content_length) {
            (true, _) => Framing::Size { size: 0, len: 0 },
            (false, Some(left)) => Framing::Sized { left },
            (false, None) => Framing::Open,
        })
    }

    /// Takes what is no data from the start of `input`, and tells where the data behind it
    /// stands: nowhere if there is none yet. What of it is taken is to be told to [`Self::take`].
    ///
    /// # Errors
    /// If the chunks are none.
    pub fn data(&mut self, input: &[u8]) -> Result<Range<usize>> {
        let mut at = 0;
        while at < input.len() && self.room() == 0 && !self.is_whole() {
            self.0 = self.0.after(input[at])?;
            at += 1;
        }
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        Ok(at..at + room.min(input.len() - at))
    }

    /// So many bytes of data were taken.
    ///
    /// # Errors
    /// If there are more than were to come.
    pub fn take(&mut self, bytes: u64) -> Result<()> {
        match &mut self.0 {
            Framing::Open => {}
            Framing::Sized { left } | Framing::Data { left } if bytes <= *left => *left -= bytes,
            _ if bytes == 0 => {}
            _ => bail!("the server sends more than it said"),
        }
        if self.0 == (Framing::Data { left: 0 }) {
            self.0 = Framing::DataEnd;
        }
        Ok(())
    }

    /// Bytes of data that may come before anything else.
    #[must_use]
    pub const fn room(&self) -> u64 {
        match self.0 {
            Framing::Open => u64::MAX,
            Framing::Sized { left } | Framing::Data { left } => left,
            _ => 0,
        }
    }

    /// Bytes that are still to come, if that is known and they are data only.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        match self.0 {
            Framing::Sized { left } => Some(left),
            _ => None,
        }
    }

    /// It has come whole.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.0, Framing::Whole | Framing::Sized { left: 0 })
    }

    /// Only the end of the connection ends it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.0, Framing::Open)
    }
}

impl Framing {
    /// What follows a byte that is no data.
    fn after(self, byte: u8) -> Result<Self> {
        Ok(match (self, byte) {
            (Self::Size { size, len }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                ensure!(len < DIGITS_MAX, "a chunk whose size has more than {DIGITS_MAX} digits");
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Self::Size { size: size << 4 | u64::from(digit), len: len + 1 }
            }
            (Self::Size { len: 0, .. }, _) => bail!("a chunk without a size"),
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => {
                Self::SizeEnd { size }
            }
            (Self::Size { size, len }, b';' | b' ' | b'\t') => Self::Extension { size, len },
            (Self::Extension { size, len }, byte) if byte != b'\n' => {
                ensure!(len < CHUNK_LINE_BYTES_MAX, "a chunk with a long extension");
                Self::Extension { size, len: len + 1 }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::Trailer { line: 0, all: 0 },
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataEndFeed,
            (Self::DataEndFeed, b'\n') => Self::Size { size: 0, len: 0 },
            (Self::Trailer { line, all }, b'\r') => Self::TrailerEnd { line, all },
            (Self::Trailer { line, all }, byte) if byte != b'\n' => {
                ensure!(all < TRAILER_BYTES_MAX, "a long trailer behind the last chunk");
                Self::Trailer { line: line + 1, all: all + 1 }
            }
            (Self::TrailerEnd { line: 0, .. }, b'\n') => Self::Whole,
            (Self::TrailerEnd { all, .. }, b'\n') => Self::Trailer { line: 0, all },
            (_, byte) => bail!("no chunk: byte {byte:#04x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked() -> Body {
        Body(Framing::Size { size: 0, len: 0 })
    }

    /// What stands in the chunks of `stream`, given in pieces of `step` bytes and taken in pieces
    /// of `most`; whether they end, and what is left behind them.
    fn read(stream: &[u8], step: usize, most: usize) -> Result<(Vec<u8>, bool, usize)> {
        let (mut body, mut data, mut left) = (chunked(), Vec::new(), 0);
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() && !body.is_whole() {
                let range = body.data(piece)?;
                let taken = range.len().min(most);
                data.extend_from_slice(&piece[range.start..range.start + taken]);
                body.take(taken as u64)?;
                piece = &piece[range.start + taken..];
            }
            left += piece.len();
        }
        Ok((data, body.is_whole(), left))
    }

    #[test]
    fn data_comes_out_of_chunks_in_any_splitting() {
        let stream = b"4\r\nstre\r\n002;name=\"a;b\"\r\nam\r\nB \r\n, in chunks\r\n\
            0\r\nX: 1\r\nY: 2\r\n\r\nHTTP";
        for step in 1..=stream.len() {
            for most in [1, 3, 100] {
                let (data, is_whole, left) = read(stream, step, most).unwrap();
                assert_eq!(data, b"stream, in chunks", "{step}");
                assert!(is_whole && left == 4, "{step}: {left}");
            }
        }
        let (data, is_whole, _) = read(b"ffffffffffffffff\r\nabc", 5, 100).unwrap();
        assert_eq!((&data[..], is_whole), (&b"abc"[..], false), "a size is no promise");
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        let long = format!("1;{}\r\n", "x".repeat(CHUNK_LINE_BYTES_MAX));
        let trailer = format!("0\r\n{}", "X: 1\r\n".repeat(TRAILER_BYTES_MAX / 4 + 1));
        for stream in [
            "\r\n",
            ";a\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x4\r\n",
            "g\r\n",
            "4\nabcd",
            "4\r\rabcd",
            "4;\nabcd",
            "10000000000000000\r\n",
            "00000000000000001\r\n",
            "2\r\nabcd",
            "2\r\nab\rc",
            "0\r\nX\n",
            "0\r\n\rX",
            &long,
            &trailer,
        ] {
            for step in [1, 1000] {
                assert!(read(stream.as_bytes(), step, 100).is_err(), "{stream:.20}");
            }
        }
    }

    #[test]
    fn bodies_of_a_known_length_end_there_and_open_ones_do_not() {
        let mut sized = Body(Framing::Sized { left: 5 });
        assert_eq!((sized.data(b"abcdefg").unwrap(), sized.left()), (0..5, Some(5)));
        sized.take(3).unwrap();
        assert!(sized.take(3).is_err() && !sized.is_whole());
        sized.take(2).unwrap();
        assert!(sized.is_whole() && sized.data(b"fg").unwrap().is_empty());
        let mut open = Body(Framing::Open);
        open.take(u64::MAX).unwrap();
        assert_eq!((open.data(b"ab").unwrap(), open.is_whole(), open.left()), (0..2, false, None));
        assert_eq!(chunked().left(), None, "what frames the chunks is no data");
        assert!(chunked().take(1).is_err());
    }
}
