//! A movie is read or refused, and its table keeps what it promises.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgelabel::media::index::fuzz_index(bytes));
