//! Which resource a request target names.

use codecs::http1::{Request, basic_credentials, percent_decode};

use super::fetch::location_of;
use super::pages::{INDEX, NATIVE_SCRIPT, PLAYER, PLAYER_SCRIPT, Page};
use crate::config::AuthConfig;
use crate::ids::{Secret, StreamId, StreamName};
use crate::segment::uri::{self, Asset};
use crate::session::contract::told_url;
use crate::session::rtmp::{Params, SECRET_BYTES_MAX, stream_of};
use crate::session::{Credentials, Format};

/// Where authorities of certificates look whether a name leads here: RFC 8555 section 8.3.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// Letters of a token at most; authorities choose some forty.
const TOKEN_BYTES_MAX: usize = 256;

/// A resource.
#[derive(Debug)]
pub(super) enum Route {
    /// A stream, in this format.
    Stream(StreamName, Format, Params),
    /// A playlist or a segment of a stream.
    Hls(StreamName, Asset, Params),
    /// The playlist or a segment of one publication of a stream.
    Publication(StreamName, StreamId, Asset, Params),
    /// The playlist of a stream by its short name: it is elsewhere.
    Elsewhere(String),
    /// A built-in page.
    Page(Page),
    /// The list of streams.
    Directory,
    /// The answer to a challenge of an authority of certificates, by its token.
    Challenge(Box<str>),
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
        if let Some(token) = path.strip_prefix(CHALLENGES) {
            return if is_token(token) { Self::Challenge(token.into()) } else { Self::Unknown };
        }
        // A dot is legal in no name, so the suffix is told from the name whatever its encoding.
        let raw = path;
        let Ok(path) = percent_decode(path) else { return Self::Unknown };
        if let Some((name, id, asset)) = uri::split_publication(path.trim_start_matches('/')) {
            return Self::stream(name, query)
                .filter(|(_, params)| params.track == 0)
                .map_or(Self::Unknown, |(stream, params)| {
                    Self::Publication(stream, id, asset, params)
                });
        }
        if let Some((name, asset)) = uri::split(&path) {
            // Segments are of the default tracks: another one is not to be had.
            return Self::stream(name, query)
                .filter(|(_, params)| params.track == 0)
                .map_or(Self::Unknown, |(stream, params)| Self::Hls(stream, asset, params));
        }
        if let Some(name) = path.strip_suffix(".m3u8") {
            let location = Self::stream(name, query).and_then(|_| location_of(raw, query));
            return location.map_or(Self::Unknown, Self::Elsewhere);
        }
        let formats = [(".flv", Format::Flv), (".ts", Format::MpegTs)];
        let found = formats
            .iter()
            .find_map(|&(suffix, format)| Some((path.strip_suffix(suffix)?, Some(format))));
        let (name, format) = found.unwrap_or((&path, None));
        match (format, Self::stream(name, query)) {
            (Some(format), Some((stream, params))) => Self::Stream(stream, format, params),
            // Whatever a page is asked for with, it asks with itself.
            (None, _) if legal(name).is_some() => Self::Page(PLAYER),
            _ => Self::Unknown,
        }
    }

    /// The stream of a decoded path, and what the query asks for.
    fn stream(name: &str, query: Option<&str>) -> Option<(StreamName, Params)> {
        let mut params = Params::default();
        params.take(query.unwrap_or_default())?;
        Some((legal(name)?, params))
    }
}

/// A token is of the letters of base64url: RFC 8555 section 8.
fn is_token(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=TOKEN_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The path was decoded once already: what still looks encoded is no legal letter.
fn legal(name: &str) -> Option<StreamName> {
    stream_of(name).filter(|_| !name.contains('%'))
}

/// Who the sender of a request says it is, if that is asked for by user and password, too.
pub(super) fn credentials(
    request: &Request<'_>,
    params: Params,
    auth: AuthConfig,
) -> Box<Credentials> {
    let host = request.header("host").unwrap_or_default();
    let url = told_url(&format!("{host}{}", request.path)).unwrap_or_default();
    let referer = request.header("referer").and_then(told_url);
    let Params { mut key, query, .. } = params;
    let mut login = Secret::default();
    match authorization(request) {
        Some(Authorization::Bearer(secret)) if key.0.is_empty() => key = secret,
        Some(Authorization::Basic(secret)) if auth.logins => login = secret,
        _ => {}
    }
    Box::new(Credentials { key, login, query, url, referer })
}

/// What `Authorization` says.
enum Authorization {
    /// A secret as it might stand in an address, which comes before it.
    Bearer(Secret),
    /// User and password with a colon between them. They are no stream key: they may be those of a
    /// whole site, which whoever stands in front of us asks for.
    Basic(Secret),
}

fn authorization(request: &Request<'_>) -> Option<Authorization> {
    let (scheme, text) = request.header("authorization")?.split_once(' ')?;
    let text = text.trim();
    let fits = |secret: String| (secret.len() <= SECRET_BYTES_MAX).then_some(Secret(secret));
    if text.len() > 2 * SECRET_BYTES_MAX {
        None
    } else if scheme.eq_ignore_ascii_case("bearer") {
        fits(text.to_owned()).map(Authorization::Bearer)
    } else if scheme.eq_ignore_ascii_case("basic") {
        fits(basic_credentials(text).ok()?).map(Authorization::Basic)
    } else {
        None
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
            Route::Hls(name, asset, params) => {
                let mut uri = String::new();
                asset.write(&mut uri);
                format!("hls {name} {uri} {}", params.key.0)
            }
            Route::Publication(name, id, asset, params) => {
                format!("publication {name} {id} {asset:?} {}", params.key.0)
            }
            Route::Elsewhere(location) => format!("elsewhere {location}"),
            Route::Page(page) => format!("page {}", page.content_type),
            Route::Directory => "directory".into(),
            Route::Challenge(token) => format!("challenge {token}"),
            Route::Icon => "icon".into(),
            Route::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn a_token_is_as_long_as_authorities_make_them() {
        let of = |letters| word(&format!("{CHALLENGES}{}", "t".repeat(letters)));
        assert!(of(TOKEN_BYTES_MAX).starts_with("challenge t"));
        assert_eq!(of(TOKEN_BYTES_MAX + 1), "unknown");
    }

    #[test]
    fn a_secret_is_in_the_address_or_in_a_header_and_a_login_is_none() {
        use codecs::http1::{RequestLimits, parse_request};
        let long = format!("Authorization: Bearer {}\r\n", "x".repeat(SECRET_BYTES_MAX + 1));
        for (query, field, key, login) in [
            ("", "", "", ""),
            ("", "Authorization: Bearer eyJ.e30.x\r\n", "eyJ.e30.x", ""),
            ("", "authorization: bearer  abc \r\n", "abc", ""),
            ("", "Authorization: Basic abc\r\n", "", ""),
            ("", "Authorization: basic am86cDp3\r\n", "", "jo:p:w"),
            ("", "Authorization: Digest am86cDp3\r\n", "", ""),
            ("token=t", "Authorization: Basic am86cDp3\r\n", "t", "jo:p:w"),
            ("", "Authorization: Bearer\r\n", "", ""),
            ("", &long, "", ""),
            ("token=t", "Authorization: Bearer abc\r\n", "t", ""),
        ] {
            let head = format!("GET /cam.flv?{query} HTTP/1.1\r\nHost: h\r\n{field}\r\n");
            let limits = RequestLimits { head_bytes_max: 4_096, headers_max: 16 };
            let (request, _) = parse_request(head.as_bytes(), &limits).unwrap().unwrap();
            let mut params = Params::default();
            params.take(query).unwrap();
            for logins in [false, true] {
                let auth = AuthConfig { logins, ..AuthConfig::default() };
                let said = credentials(&request, params.clone(), auth);
                let login = if logins { login } else { "" };
                assert_eq!((&*said.key.0, &*said.login.0), (key, login), "{query} {field}");
            }
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
            ("/.well-known/acme-challenge/aZ09-_", "challenge aZ09-_"),
            ("/.well-known/acme-challenge/aZ?x=1", "challenge aZ"),
            ("/.well-known/acme-challenge/", "unknown"),
            ("/.well-known/acme-challenge/a/b", "unknown"),
            ("/.well-known/acme-challenge/a%2Fb", "unknown"),
            ("/.well-known/acme-challenge/..", "unknown"),
            ("/.well-known/other", "unknown"),
            ("/cam", "page text/html; charset=utf-8"),
            ("/live/news/cam", "page text/html; charset=utf-8"),
            ("/cam.flv", "flv cam "),
            ("/live/cam.flv?token=t%2B", "flv cam t+"),
            ("//live//news/cam%2Eflv?key=k&latency=low", "flv news/cam k"),
            ("/news%2Fcam.flv", "flv news/cam "),
            ("/cam/index.m3u8", "hls cam index.m3u8 "),
            ("/live/news/cam/media.m3u8?key=k", "hls news/cam media.m3u8 k"),
            ("//cam//seg.7.ts", "hls cam seg.7.ts "),
            ("/cam/seg.7.ts?token=%41", "hls cam seg.7.ts A"),
            ("/cam%2Fseg%2E7.ts", "hls cam seg.7.ts "),
            ("/cam.m3u8?key=k", "elsewhere cam/index.m3u8?key=k"),
            ("/live/a/cam.m3u8", "elsewhere cam/index.m3u8"),
            (
                "/hls/cam/0000019af0c3d2e100000007a1b2c3d4/640x360-30/live.m3u8?key=k",
                "publication cam 0000019af0c3d2e100000007a1b2c3d4 Media k",
            ),
            (
                "//hls/cam/0000019af0c3d2e100000007a1b2c3d4/640x360-30/seg.7.ts",
                "publication cam 0000019af0c3d2e100000007a1b2c3d4 Segment(7) ",
            ),
            ("/hls/cam/1/640x360-30/live.m3u8", "elsewhere live/index.m3u8"),
            ("/hls/../0000019af0c3d2e100000007a1b2c3d4/1x1/live.m3u8", "unknown"),
            ("/cam/7.ts", "ts cam/7 "),
            ("/index.m3u8", "unknown"),
            ("/cam/index.m3u8?track=0", "hls cam index.m3u8 "),
            ("/cam/index.m3u8?track=1", "unknown"),
            ("/live/index.m3u8", "unknown"),
            ("/cam/seg.07.ts", "unknown"),
            ("/cam/seg.99999999999999999999.ts", "unknown"),
            ("/cam/seg.-1.ts", "unknown"),
            ("/cam/../index.m3u8", "unknown"),
            ("/cam/%252e/index.m3u8", "unknown"),
            ("/.m3u8", "unknown"),
            ("/cam/index.m3u8?key=%zz", "unknown"),
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
