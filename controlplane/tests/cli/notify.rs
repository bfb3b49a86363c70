//! What a service manager hears: a socket of the test takes its place.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

use crate::program::{Dir, PATIENCE, Server, get, http, status};

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    /// Hears at a path in `dir`, or at an abstract name.
    fn new(dir: &Dir, abstract_name: bool) -> Self {
        let path = dir.0.join("notify").to_string_lossy().into_owned();
        let (address, at) = if abstract_name {
            (format!("@{path}"), SocketAddr::from_abstract_name(path.as_bytes()).unwrap())
        } else {
            (path.clone(), SocketAddr::from_pathname(&path).unwrap())
        };
        let socket = UnixDatagram::bind_addr(&at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, address }
    }

    fn starts<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", &self.address)
    }

    fn notice(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("the server says something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// The next notice with `part`.
    fn until(&self, part: &str) -> String {
        loop {
            let notice = self.notice();
            if notice.contains(part) {
                return notice;
            }
        }
    }
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn start_reload_and_end_are_told() {
    for abstract_name in [false, true] {
        let dir = Dir::new(&format!("notify-{abstract_name}"));
        let good = "[auth]\nmode = \"open\"\n[session]\nrefuse_ms = 0\ndrain_ms = 1500\n";
        dir.write("g.toml", good);
        let manager = Manager::new(&dir, abstract_name);
        let mut command = dir.command(&["--config", "g.toml"]);
        let mut server = Server::start(manager.starts(&mut command));
        let ready = "READY=1\nSTATUS=Serving: shards 2, streams 0, publishers 0, players 0";
        assert_eq!(manager.notice(), ready);
        assert_eq!(status(&get(server.addr("http"), "/streams.json", "")), "200");

        let before = monotonic_usec();
        server.signal(libc::SIGHUP);
        let told = manager.until("RELOADING=1");
        let usec = told.split("MONOTONIC_USEC=").nth(1).unwrap().lines().next().unwrap();
        let usec: i64 = usec.parse().unwrap();
        assert!((before..=monotonic_usec()).contains(&usec), "{told}");
        assert_eq!(manager.notice(), ready);
        server.reloaded();

        dir.write("g.toml", &format!("{good}[egress]\nbatch_ms_max = \"soon\"\n"));
        server.signal(libc::SIGHUP);
        manager.until("RELOADING=1");
        let told = manager.notice();
        assert!(told.starts_with("READY=1\n"), "{told}");
        assert!(told.contains("refused: g.toml:7: egress.batch_ms_max: expected"), "{told}");
        assert_eq!(told.lines().count(), 2, "{told}");

        dir.write("g.toml", good);
        let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
        let reply = http(
            server.addr("control"),
            &format!(
                "POST /api/v1/config/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                 Authorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
                token.trim()
            ),
        );
        assert_eq!(status(&reply), "200", "{reply}");
        manager.until("RELOADING=1");
        assert_eq!(manager.notice(), ready);

        server.signal(libc::SIGTERM);
        let told = manager.until("STOPPING=1");
        let usec = told.split("EXTEND_TIMEOUT_USEC=").nth(1).unwrap().lines().next().unwrap();
        let seconds = usec.parse::<u64>().unwrap() / 1_000_000;
        assert!((3..10).contains(&seconds), "{told}");
        assert!(told.contains("STATUS=Ending: "), "{told}");
        let (code, log) = server.end();
        assert_eq!(code, Some(0), "{log}");
    }
}

#[test]
fn the_watchdog_is_fed_and_the_status_counts_players() {
    let dir = Dir::new("watchdog");
    let manager = Manager::new(&dir, false);
    let mut command = dir.command(&[]);
    let server = Server::start(manager.starts(&mut command).env("WATCHDOG_USEC", "600000"));
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    let player = std::net::TcpStream::connect(server.addr("http")).unwrap();
    let mut request = &player;
    let line = b"GET /demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n";
    std::io::Write::write_all(&mut request, line).unwrap();
    manager.until("players 1");
    manager.until("WATCHDOG=1");
    drop(player);
    manager.until("players 0");
}

#[test]
fn a_manager_that_hears_nothing_or_is_none_keeps_nobody_from_serving() {
    let dir = Dir::new("deaf");
    for address in ["/nowhere/notify", "vsock:2:1", ""] {
        let mut server = Server::start(dir.command(&[]).env("NOTIFY_SOCKET", address));
        if address.starts_with("vsock") {
            let line = server.log_line("NOTIFY_SOCKET");
            assert!(line.contains("WARN") && line.contains("nobody is told"), "{line}");
        }
        assert_eq!(status(&get(server.addr("control"), "/readyz", "")), "200");
        server.signal(libc::SIGTERM);
        assert_eq!(server.end().0, Some(0));
    }
}

#[test]
fn a_credential_is_the_token_of_the_api() {
    let dir = Dir::new("credential");
    let credentials = dir.0.join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let secret = "a-word-of-the-operator";
    std::fs::write(credentials.join("api-token"), secret).unwrap();
    let mut command = dir.command(&[]);
    let server = Server::start(command.env("CREDENTIALS_DIRECTORY", &credentials));
    assert!(server.banner.contains("credentials/api-token"), "{}", server.banner);
    let shards = |token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        status(&get(server.addr("control"), "/api/v1/shards", &header)).to_owned()
    };
    assert_eq!((shards(secret).as_str(), shards("another-word-of-it").as_str()), ("200", "401"));
    assert!(!dir.0.join("grandstand-data/api-token").exists());
}
