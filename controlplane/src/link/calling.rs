//! Calling: keeps the connection of this node to the coordinator that it is a server of.
//!
//! ```text
//!   call --connected--> speak until it is lost --+
//!    ^ |                                         |
//!    | +-- nobody there, refused --> wait, longer each time <-- it did not last
//!    +------------------------------------+
//! ```
//!
//! Each call has a token of its own. Lives on: a task of the control thread. Crosses by: `asks` to
//! the loop, a link from there. Limits: [`CALL_MAX`] for a call, [`RETRY_MAX`] between two.

use std::time::{Duration, Instant, SystemTime};

use dataplane::config::Limits;
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::protocol;

use super::speech::{Line, socket, speak};
use crate::bridge::{Ask, ClientAsk};
use crate::config::{Auto, CoordinatorSection};
use crate::coordinator::StreamingServer;
use crate::coordinator::client::{Base, link_max};
use crate::coordinator::wire::{PASS, Pass, Role, Whereabouts};
use crate::outbound::{Address, Client, Failure, NoUpgrade, backoff};
use crate::troubles::{Trouble, Troubles};

/// Whom this node is a server of speaks WebSocket within this.
const CALL_MAX: Duration = Duration::from_secs(10);
/// The pause between two calls at most.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A connection that lasted so long is lost for the first time.
const STEADY: Duration = Duration::from_secs(30);

/// How the coordinator is called.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    base: Base,
    address: Address,
    pass: Pass,
    headers: HeaderMap,
    messages_per_s_max: u32,
    /// Each link has room for the streams that there may be when it is made.
    limits: watch::Receiver<Limits>,
}

impl Call {
    /// As `section` says, of a node that is found as `here` and has `limits`; `None` of one that is
    /// no client.
    pub(crate) fn of(
        section: &CoordinatorSection,
        here: StreamingServer,
        limits: watch::Receiver<Limits>,
    ) -> Option<Self> {
        let base = section.client.url.clone().filter(|_| section.client.is_on())?;
        let StreamingServer { ip, port, ssl } = here;
        let mut headers = Whereabouts { ip, port, ssl }.headers();
        if section.server.ip == Auto::Auto {
            // The coordinator sees the address by which it reaches this node better than we do.
            Whereabouts::leave_ip(&mut headers);
        }
        Some(Self {
            address: base.of(Role::Rtmp),
            base,
            pass: Pass::of(&section.client.secret)?,
            headers,
            messages_per_s_max: section.messages_per_s_max,
            limits,
        })
    }

    /// Where the coordinator is.
    pub(crate) const fn base(&self) -> &Base {
        &self.base
    }

    /// Its headers, with a token made at `now`.
    fn headers(&self, now: SystemTime) -> HeaderMap {
        let mut headers = self.headers.clone();
        let token = self.pass.issue(Role::Rtmp, now).0;
        let mut token = HeaderValue::from_str(&token).expect("a token is plain text");
        token.set_sensitive(true);
        headers.insert(PASS, token);
        headers
    }
}

/// The task that calls.
pub(crate) struct Calling {
    call: Call,
    client: Client,
    asks: mpsc::Sender<Ask>,
    troubles: Troubles,
    leaving: watch::Receiver<bool>,
}

impl Calling {
    /// Calls over `client`, and tells the loop behind `asks`, until `leaving`.
    pub(crate) const fn new(
        call: Call,
        client: Client,
        asks: mpsc::Sender<Ask>,
        troubles: Troubles,
        leaving: watch::Receiver<bool>,
    ) -> Self {
        Self { call, client, asks, troubles, leaving }
    }

    /// Calls again and again.
    pub(crate) async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let Some(reason) = self.attempt().await else { return };
            if self.tell(ClientAsk::Lost { reason }).await.is_none() {
                return;
            }
            failures = if began.elapsed() >= STEADY { 1 } else { failures.saturating_add(1) };
            let mut leaving = self.leaving.clone();
            tokio::select! {
                () = tokio::time::sleep(backoff(failures, RETRY_MAX, chance())) => {}
                _ = leaving.wait_for(|&leaving| leaving) => return,
            }
        }
    }

    /// Calls once, and speaks until that is over; why, in a word. `None` if that was the last call.
    async fn attempt(&mut self) -> Option<&'static str> {
        let headers = self.call.headers(SystemTime::now());
        let calling = self.client.upgrade(&self.call.address, headers, CALL_MAX);
        let mut leaving = self.leaving.clone();
        let called = tokio::select! {
            called = calling => called,
            _ = leaving.wait_for(|&leaving| leaving) => return None,
        };
        let stream = match called {
            Ok(stream) => stream,
            Err(why) => {
                let reason = word(&why);
                self.trouble(&why.to_string(), mend(&why));
                tracing::debug!(reason, "the coordinator is not there: {why}");
                return Some(reason);
            }
        };
        let streams_max = self.call.limits.borrow().streams_max;
        let (link, orders) = mpsc::channel(link_max(streams_max));
        self.troubles.tell(Trouble::CoordinatorAway, None);
        self.tell(ClientAsk::Connected { link }).await?;
        let heard = |message| Ask::Client(ClientAsk::Heard { message });
        let messages_per_s_max = self.call.messages_per_s_max;
        let line = Line { orders, asks: self.asks.clone(), heard, messages_per_s_max };
        let socket = socket(TokioIo::new(stream), protocol::Role::Client).await;
        let reason = speak(socket, "the coordinator", line).await;
        if *self.leaving.borrow() {
            return None;
        }
        self.trouble(&format!("the connection is over ({reason})"), "it is called again by itself");
        Some(reason)
    }

    /// `None` if nobody hears any more.
    async fn tell(&self, ask: ClientAsk) -> Option<()> {
        self.asks.send(Ask::Client(ask)).await.ok()
    }

    fn trouble(&self, why: &str, mend: &str) {
        let base = &self.call.base;
        let message = format!("the coordinator at {base} (coordinator.client.url): {why}; {mend}");
        self.troubles.tell(Trouble::CoordinatorAway, Some(message));
    }
}

/// Why there is no connection, for metrics and events.
const fn word(why: &NoUpgrade) -> &'static str {
    match why {
        NoUpgrade::Failure(failure) => failure.name(),
        NoUpgrade::Status(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => "forbidden",
        NoUpgrade::Status(_) => "refused",
        NoUpgrade::Unsound => "malformed",
    }
}

/// What to do about it.
const fn mend(why: &NoUpgrade) -> &'static str {
    match why {
        NoUpgrade::Status(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => {
            "coordinator.client.secret must be its CONTROL_SECRET, and both clocks right"
        }
        NoUpgrade::Status(StatusCode::NOT_FOUND) | NoUpgrade::Unsound => {
            "the URL must be that of a coordinator, below which /ws/control/rtmp is"
        }
        NoUpgrade::Status(_) => "look at the coordinator's log; it is called again by itself",
        NoUpgrade::Failure(Failure::Tls(_)) => {
            "its certificate must be vouched for by an authority of this system (SSL_CERT_FILE)"
        }
        NoUpgrade::Failure(_) => "start it, or mend the URL; it is called again by itself",
    }
}

/// Spreads the calls of nodes that lost their coordinator together.
fn chance() -> u8 {
    let mut random = [u8::MAX];
    // Without a source of chance the wait is the longest.
    let _ = getrandom::fill(&mut random);
    random[0]
}

#[cfg(test)]
mod tests {
    use dataplane::ids::Secret;
    use rustls::RootCertStore;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::*;
    use crate::config::ClientSection;
    use crate::coordinator::wire::Message;
    use crate::outbound::scripted::{Application, Reply};
    use crate::store::Disk;

    /// The answer to a call that is taken, and what is said then.
    fn taken(request: &str, frames: &[u8]) -> Vec<u8> {
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
        let accept = derive_accept_key(key.unwrap().trim().as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        answer.extend(frames);
        answer
    }

    struct Bench {
        application: Application,
        asks: mpsc::Receiver<Ask>,
        troubles: Troubles,
        leaving: watch::Sender<bool>,
        limits: watch::Sender<Limits>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Bench {
        fn new(
            script: impl Fn(&str) -> Reply + Send + Sync + 'static,
            ip: Auto<std::net::IpAddr>,
        ) -> Self {
            let application = Application::start(script);
            let client = ClientSection {
                url: Base::parse(&application.url("/cluster")),
                secret: Secret("hush".to_owned()),
                ..ClientSection::default()
            };
            let mut section = CoordinatorSection { client, ..CoordinatorSection::default() };
            section.server.ip = ip;
            let here = StreamingServer { ip: "192.0.2.9".parse().unwrap(), port: 1940, ssl: true };
            let limits = watch::Sender::new(Limits::default());
            let call = Call::of(&section, here, limits.subscribe()).unwrap();
            let (asks_in, asks) = mpsc::channel(8);
            let troubles = Troubles::new(Disk::default().store());
            let (leaving, left) = watch::channel(false);
            let client = Client::with_roots(1, RootCertStore::empty());
            let calling = Calling::new(call, client, asks_in, troubles.clone(), left);
            let task = tokio::spawn(calling.run());
            Self { application, asks, troubles, leaving, limits, task }
        }

        async fn ask(&mut self) -> ClientAsk {
            match self.asks.recv().await {
                Some(Ask::Client(ask)) => ask,
                other => panic!("{other:?}"),
            }
        }

        async fn lost(&mut self) -> &'static str {
            match self.ask().await {
                ClientAsk::Lost { reason } => reason,
                other => panic!("{other:?}"),
            }
        }

        fn trouble(&self) -> String {
            let told = self.troubles.list();
            let told = told.into_iter().find(|(trouble, _)| *trouble == Trouble::CoordinatorAway);
            told.map(|(_, message)| message).unwrap_or_default()
        }
    }

    #[tokio::test]
    async fn a_call_says_who_and_where_this_node_is() {
        for (ip, told) in [(Auto::Auto, false), (Auto::Set("192.0.2.9".parse().unwrap()), true)] {
            let mut bench = Bench::new(|_| Reply::status(403, "", ""), ip);
            assert_eq!(bench.lost().await, "forbidden");
            let seen = bench.application.seen();
            assert!(
                seen[0].starts_with("GET /cluster/ws/control/rtmp HTTP/1.1\r\n"),
                "{}",
                seen[0]
            );
            for line in ["x-custom-port: 1940\r\n", "x-ssl-use: true\r\n"] {
                assert!(seen[0].contains(line), "{}", seen[0]);
            }
            assert_eq!(seen[0].contains("x-external-ip: 192.0.2.9\r\n"), told, "{}", seen[0]);
            let token =
                seen[0].lines().find_map(|line| line.strip_prefix("x-control-auth-token: "));
            let pass = Pass::of(&Secret("hush".to_owned())).unwrap();
            let judged = pass.judge(Role::Rtmp, token.unwrap(), SystemTime::now());
            assert_eq!(judged, Ok(()));
            let trouble = bench.trouble();
            assert!(trouble.contains("must be its CONTROL_SECRET"), "{trouble}");
            assert!(!trouble.contains("hush"), "{trouble}");
        }
    }

    #[tokio::test]
    async fn a_lost_coordinator_is_called_again_until_the_farewell() {
        // A message, and the end.
        let deny = b"\x81\x1cPUBLISH-DENY\nRequest-ID: 123";
        let frames = [deny.as_slice(), b"\x88\x00"].concat();
        let mut bench = Bench::new(move |request| Reply::Last(taken(request, &frames)), Auto::Auto);
        for streams_max in [Limits::default().streams_max, 9_000] {
            let ClientAsk::Connected { link } = bench.ask().await else { panic!("it is there") };
            assert_eq!(link.max_capacity(), link_max(streams_max));
            // A reload raises it: the next link has room for as many.
            bench.limits.send_modify(|limits| limits.streams_max = 9_000);
            let heard = bench.ask().await;
            let ClientAsk::Heard { message: Message::PublishDeny { request, .. } } = heard else {
                panic!("{heard:?}");
            };
            assert_eq!(request, "123");
            assert_eq!(bench.lost().await, "closed");
            assert!(bench.trouble().contains("(closed)"), "{}", bench.trouble());
            drop(link);
        }
        bench.leaving.send_replace(true);
        bench.task.await.unwrap();
        assert!(bench.application.connections() >= 2);
    }

    #[tokio::test]
    async fn the_farewell_waits_for_what_is_still_to_be_said() {
        let mut bench = Bench::new(|request| Reply::Bytes(taken(request, b"")), Auto::Auto);
        let ClientAsk::Connected { link } = bench.ask().await else { panic!("it is there") };
        let (channel, id) = ("cam7".to_owned(), "0a".to_owned());
        link.try_send(Message::PublishEnd { channel, id }).unwrap();
        bench.leaving.send_replace(true);
        drop(link);
        bench.task.await.unwrap();
        assert!(bench.asks.recv().await.is_none(), "nobody is told of a loss");
    }

    #[test]
    fn a_node_without_a_coordinator_calls_nobody() {
        let here = StreamingServer { ip: "192.0.2.9".parse().unwrap(), port: 1940, ssl: false };
        let limits = watch::Sender::new(Limits::default());
        let section = CoordinatorSection::default();
        assert!(Call::of(&section, here, limits.subscribe()).is_none());
    }
}
