//! Readings and what lies between them.

use loadtest::observe::{
    Machine, RssBefore, Served, ServerCost, ServerProcess, SocketMemory, THREADS_MAX,
};

use crate::tree::{PID, Thread, Tree};

fn shard(ran_ns: u64, voluntary: u64, involuntary: u64) -> Thread {
    Thread { tid: 70, name: "shard-0", ran_ns, voluntary, involuntary }
}

fn control(ran_ns: u64, voluntary: u64) -> Thread {
    Thread { tid: 71, name: "con) trol", ran_ns, voluntary, involuntary: 3 }
}

#[test]
fn a_cost_is_the_difference_of_two_readings() {
    let tree = Tree::new();
    let process = ServerProcess { pid: PID, softirq_cpu: Some(1) };
    let softirq = |ticks: u32| {
        tree.write("33/comm", "ksoftirqd/1\n");
        let stat = format!("33 (ksoftirqd/1) S 2 0 0 0 -1 0 0 0 0 0 0 {ticks} 0 0 20 0 1 0 5\n");
        tree.write("33/stat", &stat);
    };
    tree.memory(1000, 900, 800);
    tree.thread(&shard(1_500_000_000, 10, 1));
    tree.thread(&control(250_000_000, 100));
    softirq(100);
    let before = process.read_in(&tree.proc_tree()).unwrap();
    assert_eq!((before.cpu_s, before.switches.voluntary), (1.75, 110));
    tree.memory(3000, 2000, 1800);
    tree.thread(&shard(3_500_000_000, 30, 5));
    tree.thread(&control(500_000_000, 140));
    tree.thread(&Thread { tid: 72, name: "new", ran_ns: 1000, voluntary: 1, involuntary: 0 });
    softirq(150);
    let after = process.read_in(&tree.proc_tree()).unwrap();
    let served = Served { bytes: 500_000_000, held: 150 };
    let growth = Some(RssBefore { held: 50, rss_bytes: before.rss_bytes });
    let cost = ServerCost::between(&before, &after, served, growth);
    let ticks = after.softirq_s - before.softirq_s;
    assert!(ticks > 0.0);
    assert!((cost.cpu_s - ticks - 2.250_001).abs() < 1e-9, "{cost:?}");
    assert!((cost.cpu_s_per_gb - cost.cpu_s * 2.0).abs() < 1e-9, "{cost:?}");
    assert_eq!(cost.rss_bytes_per_player, Some(2000.0 * 1024.0 / 100.0));
    assert_eq!(cost.pss_bytes, Some(2000 * 1024));
    assert_eq!(cost.anonymous_bytes, Some(1800 * 1024));
    let switches = (cost.context_switches, cost.voluntary_switches, cost.involuntary_switches);
    assert_eq!(switches, (65, 61, 4));
    let threads: Vec<_> = cost.threads.iter().map(|of| (of.tid, of.name.as_str())).collect();
    assert_eq!(threads, [(70, "shard-0"), (71, "con) trol"), (72, "new")]);
    assert_eq!(cost.threads[0].cpu_s, 2.0);
    assert_eq!((cost.threads[1].voluntary_switches, cost.threads[1].involuntary_switches), (40, 0));
}

#[test]
fn a_kernel_that_counts_ticks_or_hides_maps_is_read_too() {
    let tree = Tree::new();
    let process = ServerProcess { pid: PID, softirq_cpu: None };
    tree.write("7/status", "VmRSS:\t 4 kB\n");
    tree.thread(&shard(0, 1, 1));
    let reading = process.read_in(&tree.proc_tree()).unwrap();
    assert_eq!((reading.pss_bytes, reading.anonymous_bytes), (None, None));
    assert!(reading.cpu_s > 0.0, "200 ticks: {reading:?}");
}

#[test]
fn threads_are_told_up_to_a_limit_and_summed_beyond() {
    let tree = Tree::new();
    tree.memory(1, 1, 1);
    for tid in 0..THREADS_MAX as u32 + 5 {
        let (ran_ns, voluntary) = (1_000_000_000, 2);
        tree.thread(&Thread { tid, name: "worker", ran_ns, voluntary, involuntary: 0 });
    }
    let process = ServerProcess { pid: PID, softirq_cpu: None };
    let reading = process.read_in(&tree.proc_tree()).unwrap();
    assert_eq!(reading.threads.len(), THREADS_MAX);
    assert_eq!(reading.switches.voluntary, 2 * (THREADS_MAX as u64 + 5));
    assert_eq!(reading.cpu_s, THREADS_MAX as f64 + 5.0);
}

#[test]
fn sockets_and_the_machine_are_read() {
    let tree = Tree::new();
    tree.sockets(100, 7);
    let memory = SocketMemory::read_in(&tree.proc_tree()).unwrap();
    assert_eq!((memory.tcp_bytes * 7, memory.tcp_sockets), (memory.udp_bytes * 100, 8));
    assert!(memory.tcp_bytes >= 100 * 4096);
    let machine = Machine::read_in(&tree.proc_tree(), 1).unwrap();
    assert_eq!((machine.cpu.as_str(), machine.cpus, machine.cpus_online), ("Abacus 9", 1, 2));
    assert_eq!((machine.kernel.as_str(), machine.memory_bytes), ("9.9.9-test", 1_024_000));
}

#[test]
fn a_dead_process_is_one_clear_line() {
    let tree = Tree::new();
    let read = ServerProcess { pid: PID, softirq_cpu: None }.read_in(&tree.proc_tree());
    let told = format!("{:#}", read.unwrap_err());
    assert!(told.starts_with("there is no process 7; is --server-pid right?"), "{told}");
    assert!(!told.contains('\n'), "{told}");
}
