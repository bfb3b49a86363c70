//! JSON dialect: how an application is asked and answers, one POST for each question.
//!
//! Shape: the question is a JSON object, its fields those of [`Question`]. The answer's status
//! decides: 200 and 204 allow, 401 and 403 deny, 404 knows no such stream, 409 has it taken. An
//! answer of `application/json` may say more, its fields those of [`Body`]; another type of body
//! is not read. Everything else (another status, a redirect, a field that is not known, a name
//! that is none) is a failure, not a yes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dataplane::control::{AuthorizeRequest, Denial};
use dataplane::ids::StreamName;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::application::Application;
use super::ruling::{Answered, Ruling, Terms};
use crate::coordinator::Policy;
use crate::outbound::{Address, Answer, Call, SIGNATURE_HEADER};
use crate::registry::{TenantName, parse_passphrase};

/// Names the question, the same in the body.
const ID_HEADER: HeaderName = HeaderName::from_static("grandstand-request-id");

/// What the application is asked. Fields are only ever added.
#[derive(Serialize)]
struct Question<'a> {
    /// The version of this object.
    version: u8,
    /// Names the question.
    id: &'a str,
    /// The node that asks.
    node: &'a str,
    /// `connect`, `publish` or `play`.
    intent: &'static str,
    protocol: &'static str,
    tls: bool,
    session: String,
    stream: &'a str,
    /// The secret that the peer showed, or empty.
    key: &'a str,
    /// The query of its URL, as it was sent.
    query: &'a str,
    url: &'a str,
    referer: Option<&'a str>,
    peer: Endpoint,
    local: Endpoint,
    agent: &'a str,
}

#[derive(Serialize)]
struct Endpoint {
    ip: std::net::IpAddr,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        // A peer of IPv4 is told as one, also on a socket of both families.
        Self { ip: addr.ip().to_canonical(), port: addr.port() }
    }
}

/// What the application may say besides its status.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Body {
    /// Another name for the stream.
    stream: Option<String>,
    /// A player waits for a stream that nobody publishes.
    wait: bool,
    /// How long the verdict is good for equal questions.
    cache_ms: Option<u64>,
    /// What the stream may do.
    policy: Option<Policy>,
    /// Whose the stream is.
    tenant: Option<String>,
    /// What a peer of SRT encrypts with.
    srt_passphrase: Option<String>,
}

/// The call that asks `application`.
pub(super) fn call(
    application: &Application,
    address: &Address,
    request: &AuthorizeRequest,
    id: &str,
) -> Call {
    let question = Question {
        version: 1,
        id,
        node: &application.asker.node,
        intent: request.intent.name(),
        protocol: request.protocol.name(),
        tls: request.tls,
        session: request.session.to_string(),
        stream: request.stream.as_str(),
        key: &request.key.0,
        query: &request.query.0,
        url: &request.url,
        referer: request.referer.as_deref(),
        peer: request.peer.into(),
        local: request.local.into(),
        agent: &request.agent,
    };
    let body = serde_json::to_vec(&question).expect("texts and numbers always serialise");
    let mut call = Call::post(address.clone(), Bytes::from(body), application.timeout);
    let headers = &mut call.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ID_HEADER, HeaderValue::from_str(id).expect("hex is legal in headers"));
    headers.extend(application.authorization.clone().map(|value| (AUTHORIZATION, value)));
    if let Some(key) = &application.signing {
        let signature = key.sign(std::time::SystemTime::now(), &call.body);
        headers.insert(HeaderName::from_static(SIGNATURE_HEADER), signature);
    }
    call
}

/// What `answer` says; what is wrong with it, if it says nothing.
pub(super) fn read(answer: &Answer) -> Result<Answered, &'static str> {
    let denial = match answer.status {
        StatusCode::OK | StatusCode::NO_CONTENT => None,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(Denial::Forbidden),
        StatusCode::NOT_FOUND => Some(Denial::NotFound),
        StatusCode::CONFLICT => Some(Denial::Busy),
        _ => return Err("its status is none of 200, 204, 401, 403, 404 and 409"),
    };
    let body = body(answer);
    if let Some(denial) = denial {
        // A page of an error is no reason to let somebody in.
        let ttl = body.ok().and_then(|body| body.cache_ms).map(Duration::from_millis);
        return Ok(Answered { ruling: Ruling::Deny(denial), ttl });
    }
    let body = body?;
    let stream = match body.stream {
        None => None,
        Some(name) => Some(StreamName::parse(&name).ok_or("its stream is no name of one")?),
    };
    let tenant = match body.tenant {
        None => None,
        Some(name) => Some(TenantName::parse(&name).ok_or("its tenant is no name of one")?),
    };
    let policy = body.policy.map(Arc::new);
    let passphrase = parse_passphrase(&body.srt_passphrase.unwrap_or_default());
    let passphrase = passphrase.map_err(|_| "its srt_passphrase has not 10 to 80 bytes")?;
    let passphrase = passphrase.map(Box::new);
    let terms = Terms { stream, waits: body.wait, policy, tenant, passphrase, ..Terms::default() };
    Ok(Answered { ruling: Ruling::Allow(terms), ttl: body.cache_ms.map(Duration::from_millis) })
}

const NO_ANSWER: &str = "its JSON is not that of an answer";

fn body(answer: &Answer) -> Result<Body, &'static str> {
    let kind = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if answer.body.is_empty() || !kind.eq_ignore_ascii_case("application/json") {
        return Ok(Body::default());
    }
    // A list would be read as fields by their order.
    let fields: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| NO_ANSWER)?;
    if fields.get("policy").is_some_and(Value::is_array) {
        return Err(NO_ANSWER);
    }
    serde_json::from_value(Value::Object(fields)).map_err(|_| NO_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{application, request};
    use dataplane::control::Intent;
    use dataplane::ids::Secret;

    #[test]
    fn a_question_tells_everything_that_is_known() {
        let mut request = request(Intent::Publish, "news/1", "k\"1");
        request.query = Secret("key=k%221&x=ü".into());
        request.agent = "FMLE/3.0\r\nx-evil: 1\0".into();
        request.peer = "[::ffff:192.0.2.1]:5".parse().unwrap();
        let application = application("http://app.example/ask?a=b");
        let address = application.addresses.of(request.intent).unwrap();
        let call = call(&application, address, &request, "0f");
        let text = std::str::from_utf8(&call.body).unwrap();
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "version": 1, "id": "0f", "node": "edge-1", "intent": "publish",
                "protocol": "rtmp", "tls": false, "session": "000000000007",
                "stream": "news/1", "key": "k\"1", "query": "key=k%221&x=ü",
                "url": "rtmp://h/news/1", "referer": null,
                "peer": { "ip": "192.0.2.1", "port": 5 },
                "local": { "ip": "192.0.2.2", "port": 1935 },
                "agent": "FMLE/3.0\r\nx-evil: 1\0",
            })
        );
        assert!(!text.contains(['\r', '\n', '\0']), "no letter of a peer ends a line: {text}");
        let header = |name: &str| call.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!(header("grandstand-request-id"), Some("0f"));
        assert_eq!(header("authorization"), Some("Bearer t0ken"));
        assert!(header(SIGNATURE_HEADER).is_some_and(|value| value.starts_with("t=")));
        let values = call.headers.values().map(|value| value.to_str().unwrap());
        assert!(values.into_iter().all(|value| !value.contains("evil")));
    }

    fn answer(status: u16, kind: &str, body: &str) -> Result<Answered, &'static str> {
        let mut headers = http::HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        read(&Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    #[test]
    fn the_status_decides_and_only_the_known_ones_do() {
        let allowed = Ok(Answered { ruling: Ruling::Allow(Terms::default()), ttl: None });
        for status in 100..600 {
            let denied = |denial| Ok(Answered { ruling: Ruling::Deny(denial), ttl: None });
            let expected = match status {
                200 | 204 => allowed.clone(),
                401 | 403 => denied(Denial::Forbidden),
                404 => denied(Denial::NotFound),
                409 => denied(Denial::Busy),
                _ => {
                    assert!(answer(status, "", "").is_err(), "{status}");
                    continue;
                }
            };
            assert_eq!(answer(status, "", ""), expected, "{status}");
        }
    }

    #[test]
    fn a_body_of_json_is_read_strictly_and_no_other_one() {
        let json = "Application/JSON; charset=utf-8";
        let body = r#"{"stream":"a/b","wait":true,"cache_ms":50,"policy":{"record":true},
            "tenant":"acme","srt_passphrase":"correct horse"}"#;
        let Ok(Answered { ruling: Ruling::Allow(terms), ttl }) = answer(200, json, body) else {
            panic!("allowed");
        };
        assert_eq!(terms.stream, StreamName::parse("a/b"));
        assert_eq!(terms.tenant, TenantName::parse("acme"));
        assert_eq!(terms.passphrase, parse_passphrase("correct horse").unwrap().map(Box::new));
        assert!(terms.passphrase.is_some() && !format!("{terms:?}").contains("correct"));
        assert!(terms.waits && terms.policy.is_some_and(|policy| policy.record));
        assert_eq!(ttl, Some(Duration::from_millis(50)));
        for wrong in [
            r#"{"allowed":false}"#,
            r#"{"stream":"../etc"}"#,
            r#"{"stream":"a\r\nx: y"}"#,
            r#"{"stream":7}"#,
            r#"{"tenant":"a/b"}"#,
            r#"{"tenant":""}"#,
            r#"{"tenant":["acme"]}"#,
            r#"{"srt_passphrase":"short"}"#,
            r#"{"srt_passphrase":7}"#,
            r#"{"cache_ms":-1}"#,
            r#"{"policy":{"resolutions":7}}"#,
            r#"{"policy":{"recrod":true}}"#,
            r#"{"policy":[true]}"#,
            r#"["a"]"#,
            "[]",
            "OK",
            "{",
            &"[".repeat(60_000),
        ] {
            assert!(answer(200, json, wrong).is_err(), "{:.40}", wrong);
            let Ok(Answered { ruling: Ruling::Deny(_), .. }) = answer(403, json, wrong) else {
                panic!("a no stays a no: {wrong:.40}");
            };
        }
        assert!(answer(200, "text/plain", r#"{"allowed":false}"#).is_ok());
        assert!(answer(200, json, "").is_ok());
        let denied = answer(404, json, r#"{"cache_ms":7}"#).unwrap();
        assert_eq!(denied.ttl, Some(Duration::from_millis(7)));
    }
}
