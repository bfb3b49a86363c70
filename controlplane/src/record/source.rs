//! Source: a stream of this node, as its players of HTTP-FLV get it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dataplane::ids::{Secret, StreamName};

/// What a recording calls itself.
pub(super) const AGENT: &str = concat!("grandstand-recorder/", env!("CARGO_PKG_VERSION"));
/// Bytes of the head of an answer at most.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// A listener of this node answers a connection within this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// And a request within this.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// By what a recording is ended from outside: clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<Mutex<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    socket: Option<TcpStream>,
    is_off: bool,
}

impl Switch {
    /// Ends the recording.
    pub(super) fn turn_off(&self) {
        let mut wire = self.wire();
        wire.is_off = true;
        if let Some(socket) = &wire.socket {
            // One that is closed already needs no word.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// True once it is to end.
    pub(super) fn is_off(&self) -> bool {
        self.wire().is_off
    }

    fn hold(&self, socket: &TcpStream) -> io::Result<()> {
        let mut wire = self.wire();
        if wire.is_off {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        wire.socket = Some(socket.try_clone()?);
        Ok(())
    }

    fn wire(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for `stream` at `addr`, and returns behind the head of the answer.
///
/// Errors: in words, what the listener says instead.
pub(super) fn open(
    addr: SocketAddr,
    stream: &StreamName,
    key: &Secret,
    switch: &Switch,
) -> Result<TcpStream, String> {
    let failed = |error: io::Error| {
        format!("{addr}: {error}; listeners.http must let this node itself play by HTTP-FLV")
    };
    let mut socket = TcpStream::connect_timeout(&addr, CONNECT_MAX).map_err(failed)?;
    switch.hold(&socket).map_err(failed)?;
    socket.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    let request = format!(
        "GET /{stream}.flv?key={} HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: {AGENT}\r\n\r\n",
        key.0
    );
    socket.write_all(request.as_bytes()).map_err(failed)?;
    let head = read_head(&mut socket).map_err(failed)?;
    // Who waits for the publisher's return hears nothing meanwhile.
    socket.set_read_timeout(None).map_err(failed)?;
    let line = head.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(socket),
        _ => Err(format!("{addr}: this node answers `{line}`; its log says why")),
    }
}

/// Reads up to the empty line, and nothing behind it.
fn read_head(socket: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // A few hundred bytes, once for each recording.
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
