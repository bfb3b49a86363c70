//! The stage: a node that an application owns, with what it takes to publish, watch and command.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::application::Application;
use crate::clip::FFMPEG;
use crate::http_flv::get;
use crate::process::Process;
use crate::server::{Backend, Folder, Options, Server};

/// What is waited for comes within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// `app:of-commands`
const CREDENTIAL: &str = "Authorization: Basic YXBwOm9mLWNvbW1hbmRz\r\n";

/// Starts a node of `application`, for three channels at one time, in `folder`, which may hold what
/// another has left.
pub(super) fn node(backend: Backend, application: &Application, folder: Folder) -> Server {
    node_with(backend, application, folder, &[])
}

/// The same, with these variables, too.
pub(super) fn node_with(
    backend: Backend,
    application: &Application,
    folder: Folder,
    more: &[(&str, &str)],
) -> Server {
    let mut command = Options::on(backend).command(&folder);
    command.envs(application.variables()).env("SERVER_CAPACITY", "3");
    // HLS of every stream, and servers and encoders that attach, have memory of their own.
    command.env("GRANDSTAND_LIMITS__MEMORY_MAX", "1GiB");
    command.env("COMMANDS_API_AUTH", "basic").env("COMMANDS_API_AUTH_USER", "app");
    command.env("COMMANDS_API_AUTH_PASSWORD", "of-commands").envs(more.iter().copied());
    Server::run(&mut command, folder)
}

/// `rtmp://.../CHANNEL/KEY`
pub(super) fn url(node: &Server, channel: &str, key: &str) -> String {
    format!("rtmp://{}/{channel}/{key}", node.rtmp)
}

/// A player of RTMP that waits for the channel and writes so many seconds of it to a file.
pub(super) fn watch(node: &Server, channel: &str, key: &str, seconds: &str) -> Process {
    let file = node.folder().join(format!("{channel}-{key}-{seconds}.flv"));
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y", "-i"]);
    command.arg(url(node, channel, key)).args(["-t", seconds, "-c", "copy"]).arg(file);
    Process::start(&mut command)
}

/// A player of HLS that decodes so many seconds of a playlist.
pub(super) fn view(node: &Server, path: &str, seconds: &str) -> Process {
    let mut command = Command::new(FFMPEG);
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"]);
    command.arg(format!("http://{}/{path}", node.http));
    command.args(["-t", seconds, "-f", "null", "-"]);
    Process::start(&mut command)
}

/// A report, with the credential.
pub(super) fn report(node: &Server) -> Value {
    command(node, "/commands/report")
}

/// How many channels there are and may be.
pub(super) fn capacity(node: &Server) -> Value {
    command(node, "/commands/capacity")
}

fn command(node: &Server, path: &str) -> Value {
    let (status, body) = get(node.control, path, CREDENTIAL);
    assert_eq!(status, 200);
    serde_json::from_slice(&body).expect("a report is JSON")
}

/// Waits until these channels are on the air.
pub(super) fn live(node: &Server, channels: &[&str]) {
    report_until(node, |report| {
        let active = report["activeStreams"].as_array().expect("a list");
        active.iter().map(|active| &active["channel"]).eq(channels.iter())
    });
}

/// Asks for reports until `is` holds of one.
pub(super) fn report_until(node: &Server, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = report(node);
        if is(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "never: {report:#}");
        // Asked again when others had the processor for a moment.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Closes a publication of a channel; the status.
pub(super) fn close(node: &Server, channel: &str, id: &str, credential: bool) -> String {
    let mut stream = TcpStream::connect(node.control).expect("the node listens");
    let credential = if credential { CREDENTIAL } else { "" };
    let request = format!(
        "POST /commands/close HTTP/1.1\r\nHost: coordinator\r\nConnection: close\r\n{credential}\
         Content-Length: 0\r\nx-streaming-channel: {channel}\r\nx-streaming-id: {id}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the node reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the node answers");
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}
