//! An HTTP-FLV player, sans-IO: bytes in, bytes out, events.
//!
//! Spec: RFC 9112; FLV 10.1 Annex E.
//!
//! Limits: [`HEAD_BYTES_MAX`] of response head. Chunked bodies are refused: the server that is
//! measured here ends its body with the connection.

use anyhow::{Context, Result, bail};
use codecs::flv::tag::{FlvReader, TAG_DATA_LEN_MAX, TagKind};

use crate::piece::{Event, Piece, PieceKind};
use crate::stream_url::StreamUrl;

/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// The response head as far as it came; `None` behind it.
    head: Option<Vec<u8>>,
    reader: FlvReader,
}

impl Client {
    /// Starts; the request is in `out`.
    #[must_use]
    pub fn new(url: &StreamUrl, out: &mut Vec<u8>) -> Self {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: grandstand-load\r\nAccept: */*\r\n\r\n",
            url.request_target(),
            url.authority
        );
        out.extend_from_slice(request.as_bytes());
        Self { head: Some(Vec::new()), reader: FlvReader::new(TAG_DATA_LEN_MAX) }
    }

    /// Takes bytes of the server; tells how many, and the first thing that they said. Without an
    /// event all were taken.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>)> {
        let mut at = 0;
        if let Some(head) = &mut self.head {
            let before = head.len();
            head.extend_from_slice(input);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
                if head.len() > HEAD_BYTES_MAX {
                    bail!("a response head of {} bytes", head.len());
                }
                return Ok((input.len(), None));
            };
            head.truncate(end);
            let event = verdict(head)?;
            self.head = None;
            return Ok((end + 4 - before, Some(event)));
        }
        while at < input.len() {
            let (taken, fragment) = self.reader.feed(&input[at..])?;
            at += taken;
            let Some(fragment) = fragment else { break };
            let kind = match fragment.header.kind {
                TagKind::Audio => PieceKind::Audio,
                TagKind::Video => PieceKind::Video,
                TagKind::Script => continue,
            };
            let piece = Piece {
                kind,
                timestamp_ms: fragment.header.timestamp_ms,
                offset: fragment.offset,
                data: fragment.data,
                last: fragment.last,
            };
            return Ok((at, Some(Event::Media(piece))));
        }
        Ok((at, None))
    }
}

fn verdict(head: &[u8]) -> Result<Event<'static>> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .with_context(|| format!("no HTTP response: {status_line}"))?;
    if status != "200" {
        return Ok(Event::Refused(status_line.to_owned()));
    }
    if lines.any(|line| line.to_ascii_lowercase().starts_with("transfer-encoding:")) {
        bail!("the response is chunked, which is not supported");
    }
    Ok(Event::Accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header and one video tag of five bytes at 40 ms.
    const FLV: &[u8] = b"FLV\x01\x01\0\0\0\x09\0\0\0\0\
        \x09\0\0\x05\0\0\x28\0\0\0\0\x17\x01\0\0\0\0\0\0\x10";

    fn events(stream: &[u8], step: usize) -> Result<(Vec<String>, usize)> {
        let url = StreamUrl::parse("http://h/a.flv")?;
        let mut client = Client::new(&url, &mut Vec::new());
        let (mut said, mut media) = (Vec::new(), 0);
        for mut piece in stream.chunks(step) {
            while !piece.is_empty() {
                let (taken, event) = client.feed(piece)?;
                piece = &piece[taken..];
                match event {
                    Some(Event::Accepted) => said.push("accepted".to_owned()),
                    Some(Event::Refused(reason)) => said.push(reason),
                    Some(Event::Media(piece)) => {
                        assert_eq!((piece.kind, piece.timestamp_ms), (PieceKind::Video, 40));
                        media += piece.data.len();
                    }
                    None => assert!(piece.is_empty()),
                }
            }
        }
        Ok((said, media))
    }

    #[test]
    fn media_comes_out_of_any_splitting() {
        let stream = [b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n", FLV].concat();
        for step in 1..stream.len() {
            assert_eq!(events(&stream, step).unwrap(), (vec!["accepted".to_owned()], 5), "{step}");
        }
    }

    #[test]
    fn refusals_are_told_and_nonsense_is_an_error() {
        let said = events(b"HTTP/1.1 404 Not Found\r\n\r\n", 100).unwrap().0;
        assert_eq!(said, ["HTTP/1.1 404 Not Found"]);
        assert!(events(b"SSH-2.0\r\n\r\n", 100).is_err());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(events(chunked, 100).is_err());
        assert!(events(&[b'a'; HEAD_BYTES_MAX + 1], 4096).is_err());
    }
}
