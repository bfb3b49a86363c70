//! `[penalties]`: what guesses of keys and tokens cost.

use super::agreement::pick;
use super::key::{Key, Section};
use super::load::Loaded;
use super::settings::Settings;
use crate::error::Error;
use crate::penalties::{Access, PenaltyRules, SHOWN_MAX};

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new("enabled", "Whether guesses cost anything.", |s| &mut s.penalties.enabled).now(),
    Key::new(
        "guesses_max",
        "Wrong keys, signatures and tokens that one address (IPv6: one /64) shows within window_ms \
         before it is refused, to the media listeners and to the API. The same one shown again is \
         none, nor is what ran out or is for another stream or address. Of players over HTTP only \
         keys count. Let it be more than the encoders behind one address.",
        |s| &mut s.penalties.guesses_max,
    )
    .range(2, SHOWN_MAX as u64)
    .now(),
    Key::new(
        "prefix_guesses_max",
        "The same of all addresses of one IPv4 /24 or IPv6 /56 together, which then may show \
         nothing more, and not publish; players without a key are let in.",
        |s| &mut s.penalties.prefix_guesses_max,
    )
    .range(2, SHOWN_MAX as u64)
    .now(),
    Key::new("window_ms", "Guesses are forgotten one by one within this.", |s| {
        &mut s.penalties.window
    })
    .range(1_000, 24 * HOUR)
    .millis()
    .now(),
    Key::new(
        "first_ms",
        "Whoever guesses is refused for this long, and twice as long each time that it goes on. \
         Whoever publishes or plays already stays.",
        |s| &mut s.penalties.first,
    )
    .range(1_000, 24 * HOUR)
    .millis()
    .now(),
    Key::new(
        "longest_ms",
        "At most this long; what was done is forgotten after it was quiet for as long again.",
        |s| &mut s.penalties.longest,
    )
    .range(1_000, 7 * 24 * HOUR)
    .millis()
    .now(),
];

pub(super) fn section() -> Section {
    Section::new(
        "penalties",
        "Who guesses keys or tokens is refused for a while; GET /api/v1/penalties lists them. \
         limits.exempt are not.",
        KEYS,
    )
}

/// Errors: the first penalty would be longer than the longest.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let PenaltyRules { first, longest, .. } = loaded.settings.penalties;
    if first <= longest {
        return Ok(());
    }
    let (first, longest) = (first.as_millis(), longest.as_millis());
    Err(loaded.misfit(
        pick(loaded, "penalties.first_ms", "penalties.longest_ms"),
        format!("first_ms {first} is above longest_ms {longest}"),
        "raise longest_ms or lower first_ms".to_owned(),
    ))
}

impl Settings {
    /// Who is bound by penalties and rates, and by what.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            penalties: self.penalties,
            calls: self.listeners.control.calls(),
            connects: self.limits.connects_per_ip(),
            prefix_connects: self.limits.connects_per_prefix(),
            proxies: self.session.proxies.clone(),
            exempt: self.limits.exempt.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn a_first_penalty_is_not_longer_than_the_longest() {
        let with = |first: &str, longest: &str| {
            let env = [
                ("GRANDSTAND_PENALTIES__FIRST_MS", first),
                ("GRANDSTAND_PENALTIES__LONGEST_MS", longest),
            ];
            load(None, env.map(|(name, value)| (name.to_owned(), value.to_owned())))
        };
        let access = with("5000", "5000").unwrap().settings.access();
        assert_eq!(access.penalties.first, access.penalties.longest);
        let error = with("5001", "5000").unwrap_err().to_string();
        assert!(error.contains("first_ms 5001 is above longest_ms 5000"), "{error}");
    }

    #[test]
    fn heads_that_nobody_may_send_to_the_api_are_an_error() {
        let name = "GRANDSTAND_LISTENERS__CONTROL__PROXY_PROTOCOL";
        let error = load(None, [(name.to_owned(), "true".to_owned())]).unwrap_err().to_string();
        assert!(error.contains("nobody's heads are believed"), "{error}");
    }
}
