//! Players: each reads a stream to its end and gives what it got.

use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clip::{FFMPEG, ffmpeg_newer};
use crate::http_flv::Answer;
use crate::process::Process;
use crate::server::Server;
use crate::verify::{Media, Tag, tags};
use crate::{hls, rml, transport, websocket};

/// A stream ends, and its players with it, within this.
const END: Duration = Duration::from_secs(60);

/// What plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// The distribution's ffmpeg.
    Ffmpeg,
    /// The newer ffmpeg.
    Newer,
    /// GStreamer.
    Gstreamer,
    /// An independent library: `rml_rtmp`, `tungstenite`.
    Library,
    /// The bytes of a body as they come.
    Plain,
}

/// How a stream comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// RTMP.
    Rtmp,
    /// FLV over HTTP.
    Flv,
    /// FLV over WebSocket.
    WsFlv,
    /// MPEG-TS over HTTP.
    Ts,
    /// MPEG-TS over WebSocket.
    WsTs,
    /// HLS, from the first segment on.
    Hls,
}

impl Way {
    /// True if MPEG-TS comes, where parameter sets are in the pictures and not in a record.
    pub(crate) const fn is_transport(self) -> bool {
        matches!(self, Self::Ts | Self::WsTs | Self::Hls)
    }

    /// A body of this way.
    fn got(self, body: Vec<u8>) -> Got {
        if self.is_transport() { Got::Packets(body) } else { Got::Tags(tags(&body)) }
    }

    /// True if a client waits at the server for its publisher, and is seen there.
    pub(crate) fn waits(self) -> bool {
        self != Self::Hls
    }

    fn url(self, server: &Server, name: &str) -> String {
        match self {
            Self::Rtmp => server.rtmp_url(name),
            _ => format!("http://{}{}", server.http, self.path(name)),
        }
    }

    /// What a name asks for behind a `?` stands behind the suffix.
    fn path(self, name: &str) -> String {
        let suffix = match self {
            Self::Hls => "/index.m3u8",
            Self::Ts | Self::WsTs => ".ts",
            _ => ".flv",
        };
        match name.split_once('?') {
            Some((name, query)) => format!("/{name}{suffix}?{query}"),
            None => format!("/{name}{suffix}"),
        }
    }
}

/// A client that plays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) Tool, pub(crate) Way);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}-{:?}", self.0, self.1)
    }
}

impl Client {
    /// The bytes of HTTP-FLV as they come.
    pub(crate) const PLAIN: Self = Self(Tool::Plain, Way::Flv);
    /// An independent RTMP library.
    pub(crate) const RML: Self = Self(Tool::Library, Way::Rtmp);

    /// True if it knows Enhanced RTMP, or does not look into tags.
    pub(crate) fn is_enhanced(self) -> bool {
        self.0 != Tool::Ffmpeg
    }
}

/// Every client.
pub(crate) const ALL: [Client; 17] = [
    Client(Tool::Ffmpeg, Way::Rtmp),
    Client(Tool::Newer, Way::Rtmp),
    Client(Tool::Gstreamer, Way::Rtmp),
    Client(Tool::Library, Way::Rtmp),
    Client(Tool::Ffmpeg, Way::Flv),
    Client(Tool::Newer, Way::Flv),
    Client(Tool::Gstreamer, Way::Flv),
    Client(Tool::Plain, Way::Flv),
    Client(Tool::Library, Way::WsFlv),
    Client(Tool::Ffmpeg, Way::Ts),
    Client(Tool::Newer, Way::Ts),
    Client(Tool::Gstreamer, Way::Ts),
    Client(Tool::Plain, Way::Ts),
    Client(Tool::Library, Way::WsTs),
    Client(Tool::Ffmpeg, Way::Hls),
    Client(Tool::Newer, Way::Hls),
    Client(Tool::Plain, Way::Hls),
];

/// A client at work.
pub(crate) struct Player {
    client: Client,
    work: Work,
    /// Where it writes, or would if it were a program.
    file: PathBuf,
}

enum Work {
    Process(Process),
    Thread(JoinHandle<Got>, Receiver<()>),
}

/// What a client got.
enum Got {
    Tags(Vec<Tag>),
    Packets(Vec<u8>),
}

impl Player {
    /// Starts to play a stream of `server`, now or when its publisher comes.
    pub(crate) fn start(client: Client, server: &Server, name: &str) -> Self {
        let Client(tool, way) = client;
        let raw = way.is_transport() && tool != Tool::Ffmpeg && tool != Tool::Newer;
        let extension = if raw { "ts" } else { "flv" };
        let file = format!("{client:?}-{}.{extension}", name.replace('/', "-"));
        let file = server.folder().join(file);
        let (url, path, http) = (way.url(server, name), way.path(name), server.http);
        let work = match (tool, way) {
            (Tool::Ffmpeg | Tool::Newer, Way::Hls) => {
                let (mut command, name) = (ffmpeg(tool, way, &url, &file), name.to_owned());
                let file = file.clone();
                thread_work(move |_| {
                    hls::wait_for_list(http, &name);
                    Got::Tags(tags(&finish(Process::start(&mut command), client, &file)))
                })
            }
            (Tool::Ffmpeg | Tool::Newer, _) => {
                Work::Process(Process::start(&mut ffmpeg(tool, way, &url, &file)))
            }
            (Tool::Plain, Way::Hls) => {
                let name = name.to_owned();
                thread_work(move |begun| Got::Packets(hls::follow(http, &name, begun)))
            }
            (Tool::Gstreamer, Way::Rtmp) => gstreamer("rtmp2src", &url, &file),
            (Tool::Gstreamer, _) => gstreamer("souphttpsrc", &url, &file),
            (Tool::Library, Way::Rtmp) => {
                let (addr, name) = (server.rtmp, name.to_owned());
                thread_work(move |begun| Got::Tags(rml::play(addr, "live", &name, begun)))
            }
            (Tool::Library, _) => {
                thread_work(move |begun| way.got(websocket::play(http, &path, begun)))
            }
            (Tool::Plain, _) => {
                let kind = if way.is_transport() { "video/mp2t" } else { "video/x-flv" };
                thread_work(move |begun| way.got(plain(http, &path, kind, begun)))
            }
        };
        Self { client, work, file }
    }

    /// Waits until the first media came; for the clients that run in this process.
    pub(crate) fn wait_for_media(&self) {
        let Work::Thread(_, begun) = &self.work else { panic!("{:?} cannot tell", self.client) };
        begun.recv_timeout(END).expect("media comes");
    }

    /// What came until the stream ended, as tags.
    pub(crate) fn tags(self) -> Vec<Tag> {
        match self.body() {
            (_, Got::Tags(tags)) => tags,
            (client, Got::Packets(_)) => panic!("{client:?} gets no tags"),
        }
    }

    /// What came until the stream ended.
    pub(crate) fn finish(self) -> (Client, Media) {
        let (client, got) = self.body();
        let mut media = match got {
            Got::Tags(tags) => Media::of_tags(&tags),
            Got::Packets(packets) => transport::media(&packets, &format!("{client:?}")),
        };
        // rtmp2src holds one message and drops it when the server says that the stream has ended.
        let holds_back = client == Client(Tool::Gstreamer, Way::Rtmp);
        media.end_missing_max = usize::from(holds_back);
        (client, media)
    }

    fn body(self) -> (Client, Got) {
        let Self { client, work, file } = self;
        let body = match work {
            Work::Process(process) => finish(process, client, &file),
            Work::Thread(thread, _) => {
                let got = thread.join().unwrap_or_else(|_| panic!("{client:?} failed"));
                return (client, got);
            }
        };
        let raw = file.extension().is_some_and(|extension| extension == "ts");
        (client, if raw { Got::Packets(body) } else { Got::Tags(tags(&body)) })
    }
}

/// What a program wrote, once it has ended without complaint.
fn finish(mut process: Process, client: Client, file: &Path) -> Vec<u8> {
    process.finish(END);
    if client.1.is_transport() {
        assert_content(&process.output(), client);
    }
    fs::read(file).expect("the player wrote a file")
}

fn ffmpeg(tool: Tool, way: Way, url: &str, file: &Path) -> Command {
    let program = if tool == Tool::Newer { ffmpeg_newer() } else { FFMPEG.into() };
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y"]);
    if way == Way::Hls {
        command.args(["-live_start_index", "0"]);
    }
    command.args(["-i", url, "-map", "0", "-c", "copy", "-f", "flv"]).arg(file);
    command
}

fn gstreamer(source: &str, url: &str, file: &Path) -> Work {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", source, &format!("location={url}")]);
    command.args(["!", "filesink", &format!("location={}", file.display())]);
    Work::Process(Process::start(&mut command))
}

fn thread_work(play: impl FnOnce(&mut dyn FnMut()) -> Got + Send + 'static) -> Work {
    let (say, begun) = channel();
    let thread = thread::spawn(move || {
        play(&mut || {
            // The test may have stopped listening.
            let _ = say.send(());
        })
    });
    Work::Thread(thread, begun)
}

/// Nothing was wrong for ffmpeg but that the body ended with the connection, which it always says.
fn assert_content(output: &str, client: Client) {
    let ends = ["Stream ends prematurely", "Input/output error"];
    let complaint = output.lines().find(|line| !ends.iter().any(|end| line.contains(end)));
    assert_eq!(complaint, None, "{client:?}");
}

/// Header and configurations are less than this.
pub(crate) const BEGUN_BYTES: usize = 4096;

fn plain(addr: std::net::SocketAddr, path: &str, kind: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    let mut answer = Answer::request(addr, path, "");
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.header("content-type"), Some(kind));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("content-length"), None, "the body ends with the connection");
    let mut body = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match answer.body.read(&mut buffer).expect("the stream goes on or ends") {
            0 => return body,
            n => body.extend_from_slice(&buffer[..n]),
        }
        if body.len() > BEGUN_BYTES {
            begun();
        }
    }
}
