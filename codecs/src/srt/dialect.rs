//! What a stream id says: who wants what.
//!
//! Spec: the access control guidelines of SRT (`#!::`); the other forms are what servers and
//! encoders made common.
//! Shape: `#!::r=NAME,m=publish,u=USER,...`; `publish:NAME[:USER:PASSWORD]` and `read:NAME`;
//! `live/NAME?key=...`; `srt://HOST/NAME?...`; a bare name.
//! Limits: [`STREAM_ID_BYTES_MAX`]. Whether a name is a legal one is for the session to judge.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::stream_id::STREAM_ID_BYTES_MAX;
use crate::Error;

/// What the caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamMode {
    /// Receive.
    Request,
    /// Send.
    Publish,
    /// Both.
    Bidirectional,
}

/// A stream id, taken apart.
///
/// What was not said is empty; no part but the mode and the name is shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// What to do; `None` leaves it to the listener.
    pub mode: Option<StreamMode>,
    /// The name of the stream, without a slash at its begin.
    pub resource: String,
    /// What follows `?` in the name, and keys that are not standard, as `key=value&...`.
    pub query: String,
    /// The user.
    pub user: String,
    /// The user's password, percent-decoded as all of it is.
    pub password: String,
    /// The host.
    pub host: String,
    /// The session; with a user and no password, that is his password, too.
    pub session: String,
}

const STANDARD: &str = "#!::";
const ACTIONS: [(&str, StreamMode); 4] = [
    ("publish", StreamMode::Publish),
    ("read", StreamMode::Request),
    ("request", StreamMode::Request),
    ("play", StreamMode::Request),
];
const WHAT: &str = "srt.stream_id";

impl StreamRequest {
    /// Reads a stream id.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no text, a part is no pair, the mode is none, or a control
    /// letter is in it; [`Error::Unsupported`] for nested blocks and files; [`Error::TooLarge`].
    pub fn parse(stream_id: &[u8]) -> Result<Self, Error> {
        if stream_id.len() > STREAM_ID_BYTES_MAX {
            let (value, max) = (stream_id.len() as u64, STREAM_ID_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: WHAT, value, max });
        }
        let text = str::from_utf8(stream_id)
            .map_err(|error| Error::Invalid { what: WHAT, value: error.valid_up_to() as u64 })?;
        // Some programs build the address of a stream by a library that encodes all of it.
        let whole = if encodes_a_form(text) { decode(text)? } else { text.to_owned() };
        if let Some(at) = whole.find(char::is_control) {
            return Err(Error::Invalid { what: WHAT, value: at as u64 });
        }
        let text = whole.trim();
        if let Some(pairs) = text.strip_prefix(STANDARD) {
            return Self::of_pairs(pairs);
        }
        if text.starts_with("#!") {
            return Err(Error::Unsupported { what: "srt.stream_id.form", value: 0 });
        }
        for (word, mode) in ACTIONS {
            if let Some(rest) = strip_word(text, word).and_then(|rest| rest.strip_prefix(':')) {
                return Self::of_action(rest, mode);
            }
        }
        let mut request = Self::default();
        // OvenMediaEngine's encoders send the whole address of the stream.
        let path = match strip_word(text, "srt://") {
            Some(address) => {
                let (place, query) = address.split_once('?').unwrap_or((address, ""));
                let (host, path) = place.split_once('/').unwrap_or((place, ""));
                request.host = host.rsplit('@').next().unwrap_or_default().to_owned();
                request.name(path)?;
                request.query = query.to_owned();
                None
            }
            None => Some(text),
        };
        if let Some(path) = path {
            request.name(path)?;
        }
        // No legal name has a colon: it was meant as a form that is none.
        if let Some(at) = request.resource.find(':') {
            return Err(Error::Invalid { what: "srt.stream_id.form", value: at as u64 });
        }
        request.mode = mode_of_query(&request.query);
        Ok(request)
    }

    /// The pairs of the standard form.
    fn of_pairs(pairs: &str) -> Result<Self, Error> {
        let mut request = Self::default();
        let mut others = Vec::new();
        let mut by_blackmagic = false;
        for pair in pairs.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or(Error::Invalid { what: "srt.stream_id.pair", value: pair.len() as u64 })?;
            let (key, value) = (key.trim(), value.trim());
            match key {
                "r" => request.name(value)?,
                "m" => request.mode = Some(mode_of(value)?),
                "u" => request.user = decode(value)?,
                "h" => request.host = decode(value)?,
                "s" => request.session = decode(value)?,
                "p" | "pass" | "password" => request.password = decode(value)?,
                "t" if value == "stream" => {}
                "t" => {
                    let value = value.len() as u64;
                    return Err(Error::Unsupported { what: "srt.stream_id.type", value });
                }
                _ if key.starts_with("bmd_") => by_blackmagic = true,
                _ => others.push(pair.trim()),
            }
        }
        // Blackmagic's encoders have one field, for the stream's key, which they send as the user.
        if by_blackmagic && request.resource.is_empty() {
            let name = core::mem::take(&mut request.user);
            request.name(&name)?;
            request.mode = request.mode.or(Some(StreamMode::Publish));
        }
        // MediaMTX's users log in with `u=USER,s=PASSWORD`.
        if !request.user.is_empty() && request.password.is_empty() {
            request.password.clone_from(&request.session);
        }
        for pair in others {
            if !request.query.is_empty() {
                request.query.push('&');
            }
            request.query.push_str(pair);
        }
        Ok(request)
    }

    /// What follows `publish:` or `read:`: a name; a name and a query; or a name, a user and a
    /// password, and perhaps a query.
    fn of_action(rest: &str, mode: StreamMode) -> Result<Self, Error> {
        let mut request = Self { mode: Some(mode), ..Self::default() };
        let colon = rest.find(':').unwrap_or(rest.len());
        // What follows a question mark is a query, whatever letters are in it.
        if rest.find('?').is_some_and(|mark| mark < colon) {
            request.name(rest)?;
            return Ok(request);
        }
        let parts: Vec<&str> = rest.splitn(4, ':').collect();
        request.name(parts.first().copied().unwrap_or_default())?;
        let query = match parts.get(1..).unwrap_or_default() {
            [] => "",
            [query] => query,
            [user, password, query @ ..] => {
                request.user = decode(user)?;
                request.password = decode(password)?;
                query.first().copied().unwrap_or_default()
            }
        };
        request.query = query.trim_start_matches('?').to_owned();
        Ok(request)
    }

    /// A name, perhaps with a query.
    fn name(&mut self, text: &str) -> Result<(), Error> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        self.resource = decode(path)?.trim_matches('/').to_owned();
        self.query = query.to_owned();
        Ok(())
    }
}

impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamRequest")
            .field("mode", &self.mode)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// True if the letters that tell the forms apart are percent-encoded.
fn encodes_a_form(text: &str) -> bool {
    let starts = |prefix: &str| strip_word(text, prefix).is_some();
    let is_action = |(word, _): (&str, _)| {
        strip_word(text, word).is_some_and(|rest| strip_word(rest, "%3a").is_some())
    };
    ["%23", "#%21", "#!%3a", "srt%3a"].into_iter().any(starts) || ACTIONS.into_iter().any(is_action)
}

/// What follows a word at the begin, which may be written in any case.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn mode_of(text: &str) -> Result<StreamMode, Error> {
    match text {
        "publish" => Ok(StreamMode::Publish),
        "request" | "play" | "read" => Ok(StreamMode::Request),
        "bidirectional" => Ok(StreamMode::Bidirectional),
        other => Err(Error::Invalid { what: "srt.stream_id.mode", value: other.len() as u64 }),
    }
}

/// The mode that a query gives as `m=` or `mode=`; what is no mode of ours belongs to others, as
/// `mode=caller` to libsrt's own tools.
fn mode_of_query(query: &str) -> Option<StreamMode> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| matches!(*key, "m" | "mode")).find_map(|(_, value)| mode_of(value).ok())
}

/// Undoes percent-encoding; a percent sign that encodes nothing stays.
fn decode(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let code = digit(0).zip(digit(1)).filter(|_| byte == b'%');
        let code = code.and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    let decoded = String::from_utf8(bytes).map_err(|error| {
        let value = error.utf8_error().valid_up_to() as u64;
        Error::Invalid { what: WHAT, value }
    })?;
    match decoded.find(char::is_control) {
        Some(at) => Err(Error::Invalid { what: WHAT, value: at as u64 }),
        None => Ok(decoded),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    const PUBLISH: Option<StreamMode> = Some(StreamMode::Publish);
    const REQUEST: Option<StreamMode> = Some(StreamMode::Request);

    fn named(mode: Option<StreamMode>, resource: &str, query: &str) -> StreamRequest {
        StreamRequest { mode, resource: resource.into(), query: query.into(), ..Default::default() }
    }

    #[test]
    fn every_dialect_is_understood() {
        let with_user = |request: StreamRequest, user: &str, password: &str| StreamRequest {
            user: user.into(),
            password: password.into(),
            ..request
        };
        let hosted =
            |request: StreamRequest, host: &str| StreamRequest { host: host.into(), ..request };
        let table = [
            ("cam1", named(None, "cam1", "")),
            ("/live/cam1/", named(None, "live/cam1", "")),
            ("live/cam1?key=abc", named(None, "live/cam1", "key=abc")),
            ("live/cam1?key=a&m=publish", named(PUBLISH, "live/cam1", "key=a&m=publish")),
            ("publish:cam1", named(PUBLISH, "cam1", "")),
            ("publish:live/cam1?key=a", named(PUBLISH, "live/cam1", "key=a")),
            ("read:cam1", named(REQUEST, "cam1", "")),
            ("play:cam1", named(REQUEST, "cam1", "")),
            ("Publish:cam1", named(PUBLISH, "cam1", "")),
            ("request%3Acam1", named(REQUEST, "cam1", "")),
            ("publish:live/a?key=a:b:c", named(PUBLISH, "live/a", "key=a:b:c")),
            ("publish:a?exp=2026-01-01T00:00:00Z", named(PUBLISH, "a", "exp=2026-01-01T00:00:00Z")),
            ("live/a?mode=caller&latency=20", named(None, "live/a", "mode=caller&latency=20")),
            ("live/a?mode=caller&m=publish", named(PUBLISH, "live/a", "mode=caller&m=publish")),
            ("SRT%3A%2F%2Fme:pw@h%2Fx%3Fy%3Da/b", hosted(named(None, "x", "y=a/b"), "h")),
            ("srt://h?x=a/b", hosted(named(None, "", "x=a/b"), "h")),
            ("publish:cam1:me:p?q", with_user(named(PUBLISH, "cam1", ""), "me", "p?q")),
            ("publish:cam1:key=a", named(PUBLISH, "cam1", "key=a")),
            ("publish:cam1:me:p%3Aq", with_user(named(PUBLISH, "cam1", ""), "me", "p:q")),
            ("read:cam1:me:pw:a=b", with_user(named(REQUEST, "cam1", "a=b"), "me", "pw")),
            ("#!::r=live/cam1,m=publish", named(PUBLISH, "live/cam1", "")),
            ("#!::m=request, r=cam1 ,t=stream", named(REQUEST, "cam1", "")),
            ("#!::r=cam1?key=a,key2=b", named(None, "cam1", "key=a&key2=b")),
            ("#!::r=/cam1,u=me,p=pw", with_user(named(None, "cam1", ""), "me", "pw")),
            ("#!::h=a.example,r=x", hosted(named(None, "x", ""), "a.example")),
            ("#!::", named(None, "", "")),
            ("#!::bmd_uuid=1-2,bmd_name=Web Presenter,u=cam1", named(PUBLISH, "cam1", "")),
            ("%23!::r=cam1,m=publish", named(PUBLISH, "cam1", "")),
            ("%23%21%3A%3Ar%3Dcam1%2Cm%3Dpublish", named(PUBLISH, "cam1", "")),
            ("publish%3Acam1", named(PUBLISH, "cam1", "")),
            (
                "srt%3A%2F%2Fa.example%3A9999%2Flive%2Fcam1",
                hosted(named(None, "live/cam1", ""), "a.example:9999"),
            ),
            ("srt://h/live/cam1?key=a", hosted(named(None, "live/cam1", "key=a"), "h")),
            ("c%61m1%zz%", named(None, "cam1%zz%", "")),
            ("\u{fc}ber", named(None, "\u{fc}ber", "")),
        ];
        for (text, request) in table {
            let parsed = StreamRequest::parse(text.as_bytes());
            let parsed = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(parsed == request, "{text}: {} {}", parsed.resource, parsed.query);
        }
        let session = StreamRequest::parse(b"#!::s=token,r=x").unwrap();
        assert_eq!(session.session, "token");
        let migrated = StreamRequest::parse(b"#!::m=publish,r=x,u=me,s=pw").unwrap();
        assert_eq!((&*migrated.user, &*migrated.password), ("me", "pw"));
        let both = StreamRequest::parse(b"#!::m=bidirectional,r=x").unwrap();
        assert_eq!(both.mode, Some(StreamMode::Bidirectional));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for text in [
            &b"\xff"[..],
            b"a\0b",
            b"a%00b",
            b"a%ff",
            b"#!::m=watch,r=x",
            b"#!::r",
            b"watch:cam1",
            b"cam1:me:secret",
            b"#!::r=a%0a",
        ] {
            assert!(matches!(StreamRequest::parse(text), Err(Error::Invalid { .. })), "{text:?}");
        }
        for text in ["#!{r=x}", "#!:r=x", "#!::t=file,r=x", "#!::t=auth"] {
            let parsed = StreamRequest::parse(text.as_bytes());
            assert!(matches!(parsed, Err(Error::Unsupported { .. })), "{text}");
        }
        let long = StreamRequest::parse(&vec![b'a'; 513]);
        assert!(matches!(long, Err(Error::TooLarge { .. })));
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "#!::r=cam1?key=hidden1,u=hidden2,p=hidden3,s=hidden4,k=hidden5,h=hidden6";
        let shown = format!("{:?}", StreamRequest::parse(text.as_bytes()));
        assert!(shown.contains("cam1") && !shown.contains("hidden"), "{shown}");
    }

    proptest! {
        #[test]
        fn noise_is_no_panic(text in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = StreamRequest::parse(&text);
        }

        #[test]
        fn letters_of_the_forms_in_any_order(text in "[#!:%23?=&,srtpublishead/ ]{0,80}") {
            if let Ok(request) = StreamRequest::parse(text.as_bytes()) {
                prop_assert!(!request.resource.starts_with('/'));
            }
        }
    }
}
