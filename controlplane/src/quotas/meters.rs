//! Meters: those of all streams and tenants that have quotas and are used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{Quota, Role, StreamQuotas, Usage};
use dataplane::ids::StreamName;

use super::meter::{Finding, Meter, Over};
use crate::registry::{QuotaSpec, TenantName};
use crate::usage::{Hour, Totals};

/// Streams, and tenants, with quotas at most; more have none until others are used no longer.
pub const METERS_MAX: usize = 16_384;
/// What nobody used for so long makes room for others.
const UNUSED_FOR: Duration = Duration::from_secs(60);

/// The meters. See the module.
#[derive(Debug, Default)]
pub struct Meters {
    streams: HashMap<StreamName, StreamMeter>,
    tenants: HashMap<TenantName, Meter>,
}

#[derive(Debug)]
struct StreamMeter {
    meter: Meter,
    /// Whose quota its players count in, too.
    tenant: Option<(TenantName, Arc<Quota>)>,
}

/// What may be used of a stream.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Of it alone.
    pub own: Option<QuotaSpec>,
    /// Whose it is, and what may be used of all streams of that tenant.
    pub tenant: Option<(TenantName, Option<QuotaSpec>)>,
}

/// What shards are to be told of quotas.
#[derive(Debug, Default)]
pub struct Told {
    /// Players of the stream count in these from now on.
    pub counts: Option<StreamQuotas>,
    /// Those of these streams count in none any more.
    pub over: Vec<StreamName>,
}

/// A quota that is used up, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The stream; `None` of a quota of a tenant.
    pub stream: Option<StreamName>,
    /// The tenant of a quota of a tenant.
    pub tenant: Option<TenantName>,
    /// Which quota.
    pub over: Over,
    /// Who is closed for it.
    pub closes: Vec<(StreamName, Role)>,
}

impl StreamMeter {
    fn quotas(&self) -> StreamQuotas {
        let tenant = self.tenant.as_ref().map(|(_, quota)| Arc::clone(quota));
        StreamQuotas { own: Some(Arc::clone(&self.meter.quota)), tenant }
    }

    fn is_of(&self, tenant: &TenantName) -> bool {
        self.tenant.as_ref().is_some_and(|(own, _)| own == tenant)
    }
}

impl Meters {
    /// What holds for `stream` now; what shards are to be told of that.
    pub fn hold(
        &mut self,
        stream: &StreamName,
        Bounds { own, tenant }: Bounds,
        at: (Hour, Instant),
    ) -> Told {
        let mut told = Told::default();
        let tenant = tenant.and_then(|(name, spec)| self.hold_tenant(name, spec, at));
        let (hour, now) = at;
        match self.streams.get_mut(stream) {
            // Who plays stays counted, whatever becomes of the quota.
            Some(known) => {
                known.meter.set(own.unwrap_or_default(), hour);
                let same = match (&known.tenant, &tenant) {
                    (Some((_, known)), Some((_, quota))) => Arc::ptr_eq(known, quota),
                    (known, tenant) => known.is_none() && tenant.is_none(),
                };
                if !same {
                    known.tenant = tenant;
                    told.counts = Some(known.quotas());
                }
            }
            None if own.is_some() || tenant.is_some() => {
                if self.streams.len() >= METERS_MAX {
                    let gone = self.streams.extract_if(|_, known| is_unused(&known.meter, now));
                    told.over = gone.map(|(stream, _)| stream).collect();
                }
                if self.streams.len() < METERS_MAX {
                    let meter = Meter::new(own.unwrap_or_default(), hour, now);
                    let known = StreamMeter { meter, tenant };
                    told.counts = Some(known.quotas());
                    self.streams.insert(stream.clone(), known);
                }
            }
            None => {}
        }
        told
    }

    /// The quota of a tenant, if it has or had one.
    fn hold_tenant(
        &mut self,
        name: TenantName,
        spec: Option<QuotaSpec>,
        (hour, now): (Hour, Instant),
    ) -> Option<(TenantName, Arc<Quota>)> {
        if let Some(meter) = self.tenants.get_mut(&name) {
            meter.set(spec.unwrap_or_default(), hour);
            return Some((name, Arc::clone(&meter.quota)));
        }
        let spec = spec?;
        if self.tenants.len() >= METERS_MAX {
            self.tenants.retain(|_, meter| !is_unused(meter, now));
        }
        if self.tenants.len() >= METERS_MAX {
            return None;
        }
        let meter = Meter::new(spec, hour, now);
        let quota = Arc::clone(&meter.quota);
        self.tenants.insert(name.clone(), meter);
        Some((name, quota))
    }

    /// So much was used of `stream`.
    pub fn add(&mut self, stream: &StreamName, used: Usage, now: Instant) {
        let Some(StreamMeter { meter, tenant }) = self.streams.get_mut(stream) else { return };
        meter.add(used, now);
        if let Some((name, _)) = tenant
            && let Some(meter) = self.tenants.get_mut(name)
        {
            meter.add(used, now);
        }
    }

    /// What is used up since the last look.
    pub fn look(&mut self, hour: Hour, now: Instant) -> Vec<Exceeded> {
        let mut exceeded = Vec::new();
        // Before the streams, whose windows begin anew when their publishers are closed.
        let most: Vec<_> =
            self.tenants.iter_mut().map(|(n, m)| (n.clone(), m.look(hour, now))).collect();
        for (tenant, findings) in most {
            for finding in findings {
                let closes = self.closes(&tenant, finding);
                let (stream, tenant, over) = (None, Some(tenant.clone()), finding.over);
                exceeded.push(Exceeded { stream, tenant, over, closes });
            }
        }
        for (stream, StreamMeter { meter, .. }) in &mut self.streams {
            for finding in meter.look(hour, now) {
                let Finding { over, closes_publisher, closes_players } = finding;
                let roles = [(Role::Publish, closes_publisher), (Role::Play, closes_players)];
                let roles = roles.into_iter().filter(|&(_, closes)| closes);
                let closes = roles.map(|(role, _)| (stream.clone(), role)).collect();
                let stream = Some(stream.clone());
                exceeded.push(Exceeded { stream, tenant: None, over, closes });
            }
        }
        exceeded
    }

    /// Who is closed for a quota of a tenant: the players of all its streams; of those who publish
    /// the one who sent most.
    fn closes(&self, tenant: &TenantName, finding: Finding) -> Vec<(StreamName, Role)> {
        let streams = || self.streams.iter().filter(|(_, known)| known.is_of(tenant));
        let mut closes = Vec::new();
        if finding.closes_publisher {
            let most = streams().max_by_key(|(_, known)| known.meter.published());
            closes.extend(most.map(|(stream, _)| (stream.clone(), Role::Publish)));
        }
        if finding.closes_players {
            closes.extend(streams().map(|(stream, _)| (stream.clone(), Role::Play)));
        }
        closes
    }

    /// Of whom it is to be asked what was used in their period, from which hour on. What is added
    /// from now on is added to the answer.
    pub fn asks(&mut self) -> Totals {
        let mut asks = Totals::default();
        for (stream, StreamMeter { meter, .. }) in &mut self.streams {
            asks.streams.extend(meter.ask().map(|from| (stream.clone(), (from, 0))));
        }
        for (tenant, meter) in &mut self.tenants {
            asks.tenants.extend(meter.ask().map(|from| (tenant.clone(), (from, 0))));
        }
        asks
    }

    /// So many bytes were used from that hour on until it was asked; of the others that were asked
    /// about it is not known.
    pub fn known(&mut self, found: &Totals) {
        for (stream, StreamMeter { meter, .. }) in &mut self.streams {
            meter.answered(found.streams.get(stream).copied());
        }
        for (tenant, meter) in &mut self.tenants {
            meter.answered(found.tenants.get(tenant).copied());
        }
    }
}

fn is_unused(meter: &Meter, now: Instant) -> bool {
    let idle = now.saturating_duration_since(meter.used_at) >= UNUSED_FOR;
    idle && meter.quota.players() == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{BytesOver, Period, PublishOver};

    const SPEC: QuotaSpec = QuotaSpec {
        players_max: Some(1),
        publish_bps_max: None,
        publish_over: PublishOver::Close,
        egress_bps_max: None,
        bytes_max: Some(100),
        bytes_period: Period::Month,
        bytes_over: BytesOver::Refuse,
    };

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn acme() -> TenantName {
        TenantName::parse("acme").unwrap()
    }

    fn own(spec: QuotaSpec) -> Bounds {
        Bounds { own: Some(spec), tenant: None }
    }

    /// Of a stream without a quota of its own.
    fn of_acme(spec: Option<QuotaSpec>) -> Bounds {
        Bounds { own: None, tenant: Some((acme(), spec)) }
    }

    #[test]
    fn only_streams_with_quotas_have_meters_and_those_are_bounded() {
        let now = Instant::now();
        let at = (Hour(9), now);
        let mut meters = Meters::default();
        assert!(meters.hold(&name("none"), Bounds::default(), at).counts.is_none());
        assert!(meters.hold(&name("none"), of_acme(None), at).counts.is_none());
        let mut first = meters.hold(&name("s0"), own(SPEC), at).counts;
        assert!(meters.hold(&name("s0"), own(SPEC), at).counts.is_none(), "shards know it");
        let place = first.take().unwrap().enter();
        for n in 1..METERS_MAX {
            assert!(meters.hold(&name(&format!("s{n}")), own(SPEC), at).counts.is_some());
        }
        let more = meters.hold(&name("more"), own(SPEC), at);
        assert!(more.counts.is_none() && more.over.is_empty(), "all were used just now");
        let later = (Hour(9), now + UNUSED_FOR);
        let more = meters.hold(&name("more"), own(SPEC), later);
        assert_eq!((more.counts.is_some(), more.over.len()), (true, METERS_MAX - 1));
        assert!(!more.over.contains(&name("s0")), "it is played");
        drop(place);
        // A quota that is taken away bounds nobody any more.
        assert!(meters.hold(&name("s0"), Bounds::default(), later).counts.is_none());
        assert!(meters.look(Hour(9), now).is_empty());
        assert!(meters.asks().streams.contains_key(&name("more")));
    }

    #[test]
    fn what_was_used_before_is_added_once_whenever_it_is_known() {
        let now = Instant::now();
        let hour = Hour::parse("2026-01-05T05").unwrap();
        let used = |bytes_out| Usage { bytes_out, ..Usage::default() };
        let found = |bytes: u64| {
            let month = Hour::parse("2026-01-01").unwrap();
            Totals { streams: [(name("a"), (month, bytes))].into(), ..Totals::default() }
        };
        let mut meters = Meters::default();
        meters.hold(&name("a"), own(SPEC), (hour, now));
        meters.add(&name("a"), used(10), now);
        assert_eq!(meters.asks(), found(0));
        assert_eq!(meters.asks(), Totals::default(), "it was asked");
        // What comes meanwhile is not in the answer; the ten bytes are.
        meters.add(&name("a"), used(20), now);
        meters.known(&Totals::default());
        assert_eq!(meters.asks(), found(0), "nobody could tell, so it is asked again");
        meters.known(&found(60));
        assert!(meters.look(hour, now).is_empty());
        assert_eq!(meters.asks(), Totals::default());
        meters.add(&name("a"), used(40), now);
        let exceeded = meters.look(hour, now);
        assert_eq!((exceeded.len(), exceeded[0].over.used), (1, 100));
    }

    #[test]
    fn streams_of_a_tenant_use_up_what_it_may() {
        let now = Instant::now();
        let hour = Hour::parse("2026-01-05T05").unwrap();
        let used = |bytes_out| Usage { bytes_out, ..Usage::default() };
        let spec = QuotaSpec { players_max: Some(2), bytes_over: BytesOver::Close, ..SPEC };
        let mut meters = Meters::default();
        let one = meters.hold(&name("one"), of_acme(Some(spec)), (hour, now)).counts.unwrap();
        let bounds = Bounds { own: Some(SPEC), ..of_acme(Some(spec)) };
        let two = meters.hold(&name("two"), bounds.clone(), (hour, now)).counts.unwrap();
        meters.hold(&name("other"), own(QuotaSpec { bytes_max: None, ..SPEC }), (hour, now));
        let places = (two.enter().unwrap(), one.enter().unwrap());
        assert!(one.enter().is_none() && two.enter().is_none());
        drop(places);
        let asks = meters.asks();
        assert_eq!((asks.streams.len(), asks.tenants.len()), (1, 1));
        let before = asks.tenants.into_iter().map(|(tenant, (from, _))| (tenant, (from, 50)));
        let tenants = before.collect();
        meters.known(&Totals { tenants, streams: asks.streams });
        meters.add(&name("one"), used(30), now);
        meters.add(&name("two"), used(19), now);
        meters.add(&name("other"), used(1_000), now);
        // Two players too many were refused before.
        let told = |found: &[Exceeded]| -> Vec<_> { found.iter().map(|e| e.over.quota).collect() };
        assert_eq!(told(&meters.look(hour, now)), [""; 0]);
        meters.add(&name("one"), used(1), now);
        let exceeded = meters.look(hour, now);
        assert_eq!(told(&exceeded), ["bytes_max"]);
        let Exceeded { stream, tenant, over, closes } = &exceeded[0];
        assert_eq!((stream, tenant.as_ref(), over.used), (&None, Some(&acme()), 100));
        let mut closes: Vec<_> = closes.iter().map(|(s, role)| (s.as_str(), *role)).collect();
        closes.sort_unstable_by_key(|(stream, _)| *stream);
        assert_eq!(closes, [("one", Role::Play), ("two", Role::Play)]);
        assert!(one.enter().is_none() && one.is_spent() && two.is_spent());
        // A stream that gets another tenant counts there from now on.
        let moved = meters.hold(&name("one"), Bounds::default(), (hour, now)).counts.unwrap();
        assert!(moved.enter().is_some() && !moved.is_spent());
        assert!(meters.hold(&name("two"), bounds, (hour, now)).counts.is_none(), "shards know it");
    }

    #[test]
    fn of_those_who_publish_too_much_together_the_greatest_is_closed() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let spec = QuotaSpec { publish_bps_max: Some(20_000), ..QuotaSpec::default() };
        let mut meters = Meters::default();
        for stream in ["a", "b", "c"] {
            meters.hold(&name(stream), of_acme(Some(spec)), (Hour(9), began));
        }
        let mut exceeded = Vec::new();
        for second in 0..=10 {
            for (stream, bytes_in) in [("a", 500), ("b", 2_000), ("c", 1_000)] {
                let used = Usage { bytes_in, ..Usage::default() };
                meters.add(&name(stream), used, at(second));
            }
            exceeded.extend(meters.look(Hour(9), at(second)));
        }
        assert_eq!(exceeded.len(), 1, "{exceeded:?}");
        assert_eq!(exceeded[0].over.quota, "publish_bps_max");
        assert_eq!(exceeded[0].closes, [(name("b"), Role::Publish)]);
    }
}
