//! Orders: what shards are told to do, all of them or one.

use std::sync::Arc;

use dataplane::config::Reload;
use dataplane::control::{Command, CoreUse, HttpChallenge};
use dataplane::ids::ShardId;
use dataplane::session::tls::Identity;

use super::exchange::Exchange;
use super::fleet::Fleet;

impl<F: Fleet> Exchange<F> {
    /// Gives every shard its new values.
    pub fn reload(&mut self, reload: &Arc<Reload>) {
        self.tell_all(|| Command::Reload(Arc::clone(reload)));
    }

    /// Has every shard prove itself by `identity` from now on; whoever was let in stays so.
    pub fn renew(&mut self, identity: &Identity) {
        self.tell_all(|| Command::Identity(identity.clone()));
    }

    /// Has every shard answer an authority of certificates with `challenge`, or with nothing.
    pub fn challenge(&mut self, challenge: Option<&Arc<HttpChallenge>>) {
        self.tell_all(|| Command::Challenge(challenge.cloned()));
    }

    /// Tells a shard what its core did lately.
    pub fn core_used(&mut self, shard: ShardId, used: CoreUse) {
        self.tell(shard, Command::CoreUsed(used));
    }

    /// Lets every shard end its sessions, then itself.
    pub fn drain(&mut self) {
        self.recorder.close();
        self.tell_all(|| Command::Drain);
    }

    /// Ends every shard now.
    pub fn stop(&mut self) {
        self.tell_all(|| Command::Stop);
    }

    /// Tells a shard, unless it has stopped.
    pub(super) fn tell(&mut self, shard: ShardId, command: Command) {
        if self.live[shard.index()] {
            self.outbox.send(&mut self.fleet, shard, command);
        }
    }

    /// Tells every shard that has not stopped.
    pub(super) fn tell_all(&mut self, command: impl Fn() -> Command) {
        for shard in self.shards() {
            self.tell(shard, command());
        }
    }
}
