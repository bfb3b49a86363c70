//! The console: pages for people at the control listener, as files that are part of the program.

mod page;

pub(crate) use page::pages;
