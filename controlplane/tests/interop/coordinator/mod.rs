//! An application of the coordinator's contract, written from its specification: it owns accounts
//! and keys, hears of publications, lets viewers watch and closes what it likes.

mod application;
mod attached;
mod attached_pull;
mod client;
mod edge;
mod farewell;
mod peer;
mod recordings;
mod scenario;
mod stage;
mod superior;
