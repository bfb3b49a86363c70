//! What a caller wants of which stream: its stream id, or what its listener takes it for.
//!
//! Shape: the forms are those of `codecs::srt::StreamRequest`. The name is a path as in an address
//! of HTTP (`live/` is stripped); a key is `key`, `token` or `jwt` of the query, or else the
//! password. In [`UrlDialect::ChannelKey`] `CHANNEL/KEY` is a channel and its key.
//! Limits: those of a stream id, and of [`Params`].

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use codecs::srt::{RejectReason, StreamMode, StreamRequest};

use crate::config::{AuthConfig, SrtListener, UrlDialect};
use crate::control::{Intent, Role};
use crate::ids::{Secret, StreamName};
use crate::session::contract::told_url;
use crate::session::rtmp::{Params, stream_of};
use crate::session::{Credentials, Format, Framing, PlayOptions};

/// Letters of a stream id that are shown at most.
const SHOWN_MAX: usize = 256;
/// The parts of the standard form that hold no secret.
const PUBLIC_PARTS: [&str; 4] = ["r", "m", "h", "t"];

/// What a caller wants.
#[derive(Debug)]
pub struct Target {
    /// To publish or to play.
    pub role: Role,
    /// Which stream.
    pub stream: StreamName,
    /// Who it says it is.
    pub credentials: Box<Credentials>,
    /// For play: what to read and how.
    pub play: Option<PlayOptions>,
}

impl Target {
    /// Reads a stream id as somebody sent it who came by `listener`.
    ///
    /// # Errors
    /// The code of the refusal: the id cannot be read, names no stream, or wants both directions.
    pub fn of(
        stream_id: Option<&[u8]>,
        listener: &SrtListener,
        url: UrlDialect,
        auth: AuthConfig,
    ) -> Result<Self, RejectReason> {
        let bad = RejectReason::BAD_REQUEST;
        let request = match stream_id {
            Some(stream_id) => StreamRequest::parse(stream_id).map_err(|_| bad)?,
            None => StreamRequest::default(),
        };
        let role = match request.mode {
            Some(StreamMode::Publish) => Role::Publish,
            Some(StreamMode::Request) => Role::Play,
            Some(StreamMode::Bidirectional) => return Err(RejectReason::BAD_MODE),
            None => listener.role,
        };
        let mut params = Params::default();
        params.take(&request.query).ok_or(bad)?;
        let StreamRequest { resource, host, user, password, .. } = request;
        let (name, channel_key) = match resource.split_once('/') {
            Some((channel, key)) if url == UrlDialect::ChannelKey => (channel, Some(key)),
            _ => (resource.as_str(), None),
        };
        let stream = match (&listener.stream, name) {
            (Some(stream), "") => stream.clone(),
            _ => stream_of(name).filter(|_| !name.contains('%')).ok_or(bad)?,
        };
        let options = params.play(Format::MpegTs);
        let options = PlayOptions { framing: Framing::Srt, ..options };
        let play = (role == Role::Play).then_some(options);
        let login = if auth.logins && !user.is_empty() {
            Secret(format!("{user}:{password}"))
        } else {
            Secret::default()
        };
        let Params { mut key, query, .. } = params;
        if key.0.is_empty() {
            key = Secret(channel_key.map_or(password, ToOwned::to_owned));
        }
        let url = told_url(&format!("srt://{host}/{name}")).unwrap_or_default();
        let credentials = Box::new(Credentials { key, login, query, url, referer: None });
        Ok(Self { role, stream, credentials, play })
    }

    /// True if no secret was shown.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        let Credentials { key, login, query, .. } = &*self.credentials;
        [key, login, query].iter().all(|secret| secret.0.is_empty())
    }

    /// What is to be asked of the control plane.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.role.into()
    }
}

/// A stream id as people may see it where addresses are read by `url`: what may be a secret is
/// masked, odd letters are escaped.
#[must_use]
pub fn shown(stream_id: Option<&[u8]>, url: UrlDialect) -> String {
    let Some(stream_id) = stream_id else { return String::new() };
    let text = String::from_utf8_lossy(stream_id);
    let (text, query) = text.split_once('?').map_or((&*text, ""), |(text, _)| (text, "?***"));
    // Escapes are read as what they stand for: what is behind the first may be anything.
    let text = &match text.split_once('%') {
        Some((plain, _)) => format!("{plain}%***"),
        None => text.to_owned(),
    };
    let mut masked = String::new();
    if let Some(pairs) = text.strip_prefix("#!::") {
        masked.push_str("#!::");
        for (at, pair) in pairs.split(',').enumerate() {
            let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
            let public = PUBLIC_PARTS.contains(&name.trim());
            let comma = if at == 0 { "" } else { "," };
            let _ = match public {
                true => write!(masked, "{comma}{}", without_key(pair, url)),
                false => write!(masked, "{comma}{name}=***"),
            };
        }
    } else {
        // `publish:NAME`, then a user and a password.
        let mut parts = text.splitn(3, ':');
        let first = parts.next().unwrap_or_default();
        match parts.next() {
            Some(_) if url == UrlDialect::ChannelKey && first.contains('/') => {
                let _ = write!(masked, "{}:***", without_key(first, url));
            }
            Some(name) => {
                let _ = write!(masked, "{first}:{}", without_key(name, url));
            }
            None => masked.push_str(&without_key(first, url)),
        }
        masked.push_str(if parts.next().is_some() { ":***" } else { "" });
    }
    masked.push_str(query);
    let mut shown: String = masked.escape_debug().take(SHOWN_MAX).collect();
    if shown.chars().count() == SHOWN_MAX {
        shown.push('…');
    }
    shown
}

/// A name as people may see it: behind that of a channel comes its key, where that is the dialect.
fn without_key(name: &str, url: UrlDialect) -> Cow<'_, str> {
    match name.split_once('/') {
        Some((channel, _)) if url == UrlDialect::ChannelKey => format!("{channel}/***").into(),
        _ => name.into(),
    }
}

/// What a peer says of its program.
#[must_use]
pub(super) fn agent(version: u32) -> Arc<str> {
    let [_, major, minor, patch] = version.to_be_bytes();
    format!("srt/{major}.{minor}.{patch}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(stream: Option<&str>, role: Role) -> SrtListener {
        let stream = stream.map(|name| StreamName::parse(name).unwrap());
        SrtListener { stream, role }
    }

    fn word(id: &str, listener: &SrtListener, url: UrlDialect) -> String {
        let auth = AuthConfig { logins: true, ..AuthConfig::default() };
        let id = (!id.is_empty()).then_some(id.as_bytes());
        match Target::of(id, listener, url, auth) {
            Ok(Target { role, stream, credentials, play }) => {
                assert_eq!(play.is_some(), role == Role::Play);
                let (key, login) = (&credentials.key.0, &credentials.login.0);
                format!("{} {stream} [{key}] [{login}]", role.name())
            }
            Err(RejectReason(code)) => code.to_string(),
        }
    }

    #[test]
    fn every_dialect_names_its_stream_and_its_secret() {
        let plain = listener(None, Role::Play);
        for (id, told) in [
            ("live/cam", "play cam [] []"),
            ("cam?key=k1", "play cam [k1] []"),
            ("publish:live/cam?key=k1", "publish cam [k1] []"),
            ("publish:cam:jo:secret", "publish cam [secret] [jo:secret]"),
            ("read:cam", "play cam [] []"),
            ("#!::r=live/cam,m=publish,key=k1", "publish cam [k1] []"),
            ("#!::r=cam,m=request,u=jo,s=pw", "play cam [pw] [jo:pw]"),
            ("#!::m=publish", "1400"),
            ("#!::r=cam,m=bidirectional", "1405"),
            ("a:b:c", "1400"),
            ("../etc", "1400"),
            ("", "1400"),
        ] {
            assert_eq!(word(id, &plain, UrlDialect::Name), told, "{id}");
        }
    }

    #[test]
    fn an_encoder_that_sends_nothing_is_taken_for_what_its_listener_says() {
        let feed = listener(Some("studio/a"), Role::Publish);
        for (id, told) in [
            ("", "publish studio/a [] []"),
            ("#!::key=k1", "publish studio/a [k1] []"),
            ("read:other", "play other [] []"),
            ("other", "publish other [] []"),
        ] {
            assert_eq!(word(id, &feed, UrlDialect::Name), told, "{id}");
        }
    }

    #[test]
    fn a_channel_and_its_key_are_one_path() {
        let plain = listener(None, Role::Play);
        for (id, told) in [
            ("publish:c1/k1", "publish c1 [k1] []"),
            ("c1?key=k2", "play c1 [k2] []"),
            ("c1/k1?key=k2", "play c1 [k2] []"),
        ] {
            assert_eq!(word(id, &plain, UrlDialect::ChannelKey), told, "{id}");
        }
    }

    #[test]
    fn secrets_are_masked_and_odd_letters_escaped() {
        for (id, told) in [
            ("publish:cam:jo:secret", "publish:cam:***"),
            ("live/cam?key=secret", "live/cam?***"),
            ("#!::r=cam,m=publish,u=jo,p=secret", "#!::r=cam,m=publish,u=***,p=***"),
            ("#!::r=cam?key=secret,m=publish", "#!::r=cam?***"),
            ("publish%3Acam%3Ajo%3Asecret", "publish%***"),
            ("%23!::r=cam,u=jo,p=secret", "%***"),
            ("a\nb\u{7f}", "a\\nb\\u{7f}"),
        ] {
            assert_eq!(shown(Some(id.as_bytes()), UrlDialect::Name), told);
        }
        for (id, told) in [
            ("publish:c1/k1", "publish:c1/***"),
            ("c1/k1", "c1/***"),
            ("c1/k:ey", "c1/***:***"),
            ("publish:c1%2Fk1", "publish:c1%***"),
            ("#!::r=c1%2Fk1,m=publish", "#!::r=c1%***"),
            ("#!::r=c1/k1,m=publish", "#!::r=c1/***,m=publish"),
        ] {
            assert_eq!(shown(Some(id.as_bytes()), UrlDialect::ChannelKey), told);
        }
        assert_eq!(shown(None, UrlDialect::Name), "");
        assert_eq!(shown(Some(b"\xff"), UrlDialect::Name), "\u{fffd}");
        assert!(shown(Some(&[b'x'; 512]), UrlDialect::Name).chars().count() <= SHOWN_MAX + 1);
    }

    #[test]
    fn an_agent_is_named_by_its_version() {
        assert_eq!(&*agent(0x0001_0503), "srt/1.5.3");
    }
}
