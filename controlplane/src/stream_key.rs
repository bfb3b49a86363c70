//! Stream key: `grandstand key make` and `grandstand key hash`, for `[[auth.keys]]` of the file.

use std::io::BufRead;

use crate::auth::KeyHash;
use crate::error::{Error, reason};

/// Random bytes of a key that is made here: nobody guesses it, so that its hash may be a fast one.
const RANDOM_BYTES: usize = 16;
/// Bytes of a key that is read at most.
const KEY_BYTES_MAX: u64 = 1_024;

/// A new key, and what is kept of it.
///
/// Errors: the system gives no random bytes.
pub fn make() -> Result<String, Error> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|_| no_chance())?;
    let key: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = KeyHash::make(&key).ok_or_else(no_chance)?;
    Ok(format!("key   {key}\nhash  {hash}\n"))
}

/// What is kept of the key that is the first line of `input`. It is read, not named as an
/// argument, because every user of a machine sees the arguments of every program.
///
/// Errors: there is none, or none that a URL could carry.
pub fn hash(input: impl BufRead) -> Result<String, Error> {
    let mut line = String::new();
    input.take(KEY_BYTES_MAX).read_line(&mut line).map_err(|error| Error::System {
        what: "cannot read the key",
        reason: reason(&error),
        mend: "write it to standard input as one line of text",
    })?;
    let key = line.trim_end_matches(['\r', '\n']);
    if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::Usage(
            "key hash reads a key without spaces from standard input".to_owned(),
        ));
    }
    let hash = KeyHash::make(key).ok_or_else(no_chance)?;
    Ok(format!("{hash}\n"))
}

fn no_chance() -> Error {
    Error::System {
        what: "cannot make a key",
        reason: "there are no random bytes".to_owned(),
        mend: "the system must give some",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_opens_what_it_is_for() {
        let text = make().unwrap();
        let word = |name| {
            let line = text.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        let (key, kept) = (word("key"), KeyHash::parse(&word("hash")).unwrap());
        assert!(kept.matches(&key) && key.len() == 2 * RANDOM_BYTES);
        assert_ne!(make().unwrap(), text);
        let kept = hash(format!("{key}\r\nmore").as_bytes()).unwrap();
        assert!(KeyHash::parse(kept.trim()).unwrap().matches(&key));
        for bad in ["", "\n", "two words\n", "tab\there\n"] {
            assert_eq!(hash(bad.as_bytes()).unwrap_err().status(), 2, "{bad:?}");
        }
    }
}
