//! Client: asks the API of a server.
//!
//! One request, one connection, HTTP/1.0: so the answer ends where the connection does, whatever
//! stands between. Inside TLS by whom `--ca`, `--insecure` or the configuration of this host
//! believes.
//! Limits: [`ANSWER_BYTES_MAX`] of an answer, [`PATIENCE`] for each step of it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::de::DeserializeOwned;

use super::figures::{Figures, Shards, Streams};
use crate::acme::Vault;
use crate::api::{Token, word_in};
use crate::cli::Top;
use crate::config::{Loaded, Settings, load};
use crate::error::{Error, reason};
use crate::trust::Trust;

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
    /// How TLS is spoken, if it is.
    tls: Option<Arc<ClientConfig>>,
    token: String,
}

impl Client {
    /// By the address and token file that were named, else by the configuration of this host.
    pub(super) fn new(args: &Top) -> Result<Self, Error> {
        let beside = PathBuf::from(crate::cli::DEFAULT_FILE);
        let file = args.config.clone().or_else(|| beside.exists().then_some(beside));
        let configured = || {
            let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            };
            load(file.as_deref(), std::env::vars_os().filter_map(text))
        };
        let mut place = match &args.url {
            Some(url) => Place::of(url)?,
            None => Place::configured(&configured()?),
        };
        if place.trust.is_some() {
            match (&args.ca, args.insecure) {
                (_, true) => place.trust = Some(Trust::Anybody),
                (Some(ca), false) => place.trust = Some(Trust::Authorities(Some(ca.clone()))),
                (None, false) => {}
            }
        }
        let Place { authority, trust } = place;
        let path = match &args.token_file {
            Some(path) => path.clone(),
            None => {
                let state = std::env::var("STATE_DIRECTORY").ok();
                Token::file_in(&configured()?.settings.data.directory(state.as_deref()))
            }
        };
        let tls = trust.map(|trust| trust.client()).transpose().map_err(|(what, mend)| {
            let url = format!("https://{authority}");
            Error::Api { url, what, mend }
        })?;
        Ok(Self { authority, tls, token: token(&path)? })
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
            url: format!("{}://{}{path}", self.scheme(), self.authority),
            what,
            mend,
        };
        let answer = self.fetch(path).map_err(|error| {
            let refused = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
            let mend = match refused {
                true => {
                    "name the certificate of its authority with --ca, or believe it by --insecure"
                }
                false => "--url names the control listener of a running server",
            };
            failed(reason(&error), mend)
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

    fn converse(&self, stream: TcpStream, path: &str) -> std::io::Result<Vec<u8>> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let Some(config) = &self.tls else { return self.ask(stream, path) };
        let name = ServerName::try_from(host(&self.authority).to_owned());
        let name = name.map_err(|_| std::io::Error::other("no certificate is for such a name"))?;
        let tls = ClientConnection::new(Arc::clone(config), name);
        self.ask(StreamOwned::new(tls.map_err(std::io::Error::other)?, stream), path)
    }

    fn ask(&self, mut stream: impl Read + Write, path: &str) -> std::io::Result<Vec<u8>> {
        let Self { authority, token, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }

    const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// The host of an authority.
fn host(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Where the API is, and who is believed there if it speaks TLS.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    authority: String,
    trust: Option<Trust>,
}

impl Place {
    /// That of `http://HOST:PORT/` or `https://HOST:PORT/`.
    fn of(url: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Api {
            url: url.to_owned(),
            what: what.to_owned(),
            mend: "write --url http://HOST:PORT or https://HOST:PORT",
        };
        let (rest, port, trust) = match (url.strip_prefix("http://"), url.strip_prefix("https://"))
        {
            (Some(rest), _) => (rest, 80, None),
            (_, Some(rest)) => (rest, 443, Some(Trust::Authorities(None))),
            _ => return Err(wrong("it starts with neither http:// nor https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let legal = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(legal) {
            return Err(wrong("there is more, or less, in it than a host and a port"));
        }
        let named = authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        let authority = match named {
            Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
            Some(_) => return Err(wrong("the port is no number")),
            None => format!("{authority}:{port}"),
        };
        Ok(Self { authority, trust })
    }

    /// Where a server of this configuration listens, as seen from its own host: inside TLS only if
    /// it is nowhere else, and then nobody is believed but who shows its very certificate.
    fn configured(loaded: &Loaded) -> Self {
        let settings = &loaded.settings;
        let (control, control_tls) = (&settings.listeners.control, &settings.listeners.control_tls);
        let known = match &settings.tls.certificate {
            Some(path) => Some(path.clone()),
            None => kept_certificate(settings),
        };
        let (mut addr, trust) = match (control_tls.enabled && !control.enabled, known) {
            (true, Some(path)) => (control_tls.addr, Some(Trust::Exactly(path))),
            _ => (control.addr, None),
        };
        if addr.ip().is_unspecified() {
            addr.set_ip(if addr.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        Self { authority: addr.to_string(), trust }
    }
}

/// Where the certificate is kept that an authority gave for the first name.
fn kept_certificate(settings: &Settings) -> Option<PathBuf> {
    let state = std::env::var("STATE_DIRECTORY").ok();
    let data = settings.data.directory(state.as_deref());
    let vault = Vault::of(&data, settings.acme.authority()?);
    settings.acme.domains.0.first().map(|name| vault.certificate(name))
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
            ("http://127.0.0.1:8090", Some(("127.0.0.1:8090", false))),
            ("http://[::1]:8090/", Some(("[::1]:8090", false))),
            ("http://[::1]", Some(("[::1]:80", false))),
            ("http://edge.example", Some(("edge.example:80", false))),
            ("https://edge.example", Some(("edge.example:443", true))),
            ("https://[::1]:8453/", Some(("[::1]:8453", true))),
            ("edge.example:8090", None),
            ("ftp://edge.example", None),
            ("http://", None),
            ("http://h:x", None),
            ("http://h:99999", None),
            ("http://h/api", None),
            ("http://h\r\nX: y", None),
        ] {
            let place = Place::of(url).ok();
            let told = place.as_ref().map(|p| (p.authority.as_str(), p.trust.is_some()));
            assert_eq!(told, expected, "{url}");
        }
        for (authority, name) in [("[::1]:1", "::1"), ("edge.example:443", "edge.example")] {
            assert_eq!(host(authority), name);
        }
    }

    #[test]
    fn a_server_that_is_inside_tls_alone_is_known_by_its_certificate() {
        let place = |plain: &str| {
            let env = [
                ("GRANDSTAND_LISTENERS__CONTROL__ENABLED", plain),
                ("GRANDSTAND_LISTENERS__CONTROL_TLS__ENABLED", "true"),
                ("GRANDSTAND_LISTENERS__CONTROL_TLS__ADDR", "[::]:1"),
                ("GRANDSTAND_TLS__CERTIFICATE", "c.pem"),
            ];
            let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Place::configured(&load(None, env).unwrap())
        };
        let exactly = Some(Trust::Exactly("c.pem".into()));
        assert_eq!(place("false"), Place { authority: "[::1]:1".to_owned(), trust: exactly });
        assert_eq!(place("true"), Place { authority: "127.0.0.1:8090".to_owned(), trust: None });
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
