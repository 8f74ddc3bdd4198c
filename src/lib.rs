#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]
//! edgelabel answers Encord's label editor from a box in your own network: it fetches the one frame the
//! annotator looks at, asks the configured model, and saves the answer to the label row.
//!
//! The rooms, and which may know which, are drawn in `ARCHITECTURE.md`; `tests/house.rs` holds the drawing.

pub mod agent;
pub mod camera;
#[cfg(not(fuzzing))] // What no fuzz target calls is not compiled for them: a short run has minutes for all.
pub mod cli;
pub mod config;
#[cfg(not(fuzzing))]
pub mod daemon;
pub mod deadline;
pub mod encord;
pub mod http;
pub mod ids;
pub mod journal;
pub mod media;
pub mod model;
pub mod server;
pub mod station;
pub mod systemd;
pub mod telemetry;
pub mod trace;
