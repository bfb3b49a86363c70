//! The threads that load: how many there are, and on which CPUs.
//!
//! Each thread has its own loop, sockets and counts, and stays on one CPU. Players are dealt to the
//! threads in turn, and streams too.

use anyhow::{Context, Result, bail, ensure};

use crate::socket::{affinity, pin};

/// Threads of a kind.
pub const THREADS_MAX: usize = 256;

/// CPUs, and the number of threads of a kind that share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crew {
    cpus: Vec<usize>,
    threads: usize,
}

impl Crew {
    /// A crew on these CPUs, or on all that this process may use; a thread for each unless told.
    ///
    /// # Errors
    /// If the kernel does not know the CPUs.
    pub fn new(cpus: Option<&[usize]>, threads: Option<usize>) -> Result<Self> {
        let allowed = affinity().context("cannot read on which CPUs this process may run")?;
        let cpus = match cpus {
            None => allowed,
            Some(cpus) => {
                if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
                    let list = list(&allowed);
                    bail!("cannot stay on CPU {cpu}: this process may run on {list}; see --cpus");
                }
                cpus.to_vec()
            }
        };
        let threads = threads.unwrap_or(cpus.len()).min(THREADS_MAX);
        ensure!(threads > 0, "there must be a thread; see --threads");
        Ok(Self { cpus, threads })
    }

    /// Threads of a kind, at most one for each of `pieces` of work.
    #[must_use]
    pub fn threads_for(&self, pieces: usize) -> usize {
        self.threads.min(pieces.max(1))
    }

    /// Keeps the calling thread on the CPU of thread `index`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn settle(&self, index: usize) -> Result<()> {
        let cpu = self.cpus[index % self.cpus.len()];
        pin(&[cpu]).with_context(|| format!("cannot stay on CPU {cpu}"))
    }

    /// Keeps the calling thread on the CPUs of the crew.
    ///
    /// # Errors
    /// If they are gone.
    pub fn gather(&self) -> Result<()> {
        pin(&self.cpus).with_context(|| format!("cannot stay on CPUs {}", list(&self.cpus)))
    }
}

fn list(cpus: &[usize]) -> String {
    let names: Vec<String> = cpus.iter().map(ToString::to_string).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crew_has_a_thread_for_each_cpu_unless_told() {
        let all = affinity().unwrap();
        assert_eq!(Crew::new(None, None).unwrap().threads_for(usize::MAX), all.len());
        let crew = Crew::new(Some(&all[..1]), Some(3)).unwrap();
        assert_eq!([crew.threads_for(2), crew.threads_for(9), crew.threads_for(0)], [2, 3, 1]);
        let settled = std::thread::spawn(move || crew.settle(2).and_then(|()| Ok(affinity()?)));
        assert_eq!(settled.join().unwrap().unwrap(), all[..1]);
        let error = format!("{:#}", Crew::new(Some(&[100_000]), None).unwrap_err());
        assert!(error.starts_with("cannot stay on CPU 100000: this process may run on"), "{error}");
    }
}
