//! A player of an MPEG transport stream over HTTP, sans-IO.
//!
//! Spec: RFC 9112; the body is the stream.

use anyhow::Result;

use crate::http_body::Body;
use crate::http_flv::{ENDED, put_request, verdict};
use crate::http_head::HeadReader;
use crate::mpegts::UnitReader;
use crate::piece::Event;
use crate::stream_url::StreamUrl;

/// One connection.
#[derive(Debug)]
pub struct Client {
    phase: Phase,
    reader: UnitReader,
}

#[derive(Debug)]
enum Phase {
    Head(HeadReader),
    Body(Body),
}

impl Client {
    /// Starts; the request is in `out`. One that is sampled looks at contents.
    #[must_use]
    pub fn new(url: &StreamUrl, sampled: bool, out: &mut Vec<u8>) -> Self {
        put_request(&url.request_target(), &url.authority, &[], out);
        let reader = if sampled { UnitReader::of_contents() } else { UnitReader::default() };
        Self { phase: Phase::Head(HeadReader::default()), reader }
    }

    /// Takes bytes of the server that came at `now_ns`; tells how many, and the first thing that
    /// they said. Either all that it takes belongs to the stream, or nothing.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed(&mut self, input: &[u8], now_ns: u64) -> Result<(usize, Option<Event<'static>>)> {
        let body = match &mut self.phase {
            Phase::Head(reader) => {
                let (taken, head) = reader.feed(input)?;
                let Some(head) = head else { return Ok((taken, None)) };
                self.phase = Phase::Body(Body::of(&head));
                return Ok((taken, Some(verdict(&head))));
            }
            Phase::Body(body) => body,
        };
        let data = body.data(input)?;
        let framing = data.start;
        let data = if framing > 0 { &[][..] } else { &input[data] };
        let mut rest = data;
        let unit = self.reader.next(&mut rest, now_ns);
        let taken = data.len() - rest.len();
        body.take(taken as u64)?;
        let event = match unit {
            None if body.is_whole() => Some(Event::Refused(ENDED.to_owned())),
            unit => unit.map(Event::Unit),
        };
        Ok((framing + taken, event))
    }

    /// Whether what is taken next belongs to the stream.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(&self.phase, Phase::Body(body) if body.room() > 0)
    }
}
