//! Which resource a request target names.

use codecs::http1::percent_decode;

use super::pages::{INDEX, NATIVE_SCRIPT, PLAYER, PLAYER_SCRIPT, Page};
use crate::ids::StreamName;
use crate::session::Format;
use crate::session::rtmp::{Params, stream_of};

/// A resource.
#[derive(Debug)]
pub(super) enum Route {
    /// A stream, in this format.
    Stream(StreamName, Format, Params),
    /// A built-in page.
    Page(Page),
    /// The list of streams.
    Directory,
    /// The icon that browsers ask for; there is none.
    Icon,
    /// Nothing.
    Unknown,
}

impl Route {
    /// Finds the resource of a path and query as they were sent.
    pub(super) fn of(path: &str, query: Option<&str>) -> Self {
        match path {
            "/" | "/index.html" => return Self::Page(INDEX),
            "/player.js" => return Self::Page(PLAYER_SCRIPT),
            "/native.js" => return Self::Page(NATIVE_SCRIPT),
            "/streams.json" => return Self::Directory,
            "/favicon.ico" => return Self::Icon,
            _ => {}
        }
        // A dot is legal in no name, so the suffix is told from the name whatever its encoding.
        let Ok(path) = percent_decode(path) else { return Self::Unknown };
        let formats = [(".flv", Format::Flv), (".ts", Format::MpegTs)];
        let found = formats
            .iter()
            .find_map(|&(suffix, format)| Some((path.strip_suffix(suffix)?, Some(format))));
        let (name, format) = found.unwrap_or((&path, None));
        // The path was decoded once already: what still looks encoded is no legal letter.
        let Some(stream) = stream_of(name).filter(|_| !name.contains('%')) else {
            return Self::Unknown;
        };
        let Some(format) = format else { return Self::Page(PLAYER) };
        let mut params = Params::default();
        match params.take(query.unwrap_or_default()) {
            Some(()) => Self::Stream(stream, format, params),
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        match Route::of(path, query) {
            Route::Stream(name, format, params) => {
                let format = if format == Format::Flv { "flv" } else { "ts" };
                format!("{format} {name} {}", params.key.0)
            }
            Route::Page(page) => format!("page {}", page.content_type),
            Route::Directory => "directory".into(),
            Route::Icon => "icon".into(),
            Route::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn targets_name_resources() {
        for (target, expected) in [
            ("/", "page text/html; charset=utf-8"),
            ("/player.js", "page text/javascript; charset=utf-8"),
            ("/native.js", "page text/javascript; charset=utf-8"),
            ("/streams.json?x=1", "directory"),
            ("/favicon.ico", "icon"),
            ("/cam", "page text/html; charset=utf-8"),
            ("/live/news/cam", "page text/html; charset=utf-8"),
            ("/cam.flv", "flv cam "),
            ("/live/cam.flv?token=t%2B", "flv cam t+"),
            ("//live//news/cam%2Eflv?key=k&latency=low", "flv news/cam k"),
            ("/news%2Fcam.flv", "flv news/cam "),
            ("/live.flv", "unknown"),
            ("/.flv", "unknown"),
            ("/cam.ts", "ts cam "),
            ("/live/news/cam.ts?key=k&dialect=legacy", "ts news/cam k"),
            ("/cam.flv.ts", "unknown"),
            ("/cam.mkv", "unknown"),
            ("/a/../b.flv", "unknown"),
            ("/%252e.flv", "unknown"),
            ("/%2561.flv", "unknown"),
            ("/%zz.flv", "unknown"),
            ("*", "unknown"),
            ("/cam.flv?key=%zz", "unknown"),
        ] {
            assert_eq!(word(target), expected, "{target}");
        }
    }
}
