//! A reading of the measured server's process, as `/proc` tells.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::proc_tree::{ProcTree, field, read};
use crate::socket;

/// Threads of a process that are told one by one; the times of more are only summed.
pub const THREADS_MAX: usize = 512;

/// What is read: a process, and maybe the soft interrupt thread of its CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Its id.
    pub pid: u32,
    /// The CPU whose `ksoftirqd` counts too.
    pub softirq_cpu: Option<usize>,
}

/// How often threads gave a CPU up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextSwitches {
    /// Because they waited.
    pub voluntary: u64,
    /// Because their time was over.
    pub involuntary: u64,
}

/// A reading of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadReading {
    /// Its id.
    pub tid: u32,
    /// What it calls itself.
    pub name: String,
    /// User and system time: to the nanosecond where the kernel tells it, else in ticks.
    pub cpu_s: f64,
    /// Context switches.
    pub switches: ContextSwitches,
}

/// A reading of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessReading {
    /// User and system time of the threads that live.
    pub cpu_s: f64,
    /// Time of the soft interrupt thread that was asked for.
    pub softirq_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Resident memory, each page divided by the number of processes that have it; `None` where
    /// this process may not know it.
    pub pss_bytes: Option<u64>,
    /// Resident memory that is no file's.
    pub anonymous_bytes: Option<u64>,
    /// Context switches of the threads that live.
    pub switches: ContextSwitches,
    /// The threads that live, at most [`THREADS_MAX`] of them.
    pub threads: Vec<ThreadReading>,
}

impl ServerProcess {
    /// Reads it now.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn read(&self) -> Result<ProcessReading> {
        self.read_in(&ProcTree::default())
    }

    /// Reads it in another tree of processes.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn read_in(&self, tree: &ProcTree) -> Result<ProcessReading> {
        let pid = self.pid;
        let status = fs::read_to_string(tree.path(&format!("{pid}/status")))
            .with_context(|| format!("there is no process {pid}; is --server-pid right?"))?;
        let mut reading = ProcessReading {
            rss_bytes: field(&status, "VmRSS:").unwrap_or(0) * 1024,
            ..ProcessReading::default()
        };
        if let Ok(rollup) = tree.read(&format!("{pid}/smaps_rollup")) {
            reading.pss_bytes = field(&rollup, "Pss:").map(|kib| kib * 1024);
            reading.anonymous_bytes = field(&rollup, "Anonymous:").map(|kib| kib * 1024);
        }
        if let Some(cpu) = self.softirq_cpu {
            reading.softirq_s = cpu_seconds(&read(&soft_interrupt_thread(tree, cpu)?)?)?;
        }
        let tasks = tree.path(&format!("{pid}/task"));
        for task in fs::read_dir(&tasks).with_context(|| format!("process {pid} has ended"))? {
            // A thread may end between the listing and the reading.
            let Some(thread) = thread(&task?.path()) else { continue };
            reading.cpu_s += thread.cpu_s;
            reading.switches.voluntary += thread.switches.voluntary;
            reading.switches.involuntary += thread.switches.involuntary;
            if reading.threads.len() < THREADS_MAX {
                reading.threads.push(thread);
            }
        }
        reading.threads.sort_by_key(|thread| thread.tid);
        Ok(reading)
    }
}

fn thread(path: &Path) -> Option<ThreadReading> {
    let tid = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    let status = fs::read_to_string(path.join("status")).unwrap_or_default();
    let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
    let switches = ContextSwitches {
        voluntary: field(&status, "voluntary_ctxt_switches:").unwrap_or(0),
        involuntary: field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0),
    };
    let cpu_s = match run_seconds(path) {
        Some(seconds) => seconds,
        None => cpu_seconds(&stat).ok()?,
    };
    Some(ThreadReading { tid, name: name.trim_end().to_owned(), cpu_s, switches })
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

/// How long a thread has run, if the kernel keeps that.
fn run_seconds(thread: &Path) -> Option<f64> {
    let told = fs::read_to_string(thread.join("schedstat")).ok()?;
    let ran_ns = told.split(' ').next()?.parse::<u64>().ok()?;
    // A kernel that does not count tells zeros.
    (ran_ns > 0).then_some(ran_ns as f64 / 1e9)
}

fn soft_interrupt_thread(tree: &ProcTree, cpu: usize) -> Result<PathBuf> {
    let wanted = format!("ksoftirqd/{cpu}");
    let named = |path: &Path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == wanted)
    };
    for entry in fs::read_dir(tree.path("")).context("cannot list processes")? {
        let path = entry?.path();
        if named(&path) {
            return Ok(path.join("stat"));
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
        assert_eq!(field("VmHWM:\t 9 kB\nVmRSS:\t 12 kB\n", "VmRSS:"), Some(12));
    }

    #[test]
    fn this_process_can_be_read() {
        let server = ServerProcess { pid: std::process::id(), softirq_cpu: None };
        // A process that was born a moment ago may neither have waited nor have run for a tick.
        let has_lived =
            |reading: &ProcessReading| reading.switches.voluntary > 0 && reading.cpu_s > 0.0;
        let readings = (0..10_000).map(|_| {
            std::thread::spawn(|| {}).join().unwrap();
            server.read().unwrap()
        });
        let reading = { readings }.find(has_lived).expect("it waits and runs");
        assert!(reading.rss_bytes > 0 && !reading.threads.is_empty());
        assert!(reading.threads.iter().all(|thread| !thread.name.is_empty()));
        let dead = ServerProcess { pid: u32::MAX, softirq_cpu: None }.read().unwrap_err();
        let told = format!("{dead:#}");
        assert!(told.starts_with("there is no process 4294967295; is --server-pid right?"));
        assert!(!told.contains('\n'), "{told}");
    }
}
