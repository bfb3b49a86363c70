//! Connections: how many the open files and the memory of the host allow.

use std::fmt::Display;

use super::addresses::listeners;
use super::field::human_bytes;
use super::host::Host;
use super::load::Loaded;
use super::memory::{self, CONTROL_SHARE, IMPORT_SHARE};
use super::settings::Settings;
use crate::error::Error;

/// File descriptors that are no connection: logs, rings, event descriptors, the API.
const NOFILE_HEADROOM: u64 = 64;

/// Room for connections, and what to do for more of it.
pub(super) struct Room {
    pub(super) connections: u64,
    pub(super) what: String,
    pub(super) mend: String,
}

/// What the limit of open files leaves to connections.
///
/// Errors: a limit that leaves none.
pub(super) fn files(loaded: &Loaded, host: &Host, shards: u64) -> Result<Room, Error> {
    let control = &loaded.settings.listeners.control;
    let addresses = listeners(&loaded.settings).len() as u64;
    let taken = NOFILE_HEADROOM + u64::from(control.connections_max) + shards * (addresses + 4);
    let nofile = host.nofile;
    if nofile <= taken {
        return Err(Error::System {
            what: "cannot serve anybody",
            reason: format!("the limit of {nofile} open files (nofile) is below {}", taken + 1),
            mend: "raise it with `ulimit -n 20000` or LimitNOFILE=20000",
        });
    }
    Ok(Room {
        connections: nofile - taken,
        what: format!("the limit of {nofile} open files (nofile)"),
        mend: format!(
            "raise it with `ulimit -n {}` or LimitNOFILE={0}",
            loaded.settings.limits.connections_max.saturating_add(taken)
        ),
    })
}

/// Lowers the default number of connections to `room`, and says so.
///
/// Errors: a configured number that has no room.
pub(super) fn fit_connections(
    loaded: &Loaded,
    settings: &mut Settings,
    notes: &mut Vec<String>,
    room: &Room,
) -> Result<(), Error> {
    const KEY: &str = "limits.connections_max";
    let wanted = settings.limits.connections_max;
    let fitting = room.connections;
    if wanted > fitting {
        if loaded.is_set(KEY) {
            return Err(loaded.misfit(
                KEY,
                format!("{wanted} connections do not fit {}, {fitting} do", room.what),
                room.mend.clone(),
            ));
        }
        notes.push(format!("{KEY} is {fitting}, not {wanted}: {}; {}", room.what, room.mend));
        settings.limits.connections_max = fitting;
    }
    let players = &mut settings.limits.players_max;
    *players = (*players).min(settings.limits.connections_max);
    Ok(())
}

/// Lowers the default number of live streams to what `memory_max` affords, and says so.
pub(super) fn fit_streams(
    loaded: &Loaded,
    settings: &mut Settings,
    notes: &mut Vec<String>,
    memory_max: u64,
) {
    const KEY: &str = "limits.streams_max";
    let (wanted, fitting) =
        (settings.limits.streams_max, memory::streams_fitting(settings, memory_max));
    if wanted > fitting && !loaded.is_set(KEY) {
        notes.push(lowered(KEY, fitting, wanted, memory_max));
        settings.limits.streams_max = fitting;
    }
}

fn lowered(key: &str, fitting: impl Display, wanted: impl Display, memory_max: u64) -> String {
    let memory_max = human_bytes(memory_max);
    format!("{key} is {fitting}, not {wanted}: limits.memory_max {memory_max}; raise it")
}

/// Lowers the default bytes of buffers, claims, events for hooks, declared streams and imports to
/// what `memory_max` affords, and says so of all but buffers: they bound what users ask for by
/// name.
pub(super) fn fit_buffers(
    loaded: &Loaded,
    settings: &mut Settings,
    notes: &mut Vec<String>,
    memory_max: u64,
) {
    if !loaded.is_set("limits.buffer_bytes_max") {
        settings.limits.buffer_bytes_max = memory::buffers_fitting(settings, memory_max);
    }
    for (key, bytes, share) in [
        ("auth.claims_bytes_max", &mut settings.auth.claims_bytes_max, CONTROL_SHARE),
        ("events.hooks_bytes_max", &mut settings.events.hooks_bytes_max, CONTROL_SHARE),
        ("streams.declared_bytes_max", &mut settings.streams.declared_bytes_max, CONTROL_SHARE),
        ("streams.import_bytes_max", &mut settings.streams.import_bytes_max, IMPORT_SHARE),
    ] {
        let fitting = (memory_max / share).min(*bytes);
        if *bytes > fitting && !loaded.is_set(key) {
            notes.push(lowered(key, human_bytes(fitting), human_bytes(*bytes), memory_max));
            *bytes = fitting;
        }
    }
}
