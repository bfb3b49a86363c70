//! What the measured server spends, as `/proc` tells.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::socket;

/// A reading of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessReading {
    /// User and system time of the threads that live, to the nanosecond where the kernel tells it;
    /// else that of all, in ticks.
    pub cpu_s: f64,
    /// Time of the soft interrupt thread that was asked for.
    pub softirq_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Context switches of the threads that live.
    pub context_switches: u64,
}

/// What is read: a process, and maybe the soft interrupt thread of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Its id.
    pub pid: u32,
    /// The CPU whose `ksoftirqd` counts too.
    pub softirq_cpu: Option<usize>,
}

impl ServerProcess {
    /// Reads it now.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn read(&self) -> Result<ProcessReading> {
        let root = format!("/proc/{}", self.pid);
        let stat = read(&format!("{root}/stat"))?;
        let status = read(&format!("{root}/status"))?;
        let softirq_s = match self.softirq_cpu {
            Some(cpu) => cpu_seconds(&read(&format!("{}/stat", soft_interrupt_thread(cpu)?))?)?,
            None => 0.0,
        };
        Ok(ProcessReading {
            cpu_s: run_seconds(&root).map_or_else(|| cpu_seconds(&stat), Ok)?,
            softirq_s,
            rss_bytes: status_field(&status, "VmRSS:").unwrap_or(0) * 1024,
            context_switches: context_switches(&root)?,
        })
    }
}

/// What the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The model of its CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            cpu: model.unwrap_or("unknown").trim_start_matches(['\t', ':', ' ']).to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// User and system time of a `stat` line.
fn cpu_seconds(stat: &str) -> Result<f64> {
    // The name of the process stands in parentheses and may hold anything, so the fields are
    // counted from the last one: the state is the third field, the times 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").context("no process status")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    let (Some(Ok(user)), Some(Ok(system))) = (times.next(), times.next()) else {
        anyhow::bail!("no times in a process status");
    };
    Ok((user + system) as f64 / socket::cpu_ticks_per_second() as f64)
}

/// How long the threads of a process have run, if the kernel keeps that.
fn run_seconds(root: &str) -> Option<f64> {
    let mut sum_ns = 0;
    for thread in fs::read_dir(format!("{root}/task")).ok()? {
        let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum_ns += told.split(' ').next()?.parse::<u64>().ok()?;
    }
    // A kernel that does not count tells zeros.
    (sum_ns > 0).then_some(sum_ns as f64 / 1e9)
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn context_switches(root: &str) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("{root}/task")).context("cannot list threads")? {
        // A thread may end between the listing and the reading.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
        for name in ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"] {
            sum += status_field(&status, name).unwrap_or(0);
        }
    }
    Ok(sum)
}

fn soft_interrupt_thread(cpu: usize) -> Result<String> {
    let wanted = format!("ksoftirqd/{cpu}");
    let named = |path: &Path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == wanted)
    };
    for entry in fs::read_dir("/proc").context("cannot list processes")? {
        let path = entry?.path();
        if named(&path) {
            return Ok(path.display().to_string());
        }
    }
    anyhow::bail!("there is no thread {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_any_name_are_read() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 0 1 2 3 4 150 50 0 0 20 0 1 0 5";
        let ticks = socket::cpu_ticks_per_second() as f64;
        assert_eq!(cpu_seconds(line).unwrap(), 200.0 / ticks);
        assert!(cpu_seconds("7 (a) S 1").is_err());
        assert_eq!(status_field("VmHWM:\t 9 kB\nVmRSS:\t 12 kB\n", "VmRSS:"), Some(12));
    }

    #[test]
    fn this_process_can_be_read() {
        let server = ServerProcess { pid: std::process::id(), softirq_cpu: None };
        let reading = server.read().unwrap();
        assert!(reading.rss_bytes > 0 && reading.context_switches > 0);
        assert!(ServerProcess { pid: u32::MAX, softirq_cpu: None }.read().is_err());
        assert!(Machine::read().cpus > 0);
    }
}
