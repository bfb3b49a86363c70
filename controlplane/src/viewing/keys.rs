//! Keys: what tokens of HLS viewers are signed with, kept in the store so that a restart ends no
//! view, and changed every day.
//!
//! Shape: JSON under [`PLACE`] in the table `Meta`: a version, the keys in hexadecimal digits, and
//! when the newest was made. Those before it are taken for [`KEYS_BEFORE_MAX`] changes more, so a
//! token is good for a week at least; while a view goes on it vouches for its token itself.
//! Lives on: the control thread, in a task of its own, which waits for the store while the loop
//! does not. Not here: what is signed (`dataplane::session::view_token`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dataplane::session::view_token::{KEYS_BEFORE_MAX, ViewKeys};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::sessions::SessionsAsk;
use crate::bridge::Ask;
use crate::error::Error;
use crate::store::{Store, StoreError, Table, Write};

/// Where they are kept.
const PLACE: &[u8] = b"hls-view-keys";
const VERSION: u32 = 2;
/// Which kept two keys.
const VERSION_BEFORE: u32 = 1;
/// A key signs for this long.
const CHANGE: Duration = Duration::from_secs(86_400);
/// The first keys are waited for so long, then others are made that are not kept.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// What failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(60);

/// The keys as they are kept. No `Debug`: they are secrets.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    current: String,
    /// Newest first.
    #[serde(default)]
    before: Vec<String>,
    /// Of [`VERSION_BEFORE`].
    #[serde(default, skip_serializing)]
    previous: Option<String>,
    /// Unix milliseconds.
    made_ms: u64,
}

/// A key that nobody has seen.
///
/// Errors: the system gives no randomness.
pub fn fresh_key() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Error::System {
        what: "cannot make a key for the sessions of viewers",
        reason: error.to_string(),
        mend: "the system must give random bytes",
    })?;
    Ok(key)
}

/// The keys that the node starts with: those that are kept, so that no viewer of before is refused
/// meanwhile. `None` if the store does not give them: others are made, and it is asked again later.
pub async fn first_keys(store: &Store) -> Option<ViewKeys> {
    let reason = match tokio::time::timeout(FIRST_WAIT, renew(store, SystemTime::now())).await {
        Ok(Ok((keys, _))) => return Some(keys),
        Ok(Err(reason)) => reason.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(%reason, "the keys of viewers' sessions could not be read");
    None
}

/// Gives the shards the keys that are kept, and new ones when it is time.
pub async fn keep_keys(store: Store, asks: mpsc::Sender<Ask>) {
    loop {
        let wait = match renew(&store, SystemTime::now()).await {
            Ok((keys, left)) => {
                let ask = Ask::Sessions(SessionsAsk::Keys(Arc::new(keys)));
                if asks.send(ask).await.is_err() {
                    return;
                }
                left
            }
            Err(reason) => {
                tracing::warn!(%reason, "the keys of viewers' sessions could not be kept");
                AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// The keys in force, and how long they are.
async fn renew(store: &Store, now: SystemTime) -> Result<(ViewKeys, Duration), StoreError> {
    let kept = store.get(Table::Meta, PLACE.to_vec()).await?;
    let kept = kept.and_then(|bytes| Kept::read(&bytes));
    let now_ms = millis(now);
    if let Some((keys, made_ms)) = &kept {
        // A calendar that was set back must not keep a key for years.
        let age = Duration::from_millis(now_ms.saturating_sub(*made_ms));
        if age < CHANGE && *made_ms <= now_ms {
            return Ok((keys.clone(), CHANGE - age));
        }
    }
    let current = fresh_key().map_err(|error| StoreError::Failed(error.to_string()))?;
    let mut keys = ViewKeys { current, before: Vec::new() };
    if let Some((ViewKeys { current, before }, _)) = kept {
        keys.before = std::iter::once(current).chain(before).take(KEYS_BEFORE_MAX).collect();
    }
    let value = Kept::of(&keys, now_ms);
    store
        .commit(vec![Write { table: Table::Meta, key: PLACE.to_vec(), value: Some(value) }])
        .await?;
    Ok((keys, CHANGE))
}

impl Kept {
    fn of(keys: &ViewKeys, made_ms: u64) -> Vec<u8> {
        let (current, before) = (digits(&keys.current), keys.before.iter().map(digits).collect());
        let kept = Self { version: VERSION, current, before, previous: None, made_ms };
        serde_json::to_vec(&kept).expect("texts and numbers always serialise")
    }

    /// The keys and when the newest was made; `None` for what another version wrote.
    fn read(bytes: &[u8]) -> Option<(ViewKeys, u64)> {
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        if !(VERSION_BEFORE..=VERSION).contains(&kept.version) {
            return None;
        }
        let before = kept.before.iter().chain(&kept.previous).take(KEYS_BEFORE_MAX);
        let before = before.map(|text| key(text)).collect::<Option<_>>()?;
        Some((ViewKeys { current: key(&kept.current)?, before }, kept.made_ms))
    }
}

fn digits(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(digits: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if digits.len() != 2 * key.len() || !digits.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(key)
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use dataplane::ids::{SessionId, StreamName};
    use dataplane::session::view_token::ViewSigner;

    use super::*;

    #[tokio::test]
    async fn keys_are_changed_every_day_and_a_token_is_good_for_a_week() {
        let dir = std::env::temp_dir().join(format!("grandstand-keys-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut store = Store::open(&dir).unwrap();
        let (first, left) = renew(&store, start).await.unwrap();
        assert_eq!((first.before.len(), left), (0, CHANGE));
        let later = start + CHANGE / 2;
        assert_eq!(renew(&store, later).await.unwrap(), (first.clone(), CHANGE / 2));
        let (cam, id) = (StreamName::parse("cam").unwrap(), SessionId(7));
        let token = ViewSigner::new(&first).sign(&cam, id, 9);
        for day in 1..=10 {
            // A restart now and then changes nothing.
            if day % 3 == 0 {
                drop(store);
                store = Store::open(&dir).unwrap();
            }
            let (keys, left) = renew(&store, start + CHANGE * day).await.unwrap();
            assert_eq!((left, keys.before.len()), (CHANGE, KEYS_BEFORE_MAX.min(day as usize)));
            let known = ViewSigner::new(&keys).verify(&cam, token);
            assert_eq!(known.is_some(), day <= 7, "day {day}");
        }
        let (tenth, _) = renew(&store, start + CHANGE * 10).await.unwrap();
        let (set_back, _) = renew(&store, start).await.unwrap();
        assert_eq!(set_back.before[0], tenth.current, "the calendar was set back");
        drop(store);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_made_anew() {
        for text in ["", "{}", "{\"version\":3,\"current\":\"00\",\"before\":[],\"made_ms\":0}"] {
            assert!(Kept::read(text.as_bytes()).is_none(), "{text}");
        }
        let keys = ViewKeys { current: [0xa5; 32], before: vec![[1; 32], [2; 32]] };
        assert_eq!(Kept::read(&Kept::of(&keys, 7)), Some((keys, 7)));
    }

    #[test]
    fn two_keys_of_the_version_before_are_read() {
        let (current, previous) = (digits(&[3; 32]), digits(&[2; 32]));
        let text = format!(
            "{{\"version\":1,\"current\":\"{current}\",\"previous\":\"{previous}\",\"made_ms\":9}}"
        );
        let keys = ViewKeys { current: [3; 32], before: vec![[2; 32]] };
        assert_eq!(Kept::read(text.as_bytes()), Some((keys.clone(), 9)));
        let alone = text.replace(&format!("\"{previous}\""), "null");
        let alone = Kept::read(alone.as_bytes()).unwrap().0;
        assert_eq!(alone, ViewKeys { before: Vec::new(), ..keys });
    }
}
