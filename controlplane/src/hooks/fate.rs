//! Fate: dead letters are tried again, or deleted, when somebody says so.
//!
//! A few at a time: what happens meanwhile is kept in between, and letters that do not fit into one
//! commit are several.

use std::collections::VecDeque;
use std::sync::Arc;

use super::hook::Hook;
use super::keeper::{COMMIT_MAX, Keeper, weight};
use super::ledger::HooksError;
use super::letter;
use super::order::{Fate, Moved};
use super::parcel::{self, Parcel};
use crate::store::{StoreError, Table};

/// Letters of one commit at most.
const LETTERS_MAX: usize = 64;

impl Keeper {
    /// Does with one dead letter of a hook, or with all, what was asked; what cannot be read stays.
    ///
    /// Errors: there is no such hook or letter, it cannot be read, or the store refused: what was
    /// done until then stays done.
    pub(super) async fn decide(
        &mut self,
        id: &str,
        letter: Option<u64>,
        fate: Fate,
    ) -> Result<Moved, HooksError> {
        let hook = self.shared.hook(id).ok_or(HooksError::Unknown)?;
        let mut rest: VecDeque<u64> = match letter {
            Some(number) if hook.work().letters.contains(&number) => [number].into(),
            Some(_) => return Err(HooksError::UnknownLetter),
            None => hook.work().letters.iter().copied().collect(),
        };
        let mut moved = Moved { events: 0, unread: 0 };
        loop {
            let some = self.some(id, &hook, &mut rest, fate).await?;
            moved.events += some.events;
            moved.unread += some.unread;
            if rest.is_empty() {
                break;
            }
            self.turn().await;
        }
        match letter.is_some() && moved.unread > 0 {
            true => Err(HooksError::UnreadableLetter),
            false => Ok(moved),
        }
    }

    /// Does so with the first of `numbers`, in one commit.
    async fn some(
        &self,
        id: &str,
        hook: &Hook,
        numbers: &mut VecDeque<u64>,
        fate: Fate,
    ) -> Result<Moved, StoreError> {
        let (mut writes, mut parcels, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut unread) = (0, 0);
        while gone.len() < LETTERS_MAX
            && bytes < COMMIT_MAX.1
            && let Some(number) = numbers.pop_front()
        {
            // It may have gone for a newer one meanwhile.
            if !hook.work().letters.contains(&number) {
                continue;
            }
            if fate == Fate::Retry {
                let Some(parcel) = self.read_letter(id, hook, number).await? else {
                    tracing::error!(hook = id, letter = number, "a dead letter cannot be read");
                    unread += 1;
                    continue;
                };
                let write = parcel.keep(id);
                bytes += weight(&write);
                writes.push(write);
                parcels.push(Arc::new(parcel));
            }
            writes.push(letter::exhume(id, number));
            gone.push(number);
        }
        let events = gone.len() as u64;
        if events > 0 {
            self.shared.store.commit(writes).await?;
            hook.work().letters.retain(|number| !gone.contains(number));
            hook.push(parcels);
        }
        Ok(Moved { events, unread })
    }

    /// The event of a dead letter, as the next one of its hook; `None` if it cannot be read.
    async fn read_letter(
        &self,
        id: &str,
        hook: &Hook,
        number: u64,
    ) -> Result<Option<Parcel>, StoreError> {
        let key = parcel::key(id, number);
        let value = self.shared.store.get(Table::DeadLetters, key).await?.unwrap_or_default();
        let mut work = hook.work();
        let parcel = letter::read(&value).and_then(|(_, event)| Parcel::parse(work.next, event));
        work.next += u64::from(parcel.is_some());
        Ok(parcel)
    }
}
