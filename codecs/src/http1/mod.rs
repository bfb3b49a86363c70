//! HTTP/1.1: request heads in, response heads out.
//!
//! Spec: RFC 9112 (messages), RFC 9110 (semantics, conditions, ranges), RFC 3986 2.1 (percent
//! encoding), RFC 7617 (`Basic`).
//!
//! Not here: bodies, chunked transfer coding, routing.

mod basic;
mod conditional;
mod forwarded;
mod request;
mod response;
mod target;

pub use basic::basic_credentials;
pub use conditional::{if_range_names, none_match_names};
pub use forwarded::{HOPS_MAX, forwarded_for};
pub use request::{ByteRange, HEADERS_MAX, Method, Request, RequestLimits, parse_request};
pub use response::{ResponseHead, reason_phrase};
pub use target::{percent_decode, query_pairs};
