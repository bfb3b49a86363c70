//! Rig: hooks over a store on the disk, and scripted receivers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::super::{DeadLetter, HookSpec, HookState, Hooks, HooksError};
use crate::events::{Bus, Kind, RingLimits, Wants};
use crate::outbound::scripted::{Application, Reply};
use crate::registry::Condition;
use crate::store::Store;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Hooks with a directory of their own.
pub(super) struct Rig {
    pub(super) bus: Bus,
    pub(super) hooks: Hooks,
    pub(super) store: Store,
}

/// An address that is bound and that nobody listens on: who connects is refused.
pub(super) struct Closed(TcpSocket);

impl Closed {
    pub(super) fn new() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(bound)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.0.local_addr().unwrap())
    }
}

/// A directory that is removed at the end.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("grandstand-hooks-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Rig {
    pub(super) fn new(dir: &Dir, configured: Vec<HookSpec>) -> Self {
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let store = Store::open(&dir.0).unwrap();
        let hooks = Hooks::start(store.clone(), bus.clone(), &dir.0.join("hooks"), configured);
        Self { bus, hooks, store }
    }

    /// Has the file say this from now on.
    pub(super) fn configure(&self, specs: Vec<HookSpec>) {
        let place = self.hooks.admit(&specs).unwrap();
        self.hooks.configure(place, specs);
    }

    pub(super) fn lost(&self, stream: &str) {
        self.bus.publish(StreamName::parse(stream).as_ref(), None, Kind::StreamLost {});
    }

    pub(super) fn state(&self, id: &str) -> HookState {
        self.hooks.get(id).unwrap()
    }

    /// Returns when hooks want this.
    pub(super) async fn until_wants(&self, wants: Wants) {
        let deadline = Instant::now() + PATIENCE;
        while self.bus.wants() != wants {
            assert!(Instant::now() < deadline, "{:?}, not {wants:?}", self.bus.wants());
            tokio::task::yield_now().await;
        }
    }

    /// Returns when the hook is in that state.
    pub(super) async fn until(&self, id: &str, holds: impl Fn(&HookState) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.hooks.get(id).as_ref().is_some_and(&holds) {
            assert!(Instant::now() < deadline, "{:?}", self.hooks.get(id));
            tokio::task::yield_now().await;
        }
    }
}

/// Puts a hook, whatever there is; true if there was none.
pub(super) async fn put(hooks: &Hooks, spec: HookSpec) -> Result<bool, HooksError> {
    hooks.put(spec, Condition::default()).await.map(|made| made.created)
}

/// Deletes a hook, whatever it is.
pub(super) async fn delete(hooks: &Hooks, id: &str) -> Result<(), HooksError> {
    hooks.delete(id, Condition::default()).await
}

/// A hook of the loss of streams, one at a time.
pub(super) fn spec(id: &str, target: &str) -> HookSpec {
    let json = serde_json::json!({
        "id": id, "type": "http", "target": target, "types": ["stream.lost"], "batch_max": 1,
    });
    serde_json::from_value(json).unwrap()
}

/// A receiver, and what it is asked.
pub(super) fn receiver(
    script: impl Fn(&str) -> Reply + Send + Sync + 'static,
) -> (Application, UnboundedReceiver<String>) {
    let (asked, seen) = unbounded_channel();
    let application = Application::start(move |request| {
        let _ = asked.send(request.to_owned());
        script(request)
    });
    (application, seen)
}

pub(super) fn ok() -> Reply {
    Reply::status(204, "", "")
}

pub(super) async fn next(seen: &mut UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, seen.recv()).await.expect("a request in time").unwrap()
}

pub(super) fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let line = request
        .lines()
        .find(|line| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name)));
    line?.split_once(':').map(|(_, value)| value.trim())
}

pub(super) fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").unwrap().1
}

pub(super) fn json_of(letter: &DeadLetter) -> Value {
    serde_json::from_str(letter.event.as_ref().unwrap()).unwrap()
}

/// The events of a request that is a list.
pub(super) fn list(request: &str) -> Vec<Value> {
    json(request).as_array().unwrap().clone()
}

pub(super) fn json(request: &str) -> Value {
    serde_json::from_str(body(request)).unwrap()
}
