//! TLS, with a certificate that is made when it is first needed.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::Wire;

struct Identity {
    config: Arc<ServerConfig>,
    certificate: String,
}

fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .unwrap();
        Identity { config: Arc::new(config), certificate: pem(&certificate) }
    })
}

/// A certificate as text.
fn pem(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
            text.push(if at <= three.len() { digit } else { '=' });
        }
    }
    let digits = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<String> = digits.collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

pub(crate) fn accept(stream: TcpStream) -> Box<dyn Wire> {
    let connection = ServerConnection::new(identity().config.clone()).unwrap();
    Box::new(StreamOwned::new(connection, stream))
}

/// A file with the certificate; it is removed when this is dropped.
pub(crate) struct CertificateFile {
    pub(crate) path: PathBuf,
}

impl CertificateFile {
    pub(crate) fn write() -> Self {
        let name =
            format!("grandstand-load-{}-{:?}.pem", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name.replace(['(', ')'], ""));
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(identity().certificate.as_bytes()).unwrap();
        Self { path }
    }
}

impl Drop for CertificateFile {
    fn drop(&mut self) {
        // A file that is left behind hurts nobody.
        let _ = std::fs::remove_file(&self.path);
    }
}
