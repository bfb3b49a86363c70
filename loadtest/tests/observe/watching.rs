//! What is seen once a second, of a process and through an interface.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use loadtest::observe::{ApiPlan, Eye, ServerApi, ServerProcess, ServerSample, WatchPlan, Watcher};
use loadtest::report::Observed;
use loadtest::tls::Trust;

use crate::tree::{PID, Thread, Tree};

const SECOND_NS: u64 = 1_000_000_000;

/// Path, and what is answered there.
type Answers = Arc<Mutex<Vec<(&'static str, String)>>>;

/// A server of canned answers.
struct Interface {
    url: String,
    answers: Answers,
}

impl Interface {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Answers::default();
        let shared = answers.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(0) | Err(_) => break,
                        Ok(len) => request.extend_from_slice(&buffer[..len]),
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let answers = shared.lock().unwrap();
                let is_asked = |path: &str| request.starts_with(&format!("GET {path} "));
                let found = answers.iter().find(|(path, _)| is_asked(path));
                let body = found.map_or("", |(_, body)| body);
                let has_token = request.contains("Authorization: Bearer sesame\r\n");
                let status = match found {
                    None => "404 Not Found",
                    Some(("/api/v1/shards", _)) if !has_token => "401 Unauthorized",
                    Some(_) => "200 OK",
                };
                let len = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { url, answers }
    }

    fn answer(&self, path: &'static str, body: String) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|(known, _)| *known != path);
        answers.push((path, body));
    }

    /// What a server of one shard tells: its players, and how often its loop was late.
    fn tell(&self, players: u64, in_time: u64, late: u64) {
        self.answer("/api/v1/version", r#"{"name":"grandstand","version":"9.8.7"}"#.to_owned());
        let shards = format!(
            r#"{{"shards":[{{"id":0,"core":3,"utilisation":0.5,"egress_utilisation":0.25,
               "flush_interval_ms":20.0,"players":{players},"connections":9,
               "pools":[{{"name":"small","page_bytes":1000,"used":7}}]}}],"missing":[]}}"#
        );
        self.answer("/api/v1/shards", shards);
        let (all, family) = (in_time + late, "grandstand_loop_lag_seconds");
        let metrics = format!(
            "{family}_bucket{{shard=\"0\",le=\"0.001\"}} {in_time}\n\
             {family}_bucket{{shard=\"0\",le=\"0.25\"}} {all}\n\
             {family}_bucket{{shard=\"0\",le=\"+Inf\"}} {all}\n"
        );
        self.answer("/metrics", metrics);
    }

    fn plan(&self, tree: &Tree) -> ApiPlan {
        tree.write("token", "sesame\n");
        let token_file = Some(tree.proc_tree().path("token"));
        ApiPlan { url: self.url.clone(), trust: Trust::Anybody, token_file }
    }
}

#[test]
fn each_look_tells_what_was_spent_since_the_one_before() {
    let (tree, interface) = (Tree::new(), Interface::start());
    let process = Some(ServerProcess { pid: PID, softirq_cpu: None });
    let api = Some(interface.plan(&tree));
    let plan = WatchPlan { process, api, server_name: None };
    let spend = |second: u64, rss: u64| {
        tree.memory(rss, rss, rss);
        tree.sockets(second, 0);
        let (ran_ns, voluntary) = (second * SECOND_NS / 4, second * 100);
        tree.thread(&Thread { tid: 70, name: "shard-0", ran_ns, voluntary, involuntary: second });
        interface.tell(second * 10, second * 1000, second / 2);
    };
    spend(1, 100);
    let mut eye = Eye::open(&plan, tree.proc_tree(), SECOND_NS).unwrap();
    assert_eq!(eye.look(SECOND_NS), None, "nothing lies before the first look");
    let samples: Vec<ServerSample> = (2..=3)
        .map(|second| {
            spend(second, second * 100);
            eye.look(second * SECOND_NS).unwrap()
        })
        .collect();
    for (at, sample) in samples.iter().enumerate() {
        assert_eq!((sample.at_s, sample.interval_s), (at as f64 + 1.0, 1.0));
        let process = sample.process.as_ref().unwrap();
        assert_eq!((process.cpu, process.voluntary_switches_per_s), (0.25, 100.0));
        assert_eq!(process.threads[0].cpu, 0.25);
        let shard = &sample.shards[0].reading;
        assert_eq!((shard.cpu, shard.utilisation), (Some(3), Some(0.5)));
        assert_eq!((shard.players, shard.pool_bytes), (10 * (at as u64 + 2), 7000));
    }
    let lags = samples.iter().map(|sample| sample.shards[0].lag_p99_ms);
    assert_eq!(lags.collect::<Vec<_>>(), [Some(1.0), Some(1.0)], "one in a thousand is late");
    let observed = Observed::of(&samples, 30, Some(100 * 1024));
    assert_eq!(observed.rss_growth_bytes_per_player, Some(200.0 * 1024.0 / 30.0));
    assert_eq!(observed.tcp_bytes_max, samples[1].sockets.map(|sockets| sockets.tcp_bytes));
    let lag = observed.loop_lag.unwrap();
    assert_eq!((lag.p50_ms, lag.p99_ms, lag.max_ms), (1.0, 1.0, 250.0));
    assert_eq!((observed.shards.len(), observed.shards[0].players), (1, 30));
}

#[test]
fn a_server_that_goes_away_is_told_once_and_ends_nothing() {
    let tree = Tree::new();
    tree.memory(1, 1, 1);
    tree.thread(&Thread { tid: 70, name: "a", ran_ns: 1, voluntary: 1, involuntary: 1 });
    let process = Some(ServerProcess { pid: PID, softirq_cpu: None });
    let plan = WatchPlan { process, ..WatchPlan::default() };
    let mut eye = Eye::open(&plan, tree.proc_tree(), 0).unwrap();
    eye.look(SECOND_NS);
    std::fs::remove_dir_all(tree.proc_tree().path("7")).unwrap();
    for second in 2..4 {
        let sample = eye.look(second * SECOND_NS).unwrap();
        assert_eq!(sample.process, None);
    }
}

#[test]
fn what_cannot_be_watched_is_one_clear_line() {
    let (tree, interface) = (Tree::new(), Interface::start());
    let told = |plan: WatchPlan| {
        let told = format!("{:#}", Watcher::start(&plan, 0).err().unwrap());
        assert!(!told.contains('\n'), "{told}");
        told
    };
    let api = |url: &str| WatchPlan {
        api: Some(ApiPlan { url: url.to_owned(), trust: Trust::System, token_file: None }),
        ..WatchPlan::default()
    };
    let process = Some(ServerProcess { pid: u32::MAX, softirq_cpu: None });
    let dead = told(WatchPlan { process, ..WatchPlan::default() });
    assert!(dead.starts_with("there is no process"), "{dead}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = told(api(&format!("http://{closed}")));
    assert!(refused.starts_with(&format!("--server-api http://{closed}/api/v1/version: ")));
    assert!(refused.contains("refused"), "{refused}");
    for strange in ["rtmp://h:1", "h:1", "http://", "http://h/x"] {
        let told = told(api(strange));
        assert!(told.starts_with("--server-api is http[s]://HOST:PORT"), "{told}");
    }
    let other = told(api(&interface.url));
    assert!(other.ends_with("404 Not Found"), "{other}");
    interface.tell(1, 1, 1);
    let closed = told(api(&interface.url));
    assert!(closed.ends_with("name its file by --token-file"), "{closed}");
    let named = ServerApi::new(&interface.plan(&tree)).unwrap();
    assert_eq!(named.version().unwrap(), "grandstand 9.8.7");
    interface.answer("/api/v1/shards", "nonsense".to_owned());
    assert!(format!("{:#}", named.shards().unwrap_err()).contains("is no JSON"));
}

#[test]
fn a_watcher_tells_the_server_and_ends_at_once() {
    let plan = WatchPlan {
        process: Some(ServerProcess { pid: std::process::id(), softirq_cpu: None }),
        server_name: Some("own test".to_owned()),
        ..WatchPlan::default()
    };
    let watcher = Watcher::start(&plan, 0).unwrap();
    assert_eq!(watcher.server(), Some("own test"));
    let watched = watcher.finish();
    assert_eq!((watched.server.as_deref(), watched.fault), (Some("own test"), None));
}
