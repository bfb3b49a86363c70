//! Client: asks the API of a server.
//!
//! One request, one connection, HTTP/1.0: so the answer ends where the connection does, whatever
//! stands between.
//! Limits: [`ANSWER_BYTES_MAX`] of an answer, [`PATIENCE`] for each step of it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::figures::{Figures, Shards, Streams};
use crate::api::{Token, word_in};
use crate::config::{Loaded, load};
use crate::error::{Error, reason};

/// Bytes of one answer at most: a thousand streams with all their tracks take a megabyte.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// Pages of a list at most.
const PAGES_MAX: usize = 100;
/// Declared streams that nobody publishes have no figures.
const STREAMS: &str = "/api/v1/streams?state=on_air";
/// To connect, and for each read, at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the API is, and the secret that it wants.
#[derive(Clone)]
pub(super) struct Client {
    /// Host and port, as they are shown.
    pub(super) authority: String,
    token: String,
}

impl Client {
    /// By the address and token file that were named, else by the configuration of this host.
    pub(super) fn new(
        url: Option<&str>,
        token_file: Option<&Path>,
        config: Option<&Path>,
    ) -> Result<Self, Error> {
        let beside = PathBuf::from(crate::cli::DEFAULT_FILE);
        let file = config.map(Path::to_owned).or_else(|| beside.exists().then_some(beside));
        let configured = || {
            let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            };
            load(file.as_deref(), std::env::vars_os().filter_map(text))
        };
        let authority = match url {
            Some(url) => authority(url)?,
            None => listener(&configured()?),
        };
        let path = match token_file {
            Some(path) => path.to_owned(),
            None => {
                let state = std::env::var("STATE_DIRECTORY").ok();
                Token::file_in(&configured()?.settings.data.directory(state.as_deref()))
            }
        };
        Ok(Self { authority, token: token(&path)? })
    }

    /// Shards and streams, as they are now.
    pub(super) fn figures(&self) -> Result<Figures, Error> {
        let shards: Shards = self.get("/api/v1/shards")?;
        let mut streams: Streams = self.get(STREAMS)?;
        for _ in 0..PAGES_MAX {
            let Some(cursor) = streams.next.take() else { break };
            let page: Streams = self.get(&format!("{STREAMS}&cursor={cursor}"))?;
            streams.append(page);
        }
        Ok(Figures::new(shards, streams))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let failed = |what: String, mend: &'static str| Error::Api {
            url: format!("http://{}{path}", self.authority),
            what,
            mend,
        };
        let answer = self.fetch(path).map_err(|error| {
            failed(reason(&error), "--url names the control listener of a running server")
        })?;
        let (head, body) = split(&answer).ok_or_else(|| {
            failed("the answer is not HTTP".to_owned(), "--url names the control listener")
        })?;
        match status(head) {
            Some(200) => serde_json::from_slice(body).map_err(|error| {
                failed(format!("the answer is not understood: {error}"), "use equal versions")
            }),
            Some(401) => Err(failed(
                "the token is not the server's".to_owned(),
                "--token-file names the file api-token of its data directory",
            )),
            Some(421) => Err(failed(
                "the server does not know that name".to_owned(),
                "use its address, or list the name in listeners.control.hosts",
            )),
            Some(status) => Err(failed(format!("status {status}"), "see the server's log")),
            None => {
                Err(failed("the answer is not HTTP".to_owned(), "--url names the control listener"))
            }
        }
    }

    fn fetch(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let mut last = std::io::Error::other("the name has no address");
        for addr in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, PATIENCE) {
                Ok(stream) => return self.converse(stream, path),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn converse(&self, mut stream: TcpStream, path: &str) -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Self { authority, token } = self;
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Host and port of `http://HOST:PORT/`.
fn authority(url: &str) -> Result<String, Error> {
    let wrong = |what: &str| Error::Api {
        url: url.to_owned(),
        what: what.to_owned(),
        mend: "write --url http://HOST:PORT",
    };
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| wrong("it starts not with http://, which is all that is spoken"))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if authority.is_empty() || !authority.chars().all(legal) {
        return Err(wrong("there is more, or less, in it than a host and a port"));
    }
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    match port {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(authority.to_owned()),
        Some(_) => Err(wrong("the port is no number")),
        None => Ok(format!("{authority}:80")),
    }
}

/// Where a server of this configuration listens, as seen from its own host.
fn listener(loaded: &Loaded) -> String {
    let mut addr = loaded.settings.listeners.control.addr;
    if addr.ip().is_unspecified() {
        addr.set_ip(if addr.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    addr.to_string()
}

fn token(path: &Path) -> Result<String, Error> {
    let mend = "--token-file names the file api-token of the server's data directory";
    let failed = |reason: String| Error::File {
        op: "read the token",
        path: path.to_owned(),
        reason,
        mend: mend.to_owned(),
    };
    let word = std::fs::File::open(path).and_then(word_in);
    let word = word.map_err(|error| failed(reason(&error)))?;
    word.ok_or_else(|| failed("it is not one word".to_owned()))
}

/// The head and the body of an answer.
fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    Some((&answer[..at], &answer[at + 4..]))
}

fn status(head: &[u8]) -> Option<u16> {
    let head = std::str::from_utf8(head).ok()?;
    let (version, rest) = head.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| rest.get(..3)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8090", Some("127.0.0.1:8090")),
            ("http://[::1]:8090/", Some("[::1]:8090")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://edge.example", Some("edge.example:80")),
            ("https://edge.example", None),
            ("edge.example:8090", None),
            ("http://", None),
            ("http://h:x", None),
            ("http://h:99999", None),
            ("http://h/api", None),
            ("http://h\r\nX: y", None),
        ] {
            assert_eq!(authority(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let (head, body) = split(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap();
        assert_eq!((status(head), body), (Some(200), &b"{}"[..]));
        for wrong in ["", "HTTP/1.1", "HTTP/2 200", "SSH-2.0 200", "HTTP/1.1 2"] {
            assert_eq!(status(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(split(b"HTTP/1.0 200 OK\r\n"), None);
    }
}
