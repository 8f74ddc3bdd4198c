//! A cached sample table, whatever became of it, is a table that can be planned with, or none.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgelabel::media::index::fuzz_kept_index(bytes));
