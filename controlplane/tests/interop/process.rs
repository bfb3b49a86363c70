//! A child process that cannot outlive its test.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

/// A running command; its output is gathered, its end is an event.
pub(crate) struct Process {
    name: String,
    pid: u32,
    lines: Receiver<String>,
    output: Arc<Mutex<String>>,
    exit: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; what it writes to either output is kept for the report of a failure.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_on(command, Stdio::null())
    }

    /// The same, with that as its standard input.
    #[expect(clippy::zombie_processes, reason = "`wait` takes its end, past the stops of a tracer")]
    pub(crate) fn start_on(command: &mut Command, input: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): run .ci/setup"));
        let pid = child.id();
        let output = Arc::new(Mutex::new(String::new()));
        let (say, lines) = channel();
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let keep = Arc::clone(&output);
        let out = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                append(&keep, &line);
                // Nobody may be listening: the line is kept all the same.
                let _ = say.send(line);
            }
        });
        let keep = Arc::clone(&output);
        let err = thread::spawn(move || gather(stderr, &keep));
        let (over, exit) = channel();
        thread::spawn(move || {
            let status = wait(&child);
            out.join().expect("the reader of standard output does not panic");
            err.join().expect("the reader of standard error does not panic");
            let _ = over.send(status);
        });
        Self { name, pid, lines, output, exit, status: None }
    }

    /// Its number.
    #[allow(dead_code, reason = "only the memory contract asks")]
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line of standard output; `None` when it closed.
    pub(crate) fn line(&self, deadline: Duration) -> Option<String> {
        match self.lines.recv_timeout(deadline) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} said nothing for {deadline:?}:\n{}", self.name, self.output())
            }
        }
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let status = self.exit.recv_timeout(deadline).unwrap_or_else(|_| {
            panic!("{} still runs after {deadline:?}:\n{}", self.name, self.output())
        });
        self.status = Some(status);
        status
    }

    /// True until it has ended.
    #[allow(dead_code, reason = "the memory contract waits for ends")]
    pub(crate) fn is_running(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.exit.try_recv().ok();
        }
        self.status.is_none()
    }

    /// Waits for an end without complaint.
    pub(crate) fn finish(&mut self, deadline: Duration) {
        let status = self.wait(deadline);
        assert!(status.success(), "{}: {status}\n{}", self.name, self.output());
    }

    /// Sends a signal by name, for example `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        if self.status.is_none() {
            let kill = format!("kill -{name} {} 2>/dev/null", self.pid);
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    }

    /// Everything written so far.
    pub(crate) fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() && self.exit.try_recv().is_err() {
            self.signal("KILL");
            let _ = self.exit.recv_timeout(Duration::from_secs(10));
        }
        if thread::panicking() {
            eprintln!("---- {} ({})\n{}", self.name, self.pid, self.output());
        }
    }
}

/// Waits for the end; that a tracer stopped it is no end.
fn wait(child: &Child) -> ExitStatus {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a number");
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) if status.exited() || status.signaled() => {
                return ExitStatus::from_raw(status.as_raw());
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("a child of ours can be waited for: {error}"),
        }
    }
}

fn append(output: &Mutex<String>, line: &str) {
    let mut text = output.lock().expect("no reader panics");
    text.push_str(line);
    text.push('\n');
}

fn gather(mut from: impl Read, output: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..n]);
        output.lock().expect("no reader panics").push_str(&text);
    }
}
