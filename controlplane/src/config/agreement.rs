//! Agreement: what must hold between keys, whatever the host.

use super::load::Loaded;
use super::settings::Settings;
use crate::error::Error;
use crate::registry::FileStreams;

/// Errors: the first two keys that contradict each other.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    super::acme::agree(loaded).and_then(|()| super::auth::agree(loaded))?;
    super::coordinator::agree(loaded)?;
    super::hooks::agree(loaded)?;
    super::penalties::agree(loaded)?;
    heads(loaded)?;
    let Settings { egress, stream, reactor, listeners, .. } = &loaded.settings;
    let check = |holds: bool, key: &str, what: String, mend: &str| {
        if holds { Ok(()) } else { Err(loaded.misfit(key, what, mend.to_owned())) }
    };
    check(
        egress.batch_min <= egress.batch_max,
        pick(loaded, "egress.batch_ms_min", "egress.batch_ms_max"),
        format!(
            "batch_ms_min {} is above batch_ms_max {}",
            egress.batch_min.as_millis(),
            egress.batch_max.as_millis()
        ),
        "raise the maximum or lower the minimum",
    )?;
    let lag_max = stream.retain.as_millis() / 4 * 3;
    check(
        egress.player_lag_max.as_millis() <= lag_max,
        pick(loaded, "egress.player_lag_ms_max", "stream.retain_ms"),
        format!(
            "{} ms of lag are more than 3/4 of the {} ms that streams retain",
            egress.player_lag_max.as_millis(),
            stream.retain.as_millis()
        ),
        &format!("at most {lag_max} fits, or raise stream.retain_ms"),
    )?;
    check(
        stream.gop_bytes_max <= stream.bytes_max,
        pick(loaded, "stream.gop_bytes_max", "stream.bytes_max"),
        format!("gop_bytes_max {} is above bytes_max {}", stream.gop_bytes_max, stream.bytes_max),
        "raise stream.bytes_max or lower stream.gop_bytes_max",
    )?;
    let (segment, retain) = (stream.hls.segment.as_millis(), stream.retain.as_millis());
    check(
        segment <= retain,
        pick(loaded, "hls.segment_ms", "stream.retain_ms"),
        format!("{segment} ms of a segment are more than the {retain} ms that streams retain"),
        "raise stream.retain_ms or lower hls.segment_ms",
    )?;
    check(
        stream.hls.listed <= stream.hls.kept,
        pick(loaded, "hls.kept", "hls.listed"),
        format!("{} kept are fewer than {} listed", stream.hls.kept, stream.hls.listed),
        "raise hls.kept or lower hls.listed",
    )?;
    check(
        reactor.recv_buffers.is_power_of_two(),
        "reactor.recv_buffers",
        format!("{} is no power of two", reactor.recv_buffers),
        &format!("the next is {}", reactor.recv_buffers.next_power_of_two()),
    )?;
    if let Err((key, what)) = FileStreams::read(&loaded.settings.streams) {
        return Err(loaded.misfit(key, what, "mend or remove it".to_owned()));
    }
    check(
        listeners.rtmp.enabled || listeners.http.enabled || loaded.settings.has_tls(),
        pick(loaded, "listeners.rtmp.enabled", "listeners.http.enabled"),
        "no media listener is enabled".to_owned(),
        "enable listeners.rtmp or listeners.http",
    )
}

/// Errors: a listener that expects heads of balancers, of whom none is believed.
fn heads(loaded: &Loaded) -> Result<(), Error> {
    let Settings { listeners, session, .. } = &loaded.settings;
    let media = listeners.media().map(|(name, media)| (name, media.takes_proxy_protocol()));
    let mut all = media.into_iter().chain([("control", listeners.control.proxy_protocol)]);
    match all.find(|&(_, proxied)| proxied) {
        Some((name, _)) if session.proxies.is_empty() => Err(loaded.misfit(
            &format!("listeners.{name}.proxy_protocol"),
            "nobody's heads are believed: session.proxies is empty".to_owned(),
            "name the balancers in session.proxies, or remove the line".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The one of two contradicting keys that somebody set, so that the error names its line.
pub(super) fn pick<'a>(loaded: &Loaded, first: &'a str, second: &'a str) -> &'a str {
    if loaded.is_set(first) || !loaded.is_set(second) { first } else { second }
}
