//! Key request: "may this key publish on this channel?", asked of the application.
//!
//! Shape: `POST` without a body, with `x-streaming-channel`, `x-streaming-key`, `x-user-ip` and, if
//! so configured, `Authorization`. Status 200 is yes, whatever else comes is no; the headers of the
//! reply may tell a [`Policy`].
//! Not here: how requests travel, how long they may take and how many there are, which is the
//! affair of the one way to a verdict.

use std::net::IpAddr;

use dataplane::ids::Secret;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};

use super::credential::Endpoint;
use super::identifier::is_identifier;
use super::policy::{Policy, Unread};

/// The channel's header.
pub(super) const CHANNEL: &str = "x-streaming-channel";
const KEY: &str = "x-streaming-key";
const USER_IP: &str = "x-user-ip";

/// What a publisher shows.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The channel: the name of its stream.
    pub channel: &'a str,
    /// The key of the channel.
    pub key: &'a Secret,
    /// Where the publisher comes from.
    pub peer: IpAddr,
}

/// What is to be done about a claim.
#[derive(Debug)]
pub enum Question {
    /// It is refused, unasked: channel or key is none.
    Refuse,
    /// It is granted, unasked: there is nobody to ask.
    Grant,
    /// The application is asked.
    Ask(Box<Request<()>>),
}

/// What to do about `claim`, with channels and keys of at most `id_bytes_max` bytes.
#[must_use]
pub fn question(endpoint: &Endpoint, claim: Claim<'_>, id_bytes_max: usize) -> Question {
    let Claim { channel, key, peer } = claim;
    if !is_identifier(channel, id_bytes_max) || !is_identifier(&key.0, id_bytes_max) {
        return Question::Refuse;
    }
    let Some(url) = &endpoint.url else { return Question::Grant };
    let Ok(authorization) = endpoint.credential.authorization() else { return Question::Refuse };
    let value = |text: &str| HeaderValue::from_str(text).expect("identifiers are legal in headers");
    let mut key = value(&key.0);
    key.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([
        (http::HeaderName::from_static(CHANNEL), value(channel)),
        (http::HeaderName::from_static(KEY), key),
        // An IPv4 peer of a socket of both families is told as what he is.
        (http::HeaderName::from_static(USER_IP), value(&peer.to_canonical().to_string())),
    ]);
    headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.uri().clone();
    *request.headers_mut() = headers;
    Question::Ask(Box::new(request))
}

/// What the application answered: the policy and what of it was not understood, or no.
#[must_use]
pub fn answer(status: StatusCode, headers: &HeaderMap) -> Option<(Policy, Vec<Unread>)> {
    (status == StatusCode::OK).then(|| Policy::from_headers(headers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::{Credential, Scheme};
    use crate::outbound::Address;

    fn endpoint() -> Endpoint {
        let token = Secret("t0ken".to_owned());
        Endpoint {
            url: Address::parse("http://app.example:8080/verify?from=node"),
            credential: Credential { scheme: Scheme::Bearer, token, ..Credential::default() },
        }
    }

    fn ask(endpoint: &Endpoint, channel: &str, key: &str, peer: &str) -> Question {
        let key = Secret(key.to_owned());
        question(endpoint, Claim { channel, key: &key, peer: peer.parse().unwrap() }, 8)
    }

    #[test]
    fn the_request_has_exactly_the_headers_of_the_contract() {
        for (peer, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            let Question::Ask(request) = ask(&endpoint(), "cam7", "k-1_A", peer) else {
                panic!("the application is asked");
            };
            assert_eq!(request.method(), Method::POST);
            assert_eq!(request.uri(), "http://app.example:8080/verify?from=node");
            let headers: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            assert_eq!(
                headers,
                [
                    ("x-streaming-channel", "cam7"),
                    ("x-streaming-key", "k-1_A"),
                    ("x-user-ip", shown),
                    ("authorization", "Bearer t0ken"),
                ]
            );
            let shown = format!("{request:?}");
            assert!(!shown.contains("k-1_A") && !shown.contains("t0ken"), "{shown}");
        }
    }

    #[test]
    fn without_a_scheme_there_is_no_authorization() {
        let open = Endpoint { credential: Credential::default(), ..endpoint() };
        let Question::Ask(request) = ask(&open, "cam7", "k", "::1") else { panic!("asked") };
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
    }

    #[test]
    fn what_is_no_channel_or_key_is_refused_unasked() {
        for (channel, key) in [
            ("", "k"),
            ("cam7", ""),
            ("a/b", "k"),
            ("cam7", "k?x"),
            ("cam7", "k\r\nx-evil: 1"),
            ("ninebytes", "k"),
            ("cam7", "ninebytes"),
        ] {
            assert!(matches!(ask(&endpoint(), channel, key, "::1"), Question::Refuse), "{channel}");
            let nobody = Endpoint::default();
            assert!(matches!(ask(&nobody, channel, key, "::1"), Question::Refuse), "{channel}");
        }
        assert!(matches!(ask(&Endpoint::default(), "cam7", "k", "::1"), Question::Grant));
    }

    #[test]
    fn only_200_is_yes() {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-resolutions"),
            HeaderValue::from_static("640x360-30, ORIGINAL"),
        )]);
        for status in 100..600 {
            let status = StatusCode::from_u16(status).unwrap();
            let policy = answer(status, &headers).map(|(policy, _)| policy.resolutions.to_string());
            let expected = (status == StatusCode::OK).then(|| "ORIGINAL,640x360-30".to_owned());
            assert_eq!(policy, expected, "{status}");
        }
    }
}
