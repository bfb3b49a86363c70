//! A shard that hangs: the control thread goes on, but does not vouch for it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::debugger::Stopped;
use crate::server::{Backend, Folder, Options, Server};

/// Only a test that fails waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads notices up to the first one that contains `part`.
fn until(manager: &UnixDatagram, part: &str) {
    let mut bytes = [0; 4096];
    loop {
        let length = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("no {part}: {error}"));
        if String::from_utf8_lossy(&bytes[..length]).contains(part) {
            return;
        }
    }
}

fn a_hanging_shard_starves_the_watchdog(backend: Backend) {
    let folder = Folder::new();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the test's folder can be written");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero is legal");
    let mut command = Options::on(backend).command(&folder);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    let server = Server::run(&mut command, folder);
    until(&manager, "WATCHDOG=1");

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

    until(&manager, "WATCHDOG=1");
    until(&manager, "STATUS=Serving: shards 2");
    server.stop();
}

#[test]
fn a_shard_that_hangs_starves_the_watchdog_on_io_uring() {
    a_hanging_shard_starves_the_watchdog(Backend::IoUring);
}

#[test]
fn a_shard_that_hangs_starves_the_watchdog_on_epoll() {
    a_hanging_shard_starves_the_watchdog(Backend::Epoll);
}
