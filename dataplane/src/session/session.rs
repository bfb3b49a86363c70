//! A session of any protocol, as the shard holds it.

use std::sync::Arc;
use std::time::Instant;

use super::view_token::ViewToken;
use super::{Command, Counts, Credentials, Event, Served, http, rtmp, srt, udp};
use crate::Error;
use crate::config::{LimitId, Terms};
use crate::control::{Protocol, Role};
use crate::ids::StreamName;
use crate::segment::Window;
use crate::segment::uri::Asset;
use crate::slab::Pool;
use crate::words::Words;

/// The server's side of one peer.
#[derive(Debug)]
pub enum Session {
    /// RTMP.
    Rtmp(Box<rtmp::Server>),
    /// HTTP.
    Http(Box<http::Server>),
    /// SRT, whose bytes are datagrams.
    Srt(Box<srt::Server>),
    /// A transport stream in datagrams.
    Udp(Box<udp::Receiver>),
    /// A transport stream that we send in datagrams.
    UdpPush(Box<udp::Sender>),
    /// A stream that we play by RTMP.
    RtmpPull(Box<rtmp::Puller>),
}

macro_rules! each {
    ($self:ident, $session:ident => $call:expr) => {
        match $self {
            Self::Rtmp($session) => $call,
            Self::Http($session) => $call,
            Self::Srt($session) => $call,
            Self::Udp($session) => $call,
            Self::UdpPush($session) => $call,
            Self::RtmpPull($session) => $call,
        }
    };
}

impl Session {
    /// Takes received bytes and returns how many were consumed: fewer than all only if the session
    /// is parked, closing, or must be drained first; then drain it and, if it still wants bytes,
    /// give it the rest.
    ///
    /// # Errors
    /// The session is over; what the peer must hear is in [`Self::poll_transmit`].
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        bytes: &[u8],
        pool: &Pool,
    ) -> Result<usize, Error> {
        match self {
            Self::Rtmp(session) => session.handle_bytes(now, bytes, pool),
            Self::Http(session) => session.handle_bytes(now, bytes, pool),
            Self::RtmpPull(session) => session.handle_bytes(now, bytes, pool),
            Self::Srt(_) | Self::Udp(_) | Self::UdpPush(_) => {
                Err(Error::Misbehaved { state: self.state_name(), got: "bytes" })
            }
        }
    }

    /// Takes the shard's word.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if it does not fit the state.
    pub fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Error> {
        each!(self, session => session.handle_command(now, command))
    }

    /// Answers the request for a piece of HLS that waits from the window of its stream; what lies
    /// before `tail` is in the log no longer.
    ///
    /// # Errors
    /// [`Error::Misbehaved`] if no request waits.
    pub fn handle_window(
        &mut self,
        now: Instant,
        window: &Window,
        tail: u64,
    ) -> Result<Served, Error> {
        match self {
            Self::Http(session) => session.handle_window(now, window, tail),
            _ => Err(Error::Misbehaved { state: self.state_name(), got: "window" }),
        }
    }

    /// The viewer who asks for a playlist is known by `token` from now on.
    pub fn give_view_token(&mut self, token: ViewToken) {
        if let Self::Http(session) = self {
            session.give_view_token(token);
        }
    }

    /// Bytes of answers that wait to be taken.
    #[must_use]
    pub const fn said_bytes(&self) -> usize {
        match self {
            Self::Http(session) => session.said_bytes(),
            _ => 0,
        }
    }

    /// True if the piece of HLS that is asked for is in a window of its stream.
    #[must_use]
    pub fn finds(&self, window: &Window, tail: u64) -> bool {
        match self {
            Self::Http(session) => session.finds(window, tail),
            _ => false,
        }
    }

    /// The piece of HLS that is asked for, if one is.
    #[must_use]
    pub const fn asset(&self) -> Option<Asset> {
        match self {
            Self::Http(session) => session.asset(),
            _ => None,
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Error::Timeout`] closes the session.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        each!(self, session => session.handle_timeout(now))
    }

    /// Appends the replies that wait to `out`; true if there were any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Rtmp(session) => session.poll_transmit(out),
            Self::Http(session) => session.poll_transmit(out),
            Self::RtmpPull(session) => session.poll_transmit(out),
            Self::Srt(_) | Self::Udp(_) | Self::UdpPush(_) => false,
        }
    }

    /// The next event; media that is not taken is given back by [`Self::close`].
    pub fn poll_event(&mut self) -> Option<Event> {
        each!(self, session => session.poll_event())
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        each!(self, session => session.take_counts())
    }

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        each!(self, session => session.poll_timeout())
    }

    /// False while the session is parked or closing.
    #[must_use]
    pub const fn wants_bytes(&self) -> bool {
        match self {
            Self::Rtmp(session) => session.wants_bytes(),
            Self::Http(session) => session.wants_bytes(),
            Self::RtmpPull(session) => session.wants_bytes(),
            Self::Srt(_) | Self::Udp(_) | Self::UdpPush(_) => false,
        }
    }

    /// How the peer speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Rtmp(_) | Self::RtmpPull(_) => Protocol::Rtmp,
            Self::Http(session) => session.protocol(),
            Self::Srt(_) => Protocol::Srt,
            Self::Udp(_) | Self::UdpPush(_) => Protocol::Udp,
        }
    }

    /// What bounds the bytes that wait while the session is parked.
    #[must_use]
    pub const fn parking_limit(&self) -> LimitId {
        match self {
            Self::Http(_) => LimitId::HttpPipelineBytesMax,
            _ => LimitId::ParkedBytesMax,
        }
    }

    /// True if the peer can be asked to reconnect.
    #[must_use]
    pub const fn reconnects(&self) -> bool {
        match self {
            Self::Rtmp(session) => session.reconnects(),
            _ => false,
        }
    }

    /// True if the peer is heard and pinged while it waits for its stream, and can be told that
    /// the stream ended without losing its connection.
    #[must_use]
    pub const fn idles(&self) -> bool {
        matches!(self, Self::Rtmp(_))
    }

    /// What the peer does, once that is known.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Rtmp(session) => session.role(),
            Self::Http(session) => session.role(),
            Self::Srt(session) => Some(session.role()),
            Self::Udp(_) | Self::RtmpPull(_) => Some(Role::Publish),
            Self::UdpPush(_) => Some(Role::Play),
        }
    }

    /// The stream that the peer named, once that is known.
    #[must_use]
    pub const fn stream(&self) -> Option<&StreamName> {
        match self {
            Self::Rtmp(session) => session.stream(),
            Self::Http(session) => session.stream(),
            Self::Srt(session) => Some(session.stream()),
            Self::Udp(session) => Some(session.stream()),
            Self::UdpPush(session) => Some(session.stream()),
            Self::RtmpPull(session) => Some(session.stream()),
        }
    }

    /// The application that a peer of RTMP named at `connect`, and what it showed there.
    #[must_use]
    pub fn application(&self) -> Option<(StreamName, Box<Credentials>)> {
        match self {
            Self::Rtmp(session) => session.application(),
            _ => None,
        }
    }

    /// `flashVer` or `User-Agent`.
    #[must_use]
    pub const fn agent(&self) -> &Arc<str> {
        each!(self, session => session.agent())
    }

    /// Bytes of buffers that it holds beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        each!(self, session => session.buffer_bytes())
    }

    /// Drops what it holds of messages and heads that are not complete: it hears no more.
    pub fn drop_messages(&mut self, pool: &Pool) {
        match self {
            Self::Rtmp(session) => session.drop_messages(pool),
            Self::Http(session) => session.drop_head(),
            Self::RtmpPull(session) => session.drop_messages(pool),
            Self::Srt(_) | Self::Udp(_) | Self::UdpPush(_) => {}
        }
    }

    /// The word for the state of its protocol.
    #[must_use]
    pub const fn state_name(&self) -> &'static str {
        each!(self, session => session.state_name())
    }

    /// The session of an SRT peer.
    #[must_use]
    pub fn srt(&self) -> Option<&srt::Server> {
        match self {
            Self::Srt(session) => Some(session),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn srt_mut(&mut self) -> Option<&mut srt::Server> {
        match self {
            Self::Srt(session) => Some(session),
            _ => None,
        }
    }

    /// Takes what has waited, of what comes in datagrams; false if there is no more.
    pub fn advance(&mut self, now: Instant, pool: &Pool) -> bool {
        match self {
            Self::Srt(session) => session.advance(now, pool),
            Self::Udp(session) => session.advance(now, pool),
            _ => false,
        }
    }

    /// The session of a push in datagrams.
    #[must_use]
    pub fn push(&self) -> Option<&udp::Sender> {
        match self {
            Self::UdpPush(session) => Some(session),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn push_mut(&mut self) -> Option<&mut udp::Sender> {
        match self {
            Self::UdpPush(session) => Some(session),
            _ => None,
        }
    }

    /// The session of a stream that we play.
    #[must_use]
    pub const fn pull(&self) -> Option<&rtmp::Puller> {
        match self {
            Self::RtmpPull(session) => Some(session),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub const fn pull_mut(&mut self) -> Option<&mut rtmp::Puller> {
        match self {
            Self::RtmpPull(session) => Some(session),
            _ => None,
        }
    }

    /// The session of an input that comes in datagrams.
    #[must_use]
    pub fn udp(&self) -> Option<&udp::Receiver> {
        match self {
            Self::Udp(session) => Some(session),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn udp_mut(&mut self) -> Option<&mut udp::Receiver> {
        match self {
            Self::Udp(session) => Some(session),
            _ => None,
        }
    }

    /// Shares with other sessions what they say, too: for one that stays.
    pub(crate) fn share(&mut self, words: &mut Words) {
        each!(self, session => session.share(words));
    }

    /// Takes new limits and settings.
    pub fn reload(&mut self, terms: &Arc<Terms>) {
        each!(self, session => session.reload(terms));
    }

    /// Gives every page back before the session moves to another shard.
    pub fn leave_pages(&mut self, pool: &Pool) {
        if let Self::Rtmp(session) = self {
            session.leave_pages(pool);
        }
    }

    /// Takes what is in hand out of its pages before the session moves with its stream.
    pub fn pack_pages(&mut self, pool: &Pool) {
        if let Self::Rtmp(session) = self {
            session.pack_pages(pool);
        }
    }

    /// Gives every page back. Call it once, at the end.
    pub fn close(&mut self, pool: &Pool) {
        each!(self, session => session.close(pool));
    }
}
