//! What a server proves itself with: certificate chains and their keys, as rustls wants them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

/// The protocols that HTTPS clients may choose; both are answered by HTTP/1.1.
const HTTP: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];
/// The protocol of an authority of certificates that looks whether a name leads here.
pub(super) const CHALLENGE: &[u8] = b"acme-tls/1";

/// A certificate with its key.
pub type Certified = Arc<CertifiedKey>;

/// Certificates with their keys, ready for handshakes of RTMPS and HTTPS.
///
/// A peer gets the certificate of the name that it asks for (SNI), else the first one.
///
/// Lives on: every shard. Crosses by: cloning references, with a configuration. A connection keeps
/// the one that it began with.
#[derive(Clone)]
pub struct Identity {
    names: Arc<Names>,
    rtmps: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    /// For an authority that looks at a listener of RTMPS.
    challenge: Option<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// One certificate for every name.
    ///
    /// # Errors
    /// The key is of no known kind, or does not belong to the first certificate of the chain.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Error> {
        Self::by_name(Self::certify(chain, key)?, [])
    }

    /// A certificate with its key.
    ///
    /// # Errors
    /// The key is of no known kind, or does not belong to the first certificate of the chain.
    pub fn certify(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Certified, Error> {
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map(Arc::new)
    }

    /// Certificates by names such as `edge.example` or `*.edge.example`, which is every name with
    /// one label more; `first` is for all others. The first of two certificates of a name counts.
    ///
    /// TLS 1.2 and 1.3 with tickets, so that a peer that returns needs no signature of ours.
    ///
    /// # Errors
    /// The system gives no randomness for tickets.
    pub fn by_name(
        first: Certified,
        named: impl IntoIterator<Item = (String, Certified)>,
    ) -> Result<Self, Error> {
        let mut names = Names { first, exact: BTreeMap::new(), below: BTreeMap::new() };
        for (name, certified) in named {
            let name = name.to_ascii_lowercase();
            match name.strip_prefix("*.") {
                Some(parent) => names.below.entry(parent.to_owned()).or_insert(certified),
                None => names.exact.entry(name).or_insert(certified),
            };
        }
        let names = Arc::new(names);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Names>::clone(&names));
        // Tickets are kept by the peers: a table of sessions here would be shared and locked.
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let mut https = config.clone();
        https.alpn_protocols = HTTP.map(<[u8]>::to_vec).into();
        Ok(Self { names, rtmps: Arc::new(config), https: Arc::new(https), challenge: None })
    }

    /// This identity with the tickets of `old`, so that a changed certificate costs no resumption.
    #[must_use]
    pub fn with_tickets_of(&self, old: &Self) -> Self {
        let with = |config: &Arc<ServerConfig>| {
            let mut config = ServerConfig::clone(config);
            config.ticketer = Arc::clone(&old.rtmps.ticketer);
            Arc::new(config)
        };
        let names = Arc::clone(&self.names);
        let challenge = self.challenge.as_ref().map(with);
        Self { names, rtmps: with(&self.rtmps), https: with(&self.https), challenge }
    }

    /// What a peer that asks for `name` is shown.
    #[must_use]
    pub fn certificate(&self, name: &str) -> &Certified {
        self.names.choose(Some(name))
    }

    /// This identity with another certificate of `name`, which is no `*.`; all else stays, the
    /// tickets too, but no authority is answered. Where the one before was also for all others, so
    /// is this one.
    #[must_use]
    pub fn with_certificate(&self, name: &str, certified: &Certified) -> Self {
        let mut names = Names::clone(&self.names);
        let old = names.exact.insert(name.to_ascii_lowercase(), Arc::clone(certified));
        if old.is_some_and(|old| Arc::ptr_eq(&old, &names.first)) {
            names.first = Arc::clone(certified);
        }
        let names = Arc::new(names);
        let with = |config: &Arc<ServerConfig>| {
            let mut config = ServerConfig::clone(config);
            config.cert_resolver = Arc::<Names>::clone(&names);
            Arc::new(config)
        };
        let (rtmps, https) = (with(&self.rtmps), with(&self.https));
        Self { names, rtmps, https, challenge: None }
    }

    /// This identity, which also answers an authority that looks whether `name` leads here, on
    /// every listener inside TLS: with `certified`, and nobody else with it.
    ///
    /// Spec: RFC 8737 section 3.
    ///
    /// A configuration answers one of the protocols that a peer names, or ends the handshake. Peers
    /// of RTMPS may name any, so that it has another one for authorities: [`Self::challenge`].
    #[must_use]
    pub fn with_challenge(&self, name: &str, certified: &Certified) -> Self {
        let challenged = Arc::new(Challenged {
            names: Arc::clone(&self.names),
            name: name.to_owned(),
            certified: Arc::clone(certified),
        });
        let with = |config: &Arc<ServerConfig>, protocols: &[&[u8]]| {
            let mut config = ServerConfig::clone(config);
            config.cert_resolver = Arc::<Challenged>::clone(&challenged);
            config.alpn_protocols = protocols.iter().map(|&name| Vec::from(name)).collect();
            Arc::new(config)
        };
        let (names, rtmps) = (Arc::clone(&self.names), Arc::clone(&self.rtmps));
        let https = with(&self.https, &[CHALLENGE, HTTP[0], HTTP[1]]);
        let challenge = Some(with(&self.rtmps, &[CHALLENGE]));
        Self { names, rtmps, https, challenge }
    }

    /// For a peer that speaks RTMP inside; it names no protocol.
    #[must_use]
    pub const fn rtmps(&self) -> &Arc<ServerConfig> {
        &self.rtmps
    }

    /// For an authority that looks at a listener of RTMPS, if it is to find something there.
    #[must_use]
    pub const fn challenge(&self) -> Option<&Arc<ServerConfig>> {
        self.challenge.as_ref()
    }

    /// For a peer that speaks HTTP inside.
    #[must_use]
    pub const fn https(&self) -> &Arc<ServerConfig> {
        &self.https
    }
}

/// Certificates by the names that peers ask for.
#[derive(Clone)]
struct Names {
    first: Certified,
    exact: BTreeMap<String, Certified>,
    /// By the name without its first label.
    below: BTreeMap<String, Certified>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    fn choose(&self, name: Option<&str>) -> &Certified {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.first };
        let below = || name.split_once('.').and_then(|(_, parent)| self.below.get(parent));
        self.exact.get(&name).or_else(below).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Certified> {
        Some(Arc::clone(self.choose(hello.server_name())))
    }
}

/// Certificates by names, and the one that an authority is answered with.
struct Challenged {
    names: Arc<Names>,
    name: String,
    certified: Certified,
}

impl std::fmt::Debug for Challenged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        f.debug_struct("Challenged").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Challenged {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Certified> {
        let name = hello.server_name();
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == CHALLENGE) {
            // Whoever asks about another name hears that nothing is known of it.
            let own = name.is_some_and(|name| name.eq_ignore_ascii_case(&self.name));
            return own.then(|| Arc::clone(&self.certified));
        }
        Some(Arc::clone(self.names.choose(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(name: &str) -> Certified {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Identity::certify(vec![made.cert.der().clone()], key).unwrap()
    }

    #[test]
    fn one_certificate_is_renewed_and_all_else_stays() {
        let [own, other, renewed] = ["a.example", "b.example", "a.example"].map(certified);
        let named = [("a.example", &own), ("b.example", &other)];
        let named = named.map(|(name, one)| (name.to_owned(), Arc::clone(one)));
        let old = Identity::by_name(Arc::clone(&own), named).unwrap();
        let new = old.with_certificate("A.example", &renewed);
        for name in ["a.example", "else.where"] {
            assert!(Arc::ptr_eq(new.certificate(name), &renewed), "{name}");
            assert!(Arc::ptr_eq(old.certificate(name), &own), "{name}");
        }
        assert!(Arc::ptr_eq(new.certificate("b.example"), &other));
        assert!(Arc::ptr_eq(&new.rtmps.ticketer, &old.rtmps.ticketer));
        assert_eq!(new.https.alpn_protocols, old.https.alpn_protocols);
        // One of a name that had none leaves the one for all others.
        let more = old.with_certificate("c.example", &renewed);
        assert!(Arc::ptr_eq(more.certificate("c.example"), &renewed));
        assert!(Arc::ptr_eq(more.certificate("else.where"), &own));
    }

    #[test]
    fn a_name_is_found_exactly_then_by_its_parent_and_else_the_first_is_taken() {
        let [first, exact, below] = ["a", "b", "c"].map(certified);
        let names = Names {
            first: Arc::clone(&first),
            exact: BTreeMap::from([("edge.example".to_owned(), Arc::clone(&exact))]),
            below: BTreeMap::from([("example".to_owned(), Arc::clone(&below))]),
        };
        for (name, expected) in [
            (Some("edge.example"), &exact),
            (Some("EDGE.example"), &exact),
            (Some("other.example"), &below),
            (Some("a.edge.example"), &first),
            (Some("example"), &first),
            (Some("else.where"), &first),
            (None, &first),
        ] {
            assert!(Arc::ptr_eq(names.choose(name), expected), "{name:?}");
        }
    }
}
