//! Addresses: where media listeners open, and what keeps them from it.

use std::net::{Ipv4Addr, SocketAddr};

use dataplane::config::{LISTENERS_MAX, ListenerConfig, ListenerKind};

use super::host::Host;
use super::load::Loaded;
use super::settings::Settings;
use crate::error::Error;

/// Moves default addresses to IPv4 on a host that has nothing else, and says so.
pub(super) fn fit_listeners(
    loaded: &Loaded,
    host: &Host,
    settings: &mut Settings,
    notes: &mut Vec<String>,
) {
    if host.ipv6 {
        return;
    }
    let certified = settings.is_certified();
    let section = &mut settings.listeners;
    let mut all = vec![
        ("listeners.rtmp.addr", &mut section.rtmp.addr),
        ("listeners.http.addr", &mut section.http.addr),
    ];
    if section.srt.enabled {
        all.push(("listeners.srt.addr", &mut section.srt.first.addr));
    }
    if certified {
        all.push(("listeners.rtmps.addr", &mut section.rtmps.addr));
        all.push(("listeners.https.addr", &mut section.https.addr));
    }
    for (key, addrs) in all {
        let everywhere = addrs.iter().all(|addr| addr.ip().is_unspecified());
        // A port alone of the coordinator's family is one of every interface there is.
        if !loaded.is_set(key) || (everywhere && loaded.is_of_family(key)) {
            for addr in addrs {
                *addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
            }
            notes.push(format!("{key} is 0.0.0.0: this host has no IPv6"));
        }
    }
}

/// The enabled listeners, RTMP first; those inside TLS only with a certificate.
pub(super) fn listeners(settings: &Settings) -> Vec<ListenerConfig> {
    let section = &settings.listeners;
    let all = [
        (ListenerKind::Rtmp, &section.rtmp),
        (ListenerKind::Http, &section.http),
        (ListenerKind::Rtmps, &section.rtmps),
        (ListenerKind::Https, &section.https),
    ];
    let certified = settings.is_certified();
    all.into_iter()
        .filter(|(kind, listener)| listener.enabled && (certified || !kind.is_tls()))
        .flat_map(|(kind, listener)| listener.configs(kind))
        .chain(section.srt.configs())
        .collect()
}

/// Errors: a shard that does not exist, an address that is listed twice, too many addresses.
pub(super) fn check_listeners(
    loaded: &Loaded,
    listeners: &[ListenerConfig],
    shards: usize,
) -> Result<(), Error> {
    for (key, listener) in loaded.settings.listeners.media() {
        for (also, set) in listener.shard_lists() {
            if let Some(shard) = set.0.iter().find(|&&shard| usize::from(shard) >= shards) {
                return Err(loaded.misfit(
                    &format!("listeners.{key}.{}", if also { "also" } else { "shards" }),
                    format!("shard {shard} of {shards} accepts there"),
                    format!("shards count from 0 to {}", shards - 1),
                ));
            }
        }
    }
    let twice = listeners.iter().enumerate().find(|(at, listener)| {
        // UDP has ports of its own.
        let same = |l: &ListenerConfig| {
            (l.addr, l.kind.is_datagram()) == (listener.addr, listener.kind.is_datagram())
        };
        listener.addr.port() != 0 && listeners[..*at].iter().any(same)
    });
    let key = |kind: ListenerKind| {
        let name = match kind {
            ListenerKind::Rtmp => "rtmp",
            ListenerKind::Http => "http",
            ListenerKind::Rtmps => "rtmps",
            ListenerKind::Https => "https",
            ListenerKind::Srt => "srt",
        };
        let also = format!("listeners.{name}.also");
        if loaded.is_set(&also) { also } else { format!("listeners.{name}.addr") }
    };
    if let Some((_, listener)) = twice {
        return Err(loaded.misfit(
            &key(listener.kind),
            format!("{} is listed twice", listener.addr),
            "give each listener an address of its own".to_owned(),
        ));
    }
    match listeners.get(LISTENERS_MAX) {
        Some(listener) => Err(loaded.misfit(
            &key(listener.kind),
            format!("{} addresses are more than {LISTENERS_MAX}", listeners.len()),
            "list fewer".to_owned(),
        )),
        None => Ok(()),
    }
}
