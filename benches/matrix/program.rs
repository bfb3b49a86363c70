//! Foreign programs: they send what they read and write what they receive.

use std::env;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use crate::cell::{Key, Peer};
use crate::content::PACKET;
use crate::end::{LATENCY_MS, Place, SECRET, Task};

/// A program that runs until this is dropped.
pub(crate) struct Program {
    child: Child,
    /// What it is still to read: it may stop reading, and nobody waits for it then.
    input: Sender<Vec<u8>>,
    written: usize,
    said: Receiver<Vec<u8>>,
}

impl Program {
    /// Starts it, and gives what it will write.
    pub(crate) fn start(peer: Peer, task: Task) -> (Self, Receiver<Vec<u8>>) {
        let mut command = command(peer, task);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"));
        let came = read(child.stdout.take().unwrap());
        let said = read(child.stderr.take().unwrap());
        let input = write(child.stdin.take().unwrap());
        (Self { child, input, written: 0, said }, came)
    }

    /// Gives it those of `bytes` that it does not have.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.written {
            let more = bytes[self.written..].to_vec();
            self.input.send(more).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.written = bytes.len();
        }
        Ok(())
    }

    /// What it said, if it is over.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().unwrap()?;
        let said: Vec<u8> = self.said.iter().flatten().collect();
        Some(String::from_utf8_lossy(&said).trim().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(mut pipe: ChildStdin) -> Sender<Vec<u8>> {
    let (tell, hear) = mpsc::channel::<Vec<u8>>();
    thread::spawn(move || hear.iter().try_for_each(|bytes| pipe.write_all(&bytes)));
    tell
}

fn read(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok(len @ 1..) = pipe.read(&mut buffer) {
            if tell.send(buffer[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    hear
}

fn command(peer: Peer, task: Task) -> Command {
    let mut command = Command::new(name(peer));
    let sends = task.sends;
    match peer {
        Peer::Libsrt => {
            let [refresh, announce] = task.refresh();
            let keys = format!("&kmrefreshrate={refresh}&kmpreannounce={announce}");
            let url = url(task, LATENCY_MS, &keys);
            let (from, to) = if sends { ("file://con", &*url) } else { (&*url, "file://con") };
            command.args(["-q", "-chunk:1316", "-a:no", from, to]);
        }
        Peer::Ffmpeg | Peer::Newer => {
            // Its latency is in microseconds.
            let url = url(task, LATENCY_MS * 1_000, "&pkt_size=1316");
            let (from, to) = if sends { ("pipe:0", &*url) } else { (&*url, "pipe:1") };
            command.args(["-hide_banner", "-loglevel", "error", "-fflags", "nobuffer"]);
            command.args(["-probesize", "32", "-f", "data", "-raw_packet_size", "1316"]);
            command.args(["-i", from, "-map", "0", "-c", "copy", "-f", "data"]);
            command.args(["-flush_packets", "1", to]);
        }
        Peer::Gstreamer => {
            let url = format!("uri={}", url(task, LATENCY_MS, ""));
            let block = format!("blocksize={PACKET}");
            let words = if sends {
                ["fdsrc", "fd=0", &block, "!", "srtsink", "sync=false", &url]
            } else {
                ["srtsrc", &url, "!", "fdsink", "fd=1", "sync=false", "async=false"]
            };
            command.arg("-q").args(words);
        }
        Peer::SrtTokio => {
            let Place::Calls(addr) = task.place else { panic!("it is never called") };
            let key = key_bytes(task.key).unwrap_or(0).to_string();
            let what = if sends { "send" } else { "receive" };
            command.args([what, &addr.to_string(), &LATENCY_MS.to_string(), &key, SECRET]);
        }
        Peer::Ours => unreachable!("we are no program"),
    }
    command
}

/// The program of a peer.
pub(crate) fn name(peer: Peer) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match peer {
        Peer::Libsrt => "srt-live-transmit".into(),
        Peer::Ffmpeg => "ffmpeg".into(),
        Peer::Newer => root.join(".tools/ffmpeg-newer"),
        Peer::Gstreamer => "gst-launch-1.0".into(),
        // `make matrix` builds it.
        Peer::SrtTokio => env::var_os("SRT_TOKIO_PEER").map(PathBuf::from).unwrap_or_default(),
        Peer::Ours => unreachable!("we are no program"),
    }
}

pub(crate) const fn key_bytes(key: Key) -> Option<u16> {
    match key {
        Key::Plain => None,
        Key::Aes128 => Some(16),
        Key::Aes256 => Some(32),
    }
}

fn url(task: Task, latency: u64, more: &str) -> String {
    let (addr, mode) = match task.place {
        Place::Calls(addr) => (addr, "caller"),
        Place::IsCalledAt(addr) => (addr, "listener"),
    };
    let key = key_bytes(task.key)
        .map(|bytes| format!("&passphrase={SECRET}&pbkeylen={bytes}"))
        .unwrap_or_default();
    format!("srt://{addr}?mode={mode}&latency={latency}{key}{more}")
}
