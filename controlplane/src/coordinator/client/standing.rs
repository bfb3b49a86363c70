//! Standing: how this node stands with its coordinator, for people and for `/metrics`.

use std::time::Instant;

use super::table::Client;
use crate::counts::Counts;

/// Whether the coordinator is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It is.
    Connected,
    /// It is not: why, in a word.
    Away(&'static str),
}

/// What became of questions, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Publishers that were let in.
    pub accepted: u64,
    /// Publishers and publications that were not.
    pub denied: u64,
    /// Publishers who came while nobody could be asked.
    pub away: u64,
    /// Answers that came too late, or not at all.
    pub late: u64,
    /// Publishers who went on with a publication that is on the air.
    pub standing: u64,
    /// Publications that were let in again after a link was lost.
    pub rejoined: u64,
    /// Orders to end a publication.
    pub kills: u64,
}

/// How it is at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where the coordinator is.
    pub base: String,
    /// Whether the coordinator is there.
    pub state: LinkState,
    /// Seconds since it is so.
    pub since_s: u64,
    /// Publications that it let in, or is to be asked about.
    pub publications: usize,
    /// Questions without an answer.
    pub waiting: usize,
    /// What became of the others.
    pub requests: Requests,
}

impl Client {
    /// How it is at `now`.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        Standing {
            base: self.base.clone(),
            state: self.state,
            since_s: now.saturating_duration_since(self.since).as_secs(),
            publications: self.publications.len(),
            waiting: self.questions.len() + self.held.len(),
            requests: self.requests,
        }
    }

    /// Writes what was counted; of a node that is no client nothing is.
    pub fn count(client: Option<&Self>, into: &mut Counts) {
        let state = |connected: bool| match client {
            Some(client) => f64::from((client.state == LinkState::Connected) == connected),
            None => 0.0,
        };
        into.gauge_by(
            "coordinator_client",
            "1 for how the link to the coordinator of this node is; 0 for both without one.",
            "state",
            [("connected", state(true)), ("away", state(false))],
        );
        into.gauge(
            "coordinator_client_publications",
            "Publications that the coordinator of this node let in, or is to be asked about.",
            client.map_or(0.0, |client| client.publications.len() as f64),
        );
        let requests = client.map(|client| client.requests).unwrap_or_default();
        into.counter_by(
            "coordinator_client_requests_total",
            "Publishers and publications that the coordinator was asked about, by what became of \
             them.",
            "outcome",
            [
                ("accepted", requests.accepted),
                ("denied", requests.denied),
                ("away", requests.away),
                ("late", requests.late),
                ("standing", requests.standing),
                ("rejoined", requests.rejoined),
            ],
        );
        into.counter(
            "coordinator_client_kills_total",
            "Orders of the coordinator to end a publication.",
            requests.kills,
        );
    }
}
