//! Wire: a blocking socket to a server, with or without TLS around it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use dataplane::session::rtmp::client::Address;
use dataplane::session::tls::TlsClient;

use crate::error::reason;
pub(super) use crate::trust::Trouble;
use crate::trust::Trust;

/// Bytes read in one go.
const READ_BYTES: usize = 64 << 10;
/// A read waits at least this long, because a socket takes no timeout of zero.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<TlsClient>,
    ciphertext: Vec<u8>,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Bytes, or nothing within the time.
    Bytes,
    /// The peer sends no more.
    End,
}

impl Wire {
    /// Connects to the first address of the host that answers.
    pub(super) fn connect(
        address: &Address,
        ca: Option<&Path>,
        deadline: Instant,
    ) -> Result<Self, Trouble> {
        let tls = match address.tls {
            true => Some(tls(&address.host, ca)?),
            false => None,
        };
        let stream = dial(address, deadline)?;
        // Without it small commands only wait longer.
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, tls, ciphertext: Vec::new() })
    }

    /// Sends all of `plain`.
    pub(super) fn send(&mut self, plain: &[u8], deadline: Instant) -> Result<(), Trouble> {
        let Some(tls) = &mut self.tls else { return write(&mut self.stream, plain, deadline) };
        tls.send(plain).map_err(|error| tls_trouble(&error))?;
        self.flush(deadline)
    }

    /// Appends what has come to `plain`, waiting until `until` for it.
    pub(super) fn receive(
        &mut self,
        plain: &mut Vec<u8>,
        until: Instant,
    ) -> Result<Incoming, Trouble> {
        self.flush(until)?;
        let wait = until.saturating_duration_since(Instant::now()).max(WAIT_MIN);
        self.stream.set_read_timeout(Some(wait)).map_err(|error| broken(&error))?;
        let mut bytes = vec![0; READ_BYTES];
        let read = match self.stream.read(&mut bytes) {
            Ok(0) => return Ok(Incoming::End),
            Ok(read) => read,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(e) => return Err(broken(&e)),
        };
        match &mut self.tls {
            None => plain.extend_from_slice(&bytes[..read]),
            Some(tls) => {
                let taken = tls.handle_bytes(&bytes[..read], plain);
                let trouble = taken.map_err(|error| tls_trouble(&error));
                // The alert tells the server why, whatever becomes of it.
                let flushed = self.flush(until);
                trouble.and(flushed)?;
            }
        }
        Ok(Incoming::Bytes)
    }

    fn flush(&mut self, deadline: Instant) -> Result<(), Trouble> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        self.ciphertext.clear();
        if tls.poll_transmit(&mut self.ciphertext) {
            write(&mut self.stream, &self.ciphertext, deadline)?;
        }
        Ok(())
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8], deadline: Instant) -> Result<(), Trouble> {
    let wait = deadline.saturating_duration_since(Instant::now()).max(WAIT_MIN);
    let written = stream.set_write_timeout(Some(wait)).and_then(|()| stream.write_all(bytes));
    written.map_err(|error| broken(&error))
}

fn dial(address: &Address, deadline: Instant) -> Result<TcpStream, Trouble> {
    let Address { host, port, .. } = address;
    let addrs = (host.as_str(), *port).to_socket_addrs().map_err(|error| {
        (format!("{host} has no address: {}", reason(&error)), "check the name")
    })?;
    let mut last = (format!("{host} has no address"), "check the name");
    for addr in addrs {
        let wait = deadline.saturating_duration_since(Instant::now()).max(WAIT_MIN);
        match TcpStream::connect_timeout(&addr, wait) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = (
                    format!("cannot connect to {addr}: {}", reason(&error)),
                    "check that the server runs and that the port is right",
                );
            }
        }
    }
    Err(last)
}

fn broken(error: &std::io::Error) -> Trouble {
    (format!("the connection broke: {}", reason(error)), "the server's log says why")
}

fn tls_trouble(error: &dataplane::Error) -> Trouble {
    let mend = match error.reason() {
        "tls_certificate" => "name the certificate of its authority with --ca",
        _ => "check that the server speaks TLS on this port",
    };
    (format!("TLS failed: {error}"), mend)
}

fn tls(host: &str, ca: Option<&Path>) -> Result<TlsClient, Trouble> {
    let config = Trust::Authorities(ca.map(Path::to_owned)).client()?;
    TlsClient::new(config, host).map_err(|error| tls_trouble(&error))
}
