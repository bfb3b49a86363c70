//! A debugger's stop of one thread: no hook in the program, and no other thread notices.

use std::fs;
use std::io::Error;
use std::time::{Duration, Instant};

/// A stop takes effect within this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A thread that does not run until this goes.
pub(crate) struct Stopped(libc::pid_t);

impl Stopped {
    /// Stops the main thread of the process `pid`, which is a child of this one.
    pub(crate) fn at_once(pid: u32) -> Self {
        Self::thread(pid, pid)
    }

    /// Stops the thread that the process `pid` calls `name`.
    pub(crate) fn named(pid: u32, name: &str) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        let is_called = |path: &std::path::Path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let mut paths = tasks.map(|task| task.expect("a thread is listed").path());
        let path = paths.find(|path| is_called(path)).expect("a thread has that name");
        let number = path.file_name().and_then(|number| number.to_str()?.parse().ok());
        Self::thread(pid, number.expect("threads are numbered"))
    }

    fn thread(pid: u32, number: u32) -> Self {
        let thread = libc::pid_t::try_from(number).expect("a number of a thread");
        trace(libc::PTRACE_SEIZE, thread);
        let stopped = Self(thread);
        trace(libc::PTRACE_INTERRUPT, thread);
        let deadline = Instant::now() + PATIENCE;
        // Whoever waits for the child takes the notice of its stop, but its state is told, too.
        while state(pid, number) != 't' {
            assert!(Instant::now() < deadline, "the thread does not stop");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        stopped
    }

    /// Lets it run again.
    pub(crate) fn go_on(self) {
        drop(self);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the request takes no pointer.
        let detached = unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, 0, 0) };
        assert!(detached == 0 || std::thread::panicking(), "{}", Error::last_os_error());
    }
}

fn trace(request: libc::c_uint, thread: libc::pid_t) {
    // SAFETY: neither request takes a pointer.
    let done = unsafe { libc::ptrace(request, thread, 0, 0) };
    assert_eq!(done, 0, "ptrace: {}", Error::last_os_error());
}

/// The letter of its state: `t` while a tracer holds it.
fn state(pid: u32, thread: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).expect("it runs");
    let after = stat.rsplit_once(") ").expect("a name in brackets").1;
    after.chars().next().expect("a state")
}
