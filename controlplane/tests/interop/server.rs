//! The real binary, on free ports, with a data directory of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::http_flv::{Endpoint, get, send};
use crate::metrics::Metrics;
use crate::process::Process;
use crate::tls;

const START: Duration = Duration::from_secs(20);
/// What the server promises from the signal to its end.
const STOP: Duration = Duration::from_secs(5);

/// How shards wait for their sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// io_uring, or the start fails.
    IoUring,
    /// epoll.
    Epoll,
    /// io_uring if the host has it.
    Auto,
}

impl Backend {
    const fn word(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
            Self::Auto => "auto",
        }
    }
}

/// What a test wants of its server.
pub(crate) struct Options {
    /// The reactor.
    pub(crate) backend: Backend,
    /// Whether the built-in stream plays.
    pub(crate) demo: bool,
    /// Whether RTMPS and HTTPS are spoken, too.
    pub(crate) tls: bool,
    /// Bytes of memory that it may take.
    pub(crate) memory_max: u64,
    /// More of the configuration file: whole sections.
    pub(crate) config: String,
}

impl Options {
    /// Two shards, nothing built in.
    pub(crate) const fn on(backend: Backend) -> Self {
        Self { backend, demo: false, tls: false, memory_max: 512 << 20, config: String::new() }
    }

    /// A command that starts the server in a new folder. It lets in whoever may come: what a case
    /// may do must not hang on what the machine does beside it.
    pub(crate) fn command(&self, folder: &Folder) -> Command {
        let file = folder.path().join("test.toml");
        let secure = if self.tls {
            format!(
                "[listeners.rtmps]\naddr = \"127.0.0.1:0\"\n\
                 [listeners.https]\naddr = \"127.0.0.1:0\"\n\
                 [tls]\ncertificate = \"{0}/certificate.pem\"\nkey = \"{0}/key.pem\"\n",
                folder.path().display()
            )
        } else {
            String::new()
        };
        let text = format!(
            "[auth]\nmode = \"open\"\n[shards]\ncount = 2\n[reactor]\nbackend = \"{}\"\n\
             [demo]\nenabled = {}\n[data]\ndir = \"{}\"\n[limits]\nmemory_max = {}\n\
             admission = \"off\"\n\
             [listeners.rtmp]\naddr = \"127.0.0.1:0\"\n[listeners.http]\naddr = \"127.0.0.1:0\"\n\
             [listeners.control]\naddr = \"127.0.0.1:0\"\n{}{secure}",
            self.backend.word(),
            self.demo,
            folder.path().join("data").display(),
            self.memory_max,
            self.config
        );
        fs::write(&file, text).expect("the test's folder can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand"));
        command.arg("--config").arg(&file).current_dir(folder.path());
        command
    }
}

/// A folder that goes with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new folder below the target folder.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("interop-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the target folder can be written");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The listeners inside TLS.
struct Secure {
    rtmps: SocketAddr,
    https: SocketAddr,
    certificate: CertificateDer<'static>,
}

/// A running server.
pub(crate) struct Server {
    process: Process,
    /// Where RTMP is spoken.
    pub(crate) rtmp: SocketAddr,
    /// Where HTTP is spoken.
    pub(crate) http: SocketAddr,
    /// Where the API is.
    pub(crate) control: SocketAddr,
    /// Where SRT is spoken, if it is.
    #[allow(dead_code, reason = "other tests speak no SRT")]
    pub(crate) srt: Option<SocketAddr>,
    secure: Option<Secure>,
    folder: Folder,
}

impl Server {
    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(options: &Options) -> Self {
        let folder = Folder::new();
        let certificate = options.tls.then(|| tls::certify(folder.path()));
        let mut command = options.command(&folder);
        Self::listening(&mut command, folder, certificate)
    }

    /// Starts a prepared command.
    pub(crate) fn run(command: &mut Command, folder: Folder) -> Self {
        Self::listening(command, folder, None)
    }

    /// Starts a prepared command whose folder has this certificate.
    #[allow(dead_code, reason = "other tests leave the options as they are")]
    pub(crate) fn run_with(
        command: &mut Command,
        folder: Folder,
        certificate: CertificateDer<'static>,
    ) -> Self {
        Self::listening(command, folder, Some(certificate))
    }

    fn listening(
        command: &mut Command,
        folder: Folder,
        certificate: Option<CertificateDer<'static>>,
    ) -> Self {
        let mut process = Process::start(command);
        let listening = loop {
            match process.line(START) {
                Some(line) if line.trim_start().starts_with("listening") => break line,
                Some(_) => {}
                None => {
                    let status = process.wait(START);
                    panic!("the server ended with {status}:\n{}", process.output());
                }
            }
        };
        let address = |kind: &str| -> SocketAddr {
            let (_, rest) = listening
                .split_once(&format!("{kind} "))
                .unwrap_or_else(|| panic!("no {kind} in `{listening}`"));
            let text = rest.split(',').next().unwrap_or(rest).trim();
            text.parse().unwrap_or_else(|_| panic!("no address in `{text}`"))
        };
        let (rtmp, http, control) = (address("rtmp"), address("http"), address("control"));
        let secure = certificate.map(|certificate| Secure {
            rtmps: address("rtmps"),
            https: address("https"),
            certificate,
        });
        let srt = listening.contains("srt ").then(|| address("srt"));
        let server = Self { process, rtmp, http, control, srt, secure, folder };
        assert_eq!(get(server.control, "/readyz", "").0, 200, "ready once it says so");
        server
    }

    /// Its process.
    #[allow(dead_code, reason = "only the memory contract asks")]
    pub(crate) const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `rtmp://.../live/NAME`
    pub(crate) fn rtmp_url(&self, name: &str) -> String {
        format!("rtmp://{}/live/{name}", self.rtmp)
    }

    /// `rtmps://.../live/NAME`
    pub(crate) fn rtmps_url(&self, name: &str) -> String {
        format!("rtmps://{}/live/{name}", self.secure().rtmps)
    }

    /// Where HTTP is spoken, inside TLS or not.
    pub(crate) fn web(&self, secure: bool) -> Endpoint {
        if !secure {
            return self.http.into();
        }
        let Secure { https, certificate, .. } = self.secure();
        Endpoint { addr: *https, certificate: Some(certificate.clone()) }
    }

    fn secure(&self) -> &Secure {
        self.secure.as_ref().expect("the test asked for TLS")
    }

    /// The counters now.
    pub(crate) fn metrics(&self) -> Metrics {
        let (status, body) = get(self.control, "/metrics", "");
        assert_eq!(status, 200);
        Metrics::parse(&String::from_utf8(body).expect("metrics are text"))
    }

    /// The token of the API.
    pub(crate) fn token(&self) -> String {
        let token = fs::read_to_string(self.folder.path().join("data/api-token"))
            .expect("the token was written at start");
        token.trim().to_owned()
    }

    /// The field of a request that shows the token.
    fn authorization(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token())
    }

    /// The status and the answer to JSON that is sent to the API.
    pub(crate) fn post(&self, path: &str, json: &str) -> (u16, Value) {
        let (status, body) =
            send(self.control, &format!("POST {path}"), &self.authorization(), json);
        (status, serde_json::from_slice(&body).expect("the API speaks JSON"))
    }

    /// The status and the answer to any request to the API; null if the answer is empty.
    #[allow(dead_code, reason = "the memory contract only reads")]
    pub(crate) fn send(&self, method: &str, path: &str, json: &Value) -> (u16, Value) {
        let text = if json.is_null() { String::new() } else { json.to_string() };
        let line = format!("{method} {path}");
        let (status, body) = send(self.control, &line, &self.authorization(), &text);
        let answer = serde_json::from_slice(&body);
        (status, if body.is_empty() { Value::Null } else { answer.expect("the API speaks JSON") })
    }

    /// An answer of the API, with the token.
    pub(crate) fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.control, path, &self.authorization());
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).expect("the API speaks JSON")
    }

    /// Asks the API again and again until `is` holds of the answer.
    pub(crate) fn api_until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.api(path);
            if is(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "never: {answer:#}");
            // Asked again when others had the processor for a moment.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What `grandstand probe` says of a stream.
    pub(crate) fn probe(&self, name: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand"));
        command.args(["probe", &self.rtmp_url(name)]);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the report is text")
    }

    /// Waits until `count` players of a stream that nobody publishes yet wait for it.
    pub(crate) fn wait_for_players(&self, name: &str, count: usize) {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.api(&format!("/api/v1/sessions?stream={name}"));
            let sessions = answer["sessions"].as_array().expect("sessions are listed");
            if sessions.len() >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{count} players never came: {answer:#}");
            // Asked again when the clients had the processor for a moment.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    /// A folder for the files of the test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills it; the folder is left as it is then.
    pub(crate) fn kill(mut self) -> Folder {
        self.process.signal("KILL");
        self.process.wait(STOP);
        self.folder
    }

    /// Tells it to end, as an operator does.
    #[allow(dead_code, reason = "other tests wait for the end at once")]
    pub(crate) fn terminate(&mut self) {
        self.process.signal("TERM");
    }

    /// Waits for the end that it was told to come to; the folder is left as it is then.
    #[allow(dead_code, reason = "other tests wait for the end at once")]
    pub(crate) fn ended(mut self, deadline: Duration) -> Folder {
        self.process.finish(deadline);
        let log = self.process.output();
        assert!(!log.contains("panicked"), "a thread panicked:\n{log}");
        self.folder
    }

    /// Ends it as an operator does, and checks that it keeps its promise.
    pub(crate) fn stop(self) {
        self.stop_in_place();
    }

    /// As [`Self::stop`], with the folder left as it is then.
    pub(crate) fn stop_in_place(mut self) -> Folder {
        self.process.signal("TERM");
        self.ended(STOP)
    }
}
