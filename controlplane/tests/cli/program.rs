//! The program as a child process, in a directory and with an environment of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_grandstand");
/// What the tests wait for at most: only a failing one waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A working directory of its own, removed at the end.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    /// The program in this directory, without the variables of the caller.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
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
        for name in ["STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        for name in ["RTMP", "HTTP", "RTMPS", "HTTPS", "CONTROL", "CONTROL_TLS"] {
            command.env(format!("GRANDSTAND_LISTENERS__{name}__ADDR"), "127.0.0.1:0");
        }
        command.env("GRANDSTAND_SHARDS__COUNT", "2");
        command.env("GRANDSTAND_LIMITS__MEMORY_MAX", "1GiB");
        command
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The one line of a command that must fail with `status`.
pub(crate) fn failure(command: &mut Command, status: i32) -> String {
    let (code, stdout, stderr) = output(command);
    assert_eq!((code, stdout.as_str()), (Some(status), ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) banner: String,
    log: BufReader<ChildStderr>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
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
    pub(crate) fn addr(&self, listener: &str) -> SocketAddr {
        let line = self.banner.lines().find(|line| line.contains("listening")).unwrap();
        let name = format!("{listener} ");
        let (_, rest) = line.split_once(&name).unwrap();
        rest.split(',').next().unwrap().trim().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).unwrap();
        // SAFETY: the child is ours and not yet waited for, so the number is still its.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Reads the log until a line with `part`.
    pub(crate) fn log_line(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            let read = self.log.read_line(&mut seen).unwrap();
            assert!(read > 0, "the log ends before {part:?}:\n{seen}");
            if seen[from..].contains(part) {
                return seen.split_off(from);
            }
        }
    }

    /// Reads the log until a reload is over, which must have worked.
    pub(crate) fn reloaded(&mut self) -> String {
        let line = self.log_line("server::reload");
        assert!(line.contains("reloaded"), "{line}");
        self.settled();
        line
    }

    /// Waits until every shard has taken what it was told: it answers in the order of its mailbox.
    pub(crate) fn settled(&self) {
        assert_eq!(status(&get(self.addr("control"), "/metrics", "")), "200");
    }

    fn rest_of_log(&mut self) -> String {
        let mut text = String::new();
        self.log.read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for the end; its status and what was still logged.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
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
pub(crate) fn http(addr: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

pub(crate) fn get(addr: SocketAddr, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    http(addr, &format!("{head}{headers}\r\n"))
}

pub(crate) fn status(reply: &str) -> &str {
    reply.split(' ').nth(1).unwrap_or("none")
}

/// The status with which the answer to a player begins.
pub(crate) fn plays(server: &Server, target: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(server.addr("http")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    status(&line).to_owned()
}
