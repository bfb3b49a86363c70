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
            self.events.push(Event::OnBehalf { client });
        }
    }
}
