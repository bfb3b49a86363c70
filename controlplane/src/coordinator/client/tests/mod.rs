//! How this node is a server of a coordinator, told by what it says and what it hears.

mod bench;
mod harm;
mod life;
mod losses;
