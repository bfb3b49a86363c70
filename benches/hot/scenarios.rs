//! The time that each scenario takes; an argument chooses some of them, such as `log/` or `mux`.

use std::time::{Duration, Instant};

use benches::{SCENARIOS, Scenario};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn scenarios(criterion: &mut Criterion) {
    for (name, set_up) in SCENARIOS {
        let (group, name) = name.split_once('/').expect("scenarios are named group/name");
        let mut group = criterion.benchmark_group(group);
        let mut scenario = set_up();
        if scenario.bytes() > 0 {
            group.throughput(Throughput::Bytes(scenario.bytes()));
        }
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|runs| time(&mut *scenario, runs));
        });
        group.finish();
    }
}

/// How long the runs took, without what came before each.
fn time(scenario: &mut dyn Scenario, runs: u64) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..runs {
        scenario.prepare();
        let begin = Instant::now();
        scenario.run();
        total += begin.elapsed();
    }
    total
}

criterion_group!(hot, scenarios);
criterion_main!(hot);
