//! Stamp: what a query shows of a signature, letter by letter.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use codecs::http1::{percent_decode, query_pairs};
use dataplane::config::AddrRange;

use super::key::is_id;
use crate::auth::seconds::Seconds;
use crate::config::parse_range;

/// Letters of an address or range at most.
const IP_LETTERS_MAX: usize = 64;
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;

/// A signature with everything that it is under, but for direction and stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) expires: Seconds,
    pub(super) not_before: Option<Seconds>,
    ip: Option<(String, AddrRange)>,
    pub(super) kid: String,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

/// The pairs of a query that belong to a signature; each may be there once.
#[derive(Default)]
struct Pairs {
    exp: Option<String>,
    nbf: Option<String>,
    ip: Option<String>,
    kid: Option<String>,
    sig: Option<String>,
}

impl Stamp {
    /// The stamp of a query; `None` if it shows no signature, an error if what it shows is none.
    ///
    /// Whoever writes a pair twice, in two ways, would have one of them checked and the other one
    /// believed: that is an error. Encoders repeat the whole query of an address, which is none.
    pub(super) fn read(query: &str) -> Option<Result<Self, ()>> {
        let shows = |(name, _): (&str, &str)| name == "sig";
        query_pairs(query).any(shows).then(|| Self::of(query).ok_or(()))
    }

    fn of(query: &str) -> Option<Self> {
        let mut pairs = Pairs::default();
        for (name, value) in query_pairs(query) {
            let place = match name {
                "exp" => &mut pairs.exp,
                "nbf" => &mut pairs.nbf,
                "ip" => &mut pairs.ip,
                "kid" => &mut pairs.kid,
                "sig" => &mut pairs.sig,
                _ => continue,
            };
            let value = percent_decode(value).ok()?;
            if place.as_ref().is_some_and(|first| *first != value) {
                return None;
            }
            *place = Some(value);
        }
        let Pairs { exp, nbf, ip, kid, sig } = pairs;
        let not_before = match nbf {
            Some(text) => Some(Seconds::parse(&text)?),
            None => None,
        };
        let ip = match ip {
            Some(text) => {
                let range = parse_range(&text).filter(|_| text.len() <= IP_LETTERS_MAX)?;
                Some((text, range))
            }
            None => None,
        };
        // The decoder takes no padding, no other alphabet, and no bits behind the last byte: there
        // is one way to write a signature.
        let signature = URL_SAFE_NO_PAD.decode(sig?).ok()?;
        Some(Self {
            expires: Seconds::parse(&exp?)?,
            not_before,
            ip,
            kid: kid.filter(|kid| is_id(kid))?,
            signature: signature.try_into().ok()?,
        })
    }

    /// The address or range as it was written.
    pub(super) fn ip(&self) -> Option<&str> {
        self.ip.as_ref().map(|(text, _)| text.as_str())
    }

    /// True if it is good for whoever comes from `peer`.
    pub(super) fn covers(&self, peer: IpAddr) -> bool {
        self.ip.as_ref().is_none_or(|(_, range)| range.contains(peer))
    }
}
