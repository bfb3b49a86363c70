//! Meter: what one stream, or all streams of one tenant, use beside what they may.

use std::sync::Arc;
use std::time::Instant;

use dataplane::control::{Quota, UsageRow};

use super::load::Load;
use super::window::Window;
use crate::registry::{BytesOver, Period, PublishOver, QuotaSpec};
use crate::usage::By;

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
    pub window: Window,
    /// What is used up of its bytes by the last look.
    spent: Option<Over>,
    /// Refusals that were told of.
    refused: u64,
    /// By quota: that it is used up was told.
    told: [bool; 4],
    pub used_at: Instant,
}

impl Meter {
    /// One of what has used so many bytes of its period.
    pub(super) fn new(spec: QuotaSpec, bytes: u64, now: Instant) -> Self {
        let quota = Arc::new(Quota::default());
        let mut meter = Self {
            spec,
            quota,
            window: Window::new(now),
            spent: None,
            refused: 0,
            told: [false; 4],
            used_at: now,
        };
        meter.spend(bytes, Load::default());
        meter
    }

    /// It may be used so from now on.
    pub(super) fn set(&mut self, spec: QuotaSpec) {
        if spec != self.spec {
            self.told = [false; 4];
        }
        self.spec = spec;
    }

    pub(super) fn add(&mut self, row: &UsageRow, now: Instant) {
        self.used_at = now;
        self.window.add(row);
    }

    /// What its players are owed, by the last look.
    pub(super) fn load(&self) -> Load {
        Load::of(self.window.rates(), self.quota.players())
    }

    /// What is used up of its bytes, and who plays is closed for it.
    pub(super) fn closes_players(&self) -> Option<Over> {
        self.spent.filter(|_| self.spec.bytes_over == BytesOver::Close)
    }

    /// What its bytes are counted by, if they are bounded.
    pub(super) fn by(&self) -> Option<By> {
        period_of(&self.spec)
    }

    /// So many bytes of its period are used, and players are owed `load`: sets whether anybody may
    /// come, and how many may play.
    fn spend(&mut self, bytes: u64, load: Load) -> u32 {
        let max = self.spec.bytes_max.filter(|&max| bytes >= max);
        self.spent = max.map(|max| Over { quota: "bytes_max", max, used: bytes });
        let allowed = self.players_max(load);
        self.quota.set_players_max(allowed);
        self.quota.set_spent(max.is_some());
        allowed
    }

    /// Sets how many may play beside who is owed `load`, where so many bytes of the period are
    /// used; what is used up since the last look.
    pub(super) fn look(&mut self, bytes: u64, load: Load) -> Vec<Finding> {
        let rates = self.window.rates();
        let players = self.quota.players();
        let allowed = self.spend(bytes, load);
        let spec = &self.spec;
        let over = |max: Option<u64>, used| max.filter(|&max| used >= max);
        let (bytes_over, egress_over) =
            (over(spec.bytes_max, bytes), over(spec.egress_bps_max, rates.egress));
        let own = spec.players_max.unwrap_or(u32::MAX);
        let refused = self.quota.refused();
        let refuses = std::mem::replace(&mut self.refused, refused) < refused;
        let full = spec.players_max.filter(|&max| refuses && players >= max).map(u64::from);
        let crowded =
            spec.egress_bps_max.filter(|_| refuses && allowed < own && bytes_over.is_none());
        // A rate that is above is told as long as it is; a refusal as long as it is full.
        let publishes = spec.publish_bps_max.filter(|&max| rates.whole && rates.ingress > max);
        let still_full = spec.players_max.is_some_and(|max| players >= max);
        let found = [
            ("players_max", full, still_full, u64::from(players)),
            (
                "egress_bps_max",
                egress_over.or(crowded),
                egress_over.is_some() || allowed < own,
                rates.egress,
            ),
            ("bytes_max", bytes_over, bytes_over.is_some(), bytes),
            ("publish_bps_max", publishes, publishes.is_some(), rates.ingress),
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
            // Who goes on above it is closed as well.
            self.told[3] = false;
        }
        findings
    }

    fn players_max(&self, load: Load) -> u32 {
        if self.spent.is_some() {
            return 0;
        }
        let fitting = self.spec.egress_bps_max.map(|max| load.fitting(max, self.quota.players()));
        self.spec.players_max.unwrap_or(u32::MAX).min(fitting.unwrap_or(u32::MAX))
    }
}

/// What the bytes of a quota are counted by, if they are bounded.
pub(super) fn period_of(spec: &QuotaSpec) -> Option<By> {
    spec.bytes_max?;
    Some(match spec.bytes_period {
        Period::Day => By::Day,
        Period::Month => By::Month,
    })
}

/// True if so many bytes as `used` tells of a period are all that `spec` allows.
pub(super) fn is_used_up(spec: &QuotaSpec, used: impl FnOnce(By) -> u64) -> bool {
    let Some((by, max)) = period_of(spec).zip(spec.bytes_max) else { return false };
    used(by) >= max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quotas::tests::used;
    use dataplane::control::{QuotaPlace, StreamQuotas};
    use std::time::Duration;

    fn enter(meter: &Meter) -> Option<QuotaPlace> {
        StreamQuotas::from(Arc::clone(&meter.quota)).enter()
    }

    /// A look at what has used so many bytes.
    fn look(meter: &mut Meter, bytes: u64) -> Vec<Finding> {
        let load = meter.load();
        meter.look(bytes, load)
    }

    fn words(findings: &[Finding]) -> Vec<&'static str> {
        findings.iter().map(|finding| finding.over.quota).collect()
    }

    #[test]
    fn bytes_that_are_used_up_are_told_once_until_the_next_period() {
        let now = Instant::now();
        let spec = QuotaSpec {
            bytes_max: Some(1_000),
            bytes_over: BytesOver::Close,
            ..QuotaSpec::default()
        };
        let mut meter = Meter::new(spec, 999, now);
        assert_eq!(meter.by(), Some(By::Month));
        assert!(look(&mut meter, 999).is_empty() && enter(&meter).is_some());
        let found = look(&mut meter, 1_000);
        assert_eq!(found[0].over, Over { quota: "bytes_max", max: 1_000, used: 1_000 });
        assert!(found[0].closes_players && !found[0].closes_publisher);
        assert!(enter(&meter).is_none() && meter.spent.is_some());
        assert_eq!(meter.closes_players(), Some(found[0].over));
        assert!(look(&mut meter, 1_001).is_empty(), "it is told once");
        // The next month begins: everybody may come again.
        assert!(look(&mut meter, 0).is_empty());
        assert!(enter(&meter).is_some() && meter.spent.is_none());
        assert_eq!(words(&look(&mut meter, 1_000)), ["bytes_max"]);
        // What was used up before it was metered is so from the first moment on, and told of.
        let mut meter = Meter::new(spec, 5_000, now);
        assert!(enter(&meter).is_none() && meter.spent.is_some());
        assert_eq!(words(&look(&mut meter, 5_000)), ["bytes_max"]);
        assert!(is_used_up(&spec, |_| 1_000) && !is_used_up(&spec, |_| 999));
        assert!(!is_used_up(&QuotaSpec::default(), |_| u64::MAX));
        let daily = QuotaSpec { bytes_period: Period::Day, ..spec };
        assert!(is_used_up(&daily, |by| if by == By::Day { 1_000 } else { 0 }));
    }

    #[test]
    fn players_that_find_no_place_are_told_of_once_while_it_is_full() {
        let now = Instant::now();
        let spec = QuotaSpec { players_max: Some(1), ..QuotaSpec::default() };
        let mut meter = Meter::new(spec, 0, now);
        let look = |meter: &mut Meter| words(&look(meter, 0));
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
        meter.set(QuotaSpec { players_max: Some(2), ..spec });
        assert!(look(&mut meter).is_empty());
        assert!(enter(&meter).is_some());
    }

    #[test]
    fn a_crowd_that_comes_before_a_stream_is_measured_is_bounded() {
        let began = Instant::now();
        let spec = QuotaSpec { egress_bps_max: Some(20_000_000), ..QuotaSpec::default() };
        let mut meter = Meter::new(spec, 0, began);
        let crowd = |meter: &Meter| (0..1_000).map_while(|_| enter(meter)).collect::<Vec<_>>();
        let first = crowd(&meter);
        assert_eq!(first.len(), 10, "each counts two million bits a second");
        // It carries a million: as many more are let in once that is known.
        let mut second = 0;
        let mut pass = |meter: &mut Meter, seconds: u64| {
            for _ in 0..seconds {
                second += 1;
                meter.add(&used(125_000, 0), began + Duration::from_secs(second));
                meter.window.look(began + Duration::from_secs(second));
                look(meter, 0);
            }
        };
        pass(&mut meter, 3);
        assert!(crowd(&meter).is_empty());
        pass(&mut meter, 10);
        let more = crowd(&meter);
        assert_eq!(more.len(), 10);
        // What is published next may be more, whatever the one before was.
        drop((first, more));
        meter.window.begin_publication();
        look(&mut meter, 0);
        assert_eq!(crowd(&meter).len(), 10);
    }

    #[test]
    fn as_many_play_as_the_bits_suffice_for() {
        let began = Instant::now();
        let spec = QuotaSpec { egress_bps_max: Some(80_000), ..QuotaSpec::default() };
        let mut meter = Meter::new(spec, 0, began);
        let first = enter(&meter);
        assert!(first.is_some(), "one measures it");
        for second in 1..15 {
            meter.add(&used(1_000, 1_000), began);
            meter.window.look(began + Duration::from_secs(second));
        }
        assert!(look(&mut meter, 0).is_empty());
        let more: Vec<_> = (0..100).map_while(|_| enter(&meter)).collect();
        assert_eq!(more.len(), 9, "ten of 8,000 bits a second are 80,000");
        assert_eq!(words(&look(&mut meter, 0)), ["egress_bps_max"]);
        assert!(enter(&meter).is_none(), "they are sent little yet, and count");
    }
}
