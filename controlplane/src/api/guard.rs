//! Guard: who may ask the API what.
//!
//! The Host is checked first: a page of the open web can make a browser on this machine send
//! requests here under a name of its own, but cannot choose an IP address or `localhost` for it.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::reply::Refusal;
use super::token::Token;

/// Letters of credentials at most; more than any token and name need.
const CREDENTIALS_MAX: usize = 4_096;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What requests are judged by.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) token: Arc<Token>,
    pub(crate) hosts: Arc<[String]>,
}

impl Guard {
    /// Refuses requests that do not address this server by a known name.
    pub(crate) fn host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        match (host, hosts.next()) {
            (Some(host), None) if self.known(host) => Ok(()),
            (Some(_), None) => Err(Refusal::fixed(
                StatusCode::MISDIRECTED_REQUEST,
                "unknown_host",
                "this name is not listed in listeners.control.hosts",
                Some("Host"),
            )),
            _ => Err(Refusal::fixed(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "a request has one Host",
                Some("Host"),
            )),
        }
    }

    /// Refuses requests without the token, as Bearer or as the password of Basic.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if shown.and_then(secret_of).is_some_and(|secret| self.token.matches(&secret)) {
            return Ok(());
        }
        Err(Refusal::fixed(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send `Authorization: Bearer TOKEN` with the token of the data directory, or Basic \
             with any user and the token as password",
            Some("Authorization"),
        ))
    }

    /// Refuses changes that a page of another site makes a browser ask for.
    ///
    /// A browser that knows the password of Basic adds it to whatever any page asks of this server.
    pub(crate) fn origin(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let foreign = match (text(ORIGIN), text(HOST)) {
            (Some(origin), Some(host)) => {
                origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
            }
            _ => matches!(text(FETCH_SITE), Some("cross-site" | "same-site")),
        };
        if foreign && !method.is_safe() {
            return Err(Refusal::fixed(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                "a page of another site may not change this server",
                Some("Origin"),
            ));
        }
        Ok(())
    }

    /// How a request without the token may show it.
    ///
    /// Basic makes a browser ask its user, which is right for a page that he opens, and wrong for
    /// what a script of ours fetches: that script asks itself.
    pub(crate) fn challenge(headers: &HeaderMap) -> HeaderValue {
        let by_script = headers.get(FETCH_MODE).is_some_and(|mode| mode != "navigate");
        HeaderValue::from_static(match by_script {
            true => "Bearer",
            false => "Bearer, Basic realm=\"grandstand\", charset=\"UTF-8\"",
        })
    }

    fn known(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or("", |(addr, _)| addr),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The secret in the value of `Authorization`.
fn secret_of(shown: &str) -> Option<String> {
    let (scheme, rest) = shown.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > CREDENTIALS_MAX {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> (Guard, std::path::PathBuf) {
        let dir = std::env::temp_dir().join(format!("grandstand-guard-{}", std::process::id()));
        let token = Arc::new(Token::open(&dir, None).unwrap());
        (Guard { token, hosts: ["api.example".to_owned()].into() }, dir)
    }

    fn headers(name: http::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn requests_are_judged_by_host_and_token() {
        let (guard, dir) = guard();
        for host in ["localhost", "LOCALHOST:8090", "127.0.0.1:1", "[::1]:8090", "api.example:80"] {
            assert_eq!(guard.host(&headers(HOST, &[host])), Ok(()), "{host}");
        }
        for host in ["evil.example", "evil.example:8090", "localhost.evil.example", "[", ""] {
            let refusal = guard.host(&headers(HOST, &[host])).unwrap_err();
            assert_eq!(refusal.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
        for hosts in [&[][..], &["localhost", "localhost"]] {
            let refusal = guard.host(&headers(HOST, hosts)).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
        }
        let secret = std::fs::read_to_string(guard.token.path()).unwrap();
        let secret = secret.trim();
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        let right = [
            format!("bearer {secret}"),
            basic(format!("anybody:{secret}")),
            basic(format!(":{secret}")),
        ];
        for right in &right {
            assert_eq!(guard.token(&headers(AUTHORIZATION, &[right])), Ok(()), "{right}");
        }
        let wrong = [
            String::new(),
            "Bearer".to_owned(),
            "Bearer x".to_owned(),
            secret.to_owned(),
            format!("Basic {secret}"),
            format!("Digest {secret}"),
            basic(secret.to_owned()),
            basic(format!("{secret}:")),
            basic(format!("a:b:{secret}")),
        ];
        for wrong in &wrong {
            assert!(guard.token(&headers(AUTHORIZATION, &[wrong])).is_err(), "{wrong}");
        }
        assert!(guard.token(&HeaderMap::new()).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn pages_of_other_sites_may_look_but_not_change() {
        let of = |pairs: &[(HeaderName, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        let host = (HOST, "localhost:8090");
        for (headers, allowed) in [
            (of(std::slice::from_ref(&host)), true),
            (of(&[host.clone(), (ORIGIN, "http://localhost:8090")]), true),
            (of(&[host.clone(), (ORIGIN, "http://evil.example")]), false),
            (of(&[host.clone(), (ORIGIN, "null")]), false),
            (of(&[host.clone(), (FETCH_SITE, "same-origin")]), true),
            (of(&[host.clone(), (FETCH_SITE, "none")]), true),
            (of(&[host.clone(), (FETCH_SITE, "same-site")]), false),
            (of(&[host, (FETCH_SITE, "cross-site")]), false),
        ] {
            assert_eq!(Guard::origin(&Method::POST, &headers).is_ok(), allowed, "{headers:?}");
            assert_eq!(Guard::origin(&Method::GET, &headers), Ok(()));
        }
    }

    #[test]
    fn a_browser_asks_its_user_only_for_a_page() {
        let fetched = headers(FETCH_MODE, &["cors"]);
        assert_eq!(Guard::challenge(&fetched), "Bearer");
        for asked in [HeaderMap::new(), headers(FETCH_MODE, &["navigate"])] {
            assert!(Guard::challenge(&asked).to_str().unwrap().contains("Basic"));
        }
    }
}
