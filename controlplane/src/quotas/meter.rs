//! Meter: what one stream, or all streams of one tenant, use beside what they may.

use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{Quota, Usage};

use super::window::{Rates, Window};
use crate::registry::{BytesOver, Period, PublishOver, QuotaSpec};
use crate::usage::{By, Hour};

/// A quota that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Its field.
    pub quota: &'static str,
    /// What may be.
    pub max: u64,
    /// What is.
    pub used: u64,
}

/// What a look at a meter found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What is used up since this look.
    pub over: Over,
    /// Its publisher is closed.
    pub closes_publisher: bool,
    /// Its players are closed.
    pub closes_players: bool,
}

/// The meter of one stream, or of all streams of a tenant. See the module.
#[derive(Debug)]
pub(super) struct Meter {
    spec: QuotaSpec,
    pub quota: Arc<Quota>,
    began: Instant,
    window: Window,
    period: Hour,
    /// Bytes of the period that this process counted, and those of before, once they are known.
    bytes: u64,
    before: Option<u64>,
    /// It was asked what was used before, when it had counted so much itself.
    asked: Option<u64>,
    /// Refusals that were told of.
    refused: u64,
    /// By quota: that it is used up was told.
    told: [bool; 4],
    pub used_at: Instant,
}

impl Meter {
    pub(super) fn new(spec: QuotaSpec, hour: Hour, now: Instant) -> Self {
        let quota = Arc::new(Quota::default());
        quota.set_players_max(spec.players_max.unwrap_or(u32::MAX));
        Self {
            spec,
            quota,
            began: now,
            window: Window::default(),
            period: hour.start_of(by(spec.bytes_period)),
            bytes: 0,
            before: None,
            asked: None,
            refused: 0,
            told: [false; 4],
            used_at: now,
        }
    }

    /// The first hour of its period, if it is to be asked what was used in that until now.
    pub(super) fn ask(&mut self) -> Option<Hour> {
        if self.before.is_some() || self.asked.is_some() || self.spec.bytes_max.is_none() {
            return None;
        }
        self.asked = Some(self.bytes);
        Some(self.period)
    }

    /// So many bytes were used in the period that begins with that hour until it was asked, what
    /// this meter had by then included; `None` if nobody can tell.
    pub(super) fn answered(&mut self, found: Option<(Hour, u64)>) {
        let Some(had) = self.asked.take() else { return };
        if let Some((_, bytes)) = found.filter(|&(period, _)| period == self.period) {
            self.before = Some(bytes.saturating_sub(had));
        }
    }

    /// It may be used so from now on.
    pub(super) fn set(&mut self, spec: QuotaSpec, hour: Hour) {
        if spec.bytes_period != self.spec.bytes_period {
            (self.period, self.bytes) = (hour.start_of(by(spec.bytes_period)), 0);
            (self.before, self.asked) = (None, None);
        }
        if spec != self.spec {
            self.told = [false; 4];
        }
        self.spec = spec;
    }

    pub(super) fn add(&mut self, used: Usage, now: Instant) {
        self.used_at = now;
        self.window.add(used, now);
        self.bytes = self.bytes.saturating_add(used.bytes_in).saturating_add(used.bytes_out);
    }

    /// Bytes that came in the window, by the last look.
    pub(super) const fn published(&self) -> u64 {
        self.window.bytes_in()
    }

    /// Sets how many may play from now on; what is used up since the last look.
    pub(super) fn look(&mut self, hour: Hour, now: Instant) -> Vec<Finding> {
        let period = hour.start_of(by(self.spec.bytes_period));
        if period != self.period {
            // What is counted from here on is all of it, unless the clock was set back.
            self.before = (period > self.period).then_some(0);
            (self.period, self.bytes, self.asked) = (period, 0, None);
        }
        let rates = self.window.rates(self.began, now);
        let Rates { ingress, egress, whole } = rates;
        let players = self.quota.players();
        let bytes = self.bytes.saturating_add(self.before.unwrap_or(0));
        let spec = &self.spec;
        let over = |max: Option<u64>, used| max.filter(|&max| used >= max);
        let (bytes_over, egress_over) =
            (over(spec.bytes_max, bytes), over(spec.egress_bps_max, egress));
        let own = spec.players_max.unwrap_or(u32::MAX);
        let fitting = spec.egress_bps_max.map(|max| fitting(max, rates, players));
        let allowed = match bytes_over {
            Some(_) => 0,
            None => own.min(fitting.unwrap_or(u32::MAX)),
        };
        self.quota.set_players_max(allowed);
        self.quota.set_spent(bytes_over.is_some());
        let refused = self.quota.refused();
        let refuses = std::mem::replace(&mut self.refused, refused) < refused;
        let full = spec.players_max.filter(|&max| refuses && players >= max).map(u64::from);
        let crowded =
            spec.egress_bps_max.filter(|_| refuses && allowed < own && bytes_over.is_none());
        // A rate that is above is told as long as it is; a refusal as long as it is full.
        let publishes = spec.publish_bps_max.filter(|&max| whole && ingress > max);
        let still_full = spec.players_max.is_some_and(|max| players >= max);
        let found = [
            ("players_max", full, still_full, u64::from(players)),
            (
                "egress_bps_max",
                egress_over.or(crowded),
                egress_over.is_some() || allowed < own,
                egress,
            ),
            ("bytes_max", bytes_over, bytes_over.is_some(), bytes),
            ("publish_bps_max", publishes, publishes.is_some(), ingress),
        ];
        let mut findings = Vec::new();
        for (told, (quota, since, still, used)) in self.told.iter_mut().zip(found) {
            if let Some(max) = since.filter(|_| !*told) {
                *told = true;
                findings.push(Finding {
                    over: Over { quota, max, used },
                    closes_publisher: quota == "publish_bps_max"
                        && spec.publish_over == PublishOver::Close,
                    closes_players: quota == "bytes_max" && spec.bytes_over == BytesOver::Close,
                });
            }
            *told &= still;
        }
        if findings.iter().any(|finding| finding.closes_publisher) {
            // Who comes again is measured anew.
            (self.window, self.began) = (Window::default(), now);
            self.told[3] = false;
        }
        findings
    }
}

/// How many may play so that they are sent no more than `max` together, by what each of those who
/// play is sent, or what is published. Who came a moment ago counts whole, though the window has
/// little of him.
fn fitting(max: u64, Rates { ingress, egress, .. }: Rates, players: u32) -> u32 {
    let each = egress.checked_div(players.into()).unwrap_or(0).max(ingress);
    let owed = each.saturating_mul(players.into()).max(egress);
    let Some(more) = max.saturating_sub(owed).checked_div(each) else { return u32::MAX };
    players.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
}

const fn by(period: Period) -> By {
    match period {
        Period::Day => By::Day,
        Period::Month => By::Month,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::control::{QuotaPlace, StreamQuotas};
    use std::time::Duration;

    fn hour(text: &str) -> Hour {
        Hour::parse(text).unwrap()
    }

    fn used(bytes_in: u64, bytes_out: u64) -> Usage {
        Usage { bytes_in, bytes_out, ..Usage::default() }
    }

    fn enter(meter: &Meter) -> Option<QuotaPlace> {
        StreamQuotas::from(Arc::clone(&meter.quota)).enter()
    }

    fn words(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.over.quota).collect()
    }

    #[test]
    fn bytes_are_those_of_the_period_and_begin_anew_with_the_next() {
        let now = Instant::now();
        let spec = QuotaSpec {
            bytes_max: Some(1_000),
            bytes_over: BytesOver::Close,
            ..QuotaSpec::default()
        };
        let mut meter = Meter::new(spec, hour("2026-01-31T23"), now);
        assert_eq!(meter.ask(), Some(hour("2026-01-01")));
        meter.answered(Some((hour("2025-12-01"), 9_999)));
        assert_eq!(meter.ask(), Some(hour("2026-01-01")), "that was another month");
        meter.add(used(100, 200), now);
        assert!(meter.look(hour("2026-01-31T23"), now).is_empty());
        meter.answered(Some((hour("2026-01-01"), 700)));
        let found = meter.look(hour("2026-01-31T23"), now);
        assert_eq!(found[0].over, Over { quota: "bytes_max", max: 1_000, used: 1_000 });
        assert!(found[0].closes_players && !found[0].closes_publisher);
        assert!(enter(&meter).is_none());
        assert!(meter.look(hour("2026-01-31T23"), now).is_empty(), "it is told once");
        // The next month begins: everybody may come again.
        assert!(meter.look(hour("2026-02-01T00"), now).is_empty());
        assert!(enter(&meter).is_some() && meter.ask().is_none());
        meter.add(used(0, 1_000), now);
        assert_eq!(words(&meter.look(hour("2026-02-28T23"), now)), ["bytes_max"]);
        // The clock is set back: the store knows what was used in that month.
        assert!(meter.look(hour("2026-01-31T23"), now).is_empty());
        assert_eq!(meter.ask(), Some(hour("2026-01-01")));
        meter.answered(Some((hour("2026-01-01"), 1_000)));
        assert_eq!(words(&meter.look(hour("2026-01-31T23"), now)), ["bytes_max"]);
    }

    #[test]
    fn players_that_find_no_place_are_told_of_once_while_it_is_full() {
        let now = Instant::now();
        let spec = QuotaSpec { players_max: Some(1), ..QuotaSpec::default() };
        let mut meter = Meter::new(spec, hour("2026-01-01"), now);
        let look = |meter: &mut Meter| words(&meter.look(hour("2026-01-01"), now));
        let place = enter(&meter);
        assert!(look(&mut meter).is_empty(), "full is no fault");
        assert!(enter(&meter).is_none());
        assert_eq!(look(&mut meter), ["players_max"]);
        assert!(enter(&meter).is_none());
        assert!(look(&mut meter).is_empty());
        drop(place);
        assert!(look(&mut meter).is_empty());
        let _place = enter(&meter);
        assert!(enter(&meter).is_none());
        assert_eq!(look(&mut meter), ["players_max"]);
        meter.set(QuotaSpec { players_max: Some(2), ..spec }, hour("2026-01-01"));
        assert!(look(&mut meter).is_empty());
        assert!(enter(&meter).is_some());
    }

    #[test]
    fn a_publisher_that_sends_too_much_for_long_is_closed_or_told_of() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for publish_over in [PublishOver::Close, PublishOver::Warn] {
            let spec =
                QuotaSpec { publish_bps_max: Some(8_000), publish_over, ..QuotaSpec::default() };
            let mut meter = Meter::new(spec, hour("2026-01-01"), began);
            let mut told = Vec::new();
            for second in 0..40 {
                // Two kilobytes a second for ten seconds, then half of one.
                meter.add(used(if second < 20 { 2_000 } else { 500 }, 0), at(second));
                for finding in meter.look(hour("2026-01-01"), at(second)) {
                    assert_eq!(finding.over.quota, "publish_bps_max");
                    assert_eq!(finding.closes_publisher, publish_over == PublishOver::Close);
                    told.push(second);
                }
            }
            let expected: &[u64] =
                if publish_over == PublishOver::Close { &[10, 20] } else { &[10] };
            assert_eq!(told, expected, "{publish_over:?}");
        }
    }

    #[test]
    fn as_many_play_as_the_bits_suffice_for() {
        let began = Instant::now();
        let spec = QuotaSpec { egress_bps_max: Some(80_000), ..QuotaSpec::default() };
        let mut meter = Meter::new(spec, hour("2026-01-01"), began);
        let mut places: Vec<_> = (0..4).filter_map(|_| enter(&meter)).collect();
        for second in 0..11 {
            // Each is sent a kilobyte a second.
            meter.add(used(1_000, 4_000), began + Duration::from_secs(second));
        }
        let now = began + Duration::from_secs(10);
        assert!(meter.look(hour("2026-01-01"), now).is_empty());
        let more: Vec<_> = (0..100).map_while(|_| enter(&meter)).collect();
        assert_eq!(more.len(), 6, "ten of 8,000 bits a second are 80,000");
        places.extend(more);
        assert_eq!(words(&meter.look(hour("2026-01-01"), now)), ["egress_bps_max"]);
        assert!(enter(&meter).is_none(), "they are sent little yet, and count");
        let fit = |ingress, egress, players| {
            fitting(80_000, Rates { ingress, egress, whole: true }, players)
        };
        assert_eq!(fit(0, 0, 3), u32::MAX, "nothing is known yet");
        assert_eq!((fit(8_000, 0, 0), fit(8_000, 0, 9), fit(8_000, 90_000, 9)), (10, 10, 9));
    }
}
