//! Reload: the configuration is read again, and applied where that can be done while running.

use std::sync::Arc;

use dataplane::config::Limits;
use tokio::sync::watch;

use super::control::ControlPlane;
use super::start::configure;
use crate::bridge::{Exchange, Fleet};
use crate::config::change;

impl ControlPlane {
    /// Reads the file again. An error keeps everything as it is and says so.
    pub(super) fn reload(
        &mut self,
        exchange: &mut Exchange<impl Fleet>,
        limits: &watch::Sender<Limits>,
    ) {
        let fresh = configure(self.loaded.file.clone())
            .and_then(|(loaded, plan)| Ok((plan.reload(&self.plan)?, loaded)));
        let (reload, loaded) = match fresh {
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
        exchange.reload(&Arc::new(reload));
        self.loaded = loaded;
        tracing::info!(applied = change.now.join(" "), "reloaded");
        for key in restart {
            tracing::warn!(key, "needs a restart, the old value is in force");
        }
    }
}

/// Keys that differ from what was started and need a restart, whichever reload changed them.
fn change_since_start(plan: &crate::config::Plan, loaded: &crate::config::Loaded) -> Vec<String> {
    change(&plan.configured, &loaded.settings).restart
}
