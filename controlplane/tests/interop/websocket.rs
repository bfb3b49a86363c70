//! An independent WebSocket client.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::player::BEGUN_BYTES;

const SILENCE: Duration = Duration::from_secs(40);

/// All binary messages of `path` in a row, until the server closes as the protocol wants it.
pub(crate) fn play(addr: SocketAddr, path: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    let stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero is legal");
    let url = format!("ws://{addr}{path}");
    let (mut socket, _) = tungstenite::client(url, stream).expect("the server switches");
    let mut body = Vec::new();
    let mut code = None;
    loop {
        match socket.read() {
            Ok(Message::Binary(bytes)) => body.extend_from_slice(&bytes),
            Ok(Message::Ping(_)) => {}
            Ok(Message::Close(frame)) => code = frame.map(|frame| frame.code),
            Ok(other) => panic!("the server said {other:?}"),
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(error) => panic!("{error}"),
        }
        if body.len() > BEGUN_BYTES {
            begun();
        }
    }
    assert!(matches!(code, Some(CloseCode::Normal | CloseCode::Away)), "{code:?}");
    body
}
