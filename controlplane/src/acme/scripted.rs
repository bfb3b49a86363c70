//! A scripted authority for tests: it believes everybody, and signs what it is asked to.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::outbound::scripted::{Application, Reply};

/// An authority that answers by `script` first, which is given the path and what was asked before.
/// Its certificates are for `name`.
pub(super) fn authority(
    name: &'static str,
    script: impl Fn(&str, usize) -> Option<Reply> + Send + Sync + 'static,
) -> Application {
    let given = Mutex::new(None);
    let asked = Mutex::new(Vec::<String>::new());
    Application::start(move |request| {
        let path = request.split(' ').nth(1).unwrap();
        let before = {
            let mut asked = asked.lock().unwrap();
            asked.push(path.to_owned());
            asked.iter().filter(|asked| *asked == path).count() - 1
        };
        script(path, before).unwrap_or_else(|| answer(name, request, path, &given))
    })
}

/// A problem of that kind.
pub(super) fn problem(status: u16, kind: &str, head: &str) -> Reply {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "no" });
    Reply::status(status, &format!("replay-nonce: n\r\n{head}"), &body.to_string())
}

fn answer(name: &str, request: &str, path: &str, given: &Mutex<Option<String>>) -> Reply {
    let host = request.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let url = |path: &str| format!("http://{host}/{path}");
    let order = |status: &str| {
        json!({
            "status": status,
            "authorizations": [url("authorization")],
            "finalize": url("finalize"),
            "certificate": url("certificate"),
        })
    };
    let mut given = given.lock().unwrap();
    let (location, body) = match path {
        "/dir" => (
            "",
            json!({
                "newNonce": url("newNonce"),
                "newAccount": url("newAccount"),
                "newOrder": url("newOrder"),
            }),
        ),
        "/newNonce" => return Reply::status(200, "replay-nonce: n\r\n", ""),
        "/newAccount" | "/account/1" => ("account/1", json!({ "status": "valid" })),
        "/newOrder" => {
            *given = None;
            ("order", order("ready"))
        }
        "/authorization" => {
            let identifier = json!({ "type": "dns", "value": name });
            let body = json!({ "identifier": identifier, "status": "valid", "challenges": [] });
            ("", body)
        }
        "/finalize" => {
            *given = Some(sign(name, request));
            ("", order("valid"))
        }
        "/order" => ("", order(if given.is_some() { "valid" } else { "ready" })),
        "/certificate" => {
            let pem = given.clone().unwrap();
            return Reply::status(200, "replay-nonce: n\r\n", &pem);
        }
        _ => return problem(404, "malformed", ""),
    };
    let head = format!("replay-nonce: n\r\nlocation: {}\r\n", url(location));
    Reply::status(200, &head, &body.to_string())
}

/// The key that a request for a certificate is about.
struct Key(Vec<u8>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A certificate of the key in `request`.
fn sign(name: &str, request: &str) -> String {
    let decoded = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let payload: Value = serde_json::from_slice(&decoded(&body["payload"])).unwrap();
    let csr = decoded(&payload["csr"]);
    let (_, asked) = X509CertificationRequest::from_der(&csr).unwrap();
    let key = asked.certification_request_info.subject_pki.subject_public_key.data.to_vec();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2999, 1, 1);
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    params.signed_by(&Key(key), &issuer).unwrap().pem()
}
