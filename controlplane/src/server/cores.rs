//! Cores: what the CPUs of the shards do beside them, told to each shard once a second.
//!
//! A shard knows how long its own thread runs, but not who else runs on its core: the kernel's
//! threads that receive for its sockets, this thread, other programs, other machines of the same
//! hypervisor. All of that is no room for players.

use std::time::{Duration, Instant};

use dataplane::config::ShardConfig;
use dataplane::control::CoreUse;
use dataplane::ids::ShardId;

/// How often cores are looked at. The kernel counts in hundredths of a second.
const PERIOD: Duration = Duration::from_secs(1);

/// The CPUs of the shards, and what they had done when they were looked at last.
#[derive(Debug)]
pub(super) struct Cores {
    cpus: Vec<(ShardId, usize)>,
    last: Vec<Option<Ticks>>,
    looked: Instant,
    ticks_per_second: f64,
}

/// Ticks of one CPU since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    idle: u64,
    softirq: u64,
    stolen: u64,
}

impl Cores {
    /// The cores of the shards that are pinned.
    pub(super) fn new(shards: &[ShardConfig], now: Instant) -> Self {
        let pinned = (0..).zip(shards).filter_map(|(at, shard)| Some((ShardId(at), shard.cpu?)));
        let cpus: Vec<_> = pinned.collect();
        #[expect(clippy::cast_precision_loss, reason = "hundreds")]
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        Self { last: vec![None; cpus.len()], cpus, looked: now, ticks_per_second }
    }

    /// When to look again; never, if no shard has a core of its own.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.cpus.is_empty()).then(|| self.looked + PERIOD)
    }

    /// What each core did since the last look.
    pub(super) fn look(&mut self, now: Instant) -> Vec<(ShardId, CoreUse)> {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        self.read(&stat, now)
    }

    fn read(&mut self, stat: &str, now: Instant) -> Vec<(ShardId, CoreUse)> {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        self.looked = now;
        let ticks = passed * self.ticks_per_second;
        let mut told = Vec::new();
        for (&(shard, cpu), last) in self.cpus.iter().zip(&mut self.last) {
            let read = Ticks::read(stat, cpu);
            let before = std::mem::replace(last, read);
            if let (Some(before), Some(read)) = (before, read)
                && ticks >= 1.0
            {
                #[expect(clippy::cast_precision_loss, reason = "ticks of seconds")]
                let share =
                    |from: u64, to: u64| (to.saturating_sub(from) as f64 / ticks).clamp(0.0, 1.0);
                let busy = 1.0 - share(before.idle, read.idle);
                let softirq = share(before.softirq, read.softirq).min(busy);
                let stolen = share(before.stolen, read.stolen).min(busy);
                told.push((shard, CoreUse { busy, softirq, stolen }));
            }
        }
        told
    }
}

impl Ticks {
    /// The line of a CPU in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal
    /// and more.
    fn read(stat: &str, cpu: usize) -> Option<Self> {
        let named = |line: &&str| {
            line.strip_prefix("cpu").and_then(|rest| rest.split(' ').next())
                == Some(cpu.to_string().as_str())
        };
        let fields = stat.lines().find(named)?.split_whitespace().skip(1);
        let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self {
            idle: fields.get(3)? + fields.get(4)?,
            softirq: fields.get(5)? + fields.get(6)?,
            stolen: *fields.get(7)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  9 9 9 9 9 9 9 0 0 0\ncpu0 1 2 3 400 50 6 70 8 0 0\n\
                        cpu10 1 2 3 900 0 1 2 0 0 0\nintr 5\n";

    #[test]
    fn lines_are_found_by_the_whole_number() {
        assert_eq!(Ticks::read(STAT, 0), Some(Ticks { idle: 450, softirq: 76, stolen: 8 }));
        assert_eq!(Ticks::read(STAT, 10), Some(Ticks { idle: 900, softirq: 3, stolen: 0 }));
        assert_eq!(Ticks::read(STAT, 1), None);
        assert_eq!(Ticks::read("cpu0 x", 0), None);
    }

    #[test]
    fn a_core_is_told_once_there_is_a_difference() {
        let start = Instant::now();
        let shards = [ShardConfig { cpu: None }, ShardConfig { cpu: Some(10) }];
        let mut cores = Cores::new(&shards, start);
        assert_eq!(cores.due(), Some(start + PERIOD));
        assert_eq!(cores.read(STAT, start + PERIOD), []);
        let second = cores.ticks_per_second as u64;
        let idle = 900 + second / 4;
        let softirq = 2 + second / 2;
        let stolen = second / 10;
        let later = format!("cpu10 0 0 0 {idle} 0 1 {softirq} {stolen} 0 0\n");
        let told = cores.read(&later, start + PERIOD * 2);
        assert_eq!(told, [(ShardId(1), CoreUse { busy: 0.75, softirq: 0.5, stolen: 0.1 })]);
        assert_eq!(cores.read("", start + PERIOD * 3), []);
        assert_eq!(Cores::new(&[ShardConfig { cpu: None }], start).due(), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        assert!(Ticks::read(&stat, 0).is_some(), "{stat}");
    }
}
