//! Application: who is asked over HTTP, and on what terms.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::outbound::{Address, SigningKey};

/// What a question without a sound answer means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// No.
    #[default]
    Deny,
    /// Yes.
    Allow,
}

/// Who is asked in mode `callback`.
#[derive(Clone, Debug)]
pub struct Application {
    /// Where.
    pub address: Address,
    /// What this node shows of itself.
    pub authorization: Option<HeaderValue>,
    /// What questions are signed with.
    pub signing: Option<SigningKey>,
    /// The name of this node.
    pub node: Arc<str>,
    /// An answer is waited for no longer than this.
    pub timeout: Duration,
    /// What a question without a sound answer means.
    pub on_failure: OnFailure,
    /// A yes is good for this long.
    pub cache: Duration,
    /// A no is good for this long.
    pub cache_denied: Duration,
}
