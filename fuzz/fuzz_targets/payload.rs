//! The body of a trigger is read within its bounds, or refused in a few plain words.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|body: &[u8]| edgelabel::server::fuzz_payload(body));
