//! Answers: heads with the same few fields everywhere, and bodies that are at hand.

use codecs::http1::ResponseHead;
use codecs::websocket::{
    CloseCode, FrameHeader, Opcode, SERVER_HEADER_BYTES_MAX, VERSION, encode_close,
};
use codecs::writer::Writer;

use super::cors;
use super::pages::Page;
use super::socket::Upgrade;
use super::state::Pending;
use crate::control::CloseReason;
use crate::session::{Counts, Format, Refusal};

/// Fields of one answer at most.
const FIELDS_MAX: usize = 8;

pub(super) const NO_STORE: (&str, &str) = ("Cache-Control", "no-store");
pub(super) const NO_CACHE: (&str, &str) = ("Cache-Control", "no-cache");
pub(super) const NO_SNIFF: (&str, &str) = ("X-Content-Type-Options", "nosniff");
/// The address of a page may hold a key, which is nobody's business where its links lead.
pub(super) const NO_REFERRER: (&str, &str) = ("Referrer-Policy", "no-referrer");
/// A segment never changes, and is asked for no longer than an hour.
pub(super) const IMMUTABLE: (&str, &str) = ("Cache-Control", "max-age=3600, immutable");
pub(super) const ACCEPT_RANGES: (&str, &str) = ("Accept-Ranges", "bytes");
const TEXT: &str = "text/plain; charset=utf-8";
/// Seconds after which a refused player may come back.
const RETRY_AFTER: (&str, &str) = ("Retry-After", "2");

/// The answer to every path that names nothing: the same bytes, at the cost of one copy.
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 10\r\n\
    Connection: keep-alive\r\n\
    Access-Control-Allow-Origin: *\r\n\
    Access-Control-Expose-Headers: Content-Length, Content-Range\r\n\
    Cache-Control: no-store\r\n\r\nnot found\n";
const NOT_FOUND_BODY: usize = 10;

/// Answers that wait to be taken by `poll_transmit`.
#[derive(Debug, Default)]
pub(super) struct Replies {
    out: Vec<u8>,
    counts: Counts,
}

impl Replies {
    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    /// Bytes of the buffer of what waits.
    pub(super) const fn buffer_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// Moves what waits to `out`; true if there was anything.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) -> bool {
        let any = !self.out.is_empty();
        if out.is_empty() && out.capacity() < self.out.len() {
            // The vector goes to the connection, which frees it once it is sent. Small replies, as
            // pings are, fit what the connection keeps.
            *out = std::mem::take(&mut self.out);
        } else {
            out.append(&mut self.out);
        }
        any
    }

    /// What was answered since the last call.
    pub(super) const fn take_counts(&mut self) -> Counts {
        let none = Counts { units_converted: 0, http_requests: 0, http_not_found: 0 };
        std::mem::replace(&mut self.counts, none)
    }

    /// The end of what waits, for a body that is written by somebody else.
    pub(super) const fn room(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    pub(super) fn put(
        &mut self,
        status: u16,
        content_type: Option<&str>,
        pending: Pending,
        own: &[(&str, &str)],
        body: Option<&[u8]>,
    ) {
        let content_length = body.map(|body| body.len() as u64);
        self.put_head(status, content_type, content_length, pending, own);
        if !pending.head_only {
            // CONTROL: the body of a page or of the list of streams.
            self.out.extend_from_slice(body.unwrap_or_default());
        }
    }

    /// The head of an answer whose body is not at hand.
    pub(super) fn put_head(
        &mut self,
        status: u16,
        content_type: Option<&str>,
        content_length: Option<u64>,
        pending: Pending,
        own: &[(&str, &str)],
    ) {
        self.counts.http_requests += 1;
        let mut extra = [("", ""); FIELDS_MAX];
        let fields = cors::FIELDS.iter().chain(own);
        let len = fields.zip(&mut extra).map(|(field, slot)| *slot = *field).count();
        let keep_alive = pending.keep_alive;
        let extra = &extra[..len];
        ResponseHead { status, content_type, content_length, keep_alive, extra }
            .encode(&mut self.out);
    }

    /// A built-in file.
    pub(super) fn page(&mut self, page: Page, pending: Pending) {
        let own = [NO_CACHE, NO_SNIFF, NO_REFERRER];
        self.put(200, Some(page.content_type), pending, &own, Some(page.body));
    }

    /// The list of streams.
    pub(super) fn directory(&mut self, json: &[u8], pending: Pending) {
        self.put(200, Some("application/json"), pending, &[NO_STORE], Some(json));
    }

    /// The answer to a challenge.
    pub(super) fn challenge(&mut self, answer: &[u8], pending: Pending) {
        let own = [NO_STORE, NO_SNIFF];
        self.put(200, Some("application/octet-stream"), pending, &own, Some(answer));
    }

    /// The head before a stream's bytes; the connection ends the body.
    pub(super) fn stream(&mut self, format: Format) {
        let pending = Pending { head_only: true, keep_alive: false };
        let content_type = if format == Format::MpegTs { "video/mp2t" } else { "video/x-flv" };
        self.put(200, Some(content_type), pending, &[NO_STORE, NO_SNIFF], None);
    }

    /// The switch to WebSocket.
    pub(super) fn switch(&mut self, upgrade: &Upgrade) {
        let protocol = upgrade.subprotocol.as_deref();
        let own = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", upgrade.accept.as_str()),
            ("Sec-WebSocket-Protocol", protocol.unwrap_or_default()),
        ];
        let own = if protocol.is_some() { &own[..] } else { &own[..3] };
        self.put(101, None, Pending { head_only: true, keep_alive: true }, own, None);
    }

    /// A ping without payload.
    pub(super) fn ping(&mut self) {
        self.frame(Opcode::Ping, &[]);
    }

    /// The answer to a ping.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        self.frame(Opcode::Pong, payload);
    }

    /// The end of our direction.
    pub(super) fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        encode_close(code, reason, &mut self.out);
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let header = FrameHeader { fin: true, opcode, mask: None, len: payload.len() as u64 };
        let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
        let mut writer = Writer::new(&mut bytes);
        header.encode(&mut writer);
        let written = writer.written();
        // CONTROL: the header of a control frame.
        self.out.extend_from_slice(&bytes[..written]);
        // CONTROL: what a peer wants back.
        self.out.extend_from_slice(payload);
    }

    /// Nothing, and no body.
    pub(super) fn icon(&mut self, pending: Pending) {
        self.put(204, None, pending, &[("Cache-Control", "max-age=86400")], None);
    }

    /// The resource is elsewhere.
    pub(super) fn elsewhere(&mut self, location: &str, pending: Pending) {
        self.put(302, None, pending, &[NO_STORE, ("Location", location)], Some(&[]));
    }

    /// The answer to `OPTIONS`, be it a preflight or not.
    pub(super) fn options(&mut self, pending: Pending) {
        self.put(204, None, pending, &cors::PREFLIGHT, None);
    }

    /// The path names nothing.
    pub(super) fn not_found(&mut self, pending: Pending) {
        self.counts.http_not_found += 1;
        if !pending.keep_alive {
            return self.refusal(404, "not found\n", pending);
        }
        self.counts.http_requests += 1;
        let body = if pending.head_only { NOT_FOUND_BODY } else { 0 };
        // CONTROL: a refusal.
        self.out.extend_from_slice(&NOT_FOUND[..NOT_FOUND.len() - body]);
    }

    /// What the shard refused.
    pub(super) fn refused(&mut self, refusal: Refusal, pending: Pending) {
        let (status, text) = match refusal {
            Refusal::NotFound => return self.not_found(pending),
            Refusal::NoTrack => (404, "no such track\n"),
            Refusal::Anonymous => (401, "show user and password, or a token\n"),
            Refusal::Denied | Refusal::WrongKey => (403, "forbidden\n"),
            Refusal::Full => (503, "no room for another player, try again later\n"),
            Refusal::Busy => (409, "somebody else has it\n"),
            Refusal::Unavailable => (503, "nobody can authorise this now, try again later\n"),
            Refusal::Overloaded | Refusal::Timeout | Refusal::Draining => {
                (503, "try again later\n")
            }
        };
        self.refusal(status, text, pending);
    }

    /// Answers a request in hand of a connection that ends for `reason`: who was sent away is not
    /// to come again.
    pub(super) fn farewell(&mut self, reason: &str, pending: Pending) {
        if reason == CloseReason::Kicked.name() {
            self.refusal(403, "closed by the operator\n", pending);
        } else {
            self.refusal(503, "try again later\n", pending);
        }
    }

    /// A refusal with its reason as text.
    pub(super) fn refusal(&mut self, status: u16, text: &str, pending: Pending) {
        let own: &[(&str, &str)] = match status {
            401 => &[NO_STORE, ("WWW-Authenticate", "Basic realm=\"grandstand\"")],
            405 => &[NO_STORE, ("Allow", cors::METHODS)],
            426 => &[
                NO_STORE,
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Version", VERSION),
            ],
            503 => &[NO_STORE, RETRY_AFTER],
            _ => &[NO_STORE],
        };
        self.put(status, Some(TEXT), pending, own, Some(text.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_made_answer_is_the_one_that_would_be_made() {
        for head_only in [false, true] {
            let pending = Pending { head_only, keep_alive: true };
            let (mut ready, mut made) = (Replies::default(), Replies::default());
            ready.not_found(pending);
            made.refusal(404, "not found\n", pending);
            assert_eq!(String::from_utf8(ready.out), String::from_utf8(made.out));
        }
    }
}
