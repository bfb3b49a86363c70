//! Traps: what other servers got wrong in all this, each as a test.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataplane::control::{Denial, Intent, Protocol, ProtocolSet};
use dataplane::ids::{SessionId, StreamName};
use serde_json::{Value, json};

use super::change::{Change, FileStreams, Refused};
use super::desired::Registry;
use super::effect::{Effect, Effects, RULES};
use super::resolved::{Origin, Undeclared};
use super::spec::StreamSpec;

fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

fn put(registry: &mut Registry, code: &str, value: Value) -> Effects {
    registry.apply(Change::PutStream { name: name(code), value }).unwrap()
}

fn template(registry: &mut Registry, code: &str, value: Value) -> Result<Effects, Refused> {
    registry.apply(Change::PutTemplate { code: code.to_owned(), value })
}

fn mode(undeclared: Undeclared) -> Registry {
    let mut registry = Registry::default();
    registry.apply(Change::File(FileStreams { undeclared, ..FileStreams::default() })).unwrap();
    registry
}

fn publishing() -> Value {
    json!({"inputs": [{"url": "publish://", "priority": 0}]})
}

/// The names of who is dropped.
fn dropped(effects: &Effects) -> Vec<String> {
    let words = |set: ProtocolSet| {
        if set == ProtocolSet::ALL {
            return "all".to_owned();
        }
        let some = Protocol::ALL.into_iter().filter(|&p| set.contains(p)).map(Protocol::name);
        some.collect::<Vec<_>>().join("+")
    };
    let shown = |effect: &Effect| match effect {
        Effect::KickPublisher { stream, protocols } => {
            format!("publisher of {stream} by {}", words(*protocols))
        }
        Effect::KickPlayers { stream, protocols } => {
            format!("players of {stream} by {}", words(*protocols))
        }
        Effect::Restart { stream } => format!("everybody of {stream}"),
    };
    effects.drops.iter().map(shown).collect()
}

#[test]
fn each_changed_field_drops_exactly_those_of_its_row() {
    let base = json!({
        "template": "t", "name": "n", "description": "d", "tags": ["t"], "stream_key": "k",
        "inputs": [{"url": "publish://", "priority": 0}], "metadata": {"a": "b"},
        "protocols": {"hls": true, "rtmp": true, "flv": true, "mpegts": true, "srt": true},
    });
    let srt_only = json!([{"url": "srt://[::]", "priority": 0}]);
    let rtmp_only = json!([{"url": "rtmp://0.0.0.0/live/a", "priority": 0}]);
    let all = "publisher of a by all, players of a by all";
    let rows = [
        ("disabled", json!(true), all),
        ("template", json!("u"), ""),
        ("name", json!("x"), ""),
        ("description", json!("x"), ""),
        ("tags", json!(["x"]), ""),
        ("tenant", json!("acme"), ""),
        ("quota", json!({"players_max": 1}), ""),
        ("stream_key", json!("x"), ""),
        ("auth", json!(["signed", "keys"]), ""),
        ("srt_passphrase", json!("correct horse"), ""),
        ("mpegts", json!({"passthrough": false}), ""),
        ("metadata", json!({"c": "d"}), ""),
        ("push", json!([{"url": "rtmp://h/x"}]), ""),
        ("record", json!("flv"), ""),
        ("transcoder", json!({}), ""),
        ("dvr", json!({}), ""),
        ("watermark", json!({}), ""),
        ("thumbnail", json!({}), ""),
        ("inputs", rtmp_only, "publisher of a by srt+http-flv+http-ts+ws-flv+ws-ts+hls+http+demo"),
        ("inputs", srt_only, "publisher of a by rtmp+http-flv+http-ts+ws-flv+ws-ts+hls+http+demo"),
        // A merge patch leaves what it does not name.
        ("protocols", json!({"rtmp": false}), "players of a by rtmp"),
        ("protocols", json!({"hls": false, "flv": null}), "players of a by http-flv+ws-flv+hls"),
        ("protocols", json!({"srt": false}), "players of a by srt"),
    ];
    let mut seen: Vec<&str> = Vec::new();
    for (field, value, drops) in rows {
        let mut registry = Registry::default();
        for code in ["t", "u"] {
            template(&mut registry, code, json!({})).unwrap();
        }
        put(&mut registry, "a", base.clone());
        let patch = json!({ field: value });
        let dry = registry.plan(Change::PatchStream { name: name("a"), patch: patch.clone() });
        let dry = dry.unwrap().effects;
        let effects = registry.apply(Change::PatchStream { name: name("a"), patch }).unwrap();
        assert_eq!(dropped(&effects).join(", "), drops, "{field}");
        assert_eq!(dry, effects, "a dry run tells the truth");
        assert_eq!(effects.differences[0].fields, [field]);
        seen.push(field);
    }
    let missing: Vec<_> = RULES.iter().filter(|rule| !seen.contains(&rule.field)).collect();
    assert!(missing.is_empty(), "{:?}", missing.iter().map(|rule| rule.field).collect::<Vec<_>>());
}

#[test]
fn nothing_changes_for_a_stream_that_is_put_as_it_is() {
    let mut registry = Registry::default();
    put(&mut registry, "a", publishing());
    assert_eq!(put(&mut registry, "a", publishing()), Effects::default());
}

#[test]
fn a_deleted_or_restarted_stream_drops_everybody() {
    let mut registry = Registry::default();
    put(&mut registry, "a", publishing());
    registry.running.acquire(&name("a"), SessionId(1)).unwrap();
    let restart = registry.apply(Change::Restart { name: name("a") }).unwrap();
    assert_eq!(dropped(&restart), ["everybody of a"]);
    let deleted = registry.apply(Change::DeleteStream { name: name("a") }).unwrap();
    assert_eq!(dropped(&deleted), ["publisher of a by all", "players of a by all"]);
    // A slot that stays after its stream would refuse the next publisher.
    assert_eq!(registry.running.lookup(&name("a")), None);
    let again = registry.apply(Change::DeleteStream { name: name("a") });
    assert_eq!(again, Err(Refused::NoStream(name("a"))));
}

#[test]
fn a_stream_that_takes_its_inputs_from_a_template_is_published() {
    // Elsewhere such a stream is stored and never started.
    let mut registry = Registry::default();
    template(&mut registry, "t", publishing()).unwrap();
    put(&mut registry, "a", json!({"template": "t"}));
    let resolved = registry.resolve(&name("a")).unwrap();
    assert_eq!(resolved.judge(Intent::Publish, Protocol::Rtmp), Ok(()));
    let effects = template(&mut registry, "t", json!({"inputs": [], "protocols": {}})).unwrap();
    let players = "players of a by rtmp+srt+http-flv+http-ts+ws-flv+ws-ts+hls";
    let publisher = "publisher of a by rtmp+srt+http-flv+http-ts+ws-flv+ws-ts+hls+http+demo";
    assert_eq!(dropped(&effects), [publisher, players]);
}

#[test]
fn only_a_stream_with_a_publish_input_is_published() {
    let mut registry = Registry::default();
    put(&mut registry, "a", json!({}));
    let resolved = registry.resolve(&name("a")).unwrap();
    assert_eq!(resolved.judge(Intent::Publish, Protocol::Rtmp), Err(Denial::Forbidden));
    assert_eq!(resolved.judge(Intent::Play, Protocol::Rtmp), Ok(()));
}

#[test]
fn the_flag_of_each_protocol_is_obeyed() {
    // Elsewhere rtmp and srt are not asked.
    let mut registry = Registry::default();
    put(&mut registry, "a", json!({"protocols": {"hls": true}}));
    let resolved = registry.resolve(&name("a")).unwrap();
    for protocol in Protocol::ALL.into_iter().filter(|protocol| protocol.plays()) {
        assert_eq!(resolved.judge(Intent::Play, protocol), Err(Denial::NotFound));
    }
    assert_eq!(resolved.judge(Intent::Play, Protocol::Hls), Ok(()));
}

#[test]
fn a_busy_or_disabled_stream_never_becomes_a_runtime_stream() {
    // Elsewhere a second publisher below a prefix turns a declared stream into a runtime one, and
    // publishing revives a disabled one.
    let mut registry = mode(Undeclared::Template);
    let all = json!({"prefixes": ["news"], "inputs": [{"url": "publish://"}]});
    template(&mut registry, "t", all).unwrap();
    put(&mut registry, "news/a", publishing());
    put(&mut registry, "news/b", json!({"disabled": true, "template": "t"}));
    registry.running.acquire(&name("news/a"), SessionId(1)).unwrap();
    assert!(registry.running.acquire(&name("news/a"), SessionId(2)).is_err());
    assert_eq!(registry.resolve(&name("news/a")).unwrap().origin, Origin::Api);
    let disabled = registry.resolve(&name("news/b")).unwrap();
    assert_eq!(disabled.origin, Origin::Api);
    assert_eq!(disabled.judge(Intent::Publish, Protocol::Rtmp), Err(Denial::Forbidden));
    registry.running.end(&name("news/a"), Instant::now());
    registry.running.reap(Instant::now() + Duration::from_secs(60), Duration::ZERO);
    assert_eq!(registry.stream(&name("news/a")).unwrap().resolved.origin, Origin::Api);
}

#[test]
fn undeclared_streams_are_what_the_mode_says() {
    let cases = [
        (Undeclared::Any, Some(None), Some(Some("t"))),
        (Undeclared::Template, None, Some(Some("t"))),
        (Undeclared::Off, None, None),
    ];
    for (undeclared, outside, below) in cases {
        let mut registry = mode(undeclared);
        let value = json!({"prefixes": ["news"], "inputs": [{"url": "publish://"}]});
        template(&mut registry, "t", value).unwrap();
        let of = |text: &str| registry.resolve(&name(text)).map(|r| r.template.clone());
        let want = |want: Option<Option<&str>>| want.map(|t| t.map(str::to_owned));
        assert_eq!(of("sport/a"), want(outside), "{undeclared:?}");
        assert_eq!(of("newsroom"), want(outside), "{undeclared:?}");
        assert_eq!(of("news/a"), want(below), "{undeclared:?}");
        assert_eq!(of("news/a/b"), want(below), "{undeclared:?}");
    }
}

#[test]
fn the_longest_prefix_wins_and_live_covers_what_is_left() {
    // Elsewhere the prefix `live` matches nothing, because names have lost their `live/` by then.
    let mut registry = mode(Undeclared::Template);
    let below =
        |prefixes: &[&str]| json!({"prefixes": prefixes, "inputs": [{"url": "publish://"}]});
    template(&mut registry, "all", below(&["live"])).unwrap();
    template(&mut registry, "news", below(&["live/news", "sport/one"])).unwrap();
    let of = |text: &str| registry.resolve(&name(text)).unwrap().template.clone().unwrap();
    assert_eq!((of("foo"), of("news/a"), of("sport/a"), of("sport/one/x")), {
        ("all".into(), "news".into(), "all".into(), "news".into())
    });
    let overlap = template(&mut registry, "more", below(&["news/a"])).unwrap_err();
    assert_eq!(
        overlap.to_string(),
        "prefix news/a overlaps with news of template news; change one"
    );
    assert_eq!((overlap.code(), overlap.field()), ("prefix_overlap", Some("prefixes")));
}

#[test]
fn a_template_that_streams_take_from_stays() {
    let mut registry = Registry::default();
    template(&mut registry, "t", json!({})).unwrap();
    put(&mut registry, "a", json!({"template": "t"}));
    let delete = || Change::DeleteTemplate { code: "t".to_owned() };
    let refused = registry.apply(delete()).unwrap_err();
    assert_eq!(refused, Refused::TemplateInUse { code: "t".into(), streams: vec![name("a")] });
    let both = Change::All(vec![Change::DeleteStream { name: name("a") }, delete()]);
    registry.apply(both).unwrap();
    assert_eq!((registry.len(), registry.templates_after(None).count()), (0, 0));
    let value = json!({"template": "t"});
    let refused = registry.apply(Change::PutStream { name: name("a"), value }).unwrap_err();
    assert_eq!((refused.code(), refused.field()), ("template_not_found", Some("template")));
}

#[test]
fn a_bulk_is_done_whole_or_not_at_all() {
    let mut registry = Registry::default();
    let one = || Change::PutStream { name: name("a"), value: publishing() };
    let wrong = Change::PutStream { name: name("b"), value: json!({"tags": 1}) };
    let refused = registry.apply(Change::All(vec![one(), wrong])).unwrap_err();
    assert_eq!(refused.field(), Some("[1].tags"));
    assert!(registry.is_empty());
    registry.apply(Change::All(vec![one(), Change::DeleteStream { name: name("a") }])).unwrap();
    assert!(registry.is_empty());
}

#[test]
fn the_file_wins_and_is_only_read() {
    let mut registry = Registry::default();
    put(&mut registry, "a", json!({"name": "stored"}));
    let spec = StreamSpec::read(&name("a"), json!({"name": "file"})).unwrap();
    let file = |spec: &StreamSpec| {
        let streams = BTreeMap::from([(name("a"), spec.clone())]);
        Change::File(FileStreams { streams, ..FileStreams::default() })
    };
    registry.apply(file(&spec)).unwrap();
    let shown = |registry: &Registry| {
        let resolved = registry.resolve(&name("a")).unwrap();
        (resolved.origin, resolved.traits.name.clone())
    };
    assert_eq!(shown(&registry), (Origin::Config, "file".to_owned()));
    for change in [
        Change::PutStream { name: name("a"), value: json!({}) },
        Change::PatchStream { name: name("a"), patch: json!({}) },
        Change::DeleteStream { name: name("a") },
    ] {
        assert_eq!(registry.apply(change).unwrap_err().code(), "read_only");
    }
    assert_eq!(registry.apply(file(&spec)).unwrap(), Effects::default(), "a reload of the same");
    let off = StreamSpec { disabled: true, ..spec };
    let effects = registry.apply(file(&off)).unwrap();
    assert_eq!(dropped(&effects), ["publisher of a by all", "players of a by all"]);
    registry.apply(Change::File(FileStreams::default())).unwrap();
    assert_eq!(shown(&registry), (Origin::Api, "stored".to_owned()), "what was stored is back");
}

#[test]
fn a_live_stream_that_nobody_declared_follows_the_mode_and_its_template() {
    let mut registry = mode(Undeclared::Any);
    registry.running.acquire(&name("news/a"), SessionId(1)).unwrap();
    let value = json!({"prefixes": ["news"], "inputs": [{"url": "publish://"}],
        "protocols": {"rtmp": true}});
    let effects = template(&mut registry, "t", value).unwrap();
    assert_eq!(dropped(&effects), ["players of news/a by srt+http-flv+http-ts+ws-flv+ws-ts+hls"]);
    let patch = Change::PatchStream { name: name("news/a"), patch: json!({}) };
    assert_eq!(registry.apply(patch).unwrap_err().code(), "runtime_stream_not_editable");
    let off = FileStreams { undeclared: Undeclared::Off, ..FileStreams::default() };
    let effects = registry.apply(Change::File(off)).unwrap();
    assert_eq!(dropped(&effects), ["publisher of news/a by all", "players of news/a by all"]);
}

#[test]
fn pages_of_ten_thousand_streams_hold_each_once() {
    use super::ask::Filter;
    let mut registry = Registry::default();
    let streams = (0..10_000).map(|number| Change::PutStream {
        name: name(&format!("s/{number:05}")),
        value: json!({"tags": [if number % 100 == 0 { "rare" } else { "usual" }]}),
    });
    registry.apply(Change::All(streams.collect())).unwrap();
    registry.running.acquire(&name("r"), SessionId(1)).unwrap();
    registry.running.acquire(&name("s/00007"), SessionId(2)).unwrap();
    for (filter, count) in [
        (Filter::default(), 10_001),
        (Filter { tag: Some("rare".into()), ..Filter::default() }, 100),
        (Filter { on_air: true, ..Filter::default() }, 2),
        (Filter { origin: Some(Origin::Runtime), ..Filter::default() }, 1),
        (Filter { q: Some("S/0001".into()), ..Filter::default() }, 10),
        (Filter { prefix: Some("none".into()), ..Filter::default() }, 0),
    ] {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = registry.page(after.as_ref(), 300, &filter);
            names.extend(page.items.into_iter().map(|item| item.name));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(names.len(), count, "{filter:?}");
        assert!(names.is_sorted_by(|one, next| one < next));
    }
}
