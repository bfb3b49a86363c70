//! Reading: the texts of variables as values of keys.

use super::super::document::Datum;
use super::super::settings::Settings;

/// Reads a text: `Ok(None)` if it changes nothing, `Err` with what was expected.
pub(super) type Reading = fn(&str, &Settings) -> Result<Option<Datum>, &'static str>;

type Outcome = Result<Option<Datum>, &'static str>;

pub(super) fn text(text: &str, _: &Settings) -> Outcome {
    Ok(Some(Datum::Text(text.to_owned())))
}

pub(super) fn number(text: &str, _: &Settings) -> Outcome {
    whole(text).map(|number| Some(Datum::Integer(number)))
}

pub(super) fn seconds(text: &str, _: &Settings) -> Outcome {
    let millis = whole(text)?.checked_mul(1_000).ok_or("fewer seconds")?;
    Ok(Some(Datum::Integer(millis)))
}

/// Seconds between two looks at something; none and fewer are never.
pub(super) fn pause(text: &str, settings: &Settings) -> Outcome {
    match whole(text)? {
        some @ 1.. => seconds(&some.to_string(), settings),
        _ => Ok(Some(Datum::Integer(0))),
    }
}

/// As the originals: on only by its one word.
pub(super) fn yes(text: &str, _: &Settings) -> Outcome {
    Ok(Some(Datum::Flag(is_yes(text))))
}

pub(super) fn debug(text: &str, _: &Settings) -> Outcome {
    Ok(is_yes(text).then(|| Datum::Text("debug".to_owned())))
}

/// As the originals: off only by its one word. Who wants no line for each request wants none for
/// each session either.
pub(super) fn requests(text: &str, _: &Settings) -> Outcome {
    Ok(is_no(text).then(|| Datum::Text("warn".to_owned())))
}

pub(super) fn scheme(text: &str, _: &Settings) -> Outcome {
    word(text, &["none", "basic", "bearer", "custom"], "Basic, Bearer or Custom")
}

pub(super) fn commands_scheme(text: &str, _: &Settings) -> Outcome {
    word(text, &["none", "basic", "bearer"], "Basic or Bearer")
}

/// Addresses and ranges between commas, or `*` for everybody.
pub(super) fn ranges(text: &str, _: &Settings) -> Outcome {
    if text.trim() == "*" {
        let everybody = ["0.0.0.0/0", "::/0"].map(|range| Datum::Text(range.to_owned()));
        return Ok(Some(Datum::List(everybody.into())));
    }
    Ok(Some(Datum::Text(text.to_owned())))
}

/// Megabytes of a group of pictures at most: no more than a stream may take in all, and no less
/// than its key can be, with which no group of a video is kept.
pub(super) fn gop(text: &str, settings: &Settings) -> Outcome {
    let megabytes = u64::try_from(whole(text)?).map_err(|_| "a number of megabytes, 0 for none")?;
    let bytes = megabytes.saturating_mul(1 << 20).min(settings.stream.bytes_max).max(64 << 10);
    Ok(Some(Datum::Integer(i64::try_from(bytes).unwrap_or(i64::MAX))))
}

fn whole(text: &str) -> Result<i64, &'static str> {
    text.trim().parse().map_err(|_| "a whole number")
}

pub(super) fn is_yes(text: &str) -> bool {
    matches!(text.trim().to_ascii_uppercase().as_str(), "YES" | "TRUE" | "1")
}

fn is_no(text: &str) -> bool {
    matches!(text.trim().to_ascii_uppercase().as_str(), "NO" | "FALSE" | "0")
}

fn word(text: &str, words: &[&str], expected: &'static str) -> Outcome {
    let text = text.trim().to_ascii_lowercase();
    if words.contains(&text.as_str()) { Ok(Some(Datum::Text(text))) } else { Err(expected) }
}
