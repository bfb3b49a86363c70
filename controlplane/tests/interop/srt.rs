//! SRT with libsrt's own programs: ffmpeg publishes, srt-live-transmit plays and is refused.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, Tool, Way};
use crate::clip::{Clip, FFMPEG, SECONDS};
use crate::player::Player;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};
use crate::transport;
use crate::verify::Media;

/// What libsrt's programs do with a connection is over by then.
const END: Duration = Duration::from_secs(60);
/// The hash of a key that nobody in here knows.
const KEY: &str = "sha256:000102030405060708090a0b0c0d0e0f:\
    74eb5d5280a326b4036850fb55e71d40e4dd08046b1a40193c81793f8b843eea";
pub(crate) const PASSPHRASE: &str = "correct horse battery";

fn serve(backend: Backend, config: &str) -> Server {
    start(backend, &format!("[session]\nplay_wait_ms = 30000\n{config}"))
}

/// Nobody waits for a stream that is not there.
pub(crate) fn serve_at_once(config: &str) -> Server {
    start(Backend::Auto, config)
}

pub(crate) fn start(backend: Backend, config: &str) -> Server {
    Server::start(&listening(backend, config))
}

/// A server that SRT is spoken with; `config` goes on with that section.
pub(crate) fn listening(backend: Backend, config: &str) -> Options {
    let mut options = Options::on(backend);
    options.config = format!("[listeners.srt]\nenabled = true\naddr = \"127.0.0.1:0\"\n{config}");
    options
}

/// What goes through as it came is judged, too: ffmpeg by itself tells its clock too seldom.
pub(crate) const CLOCK_OFTEN: [&str; 2] = ["-pcr_period", "20"];

/// ffmpeg sends a clip as a transport stream, in real time.
pub(crate) struct Encoder {
    process: Process,
    clip: Clip,
}

impl Encoder {
    pub(crate) fn start(addr: SocketAddr, clip: Clip, query: &str) -> Self {
        Self::start_with(addr, clip, query, &[])
    }

    pub(crate) fn endless(addr: SocketAddr, clip: Clip, query: &str) -> Self {
        Self::start_with(addr, clip, query, &["-stream_loop", "-1"])
    }

    fn start_with(addr: SocketAddr, clip: Clip, query: &str, input: &[&str]) -> Self {
        let url = format!("srt://{addr}?pkt_size=1316&linger=5&{query}");
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-re"]).args(input);
        command.arg("-i").arg(clip.file()).args(["-map", "0", "-c", "copy", "-f", "mpegts"]);
        command.args(CLOCK_OFTEN).arg(&url);
        Self { process: Process::start(&mut command), clip }
    }

    /// Waits for the end of the publication and gives what was published.
    pub(crate) fn finish(mut self) -> Media {
        self.process.finish(Duration::from_secs(SECONDS.into()) + END);
        Media::of_flv(&self.clip.bytes())
    }

    pub(crate) fn interrupt(mut self) {
        self.process.signal("INT");
        self.process.wait(END);
    }

    /// Falls silent without a farewell; of what it published some came.
    pub(crate) fn kill(mut self) -> Media {
        self.process.signal("KILL");
        self.process.wait(END);
        Media::of_flv(&self.clip.bytes())
    }
}

/// srt-live-transmit writes what it receives to its standard output.
pub(crate) struct Receiver {
    process: Process,
    file: PathBuf,
}

impl Receiver {
    pub(crate) fn start(server: &Server, name: &str, query: &str) -> Self {
        Self::start_at(srt(server), server, name, query)
    }

    /// The same for a way to the server that is not the direct one.
    pub(crate) fn start_at(addr: SocketAddr, server: &Server, name: &str, query: &str) -> Self {
        let file = server.folder().join(format!("{}.ts", name.replace('/', "-")));
        let url = format!("srt://{addr}?streamid={name}&{query}");
        // Its output is the stream, which is no text.
        let script =
            format!("exec srt-live-transmit -a:no -q '{url}' file://con >'{}'", file.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        Self { process: Process::start(&mut command), file }
    }

    /// What came until the server ended the connection.
    pub(crate) fn finish(self) -> Media {
        self.finish_with_pauses(0)
    }

    /// The same of a stream whose publisher was away so often.
    pub(crate) fn finish_with_pauses(mut self, pauses: u64) -> Media {
        self.process.wait(END);
        let stream = fs::read(&self.file).expect("it wrote a file");
        transport::media_with_pauses(&stream, "srt-live-transmit", pauses)
    }

    /// Waits until something came.
    pub(crate) fn wait_for_media(&self) {
        let deadline = std::time::Instant::now() + END;
        while fs::metadata(&self.file).map_or(0, |file| file.len()) < 4_096 {
            assert!(std::time::Instant::now() < deadline, "{}", self.process.output());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

/// Where the server speaks SRT.
pub(crate) fn srt(server: &Server) -> SocketAddr {
    server.srt.expect("the test asked for SRT")
}

/// What libsrt says of a connection that somebody wants in vain.
pub(crate) fn refused(server: &Server, direction: &str, query: &str) -> String {
    let url = format!("srt://{}?{query}", srt(server));
    let mut command = match direction {
        "play" => {
            let mut command = Command::new("srt-live-transmit");
            command.args(["-a:no", "-t:10", "-loglevel:warn", &url, "file://con"]);
            command
        }
        _ => {
            let mut command = Command::new(FFMPEG);
            command.args(["-hide_banner", "-nostdin", "-i"]).arg(Clip::Small.file());
            command.args(["-c", "copy", "-f", "mpegts", &url]);
            command
        }
    };
    let mut process = Process::start(&mut command);
    process.wait(END);
    process.output()
}

pub(crate) fn session(server: &Server, is: impl Fn(&Value) -> bool) -> Value {
    let found = server.api_until("/api/v1/sessions", |answer| {
        answer["sessions"].as_array().is_some_and(|all| all.iter().any(&is))
    });
    let all = found["sessions"].as_array().expect("sessions are listed");
    all.iter().find(|session| is(session)).expect("it was there").clone()
}

fn published(backend: Backend) {
    let server = serve(backend, "");
    // Either shard is the home of some of them, whichever hears the call.
    let names = ["a", "b", "c", "d"];
    let players: Vec<_> = names
        .iter()
        .flat_map(|name| {
            [Client::PLAIN, Client::RML, Client(Tool::Plain, Way::Ts)]
                .map(|client| Player::start(client, &server, name))
        })
        .collect();
    names.iter().for_each(|name| server.wait_for_players(name, 3));
    let encoders = names.map(|name| {
        Encoder::start(srt(&server), Clip::H264, &format!("streamid=publish:live/{name}"))
    });
    let is_ours = |s: &Value| s["protocol"] == "srt" && s["role"] == "publish";
    let seen = session(&server, |s| is_ours(s) && s["bytes_in"].as_u64() > Some(10_000));
    assert!(seen["agent"].as_str().is_some_and(|agent| agent.starts_with("srt/1.")), "{seen:#}");
    assert_eq!(seen["state"], "publishing");
    let published = encoders.map(Encoder::finish);
    for player in players {
        let (who, got) = player.finish();
        // Sound that came before the first picture is of no use to anybody.
        got.assert_played(&published[0], &format!("{who:?}"));
        assert_eq!(got.video.len(), published[0].video.len(), "{who:?}");
    }
    server.stop();
}

fn played(backend: Backend) {
    let server = serve(backend, "");
    // A publisher over RTMP, and one over SRT.
    let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
    let encoder = Encoder::start(srt(&server), Clip::H264, "streamid=publish:field/b");
    let receivers = ["studio", "field/b"].map(|name| {
        session(&server, |s| s["stream"] == name && s["role"] == "publish");
        Receiver::start(&server, name, "latency=200")
    });
    receivers.iter().for_each(Receiver::wait_for_media);
    let seen = session(&server, |s| s["protocol"] == "srt" && s["role"] == "play");
    assert_eq!(seen["state"], "playing");
    let published = [publisher.finish(), encoder.finish()];
    for (receiver, published) in receivers.into_iter().zip(published) {
        receiver.finish().assert_played(&published, "srt-live-transmit");
    }
    server.stop();
}

fn encrypted(backend: Backend) {
    let server = serve(backend, &format!("[srt]\npassphrase = \"{PASSPHRASE}\"\n"));
    let player = Player::start(Client::PLAIN, &server, "vault");
    server.wait_for_players("vault", 1);
    let secret = format!("passphrase={PASSPHRASE}&pbkeylen=32");
    let encoder =
        Encoder::start(srt(&server), Clip::H264, &format!("streamid=publish:vault&{secret}"));
    session(&server, |s| s["protocol"] == "srt" && s["bytes_in"].as_u64() > Some(10_000));
    let receiver = Receiver::start(&server, "vault", &secret);
    receiver.wait_for_media();
    for wrong in ["streamid=vault", "streamid=vault&passphrase=another horse battery"] {
        let said = refused(&server, "play", wrong);
        assert!(
            ["password", "passphrase"].iter().any(|word| said.to_lowercase().contains(word)),
            "{said}"
        );
    }
    let published = encoder.finish();
    let (who, got) = player.finish();
    got.assert_played(&published, &format!("{who:?}"));
    receiver.finish().assert_played(&published, "srt-live-transmit");
    server.stop();
}

#[test]
fn a_refusal_says_why_in_the_code_that_libsrt_knows() {
    let config = format!(
        "[[auth.keys]]\nstream = \"*\"\nkey = \"{KEY}\"\n[[streams.stream]]\n\
                  code = \"vault\"\nauth = \"keys\"\ninputs = [{{ url = \"publish://\" }}]\n\
                  [log]\nlevel = \"debug\"\n"
    );
    let server = serve_at_once(&config);
    let busy = Encoder::endless(srt(&server), Clip::Small, "streamid=publish:taken");
    session(&server, |s| s["protocol"] == "srt" && s["bytes_in"].as_u64() > Some(1_000));
    for (direction, query, shown, code) in [
        ("play", "streamid=nobody", "nobody", 1404),
        ("play", "streamid=../etc", "../etc", 1400),
        ("play", "mode=caller", "", 1400),
        ("publish", "streamid=publish:vault", "publish:vault", 1401),
        ("publish", "streamid=publish:vault:jo:wrong", "publish:vault:***", 1403),
        ("publish", "streamid=publish:taken", "publish:taken", 1409),
    ] {
        let said = refused(&server, direction, query);
        assert!(said.contains("Application-defined rejection"), "{direction} {query}: {said}");
        let line = format!("call refused stream_id=\"{shown}\" code={code}");
        let log = server.log();
        let of_peer = log.lines().any(|logged| {
            let fields = [format!("stream_id=\"{shown}\""), format!("code={code}")];
            logged.contains("call refused") && fields.iter().all(|field| logged.contains(field))
        });
        assert!(of_peer, "{line}:\n{log}");
    }
    assert!(!server.log().contains("jo:wrong"), "{}", server.log());
    busy.interrupt();
    server.stop();
}

#[test]
fn a_kick_and_the_end_of_the_node_are_told_to_srt_peers() {
    let server = serve_at_once("");
    let mut encoder = Encoder::endless(srt(&server), Clip::Small, "streamid=publish:studio");
    let publishes = |s: &Value| s["protocol"] == "srt" && s["role"] == "publish";
    let seen = session(&server, |s| publishes(s) && s["bytes_in"].as_u64() > Some(20_000));
    let mut receiver = Receiver::start(&server, "studio", "latency=200");
    receiver.wait_for_media();
    let id = seen["id"].as_str().expect("it has a number");
    let (status, _) = server.send("DELETE", &format!("/api/v1/sessions/{id}"), &Value::Null);
    assert_eq!(status, 204);
    encoder.process.wait(END);
    receiver.process.wait(END);
    let mut again = Encoder::endless(srt(&server), Clip::Small, "streamid=publish:studio");
    session(&server, |s| publishes(s) && s["bytes_in"].as_u64() > Some(20_000));
    server.stop();
    again.process.wait(END);
}

on_both_backends! { published played encrypted }
