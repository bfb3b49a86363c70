//! Troubles: what is not as it should be in the control plane, for whoever asks how the node is.
//!
//! None of them is a reason to send peers away: media goes on. So `/api/v1/health` lists them, and
//! `/readyz` stays as it is.
//!
//! Limits: one sentence for each word of [`Trouble`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::Store;

/// One thing that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing can be kept until the disk works.
    StoreFailed,
    /// Files of certificates changed and cannot be used: the old ones are in force.
    CertificateRefused,
    /// Clients will refuse a certificate, or will soon.
    CertificateDoubt,
    /// An authority gives no certificate: those in force stay.
    AcmeFailing,
    /// The coordinator that this node is a server of cannot be asked.
    CoordinatorAway,
    /// The configuration cannot be read: a disk does not answer.
    ReloadHangs,
    /// What the file declares is not in force: it waits, or found no room after it had waited.
    StreamsNotTaken,
    /// Lines of the security log are lost: its disk does not answer.
    SecurityLogHangs,
}

impl Trouble {
    /// Its word for programs, which never changes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::StoreFailed => "store_failed",
            Self::CertificateRefused => "certificate_refused",
            Self::CertificateDoubt => "certificate_doubt",
            Self::AcmeFailing => "acme_failing",
            Self::CoordinatorAway => "coordinator_away",
            Self::ReloadHangs => "reload_hangs",
            Self::StreamsNotTaken => "streams_not_taken",
            Self::SecurityLogHangs => "security_log_hangs",
        }
    }
}

/// The troubles of now. Clones are one.
///
/// Lives on: the control thread; the lock is never waited for.
#[derive(Clone, Debug)]
pub struct Troubles {
    store: Store,
    told: Arc<Mutex<BTreeMap<Trouble, String>>>,
}

impl Troubles {
    /// Those of `store`, and what rooms tell.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, told: Arc::default() }
    }

    /// Each with a sentence for people.
    #[must_use]
    pub fn list(&self) -> Vec<(Trouble, String)> {
        let failed = self.store.failure().map(|reason| {
            let message = format!(
                "nothing can be kept or changed: {reason}; mend the disk of data.dir, it is tried \
                 again by itself"
            );
            (Trouble::StoreFailed, message)
        });
        let told = self.told().clone();
        failed.into_iter().chain(told).collect()
    }

    /// It is so from now on, or no more.
    pub fn tell(&self, trouble: Trouble, message: Option<String>) {
        let mut told = self.told();
        match message {
            Some(message) => drop(told.insert(trouble, message)),
            None => drop(told.remove(&trouble)),
        }
    }

    /// It is so no more, if what was told of it is of that kind.
    pub fn forget(&self, trouble: Trouble, is_over: impl FnOnce(&str) -> bool) {
        let mut told = self.told();
        if told.get(&trouble).is_some_and(|message| is_over(message)) {
            told.remove(&trouble);
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<Trouble, String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Disk, Table, Write};

    #[tokio::test]
    async fn only_what_is_over_is_forgotten() {
        let troubles = Troubles::new(Disk::default().store());
        let doubt = || Some("a.example: no certificate".to_owned());
        troubles.tell(Trouble::CertificateDoubt, doubt());
        troubles.forget(Trouble::AcmeFailing, |_| true);
        troubles.forget(Trouble::CertificateDoubt, |told| told.starts_with("b.example"));
        assert_eq!(troubles.list(), [(Trouble::CertificateDoubt, doubt().unwrap())]);
        troubles.forget(Trouble::CertificateDoubt, |told| told.starts_with("a.example"));
        assert_eq!(troubles.list(), []);
    }

    #[tokio::test]
    async fn a_failed_store_is_told_until_it_works() {
        let disk = Disk::default();
        let store = disk.store();
        let troubles = Troubles::new(store.clone());
        assert_eq!(troubles.list(), []);
        disk.fail_after(0);
        let write = Write { table: Table::Meta, key: b"a".to_vec(), value: Some(b"1".to_vec()) };
        store.commit(vec![write.clone()]).await.unwrap_err();
        let told = troubles.list();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0.code(), "store_failed");
        assert!(told[0].1.contains("mend the disk of data.dir"), "{}", told[0].1);
        disk.repair_for(&store);
        assert_eq!(troubles.list(), []);
        store.commit(vec![write]).await.unwrap();
    }
}
