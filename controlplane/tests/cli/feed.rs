//! Events as Server-Sent Events, while they happen.

use serde_json::json;

use crate::program::{Dir, Server};
use crate::receiver::Api;

fn start(dir: &Dir) -> (Server, Api) {
    dir.write("grandstand.toml", "[auth]\nmode = \"open\"\n[events]\nring_max = 1000\n");
    let server = Server::start(&mut dir.command(&[]));
    let api = Api::of(&server, dir);
    (server, api)
}

#[test]
fn a_client_that_comes_again_goes_on_where_it_was() {
    let dir = Dir::new("feed");
    let (mut server, api) = start(&dir);
    let mut reloads = api.listen("?types=config.*", None);
    server.signal(libc::SIGHUP);
    server.reloaded();
    let told = reloads.event();
    assert_eq!((told["type"].as_str(), told["data"]["source"].as_str()), {
        (Some("config.changed"), Some("signal"))
    });
    let mut listener = api.listen("?types=stream.*&stream=news/*", None);
    api.put("sport/1", "");
    api.put("news/1", "");
    let first = listener.event();
    assert_eq!((first["type"].as_str(), first["stream"].as_str()), {
        (Some("stream.created"), Some("news/1"))
    });
    drop(listener);
    for text in ["b", "c"] {
        api.put("news/1", text);
    }
    let last = first["id"].as_str();
    let mut listener = api.listen("?types=stream.*&stream=news/*", last);
    let missed: Vec<_> = (0..2).map(|_| listener.event()).collect();
    assert!(missed.iter().all(|event| event["type"] == "stream.updated"), "{missed:?}");
    let ids = missed.iter().map(|event| event["id"].as_str());
    assert!([last].into_iter().chain(ids).is_sorted());
    // It hears that the server is there, though nothing happens.
    listener.until(": nothing new");
}

#[test]
fn a_client_that_does_not_read_is_told_what_it_missed_and_holds_up_nobody() {
    const STREAMS: usize = 4_000;
    let dir = Dir::new("slow");
    let (_server, api) = start(&dir);
    let mut slow = api.listen("?types=stream.*", None);
    let template = |text: usize| {
        let template = json!({
            "inputs": [{ "url": "publish://" }], "description": text.to_string(),
        });
        api.ask("PUT", "/api/v1/templates/all", &template);
    };
    template(0);
    let long = "x".repeat(100);
    for thousand in (0..STREAMS).collect::<Vec<_>>().chunks(1_000) {
        let put = |number: &usize| {
            let name = format!("{long}/{number}");
            json!({ "op": "put", "name": name, "spec": { "template": "all" } })
        };
        let changes: Vec<_> = thousand.iter().map(put).collect();
        api.ask("POST", "/api/v1/streams/bulk", &json!({ "changes": changes }));
    }
    // More than all the buffers between hold.
    for change in 1..8 {
        template(change);
    }
    let mut quick = api.listen("?types=stream.*&stream=last", None);
    api.put("last", "");
    quick.event();
    slow.until("event: missed");
    let count = slow.until("data: {\"missed\":");
    assert!(count.trim_end_matches('}').parse::<u64>().is_ok_and(|count| count > 0), "{count}");
    slow.event();
}
