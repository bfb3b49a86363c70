//! Statement: what exactly is signed, and how it stands in a query.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dataplane::control::Role;
use dataplane::ids::StreamName;

use super::key::SignedKey;
use crate::auth::seconds::Seconds;

/// The version of all that is written here: another one would begin with other letters.
const VERSION: &str = "grandstand-signed-url-1";

/// What somebody may who shows a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The direction.
    pub role: Role,
    /// The stream.
    pub stream: &'a StreamName,
    /// Until when.
    pub expires: Seconds,
    /// From when on.
    pub not_before: Option<Seconds>,
    /// From which address or range, as it is written in the query.
    pub ip: Option<&'a str>,
}

impl Statement<'_> {
    /// The letters that are signed by the key `id`.
    pub(super) fn text(&self, id: &str) -> String {
        let Self { role, stream, expires, not_before, ip } = self;
        let direction = role.name();
        let not_before = not_before.map(|from| from.to_string()).unwrap_or_default();
        let ip = ip.unwrap_or_default();
        format!("{VERSION}\n{direction}\n{stream}\n{expires}\n{not_before}\n{ip}\n{id}")
    }

    /// The query that shows it, signed by `key`.
    #[must_use]
    pub fn query(&self, key: &SignedKey) -> String {
        let signature = URL_SAFE_NO_PAD.encode(key.sign(self));
        let not_before = self.not_before.map(|from| format!("&nbf={from}")).unwrap_or_default();
        let ip = self.ip.map(|ip| format!("&ip={}", escaped(ip))).unwrap_or_default();
        format!("exp={}{not_before}{ip}&kid={}&sig={signature}", self.expires, key.id)
    }
}

/// An address or range, fit for any place that takes the value of a query.
fn escaped(ip: &str) -> String {
    ip.replace(':', "%3A").replace('/', "%2F")
}
