//! Players: each reads a stream to its end and gives what it got.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{Client, Tool, Way};
use crate::clip::{FFMPEG, ffmpeg_newer};
use crate::http_flv::{Answer, Endpoint};
use crate::process::Process;
use crate::server::Server;
use crate::verify::{Media, Tag, tags};
use crate::{hls, rml, transport, websocket};

/// A stream ends, and its players with it, within this.
const END: Duration = Duration::from_secs(60);

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

/// A body that came on this way.
fn got(way: Way, body: Vec<u8>) -> Got {
    if way.is_transport() { Got::Packets(body) } else { Got::Tags(tags(&body)) }
}

impl Player {
    /// Starts to play a stream of `server`, now or when its publisher comes.
    pub(crate) fn start(client: Client, server: &Server, name: &str) -> Self {
        let Client(tool, way) = client;
        let raw = way.is_transport() && tool != Tool::Ffmpeg && tool != Tool::Newer;
        let extension = if raw { "ts" } else { "flv" };
        let file = format!("{client:?}-{}.{extension}", name.replace('/', "-"));
        let file = server.folder().join(file);
        let (url, path, web) = (way.url(server, name), way.path(name), server.web(way.is_secure()));
        let work = match tool {
            Tool::Ffmpeg | Tool::Newer => {
                let mut command = ffmpeg(client, &url, &file);
                if way.is_hls() {
                    let (name, file) = (name.to_owned(), file.clone());
                    thread_work(move |_| {
                        hls::wait_for_list(&web, &name);
                        Got::Tags(tags(&finish(Process::start(&mut command), client, &file)))
                    })
                } else {
                    Work::Process(Process::start(&mut command))
                }
            }
            Tool::Gstreamer => Work::Process(Process::start(&mut gstreamer(way, &url, &file))),
            Tool::Library if way.is_rtmp() => {
                let (addr, name) = (server.rtmp, name.to_owned());
                thread_work(move |begun| Got::Tags(rml::play(addr, "live", &name, begun)))
            }
            Tool::Library => {
                thread_work(move |begun| got(way, websocket::play(&web, &path, begun)))
            }
            Tool::Plain if way.is_hls() => {
                let name = name.to_owned();
                thread_work(move |begun| Got::Packets(hls::follow(&web, &name, begun)))
            }
            Tool::Plain => thread_work(move |begun| got(way, plain(&web, way, &path, begun))),
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
        self.finish_with_pauses(0)
    }

    /// The same of a stream whose publisher was away so often.
    pub(crate) fn finish_with_pauses(self, pauses: u64) -> (Client, Media) {
        let (client, got) = self.body();
        let mut media = match got {
            Got::Tags(tags) => Media::of_tags(&tags),
            Got::Packets(packets) => {
                transport::media_with_pauses(&packets, &format!("{client:?}"), pauses)
            }
        };
        // rtmp2src holds one message and drops it when the server says that the stream has ended.
        let holds_back = client.0 == Tool::Gstreamer && client.1.is_rtmp();
        media.end_missing_max = usize::from(holds_back);
        (client, media)
    }

    /// Waits until it was made to end, whatever it makes of that.
    pub(crate) fn ends(self) {
        match self.work {
            Work::Process(mut process) => drop(process.wait(END)),
            // What it found wrong is for those whose stream ended.
            Work::Thread(thread, _) => drop(thread.join()),
        }
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

fn ffmpeg(client: Client, url: &str, file: &Path) -> Command {
    let Client(tool, way) = client;
    let program = if tool == Tool::Newer { ffmpeg_newer() } else { FFMPEG.into() };
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y"]);
    if way.is_secure() {
        command.args(["-tls_verify", "0"]);
    }
    if way.is_hls() {
        command.args(["-live_start_index", "0"]);
    }
    command.args(["-i", url, "-map", "0", "-c", "copy", "-f", "flv"]).arg(file);
    command
}

fn gstreamer(way: Way, url: &str, file: &Path) -> Command {
    let mut command = Command::new("gst-launch-1.0");
    let source = if way.is_rtmp() { "rtmp2src" } else { "souphttpsrc" };
    command.args(["-q", source, &format!("location={url}")]);
    if way.is_secure() {
        command.arg(if way.is_rtmp() { "tls-validation-flags=0" } else { "ssl-strict=false" });
    }
    command.args(["!", "filesink", &format!("location={}", file.display())]);
    command
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

fn plain(web: &Endpoint, way: Way, path: &str, begun: &mut dyn FnMut()) -> Vec<u8> {
    let kind = if way.is_transport() { "video/mp2t" } else { "video/x-flv" };
    let mut answer = Answer::request(web, path, "");
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
