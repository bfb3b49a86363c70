//! Numbers that wrap: of packets (31 bits), of messages (26 bits); and the ids of sockets.

/// The number of a data packet.
///
/// Units: packets, modulo 2^31; two numbers are comparable if they are less than 2^30 apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(u32);

impl SeqNumber {
    /// The greatest number; zero follows it.
    pub const MAX: u32 = 0x7fff_ffff;

    /// The number of the low 31 bits.
    #[must_use]
    pub const fn new(wire: u32) -> Self {
        Self(wire & Self::MAX)
    }

    /// The number as it stands in a packet.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number `count` packets later.
    #[must_use]
    pub const fn after(self, count: u32) -> Self {
        Self::new(self.0.wrapping_add(count))
    }

    /// How many packets later than `other` it is; negative if it is earlier.
    #[must_use]
    pub const fn since(self, other: Self) -> i32 {
        // The distance's bit 30 is its sign.
        (self.0.wrapping_sub(other.0) << 1).cast_signed() >> 1
    }
}

/// The number of a message; in live mode each packet is one.
///
/// Shape: 1 to 2^26 - 1; 0 names no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct MessageNumber(u32);

impl MessageNumber {
    /// The greatest number; one follows it.
    pub const MAX: u32 = 0x03ff_ffff;

    /// The number of the low 26 bits.
    #[must_use]
    pub const fn new(wire: u32) -> Self {
        Self(wire & Self::MAX)
    }

    /// The number of the `count`th message of a connection, from 0.
    #[must_use]
    pub fn nth(count: u64) -> Self {
        let number = count % u64::from(Self::MAX) + 1;
        Self(u32::try_from(number).expect("a remainder of 26 bits"))
    }

    /// The number as it stands in a packet.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The id of one end of a connection: every packet carries that of its receiver.
///
/// Zero is nobody's: it asks for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct SocketId(pub u32);

impl SocketId {
    /// Whoever listens.
    pub const LISTENER: Self = Self(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_hold_over_the_wrap() {
        let last = SeqNumber::new(SeqNumber::MAX);
        assert_eq!(last.after(1).get(), 0);
        assert_eq!(last.after(1).since(last), 1);
        assert_eq!(last.since(last.after(1)), -1);
        assert_eq!(SeqNumber::new(5).since(SeqNumber::new(5)), 0);
        assert_eq!(SeqNumber::new(0x8000_0007).get(), 7, "the bit of control packets is no number");
        let half = SeqNumber::new(0).after(0x3fff_ffff);
        assert_eq!(half.since(SeqNumber::new(0)), 0x3fff_ffff);
        assert_eq!(half.after(1).since(SeqNumber::new(0)), -0x4000_0000);
    }

    #[test]
    fn messages_count_from_one_and_skip_zero() {
        let max = u64::from(MessageNumber::MAX);
        for (count, number) in [(0, 1), (1, 2), (max - 1, MessageNumber::MAX), (max, 1)] {
            assert_eq!(MessageNumber::nth(count).get(), number);
        }
    }
}
