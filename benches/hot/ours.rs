//! One send for each connection, by our reactor.

use std::os::fd::AsFd;

use criterion::measurement::Measurement;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use dataplane::reactor::{BackendChoice, Completion, Reactor, ReactorConfig, SendPart, Token};

use crate::cpu_time::CpuTime;
use crate::fanout::{CONNECTIONS, Fanout, SEND_BYTES};

/// Both backends, each with both sizes.
pub(crate) fn ours(criterion: &mut Criterion<CpuTime>) {
    let fanout = Fanout::new();
    for (name, choice) in [("io_uring", BackendChoice::IoUring), ("epoll", BackendChoice::Epoll)] {
        let config = ReactorConfig { choice, ..ReactorConfig::default() };
        let (mut reactor, _) = Reactor::new(&config).expect("the backend is there");
        let mut group = criterion.benchmark_group("reactor");
        for len in SEND_BYTES {
            case(&mut group, name, &fanout, &mut reactor, len);
        }
        group.finish();
    }
}

fn case<M: Measurement<Value = u64>>(
    group: &mut BenchmarkGroup<'_, M>,
    name: &str,
    fanout: &Fanout,
    reactor: &mut Reactor,
    len: usize,
) {
    let bytes = vec![0x5a; len];
    group.throughput(Throughput::Bytes((len * CONNECTIONS) as u64));
    group.bench_function(format!("{name}/{len}"), |bencher| {
        bencher.iter_custom(|ticks| {
            let mut spent = 0;
            for _ in 0..ticks {
                let begin = CpuTime::now();
                tick(fanout, reactor, &bytes);
                spent += CpuTime::now() - begin;
                fanout.drain(len);
            }
            spent
        });
    });
}

/// What a turn of a shard does: all sends, one submit, all completions.
fn tick(fanout: &Fanout, reactor: &mut Reactor, bytes: &[u8]) {
    let parts = [SendPart::new(bytes)];
    for (slot, sender) in (0..).zip(&fanout.senders) {
        // SAFETY: the bytes outlive the submit below.
        unsafe { reactor.send(sender.as_fd(), Token::new(slot, 0), &parts) };
    }
    reactor.submit();
    let mut sent = 0;
    while let Some(completion) = reactor.next_completion() {
        match completion {
            Completion::Sent { bytes: taken, .. } if taken as usize == bytes.len() => sent += 1,
            other => panic!("{other:?}: the sockets have room for one send"),
        }
    }
    assert_eq!(sent, CONNECTIONS, "a submit answers its sends");
}
