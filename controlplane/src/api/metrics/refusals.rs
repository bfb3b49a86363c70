//! Refusals: peers that were closed or turned away, by what made it so.

use dataplane::config::LimitId;
use dataplane::control::ShardSnapshot;
use dataplane::metrics::NoRoom;
use dataplane::session::tls::TlsFailure;

use super::text::Text;

pub(super) fn limits_exceeded(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "limit_exceeded_total";
    text.family(NAME, "counter", "Sessions closed or refused because of a limit.");
    for shard in shards {
        for (id, value) in LimitId::ALL.iter().zip(shard.counters.limits) {
            let labels = format_args!("shard=\"{}\",limit=\"{}\"", shard.shard, id.name());
            text.sample(NAME, labels, value);
        }
    }
}

pub(super) fn tls_failures(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "tls_failures_total";
    text.family(NAME, "counter", "TLS connections that failed, by reason.");
    for shard in shards {
        for (failure, value) in TlsFailure::ALL.iter().zip(shard.counters.tls_failures) {
            let reason = failure.name().trim_start_matches("tls_");
            let labels = format_args!("shard=\"{}\",reason=\"{reason}\"", shard.shard);
            text.sample(NAME, labels, value);
        }
    }
}

/// New players that found no room.
pub(super) fn players_refused(text: &mut Text, shards: &[ShardSnapshot]) {
    const NAME: &str = "players_refused_total";
    text.family(NAME, "counter", "New players that found no room, by what had none.");
    for shard in shards {
        for (reason, value) in NoRoom::ALL.iter().zip(shard.counters.no_room) {
            let labels = format_args!("shard=\"{}\",reason=\"{}\"", shard.shard, reason.name());
            text.sample(NAME, labels, value);
        }
    }
}
