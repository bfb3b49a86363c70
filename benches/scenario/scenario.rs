//! A scenario, and the list of them.

use super::{
    chunks, handshake, heads, hub, log, mailbox, mux, package, playlist, segments, sessions, timers,
};

/// A piece of the hot path that can be run again and again.
pub trait Scenario {
    /// Bytes of media that one run handles; 0 where bytes are not the point.
    fn bytes(&self) -> u64 {
        0
    }

    /// What must be there before the next run; not measured.
    fn prepare(&mut self) {}

    /// The work.
    fn run(&mut self);
}

/// Sets a scenario up.
pub type SetUp = fn() -> Box<dyn Scenario>;

/// Every scenario, `group/name`.
pub const SCENARIOS: &[(&str, SetUp)] = &[
    ("chunks/read_128", || chunks::read(128)),
    ("chunks/read_4096", || chunks::read(4096)),
    ("chunks/read_60000", || chunks::read(60_000)),
    ("chunks/write_128", || chunks::write(128)),
    ("chunks/write_60000", || chunks::write(60_000)),
    ("handshake/digest", handshake::digest),
    ("http/request", heads::request),
    ("hub/three_logs", hub::three_logs),
    ("log/append", log::append),
    ("log/read", log::read),
    ("log/reclaim", log::reclaim),
    ("mailbox/send_receive", mailbox::send_receive),
    ("mailbox/mark_drain", mailbox::mark_drain),
    ("mux/mpegts", mux::mpegts),
    ("package/rtmp", package::rtmp),
    ("package/flv", package::flv),
    ("package/mpegts", package::mpegts),
    ("playlist/render", playlist::render_playlists),
    ("segments/cut", segments::cut),
    ("session/rtmp_play", sessions::rtmp_play),
    ("session/rtmp_ingest", sessions::rtmp_ingest),
    ("session/http_play", sessions::http_play),
    ("timers/wheel", timers::wheel),
    ("websocket/frames", heads::frames),
];

/// The scenario of this name.
#[must_use]
pub fn named(name: &str) -> Option<Box<dyn Scenario>> {
    SCENARIOS.iter().find(|(known, _)| *known == name).map(|(_, set_up)| set_up())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_runs_for_as_long_as_it_is_asked() {
        for (name, set_up) in SCENARIOS {
            println!("{name}");
            let mut scenario = set_up();
            // Beyond every window, and every rate that a session allows in a second.
            for _ in 0..200 {
                scenario.prepare();
                scenario.run();
            }
        }
    }

    #[test]
    fn names_are_groups_and_names_in_order_once() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
        assert!(names.iter().all(|name| name.split('/').count() == 2), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
        assert!(named("log/append").is_some() && named("log").is_none());
    }
}
