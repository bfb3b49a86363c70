//! Measures verdicts: how many a second one control thread gives, and how long each takes, with an
//! application on this machine that is asked over HTTP, with verdicts that are remembered, with
//! static keys, and open.
//!
//! Each round asks `QUESTIONS` questions, of which so many are under way as the row says; the
//! rows take turns, and the median of the rounds is printed. The application answers 204 from
//! threads of its own, one for each connection, so that its cost is not on the control thread but
//! on the same machine.
//!
//! `cargo run --release -p grandstand --example verdicts [ROUNDS]`

#[path = "../tests/cli/requests.rs"]
mod requests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use controlplane::auth::{
    AbsenceTerms, Addresses, Allows, Application, Gate, KeyHash, KeyRule, Landed, Mode, OnFailure,
    Rules,
};
use controlplane::dialect::{Asker, Dialect, Verb};
use controlplane::events::{Bus, RingLimits};
use controlplane::outbound::Address;
use dataplane::config::ListenerNumber;
use dataplane::control::{AuthorizeRequest, Intent, Protocol, Ticket, Verdict};
use dataplane::ids::{Secret, SessionId, ShardId, StreamName};

/// Questions of a round.
const QUESTIONS: u32 = 20_000;
const ROUNDS: usize = 5;
/// Static keys in the row that looks through them.
const KEYS: usize = 100;

/// A way to a verdict.
struct Row {
    name: &'static str,
    under_way: u32,
    rules: Rules,
    /// Questions are equal, so that the first answer serves them all.
    equal: bool,
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let address = application();
    let rows = rows(address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let mut measured: Vec<Vec<Round>> = rows.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (row, measured) in rows.iter().zip(&mut measured) {
            measured.push(runtime.block_on(round(row)));
        }
    }
    println!("{:<28} {:>10} {:>9} {:>9} {:>9}", "way", "verdicts/s", "p50 us", "p99 us", "max us");
    for (row, rounds) in rows.iter().zip(measured) {
        let median = |of: fn(&Round) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{:<28} {:>10.0} {:>9.1} {:>9.1} {:>9.1}",
            format!("{}, {} under way", row.name, row.under_way),
            median(|round| round.per_second),
            median(|round| round.p50_us),
            median(|round| round.p99_us),
            median(|round| round.max_us),
        );
    }
}

fn rows(address: SocketAddr) -> Vec<Row> {
    let asking = |cache| Rules {
        publish: Mode::Callback.into(),
        play: Mode::Callback.into(),
        application: Some(Application {
            dialect: Dialect::Native,
            addresses: Addresses {
                all: Address::parse(&format!("http://{address}/verdict")),
                ..Addresses::default()
            },
            updates: None,
            absences: AbsenceTerms::default(),
            verb: Verb::Post,
            authorization: None,
            signing: None,
            secret: Secret::default(),
            asker: Asker { node: "edge-1".into(), ..Asker::default() },
            timeout: Duration::from_secs(8),
            on_failure: OnFailure::Deny,
            cache,
            cache_denied: cache,
        }),
        calls_max: 256,
        cache_entries_max: 16_384,
        cache_per_peer: true,
        ..Rules::default()
    };
    let rule = |number| KeyRule {
        pattern: "*".into(),
        allows: Allows::Both,
        key: KeyHash::make(&format!("other-{number}")).expect("random bytes"),
    };
    let keys =
        Rules { play: Mode::Keys.into(), keys: (0..KEYS).map(rule).collect(), ..Rules::default() };
    let (zero, hour) = (Duration::ZERO, Duration::from_secs(3_600));
    vec![
        Row { name: "open", under_way: 1, rules: Rules::default(), equal: false },
        Row { name: "100 keys", under_way: 1, rules: keys, equal: false },
        Row { name: "remembered", under_way: 1, rules: asking(hour), equal: true },
        Row { name: "callback", under_way: 1, rules: asking(zero), equal: false },
        Row { name: "callback", under_way: 8, rules: asking(zero), equal: false },
        Row { name: "callback", under_way: 32, rules: asking(zero), equal: false },
    ]
}

struct Round {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

async fn round(row: &Row) -> Round {
    let bus = Bus::new("edge-1".into(), RingLimits::default());
    let mut gate = Gate::new(row.rules.clone(), bus);
    let mut asked_at = vec![Instant::now(); QUESTIONS as usize];
    let mut took = Vec::with_capacity(QUESTIONS as usize);
    let (mut asked, mut under_way) = (0, 0);
    let start = Instant::now();
    while took.len() < QUESTIONS as usize {
        while asked < QUESTIONS && under_way < row.under_way {
            let now = Instant::now();
            asked_at[asked as usize] = now;
            let ticket = Ticket { slot: asked, generation: 0, epoch: asked };
            let number = if row.equal { 0 } else { asked };
            match gate.ask(ShardId(0), ticket, request(number), &(), now) {
                Some(verdict) => took.push(judged(&verdict, row, now)),
                None => under_way += 1,
            }
            asked += 1;
        }
        if under_way == 0 {
            continue;
        }
        let Some(Landed::Entry(landing)) = gate.answered().await else {
            panic!("a question is under way");
        };
        for (_, ticket, verdict) in gate.settle(landing, &(), Instant::now()) {
            took.push(judged(&verdict, row, asked_at[ticket.slot as usize]));
            under_way -= 1;
        }
    }
    let passed = start.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    Round {
        per_second: f64::from(QUESTIONS) / passed,
        p50_us: at(0.5),
        p99_us: at(0.99),
        max_us: at(1.0),
    }
}

/// How long a verdict took; the keys of the row are all wrong, everything else is a yes.
fn judged(verdict: &Verdict, row: &Row, since: Instant) -> Duration {
    let expected = row.rules.play != Mode::Keys.into();
    assert_eq!(matches!(verdict, Verdict::Allow(_)), expected, "{}", row.name);
    since.elapsed()
}

fn request(number: u32) -> Box<AuthorizeRequest> {
    Box::new(AuthorizeRequest {
        session: SessionId(u64::from(number)),
        intent: Intent::Play,
        protocol: Protocol::Rtmp,
        tls: false,
        stream: StreamName::parse(&format!("news/{number}")).expect("a name"),
        key: Secret("0123456789abcdef0123456789abcdef".to_owned()),
        login: Secret::default(),
        query: Secret("key=0123456789abcdef0123456789abcdef".to_owned()),
        url: "rtmp://edge.example/live/news".into(),
        referer: None,
        peer: SocketAddr::from(([192, 0, 2, 1], 5)),
        local: SocketAddr::from(([192, 0, 2, 2], 1_935)),
        listener: ListenerNumber(1),
        agent: "LNX 9,0,124,2".into(),
        since: None,
    })
}

/// Answers every POST with 204.
fn application() -> SocketAddr {
    requests::serve(|_, _| Some(requests::TAKEN.to_owned()))
}
