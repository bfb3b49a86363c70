//! Reactor: operations, system calls and what should be rare.

use dataplane::control::ShardSnapshot;

use super::text::Text;

pub(super) fn operations(text: &mut Text, shards: &[ShardSnapshot]) {
    type Column = fn(&(&'static str, u64, u64)) -> u64;
    let columns: [(&str, &str, Column); 2] = [
        ("reactor_operations_total", "Operations submitted.", |row| row.1),
        ("reactor_operations_failed_total", "Operations that failed.", |row| row.2),
    ];
    for (name, help, column) in columns {
        text.family(name, "counter", help);
        for shard in shards {
            for row in &shard.operations {
                let labels = format_args!("shard=\"{}\",opcode=\"{}\"", shard.shard, row.0);
                text.sample(name, labels, column(row));
            }
        }
    }
}

pub(super) fn rare(text: &mut Text, shards: &[ShardSnapshot]) {
    type Rows = fn(&ShardSnapshot) -> &[(&'static str, u64)];
    let families: [(&str, &str, &str, Rows); 2] = [
        ("reactor_system_calls_total", "System calls of the reactor.", "call", |shard| {
            &shard.system_calls
        }),
        ("reactor_incidents_total", "What should be rare in the reactor.", "kind", |shard| {
            &shard.incidents
        }),
    ];
    for (name, help, label, rows) in families {
        text.family(name, "counter", help);
        for shard in shards {
            for (kind, count) in rows(shard) {
                let labels = format_args!("shard=\"{}\",{label}=\"{kind}\"", shard.shard);
                text.sample(name, labels, count);
            }
        }
    }
}
