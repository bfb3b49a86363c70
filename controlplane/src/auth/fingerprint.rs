//! Fingerprint: which questions are equal, so that one answer serves them all.

use std::net::IpAddr;

use dataplane::control::{AuthorizeRequest, Ticket};
use sha2::{Digest, Sha256};

use super::mode::Mode;

/// A digest of everything that a verdict may rest on.
///
/// Keys are in it only as a part of what was hashed with a random salt, so that a table of
/// fingerprints gives none away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

/// Makes fingerprints. Those of two makers never meet.
#[derive(Clone)]
pub(super) struct Fingerprints {
    salted: Sha256,
    per_peer: bool,
}

impl Fingerprints {
    /// With a salt of its own; `per_peer` tells peers of different addresses apart.
    pub(super) fn new(per_peer: bool) -> Self {
        let mut salt = [0; 32];
        // Without a source of chance a table that leaks would let keys be tried against it; the
        // token of the API was made of the same source.
        let _ = getrandom::fill(&mut salt);
        Self { salted: Sha256::new().chain_update(salt), per_peer }
    }

    /// That of `request`. The application is told more (session, port, agent), but may not judge by
    /// it if it wants verdicts to be remembered.
    ///
    /// Whom it is asked of by `mode` is a part of it: two applications may not answer for each
    /// other.
    pub(super) fn of(&self, request: &AuthorizeRequest, mode: Mode) -> Fingerprint {
        let mut hash = self.salted.clone();
        let referer = request.referer.as_deref();
        for field in [
            mode.name(),
            request.intent.name(),
            request.protocol.name(),
            request.stream.as_str(),
            &request.key.0,
            &request.login.0,
            &request.query.0,
            &request.url,
            referer.unwrap_or_default(),
        ] {
            // The length goes first: no two lists of fields have the same bytes.
            hash.update(field.len().to_be_bytes());
            hash.update(field);
        }
        hash.update([u8::from(request.tls), u8::from(referer.is_some())]);
        if self.per_peer {
            match request.peer.ip().to_canonical() {
                IpAddr::V4(ip) => hash.update(ip.octets()),
                IpAddr::V6(ip) => hash.update(ip.octets()),
            }
        }
        Fingerprint(hash.finalize().into())
    }

    /// That of the question of one peer, whose answer is good for nobody else.
    pub(super) fn of_one(&self, request: &AuthorizeRequest, ticket: Ticket) -> Fingerprint {
        let mut hash = self.salted.clone();
        hash.update(self.of(request, Mode::Coordinator).0);
        hash.update(request.session.0.to_be_bytes());
        hash.update(ticket.epoch.to_be_bytes());
        Fingerprint(hash.finalize().into())
    }
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fingerprints").field("per_peer", &self.per_peer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::request;
    use dataplane::control::{Intent, Protocol};
    use dataplane::ids::{Secret, SessionId, StreamName};

    #[test]
    fn whatever_a_verdict_may_rest_on_tells_questions_apart() {
        let prints = Fingerprints::new(true);
        let one = || request(Intent::Play, "news", "key");
        let of = |change: fn(&mut AuthorizeRequest)| {
            let mut request = one();
            change(&mut request);
            prints.of(&request, Mode::Callback)
        };
        let same = prints.of(&one(), Mode::Callback);
        for (what, print) in [
            ("session", of(|r| r.session = SessionId(99))),
            ("port", of(|r| r.peer.set_port(99))),
            ("agent", of(|r| r.agent = "other".into())),
        ] {
            assert_eq!(print, same, "{what}");
        }
        for (what, print) in [
            ("intent", of(|r| r.intent = Intent::Publish)),
            ("protocol", of(|r| r.protocol = Protocol::Hls)),
            ("tls", of(|r| r.tls = true)),
            ("stream", of(|r| r.stream = StreamName::parse("other").unwrap())),
            ("key", of(|r| r.key = Secret("other".into()))),
            ("login", of(|r| r.login = Secret("jo:pw".into()))),
            ("query", of(|r| r.query = Secret("e=1".into()))),
            ("url", of(|r| r.url = "rtmp://other/news".into())),
            ("referer", of(|r| r.referer = Some("".into()))),
            ("address", of(|r| r.peer.set_ip([192, 0, 2, 99].into()))),
        ] {
            assert_ne!(print, same, "{what}");
        }
        assert_ne!(prints.of(&one(), Mode::Coordinator), same, "mode");
        let shifted = of(|r| (r.key, r.query) = (Secret("ke".into()), Secret("y".into())));
        assert_ne!(shifted, same);
        assert_ne!(
            Fingerprints::new(true).of(&one(), Mode::Callback),
            same,
            "each maker has its salt"
        );
        let shared = Fingerprints::new(false);
        let mut other = one();
        other.peer.set_ip([192, 0, 2, 99].into());
        assert_eq!(shared.of(&one(), Mode::Callback), shared.of(&other, Mode::Callback));
    }
}
