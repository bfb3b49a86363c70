//! What is tried: who calls whom, in which role, with which key, over which line, how fast.

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `srt-live-transmit`.
    Libsrt,
    /// The distribution's ffmpeg.
    Ffmpeg,
    /// A newer ffmpeg, with an SRT of its own.
    Newer,
    Gstreamer,
    SrtTokio,
    /// Our own session.
    Ours,
}

/// What the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Publish,
    Play,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Plain,
    Aes128,
    Aes256,
}

/// What is wrong with the way between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Fine,
    Loss,
    Bursts,
    Reorder,
    Duplicate,
}

pub(crate) const PEERS: [Peer; 6] =
    [Peer::Libsrt, Peer::Ffmpeg, Peer::Newer, Peer::Gstreamer, Peer::SrtTokio, Peer::Ours];
pub(crate) const ROLES: [Role; 2] = [Role::Publish, Role::Play];
pub(crate) const KEYS: [Key; 3] = [Key::Plain, Key::Aes128, Key::Aes256];
pub(crate) const LINES: [Line; 5] =
    [Line::Fine, Line::Loss, Line::Bursts, Line::Reorder, Line::Duplicate];
pub(crate) const RATES_MBPS: [u32; 3] = [2, 20, 60];

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) caller: Peer,
    /// Who is called: us, or libsrt in our place.
    pub(crate) called: Peer,
    pub(crate) role: Role,
    pub(crate) key: Key,
    pub(crate) line: Line,
    pub(crate) mbps: u32,
}

impl Cell {
    /// A cell in which somebody calls us.
    pub(crate) const fn with_us(caller: Peer, role: Role, key: Key, line: Line, mbps: u32) -> Self {
        Self { caller, called: Peer::Ours, role, key, line, mbps }
    }

    /// The same with libsrt in our place.
    pub(crate) const fn with_libsrt(self) -> Self {
        Self { called: Peer::Libsrt, ..self }
    }
}

/// Every cell with us.
pub(crate) fn all() -> impl Iterator<Item = Cell> {
    PEERS.into_iter().flat_map(|peer| ROLES.map(|role| (peer, role))).flat_map(|(peer, role)| {
        conditions().map(move |(key, line, mbps)| Cell::with_us(peer, role, key, line, mbps))
    })
}

/// From libsrt to libsrt; who calls makes no difference to it.
pub(crate) fn references() -> impl Iterator<Item = Cell> {
    conditions().map(|(key, line, mbps)| {
        Cell::with_us(Peer::Libsrt, Role::Publish, key, line, mbps).with_libsrt()
    })
}

pub(crate) fn conditions() -> impl Iterator<Item = (Key, Line, u32)> {
    KEYS.into_iter()
        .flat_map(|key| LINES.map(|line| (key, line)))
        .flat_map(|(key, line)| RATES_MBPS.map(|mbps| (key, line, mbps)))
}
