//! An application of the coordinator's contract, written from its specification: it owns accounts
//! and keys, hears of publications, lets viewers watch and closes what it likes.

mod application;
mod farewell;
mod scenario;
mod stage;
