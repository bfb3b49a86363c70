//! File id: what a file of a recording is called.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::security::moment;

/// Letters of the moment in it: `20260131T170000Z`.
const MOMENT_LEN: usize = 16;
/// Digits of the number at most.
const DIGITS_MAX: usize = 6;

/// The name of a file without its folder and its ending, of which there is one on the node.
///
/// Shape: `YYYYMMDDTHHMMSSZ-N`: the second, in UTC, in which it was begun, and a number from 1 that
/// keeps those of one second apart. Names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(Arc<str>);

impl FileId {
    /// The name of the file with that number of the second that `at` is in.
    #[must_use]
    pub fn new(at: SystemTime, number: u32) -> Self {
        let moment: String = moment(at).chars().filter(|&letter| letter != '-').collect();
        let second = moment.split('.').next().unwrap_or_default().replace(':', "");
        Self(format!("{}Z-{number}", second.trim_end_matches('Z')).into())
    }

    /// Reads a name; `None` if no recording is called that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (moment, number) = text.split_once('-')?;
        let shape = moment.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let counts = (1..=DIGITS_MAX).contains(&number.len()) && !number.starts_with('0');
        (moment.len() == MOMENT_LEN && shape && digits && counts).then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was begun, as RFC 3339 writes it, to the second.
    #[must_use]
    pub fn began(&self) -> String {
        let part = |from: usize, to: usize| &self.0[from..to];
        format!(
            "{}-{}-{}T{}:{}:{}Z",
            part(0, 4),
            part(4, 6),
            part(6, 8),
            part(9, 11),
            part(11, 13),
            part(13, 15)
        )
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_file_is_named_by_its_second_and_a_number() {
        let at = UNIX_EPOCH + Duration::from_millis(1_777_863_721_123);
        let id = FileId::new(at, 12);
        assert_eq!(id.as_str(), "20260504T030201Z-12");
        assert_eq!(id.began(), "2026-05-04T03:02:01Z");
        assert_eq!(FileId::parse(id.as_str()), Some(id));
        let whole = FileId::new(UNIX_EPOCH + Duration::from_secs(1_777_863_721), 1);
        assert_eq!(whole.as_str(), "20260504T030201Z-1");
    }

    #[test]
    fn nothing_else_is_a_name() {
        for text in [
            "",
            "20260504T030201Z",
            "20260504T030201Z-",
            "20260504T030201Z-0",
            "20260504T030201Z-1234567",
            "20260504T030201Z-1/..",
            "20260504030201ZZ-1",
            "../60504T030201Z-1",
            "2026é504T030201Z-1",
        ] {
            assert_eq!(FileId::parse(text), None, "{text}");
        }
    }
}
