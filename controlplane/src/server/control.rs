//! Control plane: what the running server keeps to reload itself.

use std::sync::Arc;
use std::time::Instant;

use dataplane::config::ListenerConfig;
use dataplane::session::tls::Identity;
use tokio::sync::watch;

use super::certificates::Certificates;
use super::manager::Manager;
use super::reload::InForce;
use super::reloads::Reloads;
use super::renewal::Renewal;
use crate::bridge::RtmpAddress;
use crate::config::{Loaded, Plan};
use crate::hooks::Hooks;
use crate::logging::Logging;
use crate::penalties::{Keeper, Warden};
use crate::record::Entrance as PlayEntrance;
use crate::store::Store;
use crate::troubles::{Trouble, Troubles};
use crate::usage::{Book, Hour};

/// The configuration in force, and the log that follows it.
pub(super) struct ControlPlane {
    /// The configuration in force; keys that need a restart may be newer than what runs.
    pub(super) loaded: Arc<Loaded>,
    /// What is told of it, shared by all who ask until it is loaded anew.
    pub(super) in_force: Option<Arc<InForce>>,
    /// What the node was started with.
    pub(super) plan: Plan,
    /// Each configured listener beside the one that is open, whose port is never 0.
    pub(super) open: Vec<(ListenerConfig, ListenerConfig)>,
    /// The looks at the files of certificates.
    pub(super) certificates: Certificates,
    /// The reloads that were asked for.
    pub(super) reloads: Reloads,
    /// Certificates that an authority gives.
    pub(super) renewal: Renewal,
    /// What new connections inside TLS to the control listener are proved to by.
    pub(super) identity: watch::Sender<Option<Identity>>,
    /// The log.
    pub(super) logging: Logging,
    /// What survives a restart.
    pub(super) store: Store,
    /// What is not as it should be.
    pub(super) troubles: Troubles,
    /// Who is told of events, once the runtime runs.
    pub(super) hooks: Option<Hooks>,
    /// The service manager, if one started this process.
    pub(super) manager: Manager,
    /// Who guesses, and who comes too often.
    pub(super) warden: Warden,
    /// What survives a restart of that.
    pub(super) penalties: Keeper,
}

impl ControlPlane {
    /// Where peers of RTMP come to now.
    pub(super) fn rtmp_address(&self) -> Option<RtmpAddress> {
        let open = self.open.iter().map(|&(_, open)| open);
        RtmpAddress::of(open, self.plan.node.session.url)
    }

    /// Where this node plays its own streams.
    pub(super) fn play_entrance(&self) -> Option<PlayEntrance> {
        PlayEntrance::of(self.open.iter().map(|&(_, open)| open))
    }

    /// Goes on with what the last run has left.
    pub(super) async fn resume(&self, book: Option<&Book>) {
        self.penalties.start().await;
        if let Some(book) = book {
            book.resume(Hour::now()).await;
        }
    }

    /// Writes down by `deadline` what is written now and then, because nobody will later.
    pub(super) async fn keep(&self, book: Option<&Book>, deadline: Instant) {
        let used = async {
            if let Some(book) = book {
                book.close(deadline).await;
            }
        };
        tokio::join!(used, self.penalties.close(deadline));
    }

    /// Judges strangers by the configuration in force.
    pub(super) fn judge_strangers(&self) {
        let settings = &self.loaded.settings;
        self.warden.set_access(settings.access());
        let log = &settings.log;
        self.warden.log_to(log.security_file.as_deref(), log.security_bytes_max);
    }

    /// Tells of a security log whose disk does not answer.
    pub(super) fn look_at_security_log(&self) {
        let Some(hangs) = self.warden.log_hangs() else { return };
        let message = "the disk of log.security_file does not answer, and lines are lost; see to \
                       what holds it, or name another file and reload";
        if hangs {
            tracing::error!("{message}");
        }
        self.troubles.tell(Trouble::SecurityLogHangs, hangs.then(|| message.to_owned()));
    }
}
