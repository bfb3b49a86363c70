//! The program as its operator meets it: commands, errors, signals, the control listener.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_grandstand");
/// What the tests wait for at most: only a failing one waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A working directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// The program in this directory, without the variables of the caller.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            // The choice of the reactor is how the whole suite is run on each.
            if name.to_string_lossy().starts_with("GRANDSTAND_")
                && name != "GRANDSTAND_REACTOR__BACKEND"
            {
                command.env_remove(name);
            }
        }
        command.env_remove("STATE_DIRECTORY");
        for name in ["RTMP", "HTTP", "CONTROL"] {
            command.env(format!("GRANDSTAND_LISTENERS__{name}__ADDR"), "127.0.0.1:0");
        }
        command.env("GRANDSTAND_SHARDS__COUNT", "2");
        command.env("GRANDSTAND_LIMITS__MEMORY_MAX", "1GiB");
        command
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The one line of a command that must fail with `status`.
fn failure(command: &mut Command, status: i32) -> String {
    let (code, stdout, stderr) = output(command);
    assert_eq!((code, stdout.as_str()), (Some(status), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

/// A running server.
struct Server {
    child: Child,
    banner: String,
    log: BufReader<ChildStderr>,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { child, banner: String::new(), log };
        while !server.banner.contains("Ctrl-C") {
            let read = out.read_line(&mut server.banner).unwrap();
            assert!(read > 0, "no banner: {}", server.rest_of_log());
        }
        server
    }

    /// The bound address of a listener, from the banner.
    fn addr(&self, listener: &str) -> SocketAddr {
        let line = self.banner.lines().find(|line| line.contains("listening")).unwrap();
        let name = format!("{listener} ");
        let (_, rest) = line.split_once(&name).unwrap();
        rest.split(',').next().unwrap().trim().parse().unwrap()
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: the child is ours and not yet waited for, so the number is still its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Reads the log until a line with `part`.
    fn log_line(&mut self, part: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ends before {part:?}");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for the end; its status and what was still logged.
    fn end(mut self) -> (Option<i32>, String) {
        let log = self.rest_of_log();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole reply to one request.
fn http(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn get(addr: SocketAddr, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    http(addr, &format!("{head}{headers}\r\n"))
}

fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn check_prints_the_shard_map_and_the_memory_table() {
    let dir = Dir::new("check");
    dir.write(
        "g.toml",
        "[auth]\nmode = \"open\"\n[[shards.pin]]\nstream = \"news/*\"\nshard = 1\n",
    );
    let (code, out, err) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        "g.toml: valid\n",
        "news/*, and by hash\n",
        "\npages ",
        "\nreplies ",
        "\nsend buffers ",
        "of limits.memory_max 1.0 GiB\n",
        "publishers are refused\n",
    ] {
        assert!(out.contains(part), "{part:?}\n{out}");
    }
}

#[test]
fn config_init_writes_a_file_once_and_check_takes_it() {
    let dir = Dir::new("init");
    let (code, out, _) = output(&mut dir.command(&["config", "init"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("grandstand.toml: written;"), "{out}");
    assert_eq!(
        failure(&mut dir.command(&["config", "init"]), 1),
        "grandstand: cannot write grandstand.toml: file exists; --force replaces it"
    );
    dir.write("grandstand.toml", "broken");
    assert_eq!(output(&mut dir.command(&["config", "init", "--force"])).0, Some(0));
    let (code, out, _) = output(&mut dir.command(&["check"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("grandstand.toml: valid\n"), "{out}");
}

#[test]
fn wrong_words_and_wrong_keys_get_one_line() {
    let dir = Dir::new("wrong");
    assert_eq!(
        failure(&mut dir.command(&["serve"]), 2),
        "grandstand: `serve` is not understood here; `grandstand --help` lists what is understood"
    );
    dir.write("g.toml", "[auth]\nmode = \"open\"\n\n[egress]\nbatch_max_ms = 5\n");
    for args in [&["check", "--config", "g.toml"][..], &["--config", "g.toml"]] {
        assert_eq!(
            failure(&mut dir.command(args), 1),
            "grandstand: g.toml:5: there is no key egress.batch_max_ms; the nearest is \
             egress.batch_ms_max"
        );
    }
    assert_eq!(
        failure(dir.command(&["check"]).env("GRANDSTAND_LOG__LEVEL", "loud"), 1),
        "grandstand: GRANDSTAND_LOG__LEVEL: log.level: expected \"error\", \"warn\", \"info\", \
         \"debug\" or \"trace\", got \"loud\"; unset it for the default, \
         GRANDSTAND_LOG__LEVEL=\"info\""
    );
    let (code, out, _) = output(&mut dir.command(&["--version"]));
    assert_eq!((code, out), (Some(0), format!("grandstand {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(output(&mut dir.command(&["--help"])).1.contains("usage:"));
}

#[test]
fn a_port_in_use_is_named_with_its_listener() {
    let dir = Dir::new("port");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = holder.local_addr().unwrap();
    for listener in ["rtmp", "http", "control"] {
        let name = format!("GRANDSTAND_LISTENERS__{}__ADDR", listener.to_uppercase());
        assert_eq!(
            failure(dir.command(&[]).env(name, addr.to_string()), 1),
            format!(
                "grandstand: cannot listen on {addr} for listeners.{listener}: address already in \
                 use; stop the process that holds it (`ss -ltnp 'sport = :{}'`) or change \
                 listeners.{listener}.addr",
                addr.port()
            )
        );
    }
}

#[test]
fn a_second_server_does_not_share_the_first_ones_port() {
    let dir = Dir::new("second");
    let first = Server::start(&mut dir.command(&[]));
    let addr = first.addr("rtmp").to_string();
    let line = failure(dir.command(&[]).env("GRANDSTAND_LISTENERS__RTMP__ADDR", addr), 1);
    assert!(line.contains("for listeners.rtmp: address already in use;"), "{line}");
}

/// Lets `command` run without a capability of the superuser, who has rights beyond every mode.
fn without_capability(command: &mut Command, capability: libc::c_ulong) {
    let drop = move || {
        // SAFETY: a plain system call between fork and exec; a user without capabilities gets an
        // error, and needs none of this.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(drop) };
}

#[test]
fn missing_permissions_are_named_with_their_mend() {
    const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
    const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
    let dir = Dir::new("permission");
    let closed = dir.0.join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o500);
    std::fs::set_permissions(&closed, mode).unwrap();
    let mut command = dir.command(&[]);
    command.env("GRANDSTAND_DATA__DIR", "closed/data");
    without_capability(&mut command, CAP_DAC_OVERRIDE);
    assert_eq!(
        failure(&mut command, 1),
        "grandstand: cannot make the data directory closed/data: permission denied; allow this \
         user to use it, or name another path"
    );
    // Where the system gives every port to everybody there is no such error.
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() > 1 {
        let mut command = dir.command(&[]);
        command.env("GRANDSTAND_LISTENERS__RTMP__ADDR", "127.0.0.1:1");
        without_capability(&mut command, CAP_NET_BIND_SERVICE);
        let line = failure(&mut command, 1);
        assert!(line.contains("permission denied; `setcap cap_net_bind_service=+ep`"), "{line}");
    }
}

/// Lets `command` run with `files` file descriptors at most.
fn with_nofile(command: &mut Command, files: u64) {
    let limit = libc::rlimit { rlim_cur: files, rlim_max: files };
    let lower = move || {
        // SAFETY: the limit outlives the call, which only reads it.
        match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe { command.pre_exec(lower) };
}

#[test]
fn too_few_files_are_named_with_their_mend() {
    let dir = Dir::new("nofile");
    let mut command = dir.command(&[]);
    with_nofile(&mut command, 100);
    assert_eq!(
        failure(&mut command, 1),
        "grandstand: cannot serve anybody: the limit of 100 open files (nofile) is below 141; \
         raise it with `ulimit -n 20000` or LimitNOFILE=20000"
    );
    let mut command = dir.command(&["check"]);
    command.env("GRANDSTAND_LIMITS__CONNECTIONS_MAX", "1000");
    with_nofile(&mut command, 1024);
    let line = failure(&mut command, 1);
    assert!(line.contains("1000 connections do not fit the limit of 1024 open files"), "{line}");
    let mut command = dir.command(&["check"]);
    with_nofile(&mut command, 1024);
    let (code, out, _) = output(&mut command);
    assert_eq!(code, Some(0));
    assert!(out.contains("note: limits.connections_max is 884, not 16000"), "{out}");
}

#[test]
fn the_control_listener_tells_everybody_how_it_is_and_the_rest_to_the_token() {
    let dir = Dir::new("api");
    let server = Server::start(&mut dir.command(&[]));
    let addr = server.addr("control");
    for (path, part) in [
        ("/healthz", "\r\n\r\nok\n"),
        ("/readyz", "\r\n\r\nready\n"),
        ("/metrics", "\ngrandstand_shard_up{shard=\"1\"} 1\n"),
        ("/metrics", "\nprocess_resident_memory_bytes "),
        ("/api/v1/version", concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"")),
    ] {
        let reply = get(addr, path, "");
        assert_eq!(status(&reply), "200", "{path}");
        assert!(reply.contains(part), "{path}: {part:?}\n{reply}");
    }
    let path = dir.0.join("grandstand-data/api-token");
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions())
            & 0o777
    };
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    let token = std::fs::read_to_string(&path).unwrap();
    let right = format!("Authorization: Bearer {}\r\n", token.trim());
    for (path, part) in [
        ("/api/v1/shards", "\"missing\":[]"),
        ("/api/v1/streams", "\"name\":\"demo\""),
        ("/api/v1/sessions", "\"sessions\":["),
    ] {
        assert_eq!(status(&get(addr, path, "")), "401", "{path}");
        assert_eq!(status(&get(addr, path, "Authorization: Bearer x\r\n")), "401", "{path}");
        let reply = get(addr, path, &right);
        assert!(status(&reply) == "200" && reply.contains(part), "{path}\n{reply}");
    }
    let reply = get(addr, "/nothing", &right);
    assert!(reply.contains(r#"{"error":{"code":"not_found","#), "{reply}");
    assert_eq!(
        status(&http(
            addr,
            "POST /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )),
        "405"
    );
    let other = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&http(addr, other)), "421");
    assert!(!server.banner.contains(token.trim()), "the token is in its file alone");
}

#[test]
fn the_demo_plays_without_a_file_and_stops_with_one() {
    let dir = Dir::new("demo");
    let server = Server::start(&mut dir.command(&[]));
    let mut stream = TcpStream::connect(server.addr("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reply = vec![0; 4096];
    stream.read_exact(&mut reply).unwrap();
    let body = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(&reply[body..body + 3], b"FLV");
    drop((stream, server));
    dir.write("g.toml", "[auth]\nmode = \"open\"\n");
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    assert!(!server.banner.contains("demo"), "{}", server.banner);
    assert_eq!(status(&get(server.addr("http"), "/demo.flv", "")), "404");
    drop(server);
    let url = ("EVENT_CALLBACK_URL", "http://127.0.0.1:1/");
    let mut server = Server::start(dir.command(&[]).env(url.0, url.1));
    assert!(!server.banner.contains("demo"), "{}", server.banner);
    server.log_line("the demo is off because of EVENT_CALLBACK_URL");
}

#[test]
fn a_signal_ends_the_server_in_order_and_in_time() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = Dir::new(&format!("signal-{signal}"));
        let server = Server::start(&mut dir.command(&[]));
        let mut player = TcpStream::connect(server.addr("http")).unwrap();
        player.set_read_timeout(Some(PATIENCE)).unwrap();
        player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        player.read_exact(&mut [0; 1024]).unwrap();
        let asked = Instant::now();
        server.signal(signal);
        let mut rest = Vec::new();
        player.read_to_end(&mut rest).unwrap();
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{log}");
        assert!(log.contains("ending: nobody new is accepted"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let dir = Dir::new("twice");
    let mut server = Server::start(&mut dir.command(&[]));
    // A player that reads nothing keeps the farewell waiting.
    let mut player = TcpStream::connect(server.addr("http")).unwrap();
    player.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    player.read_exact(&mut [0; 64]).unwrap();
    server.signal(libc::SIGTERM);
    server.log_line("ending: nobody new is accepted");
    let asked = Instant::now();
    server.signal(libc::SIGTERM);
    let (code, log) = server.end();
    // The first may have been enough by now.
    assert!(matches!(code, Some(0 | 1)), "{code:?}: {log}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{log}");
}

#[test]
fn a_hangup_reloads_what_can_be_and_names_the_rest() {
    let dir = Dir::new("hangup");
    let auth = "[auth]\nmode = \"open\"\n";
    let http = "[listeners.http]\naddr = \"127.0.0.1:0\"\n";
    let auth = format!("{auth}{http}");
    dir.write("g.toml", &auth);
    let mut command = dir.command(&["--config", "g.toml"]);
    let mut server = Server::start(command.env_remove("GRANDSTAND_LISTENERS__HTTP__ADDR"));
    dir.write("g.toml", &format!("{auth}[egress]\nbatch_ms_max = \"soon\"\n"));
    server.signal(libc::SIGHUP);
    let line = server.log_line("reload refused");
    assert!(line.contains("g.toml:6: egress.batch_ms_max: expected"), "{line}");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap();
    let listener = format!("[listeners.http]\naddr = [\"127.0.0.1:0\", \"{addr}\"]\n");
    dir.write("g.toml", &auth.replace(http, &listener));
    server.signal(libc::SIGHUP);
    assert!(
        server.log_line("reload refused").contains("for listeners.http: address already in use")
    );
    drop(held);
    server.signal(libc::SIGHUP);
    server.log_line("reloaded");
    for addr in [server.addr("http"), addr] {
        assert_eq!(status(&get(addr, "/streams.json", "")), "200");
    }
    let fresh = "[egress]\nbatch_ms_max = 50\n[limits]\nstreams_max = 77\n[reactor]\n\
                 recv_buffers = 256\n";
    dir.write("g.toml", &format!("{auth}{fresh}"));
    server.signal(libc::SIGHUP);
    let line = server.log_line("reloaded");
    assert!(
        line.contains("applied=\"listeners.http.addr limits.streams_max egress.batch_ms_max\""),
        "{line}"
    );
    let line = server.log_line("needs a restart");
    assert!(line.contains("key=\"reactor.recv_buffers\""), "{line}");
    let metrics = get(server.addr("control"), "/metrics", "");
    assert!(metrics.contains("\ngrandstand_limit{limit=\"streams_max\"} 77\n"), "{metrics}");
    dir.write("g.toml", &format!("{auth}[log]\nlevel = \"debug\"\n"));
    server.signal(libc::SIGHUP);
    server.log_line("reloaded");
    assert_eq!(status(&get(server.addr("http"), "/streams.json", "")), "200");
    server.log_line("DEBUG");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_probe_tells_tracks_and_times_or_why_not() {
    let dir = Dir::new("probe");
    let server = Server::start(&mut dir.command(&[]));
    let rtmp = server.addr("rtmp");
    let url = format!("rtmp://{rtmp}/live/demo?key=hidden");
    let (code, out, err) = output(&mut dir.command(&["probe", "--json", &url]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for part in [
        r#""kind":"video","id":0,"codec":"h264""#,
        r#""width":640,"height":360"#,
        r#""kind":"audio","id":0,"codec":"aac""#,
        r#""sample_rate":48000,"channels":2"#,
        r#""first_keyframe_ms":"#,
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    assert!(!out.contains("hidden") && !out.contains(r#""fps":null"#), "{out}");
    let url = format!("rtmp://{rtmp}/live/nobody");
    let line = failure(&mut dir.command(&["probe", &url]), 1);
    assert!(line.contains(": the server says NetStream.Play.StreamNotFound"), "{line}");
    for url in [format!("rtmp://{}/live/demo", server.addr("http")), format!("rtmps://{rtmp}/a/b")]
    {
        let line = failure(&mut dir.command(&["probe", "--timeout", "5", &url]), 1);
        assert!(line.ends_with("this port"), "{line}");
    }
    drop(server);
    let line = failure(&mut dir.command(&["probe", "rtmp://127.0.0.1:1/live/demo"]), 1);
    assert!(line.contains("connection refused; check that the server runs"), "{line}");
}
