//! A certificate of the test's own, and a client that trusts no other.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Makes a certificate of `localhost` and writes it and its key into `folder`, as `[tls]` wants
/// them.
pub(crate) fn certify(folder: &Path) -> CertificateDer<'static> {
    certify_as(folder, "localhost")
}

/// The same of another host.
pub(crate) fn certify_as(folder: &Path, host: &str) -> CertificateDer<'static> {
    let own = rcgen::generate_simple_self_signed([host.to_owned()]).expect("a key is made");
    let files = [("certificate.pem", own.cert.pem()), ("key.pem", own.signing_key.serialize_pem())];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("the test's folder can be written");
    }
    own.cert.der().clone()
}

/// Speaks TLS on `stream` with whoever has this certificate.
pub(crate) fn client(
    stream: TcpStream,
    certificate: &CertificateDer<'static>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate of ours");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let session = ClientConnection::new(Arc::new(config), name).expect("a client can be made");
    StreamOwned::new(session, stream)
}
