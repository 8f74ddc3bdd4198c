//! The head of a store's answer, and a link to an item.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|text: &str| edgelabel::media::bytes::fuzz_range_answer(text));
