//! `[acme]`: certificates that an authority gives by itself.

use std::path::PathBuf;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dataplane::ids::Secret;

use super::document::Datum;
use super::field::{Bounds, Field, words};
use super::key::{Key, Section};
use super::load::Loaded;
use super::tls::is_name;
use crate::error::Error;
use crate::outbound::Address;

/// The authority that is asked unless another is named.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Names at most, each with a certificate of its own.
const DOMAINS_MAX: usize = 32;
/// Addresses of people at most.
const CONTACTS_MAX: usize = 8;
/// Bytes of the address of a person at most.
const CONTACT_BYTES_MAX: usize = 254;

/// Some authorities write the padding of base64url, others leave it out.
const LETTERS: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChallengeKind {
    /// It asks for a page by plain HTTP, on port 80 of the name.
    #[default]
    Http,
    /// It shakes hands by TLS, on port 443 of the name.
    TlsAlpn,
}

words!(ChallengeKind {
    "http-01" => ChallengeKind::Http,
    "tls-alpn-01" => ChallengeKind::TlsAlpn,
});

/// `[acme]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSection {
    /// The names that certificates are for; without one nobody is asked.
    pub domains: Domains,
    /// Where the authority says what it offers.
    pub directory: Option<Address>,
    /// Its terms of service were read and agreed to.
    pub terms_agreed: bool,
    /// Whom it writes to.
    pub contact: Contacts,
    /// How it is shown that a name leads here.
    pub challenge: ChallengeKind,
    /// Who vouches for the authority, beside those of the system.
    pub ca: Option<PathBuf>,
    /// The account elsewhere that ours is bound to, if the authority wants one.
    pub eab_key_id: String,
    /// The key of that.
    pub eab_key: Secret,
}

/// Names in small letters, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains(pub Vec<String>);

/// Addresses of people, as `ops@edge.example`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts(pub Vec<String>);

impl Default for AcmeSection {
    fn default() -> Self {
        Self {
            domains: Domains::default(),
            directory: Address::parse(DIRECTORY),
            terms_agreed: false,
            contact: Contacts::default(),
            challenge: ChallengeKind::default(),
            ca: None,
            eab_key_id: String::new(),
            eab_key: Secret::default(),
        }
    }
}

impl AcmeSection {
    /// The authority that is asked for certificates; `None` if nobody is.
    #[must_use]
    pub fn authority(&self) -> Option<&Address> {
        self.directory.as_ref().filter(|_| !self.domains.0.is_empty())
    }

    /// The account elsewhere that ours is bound to, and its key.
    #[must_use]
    pub fn binding(&self) -> Option<(&str, Vec<u8>)> {
        let key = LETTERS.decode(&self.eab_key.0).ok().filter(|key| !key.is_empty())?;
        (!self.eab_key_id.is_empty()).then_some((self.eab_key_id.as_str(), key))
    }
}

impl Field for Domains {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "a list of at most {DOMAINS_MAX} names such as [\"edge.example\"], each once; `*.` \
             needs another kind of proof"
        )
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let mut names = Vec::<String>::new();
        names.read(datum, bounds)?;
        let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let twice = |at: usize| names[..at].contains(&names[at]);
        let legal = |name: &String| is_name(name) && !name.contains('*') && !name.ends_with('.');
        if names.len() > DOMAINS_MAX || (0..names.len()).any(twice) || !names.iter().all(legal) {
            return None;
        }
        self.0 = names;
        Some(())
    }
    fn render(&self) -> String {
        self.0.render()
    }
}

impl Field for Contacts {
    fn expects(&self, _: &Bounds) -> String {
        format!("a list of at most {CONTACTS_MAX} addresses such as [\"ops@edge.example\"]")
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let mut people = Vec::<String>::new();
        people.read(datum, bounds)?;
        let legal = |one: &String| {
            let graphic = one.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
            let parts = one.split_once('@');
            let whole = parts.is_some_and(|(who, host)| !who.is_empty() && is_name(host));
            one.len() <= CONTACT_BYTES_MAX && graphic && whole
        };
        if people.len() > CONTACTS_MAX || !people.iter().all(legal) {
            return None;
        }
        self.0 = people;
        Some(())
    }
    fn render(&self) -> String {
        self.0.render()
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "domains",
        "Names that lead here, such as [\"edge.example\"]: each gets a certificate of its own, \
         which is shown to who asks for it (SNI); who names none is shown tls.certificate, else \
         that of the first. Until the first one is there, RTMPS, HTTPS and the API inside TLS are \
         served with a certificate that nobody vouches for. An empty list asks nobody.",
        |s| &mut s.acme.domains,
    )
    .now(),
    Key::new(
        "directory",
        "Where the authority says what it offers (RFC 8555). The default is Let's Encrypt; \
         https://acme-staging-v02.api.letsencrypt.org/directory is theirs to try things with.",
        |s| &mut s.acme.directory,
    )
    .now(),
    Key::new(
        "terms_agreed",
        "Whether you have read the authority's terms of service and agree to them. Without, it \
         gives no certificates.",
        |s| &mut s.acme.terms_agreed,
    )
    .now(),
    Key::new("contact", "Whom the authority may write to, such as [\"ops@edge.example\"].", |s| {
        &mut s.acme.contact
    })
    .now(),
    Key::new(
        "challenge",
        "How the authority is shown that a name leads here: \"http-01\", it asks port 80 of the \
         name, which must lead to listeners.http; \"tls-alpn-01\", it asks port 443, which must \
         lead to listeners.https or listeners.rtmps.",
        |s| &mut s.acme.challenge,
    )
    .now(),
    Key::new(
        "ca",
        "A PEM file of who vouches for the authority itself, beside those that the system trusts; \
         for an authority of your own.",
        |s| &mut s.acme.ca,
    )
    .now(),
    Key::new(
        "eab_key_id",
        "The identifier that the authority gave you, if it wants accounts to be bound to one of \
         its customers (external account binding).",
        |s| &mut s.acme.eab_key_id,
    )
    .now(),
    Key::new("eab_key", "The key that it gave you with that, in base64url.", |s| {
        &mut s.acme.eab_key
    })
    .now()
    .secret(),
];

pub(super) fn section() -> Section {
    Section::new(
        "acme",
        "Certificates that an authority gives and renews by itself (ACME). The account and the \
         certificates are kept in the data directory.",
        KEYS,
    )
}

/// Errors: what the authority, or who connects to us, would make nothing of.
pub(super) fn agree(loaded: &Loaded) -> Result<(), Error> {
    let section = &loaded.settings.acme;
    let Some(first) = section.domains.0.first() else { return Ok(()) };
    let misfit = |key: &str, what: &str, mend: &str| {
        Err(loaded.misfit(key, what.to_owned(), mend.to_owned()))
    };
    if !section.directory.as_ref().is_some_and(Address::is_tls) {
        let what = format!("certificates of {first} are asked for inside TLS alone");
        return misfit("acme.directory", &what, "name a URL that begins with https://");
    }
    if !section.terms_agreed {
        let what =
            format!("no authority gives {first} a certificate before its terms are agreed to");
        return misfit("acme.domains", &what, "read them and set acme.terms_agreed = true");
    }
    match (section.eab_key_id.is_empty(), section.eab_key.0.is_empty()) {
        (true, false) => {
            return misfit("acme.eab_key", "acme.eab_key_id is missing", "set it, too");
        }
        (false, true) => {
            return misfit("acme.eab_key_id", "acme.eab_key is missing", "set it, too");
        }
        (false, false) if section.binding().is_none() => {
            let mend = "copy it as the authority wrote it";
            return misfit("acme.eab_key", "it is not base64url", mend);
        }
        _ => {}
    }
    let listeners = &loaded.settings.listeners;
    let (open, where_to) = match section.challenge {
        ChallengeKind::Http => (listeners.http.enabled, "listeners.http"),
        ChallengeKind::TlsAlpn => {
            let open = listeners.https.enabled || listeners.rtmps.enabled;
            (open || listeners.control_tls.enabled, "listeners.https")
        }
    };
    if !open {
        let what = format!("nothing is open that {} could ask", section.challenge.render());
        return misfit("acme.challenge", &what, &format!("enable {where_to}"));
    }
    let named =
        |name: &String| loaded.settings.tls.also.iter().any(|also| also.names.contains(name));
    if let Some(name) = section.domains.0.iter().find(|name| named(name)) {
        let what = format!("{name} has a certificate by tls.also already");
        return misfit("acme.domains", &what, "remove it from one of them");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn section(env: &[(&str, &str)]) -> Result<AcmeSection, String> {
        let own = |&(key, value): &(&str, &str)| (format!("GRANDSTAND_{key}"), value.to_owned());
        let loaded = load(None, env.iter().map(own).collect::<Vec<_>>());
        loaded.map(|loaded| loaded.settings.acme).map_err(|error| error.to_string())
    }

    const AGREED: (&str, &str) = ("ACME__TERMS_AGREED", "true");

    #[test]
    fn nobody_is_asked_unless_a_name_is_given_and_the_terms_are_agreed_to() {
        assert_eq!(section(&[]).unwrap().authority(), None);
        let domains = ("ACME__DOMAINS", "['Edge.example', 'live.edge.example']");
        let asked = section(&[domains, AGREED]).unwrap();
        assert_eq!(asked.domains.0, ["edge.example", "live.edge.example"]);
        assert_eq!(asked.authority().unwrap().to_string(), DIRECTORY);
        assert_eq!(
            section(&[domains]).unwrap_err(),
            "GRANDSTAND_ACME__DOMAINS: acme.domains: no authority gives edge.example a certificate \
             before its terms are agreed to; read them and set acme.terms_agreed = true"
        );
    }

    #[test]
    fn names_that_cannot_be_proved_are_refused() {
        for wrong in [
            "['*.edge.example']",
            "['edge.example', 'EDGE.example']",
            "['192.0.2.1']",
            "['edge example']",
            "['edge.example.']",
            "['a/../b']",
            "['']",
        ] {
            let error = section(&[("ACME__DOMAINS", wrong), AGREED]).unwrap_err();
            assert!(error.contains("expected a list of at most 32 names"), "{wrong}: {error}");
        }
        let many: Vec<_> = (0..33).map(|n| format!("'n{n}.example'")).collect();
        section(&[("ACME__DOMAINS", &format!("[{}]", many.join(","))), AGREED]).unwrap_err();
        section(&[("ACME__DOMAINS", &format!("[{}]", many[1..].join(","))), AGREED]).unwrap();
    }

    #[test]
    fn people_have_addresses() {
        let people = section(&[("ACME__CONTACT", "['ops@edge.example']")]).unwrap().contact;
        assert_eq!(people.0, ["ops@edge.example"]);
        for wrong in ["['ops']", "['@edge.example']", "['a b@edge.example']", "['a@b,c@d']", "[1]"]
        {
            section(&[("ACME__CONTACT", wrong)]).unwrap_err();
        }
    }

    #[test]
    fn what_contradicts_itself_is_named_with_its_mend() {
        let domains = ("ACME__DOMAINS", "['edge.example']");
        let also = "[{ names = ['edge.example'], certificate = 'c', key = 'k' }]";
        for (more, expected) in [
            (
                vec![("ACME__DIRECTORY", "http://ca.example/dir")],
                "acme.directory: certificates of edge.example are asked for inside TLS alone; name \
                 a URL that begins with https://",
            ),
            (
                vec![("ACME__EAB_KEY_ID", "kid-1")],
                "acme.eab_key_id: acme.eab_key is missing; set it, too",
            ),
            (
                vec![("ACME__EAB_KEY", "AAAA")],
                "acme.eab_key: acme.eab_key_id is missing; set it, too",
            ),
            (
                vec![("ACME__EAB_KEY_ID", "kid-1"), ("ACME__EAB_KEY", "hunter2!")],
                "acme.eab_key: it is not base64url; copy it as the authority wrote it",
            ),
            (
                vec![("LISTENERS__HTTP__ENABLED", "false")],
                "acme.challenge: nothing is open that \"http-01\" could ask; enable listeners.http",
            ),
            (
                vec![
                    ("ACME__CHALLENGE", "tls-alpn-01"),
                    ("LISTENERS__HTTPS__ENABLED", "false"),
                    ("LISTENERS__RTMPS__ENABLED", "false"),
                ],
                "acme.challenge: nothing is open that \"tls-alpn-01\" could ask; enable \
                 listeners.https",
            ),
            (
                vec![("TLS__ALSO", also)],
                "acme.domains: edge.example has a certificate by tls.also already; remove it from \
                 one of them",
            ),
        ] {
            let env: Vec<_> = more.into_iter().chain([domains, AGREED]).collect();
            let error = section(&env).unwrap_err();
            assert!(error.ends_with(expected), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_key_of_an_authority_is_read_with_and_without_padding() {
        for (text, bytes) in [("_-8", &[0xff, 0xef][..]), ("_-8=", &[0xff, 0xef])] {
            let env = [("ACME__EAB_KEY_ID", "kid-1"), ("ACME__EAB_KEY", text)];
            let section = section(&env).unwrap();
            assert_eq!(section.binding().unwrap(), ("kid-1", bytes.to_vec()));
            assert!(!format!("{section:?}").contains(text), "a key is shown by nothing");
        }
    }
}
