//! Sign: `grandstand sign`, addresses that let somebody in for a while.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use dataplane::config::{ListenerConfig, ListenerKind};
use dataplane::control::Role;
use dataplane::ids::StreamName;

use crate::auth::{Mode, SECRET_BYTES_MIN, Seconds, SignedKey, Statement};
use crate::banner::authority;
use crate::cli::Sign;
use crate::config::{Loaded, parse_range};
use crate::error::{Error, reason};

/// Bytes of a secret in a file at most.
const SECRET_BYTES_MAX: u64 = 4_096;

/// The query that lets in, and addresses with it.
///
/// Errors: there is no such key, or no key at all; a name, an address or a time that is none.
pub fn sign(
    args: &Sign,
    loaded: &Loaded,
    listeners: &[ListenerConfig],
    now: SystemTime,
) -> Result<String, Error> {
    let stream = named(&args.stream)?;
    let from_file = args.key_file.as_deref().map(|file| read_key(file, args.key.as_deref()));
    let from_file = from_file.transpose()?;
    let key = match &from_file {
        Some(key) => key,
        None => configured(loaded, args.key.as_deref())?,
    };
    let now = Seconds::of(now).0;
    let begins = args.after.map(|after| now.saturating_add(after.as_secs()));
    let expires = begins.unwrap_or(now).saturating_add(args.lifetime.as_secs());
    if let Some(last) = key.not_after.filter(|last| last.0 < expires) {
        let what =
            format!("the key {} is good until {last} alone, and this until {expires}", key.id);
        return Err(Error::Usage(format!("{what}; name another key, or less time")));
    }
    if args.address.as_deref().is_some_and(|address| parse_range(address).is_none()) {
        return Err(Error::Usage("--address is an address, or a range of them".to_owned()));
    }
    let query = Statement {
        role: args.role,
        stream: &stream,
        expires: Seconds(expires),
        not_before: begins.map(Seconds),
        ip: args.address.as_deref(),
    }
    .query(key);
    let mut text = String::new();
    let mut line = |name: &str, words: &str| {
        writeln!(text, "{name:<8} {words}").expect("a text grows");
    };
    line("query", &query);
    line("until", &expires.to_string());
    for (name, url) in addresses(args, &stream, &query, listeners) {
        line(name, &url);
    }
    if from_file.is_none() && !asks_for_signatures(loaded, args.role) {
        let note = "no listener asks for signatures by this configuration: see auth.mode";
        line("note", note);
    }
    Ok(text)
}

/// The stream, as the node calls it: `live/` before a name is how addresses are written.
fn named(text: &str) -> Result<StreamName, Error> {
    let name = text.strip_prefix("live/").filter(|rest| !rest.is_empty()).unwrap_or(text);
    StreamName::parse(name).ok_or_else(|| {
        let what = "--stream is a name such as live/cam: letters, digits, _ and - between slashes";
        Error::Usage(what.to_owned())
    })
}

fn configured<'a>(loaded: &'a Loaded, id: Option<&str>) -> Result<&'a SignedKey, Error> {
    let keys = &loaded.settings.auth.signed.keys;
    let found = keys.iter().find(|key| id.is_none_or(|id| key.id == id));
    found.ok_or_else(|| {
        Error::Usage(match id {
            Some(id) => format!("[[auth.signed.keys]] has no key {id}"),
            None => "there is no table [[auth.signed.keys]]; --key-file names a secret instead"
                .to_owned(),
        })
    })
}

/// The key whose secret is the first line of a file. A secret is never an argument: every user of a
/// machine sees those of every program.
fn read_key(file: &Path, id: Option<&str>) -> Result<SignedKey, Error> {
    let id =
        id.ok_or_else(|| Error::Usage("--key-file needs the --key that it is of".to_owned()))?;
    let mut secret = String::new();
    let read = File::open(file)
        .and_then(|open| BufReader::new(open.take(SECRET_BYTES_MAX)).read_line(&mut secret));
    read.map_err(|error| Error::System {
        what: "cannot read the secret",
        reason: format!("{}: {}", file.display(), reason(&error)),
        mend: "name a file whose first line it is",
    })?;
    SignedKey::new(id, secret.trim_end_matches(['\r', '\n']), None).ok_or_else(|| {
        let what = "a key has a name of letters, digits, _ and -, and a secret of at least";
        Error::Usage(format!("{what} {SECRET_BYTES_MIN} bytes"))
    })
}

fn asks_for_signatures(loaded: &Loaded, role: Role) -> bool {
    let (publish, play) = loaded.settings.modes(&loaded.settings.coordinator);
    let modes = if role == Role::Publish { publish } else { play };
    modes.contains(Mode::Signed) || loaded.settings.listeners.asks(Mode::Signed)
}

/// What to give to whom: `{name, address}` for each listener that the host has.
fn addresses(
    args: &Sign,
    stream: &StreamName,
    query: &str,
    listeners: &[ListenerConfig],
) -> Vec<(&'static str, String)> {
    let authority = |addr: SocketAddr, port| match &args.host {
        Some(host) if addr.port() == port => host.clone(),
        Some(host) => format!("{host}:{}", addr.port()),
        None => authority(addr, port),
    };
    let mut found: Vec<(&str, String)> = Vec::new();
    for ListenerConfig { kind, addr, .. } in listeners {
        let (scheme, port) = match kind {
            ListenerKind::Rtmp => ("rtmp", 1935),
            ListenerKind::Rtmps => ("rtmps", 443),
            ListenerKind::Http => ("http", 80),
            ListenerKind::Https => ("https", 443),
            ListenerKind::Srt => ("srt", 0),
        };
        let base = format!("{scheme}://{}", authority(*addr, port));
        match (kind, args.role) {
            (ListenerKind::Rtmp | ListenerKind::Rtmps, Role::Publish) => {
                found.push(("publish", format!("{base}/live/{stream}?{query}")));
                found.push(("OBS", format!("server {base}/live   stream key {stream}?{query}")));
            }
            (ListenerKind::Rtmp | ListenerKind::Rtmps, Role::Play) => {
                found.push(("play", format!("{base}/live/{stream}?{query}")));
            }
            (ListenerKind::Http | ListenerKind::Https, Role::Play) => {
                for form in ["/index.m3u8", ".flv", ".ts"] {
                    found.push(("play", format!("{base}/{stream}{form}?{query}")));
                }
                found.push(("page", format!("{base}/{stream}?{query}")));
            }
            (ListenerKind::Http | ListenerKind::Https, Role::Publish) => {}
            // A stream id has room for 512 bytes: a signature fits.
            (ListenerKind::Srt, Role::Publish) => {
                found.push(("publish", format!("{base}?streamid=publish:{stream}?{query}")));
            }
            (ListenerKind::Srt, Role::Play) => {
                found.push(("play", format!("{base}?streamid=read:{stream}?{query}")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: u64 = 1_764_425_000;

    fn args(role: Role) -> Sign {
        Sign {
            config: None,
            stream: "live/news/cam".to_owned(),
            role,
            lifetime: Duration::from_secs(3_600),
            after: None,
            address: None,
            key: None,
            key_file: None,
            host: None,
        }
    }

    fn loaded() -> Loaded {
        let (old, new) = ("o".repeat(32), "0123456789abcdef".repeat(2));
        let keys = format!(
            "[{{ id = 'main', secret = '{new}' }}, {{ id = 'old', secret = '{old}', not_after = \
             {} }}]",
            NOW + 60
        );
        load(None, [("GRANDSTAND_AUTH__SIGNED__KEYS".to_owned(), keys)]).unwrap()
    }

    fn signed(args: &Sign) -> Result<String, String> {
        let listeners = [
            ListenerConfig::new(ListenerKind::Rtmp, "[::]:1935".parse().unwrap()),
            ListenerConfig::new(ListenerKind::Http, "[::]:8080".parse().unwrap()),
        ];
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        sign(args, &loaded(), &listeners, now).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_printed_is_what_lets_in() {
        let text = signed(&args(Role::Play)).unwrap();
        // The same as in `auth::signed`, where another tool computed it.
        let query = "exp=1764428600&kid=main&sig=FrQCx588P393RLkZ-vNWgpC3KeAahRto3lUAtDn4q_Y";
        assert_eq!(text.lines().next().unwrap(), format!("query    {query}"));
        for url in [
            "play     rtmp://localhost/live/news/cam",
            "play     http://localhost:8080/news/cam/index.m3u8",
            "play     http://localhost:8080/news/cam.flv",
            "page     http://localhost:8080/news/cam",
        ] {
            assert!(text.contains(&format!("{url}?{query}\n")), "{url}\n{text}");
        }
        assert!(text.contains("note     no listener asks for signatures"), "{text}");
        let host = Some("edge.example".to_owned());
        let text = signed(&Sign { host, ..args(Role::Publish) }).unwrap();
        let obs = "OBS      server rtmp://edge.example/live   stream key news/cam?exp=1764428600";
        assert!(text.contains(obs) && !text.contains("http://"), "{text}");
        let limited = Sign {
            after: Some(Duration::from_secs(10)),
            address: Some("192.0.2.0/24".to_owned()),
            ..args(Role::Play)
        };
        let text = signed(&limited).unwrap();
        let head = "exp=1764428610&nbf=1764425010&ip=192.0.2.0%2F24&kid=main&sig=";
        assert!(text.contains(head), "{text}");
    }

    #[test]
    fn a_key_is_named_or_is_the_first_one() {
        let minute = Duration::from_secs(60);
        let by_old = Sign { key: Some("old".to_owned()), lifetime: minute, ..args(Role::Play) };
        assert!(signed(&by_old).unwrap().contains("&kid=old&sig="));
        let file = std::env::temp_dir().join(format!("grandstand-sign-{}", std::process::id()));
        std::fs::write(&file, format!("{}\n", "0123456789abcdef".repeat(2))).unwrap();
        let (key, key_file) = (Some("main".to_owned()), Some(file.clone()));
        let by_file = Sign { key, key_file: key_file.clone(), ..args(Role::Play) };
        let text = signed(&by_file).unwrap();
        assert!(text.contains("kid=main&sig=FrQCx588P393RLkZ") && !text.contains("note"), "{text}");
        for (wrong, expected) in [
            (Sign { lifetime: minute * 2, ..by_old.clone() }, "the key old is good until"),
            (Sign { key: Some("new".to_owned()), ..by_old }, "has no key new"),
            (Sign { key: None, key_file, ..args(Role::Play) }, "--key-file needs the --key"),
            (Sign { stream: "../x".to_owned(), ..args(Role::Play) }, "--stream is a name"),
            (Sign { address: Some("x".to_owned()), ..args(Role::Play) }, "--address is an address"),
        ] {
            let error = signed(&wrong).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        std::fs::write(&file, "short\n").unwrap();
        assert!(signed(&by_file).unwrap_err().contains("at least 32 bytes"));
        std::fs::remove_file(&file).unwrap();
        assert!(signed(&by_file).unwrap_err().contains("cannot read the secret"));
    }
}
