//! What a server says of a stream, without what only those may know who ask for it.
//!
//! A key stands in the stream's name or in its query, and servers repeat either in their words:
//! `Failed to play NAME?QUERY; stream not found`. Each part of what was asked becomes [`STARS`].
//! Limits: [`WORDS_MAX`] letters.

use codecs::http1::{percent_decode, query_pairs};

use super::client::Address;

/// Letters of a server's own words that are kept.
const WORDS_MAX: usize = 200;
/// What stands for what is hidden.
const STARS: &str = "***";
/// What is shorter is hidden as a whole word alone: it is in many others.
const PART_BYTES_MIN: usize = 4;

/// A server's text without the stream that it was asked for, fit to be told.
pub(super) fn words(text: &str, asked: &str) -> String {
    let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
    let mut hidden = vec![false; text.len()];
    for part in parts(asked) {
        for (at, _) in text.match_indices(&part) {
            let end = at + part.len();
            if part.len() >= PART_BYTES_MIN || is_word(&text, at, end) {
                hidden[at..end].fill(true);
            }
        }
    }
    let (mut told, mut letters, mut before) = (String::new(), 0, false);
    for (at, letter) in text.char_indices() {
        let is_hidden = hidden[at];
        if letters >= WORDS_MAX {
            break;
        }
        if !is_hidden {
            told.push(letter);
            letters += 1;
        } else if !before {
            told.push_str(STARS);
            letters += STARS.len();
        }
        before = is_hidden;
    }
    told
}

/// Where a server says that the stream is, without its name; `None` if that is no address.
pub(super) fn place(text: &str, asked: &Address) -> Option<String> {
    let Address { tc_url, app, stream, .. } = Address::parse(text).ok()?;
    let head: String = tc_url.strip_suffix(&app)?.chars().take(WORDS_MAX).collect();
    if stream.0.is_empty() && app != asked.app {
        // The only part of the path may be the stream.
        return Some(format!("{head}{STARS}"));
    }
    Some(format!("{head}{}/{STARS}", words(&app, &asked.stream.0)))
}

/// What is hidden of a stream with its query: the whole, each part, and what each decodes to.
fn parts(asked: &str) -> Vec<String> {
    let (name, query) = asked.split_once('?').unwrap_or((asked, ""));
    let last = name.rsplit(['/', ':']).next().unwrap_or(name);
    let values = query_pairs(query).map(|(key, value)| if value.is_empty() { key } else { value });
    let plain = [asked, name, last, query].into_iter().chain(values);
    let mut parts: Vec<String> = plain.map(str::to_owned).collect();
    let decoded: Vec<_> = parts.iter().filter_map(|part| percent_decode(part).ok()).collect();
    parts.extend(decoded);
    parts.retain(|part| !part.is_empty());
    parts
}

/// True if no letter or digit stands right before or after.
fn is_word(text: &str, start: usize, end: usize) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    !is_part(text[..start].chars().next_back()) && !is_part(text[end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_in_no_words() {
        for (asked, said, told) in [
            ("k3y-77", "Failed to play k3y-77; not found", "Failed to play ***; not found"),
            (
                "cam?key=hunter2&v=1",
                "Failed to play cam?key=hunter2&v=1; stream not found",
                "Failed to play ***; stream not found",
            ),
            ("cam?key=hunter2", "no hunter2, nor a camera", "no ***, nor a camera"),
            ("cam?key=hunter2", "cam: key=hunter2 is wrong", "***: *** is wrong"),
            ("a?x=1", "1 of 11 (a) at x", "*** of 11 (***) at x"),
            ("cam?t0ken", "t0ken?", "***?"),
            ("mp4:show1", "[show1] is not there", "[***] is not there"),
            ("cam?key=%C3%A4%20bc", "key %C3%A4%20bc is \u{e4} bc", "key *** is ***"),
            ("cam?key=hunter2", "hun\u{7}ter2", "***"),
            ("k3y-77", "k3y-77k3y-77", "***"),
            ("", "Not found.", "Not found."),
        ] {
            assert_eq!(words(said, asked), told, "{asked}");
        }
    }

    #[test]
    fn a_key_at_the_end_of_what_is_kept_is_not_cut() {
        let said = format!("{}hunter2{}", "x".repeat(WORDS_MAX - 3), "y".repeat(WORDS_MAX));
        let told = words(&said, "cam?key=hunter2");
        assert_eq!(told, format!("{}***", "x".repeat(WORDS_MAX - 3)));
        assert_eq!(words(&"\u{e4}".repeat(300), "cam"), "\u{e4}".repeat(WORDS_MAX));
    }

    #[test]
    fn a_place_is_told_without_its_stream() {
        let asked = Address::parse("rtmp://h/live/hunter2?k=12345").unwrap();
        for (said, told) in [
            ("rtmp://other:1936/live/cam?token=abc", Some("rtmp://other:1936/live/***")),
            ("rtmps://[::1]/a/hunter2/cam", Some("rtmps://[::1]/a/***/***")),
            ("rtmp://other/live", Some("rtmp://other/live/***")),
            ("rtmp://other/s3cret", Some("rtmp://other/***")),
            ("rtmp://other/app?token=abc", Some("rtmp://other/app/***")),
            ("rtmp://user:word@other/live/cam", None),
            ("http://other/live/cam", None),
        ] {
            assert_eq!(place(said, &asked).as_deref(), told, "{said}");
        }
    }
}
