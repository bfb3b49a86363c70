//! Meters: those of all streams and tenants that have quotas and are used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{Quota, Role, StreamQuotas, UsageRow};
use dataplane::ids::StreamName;

use super::bar::Bar;
use super::load::Load;
use super::meter::{Finding, Meter, Over, is_used_up, period_of};
use crate::registry::{QuotaSpec, TenantName};
use crate::usage::{By, Whose};

/// Bytes of one meter, with its quota, its name and its place.
pub const METER_BYTES: u64 = 2_048;
/// What nobody used for so long makes room for others.
const UNUSED_FOR: Duration = Duration::from_secs(60);
/// So many of a kind make room at one look at most.
const LET_GO_MAX: usize = 256;

/// Streams with quotas at most, of a node of so many, and as many tenants; more have none until
/// others are used no longer. Those that nobody publishes have a half.
#[must_use]
pub const fn meters_max(streams_max: u64) -> usize {
    2 * streams_max as usize
}

/// The meters. See the module.
#[derive(Debug)]
pub struct Meters {
    streams: HashMap<StreamName, StreamMeter>,
    tenants: HashMap<TenantName, Meter>,
    max: usize,
    used: Used,
}

/// Tells how many bytes of a day or a month are used.
#[derive(Clone)]
pub struct Used(Arc<Bytes>);

/// Bytes of somebody's day or month.
type Bytes = dyn Fn(&Whose, By) -> u64 + Send + Sync;

impl Used {
    /// By this.
    pub fn by(used: impl Fn(&Whose, By) -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(used))
    }

    /// True if so much of `whose` is used as `spec` allows.
    #[must_use]
    pub fn is_up(&self, whose: &Whose, spec: &QuotaSpec) -> bool {
        is_used_up(spec, |by| (self.0)(whose, by))
    }

    fn bytes(&self, whose: &Whose, by: Option<By>) -> u64 {
        by.map_or(0, |by| (self.0)(whose, by))
    }
}

impl std::fmt::Debug for Used {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Used")
    }
}

#[derive(Debug)]
struct StreamMeter {
    meter: Meter,
    /// Whose quota its players count in, too.
    tenant: Option<(TenantName, Arc<Quota>)>,
    /// Nobody looked yet whether its tenant may have players.
    joined: bool,
    bar: Bar,
}

/// What may be used of a stream.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Of it alone.
    pub own: Option<QuotaSpec>,
    /// Whose it is, and what may be used of all streams of that tenant.
    pub tenant: Option<(TenantName, Option<QuotaSpec>)>,
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
    /// Room for so many streams, and as many tenants, of which `used` tells what they used.
    #[must_use]
    pub fn new(max: usize, used: Used) -> Self {
        Self { streams: HashMap::new(), tenants: HashMap::new(), max, used }
    }

    /// Tells what is used.
    #[must_use]
    pub const fn used(&self) -> &Used {
        &self.used
    }

    /// What holds for `stream` now; in which quotas shards are to count its players, if those are
    /// others than they were.
    pub fn hold(
        &mut self,
        stream: &StreamName,
        Bounds { own, tenant }: Bounds,
        now: Instant,
    ) -> Option<StreamQuotas> {
        let tenant = tenant.and_then(|(name, spec)| self.hold_tenant(name, spec, now));
        if let Some(known) = self.streams.get_mut(stream) {
            // Who plays stays counted, whatever becomes of the quota.
            known.meter.set(own.unwrap_or_default());
            let same = match (&known.tenant, &tenant) {
                (Some((_, known)), Some((_, quota))) => Arc::ptr_eq(known, quota),
                (known, tenant) => known.is_none() && tenant.is_none(),
            };
            if same {
                return None;
            }
            (known.joined, known.tenant) = (tenant.is_some(), tenant);
            return Some(known.quotas());
        }
        let bounded = own.is_some() || tenant.is_some();
        if !bounded || self.streams.len() >= self.max {
            return None;
        }
        let spec = own.unwrap_or_default();
        let bytes = self.used.bytes(&Whose::Stream(stream.clone()), period_of(&spec));
        let meter = Meter::new(spec, bytes, now);
        let joined = tenant.is_some();
        let known = StreamMeter { meter, tenant, joined, bar: Bar::default() };
        let quotas = known.quotas();
        self.streams.insert(stream.clone(), known);
        Some(quotas)
    }

    /// In which quotas shards are to count the players of `stream`; `None` if it has no meter.
    pub fn quotas(&self, stream: &StreamName) -> Option<StreamQuotas> {
        self.streams.get(stream).map(StreamMeter::quotas)
    }

    /// The quota of a tenant, if it has or had one.
    fn hold_tenant(
        &mut self,
        name: TenantName,
        spec: Option<QuotaSpec>,
        now: Instant,
    ) -> Option<(TenantName, Arc<Quota>)> {
        if let Some(meter) = self.tenants.get_mut(&name) {
            meter.set(spec.unwrap_or_default());
            return Some((name, Arc::clone(&meter.quota)));
        }
        let spec = spec?;
        if self.tenants.len() >= self.max {
            return None;
        }
        let bytes = self.used.bytes(&Whose::Tenant(name.clone()), period_of(&spec));
        let meter = Meter::new(spec, bytes, now);
        let quota = Arc::clone(&meter.quota);
        self.tenants.insert(name.clone(), meter);
        Some((name, quota))
    }

    /// A publication of `stream` begins.
    pub fn published(&mut self, stream: &StreamName) {
        if let Some(known) = self.streams.get_mut(stream) {
            known.meter.window.begin_publication();
        }
    }

    /// True if nobody may publish `stream` now: its publisher sent too much a moment ago.
    #[must_use]
    pub fn bars(&self, stream: &StreamName, now: Instant) -> bool {
        self.streams.get(stream).is_some_and(|known| known.bar.holds(now))
    }

    /// So much was used of `stream`.
    pub fn add(&mut self, stream: &StreamName, row: &UsageRow, now: Instant) {
        let Some(known) = self.streams.get_mut(stream) else { return };
        let StreamMeter { meter, tenant, bar, .. } = known;
        // What a publisher sent until it heard that it sent too much is nobody else's fault.
        let publish_bytes_in = if bar.holds(now) { 0 } else { row.publish_bytes_in };
        let row = UsageRow { publish_bytes_in, ..row.clone() };
        meter.add(&row, now);
        if let Some((name, _)) = tenant
            && let Some(meter) = self.tenants.get_mut(name)
        {
            meter.add(&row, now);
        }
    }

    /// What is used up since the last look.
    pub fn look(&mut self, now: Instant) -> Vec<Exceeded> {
        let mut loads = HashMap::<TenantName, Load>::new();
        for StreamMeter { meter, tenant, .. } in self.streams.values_mut() {
            meter.window.look(now);
            if let Some((name, _)) = tenant {
                let load = loads.entry(name.clone()).or_default();
                *load = load.and(meter.load());
            }
        }
        let mut exceeded = self.look_at_tenants(&loads, now);
        for (stream, StreamMeter { meter, bar, .. }) in &mut self.streams {
            let bytes = self.used.bytes(&Whose::Stream(stream.clone()), meter.by());
            for finding in meter.look(bytes, meter.load()) {
                let Finding { over, closes_publisher, closes_players } = finding;
                if closes_publisher {
                    meter.window.forget_publication();
                    bar.strike(now);
                }
                let roles = [(Role::Publish, closes_publisher), (Role::Play, closes_players)];
                let roles = roles.into_iter().filter(|&(_, closes)| closes);
                let closes = roles.map(|(role, _)| (stream.clone(), role)).collect();
                let stream = Some(stream.clone());
                exceeded.push(Exceeded { stream, tenant: None, over, closes });
            }
        }
        exceeded
    }

    fn look_at_tenants(
        &mut self,
        loads: &HashMap<TenantName, Load>,
        now: Instant,
    ) -> Vec<Exceeded> {
        let mut found = Vec::new();
        for (name, meter) in &mut self.tenants {
            meter.window.look(now);
            let load = loads.get(name).copied().unwrap_or_default();
            let bytes = self.used.bytes(&Whose::Tenant(name.clone()), meter.by());
            found
                .extend(meter.look(bytes, load).into_iter().map(|finding| (name.clone(), finding)));
        }
        let mut exceeded = Vec::new();
        for (tenant, finding) in found {
            let closes = self.closes(&tenant, finding, now);
            let (stream, tenant, over) = (None, Some(tenant), finding.over);
            exceeded.push(Exceeded { stream, tenant, over, closes });
        }
        // Who played a stream before it was the tenant's is closed as others were.
        for (stream, known) in &mut self.streams {
            let Some((name, _)) = known.tenant.as_ref().filter(|_| known.joined) else { continue };
            known.joined = false;
            let spent = self.tenants.get(name).and_then(Meter::closes_players);
            let told = |e: &Exceeded| e.closes.contains(&(stream.clone(), Role::Play));
            if let Some(over) = spent.filter(|_| !exceeded.iter().any(told)) {
                let (tenant, closes) = (Some(name.clone()), vec![(stream.clone(), Role::Play)]);
                exceeded.push(Exceeded { stream: Some(stream.clone()), tenant, over, closes });
            }
        }
        exceeded
    }

    /// True if those that nobody uses are let go: then names that are no streams get none.
    #[must_use]
    pub fn are_many(&self) -> bool {
        self.streams.len() > self.max / 2
    }

    /// Lets go of some meters that nobody used for long, if there are many: their streams, whose
    /// players count in no quota any more.
    pub fn let_go(&mut self, now: Instant) -> Vec<StreamName> {
        if self.tenants.len() > self.max / 2 {
            let gone = self.tenants.extract_if(|_, meter| is_unused(meter, now));
            gone.take(LET_GO_MAX).for_each(drop);
        }
        if !self.are_many() {
            return Vec::new();
        }
        let gone = self
            .streams
            .extract_if(|_, known| is_unused(&known.meter, now) && !known.bar.is_remembered(now));
        gone.take(LET_GO_MAX).map(|(stream, _)| stream).collect()
    }

    /// Who is closed for a quota of a tenant: the players of all its streams; of those who publish
    /// the one who sent most.
    fn closes(
        &mut self,
        tenant: &TenantName,
        finding: Finding,
        now: Instant,
    ) -> Vec<(StreamName, Role)> {
        let mut closes = Vec::new();
        let streams = self.streams.iter_mut().filter(|(_, known)| known.is_of(tenant));
        if finding.closes_publisher
            && let Some((stream, most)) =
                streams.max_by_key(|(_, known)| known.meter.window.published())
        {
            closes.push((stream.clone(), Role::Publish));
            // What the others send goes on, and is measured on.
            if let Some(meter) = self.tenants.get_mut(tenant) {
                meter.window.forget(&most.meter.window);
            }
            most.meter.window.forget_publication();
            most.bar.strike(now);
        }
        if finding.closes_players {
            let streams = self.streams.iter().filter(|(_, known)| known.is_of(tenant));
            closes.extend(streams.map(|(stream, _)| (stream.clone(), Role::Play)));
        }
        closes
    }
}

fn is_unused(meter: &Meter, now: Instant) -> bool {
    let idle = now.saturating_duration_since(meter.used_at) >= UNUSED_FOR;
    idle && meter.quota.players() == 0
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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

    /// Room in tests.
    const MAX: usize = 1_024;

    /// Nothing was used.
    fn meters() -> Meters {
        Meters::new(MAX, Used::by(|_, _| 0))
    }

    /// What a test says was used.
    #[derive(Clone, Default)]
    struct Counted(Arc<Mutex<Vec<(Whose, By, u64)>>>);

    impl Counted {
        fn used(&self) -> Used {
            let counted = self.clone();
            Used::by(move |whose, by| {
                let counted = counted.0.lock().unwrap();
                let its = counted.iter().filter(|(w, b, _)| (w, *b) == (whose, by));
                its.map(|&(_, _, bytes)| bytes).next_back().unwrap_or(0)
            })
        }

        fn set(&self, whose: Whose, by: By, bytes: u64) {
            self.0.lock().unwrap().push((whose, by, bytes));
        }
    }

    /// A table that has just grown has two places for each.
    #[test]
    fn a_meter_takes_no_more_than_is_said() {
        let bytes = 2 * size_of::<(StreamName, StreamMeter)>() + size_of::<Quota>();
        assert!(bytes as u64 + 64 + 16 <= METER_BYTES, "{bytes}");
    }

    #[test]
    fn only_streams_with_quotas_have_meters_and_those_are_bounded() {
        let now = Instant::now();
        let mut meters = meters();
        assert!(meters.hold(&name("none"), Bounds::default(), now).is_none());
        assert!(meters.hold(&name("none"), of_acme(None), now).is_none());
        let first = meters.hold(&name("s0"), own(SPEC), now).unwrap();
        assert!(meters.hold(&name("s0"), own(SPEC), now).is_none(), "shards know it");
        assert!(meters.quotas(&name("s0")).is_some() && meters.quotas(&name("none")).is_none());
        let place = first.enter();
        for n in 1..MAX {
            assert!(meters.hold(&name(&format!("s{n}")), own(SPEC), now).is_some());
        }
        assert!(meters.hold(&name("more"), own(SPEC), now).is_none());
        assert!(meters.let_go(now).is_empty(), "all were used just now");
        // Those that nobody uses go, some at a time, until there are not many.
        let later = now + UNUSED_FOR;
        let mut gone = Vec::new();
        loop {
            let unused = meters.let_go(later);
            assert!(unused.len() <= LET_GO_MAX);
            gone.extend(unused.iter().cloned());
            if unused.is_empty() {
                break;
            }
        }
        assert!((MAX / 2 - 1..MAX / 2 + LET_GO_MAX).contains(&gone.len()));
        assert!(!gone.contains(&name("s0")), "it is played");
        assert!(meters.hold(&name("more"), own(SPEC), later).is_some());
        drop(place);
        // A quota that is taken away bounds nobody any more.
        assert!(meters.hold(&name("s0"), Bounds::default(), later).is_none());
        assert!(meters.look(now).is_empty());
    }

    #[test]
    fn what_was_used_before_anybody_metered_it_counts_at_once() {
        let now = Instant::now();
        let counted = Counted::default();
        let mut meters = Meters::new(MAX, counted.used());
        counted.set(Whose::Stream(name("a")), By::Month, 99);
        let quotas = meters.hold(&name("a"), own(SPEC), now).unwrap();
        assert!(meters.look(now).is_empty() && !quotas.is_spent());
        assert!(!meters.used().is_up(&Whose::Stream(name("a")), &SPEC));
        counted.set(Whose::Stream(name("a")), By::Month, 100);
        assert!(meters.used().is_up(&Whose::Stream(name("a")), &SPEC), "before any look");
        let exceeded = meters.look(now);
        assert_eq!((exceeded.len(), exceeded[0].over.used), (1, 100));
        assert!(quotas.is_spent() && quotas.enter().is_none());
        // One that comes when all is used up finds no place, not even before the first look.
        counted.set(Whose::Stream(name("b")), By::Month, 500);
        let quotas = meters.hold(&name("b"), own(SPEC), now).unwrap();
        assert!(quotas.is_spent() && quotas.enter().is_none());
        let daily = QuotaSpec { bytes_period: Period::Day, ..SPEC };
        let quotas = meters.hold(&name("c"), own(daily), now).unwrap();
        assert!(!quotas.is_spent());
        counted.set(Whose::Stream(name("c")), By::Day, 100);
        assert_eq!(meters.look(now).len(), 2, "that of b is told of, too");
        assert!(quotas.is_spent());
        counted.set(Whose::Stream(name("c")), By::Day, 0);
        assert!(meters.look(now).is_empty() && !quotas.is_spent(), "the next day begins");
    }

    #[test]
    fn streams_of_a_tenant_use_up_what_it_may() {
        let now = Instant::now();
        let counted = Counted::default();
        let spend = |bytes| counted.set(Whose::Tenant(acme()), By::Month, bytes);
        let spec = QuotaSpec { players_max: Some(2), bytes_over: BytesOver::Close, ..SPEC };
        let mut meters = Meters::new(MAX, counted.used());
        let one = meters.hold(&name("one"), of_acme(Some(spec)), now).unwrap();
        let bounds = Bounds { own: Some(SPEC), ..of_acme(Some(spec)) };
        let two = meters.hold(&name("two"), bounds.clone(), now).unwrap();
        meters.hold(&name("other"), own(QuotaSpec { bytes_max: None, ..SPEC }), now);
        let places = (two.enter().unwrap(), one.enter().unwrap());
        assert!(one.enter().is_none() && two.enter().is_none());
        drop(places);
        spend(99);
        // Two players too many were refused before.
        let told = |found: &[Exceeded]| -> Vec<_> { found.iter().map(|e| e.over.quota).collect() };
        assert_eq!(told(&meters.look(now)), [""; 0]);
        spend(100);
        let exceeded = meters.look(now);
        assert_eq!(told(&exceeded), ["bytes_max"]);
        let Exceeded { stream, tenant, over, closes } = &exceeded[0];
        assert_eq!((stream, tenant.as_ref(), over.used), (&None, Some(&acme()), 100));
        let mut closes: Vec<_> = closes.iter().map(|(s, role)| (s.as_str(), *role)).collect();
        closes.sort_unstable_by_key(|(stream, _)| *stream);
        assert_eq!(closes, [("one", Role::Play), ("two", Role::Play)]);
        assert!(one.enter().is_none() && one.is_spent() && two.is_spent());
        assert!(meters.used().is_up(&Whose::Tenant(acme()), &spec));
        // Who plays a stream that becomes the tenant's is closed as others were, once.
        meters.hold(&name("other"), of_acme(Some(spec)), now);
        let exceeded = meters.look(now);
        let Exceeded { stream, tenant, closes, .. } = &exceeded[0];
        assert_eq!((stream, tenant.as_ref()), (&Some(name("other")), Some(&acme())));
        assert_eq!(closes, &[(name("other"), Role::Play)]);
        assert!(meters.look(now).is_empty());
        // A stream that gets another tenant counts there from now on.
        let moved = meters.hold(&name("one"), Bounds::default(), now).unwrap();
        assert!(moved.enter().is_some() && !moved.is_spent());
        assert!(meters.hold(&name("two"), bounds, now).is_none(), "shards know it");
    }

    /// Looks each second at streams that are sent, and published, so many bytes a second; who was
    /// closed at which second.
    fn published(
        meters: &mut Meters,
        began: Instant,
        seconds: std::ops::Range<u64>,
        streams: &[(&str, u64)],
    ) -> Vec<(u64, Exceeded)> {
        let mut exceeded = Vec::new();
        for second in seconds {
            let now = began + Duration::from_secs(second);
            for &(stream, bytes) in streams {
                meters.add(&name(stream), &crate::quotas::tests::used(bytes, 0), now);
            }
            exceeded.extend(meters.look(now).into_iter().map(|e| (second, e)));
        }
        exceeded
    }

    #[test]
    fn a_publisher_that_sends_too_much_for_long_is_closed_and_barred_or_told_of() {
        let began = Instant::now();
        for publish_over in [PublishOver::Close, PublishOver::Warn] {
            let spec =
                QuotaSpec { publish_bps_max: Some(8_000), publish_over, ..QuotaSpec::default() };
            let mut meters = meters();
            meters.hold(&name("a"), own(spec), began);
            // Its players ask for much all the while.
            let mut players = crate::quotas::tests::used(0, 0);
            players.used.bytes_in = 1_000_000;
            let mut told = Vec::new();
            for second in 1..60 {
                meters.add(&name("a"), &players, began);
                // Two kilobytes a second, from the 40th on half of one.
                let bytes = if second < 40 { 2_000 } else { 500 };
                let found = published(&mut meters, began, second..second + 1, &[("a", bytes)]);
                told.extend(found.into_iter().map(|(second, found)| {
                    assert_eq!(found.over.quota, "publish_bps_max");
                    (second, found.closes.len())
                }));
            }
            let at = |seconds| began + Duration::from_secs(seconds);
            let refuses = |seconds| meters.bars(&name("a"), at(seconds));
            if publish_over == PublishOver::Close {
                // It came again when it might, after ten seconds, and sent as much.
                assert_eq!(told, [(10, 1), (25, 1)]);
                assert!(refuses(44) && !refuses(45));
            } else {
                assert_eq!(told, [(10, 0)]);
                assert!(!refuses(11));
            }
        }
    }

    #[test]
    fn of_those_who_publish_too_much_together_the_greatest_is_closed() {
        let began = Instant::now();
        let spec = QuotaSpec { publish_bps_max: Some(20_000), ..QuotaSpec::default() };
        let mut meters = meters();
        for stream in ["a", "b", "c"] {
            meters.hold(&name(stream), of_acme(Some(spec)), began);
        }
        let streams = [("a", 500), ("b", 2_000), ("c", 1_000)];
        let exceeded = published(&mut meters, began, 1..21, &streams);
        assert_eq!(exceeded.len(), 1, "the others go on: {exceeded:?}");
        let (second, Exceeded { over, closes, .. }) = &exceeded[0];
        assert_eq!((*second, over.quota), (10, "publish_bps_max"));
        assert_eq!(closes, &[(name("b"), Role::Publish)]);
        // Another name of the tenant is closed as soon as it is too much: nobody waits ten seconds.
        meters.hold(&name("d"), of_acme(Some(spec)), began);
        let streams = [("a", 500), ("c", 1_000), ("d", 20_000)];
        let exceeded = published(&mut meters, began, 21..24, &streams);
        assert_eq!(exceeded[0].1.closes, [(name("d"), Role::Publish)]);
        assert_eq!(exceeded.len(), 1, "{exceeded:?}");
    }

    #[test]
    fn a_tenants_bits_are_filled_by_the_players_of_all_its_streams() {
        let began = Instant::now();
        let spec = QuotaSpec { egress_bps_max: Some(1_000_000_000), ..QuotaSpec::default() };
        let mut meters = meters();
        let names: Vec<_> = (0..100).map(|n| format!("s{n}")).collect();
        let hold = |meters: &mut Meters, stream: &String| {
            meters.hold(&name(stream), of_acme(Some(spec)), began).unwrap()
        };
        let quotas: Vec<_> = names.iter().map(|stream| hold(&mut meters, stream)).collect();
        let streams: Vec<_> = names.iter().map(|stream| (stream.as_str(), 500_000)).collect();
        assert!(published(&mut meters, began, 1..12, &streams).is_empty());
        let places: Vec<_> = (0..1_000).map_while(|n| quotas[n % 100].enter()).collect();
        assert_eq!(places.len(), 250, "of four million bits a second each");
    }
}
