//! Table: every variable of the family, and what it sets here.

use super::reading::{self, Reading};

/// One variable.
#[derive(Clone, Copy)]
pub(super) struct Variable {
    /// Its name.
    pub(super) name: &'static str,
    pub(super) effect: Effect,
}

/// What a variable does.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// Sets the full key to what is read.
    Key(&'static str, Reading),
    /// The port of the listener of that section.
    Port(&'static str),
    /// The port of the listener of that section, which is there if there is a certificate.
    Tls(&'static str),
    /// The port of the listener of that section, which it opens if there is a certificate.
    Opens(&'static str),
    /// The address that every listener is bound to.
    Bind,
    /// Sets the full key to what is read, where this node is to be the client of a coordinator.
    Client(&'static str, Reading),
    /// The secret that is shared with a coordinator, or with those that have this node as theirs.
    ControlSecret,
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// Variables that put the coordinator's contract in force.
#[cfg(test)]
pub(in super::super) const SWITCHES: [&str; 3] =
    ["KEY_VERIFICATION_URL", "EVENT_CALLBACK_URL", "CONTROL_SECRET"];

/// Beginnings of names that nobody else uses: another name that begins so is misspelt.
pub(super) const FAMILIES: [&str; 10] = [
    "KEY_VERIFICATION_",
    "EVENT_CALLBACK_",
    "COMMANDS_API_",
    "CONCURRENT_LIMIT_",
    "MAX_IP_",
    "RTMP_",
    "GOP_CACHE_",
    "ID_MAX_",
    "HLS_",
    "CONTROL_",
];

/// What a client says of its coordinator: it has one.
pub(super) const USE: &str = "CONTROL_USE";
/// Variables that only a coordinator has.
pub(super) const OWN: [&str; 3] =
    ["KEY_VERIFICATION_URL", "EVENT_CALLBACK_URL", "COMMANDS_API_AUTH"];
/// Why a node that has those is the client of nobody.
pub(super) const OWN_COORDINATOR: &str = "this node is the coordinator itself, by \
                                          KEY_VERIFICATION_URL, EVENT_CALLBACK_URL or \
                                          COMMANDS_API_AUTH";
/// Why one that does not say so is none either.
pub(super) const NOT_USED: &str = "CONTROL_USE is not YES";
const OWN_CALLBACK: &str = "this node asks KEY_VERIFICATION_URL, as a coordinator does; \
                            [auth.callback] with dialect = \"rtmp-event\" asks as that server did";
const OWN_ENCODER: &str = "streams are packaged as they come and served from memory: nothing is \
                           encoded, recorded or stored elsewhere";
const OWN_COMMANDS: &str = "commands come by /commands/close on the control listener";

const fn key(name: &'static str, key: &'static str, reading: Reading) -> Variable {
    Variable { name, effect: Effect::Key(key, reading) }
}

const fn port(name: &'static str, section: &'static str) -> Variable {
    Variable { name, effect: Effect::Port(section) }
}

const fn nothing(name: &'static str, why: &'static str) -> Variable {
    Variable { name, effect: Effect::Nothing(why) }
}

/// The variables, in the order in which they take effect.
pub(super) const VARIABLES: &[Variable] = &[
    Variable { name: "BIND_ADDRESS", effect: Effect::Bind },
    port("HTTP_PORT", "listeners.control"),
    Variable { name: "SSL_PORT", effect: Effect::Opens("listeners.control_tls") },
    port("RTMP_PORT", "listeners.rtmp"),
    Variable { name: "RTMP_SSL_PORT", effect: Effect::Tls("listeners.rtmps") },
    key("SSL_CERT", "tls.certificate", reading::text),
    key("SSL_KEY", "tls.key", reading::text),
    key("SSL_CHECK_RELOAD_SECONDS", "tls.check_ms", reading::pause),
    key("KEY_VERIFICATION_URL", "coordinator.key_verification_url", reading::text),
    key("KEY_VERIFICATION_AUTH", "coordinator.key_verification_auth", reading::scheme),
    key("KEY_VERIFICATION_AUTH_USER", "coordinator.key_verification_user", reading::text),
    key("KEY_VERIFICATION_PASSWORD", "coordinator.key_verification_password", reading::text),
    key("KEY_VERIFICATION_AUTH_TOKEN", "coordinator.key_verification_token", reading::text),
    key("KEY_VERIFICATION_AUTH_CUSTOM", "coordinator.key_verification_custom", reading::text),
    key("EVENT_CALLBACK_URL", "coordinator.event_callback_url", reading::text),
    key("EVENT_CALLBACK_AUTH", "coordinator.event_callback_auth", reading::scheme),
    key("EVENT_CALLBACK_AUTH_USER", "coordinator.event_callback_user", reading::text),
    key("EVENT_CALLBACK_PASSWORD", "coordinator.event_callback_password", reading::text),
    key("EVENT_CALLBACK_AUTH_TOKEN", "coordinator.event_callback_token", reading::text),
    key("EVENT_CALLBACK_AUTH_CUSTOM", "coordinator.event_callback_custom", reading::text),
    key("COMMANDS_API_AUTH", "coordinator.commands_auth", reading::commands_scheme),
    key("COMMANDS_API_AUTH_USER", "coordinator.commands_user", reading::text),
    // Documented, and never read by the original, which took the token for it.
    key("COMMANDS_API_AUTH_PASSWORD", "coordinator.commands_password", reading::text),
    key("COMMANDS_API_AUTH_TOKEN", "coordinator.commands_token", reading::text),
    Variable { name: "CONTROL_SECRET", effect: Effect::ControlSecret },
    Variable { name: USE, effect: Effect::Client("coordinator.client.enabled", reading::yes) },
    Variable {
        name: "CONTROL_BASE_URL",
        effect: Effect::Client("coordinator.client.url", reading::text),
    },
    key("ID_MAX_LENGTH", "coordinator.id_bytes_max", reading::number),
    key("SERVER_CAPACITY", "coordinator.encoder_capacity", reading::number),
    key("EXTERNAL_IP", "coordinator.server_ip", reading::text),
    key("EXTERNAL_PORT", "coordinator.server_port", reading::number),
    key("EXTERNAL_SSL", "coordinator.server_tls", reading::yes),
    key("MAX_IP_CONCURRENT_CONNECTIONS", "limits.connections_per_ip_max", reading::number),
    key("CONCURRENT_LIMIT_WHITELIST", "limits.exempt", reading::ranges),
    key("RTMP_PLAY_WHITELIST", "limits.play_from", reading::ranges),
    key("GOP_CACHE_SIZE_MB", "stream.gop_bytes_max", reading::gop),
    key("RTMP_CHUNK_SIZE", "session.rtmp_chunk_bytes", reading::number),
    key("HLS_TIME_SECONDS", "hls.segment_ms", reading::seconds),
    key("HLS_LIVE_PLAYLIST_SIZE", "hls.listed", reading::number),
    key("LOG_REQUESTS", "log.level", reading::requests),
    key("LOG_DEBUG", "log.level", reading::debug),
    nothing("HLS_VIDEO_CODEC", OWN_ENCODER),
    nothing("HLS_AUDIO_CODEC", OWN_ENCODER),
    nothing("HLS_H264_PRESET", OWN_ENCODER),
    nothing("HLS_PIXEL_FORMAT", OWN_ENCODER),
    nothing("HLS_VOD_MAX_SIZE", OWN_ENCODER),
    nothing("HLS_FRAGMENT_COUNT_LIMIT", OWN_ENCODER),
    nothing("HLS_STORAGE_TYPE", OWN_ENCODER),
    nothing("HLS_FILESYSTEM_PATH", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_URL", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_AUTH", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_USER", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_PASSWORD", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_TOKEN", OWN_ENCODER),
    nothing("HLS_STORAGE_HTTP_AUTH_CUSTOM", OWN_ENCODER),
    nothing("HLS_WS_CDN_ENABLED", OWN_ENCODER),
    nothing("HLS_WS_CDN_URL", OWN_ENCODER),
    nothing("HLS_WS_CDN_PUSH_SECRET", OWN_ENCODER),
    nothing("RTMP_HOST", OWN_CALLBACK),
    nothing("CALLBACK_URL", OWN_CALLBACK),
    nothing("JWT_SECRET", OWN_CALLBACK),
    nothing("CUSTOM_JWT_SUBJECT", OWN_CALLBACK),
    nothing("REDIS_USE", OWN_COMMANDS),
    nothing("REDIS_HOST", OWN_COMMANDS),
    nothing("REDIS_PORT", OWN_COMMANDS),
    nothing("REDIS_PASSWORD", OWN_COMMANDS),
    nothing("REDIS_CHANNEL", OWN_COMMANDS),
    nothing("REDIS_TLS", OWN_COMMANDS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sections;

    #[test]
    fn every_variable_is_listed_once_and_sets_a_key_that_is() {
        let sections = sections();
        for (at, variable) in VARIABLES.iter().enumerate() {
            let again = VARIABLES[at + 1..].iter().any(|other| other.name == variable.name);
            assert!(!again, "{}", variable.name);
            let (section, key) = match variable.effect {
                Effect::Key(full, _) | Effect::Client(full, _) => full.rsplit_once('.').unwrap(),
                Effect::Port(section) | Effect::Opens(section) | Effect::Tls(section) => {
                    (section, "addr")
                }
                Effect::Bind | Effect::ControlSecret | Effect::Nothing(_) => continue,
            };
            let section = sections.iter().find(|known| known.name == section).unwrap();
            assert!(section.key(key).is_some(), "{}", variable.name);
        }
        for switch in SWITCHES {
            assert!(VARIABLES.iter().any(|variable| variable.name == switch));
        }
    }

    #[test]
    fn the_readme_tells_every_variable() {
        let readme = include_str!("../../../../README.md");
        for variable in VARIABLES {
            assert!(readme.contains(&format!("`{}`", variable.name)), "{}", variable.name);
        }
    }
}
