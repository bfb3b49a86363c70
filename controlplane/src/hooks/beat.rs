//! Beat: tells a receiver again and again that this node is there, in dialects that have a word for
//! it.
//!
//! A beat that does not come through is not told later: it would say what was, not what is. So it
//! is not in the queue, waits for nothing in it, and one follows the other.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::hook::Hook;
use super::spec::HookSpec;
use crate::outbound::{Address, Client};

/// The word.
const CALL: &str = "on_server_keepalive";

/// Beats until the hook is over.
pub(super) async fn beat(hook: Arc<Hook>, client: Client, node: String) {
    let mut failing = false;
    while !hook.is_over() {
        let spec = hook.spec();
        if !spec.enabled || !spec.hears(CALL) {
            hook.respecified.notified().await;
            continue;
        }
        let next = Instant::now() + Duration::from_millis(spec.interval_ms);
        let failure = tell(&spec, &client, &node).await.err();
        match &failure {
            Some(reason) if !failing => {
                tracing::warn!(hook = spec.id, %reason, "the receiver is not told that we live");
            }
            None if failing => tracing::info!(hook = spec.id, "the receiver is told that we live"),
            _ => {}
        }
        failing = failure.is_some();
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = hook.respecified.notified() => {}
        }
    }
}

/// Errors: why the receiver did not take it.
async fn tell(spec: &HookSpec, client: &Client, node: &str) -> Result<(), String> {
    let address = Address::parse(&spec.target).ok_or("the target is no URL")?;
    let note = spec.dialect.alive(node).ok_or("the dialect has no word for it")?;
    let call = spec.envelope().call(&address, &note, SystemTime::now(), spec.timeout())?;
    match client.send(call).await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered {}", answer.status.as_u16())),
        Err(failure) => Err(failure.to_string()),
    }
}
