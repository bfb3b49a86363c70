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
//! Lives on: the control thread. Crosses by: [`Identity`] alone, so that nobody who was let in is
//! asked about again.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use dataplane::session::tls::Identity;

use super::control::ControlPlane;
use crate::acme::Kept;
use crate::bridge::{Exchange, Fleet};
use crate::config::{
    CertificateTimes, Proof, Settings, TlsSection, certificate_files, identity, unix_seconds,
};
use crate::counts::Counts;
use crate::troubles::Trouble;

/// So often the dates of certificates are judged though no file changed.
const JUDGED_EVERY: Duration = Duration::from_secs(3_600);

/// What the system tells of a file; `None` if it tells nothing.
type Stamp = Option<[i128; 6]>;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing to be done.
    Same,
    /// The files are as they were, and their dates are to be judged again.
    Judge,
    /// They are to be read.
    Read,
}

/// The looks at the files of certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    seen: Vec<Stamp>,
    due: Option<Instant>,
    judged: Instant,
    /// Why the files could not be used at the last look.
    refused: Option<String>,
    /// The times of those in force.
    times: CertificateTimes,
}

impl Certificates {
    /// The files of `settings` were read just now, which are certificates at `times`.
    pub(super) fn new(settings: &Settings, times: CertificateTimes, now: Instant) -> Self {
        let due = next(settings, now);
        Self { seen: stamps(&settings.tls), due, judged: now, refused: None, times }
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

    /// When the next look is due.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    fn look(&mut self, settings: &Settings, now: Instant) -> Look {
        self.due = next(settings, now);
        // Before they are read: what changes while they are read is seen by the next look.
        let stamps = stamps(&settings.tls);
        if self.refused.is_some() || self.seen != stamps {
            self.seen = stamps;
            return Look::Read;
        }
        if now.saturating_duration_since(self.judged) >= JUDGED_EVERY {
            self.judged = now;
            return Look::Judge;
        }
        Look::Same
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
    /// Looks at the files of certificates, if that is due, and takes changed ones.
    pub(super) fn look_at_certificates(
        &mut self,
        exchange: &mut Exchange<impl Fleet>,
        now: Instant,
    ) {
        if self.certificates.due().is_none_or(|due| now < due) {
            return;
        }
        let look = self.certificates.look(&self.loaded.settings, now);
        if look == Look::Same {
            return;
        }
        self.take_certificates(look == Look::Read, exchange);
    }

    /// Reads the files of certificates, and takes them if they are `new`.
    pub(super) fn take_certificates(&mut self, new: bool, exchange: &mut Exchange<impl Fleet>) {
        match identity(&self.loaded, self.renewal.data(), self.plan.node.tls.as_ref()) {
            Ok(Some(Proof { identity, doubt, times })) => {
                self.certificates.times = times;
                if new {
                    self.renew(identity, exchange);
                    tracing::info!("the certificates were read again, new connections get them");
                }
                self.certificates.refused = None;
                self.troubles.tell(Trouble::CertificateRefused, None);
                self.doubt(doubt);
            }
            Ok(None) => {}
            Err(error) => {
                let reason = error.to_string();
                if self.certificates.refused.as_ref() != Some(&reason) {
                    tracing::error!(%reason, "certificates refused, those in force are kept");
                }
                let message = format!("the certificates in force are kept: {reason}");
                self.troubles.tell(Trouble::CertificateRefused, Some(message));
                self.certificates.refused = Some(reason);
            }
        }
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
        self.take_certificates(false, exchange);
        if self.certificates.refused.is_some() {
            // Of the others nothing new is known; this one is as it should be.
            self.certificates.times.insert(name.to_owned(), kept.validity);
            let of_name = [format!("{name}: "), format!("/{name}.pem: ")];
            let [begins, holds] = &of_name;
            self.troubles.forget(Trouble::CertificateDoubt, |told| {
                told.starts_with(begins) || told.contains(holds)
            });
        }
        true
    }

    /// The certificates were read with the configuration.
    pub(super) fn certificates_read(
        &mut self,
        doubt: Option<String>,
        times: CertificateTimes,
        now: Instant,
    ) {
        self.certificates = Certificates::new(&self.loaded.settings, times, now);
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
        let mut certificates = Certificates::new(&settings, CertificateTimes::new(), now);
        assert_eq!(certificates.due(), Some(now + Duration::from_secs(60)));
        assert_eq!(certificates.look(&settings, now), Look::Same);
        write("key.pem", "ab");
        assert_eq!(certificates.look(&settings, now), Look::Read);
        assert_eq!(certificates.look(&settings, now), Look::Same);
        // Another file of the same length under the same name.
        write("new.pem", "b");
        std::fs::rename(dir.join("new.pem"), dir.join("cert.pem")).unwrap();
        assert_eq!(certificates.look(&settings, now), Look::Read);
        certificates.refused = Some("half a file".to_owned());
        assert_eq!(certificates.look(&settings, now), Look::Read, "it may be whole by now");
        certificates.refused = None;
        now += JUDGED_EVERY;
        assert_eq!(certificates.look(&settings, now), Look::Judge);
        assert_eq!(certificates.look(&settings, now), Look::Same);
        let tls = TlsSection { check: Duration::ZERO, ..settings.tls };
        let never = Settings { tls, ..settings };
        assert_eq!(Certificates::new(&never, CertificateTimes::new(), now).due(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn further_files_and_dates_are_looked_at_without_a_first_certificate() {
        let file = std::env::temp_dir().join(format!("grandstand-also-{}", std::process::id()));
        std::fs::write(&file, "a").unwrap();
        let mut settings = Settings::default();
        let mut now = Instant::now();
        let due = |settings: &Settings| {
            Certificates::new(settings, CertificateTimes::new(), now).due().is_some()
        };
        assert!(!due(&settings), "there is nothing to look at");
        settings.acme.domains.0.push("edge.example".to_owned());
        settings.tls.also.push(NamedCertificate {
            names: vec!["a.example".to_owned()],
            certificate: file.clone(),
            key: file.clone(),
        });
        assert!(due(&settings));
        let mut certificates = Certificates::new(&settings, CertificateTimes::new(), now);
        std::fs::write(&file, "ab").unwrap();
        assert_eq!(certificates.look(&settings, now), Look::Read);
        now += JUDGED_EVERY;
        assert_eq!(certificates.look(&settings, now), Look::Judge);
        std::fs::remove_file(&file).unwrap();
    }
}
