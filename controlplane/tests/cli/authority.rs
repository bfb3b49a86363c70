//! An authority of certificates: Pebble from Debian, which looks where every name leads here, and
//! vouches by a root that it makes at its start.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::program::{Dir, output};

/// Who vouches for the authority's own listener.
pub(crate) const CA: &str = "authority-ca.pem";
const CERTIFICATE: &str = "authority.pem";
const KEY: &str = "authority-key.pem";
/// Ports are tried so often.
const TRIES_MAX: usize = 8;
/// The account elsewhere that it knows.
pub(crate) const BINDING: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

/// Where the authority looks when a name is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Looks {
    pub(crate) http: u16,
    pub(crate) tls: u16,
}

/// How the authority is.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// Accounts are bound to one that it knows.
    pub(crate) bound: bool,
    /// For how long its certificates are good.
    pub(crate) seconds: u32,
}

impl Default for Ways {
    fn default() -> Self {
        Self { bound: false, seconds: 90 * 86_400 }
    }
}

/// A running authority.
pub(crate) struct Authority {
    child: Child,
    /// Where it listens.
    addr: SocketAddr,
    /// Where it tells of itself.
    management: SocketAddr,
}

impl Authority {
    /// Starts it on ports that are free, and writes [`CA`] into `dir`.
    pub(crate) fn start(dir: &Dir, looks: Looks, ways: Ways) -> Self {
        prove(dir);
        // Somebody else may take a port between us and the authority: then it tries others.
        for _ in 0..TRIES_MAX {
            // Held together, so that they differ.
            let free = [0; 2].map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
            let places = free.map(|listener| listener.local_addr().unwrap());
            if let Some(authority) = Self::run(dir, places, looks, ways) {
                return authority;
            }
        }
        panic!("pebble ended before it listened, {TRIES_MAX} times");
    }

    /// Where it listens, for one that takes its place.
    pub(crate) const fn places(&self) -> [SocketAddr; 2] {
        [self.addr, self.management]
    }

    /// Starts one in the place of another that is over, whose accounts it does not know.
    pub(crate) fn again(dir: &Dir, places: [SocketAddr; 2], looks: Looks) -> Self {
        let authority = Self::run(dir, places, looks, Ways::default());
        authority.expect("nobody else takes the port of an authority that was just there")
    }

    /// `None` if it ends before it listens.
    fn run(
        dir: &Dir,
        [addr, management]: [SocketAddr; 2],
        looks: Looks,
        ways: Ways,
    ) -> Option<Self> {
        let (id, key) = BINDING;
        let config = serde_json::json!({"pebble": {
            "listenAddress": addr.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": CERTIFICATE,
            "privateKey": KEY,
            "httpPort": looks.http,
            "tlsPort": looks.tls,
            "certificateValidityPeriod": ways.seconds,
            "externalAccountBindingRequired": ways.bound,
            "externalAccountMACKeys": { id: key },
        }});
        dir.write("authority.json", &config.to_string());
        let mut command = Command::new("pebble");
        command.args(["-config", "authority.json", "-dnsserver", &names().to_string()]);
        // It looks at once, and every time.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        command.current_dir(&dir.0).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("pebble: {error}: run .ci/setup"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.by_ref().any(|line| line.unwrap().contains("ACME directory available"));
        let authority = Self { child, addr, management };
        // It says so before it listens.
        let places = [format!("{addr}/dir"), format!("{management}/roots/0")];
        if !said || !places.iter().all(|place| ask(dir, place).0 == Some(0)) {
            return None;
        }
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || lines.count());
        Some(authority)
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://{}/dir", self.addr)
    }

    /// Who vouches for what it gives.
    pub(crate) fn root(&self, dir: &Dir) -> CertificateDer<'static> {
        let (code, pem, error) = ask(dir, &format!("{}/roots/0", self.management));
        assert_eq!(code, Some(0), "{error}");
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it answers to a question inside TLS, once it listens.
fn ask(dir: &Dir, place: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new("curl");
    command.current_dir(&dir.0).args(["-sS", "--max-time", "20", "--cacert", CA]);
    output(command.args(["--retry", "10", "--retry-connrefused", &format!("https://{place}")]))
}

/// Writes a root of our own, and a certificate for the authority's listener.
fn prove(dir: &Dir) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Who signs under its own name is taken for one that nobody vouches for.
    params.distinguished_name.push(DnType::CommonName, "an authority's authority");
    let key = KeyPair::generate().unwrap();
    dir.write(CA, &params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    dir.write(CERTIFICATE, &params.signed_by(&key, &issuer).unwrap().pem());
    dir.write(KEY, &key.serialize_pem());
}

/// A server of names by which every name leads to this machine.
fn names() -> SocketAddr {
    const QUERY_BYTES_MAX: usize = 512;
    const HEAD: usize = 12;
    const TYPE_A: [u8; 2] = [0, 1];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    // It ends with the process of the test.
    std::thread::spawn(move || {
        let mut bytes = [0; QUERY_BYTES_MAX];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            let query = &bytes[..length];
            // The labels of the one question, its type and its class.
            let mut end = HEAD;
            while query[end] > 0 {
                end += 1 + usize::from(query[end]);
            }
            let question = &query[HEAD..end + 5];
            let is_v4 = question[question.len() - 4..][..2] == TYPE_A;
            let mut answer = query[..2].to_vec();
            answer.extend([0x84, 0, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            answer.extend(question);
            if is_v4 {
                // The name of the question, an address, good for a second.
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, peer);
        }
    });
    addr
}
