//! The head of an HTTP response, as far as a player needs it.
//!
//! Spec: RFC 9112 4 and 6.
//!
//! Limits: [`HEAD_BYTES_MAX`], [`REDIRECTS_MAX`].

use anyhow::{Context, Result, bail};

/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How often in a row a player lets itself be led elsewhere.
pub const REDIRECTS_MAX: u32 = 5;

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The whole first line.
    pub status_line: String,
    /// The length of the body, if it is told and counts.
    pub content_length: Option<u64>,
    /// The body comes in chunks.
    pub is_chunked: bool,
    /// The connection ends with the body.
    pub closes: bool,
    lines: Vec<String>,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines().map(str::to_owned);
        let status_line = lines.next().unwrap_or_default();
        let status = status_line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .with_context(|| format!("no HTTP response: {status_line}"))?;
        let mut head = Self {
            status,
            status_line,
            content_length: None,
            is_chunked: false,
            closes: false,
            lines: lines.collect(),
        };
        let says =
            |word: &str| head.words("connection").any(|said| said.eq_ignore_ascii_case(word));
        head.closes = match head.status_line.starts_with("HTTP/1.0") {
            true => !says("keep-alive"),
            false => says("close"),
        };
        let is_chunked = head.words("transfer-encoding").next().is_some();
        head.is_chunked = is_chunked;
        // Of other codings nobody was told that they would be understood.
        if let Some(coding) =
            head.words("transfer-encoding").find(|coding| !coding.eq_ignore_ascii_case("chunked"))
        {
            bail!("the response has the transfer coding {coding}, which nobody asked for");
        }
        // Chunks tell the length, whatever else does.
        if let Some(length) = head.field("content-length").filter(|_| !head.is_chunked) {
            head.content_length = Some(length.parse().context("no length of a body")?);
        }
        Ok(head)
    }

    /// Where the response says that the content is instead.
    #[must_use]
    pub fn moved_to(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.field("location"))?
    }

    /// What the fields of a name list.
    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.lines.iter().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value)
        });
        found.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
    }

    /// A field's value; names know no case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Gathers a head.
#[derive(Debug, Default)]
pub struct HeadReader {
    held: Vec<u8>,
}

impl HeadReader {
    /// Nothing has come yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes bytes; tells how many belong to the head, and the head once it is whole.
    ///
    /// # Errors
    /// If it is no head of a response, or too long.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Head>)> {
        let before = self.held.len();
        self.held.extend_from_slice(input);
        let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") else {
            if self.held.len() > HEAD_BYTES_MAX {
                bail!("a response head of {} bytes", self.held.len());
            }
            return Ok((input.len(), None));
        };
        let head = Head::parse(&self.held[..end])?;
        self.held = Vec::new();
        Ok((end + 4 - before, Some(head)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head> {
        let (taken, head) = HeadReader::default().feed(format!("{text}\r\n\r\n").as_bytes())?;
        assert_eq!(taken, text.len() + 4);
        head.context("whole")
    }

    #[test]
    fn bodies_and_connections_end_as_the_head_says() {
        for (text, length, is_chunked, closes) in [
            ("HTTP/1.1 200 OK", None, false, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 7", Some(7), false, false),
            ("HTTP/1.1 200 OK\r\nConnection: X, Close", None, false, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", None, true, false),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 7\r\ntransfer-encoding: chunked",
                None,
                true,
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0", Some(0), false, true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive", None, false, false),
        ] {
            let head = head(text).unwrap();
            let read = (head.content_length, head.is_chunked, head.closes);
            assert_eq!(read, (length, is_chunked, closes), "{text}");
        }
        for text in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
            "HTTP/1.1 200 OK\r\nContent-Length: -1",
            "HTTP/2 200",
        ] {
            assert!(head(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_redirects_lead_elsewhere() {
        let moved = |status: u16| {
            let head = head(&format!("HTTP/1.1 {status} X\r\nLocation:  /b.flv")).unwrap();
            head.moved_to().map(str::to_owned)
        };
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(moved(status).as_deref(), Some("/b.flv"), "{status}");
        }
        for status in [200, 201, 300, 304, 404] {
            assert_eq!(moved(status), None, "{status}");
        }
        assert_eq!(head("HTTP/1.1 302 Found").unwrap().moved_to(), None);
    }
}
