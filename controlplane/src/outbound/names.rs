//! Names: where applications are, looked up once for all who ask, and remembered for a while.
//!
//! ```text
//!   call --name--> known? --yes--> addresses, at once
//!                    |no, or old
//!                    v
//!             one look-up of the name, on a thread of its own --> everybody who waits for it
//! ```
//!
//! The system's resolver blocks for as long as it likes, so each name costs one thread at most, and
//! a client has threads of its own: who asks for keys never waits behind a hook whose name nobody
//! knows. An answer that has become old is still used while a new one is looked up, and for
//! [`STALE_MAX`] if that fails: an application does not vanish with its name server. An address in
//! figures never comes here.
//!
//! Limits: [`NAMES_MAX`] names, [`LOOKUPS_MAX`] look-ups under way, [`ADDRESSES_MAX`] of one name.
//! Lives on: the control thread and the threads of look-ups. Crosses by: a lock that is held for no
//! wait.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io::{Error, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tower_service::Service;

/// An answer with addresses is fresh for this long after it was asked for.
const FRESH: Duration = Duration::from_secs(30);
/// An answer without any stands for this long.
const UNKNOWN: Duration = Duration::from_secs(5);
/// And addresses are used for this long though nobody confirms them any more.
const STALE_MAX: Duration = Duration::from_secs(3_600);
/// Names that are remembered at most; the one that was asked for least lately goes.
const NAMES_MAX: usize = 256;
/// Look-ups under way at most; more names wait.
const LOOKUPS_MAX: usize = 16;
/// Addresses of one name that are tried at most.
const ADDRESSES_MAX: usize = 16;
/// What the system's resolver and its modules need of a stack.
const STACK_BYTES: usize = 512 << 10;

/// What a look-up found, or why it found nothing.
pub(crate) type Found = std::result::Result<Arc<[SocketAddr]>, Arc<str>>;
/// Asks the system.
type Look = dyn Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync;

/// The names of one client. Clones are one.
#[derive(Clone)]
pub(crate) struct Names(Arc<Shared>);

struct Shared {
    look: Box<Look>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    names: BTreeMap<String, Known>,
    /// Names that are to be looked up.
    waiting: VecDeque<String>,
    /// Threads that look up.
    looking: usize,
}

/// What is known of a name.
struct Known {
    /// The last addresses, and when they were found.
    addresses: Option<(Arc<[SocketAddr]>, Instant)>,
    /// Why the last look-up found none, and when.
    failure: Option<(Arc<str>, Instant)>,
    /// A look-up is under way or waits.
    flight: Option<Flight>,
    asked: Instant,
}

/// A look-up, and who waits for it.
struct Flight {
    began: Instant,
    waiting: Vec<oneshot::Sender<Found>>,
}

/// What a name gets now.
enum Answer {
    Now(Found),
    Later(oneshot::Receiver<Found>),
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    /// Names as the system knows them.
    pub(crate) fn of_system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.take(ADDRESSES_MAX).collect()))
    }

    pub(super) fn new(
        look: impl Fn(&str) -> Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared { look: Box::new(look), table: Mutex::default() }))
    }

    /// What is known of a name, or what is told as soon as it is.
    pub(crate) fn look(
        &self,
        name: String,
    ) -> std::result::Result<Found, oneshot::Receiver<Found>> {
        match self.ask(name, Instant::now()) {
            Answer::Now(found) => Ok(found),
            Answer::Later(found) => Err(found),
        }
    }

    async fn find(self, name: String) -> Result<std::vec::IntoIter<SocketAddr>> {
        let found = match self.ask(name, Instant::now()) {
            Answer::Now(found) => found,
            Answer::Later(found) => {
                found.await.map_err(|_| Error::other("the look-up of the name broke off"))?
            }
        };
        match found {
            Ok(addresses) => Ok(Vec::from(&*addresses).into_iter()),
            Err(reason) => Err(Error::other(reason.to_string())),
        }
    }

    fn ask(&self, name: String, now: Instant) -> Answer {
        let mut table = self.table();
        if !table.names.contains_key(&name) && !table.make_room() {
            return Answer::Now(Err("too many names are looked up".into()));
        }
        let Table { names, waiting, .. } = &mut *table;
        let known = names.entry(name.clone()).or_insert_with(|| Known::new(now));
        known.asked = now;
        let answer = known.answer(now);
        let must_look = known.flight.is_none() && !known.is_settled(now);
        if must_look {
            known.flight = Some(Flight { began: now, waiting: Vec::new() });
            waiting.push_back(name);
        }
        let answer = match answer {
            Some(found) => Answer::Now(found),
            None => Answer::Later(known.join(now)),
        };
        if must_look && table.looking < LOOKUPS_MAX {
            table.looking += 1;
            drop(table);
            self.start();
        }
        answer
    }

    /// Starts a thread that looks up what waits.
    fn start(&self) {
        let names = self.clone();
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || while names.look_up() {});
        if let Err(error) = thread {
            let mut table = self.table();
            table.looking -= 1;
            // Another thread may take them; without any, nobody would.
            if table.looking == 0 {
                let reason: Arc<str> = error.to_string().into();
                while let Some(name) = table.waiting.pop_front() {
                    table.land(&name, Err(Arc::clone(&reason)));
                }
            }
        }
    }

    /// Looks up the name that waits longest; false if none does.
    fn look_up(&self) -> bool {
        let name = {
            let mut table = self.table();
            let Some(name) = table.waiting.pop_front() else {
                table.looking -= 1;
                return false;
            };
            name
        };
        let found = match (self.0.look)(&name) {
            Ok(addresses) if addresses.is_empty() => Err("the name has no address".into()),
            Ok(addresses) => Ok(addresses.into()),
            Err(error) => Err(error.to_string().into()),
        };
        self.table().land(&name, found);
        true
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that could panic is done while it is held.
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes what a look-up found, and tells who waits.
    fn land(&mut self, name: &str, found: Found) {
        let Some(known) = self.names.get_mut(name) else { return };
        let Some(Flight { began, waiting }) = known.flight.take() else { return };
        match &found {
            Ok(addresses) => {
                (known.addresses, known.failure) = (Some((Arc::clone(addresses), began)), None);
            }
            Err(reason) => known.failure = Some((Arc::clone(reason), began)),
        }
        for waits in waiting {
            // Whoever waited may have had no more time.
            let _ = waits.send(found.clone());
        }
    }

    /// False if every name that is known is being looked up.
    fn make_room(&mut self) -> bool {
        if self.names.len() < NAMES_MAX {
            return true;
        }
        let idle = self.names.iter().filter(|(_, known)| known.flight.is_none());
        let oldest = idle.min_by_key(|(_, known)| known.asked).map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.names.remove(&name).is_some())
    }
}

impl Known {
    const fn new(now: Instant) -> Self {
        Self { addresses: None, failure: None, flight: None, asked: now }
    }

    /// What can be said without a look-up; `None` if nothing can.
    fn answer(&self, now: Instant) -> Option<Found> {
        if let Some((addresses, at)) = &self.addresses
            && now.saturating_duration_since(*at) < STALE_MAX
        {
            return Some(Ok(Arc::clone(addresses)));
        }
        let (reason, at) = self.failure.as_ref()?;
        (now.saturating_duration_since(*at) < UNKNOWN).then(|| Err(Arc::clone(reason)))
    }

    /// True if it need not be looked up again yet.
    fn is_settled(&self, now: Instant) -> bool {
        let young = |at: &Instant, max| now.saturating_duration_since(*at) < max;
        self.addresses.as_ref().is_some_and(|(_, at)| young(at, FRESH))
            || self.failure.as_ref().is_some_and(|(_, at)| young(at, UNKNOWN))
    }

    /// Waits for the look-up that is under way.
    fn join(&mut self, now: Instant) -> oneshot::Receiver<Found> {
        let (waits, found) = oneshot::channel();
        let waiting = Vec::new();
        let flight = self.flight.get_or_insert(Flight { began: now, waiting });
        // Who gave up waits no more, however long the look-up takes.
        flight.waiting.retain(|waits| !waits.is_closed());
        flight.waiting.push(waits);
        found
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().find(name.as_str().to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::time::advance;

    use super::*;

    /// A resolver that says what it is asked, and answers when it is told to.
    struct Resolver {
        names: Names,
        asked: Receiver<String>,
        answer: Sender<Result<Vec<SocketAddr>>>,
    }

    impl Resolver {
        fn new() -> Self {
            let (ask, asked) = channel();
            let (answer, answers) = channel::<Result<Vec<SocketAddr>>>();
            let answers = Mutex::new(answers);
            let names = Names::new(move |name| {
                // The test may be over.
                let _ = ask.send(name.to_owned());
                let answered = answers.lock().unwrap().recv();
                answered.unwrap_or_else(|_| Err(Error::other("over")))
            });
            Self { names, asked, answer }
        }

        fn says(&self, port: Option<u16>) {
            let addresses = port.map(|port| vec![SocketAddr::from(([192, 0, 2, 1], port))]);
            self.answer.send(addresses.ok_or_else(|| Error::other("unknown"))).unwrap();
        }

        fn ask(&self, name: &str) -> Answer {
            self.names.ask(name.to_owned(), Instant::now())
        }

        /// What is said at once.
        fn now(&self, name: &str) -> Option<u16> {
            match self.ask(name) {
                Answer::Now(found) => found.ok().map(|addresses| addresses[0].port()),
                Answer::Later(_) => panic!("{name} is looked up"),
            }
        }

        async fn later(&self, name: &str, port: Option<u16>) {
            let Answer::Later(found) = self.ask(name) else { panic!("{name} is known") };
            assert_eq!(self.asked.recv().unwrap(), name);
            self.says(port);
            assert_eq!(found.await.unwrap().ok().map(|addresses| addresses[0].port()), port);
        }

        /// Until the threads have told what they found.
        fn settle(&self) {
            while self.names.table().looking > 0 {
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_remembered_renewed_behind_the_scenes_and_outlives_its_name_server() {
        let resolver = Resolver::new();
        resolver.later("a", Some(1)).await;
        assert_eq!(resolver.now("a"), Some(1));
        advance(FRESH).await;
        assert_eq!(resolver.now("a"), Some(1), "the old one, while it is looked up again");
        assert_eq!(resolver.asked.recv().unwrap(), "a");
        assert_eq!(resolver.now("a"), Some(1), "and only once");
        resolver.says(Some(2));
        resolver.settle();
        assert_eq!(resolver.now("a"), Some(2));
        advance(FRESH).await;
        assert_eq!(resolver.now("a"), Some(2));
        resolver.asked.recv().unwrap();
        resolver.says(None);
        resolver.settle();
        assert_eq!(resolver.now("a"), Some(2), "its name server is gone");
        advance(STALE_MAX).await;
        resolver.later("a", None).await;
        assert!(resolver.asked.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_is_asked_for_once_in_a_while() {
        let resolver = Resolver::new();
        resolver.later("a", None).await;
        assert_eq!(resolver.now("a"), None);
        advance(UNKNOWN).await;
        resolver.later("a", Some(1)).await;
        assert_eq!(resolver.now("a"), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_for_one_name_share_a_look_up_and_those_who_give_up_cost_nothing() {
        let resolver = Resolver::new();
        let mut waiting: Vec<_> = (0..100).map(|_| resolver.ask("a")).collect();
        assert_eq!(resolver.asked.recv().unwrap(), "a");
        waiting.truncate(1);
        let last = resolver.ask("a");
        let flight = |table: &Table| table.names["a"].flight.as_ref().map(|f| f.waiting.len());
        assert_eq!(flight(&resolver.names.table()), Some(2));
        resolver.says(Some(1));
        for answer in waiting.into_iter().chain([last]) {
            let Answer::Later(found) = answer else { panic!("it was not known") };
            assert_eq!(found.await.unwrap().unwrap()[0].port(), 1);
        }
        assert!(resolver.asked.try_recv().is_err(), "it was looked up once");
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_and_names_are_bounded() {
        let resolver = Resolver::new();
        let waiting: Vec<_> = (0..NAMES_MAX).map(|n| resolver.ask(&n.to_string())).collect();
        for _ in 0..LOOKUPS_MAX {
            resolver.asked.recv().unwrap();
        }
        assert!(resolver.asked.try_recv().is_err(), "no more threads");
        assert_eq!(resolver.now("one more"), None, "no room while all are looked up");
        (0..NAMES_MAX).for_each(|_| resolver.says(Some(1)));
        for answer in waiting {
            let Answer::Later(found) = answer else { panic!("it was not known") };
            assert!(found.await.unwrap().is_ok());
        }
        resolver.settle();
        resolver.asked.try_iter().for_each(drop);
        resolver.later("one more", Some(7)).await;
        assert_eq!(resolver.names.table().names.len(), NAMES_MAX);
    }

    #[tokio::test]
    async fn who_asks_another_client_does_not_wait_behind_a_name_that_hangs() {
        let (hangs, sound) = (Resolver::new(), Resolver::new());
        let stuck: Vec<_> = (0..NAMES_MAX).map(|n| hangs.ask(&n.to_string())).collect();
        sound.later("app", Some(1)).await;
        drop(stuck);
    }
}
