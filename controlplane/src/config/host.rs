//! Host: what the machine, the control group and the shell allow this process.

use std::path::Path;

use rustix::process::{Resource, Rlimit};

/// The room that this process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// CPUs of the affinity mask.
    pub cpus: Vec<usize>,
    /// CPUs' worth of time: the affinity mask within the control group's quota.
    pub parallelism: usize,
    /// Bytes of memory: the machine's, or the control group's limit.
    pub memory_bytes: u64,
    /// File descriptors at most, now.
    pub nofile: u64,
    /// File descriptors that this process may raise itself to.
    pub nofile_hard: u64,
    /// Sockets of IPv6 exist.
    pub ipv6: bool,
    /// The kernel's cap of one TCP socket's receive buffer.
    pub tcp_receive_bytes: u64,
    /// The most that a socket may ask for as its receive buffer.
    pub receive_buffer_max: u64,
}

impl Host {
    /// Asks the system.
    #[must_use]
    pub fn detect() -> Self {
        let nofile = rustix::process::getrlimit(Resource::Nofile);
        let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
        let mut cpus = affinity();
        if cpus.is_empty() {
            cpus = (0..parallelism).collect();
        }
        Self {
            cpus,
            parallelism,
            memory_bytes: memory_bytes(),
            nofile: nofile.current.unwrap_or(u64::MAX),
            nofile_hard: nofile.maximum.unwrap_or(u64::MAX),
            ipv6: std::net::TcpListener::bind("[::]:0").is_ok(),
            tcp_receive_bytes: tcp_receive_bytes().unwrap_or(6 << 20),
            receive_buffer_max: receive_buffer_max().unwrap_or(0),
        }
    }

    /// Raises the number of file descriptors to what is allowed.
    pub fn raise_nofile(&mut self) {
        let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
        let raised = Rlimit { current: hard, maximum: hard };
        if rustix::process::setrlimit(Resource::Nofile, raised).is_ok() {
            self.nofile = self.nofile_hard;
        }
    }
}

fn affinity() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

fn memory_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let limits = text.lines().filter_map(|line| group_limit(Path::new("/sys/fs/cgroup"), line));
        limits.min()
    });
    // A machine that tells nothing is taken as a small one.
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

/// `MemTotal:       24684096 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least limit of one line of `/proc/self/cgroup`, its parents included.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, name) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        list if list.split(',').any(|c| c == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let leaf = root.join(path.trim_start_matches('/'));
    // Inside a container the path may be the host's: then only the root's file is there.
    let limit = |dir: &Path| std::fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    leaf.ancestors().take_while(|dir| dir.starts_with(&root)).filter_map(limit).min()
}

/// The last of the three numbers of `tcp_rmem`.
fn tcp_receive_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").ok()?;
    text.split_whitespace().nth(2)?.parse().ok()
}

fn receive_buffer_max() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_in_bytes() {
        assert_eq!(total("MemTotal:       2048 kB\nMemFree: 1 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn the_least_limit_of_a_group_and_its_parents_counts() {
        let root = std::env::temp_dir().join(format!("grandstand-cgroup-{}", std::process::id()));
        let leaf = root.join("a/b");
        std::fs::create_dir_all(&leaf).unwrap();
        std::fs::write(root.join("a/memory.max"), "1000\n").unwrap();
        std::fs::write(leaf.join("memory.max"), "max\n").unwrap();
        assert_eq!(group_limit(&root, "0::/a/b"), Some(1000));
        assert_eq!(group_limit(&root, "0::/"), None);
        assert_eq!(group_limit(&root, "3:cpu:/a/b"), None);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn this_host_has_a_cpu_and_memory() {
        let host = Host::detect();
        assert!(!host.cpus.is_empty() && host.parallelism > 0);
        assert!(host.memory_bytes > 0 && host.nofile <= host.nofile_hard);
    }
}
