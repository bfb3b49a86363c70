//! Streams that are pushed in datagrams: ffmpeg reads them bare and in RTP.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clip::{Clip, FFMPEG};
use crate::datagrams::{events, free_port, next_event};
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Server};
use crate::srt::{session, srt, start};
use crate::srt_passthrough::{stream_with_data, streams};
use crate::verify::Media;

/// ffmpeg has found out what a stream is, and read of it what it is to, by then.
const END: Duration = Duration::from_secs(60);
/// A stream is over soon after its encoder.
const SHORT_GRACE: &str = "[stream]\ngrace_ms = 1000\n";
/// Seconds of a clip that are read, and the pictures of them.
const READ: (&str, usize) = ("4", 120);
/// Pictures that ffmpeg may miss of RTP: it opens its socket anew when it knows what comes.
const MISSED_MAX: usize = 32;
/// Bytes of a stream in which all that it has comes.
const ALL_BYTES: usize = 300_000;

/// ffmpeg reads datagrams, and ends by itself.
struct Reader {
    process: Process,
    file: PathBuf,
}

impl Reader {
    fn start(scheme: &str, port: u16, folder: &Path) -> Self {
        let (url, file) = (format!("{scheme}://127.0.0.1:{port}"), format!("{scheme}.flv"));
        let file = folder.join(file);
        let mut command = Command::new(FFMPEG);
        command.args(["-hide_banner", "-loglevel", "warning", "-nostdin", "-y", "-i", &url]);
        command.args(["-map", "0", "-c", "copy", "-t", READ.0, "-f", "flv"]).arg(&file);
        let reader = Self { process: Process::start(&mut command), file };
        until_bound(port);
        reader
    }

    /// What it read, each picture and each sound frame once.
    fn assert_read(mut self, published: &Media, who: &str) {
        self.process.wait(END);
        let got = Media::of_flv(&fs::read(&self.file).expect("it wrote a file"));
        let least = if who == "rtp" { READ.1 - MISSED_MAX } else { READ.1 };
        let count = got.video.len();
        assert!(count >= least, "{who}: {count} pictures; {}", self.process.output());
        assert!(got.video[0].0, "{who}: the first picture can be decoded by itself");
        assert_run(&got.video, &published.video, who);
        assert_run(&got.audio, &published.audio, who);
    }
}

/// All that was got follows each other in what was published.
fn assert_run<T: PartialEq>(got: &[T], published: &[T], who: &str) {
    assert!(!got.is_empty(), "{who}: nothing came");
    let is_run = published.windows(got.len()).any(|run| run == got);
    assert!(is_run, "{who}: {} frames, of which none is missing", got.len());
}

/// Waits until somebody takes datagrams at a port: they are lost before.
fn until_bound(port: u16) {
    let (deadline, port) = (Instant::now() + END, format!(":{port:04X} "));
    while !fs::read_to_string("/proc/net/udp").expect("Linux tells").contains(&port) {
        assert!(Instant::now() < deadline, "nobody listens");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until all pushes of the stream have a status.
fn until_all(server: &Server, status: &str, count: usize) -> Vec<Value> {
    let shown = server.api_until("/api/v1/streams/studio", |stream| {
        let pushes = stream["pushes"].as_array().map_or(&[][..], Vec::as_slice);
        pushes.len() == count && pushes.iter().all(|push| push["status"] == status)
    });
    shown["pushes"].as_array().expect("they are listed").clone()
}

fn ffmpeg_reads(backend: Backend) {
    let server = start(backend, SHORT_GRACE);
    let ports = [free_port(), free_port()];
    let schemes = ["udp", "rtp"];
    let url = |(scheme, port)| format!("{scheme}://127.0.0.1:{port}?pkt_size=1316");
    let urls: Vec<_> = schemes.into_iter().zip(ports).map(url).collect();
    let push: Vec<_> = urls.iter().map(|url| json!({"url": url, "enabled": true})).collect();
    let mut events = events(&server, "push.*");
    let spec = json!({"inputs": [{"url": "publish://"}], "push": push});
    assert_eq!(server.send("PUT", "/api/v1/streams/studio", &spec).0, 201);
    let waiting = until_all(&server, "waiting", 2);
    assert_eq!(waiting.iter().filter(|push| push.get("session").is_some()).count(), 0);
    assert_eq!((server.metrics().sum("pushes"), server.metrics().sum("pushes_active")), (2.0, 0.0));
    // The second encoder is another stream of the same name.
    for _ in 0..2 {
        let readers = schemes.into_iter().zip(ports);
        let readers = readers.map(|(scheme, port)| Reader::start(scheme, port, server.folder()));
        let readers: Vec<_> = readers.collect();
        let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("studio"));
        let active = until_all(&server, "active", 2);
        assert_eq!(server.metrics().sum("pushes_active"), 2.0);
        let id = active[0]["session"].as_str().expect("it has a session");
        let seen = session(&server, |s| s["id"] == id && s["bytes_out"].as_u64() > Some(10_000));
        let shown = (&seen["protocol"], &seen["role"], &seen["stream"]);
        assert_eq!(shown, (&"udp".into(), &"play".into(), &"studio".into()), "{seen:#}");
        let published = publisher.finish();
        for (reader, scheme) in readers.into_iter().zip(schemes) {
            reader.assert_read(&published, scheme);
        }
        until_all(&server, "waiting", 2);
        let mut told: Vec<_> = (0..4).map(|_| next_event(&mut events, "url")).collect();
        told.sort_by_key(|(kind, url)| (url.to_string(), kind.clone()));
        let expected = ["rtp", "udp"].into_iter().flat_map(|scheme| {
            let url = urls.iter().find(|url| url.starts_with(scheme)).expect("it is one");
            ["push.active", "push.started"].map(|kind| (kind.to_owned(), json!(url)))
        });
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
    server.stop();
}

fn everything_goes_through(backend: Backend) {
    let server = start(backend, SHORT_GRACE);
    let source = stream_with_data(server.folder());
    let sent = streams(&source);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("there is a free port");
    socket.set_read_timeout(Some(END)).expect("it can wait");
    let url = format!("udp://{}", socket.local_addr().expect("it is bound"));
    let push = json!([{"url": url, "enabled": true}]);
    let spec = json!({"inputs": [{"url": "publish://"}], "push": push});
    assert_eq!(server.send("PUT", "/api/v1/streams/studio", &spec).0, 201);
    let url = format!("srt://{}?streamid=publish:studio&pkt_size=1316", srt(&server));
    let mut encoder = Command::new(FFMPEG);
    encoder.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re", "-stream_loop", "-1"]);
    encoder.arg("-i").arg(&source);
    encoder.args(["-map", "0", "-c", "copy", "-copy_unknown", "-f", "mpegts", &url]);
    let _encoder = Process::start(&mut encoder);
    let (mut received, mut datagram) = (Vec::new(), [0; 2_048]);
    while received.len() < ALL_BYTES {
        let (len, _) = socket.recv_from(&mut datagram).expect("datagrams come");
        received.extend_from_slice(&datagram[..len]);
    }
    let file = server.folder().join("pushed.ts");
    fs::write(&file, received).expect("the folder can be written");
    assert_eq!(streams(&file), sent, "data included");
    server.stop();
}

#[test]
fn what_cannot_be_pushed_to_is_told_with_the_mend() {
    let server = start(Backend::Auto, SHORT_GRACE);
    let refused = |url: &str| {
        let spec = json!({"push": [{"url": url, "enabled": true}]});
        let (status, answer) = server.send("PUT", "/api/v1/streams/studio", &spec);
        assert_eq!(status, 422, "{answer:#}");
        answer.to_string()
    };
    assert!(refused("udp://239.1.2.3").contains("write udp://239.1.2.3:5000"));
    assert!(refused("rtp://239.1.2.3:5000?ttl=300").contains("from 0 to 255"));
    let urls = [
        ("udp://239.255.77.9:5000?interface=nosuch0", "there is no interface of that name here"),
        ("udp://nobody.invalid:5000", "the name nobody.invalid is not known"),
        ("udp://192.0.2.1:5000?localaddr=127.0.0.1", "leave that out"),
    ];
    let push: Vec<_> = urls.iter().map(|(url, _)| json!({"url": url, "enabled": true})).collect();
    let spec = json!({"inputs": [{"url": "publish://"}], "push": push});
    assert_eq!(server.send("PUT", "/api/v1/streams/studio", &spec).0, 201);
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("studio"));
    for (url, says) in urls {
        server.api_until("/api/v1/streams/studio", |stream| {
            let pushes = stream["pushes"].as_array().map_or(&[][..], Vec::as_slice);
            let push = pushes.iter().find(|push| push["url"] == url);
            push.is_some_and(|push| {
                let told = push["errors"][0].as_str().is_some_and(|error| error.contains(says));
                push["status"] == "reconnecting" && told
            })
        });
    }
    drop(publisher);
    server.stop();
}

on_both_backends! { ffmpeg_reads everything_goes_through }
