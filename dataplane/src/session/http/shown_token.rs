//! How a viewer of HLS shows which one it is: in the address, or in a cookie.
//!
//! Shape: `?s=TOKEN` behind each address that a playlist lists, or `Set-Cookie: grandstand_view=
//! TOKEN` with the first playlist, for the folder of the stream.
//! Spec: RFC 6265 for cookies; Path is said because ffmpeg sends no cookie without one.
//! Not here: what a token is worth (`session/view_token.rs`, and the shard).

use codecs::http1::{Request, query_pairs};

use crate::config::HlsSession;
use crate::segment::uri::Asset;
use crate::session::Viewer;
use crate::session::view_token::ViewToken;

/// The name of the pair in an address.
pub(super) const TOKEN_NAME: &str = "s";
const COOKIE_NAME: &str = "grandstand_view";

/// What a request shows of its viewer, and how its answer says it.
#[derive(Debug)]
pub(super) enum ShownToken {
    /// Viewers are not told apart.
    Off,
    /// It shows nothing, and is known by its address.
    ByAddress,
    /// In addresses.
    Query(Shown),
    /// In a cookie for this folder.
    Cookie(Shown, Box<str>),
}

/// A token, and who brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// There is none.
    Nothing,
    /// The viewer has it.
    Brought(ViewToken),
    /// The viewer is given it with the answer.
    Given(ViewToken),
}

/// What is done with a request before the shard is asked.
#[derive(Debug)]
pub(super) enum Entrance {
    /// It may ask.
    Open(ShownToken),
    /// It comes without a token: the playlist that gives one is beside it.
    Elsewhere,
    /// It shows nothing that could be good.
    Closed,
}

impl Entrance {
    /// Judges a request for a piece of HLS by its shape.
    pub(super) fn of(request: &Request<'_>, asset: Asset, mode: HlsSession) -> Self {
        match mode {
            HlsSession::Off => Self::Open(ShownToken::Off),
            HlsSession::Token => {
                let mut pairs = query_pairs(request.query.unwrap_or_default());
                let shown = pairs.find(|(name, _)| *name == TOKEN_NAME);
                match (shown.map(|(_, value)| ViewToken::parse(value)), asset) {
                    (Some(Some(token)), _) => Self::Open(ShownToken::Query(Shown::Brought(token))),
                    (_, Asset::Multivariant) => Self::Open(ShownToken::Query(Shown::Nothing)),
                    (None, Asset::Media) => Self::Elsewhere,
                    (Some(None), Asset::Media) | (_, Asset::Segment(_)) => Self::Closed,
                }
            }
            HlsSession::Cookie => match (cookie_of(request), asset) {
                (None, Asset::Segment(_)) => Self::Closed,
                (token, _) => {
                    let shown = token.map_or(Shown::Nothing, Shown::Brought);
                    Self::Open(ShownToken::Cookie(shown, folder_of(request.path).into()))
                }
            },
        }
    }
}

impl ShownToken {
    /// What a request for a piece of one publication shows. Its address is told to an application
    /// as it is: there is no place for a token in it.
    pub(super) const fn of_publication(mode: HlsSession) -> Self {
        match mode {
            HlsSession::Off => Self::Off,
            HlsSession::Token | HlsSession::Cookie => Self::ByAddress,
        }
    }

    pub(super) const fn shown(&self) -> Shown {
        match self {
            Self::Off | Self::ByAddress => Shown::Nothing,
            Self::Query(shown) | Self::Cookie(shown, _) => *shown,
        }
    }

    /// Which viewer asks.
    pub(super) const fn viewer(&self) -> Viewer {
        match self {
            Self::Off => Viewer::Anybody,
            Self::ByAddress => Viewer::ByAddress,
            Self::Query(Shown::Brought(token)) | Self::Cookie(Shown::Brought(token), _) => {
                Viewer::Of(*token)
            }
            Self::Query(_) | Self::Cookie(..) => Viewer::New,
        }
    }

    /// The viewer is given a token.
    pub(super) const fn give(&mut self, token: ViewToken) {
        match self {
            Self::Off | Self::ByAddress => {}
            Self::Query(shown) | Self::Cookie(shown, _) => *shown = Shown::Given(token),
        }
    }

    /// True if the answer is for one viewer alone.
    pub(super) const fn is_new(&self) -> bool {
        matches!(self.shown(), Shown::Given(_))
    }

    /// What stands in the addresses of children.
    pub(super) const fn in_addresses(&self) -> Option<ViewToken> {
        match self {
            Self::Query(Shown::Brought(token) | Shown::Given(token)) => Some(*token),
            _ => None,
        }
    }

    /// The cookie of a viewer that is given one.
    pub(super) fn new_cookie(&self) -> Option<String> {
        let Self::Cookie(Shown::Given(token), folder) = self else { return None };
        let token = token.as_str();
        Some(format!("{COOKIE_NAME}={token}; Path={folder}; HttpOnly; SameSite=Lax"))
    }
}

/// The token in the cookie of a request.
fn cookie_of(request: &Request<'_>) -> Option<ViewToken> {
    let pairs = request.header("cookie")?.split(';');
    let mut named = pairs.filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME));
    named.find_map(|rest| ViewToken::parse(rest.strip_prefix('=')?))
}

/// The folder of a path, as far as it can stand in a cookie.
fn folder_of(path: &str) -> &str {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.%".contains(&byte);
    if folder.starts_with('/') && folder.bytes().all(legal) { folder } else { "/" }
}

#[cfg(test)]
mod tests {
    use codecs::http1::{RequestLimits, parse_request};

    use super::*;

    const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_";

    fn entrance(mode: HlsSession, target: &str, fields: &str, asset: Asset) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let limits = RequestLimits { head_bytes_max: 4_096, headers_max: 16 };
        let (request, _) = parse_request(head.as_bytes(), &limits).unwrap().unwrap();
        match Entrance::of(&request, asset, mode) {
            Entrance::Open(shown) => match shown.viewer() {
                Viewer::Of(token) => format!("brought {}", token.as_str()),
                Viewer::New => "new".into(),
                Viewer::Anybody => "anybody".into(),
                Viewer::ByAddress => "by address".into(),
            },
            Entrance::Elsewhere => "elsewhere".into(),
            Entrance::Closed => "closed".into(),
        }
    }

    #[test]
    fn who_shows_nothing_is_led_to_where_a_token_is_given() {
        let (index, media, segment) = (Asset::Multivariant, Asset::Media, Asset::Segment(7));
        let brought = format!("brought {TOKEN}");
        for (mode, query, asset, expected) in [
            (HlsSession::Off, "", segment, "anybody"),
            (HlsSession::Token, "", index, "new"),
            (HlsSession::Token, "", media, "elsewhere"),
            (HlsSession::Token, "", segment, "closed"),
            (HlsSession::Token, "?s=x", index, "new"),
            (HlsSession::Token, "?s=x", media, "closed"),
            (HlsSession::Token, &format!("?key=k&s={TOKEN}"), segment, &brought),
            (HlsSession::Token, &format!("?s={TOKEN}"), index, &brought),
            (HlsSession::Cookie, "", media, "new"),
            (HlsSession::Cookie, &format!("?s={TOKEN}"), segment, "closed"),
        ] {
            let told = entrance(mode, &format!("/cam/x{query}"), "", asset);
            assert_eq!(told, expected, "{mode:?} {query} {asset:?}");
        }
        for (cookie, expected) in [
            (format!("grandstand_view={TOKEN}"), &*brought),
            (format!("a=b; grandstand_view={TOKEN};c=d"), &*brought),
            (format!("xgrandstand_view={TOKEN}"), "closed"),
            ("grandstand_view=short".into(), "closed"),
        ] {
            let told =
                entrance(HlsSession::Cookie, "/cam/x", &format!("Cookie: {cookie}\r\n"), segment);
            assert_eq!(told, expected, "{cookie}");
        }
    }

    #[test]
    fn a_cookie_is_for_the_folder_of_its_stream() {
        for (path, folder) in [
            ("/cam/index.m3u8", "/cam"),
            ("/live/a%2Fb/index.m3u8", "/live/a%2Fb"),
            ("/a;Domain=x/index.m3u8", "/"),
        ] {
            let mut shown = ShownToken::Cookie(Shown::Nothing, folder_of(path).into());
            assert_eq!(shown.new_cookie(), None);
            shown.give(ViewToken::parse(TOKEN).unwrap());
            let cookie = format!("grandstand_view={TOKEN}; Path={folder}; HttpOnly; SameSite=Lax");
            assert_eq!((shown.new_cookie(), shown.in_addresses()), (Some(cookie), None));
        }
    }
}
