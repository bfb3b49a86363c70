//! Connections through the relay.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{PATIENCE, Running};

/// A server that answers each of `clients` with what it sent, once that has ended.
fn echo(clients: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let accepted: Vec<_> = (0..clients).map(|_| listener.accept().unwrap().0).collect();
        let threads: Vec<_> =
            accepted.into_iter().map(|peer| thread::spawn(|| answer(peer))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    (addr, thread)
}

/// A connection that is cut is no failure here.
fn answer(mut peer: TcpStream) {
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    if peer.read_to_end(&mut bytes).is_ok() {
        let _ = peer.write_all(&bytes);
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn pattern(client: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251 + client) as u8).collect()
}

#[test]
fn bytes_and_the_end_pass_both_ways_however_narrow_the_pipe() {
    let (addr, server) = echo(3);
    // Less than what is sent fits into the pipe, so the sender is held up.
    let relay = Running::start(addr, "--tcp --delay 20ms --jitter 5ms --queue 64k --rate 40M");
    let began = Instant::now();
    let clients: Vec<_> = (0..3)
        .map(|client| {
            let mut stream = connect(relay.addr);
            thread::spawn(move || {
                let sent = pattern(client, 400_000);
                stream.write_all(&sent).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got == sent, "client {client}: {} bytes", got.len());
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    // 400 kB take 80 ms at this rate, and the way 15 ms at least, twice.
    assert!(began.elapsed() >= Duration::from_millis(180));
    server.join().unwrap();
    let summary = relay.finish();
    assert_eq!((summary.clients, summary.cut), (3, 0));
    assert_eq!((summary.up.forwarded_bytes, summary.down.forwarded_bytes), (1_200_000, 1_200_000));
}

#[test]
fn nothing_passes_in_a_stall() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut byte = [0];
        while peer.read(&mut byte).unwrap() == 1 {
            peer.write_all(&byte).unwrap();
        }
    });
    // After 200 ms, one millisecond in a hundred is free.
    let relay = Running::start(addr, "--tcp --direction up --stall 198ms --every 200ms");
    let mut stream = connect(relay.addr);
    stream.set_nodelay(true).unwrap();
    let began = Instant::now();
    let mut rounds = 0;
    let mut longest = Duration::ZERO;
    while longest < Duration::from_millis(100) {
        assert!(began.elapsed() < PATIENCE, "{rounds} rounds, none took longer than {longest:?}");
        let sent = Instant::now();
        stream.write_all(&[7]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        longest = longest.max(sent.elapsed());
        rounds += 1;
    }
    drop(stream);
    server.join().unwrap();
    assert_eq!(relay.finish().up.forwarded_bytes, rounds);
}

#[test]
fn a_connection_is_cut_after_its_bytes() {
    let (addr, server) = echo(1);
    let relay = Running::start(addr, "--tcp --cut-after 100000");
    let mut stream = connect(relay.addr);
    // The reset comes while this writes, or when it reads.
    let _ = stream.write_all(&pattern(0, 400_000));
    let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    server.join().unwrap();
    let summary = relay.finish();
    assert_eq!((summary.clients, summary.cut), (1, 1));
    assert!(summary.up.forwarded_bytes <= 100_000);
}

#[test]
fn a_server_that_is_not_there_resets_its_clients() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let relay = Running::start(addr, "--tcp --delay 5ms");
    let error = connect(relay.addr).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(relay.finish().clients, 1);
}

#[test]
fn a_relay_without_open_files_lets_clients_in_when_it_has_them_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            thread::spawn(|| answer(peer));
        }
    });
    // A client takes two files, so that there are enough for a few of them.
    let mut relay = Command::new("sh")
        .args(["-c", "ulimit -n 16; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_grandstand-load")])
        .args(["impair", "--listen", "127.0.0.1:0", "--tcp", "--to", &to])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(relay.stderr.take().unwrap()).lines();
    let line = said.next().unwrap().unwrap();
    let addr = line.split(' ').nth(2).unwrap().parse().unwrap();
    let mut clients: Vec<_> = (0..20).map(|_| connect(addr)).collect();
    let served = |mut stream: TcpStream| {
        let is_sent = stream.write_all(b"x").and_then(|()| stream.shutdown(Shutdown::Write));
        let mut got = Vec::new();
        is_sent.and_then(|()| stream.read_to_end(&mut got)).is_ok() && got == b"x"
    };
    assert!(served(clients.remove(0)));
    drop(clients);
    let began = Instant::now();
    while !served(connect(addr)) {
        assert!(began.elapsed() < PATIENCE && relay.try_wait().unwrap().is_none());
    }
    let id = relay.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = relay.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !told.contains(" 0 failed"), "{told}");
}
