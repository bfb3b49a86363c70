//! Usage: shards are asked what was used, and each row is written down as its stream's tenant's.

use std::collections::HashMap;
use std::time::Instant;

use dataplane::control::{Command, StreamStatus, UsageBatch, UsageRow};
use dataplane::ids::StreamName;

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gathered::Gathered;
use super::quotas::Quotas;
use crate::auth::Gate;
use crate::registry::{Registry, TenantName};
use crate::usage::{Book, Collector};

impl<F: Fleet> Exchange<F> {
    /// Asks shards from now on what was used, and writes it into `book`, for so many streams.
    pub fn keep_usage(&mut self, book: Book, streams_max: u64, now: Instant) {
        self.quotas = Quotas::new(book.clone(), streams_max);
        book.show(self.registry.tenants_after(None).map(|item| item.name));
        self.usage = Some((Collector::new(self.shards().len(), now), book));
    }

    /// Where what was used is written, if it is.
    pub fn book(&self) -> Option<&Book> {
        self.usage.as_ref().map(|(_, book)| book)
    }

    pub(super) fn usage_due(&self) -> Option<Instant> {
        self.usage.as_ref().map(|(collector, _)| collector.due())
    }

    pub(super) fn tick_usage(&mut self, now: Instant) {
        let Some((collector, book)) = self.usage.as_mut().filter(|(c, _)| c.due() <= now) else {
            return;
        };
        book.show(self.registry.tenants_after(None).map(|item| item.name));
        for (shard, number) in collector.ask(now) {
            self.tell(shard, Command::Usage { number });
        }
        self.look_at_quotas(now);
    }

    /// A shard tells what was used. One that tells more than a batch holds is asked again at once.
    pub(super) fn used(&mut self, batch: &UsageBatch, now: Instant) {
        let Self { usage, registry, gate, .. } = self;
        let Some((collector, book)) = usage else { return };
        if !collector.take(batch) {
            return;
        }
        book.add(batch, |UsageRow { stream, .. }| tenant_of(gate, registry, stream.as_ref()?));
        for row in batch.rows.iter() {
            if let Some(stream) = &row.stream {
                self.meter(stream, row, now);
            }
        }
        if batch.more {
            self.tell(batch.shard, Command::Usage { number: batch.number + 1 });
        }
    }

    /// Whose streams are that are listed, where those said it who let their publishers in.
    pub(super) fn tenants_of(&self, gathered: &Gathered) -> HashMap<StreamName, TenantName> {
        let policies = self.gate.policies();
        let streams = gathered.snapshots.iter().flat_map(|shard| &shard.streams);
        let tenant = |stream: &StreamStatus| {
            let name = &stream.name;
            Some((name.clone(), policies.tenant_of(name)?.clone()))
        };
        streams.filter_map(tenant).collect()
    }

    /// Whose `stream` is.
    pub(super) fn tenant_of(&self, stream: &StreamName) -> Option<TenantName> {
        tenant_of(&self.gate, &self.registry, stream)
    }
}

/// Whoever let the publisher in knows better than what was declared before.
fn tenant_of(gate: &Gate, registry: &Registry, stream: &StreamName) -> Option<TenantName> {
    let granted = gate.policies().tenant_of(stream).cloned();
    granted.or_else(|| registry.resolve(stream)?.traits.tenant.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use dataplane::control::{
        AuthorizeRequest, CloseReason, Denial, Event, Intent, Protocol, Role, StreamPublisher,
        StreamQuotas, StreamStart, Ticket, Usage, Verdict,
    };
    use dataplane::ids::{SessionId, ShardId, StreamId};

    use super::super::tests::rig::{TwoShards, name};
    use super::*;
    use crate::auth::tests::{application, request};
    use crate::auth::{Mode, Rules};
    use crate::config::UsageSection;
    use crate::events::{Bus, RingLimits};
    use crate::outbound::scripted::{Application, Reply};
    use crate::registry::Change;
    use crate::store::Disk;
    use crate::usage::{Filter, Line, Span};

    /// The control plane, and what it says to shards.
    struct Bench {
        exchange: Exchange<TwoShards>,
        now: Instant,
    }

    impl Bench {
        fn new(rules: Rules) -> Self {
            let bus = Bus::new("edge-1".into(), RingLimits::default());
            let now = Instant::now();
            let mut exchange = Exchange::new(TwoShards::default(), rules, bus, now);
            let book = Book::new(Disk::default().store(), UsageSection::default(), 64);
            exchange.keep_usage(book, 64, now);
            Self { exchange, now }
        }

        fn declare(&mut self, stream: serde_json::Value) {
            let name = name("cam");
            self.exchange.registry.apply(Change::PutStream { name, value: stream }).unwrap();
        }

        fn hear(&mut self, shard: u16, event: Event) {
            self.exchange.fleet.events.push_back((ShardId(shard), event));
            self.exchange.pump(self.now);
        }

        fn asks(&mut self, intent: Intent, session: u64) {
            let ticket = Ticket { slot: 1, generation: 2, epoch: 3 };
            let request = request(intent, "cam", "");
            let request = AuthorizeRequest { session: SessionId(session), ..request };
            self.hear(1, Event::Authorize { ticket, request: Box::new(request) });
        }

        /// The next look at what was used.
        fn tick(&mut self) {
            let due = self.exchange.usage_due().unwrap();
            self.exchange.tick(due);
        }

        fn sent(&mut self) -> Vec<(ShardId, Command)> {
            std::mem::take(&mut self.exchange.fleet.sent)
        }

        /// What shards were asked of their use, as `shard:number`.
        fn asked(&mut self) -> Vec<String> {
            let number = |(shard, command): &(ShardId, Command)| match command {
                Command::Usage { number } => Some(format!("{}:{number}", shard.0)),
                _ => None,
            };
            self.sent().iter().filter_map(number).collect()
        }

        /// The quotas that the shards were given last, before whatever verdict.
        fn given(&mut self) -> StreamQuotas {
            let sent = self.sent();
            let is_verdict = |command: &Command| matches!(command, Command::Verdict { .. });
            let before = sent.iter().take_while(|(_, command)| !is_verdict(command));
            let mut given = [const { None }; 2];
            for (shard, command) in before {
                if let Command::Quotas { quotas, .. } = command {
                    given[shard.index()].clone_from(quotas);
                }
            }
            let [Some(first), Some(second)] = given else { panic!("{sent:?}") };
            let [one, other] = [first.own.unwrap(), second.own.clone().unwrap()];
            assert!(Arc::ptr_eq(&one, &other), "all shards count in the same place");
            second
        }

        /// Players of how many shards are closed.
        fn closes(&mut self) -> usize {
            let closes = |(_, command): &(ShardId, Command)| {
                matches!(command, Command::KickStream { role: Some(Role::Play), .. })
            };
            self.sent().iter().filter(|sent| closes(sent)).count()
        }

        /// What is written down, as `tenant stream bytes`.
        async fn written(&self) -> Vec<String> {
            let book = self.exchange.book().unwrap();
            let lines = book.report(Span::of(None, None), &Filter::default()).await.unwrap();
            let line = |line: &Line| {
                let tenant = line.tenant.as_ref().map_or("-", TenantName::as_str);
                let stream = line.stream.as_ref().map_or("-", StreamName::as_str);
                format!("{tenant} {stream} {}", line.used.bytes_out)
            };
            lines.iter().map(line).collect()
        }
    }

    fn batch(shard: u16, number: u64, bytes_out: u64, more: bool) -> Event {
        let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let used = Usage { bytes_out, ..Usage::default() };
        let stream = Some(name("cam"));
        let row = UsageRow { stream, protocol: Protocol::Rtmp, used, publish_bytes_in: 0 };
        Event::Usage(Box::new(UsageBatch {
            shard: ShardId(shard),
            number,
            at_ms: at.as_millis() as u64,
            rows: [row].into(),
            more,
        }))
    }

    #[tokio::test]
    async fn shards_are_asked_until_they_are_heard_and_heard_once() {
        let mut bench = Bench::new(Rules::default());
        bench.exchange.fleet.full = true;
        (0..5).for_each(|_| bench.tick());
        bench.exchange.fleet.full = false;
        bench.exchange.pump(bench.now);
        assert_eq!(bench.asked(), ["0:1", "1:1"], "one question waits for room");
        bench.hear(0, batch(0, 1, 10, true));
        assert_eq!(bench.asked(), ["0:2"], "there is more");
        // The answer of the other was lost, and an answer comes twice.
        bench.tick();
        assert_eq!(bench.asked(), ["0:2", "1:1"]);
        bench.hear(0, batch(0, 1, 10, true));
        bench.hear(0, batch(0, 2, 5, false));
        bench.hear(1, batch(1, 1, 100, false));
        bench.hear(1, batch(1, 1, 100, false));
        assert!(bench.asked().is_empty());
        assert_eq!(bench.written().await, ["- cam 115"]);
    }

    #[tokio::test]
    async fn whoever_lets_a_publisher_in_says_whose_the_stream_is() {
        let says = "content-type: application/json\r\n";
        let app = Application::start(|_| Reply::status(200, says, r#"{"tenant":"acme"}"#));
        let mut bench = Bench::new(Rules {
            publish: Mode::Callback.into(),
            application: Some(application(&app.url("/"))),
            calls_max: 8,
            ..Rules::default()
        });
        bench.declare(json!({ "tenant": "other", "inputs": [{ "url": "publish://" }] }));
        let acme = Change::PutTenant {
            name: TenantName::parse("acme").unwrap(),
            value: json!({ "quota": { "players_max": 1 } }),
        };
        bench.exchange.registry.apply(acme).unwrap();
        bench.asks(Intent::Publish, 7);
        let landing = bench.exchange.landed().await.unwrap();
        bench.exchange.settle(landing, bench.now);
        let sent = bench.sent();
        let is_yes = |(_, command): &(ShardId, Command)| {
            matches!(command, Command::Verdict { verdict: Verdict::Allow(_), .. })
        };
        assert!(sent.iter().any(is_yes), "{sent:?}");
        bench.hear(0, batch(0, 1, 1, false));
        let (peer, agent) = ("192.0.2.1:5".parse().unwrap(), "test".into());
        let (stream, id) = (name("cam"), Some(StreamId([1; 16])));
        let started = StreamStart {
            stream: stream.clone(),
            id,
            protocol: Protocol::Rtmp,
            publisher: Some(StreamPublisher { session: SessionId(7), peer, agent }),
        };
        bench.hear(0, Event::StreamStarted(Box::new(started)));
        let quotas = bench.given();
        let place = quotas.enter();
        assert!(place.is_some() && quotas.enter().is_none(), "the tenant has one place");
        bench.hear(0, batch(0, 2, 10, false));
        // What was used last is told when the stream is over.
        let reason = CloseReason::PeerClosed;
        bench.hear(0, Event::StreamEnded { stream, id, reason });
        bench.hear(0, batch(0, 3, 100, false));
        assert_eq!(bench.written().await, ["acme cam 110", "other cam 1"]);
    }

    #[tokio::test]
    async fn shards_know_the_quotas_of_a_stream_before_anybody_plays_it() {
        let mut bench = Bench::new(Rules::default());
        bench.declare(json!({ "quota": { "players_max": 1 } }));
        bench.asks(Intent::Play, 7);
        let quotas = bench.given();
        let place = quotas.enter();
        assert!(place.is_some() && quotas.enter().is_none());
        // They are told once, and of what becomes of it by the value that they share.
        bench.asks(Intent::Play, 8);
        let told = |(_, command): &(ShardId, Command)| matches!(command, Command::Quotas { .. });
        assert!(!bench.sent().iter().any(told));
        bench.declare(json!({ "quota": { "bytes_max": 100 } }));
        bench.hear(0, batch(0, 1, 100, false));
        bench.tick();
        assert!(quotas.enter().is_none() && quotas.is_spent(), "its bytes are used up");
        assert_eq!(bench.closes(), 0, "who plays goes on");
        bench.declare(json!({ "quota": { "bytes_max": 101, "bytes_over": "close" } }));
        bench.hear(1, batch(1, 1, 1, false));
        bench.tick();
        assert_eq!(bench.closes(), 2, "on both shards");
    }

    #[tokio::test]
    async fn names_that_are_no_streams_have_no_quotas() {
        let mut bench = Bench::new(Rules::default());
        let template = Change::PutTemplate {
            code: "all".into(),
            value: json!({
                "prefixes": ["live"],
                "quota": { "players_max": 1 },
                "inputs": [{ "url": "publish://" }],
            }),
        };
        bench.exchange.registry.apply(template).unwrap();
        bench.asks(Intent::Play, 7);
        let told = |(_, command): &(ShardId, Command)| matches!(command, Command::Quotas { .. });
        assert!(!bench.sent().iter().any(told), "nobody publishes it");
        bench.asks(Intent::Publish, 8);
        bench.given();
    }

    #[tokio::test]
    async fn shards_that_had_no_room_hear_of_quotas_later() {
        let mut bench = Bench::new(Rules::default());
        bench.declare(json!({ "quota": { "players_max": 1 } }));
        bench.exchange.fleet.full = true;
        let core = |bench: &mut Bench| {
            let stop = Command::Kick { session: SessionId(1), reason: CloseReason::Kicked };
            bench.exchange.tell(ShardId(0), stop);
        };
        while bench.exchange.outbox.dropped == 0 {
            core(&mut bench);
        }
        bench.asks(Intent::Play, 7);
        bench.exchange.fleet.full = false;
        bench.exchange.pump(bench.now);
        let told = |(_, command): &(ShardId, Command)| matches!(command, Command::Quotas { .. });
        assert!(!bench.sent().iter().any(told), "there was no room for it");
        bench.tick();
        bench.given();
        bench.tick();
        assert!(!bench.sent().iter().any(told), "once");
    }

    #[tokio::test]
    async fn nobody_publishes_what_is_used_up() {
        let mut bench = Bench::new(Rules::default());
        bench.declare(json!({
            "quota": { "bytes_max": 100 }, "inputs": [{ "url": "publish://" }],
        }));
        let denial = |bench: &mut Bench, session| {
            bench.asks(Intent::Publish, session);
            let verdict = bench.sent().into_iter().find_map(|(_, command)| match command {
                Command::Verdict { verdict, .. } => Some(verdict),
                _ => None,
            });
            match verdict.unwrap() {
                Verdict::Allow(_) => None,
                Verdict::Deny(denial) => Some(denial),
                Verdict::Elsewhere(url) => panic!("{url:?}"),
            }
        };
        assert_eq!(denial(&mut bench, 7), None);
        bench.hear(0, batch(0, 1, 100, false));
        bench.tick();
        assert_eq!(denial(&mut bench, 8), Some(Denial::Full));
    }

    /// Nobody has published for the tenant since the start, so that it has no meter.
    #[tokio::test]
    async fn a_spent_tenant_of_a_verdict_is_refused_before_it_was_seen() {
        let says = "content-type: application/json\r\n";
        let app = Application::start(|_| Reply::status(200, says, r#"{"tenant":"acme"}"#));
        let rules = || Rules {
            publish: Mode::Callback.into(),
            application: Some(application(&app.url("/"))),
            calls_max: 8,
            ..Rules::default()
        };
        let mut first = Bench::new(rules());
        first.declare(json!({ "tenant": "acme" }));
        first.hear(0, batch(0, 1, 100, false));
        let book = first.exchange.book().unwrap().clone();
        // The same book in another run, in which nothing says whose the stream is.
        for (bytes_max, expected) in [(101, None), (100, Some(Denial::Full))] {
            let mut bench = Bench::new(rules());
            bench.exchange.keep_usage(book.clone(), 64, bench.now);
            let acme = Change::PutTenant {
                name: TenantName::parse("acme").unwrap(),
                value: json!({ "quota": { "bytes_max": bytes_max } }),
            };
            bench.exchange.registry.apply(acme).unwrap();
            bench.asks(Intent::Publish, 7);
            let landing = bench.exchange.landed().await.unwrap();
            bench.exchange.settle(landing, bench.now);
            let verdict = bench.sent().into_iter().find_map(|(_, command)| match command {
                Command::Verdict { verdict, .. } => Some(verdict),
                _ => None,
            });
            let denial = match verdict.unwrap() {
                Verdict::Deny(denial) => Some(denial),
                Verdict::Allow(_) | Verdict::Elsewhere(_) => None,
            };
            assert_eq!(denial, expected);
        }
    }
}
