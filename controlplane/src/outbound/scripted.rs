//! A scripted application for tests: what it answers is a function of what it was asked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A connection that waits longer than this for its peer is given up, so that no thread stays.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a request gets.
pub(crate) enum Reply {
    /// These bytes, and the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
    /// These bytes again and again, until the peer has enough.
    Endless(Vec<u8>),
    /// Nothing, while the peer stays.
    Hang,
}

impl Reply {
    /// A whole answer.
    pub(crate) fn status(status: u16, head: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{head}\r\n{body}");
        Self::Bytes(text.into_bytes())
    }
}

type Script = dyn Fn(&str) -> Reply + Send + Sync;

/// What its threads share.
struct Shared {
    script: Box<Script>,
    tls: Option<Arc<ServerConfig>>,
    seen: Mutex<Vec<String>>,
    connections: AtomicUsize,
    over: AtomicBool,
}

/// The running application. Dropping it lets nobody in any more.
pub(crate) struct Application {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Application {
    /// Answers each request by `script`, which is given head and body as one text.
    pub(crate) fn start(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Box::new(script), None)
    }

    /// As [`Self::start`], inside TLS with a certificate of its own for `localhost`; and the roots
    /// that vouch for it.
    pub(crate) fn start_tls(
        script: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> (Self, RootCertStore) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        (Self::serve(Box::new(script), Some(Arc::new(tls))), roots)
    }

    /// The URL of a path of it.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}{path}", self.addr.port())
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Connections that it took so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn serve(script: Box<Script>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            tls,
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&for_thread)) else { continue };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || shared.connection(stream));
            }
        });
        Self { addr, shared }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn connection(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        match &self.tls {
            None => self.requests(stream),
            Some(tls) => {
                let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                self.requests(StreamOwned::new(tls, stream));
            }
        }
    }

    fn requests(&self, mut stream: impl Read + Write) {
        let mut pending = Vec::new();
        while let Some(request) = request(&mut stream, &mut pending) {
            self.seen.lock().unwrap().push(request.clone());
            let (bytes, goes_on) = match (self.script)(&request) {
                Reply::Bytes(bytes) => (bytes, true),
                Reply::Last(bytes) => (bytes, false),
                Reply::Endless(bytes) => {
                    while stream.write_all(&bytes).is_ok() {}
                    return;
                }
                Reply::Hang => {
                    // The peer's end of it, or its next word.
                    let _ = stream.read(&mut [0]);
                    return;
                }
            };
            if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() || !goes_on {
                return;
            }
        }
    }
}

/// The next whole request; `None` at the end.
fn request(stream: &mut impl Read, pending: &mut Vec<u8>) -> Option<String> {
    let mut piece = [0; 4_096];
    loop {
        let head = pending.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&pending[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if pending.len() >= head + length {
                let whole = pending.drain(..head + length).collect();
                return String::from_utf8(whole).ok();
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => pending.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}
