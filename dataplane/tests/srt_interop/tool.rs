//! Foreign programs: started, fed, heard and ended.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// Calls by libsrt itself, whose tools do not show the code of a refusal, and prints the code.
const CALLER: &str = r"
import ctypes, socket, struct, sys
srt = ctypes.CDLL('libsrt-gnutls.so.1.5')
srt.srt_startup()
caller = srt.srt_create_socket()
host, port = sys.argv[1].split(':')
addr = struct.pack('=H', socket.AF_INET) + struct.pack('>H', int(port)) + socket.inet_aton(host)
srt.srt_connect(caller, addr + bytes(8), 16)
print(srt.srt_getrejectreason(caller))
";

/// A program that runs until this is dropped.
pub(crate) struct Tool {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Receiver<Vec<u8>>,
    err: Receiver<Vec<u8>>,
    output: Vec<u8>,
}

impl Tool {
    fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"));
        let out = heard(child.stdout.take().unwrap());
        let err = heard(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Self { child, stdin, out, err, output: Vec::new() }
    }

    /// `srt-live-transmit` from one address to another.
    pub(crate) fn transmit(from: &str, to: &str) -> Self {
        Self::start(Command::new("srt-live-transmit").args(["-chunk:1316", "-a:no", from, to]))
    }

    /// A caller that prints why it is refused.
    pub(crate) fn caller(addr: SocketAddr) -> Self {
        Self::start(Command::new("python3").args(["-c", CALLER, &addr.to_string()]))
    }

    /// ffmpeg, which sends four seconds of pictures and sound to `address` and writes them to a
    /// file, too.
    pub(crate) fn ffmpeg(address: &str) -> (Self, TempFile) {
        let file = TempFile::new();
        let path = file.path().display();
        let tee = format!("[f=mpegts]{path}|[f=mpegts]{address}");
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "error", "-y", "-re"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args(["-t", "4", "-map", "0:v", "-map", "1:a", "-c:v", "libx264"]);
        command.args(["-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-f", "tee", &tee]);
        (Self::start(&mut command), file)
    }

    /// Gives it input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// What it put out so far.
    pub(crate) fn output(&mut self) -> &[u8] {
        self.output.extend(self.out.try_iter().flatten());
        &self.output
    }

    /// What it said, if it is over.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().unwrap()?;
        Some(String::from_utf8_lossy(&self.err.iter().flatten().collect::<Vec<_>>()).into_owned())
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heard(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
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

/// A file that is removed with this.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    fn new() -> Self {
        let name = format!("grandstand-srt-{}.ts", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// An address on which nobody listens.
pub(crate) fn free_addr() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// All of `sent` from some time on, which is soon: the tool throws away what it is given before it
/// hears that it is connected, and over a bad line it hears that later than we do.
pub(crate) fn assert_same_once_connected(what: &str, got: &[u8], sent: &[u8]) {
    let start = sent.len().saturating_sub(got.len());
    assert!(start <= sent.len() / 4, "{what}: {start} bytes were not sent");
    assert_same(what, got, &sent[start..]);
}

pub(crate) fn assert_same(what: &str, got: &[u8], sent: &[u8]) {
    let same = got.iter().zip(sent).take_while(|(a, b)| a == b).count();
    let lens = (got.len(), sent.len());
    assert!(got == sent, "{what}: {same} bytes are the same, then they differ; lengths {lens:?}");
}
