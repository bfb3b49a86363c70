//! A client of TLS that believes one root.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::program::PATIENCE;

pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A connection to the server of that name at `addr`, whose certificate goes back to `root`.
pub(crate) fn connect_by(
    addr: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
) -> std::io::Result<Secure> {
    connect_with(addr, root, name, Arc::new(DefaultTimeProvider))
}

/// As [`connect_by`], by a client whose clock stands still at `seconds` since 1970.
pub(crate) fn connect_at(
    addr: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
    seconds: u64,
) -> std::io::Result<Secure> {
    connect_with(addr, root, name, Arc::new(Clock(seconds)))
}

/// A clock that stands still.
#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

fn connect_with(
    addr: SocketAddr,
    root: &CertificateDer<'static>,
    name: &str,
    clock: Arc<dyn TimeProvider>,
) -> std::io::Result<Secure> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
