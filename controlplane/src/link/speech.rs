//! Speech: one control WebSocket, from its first frame to its last; which side this is on does not
//! matter.
//!
//! Lives on: a task of the control thread. Crosses by: `asks` to the loop, a link from there.
//! Limits: [`SILENCE_MAX`] without a frame of the peer, [`SEND_MAX`] for one of ours.

use std::fmt::Display;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};

use super::pace::Pace;
use crate::bridge::Ask;
use crate::coordinator::wire::{FRAME_BYTES_MAX, HEARTBEAT_EVERY, Message, SILENCE_MAX};

/// A peer that does not take a frame within this is left.
const SEND_MAX: Duration = Duration::from_secs(10);
/// Bytes that are read at once: messages are short.
const READ_BYTES: usize = 4 << 10;
/// Bytes of ours that wait in the socket's library at most: our longest message, and answers to
/// pings.
const WRITE_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

/// Who speaks and hears on this side.
pub(crate) struct Line<F> {
    /// What is to be said.
    pub(crate) orders: mpsc::Receiver<Message>,
    /// Who hears.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// How a message is told there.
    pub(crate) heard: F,
    /// Messages of the other side in a second at most.
    pub(crate) messages_per_s_max: u32,
}

/// Takes a connection on which `role` speaks WebSocket from now on.
pub(crate) async fn socket<S>(stream: S, role: Role) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    WebSocketStream::from_raw_socket(stream, role, Some(config)).await
}

/// Speaks with `who` until one side ends; why it did, in a word.
pub(crate) async fn speak<S, F>(
    mut socket: WebSocketStream<S>,
    who: impl Display,
    line: Line<F>,
) -> &'static str
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Message) -> Ask,
{
    let Line { mut orders, asks, heard: hear, messages_per_s_max } = line;
    let now = Instant::now();
    let mut heartbeat = interval_at(now + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut pace) = (now, Pace::new(messages_per_s_max, now));
    loop {
        let may_speak = pace.next() <= Instant::now();
        let answer = tokio::select! {
            frame = socket.next(), if may_speak => {
                heard = Instant::now();
                pace.take(heard);
                match frame {
                    None => return "closed",
                    Some(Err(error)) => return reason(&error),
                    Some(Ok(frame)) => match listen(&frame, &who, (&asks, &hear)).await {
                        Ok(answer) => answer,
                        Err(reason) => return reason,
                    },
                }
            }
            () = sleep_until(pace.next()), if !may_speak => None,
            order = orders.recv() => match order {
                Some(order) => Some(order),
                None => {
                    let _ = timeout(SEND_MAX, socket.close(None)).await;
                    return "dismissed";
                }
            },
            _ = heartbeat.tick() => Some(Message::Heartbeat),
            () = sleep_until(heard + SILENCE_MAX) => return "silent",
        };
        let Some(answer) = answer else { continue };
        let frame = tungstenite::Message::text(answer.to_text());
        match timeout(SEND_MAX, socket.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return reason(&error),
            Err(_) => return "stuck",
        }
    }
}

/// Takes one frame; what is to be answered at once.
async fn listen(
    frame: &tungstenite::Message,
    who: &impl Display,
    (asks, hear): (&mpsc::Sender<Ask>, &impl Fn(Message) -> Ask),
) -> Result<Option<Message>, &'static str> {
    let text = match frame {
        tungstenite::Message::Text(text) => text.as_str(),
        tungstenite::Message::Close(_) => return Err("closed"),
        // Bytes mean nothing here, and pings are answered below.
        _ => return Ok(None),
    };
    match Message::parse(text) {
        Ok(Message::Heartbeat | Message::Unknown) => Ok(None),
        Ok(message) => {
            // The loop reads when it has time: meanwhile nothing more is read here.
            asks.send(hear(message)).await.map(|()| None).map_err(|_| "ending")
        }
        Err(flaw) => {
            tracing::debug!(peer = %who, reason = %flaw, "what came is no message");
            let (code, message) = ("BAD_MESSAGE".to_owned(), flaw.to_string());
            Ok(Some(Message::Error { code, message }))
        }
    }
}

/// Why a socket failed, in a word.
const fn reason(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "closed",
        Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "connection_lost"
        }
        Error::Capacity(_) => "oversized",
        Error::WriteBufferFull(_) => "stuck",
        _ => "malformed",
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::bridge::AttachedAsk;
    use crate::coordinator::attached::PeerId;

    const PEER: PeerId = PeerId(2);
    const PER_S: u32 = 10;

    struct Bench {
        socket: WebSocketStream<DuplexStream>,
        orders: mpsc::Sender<Message>,
        asks: mpsc::Receiver<Ask>,
        link: JoinHandle<&'static str>,
    }

    /// Speaks as a coordinator does.
    async fn speak(
        stream: DuplexStream,
        orders: mpsc::Receiver<Message>,
        asks: mpsc::Sender<Ask>,
    ) -> &'static str {
        let heard = |message| Ask::Attached(AttachedAsk::Heard { peer: PEER, message });
        let line = Line { orders, asks, heard, messages_per_s_max: PER_S };
        super::speak(socket(stream, Role::Server).await, PEER, line).await
    }

    async fn bench() -> Bench {
        let (ours, theirs) = duplex(1 << 20);
        let (orders, link_orders) = mpsc::channel(4);
        let (link_asks, asks) = mpsc::channel(4);
        let link = tokio::spawn(speak(ours, link_orders, link_asks));
        let socket = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        Bench { socket, orders, asks, link }
    }

    impl Bench {
        async fn say(&mut self, text: &str) {
            self.socket.send(tungstenite::Message::text(text)).await.unwrap();
        }

        async fn hear(&mut self) -> String {
            loop {
                let frame = self.socket.next().await.unwrap().unwrap();
                if let tungstenite::Message::Text(text) = frame {
                    return text.as_str().to_owned();
                }
            }
        }

        async fn ask(&mut self) -> Message {
            match self.asks.recv().await {
                Some(Ask::Attached(AttachedAsk::Heard { peer: PEER, message })) => message,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn messages_go_both_ways_and_heartbeats_keep_a_quiet_link() {
        let mut bench = bench().await;
        bench.say("register\nCapacity: 3").await;
        assert_eq!(bench.ask().await, Message::Register { capacity: Some(3) });
        let (channel, id) = ("cam7".to_owned(), "*".to_owned());
        let kill = Message::StreamKill { channel, id };
        bench.orders.send(kill.clone()).await.unwrap();
        assert_eq!(Message::parse(&bench.hear().await), Ok(kill));
        let begun = Instant::now();
        // Five minutes, in which the peer says only that it is there.
        for beat in 1..=15 {
            assert_eq!(bench.hear().await, "HEARTBEAT");
            assert_eq!(begun.elapsed().as_secs(), beat * HEARTBEAT_EVERY.as_secs());
            bench.say("HEARTBEAT").await;
        }
        // What nobody knows is ignored, and bytes are.
        bench.say("GREETING\nName: x").await;
        bench.socket.send(tungstenite::Message::binary(vec![0; 9])).await.unwrap();
        bench.say("STREAM-CLOSED\nStream-ID: 1").await;
        let error = bench.hear().await;
        assert!(error.contains("BAD_MESSAGE") && error.contains("Stream-Channel"), "{error}");
        bench.socket.close(None).await.unwrap();
        assert_eq!(bench.link.await.unwrap(), "closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_for_a_minute_is_dead() {
        let bench = bench().await;
        let begun = Instant::now();
        assert_eq!(bench.link.await.unwrap(), "silent");
        assert_eq!(begun.elapsed(), SILENCE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_at_its_pace_and_keeps_nothing_from_being_said() {
        let mut bench = bench().await;
        let begun = Instant::now();
        for _ in 0..100 {
            bench.say("STREAM-CLOSED\nStream-Channel: a\nStream-ID: 1").await;
        }
        bench.say("REGISTER\nCapacity: 1").await;
        let (channel, id) = ("cam7".to_owned(), String::new());
        bench.orders.send(Message::StreamKill { channel, id }).await.unwrap();
        let mut said = None;
        let mut last = 0;
        loop {
            tokio::select! {
                text = bench.socket.next(), if said.is_none() => {
                    assert!(text.unwrap().unwrap().to_text().unwrap().starts_with("STREAM-KILL"));
                    said = Some(begun.elapsed());
                }
                ask = bench.asks.recv() => match ask {
                    Some(Ask::Attached(AttachedAsk::Heard {
                        message: Message::Register { .. }, ..
                    })) => break,
                    Some(_) => last += 1,
                    None => panic!("it ended"),
                },
            }
        }
        assert_eq!(last, 100);
        assert!(said.unwrap() < Duration::from_secs(1), "{said:?}");
        // Four seconds' worth at once, and the other sixty at ten a second.
        let took = begun.elapsed().as_secs_f64();
        assert!((5.9..=6.2).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn pings_are_paced_too_and_answered() {
        let mut bench = bench().await;
        let begun = Instant::now();
        for number in 0..60 {
            bench.socket.send(tungstenite::Message::Ping(vec![number].into())).await.unwrap();
        }
        let last = tungstenite::Message::Pong(vec![59].into());
        while bench.socket.next().await.unwrap().unwrap() != last {}
        assert!(begun.elapsed() > Duration::from_millis(1_800), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_frame_or_too_long_ends_the_link() {
        let mut long = bench().await;
        let text = format!("ERROR\nError-Message: {}", "x".repeat(FRAME_BYTES_MAX));
        long.say(&text).await;
        assert_eq!(long.link.await.unwrap(), "oversized");
        let (ours, mut theirs) = duplex(1 << 10);
        let (_orders, orders) = mpsc::channel(1);
        let link = tokio::spawn(speak(ours, orders, mpsc::channel(1).0));
        // A frame that no client may send: without a mask.
        theirs.write_all(&[0x81, 0x01, b'x']).await.unwrap();
        assert_eq!(link.await.unwrap(), "malformed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_left_and_one_that_is_dismissed_hears_it() {
        let (ours, theirs) = duplex(16);
        let (orders, link_orders) = mpsc::channel(1_000);
        let link = tokio::spawn(speak(ours, link_orders, mpsc::channel(1).0));
        let begun = Instant::now();
        let (channel, id) = ("x".repeat(100), String::new());
        orders.send(Message::StreamKill { channel, id }).await.unwrap();
        assert_eq!(link.await.unwrap(), "stuck");
        assert_eq!(begun.elapsed(), SEND_MAX);
        drop(theirs);

        let mut bench = bench().await;
        drop(bench.orders);
        assert!(matches!(bench.socket.next().await, Some(Ok(tungstenite::Message::Close(_)))));
        drop(bench.socket);
        assert_eq!(bench.link.await.unwrap(), "dismissed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_is_lost() {
        let (ours, theirs) = duplex(64);
        let (_orders, orders) = mpsc::channel(1);
        let link = tokio::spawn(speak(ours, orders, mpsc::channel(1).0));
        drop(theirs);
        assert_eq!(link.await.unwrap(), "connection_lost");
    }
}
