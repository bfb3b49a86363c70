//! The machine that a measurement ran on.

use anyhow::{Context, Result};
use serde::Serialize;

use super::proc_tree::{ProcTree, field};

/// What the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The model of its CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// CPUs that the machine has.
    pub cpus_online: usize,
    /// Memory that the machine has.
    pub memory_bytes: u64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn read() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, Into::into);
        Self::read_in(&ProcTree::default(), cpus).unwrap_or_else(|_| Self {
            kernel: "unknown".to_owned(),
            cpu: "unknown".to_owned(),
            cpus,
            cpus_online: cpus,
            memory_bytes: 0,
        })
    }

    /// The one that a tree of processes tells of.
    ///
    /// # Errors
    /// If it does not tell of a machine.
    pub fn read_in(tree: &ProcTree, cpus: usize) -> Result<Self> {
        let cpuinfo = tree.read("cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let online = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let memory = field(&tree.read("meminfo")?, "MemTotal:").context("no size of memory")?;
        Ok(Self {
            kernel: tree.read("sys/kernel/osrelease")?.trim().to_owned(),
            cpu: model.unwrap_or("unknown").trim_start_matches(['\t', ':', ' ']).to_owned(),
            cpus,
            cpus_online: online.max(1),
            memory_bytes: memory * 1024,
        })
    }
}
