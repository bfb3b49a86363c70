//! Certificates of an authority: both kinds of proof, renewal beside open connections, and every
//! failure leaving what is in force.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, BINDING, CA, Looks, Ways};
use crate::program::{Dir, PATIENCE, Server, get};
use crate::secure::{Secure, connect_at, connect_by};

/// Nobody listens there.
const NOBODY: &str = "https://127.0.0.1:1/dir";

fn file(directory: &str, more: &str) -> String {
    format!(
        "[auth]\nmode = \"open\"\n[demo]\nenabled = true\n[listeners.control_tls]\nenabled = true\n\
         [acme]\ndirectory = \"{directory}\"\nca = \"{CA}\"\nterms_agreed = true\n\
         contact = [\"ops@edge.example\"]\n{more}"
    )
}

/// A server, and what its events tell of certificates.
struct Node {
    dir: Dir,
    server: Server,
    token: String,
    events: BufReader<TcpStream>,
}

impl Node {
    /// A server that is to ask an authority for certificates who is not there yet, and says so.
    fn start(name: &str, more: &str) -> Self {
        Self::start_with(name, &file(NOBODY, more))
    }

    fn start_with(name: &str, text: &str) -> Self {
        Self::start_before(name, text, |_| {})
    }

    /// As [`Self::start_with`], once `prepare` wrote its files.
    fn start_before(name: &str, text: &str, prepare: impl FnOnce(&Dir)) -> Self {
        let dir = Dir::new(name);
        prepare(&dir);
        dir.write(CA, &rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem());
        dir.write("g.toml", text);
        let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
        let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
        let token = token.trim().to_owned();
        let stream = TcpStream::connect(server.addr("control")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut asked = stream.try_clone().unwrap();
        let from = "0".repeat(32);
        write!(
            asked,
            "GET /api/v1/events?types=certificate.* HTTP/1.1\r\nHost: localhost\r\n\
             Last-Event-ID: {from}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
        .unwrap();
        Self { dir, server, token, events: BufReader::new(stream) }
    }

    /// The data of the next event, which is of that kind.
    fn event(&mut self, kind: &str) -> serde_json::Value {
        let mut seen = String::new();
        let begun = Instant::now();
        loop {
            let from = seen.len();
            assert!(self.events.read_line(&mut seen).unwrap() > 0, "{seen}");
            // Comments keep a quiet stream open.
            assert!(begun.elapsed() < 3 * PATIENCE, "no {kind}: {seen}");
            let line = &seen[from..];
            // What is of another kind of this or an earlier server is not told again.
            if let Some(told) =
                line.strip_prefix("event: ").filter(|told| !told.starts_with("missed"))
            {
                assert_eq!(told.trim(), kind, "{seen}");
            }
            if let Some(json) = line.strip_prefix("data: ").filter(|json| json.contains("\"type\""))
            {
                return serde_json::from_str::<serde_json::Value>(json).unwrap()["data"].clone();
            }
        }
    }

    /// Has it read its configuration again, and try what failed.
    fn reload(&self, text: &str) {
        self.dir.write("g.toml", text);
        self.server.signal(libc::SIGHUP);
    }

    fn looks(&self) -> Looks {
        let port = |listener| self.server.addr(listener).port();
        Looks { http: port("http"), tls: port("https") }
    }

    fn connect(
        &self,
        listener: &str,
        root: &CertificateDer<'static>,
        name: &str,
    ) -> std::io::Result<Secure> {
        self.server.settled();
        connect_by(self.server.addr(listener), root, name)
    }

    fn health(&self) -> String {
        let bearer = format!("Authorization: Bearer {}\r\n", self.token);
        get(self.server.addr("control"), "/api/v1/health", &bearer)
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let page = get(self.server.addr("control"), "/metrics", "");
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Where the certificate of a name of the authority at `directory` is kept.
    fn kept(&self, name: &str) -> PathBuf {
        let file = format!("{name}.pem");
        let folders = std::fs::read_dir(self.dir.0.join("grandstand-data/acme")).unwrap();
        let mut found = folders.map(|folder| folder.unwrap().path().join(&file));
        found.find(|path| path.exists()).unwrap()
    }
}

/// The first bytes of the demo.
fn play(stream: &mut Secure) {
    stream.write_all(b"GET /demo.flv HTTP/1.1\r\nHost: edge.example\r\n\r\n").unwrap();
    let mut reply = vec![0; 4_096];
    stream.read_exact(&mut reply).unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&reply));
}

fn shown(stream: &Secure) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A certificate near its end, with its key, and who vouches for it.
fn aged(name: &str) -> (String, CertificateDer<'static>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority of yore");
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    // A long life, two thirds of which are over.
    params.not_before = rcgen::date_time_ymd(1990, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (key.serialize_pem() + &certificate.pem(), root)
}

#[test]
fn a_name_is_proved_by_http_and_its_certificate_renewed_beside_open_connections() {
    let mut node = Node::start("acme-http", "domains = [\"edge.example\"]\n");
    let failed = node.event("certificate.failed");
    assert_eq!(failed["name"], "edge.example");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("127.0.0.1") && reason.contains("; check acme.directory"), "{reason}");
    assert!(node.health().contains("\"acme_failing\""), "{}", node.health());
    assert!(node.health().contains("edge.example: no certificate yet"), "{}", node.health());
    assert_eq!(node.metric("grandstand_acme_orders_total{outcome=\"failed\"}"), Some(1.0));
    assert_eq!(node.metric("grandstand_acme_failing"), Some(1.0));
    let of_name = "grandstand_certificate_not_after_seconds{name=\"edge.example\"}";
    assert_eq!(node.metric(of_name), None);

    let authority = Authority::start(&node.dir, node.looks(), Ways::default());
    let (directory, root) = (authority.directory(), authority.root(&node.dir));
    let refused = node.connect("https", &root, "edge.example").unwrap_err();
    assert!(refused.to_string().contains("UnknownIssuer"), "a placeholder: {refused}");
    let text = file(&directory, "domains = [\"edge.example\"]\n");
    node.reload(&text);
    let obtained = node.event("certificate.obtained");
    assert_eq!(obtained["name"], "edge.example");
    let end = obtained["not_after"].as_u64().unwrap();
    assert_eq!(node.metric(of_name), Some(end as f64));
    assert_eq!(node.metric("grandstand_acme_failing"), Some(0.0));
    assert!(!node.health().contains("acme_") && !node.health().contains("certificate_"));
    for listener in ["https", "rtmps", "control_tls"] {
        node.connect(listener, &root, "edge.example").unwrap();
    }
    let mut playing = node.connect("https", &root, "edge.example").unwrap();
    play(&mut playing);
    let kept = node.kept("edge.example");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions();
    for name in ["edge.example.pem", "account.json", "tries.json"] {
        assert_eq!(mode(&kept.with_file_name(name)).mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(mode(kept.parent().unwrap()).mode() & 0o777, 0o700);

    // Time goes by, and the authority is not there when the renewal is due.
    let first = shown(&playing);
    let (pem, aged_root) = aged("edge.example");
    let places = authority.places();
    drop(authority);
    std::fs::write(&kept, pem).unwrap();
    node.reload(&text);
    let failed = node.event("certificate.failed");
    assert!(failed["reason"].as_str().unwrap().contains("cannot connect"), "{failed}");
    node.connect("https", &aged_root, "edge.example").unwrap();
    assert!(node.health().contains("\"acme_failing\""), "{}", node.health());
    assert_eq!(node.metric(of_name), Some(2_208_988_800.0));

    // It comes back without knowing us: a new account is opened there.
    let authority = Authority::again(&node.dir, places, node.looks());
    let root = authority.root(&node.dir);
    node.reload(&text);
    node.event("certificate.obtained");
    let renewed = node.connect("https", &root, "edge.example").unwrap();
    assert_ne!(shown(&renewed), first);
    node.connect("https", &aged_root, "edge.example").unwrap_err();
    playing.read_exact(&mut vec![0; 100_000]).unwrap();

    // What is kept is there at the next start, whether the authority is or not.
    drop(authority);
    drop(node.server);
    let server = Server::start(&mut node.dir.command(&["--config", "g.toml"]));
    let again = connect_by(server.addr("https"), &root, "edge.example").unwrap();
    assert_eq!(shown(&again), shown(&renewed));
}

#[test]
fn a_certificate_is_renewed_by_itself_when_two_thirds_of_its_time_are_over() {
    let domains = "domains = [\"edge.example\"]\n";
    let mut node = Node::start("acme-renewed", domains);
    node.event("certificate.failed");
    let ways = Ways { seconds: 30, ..Ways::default() };
    let authority = Authority::start(&node.dir, node.looks(), ways);
    let root = authority.root(&node.dir);
    node.reload(&file(&authority.directory(), domains));
    let first = node.event("certificate.obtained")["not_after"].as_u64().unwrap();
    let addr = node.server.addr("https");
    // However slow the machine is: the client lives in the certificate's time.
    node.server.settled();
    let mut playing = connect_at(addr, &root, "edge.example", first - 1).unwrap();
    play(&mut playing);
    // Nobody says anything.
    let second = node.event("certificate.obtained")["not_after"].as_u64().unwrap();
    assert!(second > first, "{first} {second}");
    node.server.settled();
    let renewed = connect_at(addr, &root, "edge.example", second - 1).unwrap();
    assert_ne!(shown(&renewed), shown(&playing));
    playing.read_exact(&mut vec![0; 100_000]).unwrap();
}

#[test]
fn a_placeholder_takes_the_place_of_no_certificate_that_clients_believe() {
    let names = ["edge.example", "a.live.example", "kept.example"];
    let [edge, live, kept] = ["edge.example", "*.live.example", "kept.example"].map(aged);
    let files = "[tls]\ncertificate = \"edge.pem\"\nkey = \"edge.pem\"\n[[tls.also]]\n\
                 names = [\"*.live.example\"]\ncertificate = \"live.pem\"\nkey = \"live.pem\"\n";
    // What a reload brings must fit beside the pages: all but the authority is there before.
    let text = format!(
        "[auth]\nmode = \"open\"\n[demo]\nenabled = true\n[listeners.control_tls]\nenabled = true\n\
         {files}"
    );
    let mut node = Node::start_before("acme-covered", &text, |dir| {
        dir.write("edge.pem", &edge.0);
        dir.write("live.pem", &live.0);
        // What another authority gave before.
        let folder = dir.0.join("grandstand-data/acme/old.example-00000000");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kept.example.pem"), &kept.0).unwrap();
    });
    let roots = [&edge.1, &live.1, &kept.1];
    node.connect("https", roots[2], "kept.example").unwrap_err();
    // Nobody gives the names a certificate, and everybody is served as before.
    node.reload(&(file(NOBODY, &format!("domains = {names:?}\n")) + files));
    node.event("certificate.failed");
    for (name, root) in names.iter().zip(roots) {
        node.connect("https", root, name).unwrap();
    }
    assert!(!node.health().contains("certificate_doubt"), "{}", node.health());
    // Another authority, and nothing left on the disk: what is in force stays so.
    std::fs::remove_dir_all(node.dir.0.join("grandstand-data/acme")).unwrap();
    let other = NOBODY.replace("dir", "other");
    node.reload(&(file(&other, &format!("domains = {names:?}\n")) + files));
    node.event("certificate.failed");
    for (name, root) in names.iter().zip(roots) {
        node.connect("https", root, name).unwrap();
    }
}

#[test]
fn a_certificate_is_in_force_though_the_file_of_another_is_broken() {
    let other = aged("*.live.example");
    let files = "[[tls.also]]\nnames = [\"*.live.example\"]\ncertificate = \"live.pem\"\n\
                 key = \"live.pem\"\n[tls]\ncheck_ms = 0\n";
    let domains = format!("domains = [\"edge.example\"]\n{files}");
    let text = file(NOBODY, &domains);
    let write = |dir: &Dir| dir.write("live.pem", &other.0);
    let mut node = Node::start_before("acme-broken", &text, write);
    node.event("certificate.failed");
    let authority = Authority::start(&node.dir, node.looks(), Ways::default());
    let root = authority.root(&node.dir);
    node.reload(&file(&authority.directory(), &domains));
    // It is broken after the configuration was read, and before the order is over.
    node.server.reloaded();
    node.dir.write("live.pem", "half a file");
    node.event("certificate.obtained");
    node.connect("https", &root, "edge.example").unwrap();
    node.connect("https", &other.1, "a.live.example").unwrap();
    assert!(!node.health().contains("edge.example: no certificate yet"), "{}", node.health());
    // The look that follows finds the other one.
    node.server.log_line("certificates refused");
    let health = node.health();
    assert!(health.contains("certificate_refused"), "{health}");
    assert!(!health.contains("edge.example: no certificate yet"), "{health}");
}

#[test]
fn names_are_proved_by_tls_on_each_listener_and_each_has_its_certificate() {
    let listeners = ["https", "rtmps", "control_tls"];
    let names = ["edge.example", "live.example", "api.example"];
    let of = |names: &[&str]| format!("challenge = \"tls-alpn-01\"\ndomains = {names:?}\n");
    let mut node = Node::start("acme-tls", &of(&names[..1]));
    node.event("certificate.failed");
    let looks = |node: &Node, tls| Looks { tls: node.server.addr(tls).port(), ..node.looks() };
    // Port 443 of the name leads to where nobody speaks TLS.
    let mut authority = Authority::start(&node.dir, looks(&node, "http"), Ways::default());
    let places = authority.places();
    node.reload(&file(&authority.directory(), &of(&names[..1])));
    let reason = node.event("certificate.failed")["reason"].to_string();
    assert!(reason.contains("; let port 443 of the name lead to listeners.https"), "{reason}");

    let mut roots = Vec::new();
    for (at, listener) in listeners.into_iter().enumerate() {
        drop(authority);
        authority = Authority::again(&node.dir, places, looks(&node, listener));
        roots.push(authority.root(&node.dir));
        let refused = node.connect(listener, &roots[at], names[at]).unwrap_err();
        assert!(refused.to_string().contains("UnknownIssuer"), "{listener}: {refused}");
        node.reload(&file(&authority.directory(), &of(&names[..=at])));
        assert_eq!(node.event("certificate.obtained")["name"], names[at], "{listener}");
    }
    for listener in listeners {
        for (name, root) in names.iter().zip(&roots) {
            node.connect(listener, root, name).unwrap();
        }
        let other = node.connect(listener, &roots[0], "other.example").unwrap_err();
        assert!(other.to_string().contains("not valid for name"), "{listener}: {other}");
    }
    let mut playing = node.connect("https", &roots[1], "live.example").unwrap();
    play(&mut playing);
    assert_eq!(node.metric("grandstand_acme_orders_total{outcome=\"obtained\"}"), Some(3.0));
    let ends = names.map(|name| {
        node.metric(&format!("grandstand_certificate_not_after_seconds{{name=\"{name}\"}}"))
    });
    assert!(ends.iter().all(Option::is_some), "{ends:?}");
}

#[test]
fn a_server_without_certificates_is_given_its_first_names_by_a_reload() {
    let mut node = Node::start_with("acme-later", "[auth]\nmode = \"open\"\n");
    let http = node.server.addr("http").port();
    let looks = Looks { http, tls: http };
    let authority = Authority::start(&node.dir, looks, Ways::default());
    // Connections inside TLS take more memory, which fewer of them leave.
    let few = "domains = [\"edge.example\"]\n[limits]\nconnections_max = 64\n";
    node.reload(&file(&authority.directory(), few));
    node.event("certificate.obtained");
    let root = authority.root(&node.dir);
    let bearer = format!("Authorization: Bearer {}\r\n", node.token);
    let config = get(node.server.addr("control"), "/api/v1/config", &bearer);
    let (_, body) = config.split_once("\r\n\r\n").unwrap();
    let config: serde_json::Value = serde_json::from_str(body).unwrap();
    let open = config["listeners"].as_array().unwrap();
    for kind in ["https", "rtmps"] {
        let open = open.iter().find(|open| open["kind"] == kind).unwrap();
        let addr = open["addr"].as_str().unwrap().parse().unwrap();
        connect_by(addr, &root, "edge.example").unwrap();
    }
}

#[test]
fn what_an_authority_refuses_is_told_with_its_mend_and_tried_again() {
    let domains = "domains = [\"edge.example\"]\n";
    let mut node = Node::start("acme-refused", domains);
    node.event("certificate.failed");
    // Port 80 of the name leads to somebody who knows of nothing.
    let looks = node.looks();
    let astray = Looks { http: node.server.addr("control").port(), ..looks };
    let authority = Authority::start(&node.dir, astray, Ways { bound: true, ..Ways::default() });
    let directory = authority.directory();
    node.reload(&file(&directory, domains));
    let reason = node.event("certificate.failed")["reason"].to_string();
    assert!(reason.contains("; set acme.eab_key_id and acme.eab_key"), "{reason}");
    let (id, key) = BINDING;
    let binding = format!("eab_key_id = \"{id}\"\neab_key = \"{key}\"\n");
    let bound = file(&directory, &(domains.to_owned() + &binding));
    node.reload(&bound);
    let reason = node.event("certificate.failed")["reason"].to_string();
    assert!(reason.contains("the authority says "), "{reason}");
    assert!(reason.contains("; let port 80 of the name lead to listeners.http"), "{reason}");
    assert!(node.health().contains("let port 80 of the name"), "{}", node.health());
    let bearer = format!("Authorization: Bearer {}\r\n", node.token);
    let config = get(node.server.addr("control"), "/api/v1/config", &bearer);
    assert!(config.contains(id) && !config.contains(key), "{config}");

    let places = authority.places();
    drop(authority);
    let authority = Authority::again(&node.dir, places, looks);
    let root = authority.root(&node.dir);
    node.reload(&bound);
    node.event("certificate.obtained");
    node.connect("https", &root, "edge.example").unwrap();
    assert_eq!(node.metric("grandstand_acme_orders_total{outcome=\"failed\"}"), Some(3.0));
    assert!(!node.health().contains("acme_failing"), "{}", node.health());

    // What is refused when the renewal is due leaves the certificate in force.
    let (pem, aged_root) = aged("edge.example");
    drop(authority);
    let authority = Authority::again(&node.dir, places, astray);
    std::fs::write(node.kept("edge.example"), pem).unwrap();
    node.reload(&bound);
    let reason = node.event("certificate.failed")["reason"].to_string();
    assert!(reason.contains("the authority says "), "{reason}");
    node.connect("https", &aged_root, "edge.example").unwrap();
    drop(authority);
}
