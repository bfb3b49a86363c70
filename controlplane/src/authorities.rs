//! Authorities: those whom the system trusts, who vouch for servers inside TLS.
//!
//! They are read at the start, and again later as long as there are none: whoever is connected to
//! hears of those that are there by then.
//! Limits: one look at a time, on a thread of its own: the control thread waits for no disk.

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;

/// What the first look found. The first client for applications takes it, before anybody is served.
static AT_START: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| Arc::new(read()));

/// The authorities that were there at the start.
pub(crate) fn at_start() -> Arc<RootCertStore> {
    Arc::clone(&AT_START)
}

/// Reads them: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or else of the system. One that cannot
/// be read is as one that is not there: whoever misses it says so.
pub(crate) fn read() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Who is asked whether a server is who it says, as soon as there is anybody.
///
/// Lives on: the control thread. Crosses by: a cell that is filled once; every shard looks at it.
#[derive(Debug, Default)]
pub(crate) struct Authorities(OnceLock<Arc<WebPkiServerVerifier>>);

impl Authorities {
    /// These, if they are any.
    pub(crate) fn of(roots: impl Into<Arc<RootCertStore>>) -> Self {
        let authorities = Self::default();
        authorities.take(roots.into());
        authorities
    }

    /// These from now on, unless there were some before or there are none.
    pub(crate) fn take(&self, roots: Arc<RootCertStore>) {
        let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
        if let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(roots, provider).build() {
            self.0.get_or_init(|| verifier);
        }
    }

    /// Who is asked, if there is anybody.
    pub(crate) fn verifier(&self) -> Option<&Arc<WebPkiServerVerifier>> {
        self.0.get()
    }
}
