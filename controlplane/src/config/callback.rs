//! `[auth.callback]`: the application that is asked who may publish and play.

use std::time::Duration;

use dataplane::control::Intent;
use dataplane::ids::Secret;

use super::field::words;
use super::key::{Key, Section};
use super::load::Loaded;
use crate::auth::{AbsenceTerms, Addresses, Application, OnFailure, UpdateTerms};
use crate::coordinator::Credential;
use crate::dialect::{Asker, Dialect, Verb};
use crate::error::Error;
use crate::outbound::{Address, SigningKey};

/// `[auth.callback]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSection {
    /// How it is asked.
    pub dialect: Dialect,
    /// Who is asked.
    pub url: Option<Address>,
    /// Who is asked instead, who may come in.
    pub on_connect: Option<Address>,
    /// Who is asked instead, who may publish.
    pub on_publish: Option<Address>,
    /// Who is asked instead, who may play.
    pub on_play: Option<Address>,
    /// Who is asked, who may stay.
    pub on_update: Option<Address>,
    /// How often each is asked about.
    pub update: Duration,
    /// No answer is a no, too.
    pub update_strict: bool,
    /// Who is asked about a player that waits for its stream.
    pub on_stream_not_found: Option<Address>,
    /// Who is asked about a stream that nobody plays.
    pub on_stream_none_reader: Option<Address>,
    /// After nobody played it for so long.
    pub none_reader: Duration,
    /// How forms are sent.
    pub method: Verb,
    /// The subject of tokens.
    pub jwt_subject: String,
    /// Where tokens say that this node is found.
    pub jwt_host: String,
    /// What a question proves itself with.
    pub credential: Credential,
    /// What a question is signed with, if it is.
    pub signing_secret: Secret,
    /// An answer is waited for no longer than this.
    pub timeout: Duration,
    /// What a question without a sound answer means.
    pub on_failure: OnFailure,
    /// A yes is good for this long.
    pub cache: Duration,
    /// A no is good for this long.
    pub cache_denied: Duration,
    /// Peers of different addresses share no verdict.
    pub cache_per_peer: bool,
    /// Verdicts remembered at most.
    pub cache_entries_max: u32,
    /// Questions under way at most.
    pub calls_max: u32,
}

impl Default for CallbackSection {
    fn default() -> Self {
        Self {
            dialect: Dialect::Native,
            url: None,
            on_connect: None,
            on_publish: None,
            on_play: None,
            on_update: None,
            update: Duration::from_secs(30),
            update_strict: false,
            on_stream_not_found: None,
            on_stream_none_reader: None,
            none_reader: Duration::from_secs(20),
            method: Verb::Post,
            jwt_subject: "rtmp_event".to_owned(),
            jwt_host: String::new(),
            credential: Credential::default(),
            signing_secret: Secret::default(),
            timeout: Duration::from_secs(8),
            on_failure: OnFailure::Deny,
            cache: Duration::from_secs(10),
            cache_denied: Duration::from_secs(2),
            cache_per_peer: true,
            cache_entries_max: 16_384,
            calls_max: 256,
        }
    }
}

impl CallbackSection {
    /// True if there is anything that it is asked about.
    pub(super) fn asks(&self) -> bool {
        let others = [&self.on_update, &self.on_stream_not_found, &self.on_stream_none_reader];
        self.addresses().first().is_some() || others.into_iter().any(Option::is_some)
    }

    /// True if viewers show user and password of HTTP to whoever is asked.
    pub(super) fn asks_logins(&self) -> bool {
        self.dialect.asks_logins() && self.asks()
    }

    /// Who is asked, by that node; `sees_all` says that everybody who plays is known.
    pub(super) fn application(&self, asker: Asker, sees_all: bool) -> Option<Application> {
        // A token is signed by the same secret, and needs nothing beside it.
        let signs = !self.signing_secret.0.is_empty() && self.dialect != Dialect::RtmpEvent;
        let addresses = self.addresses();
        let updates = self.on_update.clone().map(|address| {
            let (period, strict) = (self.update, self.update_strict);
            UpdateTerms { address, period, strict }
        });
        if !self.asks() {
            return None;
        }
        let absences = AbsenceTerms {
            not_found: self.on_stream_not_found.clone(),
            none_reader: self.on_stream_none_reader.clone(),
            patience: self.none_reader,
            sees_all,
        };
        let (subject, host) = (self.jwt_subject.as_str(), self.jwt_host.as_str());
        Some(Application {
            dialect: self.dialect,
            addresses,
            updates,
            absences,
            verb: self.method,
            // What cannot be used was refused when the file was read.
            authorization: self.credential.authorization().ok().flatten(),
            signing: signs.then(|| SigningKey::new(self.signing_secret.0.as_bytes())),
            secret: self.signing_secret.clone(),
            asker: Asker { subject: subject.into(), host: host.into(), ..asker },
            timeout: self.timeout,
            on_failure: self.on_failure,
            cache: self.cache,
            cache_denied: self.cache_denied,
        })
    }

    /// Where questions go.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            all: self.url.clone(),
            connect: self.on_connect.clone(),
            publish: self.on_publish.clone(),
            play: self.on_play.clone(),
        }
    }
}

words!(Dialect {
    "native" => Dialect::Native,
    "rtmp-event" => Dialect::RtmpEvent,
    "nginx-rtmp" => Dialect::NginxRtmp,
    "srs" => Dialect::Srs,
    "zlmediakit" => Dialect::Zlmediakit,
    "mediamtx" => Dialect::Mediamtx,
});

words!(Verb {
    "POST" => Verb::Post,
    "GET" => Verb::Get,
});

words!(OnFailure {
    "deny" => OnFailure::Deny,
    "allow" => OnFailure::Allow,
});

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new(
        "dialect",
        "How the application is asked: \"native\" as url says, or as another server asks it, so \
         that one that was written for that need not be touched: \"rtmp-event\" (a token in a \
         header, signed with signing_secret), \"nginx-rtmp\" (forms), \"srs\", \"zlmediakit\" or \
         \"mediamtx\" (their JSON). README.md says what each is told, and which answers it may \
         give; what those servers tell of ends is a hook of the same dialect.",
        |s| &mut s.auth.callback.dialect,
    )
    .now(),
    Key::new(
        "url",
        "Asked by POST, with a JSON object that tells who wants what. Status 200 and 204 allow, \
         401 and 403 deny, 404 knows no such stream, 409 has it taken. JSON in the answer may \
         give the stream another name (stream), let players wait for it (wait), set its policy \
         (policy), name its tenant (tenant) and say how long the verdict is good (cache_ms). \
         Redirects are not followed.",
        |s| &mut s.auth.callback.url,
    )
    .now(),
    Key::new(
        "on_connect",
        "Asked instead of url whether a peer may come in, in the dialects nginx-rtmp and srs; it \
         needs auth.connect = true. Where neither is set, nobody is asked, and it may.",
        |s| &mut s.auth.callback.on_connect,
    )
    .now(),
    Key::new(
        "on_publish",
        "Asked instead of url whether a peer may publish, in the dialects nginx-rtmp, srs and \
         zlmediakit. Where neither is set, nobody is asked, and it may.",
        |s| &mut s.auth.callback.on_publish,
    )
    .now(),
    Key::new("on_play", "The same, whether it may play.", |s| &mut s.auth.callback.on_play).now(),
    Key::new(
        "on_update",
        "Asked again and again whether each may stay who was let in, in the dialect nginx-rtmp: \
         what is not 2xx sends away; viewers of HLS, with their next request, where hls.session \
         tells them apart.",
        |s| &mut s.auth.callback.on_update,
    )
    .now(),
    Key::new("update_ms", "How often on_update is asked about each.", |s| {
        &mut s.auth.callback.update
    })
    .range(1_000, HOUR)
    .millis()
    .now(),
    Key::new(
        "update_strict",
        "Whether on_update sends away by no answer, too, or one that makes no sense.",
        |s| &mut s.auth.callback.update_strict,
    )
    .now(),
    Key::new(
        "on_stream_not_found",
        "Asked about each player that waits for a stream which nobody publishes, in the dialect \
         zlmediakit; \"close\" in the answer sends it away. It needs session.play_wait_ms, within \
         which the stream may begin.",
        |s| &mut s.auth.callback.on_stream_not_found,
    )
    .now(),
    Key::new(
        "on_stream_none_reader",
        "Asked about a stream that nobody played for none_reader_ms, in the dialect zlmediakit; \
         \"close\" in the answer ends its publication. Where viewers of HLS have no session \
         (hls.session = \"off\") nobody can tell, and it is refused.",
        |s| &mut s.auth.callback.on_stream_none_reader,
    )
    .now(),
    Key::new(
        "none_reader_ms",
        "After how long on_stream_none_reader is asked, or a publication ends that was let in with \
         auto_close.",
        |s| &mut s.auth.callback.none_reader,
    )
    .range(100, HOUR)
    .millis()
    .now(),
    Key::new("method", "How forms of the dialect nginx-rtmp are sent: \"POST\" or \"GET\".", |s| {
        &mut s.auth.callback.method
    })
    .now(),
    Key::new("jwt_subject", "The subject of the tokens of the dialect rtmp-event.", |s| {
        &mut s.auth.callback.jwt_subject
    })
    .now(),
    Key::new(
        "jwt_host",
        "Where those tokens say that this node is found (rtmp_host); \"\" for the address that the \
         peer came to.",
        |s| &mut s.auth.callback.jwt_host,
    )
    .now(),
    Key::new(
        "auth",
        "How a question proves itself: \"none\", \"basic\" (user and password), \"bearer\" \
         (token), or \"custom\" (a whole header Authorization).",
        |s| &mut s.auth.callback.credential.scheme,
    )
    .now(),
    Key::new("user", "The user of \"basic\".", |s| &mut s.auth.callback.credential.user).now(),
    Key::new("password", "The password of \"basic\".", |s| {
        &mut s.auth.callback.credential.password
    })
    .now()
    .secret(),
    Key::new("token", "The token of \"bearer\".", |s| &mut s.auth.callback.credential.token)
        .now()
        .secret(),
    Key::new("custom", "The header of \"custom\".", |s| &mut s.auth.callback.credential.custom)
        .now()
        .secret(),
    Key::new(
        "signing_secret",
        "What the tokens of the dialect rtmp-event are signed with. In all others, if it is set, \
         questions are signed: header grandstand-signature, t=SECONDS,v1=HEX, the \
         HMAC-SHA256 of SECONDS, a dot and the body.",
        |s| &mut s.auth.callback.signing_secret,
    )
    .now()
    .secret(),
    Key::new(
        "timeout_ms",
        "An answer is waited for no longer than this; less than session.authorize_deadline_ms, \
         after which the peer is refused whatever comes.",
        |s| &mut s.auth.callback.timeout,
    )
    .range(10, HOUR)
    .millis()
    .now(),
    Key::new(
        "on_failure",
        "What no answer, or none that makes sense, means: \"deny\" or \"allow\".",
        |s| &mut s.auth.callback.on_failure,
    )
    .now(),
    Key::new(
        "cache_ms",
        "A yes is good for this long for equal questions; 0 asks each time, as the dialects \
         rtmp-event, nginx-rtmp, srs and zlmediakit do in any case, whose applications count. \
         Equal are intent, protocol, stream, key, URL with query, referer and address of the peer.",
        |s| &mut s.auth.callback.cache,
    )
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new("cache_denied_ms", "A no is good for this long for equal questions.", |s| {
        &mut s.auth.callback.cache_denied
    })
    .range(0, HOUR)
    .millis()
    .now(),
    Key::new(
        "cache_per_peer",
        "Whether questions of different addresses differ. With false, one answer serves all who \
         show the same key for the same stream.",
        |s| &mut s.auth.callback.cache_per_peer,
    )
    .now(),
    Key::new(
        "cache_entries_max",
        "Verdicts that are remembered at most, about 300 bytes each; the oldest makes room.",
        |s| &mut s.auth.callback.cache_entries_max,
    )
    .range(0, 1 << 20),
    Key::new(
        "calls_max",
        "Questions under way at most, of the coordinator's contract too; whoever asks beyond them \
         is refused as long as that lasts.",
        |s| &mut s.auth.callback.calls_max,
    )
    .range(1, 10_000)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("auth.callback", "The application that mode \"callback\" asks.", KEYS)
}

/// What must hold between the keys of the section.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let callback = &loaded.settings.auth.callback;
    if let Err(unusable) = callback.credential.authorization() {
        let key = format!("auth.callback.{}", unusable.part);
        let mend = "set it, or auth.callback.auth to \"none\"".to_owned();
        return Err(loaded.misfit(&key, unusable.what.to_owned(), mend));
    }
    speaks(loaded)?;
    let (timeout, deadline) = (callback.timeout, loaded.settings.session.authorize_deadline);
    if callback.addresses().first().is_some() && timeout >= deadline {
        return Err(loaded.misfit(
            "auth.callback.timeout_ms",
            format!(
                "{} ms are not less than the {} ms of session.authorize_deadline_ms",
                timeout.as_millis(),
                deadline.as_millis()
            ),
            "lower it, or raise session.authorize_deadline_ms".to_owned(),
        ));
    }
    Ok(())
}

/// What the dialect can say, and what it needs.
fn speaks(loaded: &Loaded) -> Result<(), Error> {
    let callback = &loaded.settings.auth.callback;
    let (dialect, addresses) = (callback.dialect, callback.addresses());
    let wrong = |key: &str, what: String, mend: &str| {
        Err(loaded.misfit(&format!("auth.callback.{key}"), what, mend.to_owned()))
    };
    for (key, intent, address) in [
        ("on_connect", Intent::Connect, &addresses.connect),
        ("on_publish", Intent::Publish, &addresses.publish),
        ("on_play", Intent::Play, &addresses.play),
    ] {
        if address.is_some() && !(dialect.has_questions() && dialect.asks(intent)) {
            let what = format!("the dialect {:?} asks nobody else about it", dialect.name());
            return wrong(key, what, "set auth.callback.url instead, or another dialect");
        }
    }
    if callback.on_update.is_some() && dialect != Dialect::NginxRtmp {
        let what = format!("the dialect {:?} does not ask who may stay", dialect.name());
        return wrong("on_update", what, "leave it \"\", or set the dialect \"nginx-rtmp\"");
    }
    for (key, address) in [
        ("on_stream_not_found", &callback.on_stream_not_found),
        ("on_stream_none_reader", &callback.on_stream_none_reader),
    ] {
        if address.is_some() && dialect != Dialect::Zlmediakit {
            let what = format!("the dialect {:?} does not ask about absences", dialect.name());
            return wrong(key, what, "leave it \"\", or set the dialect \"zlmediakit\"");
        }
    }
    if callback.on_stream_not_found.is_some() && loaded.settings.session.play_wait.is_zero() {
        let what = "it is asked while a player waits, and nobody waits".to_owned();
        return wrong("on_stream_not_found", what, "set session.play_wait_ms, such as 15000");
    }
    if callback.on_stream_none_reader.is_some() && !loaded.settings.sees_all() {
        let what = "viewers of HLS have no session, so that nobody can tell who plays".to_owned();
        return wrong(
            "on_stream_none_reader",
            what,
            "set hls.session to \"token\" or \"cookie\", or hls.mode to \"off\"",
        );
    }
    if addresses.connect.is_some() && !loaded.settings.auth.connect {
        let what = "it is asked about connections, which nobody judges".to_owned();
        return wrong("on_connect", what, "set auth.connect = true");
    }
    if dialect == Dialect::RtmpEvent && callback.signing_secret.0.is_empty() {
        let what = "the dialect \"rtmp-event\" signs tokens, and there is no secret".to_owned();
        return wrong("dialect", what, "set auth.callback.signing_secret");
    }
    if callback.method == Verb::Get && dialect != Dialect::NginxRtmp {
        let what = format!("the dialect {:?} asks by POST alone", dialect.name());
        return wrong("method", what, "leave it \"POST\", or set the dialect \"nginx-rtmp\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    /// The settings of these variables of the section, or what is wrong with them.
    fn read(more: &[(&str, &str)]) -> Result<CallbackSection, String> {
        let one =
            |(key, value): &(&str, &str)| (format!("GRANDSTAND_AUTH__{key}"), (*value).to_owned());
        let mode = ("GRANDSTAND_AUTH__MODE".to_owned(), "callback".to_owned());
        let loaded = load(None, more.iter().map(one).chain([mode]));
        loaded.map(|loaded| loaded.settings.auth.callback).map_err(|error| error.to_string())
    }

    #[test]
    fn a_dialect_says_what_it_needs_and_what_it_cannot() {
        let url = ("CALLBACK__URL", "http://app.example/");
        let dialect = |word| ("CALLBACK__DIALECT", word);
        let secret = ("CALLBACK__SIGNING_SECRET", "hunter2");
        for set in [
            &[url, dialect("srs")][..],
            &[url, dialect("rtmp-event"), secret],
            &[
                dialect("nginx-rtmp"),
                ("CALLBACK__ON_PLAY", "http://a/"),
                ("CALLBACK__METHOD", "GET"),
            ],
            &[dialect("nginx-rtmp"), ("CALLBACK__ON_UPDATE", "http://a/")],
            &[dialect("srs"), ("CALLBACK__ON_CONNECT", "http://a/"), ("CONNECT", "true")],
            &[dialect("zlmediakit"), ("CALLBACK__ON_STREAM_NONE_READER", "http://a/")],
        ] {
            let section = read(set).unwrap();
            let application = section.application(Asker::default(), true).unwrap();
            assert_eq!(application.dialect, section.dialect);
            assert!(!format!("{section:?} {application:?}").contains("hunter2"));
        }
        for (set, key, part) in [
            (&[dialect("srs")][..], "auth.mode", "none is named"),
            (&[url, dialect("wowza")], "auth.callback.dialect", "\"zlmediakit\" or \"mediamtx\""),
            (
                &[url, dialect("rtmp-event")],
                "auth.callback.dialect",
                "auth.callback.signing_secret",
            ),
            (&[url, ("CALLBACK__ON_PLAY", "http://a/")], "auth.callback.on_play", "\"native\""),
            (
                &[
                    dialect("zlmediakit"),
                    ("CALLBACK__ON_CONNECT", "http://a/"),
                    ("CONNECT", "true"),
                ],
                "auth.callback.on_connect",
                "set auth.callback.url instead",
            ),
            (
                &[dialect("srs"), ("CALLBACK__ON_CONNECT", "http://a/")],
                "auth.callback.on_connect",
                "set auth.connect = true",
            ),
            (
                &[url, dialect("srs"), ("CALLBACK__ON_UPDATE", "http://a/")],
                "auth.callback.on_update",
                "nginx-rtmp",
            ),
            (&[url, dialect("srs"), ("CALLBACK__METHOD", "GET")], "auth.callback.method", "POST"),
            (
                &[url, dialect("srs"), ("CALLBACK__ON_STREAM_NONE_READER", "http://a/")],
                "auth.callback.on_stream_none_reader",
                "set the dialect \"zlmediakit\"",
            ),
            (
                &[dialect("zlmediakit"), ("CALLBACK__ON_STREAM_NOT_FOUND", "http://a/")],
                "auth.callback.on_stream_not_found",
                "set session.play_wait_ms",
            ),
        ] {
            let error = read(set).unwrap_err();
            let key = key.to_owned();
            let variable = format!("GRANDSTAND_{}", key.to_uppercase().replace('.', "__"));
            assert!(error.contains(&key) || error.contains(&variable), "{key}: {error}");
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
