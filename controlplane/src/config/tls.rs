//! `[tls]`: what RTMPS, HTTPS and the control listener inside TLS prove themselves with.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::DnsName;

use super::document::Datum;
use super::field::{Bounds, Field};
use super::key::{Key, Section};

/// More certificates at most.
const ALSO_MAX: usize = 64;
/// Names of one of them at most.
const NAMES_MAX: usize = 64;

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSection {
    /// The certificate and those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
    /// Certificates of other names.
    pub also: Vec<NamedCertificate>,
    /// How often the files are looked at; zero is never.
    pub check: Duration,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self { certificate: None, key: None, also: Vec::new(), check: Duration::from_secs(60) }
    }
}

/// A certificate that is shown to who asks for one of its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedCertificate {
    /// Names such as `edge.example` or `*.edge.example`, in small letters.
    pub names: Vec<String>,
    /// The certificate and those between it and its authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
}

impl Field for Vec<NamedCertificate> {
    fn expects(&self, _: &Bounds) -> String {
        format!(
            "tables [[tls.also]] of names, certificate and key such as names = \
             [\"edge.example\", \"*.edge.example\"], at most {ALSO_MAX} with {NAMES_MAX} names each"
        )
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let also = items.iter().map(|item| named(item, bounds)).collect::<Option<Self>>()?;
        (also.len() <= ALSO_MAX).then(|| *self = also)
    }
    fn render(&self) -> String {
        let table = |also: &NamedCertificate| {
            let NamedCertificate { names, certificate, key } = also;
            format!(
                "{{ names = {}, certificate = {}, key = {} }}",
                names.render(),
                certificate.render(),
                key.render()
            )
        };
        format!("[{}]", self.iter().map(table).collect::<Vec<_>>().join(", "))
    }
}

fn named(datum: &Datum, bounds: &Bounds) -> Option<NamedCertificate> {
    let Datum::Table(fields) = datum else { return None };
    let (mut names, mut certificate, mut key) =
        (Vec::<String>::new(), PathBuf::new(), PathBuf::new());
    for (field, value) in fields {
        match field.as_str() {
            "names" => names.read(value, bounds)?,
            "certificate" => certificate.read(value, bounds)?,
            "key" => key.read(value, bounds)?,
            _ => return None,
        }
    }
    let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let legal = (1..=NAMES_MAX).contains(&names.len()) && names.iter().all(|name| is_name(name));
    let whole = !certificate.as_os_str().is_empty() && !key.as_os_str().is_empty();
    (legal && whole).then_some(NamedCertificate { names, certificate, key })
}

/// A name, or `*.` before one: nobody asks for an address by its name.
pub(super) fn is_name(name: &str) -> bool {
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

const KEYS: &[Key] = &[
    Key::new(
        "certificate",
        "A PEM file: the certificate first, then those between it and its authority. Without one, \
         and without acme.domains, there is no RTMPS, no HTTPS and no control listener inside TLS. \
         SIGHUP reads all files of \
         certificates and keys again, also when only their content changed.",
        |s| &mut s.tls.certificate,
    )
    .now(),
    Key::new("key", "A PEM file with the key of the certificate.", |s| &mut s.tls.key).now(),
    Key::new(
        "also",
        "Certificates of other names, shown to who asks for one of them (SNI); all others get the \
         one above. In the file: tables with names, certificate and key. `*.edge.example` is every \
         name with one label more than `edge.example`.",
        |s| &mut s.tls.also,
    )
    .now(),
    Key::new(
        "check_ms",
        "The files are looked at this often, and read again when one has changed; 0 is never. \
         Files that do not fit change nothing: the certificate in force stays, the log and \
         /api/v1/health tell why.",
        |s| &mut s.tls.check,
    )
    .millis()
    .range(0, 86_400_000)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("tls", "The certificates of the listeners inside TLS.", KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn also(text: &str) -> Option<Vec<NamedCertificate>> {
        let env = [("GRANDSTAND_TLS__ALSO".to_owned(), text.to_owned())];
        load(None, env).ok().map(|loaded| loaded.settings.tls.also)
    }

    #[test]
    fn further_certificates_have_names_and_both_files() {
        let text = "[{ names = ['Edge.example', '*.edge.example'], certificate = 'c', key = 'k' }]";
        let read = also(text).unwrap();
        assert_eq!(read[0].names, ["edge.example", "*.edge.example"]);
        assert_eq!(also(&read.render()).unwrap(), read);
        for wrong in [
            "[{ names = [], certificate = 'c', key = 'k' }]",
            "[{ certificate = 'c', key = 'k' }]",
            "[{ names = ['a'], key = 'k' }]",
            "[{ names = ['a'], certificate = 'c' }]",
            "[{ names = ['a b'], certificate = 'c', key = 'k' }]",
            "[{ names = ['a.*'], certificate = 'c', key = 'k' }]",
            "[{ names = ['*'], certificate = 'c', key = 'k' }]",
            "[{ names = ['a'], certificate = 'c', key = 'k', more = 1 }]",
        ] {
            assert_eq!(also(wrong), None, "{wrong}");
        }
    }
}
