//! Whatever Encord answers is taken apart or refused, without quoting it.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|text: &str| edgelabel::encord::fuzz_encord_answer(text));
