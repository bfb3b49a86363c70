//! Keys of SRT callers: derived for one host after the other, in a share of each turn.
//!
//! ```text
//!   allowed, its name is free, its log is there --keys--> waits --derived--> is begun once more
//! ```
//!
//! A derivation takes half a millisecond and more. Whoever calls often waits behind itself, and
//! media waits for nobody: a turn derives until its share of time is over.
//!
//! Limits: one place for each connection that was allowed something and waits for nothing else;
//! those are bounded by address, and by the rates at which they come.

use std::collections::{HashMap, VecDeque};

use super::ingress::fence;
use super::shard::Shard;
use crate::config::AddrRange;
use crate::rates::address_of;
use crate::reactor::Token;
use crate::session::srt::Settings;

/// Who waits for its keys. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(super) struct Derivations {
    /// Hosts in the order of their turns.
    turns: VecDeque<AddrRange>,
    waiting: HashMap<AddrRange, VecDeque<Token>>,
}

impl Derivations {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    fn push(&mut self, host: AddrRange, token: Token) {
        let waiting = self.waiting.entry(host).or_default();
        if waiting.is_empty() {
            self.turns.push_back(host);
        }
        if !waiting.contains(&token) {
            waiting.push_back(token);
        }
    }

    /// The next one of the host whose turn it is.
    fn pop(&mut self) -> Option<Token> {
        let host = self.turns.pop_front()?;
        let waiting = self.waiting.get_mut(&host)?;
        let token = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&host);
        } else {
            self.turns.push_back(host);
        }
        token
    }
}

impl Shard {
    /// True if the keys of the caller in `slot` are still to be derived before it is let in.
    pub(super) fn awaits_keys(&self, slot: u32) -> bool {
        let server = self.connections.get(slot).and_then(|c| c.session.srt());
        server.is_some_and(|server| server.awaits_keys(&self.settings_of(slot)))
    }

    /// What the connection of a caller is made with: the secret is that of what it was allowed.
    pub(super) fn settings_of(&self, slot: u32) -> Settings {
        let asked = self.connections.get(slot).and_then(|connection| connection.asked.as_ref());
        self.config.srt.settings_by(asked.and_then(|asked| asked.passphrase.as_deref()))
    }

    /// Its keys are derived in turn; then [`Self::begin_allowed`] is called again.
    pub(super) fn queue_keys(&mut self, slot: u32) {
        let token = self.connections.token(slot);
        let Some(connection) = self.connections.get(slot) else { return };
        self.derivations.push(address_of(connection.peer.ip), token);
    }

    /// Derives the keys of the next caller in turn, and lets it in; false if nobody waits.
    pub(super) fn next_derivation(&mut self) -> bool {
        let Some(token) = self.derivations.pop() else { return false };
        if !self.connections.is_current(token) {
            return true;
        }
        let settings = self.settings_of(token.slot);
        let Some(mut connection) = self.connections.take(token.slot) else { return true };
        let seed = self.key_seed(connection.id);
        // Who was refused meanwhile asks for nothing any more.
        let derived = fence(&mut connection, |session| {
            session.srt_mut().into_iter().for_each(|server| server.derive_keys(&settings, seed));
            Ok(())
        });
        self.connections.put(token.slot, connection);
        if let Err(error) = derived {
            self.fail(token.slot, &error);
            return true;
        }
        if self.is_dialled(token.slot) {
            self.settle(token.slot);
        } else {
            self.begin_allowed(token.slot);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_their_turns_however_often_they_call() {
        let mut derivations = Derivations::default();
        let host = |text: &str| address_of(text.parse().unwrap());
        for slot in 1..=200 {
            derivations.push(host("192.0.2.1"), Token::new(slot, 0));
        }
        derivations.push(host("192.0.2.1"), Token::new(1, 0));
        derivations.push(host("192.0.2.2"), Token::new(300, 0));
        derivations.push(host("192.0.2.3"), Token::new(400, 0));
        let mut order = std::iter::from_fn(|| derivations.pop().map(|token| token.slot));
        assert_eq!(order.by_ref().take(5).collect::<Vec<_>>(), [1, 300, 400, 2, 3]);
        assert_eq!(order.count(), 197, "each once");
        assert!(derivations.is_empty() && derivations.waiting.is_empty());
    }
}
