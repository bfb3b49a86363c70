//! Tables by the number of a slot.

/// Lengthens `table` with `empty` until there is a place `at`. Its room grows by an eighth: every
/// connection pays for places that nobody has yet, and doubling would make them as many again.
pub(crate) fn reach<T: Clone>(table: &mut Vec<T>, at: usize, empty: T) {
    if at >= table.capacity() {
        table.reserve_exact(at + 1 + at / 8 - table.len());
    }
    if at >= table.len() {
        table.resize(at + 1, empty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_little_more_room_than_places_and_moves_seldom() {
        let mut table = Vec::new();
        let mut moves = 0;
        for at in 0..10_000_usize {
            let room = table.capacity();
            reach(&mut table, at, 0_u8);
            moves += usize::from(table.capacity() != room);
            assert_eq!(table.len(), at + 1);
            assert!(table.capacity() <= at + 1 + at / 8);
        }
        assert!(moves < 100, "{moves} moves");
        reach(&mut table, 3, 0);
        assert_eq!(table.len(), 10_000, "no place is taken back");
    }
}
