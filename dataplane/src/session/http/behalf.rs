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
            let tls = speaks_tls(request.values("x-forwarded-proto"));
            self.events.push(Event::OnBehalf { client, tls });
        }
    }
}

/// Whether a client speaks TLS, by the last word, if that says it: what stands before it may be the
/// client's own, where a proxy adds to what it was sent.
fn speaks_tls<'a>(mut values: impl DoubleEndedIterator<Item = &'a [u8]>) -> Option<bool> {
    let last = values.next_back().and_then(|value| value.rsplit(|&byte| byte == b',').next());
    let word = last?.trim_ascii();
    let is_one_of = |schemes: [&[u8]; 2]| schemes.iter().any(|one| word.eq_ignore_ascii_case(one));
    match (is_one_of([b"https", b"wss"]), is_one_of([b"http", b"ws"])) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_says_whether_a_client_speaks_tls() {
        for (values, tls) in [
            (&[][..], None),
            (&["http"], Some(false)),
            (&["Ws"], Some(false)),
            (&["https"], Some(true)),
            (&["WSS"], Some(true)),
            (&["https, http"], Some(false)),
            (&["http ,\thttps "], Some(true)),
            (&["https", "http"], Some(false)),
            (&["http", "https"], Some(true)),
            (&["https,"], None),
            (&["httpsx"], None),
        ] {
            assert_eq!(speaks_tls(values.iter().map(|value| value.as_bytes())), tls, "{values:?}");
        }
    }
}
