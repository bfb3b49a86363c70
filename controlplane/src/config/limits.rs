//! `[limits]`: bounds of peers, messages and memory.

use dataplane::config::{AddrRange, Admission, LimitId};

use super::document::Datum;
use super::field::{Bounds, Field, Unit, list, texts, words};
use super::key::{Key, Section};

const MEMORY_MAX: Key = Key::new(
    "memory_max",
    "Bytes of memory at most. \"auto\" is half of the machine's, or of the control group's.",
    |s| &mut s.memory_max,
)
.range(64 << 20, i64::MAX as u64)
.bytes();

const EXEMPT: Key = Key::new(
    "exempt",
    "Addresses and ranges that no cap, rate and penalty of addresses binds.",
    |s| &mut s.limits.exempt,
)
.now();

const PLAY_FROM: Key = Key::new(
    "play_from",
    "Addresses and ranges that may play RTMP, and FLV and transport streams over HTTP and \
     WebSocket. [] is everywhere. HLS is not bound by it.",
    |s| &mut s.limits.play_from,
)
.now();

const ADMISSION: Key = Key::new(
    "admission",
    "\"measured\" refuses new players and viewers before those who play suffer: when the core of \
     their shard has no room for another, as the shard measures. \"off\" refuses by the limits \
     below alone.",
    |s| &mut s.egress.admission,
)
.now();

words!(Admission {
    "measured" => Admission::Measured,
    "off" => Admission::Off,
});

pub(super) fn section() -> Section {
    let unit = |id: LimitId| if id.name().contains("bytes") { Unit::Bytes } else { Unit::One };
    let mut keys = vec![MEMORY_MAX, EXEMPT, PLAY_FROM, ADMISSION];
    keys.extend(LimitId::ALL.iter().map(|&id| Key::limit(id, unit(id))));
    Section {
        name: "limits",
        about: "Bounds. A peer that reaches one is closed with its name as the reason, and \
                counted.",
        keys,
    }
}

impl Field for Vec<AddrRange> {
    fn expects(&self, _: &Bounds) -> String {
        "a list of addresses and ranges such as [\"127.0.0.0/8\", \"::1\"], or \"*\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let mut ranges = Self::new();
        for text in texts(datum)? {
            match text.as_str() {
                "*" => ranges.extend(AddrRange::EVERYWHERE),
                text => ranges.push(parse_range(text)?),
            }
        }
        *self = ranges;
        Some(())
    }
    fn render(&self) -> String {
        list(self.iter().map(|range| range.to_string()))
    }
}

/// Reads an address, or a range of them.
pub(crate) fn parse_range(text: &str) -> Option<AddrRange> {
    let (addr, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let addr: std::net::IpAddr = addr.parse().ok()?;
    let whole = if addr.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok())?;
    (bits <= whole).then_some(AddrRange { addr, bits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn a_star_is_every_address() {
        let env = [
            ("GRANDSTAND_LIMITS__PLAY_FROM", "192.0.2.7, 10.0.0.0/8"),
            ("GRANDSTAND_LIMITS__EXEMPT", "*"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let limits = load(None, env).unwrap().settings.limits;
        assert_eq!(limits.exempt, AddrRange::EVERYWHERE);
        for (peer, may) in [("192.0.2.7", true), ("::ffff:10.9.9.9", true), ("192.0.2.8", false)] {
            assert_eq!(limits.may_play_from(peer.parse().unwrap()), may, "{peer}");
        }
    }
}
