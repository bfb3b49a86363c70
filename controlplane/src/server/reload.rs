//! Reload: the configuration is read again, and applied where that can be done while running.

use std::sync::Arc;

use dataplane::config::{Limits, ListenerConfig};
use tokio::sync::watch;

use super::control::ControlPlane;
use super::start::{configure, probe_address};
use crate::bridge::{Exchange, Fleet};
use crate::config::{Loaded, Plan, change};
use crate::error::Error;

impl ControlPlane {
    /// Reads the file again. An error keeps everything as it is and says so.
    pub(super) fn reload(
        &mut self,
        exchange: &mut Exchange<impl Fleet>,
        limits: &watch::Sender<Limits>,
    ) {
        let fresh = configure(self.loaded.file.clone()).and_then(|(loaded, plan)| {
            let mut reload = plan.reload(&self.plan)?;
            if let (Some(new), Some(old)) = (&reload.tls, &self.plan.node.tls) {
                reload.tls = Some(new.with_tickets_of(old));
            }
            let open = self.listeners(&reload.listeners)?;
            reload.listeners = open.iter().map(|&(_, open)| open).collect();
            Ok((reload, open, loaded, plan.doubt))
        });
        let (reload, open, loaded, doubt) = match fresh {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!(reason = %error, "reload refused, the configuration is kept");
                return;
            }
        };
        let change = change(&self.loaded.settings, &loaded.settings);
        let restart = change_since_start(&self.plan, &loaded);
        self.logging.reload(loaded.settings.log);
        exchange.set_mode(loaded.settings.auth.mode);
        limits.send_replace(reload.limits.clone());
        if let Some(identity) = &reload.tls {
            // The next reload takes its tickets from here.
            self.plan.node.tls = Some(identity.clone());
        }
        exchange.reload(&Arc::new(reload));
        self.loaded = loaded;
        self.open = open;
        tracing::info!(applied = change.now.join(" "), "reloaded");
        if let Some(doubt) = doubt {
            tracing::warn!("{doubt}");
        }
        for key in restart {
            tracing::warn!(key, "needs a restart, the old value is in force");
        }
    }

    /// The wanted listeners, each with the one that is or will be open for it.
    fn listeners(
        &self,
        wanted: &[ListenerConfig],
    ) -> Result<Vec<(ListenerConfig, ListenerConfig)>, Error> {
        let mut known = self.open.clone();
        let open = |wanted: &ListenerConfig| {
            let same = |(asked, open): &&(ListenerConfig, ListenerConfig)| {
                asked.is_at(wanted) || open.is_at(wanted)
            };
            // Each is claimed once: two listeners may have asked for any free port.
            let addr = match known.iter().position(|pair| same(&pair)) {
                Some(at) => known.remove(at).1.addr,
                None => probe_address(wanted)?,
            };
            Ok((*wanted, ListenerConfig { addr, ..*wanted }))
        };
        wanted.iter().map(open).collect()
    }
}

/// Keys that differ from what was started and need a restart, whichever reload changed them.
fn change_since_start(plan: &Plan, loaded: &Loaded) -> Vec<String> {
    change(&plan.configured, &loaded.settings).restart
}
