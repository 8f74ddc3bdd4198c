//! What stands in for the outside when the daemon is tried out: an emulated Encord backend and a stand-in model
//! endpoint, both on loopback. Shared by the integration tests and the examples, never part of the binary.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod backend;
pub mod caller;
pub mod daemon;
pub mod faults;
pub mod fixture;
pub mod media;
pub mod model;
pub mod observe;
pub mod server;
pub mod tls;
