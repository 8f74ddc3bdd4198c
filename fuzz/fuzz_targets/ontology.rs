//! Whatever Encord answers for an ontology is read or refused.
#![no_main]

#[path = "../bound.rs"]
mod bound;

use edgelabel::encord::Ontology;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Ontology::from_json(text);
});
