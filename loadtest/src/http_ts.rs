//! A player of an MPEG transport stream over HTTP, sans-IO.
//!
//! Spec: RFC 9112; the body is the stream and ends with the connection.

use anyhow::Result;

use crate::http_flv::{put_request, verdict};
use crate::http_head::HeadReader;
use crate::mpegts::UnitReader;
use crate::piece::Event;
use crate::stream_url::StreamUrl;

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// `None` behind the response head.
    head: Option<HeadReader>,
    reader: UnitReader,
}

impl Client {
    /// Starts; the request is in `out`. One that is sampled looks at contents.
    #[must_use]
    pub fn new(url: &StreamUrl, sampled: bool, out: &mut Vec<u8>) -> Self {
        put_request(&url.request_target(), &url.authority, &[], out);
        let reader = if sampled { UnitReader::of_contents() } else { UnitReader::default() };
        Self { head: Some(HeadReader::default()), reader }
    }

    /// Takes bytes of the server that came at `now_ns`; tells how many, and the first thing that
    /// they said. Without an event all were taken.
    ///
    /// # Errors
    /// If the server breaks the protocol.
    pub fn feed(&mut self, input: &[u8], now_ns: u64) -> Result<(usize, Option<Event<'static>>)> {
        if let Some(reader) = &mut self.head {
            let (taken, head) = reader.feed(input)?;
            let Some(head) = head else { return Ok((taken, None)) };
            self.head = None;
            return Ok((taken, Some(verdict(&head))));
        }
        let mut rest = input;
        let unit = self.reader.next(&mut rest, now_ns);
        Ok((input.len() - rest.len(), unit.map(Event::Unit)))
    }

    /// Whether `input` would be body.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        self.head.is_none()
    }
}
