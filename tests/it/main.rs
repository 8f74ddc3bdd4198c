//! The daemon against emulators, over real sockets: one binary, one module for each subject.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod emulators;
