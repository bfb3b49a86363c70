//! Desk: what answers the router in tests of streams and templates, with a registry and a store of
//! its own and no shards.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use tokio::sync::mpsc;

use super::bench::{Answer, Bench};
use crate::bridge::{Ask, Gathered, PeerSnapshots, Sighting};
use crate::registry::{FileStreams, Keeper, Registry};
use crate::store::Store;

/// A router in front of a registry.
pub(crate) struct Desk {
    pub(crate) bench: Bench,
    dir: std::path::PathBuf,
}

impl Desk {
    pub(crate) async fn start(name: &str) -> Self {
        let mut bench = Bench::new(name);
        let asks = std::mem::replace(&mut bench.asks, mpsc::channel(1).1);
        let dir =
            std::env::temp_dir().join(format!("grandstand-desk-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = Store::open(&dir).unwrap();
        let (keeper, registry) =
            Keeper::load(store, FileStreams::default(), 64 << 20).await.unwrap();
        tokio::spawn(serve(asks, keeper, registry));
        Self { bench, dir }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> Answer {
        self.bench.answer(self.bench.request(&method, path, body)).await
    }

    pub(crate) async fn ask_if(
        &self,
        (method, path, body): (Method, &str, &str),
        condition: (header::HeaderName, HeaderValue),
    ) -> Answer {
        let mut request: Request<Body> = self.bench.request(&method, path, body);
        request.headers_mut().extend(HeaderMap::from_iter([condition]));
        self.bench.answer(request).await
    }

    /// An answer that is no JSON.
    pub(crate) async fn text(&self, path: &str) -> String {
        self.bench.text(self.bench.request(&Method::GET, path, "")).await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Answers as the control loop does.
async fn serve(mut asks: mpsc::Receiver<Ask>, mut keeper: Keeper, mut registry: Registry) {
    loop {
        tokio::select! {
            result = keeper.committed() => keeper.finish(result, &mut registry),
            ask = asks.recv() => match ask {
                Some(Ask::Registry(ask)) => keeper.ask(ask, &mut registry),
                Some(Ask::Snapshot { reply, .. }) => drop(reply.send(seen())),
                Some(Ask::Stream { name, reply }) => {
                    let (item, gathered) = (registry.stream(&name), seen());
                    let peers = PeerSnapshots::default();
                    drop(reply.send(Sighting { item, gathered, peers, recording: None }));
                }
                Some(other) => panic!("{other:?}"),
                None => return,
            }
        }
    }
}

fn seen() -> Arc<Gathered> {
    Arc::new(Gathered { asked_at: Some(Instant::now()), ..Gathered::default() })
}
