//! Players: each reads a stream to its end and gives what it got.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clip::{FFMPEG, ffmpeg_newer};
use crate::http_flv::Answer;
use crate::process::Process;
use crate::rml;
use crate::server::Server;
use crate::transport;
use crate::verify::{Media, Tag, tags};

/// A stream ends, and its players with it, within this.
const END: Duration = Duration::from_secs(60);

/// A client that plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// The distribution's ffmpeg over RTMP.
    FfmpegRtmp,
    /// The distribution's ffmpeg over HTTP-FLV.
    FfmpegHttp,
    /// The newer ffmpeg over RTMP.
    NewerRtmp,
    /// The newer ffmpeg over HTTP-FLV.
    NewerHttp,
    /// GStreamer over RTMP.
    GstreamerRtmp,
    /// GStreamer over HTTP-FLV.
    GstreamerHttp,
    /// An independent RTMP library.
    Rml,
    /// The bytes of HTTP-FLV as they come.
    Plain,
    /// The distribution's ffmpeg over HTTP-TS.
    FfmpegTs,
    /// The newer ffmpeg over HTTP-TS.
    NewerTs,
    /// The bytes of HTTP-TS as they come.
    PlainTs,
}

impl Client {
    /// True if it gets a transport stream.
    pub(crate) fn is_transport(self) -> bool {
        self == Self::FfmpegTs || TRANSPORT.contains(&self)
    }
}

/// Clients that know Enhanced RTMP, or do not look into tags.
pub(crate) const ENHANCED: &[Client] = &[
    Client::NewerRtmp,
    Client::NewerHttp,
    Client::GstreamerRtmp,
    Client::GstreamerHttp,
    Client::Rml,
    Client::Plain,
];

/// Clients of MPEG-TS that write every codec that it carries.
pub(crate) const TRANSPORT: &[Client] = &[Client::NewerTs, Client::PlainTs];

/// Every client of RTMP and FLV.
pub(crate) const ALL: &[Client] = &[
    Client::FfmpegRtmp,
    Client::FfmpegHttp,
    Client::NewerRtmp,
    Client::NewerHttp,
    Client::GstreamerRtmp,
    Client::GstreamerHttp,
    Client::Rml,
    Client::Plain,
];

/// A client at work.
pub(crate) struct Player {
    /// Who plays.
    pub(crate) client: Client,
    work: Work,
}

enum Work {
    Process(Process, PathBuf),
    Thread(Option<JoinHandle<Body>>, Receiver<()>),
}

/// What a client got.
enum Body {
    Tags(Vec<Tag>),
    Transport(Vec<u8>),
}

impl Player {
    /// Starts to play a stream of `server`, now or when its publisher comes.
    pub(crate) fn start(client: Client, server: &Server, name: &str) -> Self {
        let file = server.folder().join(format!("{client:?}-{}.flv", name.replace('/', "-")));
        let (rtmp, http) = (server.rtmp_url(name), server.flv_url(name));
        let transport = format!("http://{}/{name}.ts", server.http);
        let newer = ffmpeg_newer();
        let work = match client {
            Client::FfmpegRtmp => ffmpeg(Path::new(FFMPEG), &rtmp, file),
            Client::FfmpegHttp => ffmpeg(Path::new(FFMPEG), &http, file),
            Client::NewerRtmp => ffmpeg(&newer, &rtmp, file),
            Client::NewerHttp => ffmpeg(&newer, &http, file),
            Client::GstreamerRtmp => gstreamer("rtmp2src", &rtmp, file),
            Client::GstreamerHttp => gstreamer("souphttpsrc", &http, file),
            Client::Rml => {
                let (addr, name) = (server.rtmp, name.to_owned());
                thread_work(move |begun| Body::Tags(rml::play(addr, "live", &name, begun)))
            }
            Client::Plain => {
                let (addr, path) = (server.http, format!("/{name}.flv"));
                thread_work(move |begun| {
                    Body::Tags(tags(&plain(addr, &path, "video/x-flv", begun)))
                })
            }
            Client::FfmpegTs => ffmpeg(Path::new(FFMPEG), &transport, file),
            Client::NewerTs => ffmpeg(&newer, &transport, file),
            Client::PlainTs => {
                let (addr, path) = (server.http, format!("/{name}.ts"));
                thread_work(move |begun| Body::Transport(plain(addr, &path, "video/mp2t", begun)))
            }
        };
        Self { client, work }
    }

    /// Waits until the first media came; for the clients that run in this process.
    pub(crate) fn wait_for_media(&self) {
        let Work::Thread(_, begun) = &self.work else { panic!("{:?} cannot tell", self.client) };
        begun.recv_timeout(END).expect("media comes");
    }

    /// What came until the stream ended, as tags.
    pub(crate) fn tags(self) -> Vec<Tag> {
        match self.body() {
            (_, Body::Tags(tags)) => tags,
            (client, Body::Transport(_)) => panic!("{client:?} gets no tags"),
        }
    }

    /// What came until the stream ended.
    pub(crate) fn finish(self) -> (String, Media) {
        let (client, body) = self.body();
        let name = format!("{client:?}");
        let mut media = match body {
            Body::Tags(tags) => Media::of_tags(&tags),
            Body::Transport(stream) => transport::media(&stream, &name),
        };
        // rtmp2src holds one message and drops it when the server says that the stream has ended.
        media.end_missing_max = usize::from(client == Client::GstreamerRtmp);
        (name, media)
    }

    fn body(self) -> (Client, Body) {
        let body = match self.work {
            Work::Process(mut process, file) => {
                process.finish(END);
                Body::Tags(tags(&fs::read(file).expect("the player wrote a file")))
            }
            Work::Thread(thread, _) => thread
                .expect("a player is asked once")
                .join()
                .unwrap_or_else(|_| panic!("{:?} failed", self.client)),
        };
        (self.client, body)
    }
}

fn ffmpeg(program: &Path, url: &str, file: PathBuf) -> Work {
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y"]);
    command.args(["-i", url, "-map", "0", "-c", "copy", "-f", "flv"]).arg(&file);
    Work::Process(Process::start(&mut command), file)
}

fn gstreamer(source: &str, url: &str, file: PathBuf) -> Work {
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", source, &format!("location={url}")]);
    command.args(["!", "filesink", &format!("location={}", file.display())]);
    Work::Process(Process::start(&mut command), file)
}

fn thread_work(play: impl FnOnce(&mut dyn FnMut()) -> Body + Send + 'static) -> Work {
    let (say, begun) = channel();
    let thread = thread::spawn(move || {
        play(&mut || {
            // The test may have stopped listening.
            let _ = say.send(());
        })
    });
    Work::Thread(Some(thread), begun)
}

fn plain(addr: SocketAddr, path: &str, content_type: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    let mut answer = Answer::request(addr, path, "");
    assert_eq!(answer.status, 200, "{path}");
    assert_eq!(answer.header("content-type"), Some(content_type));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("content-length"), None, "the body ends with the connection");
    let mut body = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match answer.body.read(&mut buffer).expect("the stream goes on or ends") {
            0 => return body,
            n => body.extend_from_slice(&buffer[..n]),
        }
        // Header and configurations are less than this.
        if body.len() > 4096 {
            begun();
        }
    }
}
