//! Validity: from when until when a certificate is one, as it says itself.
//!
//! Spec: RFC 5280 section 4.1.2.5.
//! Not here: whether anybody vouches for it, which is the client's to find out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::parse_x509_certificate;

/// So long before its end a certificate is to be renewed.
const RENEWAL: Duration = Duration::from_secs(7 * 86_400);
/// One that is renewed by itself is late in the last part of its time, which may be a day.
const LATE_PART: u32 = 4;

/// The time of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub not_before: SystemTime,
    /// Its last one.
    pub not_after: SystemTime,
}

impl Validity {
    /// What the DER of a certificate says; `None` if it is none.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let times = parsed.validity();
        let [not_before, not_after] =
            [times.not_before, times.not_after].map(|time| at(time.timestamp()));
        Some(Self { not_before: not_before?, not_after: not_after? })
    }

    /// True if it is a certificate at `now`.
    #[must_use]
    pub fn holds(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// How long it is one.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
    }

    /// As [`Self::doubt`], of one that is renewed by itself: as long as that is not overdue there
    /// is none, however short its time is.
    #[must_use]
    pub fn doubt_of_renewed(&self, now: SystemTime) -> Option<&'static str> {
        let left = self.not_after.duration_since(now).unwrap_or_default();
        let is_late = left < self.lifetime() / LATE_PART;
        self.doubt(now).filter(|_| is_late || !self.holds(now))
    }

    /// What clients will object to, if the time has not come, is over, or soon will be.
    #[must_use]
    pub fn doubt(&self, now: SystemTime) -> Option<&'static str> {
        if self.not_after < now {
            return Some("the certificate is expired, clients will refuse it; renew it");
        }
        if now < self.not_before {
            return Some(
                "the certificate is not valid yet, clients will refuse it; check the clock",
            );
        }
        let soon = now.checked_add(RENEWAL)?;
        (self.not_after < soon).then_some(
            "the certificate expires within a week, then clients will refuse it; renew it",
        )
    }
}

/// A certificate says any year up to 9999, also one before 1970.
fn at(seconds: i64) -> Option<SystemTime> {
    let away = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(away) } else { UNIX_EPOCH.checked_add(away) }
}

/// Seconds since 1970, of a moment that a certificate names.
#[must_use]
pub fn unix_seconds(at: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => whole(since),
        Err(before) => -whole(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn certificate(from: i32, until: i32) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_its_time_and_anything_else_none() {
        let der = certificate(1970, 2100);
        let validity = Validity::of(&der).unwrap();
        assert_eq!(unix_seconds(validity.not_before), 0);
        assert_eq!(unix_seconds(validity.not_after), 4_102_444_800);
        assert_eq!(
            unix_seconds(Validity::of(&certificate(1960, 2100)).unwrap().not_before),
            -315_619_200
        );
        for end in [0, 1, der.len() / 2, der.len() - 1] {
            assert_eq!(Validity::of(&der[..end]), None, "{end} of {} bytes", der.len());
        }
        assert_eq!(Validity::of(&[0x30; 64]), None);
    }

    #[test]
    fn it_is_doubted_before_its_time_after_it_and_in_its_last_week() {
        let (not_before, not_after) = (UNIX_EPOCH + 100 * DAY, UNIX_EPOCH + 190 * DAY);
        let validity = Validity { not_before, not_after };
        for (now, word) in [
            (not_before - DAY, Some("not valid yet")),
            (not_before, None),
            (not_after - 7 * DAY, None),
            (not_after - 6 * DAY, Some("within a week")),
            (not_after, Some("within a week")),
            (not_after + DAY, Some("is expired")),
        ] {
            let doubt = validity.doubt(now);
            assert_eq!(doubt.is_some(), word.is_some(), "{doubt:?}");
            assert!(doubt.unwrap_or_default().contains(word.unwrap_or_default()), "{doubt:?}");
        }
    }

    #[test]
    fn one_that_is_renewed_by_itself_is_doubted_once_that_is_late() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let not_before = UNIX_EPOCH + 100 * DAY;
        let of = |lifetime| Validity { not_before, not_after: not_before + lifetime };
        let day = of(24 * HOUR);
        assert_eq!(day.lifetime(), 24 * HOUR);
        for (validity, age, is_doubted) in [
            (day, Duration::ZERO, false),
            (day, 17 * HOUR, false),
            (day, 19 * HOUR, true),
            (day, 25 * HOUR, true),
            (of(6 * DAY), 4 * DAY, false),
            (of(6 * DAY), 5 * DAY, true),
            (of(90 * DAY), 82 * DAY, false),
            (of(90 * DAY), 84 * DAY, true),
        ] {
            let doubt = validity.doubt_of_renewed(not_before + age);
            assert_eq!(doubt.is_some(), is_doubted, "{validity:?} {age:?}");
        }
        assert!(day.doubt_of_renewed(not_before - HOUR).unwrap().contains("check the clock"));
    }
}
