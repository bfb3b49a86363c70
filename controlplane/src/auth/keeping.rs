//! Keeping: what an answer of an application is worth, and what stands in for one.

use std::time::{Duration, Instant};

use dataplane::control::{AuthorizeRequest, Denial, Grant, Verdict};
use dataplane::session::view_token::{is_by_address, is_viewer};

use super::application::OnFailure;
use super::ruling::{Ruling, Terms};

/// What a verdict rests on when there is no answer, and for how long one is good.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    pub(super) on_failure: OnFailure,
    pub(super) allowed: Duration,
    pub(super) denied: Duration,
    /// A yes holds for as long as whoever got it stays, though it is good for nobody else.
    pub(super) lasts: bool,
}

impl Keeping {
    /// Of what is decided anew each time.
    pub(super) const NOTHING: Self = Self {
        on_failure: OnFailure::Deny,
        allowed: Duration::ZERO,
        denied: Duration::ZERO,
        lasts: false,
    };

    /// For how long `ruling` is good.
    pub(super) const fn ttl(&self, ruling: &Ruling) -> Duration {
        match ruling {
            Ruling::Allow(_) => self.allowed,
            Ruling::Deny(_) | Ruling::Closed(_) | Ruling::Elsewhere(_) | Ruling::Flawed(_) => {
                self.denied
            }
        }
    }

    /// The ruling when there is no answer.
    pub(super) fn without_answer(&self) -> Ruling {
        match self.on_failure {
            OnFailure::Deny => Ruling::Deny(Denial::Unavailable),
            OnFailure::Allow => Ruling::Allow(Terms::default()),
        }
    }
}

/// What an application said of one peer, for as long as that stays, lets in nobody else: each
/// viewer of HLS who is told from others is asked about, whoever came with the same. So it is where
/// nobody is asked who may play, but somebody is told who does not any more: else shards remember
/// who may, which spares the control thread a question for each viewer. Where the
/// stream has another name, each of his requests rests on what was said, so that it is for all.
pub(super) fn for_one(request: &AuthorizeRequest, verdict: Verdict) -> Verdict {
    let session = request.session;
    let is_told_apart = is_viewer(session) && !is_by_address(session);
    match verdict {
        Verdict::Allow(grant) if is_told_apart && grant.stream == request.stream => {
            Verdict::Allow(Grant { entry_until: Some(Instant::now()), ..grant })
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::time::WallTime;
    use dataplane::control::{Intent, Protocol};
    use dataplane::ids::ShardId;
    use dataplane::session::view_token::ViewIds;

    use crate::auth::tests::{Bench, application, asking, request};
    use crate::auth::{Addresses, Application};
    use crate::dialect::Dialect;
    use crate::events::Wants;
    use crate::outbound::Address;
    use crate::outbound::scripted::{Application as Scripted, Reply};

    #[tokio::test]
    async fn a_viewer_is_let_in_alone_where_somebody_counts_players() {
        let scripted = Scripted::start(|_| Reply::status(200, "", "0"));
        let url = scripted.url("/");
        for dialect in [Dialect::NginxRtmp, Dialect::Srs, Dialect::RtmpEvent] {
            for (asked, told) in [(false, false), (false, true), (true, false), (true, true)] {
                let publish = Address::parse(&url);
                let play = publish.clone().filter(|_| asked);
                let addresses = Addresses { publish, play, ..Addresses::default() };
                let rules = asking(Application { dialect, addresses, ..application(&url) });
                let mut bench = Bench::new(rules);
                let players = told;
                bench.gate.bus.want(Wants { claims: true, players, ..Wants::default() });
                let wall = WallTime::from_unix_millis(1_800_000_000_000);
                let viewer = AuthorizeRequest {
                    session: ViewIds::default().next(ShardId(0), wall),
                    protocol: Protocol::Hls,
                    url: "h/live/cam/index.m3u8".into(),
                    ..request(Intent::Play, "cam", "k")
                };
                let verdict = bench.verdict(viewer).await;
                let Verdict::Allow(grant) = verdict else { panic!("{dialect:?}: {verdict:?}") };
                let counts = told || asked && dialect != Dialect::RtmpEvent;
                assert_eq!(grant.entry_until.is_some(), counts, "{dialect:?} {asked} {told}");
            }
        }
    }
}
