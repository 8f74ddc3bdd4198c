//! A file and an environment are a configuration, or problems that say where they are.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|text: &str| edgelabel::config::fuzz_config(text));
