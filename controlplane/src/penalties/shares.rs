//! Shares: how often an address may do something, and what is around it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use dataplane::rates::{Buckets, Rate, address_of, prefix_of};

/// Buckets of those who call the API, as many of those who connect to it, and as many of the
/// prefixes of each.
pub(super) const BUCKETS: usize = 1 << 12;

/// Buckets of addresses, and as many of their prefixes.
#[derive(Debug)]
pub(super) struct Shares {
    by_address: Buckets,
    by_prefix: Buckets,
}

impl Default for Shares {
    fn default() -> Self {
        Self { by_address: Buckets::new(BUCKETS), by_prefix: Buckets::new(BUCKETS) }
    }
}

impl Shares {
    /// Takes a token of each.
    pub(super) fn take(
        &self,
        peer: IpAddr,
        [own, around]: [Rate; 2],
        now: Instant,
    ) -> Result<(), Duration> {
        self.by_address.take(address_of(peer), own, now)?;
        self.by_prefix.take(prefix_of(peer), around, now)
    }
}
