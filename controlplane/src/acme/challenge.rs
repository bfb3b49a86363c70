//! Challenge: what an authority finds when it looks whether a name leads here.
//!
//! Spec: RFC 8555 section 8.3, RFC 8737 section 3.

use std::sync::Arc;

use dataplane::control::HttpChallenge;
use dataplane::session::tls::Certified;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;

/// Bytes of what is hashed into a certificate: SHA-256.
const DIGEST_BYTES: usize = 32;
/// Who vouches for what is made here.
const NOBODY: &str = "grandstand, not vouched for";

/// One answer.
#[derive(Clone, Debug)]
pub enum Challenge {
    /// To who asks for a page by plain HTTP.
    Http(Arc<HttpChallenge>),
    /// To who shakes hands and asks about the name by `acme-tls/1`.
    TlsAlpn {
        /// The name.
        name: String,
        /// What it is shown.
        certified: Certified,
    },
}

impl Challenge {
    /// The answer over HTTP to a request for `token`.
    pub(super) fn http(token: &str, key_authorization: &str) -> Self {
        let key_authorization = key_authorization.as_bytes().into();
        Self::Http(Arc::new(HttpChallenge { token: token.into(), key_authorization }))
    }

    /// The answer over TLS to a question about `name`; `None` if it is no name, or `digest` not the
    /// SHA-256 of a key authorization.
    pub(super) fn tls_alpn(name: &str, digest: &[u8]) -> Option<Self> {
        (digest.len() == DIGEST_BYTES).then_some(())?;
        let proof = CustomExtension::new_acme_identifier(digest);
        let certified = own(name, vec![proof])?;
        Some(Self::TlsAlpn { name: name.to_owned(), certified })
    }
}

/// A certificate of `name` that nobody vouches for, so that listeners inside TLS can answer before
/// there is another; `None` if the name is none.
pub(super) fn placeholder(name: &str) -> Option<Certified> {
    own(name, Vec::new())
}

/// True of what [`placeholder`] made.
pub(super) fn is_placeholder(certificate: &[u8]) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    let mut names = parsed.issuer().iter_common_name().filter_map(|name| name.as_str().ok());
    names.any(|name| name == NOBODY)
}

/// A certificate that vouches for itself, with a key of its own.
fn own(name: &str, extensions: Vec<CustomExtension>) -> Option<Certified> {
    DnsName::try_from(name).ok()?;
    let mut params = CertificateParams::new([name.to_owned()]).ok()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NOBODY);
    params.custom_extensions = extensions;
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signing = any_supported_type(&key).ok()?;
    // Nobody looks into it here: a proof is an extension that no verifier may pass over.
    Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], signing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.3.6.1.5.5.7.1.31
    const PE_ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

    #[test]
    fn the_proof_is_critical_and_holds_the_digest_and_the_name_alone() {
        let digest = [7; DIGEST_BYTES];
        let challenge = Challenge::tls_alpn("edge.example", &digest).unwrap();
        let Challenge::TlsAlpn { name, certified } = challenge else { panic!("it is another") };
        assert_eq!(name, "edge.example");
        let (_, parsed) = parse_x509_certificate(&certified.cert[0]).unwrap();
        let proof = parsed.iter_extensions().find(|e| e.oid.to_id_string() == PE_ACME_IDENTIFIER);
        let proof = proof.unwrap();
        assert!(proof.critical);
        assert_eq!(proof.value, [&[4, 32][..], &digest].concat());
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(Challenge::tls_alpn("edge.example", &digest[1..]).is_none());
        assert!(Challenge::tls_alpn("no name", &digest).is_none());
    }

    #[test]
    fn a_placeholder_proves_nothing() {
        let certified = placeholder("edge.example").unwrap();
        let (_, parsed) = parse_x509_certificate(&certified.cert[0]).unwrap();
        assert!(parsed.iter_extensions().all(|e| e.oid.to_id_string() != PE_ACME_IDENTIFIER));
        assert_eq!(parsed.issuer(), parsed.subject());
        let shown = format!("{:?}", Challenge::http("t", "t.k"));
        assert!(shown.contains("Http"), "{shown}");
    }
}
