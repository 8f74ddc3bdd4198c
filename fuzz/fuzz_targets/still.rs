//! A picture is decoded within its limits or refused.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgelabel::media::still::fuzz_still(bytes));
