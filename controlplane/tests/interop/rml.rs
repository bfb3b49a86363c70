//! An RTMP client made of an independent library: frame-exact publisher and player.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use codecs::flv::TagKind;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;

use crate::verify::Tag;

const SILENCE: Duration = Duration::from_secs(40);

/// A connection after its handshake and `connect`.
pub(crate) struct Rml {
    stream: TcpStream,
    session: ClientSession,
    events: Vec<ClientSessionEvent>,
    ended: bool,
}

impl Rml {
    /// Connects to an application.
    pub(crate) fn connect(addr: SocketAddr, app: &str) -> Self {
        let mut stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(SILENCE)).expect("a timeout above zero is legal");
        stream.set_nodelay(true).expect("a TCP option");
        let rest = handshake(&mut stream);
        let mut config = ClientSessionConfig::new();
        config.tc_url = Some(format!("rtmp://{addr}/{app}"));
        let (session, results) = ClientSession::new(config).expect("a client session");
        let mut rml = Self { stream, session, events: Vec::new(), ended: false };
        rml.take(results);
        let results = rml.session.handle_input(&rest).expect("what the server says is legal");
        rml.take(results);
        let connect = rml.session.request_connection(app.to_owned()).expect("not connected yet");
        rml.take(vec![connect]);
        rml.wait_for(|event| *event == ClientSessionEvent::ConnectionRequestAccepted);
        rml
    }

    /// Asks to publish and waits for the permission.
    pub(crate) fn publish(&mut self, name: &str) {
        let live = PublishRequestType::Live;
        let request = self.session.request_publishing(name.to_owned(), live).expect("connected");
        self.take(vec![request]);
        self.wait_for(|event| *event == ClientSessionEvent::PublishRequestAccepted);
    }

    /// Asks to play and waits for the permission.
    pub(crate) fn play(&mut self, name: &str) {
        let request = self.session.request_playback(name.to_owned()).expect("connected");
        self.take(vec![request]);
        self.wait_for(|event| *event == ClientSessionEvent::PlaybackRequestAccepted);
    }

    /// Publishes one tag as a message.
    pub(crate) fn send(&mut self, tag: &Tag) {
        let (body, time) = (Bytes::from(tag.body.clone()), RtmpTimestamp::new(tag.timestamp));
        let sent = match tag.kind {
            TagKind::Video => self.session.publish_video_data(body, time, false),
            TagKind::Audio => self.session.publish_audio_data(body, time, false),
            _ => return,
        };
        self.take(vec![sent.expect("publishing")]);
    }

    /// Ends the publication with deleteStream.
    pub(crate) fn end_publishing(mut self) {
        let results = self.session.stop_publishing().expect("publishing");
        self.take(results);
        self.stream.shutdown(std::net::Shutdown::Write).expect("a connected socket");
        // What the server still says is read, or the close would throw our last bytes away.
        while self.read() {}
    }

    /// The next event; `None` when the server closed.
    pub(crate) fn event(&mut self) -> Option<ClientSessionEvent> {
        while self.events.is_empty() && self.read() {}
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    fn wait_for(&mut self, wanted: impl Fn(&ClientSessionEvent) -> bool) {
        let mut seen = Vec::new();
        while let Some(event) = self.event() {
            if wanted(&event) {
                return;
            }
            seen.push(event);
        }
        panic!("the server closed after {seen:?}");
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        if self.ended {
            return false;
        }
        let n = self.stream.read(&mut buffer).expect("the server speaks or closes");
        self.ended = n == 0;
        let results = self.session.handle_input(&buffer[..n]).expect("legal RTMP");
        self.take(results);
        n > 0
    }

    fn take(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    // After the farewell of the server nobody reads our acknowledgements.
                    let written = self.stream.write_all(&packet.bytes);
                    assert!(written.is_ok() || self.ended || !self.events.is_empty());
                }
                ClientSessionResult::RaisedEvent(event) => self.events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }
}

fn handshake(stream: &mut TcpStream) -> Vec<u8> {
    let mut handshake = Handshake::new(PeerType::Client);
    let hello = handshake.generate_outbound_p0_and_p1().expect("a first packet");
    stream.write_all(&hello).expect("the server reads");
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).expect("the server answers");
        assert!(n > 0, "the server closed in the handshake");
        match handshake.process_bytes(&buffer[..n]).expect("a legal handshake") {
            HandshakeProcessResult::InProgress { response_bytes } => {
                stream.write_all(&response_bytes).expect("the server reads");
            }
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                stream.write_all(&response_bytes).expect("the server reads");
                return remaining_bytes;
            }
        }
    }
}

/// Plays until the server closes; `begun` is called at every message of media.
pub(crate) fn play(addr: SocketAddr, app: &str, name: &str, begun: &mut dyn FnMut()) -> Vec<Tag> {
    let mut client = Rml::connect(addr, app);
    client.play(name);
    let mut tags = Vec::new();
    while let Some(event) = client.event() {
        let (kind, timestamp, data) = match event {
            ClientSessionEvent::VideoDataReceived { timestamp, data } => {
                (TagKind::Video, timestamp.value, data)
            }
            ClientSessionEvent::AudioDataReceived { timestamp, data } => {
                (TagKind::Audio, timestamp.value, data)
            }
            _ => continue,
        };
        tags.push(Tag { kind, timestamp, body: data.to_vec() });
        begun();
    }
    tags
}

/// Publishes tags in real time by their timestamps and ends the publication.
pub(crate) fn publish(addr: SocketAddr, app: &str, name: &str, tags: &[Tag]) {
    let mut client = Rml::connect(addr, app);
    client.publish(name);
    let begin = Instant::now();
    for tag in tags {
        pace(begin, tag.timestamp);
        client.send(tag);
    }
    client.end_publishing();
}

/// Waits for the time of a tag: real encoders deliver no frame early.
fn pace(begin: Instant, timestamp: u32) {
    let due = begin + Duration::from_millis(u64::from(timestamp));
    std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
}
