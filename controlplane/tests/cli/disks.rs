//! Disks that do not answer: a file that is a pipe makes its reader or writer wait for as long as a
//! test likes.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;

use crate::program::{Dir, Server, get, status};
use crate::tls::Pair;

const OPEN: &str = "[auth]\nmode = \"open\"\n";

/// A file that gives and takes nothing until somebody is at its other end.
fn pipe(dir: &Dir, name: &str) {
    let _ = std::fs::remove_file(dir.0.join(name));
    let made = Command::new("mkfifo").arg(name).current_dir(&dir.0).status().unwrap();
    assert!(made.success());
}

/// Returns when the server waits for what the file says.
fn awaited(dir: &Dir, name: &str) -> File {
    OpenOptions::new().write(true).open(dir.0.join(name)).unwrap()
}

fn answers(server: &Server) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(status(&get(server.addr("control"), path, "")), "200", "{path}");
    }
}

#[test]
fn a_file_that_is_not_read_in_time_keeps_nobody_from_anything() {
    let dir = Dir::new("disk");
    dir.write("g.toml", OPEN);
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    pipe(&dir, "g.toml");
    server.signal(libc::SIGHUP);
    let mut file = awaited(&dir, "g.toml");
    answers(&server);
    // Who asks meanwhile has it read once more.
    server.signal(libc::SIGHUP);
    answers(&server);
    file.write_all(OPEN.as_bytes()).unwrap();
    drop(file);
    server.reloaded();
    let mut file = awaited(&dir, "g.toml");
    answers(&server);
    file.write_all(b"[auth]\nmode = \"opne\"\n").unwrap();
    drop(file);
    let line = server.log_line("reload refused");
    assert!(line.contains("g.toml:2: auth.mode"), "{line}");
    // One that is never read keeps nobody from ending, either.
    server.signal(libc::SIGHUP);
    let _file = awaited(&dir, "g.toml");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn certificates_that_cannot_be_read_keep_nobody_from_anything() {
    let dir = Dir::new("disk-tls");
    let pair = Pair::new();
    pair.write(&dir);
    let tls = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ncheck_ms = 20\n";
    dir.write("g.toml", &format!("{OPEN}{tls}"));
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    pipe(&dir, "cert.pem");
    let mut file = awaited(&dir, "cert.pem");
    answers(&server);
    file.write_all(pair.certificate.as_bytes()).unwrap();
    drop(file);
    server.log_line("the certificates were read again");
    // The next look waits again.
    let _file = awaited(&dir, "cert.pem");
    answers(&server);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

/// Reloads, and reads the log until that is over and `part` was told, in whichever order.
fn reloaded_and_told(server: &mut Server, part: &str) -> String {
    server.signal(libc::SIGHUP);
    let (mut reloaded, mut told) = (false, None);
    loop {
        let line = server.log_line("");
        reloaded |= line.contains("server::reload");
        told = told.or_else(|| line.contains(part).then_some(line));
        if let (true, Some(line)) = (reloaded, &told) {
            return line.clone();
        }
    }
}

#[test]
fn a_security_log_that_cannot_be_written_keeps_nobody_from_anything() {
    let dir = Dir::new("disk-log");
    let to = |path: &str| {
        let log = format!("[limits]\nexempt = []\n[log]\nsecurity_file = \"{path}\"\n");
        dir.write("g.toml", &format!("{OPEN}{log}"));
    };
    to("security.log");
    let mut server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    pipe(&dir, "pipe.log");
    to("pipe.log");
    server.signal(libc::SIGHUP);
    server.reloaded();
    answers(&server);
    // It returns once the server waits for a reader.
    drop(File::open(dir.0.join("pipe.log")).unwrap());
    // Who names a file that is none hears it before there is a line for it.
    to("nowhere/security.log");
    let line = reloaded_and_told(&mut server, "log.security_file cannot be written");
    assert!(line.contains("path=nowhere/security.log"), "{line}");
    // A reload that names it again is told again.
    reloaded_and_told(&mut server, "log.security_file cannot be written");
    // Nobody reads there ever, and another file is written all the same.
    pipe(&dir, "more.log");
    to("more.log");
    server.signal(libc::SIGHUP);
    server.reloaded();
    to("good.log");
    server.signal(libc::SIGHUP);
    server.reloaded();
    let wrong = "Authorization: Bearer wrong\r\n";
    assert_eq!(status(&get(server.addr("control"), "/api/v1/streams", wrong)), "401");
    while !std::fs::read_to_string(dir.0.join("good.log")).unwrap_or_default().contains('\n') {
        // Looked at again when its writer had the processor for a moment.
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    let text = std::fs::read_to_string(dir.0.join("good.log")).unwrap();
    assert!(text.contains("api_auth_failed"), "{text}");
    to("more.log");
    server.signal(libc::SIGHUP);
    server.reloaded();
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}
