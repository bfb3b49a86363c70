//! An independent WebSocket client.

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::http_flv::Endpoint;
use crate::player::BEGUN_BYTES;

/// All binary messages of `path` in a row, until the server closes as the protocol wants it.
pub(crate) fn play(web: &Endpoint, path: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    // The stream is inside TLS or not; the address tells the library no more than the host.
    let url = format!("ws://{}{path}", web.addr);
    let opened = tungstenite::client(url, web.connect());
    let (mut socket, _) = opened.unwrap_or_else(|error| panic!("the server switches: {error}"));
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
