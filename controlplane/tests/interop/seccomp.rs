//! A host without io_uring: epoll after one warning, or an error where io_uring is demanded.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::http_flv::get;
use crate::player::Player;
use crate::process::Process;
use crate::server::{Backend, Folder, Options, Server};

/// Makes `io_uring_setup` fail with EPERM in the child, as container runtimes do.
fn without_io_uring(command: &mut Command) {
    // SAFETY: between fork and exec only two system calls are made, on constants and on an array of
    // the stack; both are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
            const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
            const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
            let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
            let setup = libc::SYS_io_uring_setup as u32;
            let mut program = [
                libc::sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
                libc::sock_filter { code: IF_EQUAL, jt: 0, jf: 1, k: setup },
                libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: refused },
                libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
            ];
            let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
            let done = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
                    == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
}

#[test]
fn the_server_falls_back_to_epoll_with_one_warning() {
    let mut options = Options::on(Backend::Auto);
    options.demo = true;
    let folder = Folder::new();
    let mut command = options.command(&folder);
    without_io_uring(&mut command);
    let server = Server::run(&mut command, folder);
    assert_eq!(get(server.http, "/", "").0, 200);
    let player = Player::start(Client::PLAIN, &server, "demo");
    player.wait_for_media();
    let log = server.log();
    let warnings = log.lines().filter(|line| line.contains("WARN") && line.contains("io_uring"));
    assert_eq!(warnings.count(), 1, "{log}");
    server.stop();
    assert!(!player.finish().1.video.is_empty());
}

#[test]
fn the_server_does_not_start_where_io_uring_is_demanded() {
    let folder = Folder::new();
    let mut command = Options::on(Backend::IoUring).command(&folder);
    without_io_uring(&mut command);
    let mut process = Process::start(&mut command);
    let status = process.wait(Duration::from_secs(20));
    let output = process.output();
    assert_eq!(status.code(), Some(1), "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| line.starts_with("grandstand:")).collect();
    assert_eq!(lines.len(), 1, "{output}");
    assert!(lines[0].contains("io_uring") && lines[0].contains("epoll"), "{output}");
}
