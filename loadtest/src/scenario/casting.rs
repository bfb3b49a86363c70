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
        Some(mix) => mixed(mix, &url, settings)?,
        None if settings.http.is_some() => bail!("--http goes with --mix"),
        None if settings.srt.is_some() => bail!("--srt goes with --mix"),
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
fn mixed(mix: &str, url: &StreamUrl, settings: &Settings) -> Result<Vec<Part>> {
    ensure!(
        url.scheme == Scheme::Rtmp,
        "a mix takes its name from --url rtmp[s]://HOST/APP/NAME, the others from --http and --srt"
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
                "srt" => by_srt(url, settings.srt.as_deref())?,
                _ => beside(url, name, settings.http.as_deref())?,
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
        _ => bail!("--mix: no format {format}; there are rtmp, flv, ws, ts, hls and srt"),
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

/// The same stream by SRT: its id is `APP/NAME` with the query.
fn by_srt(url: &StreamUrl, srt: Option<&str>) -> Result<StreamUrl> {
    let srt = srt.context("--mix: srt needs --srt srt://HOST[:PORT]")?;
    let (address, options) = srt.split_once('?').unwrap_or((srt, ""));
    ensure!(address.starts_with("srt://"), "--srt: {address} is no srt://HOST[:PORT]");
    let id = format!("{}/{}{}", url.app, url.name, url.query);
    let id = id.replace('%', "%25").replace('&', "%26");
    StreamUrl::parse(&format!("{address}?streamid={id}&{options}")).context("--srt")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_finds_its_stream_by_srt() {
        let url = StreamUrl::parse("rtmp://h/live/a?x=1%&y=2").unwrap();
        let srt = by_srt(&url, Some("srt://h:9000?latency=400")).unwrap();
        let target = srt.nth(3, 4).srt.unwrap();
        assert_eq!((&*target.stream_id, target.latency_ms), ("live/a-3?x=1%&y=2", 400));
        assert_eq!((&*srt.host, srt.port), ("h", 9000));
        for wrong in [None, Some("h:9000"), Some("srt://h?latency=x")] {
            let error = format!("{:#}", by_srt(&url, wrong).unwrap_err());
            assert!(error.contains("--srt"), "{error}");
        }
    }
}
