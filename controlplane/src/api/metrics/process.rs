//! Process: what the kernel and the heap count of this process.

use super::text::Text;
use crate::api::process::Process;

pub(super) fn own_process(text: &mut Text, process: &Process) {
    text.family("heap_bytes", "gauge", "Bytes of the heap: held, or kept for the next who asks.");
    text.sample("heap_bytes", "state=\"used\"", process.heap_used_bytes);
    text.sample("heap_bytes", "state=\"kept\"", process.heap_kept_bytes);
    // These names are what every dashboard expects, without our prefix.
    let rows: [(&str, &str, &str, String); 7] = [
        ("resident_memory_bytes", "gauge", "Resident bytes.", process.resident_bytes.to_string()),
        ("virtual_memory_bytes", "gauge", "Mapped bytes.", process.virtual_bytes.to_string()),
        ("cpu_seconds_total", "counter", "Seconds of CPU.", process.cpu_seconds.to_string()),
        (
            "start_time_seconds",
            "gauge",
            "When the process started, in seconds since the epoch.",
            process.started_at.to_string(),
        ),
        ("threads", "gauge", "Threads.", process.threads.to_string()),
        ("open_fds", "gauge", "Open file descriptors.", process.open_fds.to_string()),
        ("max_fds", "gauge", "File descriptors at most.", process.max_fds.to_string()),
    ];
    for (name, kind, help, value) in rows {
        text.line(format_args!("# HELP process_{name} {help}"));
        text.line(format_args!("# TYPE process_{name} {kind}"));
        text.line(format_args!("process_{name} {value}"));
    }
}
