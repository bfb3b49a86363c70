//! A plain HTTP/1.1 client, inside TLS or not: whole answers, and bodies of streams that end with
//! the connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::tls;

const SILENCE: Duration = Duration::from_secs(40);

/// Where HTTP is spoken.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// The address.
    pub(crate) addr: SocketAddr,
    /// The certificate, if it is inside TLS.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// A connection, inside TLS or not.
pub(crate) trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, certificate: None }
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

impl Endpoint {
    /// Connects; a read that waits too long fails.
    pub(crate) fn connect(&self) -> Box<dyn Duplex> {
        let stream = TcpStream::connect(self.addr).expect("the server listens");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero is legal");
        match &self.certificate {
            Some(certificate) => Box::new(tls::client(stream, certificate)),
            None => Box::new(stream),
        }
    }
}

/// Status and body of `GET path`; `headers` are whole lines.
pub(crate) fn get(web: impl Into<Endpoint>, path: &str, headers: &str) -> (u16, Vec<u8>) {
    let mut answer = Answer::request(web, path, headers);
    let mut body = Vec::new();
    answer.body.read_to_end(&mut body).expect("the body ends");
    (answer.status, body)
}

/// Status and body of a request with JSON; `line` is method and path, `headers` are whole lines.
pub(crate) fn send(addr: SocketAddr, line: &str, headers: &str, json: &str) -> (u16, Vec<u8>) {
    let mut stream = Endpoint::from(addr).connect();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Answer::read(stream);
    let mut body = Vec::new();
    answer.body.read_to_end(&mut body).expect("the body ends");
    (answer.status, body)
}

/// An answer whose body is still coming.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The header lines, lower case names.
    pub(crate) headers: Vec<(String, String)>,
    /// What follows the empty line.
    pub(crate) body: BufReader<Box<dyn Duplex>>,
}

impl Answer {
    /// Asks for `path` with `Connection: close`.
    pub(crate) fn request(web: impl Into<Endpoint>, path: &str, headers: &str) -> Self {
        let web = web.into();
        let addr = web.addr;
        let mut stream = web.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("the server reads");
        Self::read(stream)
    }

    fn read(stream: Box<dyn Duplex>) -> Self {
        let mut body = BufReader::new(stream);
        let mut line = String::new();
        let mut next = || {
            line.clear();
            body.read_line(&mut line).expect("the server answers");
            line.trim_end().to_owned()
        };
        let first = next();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in `{first}`"));
        let mut headers = Vec::new();
        loop {
            let line = next();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Self { status, headers, body }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
