//! An answer over HTTP that is read whole, by whoever may wait for it.
//!
//! Spec: RFC 9112 4, 6 and 7.1.
//!
//! Limits: those of [`crate::http_head`] and [`crate::http_body`]; of the body what is asked for.

use std::io::{ErrorKind, Read};

use anyhow::{Result, ensure};

use crate::http_body::Body;
use crate::http_head::{Head, HeadReader};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads an answer whose body has `bytes_max` bytes at most.
    ///
    /// # Errors
    /// If the connection fails, ends early or brings more than the answer, or this is none.
    pub fn read(stream: &mut impl Read, bytes_max: usize) -> Result<Self> {
        let mut buffer = vec![0; READ_BYTES];
        let mut reader = HeadReader::default();
        let (head, mut left) = loop {
            let input = some(stream, &mut buffer)?;
            ensure!(!input.is_empty(), "the server closed the connection without an answer");
            let (taken, head) = reader.feed(input)?;
            if let Some(head) = head {
                break (head, input[taken..].to_vec());
            }
        };
        let (mut framing, mut body) = (Body::of(&head), Vec::new());
        loop {
            let mut input = &left[..];
            while !input.is_empty() && !framing.is_whole() {
                let data = framing.data(input)?;
                let bytes = &input[data.clone()];
                framing.take(bytes.len() as u64)?;
                ensure!(body.len() + bytes.len() <= bytes_max, "more than {bytes_max} bytes");
                body.extend_from_slice(bytes);
                input = &input[data.end..];
            }
            if framing.is_whole() {
                ensure!(input.is_empty(), "the server sends more than was asked for");
                return Ok(Self { head, body });
            }
            left = some(stream, &mut buffer)?.to_vec();
            if left.is_empty() {
                ensure!(framing.is_open(), "the server closed the connection amid its answer");
                return Ok(Self { head, body });
            }
        }
    }
}

/// Reads until there is something, or the end.
fn some<'a>(stream: &mut impl Read, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    loop {
        match stream.read(buffer) {
            Ok(len) => return Ok(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A peer inside TLS that ends without saying so is no worse than one without TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(&[]),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives a byte at a time.
    struct Bytes<'a>(&'a [u8]);

    impl Read for Bytes<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.len().min(1);
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn answers_end_by_their_length_their_chunks_or_the_connection() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nhello",
        ] {
            assert_eq!(Answer::read(&mut answer.as_bytes(), 5).unwrap().body, b"hello", "{answer}");
            let told = Answer::read(&mut Bytes(answer.as_bytes()), 5).unwrap();
            assert_eq!((told.head.status, told.body), (200, b"hello".to_vec()), "{answer}");
            assert!(Answer::read(&mut answer.as_bytes(), 4).is_err(), "{answer}");
        }
        for answer in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        ] {
            assert!(Answer::read(&mut answer.as_bytes(), 100).is_err(), "{answer}");
        }
    }
}
