//! Renewal: the desk's side of certificates that an authority gives.
//!
//! A certificate that was obtained is taken as one is whose file changed: for new connections
//! alone. One that was not leaves the one in force, and is told until the next one is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use dataplane::session::tls::{Certified, Identity};
use tokio::sync::watch;

use super::control::ControlPlane;
use super::run::Desk;
use crate::acme::{AcmeAsk, Challenge, Keeper, Outcome};
use crate::bridge::{Exchange, Fleet};
use crate::config::{AcmeSection, unix_seconds};
use crate::counts::Counts;
use crate::events::Kind;
use crate::troubles::Trouble;

/// What became of orders, and what authorities are shown.
pub(super) struct Renewal {
    /// The data directory that the server was started with.
    data: PathBuf,
    sections: watch::Sender<AcmeSection>,
    /// What an authority is shown inside TLS, and for which name.
    shown: Option<(String, Certified)>,
    obtained: u64,
    failed: u64,
    /// Why names wait for a certificate.
    failing: BTreeMap<String, String>,
    /// What else is wrong.
    wrong: Option<String>,
    /// The node ends: nothing more is asked for.
    ending: bool,
}

impl Renewal {
    /// Nothing was asked for yet.
    pub(super) fn new(section: &AcmeSection, data: PathBuf) -> Self {
        Self {
            data,
            sections: watch::Sender::new(section.clone()),
            shown: None,
            obtained: 0,
            failed: 0,
            failing: BTreeMap::new(),
            wrong: None,
            ending: false,
        }
    }

    /// The data directory.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// What it counts.
    pub(super) fn count(&self, into: &mut Counts) {
        let help = "Certificates that were asked for, by what came of it.";
        let orders = [("obtained", self.obtained), ("failed", self.failed)];
        into.counter_by("acme_orders_total", help, "outcome", orders);
        let help = "Names whose certificate could not be obtained the last time.";
        into.gauge("acme_failing", help, self.failing.len() as f64);
    }

    /// The configuration was read again: what failed is tried at once.
    pub(super) fn configure(&mut self, section: &AcmeSection) {
        self.failing.retain(|name, _| section.domains.0.contains(name));
        if !self.ending {
            self.sections.send_replace(section.clone());
        }
    }

    /// The node ends: the order under way may come to its end, no other is begun.
    pub(super) fn end(&mut self) {
        self.ending = true;
        self.sections.send_replace(AcmeSection::default());
    }

    /// What listeners inside TLS prove themselves with: `identity`, and the answer to an authority.
    pub(super) fn identity(&self, identity: &Identity) -> Identity {
        match &self.shown {
            Some((name, certified)) => identity.with_challenge(name, certified),
            None => identity.clone(),
        }
    }

    /// Why certificates could not be obtained, for people.
    fn trouble(&self) -> Option<String> {
        let told = self.failing.iter().map(|(name, reason)| format!("{name}: {reason}"));
        let told = self.wrong.iter().cloned().chain(told).collect::<Vec<_>>().join("; ");
        (!told.is_empty()).then_some(told)
    }
}

impl<F: Fleet> Desk<F> {
    /// Begins to keep certificates.
    pub(super) fn keep_certificates(&self) {
        let Renewal { sections, data, .. } = &self.control.renewal;
        let keeper = Keeper::new(self.asks_in.clone(), sections.subscribe(), data.clone());
        tokio::spawn(keeper.run());
    }

    /// Takes a word of the keeper.
    pub(super) fn heed_renewal(&mut self, ask: AcmeAsk, now: Instant) {
        let Self { control, exchange, .. } = self;
        match ask {
            AcmeAsk::Show { challenge, reply } => {
                control.challenge(challenge, exchange);
                // The keeper may be gone: then nobody misses the answer.
                drop(reply.send(exchange.look(now)));
            }
            AcmeAsk::Wrong { what } => {
                control.renewal.wrong = what;
                control.tell_renewal();
            }
            AcmeAsk::Over { domain, outcome } => control.obtained(domain, outcome, exchange),
        }
    }
}

impl ControlPlane {
    /// Authorities find `challenge` from now on, on every shard and listener.
    fn challenge(&mut self, challenge: Option<Challenge>, exchange: &mut Exchange<impl Fleet>) {
        let (http, shown) = match challenge {
            Some(Challenge::Http(http)) => (Some(http), None),
            Some(Challenge::TlsAlpn { name, certified }) => (None, Some((name, certified))),
            None => (None, None),
        };
        exchange.challenge(http.as_ref());
        if shown.is_none() && self.renewal.shown.is_none() {
            return;
        }
        self.renewal.shown = shown;
        self.prove(exchange);
    }

    /// An order for `domain` is over.
    fn obtained(&mut self, domain: String, outcome: Outcome, exchange: &mut Exchange<impl Fleet>) {
        let kind = match outcome {
            Outcome::Obtained { kept } => {
                self.renewal.obtained += 1;
                self.renewal.failing.remove(&domain);
                let is_wanted = self.loaded.settings.acme.domains.0.contains(&domain);
                if !is_wanted || !self.take_certificate(&domain, &kept, exchange) {
                    tracing::info!(domain, "the certificate is kept, nobody is shown it");
                    return;
                }
                let not_after = unix(kept.validity.not_after);
                Kind::CertificateObtained { name: domain, not_after }
            }
            Outcome::Failed { reason, again } => {
                self.renewal.failed += 1;
                // It may be wanted no more since.
                if self.loaded.settings.acme.domains.0.contains(&domain) {
                    self.renewal.failing.insert(domain.clone(), reason.clone());
                }
                Kind::CertificateFailed { name: domain, reason, again: unix(again) }
            }
        };
        self.tell_renewal();
        exchange.bus().publish(None, None, kind);
    }

    /// Tells what is failing, or that nothing is.
    pub(super) fn tell_renewal(&self) {
        self.troubles.tell(Trouble::AcmeFailing, self.renewal.trouble());
    }
}

fn unix(at: SystemTime) -> u64 {
    u64::try_from(unix_seconds(at)).unwrap_or(0)
}
