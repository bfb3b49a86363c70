//! Reload: a configuration that was read again is applied where that can be done while running.

use std::sync::Arc;
use std::time::Instant;

use dataplane::config::{Limits, ListenerConfig, Reload};
use tokio::sync::{oneshot, watch};

use super::control::ControlPlane;
use super::declarations::{admit, admit_hooks};
use super::reloads::{Fresh, Source, Wish};
use super::start::probe_address;
use crate::bridge::{Exchange, Fleet};
use crate::config::{Loaded, Plan, Settings, change, unkept};
use crate::error::Error;
use crate::events::Kind;
use crate::hooks::Admitted;
use crate::registry::Keeper;
use crate::troubles::Trouble;

/// A wanted listener, and the one that is or will be open for it.
type Open = (ListenerConfig, ListenerConfig);

/// A question about the configuration.
#[derive(Debug)]
pub enum ConfigAsk {
    /// What is in force?
    InForce {
        /// Takes the answer, which all share.
        reply: oneshot::Sender<Arc<InForce>>,
    },
    /// The file is to be read again.
    Reload {
        /// It is applied only while this is in force.
        only_if: Option<Arc<InForce>>,
        /// Takes what became of it, which is nothing if another one is in force.
        reply: oneshot::Sender<Result<Option<Reloaded>, Error>>,
    },
}

/// The configuration in force.
#[derive(Debug)]
pub struct InForce {
    /// What was loaded last.
    pub loaded: Arc<Loaded>,
    /// What the node was started with, which stays for keys that need a restart.
    pub started: Settings,
    /// The listeners of media that are open, where they are.
    pub listeners: Vec<ListenerConfig>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Full keys whose new value is in force.
    pub applied: Vec<String>,
    /// Full keys whose new value waits for a restart.
    pub restart: Vec<String>,
    /// What clients will not like, and what waits.
    pub doubts: Vec<String>,
}

impl ControlPlane {
    /// Answers a question about the configuration, at once or when it has been read again.
    pub(super) fn answer(&mut self, ask: ConfigAsk) {
        match ask {
            // A request may be gone: then nobody misses the answer.
            ConfigAsk::InForce { reply } => drop(reply.send(self.in_force())),
            ConfigAsk::Reload { reply, only_if } => self.reload(Wish::Api { reply, only_if }),
        }
    }

    /// What is in force: a file may declare thousands of streams, so it is copied once.
    fn in_force(&mut self) -> Arc<InForce> {
        let Self { loaded, plan, open, in_force, .. } = self;
        let told = in_force.get_or_insert_with(|| {
            Arc::new(InForce {
                loaded: Arc::clone(loaded),
                started: plan.configured.clone(),
                listeners: open.iter().map(|&(_, open)| open).collect(),
            })
        });
        Arc::clone(told)
    }

    /// Has the file read again.
    pub(super) fn reload(&mut self, wish: Wish) {
        let source = Source {
            file: self.loaded.file.clone(),
            data: self.renewal.data().to_owned(),
            identity: self.plan.node.tls.clone(),
            coordinator: self.plan.configured.coordinator.clone(),
        };
        if self.reloads.ask(wish, source, Instant::now()) {
            self.manager.reloading();
        }
    }

    /// Tells of a read that hangs, and begins with the next one.
    pub(super) fn look_at_reloads(&mut self, now: Instant) {
        if !self.reloads.tick(now) {
            return;
        }
        let message = "a disk does not answer, the reload waits for it; see to what holds the \
                       configuration and the files that it names, or name others and reload again";
        tracing::error!("{message}");
        self.troubles.tell(Trouble::ReloadHangs, Some(message.to_owned()));
        if let Some(next) = self.reloads.next() {
            self.reload(next);
        }
    }

    /// Takes what was read, by whose wish it was, and begins with the next one. What is wrong with
    /// it is logged, and everything stays as it is.
    pub(super) fn reloaded(
        &mut self,
        (fresh, wish): (Option<Result<Fresh, Error>>, Wish),
        (exchange, keeper): (&mut Exchange<impl Fleet>, &mut Keeper),
        limits: &watch::Sender<Limits>,
    ) {
        self.troubles.tell(Trouble::ReloadHangs, None);
        let Some(fresh) = fresh else {
            return self.reload(wish);
        };
        let outcome = if wish.is_gone() {
            // It was told that nothing came of it.
            Err(Error::System {
                what: "the reload was dropped",
                reason: "whoever asked for it is gone".to_owned(),
                mend: "reload again",
            })
        } else if wish.is_for_another(self.in_force.as_ref()) {
            Ok(None)
        } else {
            self.apply(fresh, wish.source(), (exchange, keeper), limits).map(Some)
        };
        self.manager.reloaded(outcome.as_ref().err().map(ToString::to_string));
        wish.tell(outcome);
        if let Some(next) = self.reloads.next() {
            self.reload(next);
        }
    }

    fn apply(
        &mut self,
        fresh: Result<Fresh, Error>,
        source: &'static str,
        (exchange, keeper): (&mut Exchange<impl Fleet>, &mut Keeper),
        limits: &watch::Sender<Limits>,
    ) -> Result<Reloaded, Error> {
        let fresh = fresh.and_then(|fresh| self.judge(fresh, exchange));
        let (mut reload, open, place, fresh) = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!(reason = %error, "reload refused, the configuration is kept");
                return Err(error);
            }
        };
        let Fresh { loaded, plan: Plan { doubt, times, control, .. }, .. } = fresh;
        let Fresh { declared, certificates, .. } = fresh;
        let change = change(&self.loaded.settings, &loaded.settings);
        let restart = change_since_start(&self.plan, &loaded);
        self.logging.reload(&loaded.settings.log);
        let rules = loaded.settings.rules(&self.plan.configured);
        exchange.set_rules(rules, Instant::now());
        limits.send_replace(reload.limits.clone());
        if let Some(identity) = &mut reload.tls {
            // The next reload takes its tickets from here.
            self.plan.node.tls = Some(identity.clone());
            *identity = self.renewal.identity(identity);
        }
        self.identity.send_replace(reload.tls.clone());
        exchange.reload(&Arc::new(reload));
        for warning in &loaded.warnings {
            if !self.loaded.warnings.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        self.loaded = loaded;
        self.open = open;
        exchange.show_rtmp(self.rtmp_address(), Instant::now());
        let (entrance, section) = (self.play_entrance(), self.loaded.settings.recording.clone());
        exchange.record_by_terms(section, &self.plan.configured.recording);
        exchange.record_anew(entrance, Instant::now());
        self.judge_strangers();
        self.in_force = None;
        tracing::info!(applied = change.now.join(" "), "reloaded");
        self.certificates_read((certificates, times), doubt.clone(), Instant::now());
        self.renewal.configure(&self.loaded.settings.acme);
        self.tell_renewal();
        for key in &restart {
            tracing::warn!(key, "needs a restart, the old value is in force");
        }
        if let (Some(hooks), Some(place)) = (&self.hooks, place) {
            hooks.set_bytes_max(control.hooks_bytes_max);
            hooks.set_unkept(unkept(self.loaded.settings.stream.hls.mode));
            hooks.configure(place, self.loaded.settings.hooks.clone());
        }
        exchange.set_claims_bytes_max(control.claims_bytes_max);
        exchange.registry.idle = self.loaded.settings.streams.idle;
        let waits = keeper.reload(declared, &mut exchange.registry);
        if let Some(book) = exchange.book() {
            book.reload(self.loaded.settings.usage);
        }
        let bus = exchange.bus();
        bus.set_limits(self.loaded.settings.events.ring);
        let (applied, later) = (change.now.clone(), restart.clone());
        bus.publish(None, None, Kind::ConfigChanged { source, applied, restart: later });
        let doubts = doubt.into_iter().chain(waits.map(str::to_owned)).collect();
        Ok(Reloaded { applied: change.now, restart, doubts })
    }

    /// What is told to shards if `fresh` is applied, its listeners, and the place of its hooks.
    ///
    /// Errors: why it cannot be applied.
    fn judge(
        &self,
        fresh: Fresh,
        exchange: &mut Exchange<impl Fleet>,
    ) -> Result<(Reload, Vec<Open>, Option<Admitted>, Fresh), Error> {
        let mut reload = fresh.plan.reload(&self.plan)?;
        if let (Some(new), Some(old)) = (&reload.tls, &self.plan.node.tls) {
            reload.tls = Some(new.with_tickets_of(old));
        }
        let open = still_open(&self.open, &reload.listeners)?;
        reload.listeners = open.iter().map(|&(_, open)| open).collect();
        let hooks = self.hooks.as_ref();
        let place = hooks.map(|hooks| admit_hooks(&fresh.loaded, hooks)).transpose()?;
        admit(&fresh, &mut exchange.registry)?;
        Ok((reload, open, place, fresh))
    }
}

/// The wanted listeners, each with the one that is or will be open for it, beside those of
/// `known` that stay whatever is wanted: sockets of datagrams are opened at the start alone.
fn still_open(known: &[Open], wanted: &[ListenerConfig]) -> Result<Vec<Open>, Error> {
    let (ports, mut known): (Vec<_>, Vec<_>) =
        known.iter().copied().partition(|(asked, _)| asked.kind.is_datagram());
    let open = |wanted: &ListenerConfig| {
        let same = |(asked, open): &&Open| asked.is_at(wanted) || open.is_at(wanted);
        // Each is claimed once: two listeners may have asked for any free port.
        let addr = match known.iter().position(|pair| same(&pair)) {
            Some(at) => known.remove(at).1.addr,
            None => probe_address(wanted)?,
        };
        Ok((*wanted, ListenerConfig { addr, ..*wanted }))
    };
    let wanted = wanted.iter().filter(|wanted| !wanted.kind.is_datagram());
    let open = wanted.map(open).collect::<Result<Vec<_>, Error>>()?;
    Ok(open.into_iter().chain(ports).collect())
}

/// Keys that differ from what was started and need a restart, whichever reload changed them.
fn change_since_start(plan: &Plan, loaded: &Loaded) -> Vec<String> {
    change(&plan.configured, &loaded.settings).restart
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};

    use dataplane::config::ListenerKind;

    #[test]
    fn ports_of_datagrams_stay_as_they_were_opened_whatever_a_reload_wants() {
        // It is ours: a look at whether it is free would say that it is not.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = |addr: SocketAddr| ListenerConfig::new(ListenerKind::Srt, addr);
        let (asked, open) = (listener("127.0.0.1:0".parse().unwrap()), socket.local_addr());
        let known = vec![(asked, listener(open.unwrap()))];
        let off = still_open(&known, &[]).unwrap();
        assert_eq!(off, known, "switched off, it is open until the next start");
        assert_eq!(still_open(&off, &[asked]).unwrap(), known, "and on again");
        let more = listener("127.0.0.1:1".parse().unwrap());
        assert_eq!(still_open(&known, &[asked, more]).unwrap(), known, "a new one is not open yet");
        let http = ListenerConfig::new(ListenerKind::Http, "127.0.0.1:0".parse().unwrap());
        let beside = still_open(&known, &[http, asked]).unwrap();
        assert_eq!((beside.len(), beside[0].0, beside[1]), (2, http, known[0]));
        assert_ne!(beside[0].1.addr.port(), 0);
    }
}
