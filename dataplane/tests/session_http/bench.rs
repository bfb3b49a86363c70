//! A session of HTTP beside its shard.

use std::sync::Arc;
use std::time::Instant;

use dataplane::Error;
use dataplane::config::{Latency, Limits, Terms};
use dataplane::session::http::Server;
use dataplane::session::{Command, Event};
use dataplane::slab::{Pool, Region, RegionConfig};

#[expect(clippy::disallowed_methods, reason = "tests need one instant to start from")]
fn epoch() -> Instant {
    Instant::now()
}

/// A server, what it said and wanted.
pub(crate) struct Bench {
    pub(crate) pool: Pool,
    pub(crate) now: Instant,
    pub(crate) server: Server,
    pub(crate) sent: Vec<u8>,
    pub(crate) events: Vec<String>,
    /// The shard's answers to plays.
    pub(crate) verdict: Option<Command>,
}

fn terms(limits: &Limits) -> Arc<Terms> {
    Arc::new(Terms { limits: limits.clone(), ..Terms::default() })
}

impl Bench {
    pub(crate) fn with(limits: &Limits) -> Self {
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: 1,
            small_pages_per_shard: 1,
            poison: false,
        };
        let pool = Region::map(&config).unwrap().1.remove(0);
        let now = epoch();
        let server = Server::new(now, &terms(limits));
        Self { pool, now, server, sent: Vec::new(), events: Vec::new(), verdict: None }
    }

    pub(crate) fn new() -> Self {
        Self::with(&Limits::default())
    }

    pub(crate) fn answered(verdict: Command) -> Self {
        Self { verdict: Some(verdict), ..Self::new() }
    }

    /// Gives the bytes in one piece, draining and answering as a shard does.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let result = self.server.handle_bytes(self.now, &bytes[at..], &self.pool);
            self.drain();
            at += result?;
            if at == bytes.len() || !self.server.wants_bytes() {
                return Ok(());
            }
        }
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<(), Error> {
        let result = self.server.handle_command(self.now, command);
        self.drain();
        result
    }

    pub(crate) fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            let answer = match &event {
                Event::Authorize { .. } => self.verdict.clone(),
                Event::Directory if self.verdict.is_some() => {
                    Some(Command::Directory(Arc::from(&b"[]"[..])))
                }
                _ => None,
            };
            self.events.push(match event {
                Event::Authorize { intent, stream, credentials, play } => {
                    let agent = self.server.agent();
                    let play =
                        play.map(|p| (p.join, p.latency == Some(Latency::Low), p.log.name()));
                    format!("{} {stream} {} {agent} {play:?}", intent.name(), credentials.key.0)
                }
                other => format!("{other:?}"),
            });
            if let Some(answer) = answer {
                self.server.poll_transmit(&mut self.sent);
                self.server.handle_command(self.now, answer).unwrap();
            }
        }
        self.server.poll_transmit(&mut self.sent);
    }

    pub(crate) fn said(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent)).unwrap()
    }

    /// Status lines of everything that was said.
    pub(crate) fn statuses(&mut self) -> Vec<String> {
        let said = self.said();
        let lines = said.split("HTTP/1.1 ").skip(1);
        lines.map(|line| line[..3].to_owned()).collect()
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    request("GET", target, "")
}

pub(crate) fn request(method: &str, target: &str, fields: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\nUser-Agent: t/1\r\n{fields}\r\n").into_bytes()
}
