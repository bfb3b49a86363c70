//! Requests: what the server asks of others, answered by scripted ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// The answer of who takes what it is told.
pub(crate) const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What makes an answer of the head and the body of a request; none for `None`.
type Script = dyn Fn(&str, &[u8]) -> Option<String> + Send + Sync;

/// Answers every request to an address of its own, each connection on a thread.
pub(crate) fn serve(
    script: impl Fn(&str, &[u8]) -> Option<String> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let script: Arc<Script> = Arc::new(script);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || attend(stream, &*script));
        }
    });
    address
}

/// Until the connection ends.
fn attend(stream: TcpStream, script: &Script) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut body) = (String::new(), Vec::new());
    loop {
        head.clear();
        let mut length = 0;
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if let Some(text) = head[from..].strip_prefix("content-length: ") {
                length = text.trim().parse().ok()?;
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
        if let Some(answer) = script(&head, &body) {
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }
}
