//! Process: what the kernel counts of this process.

use rustix::process::Resource;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident bytes.
    pub resident_bytes: u64,
    /// Mapped bytes.
    pub virtual_bytes: u64,
    /// Seconds of CPU, user and system.
    pub cpu_seconds: f64,
    /// When it started, in seconds since the epoch.
    pub started_at: f64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// File descriptors at most.
    pub max_fds: u64,
    /// Bytes of the heap that somebody holds.
    pub heap_used_bytes: u64,
    /// Bytes of the heap that are kept for the next who asks.
    pub heap_kept_bytes: u64,
}

impl Process {
    /// Asks the kernel; what it does not tell is zero.
    #[must_use]
    pub fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let units = Units {
            ticks: rustix::param::clock_ticks_per_second(),
            page: rustix::param::page_size() as u64,
        };
        let mut process = Self::parse(&stat, &units, boot_seconds(&boot)).unwrap_or_default();
        process.open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64);
        let nofile = rustix::process::getrlimit(Resource::Nofile);
        let heap = dataplane::slab::HeapUse::now().unwrap_or_default();
        (process.heap_used_bytes, process.heap_kept_bytes) = (heap.used, heap.kept);
        process.max_fds = nofile.current.unwrap_or(u64::MAX);
        process
    }

    /// `/proc/PID/stat`: fields are counted from the end of the name, which may hold anything.
    fn parse(stat: &str, units: &Units, boot: u64) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<u64> =
            rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        let cpu = fields.get(11)? + fields.get(12)?;
        #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
        let seconds = |ticks: u64| ticks as f64 / units.ticks.max(1) as f64;
        #[expect(clippy::cast_precision_loss, reason = "so do seconds")]
        let started_at = boot as f64 + seconds(*fields.get(19)?);
        Some(Self {
            cpu_seconds: seconds(cpu),
            started_at,
            threads: *fields.get(17)?,
            virtual_bytes: *fields.get(20)?,
            resident_bytes: fields.get(21)? * units.page,
            ..Self::default()
        })
    }
}

/// What the kernel counts in.
struct Units {
    /// Ticks of a second.
    ticks: u64,
    /// Bytes of a page.
    page: u64,
}

/// When the machine started, by the line `btime` of `/proc/stat`.
fn boot_seconds(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_shifts_nothing() {
        let stat = "42 (a) b (c)) S 1 2 3 4 -1 5 6 7 8 9 150 50 0 0 20 0 7 0 99 4096 3 0";
        let units = Units { ticks: 100, page: 4096 };
        let process = Process::parse(stat, &units, 1_000).unwrap();
        assert_eq!((process.cpu_seconds, process.threads), (2.0, 7));
        assert_eq!((process.virtual_bytes, process.resident_bytes), (4096, 3 * 4096));
        assert_eq!(process.started_at, 1_000.99);
        assert_eq!(Process::parse("42 (x", &units, 0), None);
    }

    #[test]
    fn the_machine_tells_when_it_started() {
        assert_eq!(boot_seconds("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), 1_700_000_000);
        assert_eq!(boot_seconds("cpu 1 2\n"), 0);
    }

    #[test]
    fn this_process_is_there() {
        let process = Process::read();
        assert!(process.resident_bytes > 0 && process.threads > 0 && process.open_fds > 2);
    }
}
