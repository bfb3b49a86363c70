//! HTTP: streams that end with the connection, WebSockets, playlists and segments.

use std::time::Duration;

use codecs::flv::tag::{FILE_HEADER_LEN, FileHeader, TAG_HEADER_LEN, TagHeader, TagKind};
use codecs::writer::Writer;

use crate::server::{Framing, Manner, Shared, Stage, Wire, join};

/// Who asks for a playlist that is not there yet waits so long.
const PLAYLIST_WAIT: Duration = Duration::from_secs(10);

pub(crate) fn tag(timestamp_ms: u32, body: &[u8]) -> Vec<u8> {
    let data_len = u32::try_from(body.len()).unwrap();
    let header = TagHeader { kind: TagKind::Video, data_len, timestamp_ms };
    let mut out = vec![0; TAG_HEADER_LEN];
    header.encode(&mut Writer::new(&mut out));
    out.extend_from_slice(body);
    out.extend_from_slice(&header.previous_tag_size().to_be_bytes());
    out
}

pub(crate) fn websocket_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// The same in chunks of odd sizes, without the last one.
pub(crate) fn chunks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in bytes.chunks(1021) {
        out.extend(format!("{:X};odd\r\n", chunk.len()).as_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out
}

fn flv_header() -> [u8; FILE_HEADER_LEN] {
    let mut header = [0; FILE_HEADER_LEN];
    FileHeader { audio: false, video: true }.encode(&mut Writer::new(&mut header));
    header
}

/// A request's first line, with its other lines behind it.
fn request(wire: &mut Box<dyn Wire>) -> std::io::Result<(String, String)> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        wire.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let (first, rest) = request.split_once("\r\n").unwrap();
    Ok((first.to_owned(), rest.to_ascii_lowercase()))
}

/// Answers requests until one is for a stream.
pub(crate) fn serve(mut wire: Box<dyn Wire>, shared: &Shared) -> std::io::Result<()> {
    loop {
        let (line, fields) = request(&mut wire)?;
        let target = line.split(' ').nth(1).unwrap();
        let (manner, https) = {
            let stage = shared.lock().unwrap();
            (stage.manner, stage.https)
        };
        let there = target.strip_prefix("/there");
        if manner == Manner::Circling || (manner == Manner::Leading && there.is_none()) {
            let to = format!("https://127.0.0.1:{https}/there{target}");
            write!(wire, "HTTP/1.1 302 Found\r\nLocation: {to}\r\n")?;
            write!(wire, "Content-Length: 9\r\n\r\nelsewhere")?;
            continue;
        }
        let target = there.unwrap_or(target);
        let is_websocket = fields.contains("sec-websocket-key: dghlihnhbxbszsbub25jzq==");
        match target {
            _ if manner == Manner::Refusing => {}
            "/live/fake.flv?key=1" if is_websocket => {
                let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
                write!(wire, "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")?;
                wire.write_all(&websocket_frame(&flv_header()))?;
                // Nobody needs to answer a ping, but it must not disturb.
                wire.write_all(&[0x89, 2, b'h', b'i'])?;
                join(wire, Framing::WebSocket, shared);
                return Ok(());
            }
            "/live/fake.flv?key=1" => {
                let (coding, header) = coded(manner, &flv_header());
                write!(wire, "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n{coding}\r\n")?;
                wire.write_all(&header)?;
                join(wire, Framing::Flv, shared);
                return Ok(());
            }
            "/live/fake.ts" | "/live/fake.ts?key=1" => {
                let (coding, _) = coded(manner, &[]);
                write!(wire, "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n{coding}\r\n")?;
                join(wire, Framing::Transport, shared);
                return Ok(());
            }
            _ => {}
        }
        let (status, body) = file(target, shared);
        let (mut coding, mut body) = coded(manner, &body);
        if manner == Manner::Chunked {
            body.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
        } else {
            coding = format!("Content-Length: {}\r\n", body.len());
        }
        let files = {
            let mut stage = shared.lock().unwrap();
            stage.files += 1;
            stage.files
        };
        match (manner, files % 3) {
            (Manner::Hasty, 0) => write!(wire, "HTTP/1.0 {status}\r\n\r\n")?,
            (Manner::Hasty, 1) => {
                write!(wire, "HTTP/1.1 {status}\r\nConnection: close\r\n{coding}\r\n")?;
            }
            _ => write!(wire, "HTTP/1.1 {status}\r\n{coding}\r\n")?,
        }
        wire.write_all(&body)?;
        if manner == Manner::Hasty {
            return Ok(());
        }
    }
}

/// A body as it goes out, and what the head says of that.
fn coded(manner: Manner, body: &[u8]) -> (String, Vec<u8>) {
    match manner {
        Manner::Chunked => ("Transfer-Encoding: chunked\r\n".to_owned(), chunks(body)),
        _ => (String::new(), body.to_vec()),
    }
}

/// A playlist or a segment.
fn file(target: &str, shared: &Shared) -> (&'static str, Vec<u8>) {
    let mut stage = shared.lock().unwrap();
    if target.contains(".m3u8") && stage.manner != Manner::Refusing {
        // Until a segment is whole there is no playlist.
        let grown = stage.grown.clone();
        let is_early = |stage: &mut Stage| stage.transport.playlist().is_none();
        stage = grown.wait_timeout_while(stage, PLAYLIST_WAIT, is_early).unwrap().0;
    }
    let path = target.split('?').next().unwrap();
    let path = path.strip_prefix("/live/fake/").filter(|_| stage.manner != Manner::Refusing);
    let playlist = stage.transport.playlist();
    match (path, playlist) {
        (Some("index.m3u8"), Some(_)) => {
            let variant = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=400000\nmedia.m3u8\n";
            ("200 OK", variant.as_bytes().to_vec())
        }
        (Some("media.m3u8"), Some(playlist)) => ("200 OK", playlist.into_bytes()),
        (Some("index.m3u8" | "media.m3u8"), None) => ("503 Service Unavailable", Vec::new()),
        (Some(name), _) => match stage.transport.segment(name) {
            Some(segment) => ("200 OK", segment.to_vec()),
            None => ("404 Not Found", Vec::new()),
        },
        (None, _) => ("404 Not Found", Vec::new()),
    }
}
