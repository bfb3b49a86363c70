//! State: what requests are answered from.

use std::sync::Arc;

use dataplane::config::Limits;
use dataplane::control::Detail;
use dataplane::ids::StreamName;
use tokio::sync::{mpsc, oneshot, watch};
use tracing_appender::non_blocking::ErrorCounter;

use super::config::ConfigText;
use super::document::Document;
use super::events::Feeds;
use super::guard::Guard;
use super::reply::{BUSY, Refusal};
use super::requests::Requests;
use super::token::Token;
use super::transfer::IMPORT_BYTES_MAX;
use crate::bridge::{Ask, Gathered, Sighting};
use crate::config::RecordingSection;
use crate::events::Bus;
use crate::hooks::Hooks;
use crate::penalties::Warden;
use crate::record::Shelf;
use crate::troubles::Troubles;
use crate::usage::Book;

/// What requests are answered from.
///
/// Lives on: the control thread; each connection has a clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) limits: watch::Receiver<Limits>,
    pub(super) log_lines_dropped: ErrorCounter,
    pub(super) guard: Guard,
    pub(super) document: Document,
    pub(super) config: ConfigText,
    pub(super) feeds: Feeds,
    pub(super) hooks: Hooks,
    pub(super) usage: Book,
    pub(super) requests: Requests,
    pub(super) troubles: Troubles,
    pub(super) warden: Warden,
    pub(super) shelf: Shelf,
    /// Bytes of the body of an import at most.
    pub(super) import_bytes_max: usize,
}

impl ApiState {
    /// Answers from the bridge behind `asks`.
    #[must_use]
    pub fn new(
        asks: mpsc::Sender<Ask>,
        ready: watch::Receiver<bool>,
        limits: watch::Receiver<Limits>,
        log_lines_dropped: ErrorCounter,
        secrets: (Token, Vec<String>),
        (bus, hooks, usage): (Bus, Hooks, Book),
        troubles: Troubles,
    ) -> Self {
        let (token, hosts) = secrets;
        let guard = Guard { token: Arc::new(token), hosts: hosts.into() };
        let (document, feeds) = (Document::default(), Feeds::new(bus));
        Self {
            asks,
            ready,
            limits,
            log_lines_dropped,
            guard,
            document,
            config: ConfigText::default(),
            feeds,
            hooks,
            usage,
            requests: Requests::default(),
            troubles,
            warden: Warden::default(),
            shelf: Shelf::new(std::path::PathBuf::new(), RecordingSection::default()),
            import_bytes_max: IMPORT_BYTES_MAX,
        }
    }

    /// Takes imports of so many bytes.
    #[must_use]
    pub fn importing(self, bytes_max: u64) -> Self {
        let import_bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self { import_bytes_max, ..self }
    }

    /// Tells of the penalties of `warden`.
    #[must_use]
    pub fn watched_by(self, warden: Warden) -> Self {
        Self { warden, ..self }
    }

    /// Lists and deletes the files of `shelf`.
    #[must_use]
    pub fn keeping(self, shelf: Shelf) -> Self {
        Self { shelf, ..self }
    }

    /// Asks the control loop, and waits for its answer.
    ///
    /// Errors: [`BUSY`] if it takes no more questions or ends before it answers.
    pub(crate) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(ask(reply)).map_err(|_| BUSY)?;
        answer.await.map_err(|_| BUSY)
    }

    /// What every shard tells, now or a moment ago.
    pub(crate) async fn gather(&self, detail: Detail) -> Result<Arc<Gathered>, Refusal> {
        self.ask(|reply| Ask::Snapshot { detail, reply }).await
    }

    /// One stream.
    pub(crate) async fn stream(&self, name: &StreamName) -> Result<Sighting, Refusal> {
        let name = name.clone();
        self.ask(|reply| Ask::Stream { name, reply }).await
    }
}
