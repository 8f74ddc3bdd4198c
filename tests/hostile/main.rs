//! Callers who mean harm. Each meets its safe outcome; ordinary clicks are answered meanwhile, and afterwards memory,
//! connections and descriptors are where they were. `make hostile` prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub, dead_code)]

#[path = "../door/mod.rs"]
mod door;

mod field;
mod frames;
mod http1;
mod http2;
mod tls;
