//! What the metrics page promises: units, types, and labels that do not grow with peers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::clip::Clip;
use crate::http_flv::get;
use crate::player::Player;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// What a name may not contain: units that are not those of Prometheus.
const OTHER_UNITS: [&str; 7] = ["_ms", "_us", "_ns", "_millis", "_kb", "_mb", "_percent"];

/// A family of the page, as its lines tell it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    series: BTreeSet<String>,
}

/// Every family; a sample that belongs to none, or comes before its description, fails.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(help.ends_with('.') && helped.insert(name.to_owned()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(helped.contains(name), "{name} has no help");
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().expect("a name");
            let stem = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|stem| families.contains_key(*stem)))
                .unwrap_or(name);
            let family = families.get_mut(stem).unwrap_or_else(|| panic!("whose is {line}"));
            assert!(family.series.insert(series.to_owned()), "{line} twice");
        }
    }
    families
}

fn page(server: &Server) -> String {
    let (status, body) = get(server.control, "/metrics", "");
    assert_eq!(status, 200);
    String::from_utf8(body).expect("metrics are text")
}

#[test]
fn the_page_has_base_units_and_series_that_do_not_grow_with_peers() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        let server = Server::start(&Options::on(backend));
        let before = families(&page(&server));
        for (name, Family { kind, series }) in &before {
            let time_or_size = name.ends_with("_seconds") || name.ends_with("_bytes");
            match kind.as_str() {
                "counter" => assert!(name.ends_with("_total"), "{name}"),
                "gauge" => assert!(!name.ends_with("_total"), "{name}"),
                "histogram" => {
                    assert!(time_or_size, "{name}");
                    let ends = |end: &str| series.iter().filter(|s| s.contains(end)).count();
                    assert_eq!(ends("le=\"+Inf\""), ends("_count"), "{name}");
                    assert_eq!(ends("_sum"), ends("_count"), "{name}");
                }
                other => panic!("{name} is a {other}"),
            }
            let unit = OTHER_UNITS
                .iter()
                .find(|unit| name.ends_with(*unit) || name.contains(&format!("{unit}_")));
            assert_eq!(unit, None, "{name}");
        }
        assert!(before.contains_key("grandstand_first_frame_seconds"));

        // Peers of every kind, some of whom nobody knows, and names that nobody has heard of.
        let publisher = Publisher::ffmpeg(Clip::H264, &server.rtmp_url("who/is-this"));
        server.api_until("/api/v1/streams", |answer| answer["streams"][0]["name"] == "who/is-this");
        let player = Player::start(Client::PLAIN, &server, "who/is-this");
        for path in ["/nobody.flv", "/x/y.ts", "/?a=b", "/who/is-this/index.m3u8"] {
            get(server.http, path, "");
            get(server.control, path, "");
        }
        publisher.finish();
        player.finish();
        let text = page(&server);
        let after = families(&text);
        assert!(!text.contains("is-this") && !text.contains("127.0.0.1"), "{text}");
        for (name, family) in &after {
            // The reactor lists the operations that it has used.
            if !name.starts_with("grandstand_reactor_") {
                let known = before.get(name).map(|before| &before.series);
                assert_eq!(known, Some(&family.series), "{name} grew with peers");
            }
        }
        let metrics = server.metrics();
        assert!(metrics.sum("first_frame_seconds_count") > 0.0);
        assert!(metrics.sum("send_lag_seconds_count") > 0.0);
        check_with_promtool(&text);
        server.stop();
    }
}

/// The judge of Prometheus itself finds nothing to say.
fn check_with_promtool(text: &str) {
    let promtool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/promtool");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: run .ci/setup");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
}
