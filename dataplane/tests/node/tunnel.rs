//! TLS around any peer of the harness: a local socket whose bytes go through an independent client
//! of TLS to a listener of the node.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dataplane::config::{Config, ListenerConfig, ListenerKind};
use dataplane::session::tls::{Certified, Identity};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use super::peer::TIME_BOUND;

/// A self-signed certificate and its key.
pub(crate) struct Certificate {
    pub(crate) chain: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        Self { chain: own.cert.der().clone(), key }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::by_name(self.certified(), []).unwrap()
    }

    pub(crate) fn certified(&self) -> Certified {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        Identity::certify(vec![self.chain.clone()], key).unwrap()
    }
}

/// The certificate of every node of this process.
pub(crate) fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(Certificate::new)
}

/// `config` with a listener of RTMPS and one of HTTPS.
pub(crate) fn with_tls(mut config: Config) -> Config {
    let addr = "127.0.0.1:0".parse().unwrap();
    for kind in [ListenerKind::Rtmps, ListenerKind::Https] {
        config.listeners.push(ListenerConfig::new(kind, addr));
    }
    config.tls = Some(certificate().identity());
    config
}

/// What a client trusts and speaks; its tickets are kept in it.
pub(crate) fn client_config(
    trusted: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.chain.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A client's side of one connection.
pub(crate) fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// A local address behind which TLS begins.
pub(crate) struct Tunnel {
    pub(crate) addr: SocketAddr,
    truncated: Arc<AtomicUsize>,
}

impl Tunnel {
    /// A tunnel to `target` by any version.
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::with(target, &client_config(certificate(), rustls::ALL_VERSIONS), None)
    }

    /// A tunnel that holds few bytes itself.
    pub(crate) fn narrow(target: SocketAddr) -> Self {
        let config = client_config(certificate(), rustls::ALL_VERSIONS);
        Self::with(target, &config, Some(16 << 10))
    }

    /// A tunnel by `config`, with that many bytes of socket buffers if it says so.
    pub(crate) fn with(
        target: SocketAddr,
        config: &Arc<ClientConfig>,
        buffers: Option<usize>,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let truncated = Arc::new(AtomicUsize::new(0));
        let (config, counter) = (Arc::clone(config), Arc::clone(&truncated));
        // It ends with the process of the case.
        std::thread::spawn(move || {
            while let Ok((plain, _)) = listener.accept() {
                let Ok(wire) = TcpStream::connect(target) else { return };
                for socket in [&plain, &wire] {
                    socket.set_nodelay(true).unwrap();
                    socket.set_nonblocking(true).unwrap();
                    if let Some(bytes) = buffers {
                        let socket = socket2::SockRef::from(socket);
                        socket.set_send_buffer_size(bytes).unwrap();
                        socket.set_recv_buffer_size(bytes).unwrap();
                    }
                }
                let (tls, counter) = (client(&config), Arc::clone(&counter));
                std::thread::spawn(move || {
                    let mut pipe = Pipe {
                        tls,
                        plain,
                        wire,
                        down: Vec::new(),
                        up_ended: false,
                        down_ended: false,
                        told: false,
                    };
                    if pipe.run().is_err() {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { addr, truncated }
    }

    /// Connections that ended without a word of TLS.
    pub(crate) fn truncated(&self) -> usize {
        self.truncated.load(Ordering::SeqCst)
    }
}

/// One connection through a tunnel.
struct Pipe {
    tls: ClientConnection,
    plain: TcpStream,
    wire: TcpStream,
    /// Decrypted bytes that the peer has not taken yet.
    down: Vec<u8>,
    up_ended: bool,
    down_ended: bool,
    told: bool,
}

/// `None` if the socket has nothing, or no room.
fn now<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl Pipe {
    fn run(&mut self) -> std::io::Result<()> {
        let mut poll = Poll::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        for (n, socket) in [&self.plain, &self.wire].into_iter().enumerate() {
            poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(n), both)?;
        }
        let mut events = Events::with_capacity(8);
        loop {
            while self.up()? | self.down()? {}
            if self.down_ended && self.down.is_empty() {
                return Ok(());
            }
            poll.poll(&mut events, Some(TIME_BOUND))?;
        }
    }

    /// Bytes from the peer to the node; true if some moved.
    fn up(&mut self) -> std::io::Result<bool> {
        let mut moved = false;
        while self.tls.wants_write() {
            if now(self.tls.write_tls(&mut self.wire))?.is_none() {
                return Ok(moved);
            }
            moved = true;
        }
        let mut buffer = [0; 16 << 10];
        if !self.up_ended
            && !self.tls.is_handshaking()
            && let Some(len) = now(self.plain.read(&mut buffer))?
        {
            if len == 0 {
                self.up_ended = true;
                self.tls.send_close_notify();
            } else {
                self.tls.writer().write_all(&buffer[..len])?;
            }
            return Ok(true);
        }
        if self.up_ended && !self.told {
            self.told = true;
            self.wire.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(moved)
    }

    /// Bytes from the node to the peer; true if some moved.
    fn down(&mut self) -> std::io::Result<bool> {
        if !self.down.is_empty() {
            let Some(len) = now(self.plain.write(&self.down))? else { return Ok(false) };
            self.down.drain(..len);
            return Ok(true);
        }
        let mut buffer = [0; 16 << 10];
        match now(self.tls.reader().read(&mut buffer))? {
            Some(0) => {
                self.down_ended = true;
                let _ = self.plain.shutdown(std::net::Shutdown::Write);
                return Ok(false);
            }
            Some(len) => {
                self.down.extend_from_slice(&buffer[..len]);
                return Ok(true);
            }
            None => {}
        }
        if self.down_ended || now(self.tls.read_tls(&mut self.wire))?.is_none() {
            return Ok(false);
        }
        self.tls.process_new_packets().map_err(std::io::Error::other)?;
        Ok(true)
    }
}
