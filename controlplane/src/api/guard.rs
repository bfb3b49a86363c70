//! Guard: who may ask the API what.
//!
//! The Host is checked first: a page of the open web can make a browser on this machine send
//! requests here under a name of its own, but cannot choose an IP address or `localhost` for it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, StatusCode};

use super::reply::Refusal;
use super::token::Token;

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
            (Some(_), None) => Err(Refusal {
                status: StatusCode::MISDIRECTED_REQUEST,
                code: "unknown_host",
                message: "this name is not listed in listeners.control.hosts",
                field: Some("Host"),
            }),
            _ => Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                code: "bad_host",
                message: "a request has one Host",
                field: Some("Host"),
            }),
        }
    }

    /// Refuses requests without the token.
    pub(crate) fn token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|value| value.split_once(' '));
        match token {
            Some((scheme, token))
                if scheme.eq_ignore_ascii_case("bearer") && self.token.matches(token.trim()) =>
            {
                Ok(())
            }
            _ => Err(Refusal {
                status: StatusCode::UNAUTHORIZED,
                code: "unauthorized",
                message: "send `Authorization: Bearer TOKEN` with the token of the data directory",
                field: Some("Authorization"),
            }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> (Guard, std::path::PathBuf) {
        let dir = std::env::temp_dir().join(format!("grandstand-guard-{}", std::process::id()));
        let token = Arc::new(Token::open(&dir).unwrap());
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
        let right = format!("bearer {secret}");
        assert_eq!(guard.token(&headers(AUTHORIZATION, &[&right])), Ok(()));
        for wrong in ["", "Bearer", "Bearer x", secret, &format!("Basic {secret}")] {
            assert!(guard.token(&headers(AUTHORIZATION, &[wrong])).is_err(), "{wrong}");
        }
        assert!(guard.token(&HeaderMap::new()).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
