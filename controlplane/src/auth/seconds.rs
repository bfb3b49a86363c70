//! Seconds: the calendar of addresses and tokens.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as addresses and tokens count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u64);

impl Seconds {
    /// Those of a moment.
    #[must_use]
    pub fn of(moment: SystemTime) -> Self {
        Self(moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    /// How long it is from `now` until their end; nothing if they are over.
    #[must_use]
    pub fn left(self, now: SystemTime) -> Duration {
        let end = Duration::from_secs(self.0.saturating_add(1));
        end.saturating_sub(now.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// Reads digits, in the one way in which they are written; `None` if it is not that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (text == "0" || !text.starts_with('0'));
        text.parse().ok().filter(|_| plain).map(Self)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
