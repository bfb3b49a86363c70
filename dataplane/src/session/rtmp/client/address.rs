//! `rtmp://` and `rtmps://` addresses of other servers.

use crate::Error;
use crate::ids::Secret;

/// Bytes of an address at most.
const ADDRESS_BYTES_MAX: usize = 4096;
const RTMP_PORT: u16 = 1935;
const RTMPS_PORT: u16 = 443;

/// Where to connect, and what to ask for there.
///
/// Shape: `rtmp[s]://host[:port]/APP[/INSTANCE]/STREAM[?query]`; the last segment is the stream,
/// the query belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// TLS around it.
    pub tls: bool,
    /// The host's name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The application.
    pub app: String,
    /// What the server is told about where we connected: no stream, no key.
    pub tc_url: String,
    /// The stream with its query, which may hold a key.
    pub stream: Secret,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the word for what is wrong.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if url.len() > ADDRESS_BYTES_MAX || url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Error::Rejected("address_letters"));
        }
        let (scheme, rest) = url.split_once("://").ok_or(Error::Rejected("address_scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(Error::Rejected("address_scheme")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority_of(authority)?;
        let default = if tls { RTMPS_PORT } else { RTMP_PORT };
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (app, name) = match segments.as_slice() {
            [] => return Err(Error::Rejected("address_path")),
            [app] => ((*app).to_owned(), ""),
            [app @ .., name] => (app.join("/"), *name),
        };
        let stream = query.map_or_else(|| name.to_owned(), |query| format!("{name}?{query}"));
        let host_text = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let scheme = if tls { "rtmps" } else { "rtmp" };
        let tc_url = match port.filter(|port| *port != default) {
            Some(port) => format!("{scheme}://{host_text}:{port}/{app}"),
            None => format!("{scheme}://{host_text}/{app}"),
        };
        let (port, stream) = (port.unwrap_or(default), Secret(stream));
        Ok(Self { tls, host: host.to_owned(), port, app, tc_url, stream })
    }
}

/// Host and port, if there is one; an IPv6 address stands in brackets.
fn authority_of(authority: &str) -> Result<(&str, Option<u16>), Error> {
    let bad = Error::Rejected("address_host");
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(bad.clone())?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad.clone())?;
        let port =
            if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(bad.clone())?) };
        (host, port)
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.contains('@') {
        return Err(bad);
    }
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(Error::Rejected("address_port")),
        },
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart() {
        for (url, host, port, app, tc_url, stream) in [
            ("rtmp://h/live/cam", "h", 1935, "live", "rtmp://h/live", "cam"),
            ("rtmp://h:1936/a/b/c?key=k", "h", 1936, "a/b", "rtmp://h:1936/a/b", "c?key=k"),
            ("RTMPS://[::1]/live2/x", "::1", 443, "live2", "rtmps://[::1]/live2", "x"),
            ("rtmp://[::1]:1935//live//x", "::1", 1935, "live", "rtmp://[::1]/live", "x"),
            ("rtmp://h/cam", "h", 1935, "cam", "rtmp://h/cam", ""),
        ] {
            let address = Address::parse(url).unwrap();
            let parts = (&*address.host, address.port, &*address.app, &*address.tc_url);
            assert_eq!((parts, &*address.stream.0), ((host, port, app, tc_url), stream), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_apart() {
        for (url, word) in [
            ("h/live/cam", "address_scheme"),
            ("http://h/live", "address_scheme"),
            ("rtmp:///live/x", "address_host"),
            ("rtmp://u@h/live/x", "address_host"),
            ("rtmp://[::1/live/x", "address_host"),
            ("rtmp://[nope]/live/x", "address_host"),
            ("rtmp://h:0/live/x", "address_port"),
            ("rtmp://h:99999/live/x", "address_port"),
            ("rtmp://h", "address_path"),
            ("rtmp://h/?x", "address_path"),
            ("rtmp://h/li\nve/x", "address_letters"),
        ] {
            assert_eq!(Address::parse(url), Err(Error::Rejected(word)), "{url}");
        }
    }
}
