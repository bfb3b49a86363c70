//! What the server spent between two readings.

use serde::Serialize;

use super::process::{ProcessReading, ThreadReading};

/// What the server spent in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerCost {
    /// CPU seconds, user and system, and of the soft interrupt thread if that was asked for.
    pub cpu_s: f64,
    /// CPU seconds for a gigabyte (10^9 bytes) that players received.
    pub cpu_s_per_gb: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// Growth of it since the step before, for each player more.
    pub rss_bytes_per_player: Option<f64>,
    /// Proportional resident memory at the end.
    pub pss_bytes: Option<u64>,
    /// Resident memory that is no file's, at the end.
    pub anonymous_bytes: Option<u64>,
    /// Context switches.
    pub context_switches: u64,
    /// Those of threads that waited.
    pub voluntary_switches: u64,
    /// Those of threads whose time was over.
    pub involuntary_switches: u64,
    /// The same for each thread, the busiest first.
    pub threads: Vec<ThreadCost>,
}

/// What a thread of the server spent in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadCost {
    /// Its id.
    pub tid: u32,
    /// What it calls itself.
    pub name: String,
    /// CPU seconds, user and system.
    pub cpu_s: f64,
    /// Context switches because it waited.
    pub voluntary_switches: u64,
    /// Context switches because its time was over.
    pub involuntary_switches: u64,
}

/// The memory of the step before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssBefore {
    /// Players held.
    pub held: usize,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// What players got for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Bytes that they received.
    pub bytes: u64,
    /// How many were held at the end.
    pub held: usize,
}

impl ServerCost {
    /// What lies between two readings.
    #[must_use]
    pub fn between(
        before: &ProcessReading,
        after: &ProcessReading,
        served: Served,
        rss_before: Option<RssBefore>,
    ) -> Self {
        let cpu_s = (after.cpu_s - before.cpu_s) + (after.softirq_s - before.softirq_s);
        let gigabytes = served.bytes as f64 / 1e9;
        let growth = rss_before.filter(|rss| served.held > rss.held).map(|rss| {
            let bytes = after.rss_bytes as f64 - rss.rss_bytes as f64;
            bytes / (served.held - rss.held) as f64
        });
        let voluntary = after.switches.voluntary.saturating_sub(before.switches.voluntary);
        let involuntary = after.switches.involuntary.saturating_sub(before.switches.involuntary);
        Self {
            cpu_s,
            cpu_s_per_gb: if gigabytes > 0.0 { cpu_s / gigabytes } else { 0.0 },
            rss_bytes: after.rss_bytes,
            rss_bytes_per_player: growth,
            pss_bytes: after.pss_bytes,
            anonymous_bytes: after.anonymous_bytes,
            context_switches: voluntary + involuntary,
            voluntary_switches: voluntary,
            involuntary_switches: involuntary,
            threads: threads(&before.threads, &after.threads),
        }
    }
}

/// Threads that began in between have spent all that they have; of those that ended nothing is
/// known.
fn threads(before: &[ThreadReading], after: &[ThreadReading]) -> Vec<ThreadCost> {
    let mut costs: Vec<ThreadCost> = after
        .iter()
        .map(|after| {
            let before = before.iter().find(|before| before.tid == after.tid);
            let before = before.cloned().unwrap_or_default();
            let (was, is) = (before.switches, after.switches);
            ThreadCost {
                tid: after.tid,
                name: after.name.clone(),
                cpu_s: after.cpu_s - before.cpu_s,
                voluntary_switches: is.voluntary.saturating_sub(was.voluntary),
                involuntary_switches: is.involuntary.saturating_sub(was.involuntary),
            }
        })
        .collect();
    costs.sort_by(|a, b| b.cpu_s.total_cmp(&a.cpu_s).then(a.tid.cmp(&b.tid)));
    costs
}
