//! The head of an HTTP response, as far as a player needs it.
//!
//! Spec: RFC 9112 4 and 6.
//!
//! Limits: [`HEAD_BYTES_MAX`].

use anyhow::{Context, Result, bail};

/// Bytes of a response head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The whole first line.
    pub status_line: String,
    /// The length of the body, if it is told.
    pub content_length: Option<u64>,
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
        let mut head = Self { status, status_line, content_length: None, lines: lines.collect() };
        if head.field("transfer-encoding").is_some() {
            bail!("the response is chunked, which is not supported");
        }
        if let Some(length) = head.field("content-length") {
            head.content_length = Some(length.parse().context("no length of a body")?);
        }
        Ok(head)
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
