//! Only what is signed with a secret, in time, counts as signed.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|input: &[u8]| edgelabel::server::fuzz_signature(input));
