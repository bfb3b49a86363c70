//! The addresses of RTMP servers that the node plays from.
//!
//! ```text
//!   rtmp://HOST[:PORT]/APP/NAME[?QUERY]      port 1935
//!   rtmps://HOST[:PORT]/APP/NAME[?QUERY]     port 443, inside TLS
//! ```
//!
//! The query is the server's, as a key of it may be; `params` of an input are added to it. The
//! connection has `net.timeout_sec` until the server plays, and `net.insecure_tls` believes
//! whatever certificate it shows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use dataplane::session::rtmp::client::Address;

use super::fault::Fault;
use super::input::{Net, listens};
use super::passphrases::MASK;

/// How long it may take until a server plays, where nothing is said.
const CONNECT: Duration = Duration::from_secs(10);
/// Seconds that it may take at most.
const TIMEOUT_SEC_MAX: u32 = 60;
const SHAPE: &str = "it is rtmp://HOST/APP/NAME or rtmps://HOST/APP/NAME";

/// Where a server of RTMP is, and what is played there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpPlace {
    /// The server, and the stream there.
    pub address: Address,
    /// Inside TLS anybody is believed to be the server.
    pub is_insecure: bool,
    /// How long it may take until it plays.
    pub connect_timeout: Duration,
}

/// Where the server of an address of `rtmp://` is.
///
/// Errors: an address that means nothing.
pub(super) fn parse(
    url: &str,
    params: &BTreeMap<String, String>,
    net: &Net,
) -> Result<RtmpPlace, Fault> {
    let mut address = Address::parse(url.trim()).map_err(|error| invalid(wrong(error.reason())))?;
    if address.stream.0.split('?').next().is_none_or(str::is_empty) {
        return Err(invalid(format!("there is no name of a stream in it; {SHAPE}")));
    }
    for (name, value) in params {
        let mark = if address.stream.0.contains('?') { '&' } else { '?' };
        let pair = format!("{mark}{}={}", escaped(name), escaped(value));
        address.stream.0.push_str(&pair);
    }
    if net.timeout_sec > TIMEOUT_SEC_MAX {
        let message = format!("{} seconds are more than {TIMEOUT_SEC_MAX}", net.timeout_sec);
        return Err(Fault::new("invalid_value", "net.timeout_sec", message));
    }
    let connect_timeout = match net.timeout_sec {
        0 => CONNECT,
        seconds => Duration::from_secs(seconds.into()),
    };
    Ok(RtmpPlace { address, is_insecure: net.insecure_tls, connect_timeout })
}

fn wrong(word: &str) -> String {
    let what = match word {
        "address_host" => "the host is missing or wrong, or a user stands before it",
        "address_port" => "the port is no number from 1 to 65535",
        "address_path" => "the path is missing",
        _ => "it is too long, or has spaces or control letters",
    };
    format!("{what}; {SHAPE}")
}

/// A part of a query, as it is written there.
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:,@".contains(&byte) {
            written.push(char::from(byte));
        } else {
            write!(written, "%{byte:02X}").expect("a text grows");
        }
    }
    written
}

/// True for an address of a server that the node connects to.
pub(super) fn is_pull(url: &str) -> bool {
    let Some((scheme, rest)) = url.trim().split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_rtmp = ["rtmp", "rtmps"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_rtmp && !listens(authority)
}

/// An address as it may be shown: how the server names its streams nobody knows here, so that what
/// stands last may be a key, as everything in the query may be.
pub(crate) fn masked(url: &str) -> String {
    let (place, query) =
        url.trim().split_once('?').map_or((url.trim(), None), |(p, q)| (p, Some(q)));
    let begins = place.find("://").map_or(0, |at| at + 3);
    let (before, rest) = place.split_at(begins);
    let shown = match rest.trim_end_matches('/').rsplit_once('/') {
        Some((application, _)) => format!("{before}{application}/{MASK}"),
        None => place.to_owned(),
    };
    match query {
        Some(_) => format!("{shown}?{MASK}"),
        None => shown,
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("invalid_rtmp_url", "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<RtmpPlace, Fault> {
        parse(url, &BTreeMap::new(), &Net::default())
    }

    #[test]
    fn parameters_are_added_to_the_query() {
        let params = [("a b", "x&y=z"), ("token", "Ünï/1")];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let params = BTreeMap::from(params);
        let added = "a%20b=x%26y%3Dz&token=%C3%9Cn%C3%AF/1";
        for (url, stream) in [
            ("rtmp://h/live/x", format!("x?{added}")),
            ("rtmp://h/live/x?key=1", format!("x?key=1&{added}")),
        ] {
            let place = parse(url, &params, &Net::default()).unwrap();
            assert_eq!(place.address.stream.0, stream);
        }
        let net = Net { timeout_sec: 3, insecure_tls: true };
        let told = parse("rtmps://h/live/x", &BTreeMap::new(), &net).unwrap();
        assert_eq!((told.connect_timeout, told.is_insecure), (Duration::from_secs(3), true));
        assert_eq!((told.address.port, told.address.tls), (443, true));
        let said = format!("{:?}", parse("rtmp://h/live/x", &params, &net).unwrap());
        assert!(!said.contains("token"), "{said}");
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_mend() {
        for (url, says) in [
            ("rtmp://h", "the path is missing"),
            ("rtmp://h/live", "no name of a stream"),
            ("rtmp://h/live?key=x", "no name of a stream"),
            ("rtmp://h:0/live/x", "the port"),
            ("rtmp://user@h/live/x", "a user stands before it"),
            ("rtmp://h/live/x y", "has spaces"),
        ] {
            let fault = place(url).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), ("invalid_rtmp_url", "url"), "{url}");
            assert!(fault.message.contains(says), "{url}: {fault}");
        }
        let net = Net { timeout_sec: 61, insecure_tls: false };
        let fault = parse("rtmp://h/live/x", &BTreeMap::new(), &net).unwrap_err();
        assert_eq!(fault.field, "net.timeout_sec");
    }

    #[test]
    fn nothing_that_may_be_a_key_is_shown() {
        for (url, shown) in [
            ("rtmp://h/live/x", "rtmp://h/live/***"),
            ("rtmps://h:1/a/b/hunter2?key=hunter2&x=1", "rtmps://h:1/a/b/***?***"),
            ("rtmp://h/cam7/hunter2/", "rtmp://h/cam7/***"),
        ] {
            assert_eq!(masked(url), shown);
        }
        assert!(is_pull(" RTMP://origin.example/live/x") && !is_pull("rtmp://0.0.0.0/live/x"));
        assert!(!is_pull("srt://h:1") && !is_pull("rtmp:///live"));
    }
}
