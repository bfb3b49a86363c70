//! Pools: the pages of every shard.

use dataplane::control::{PoolStatus, ShardSnapshot};

use super::text::Text;

pub(super) fn pools(text: &mut Text, shards: &[ShardSnapshot]) {
    type Column = fn(&PoolStatus) -> u64;
    let columns: [(&str, &str, Column); 5] = [
        ("pool_page_bytes", "Bytes of one page.", |pool| pool.page_bytes),
        ("pool_pages_used", "Pages in use.", |pool| pool.used),
        ("pool_pages_peak", "Most pages ever in use.", |pool| pool.peak),
        ("pool_pages", "Pages in all.", |pool| pool.total),
        ("pool_pages_resident", "Pages that take memory of the machine.", |pool| pool.resident),
    ];
    for (name, help, column) in columns {
        text.family(name, "gauge", help);
        for shard in shards {
            for pool in &shard.pools {
                let labels = format_args!("shard=\"{}\",pool=\"{}\"", shard.shard, pool.name);
                text.sample(name, labels, column(pool));
            }
        }
    }
}
