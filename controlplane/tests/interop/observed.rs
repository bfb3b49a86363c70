//! What the load generator sees of the real server: by its process, its API and its metrics.

use std::sync::atomic::AtomicBool;

use loadtest::report::{Live, Manner, Observation};
use loadtest::run::News;
use loadtest::scenario;

use crate::server::{Backend, Options, Server};

/// Players of the run.
const PLAYERS: u64 = 6;

fn is_watched(backend: Backend) {
    let server = Server::start(&Options::on(backend));
    let token = server.folder().join("data/api-token");
    let line = format!(
        "fanout --url {} --players {PLAYERS} --sampled 2 --window 3s --gop 500ms --bitrate 400k \
         --server-pid {} --server-api http://{} --token-file {}",
        server.rtmp_url("watched"),
        server.pid(),
        server.control,
        token.display()
    );
    let scenario = scenario::parse(line.split_whitespace().map(Into::into));
    let scenario = scenario.expect("the line can be followed");
    let live = Live::new(Vec::new(), Manner::Plain);
    let mut observation = Observation::start(&scenario.watch, live).expect("the server is there");
    let outcome = scenario::perform(&scenario, &AtomicBool::new(false), &mut |news| match news {
        News::Progress(progress) => observation.progress(progress),
        News::Measured(measurement) => drop(observation.measured(measurement).clone()),
        News::Said(_) => {}
    });
    let seen = observation.finish();
    let outcome = outcome.expect("players play");
    assert_eq!(seen.fault, None);
    assert!(seen.server.as_deref().is_some_and(|name| name.starts_with("grandstand ")));
    let [section] = seen.sections.as_slice() else { panic!("one step: {:?}", seen.sections) };
    assert_eq!(section.measurement, outcome.measurements[0]);
    assert_eq!((section.measurement.held as u64, section.measurement.lost), (PLAYERS, 0));

    let shards = &section.observed.shards;
    assert_eq!(shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(shards.iter().map(|shard| shard.players).sum::<u64>(), PLAYERS);
    assert!(shards.iter().map(|shard| shard.pool_bytes).sum::<u64>() > 0, "{shards:?}");
    for shard in shards {
        assert!(shard.utilisation.is_some_and(|share| share < 1.0), "{shard:?}");
        assert!(shard.egress_utilisation.is_some(), "{shard:?}");
        assert!(shard.sends_per_s.is_some() && shard.flush_interval_ms.is_some(), "{shard:?}");
        assert!(shard.loop_lag.is_some() && shard.turn.is_some(), "{shard:?}");
    }
    assert!(section.observed.loop_lag.is_some());

    let cost = section.measurement.server.as_ref().expect("the process is known");
    for name in ["shard-0", "shard-1"] {
        let thread = cost.threads.iter().find(|thread| thread.name == name);
        assert!(thread.is_some_and(|thread| thread.cpu_s > 0.0), "{name}: {cost:?}");
    }
    assert!(cost.anonymous_bytes > Some(0) && cost.pss_bytes > Some(0), "{cost:?}");
    let players = seen.series.players.samples();
    assert!(players.iter().any(|sample| sample.held as u64 == PLAYERS && sample.latency.is_some()));
    assert!(seen.series.server.samples().len() >= 3);
    server.stop();
}

#[test]
fn the_generator_sees_the_server_on_io_uring() {
    is_watched(Backend::IoUring);
}

#[test]
fn the_generator_sees_the_server_on_epoll() {
    is_watched(Backend::Epoll);
}
