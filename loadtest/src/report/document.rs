//! The whole of a run's results: what JSON holds and what the page shows.

use std::ffi::OsString;

use serde::Serialize;

use super::section::Section;
use crate::impair::ImpairSummary;
use crate::listing::Listing;
use crate::mirror::MirrorTotals;
use crate::mpegts::Verdict;
use crate::observe::{Machine, PlayerSample, Series, ServerSample};
use crate::publisher::PublishSummary;
use crate::scenario::{Knee, Soak};

/// The results of a run, with what is needed to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name and version of the generator.
    pub generator: String,
    /// Name and version of the server, if they are known.
    pub server: Option<String>,
    /// The [`command`].
    pub command: String,
    /// When it began, in UTC.
    pub started_at: String,
    /// How long it took.
    pub duration_s: f64,
    /// It was told to end before it was over.
    pub interrupted: bool,
    /// Where it ran.
    pub machine: Machine,
    /// One for each number of players.
    pub measurements: Vec<Section>,
    /// What was published.
    pub published: Option<PublishSummary>,
    /// What was copied into a folder, if something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrored: Option<MirrorTotals>,
    /// What a bad network made of what it was given, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impaired: Option<ImpairSummary>,
    /// What is wrong with a transport stream, if one was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What is read of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// How many players hold, if that was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
    /// How memory grew, in a soak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    /// What broke of what was expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub breaches: Vec<String>,
    /// Why the run could not go on, or the server could not be seen any more, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What was seen once a second.
    pub series: SeriesPair,
}

/// What was seen once a second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SeriesPair {
    /// Of players.
    pub players: Series<PlayerSample>,
    /// Of the server.
    pub server: Series<ServerSample>,
}

/// What was called, for a file that may be shown to others: of an address, who asks (`USER:KEY@`)
/// and the query are hidden, because they may hold a key. Paths stand as they are: a stream's name
/// cannot be told from a key in its place.
#[must_use]
pub fn command(words: impl IntoIterator<Item = OsString>) -> String {
    let shown = words.into_iter().map(|word| without_keys(&word.to_string_lossy()));
    shown.collect::<Vec<_>>().join(" ")
}

fn without_keys(word: &str) -> String {
    let (address, query) = match word.split_once('?') {
        Some((address, _)) => (address, "?..."),
        None => (word, ""),
    };
    if let Some((scheme, rest)) = address.split_once("://") {
        let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
        if let Some(at) = authority.rfind('@') {
            return format!("{scheme}://...{}{query}", &rest[at..]);
        }
    }
    format!("{address}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_shows_no_key() {
        for (word, shown) in [
            ("--quiet", "--quiet"),
            ("rtmp://h/live/a", "rtmp://h/live/a"),
            ("rtmp://h/live/a?key=sesame", "rtmp://h/live/a?..."),
            ("--url=http://me:sesame@h:80/a.flv?key=sesame", "--url=http://...@h:80/a.flv?..."),
            ("http://sesame@h", "http://...@h"),
            ("http://me:s@same@h/a@b", "http://...@h/a@b"),
            ("http://h/a@b", "http://h/a@b"),
        ] {
            assert_eq!(command([word.into()]), shown);
        }
        assert_eq!(command(["play".into(), "a?b".into()]), "play a?...");
    }
}
