//! Who is vouched for to the service manager: not a shard that hangs, but a node whose control
//! thread does not turn for a while.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::debugger::Stopped;
use crate::server::{Backend, Folder, Options, Server};

/// Only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads notices until one has contained `part`.
fn until(manager: &UnixDatagram, part: &str) {
    until_all(manager, &[part]);
}

/// Reads notices until each of `parts` was in one of them: two threads say them.
fn until_all(manager: &UnixDatagram, parts: &[&str]) {
    let (mut bytes, mut missing) = ([0; 4096], parts.to_vec());
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let heard = manager.recv(&mut bytes).map(|length| &bytes[..length]);
        let heard = heard.unwrap_or_else(|error| panic!("no {missing:?}: {error}"));
        let notice = String::from_utf8_lossy(heard);
        missing.retain(|part| !notice.contains(part));
        assert!(missing.is_empty() || Instant::now() < deadline, "no {missing:?}: {notice}");
    }
}

/// A service manager with a watchdog of 0.9 s, and the server that has fed it once.
fn watched(backend: Backend) -> (UnixDatagram, Server) {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the test's folder can be written");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is legal");
    let mut command = Options::on(backend).command(&folder);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    let server = Server::run(&mut command, folder);
    until(&manager, "WATCHDOG=1");
    (manager, server)
}

fn a_hanging_shard_starves_the_watchdog(backend: Backend) {
    let (manager, server) = watched(backend);

    let stopped = Stopped::named(server.pid(), "shard-1");
    until(&manager, "; not turning: shard 1");
    // The API waits a second for the shard each time, and its answers say which one.
    for _ in 0..3 {
        let health = server.api("/api/v1/health");
        assert_eq!(health["reasons"][0]["code"], "shard_silent", "{health}");
    }
    manager.set_nonblocking(true).expect("a socket can be asked");
    let mut bytes = [0; 4096];
    let heard = manager.recv(&mut bytes).map(|length| bytes[..length].to_vec());
    assert!(heard.is_err(), "{:?}", heard.map(String::from_utf8));
    manager.set_nonblocking(false).expect("a socket can be waited for");
    stopped.go_on();

    until_all(&manager, &["WATCHDOG=1", "STATUS=Serving: shards 2"]);
    server.stop();
}

/// A watchdog that would have bitten several times while the control thread was stopped.
fn a_stopped_control_thread_starves_nobody(backend: Backend) {
    let (manager, server) = watched(backend);

    let stopped = Stopped::at_once(server.pid());
    // What was said before.
    manager.set_nonblocking(true).expect("a socket can be asked");
    while manager.recv(&mut [0; 4096]).is_ok() {}
    manager.set_nonblocking(false).expect("a socket can be waited for");
    for _ in 0..10 {
        until(&manager, "WATCHDOG=1");
    }
    stopped.go_on();
    assert!(server.api("/api/v1/shards")["shards"].is_array());
    server.stop();
}

#[test]
fn a_control_thread_that_is_late_starves_no_watchdog_on_io_uring() {
    a_stopped_control_thread_starves_nobody(Backend::IoUring);
}

#[test]
fn a_control_thread_that_is_late_starves_no_watchdog_on_epoll() {
    a_stopped_control_thread_starves_nobody(Backend::Epoll);
}

#[test]
fn a_shard_that_hangs_starves_the_watchdog_on_io_uring() {
    a_hanging_shard_starves_the_watchdog(Backend::IoUring);
}

#[test]
fn a_shard_that_hangs_starves_the_watchdog_on_epoll() {
    a_hanging_shard_starves_the_watchdog(Backend::Epoll);
}
