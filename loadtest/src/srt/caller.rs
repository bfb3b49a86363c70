//! A caller from its first packet to its last.

use std::net::IpAddr;

use anyhow::Result;

use super::call::{Answer, Call, SECRETS_BYTES};
use super::link::Link;
use super::outbox::Outbox;
use super::target::SrtTarget;

#[derive(Debug)]
enum Phase {
    Calling(Box<Call>),
    Running(Box<Link>),
}

/// What a datagram has brought, beside what it released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing else.
    Nothing,
    /// The server agreed to what was asked for.
    Accepted,
    /// The server said no; its reason.
    Refused(String),
}

/// One connection to a server.
#[derive(Debug)]
pub struct Caller {
    phase: Phase,
}

impl Caller {
    /// Starts; [`Self::tick`] asks first. `secrets` are bytes that nobody can guess.
    ///
    /// # Errors
    /// Never: the bytes are as many as are needed.
    pub fn new(target: &SrtTarget, server: IpAddr, secrets: &[u8; SECRETS_BYTES]) -> Result<Self> {
        let call = Call::new(target, server, secrets)?;
        Ok(Self { phase: Phase::Calling(Box::new(call)) })
    }

    /// The connection, once the server has agreed to it.
    pub fn link(&mut self) -> Option<&mut Link> {
        match &mut self.phase {
            Phase::Running(link) => Some(link),
            Phase::Calling(_) => None,
        }
    }

    /// Takes a datagram; what it releases is appended to `released`.
    ///
    /// # Errors
    /// If the server ends the connection, or breaks the protocol.
    pub fn take(
        &mut self,
        datagram: &[u8],
        now_us: u64,
        out: &mut Outbox,
        released: &mut Vec<u8>,
    ) -> Result<Told> {
        let call = match &mut self.phase {
            Phase::Running(link) => {
                link.take(datagram, now_us, out, released)?;
                return Ok(Told::Nothing);
            }
            Phase::Calling(call) => call,
        };
        Ok(match call.take(datagram, now_us, out)? {
            Answer::Nothing => Told::Nothing,
            Answer::Refused(reason) => Told::Refused(reason),
            Answer::Granted(agreed) => {
                self.phase = Phase::Running(Box::new(Link::new(*agreed, now_us)));
                Told::Accepted
            }
        })
    }

    /// Time has passed.
    ///
    /// # Errors
    /// If the server does not answer, or has been silent for too long.
    pub fn tick(&mut self, now_us: u64, out: &mut Outbox, released: &mut Vec<u8>) -> Result<()> {
        match &mut self.phase {
            Phase::Calling(call) => call.tick(now_us, out),
            Phase::Running(link) => link.tick(now_us, out, released),
        }
    }

    /// Ends the connection, if it stands.
    pub fn close(&mut self, now_us: u64, out: &mut Outbox) {
        if let Some(link) = self.link() {
            link.close(now_us, out);
        }
    }
}
