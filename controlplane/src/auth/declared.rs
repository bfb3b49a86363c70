//! Declared: what the registry says of a stream before anybody is judged.

use codecs::srt::Passphrase;
use dataplane::control::{AuthorizeRequest, Denial, Role};
use dataplane::ids::StreamName;
use dataplane::session::mpegts::TransportTerms;

use super::judge::own_key;
use super::key_hash::KeyHash;
use super::policies::Policies;
use super::ruling::{Ruling, Terms};
use super::ways::Ways;
use crate::registry::TenantName;

/// What is declared of one stream, for one request.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Whether the stream may be published or played at all, by this protocol.
    pub verdict: Result<(), Denial>,
    /// The key that it is published with: instead of one of `[[auth.keys]]`, besides what an
    /// application says.
    pub key: Option<KeyHash>,
    /// Its players wait while nobody publishes.
    pub waits: bool,
    /// How those are judged who come to it, where that is said.
    pub ways: Ways,
    /// What a peer of SRT encrypts it with, where that is said.
    pub passphrase: Option<Passphrase>,
    /// What becomes of the transport stream that it is published with, where that is said.
    pub transport: Option<TransportTerms>,
}

impl Default for Declared {
    /// Undeclared, and allowed.
    fn default() -> Self {
        let ways = Ways::default();
        let (passphrase, transport) = (None, None);
        Self { verdict: Ok(()), key: None, waits: false, ways, passphrase, transport }
    }
}

/// Who knows what is declared.
pub trait Declarations {
    /// What is declared of `stream`, which is the one that `request` named, or the one that the
    /// application gave it instead.
    fn declared(&self, request: &AuthorizeRequest, stream: &StreamName) -> Declared;

    /// True if that tenant has used all that it may.
    fn is_spent(&self, _: &TenantName) -> bool {
        false
    }
}

/// What is declared of the stream that `terms` let `request` in to; why it is not let in, if it is
/// not. The application may send a peer to another stream, not past what is declared of it.
pub(super) fn admitted(
    request: &AuthorizeRequest,
    terms: &Terms,
    registry: &impl Declarations,
    policies: &Policies,
) -> Result<Declared, Ruling> {
    let stream = terms.stream.as_ref().unwrap_or(&request.stream);
    let declared = registry.declared(request, stream);
    declared.verdict.map_err(Ruling::Closed)?;
    let own_key = own_key(&declared, request).filter(|_| !terms.key_judged);
    if own_key.is_some_and(|key| !key.matches(&request.key.0)) {
        return Err(Ruling::Deny(Denial::Forbidden));
    }
    // Whoever lets a publisher in says whose he is, however little is known of that tenant yet.
    let publishes = request.intent.role() == Some(Role::Publish);
    if publishes && terms.tenant.as_ref().is_some_and(|tenant| registry.is_spent(tenant)) {
        return Err(Ruling::Closed(Denial::Full));
    }
    let plays = request.intent.role() == Some(Role::Play);
    if plays && !policies.allows(stream, request.protocol) {
        return Err(Ruling::Closed(Denial::NotFound));
    }
    Ok(declared)
}

/// Nothing is declared, and everything allowed.
impl Declarations for () {
    fn declared(&self, _: &AuthorizeRequest, _: &StreamName) -> Declared {
        Declared::default()
    }
}
