//! Kept: a certificate with its key, as it lies in a file.

use dataplane::session::tls::{Certified, Identity};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use super::challenge::is_placeholder;
use crate::config::Validity;

/// A certificate of one name that can be shown.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The certificate, those between it and its authority, and the key.
    pub certified: Certified,
    /// From when until when it is one.
    pub validity: Validity,
}

impl Kept {
    /// Reads the PEM of a key and of a chain.
    ///
    /// Errors: what is wrong with it: it is not whole, not for `domain`, or not of that key.
    pub fn of_pem(pem: &str, domain: &str) -> Result<Self, String> {
        let bytes = pem.as_bytes();
        let chain = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| format!("it is not PEM: {error}"))?;
        let Some(leaf) = chain.first() else {
            return Err("there is no certificate in it".to_owned());
        };
        let Some(validity) = Validity::of(leaf) else {
            return Err("it is no certificate of X.509 version 3".to_owned());
        };
        let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| "there is no key in it")?;
        named(leaf, domain)?;
        let certified = Identity::certify(chain, key).map_err(|error| error.to_string())?;
        Ok(Self { certified, validity })
    }

    /// What is shown for `domain` already; `None` if that is a placeholder or not for it.
    pub(super) fn of_shown(certified: &Certified, domain: &str) -> Option<Self> {
        let leaf = certified.cert.first()?;
        named(leaf, domain).ok()?;
        let validity = Validity::of(leaf).filter(|_| !is_placeholder(leaf))?;
        Some(Self { certified: Certified::clone(certified), validity })
    }
}

/// Errors: the certificate is not for `domain`.
fn named(leaf: &CertificateDer<'_>, domain: &str) -> Result<(), String> {
    let name = ServerName::try_from(domain).map_err(|_| format!("{domain} is no name"))?;
    let parsed = ParsedCertificate::try_from(leaf);
    let named = parsed.and_then(|parsed| verify_server_name(&parsed, &name));
    named.map_err(|error| format!("it is not for {domain}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[test]
    fn only_what_can_be_shown_for_the_name_is_taken() {
        let (key, chain) = pair("edge.example");
        let kept = Kept::of_pem(&format!("{key}{chain}{}", pair("ca").1), "edge.example").unwrap();
        assert_eq!(kept.certified.cert.len(), 2);
        for (what, pem, word) in [
            ("nothing", String::new(), "no certificate"),
            ("a key alone", key.clone(), "no certificate"),
            ("a chain alone", chain.clone(), "no key"),
            ("somebody else's key", format!("{}{chain}", pair("edge.example").0), "key"),
            ("half a file", format!("{key}{}", &chain[..chain.len() / 2]), "PEM"),
            (
                "another name",
                {
                    let (key, chain) = pair("a.example");
                    key + &chain
                },
                "edge.example",
            ),
            (
                "no certificate",
                format!("{key}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
                "X.509",
            ),
        ] {
            let error = Kept::of_pem(&pem, "edge.example").unwrap_err();
            assert!(error.contains(word), "{what}: {error}");
        }
    }
}
