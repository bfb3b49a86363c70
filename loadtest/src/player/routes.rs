//! The ways to servers: to that of each part, and to those that answers lead to.
//!
//! Limits: [`ELSEWHERE_MAX`] servers beside the parts' own, for each thread.

use std::io;

use anyhow::{Result, ensure};

use super::cast::{Pace, Part, SLOW_BUFFER};
use super::crowd::CrowdPlan;
use crate::connection::{Connection, Route};
use crate::socket::Poll;
use crate::stream_url::StreamUrl;
use crate::tls::Trust;

/// Servers that redirects and playlists lead to.
pub(super) const ELSEWHERE_MAX: usize = 64;

/// Where a part is played, and the way there.
#[derive(Clone)]
struct Home {
    url: StreamUrl,
    pace: Pace,
    route: Route,
}

/// Lives on: a worker. Crosses by: it is made where a failure can be told, and moves to its thread.
#[derive(Clone)]
pub(super) struct Routes {
    trust: Trust,
    homes: Vec<Home>,
    /// Found when somebody is led there first, with the part of who was.
    elsewhere: Vec<(usize, StreamUrl, Route)>,
}

impl Routes {
    /// The ways to the parts' servers.
    ///
    /// # Errors
    /// If one has no address, or its certificate could not be checked.
    pub(super) fn of(plan: &CrowdPlan) -> Result<Self> {
        let home = |part: &Part| {
            let Part { url, pace, .. } = part;
            Ok(Home { url: url.clone(), pace: *pace, route: route(url, *pace, &plan.trust)? })
        };
        let homes = plan.parts.iter().map(home).collect::<Result<_>>()?;
        Ok(Self { trust: plan.trust.clone(), homes, elsewhere: Vec::new() })
    }

    /// The way to a part's own server.
    pub(super) fn home(&mut self, part: usize) -> &mut Route {
        &mut self.homes[part].route
    }

    /// The way to the server of `url`, for a player of `part`.
    ///
    /// # Errors
    /// If it has no address, or there are too many.
    pub(super) fn to(&mut self, part: usize, url: &StreamUrl) -> Result<&mut Route> {
        let Self { trust, homes, elsewhere } = self;
        let home = &mut homes[part];
        if home.url.is_beside(url) {
            return Ok(&mut home.route);
        }
        let known =
            |(of, server, _): &(usize, StreamUrl, Route)| *of == part && server.is_beside(url);
        let at = match elsewhere.iter().position(known) {
            Some(at) => at,
            None => {
                let most = ELSEWHERE_MAX;
                ensure!(elsewhere.len() < most, "led to more than {most} servers, such as {url}");
                elsewhere.push((part, url.clone(), route(url, home.pace, trust)?));
                elsewhere.len() - 1
            }
        };
        Ok(&mut elsewhere[at].2)
    }
}

fn route(url: &StreamUrl, pace: Pace, trust: &Trust) -> Result<Route> {
    let route = Route::to(url, trust)?;
    Ok(match pace {
        Pace::Live => route,
        Pace::Slow { .. } => route.with_receive_buffer(SLOW_BUFFER),
    })
}

/// Starts to connect, from the next address of this machine if the last one has no port left.
pub(super) fn dial(route: &mut Route, token: u64, poll: &Poll) -> io::Result<Connection> {
    from_any_source(route, |route| Connection::open(route, token, poll))
}

/// Opens from the next address of this machine, once the one before has no port left.
pub(super) fn from_any_source<T>(
    route: &mut Route,
    open: impl Fn(&Route) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match open(route) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrNotAvailable && route.use_next_source() => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::player::Sampling;

    #[test]
    fn ways_are_found_once_and_not_without_end() {
        let url = StreamUrl::parse("http://127.0.0.1:81/a.flv").unwrap();
        let part = |pace| Part { name: "flv".to_owned(), url: url.clone(), share: 1.0, pace };
        let plan = CrowdPlan {
            parts: vec![part(Pace::Live), part(Pace::Slow { bytes_per_s: 1 })],
            trust: Trust::Anybody,
            streams: 1,
            skew: 0.0,
            sampling: Sampling::Count(1),
            holds: false,
        };
        let mut routes = Routes::of(&plan).unwrap();
        let to = |routes: &mut Routes, part: usize, text: &str| {
            let route = routes.to(part, &StreamUrl::parse(text).unwrap());
            route.map(|route| route.addr.port()).map_err(|error| error.to_string())
        };
        assert_eq!(to(&mut routes, 0, "http://127.0.0.1:81/b.flv"), Ok(81));
        assert!(routes.elsewhere.is_empty(), "it is at home");
        for _ in 0..2 {
            assert_eq!(to(&mut routes, 0, "https://127.0.0.1:81/b.flv"), Ok(81));
            assert_eq!(to(&mut routes, 1, "https://127.0.0.1:81/b.flv"), Ok(81));
            assert_eq!(routes.elsewhere.len(), 2, "one for each part");
        }
        for port in 100..100 + ELSEWHERE_MAX - 2 {
            let url = format!("http://127.0.0.1:{port}/b.flv");
            assert_eq!(to(&mut routes, 0, &url), Ok(port as u16));
        }
        assert!(
            to(&mut routes, 0, "http://127.0.0.1:99/b.flv").unwrap_err().contains("led to more")
        );
        assert_eq!(to(&mut routes, 0, "http://127.0.0.1:100/b.flv"), Ok(100), "that is known");
    }
}
