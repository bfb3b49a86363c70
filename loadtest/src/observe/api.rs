//! The interface of a Grandstand server, as far as a measurement needs it.
//!
//! Spec: `GET /api/v1/version`, `/api/v1/shards`, `/metrics` of its control listener. What a
//! version does not tell is left out.
//!
//! Limits: [`BODY_BYTES_MAX`], [`ANSWER_MAX`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::Stream;
use serde::Serialize;
use serde_json::Value;

use super::exposition::SHARDS_MAX;
use crate::http_answer::Answer;
use crate::tls::{TlsPeer, Trust};

/// Bytes of an answer.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// How long the server may take for an answer.
pub const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Where the interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPlan {
    /// `http[s]://HOST[:PORT]`.
    pub url: String,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// The file with the token, if the server wants one.
    pub token_file: Option<PathBuf>,
}

/// The interface.
#[derive(Clone, Debug)]
pub struct ServerApi {
    url: String,
    host: String,
    addr: SocketAddr,
    tls: Option<TlsPeer>,
    token: Option<String>,
}

/// What the interface tells of a shard now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShardReading {
    /// Its number.
    pub shard: u16,
    /// The CPU that it stays on.
    pub cpu: Option<u64>,
    /// Share of the last second spent in turns of its loop.
    pub utilisation: Option<f64>,
    /// Share of the last moments spent in sending.
    pub egress_utilisation: Option<f64>,
    /// Sends in the last second.
    pub sends_per_s: Option<f64>,
    /// For how long it gathers frames.
    pub flush_interval_ms: Option<f64>,
    /// Players.
    pub players: u64,
    /// Open connections.
    pub connections: u64,
    /// Bytes of pool pages in use.
    pub pool_bytes: u64,
}

impl ServerApi {
    /// Finds the address and reads the token.
    ///
    /// # Errors
    /// If there is none, or the token cannot be read.
    pub fn new(plan: &ApiPlan) -> Result<Self> {
        let url = plan.url.trim_end_matches('/').to_owned();
        let (scheme, host) = url.split_once("://").unwrap_or_default();
        let port_default = match scheme {
            "http" => 80,
            "https" => 443,
            _ => 0,
        };
        ensure!(
            port_default > 0 && !host.is_empty() && !host.contains('/'),
            "--server-api is http[s]://HOST:PORT of the control listener, not {url}"
        );
        let with_port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let target = match with_port {
            Some(_) => host.to_owned(),
            None => format!("{host}:{port_default}"),
        };
        let name = with_port.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let tls = (scheme == "https").then(|| TlsPeer::new(name, &plan.trust)).transpose()?;
        let addr = target.to_socket_addrs().with_context(|| format!("no address of {host}"))?;
        let addr = addr.into_iter().next().with_context(|| format!("no address of {host}"))?;
        let token = plan.token_file.as_deref().map(read_token).transpose()?;
        Ok(Self { host: host.to_owned(), url, addr, tls, token })
    }

    /// Name and version of the server.
    ///
    /// # Errors
    /// If it does not answer, or not with that.
    pub fn version(&self) -> Result<String> {
        let told = self.json("/api/v1/version")?;
        let word = |name: &str| told.get(name).and_then(Value::as_str);
        let version = word("version").context("the answer to /api/v1/version has no version")?;
        Ok(format!("{} {version}", word("name").unwrap_or("grandstand")))
    }

    /// Its shards.
    ///
    /// # Errors
    /// If it does not answer, or not with that.
    pub fn shards(&self) -> Result<Vec<ShardReading>> {
        let told = self.json("/api/v1/shards")?;
        let shards = told.get("shards").and_then(Value::as_array);
        let shards = shards.context("the answer to /api/v1/shards has no shards")?;
        Ok(shards.iter().take(SHARDS_MAX).map(ShardReading::from).collect())
    }

    /// Everything that it counts, as text.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn metrics(&self) -> Result<String> {
        self.get("/metrics")
    }

    fn json(&self, path: &str) -> Result<Value> {
        let text = self.get(path)?;
        let value = serde_json::from_str(&text);
        value.with_context(|| format!("the answer of {}{path} is no JSON", self.url))
    }

    fn get(&self, path: &str) -> Result<String> {
        self.request(path).with_context(|| format!("--server-api {}{path}", self.url))
    }

    fn request(&self, path: &str) -> Result<String> {
        let deadline = Instant::now() + ANSWER_MAX;
        let mut stream = TcpStream::connect_timeout(&self.addr, ANSWER_MAX)?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let answer = match &self.tls {
            Some(tls) => {
                let mut client = tls.connect()?;
                let mut timed = Timed { stream: &mut stream, deadline };
                self.ask(path, &mut Stream::new(&mut client, &mut timed))
            }
            None => self.ask(path, &mut Timed { stream: &mut stream, deadline }),
        };
        match answer? {
            Answer { head, body } if head.status == 200 => {
                String::from_utf8(body).context("an answer of no text")
            }
            Answer { head, .. } if head.status == 401 => {
                bail!("the server wants its token: name its file by --token-file")
            }
            Answer { head, .. } => bail!("{}", head.status_line),
        }
    }

    fn ask(&self, path: &str, stream: &mut (impl Read + Write)) -> Result<Answer> {
        let token = self.token.as_ref();
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
        let (host, token) = (&self.host, token.unwrap_or_default());
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        Answer::read(stream, BODY_BYTES_MAX)
    }
}

/// A connection whose answers have to come in time.
struct Timed<'a> {
    stream: &'a mut TcpStream,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let late = format!("no whole answer within {ANSWER_MAX:?}");
            return Err(io::Error::new(ErrorKind::TimedOut, late));
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read --token-file {}", path.display()))?;
    let token = text.trim();
    let is_sound = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_sound, "there is no token in --token-file {}", path.display());
    Ok(token.to_owned())
}

impl From<&Value> for ShardReading {
    fn from(told: &Value) -> Self {
        let count = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64);
        let number = |name: &str| told.get(name).and_then(Value::as_f64);
        let pools = told.get("pools").and_then(Value::as_array);
        let pool_bytes = pools.into_iter().flatten().filter_map(|pool| {
            Some(count(pool, "page_bytes")?.saturating_mul(count(pool, "used")?))
        });
        Self {
            shard: count(told, "id").and_then(|id| u16::try_from(id).ok()).unwrap_or(0),
            cpu: count(told, "core").or_else(|| count(told, "cpu")),
            utilisation: number("utilisation"),
            egress_utilisation: number("egress_utilisation"),
            sends_per_s: number("sends_per_second"),
            flush_interval_ms: number("flush_interval_ms"),
            players: count(told, "players").unwrap_or(0),
            connections: count(told, "connections").unwrap_or(0),
            pool_bytes: pool_bytes.sum(),
        }
    }
}
