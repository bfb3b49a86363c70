//! `[auth.signed]`: whose signatures let in.

use std::time::Duration;

use super::document::Datum;
use super::field::{Bounds, Field, quoted};
use super::key::{Key, Section};
use crate::auth::{SECRET_BYTES_MIN, SIGNED_KEYS_MAX, Seconds, Signed, SignedKey};
use crate::registry::TenantName;

/// `[auth.signed]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSection {
    /// By how much the clock of whoever signs may differ from ours.
    pub leeway: Duration,
    /// Who was let in is sent away when the time is over.
    pub enforce: bool,
    /// Whose signatures are good.
    pub keys: Vec<SignedKey>,
}

impl Default for SignedSection {
    fn default() -> Self {
        Self { leeway: Duration::from_secs(5), enforce: false, keys: Vec::new() }
    }
}

impl SignedSection {
    /// What signatures are judged by.
    pub(super) fn rules(&self) -> Signed {
        let (leeway, enforce) = (self.leeway.as_secs(), self.enforce);
        Signed { keys: self.keys.clone(), leeway, enforce }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "leeway_ms",
        "By how much the clock of whoever signs may differ from ours, in whole seconds; an address \
         is good for so much longer.",
        |s| &mut s.auth.signed.leeway,
    )
    .range(0, 600_000)
    .millis()
    .now(),
    Key::new(
        "enforce",
        "Whether who was let in is sent away when the time of the address is over. Without, it is \
         the time to come in, and whoever is in stays.",
        |s| &mut s.auth.signed.enforce,
    )
    .now(),
    Key::new(
        "keys",
        "Secrets that sign addresses. In the file: [[auth.signed.keys]] with id (letters, digits, \
         _ and -), secret (32 bytes at least, as `openssl rand -hex 32` makes them) and, if \
         wanted, not_after (a date such as 2027-01-31T00:00:00Z, or seconds since 1970), after \
         which nothing that it signed is good, and tenant, whose streams are that are published by \
         it. Several overlap while one takes the place of \
         another. `grandstand sign` signs with the first one.",
        |s| &mut s.auth.signed.keys,
    )
    .now()
    .secret(),
];

pub(super) fn section() -> Section {
    Section::new("auth.signed", "Addresses that are signed, for mode \"signed\".", KEYS)
}

impl Field for Vec<SignedKey> {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[auth.signed.keys]] with an id of its own, a secret of at least \
             {SECRET_BYTES_MIN} bytes and, if wanted, not_after and tenant, at most \
             {SIGNED_KEYS_MAX}"
        )
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let keys: Self = items.iter().map(key).collect::<Option<_>>()?;
        let twice = |at: usize| keys[..at].iter().any(|other| other.id == keys[at].id);
        if keys.len() > SIGNED_KEYS_MAX || (0..keys.len()).any(twice) {
            return None;
        }
        *self = keys;
        Some(())
    }
    fn render(&self) -> String {
        let table = |key: &SignedKey| {
            let end = key.not_after.map(|end| format!(", not_after = {end}")).unwrap_or_default();
            let tenant = key.tenant.as_ref().map(|tenant| quoted(tenant.as_str()));
            let tenant = tenant.map(|tenant| format!(", tenant = {tenant}")).unwrap_or_default();
            let (id, secret) = (quoted(&key.id), quoted(&key.secret));
            format!("{{ id = {id}, secret = {secret}{end}{tenant} }}")
        };
        format!("[{}]", self.iter().map(table).collect::<Vec<_>>().join(", "))
    }
}

fn key(datum: &Datum) -> Option<SignedKey> {
    let Datum::Table(fields) = datum else { return None };
    let (mut id, mut secret, mut not_after, mut tenant) = (None, None, None, None);
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("id", Datum::Text(text)) => id = Some(text),
            ("secret", Datum::Text(text)) => secret = Some(text),
            ("not_after", value) => not_after = Some(moment(value)?),
            ("tenant", Datum::Text(text)) => tenant = Some(TenantName::parse(text)?),
            _ => return None,
        }
    }
    let mut key = SignedKey::new(id?, secret?, not_after)?;
    key.tenant = tenant;
    Some(key)
}

/// Seconds since 1970, or a date with a zone.
fn moment(datum: &Datum) -> Option<Seconds> {
    match datum {
        Datum::Integer(seconds) => u64::try_from(*seconds).ok().map(Seconds),
        Datum::Text(text) | Datum::Other(text) => date(text),
        _ => None,
    }
}

/// Spec: RFC 3339 5.6; the days are counted as in the proleptic Gregorian calendar.
fn date(text: &str) -> Option<Seconds> {
    let number = |text: &str| -> Option<i64> {
        let digits = text.len() == 2 || text.len() == 4;
        let plain = digits && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| plain)
    };
    let (day, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = day.split('-');
    let (year, month) = (number(parts.next()?)?, number(parts.next()?)?);
    let (day, none) = (number(parts.next()?)?, parts.next());
    let (clock, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let (hours, minutes) = zone.split_once(':')?;
            let minutes = number(hours)? * 60 + number(minutes)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let (clock, _fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = number(parts.next()?)?;
    let legal = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if none.is_some() || parts.next().is_some() || !legal {
        return None;
    }
    // Years begin in March, so that the day that comes every four years is the last of one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset) * 60 + second;
    u64::try_from(seconds).ok().map(Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn dates_are_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:30:15Z", Some(951_827_415)),
            ("2025-11-29T14:03:20Z", Some(1_764_425_000)),
            ("2025-11-29T15:03:20+01:00", Some(1_764_425_000)),
            ("2025-11-29 14:03:20.999Z", Some(1_764_425_000)),
            ("2027-01-31T00:00:00Z", Some(1_801_353_600)),
            ("1969-12-31T23:59:59Z", None),
            ("2025-11-29T14:03:20", None),
            ("2025-11-29", None),
            ("2025-13-29T14:03:20Z", None),
            ("2025-11-29-1T14:03:20Z", None),
            ("2025-11-29T14:03:20:1Z", None),
            ("2025-11-29T14:+3:20Z", None),
            ("soon", None),
        ] {
            assert_eq!(date(text), seconds.map(Seconds), "{text}");
        }
    }

    #[test]
    fn keys_are_read_and_their_secrets_shown_to_nobody() {
        let (name, secret) = ("GRANDSTAND_AUTH__SIGNED__KEYS", "x".repeat(32));
        let read = |keys: String| load(None, [(name.to_owned(), keys)]);
        let loaded = read(format!(
            "[{{ id = 'a', secret = '{secret}', not_after = 2027-01-31T00:00:00Z }}, \
             {{ id = 'b', secret = '{secret}', tenant = 'acme' }}]"
        ))
        .unwrap();
        let keys = &loaded.settings.auth.signed.keys;
        let told: Vec<_> = keys.iter().map(|key| (key.id.as_str(), key.not_after)).collect();
        assert_eq!(told, [("a", Some(Seconds(1_801_353_600))), ("b", None)]);
        assert_eq!(keys[1].tenant, TenantName::parse("acme"));
        let mut again: Vec<SignedKey> = Vec::new();
        let datum = super::super::document::parse_variable(&keys.render());
        again.read(&datum, &Bounds { min: 0, max: 0, unit: super::super::Unit::One }).unwrap();
        assert_eq!(&again, keys);
        for wrong in [
            format!("[{{ id = 'a', secret = '{}' }}]", &secret[1..]),
            format!("[{{ id = 'a b', secret = '{secret}' }}]"),
            format!("[{{ secret = '{secret}' }}]"),
            format!("[{{ id = 'a', secret = '{secret}', not_after = 'soon' }}]"),
            format!("[{{ id = 'a', secret = '{secret}', more = 1 }}]"),
            format!("[{{ id = 'a', secret = '{secret}', tenant = 'a/b' }}]"),
            format!("[{{ id = 'a', secret = '{secret}' }}, {{ id = 'a', secret = '{secret}' }}]"),
        ] {
            let error = read(wrong.clone()).unwrap_err().to_string();
            assert!(error.contains("auth.signed.keys: expected tables"), "{error}");
            assert!(!error.contains("xxxx"), "{error}");
        }
    }
}
