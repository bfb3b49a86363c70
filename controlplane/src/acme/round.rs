//! Round: one authority, and when each name is asked for there.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use instant_acme::{Account, CertificateIdentifier};
use tokio::sync::{mpsc, watch};

use super::account;
use super::demands::Demands;
use super::disk::off;
use super::failure::{AGAIN, Cost, Failure, Reach};
use super::keeper::tell;
use super::kept::Kept;
use super::order::{Errand, show};
use super::rest::{Rest, WAIT_MAX};
use super::schedule::Case;
use super::told::{AcmeAsk, Outcome};
use super::transport::{Heard, Transport};
use super::vault::Vault;
use crate::bridge::Ask;
use crate::config::AcmeSection;
use crate::outbound::Address;

/// An order is over within this.
const ORDER_TIME_MAX: Duration = Duration::from_secs(300);
/// The calendar may be set anew: it is looked at this often.
const LOOK: Duration = Duration::from_secs(3_600);
/// Who has enough of one name has perhaps enough of all: the others wait so long at most.
const PERHAPS: Duration = Duration::from_secs(3_600);
/// An authority is asked when it would have a certificate renewed, within these.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(3_600), Duration::from_secs(86_400)];

/// One authority and the names that it gives certificates for.
pub(super) struct Round {
    asks: mpsc::Sender<Ask>,
    section: AcmeSection,
    directory: Address,
    vault: Vault,
    cases: BTreeMap<String, Name>,
    way: Option<(Transport, Account)>,
    /// What it says about being left alone.
    heard: Heard,
    /// Nobody is asked meanwhile, whichever name is due.
    rest: Rest,
    /// What the authority asked for, whatever is reloaded.
    demands: Demands,
    /// The authority says when it would have certificates renewed.
    suggests: bool,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// An order for that name.
    Order(String),
    /// The authority is to say when it would have that name renewed.
    Ask(String),
    /// Nothing for so long.
    Wait(Duration),
}

/// What is known of a name.
struct Name {
    case: Case,
    /// The certificate in force.
    kept: Option<Kept>,
    /// When the authority is asked again when it would have that renewed.
    ask: SystemTime,
}

impl Round {
    /// Reads what is kept of the authority, and begins with what it demanded before.
    pub(super) async fn open(
        asks: mpsc::Sender<Ask>,
        section: AcmeSection,
        directory: Address,
        (vault, demands): (Vault, Demands),
    ) -> Result<Self, Failure> {
        let (own, domains) = (vault.clone(), section.domains.0.clone());
        let cases = off(&asks, move || {
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
        let mut cases: BTreeMap<String, Name> = cases.await?;
        for (domain, name) in &mut cases {
            name.case.left_alone(demands.of(&directory, Some(domain)));
        }
        let (heard, rest, suggests) = (Heard::default(), demands.of(&directory, None), true);
        let way = None;
        Ok(Self { asks, section, directory, vault, cases, way, heard, rest, demands, suggests })
    }

    /// Until another section is in force.
    pub(super) async fn work(&mut self, sections: &mut watch::Receiver<AcmeSection>) {
        while !sections.has_changed().unwrap_or(true) && !self.asks.is_closed() {
            let pause = match self.next(SystemTime::now()) {
                Next::Order(domain) => {
                    self.attempt(&domain).await;
                    continue;
                }
                Next::Ask(domain) => {
                    self.ask_when(&domain, SystemTime::now()).await;
                    continue;
                }
                Next::Wait(pause) => pause,
            };
            tokio::select! {
                _ = sections.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What is to be done.
    fn next(&self, now: SystemTime) -> Next {
        if let Some(until) = self.rest.until(now) {
            return Next::Wait(until.duration_since(now).unwrap_or_default().min(LOOK));
        }
        let due = self.cases.iter().map(|(domain, name)| (name.case.due(now), domain)).min();
        let wait = match due {
            Some((due, domain)) if due <= now => return Next::Order(domain.clone()),
            Some((due, _)) => due.duration_since(now).unwrap_or_default().min(LOOK),
            None => LOOK,
        };
        self.unasked(now).map_or(Next::Wait(wait), Next::Ask)
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
        let wait = self.heard.take();
        let outcome = match obtained {
            Ok(kept) => {
                let Some(name) = self.cases.get_mut(domain) else { return };
                name.case.obtained(kept.validity, now);
                name.kept = Some(kept.clone());
                name.ask = SystemTime::UNIX_EPOCH;
                self.rest = Rest::default();
                self.demands.served(&self.directory, domain);
                tracing::info!(domain, "the certificate is kept");
                Outcome::Obtained { kept: Box::new(kept) }
            }
            Err(failure) => {
                let again = self.rests(domain, &failure, wait, now);
                let reason = failure.to_string();
                tracing::error!(domain, %reason, "no certificate, what is in force stays");
                Outcome::Failed { reason, again }
            }
        };
        // The desk may be gone: then nobody misses it.
        let ask = Ask::Acme(AcmeAsk::Over { domain: domain.to_owned(), outcome });
        drop(self.asks.send(ask).await);
    }

    /// Lets the name rest, or the authority as a whole; when the name is tried again.
    fn rests(
        &mut self,
        domain: &str,
        failure: &Failure,
        wait: Option<Duration>,
        now: SystemTime,
    ) -> SystemTime {
        // What was reached may be elsewhere by then.
        self.way = None;
        let reach = match failure.reach {
            Reach::Name if wait.is_some() => Reach::Perhaps,
            reach => reach,
        };
        if reach == Reach::Perhaps {
            // A limit of one name may be days long, which must not cost the others theirs.
            self.has_enough(wait.map_or(PERHAPS, |wait| wait.min(PERHAPS)), now);
        }
        if reach == Reach::Authority {
            self.away(failure.cost, wait, now);
        } else if let Some(name) = self.cases.get_mut(domain) {
            name.case.failed(failure.cost, wait, chance(), now);
            if let Some(wait) = wait {
                let rest = Rest::of(wait.min(WAIT_MAX), now);
                self.demands.keep(&self.directory, Some(domain), rest, now);
            }
        }
        let due = self.cases.get(domain).map(|name| name.case.due(now));
        due.max(self.rest.until(now)).unwrap_or(now)
    }

    /// The authority has enough for so long, of every name.
    fn has_enough(&mut self, length: Duration, now: SystemTime) {
        self.rest = Rest::of(length, now);
        self.demands.keep(&self.directory, None, self.rest.clone(), now);
    }

    /// The authority fails every name, and may say for how long.
    fn away(&mut self, cost: Cost, wait: Option<Duration>, now: SystemTime) {
        self.rest.failed(cost, wait, chance(), now);
        if let Some(wait) = wait {
            let rest = Rest::of(wait.min(WAIT_MAX), now);
            self.demands.keep(&self.directory, None, rest, now);
        }
    }

    async fn obtain(&mut self, domain: &str) -> Result<Kept, Failure> {
        self.connect(true).await?;
        let begun = self.begun(domain).await;
        begun.map_err(Failure::of_authority)?;
        let Some((_, account)) = &self.way else {
            return Err(Failure::free("there is no account", AGAIN));
        };
        let kept = self.cases.get(domain).and_then(|name| name.kept.as_ref());
        let replaces = kept.filter(|_| self.suggests).and_then(identifier);
        let errand = Errand { domain, kind: self.section.challenge, replaces };
        let run = tokio::time::timeout(ORDER_TIME_MAX, errand.run(account, &self.asks)).await;
        let pem = run.unwrap_or_else(|_| {
            Err(Failure::counted("the authority did not come to an end", AGAIN))
        });
        let kept = match pem {
            // Before anything else: what was given once is not given again.
            Ok(pem) => self.keep(domain, pem).await,
            Err(failure) => Err(failure),
        };
        // The desk may be gone: then nobody finds anything any more.
        drop(show(&self.asks, None).await);
        if kept.as_ref().is_err_and(|failure| failure.is_stranger)
            && let Some(name) = self.cases.get_mut(domain)
        {
            name.case.unbegun();
        }
        kept
    }

    /// Keeps what the authority gave. Nothing takes the place of what is in force before it is
    /// found to be sound.
    async fn keep(&self, domain: &str, pem: String) -> Result<Kept, Failure> {
        let kept = Kept::of_pem(&pem, domain).map_err(|what| {
            Failure::counted(format!("the authority sent what cannot be used: {what}"), AGAIN)
        })?;
        let (vault, own) = (self.vault.clone(), domain.to_owned());
        let written = off(&self.asks, move || vault.keep(&own, &pem)).await?;
        written.map_err(|error| Failure { cost: Cost::Counted, ..Failure::from(error) })?;
        Ok(kept)
    }

    /// Has a way to the authority and an account there, a new one only if `opens`.
    async fn connect(&mut self, opens: bool) -> Result<bool, Failure> {
        if self.way.is_none() {
            self.way = self.reach(opens).await.map_err(Failure::of_authority)?;
        }
        Ok(self.way.is_some())
    }

    async fn reach(&self, opens: bool) -> Result<Option<(Transport, Account)>, Failure> {
        let ca = self.section.ca.clone();
        let roots = off(&self.asks, move || crate::trust::roots(ca.as_deref())).await?;
        let roots = roots.map_err(|(what, _)| {
            Failure::free(what, "check acme.ca, or install ca-certificates")
        })?;
        let transport = Transport::new(&self.directory, roots, self.heard.clone());
        let (section, vault) = (&self.section, (&self.vault, &self.asks));
        let account = match account::kept(section, vault, &transport).await? {
            Some((account, refused)) => {
                let wrong = refused.map(|why| format!("acme.contact is not taken: {why}"));
                if let Some(wrong) = &wrong {
                    tracing::warn!(authority = %self.directory, "{wrong}");
                }
                tell(&self.asks, wrong).await;
                account
            }
            None if opens => {
                // Accounts are counted, too: none is opened that could not be kept.
                self.keep_tries().await?;
                account::open(section, &self.directory, vault, &transport).await?
            }
            None => return Ok(None),
        };
        Ok(Some((transport, account)))
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
        Ok(off(&self.asks, move || vault.keep_tries(&json)).await??)
    }

    async fn forget_account(&mut self) -> Result<(), Failure> {
        self.way = None;
        let vault = self.vault.clone();
        Ok(off(&self.asks, move || vault.forget_account()).await??)
    }

    /// A name whose renewal the authority is to be asked about.
    fn unasked(&self, now: SystemTime) -> Option<String> {
        // By a calendar that was set back nothing was asked yet.
        let most = now.checked_add(ASK_AGAIN[1]).unwrap_or(now);
        let asks = |name: &Name| name.kept.is_some() && (name.ask <= now || name.ask > most);
        let found = self.cases.iter().find(|(_, name)| asks(name));
        found.filter(|_| self.suggests).map(|(domain, _)| domain.clone())
    }

    /// Asks the authority when it would have a certificate renewed.
    async fn ask_when(&mut self, domain: &str, now: SystemTime) {
        let asked = self.suggestion(domain).await;
        let wait = self.heard.take();
        let [least, most] = ASK_AGAIN;
        let mut again = least;
        match asked {
            Ok(Some((start, end, wait))) => {
                if let Some(name) = self.cases.get_mut(domain) {
                    name.case.suggest(start, end, chance());
                }
                again = wait.clamp(least, most);
            }
            // There is no account yet to ask by, or the certificate is none to ask about.
            Ok(None) => {}
            Err(failure) => {
                self.way = None;
                if failure.reach == Reach::Authority {
                    self.away(failure.cost, wait, now);
                } else if let Some(wait) = wait {
                    self.has_enough(wait.min(PERHAPS), now);
                }
                tracing::debug!(domain, %failure, "when to renew is not known");
            }
        }
        if let Some(name) = self.cases.get_mut(domain) {
            name.ask = now.checked_add(again).unwrap_or(now);
        }
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
            // It says so of no certificate, now or later.
            Err(instant_acme::Error::Unsupported(_)) => {
                self.suggests = false;
                Ok(None)
            }
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
    use std::path::PathBuf;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::super::scripted::{authority, problem};
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
        (Round::open(asks, section, directory, (vault, Demands::default())).await.unwrap(), data)
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
        let usual = round.cases[EDGE].case.due(now);
        assert_eq!(round.unasked(now).as_deref(), Some(EDGE));
        round.ask_when(EDGE, now).await;
        let Name { case, ask, .. } = &round.cases[EDGE];
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
        assert_ne!(case.due(now), usual);
        assert!(case.due(now) >= start && case.due(now) <= start + Duration::from_secs(86_400));
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
        let now = SystemTime::now();
        let usual = round.cases[EDGE].case.due(now);
        round.ask_when(EDGE, now).await;
        assert_eq!(round.cases[EDGE].case.due(now), usual);
        assert_eq!(round.unasked(now + Duration::from_secs(1_000_000)), None);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_no_use_is_one_that_is_not_there() {
        let application = application("");
        let (round, data) = round(&application, "broken").await;
        let Round { asks, section, directory, vault, demands, .. } = round;
        vault.keep(EDGE, "half a file").unwrap();
        vault.keep_tries("{\"edge.example\": [\"soon\"]}").unwrap();
        let round = Round::open(asks, section, directory, (vault, demands)).await.unwrap();
        let Name { case, kept, .. } = &round.cases[EDGE];
        assert!(kept.is_none() && case.tries().is_empty());
        let now = SystemTime::now();
        assert!(case.due(now) <= now);
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

    /// An account and names of [`authority`], which has given nothing yet, and what the desk hears.
    async fn fresh(
        application: &Application,
        name: &str,
        names: &[&str],
    ) -> (Round, PathBuf, mpsc::UnboundedReceiver<AcmeAsk>) {
        let (Round { section, directory, vault, demands, .. }, data) =
            round(application, name).await;
        std::fs::remove_file(vault.certificate(EDGE)).unwrap();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let section = AcmeSection { domains: Domains(names), ..section };
        let (asks, mut desk) = mpsc::channel(1);
        let (tells, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Who asks for a challenge to be shown is not kept waiting: he goes on when it is gone.
            while let Some(Ask::Acme(ask)) = desk.recv().await {
                if !matches!(ask, AcmeAsk::Show { .. }) {
                    let _ = tells.send(ask);
                }
            }
        });
        let round = Round::open(asks, section, directory, (vault, demands)).await.unwrap();
        (round, data, told)
    }

    /// What became of the next attempt.
    async fn outcome(told: &mut mpsc::UnboundedReceiver<AcmeAsk>) -> (String, Outcome) {
        loop {
            if let AcmeAsk::Over { domain, outcome } = told.recv().await.unwrap() {
                return (domain, outcome);
            }
        }
    }

    fn asked(application: &Application, path: &str) -> usize {
        let begins = format!("POST {path} ");
        application.seen().iter().filter(|request| request.starts_with(&begins)).count()
    }

    #[tokio::test]
    async fn an_authority_that_has_enough_is_left_alone_for_every_name() {
        for (at, seconds, most) in [("/newAccount", 7_200, 7_200), ("/newOrder", 7_200, 3_600)] {
            let application = authority(EDGE, move |path, _| {
                let head = format!("retry-after: {seconds}\r\n");
                (path == at).then(|| problem(429, "rateLimited", &head))
            });
            let name = format!("limited{}", at.replace('/', "-"));
            let names = ["a.example", "b.example"];
            let (mut round, data, mut told) = fresh(&application, &name, &names).await;
            round.vault.forget_account().unwrap();
            let Next::Order(domain) = round.next(SystemTime::now()) else { panic!("none is due") };
            let before = SystemTime::now();
            round.attempt(&domain).await;
            let now = SystemTime::now();
            let Next::Wait(pause) = round.next(now) else { panic!("{at}: the other is asked for") };
            assert!(pause <= Duration::from_secs(3_600), "{pause:?}");
            let until = round.rest.until(now).unwrap();
            let most = Duration::from_secs(most);
            assert!((before + most..=now + most).contains(&until), "{at}");
            let (first, Outcome::Failed { reason, again }) = outcome(&mut told).await else {
                panic!("{at}: there is a certificate")
            };
            assert_eq!(first, "a.example");
            assert!(reason.contains("rateLimited"), "{reason}");
            assert!(again >= before + Duration::from_secs(seconds), "{at}: as long as was asked");
            assert_eq!(asked(&application, at), 1);
            // A reload makes nothing of it shorter: another round has the same rests.
            let Round { asks, section, directory, vault, demands, .. } = round;
            let kept = (vault, demands);
            let round = Round::open(asks, section, directory, kept).await.unwrap();
            assert_eq!(round.rest.until(now), Some(until), "{at}");
            let of_name = round.cases["a.example"].case.due(now);
            let seconds = Duration::from_secs(if at == "/newOrder" { seconds } else { 0 });
            assert!(of_name == SystemTime::UNIX_EPOCH || of_name >= before + seconds, "{at}");
            assert_eq!(of_name == SystemTime::UNIX_EPOCH, at == "/newAccount");
            // Then it is the other's turn.
            let later = until + Duration::from_secs(1);
            assert!(matches!(round.next(later), Next::Order(_)), "{at}");
            std::fs::remove_dir_all(data).unwrap();
        }
    }

    #[tokio::test]
    async fn an_authority_that_is_not_there_is_asked_for_one_name() {
        let application = authority(EDGE, |_, _| Some(Reply::status(502, "", "<html>")));
        let names = ["a.example", "b.example"];
        let (mut round, data, mut told) = fresh(&application, "away", &names).await;
        round.attempt("a.example").await;
        let now = SystemTime::now();
        assert!(matches!(round.next(now), Next::Wait(_)));
        let first = round.rest.until(now).unwrap();
        round.attempt("b.example").await;
        let now = SystemTime::now();
        assert!(round.rest.until(now).unwrap() > first, "rests of the authority double");
        // It asked for nothing: a reload tries at once.
        assert_eq!(round.demands.of(&round.directory, None), Rest::default());
        for name in names {
            assert_eq!(outcome(&mut told).await.0, name);
        }
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn people_whom_the_authority_does_not_take_are_told_and_hold_nothing_up() {
        let application = authority(EDGE, |path, _| {
            (path == "/account/1").then(|| problem(400, "invalidContact", ""))
        });
        let (mut round, data, mut told) = fresh(&application, "contact", &[EDGE]).await;
        round.section.contact.0.push("ops@edge.example".to_owned());
        round.attempt(EDGE).await;
        let AcmeAsk::Wrong { what: Some(what) } = told.recv().await.unwrap() else {
            panic!("nobody is told")
        };
        assert!(what.contains("acme.contact is not taken: the authority says"), "{what}");
        let (_, Outcome::Obtained { .. }) = outcome(&mut told).await else {
            panic!("there is no certificate")
        };
        assert_eq!(asked(&application, "/account/1"), 1);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn an_account_that_is_refused_rests_with_its_own_mend() {
        let application = authority(EDGE, |path, _| {
            (path == "/newOrder").then(|| problem(403, "unauthorized", ""))
        });
        let (mut round, data, mut told) = fresh(&application, "refused", &[EDGE]).await;
        round.attempt(EDGE).await;
        let (_, Outcome::Failed { reason, again }) = outcome(&mut told).await else {
            panic!("there is a certificate")
        };
        assert!(reason.contains("; our account is deactivated or blocked there"), "{reason}");
        assert!(again > SystemTime::now() + Duration::from_secs(800), "it is counted");
        assert_eq!((asked(&application, "/newOrder"), asked(&application, "/newAccount")), (1, 0));
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn a_stranger_opens_an_account_and_its_order_counts_once() {
        let application = authority(EDGE, |path, before| {
            let first = path == "/newOrder" && before == 0;
            first.then(|| problem(400, "accountDoesNotExist", ""))
        });
        let (mut round, data, mut told) = fresh(&application, "stranger", &[EDGE]).await;
        round.attempt(EDGE).await;
        let (_, Outcome::Obtained { kept }) = outcome(&mut told).await else {
            panic!("there is no certificate")
        };
        assert_eq!((asked(&application, "/newOrder"), asked(&application, "/newAccount")), (2, 1));
        assert_eq!(round.cases[EDGE].case.tries().len(), 1);
        let written = round.vault.kept(EDGE).unwrap().unwrap();
        assert_eq!(written.certified.cert, kept.certified.cert);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn what_was_given_is_kept_though_the_node_ends() {
        let application = authority(EDGE, |_, _| None);
        let (mut round, data, told) = fresh(&application, "ends", &[EDGE]).await;
        drop(told);
        let (asks, desk) = mpsc::channel(1);
        drop(desk);
        round.asks = asks;
        round.attempt(EDGE).await;
        assert!(round.vault.kept(EDGE).unwrap().is_some());
        std::fs::remove_dir_all(data).unwrap();
    }

    #[tokio::test]
    async fn one_name_that_the_authority_does_not_know_takes_no_suggestion_from_the_others() {
        let application = application(r#","renewalInfo":"URLs""#);
        let (mut round, data) = round(&application, "unknown").await;
        let now = SystemTime::now();
        round.ask_when(EDGE, now).await;
        assert!(round.suggests);
        let Name { ask, .. } = &round.cases[EDGE];
        assert_eq!(*ask, now + Duration::from_secs(3_600));
        assert_eq!(round.unasked(*ask).as_deref(), Some(EDGE));
        // Nor does a calendar that was ahead.
        assert_eq!(round.unasked(now - Duration::from_secs(100 * 86_400)).as_deref(), Some(EDGE));
        std::fs::remove_dir_all(data).unwrap();
    }
}
