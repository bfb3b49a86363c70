//! The house rules, one file each, and the checkout that they read.

pub(crate) mod arrows;
mod checkout;
pub(crate) mod copies;
pub(crate) mod events;
pub(crate) mod indexes;
pub(crate) mod licences;
pub(crate) mod names;
pub(crate) mod sizes;
pub(crate) mod words;

pub(crate) use checkout::{Checkout, TextFile};
