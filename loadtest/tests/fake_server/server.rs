//! The server: streams come by RTMP and go out in every way that the generator plays.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::transport::Transport;
use crate::{http, rtmp, tls};

/// How the server treats frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Every tenth frame goes to nobody.
    Lossy,
    /// Everybody is refused who wants to play.
    Refusing,
    /// There is room for so many players of RTMP.
    Full(usize),
    /// Every tenth picture of a transport stream lacks a packet.
    Leaky,
    /// Whoever publishes the frame of this number is closed.
    Closing(u64),
    /// A byte of every tenth frame is another one.
    Corrupting,
    /// The last byte of every tenth frame is missing.
    Truncating,
    /// The stamps of frames are nothing that anybody could read.
    Stripping,
    /// Every tenth frame comes once more.
    Doubling,
    /// Bodies of HTTP come in chunks.
    Chunked,
    /// A connection of HTTP ends with its first file, announced, unannounced or as the only end.
    Hasty,
    /// Who asks without TLS is led to where it is spoken.
    Leading,
    /// Everybody is led around in a circle.
    Circling,
}

/// What a connection reads and writes with.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// How a player's media is framed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Rtmp,
    Flv,
    WebSocket,
    Transport,
}

struct Player {
    wire: Box<dyn Wire>,
    framing: Framing,
    in_chunks: bool,
    ready: bool,
}

/// What the connections share: players, and the start of the stream for new ones.
pub(crate) struct Stage {
    pub(crate) manner: Manner,
    players: Vec<Player>,
    config: Option<Vec<u8>>,
    frames: u64,
    pub(crate) transport: Transport,
    /// Files that were asked for.
    pub(crate) files: u64,
    /// The port where HTTP is spoken inside TLS.
    pub(crate) https: u16,
    /// Told of every frame.
    pub(crate) grown: Arc<Condvar>,
}

impl Stage {
    /// Whether one more player of RTMP is let in; those who have gone make room.
    pub(crate) fn has_room(&mut self) -> bool {
        let Manner::Full(most) = self.manner else { return self.manner != Manner::Refusing };
        self.players.len() < most
    }

    /// What becomes of a frame whose turn it is to be damaged.
    fn damaged(&self, body: &[u8]) -> Option<Vec<u8>> {
        let is_its_turn = self.frames.is_multiple_of(10) || self.manner == Manner::Stripping;
        let mut body = is_its_turn.then(|| body.to_vec())?;
        match self.manner {
            Manner::Corrupting => *body.last_mut()? ^= 1,
            Manner::Truncating => drop(body.pop()),
            // The NAL unit behind the tag header and a length is SEI no more, but filler.
            Manner::Stripping => body[5 + 4] = 12,
            _ => return None,
        }
        Some(body)
    }
}

pub(crate) type Shared = Arc<Mutex<Stage>>;

/// The ports of a server.
pub(crate) struct Ports {
    pub(crate) rtmp: u16,
    pub(crate) http: u16,
    pub(crate) rtmps: u16,
    pub(crate) https: u16,
}

type Serve = fn(Box<dyn Wire>, &Shared) -> std::io::Result<()>;

/// Starts a server on free ports.
pub(crate) fn start(manner: Manner) -> Ports {
    let transport = Transport::new(manner == Manner::Leaky);
    let (players, grown) = (Vec::new(), Arc::default());
    let (frames, files, https) = (0, 0, 0);
    let stage = Stage { manner, players, config: None, frames, transport, files, https, grown };
    let shared = Arc::new(Mutex::new(stage));
    let port = |serve: Serve, is_tls: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                let wire = wire(stream, is_tls);
                // A generator that goes away ends its connection's thread by an error.
                thread::spawn(move || serve(wire, &shared).ok());
            }
        });
        port
    };
    let https = port(http::serve, true);
    shared.lock().unwrap().https = https;
    Ports {
        rtmp: port(rtmp::serve, false),
        http: port(http::serve, false),
        rtmps: port(rtmp::serve, true),
        https,
    }
}

fn wire(stream: TcpStream, is_tls: bool) -> Box<dyn Wire> {
    if is_tls { tls::accept(stream) } else { Box::new(stream) }
}

/// From now on the connection gets media.
pub(crate) fn join(wire: Box<dyn Wire>, framing: Framing, shared: &Shared) {
    let mut stage = shared.lock().unwrap();
    let is_http = matches!(framing, Framing::Flv | Framing::Transport);
    let in_chunks = is_http && stage.manner == Manner::Chunked;
    stage.players.push(Player { wire, framing, in_chunks, ready: false });
}

/// Hands a video message on; players begin at a keyframe, with the configuration before it. False
/// if the publisher is closed for it.
pub(crate) fn publish(shared: &Shared, timestamp: u32, body: &[u8]) -> bool {
    let mut stage = shared.lock().unwrap();
    if body[1] == 0 {
        stage.transport.configure(body);
        stage.config = Some(body.to_vec());
        return true;
    }
    stage.frames += 1;
    if stage.manner == Manner::Lossy && stage.frames.is_multiple_of(10) {
        return true;
    }
    let is_key = body[0] >> 4 == 1;
    let config = stage.config.clone().unwrap();
    let packets = stage.transport.frame(timestamp, is_key, body);
    stage.grown.notify_all();
    let damaged = stage.damaged(body);
    let body = damaged.as_deref().unwrap_or(body);
    let is_doubled = stage.manner == Manner::Doubling && stage.frames.is_multiple_of(10);
    stage.players.retain_mut(|player| {
        let framed = |body: &[u8]| match player.framing {
            Framing::Rtmp => rtmp::video(timestamp, body),
            Framing::Flv => http::tag(timestamp, body),
            Framing::WebSocket => http::websocket_frame(&http::tag(timestamp, body)),
            Framing::Transport => Vec::new(),
        };
        let mut bytes = Vec::new();
        if !player.ready && is_key {
            bytes.extend(framed(&config));
            player.ready = true;
        }
        if player.ready {
            bytes.extend(framed(body));
            if is_doubled {
                bytes.extend(framed(body));
            }
            if player.framing == Framing::Transport {
                bytes.extend(&packets);
            }
        }
        if player.in_chunks {
            bytes = http::chunks(&bytes);
        }
        player.wire.write_all(&bytes).is_ok()
    });
    stage.manner != Manner::Closing(stage.frames)
}
