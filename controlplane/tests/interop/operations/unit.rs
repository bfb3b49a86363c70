//! The unit: systemd takes it, its sandbox is as tight as promised, and the server lives in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{file, output, read};
use crate::client::Client;
use crate::http_flv::get;
use crate::player::Player;
use crate::server::{Backend, Folder, Options, Server};

/// What `systemd-analyze security` may find exposed, of 100: a server of the network needs some.
const EXPOSURE_MAX: &str = "20";

/// The tracer ends soon after what it traced.
const PATIENCE: Duration = Duration::from_secs(20);

fn analyze() -> Command {
    Command::new("systemd-analyze")
}

#[test]
fn systemd_takes_it_and_finds_little_exposed() {
    let folder = Folder::new();
    // Of the programs that it names one is not installed here.
    let text = read("systemd/grandstand.service");
    let text = text.replace("/usr/bin/grandstand", env!("CARGO_BIN_EXE_grandstand"));
    let unit = folder.path().join("grandstand.service");
    std::fs::write(&unit, text).expect("the test's folder can be written");
    let mut command = analyze();
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&unit);
    let said = command.output().expect("systemd-analyze is there: run .ci/setup");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let about: Vec<_> = said.lines().filter(|line| line.contains("grandstand.service")).collect();
    assert!(about.is_empty(), "{said}");
    let mut command = analyze();
    command.args(["security", "--offline=true", "--threshold", EXPOSURE_MAX]);
    output(command.arg(file("systemd/grandstand.service")));
}

/// System calls that the unit lets pass, sets resolved.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in read("systemd/grandstand.service").lines() {
        let Some(list) = line.strip_prefix("SystemCallFilter=") else { continue };
        let (list, takes) = list.strip_prefix('~').map_or((list, false), |list| (list, true));
        for name in list.split(' ').flat_map(calls) {
            if takes {
                allowed.remove(&name)
            } else {
                allowed.insert(name)
            };
        }
    }
    allowed
}

/// A system call, or those of a set of systemd.
fn calls(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let said = output(analyze().args(["syscall-filter", "--no-pager", name]));
    let lines = said.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let members = lines.filter(|&line| !line.is_empty() && line != name);
    members.flat_map(calls).collect()
}

/// System calls of a server that starts, is published to, watched, reloaded and ended.
fn used(backend: Backend) -> BTreeSet<String> {
    let folder = Folder::new();
    let trace = folder.path().join("trace");
    let mut options = Options::on(backend);
    (options.demo, options.tls) = (true, true);
    crate::tls::certify(folder.path());
    let served = options.command(&folder);
    let mut command = Command::new("strace");
    // The tracer is no parent: signals of the test reach the server.
    command.args(["-D", "-f", "-q", "-e", "signal=none", "-e", "raw=all", "-o"]).arg(&trace);
    command.arg("--").arg(served.get_program()).args(served.get_args());
    command.current_dir(folder.path());
    let server = Server::run(&mut command, folder);
    let player = Player::start(Client::PLAIN, &server, "demo");
    player.wait_for_media();
    assert_eq!(get(server.http, "/demo/index.m3u8", "").0, 200);
    assert_eq!(server.post("/api/v1/config/reload", "").0, 200);
    server.api("/api/v1/sessions");
    let folder = server.stop_in_place();
    drop(player);
    let text = until_complete(&folder.path().join("trace"));
    let name = |line: &str| {
        let call = line.split_whitespace().nth(1)?.split_once('(')?.0;
        call.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_').then(|| call.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// What the tracer wrote, once it has written the end of every thread.
fn until_complete(trace: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(trace).expect("strace wrote it");
        let first = text.split_whitespace().next().expect("a number").to_owned();
        let is_end = |line: &str| line.starts_with(&format!("{first} ")) && line.contains("+++");
        if text.lines().any(is_end) {
            return text;
        }
        assert!(Instant::now() < deadline, "the tracer does not end");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn its_filter_lets_every_call_of_the_server_pass() {
    let allowed = allowed();
    for backend in [Backend::IoUring, Backend::Epoll] {
        let used = used(backend);
        let rings = used.contains("io_uring_enter");
        assert_eq!(rings, backend == Backend::IoUring, "{used:?}");
        let refused: Vec<_> = used.difference(&allowed).collect();
        assert!(refused.is_empty(), "{backend:?}: {refused:?}");
    }
}
