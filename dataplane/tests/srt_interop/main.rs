//! SRT with libsrt at the other end: `srt-live-transmit` and ffmpeg call and are called, send and
//! receive, in the clear and encrypted, over a bad line. Every byte is compared.
//!
//! The line lies between our connection and its socket, so that what it does is decided by a seed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a foreign program keeps real time")]
#![expect(clippy::disallowed_types, reason = "the wiring of the reactor is not under test")]

#[path = "../srt/line.rs"]
mod line;
mod peer;
mod tool;

use std::time::Duration;

use codecs::srt::{KeyLength, Passphrase, RejectReason};
use dataplane::session::srt::Settings;

use line::Weather;
use peer::{Feed, Peer};
use tool::Tool;

const SECRET: &str = "a-secret-of-both";
const LATENCY_MS: u64 = 400;
/// Bytes that ffmpeg may leave unsent at its end: half a second.
const UNSENT_MAX: usize = 65_536;

/// Our role, which the tool's follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Listener,
    Caller,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Receive,
    Send,
}

const FINE: Weather = Weather {
    loss: 0,
    burst: 0,
    burst_packets: 0,
    duplicate: 0,
    delay: Duration::ZERO,
    jitter: Duration::ZERO,
};

/// 5 % each way, 20 ms each way.
const BAD: Weather = Weather { loss: 50, delay: Duration::from_millis(20), ..FINE };

fn settings(key: Option<KeyLength>) -> Settings {
    Settings {
        latency: Duration::from_millis(LATENCY_MS),
        connect_timeout: Duration::from_secs(20),
        passphrase: key.map(|_| Passphrase::new(SECRET.as_bytes()).unwrap()),
        key_length: key.unwrap_or(KeyLength::Aes128),
        // Keys change in the middle of each test.
        key_refresh_packets: 900,
        key_announce_packets: 300,
        ..Settings::default()
    }
}

fn query(key: Option<KeyLength>) -> String {
    let latency = format!("latency={LATENCY_MS}");
    let refresh = "kmrefreshrate=900&kmpreannounce=300";
    match key {
        None => latency,
        Some(key) => {
            format!("{latency}&passphrase={SECRET}&pbkeylen={}&{refresh}", key.bytes())
        }
    }
}

/// The same for one direction: who sends alone needs no key of its own, and a caller of libsrt
/// takes none from its listener.
fn one_way(key: Option<KeyLength>, direction: Direction) -> Settings {
    let sends = matches!(direction, Direction::Send);
    Settings { sends, receives: !sends, ..settings(key) }
}

/// Moves a stream and compares it.
fn exchange(role: Role, direction: Direction, key: Option<KeyLength>, weather: Weather) {
    let what = format!("{role:?} {direction:?} {key:?} {weather:?}");
    let query = query(key);
    let (mut peer, address) = match role {
        Role::Listener => {
            let peer = Peer::listen(one_way(key, direction), weather);
            let address = format!("srt://{}?mode=caller&{query}", peer.addr());
            (peer, address)
        }
        Role::Caller => {
            let addr = tool::free_addr();
            let address = format!("srt://{addr}?mode=listener&{query}");
            (Peer::call(one_way(key, direction), weather, addr), address)
        }
    };
    let sent = peer::content();
    match direction {
        Direction::Receive => {
            let mut tool = Tool::transmit("file://con", &address);
            peer.connect(&mut tool);
            peer.receive(Feed::new(&sent, &mut tool));
            tool::assert_same_once_connected(&what, peer.received(), &sent);
        }
        Direction::Send => {
            let mut tool = Tool::transmit(&address, "file://con");
            peer.connect(&mut tool);
            let got = peer.send(&sent, &mut tool);
            tool::assert_same(&what, got, &sent);
        }
    }
}

macro_rules! cells {
    ($($name:ident: $role:ident $direction:ident $key:expr, $weather:ident;)*) => {$(
        #[test]
        fn $name() {
            exchange(Role::$role, Direction::$direction, $key, $weather);
        }
    )*};
}

const AES_128: Option<KeyLength> = Some(KeyLength::Aes128);
const AES_192: Option<KeyLength> = Some(KeyLength::Aes192);
const AES_256: Option<KeyLength> = Some(KeyLength::Aes256);

cells! {
    libsrt_calls_and_sends: Listener Receive None, FINE;
    libsrt_calls_and_sends_aes_128: Listener Receive AES_128, FINE;
    libsrt_calls_and_sends_aes_256_over_a_bad_line: Listener Receive AES_256, BAD;
    libsrt_calls_and_receives: Listener Send None, FINE;
    libsrt_calls_and_receives_aes_256: Listener Send AES_256, FINE;
    libsrt_calls_and_receives_aes_128_over_a_bad_line: Listener Send AES_128, BAD;
    libsrt_is_called_and_sends: Caller Receive None, BAD;
    libsrt_is_called_and_sends_aes_256: Caller Receive AES_256, FINE;
    libsrt_is_called_and_receives: Caller Send None, BAD;
    libsrt_is_called_and_receives_aes_128: Caller Send AES_128, FINE;
    libsrt_is_called_and_receives_aes_192: Caller Send AES_192, FINE;
}

#[test]
fn ffmpeg_publishes_what_it_writes_to_a_file_but_for_its_end() {
    let mut peer = Peer::listen(settings(AES_256), FINE);
    let query = format!("{}&streamid=publish:cam1", query(AES_256));
    // Its latency is in microseconds.
    let query = query.replace(&format!("={LATENCY_MS}&"), &format!("={LATENCY_MS}000&"));
    let address = format!("srt://{}?{query}", peer.addr());
    let (mut tool, file) = Tool::ffmpeg(&address);
    peer.connect(&mut tool);
    assert_eq!(peer.stream_id(), Some(&b"publish:cam1"[..]));
    peer.receive_to_the_end();
    // It closes without waiting: libsrt throws away what it has not sent by then.
    let written = std::fs::read(file.path()).unwrap();
    let got = peer.received();
    assert!(got.len() + UNSENT_MAX >= written.len(), "{} of {}", got.len(), written.len());
    tool::assert_same("ffmpeg", got, &written[..got.len().min(written.len())]);
}

#[test]
fn libsrt_is_told_why_it_is_refused() {
    for reason in [
        RejectReason::NOT_FOUND,
        RejectReason::UNAUTHORIZED,
        RejectReason::FORBIDDEN,
        RejectReason::CONFLICT,
        RejectReason::BAD_REQUEST,
        RejectReason::BACKLOG,
    ] {
        let mut peer = Peer::listen(settings(None), FINE).refusing(reason);
        let mut tool = Tool::caller(peer.addr());
        peer.serve_until_it_ends(&mut tool);
        assert_eq!(String::from_utf8_lossy(tool.output()).trim(), reason.0.to_string());
    }
}

#[test]
fn another_passphrase_is_refused_by_both() {
    let other = query(AES_128).replace("both", "none");
    let mut peer = Peer::listen(settings(AES_128), FINE);
    let address = format!("srt://{}?mode=caller&{other}", peer.addr());
    let mut tool = Tool::transmit(&address, "file://con");
    let said = peer.serve_until_it_ends(&mut tool);
    assert!(said.contains("Incorrect passphrase"), "{said}");
    let addr = tool::free_addr();
    let _tool = Tool::transmit(&format!("srt://{addr}?mode=listener&{other}"), "file://con");
    let refused = Peer::call(settings(AES_128), FINE, addr).refusal();
    assert_eq!(refused, RejectReason::BAD_SECRET);
}
