//! What is seen of a server: from a tree of `/proc` that a test wrote.
#![allow(clippy::unwrap_used, reason = "the tree is made by the test")]

mod spending;
mod tree;
mod watching;
