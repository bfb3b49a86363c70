//! The relay of `grandstand-load impair`, in a thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use loadtest::impair::Relay;
use loadtest::scenario::{self, Action};

use crate::cell::{Cell, Line, Role};

impl Line {
    /// What the relay is told: both ways, but for bursts, which count packets and would be long
    /// silences of whoever only acknowledges.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Fine => "",
            Self::Loss => "--loss 5% --delay 20ms",
            Self::Bursts => "--loss 10% --burst 8 --delay 20ms",
            Self::Reorder => "--reorder 5% --delay 20ms",
            Self::Duplicate => "--duplicate 20% --delay 5ms --jitter 1ms",
        }
    }
}

/// A relay at work until it is dropped.
pub(crate) struct Running {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(cell: Cell, to: SocketAddr) -> Self {
        let direction = match (cell.line, cell.role) {
            (Line::Bursts, Role::Publish) => "--direction up",
            (Line::Bursts, Role::Play) => "--direction down",
            _ => "",
        };
        let words = cell.line.words();
        let words =
            format!("impair --udp --seed 7 --listen 127.0.0.1:0 --to {to} {words} {direction}");
        let read = scenario::parse(words.split_whitespace().map(Into::into)).unwrap();
        let Action::Impair(plan) = read.action else { panic!("{words}") };
        let mut relay = Relay::open(&plan).unwrap();
        let addr = relay.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || {
            relay.run(&until).unwrap();
        }));
        Self { addr, stop, thread }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking());
    }
}
