//! Certificates: their files are looked at now and then, so that a renewal needs nobody's signal.
//!
//! ```text
//!   files --changed--> read --sound--> every listener inside TLS, new connections alone
//!                        |
//!                        +--not sound--> the old ones stay; log and health say why
//! ```
//!
//! A look asks the system for a few numbers of each file and reads none of them. Files that were
//! caught while they were written are not sound, and read again at the next look.
//!
//! A disk, or a share of another machine, may not answer for minutes: looks are taken on a thread
//! of their own, one at a time, and nobody waits for them.
//!
//! Lives on: the control thread, but for the looks. Crosses by: [`Identity`] alone, so that nobody
//! who was let in is asked about again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::session::tls::Identity;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::control::ControlPlane;
use crate::acme::Kept;
use crate::bridge::{Exchange, Fleet};
use crate::config::{
    CertificateTimes, Loaded, Proof, Settings, TlsSection, Validity, certificate_files, identity,
    unix_seconds,
};
use crate::counts::Counts;
use crate::error::Error;
use crate::troubles::Trouble;

/// So often the dates of certificates are judged though no file changed.
const JUDGED_EVERY: Duration = Duration::from_secs(3_600);

/// A look that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// What the system tells of a file; `None` if it tells nothing.
type Stamp = Option<[i128; 6]>;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing to be done.
    Same,
    /// The files are as they were, and their dates are to be judged again.
    Judge,
    /// They are to be read.
    Read,
}

/// What is known of the files from earlier looks.
#[derive(Clone, Debug)]
pub(super) struct Known {
    stamps: Vec<Stamp>,
    /// When their dates were judged last; `None` if that is due.
    judged: Option<Instant>,
    /// Why the files could not be used at the last look.
    refused: Option<String>,
}

/// What a look reads, and by what names without a file are shown.
#[derive(Clone, Debug)]
struct Sight {
    loaded: Arc<Loaded>,
    /// The data directory.
    data: PathBuf,
    in_force: Option<Identity>,
}

/// What a look brings back.
#[derive(Debug)]
pub(super) struct Looked {
    known: Known,
    look: Look,
    /// What was read; nothing of files that are the same.
    read: Result<Option<Proof>, Error>,
}

/// The looks at the files of certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    known: Known,
    due: Option<Instant>,
    looking: Option<(JoinHandle<Looked>, Instant)>,
    /// An authority gave a certificate since the look under way began.
    outdated: bool,
    /// The times of those in force.
    times: CertificateTimes,
}

impl Known {
    /// The files of `section` are read next.
    pub(super) fn new(section: &TlsSection, now: Instant) -> Self {
        Self { stamps: stamps(section), judged: Some(now), refused: None }
    }

    pub(super) fn look(&mut self, section: &TlsSection, now: Instant) -> Look {
        // Before they are read: what changes while they are read is seen by the next look.
        let stamps = stamps(section);
        if self.refused.is_some() || self.stamps != stamps {
            self.stamps = stamps;
            return Look::Read;
        }
        let judged = self.judged.map(|judged| now.saturating_duration_since(judged));
        if judged.is_none_or(|since| since >= JUDGED_EVERY) {
            self.judged = Some(now);
            return Look::Judge;
        }
        Look::Same
    }

    /// Looks at the files, and reads them if there is reason to; may take as long as a disk does.
    fn look_and_read(mut self, at: &Sight, now: Instant) -> Looked {
        let look = self.look(&at.loaded.settings.tls, now);
        let read = match look {
            Look::Same => Ok(None),
            Look::Judge | Look::Read => identity(&at.loaded, &at.data, at.in_force.as_ref()),
        };
        Looked { known: self, look, read }
    }
}

impl Certificates {
    /// What is known of the files of `settings`, which were read just now, and the times of what
    /// is in them.
    pub(super) fn new(
        settings: &Settings,
        (known, times): (Known, CertificateTimes),
        now: Instant,
    ) -> Self {
        Self { known, due: next(settings, now), looking: None, outdated: false, times }
    }

    /// When each certificate in force is over. Names are those of the configuration.
    pub(super) fn count(&self, into: &mut Counts) {
        let times = || self.times.iter().map(|(name, time)| (name.as_str(), time));
        let ends = times().map(|(name, time)| (name, unix_seconds(time.not_after) as f64));
        let help = "When the certificate in force is over, in seconds since 1970.";
        into.gauge_by("certificate_not_after_seconds", help, "name", ends);
        let lifetimes = times().map(|(name, time)| (name, time.lifetime().as_secs_f64()));
        let help = "From when until when the certificate in force is one, in seconds.";
        into.gauge_by("certificate_lifetime_seconds", help, "name", lifetimes);
    }

    /// When the next look is due, or the one under way to be judged.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// An authority gave `name` a certificate: what a look found before is outdated, and what is
    /// to be said of all of them is found out by another.
    fn given(&mut self, name: &str, validity: Validity, now: Instant) {
        self.times.insert(name.to_owned(), validity);
        self.known.judged = None;
        self.outdated = self.looking.is_some();
        if !self.outdated {
            self.due = Some(now);
        }
    }

    /// Begins a look, unless one is under way; true if that one hangs.
    fn begin(&mut self, at: Sight, now: Instant) -> bool {
        if let Some((_, began)) = self.looking {
            self.due = next(&at.loaded.settings, now);
            return now.saturating_duration_since(began) >= HANGS_AFTER;
        }
        let known = self.known.clone();
        let look = spawn_blocking(move || known.look_and_read(&at, now));
        self.looking = Some((look, now));
        self.due = Some(now + HANGS_AFTER);
        false
    }

    /// What the look under way brings back, for ever if there is none. May be dropped and asked
    /// again.
    pub(super) async fn looked(&mut self) -> Result<Looked, JoinError> {
        let Some((looking, _)) = &mut self.looking else { return std::future::pending().await };
        let looked = looking.await;
        self.looking = None;
        looked
    }

    /// What a look brought back, unless it is outdated: then the next one is due at once.
    fn found(
        &mut self,
        looked: Result<Looked, JoinError>,
        settings: &Settings,
        now: Instant,
    ) -> Option<Looked> {
        let outdated = std::mem::take(&mut self.outdated);
        self.due = if outdated { Some(now) } else { next(settings, now) };
        match looked {
            Ok(looked) => Some(looked).filter(|_| !outdated),
            Err(error) => {
                tracing::error!(%error, "a look at the certificates broke off");
                None
            }
        }
    }
}

impl Drop for Certificates {
    /// A look that hangs may bring back nothing new, and one that did not begin need not.
    fn drop(&mut self) {
        if let Some((looking, _)) = &self.looking {
            looking.abort();
        }
    }
}

fn next(settings: &Settings, now: Instant) -> Option<Instant> {
    // What an authority gave has no file that others change, but it has dates.
    let watched = settings.is_certified() && !settings.tls.check.is_zero();
    watched.then(|| now + settings.tls.check)
}

fn stamps(section: &TlsSection) -> Vec<Stamp> {
    certificate_files(section).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let of = std::fs::metadata(path).ok()?;
    let (modified, changed) = ((of.mtime(), of.mtime_nsec()), (of.ctime(), of.ctime_nsec()));
    let nanos =
        |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (device, inode, size) = (of.dev().into(), of.ino().into(), of.size().into());
    Some([device, inode, size, nanos(modified), nanos(changed), of.mode().into()])
}

impl ControlPlane {
    /// Begins a look at the files of certificates, if one is due.
    pub(super) fn look_at_certificates(&mut self, now: Instant) {
        if self.certificates.due().is_none_or(|due| now < due) {
            return;
        }
        let at = Sight {
            loaded: Arc::clone(&self.loaded),
            data: self.renewal.data().to_owned(),
            in_force: self.plan.node.tls.clone(),
        };
        if self.certificates.begin(at, now) {
            self.refuse("their disk does not answer; see to what holds the files of tls.*");
        }
    }

    /// Takes what a look brought back.
    pub(super) fn certificates_looked(
        &mut self,
        looked: Result<Looked, JoinError>,
        exchange: &mut Exchange<impl Fleet>,
        now: Instant,
    ) {
        let found = self.certificates.found(looked, &self.loaded.settings, now);
        let Some(Looked { known, look, read }) = found else { return };
        let refused = std::mem::replace(&mut self.certificates.known, known).refused;
        match read {
            Ok(Some(Proof { identity, doubt, times })) => {
                self.certificates.times = times;
                if look == Look::Read {
                    self.renew(identity, exchange);
                    tracing::info!("the certificates were read again, new connections get them");
                }
                self.certificates.known.refused = None;
                self.troubles.tell(Trouble::CertificateRefused, None);
                self.doubt(doubt);
            }
            // They hung, and are as they were.
            Ok(None) if refused.is_some() => self.troubles.tell(Trouble::CertificateRefused, None),
            Ok(None) => {}
            Err(error) => {
                self.certificates.known.refused = refused;
                self.refuse(&error.to_string());
            }
        }
    }

    /// The certificates in force are kept, because the files cannot be used.
    fn refuse(&mut self, reason: &str) {
        if self.certificates.known.refused.as_deref() != Some(reason) {
            tracing::error!(%reason, "certificates refused, those in force are kept");
        }
        let message = format!("the certificates in force are kept: {reason}");
        self.troubles.tell(Trouble::CertificateRefused, Some(message));
        self.certificates.known.refused = Some(reason.to_owned());
    }

    /// An authority gave `name` a certificate, which takes the place of the one in force, whatever
    /// the files of others are like. False if there is nothing inside TLS.
    pub(super) fn take_certificate(
        &mut self,
        name: &str,
        kept: &Kept,
        exchange: &mut Exchange<impl Fleet>,
    ) -> bool {
        let Some(old) = &self.plan.node.tls else { return false };
        self.plan.node.tls = Some(old.with_certificate(name, &kept.certified));
        self.prove(exchange);
        self.certificates.given(name, kept.validity, Instant::now());
        self.reloads.outdate();
        let of_name = [format!("{name}: "), format!("/{name}.pem: ")];
        let [begins, holds] = &of_name;
        self.troubles.forget(Trouble::CertificateDoubt, |told| {
            told.starts_with(begins) || told.contains(holds)
        });
        true
    }

    /// The certificates were read with the configuration, and are certificates at `times`.
    pub(super) fn certificates_read(
        &mut self,
        (known, times): (Known, CertificateTimes),
        doubt: Option<String>,
        now: Instant,
    ) {
        // A look that is under way was begun before: it tells nothing new.
        self.certificates = Certificates::new(&self.loaded.settings, (known, times), now);
        self.troubles.tell(Trouble::CertificateRefused, None);
        self.doubt(doubt);
    }

    /// Why clients will refuse one of the certificates, if they will.
    pub(super) fn doubt(&self, doubt: Option<String>) {
        if let Some(doubt) = &doubt {
            tracing::warn!("{doubt}");
        }
        self.troubles.tell(Trouble::CertificateDoubt, doubt);
    }

    /// New connections are proved to by `identity`; tickets of the old one stay good.
    fn renew(&mut self, identity: Identity, exchange: &mut Exchange<impl Fleet>) {
        let identity = match &self.plan.node.tls {
            Some(old) => identity.with_tickets_of(old),
            None => identity,
        };
        self.plan.node.tls = Some(identity);
        self.prove(exchange);
    }

    /// Has every listener inside TLS prove itself by what is in force, and by what an authority is
    /// to find.
    pub(super) fn prove(&self, exchange: &mut Exchange<impl Fleet>) {
        let Some(identity) = &self.plan.node.tls else { return };
        let shown = self.renewal.identity(identity);
        exchange.renew(&shown);
        self.identity.send_replace(Some(shown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::NamedCertificate;

    fn looks(settings: &Settings, now: Instant) -> Certificates {
        let known = Known::new(&settings.tls, now);
        Certificates::new(settings, (known, CertificateTimes::new()), now)
    }

    #[test]
    fn a_look_tells_changed_files_and_judges_the_dates_each_hour() {
        let dir = std::env::temp_dir().join(format!("grandstand-look-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str| Some(dir.join(name));
        let (certificate, key) = (file("cert.pem"), file("key.pem"));
        let tls = TlsSection { certificate, key, ..TlsSection::default() };
        let settings = Settings { tls, ..Settings::default() };
        let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        write("cert.pem", "a");
        write("key.pem", "a");
        let mut now = Instant::now();
        assert_eq!(looks(&settings, now).due(), Some(now + Duration::from_secs(60)));
        let section = &settings.tls;
        let mut known = Known::new(section, now);
        assert_eq!(known.look(section, now), Look::Same);
        write("key.pem", "ab");
        assert_eq!(known.look(section, now), Look::Read);
        assert_eq!(known.look(section, now), Look::Same);
        // Another file of the same length under the same name.
        write("new.pem", "b");
        std::fs::rename(dir.join("new.pem"), dir.join("cert.pem")).unwrap();
        assert_eq!(known.look(section, now), Look::Read);
        known.refused = Some("half a file".to_owned());
        assert_eq!(known.look(section, now), Look::Read, "it may be whole by now");
        known.refused = None;
        now += JUDGED_EVERY;
        assert_eq!(known.look(section, now), Look::Judge);
        assert_eq!(known.look(section, now), Look::Same);
        let tls = TlsSection { check: Duration::ZERO, ..settings.tls };
        assert_eq!(looks(&Settings { tls, ..settings }, now).due(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn further_files_and_dates_are_looked_at_without_a_first_certificate() {
        let file = std::env::temp_dir().join(format!("grandstand-also-{}", std::process::id()));
        std::fs::write(&file, "a").unwrap();
        let mut settings = Settings::default();
        let mut now = Instant::now();
        let due = |settings: &Settings| looks(settings, now).due().is_some();
        assert!(!due(&settings), "there is nothing to look at");
        settings.acme.domains.0.push("edge.example".to_owned());
        settings.tls.also.push(NamedCertificate {
            names: vec!["a.example".to_owned()],
            certificate: file.clone(),
            key: file.clone(),
        });
        assert!(due(&settings));
        let mut known = Known::new(&settings.tls, now);
        std::fs::write(&file, "ab").unwrap();
        assert_eq!(known.look(&settings.tls, now), Look::Read);
        now += JUDGED_EVERY;
        assert_eq!(known.look(&settings.tls, now), Look::Judge);
        std::fs::remove_file(&file).unwrap();
    }

    /// The defaults, which name no file.
    fn sight() -> Sight {
        let loaded = crate::config::load(None, []).expect("the defaults are legal");
        Sight { loaded: Arc::new(loaded), data: PathBuf::new(), in_force: None }
    }

    #[tokio::test]
    async fn one_look_at_a_time_is_waited_for_by_nobody() {
        let (at, mut now) = (sight(), Instant::now());
        let mut certificates = looks(&at.loaded.settings, now);
        // The disk gives no answer.
        certificates.looking = Some((tokio::spawn(std::future::pending()), now));
        now += HANGS_AFTER / 2;
        assert!(!certificates.begin(at.clone(), now), "it may be slow");
        now += HANGS_AFTER / 2;
        assert!(certificates.begin(at.clone(), now), "it hangs");
        certificates.looking = None;
        assert!(!certificates.begin(at.clone(), now));
        assert_eq!(certificates.due(), Some(now + HANGS_AFTER), "that is when it hangs");
        let looked = certificates.looked().await;
        let found = certificates.found(looked, &at.loaded.settings, now).unwrap();
        assert_eq!((found.look, certificates.due()), (Look::Same, None));
    }

    #[tokio::test]
    async fn what_an_authority_gave_meanwhile_is_not_undone_by_a_look() {
        let (at, now) = (sight(), Instant::now());
        let settings = &at.loaded.settings;
        let validity = Validity {
            not_before: std::time::SystemTime::UNIX_EPOCH,
            not_after: std::time::SystemTime::UNIX_EPOCH + JUDGED_EVERY,
        };
        let mut certificates = looks(settings, now);
        assert!(!certificates.begin(at.clone(), now));
        certificates.given("edge.example", validity, now);
        let late = certificates.looked().await;
        assert!(certificates.found(late, settings, now).is_none());
        assert_eq!(certificates.due(), Some(now), "another look is due");
        assert!(certificates.times.contains_key("edge.example"));
        assert!(!certificates.begin(at.clone(), now));
        let looked = certificates.looked().await;
        assert_eq!(certificates.found(looked, settings, now).unwrap().look, Look::Judge);
        // Nobody looks: one is due all the same, so that what is to be said of it is.
        certificates.given("edge.example", validity, now);
        assert_eq!(certificates.due(), Some(now));
    }
}
