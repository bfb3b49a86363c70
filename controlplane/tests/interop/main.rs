//! The real server against real encoders, players and browsers.
//!
//! Every test starts its own server, on free ports, with its own data directory and two shards, and
//! leaves nothing running. The clients come from `.ci/setup`.

/// Runs each function on both reactors.
macro_rules! on_both_backends {
    ($($name:ident)*) => {$(
        mod $name {
            use crate::server::Backend;

            #[test]
            fn is_played_intact_on_io_uring() {
                super::$name(Backend::IoUring);
            }

            #[test]
            fn is_played_intact_on_epoll() {
                super::$name(Backend::Epoll);
            }
        }
    )*};
}

mod balancers;
mod behaviour;
mod browser;
mod changes;
mod client;
mod clip;
mod contract;
mod coordinator;
mod datagrams;
mod dialects;
mod enhanced;
mod exposition;
mod hls;
mod http_flv;
mod kicks;
mod load;
mod load_srt;
mod matrix;
mod metrics;
mod moves;
mod observed;
mod operations;
mod player;
mod process;
mod publisher;
mod pushes;
mod quotas;
mod readers;
mod recordings;
mod rml;
mod rtmp_peers;
mod seccomp;
mod server;
mod signed;
mod srt;
mod srt_lines;
mod srt_passthrough;
mod srt_peers;
mod srt_terms;
mod synthetic;
mod tls;
mod transport;
mod verify;
mod viewers;
mod websocket;
