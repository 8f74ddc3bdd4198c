//! What a worker says is understood within bounds, or the conversation is over.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgelabel::media::worker::fuzz_worker_says(bytes));
