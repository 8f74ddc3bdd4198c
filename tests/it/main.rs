//! The daemon against emulators, over real sockets: one binary, one module for each subject.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod capture;
mod commands;
mod conditions;
mod disks;
mod emulators;
mod kill;
mod label_rows;
mod labels;
mod late;
mod leaving;
mod lifecycle;
mod matrix;
mod models;
mod objects;
mod quirks;
mod rows;
mod schemas;
mod soak;
mod spine;
mod statuses;
mod traces;
mod upstream;
