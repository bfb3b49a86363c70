//! An HTTP-FLV player, sans-IO: bytes in, bytes out, events.
//!
//! Spec: RFC 9112; FLV 10.1 Annex E.
//!
//! Limits: those of [`crate::http_head`] and [`crate::http_body`].

use anyhow::Result;
use codecs::flv::tag::{FlvReader, TAG_DATA_LEN_MAX, TagFragment, TagKind};

use crate::http_body::Body;
use crate::http_head::{Head, HeadReader};
use crate::piece::{Event, Piece, PieceKind};
use crate::stream_url::StreamUrl;

/// One connection.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    reader: FlvReader,
}

#[derive(Debug)]
enum Phase {
    Head(HeadReader),
    Body(Body),
}

impl Client {
    /// Starts; the request is in `out`.
    #[must_use]
    pub fn new(url: &StreamUrl, out: &mut Vec<u8>) -> Self {
        put_request(&url.request_target(), &url.authority, &[], out);
        let phase = Phase::Head(HeadReader::default());
        Self { phase, reader: FlvReader::new(TAG_DATA_LEN_MAX) }
    }

    /// Takes bytes of the server; tells how many, and the first thing that they said. Without an
    /// event all were taken.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Event<'a>>)> {
        let body = match &mut self.phase {
            Phase::Head(reader) => {
                let (taken, head) = reader.feed(input)?;
                let Some(head) = head else { return Ok((taken, None)) };
                self.phase = Phase::Body(Body::of(&head));
                return Ok((taken, Some(verdict(&head))));
            }
            Phase::Body(body) => body,
        };
        let mut at = 0;
        while at < input.len() {
            let data = body.data(&input[at..])?;
            let data = at + data.start..at + data.end;
            at = data.start;
            if body.is_whole() {
                return Ok((at, Some(Event::Refused(ENDED.to_owned()))));
            }
            let (taken, fragment) = self.reader.feed(&input[data])?;
            body.take(taken as u64)?;
            at += taken;
            if let Some(piece) = fragment.as_ref().and_then(media) {
                return Ok((at, Some(Event::Media(piece))));
            }
        }
        Ok((at, None))
    }
}

/// What is told of a server that ends a stream and keeps the connection.
pub const ENDED: &str = "the server ended the stream";

/// Appends a request; `fields` are whole lines.
pub fn put_request(target: &str, authority: &str, fields: &[&str], out: &mut Vec<u8>) {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n");
    for line in ["User-Agent: grandstand-load", "Accept: */*"].iter().chain(fields) {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    out.extend_from_slice(request.as_bytes());
}

/// What a response says whose body is a stream.
#[must_use]
pub fn verdict(head: &Head) -> Event<'static> {
    match (head.status, head.moved_to()) {
        (200, _) => Event::Accepted,
        (_, Some(location)) => Event::Moved(location.to_owned()),
        _ => Event::Refused(head.status_line.clone()),
    }
}

/// The media of a tag; `None` if it has none.
#[must_use]
pub fn media<'a>(fragment: &TagFragment<'a>) -> Option<Piece<'a>> {
    let kind = match fragment.header.kind {
        TagKind::Audio => PieceKind::Audio,
        TagKind::Video => PieceKind::Video,
        TagKind::Script => return None,
    };
    Some(Piece {
        kind,
        timestamp_ms: fragment.header.timestamp_ms,
        offset: fragment.offset,
        data: fragment.data,
        last: fragment.last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_head::HEAD_BYTES_MAX;

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
                    Some(Event::Refused(reason)) => {
                        said.push(reason);
                        return Ok((said, media));
                    }
                    Some(Event::Moved(location)) => said.push(format!("to {location}")),
                    Some(Event::Media(piece)) => {
                        assert_eq!((piece.kind, piece.timestamp_ms), (PieceKind::Video, 40));
                        media += piece.data.len();
                    }
                    Some(Event::Unit(_)) => unreachable!("no unit is told over FLV"),
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
    fn media_comes_out_of_chunks_of_any_size() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for size in 1..=FLV.len() {
            let mut stream = head.to_vec();
            for chunk in FLV.chunks(size) {
                stream.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                stream.extend(chunk);
                stream.extend(b"\r\n");
            }
            for step in [1, 2, 7, 1000] {
                let said = vec!["accepted".to_owned()];
                assert_eq!(events(&stream, step).unwrap(), (said, 5), "{size} {step}");
            }
            let ended = [&stream[..], b"0\r\n\r\n"].concat();
            for step in [1, 2, 7, 1000] {
                let said = vec!["accepted".to_owned(), ENDED.to_owned()];
                assert_eq!(events(&ended, step).unwrap(), (said, 5), "{size} {step}");
            }
        }
        for chunk in ["x\r\n", "10000000000000000\r\n", "1\r\nFL", "1\nF\n"] {
            assert!(events(&[&head[..], chunk.as_bytes()].concat(), 100).is_err(), "{chunk}");
        }
    }

    #[test]
    fn refusals_are_told_and_nonsense_is_an_error() {
        let said = events(b"HTTP/1.1 404 Not Found\r\n\r\n", 100).unwrap().0;
        assert_eq!(said, ["HTTP/1.1 404 Not Found"]);
        assert!(events(b"SSH-2.0\r\n\r\n", 100).is_err());
        let said = events(b"HTTP/1.1 302 Found\r\nLocation: /b.flv\r\n\r\n", 100).unwrap().0;
        assert_eq!(said, ["to /b.flv"]);
        let said = events(b"HTTP/1.1 302 Found\r\n\r\n", 100).unwrap().0;
        assert_eq!(said, ["HTTP/1.1 302 Found"], "to nowhere");
        assert!(events(&[b'a'; HEAD_BYTES_MAX + 1], 4096).is_err());
    }
}
