//! Hooks over the death of the program, and in a burst.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::program::{Dir, PATIENCE, Server, get, output};
use crate::receiver::{Api, Nobody, Taker};

/// The name that each event has for ever.
fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

fn config(target: std::net::SocketAddr) -> String {
    format!(
        "[auth]\nmode = \"open\"\n[[hooks]]\nid = \"app\"\ntype = \"http\"\n\
         target = \"http://{target}/\"\ntypes = [\"stream.*\"]\n"
    )
}

#[test]
fn events_survive_kill_9_while_their_receiver_is_down() {
    const CHANGES: usize = 6;
    let (dir, nobody) = (Dir::new("hooks"), Nobody::new());
    dir.write("grandstand.toml", &config(nobody.addr));
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let mut listener = api.listen("?types=stream.*", None);
    for change in 0..CHANGES {
        for stream in ["a", "b"] {
            api.put(stream, &change.to_string());
        }
    }
    let told: Vec<Value> = (0..2 * CHANGES).map(|_| listener.event()).collect();
    // What waits is on the disk.
    let late = Instant::now() + PATIENCE;
    while api.ask("GET", "/api/v1/hooks/app", &Value::Null)["status"]["waiting"] != 2 * CHANGES {
        assert!(Instant::now() < late);
    }
    server.signal(libc::SIGKILL);
    drop(server);

    let taker = Taker::start();
    dir.write("grandstand.toml", &config(taker.addr));
    let server = Server::start(&mut dir.command(&[]));
    Api::of(&server, &dir).put("a", "of the second run");
    let mut came: Vec<Value> = Vec::new();
    let missing = |came: &[Value]| {
        let ids: BTreeSet<_> = came.iter().map(id).collect();
        told.iter().any(|event| !ids.contains(&id(event)))
    };
    while missing(&came) {
        came.push(taker.next());
    }
    for stream in ["a", "b"] {
        let of = |events: &[Value]| {
            let of = events.iter().filter(|event| event["stream"] == stream);
            of.map(id).collect::<Vec<_>>()
        };
        let (told, came) = (of(&told), of(&came));
        assert!(came.starts_with(&told), "{stream}: {told:?} {came:?}");
    }
    let first = &told[0];
    let again = came.iter().find(|event| id(event) == id(first)).unwrap();
    assert_eq!(again, first, "it is the same, word for word");
}

#[test]
fn a_template_of_thousands_of_streams_is_told_of_each() {
    const STREAMS: usize = 12_000;
    let (dir, taker) = (Dir::new("burst"), Taker::start());
    dir.write("grandstand.toml", &config(taker.addr));
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, &dir);
    let template = |text: &str| {
        let template = json!({ "inputs": [{ "url": "publish://" }], "description": text });
        api.ask("PUT", "/api/v1/templates/all", &template);
    };
    template("before");
    for hundreds in (0..STREAMS).collect::<Vec<_>>().chunks(1_000) {
        let spec = json!({ "template": "all" });
        let put =
            |number: &usize| json!({ "op": "put", "name": format!("s{number}"), "spec": spec });
        let changes: Vec<_> = hundreds.iter().map(put).collect();
        api.ask("POST", "/api/v1/streams/bulk", &json!({ "changes": changes }));
    }
    template("after");
    let mut updated = BTreeSet::new();
    let mut created = BTreeSet::new();
    while updated.len() < STREAMS {
        let event = taker.next();
        let stream = event["stream"].as_str().unwrap().to_owned();
        match event["type"].as_str() {
            Some("stream.created") => assert!(created.insert(stream)),
            Some("stream.updated") => assert!(created.contains(&stream) && updated.insert(stream)),
            other => panic!("{other:?}"),
        }
    }
    let metrics = get(server.addr("control"), "/metrics", "");
    for nothing in ["hook_missed_total 0\n", "hook_dead_letters{hook=\"app\"} 0\n"] {
        assert!(metrics.contains(&format!("\ngrandstand_{nothing}")), "{nothing}: {metrics}");
    }
}

/// Segments that nobody keeps are told of all the same: whoever fetches them is to know before.
#[test]
fn a_hook_that_is_told_of_segments_nobody_keeps_is_warned_of_at_once() {
    let dir = Dir::new("segments");
    let hook = "[[hooks]]\nid = \"app\"\ntype = \"http\"\ndialect = \"srs\"\n\
                target = \"http://127.0.0.1:9/\"\ncalls = [\"on_hls\"]\n";
    let warning = "hooks: \"app\" is told of segments (on_hls), but segments are kept only once";
    for (mode, warned) in [("on_demand", true), ("always", false)] {
        let file = format!("[auth]\nmode = \"open\"\n[hls]\nmode = \"{mode}\"\n{hook}");
        dir.write("grandstand.toml", &file);
        let (code, told, error) = output(&mut dir.command(&["check"]));
        assert_eq!(code, Some(0), "{error}");
        assert_eq!(told.contains(&format!("warning: {warning}")), warned, "{told}");
    }
    dir.write("grandstand.toml", &format!("[auth]\nmode = \"open\"\n{hook}"));
    let mut server = Server::start(&mut dir.command(&[]));
    let line = server.log_line(warning);
    assert!(line.contains("WARN") && line.contains("set hls.mode = \"always\""), "{line}");
}
