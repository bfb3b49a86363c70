//! SRT over bad lines, through the whole server: every picture and every sound, and a transport
//! stream without fault, also when the publisher comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use loadtest::impair::{DirectionTotals, ImpairSummary, Relay};
use loadtest::scenario::{self, Action};

use crate::client::{Client, Tool, Way};
use crate::clip::Clip;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Server};
use crate::srt::{Encoder, PASSPHRASE, Receiver, session, srt, start};
use crate::verify::Media;

/// A line, and how those are told who speak over it that it is encrypted.
#[derive(Clone, Copy)]
struct Line {
    /// As the relay is told.
    words: &'static str,
    /// What libsrt is told; nothing if it is in the clear.
    secret: &'static str,
    /// It did in this direction what it is for.
    seen: fn(&DirectionTotals) -> bool,
}

/// 5 % are lost each way, and a packet takes 20 ms.
const LOSSY: Line =
    Line { words: "--loss 5% --delay 20ms --seed 3", secret: "", seen: |did| did.lost > 20 };
/// 10 % are lost, several in a row.
const BURSTS: Line = Line {
    words: "--loss 10% --burst 8 --delay 20ms --seed 3",
    secret: "&passphrase=correct horse battery&pbkeylen=32",
    seen: |did| did.lost > 20,
};
/// Packets overtake each other and come twice.
const DISORDER: Line = Line {
    words: "--reorder 5% --duplicate 20% --delay 20ms --seed 3",
    secret: "&passphrase=correct horse battery&pbkeylen=16",
    seen: |did| did.reordered > 20 && did.duplicated > 20,
};
/// ffmpeg closes without waiting for what was lost last: frames of half a second.
const UNSENT_FRAMES_MAX: usize = 24;

/// The relay of `grandstand-load impair` before the SRT of a server.
struct BadLine {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<ImpairSummary>,
}

impl BadLine {
    fn before(server: &Server, line: Line) -> Self {
        let to = srt(server);
        let words = format!("impair --udp --listen 127.0.0.1:0 --to {to} {}", line.words);
        let read = scenario::parse(words.split_whitespace().map(Into::into)).expect("it is right");
        let Action::Impair(plan) = read.action else { panic!("{words}") };
        let mut relay = Relay::open(&plan).expect("a port is free");
        let addr = relay.local_addr().expect("it listens");
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || relay.run(&until).expect("it relays"));
        Self { addr, stop, thread }
    }

    /// Ends it; it was bad in each direction.
    fn finish(self, line: Line) {
        self.stop.store(true, Ordering::Relaxed);
        let did = self.thread.join().expect("it relayed to the end");
        assert!((line.seen)(&did.up) && (line.seen)(&did.down), "{did:?}");
    }
}

fn lossy(backend: Backend) {
    is_whole_over(LOSSY, backend);
}

fn bursts(backend: Backend) {
    is_whole_over(BURSTS, backend);
}

fn disorder(backend: Backend) {
    is_whole_over(DISORDER, backend);
}

fn is_whole_over(line: Line, backend: Backend) {
    let config = "[session]\nplay_wait_ms = 30000\n[hls]\nmode = \"always\"\n";
    let srt = match line.secret {
        "" => String::new(),
        _ => format!("[srt]\npassphrase = \"{PASSPHRASE}\"\n"),
    };
    let server = start(backend, &format!("{config}{srt}"));
    let relay = BadLine::before(&server, line);
    let ways = [
        Client::RML,
        Client::PLAIN,
        Client(Tool::Plain, Way::Ts),
        Client(Tool::Plain, Way::Hls),
        Client(Tool::Ffmpeg, Way::Rtmp),
    ];
    let players = ways.map(|client| Player::start(client, &server, "field"));
    server.wait_for_players("field", 4);
    let query = format!("streamid=publish:field&latency=400000{}", line.secret);
    let encoder = Encoder::start(relay.addr, Clip::H264, &query);
    let studio = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    let receivers = ["field", "studio"].map(|name| {
        session(&server, |s| s["stream"] == name && s["role"] == "publish");
        Receiver::start_at(relay.addr, &server, name, &format!("latency=400{}", line.secret))
    });
    receivers.iter().for_each(Receiver::wait_for_media);
    let [field, studio] = [encoder.finish(), studio.finish()];
    for player in players {
        let (who, mut got) = player.finish();
        got.end_missing_max = UNSENT_FRAMES_MAX;
        got.assert_whole(&field, &format!("{who:?}"));
    }
    for (receiver, published) in receivers.into_iter().zip([&field, &studio]) {
        let mut got = receiver.finish();
        got.end_missing_max = UNSENT_FRAMES_MAX;
        got.assert_played(published, "srt-live-transmit");
    }
    server.stop();
    relay.finish(line);
}

/// What is published at each of two times.
enum Source {
    Srt(Encoder),
    Rtmp(Publisher),
}

impl Source {
    fn start(server: &Server, name: &str) -> Self {
        match name {
            "field" => Self::Srt(Encoder::start(srt(server), Clip::H264, "streamid=publish:field")),
            _ => Self::Rtmp(Publisher::ffmpeg(Clip::H264, &server.rtmp_url(name))),
        }
    }

    fn finish(self) -> Media {
        match self {
            Self::Srt(encoder) => encoder.finish(),
            Self::Rtmp(publisher) => publisher.finish(),
        }
    }

    /// Its end comes without a farewell, somewhere in the clip.
    fn kill(self) -> Media {
        match self {
            Self::Srt(encoder) => encoder.kill(),
            Self::Rtmp(publisher) => {
                publisher.kill();
                Media::of_flv(&Clip::H264.bytes())
            }
        }
    }
}

/// Pictures of the first publication without a gap, of which the last one may be cut, and then all
/// of the second one.
fn assert_both(got: &Media, [first, second]: &[Media; 2], who: &str) {
    let of_first = got.video.len().saturating_sub(second.video.len());
    assert!(of_first > 1, "{who}: only {} pictures", got.video.len());
    let (run, rest) = got.video.split_at(of_first);
    let differs = rest.iter().zip(&second.video).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{who}: the second publication, after {of_first} pictures");
    let whole = &run[..run.len() - 1];
    assert!(first.video.windows(whole.len()).any(|part| part == whole), "{who}: a gap");
    assert!(got.audio.len() > second.audio.len(), "{who}: {} sounds", got.audio.len());
}

fn resumed(backend: Backend) {
    let config = "[session]\nplay_wait_ms = 30000\n[stream]\ngrace_ms = 20000\n";
    let server = start(backend, config);
    let names = ["field", "studio"];
    let players = names.map(|name| Player::start(Client(Tool::Plain, Way::Ts), &server, name));
    names.iter().for_each(|name| server.wait_for_players(name, 1));
    let first = names.map(|name| Source::start(&server, name));
    let receivers = names.map(|name| {
        session(&server, |s| s["stream"] == name && s["role"] == "publish");
        Receiver::start(&server, name, "latency=200")
    });
    receivers.iter().for_each(Receiver::wait_for_media);
    let first = first.map(Source::kill);
    for name in names {
        let path = format!("/api/v1/streams/{name}");
        server.api_until(&path, |stream| stream["state"] == "grace");
    }
    let second = names.map(|name| Source::start(&server, name)).map(Source::finish);
    let published = first.into_iter().zip(second).map(|(first, second)| [first, second]);
    for ((player, receiver), published) in players.into_iter().zip(receivers).zip(published) {
        let (who, got) = player.finish_with_pauses(1);
        assert_both(&got, &published, &format!("{who:?}"));
        assert_both(&receiver.finish_with_pauses(1), &published, "srt-live-transmit");
    }
    server.stop();
}

on_both_backends! { lossy bursts disorder resumed }
