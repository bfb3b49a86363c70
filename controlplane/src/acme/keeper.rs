//! Keeper: begins orders when they are due, one after the other, and tells what came of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, CertificateIdentifier};
use tokio::sync::{mpsc, watch};

use super::account::{self, off};
use super::failure::{AGAIN, Cost, Failure};
use super::kept::Kept;
use super::order::{Errand, show};
use super::schedule::Case;
use super::told::{AcmeAsk, Outcome};
use super::transport::Transport;
use super::vault::Vault;
use crate::bridge::Ask;
use crate::config::{AcmeSection, Validity};
use crate::outbound::Address;

/// An order is over within this.
const ORDER_TIME_MAX: Duration = Duration::from_secs(300);
/// The calendar may be set anew: it is looked at this often.
const LOOK: Duration = Duration::from_secs(3_600);
/// An authority is asked when it would have a certificate renewed, within these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(3_600), Duration::from_secs(86_400)];

/// Who keeps certificates of an authority. Lives on: the control thread.
#[derive(Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    sections: watch::Receiver<AcmeSection>,
    data: PathBuf,
}

/// One authority and the names that it gives certificates for.
struct Round {
    asks: mpsc::Sender<Ask>,
    section: AcmeSection,
    directory: Address,
    vault: Vault,
    cases: BTreeMap<String, Name>,
    way: Option<(Transport, Account)>,
    /// The authority says when it would have certificates renewed.
    suggests: bool,
}

/// What is known of a name.
struct Name {
    case: Case,
    /// The certificate in force.
    kept: Option<Kept>,
    /// When the authority is asked again when it would have that renewed.
    ask: SystemTime,
}

impl Keeper {
    /// Keeps what `sections` want, in the data directory `data`.
    #[must_use]
    pub const fn new(
        asks: mpsc::Sender<Ask>,
        sections: watch::Receiver<AcmeSection>,
        data: PathBuf,
    ) -> Self {
        Self { asks, sections, data }
    }

    /// Works until the desk is gone. Each new section, be it the same, is a reason to try at once
    /// what failed before.
    pub async fn run(mut self) {
        loop {
            let section = self.sections.borrow_and_update().clone();
            if let Some(directory) = section.authority().cloned() {
                let vault = Vault::of(&self.data, &directory);
                match Round::open(self.asks.clone(), section, directory, vault).await {
                    Ok(mut round) => round.work(&mut self.sections).await,
                    // The node ends.
                    Err(_) => return,
                }
            } else if self.sections.changed().await.is_err() {
                return;
            }
            if self.sections.has_changed().is_err() || self.asks.is_closed() {
                return;
            }
        }
    }
}

impl Round {
    /// Reads what is kept.
    async fn open(
        asks: mpsc::Sender<Ask>,
        section: AcmeSection,
        directory: Address,
        vault: Vault,
    ) -> Result<Self, Failure> {
        let (own, domains) = (vault.clone(), section.domains.0.clone());
        let cases = off(move || {
            let now = SystemTime::now();
            // Without a sound file nothing was begun that is known of.
            let tries = own.tries().ok().flatten();
            let tries: BTreeMap<String, Vec<u64>> =
                tries.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
            let name = |domain: String| {
                // A file that is no use is one that is not there: a new one takes its place.
                let kept = own.kept(&domain).ok().flatten();
                let tries = tries.get(&domain).map_or(&[][..], Vec::as_slice);
                let case = Case::new(kept.as_ref().map(|kept| kept.validity), tries, now);
                (domain, Name { case, kept, ask: SystemTime::UNIX_EPOCH })
            };
            domains.into_iter().map(name).collect()
        });
        let cases = cases.await?;
        Ok(Self { asks, section, directory, vault, cases, way: None, suggests: true })
    }

    /// Until another section is in force.
    async fn work(&mut self, sections: &mut watch::Receiver<AcmeSection>) {
        while !sections.has_changed().unwrap_or(true) && !self.asks.is_closed() {
            let now = SystemTime::now();
            let due = self.cases.iter().map(|(domain, name)| (name.case.due(), domain)).min();
            let Some((due, domain)) = due.map(|(due, domain)| (due, domain.clone())) else {
                return;
            };
            if due <= now {
                self.attempt(&domain).await;
                continue;
            }
            if let Some(domain) = self.unasked(now) {
                self.ask_when(&domain, now).await;
                continue;
            }
            let pause = due.duration_since(now).unwrap_or_default().min(LOOK);
            tokio::select! {
                _ = sections.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One order, and what came of it.
    async fn attempt(&mut self, domain: &str) {
        tracing::info!(domain, authority = %self.directory, "a certificate is asked for");
        let mut obtained = self.obtain(domain).await;
        if obtained.as_ref().is_err_and(|failure| failure.is_stranger) {
            tracing::warn!(authority = %self.directory, "our account is not known there any more");
            obtained = match self.forget_account().await {
                Ok(()) => self.obtain(domain).await,
                Err(failure) => Err(failure),
            };
        }
        let now = SystemTime::now();
        let wait = self.way.as_ref().and_then(|(transport, _)| transport.take_wait());
        let Some(name) = self.cases.get_mut(domain) else { return };
        let outcome = match obtained {
            Ok(kept) => {
                let Validity { not_after, .. } = kept.validity;
                name.case.obtained(kept.validity, now);
                name.kept = Some(kept);
                name.ask = SystemTime::UNIX_EPOCH;
                tracing::info!(domain, "the certificate is kept");
                Outcome::Obtained { not_after }
            }
            Err(failure) => {
                name.case.failed(failure.cost, failure.wait.or(wait), chance(), now);
                let reason = failure.to_string();
                tracing::error!(domain, %reason, "no certificate, what is in force stays");
                // What was reached may be elsewhere by then.
                self.way = None;
                Outcome::Failed { reason, again: name.case.due() }
            }
        };
        // The desk may be gone: then nobody misses it.
        let ask = Ask::Acme(AcmeAsk::Over { domain: domain.to_owned(), outcome });
        drop(self.asks.send(ask).await);
    }

    async fn obtain(&mut self, domain: &str) -> Result<Kept, Failure> {
        self.connect(true).await?;
        self.begun(domain).await?;
        let Some((_, account)) = &self.way else {
            return Err(Failure::free("there is no account", AGAIN));
        };
        let kept = self.cases.get(domain).and_then(|name| name.kept.as_ref());
        let replaces = kept.filter(|_| self.suggests).and_then(identifier);
        let errand = Errand { domain, kind: self.section.challenge, replaces };
        let run = tokio::time::timeout(ORDER_TIME_MAX, errand.run(account, &self.asks)).await;
        show(&self.asks, None).await?;
        let pem = run.unwrap_or_else(|_| {
            Err(Failure::counted("the authority did not come to an end", AGAIN))
        })?;
        // Nothing takes the place of what is in force before it is found to be sound.
        let kept = Kept::of_pem(&pem, domain).map_err(|what| {
            Failure::counted(format!("the authority sent what cannot be used: {what}"), AGAIN)
        })?;
        let (vault, own) = (self.vault.clone(), domain.to_owned());
        let written = off(move || vault.keep(&own, &pem)).await?;
        written.map_err(|error| Failure { cost: Cost::Counted, ..Failure::from(error) })?;
        Ok(kept)
    }

    /// Has a way to the authority and an account there, a new one only if `opens`.
    async fn connect(&mut self, opens: bool) -> Result<bool, Failure> {
        if self.way.is_some() {
            return Ok(true);
        }
        let ca = self.section.ca.clone();
        let roots = off(move || crate::trust::roots(ca.as_deref())).await?;
        let roots = roots.map_err(|(what, _)| {
            Failure::free(what, "check acme.ca, or install ca-certificates")
        })?;
        let transport = Transport::new(&self.directory, roots);
        let (section, vault) = (&self.section, &self.vault);
        let account = match account::kept(section, vault, &transport).await? {
            Some(account) => account,
            None if opens => {
                // Accounts are counted, too: none is opened that could not be kept.
                self.keep_tries().await?;
                account::open(section, &self.directory, vault, &transport).await?
            }
            None => return Ok(false),
        };
        self.way = Some((transport, account));
        Ok(true)
    }

    /// An order is begun, which is known from now on, whatever becomes of this process.
    async fn begun(&mut self, domain: &str) -> Result<(), Failure> {
        if let Some(name) = self.cases.get_mut(domain) {
            name.case.begun(SystemTime::now());
        }
        self.keep_tries().await
    }

    async fn keep_tries(&self) -> Result<(), Failure> {
        let tries: BTreeMap<_, _> =
            self.cases.iter().map(|(domain, name)| (domain, name.case.tries())).collect();
        let json = serde_json::to_string(&tries).expect("numbers by names are plain data");
        let vault = self.vault.clone();
        Ok(off(move || vault.keep_tries(&json)).await??)
    }

    async fn forget_account(&mut self) -> Result<(), Failure> {
        self.way = None;
        let vault = self.vault.clone();
        Ok(off(move || vault.forget_account()).await??)
    }

    /// A name whose renewal the authority is to be asked about.
    fn unasked(&self, now: SystemTime) -> Option<String> {
        let asks = |name: &Name| name.kept.is_some() && name.ask <= now;
        let found = self.cases.iter().find(|(_, name)| asks(name));
        found.filter(|_| self.suggests).map(|(domain, _)| domain.clone())
    }

    /// Asks the authority when it would have a certificate renewed.
    async fn ask_when(&mut self, domain: &str, now: SystemTime) {
        let asked = self.suggestion(domain).await;
        let Some(name) = self.cases.get_mut(domain) else { return };
        let [least, most] = ASK_AGAIN;
        let mut again = most;
        match asked {
            Ok(Some((start, end, wait))) => {
                name.case.suggest(start, end, chance());
                again = wait.clamp(least, most);
            }
            // It does not say, or there is no account yet to ask by.
            Ok(None) => self.suggests = false,
            Err(failure) => {
                self.way = None;
                tracing::debug!(domain, %failure, "when to renew is not known");
            }
        }
        name.ask = now.checked_add(again).unwrap_or(now);
    }

    async fn suggestion(
        &mut self,
        domain: &str,
    ) -> Result<Option<(SystemTime, SystemTime, Duration)>, Failure> {
        if !self.connect(false).await? {
            return Ok(None);
        }
        let kept = self.cases.get(domain).and_then(|name| name.kept.as_ref());
        let (Some((_, account)), Some(id)) = (&self.way, kept.and_then(identifier)) else {
            return Ok(None);
        };
        match account.renewal_info(&id).await {
            Ok((info, wait)) => {
                let window = info.suggested_window;
                Ok(Some((window.start.into(), window.end.into(), wait)))
            }
            Err(instant_acme::Error::Unsupported(_)) => Ok(None),
            Err(error) => Err(Failure::of(&error, Cost::Nothing, self.section.challenge)),
        }
    }
}

/// What a certificate is called by its authority.
fn identifier(kept: &Kept) -> Option<CertificateIdentifier<'static>> {
    let leaf = kept.certified.cert.first()?;
    CertificateIdentifier::try_from(leaf).ok().map(CertificateIdentifier::into_owned)
}

/// 0 to 255; without randomness nodes come back together, which is no reason not to.
fn chance() -> u8 {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use crate::config::Domains;
    use crate::outbound::scripted::{Application, Reply};

    const EDGE: &str = "edge.example";

    /// A certificate of an authority, as it is kept.
    fn pem() -> String {
        let authority = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::Issuer::new(params, authority);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([EDGE.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2999, 1, 1);
        key.serialize_pem() + &params.signed_by(&key, &issuer).unwrap().pem()
    }

    /// What is known of an authority at `application`, with an account there and a certificate.
    async fn round(application: &Application, name: &str) -> (Round, PathBuf) {
        let directory = Address::parse(&application.url("/dir")).unwrap();
        let data = std::env::temp_dir().join(format!("grandstand-{name}-{}", std::process::id()));
        let vault = Vault::of(&data, &directory);
        let (_, key) = instant_acme::Key::generate_pkcs8().unwrap();
        let account = serde_json::json!({ "contact": [], "credentials": {
            "id": application.url("/account/1"),
            "key_pkcs8": URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()),
            "directory": directory.with_query(),
        }});
        vault.keep_account(&account.to_string()).unwrap();
        vault.keep(EDGE, &pem()).unwrap();
        let section = AcmeSection {
            domains: Domains(vec![EDGE.to_owned()]),
            directory: Some(directory.clone()),
            ..AcmeSection::default()
        };
        let (asks, _) = mpsc::channel(1);
        (Round::open(asks, section, directory, vault).await.unwrap(), data)
    }

    fn application(more: &'static str) -> Application {
        Application::start(move |request| {
            let host = request.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap();
            if request.starts_with("GET /ari/") {
                let window = r#"{"start":"2030-01-01T00:00:00Z","end":"2030-01-02T00:00:00Z"}"#;
                let body = format!(r#"{{"suggestedWindow":{window}}}"#);
                return Reply::status(200, "retry-after: 7200\r\n", &body);
            }
            let url = |path: &str| format!("http://{host}/{path}");
            let names = ["newNonce", "newAccount", "newOrder"];
            let urls = names.map(|name| format!("\"{name}\":\"{}\"", url(name))).join(",");
            let more = more.replace("URL", &url("ari"));
            Reply::status(200, "", &format!("{{{urls}{more}}}"))
        })
    }

    #[tokio::test]
    async fn what_the_authority_suggests_is_when_a_certificate_is_renewed() {
        let application = application(r#","renewalInfo":"URL""#);
        let (mut round, data) = round(&application, "suggested").await;
        let now = SystemTime::now();
        let usual = round.cases[EDGE].case.due();
        assert_eq!(round.unasked(now).as_deref(), Some(EDGE));
        round.ask_when(EDGE, now).await;
        let Name { case, ask, .. } = &round.cases[EDGE];
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
        assert_ne!(case.due(), usual);
        assert!(case.due() >= start && case.due() <= start + Duration::from_secs(86_400));
        let wait = ask.duration_since(now).unwrap().as_secs();
        assert!((7_190..=7_200).contains(&wait), "{wait}");
        assert_eq!(round.unasked(now), None);
        let seen = application.seen();
        let asked = seen.iter().find(|request| request.starts_with("GET /ari/")).unwrap();
        let id = asked.split(['/', ' ']).nth(3).unwrap();
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        assert!(id.matches('.').count() == 1 && id.chars().all(letter), "{id}");
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn an_authority_that_suggests_nothing_is_asked_once() {
        let application = application("");
        let (mut round, data) = round(&application, "unsuggested").await;
        let (now, usual) = (SystemTime::now(), round.cases[EDGE].case.due());
        round.ask_when(EDGE, now).await;
        assert_eq!(round.cases[EDGE].case.due(), usual);
        assert_eq!(round.unasked(now + Duration::from_secs(1_000_000)), None);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_use_is_one_that_is_not_there() {
        let application = application("");
        let (round, data) = round(&application, "broken").await;
        let Round { asks, section, directory, vault, .. } = round;
        vault.keep(EDGE, "half a file").unwrap();
        vault.keep_tries("{\"edge.example\": [\"soon\"]}").unwrap();
        let round = Round::open(asks, section, directory, vault).await.unwrap();
        let Name { case, kept, .. } = &round.cases[EDGE];
        assert!(kept.is_none() && case.tries().is_empty());
        assert!(case.due() <= SystemTime::now());
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn no_account_is_opened_that_could_not_be_kept() {
        let application = application("");
        let (mut round, data) = round(&application, "unkept").await;
        round.vault.forget_account().unwrap();
        let file = round.vault.certificate(EDGE).with_file_name("tries.json.new");
        // It is in the way of every file that is written there.
        std::fs::create_dir(file).unwrap();
        let failure = round.connect(true).await.unwrap_err();
        assert!(failure.to_string().contains("tries.json"), "{failure}");
        assert_eq!(application.seen(), Vec::<String>::new());
        std::fs::remove_dir_all(data).unwrap();
    }
}
