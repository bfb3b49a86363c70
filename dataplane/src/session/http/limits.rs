//! The codec's limits of requests, our names for them, and what a session holds within them.

use codecs::http1::RequestLimits;

use super::server::Server;
use crate::Error;
use crate::config::{LimitId, Limits};

/// A limit that the codec enforced, by our name for it; other errors are malformed bytes.
pub(super) fn limit_of(error: codecs::Error) -> Error {
    let codecs::Error::TooLarge { what, .. } = error else { return Error::Malformed(error) };
    Error::Limit(match what {
        "http.request.head" => LimitId::HttpHeadBytesMax,
        "http.request.headers" => LimitId::HttpHeadersMax,
        _ => return Error::Malformed(error),
    })
}

pub(super) fn request_limits(limits: &Limits) -> RequestLimits {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    RequestLimits {
        head_bytes_max: count(limits.http_head_bytes_max),
        headers_max: count(limits.http_headers_max),
    }
}

impl Server {
    /// Bytes of what it holds beside its record: a head in pieces, and replies.
    #[must_use]
    pub const fn buffer_bytes(&self) -> usize {
        self.head.capacity() + self.replies.buffer_bytes()
    }

    /// Drops a head in pieces.
    pub(in crate::session) fn drop_head(&mut self) {
        self.head = Vec::new();
    }
}
