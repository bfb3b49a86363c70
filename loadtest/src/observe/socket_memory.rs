//! What the kernel keeps in sockets, apart from every process.
//!
//! Spec: `/proc/net/sockstat`; `mem` counts pages of buffers of both directions.
//!
//! On one machine it holds the buffers of both ends of each connection: the server's and ours.

use anyhow::{Context, Result};
use serde::Serialize;

use super::proc_tree::ProcTree;
use crate::socket;

/// A reading of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SocketMemory {
    /// Memory of TCP buffers, of the whole machine.
    pub tcp_bytes: u64,
    /// Memory of UDP buffers, of the whole machine.
    pub udp_bytes: u64,
    /// TCP sockets that exist, in whatever state.
    pub tcp_sockets: u64,
}

impl SocketMemory {
    /// Reads it now.
    ///
    /// # Errors
    /// If the kernel does not tell it.
    pub fn read_in(tree: &ProcTree) -> Result<Self> {
        let text = tree.read("net/sockstat")?;
        let page = socket::page_bytes();
        let number = |protocol: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(protocol))?;
            let mut words = line.split_whitespace();
            words.find(|word| *word == name)?;
            words.next()?.parse::<u64>().ok()
        };
        Ok(Self {
            tcp_bytes: number("TCP:", "mem").context("no TCP in net/sockstat")? * page,
            udp_bytes: number("UDP:", "mem").unwrap_or(0) * page,
            tcp_sockets: number("TCP:", "alloc").unwrap_or(0),
        })
    }
}
