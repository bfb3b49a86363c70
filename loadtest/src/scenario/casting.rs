//! The parts of an audience, from what the command line says of formats and of slow readers.

use anyhow::{Context, Result, bail, ensure};

use super::settings::Settings;
use crate::player::{Pace, Part};
use crate::stream_url::{Scheme, StreamUrl};

/// The mix that is played unless told otherwise.
pub(super) const MIX_DEFAULT: &str = "rtmp=50,flv=20,ws=5,ts=5,hls=20";

/// Who plays what.
pub(super) fn parts(settings: &Settings, command: &str) -> Result<Vec<Part>> {
    let url = settings.url.clone().with_context(|| format!("{command} needs --url"))?;
    let mix = match (&settings.mix, command) {
        (Some(mix), _) => Some(mix.as_str()),
        (None, "mixed") => Some(MIX_DEFAULT),
        (None, _) => None,
    };
    let parts = match mix {
        Some(mix) => mixed(mix, &url, settings.http.as_deref())?,
        None if settings.http.is_some() => bail!("--http goes with --mix"),
        None => {
            let name = format_name(url.scheme).to_owned();
            vec![Part { name, url, share: 1.0, pace: Pace::Live }]
        }
    };
    if command != "slow" {
        return Ok(parts);
    }
    ensure!(settings.slow > 0.0 && settings.slow < 1.0, "--slow is between 0% and 100%");
    let is_srt = |part: &Part| part.url.scheme == Scheme::Srt;
    ensure!(!parts.iter().any(is_srt), "no player of SRT can be slow: nothing holds datagrams up");
    let pace = Pace::Slow { bytes_per_s: settings.slow_bytes_per_s()? };
    let both = parts.into_iter().flat_map(|part| {
        let slow = Part {
            name: format!("{} slow", part.name),
            share: part.share * settings.slow,
            pace,
            ..part.clone()
        };
        [Part { share: part.share * (1.0 - settings.slow), ..part }, slow]
    });
    Ok(both.collect())
}

/// The parts of a mix such as `rtmp=50,hls=50`.
fn mixed(mix: &str, url: &StreamUrl, http: Option<&str>) -> Result<Vec<Part>> {
    ensure!(
        url.scheme == Scheme::Rtmp,
        "a mix takes its name from --url rtmp[s]://HOST/APP/NAME, and the other formats from --http"
    );
    let mut parts: Vec<Part> = Vec::new();
    for item in mix.split(',') {
        let (name, share) = item
            .split_once('=')
            .with_context(|| format!("--mix: {item} is no share such as rtmp=50"))?;
        let share = share.parse::<f64>().ok().filter(|share| (0.0..=1e6).contains(share));
        let share = share.with_context(|| format!("--mix: {item} is no share such as rtmp=50"))?;
        ensure!(parts.iter().all(|part| part.name != name), "--mix: {name} is there twice");
        if share > 0.0 {
            let url = match name {
                "rtmp" => url.clone(),
                _ => beside(url, name, http)?,
            };
            parts.push(Part { name: name.to_owned(), url, share, pace: Pace::Live });
        }
    }
    ensure!(!parts.is_empty(), "--mix: nobody has a share");
    Ok(parts)
}

/// The same stream over HTTP.
fn beside(url: &StreamUrl, format: &str, http: Option<&str>) -> Result<StreamUrl> {
    let path = match format {
        "flv" | "ws" => format!("{}.flv", url.name),
        "ts" => format!("{}.ts", url.name),
        "hls" => format!("{}/index.m3u8", url.name),
        _ => bail!("--mix: no format {format}; there are rtmp, flv, ws, ts and hls"),
    };
    let http = http
        .with_context(|| format!("--mix: {format} needs --http http[s]://HOST[:PORT][/FOLDER]"))?;
    let rest = http
        .strip_prefix("http")
        .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
    let rest = rest.with_context(|| format!("--http: {http} is no http[s]://HOST[:PORT]"))?;
    let scheme = if format == "ws" { "ws" } else { "http" };
    let text = format!("{scheme}{}/{path}{}", rest.trim_end_matches('/'), url.query);
    StreamUrl::parse(&text).context("--http")
}

pub(super) const fn format_name(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Rtmp => "rtmp",
        Scheme::HttpFlv => "flv",
        Scheme::HttpTs => "ts",
        Scheme::WebSocketFlv => "ws",
        Scheme::Hls => "hls",
        Scheme::Srt => "srt",
    }
}
