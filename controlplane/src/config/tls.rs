//! `[tls]`: what RTMPS and HTTPS prove themselves with.

use std::path::PathBuf;

use super::key::{Key, Section};

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSection {
    /// The certificate and those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
}

const KEYS: &[Key] = &[
    Key::new(
        "certificate",
        "A PEM file: the certificate first, then those between it and its authority. Without one \
         there is no RTMPS and no HTTPS. SIGHUP reads both files again, also when only their \
         content changed.",
        |s| &mut s.tls.certificate,
    )
    .now(),
    Key::new("key", "A PEM file with the key of the certificate.", |s| &mut s.tls.key).now(),
];

pub(super) fn section() -> Section {
    Section::new("tls", "The certificate of the listeners inside TLS.", KEYS)
}
