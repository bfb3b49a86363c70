//! Response heads.
//!
//! Shape: status line, `Content-Type`, `Content-Length`, `Connection`, the caller's own fields, an
//! empty line.

use alloc::vec::Vec;

/// The head of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Three digits.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Length`; without one the body ends with the connection.
    pub content_length: Option<u64>,
    /// The connection may carry another request, unless nothing says where the body ends.
    pub keep_alive: bool,
    /// Other fields, name and value.
    pub extra: &'a [(&'a str, &'a str)],
}

impl ResponseHead<'_> {
    /// Appends the head to `out`.
    ///
    /// Control characters in values, and what cannot stand in a name, are left out, so nothing
    /// that a peer sent can start a line of its own.
    ///
    /// # Panics
    /// If the status does not have three digits: it never comes from a peer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert!((100..=999).contains(&self.status), "a status has three digits");
        out.extend_from_slice(b"HTTP/1.1 ");
        put_decimal(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason_phrase(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
        if let Some(content_type) = self.content_type {
            put_field(out, "Content-Type", content_type);
        }
        if let Some(content_length) = self.content_length {
            out.extend_from_slice(b"Content-Length: ");
            put_decimal(out, content_length);
            out.extend_from_slice(b"\r\n");
        }
        // After a switch of protocols the caller's own field says `Connection: Upgrade`.
        if self.status != 101 {
            let value = if self.stays_open() { "keep-alive" } else { "close" };
            put_field(out, "Connection", value);
        }
        for (name, value) in self.extra {
            put_field(out, name, value);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// True if the connection may carry another request: something says where the body ends.
    #[must_use]
    pub fn stays_open(&self) -> bool {
        let bodyless = matches!(self.status, 100..=199 | 204 | 304);
        let chunked =
            || self.extra.iter().any(|(name, _)| name.eq_ignore_ascii_case("Transfer-Encoding"));
        self.keep_alive && (bodyless || self.content_length.is_some() || chunked())
    }
}

fn put_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend(name.bytes().filter(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)));
    out.extend_from_slice(b": ");
    out.extend(value.bytes().filter(|byte| *byte == b'\t' || !byte.is_ascii_control()));
    out.extend_from_slice(b"\r\n");
}

fn put_decimal(out: &mut Vec<u8>, value: u64) {
    let start = out.len();
    let mut rest = value;
    loop {
        let digit = u8::try_from(rest % 10).expect("a digit");
        out.push(b'0' + digit);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// The phrase of a status (RFC 9110 15), empty for one that we never send.
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn encoded(head: ResponseHead<'_>) -> String {
        let mut out = Vec::new();
        head.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    const HEAD: ResponseHead<'static> = ResponseHead {
        status: 200,
        content_type: None,
        content_length: None,
        keep_alive: true,
        extra: &[],
    };

    #[test]
    fn heads_have_the_fields_that_they_need() {
        let table = [
            (
                ResponseHead { content_type: Some("video/x-flv"), keep_alive: false, ..HEAD },
                "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n",
            ),
            (
                ResponseHead { status: 404, content_length: Some(0), ..HEAD },
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            ),
            (HEAD, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
            (
                ResponseHead { status: 304, extra: &[("ETag", "\"7\"")], ..HEAD },
                "HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\nETag: \"7\"\r\n\r\n",
            ),
            (
                ResponseHead { extra: &[("Transfer-Encoding", "chunked")], ..HEAD },
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (
                ResponseHead { status: 101, extra: &[("Connection", "Upgrade")], ..HEAD },
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
            ),
            (
                ResponseHead { status: 206, content_length: Some(u64::MAX), ..HEAD },
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 18446744073709551615\r\n\
                 Connection: keep-alive\r\n\r\n",
            ),
        ];
        for (head, text) in table {
            assert_eq!(encoded(head), text);
        }
    }

    #[test]
    fn nothing_starts_a_line_of_its_own() {
        let extra = [("Location", "/a\r\nSet-Cookie: x\0"), ("X\r\nY: ", "z\t\u{7f}é")];
        let text = encoded(ResponseHead { content_type: Some("a\nb"), extra: &extra, ..HEAD });
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nContent-Type: ab\r\nConnection: close\r\n\
             Location: /aSet-Cookie: x\r\nXY: z\té\r\n\r\n"
        );
    }
}
