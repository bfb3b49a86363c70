//! Claim: how a peer came in, kept until it leaves, because applications of other servers are told
//! it again then.

use std::fmt;
use std::sync::Arc;

use dataplane::control::AuthorizeRequest;

/// Who asks, as far as a dialect says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// The name of this node.
    pub node: Arc<str>,
    /// The subject of tokens.
    pub subject: Arc<str>,
    /// Where this node is found, if that is not the address that a peer came to.
    pub host: Arc<str>,
    /// Ports by which this node is come to for RTMP.
    pub rtmp_ports: Arc<[u16]>,
}

/// The subject of tokens, unless another one is configured.
pub(super) const SUBJECT: &str = "rtmp_event";

/// How a peer came in.
///
/// It holds what the peer showed, so that `Debug` says nothing of it, and no JSON of ours has it.
pub struct Claim {
    /// What it asked for.
    pub request: Box<AuthorizeRequest>,
    /// Who asked about it.
    pub asker: Asker,
    /// What the application calls its publication.
    pub stream_id: Option<Arc<str>>,
}

impl Claim {
    /// Bytes of the words that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let AuthorizeRequest { key, login, query, url, referer, .. } = &*self.request;
        let referer = referer.as_deref().unwrap_or_default();
        let words = [key.0.len(), login.0.len(), query.0.len(), url.len(), referer.len()];
        (size_of::<AuthorizeRequest>() + words.iter().sum::<usize>()) as u64
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(claim)")
    }
}
