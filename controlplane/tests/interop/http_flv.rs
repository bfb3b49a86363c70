//! A plain HTTP/1.1 client: whole answers, and HTTP-FLV bodies that end with the connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SILENCE: Duration = Duration::from_secs(40);

/// Status and body of `GET path`; `headers` are whole lines.
pub(crate) fn get(addr: SocketAddr, path: &str, headers: &str) -> (u16, Vec<u8>) {
    let mut answer = Answer::request(addr, path, headers);
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
    pub(crate) body: BufReader<TcpStream>,
}

impl Answer {
    /// Asks for `path` with `Connection: close`.
    pub(crate) fn request(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero is legal");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
        (&stream).write_all(request.as_bytes()).expect("the server reads");
        Self::read(stream)
    }

    fn read(stream: TcpStream) -> Self {
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
