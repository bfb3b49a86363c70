//! Reloads: the configuration is read beside the control thread, and applied on it.
//!
//! ```text
//!   a signal, the API --wish--> read, one at a time --Fresh--> applied, who asked is told
//!                        |                ^
//!                        +--> waits ------+
//! ```
//!
//! A disk, or a share of another machine, may not answer for minutes; what is in force stays so
//! until then, and verdicts, events and the API go on. Who asks while a read hangs has it read
//! anew, perhaps by another path: what hangs is left alone, and nothing of it is taken.
//!
//! Limits: [`WAITING_MAX`] wishes wait; signals are one. [`READERS_MAX`] threads read, of which all
//! but one hang.
//! Lives on: the control thread, but for the reading.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::session::tls::Identity;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::certificates::Known;
use super::reload::{InForce, Reloaded};
use super::start::{Running, configure_in};
use crate::config::{CoordinatorSection, Loaded, Plan};
use crate::error::Error;
use crate::registry::FileStreams;

/// Wishes that wait at most: the API has one at a time.
const WAITING_MAX: usize = 8;

/// Threads that read at most.
const READERS_MAX: usize = 3;

/// Who reads for longer is told of, once.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Who wants a reload.
#[derive(Debug)]
pub(super) enum Wish {
    /// Whoever sent SIGHUP.
    Signal,
    /// A request, which is told what became of it.
    Api {
        reply: oneshot::Sender<Result<Option<Reloaded>, Error>>,
        /// It holds as long as this is in force.
        only_if: Option<Arc<InForce>>,
    },
}

impl Wish {
    /// The word for it in events.
    pub(super) const fn source(&self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Api { .. } => "api",
        }
    }

    /// True if nobody waits for what becomes of it any more, and was told that it did not.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Api { reply, .. } if reply.is_closed())
    }

    /// True if it was for another configuration than `in_force`.
    pub(super) fn is_for_another(&self, in_force: Option<&Arc<InForce>>) -> bool {
        let Self::Api { only_if: Some(wanted), .. } = self else { return false };
        in_force.is_none_or(|in_force| !Arc::ptr_eq(wanted, in_force))
    }

    /// Tells what became of it, which is nothing if it was for another configuration. A request may
    /// be gone: then nobody misses the answer.
    pub(super) fn tell(self, outcome: Result<Option<Reloaded>, Error>) {
        if let Self::Api { reply, .. } = self {
            drop(reply.send(outcome));
        }
    }
}

/// What is read, by a server that runs already.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    /// The data directory.
    pub(super) data: PathBuf,
    /// What the server proves itself by.
    pub(super) identity: Option<Identity>,
    /// What it was started as.
    pub(super) coordinator: CoordinatorSection,
}

/// The configuration as it was read.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) loaded: Arc<Loaded>,
    pub(super) plan: Plan,
    /// What it declares.
    pub(super) declared: FileStreams,
    /// What the files of certificates were like.
    pub(super) certificates: Known,
}

impl Source {
    /// Reads it, which may take as long as a disk does.
    fn read(self) -> Result<Fresh, Error> {
        let Self { data, identity, coordinator, .. } = &self;
        let running = Running { data, identity: identity.as_ref(), coordinator };
        let (loaded, plan, certificates) = configure_in(self.file.clone(), Some(running))?;
        Ok(Fresh::of(loaded, plan, certificates))
    }
}

impl Fresh {
    /// What was `loaded`, which was checked then.
    pub(super) fn of(loaded: Loaded, plan: Plan, certificates: Known) -> Self {
        let declared = FileStreams::read(&loaded.settings.streams);
        let declared = declared.expect("it was checked when it was loaded");
        Self { loaded: Arc::new(loaded), plan, declared, certificates }
    }
}

/// A file that is being read.
#[derive(Debug)]
struct Reading {
    fresh: JoinHandle<Result<Fresh, Error>>,
    wish: Wish,
    /// When it hangs, unless that was told.
    hangs: Option<Instant>,
    /// What is in force has changed since it began.
    is_outdated: bool,
}

/// The reloads that were asked for. See the module.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    reading: Option<Reading>,
    /// Each thread that reads has a clone.
    readers: Arc<()>,
    waiting: VecDeque<Wish>,
}

impl Reloads {
    /// Reads `source` again by `wish`, or when what is read now has been applied: it may have been
    /// read before the file was changed. True if that begins now, as it does if the other hangs.
    pub(super) fn ask(&mut self, wish: Wish, source: Source, now: Instant) -> bool {
        let hangs = self.reading.as_ref().is_some_and(|reading| reading.hangs.is_none());
        if hangs
            && Arc::strong_count(&self.readers) <= READERS_MAX
            && let Some(reading) = self.reading.take()
        {
            // Who wished for it hears that nobody answers. The thread that it has goes on.
            reading.fresh.abort();
        }
        if self.reading.is_some() {
            self.waiting.retain(|wish| !wish.is_gone());
            let is_signal = |wish: &Wish| matches!(wish, Wish::Signal);
            let again = is_signal(&wish) && self.waiting.iter().any(is_signal);
            // A wish that finds no room is dropped, which a request hears.
            if !again && self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(wish);
            }
            return false;
        }
        let reader = Arc::clone(&self.readers);
        let fresh = spawn_blocking(move || {
            let _reader = reader;
            source.read()
        });
        let hangs = Some(now + HANGS_AFTER);
        self.reading = Some(Reading { fresh, wish, hangs, is_outdated: false });
        true
    }

    /// The next wish that waits, and that somebody waits for.
    pub(super) fn next(&mut self) -> Option<Wish> {
        std::iter::from_fn(|| self.waiting.pop_front()).find(|wish| !wish.is_gone())
    }

    /// What is in force has changed: what is read now knows nothing of it.
    pub(super) fn outdate(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.is_outdated = true;
        }
    }

    /// When it is to be told that what is read hangs.
    pub(super) fn due(&self) -> Option<Instant> {
        self.reading.as_ref()?.hangs
    }

    /// True if so, once.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        let hangs = reading.hangs.is_some_and(|at| at <= now);
        if hangs {
            reading.hangs = None;
        }
        hangs
    }

    /// What was read, and by whose wish, for ever if nothing is; `None` is for what is to be read
    /// once more, because what is in force has changed meanwhile. May be dropped and asked again.
    pub(super) async fn read(&mut self) -> (Option<Result<Fresh, Error>>, Wish) {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let fresh = (&mut reading.fresh).await.unwrap_or_else(|error| {
            Err(Error::System {
                what: "cannot read the configuration",
                reason: error.to_string(),
                mend: "this is a fault of the server; send the log to its makers",
            })
        });
        let reading = self.reading.take().expect("it was awaited just now");
        (Some(fresh).filter(|fresh| fresh.is_err() || !reading.is_outdated), reading.wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use super::super::certificates::Look;

    fn source() -> Source {
        let (file, data) = (Some(PathBuf::from("/nowhere/g.toml")), PathBuf::new());
        Source { file, data, identity: None, coordinator: CoordinatorSection::default() }
    }

    #[tokio::test]
    async fn who_asks_while_a_file_is_read_has_it_read_once_more() {
        let (mut reloads, now) = (Reloads::default(), Instant::now());
        assert!(reloads.ask(Wish::Signal, source(), now));
        let (reply, answer) = oneshot::channel();
        assert!(!reloads.ask(Wish::Signal, source(), now));
        assert!(!reloads.ask(Wish::Api { reply, only_if: None }, source(), now));
        assert!(!reloads.ask(Wish::Signal, source(), now), "one signal is as good as two");
        let mut sources = Vec::new();
        let (fresh, wish) = reloads.read().await;
        assert!(fresh.unwrap().unwrap_err().to_string().contains("/nowhere/g.toml"));
        sources.push(wish.source());
        while let Some(next) = reloads.next() {
            assert!(reloads.ask(next, source(), now));
            let (fresh, wish) = reloads.read().await;
            sources.push(wish.source());
            wish.tell(fresh.unwrap().map(|_| Some(Reloaded::default())));
        }
        assert_eq!(sources, ["signal", "signal", "api"]);
        assert!(answer.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn wishes_that_find_no_room_hear_it() {
        let (mut reloads, now) = (Reloads::default(), Instant::now());
        reloads.ask(Wish::Signal, source(), now);
        let mut answers = Vec::new();
        for _ in 0..=WAITING_MAX {
            let (reply, answer) = oneshot::channel();
            reloads.ask(Wish::Api { reply, only_if: None }, source(), now);
            answers.push(answer);
        }
        assert!(answers.pop().unwrap().await.is_err(), "nobody will tell it");
        assert_eq!(reloads.waiting.len(), WAITING_MAX);
    }

    #[tokio::test]
    async fn what_was_read_before_a_certificate_came_is_read_once_more() {
        let (mut reloads, now) = (Reloads::default(), Instant::now());
        let defaults = Source { file: None, ..source() };
        reloads.outdate();
        reloads.ask(Wish::Signal, defaults.clone(), now);
        assert!(reloads.read().await.0.is_some(), "it was read afterwards");
        reloads.ask(Wish::Signal, defaults, now);
        reloads.outdate();
        assert!(reloads.read().await.0.is_none());
        // What is wrong with the file is wrong all the same.
        reloads.ask(Wish::Signal, source(), now);
        reloads.outdate();
        assert!(reloads.read().await.0.unwrap().is_err());
    }

    #[test]
    fn a_certificate_that_changes_while_its_key_is_read_is_read_again() {
        let dir = std::env::temp_dir().join(format!("grandstand-stamps-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        let own = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&own).unwrap().pem();
        std::fs::write(path("cert.pem"), &certificate).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path("key.pem")).status().unwrap();
        assert!(made.success());
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let tls = format!("[tls]\ncertificate = {cert:?}\nkey = {key:?}\n");
        std::fs::write(path("g.toml"), format!("[auth]\nmode = \"open\"\n{tls}")).unwrap();
        let source = Source { file: Some(path("g.toml")), data: dir.clone(), ..source() };
        let reading = std::thread::spawn(move || source.read());
        // It is there once the key is waited for.
        let mut waited = std::fs::OpenOptions::new().write(true).open(&key).unwrap();
        std::fs::write(&cert, certificate + "\n").unwrap();
        waited.write_all(own.serialize_pem().as_bytes()).unwrap();
        drop(waited);
        let Fresh { loaded, certificates: mut known, .. } = reading.join().unwrap().unwrap();
        assert_eq!(known.look(&loaded.settings.tls, Instant::now()), Look::Read);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_does_not_answer_is_told_once() {
        let (mut reloads, now) = (Reloads::default(), Instant::now());
        assert_eq!(reloads.due(), None);
        reloads.ask(Wish::Signal, source(), now);
        assert_eq!(reloads.due(), Some(now + HANGS_AFTER));
        assert!(!reloads.tick(now + HANGS_AFTER / 2));
        assert_eq!(reloads.due(), Some(now + HANGS_AFTER));
        assert!(reloads.tick(now + HANGS_AFTER));
        assert_eq!(reloads.due(), None);
        assert!(!reloads.tick(now + HANGS_AFTER));
    }

    #[tokio::test]
    async fn who_asks_while_a_disk_hangs_has_another_file_read() {
        let (mut reloads, mut now) = (Reloads::default(), Instant::now());
        let dir = std::env::temp_dir().join(format!("grandstand-hangs-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let pipes: Vec<_> = (0..READERS_MAX).map(|nth| dir.join(format!("{nth}.toml"))).collect();
        let made = std::process::Command::new("mkfifo").args(&pipes).status().unwrap();
        assert!(made.success());
        // Returns when it is read.
        let open = |pipe: &PathBuf| std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
        let (mut answers, mut writers) = (Vec::new(), VecDeque::new());
        for pipe in &pipes {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            let hangs = Source { file: Some(pipe.clone()), ..source() };
            assert!(reloads.ask(Wish::Api { reply, only_if: None }, hangs, now));
            writers.push_back(open(pipe));
            // It is slow until it is told that it hangs.
            assert!(!reloads.ask(Wish::Signal, source(), now));
            assert!(matches!(reloads.next(), Some(Wish::Signal)));
            now += HANGS_AFTER;
            assert!(reloads.tick(now));
        }
        // No further thread is given to it, and who is gone is not served.
        drop(answers.pop());
        let (reply, answer) = oneshot::channel();
        assert!(!reloads.ask(Wish::Api { reply, only_if: None }, source(), now));
        assert!(!reloads.ask(Wish::Signal, source(), now));
        drop(answer);
        assert!(matches!(reloads.next(), Some(Wish::Signal)));
        // Those before were given up, and hear it.
        for answer in answers {
            assert!(answer.await.is_err());
        }
        // One of their disks answers: there is a thread again.
        drop(writers.pop_front());
        while Arc::strong_count(&reloads.readers) > READERS_MAX {
            tokio::task::yield_now().await;
        }
        assert!(reloads.ask(Wish::Signal, source(), now));
        let (fresh, wish) = reloads.read().await;
        assert!(fresh.unwrap().unwrap_err().to_string().contains("/nowhere/g.toml"));
        assert_eq!(wish.source(), "signal");
        drop(writers);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
