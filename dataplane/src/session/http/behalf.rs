//! For whom a request is that came through a proxy.

use codecs::http1::{Request, forwarded_for};

use super::server::Server;
use crate::session::Event;

impl Server {
    /// Tells for whom media is asked for, where anybody is believed: behind a proxy each request of
    /// a connection may be another client's. Only before a question, which parks the session.
    pub(super) fn tell_for_whom(&mut self, request: &Request<'_>) {
        let proxies = &self.terms.session.proxies;
        if !proxies.is_empty() {
            let believed = |addr| proxies.iter().any(|range| range.contains(addr));
            let client = forwarded_for(request.values("x-forwarded-for"), believed);
            let tls = is_secure(request.values("x-forwarded-proto"));
            self.events.push(Event::OnBehalf { client, tls });
        }
    }
}

/// True if the last word says that a client speaks TLS: what stands before it may be the client's
/// own, where a proxy adds to what it was sent.
fn is_secure<'a>(mut values: impl DoubleEndedIterator<Item = &'a [u8]>) -> bool {
    let last = values.next_back().and_then(|value| value.rsplit(|&byte| byte == b',').next());
    let is_tls =
        |word: &[u8]| [&b"https"[..], b"wss"].iter().any(|tls| word.eq_ignore_ascii_case(tls));
    last.is_some_and(|word| is_tls(word.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_says_whether_a_client_speaks_tls() {
        for (values, tls) in [
            (&[][..], false),
            (&["http"], false),
            (&["https"], true),
            (&["WSS"], true),
            (&["https, http"], false),
            (&["http ,\thttps "], true),
            (&["https", "http"], false),
            (&["http", "https"], true),
            (&["https,"], false),
            (&["httpsx"], false),
        ] {
            assert_eq!(is_secure(values.iter().map(|value| value.as_bytes())), tls, "{values:?}");
        }
    }
}
