//! `[auth.callback]`: the application that is asked who may publish and play.

use std::sync::Arc;
use std::time::Duration;

use dataplane::ids::Secret;

use super::field::words;
use super::key::{Key, Section};
use super::load::Loaded;
use crate::auth::{Application, OnFailure};
use crate::coordinator::Credential;
use crate::error::Error;
use crate::outbound::{Address, SigningKey};

/// `[auth.callback]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSection {
    /// Who is asked.
    pub url: Option<Address>,
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
            url: None,
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
    /// Who is asked, by the node of that name.
    pub(super) fn application(&self, node: Arc<str>) -> Option<Application> {
        let signs = !self.signing_secret.0.is_empty();
        Some(Application {
            address: self.url.clone()?,
            // What cannot be used was refused when the file was read.
            authorization: self.credential.authorization().ok().flatten(),
            signing: signs.then(|| SigningKey::new(self.signing_secret.0.as_bytes())),
            node,
            timeout: self.timeout,
            on_failure: self.on_failure,
            cache: self.cache,
            cache_denied: self.cache_denied,
        })
    }
}

words!(OnFailure {
    "deny" => OnFailure::Deny,
    "allow" => OnFailure::Allow,
});

const HOUR: u64 = 3_600_000;

const KEYS: &[Key] = &[
    Key::new(
        "url",
        "Asked by POST, with a JSON object that tells who wants what. Status 200 and 204 allow, \
         401 and 403 deny, 404 knows no such stream, 409 has it taken. JSON in the answer may \
         give the stream another name (stream), let players wait for it (wait), set its policy \
         (policy) and say how long the verdict is good (cache_ms). Redirects are not followed.",
        |s| &mut s.auth.callback.url,
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
        "If set, questions are signed: header grandstand-signature, t=SECONDS,v1=HEX, the \
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
        "A yes is good for this long for equal questions; 0 asks each time. Equal are intent, \
         protocol, stream, key, URL with query, referer and address of the peer.",
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
    .range(0, 1 << 20)
    .now(),
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
    let (timeout, deadline) = (callback.timeout, loaded.settings.session.authorize_deadline);
    if callback.url.is_some() && timeout >= deadline {
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
