//! Envelope: puts a note on the wire, as its dialect does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::language::Dialect;
use super::note::Note;
use super::{rtmp_event, token};
use crate::outbound::{Address, Call};

/// How forms are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// As a body.
    #[default]
    Post,
    /// Behind the address.
    Get,
}

impl Verb {
    /// True if forms are a body.
    #[must_use]
    pub const fn is_post(&self) -> bool {
        matches!(self, Self::Post)
    }
}

/// How notes of a dialect are sent.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The dialect.
    pub dialect: Dialect,
    /// Of forms.
    pub verb: Verb,
    /// What tokens are signed with.
    pub secret: Option<&'a str>,
}

impl Envelope<'_> {
    /// The call that brings `note` to `address` at `now`, all within `deadline`.
    ///
    /// Errors: what is wrong with it.
    pub fn call(
        self,
        address: &Address,
        note: &Note,
        now: SystemTime,
        deadline: Duration,
    ) -> Result<Call, &'static str> {
        let post = |body: &str| {
            Call::post(address.clone(), Bytes::copy_from_slice(body.as_bytes()), deadline)
        };
        let kind = |call: &mut Call, kind| {
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        };
        match (self.dialect, self.verb) {
            (Dialect::RtmpEvent, _) => {
                let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let claims = rtmp_event::dated(&note.text, seconds);
                let secret = self.secret.ok_or("there is no secret to sign with")?;
                let token = token::signed(&claims, secret.as_bytes());
                let mut call = post("");
                let mut value = HeaderValue::from_str(&token).map_err(|_| "its token is none")?;
                value.set_sensitive(true);
                call.headers.insert(HeaderName::from_static(rtmp_event::HEADER), value);
                Ok(call)
            }
            (Dialect::NginxRtmp, Verb::Get) => {
                let address = with_arguments(address, &note.text).ok_or("its address is none")?;
                let call = Call::post(address, Bytes::new(), deadline);
                Ok(Call { method: Method::GET, ..call })
            }
            (Dialect::NginxRtmp, Verb::Post) => {
                let mut call = post(&note.text);
                kind(&mut call, "application/x-www-form-urlencoded");
                Ok(call)
            }
            _ => {
                let mut call = post(&note.text);
                kind(&mut call, "application/json");
                Ok(call)
            }
        }
    }
}

fn with_arguments(address: &Address, form: &str) -> Option<Address> {
    let text = address.with_query();
    let sign = if text.contains('?') { '&' } else { '?' };
    Address::of(&format!("{text}{sign}{form}").parse::<Uri>().ok()?)
}
