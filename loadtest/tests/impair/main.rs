//! The relay between real sockets.
#![allow(clippy::unwrap_used, reason = "the whole file is a test")]

mod connections;
mod datagrams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loadtest::impair::{ImpairSummary, Relay};
use loadtest::scenario::{self, Action};

/// Whatever is awaited comes within this.
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay at work.
struct Running {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<ImpairSummary>,
}

impl Running {
    /// Starts the relay that `options` describe.
    fn start(to: SocketAddr, options: &str) -> Self {
        let line = format!("impair --listen 127.0.0.1:0 --to {to} {options}");
        let action = scenario::parse(line.split_whitespace().map(Into::into)).unwrap().action;
        let Action::Impair(plan) = action else { panic!("not impair") };
        let mut relay = Relay::open(&plan).unwrap();
        let addr = relay.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        Self { addr, stop, thread: thread::spawn(move || relay.run(&until).unwrap()) }
    }

    /// Stops it, and tells what it did.
    fn finish(self) -> ImpairSummary {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[test]
fn a_taken_address_is_one_clear_line() {
    let running = Running::start("127.0.0.1:9".parse().unwrap(), "--tcp");
    let line = format!("impair --listen {} --to 127.0.0.1:9 --tcp", running.addr);
    let scenario = scenario::parse(line.split_whitespace().map(Into::into)).unwrap();
    let error = format!(
        "{:#}",
        scenario::perform(&scenario, &AtomicBool::new(false), &mut |_| ()).unwrap_err()
    );
    assert!(error.starts_with(&format!("cannot listen on {}; choose", running.addr)), "{error}");
    assert!(!error.contains('\n'), "{error}");
    running.finish();
}
