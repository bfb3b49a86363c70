//! Signed addresses and tokens against the program, by whoever has one and by whoever has not; and
//! that nothing which the program writes tells them.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::program::{Dir, Server, get, output, plays};
use crate::receiver::Api;

const SIGNING: &str = "5igning-5ecret-of-this-very-test";
const ISSUING: &str = "i55uing-5ecret-of-this-very-test";
/// No token ends before the year 2100.
const FAR: u64 = 4_102_444_800;

/// Who may play does not hang on what else the machine does.
fn config() -> String {
    format!(
        "[auth]\nmode = [\"signed\", \"jwt\"]\n[auth.signed]\nenforce = true\n\
         [[auth.signed.keys]]\nid = \"main\"\nsecret = \"{SIGNING}\"\n[[auth.jwt.keys]]\n\
         secret = \"{ISSUING}\"\n[demo]\nenabled = true\n[log]\nlevel = \"trace\"\n\
         [[listeners.http.also]]\naddr = \"127.0.0.1:0\"\nauth = \"open\"\n\
         [[streams.stream]]\ncode = \"free\"\nauth = \"open\"\n\
         [limits]\nadmission = \"off\"\n"
    )
}

/// The query that `grandstand sign` prints.
fn signed(dir: &Dir, args: &[&str]) -> String {
    let all: Vec<_> = ["--config", "g.toml", "sign", "--for", "1h"].iter().chain(args).collect();
    let all: Vec<_> = all.into_iter().copied().collect();
    let (code, text, error) = output(&mut dir.command(&all));
    assert_eq!(code, Some(0), "{error}");
    let line = text.lines().find_map(|line| line.strip_prefix("query"));
    line.unwrap().trim().to_owned()
}

fn token(header: &str, claims: &str, secret: &str) -> String {
    let letters = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", letters(header.as_bytes()), letters(claims.as_bytes()));
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(secret.as_bytes()).unwrap();
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", letters(&signature))
}

/// The program, with its log in a file: a pipe that nobody reads would lose lines.
fn logging(command: &Command, dir: &Dir) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" 2> log"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(&dir.0);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// Whether a player of RTMP sees a picture; only one that hears nothing at all waits so long.
fn sees(dir: &Dir, server: &Server, name: &str) -> bool {
    let url = format!("rtmp://{}/live/{name}", server.addr("rtmp"));
    output(&mut dir.command(&["probe", "--timeout", "60", &url])).0 == Some(0)
}

/// What people show, good and bad.
struct Shown {
    play: String,
    publish: String,
    elsewhere: String,
    here: String,
    later: String,
    good: String,
    none: String,
    foreign: String,
}

impl Shown {
    fn new(dir: &Dir) -> Self {
        let (header, claims) =
            (r#"{"alg":"HS256"}"#, format!(r#"{{"exp":{FAR},"streams":"dem*","play":true}}"#));
        let none = token(r#"{"alg":"none"}"#, &claims, "");
        Self {
            play: signed(dir, &["--stream", "live/demo"]),
            publish: signed(dir, &["--stream", "demo", "--publish"]),
            elsewhere: signed(dir, &["--stream", "demo", "--address", "192.0.2.0/24"]),
            here: signed(dir, &["--stream", "demo", "--address", "127.0.0.1"]),
            later: signed(dir, &["--stream", "demo", "--after", "1h"]),
            good: token(header, &claims, ISSUING),
            none: format!("{}.", none.rsplit_once('.').unwrap().0),
            foreign: token(header, &claims, SIGNING),
        }
    }

    /// Everything of it that nobody may be told.
    fn secrets(&self) -> Vec<&str> {
        let (_, signature) = self.play.split_once("sig=").unwrap();
        let (unsigned, token_signature) = self.good.rsplit_once('.').unwrap();
        vec![SIGNING, ISSUING, signature, unsigned, token_signature]
    }

    /// What is asked for with it, and what comes of that.
    fn targets(&self) -> Vec<(String, &'static str)> {
        let Self { play, publish, elsewhere, here, later, good, none, foreign } = self;
        let (unsigned, _) = good.rsplit_once('.').unwrap();
        vec![
            (format!("/demo.flv?{play}"), "200"),
            (format!("/demo.ts?latency=low&{play}"), "200"),
            (format!("//live//%64emo.flv?{play}"), "200"),
            (format!("/demo.flv?{here}"), "200"),
            (format!("/free.flv?{play}"), "404"),
            ("/free.flv".to_owned(), "404"),
            (format!("/Demo.flv?{play}"), "403"),
            (format!("/demo%2Fdemo.flv?{play}"), "403"),
            (format!("/demo.flv?{publish}"), "403"),
            (format!("/demo.flv?{elsewhere}"), "403"),
            (format!("/demo.flv?{later}"), "403"),
            (format!("/demo.flv?{}", &play[..play.len() - 1]), "403"),
            (format!("/demo.flv?{play}%3D"), "403"),
            (format!("/demo.flv?{}", play.replace("kid=main", "kid=none")), "403"),
            (format!("/demo.flv?{play}&sig={}", "A".repeat(43)), "403"),
            (format!("/demo.flv?{play}&token={good}"), "200"),
            (format!("/demo.flv?sig=x&token={good}"), "403"),
            (format!("/demo.flv?token={good}"), "200"),
            (format!("/demo.flv?jwt={good}"), "200"),
            (format!("/other.flv?jwt={good}"), "403"),
            (format!("/demo.flv?jwt={unsigned}."), "403"),
            (format!("/demo.flv?jwt={none}"), "403"),
            (format!("/demo.flv?jwt={foreign}"), "403"),
            ("/demo.flv".to_owned(), "403"),
        ]
    }
}

#[test]
fn what_was_signed_opens_what_it_was_signed_for_and_nothing_tells_it() {
    let dir = Dir::new("credentials");
    dir.write("g.toml", &config());
    let shown = Shown::new(&dir);
    let Shown { play, publish, good, .. } = &shown;
    let command = dir.command(&["--config", "g.toml"]);
    let server = Server::start(&mut logging(&command, &dir));
    let mut verdicts = 0;
    for (target, expected) in shown.targets() {
        assert_eq!(plays(&server, &target, ""), expected, "{target}");
        verdicts += 1;
    }
    for (fields, expected) in [
        (format!("Authorization: Bearer {good}\r\n"), "200"),
        (format!("Authorization: Bearer {good}x\r\n"), "403"),
        (format!("Referer: http://localhost/demo?{play}\r\n"), "403"),
    ] {
        assert_eq!(plays(&server, "/demo.flv", &fields), expected, "{fields}");
        verdicts += 1;
    }
    for (query, sees_it) in [
        (format!("?{play}"), true),
        (format!("?token={good}"), true),
        (format!("?{publish}"), false),
        (String::new(), false),
    ] {
        assert_eq!(sees(&dir, &server, &format!("demo{query}")), sees_it, "{query}");
        verdicts += 1;
    }
    let page = get(server.addr("http"), &format!("/demo?{play}"), "");
    assert!(page.contains("\r\nReferrer-Policy: no-referrer\r\n"), "{page}");
    let told = told(&dir, &server, verdicts);
    server.signal(libc::SIGTERM);
    assert_eq!(server.end().0, Some(0));
    let log = std::fs::read_to_string(dir.0.join("log")).unwrap();
    let lost = told.iter().any(|(what, text)| *what == "metrics" && has_dropped_lines(text));
    for why in ["signature_wrong", "token_signature"] {
        assert!(lost || log.contains(why), "{why}: {log}");
    }
    for secret in shown.secrets() {
        assert!(!log.contains(secret), "the log tells {secret}");
        for (what, text) in &told {
            assert!(!text.contains(secret), "{what} tell {secret}: {text}");
        }
    }
}

/// True if the log had no room for some of its lines, as on a machine that is busy with others.
fn has_dropped_lines(metrics: &str) -> bool {
    let lines =
        metrics.lines().find_map(|line| line.strip_prefix("grandstand_log_lines_dropped_total "));
    lines.expect("it is counted") != "0"
}

/// What the server tells of itself after so many verdicts, which say why they are a no.
fn told(dir: &Dir, server: &Server, verdicts: usize) -> [(&'static str, String); 6] {
    let api = Api::of(server, dir);
    let (token, control) = (api.authorization(), server.addr("control"));
    let events = api.told("", "authorisation.", verdicts);
    let metrics = get(control, "/metrics", "");
    for why in ["signature_wrong", "signature_early", "token_signature", "token_stream"] {
        assert!(events.contains(&format!(r#""reason":"{why}""#)), "{why}: {events}");
        let counted = format!("grandstand_auth_flawed_total{{why=\"{why}\"}}");
        assert!(metrics.contains(&counted), "{why}: {metrics}");
    }
    let auth = get(control, "/api/v1/auth", &token);
    assert!(auth.contains(r#""play":["signed","jwt"]"#), "{auth}");
    [
        ("events", events),
        ("metrics", metrics),
        ("verdicts", auth),
        ("configuration", get(control, "/api/v1/config", &token)),
        ("sessions", get(control, "/api/v1/sessions", &token)),
        ("streams", get(control, "/api/v1/streams", &token)),
    ]
}

#[test]
fn a_mode_without_keys_and_a_list_that_makes_no_sense_are_named() {
    let dir = Dir::new("modes");
    for (text, expected) in [
        (
            "[auth]\nmode = [\"signed\", \"keys\"]\n",
            "auth.mode: \"signed\" lets in by signatures, and there is no key that signs; add a",
        ),
        (
            "[auth]\nmode = \"open\"\npublish = \"jwt\"\n",
            "auth.publish: \"jwt\" lets in by tokens, and there is no key that signs them; set",
        ),
        (
            "[auth]\nmode = \"open\"\n[listeners.rtmp]\nauth = { publish = \"callback\" }\n",
            "listeners.rtmp.auth: \"callback\" asks an application, and none is named; set auth.",
        ),
        ("[auth]\nmode = [\"open\", \"keys\"]\n", "auth.mode: expected \"open\","),
        ("[auth]\nmode = []\n", "auth.mode: expected \"open\","),
        ("[auth]\nmode = \"open\"\n[listeners.http]\nauth = \"kees\"\n", "http.auth: expected"),
        (
            "[auth]\nmode = \"open\"\n[[streams.stream]]\ncode = \"a\"\nauth = \"opne\"\n",
            "auth: expected modes in the order in which they are tried",
        ),
    ] {
        dir.write("g.toml", text);
        let (code, _, error) = output(&mut dir.command(&["check", "--config", "g.toml"]));
        assert!(code == Some(1) && error.contains(expected), "{text}{error}");
    }
}
