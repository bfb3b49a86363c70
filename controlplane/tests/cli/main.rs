//! The program as its operator meets it: commands, errors, signals, the control listener.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod acme;
mod authority;
mod commands;
mod credentials;
mod disks;
mod feed;
mod guessing;
mod hooks;
mod imports;
mod notify;
mod program;
mod receiver;
mod requests;
mod secure;
mod serving;
mod shards;
mod superior;
mod tls;
mod usage;
mod verdicts;
mod viewers;
