//! Upgrade: a connection of a client that speaks WebSocket from then on.
//!
//! Spec: RFC 6455 4.1. Limits: those of the client for names, connection and head; a deadline over
//! all of it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::address::Address;
use super::client::{Client, unsent};
use super::failure::Failure;

/// Why there is no WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoUpgrade {
    /// There is no answer.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The answer is another one.
    #[error("the answer is {0} instead of 101")]
    Status(StatusCode),
    /// It says yes to something else.
    #[error("the answer is 101, and no WebSocket's")]
    Unsound,
}

impl Client {
    /// Asks `address` for a WebSocket, with `headers` beside its own.
    ///
    /// Errors: as [`Self::send`], or the answer is not what was asked for.
    pub async fn upgrade(
        &self,
        address: &Address,
        headers: HeaderMap,
        deadline: Duration,
    ) -> Result<Upgraded, NoUpgrade> {
        let asking = tokio::time::timeout(deadline, self.ask_to_upgrade(address, headers));
        asking.await.unwrap_or(Err(NoUpgrade::Failure(Failure::Timeout)))
    }

    async fn ask_to_upgrade(
        &self,
        address: &Address,
        headers: HeaderMap,
    ) -> Result<Upgraded, NoUpgrade> {
        let key = generate_key();
        let accept = derive_accept_key(key.as_bytes());
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = address.uri().clone();
        *request.headers_mut() = headers;
        let own = [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).expect("it is base64")),
        ];
        request.headers_mut().extend(own.map(|(name, value)| (Some(name), value)));
        let mut response = self.http.request(request).await.map_err(|error| unsent(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(NoUpgrade::Status(response.status()));
        }
        let text = |name: HeaderName| response.headers().get(name)?.to_str().ok().map(str::trim);
        let websocket = text(UPGRADE).is_some_and(|text| text.eq_ignore_ascii_case("websocket"));
        if !websocket || text(SEC_WEBSOCKET_ACCEPT) != Some(accept.as_str()) {
            return Err(NoUpgrade::Unsound);
        }
        let upgraded = hyper::upgrade::on(&mut response).await;
        upgraded.map_err(|_| Failure::Protocol("the connection broke".to_owned()).into())
    }
}

#[cfg(test)]
mod tests {
    use rustls::RootCertStore;

    use super::*;
    use crate::outbound::scripted::{Application, Reply};

    const AMPLE: Duration = Duration::from_secs(20);

    async fn asked(reply: fn(&str) -> Reply) -> (Result<Upgraded, NoUpgrade>, Vec<String>) {
        let application = Application::start(reply);
        let client = Client::with_roots(1, RootCertStore::empty());
        let address = Address::parse(&application.url("/ws/control/rtmp")).unwrap();
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-control-auth-token"),
            HeaderValue::from_static("hush"),
        )]);
        let upgraded = client.upgrade(&address, headers, AMPLE).await;
        (upgraded, application.seen())
    }

    fn accepting(request: &str) -> Reply {
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let accept = derive_accept_key(key.unwrap().trim().as_bytes());
        Reply::Bytes(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into(),
        )
    }

    #[tokio::test]
    async fn a_websocket_is_asked_for_by_the_book() {
        let (upgraded, seen) = asked(accepting).await;
        assert!(upgraded.is_ok(), "{upgraded:?}");
        let head = &seen[0];
        assert!(head.starts_with("GET /ws/control/rtmp HTTP/1.1\r\n"), "{head}");
        for line in [
            "connection: Upgrade\r\n",
            "upgrade: websocket\r\n",
            "sec-websocket-version: 13\r\n",
            "x-control-auth-token: hush\r\n",
            "host: localhost:",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
    }

    #[tokio::test]
    async fn inside_tls_whoever_answers_must_prove_himself() {
        let (application, roots) = Application::start_tls(accepting);
        let address = Address::parse(&application.url("/ws/control/rtmp")).unwrap();
        let asked = |roots| {
            let (client, address) = (Client::with_roots(1, roots), address.clone());
            async move { client.upgrade(&address, HeaderMap::new(), AMPLE).await }
        };
        assert!(asked(roots).await.is_ok());
        let unknown = asked(RootCertStore::empty()).await.unwrap_err();
        assert!(matches!(unknown, NoUpgrade::Failure(Failure::Tls(_))), "{unknown:?}");
    }

    #[tokio::test]
    async fn every_other_answer_is_none() {
        let (refused, _) = asked(|_| Reply::status(403, "", "")).await;
        assert_eq!(refused.unwrap_err(), NoUpgrade::Status(StatusCode::FORBIDDEN));
        let (moved, _) = asked(|_| Reply::status(307, "location: /there\r\n", "")).await;
        assert_eq!(moved.unwrap_err(), NoUpgrade::Status(StatusCode::TEMPORARY_REDIRECT));
        let forged = |_: &str| {
            Reply::Bytes(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: c3RyYW5nZXI=\r\n\r\n"
                    .to_vec(),
            )
        };
        assert_eq!(asked(forged).await.0.unwrap_err(), NoUpgrade::Unsound);
        let gone = |_: &str| Reply::Last(Vec::new());
        assert!(matches!(asked(gone).await.0, Err(NoUpgrade::Failure(Failure::Protocol(_)))));
    }
}
