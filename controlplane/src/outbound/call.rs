//! Call: one request to an application, and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

use super::address::Address;

/// Bytes of an answer's body at most, unless a call says otherwise.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One request.
///
/// Not shown by `Debug` beyond its method and address: headers and body carry keys.
#[derive(Clone)]
pub struct Call {
    /// How it asks.
    pub method: Method,
    /// Whom it asks.
    pub address: Address,
    /// Headers beside those that HTTP itself needs.
    pub headers: HeaderMap,
    /// The body, which may be empty.
    pub body: Bytes,
    /// The whole exchange is over within this.
    pub deadline: Duration,
    /// Bytes of the answer's body at most.
    pub answer_bytes_max: usize,
    /// Redirects that are followed at most, all within the same origin.
    pub redirects_max: u8,
}

impl Call {
    /// A POST of `body`, which follows no redirect.
    #[must_use]
    pub fn post(address: Address, body: Bytes, deadline: Duration) -> Self {
        Self {
            method: Method::POST,
            address,
            headers: HeaderMap::new(),
            body,
            deadline,
            answer_bytes_max: ANSWER_BYTES_MAX,
            redirects_max: 0,
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { method, address, .. } = self;
        f.debug_struct("Call")
            .field("method", method)
            .field("address", address)
            .finish_non_exhaustive()
    }
}

/// What an application answered: whole, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The text of a header; `None` if it is absent or not ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
