//! Letter: an event that a hook gave up, kept for whoever mends the receiver.

use serde::{Deserialize, Serialize};

use super::parcel::{Parcel, key};
use crate::store::{Table, Write};

/// Dead letters of one hook at most; beyond that the oldest go.
pub const DEAD_LETTERS_MAX: usize = 1_000;
/// Stands before the event in a value; it cannot stand within a text, where quotes are escaped.
const EVENT: &str = ",\"event\":";

/// Why an event was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    /// The version of this form.
    v: u8,
    /// What failed last.
    pub(super) reason: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    /// When it was given up.
    pub(super) at: String,
}

impl Verdict {
    pub(super) const fn new(reason: String, attempts: u32, at: String) -> Self {
        Self { v: 1, reason, attempts, at }
    }
}

/// Puts a parcel among the dead letters.
pub(super) fn bury(hook: &str, parcel: &Parcel, verdict: &Verdict) -> Write {
    let mut value = serde_json::to_string(verdict).expect("a verdict has text for keys");
    value.pop();
    let value = [&value, EVENT, &parcel.json, "}"].concat().into_bytes();
    Write { table: Table::DeadLetters, key: key(hook, parcel.number), value: Some(value) }
}

/// Takes one out of the dead letters.
pub(super) fn exhume(hook: &str, number: u64) -> Write {
    Write { table: Table::DeadLetters, key: key(hook, number), value: None }
}

/// Why and which event; `None` if the value is no dead letter.
pub(super) fn read(value: &[u8]) -> Option<(Verdict, &str)> {
    let text = std::str::from_utf8(value).ok()?;
    let (head, event) = text.split_once(EVENT)?;
    let verdict = serde_json::from_str(&format!("{head}}}")).ok()?;
    Some((verdict, event.strip_suffix('}')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_tells_why_and_keeps_the_event() {
        let json = r#"{"id":"1","type":"hook.test","stream":null,"data":{"x":",\"event\":"}}"#;
        let parcel = Parcel::parse(7, json).unwrap();
        let verdict = Verdict::new("a \"quoted\",\"event\": reason".into(), 3, "now".into());
        let write = bury("a", &parcel, &verdict);
        assert_eq!(write.key, exhume("a", 7).key);
        let value = write.value.unwrap();
        assert_eq!(read(&value), Some((verdict, json)));
        let whole: serde_json::Value = serde_json::from_slice(&value).unwrap();
        assert_eq!(whole["event"]["id"], "1");
    }
}
