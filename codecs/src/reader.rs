//! Checked reads over a peer's bytes: the only way that this crate touches them.

use crate::Error;

/// A cursor over borrowed bytes; every read names the field for the error.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

macro_rules! big_endian {
    ($($name:ident: $ty:ty, $width:literal);* $(;)?) => {$(
        #[doc = concat!("Reads a big-endian `", stringify!($ty), "`.")]
        ///
        /// # Errors
        /// [`Error::Truncated`].
        pub fn $name(&mut self, what: &'static str) -> Result<$ty, Error> {
            Ok(<$ty>::from_be_bytes(self.array::<$width>(what)?))
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes that are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left, without consuming it.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    pub fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let (head, tail) = self.bytes.split_at_checked(len).ok_or(Error::Truncated { what })?;
        self.bytes = tail;
        Ok(head)
    }

    /// Takes a fixed number of bytes.
    ///
    /// # Errors
    /// [`Error::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(Error::Truncated { what })?;
        self.bytes = tail;
        Ok(*head)
    }

    big_endian! { u8: u8, 1; u16: u16, 2; u32: u32, 4; u64: u64, 8; i16: i16, 2; f64: f64, 8; }

    /// Reads a big-endian 24-bit integer.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u24(&mut self, what: &'static str) -> Result<u32, Error> {
        let [a, b, c] = self.array::<3>(what)?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Reads a big-endian signed 24-bit integer.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn i24(&mut self, what: &'static str) -> Result<i32, Error> {
        let [a, b, c] = self.array::<3>(what)?;
        Ok(i32::from_be_bytes([a, b, c, 0]) >> 8)
    }

    /// Reads a little-endian `u32` (the RTMP message stream id).
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn u32_le(&mut self, what: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array::<4>(what)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_names_the_truncated_field() {
        let mut r = Reader::new(&[1, 0, 2, 0xff, 0xff, 0xfe, 4, 0, 0, 0]);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16("b"), Ok(2));
        assert_eq!(r.i24("c"), Ok(-2));
        assert_eq!(r.u32_le("d"), Ok(4));
        assert!(r.is_empty());
        assert_eq!(r.u24("e"), Err(Error::Truncated { what: "e" }));
    }
}
