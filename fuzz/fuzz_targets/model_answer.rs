//! Whatever an endpoint sends, what is accepted fits the ontology.
#![no_main]

#[path = "../bound.rs"]
mod bound;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| edgelabel::model::fuzz_answer(bytes));
