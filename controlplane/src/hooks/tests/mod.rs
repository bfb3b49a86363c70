//! Hooks against scripted receivers, over a store on the disk.

mod batches;
mod crowds;
mod delivery;
mod dialects;
mod keeping;
mod rig;
