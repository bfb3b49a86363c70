//! The whole table: every cell with us, and each of them with libsrt in our place.
#![expect(clippy::unwrap_used, reason = "a table that cannot be made has failed")]

mod cell;
mod content;
mod end;
mod line;
mod ours;
mod program;
mod table;
mod trial;

fn main() {
    table::write(cell::references().chain(cell::all()).collect());
}
