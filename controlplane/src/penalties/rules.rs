//! Rules: what guesses cost, and how often the API is called.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::config::{AddrRange, Limits};
use dataplane::rates::Rate;

/// What guesses cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PenaltyRules {
    /// They cost something.
    pub enabled: bool,
    /// Guesses of one address within the window that begin a penalty.
    pub guesses_max: u32,
    /// Guesses of one prefix that do.
    pub prefix_guesses_max: u32,
    /// Guesses are forgotten one by one within this.
    pub window: Duration,
    /// What the first penalty lasts; each further one lasts twice as long.
    pub first: Duration,
    /// The longest; for as long again nothing that was done before is forgotten.
    pub longest: Duration,
}

impl Default for PenaltyRules {
    fn default() -> Self {
        Self {
            enabled: true,
            guesses_max: 100,
            prefix_guesses_max: 500,
            window: Duration::from_secs(60),
            first: Duration::from_secs(60),
            longest: Duration::from_secs(3_600),
        }
    }
}

/// Who is bound by them, and by what else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What guesses cost.
    pub penalties: PenaltyRules,
    /// How often one address calls the API.
    pub calls: Rate,
    /// How often one address connects to the API.
    pub connects: Rate,
    /// How often what is around it does.
    pub prefix_connects: Rate,
    /// Whose word about their clients is believed.
    pub proxies: Vec<AddrRange>,
    /// Who is bound by nothing.
    pub exempt: Vec<AddrRange>,
}

impl Access {
    /// True if `peer` speaks for others: nobody is refused for what his proxy is.
    #[must_use]
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|range| range.contains(peer))
    }

    /// True if nobody of `whose` is refused: all of it is exempt, or speaks for others.
    #[must_use]
    pub fn frees(&self, whose: &AddrRange) -> bool {
        let covers = |range: &AddrRange| range.bits <= whose.bits && range.contains(whose.addr);
        self.exempt.iter().chain(&self.proxies).any(covers)
    }

    /// True if `peer` is bound by nothing.
    #[must_use]
    pub fn is_exempt(&self, peer: IpAddr) -> bool {
        self.exempt.iter().any(|range| range.contains(peer))
    }
}

impl Default for Access {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            penalties: PenaltyRules::default(),
            calls: Rate { per_second: 100, burst: 400 },
            connects: limits.connects_per_ip(),
            prefix_connects: limits.connects_per_prefix(),
            proxies: Vec::new(),
            exempt: AddrRange::loopback(),
        }
    }
}
