//! A tree of `/proc` that a test writes.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use loadtest::observe::ProcTree;

/// The process in it.
pub(crate) const PID: u32 = 7;

/// A thread as the kernel would tell it.
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) name: &'static str,
    pub(crate) ran_ns: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

/// The tree, which goes with the value.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("grandstand-proc-{}-{count}", std::process::id());
        let tree = Self { root: std::env::temp_dir().join(name) };
        tree.write("cpuinfo", "processor\t: 0\nmodel name\t: Abacus 9\n\nprocessor\t: 1\n");
        tree.write("meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\n");
        tree.write("sys/kernel/osrelease", "9.9.9-test\n");
        tree
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn proc_tree(&self) -> ProcTree {
        ProcTree::at(self.root.clone())
    }

    /// What the process has in memory, in KiB.
    pub(crate) fn memory(&self, rss: u64, pss: u64, anonymous: u64) {
        self.write(&format!("{PID}/status"), &format!("Name:\tx\nVmRSS:\t{rss} kB\n"));
        let rollup = format!("Rss: {rss} kB\nPss:   {pss} kB\nAnonymous:   {anonymous} kB\n");
        self.write(&format!("{PID}/smaps_rollup"), &rollup);
    }

    pub(crate) fn thread(&self, thread: &Thread) {
        let Thread { tid, name, ran_ns, voluntary, involuntary } = thread;
        let task = format!("{PID}/task/{tid}");
        self.write(&format!("{task}/comm"), &format!("{name}\n"));
        let stat = format!("{tid} ({name}) S 1 7 7 0 -1 0 1 2 3 4 100 100 0 0 20 0 1 0 5\n");
        self.write(&format!("{task}/stat"), &stat);
        self.write(&format!("{task}/schedstat"), &format!("{ran_ns} 5 6\n"));
        let status = format!(
            "Name:\t{name}\nvoluntary_ctxt_switches:\t{voluntary}\n\
             nonvoluntary_ctxt_switches:\t{involuntary}\n"
        );
        self.write(&format!("{task}/status"), &status);
    }

    /// Pages of TCP and UDP buffers.
    pub(crate) fn sockets(&self, tcp_pages: u64, udp_pages: u64) {
        let text = format!(
            "sockets: used 44\nTCP: inuse 5 orphan 0 tw 1 alloc 8 mem {tcp_pages}\n\
             UDP: inuse 2 mem {udp_pages}\nRAW: inuse 0\n"
        );
        self.write("net/sockstat", &text);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
