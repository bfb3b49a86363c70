//! Cookies: a caller shows that it receives at its address before anything is kept of it.
//!
//! Shape: 32 bits of a keyed hash of the address and the minute; the last minute's is good, too.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const BUCKET_SECS: u64 = 60;

/// Makes and judges cookies.
pub(super) struct CookieJar {
    secret: [u8; 32],
    began: Instant,
}

impl std::fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieJar(***)")
    }
}

impl CookieJar {
    pub(super) const fn new(secret: [u8; 32], began: Instant) -> Self {
        Self { secret, began }
    }

    pub(super) fn cookie(&self, peer: SocketAddr, now: Instant) -> u32 {
        self.cookie_of(peer, self.bucket(now))
    }

    pub(super) fn is_good(&self, cookie: u32, peer: SocketAddr, now: Instant) -> bool {
        let bucket = self.bucket(now);
        [Some(bucket), bucket.checked_sub(1)].into_iter().flatten().any(|bucket| {
            let good = self.cookie_of(peer, bucket);
            bool::from(good.to_be_bytes().ct_eq(&cookie.to_be_bytes()))
        })
    }

    fn bucket(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs() / BUCKET_SECS
    }

    fn cookie_of(&self, peer: SocketAddr, bucket: u64) -> u32 {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length is a key");
        match peer.ip().to_canonical() {
            IpAddr::V4(v4) => mac.update(&v4.octets()),
            IpAddr::V6(v6) => mac.update(&v6.octets()),
        }
        mac.update(&peer.port().to_be_bytes());
        mac.update(&bucket.to_be_bytes());
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        u32::from_be_bytes(*hash.first_chunk().expect("it is longer"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::clock::epoch;

    #[test]
    fn a_cookie_is_good_for_its_address_and_a_while() {
        let began = epoch();
        let jar = CookieJar::new([7; 32], began);
        let peer: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let now = began + Duration::from_secs(90);
        let cookie = jar.cookie(peer, now);
        assert!(jar.is_good(cookie, peer, now));
        assert!(jar.is_good(cookie, peer, now + Duration::from_secs(60)));
        assert!(!jar.is_good(cookie, peer, now + Duration::from_secs(120)));
        assert!(!jar.is_good(cookie ^ 1, peer, now));
        for other in ["192.0.2.1:5001", "192.0.2.2:5000", "[2001:db8::1]:5000"] {
            assert!(!jar.is_good(cookie, other.parse().unwrap(), now), "{other}");
        }
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        assert!(jar.is_good(cookie, mapped, now), "one address in two forms");
        assert!(!CookieJar::new([8; 32], began).is_good(cookie, peer, now));
    }
}
