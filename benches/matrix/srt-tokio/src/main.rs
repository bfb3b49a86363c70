//! `send|receive HOST:PORT LATENCY_MS KEY_BYTES SECRET`: calls, and sends its standard input or
//! writes what it receives to its standard output. With `--version` it says which SRT it is.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use srt_tokio::SrtSocket;
use tokio::sync::mpsc;

/// Bytes of a packet.
const PACKET: usize = 1_316;
/// Packets that wait to be sent.
const QUEUE: usize = 8_192;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [what, addr, latency, key, secret] = &words[..] else {
        println!("srt-tokio version 0.4.4");
        return Ok(());
    };
    let latency = Duration::from_millis(latency.parse()?);
    let mut builder = SrtSocket::builder().latency(latency);
    if key != "0" {
        builder = builder.encryption(key.parse()?, secret.clone());
    }
    let mut socket = builder.call(addr.as_str(), Some("live/a")).await?;
    if what == "receive" {
        let mut out = io::stdout().lock();
        while let Some(received) = socket.next().await {
            out.write_all(&received?.1)?;
            out.flush()?;
        }
        return Ok(());
    }
    let (give, mut take) = mpsc::channel(QUEUE);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut packet = vec![0; PACKET];
        while input.read_exact(&mut packet).is_ok() {
            if give.blocking_send((Instant::now(), Bytes::copy_from_slice(&packet))).is_err() {
                return;
            }
        }
    });
    while let Some(packet) = take.recv().await {
        socket.send(packet).await?;
    }
    socket.close_and_finish().await?;
    Ok(())
}
