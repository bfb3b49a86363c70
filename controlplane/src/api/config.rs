//! Config: what is configured, where each value comes from, and a reload.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use dataplane::config::{ListenerConfig, ListenerKind};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::etag::Etag;
use super::reply::{BUSY, Refusal};
use super::state::ApiState;
use crate::bridge::Ask;
use crate::config::{Applies, Key, Section, Settings, sections};
use crate::error::{Error, Place};
use crate::server::{ConfigAsk, InForce, Reloaded};

/// The configuration in force.
#[derive(Serialize, ToSchema)]
pub(super) struct Config {
    /// The file, if there is one.
    file: Option<String>,
    /// The listeners of media that are open.
    listeners: Vec<OpenListener>,
    /// Every key, in the order of the file.
    keys: Vec<ConfigKey>,
}

/// An open listener.
#[derive(Serialize, ToSchema)]
struct OpenListener {
    /// `rtmp`, `http`, `rtmps`, `https` or `srt`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// Where it is, its port chosen.
    addr: String,
}

/// One key of the configuration.
#[derive(Serialize, ToSchema)]
struct ConfigKey {
    /// Section and name.
    #[schema(example = "egress.batch_ms_max")]
    key: String,
    /// What is in force; a secret is masked.
    #[schema(value_type = Value)]
    value: Value,
    /// What it is if nobody sets it.
    #[schema(value_type = Value)]
    default: Value,
    /// Who set it.
    origin: Origin,
    /// The line of the file, or the variable; null for a default.
    place: Option<String>,
    /// When a changed value takes effect.
    applies: When,
    /// The value that waits for a restart, if one does.
    #[schema(value_type = Option<Value>)]
    pending: Option<Value>,
    /// What it means.
    #[schema(value_type = String)]
    about: &'static str,
}

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Origin {
    /// Nobody.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum When {
    /// At a reload.
    Reload,
    /// At the next start.
    Restart,
}

/// What a reload did.
#[derive(Serialize, ToSchema)]
pub(super) struct ReloadOutcome {
    /// Keys whose new value is in force.
    applied: Vec<String>,
    /// Keys whose new value waits for a restart.
    restart: Vec<String>,
    /// What clients will not like, as a certificate that is over, and what is not in force yet.
    warnings: Vec<String>,
}

/// The configuration in force: every key, its value and where that comes from.
#[utoipa::path(
    get,
    path = "/api/v1/config",
    tag = "config",
    responses((status = 200, description = "The configuration", body = Config), (status = 304)),
)]
pub(super) async fn config(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (text, etag) = state.config.of(in_force(&state).await?).await?;
    Ok(etag.answer(&headers, ([(header::CONTENT_TYPE, "application/json")], text)))
}

/// Reads the configuration file again, as SIGHUP does; a file with an error changes nothing.
///
/// With `If-Match` it does so only while the configuration that was shown is still in force.
#[utoipa::path(
    post,
    path = "/api/v1/config/reload",
    tag = "config",
    responses(
        (status = 200, description = "What was applied", body = ReloadOutcome),
        (status = 422, description = "What is wrong with it", body = super::reply::ErrorBody),
    ),
)]
pub(super) async fn reload(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Json<ReloadOutcome>, Refusal> {
    loop {
        let only_if = match headers.contains_key(header::IF_MATCH) {
            true => Some(matching(&state, &headers).await?),
            false => None,
        };
        let ask = |reply| Ask::Config(ConfigAsk::Reload { only_if, reply });
        let outcome = state.ask(ask).await?.map_err(|error| refusal(&error))?;
        // Another one is in force by now, which may say the same.
        if let Some(Reloaded { applied, restart, doubts }) = outcome {
            return Ok(Json(ReloadOutcome { applied, restart, warnings: doubts }));
        }
    }
}

/// What is in force, if it is what a request names.
async fn matching(state: &ApiState, headers: &HeaderMap) -> Result<Arc<InForce>, Refusal> {
    let in_force = in_force(state).await?;
    let (_, etag) = state.config.of(Arc::clone(&in_force)).await?;
    Etag::check(Some(&etag), headers)?;
    Ok(in_force)
}

async fn in_force(state: &ApiState) -> Result<Arc<InForce>, Refusal> {
    state.ask(|reply| Ask::Config(ConfigAsk::InForce { reply })).await
}

/// The configuration as it was told last. A file may declare thousands of streams, so its text is
/// made once after each load, beside the control thread.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigText(Arc<Mutex<Option<Told>>>);

#[derive(Debug)]
struct Told {
    of: Arc<InForce>,
    text: Bytes,
    etag: Etag,
}

impl ConfigText {
    async fn of(&self, in_force: Arc<InForce>) -> Result<(Bytes, Etag), Refusal> {
        // Who asks meanwhile waits for the one who makes it.
        let mut told = self.0.lock().await;
        if let Some(told) = told.as_ref().filter(|told| Arc::ptr_eq(&told.of, &in_force)) {
            return Ok((told.text.clone(), told.etag.clone()));
        }
        let of = Arc::clone(&in_force);
        let make = move || serde_json::to_vec(&Config::of(&in_force)).unwrap_or_default();
        let text = Bytes::from(tokio::task::spawn_blocking(make).await.map_err(|_| BUSY)?);
        let etag = Etag::of_bytes(&text);
        *told = Some(Told { of, text: text.clone(), etag: etag.clone() });
        Ok((text, etag))
    }
}

fn refusal(error: &Error) -> Refusal {
    let refusal =
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", error.to_string());
    match error {
        Error::Value { key, .. } => refusal.at(key.clone()),
        Error::Listen { listener, .. } => refusal.at(format!("{listener}.addr")),
        _ => refusal,
    }
}

impl OpenListener {
    fn of(listener: &ListenerConfig) -> Self {
        let kind = match listener.kind {
            ListenerKind::Rtmp => "rtmp",
            ListenerKind::Http => "http",
            ListenerKind::Rtmps => "rtmps",
            ListenerKind::Https => "https",
            ListenerKind::Srt => "srt",
        };
        Self { kind, addr: listener.addr.to_string() }
    }
}

impl Config {
    fn of(in_force: &InForce) -> Self {
        let InForce { loaded, started, listeners } = in_force;
        let defaults = Settings::default();
        let key = |section: &Section, key: &Key| {
            let full = section.full(key);
            let wanted = key.json(&loaded.settings);
            let (applies, pending) = match key.applies {
                Applies::Now => (When::Reload, None),
                Applies::Restart => {
                    let waits = key.render(started) != key.render(&loaded.settings);
                    (When::Restart, waits.then(|| wanted.clone()))
                }
            };
            let (origin, place) = match loaded.place(&full) {
                Place::Default => (Origin::Default, None),
                Place::Env(name) => (Origin::Environment, Some(name)),
                place => (Origin::File, Some(place.to_string())),
            };
            ConfigKey {
                value: if pending.is_some() { key.json(started) } else { wanted },
                default: key.json(&defaults),
                key: full,
                origin,
                place,
                applies,
                pending,
                about: key.about,
            }
        };
        let sections = sections();
        let keys = sections
            .iter()
            .flat_map(|section| section.keys.iter().map(move |known| key(section, known)));
        Self {
            file: loaded.file.as_ref().map(|file| file.display().to_string()),
            listeners: listeners.iter().map(OpenListener::of).collect(),
            keys: keys.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn each_value_tells_who_set_it_and_what_waits_for_a_restart() {
        let env = [
            ("GRANDSTAND_SHARDS__COUNT", "3"),
            ("GRANDSTAND_LOG__LEVEL", "debug"),
            ("GRANDSTAND_EGRESS__BATCH_MS_MAX", "50"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = Arc::new(load(None, env).unwrap());
        let started = load(None, []).unwrap().settings;
        let config = Config::of(&InForce { loaded, started, listeners: vec![] });
        let key = |name: &str| config.keys.iter().find(|key| key.key == name).unwrap();
        let count = key("shards.count");
        assert_eq!((count.origin, count.applies), (Origin::Environment, When::Restart));
        assert_eq!((&count.value, &count.pending), (&"auto".into(), &Some(3.into())));
        assert_eq!(count.place.as_deref(), Some("GRANDSTAND_SHARDS__COUNT"));
        let batch = key("egress.batch_ms_max");
        assert_eq!((&batch.value, &batch.pending), (&50.into(), &None));
        let mode = key("auth.mode");
        assert_eq!((mode.origin, &mode.place), (Origin::Default, &None));
        assert_eq!(mode.value, mode.default);
    }

    #[tokio::test]
    async fn the_text_is_made_once_after_each_load() {
        let in_force = || {
            let loaded = Arc::new(load(None, []).unwrap());
            let started = loaded.settings.clone();
            Arc::new(InForce { loaded, started, listeners: vec![] })
        };
        let (text, first, second) = (ConfigText::default(), in_force(), in_force());
        let (told, etag) = text.of(Arc::clone(&first)).await.unwrap();
        let (again, same) = text.of(first).await.unwrap();
        assert_eq!((told.as_ptr(), &etag), (again.as_ptr(), &same), "the same bytes");
        let (other, etag) = text.of(second).await.unwrap();
        assert_ne!(told.as_ptr(), other.as_ptr());
        assert_eq!((told, same), (other, etag), "it says the same");
    }
}
